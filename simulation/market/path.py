"""Paths of the simulated day: prices and volatility of every underlying on a fixed grid of 1 s, and the anchored one.

A path is all that the rest of the market knows of where prices come from, so a recorded day can take its place.
Everything is drawn in advance from the seed, hence nothing depends on how the clock is stepped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import exp
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.instants import SECOND
from domain.units import Utc
from simulation.market.style import ANCHORED_STYLE, Style
from simulation.market.tickers import UNDERLYINGS

Floats = NDArray[np.float64]

LEAD_S = 1_800  # the grid runs from half an hour before the open to half an hour after the close
OVERNIGHT_SHARE = 0.3  # variance between two sessions, in units of a session's
STRESS_WINDOW_S = 300
DAY_VOL = 0.008  # of the index, realised over a default session, as a log return


class Segment(NamedTuple):
    """One stretch of a regime: `[start_s, end_s)` in seconds of the grid."""

    regime: str
    start_s: int
    end_s: int


class IvFit(NamedTuple):
    """How many times the model's implied volatility an expiry has, per second: `level + tilt · ln(strike / spot)`.

    It is known between two strikes of the index, `low_usd` and `high_usd`; beyond them it is as at the nearer one.
    """

    level: Floats
    tilt: Floats
    low_usd: float
    high_usd: float


@dataclass(frozen=True, eq=False)
class PricePath:
    """Prices in USD per second of the grid, from `start_utc`.

    `spots` by ticker, the VIX among them in its own points; `variance_left` is the share of the session's variance
    still to come, as makers expect it; `stress` is realised over expected volatility of the last five minutes (1 is
    normal); `anchors` are the prices around which the day's open interest was built; `regimes` may be empty (a
    recorded or an honest day); `iv_fits` correct the implied volatilities of the nearest and of the next expiry, `None`
    leaves them; `style` has the numbers that chain, flow and quotes go by.
    """

    start_utc: Utc
    open_s: int
    close_s: int
    spots: dict[str, Floats]
    anchors: dict[str, float]
    variance_left: Floats
    stress: Floats
    regimes: tuple[Segment, ...]
    iv_fits: tuple[IvFit, IvFit] | None = None
    style: Style = ANCHORED_STYLE

    @property
    def end_s(self) -> int:
        """The last second of the grid."""
        return len(self.variance_left) - 1


class _Manner(NamedTuple):
    """How prices move in a regime: how far beyond the anchor it leads, its volatility, pull, length.

    Distances are in units of the day's volatility.
    """

    beyond_min: float
    beyond_max: float
    vol: float
    pull_per_min: float
    minutes_min: int
    minutes_max: int


MANNERS = {
    "quiet": _Manner(0.0, 0.0, 0.65, 0.01, 15, 35),
    "trend": _Manner(0.15, 0.50, 0.80, 0.0, 25, 50),
    "cascade": _Manner(0.50, 0.90, 1.50, 0.0, 14, 26),
    "pin": _Manner(0.0, 0.0, 0.45, 0.10, 20, 45),
}
REGIMES = tuple(MANNERS)
_FOLLOWS = {  # a day is not a sequence of disasters: calm follows a cascade
    "quiet": (0.15, 0.50, 0.15, 0.20),
    "trend": (0.35, 0.15, 0.20, 0.30),
    "cascade": (0.25, 0.65, 0.00, 0.10),
    "pin": (0.30, 0.50, 0.20, 0.00),
}


def session_shape(open_s: int, close_s: int, size: int) -> Floats:
    """Return variance per second (mean 1 in the session): high after the open, low at noon, higher into the close."""
    share = (np.arange(size) - open_s) / (close_s - open_s)
    inside = (share >= 0.0) & (share < 1.0)
    shape = 0.55 + 2.4 * np.exp(-share / 0.07) + 0.9 * np.exp(-(1.0 - share) / 0.09)
    shape = np.where(inside, shape, 0.0)
    return np.asarray(np.where(inside, shape / shape[inside].mean(), 0.05))


def simulated_path(seed: int, session: date, open_utc: Utc, close_utc: Utc, regime: str | None) -> PricePath:
    """Return a day drawn from its seed; `regime` holds one regime all day, `None` lets the seed choose several.

    Raises:
        ValueError: no such regime.
    """
    if regime is not None and regime not in MANNERS:
        raise ValueError(f"regime {regime!r} is unknown; take one of {', '.join(REGIMES)}")
    rng = np.random.default_rng([seed, session.toordinal(), 0])
    anchor = UNDERLYINGS["SPX"].price_usd * exp(0.01 * rng.standard_normal())
    close_s, size = grid_of(open_utc, close_utc)
    factor, regimes = _market_factor(rng, session_shape(LEAD_S, close_s, size), close_s, regime)
    spx = anchor * np.exp(DAY_VOL * factor)
    return path_around(seed, session, (open_utc, close_utc), spx, anchor, regimes)


def path_around(
    seed: int,
    session: date,
    hours_utc: tuple[Utc, Utc],
    spx: Floats,
    anchor: float,
    regimes: tuple[Segment, ...] = (),
    sampled_s: int = 1,
) -> PricePath:
    """Return the whole market's path around the index's, drawn or recorded.

    Args:
        seed: draws what the other underlyings do of their own.
        session: the day.
        hours_utc: its open and its close.
        spx: USD per second, from `LEAD_S` before the open until `LEAD_S` after the close, inclusive.
        anchor: the index price around which open interest is built.
        regimes: what is known of them.
        sampled_s: seconds between prices that were observed; what is drawn between them has no volatility to measure.

    Raises:
        ValueError: `spx` does not span the grid.
    """
    open_utc, close_utc = hours_utc
    close_s, size = grid_of(open_utc, close_utc)
    if len(spx) != size:
        raise ValueError(f"the index's path has {len(spx)} seconds and the grid {size}")
    shape = session_shape(LEAD_S, close_s, size)
    rng = np.random.default_rng([seed, session.toordinal(), 1])
    volatility = np.sqrt(shape / (close_s - LEAD_S))
    run = np.log(spx / anchor)
    spots, anchors = {"SPX": spx}, {"SPX": anchor, "SPY": anchor / 10.0}
    for ticker, u in UNDERLYINGS.items():
        if u.own_vol == 0.0:
            continue
        own = pulled(rng.standard_normal(size) * volatility * u.own_vol, 0.004 / 60.0)
        anchors[ticker] = u.price_usd * exp(0.01 * rng.standard_normal())
        spots[ticker] = anchors[ticker] * np.exp(u.beta * run + own)
    basis = pulled(rng.standard_normal(size) * 6e-6, 1.0 / 240.0)
    spots["SPY"] = spx / 10.0 * (1.0 - 0.0004) * np.exp(basis)
    calm = UNDERLYINGS["VIX"].price_usd * exp(0.08 * rng.standard_normal())
    # About 6 % for each 1 % of the index, against it, with a little life of its own.
    own = pulled(rng.standard_normal(size) * 2e-4, 1.0 / 1_800.0)
    spots["VIX"] = calm * np.exp(-6.0 * run + own)
    seconds = np.arange(size)
    observed = spx[seconds - seconds % sampled_s]
    return PricePath(
        start_utc=open_utc - LEAD_S * SECOND,
        open_s=LEAD_S,
        close_s=close_s,
        spots=spots,
        anchors=anchors,
        variance_left=variance_left(shape, LEAD_S, close_s),
        stress=stress_of(observed, DAY_VOL * volatility),
        regimes=regimes,
    )


def grid_of(open_utc: Utc, close_utc: Utc) -> tuple[int, int]:
    """Return the second of the close and the number of seconds of the grid."""
    close_s = LEAD_S + (close_utc - open_utc) // SECOND
    return close_s, close_s + LEAD_S + 1


def variance_left(shape: Floats, open_s: int, close_s: int) -> Floats:
    """Return for each second the share of the session's variance that is still to come (1 until the open)."""
    inside = shape.copy()
    inside[:open_s] = 0.0
    inside[close_s:] = 0.0
    return np.asarray(np.clip(1.0 - np.cumsum(inside) / (close_s - open_s), 0.0, 1.0))


def stress_of(spx: Floats, deviation: Floats) -> Floats:
    """Return realised volatility of five minutes over the expected one (per second), within 0.5 and 3."""
    moves = np.diff(np.log(spx), prepend=np.log(spx[0])) / deviation
    total = np.cumsum(moves * moves)
    behind = np.maximum(np.arange(len(spx)) - STRESS_WINDOW_S, 0)
    window = np.maximum(np.arange(len(spx)) - behind, 60)
    return np.asarray(np.clip(np.sqrt((total - total[behind]) / window), 0.5, 3.0))


def pulled(shocks: Floats, pull: float) -> Floats:
    """Return the running sum of shocks, pulled to zero by a fixed share a step."""
    out = np.empty(len(shocks))
    x, keep = 0.0, 1.0 - pull
    for i, shock in enumerate(shocks.tolist()):
        x = x * keep + shock
        out[i] = x
    return out


def _market_factor(
    rng: np.random.Generator, shape: Floats, close_s: int, regime: str | None
) -> tuple[Floats, tuple[Segment, ...]]:
    """Return the index's walk around its anchor (zero), in the day's volatility, one regime after the other."""
    steps = rng.standard_normal(len(shape)) * np.sqrt(shape / (close_s - LEAD_S))
    moves, out = steps.tolist(), np.empty(len(shape))
    x = 0.35 * float(rng.standard_normal())
    for i in range(LEAD_S):
        x += moves[i]
        out[i] = x
    segments, at = [], LEAD_S
    name = regime or str(rng.choice(("quiet", "trend")))
    while at < close_s:
        manner = MANNERS[name]
        length = 60 * int(rng.integers(manner.minutes_min, manner.minutes_max + 1))
        end = min(at + length, close_s)
        segments.append(Segment(name, at, end))
        drift = _drift(name, x, float(rng.uniform(manner.beyond_min, manner.beyond_max))) / length
        target, pull = 0.6 * x, manner.pull_per_min / 60.0
        for i in range(at, end):
            x += drift + pull * (target - x) + manner.vol * moves[i]
            out[i] = x
        at = end
        name = regime or str(rng.choice(REGIMES, p=_FOLLOWS[name]))
    out[at:] = x + np.cumsum(steps[at:])
    return out, tuple(segments)


def _drift(regime: str, x: float, beyond: float) -> float:
    """Return where a regime leads: a trend across the anchor, a cascade down unless it is down already."""
    if beyond == 0.0:
        return 0.0
    falls = x > -0.4 if regime == "cascade" else x > 0.0
    return (-beyond if falls else beyond) - x
