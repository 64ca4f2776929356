"""Rolling correlations of the index funds and the VIX, their baseline, and when they break down.

Correlations are of log returns of bars that both tickers have (`domain/market/bars.joined`), over a window of bars.
The baseline is the mean and deviation of the daily correlations of the last 30 sessions. A breakdown: the funds, which
move together on ordinary days, no longer do (or the VIX, which moves against them, goes along), by more than three
deviations of the baseline and by more than 0.25; then every size is cut, for a hedge or a signal that leans on one
of them leans on air.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

import msgspec
import numpy as np

from domain.market.bars import BarRefusal, Bars, Floats, Longs, joined

TICKERS: Final = ("SPY", "QQQ", "IWM", "VIX")
BASELINE_SESSIONS: Final = 30
BASELINE_MIN: Final = 10  # fewer sessions are no baseline
RETURNS_MIN: Final = 20  # fewer returns are no correlation
DEVIATIONS_MAX: Final = 3.0
CHANGE_MIN: Final = 0.25

Pair = tuple[str, str]
PAIRS: Final[tuple[Pair, ...]] = tuple(combinations(TICKERS, 2))


class Baseline(msgspec.Struct, frozen=True):
    """The usual correlation of a pair: mean and standard deviation over `sessions` days."""

    mean: float
    deviation: float
    sessions: int


class Breakdown(msgspec.Struct, frozen=True):
    """A pair whose correlation has left its baseline."""

    pair: Pair
    now: float
    usual: float


def returns(prices: Longs) -> Floats:
    """Return the log returns of prices."""
    return np.asarray(np.diff(np.log(prices.astype(np.float64))))


def correlation(first: Bars, second: Bars, bars_n: int | None = None) -> float | None:
    """Return the correlation of two tickers' returns over the last bars that both have (all where `None`).

    `None` where they must not be joined, where they are few, or where one stands still. A return counts only from one
    bar to the next: over a hole or a night there is none.
    """
    both = joined(first, second)
    if isinstance(both, BarRefusal) or len(both.begin_utc) < 2:
        return None
    whole = np.diff(both.begin_utc) == np.diff(both.begin_utc).min()
    one, other = returns(both.first)[whole], returns(both.second)[whole]
    if bars_n is not None:
        one, other = one[-bars_n:], other[-bars_n:]
    if len(one) < RETURNS_MIN or one.std() == 0.0 or other.std() == 0.0:
        return None
    return float(np.clip(np.corrcoef(one, other)[0, 1], -1.0, 1.0))


def rolling(first: Bars, second: Bars, bars_n: int) -> Floats:
    """Return the correlation over the last `bars_n` returns at each bar that both have; NaN while they are few."""
    both = joined(first, second)
    if isinstance(both, BarRefusal):
        return np.empty(0)
    n = len(both.begin_utc)
    found = np.full(n, np.nan)
    one, other = returns(both.first), returns(both.second)
    if len(one) < bars_n:
        return found
    windows = np.lib.stride_tricks.sliding_window_view
    a, b = windows(one, bars_n), windows(other, bars_n)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found[bars_n:] = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return found


def baseline(daily: Sequence[float | None]) -> Baseline | None:
    """Return the baseline of a pair's daily correlations, oldest first; `None` where sessions are few."""
    told = [value for value in daily if value is not None][-BASELINE_SESSIONS:]
    if len(told) < BASELINE_MIN:
        return None
    return Baseline(float(np.mean(told)), float(np.std(told, ddof=1)), len(told))


def breakdowns(now: Mapping[Pair, float | None], usual: Mapping[Pair, Baseline | None]) -> tuple[Breakdown, ...] | None:
    """Return the pairs that have left their baseline towards independence or past it, the furthest first.

    `None` where no pair has both a correlation and a baseline: nothing is known. A pair that holds together more than
    usual is none.
    """
    found, known_n = [], 0
    for pair, value in now.items():
        base = usual.get(pair)
        if value is None or base is None:
            continue
        known_n += 1
        fallen = (base.mean - value) * (1.0 if base.mean >= 0.0 else -1.0)
        if fallen > max(DEVIATIONS_MAX * base.deviation, CHANGE_MIN):
            found.append((fallen, Breakdown(pair, value, base.mean)))
    if known_n == 0:
        return None
    return tuple(broken for _, broken in sorted(found, key=lambda item: -item[0]))
