"""The honest market's path: a martingale, but for what dealers' hedging of the index's own chain feeds back.

Volatility clusters and goes with the VIX; neither says where prices go. Makers know how volatile it is and what that
means for the rest of the day, so `variance_left` is what they expect. With a factor of 0 nobody's hedging moves
anything, and nothing that is seen of the past says anything about the next move.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from math import exp, log

import numpy as np

from domain.instants import SECOND
from domain.units import Utc
from simulation.market.chain import OptionChain
from simulation.market.dealers import Dealers, Stance
from simulation.market.flow import Flow
from simulation.market.path import DAY_VOL, LEAD_S, Floats, PricePath, grid_of, pulled, session_shape, stress_of
from simulation.market.style import FEEDBACK, honest_style
from simulation.market.tickers import UNDERLYINGS

HONEST_DAY_VOL = 0.00477  # of the index over a session at a VIX of 16, root mean square; the mean is a little less
CALM_SPREAD = 0.12  # of the logarithm of the VIX, from day to day
CLUSTER_VAR, CLUSTER_S = 0.47, 3_000.0  # of the logarithm of variance within a day, and how fast it forgets
FEAR_VOL = 0.04  # of the VIX over a session, beside its answer to the index
VIX_BETA = -6.0
MIDDLE_SPREAD = 0.5  # how far open interest was built from today's price, in deviations of a session
PINNED_FROM = 0.6  # of the session
HEDGED_PER_S = 1.0 / FEEDBACK.hedge_s
BLOCK_S = 120  # dealers' stance is looked at anew so often


def honest_path(seed: int, session: date, hours_utc: tuple[Utc, Utc], factor: float) -> PricePath:
    """Return a day of the honest market; `factor` multiplies all of `FEEDBACK`.

    The shocks are the same at every factor, and no draw depends on another's outcome.
    """
    open_utc, close_utc = hours_utc
    close_s, size = grid_of(open_utc, close_utc)
    rng = np.random.default_rng([seed, session.toordinal(), 4])
    start = UNDERLYINGS["SPX"].price_usd * exp(0.01 * rng.standard_normal())
    calm = log(UNDERLYINGS["VIX"].price_usd) + CALM_SPREAD * rng.standard_normal()
    shape = session_shape(LEAD_S, close_s, size)
    per_s = shape / (close_s - LEAD_S)
    clusters = _clusters(rng, size)
    deviation = np.sqrt(per_s * clusters)
    shocks = HONEST_DAY_VOL * deviation * rng.standard_normal(size)
    fear = FEAR_VOL * np.sqrt(per_s) * rng.standard_normal(size)
    style = honest_style(factor)
    middle = style.session_vol * MIDDLE_SPREAD
    spots = {"SPX": np.full(size, start), "VIX": np.full(size, exp(calm))}
    anchors = {"SPX": start * exp(middle * rng.standard_normal())}
    path = PricePath(
        start_utc=open_utc - LEAD_S * SECOND, open_s=LEAD_S, close_s=close_s, spots=spots, anchors=anchors,
        variance_left=_expected_variance(per_s, clusters, LEAD_S, close_s), stress=np.ones(size), regimes=(),
        style=style,
    )  # fmt: skip
    _walk(path, shocks, fear, factor, seed, session, close_utc)
    run = np.log(spots["SPX"] / start)
    for ticker, u in UNDERLYINGS.items():
        if u.own_vol == 0.0:
            continue
        own = np.cumsum(rng.standard_normal(size) * deviation) * (u.own_vol * HONEST_DAY_VOL / DAY_VOL)
        first = u.price_usd * exp(0.01 * rng.standard_normal())
        spots[ticker] = first * np.exp(u.beta * run + own)
        anchors[ticker] = first * exp(2.0 * middle * rng.standard_normal())
    basis = pulled(rng.standard_normal(size) * 6e-6, 1.0 / 240.0)
    spots["SPY"] = spots["SPX"] / 10.0 * (1.0 - 0.0004) * np.exp(basis)
    anchors["SPY"] = anchors["SPX"] / 10.0
    return replace(path, stress=stress_of(spots["SPX"], HONEST_DAY_VOL * np.sqrt(per_s)))


def _clusters(rng: np.random.Generator, size: int) -> Floats:
    """Return how many times its usual variance each second has: 1 in the mean, calm and wild by turns."""
    keep = 1.0 - 1.0 / CLUSTER_S
    steps = rng.standard_normal(size) * np.sqrt(CLUSTER_VAR * (1.0 - keep * keep))
    steps[0] = np.sqrt(CLUSTER_VAR) * rng.standard_normal()
    return np.asarray(np.exp(pulled(steps, 1.0 / CLUSTER_S) - 0.5 * CLUSTER_VAR))


def _expected_variance(per_s: Floats, clusters: Floats, open_s: int, close_s: int) -> Floats:
    """Return the session's variance still to come as it is expected at each second, in units of a usual session's.

    What a second is above or below the usual is forgotten at the rate of the clusters.
    """
    inside = per_s.copy()
    inside[:open_s] = inside[close_s:] = 0.0
    seconds = np.arange(len(per_s)) - open_s
    forgotten = np.exp(-seconds / CLUSTER_S)
    later = np.cumsum((inside * forgotten)[::-1])[::-1] - inside * forgotten
    usual = np.cumsum(inside[::-1])[::-1] - inside
    return np.asarray(np.maximum(usual + (clusters - 1.0) * later / forgotten, 0.0))


def _walk(
    path: PricePath, shocks: Floats, fear: Floats, factor: float, seed: int, session: date, close_utc: Utc
) -> None:
    """Fill in the index and the VIX second by second; dealers look at their book every block of the session."""
    spx, vix = path.spots["SPX"], path.spots["VIX"]
    options = OptionChain(
        seed, "SPX", path, ((session, close_utc), (session + timedelta(days=1), Utc(close_utc + 86_400 * SECOND)))
    )
    dealers = Dealers(options, Flow(seed, options))
    first, usual, calm = log(spx[0]), log(UNDERLYINGS["VIX"].price_usd), log(vix[0])
    moves, fears = shocks.tolist(), fear.tolist()
    x, worry, pending = first, 0.0, 0.0
    for start in range(0, len(spx), BLOCK_S):
        end = min(start + BLOCK_S, len(spx))
        xs, logs = [], []
        answer = None
        if factor > 0.0 and path.open_s <= start < path.close_s:
            share = (start - path.open_s) / (path.close_s - path.open_s)
            answer = Answer(dealers.stance(start - 1), share, factor)
            dealers.trade(start - 1, BLOCK_S)
        for shock, fright in zip(moves[start:end], fears[start:end], strict=True):
            move = shock * exp(calm + VIX_BETA * (x - first) + worry - usual)
            worry += fright
            if answer is not None:
                traded = pending * HEDGED_PER_S
                gain, pull = answer.at(x)
                move += traded + pull
                pending += gain * move - traded - answer.vanna * fright
            x += move
            xs.append(x)
            logs.append(calm + VIX_BETA * (x - first) + worry)
        spx[start:end], vix[start:end] = np.exp(xs), np.exp(logs)


class Answer:
    """What hedgers do about a move while dealers stand as they do."""

    __slots__ = ("_gains", "_last", "_low", "_per_step", "_pin", "_pulls", "vanna")

    def __init__(self, stance: Stance, share: float, factor: float) -> None:
        late = max(share - PINNED_FROM, 0.0) / (1.0 - PINNED_FROM)
        pull = factor * FEEDBACK.pin_per_min / 60.0 * late * late
        strength = [FEEDBACK.damp if gamma > 0.0 else FEEDBACK.amplify for gamma in stance.gamma]
        self._gains = [-factor * gamma * times for gamma, times in zip(stance.gamma, strength, strict=True)]
        self._pulls = [pull * max(gamma, 0.0) for gamma in stance.gamma]
        self._pin, self._low, self._per_step = stance.pin, stance.low - 0.5 * stance.step, 1.0 / stance.step
        self._last = len(stance.gamma) - 1
        self.vanna = factor * FEEDBACK.vanna * stance.vanna

    def at(self, x: float) -> tuple[float, float]:
        """Return the share of a move that is to be hedged with it (against it: negative), and a second's pull."""
        at = min(max(int((x - self._low) * self._per_step), 0), self._last)
        return self._gains[at], self._pulls[at] * (self._pin - x)
