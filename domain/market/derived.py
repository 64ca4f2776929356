"""One table of derived series per symbol: each a name, a formula in one line, its inputs, and its function.

Evaluators name a series and get a value at an instant or `None`; nothing here looks ahead: a value at a bar uses that
bar's close and what came before. Prices are closes in ticks; shares are fractions (0.01 is 1 %).

Live they are worked out every quarter of an hour and told with their instant (`Told`); a reading sees what was told
last before it ended, and nothing that is older than `VALID_NS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np

from domain.instants import MINUTE, session_of
from domain.market.bars import BarRefusal, Bars, Floats, Joined, derived, joined, regular
from domain.market.overnight import Night, night
from domain.units import Utc

AllBars = Mapping[str, Bars]  # minute bars by ticker, of the last sessions

Value = tuple[str, str, float | str]  # symbol, name and value of a series that has one

BREAKOUT_SESSIONS: Final = 5
NARROW_SESSIONS: Final = 7
VALID_NS: Final = 31 * MINUTE  # two tellings may fail to come


class Regime(StrEnum):
    """What an hour was: a trend keeps most of its range, a wide range does not, all else is quiet."""

    TREND_UP = "trend_up"
    TREND_DOWN = "trend_down"
    WIDE_RANGE = "wide_range"
    QUIET = "quiet"


class Series(msgspec.Struct, frozen=True):
    """One derived series of a symbol; `compute` gives its newest value, `None` where an input is missing."""

    name: str
    symbol: str
    formula: str
    inputs: tuple[str, ...]
    compute: Callable[[AllBars], float | str | None]


def ratio(bars: AllBars, first: str, second: str) -> float | None:
    """Return the last price of one ticker over that of another at the newest bar that both have."""
    both = _joined(bars, first, second)
    return None if both is None else float(both.first[-1] / both.second[-1])


def relative_return(bars: AllBars, first: str, second: str, minutes: int) -> float | None:
    """Return one ticker's return less another's over so many minutes up to the newest bar that both have."""
    both = _joined(bars, first, second)
    if both is None:
        return None
    before = np.flatnonzero(both.begin_utc == both.begin_utc[-1] - minutes * MINUTE)
    if len(before) == 0:
        return None
    at = int(before[0])
    return float(both.first[-1] / both.first[at] - both.second[-1] / both.second[at])


def _joined(bars: AllBars, first: str, second: str) -> Joined | None:
    if first not in bars or second not in bars:
        return None
    both = joined(bars[first], bars[second])
    return None if isinstance(both, BarRefusal) or len(both.begin_utc) == 0 else both


def hourly_regime(bars: AllBars, ticker: str) -> str | None:
    """Return the regime of the newest whole hour.

    A trend keeps 60 % of its range from open to close; a wide range is one and a half times the median hour's before
    it; all else is quiet. `None` with fewer than six hours before.
    """
    minutes = regular(bars[ticker]) if ticker in bars else None
    if minutes is None or len(minutes) == 0:
        return None
    hours = derived(minutes, 60)
    if minutes.begin_utc[-1] < hours.begin_utc[-1] + 59 * MINUTE:
        hours = hours.taken(np.arange(len(hours) - 1))  # the running hour is not over
    if len(hours) < 7:
        return None
    ranges = (hours.high - hours.low).astype(np.float64)
    span, moved = ranges[-1], float(hours.close[-1] - hours.open[-1])
    if span > 0.0 and abs(moved) >= 0.6 * span and span >= float(np.median(ranges[:-1])):
        return Regime.TREND_UP if moved > 0.0 else Regime.TREND_DOWN
    return Regime.WIDE_RANGE if span >= 1.5 * float(np.median(ranges[:-1])) else Regime.QUIET


def _daily(bars: Bars) -> Bars:
    """Return one bar a session, of its regular hours."""
    bars = regular(bars)
    if len(bars) == 0:
        return bars
    days = np.array([session_of(Utc(int(at))).toordinal() for at in bars.begin_utc], np.int64)
    starts = np.flatnonzero(np.concatenate([[True], days[1:] != days[:-1]]))
    ends = np.concatenate([starts[1:], [len(days)]]) - 1
    return Bars(
        bars.ticker, 390, bars.begin_utc[starts], bars.open[starts], np.maximum.reduceat(bars.high, starts),
        np.minimum.reduceat(bars.low, starts), bars.close[ends],
    )  # fmt: skip


def breakout(bars: AllBars, ticker: str) -> float | None:
    """Return +1 above the high of the five sessions before today's, −1 below their low, else 0."""
    if ticker not in bars or len(bars[ticker]) == 0:
        return None
    daily = _daily(bars[ticker])
    if len(daily) <= BREAKOUT_SESSIONS:
        return None
    before, last = slice(-1 - BREAKOUT_SESSIONS, -1), daily.close[-1]
    return 1.0 if last > daily.high[before].max() else -1.0 if last < daily.low[before].min() else 0.0


def narrow_range(bars: AllBars, ticker: str) -> float | None:
    """Return 1 where the session before today had the narrowest range of seven (Crabel 1990, "NR7"), else 0."""
    if ticker not in bars or len(bars[ticker]) == 0:
        return None
    daily = _daily(bars[ticker])
    if len(daily) <= NARROW_SESSIONS:
        return None
    ranges = (daily.high - daily.low)[-1 - NARROW_SESSIONS : -1]
    return 1.0 if ranges[-1] == ranges.min() else 0.0


def gap(bars: AllBars, ticker: str) -> float | None:
    """Return today's first open over the close of the session before, less one."""
    if ticker not in bars or len(bars[ticker]) == 0:
        return None
    daily = _daily(bars[ticker])
    return None if len(daily) < 2 else float(daily.open[-1] / daily.close[-2] - 1.0)


def overnight(bars: AllBars, ticker: str, figure: Callable[[Night], float | None]) -> float | None:
    """Return a figure of the newest night of a future; `None` without bars of it."""
    found = night(bars[ticker]) if ticker in bars else None
    return None if found is None else figure(found)


def term(bars: AllBars, longer: str, shorter: str) -> float | None:
    """Return how far the volatility index of the longer term lies above that of the shorter one, as a share."""
    found = ratio(bars, longer, shorter)
    return None if found is None else found - 1.0


def _per_future(ticker: str) -> tuple[Series, ...]:
    return (
        Series(
            "overnight_move", ticker, "last before 9:30 / close of the session before - 1", (ticker,),
            lambda bars: overnight(bars, ticker, lambda found: found.move),
        ),
        Series(
            "overnight_range", ticker, "(high - low) / first, 18:00 to 9:30", (ticker,),
            lambda bars: overnight(bars, ticker, lambda found: found.span),
        ),
        Series(
            "overnight_position", ticker, "(last - low) / (high - low), 18:00 to 9:30", (ticker,),
            lambda bars: overnight(bars, ticker, lambda found: found.position),
        ),
    )  # fmt: skip


def _per_ticker(ticker: str) -> tuple[Series, ...]:
    return (
        Series(
            "hourly_regime", ticker, "|close - open| >= 0.6 range and range >= median: trend; >= 1.5 median: wide",
            (ticker,), lambda bars: hourly_regime(bars, ticker),
        ),
        Series(
            "breakout_5d", ticker, "+1 above the high of 5 sessions, -1 below their low", (ticker,),
            lambda bars: breakout(bars, ticker),
        ),
        Series(
            "narrow_range_7d", ticker, "1 if yesterday's range is the least of 7 sessions", (ticker,),
            lambda bars: narrow_range(bars, ticker),
        ),
        Series("gap", ticker, "open / close of the session before - 1", (ticker,), lambda bars: gap(bars, ticker)),
    )  # fmt: skip


FUTURES: Final = ("ES", "NQ", "RTY")
TABLE: Final[tuple[Series, ...]] = (
    *(series for ticker in ("SPY", "QQQ", "IWM", "SPX") for series in _per_ticker(ticker)),
    *(series for ticker in FUTURES for series in _per_future(ticker)),
    Series(
        "term_9d_30d", "VIX", "VIX / VIX9D - 1 (below 0: the next days are the dearest)", ("VIX", "VIX9D"),
        lambda bars: term(bars, "VIX", "VIX9D"),
    ),
    Series(
        "term_30d_3m", "VIX", "VIX3M / VIX - 1 (below 0: the term structure is inverted)", ("VIX3M", "VIX"),
        lambda bars: term(bars, "VIX3M", "VIX"),
    ),
    Series("spx_spy_ratio", "SPX", "SPX / SPY", ("SPX", "SPY"), lambda bars: ratio(bars, "SPX", "SPY")),
    Series(
        "iwm_spy_rotation", "IWM", "return of IWM over 30 min - return of SPY", ("IWM", "SPY"),
        lambda bars: relative_return(bars, "IWM", "SPY", 30),
    ),
    Series(
        "qqq_against_market", "QQQ", "return of QQQ over 30 min - return of SPY", ("QQQ", "SPY"),
        lambda bars: relative_return(bars, "QQQ", "SPY", 30),
    ),
    Series(
        "qqq_against_sector", "QQQ", "return of QQQ over 30 min - return of XLK", ("QQQ", "XLK"),
        lambda bars: relative_return(bars, "QQQ", "XLK", 30),
    ),
)  # fmt: skip


def all_values(bars: AllBars) -> dict[tuple[str, str], float | str | None]:
    """Return the newest value of every series by (symbol, name)."""
    return {(series.symbol, series.name): series.compute(bars) for series in TABLE}


# -- as evaluators see them ---------------------------------------------------------------------

PLACES: Final = {f"{series.symbol}.{series.name}": n for n, series in enumerate(TABLE)}  # by the name they are asked by
REGIMES: Final[Mapping[str, float]] = {
    Regime.QUIET: 0.0, Regime.TREND_UP: 1.0, Regime.TREND_DOWN: -1.0, Regime.WIDE_RANGE: 2.0,
}  # fmt: skip


class Told(msgspec.Struct, frozen=True):
    """What was told of the derived series at an instant: those that had a value."""

    told_utc: Utc
    values: tuple[Value, ...]


def values_at(told: Sequence[Told], end_utc: Utc) -> tuple[Value, ...]:
    """Return what a reading that ends at an instant sees, nothing where none of it is valid; `told` ascends."""
    known = next((one for one in reversed(told) if one.told_utc <= end_utc), None)
    return () if known is None or end_utc - known.told_utc > VALID_NS else known.values


def numbers_of(values: Iterable[Value]) -> Floats:
    """Return values in the order of `TABLE`, a regime by its number in `REGIMES`, NaN where there is none."""
    found = np.full(len(TABLE), np.nan)
    for symbol, name, value in values:
        at = PLACES.get(f"{symbol}.{name}")
        if at is not None:  # what another version told is not asked for
            found[at] = REGIMES.get(value, np.nan) if isinstance(value, str) else value
    return found
