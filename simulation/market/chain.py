"""The option chain of one underlying on one simulated day: its rows, its open interest and its volatility surface.

Rows are ordered by expiry, then right (calls first), then strike; `REACH` strikes on each side of the day's anchor.
"""

from __future__ import annotations

from datetime import date
from functools import cached_property
from math import hypot

import numpy as np
from numpy.typing import NDArray

from domain.instants import SECOND
from domain.instruments import Contract, Right
from domain.options import black_scholes
from domain.options.black_scholes import Bools, Floats
from domain.options.gamma import Ladder
from domain.units import Ticks, Utc
from simulation.market.path import DAY_VOL, OVERNIGHT_SHARE, IvFit, PricePath
from simulation.market.style import Style
from simulation.market.tickers import REACH, UNDERLYINGS, contract_of

FIT_MIN, FIT_MAX = 0.2, 6.0
OPENING_WIDER, OPENING_MIN = 0.8, 12.0  # spreads in the first minutes, and how soon they are usual
SECONDS_PER_YEAR = 60.0 * black_scholes.MINUTES_PER_YEAR


class OptionChain:
    """What does not change through the day, and the surface as a function of the path.

    `expiry_s` is the second of the grid at which each row expires, `is_next` marks rows of the next expiry.
    """

    def __init__(self, seed: int, ticker: str, path: PricePath, expiries: tuple[tuple[date, Utc], ...]) -> None:
        u = UNDERLYINGS[ticker]
        rng = np.random.default_rng([seed, expiries[0][0].toordinal(), 2, u.number])
        self.ticker, self.path, self.number = ticker, path, u.number
        self.style = path.style
        self.spots, self.iv_scale = path.spots[ticker], iv_scale_of(ticker, path.style)
        self.move = self.style.session_vol * self.iv_scale  # at the money, of one session, at a VIX of 16
        middle = round(path.anchors[ticker] * 100 / u.step_ticks) * u.step_ticks
        strikes_ticks = middle + u.step_ticks * np.arange(-REACH, REACH + 1)
        self.width = len(strikes_ticks)
        self.contracts: tuple[Contract, ...] = tuple(
            contract_of(ticker, expiry, Ticks(int(strike)), right)
            for expiry, _ in expiries
            for right in (Right.CALL, Right.PUT)
            for strike in strikes_ticks
        )
        self.row_of = {c.con_id: row for row, c in enumerate(self.contracts)}
        per_expiry = 2 * self.width
        self.strikes: Floats = np.tile(strikes_ticks / 100.0, 2 * len(expiries))
        self.is_call: Bools = np.tile(np.repeat([True, False], self.width), len(expiries))
        self.is_next: Bools = np.repeat([False, True], per_expiry)
        self.expiry_s: NDArray[np.int64] = np.repeat(
            [(utc - path.start_utc) // SECOND for _, utc in expiries], per_expiry
        )
        self.ladder = Ladder.of(self.strikes, self.is_call)
        self.single_ladder = Ladder.of(self.strikes[:per_expiry], self.is_call[:per_expiry])
        self.per_expiry = per_expiry
        interest = _scattered_interest if self.style.is_honest else _interest
        self.weight = interest(rng, strikes_ticks, u.step_ticks, path.anchors[ticker], self.move)
        self.open_interest: Floats = np.rint(np.concatenate([self.weight, 0.6 * self.weight]) * u.open_interest)

    @cached_property
    def caution(self) -> Floats:
        """How many times its usual width a spread has at each second: more after the open, and in wild minutes."""
        minutes = np.maximum(np.arange(self.path.end_s + 1) - self.path.open_s, 0) / 60.0
        return (1.0 + OPENING_WIDER * np.exp(-minutes / OPENING_MIN)) * np.sqrt(self.path.stress)

    def minutes_left(self, second: int) -> Floats:
        """Return whole minutes to expiry of each row, the running minute counted."""
        return np.maximum(-((second - self.expiry_s) // 60), 0).astype(np.float64)

    def surface(
        self,
        rows: slice | NDArray[np.intp],
        second: int | NDArray[np.int64],
        spot: float | Floats,
        seconds_left: Floats,
    ) -> Floats:
        """Return implied volatilities per year of rows, at seconds of the grid.

        At the money it is the variance still to come (the rest of the session, the night and the next day for the
        next expiry) spread over calendar time, moved by the VIX; in the wings skew and smile by standardised distance.
        All is corrected by the path's fits, where it has some.
        """
        left = self.path.variance_left[second]
        total = left + np.where(self.is_next[rows], 1.0 + OVERNIGHT_SHARE, 0.0)
        years = np.maximum(seconds_left, 60.0) / SECONDS_PER_YEAR
        vix = self.path.spots["VIX"][second] / 16.0
        move = self.move * vix * np.sqrt(np.maximum(total, 2e-4))
        x = np.log(self.strikes[rows] / spot) / move
        wing, (skew, smile, tilt) = self.style.wing, self.style.smile
        x = np.minimum(np.maximum(x, -wing), wing)
        factor = 1.0 + skew * x + smile * x * x
        if tilt:
            factor += tilt * x * x * x
        iv = move / np.sqrt(years) * factor
        fits = self.path.iv_fits
        if fits is not None:
            away, index = np.log(self.strikes[rows] / spot), self.path.spots["SPX"][second]
            near, following = (fit_at(fit, second, away, index) for fit in fits)
            iv = iv * np.where(self.is_next[rows], following, near)
        return np.asarray(iv)


def iv_scale_of(ticker: str, style: Style) -> float:
    """Return an underlying's implied volatility over the index's; where nothing may pay, what its path has."""
    u = UNDERLYINGS[ticker]
    return hypot(u.beta, u.own_vol / DAY_VOL) if style.is_honest else u.iv_scale


def fit_at(fit: IvFit, second: int | NDArray[np.int64], away: Floats, index_usd: float | Floats) -> Floats:
    """Return the factor of a fit at log distances of strikes from spot, within bounds that no real market leaves."""
    bounded = np.clip(away, np.log(fit.low_usd / index_usd), np.log(fit.high_usd / index_usd))
    return np.asarray(np.clip(fit.level[second] + fit.tilt[second] * bounded, FIT_MIN, FIT_MAX))


def _interest(
    rng: np.random.Generator,
    strikes_ticks: NDArray[np.int64],
    step_ticks: int,
    anchor: float,
    move: float,
) -> Floats:
    """Return the spread of open interest, in all 1: puts below the anchor, calls above, walls at round strikes."""
    x = np.log(strikes_ticks / 100.0 / anchor) / move
    body = 0.15 + np.exp(-0.5 * (np.abs(x) / 1.3) ** 2)
    rounds = 1.0 + 1.6 * (strikes_ticks % (5 * step_ticks) == 0)
    rounds += 2.0 * (strikes_ticks % (10 * step_ticks) == 0)
    total = body * rounds * rng.lognormal(0.0, 0.35, len(x))
    calls = 1.0 / (1.0 + np.exp(-2.2 * x)) * rng.lognormal(0.0, 0.06, len(x))
    both = np.concatenate([total * calls, total * np.maximum(1.0 - calls, 0.02)])
    return np.asarray(both / both.sum())


def _scattered_interest(
    rng: np.random.Generator,
    strikes_ticks: NDArray[np.int64],
    step_ticks: int,
    anchor: float,
    move: float,
) -> Floats:
    """Return a spread that weeks of trading left: no clear middle, and strikes of either side among the other's."""
    x = np.log(strikes_ticks / 100.0 / anchor) / move
    body = 0.10 + np.exp(-0.5 * (np.abs(x) / 1.8) ** 2)
    rounds = 1.0 + 1.2 * (strikes_ticks % (5 * step_ticks) == 0)
    rounds += 1.5 * (strikes_ticks % (10 * step_ticks) == 0)
    total = body * rounds * rng.lognormal(0.0, 0.6, len(x))
    slope, middle = rng.uniform(0.3, 1.2), 0.5 * rng.standard_normal()
    leaning = slope * (x - middle) + 4.0 * rng.standard_normal(len(x))
    calls = 1.0 / (1.0 + np.exp(-leaning))
    both = np.concatenate([total * calls, total * np.maximum(1.0 - calls, 0.02)])
    return np.asarray(both / both.sum())
