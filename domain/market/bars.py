"""Bars: made of quotes by the minute, derived to five minutes and the hour, checked, and joined where that has meaning.

Prices are ticks of 1/100 USD; a bar begins at `begin_utc` and lasts `minutes`. The hours of a session are counted from
its opening (9:30, 10:30, ...), so a derived bar never spans two sessions. An index has no volume: its bars have no such
column, and what needs one refuses them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.indices import INDICES
from domain.instants import MINUTE, at_exchange, session_of
from domain.session.calendar import OPEN, TradingDay
from domain.units import Ticks, Utc

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DERIVED_MINUTES: Final = (5, 60)
HOURS_NS: Final = 390 * MINUTE  # of a whole session
WILD_SHARE: Final = 0.05  # an extreme this far beyond its own body and both neighbours is a wild print, not a price


class BarRefusal(StrEnum):
    """Why a bar, or a join of bars, is refused."""

    NOT_POSITIVE = "not_positive"
    OUTSIDE_RANGE = "open_or_close_outside_range"
    WILD = "wild_price"
    REPEATED = "repeated"
    NO_VOLUME = "index_has_no_volume"
    OTHER_LENGTH = "bars_of_another_length"
    SAME_TICKER = "same_ticker"


class MinuteBar(msgspec.Struct, frozen=True, kw_only=True):
    """One minute of a ticker, prices in ticks; `volume` is `None` for an index."""

    ticker: str
    begin_utc: Utc
    open: Ticks
    high: Ticks
    low: Ticks
    close: Ticks
    volume: int | None = None


@dataclass(frozen=True, eq=False)
class Bars:
    """Bars of one ticker, ascending, a column an attribute; `volume` is `None` for an index.

    Raises:
        ValueError: an index with volume, or columns of different lengths.
    """

    ticker: str
    minutes: int
    begin_utc: Longs
    open: Longs
    high: Longs
    low: Longs
    close: Longs
    volume: Longs | None = None

    def __post_init__(self) -> None:
        if self.volume is not None and self.ticker in INDICES:
            raise ValueError(f"{self.ticker} is an index and has no volume; leave the column out")
        columns = (self.open, self.high, self.low, self.close, *(() if self.volume is None else (self.volume,)))
        if any(len(column) != len(self.begin_utc) for column in columns):
            raise ValueError(f"the columns of {self.ticker} differ in length")

    def __len__(self) -> int:
        return len(self.begin_utc)

    def taken(self, rows: Bools | NDArray[np.intp]) -> Bars:
        """Return some of the bars."""
        volume = None if self.volume is None else self.volume[rows]
        return Bars(
            self.ticker, self.minutes, self.begin_utc[rows], self.open[rows], self.high[rows], self.low[rows],
            self.close[rows], volume,
        )  # fmt: skip


def of_quotes(ticker: str, quotes: Iterable[tuple[Utc, Ticks]]) -> Bars:
    """Return minute bars of prices in any order; of two at one instant the later given counts as later."""
    told = np.array([(at_utc, price) for at_utc, price in quotes], np.int64).reshape(-1, 2)
    told = told[told[:, 1] > 0]
    told = told[np.argsort(told[:, 0], kind="stable")]
    begin = told[:, 0] - told[:, 0] % MINUTE
    return _grouped(ticker, 1, begin, begin, told[:, 1], told[:, 1], told[:, 1], told[:, 1], None)


def derived(bars: Bars, minutes: int) -> Bars:
    """Return longer bars of shorter ones; each session's are counted from its opening.

    Raises:
        ValueError: the length is no multiple of the bars' own.
    """
    if minutes % bars.minutes:
        raise ValueError(f"{minutes} min is no multiple of {bars.minutes} min")
    opens = _opens(bars.begin_utc)
    length = minutes * MINUTE
    begin = opens + (bars.begin_utc - opens) // length * length
    return _grouped(
        bars.ticker, minutes, begin, bars.begin_utc, bars.open, bars.high, bars.low, bars.close, bars.volume
    )


def regular(bars: Bars) -> Bars:
    """Return the bars of regular hours: futures and some files have the night too."""
    since = bars.begin_utc - _opens(bars.begin_utc)
    return bars.taken((since >= 0) & (since < HOURS_NS))


def _opens(instants: Longs) -> Longs:
    """Return the opening of the session of each instant."""
    sessions = [session_of(Utc(int(at_utc))) for at_utc in instants]
    opens = {session: at_exchange(session, OPEN) for session in dict.fromkeys(sessions)}
    return np.array([opens[session] for session in sessions], np.int64)


def _grouped(
    ticker: str, minutes: int, begin: Longs, at: Longs, first: Longs, high: Longs, low: Longs, last: Longs,
    volume: Longs | None,
) -> Bars:  # fmt: skip
    """Return one bar for each value of `begin`, which does not fall; within one, `at` ascends."""
    if len(begin) == 0:
        none = np.empty(0, np.int64)
        return Bars(ticker, minutes, none, none, none, none, none, None if volume is None else none)
    starts = np.flatnonzero(np.concatenate([[True], begin[1:] != begin[:-1]]))
    ends = np.concatenate([starts[1:], [len(begin)]]) - 1
    return Bars(
        ticker, minutes, begin[starts], first[starts], np.maximum.reduceat(high, starts),
        np.minimum.reduceat(low, starts), last[ends], None if volume is None else np.add.reduceat(volume, starts),
    )  # fmt: skip


def checked(bars: Bars) -> tuple[Bars, dict[BarRefusal, int]]:
    """Return the bars that can be, and how many were refused for which reason.

    A bar is wild whose high or low lies 5 % beyond its own open and close and those of both neighbours: one such print
    would otherwise be the day's range.
    """
    refused: dict[BarRefusal, int] = {}

    def leave_out(found: Bars, bad: Bools, why: BarRefusal) -> Bars:
        if bad.any():
            refused[why] = int(bad.sum())
        return found.taken(~bad) if bad.any() else found

    kept = bars.taken(np.argsort(bars.begin_utc, kind="stable"))
    again = np.concatenate([[False], kept.begin_utc[1:] == kept.begin_utc[:-1]]) if len(kept) else np.empty(0, bool)
    kept = leave_out(kept, again, BarRefusal.REPEATED)
    lowest = np.minimum(np.minimum(kept.open, kept.close), kept.low)
    kept = leave_out(kept, lowest <= 0, BarRefusal.NOT_POSITIVE)
    outside = (kept.high < np.maximum(kept.open, kept.close)) | (kept.low > np.minimum(kept.open, kept.close))
    kept = leave_out(kept, outside, BarRefusal.OUTSIDE_RANGE)
    return leave_out(kept, _wild(kept), BarRefusal.WILD), refused


def _wild(bars: Bars) -> Bools:
    if len(bars) == 0:
        return np.empty(0, np.bool_)
    top, bottom = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    # A bar at the edge has one neighbour only.
    before_top, after_top = np.concatenate([top[:1], bars.close[:-1]]), np.concatenate([bars.open[1:], top[-1:]])
    before_low, after_low = np.concatenate([bottom[:1], bars.close[:-1]]), np.concatenate([bars.open[1:], bottom[-1:]])
    highest = np.maximum(np.maximum(top, before_top), after_top)
    lowest = np.minimum(np.minimum(bottom, before_low), after_low)
    wild: Bools = (bars.high > highest * (1.0 + WILD_SHARE)) | (bars.low < lowest * (1.0 - WILD_SHARE))
    return wild


def holes(bars: Bars, day: TradingDay) -> tuple[tuple[Utc, Utc], ...]:
    """Return the intervals of a session's hours without bars, as (from, to), `to` exclusive."""
    length = bars.minutes * MINUTE
    expected = np.arange(day.open_utc, day.close_utc, length, dtype=np.int64)
    missing = expected[~np.isin(expected, bars.begin_utc)]
    if len(missing) == 0:
        return ()
    begins = np.flatnonzero(np.concatenate([[True], np.diff(missing) != length]))
    ends = np.concatenate([begins[1:], [len(missing)]]) - 1
    return tuple(
        (Utc(int(missing[begin])), Utc(int(missing[end]) + length)) for begin, end in zip(begins, ends, strict=True)
    )


@dataclass(frozen=True, eq=False)
class Joined:
    """Closes in ticks of two tickers at the instants that both have, ascending."""

    begin_utc: Longs
    first: Longs
    second: Longs


def joined(first: Bars, second: Bars) -> Joined | BarRefusal:
    """Return the closes of two tickers at the bars that both have, or why they must not be joined."""
    if first.minutes != second.minutes:
        return BarRefusal.OTHER_LENGTH
    if first.ticker == second.ticker:
        return BarRefusal.SAME_TICKER
    shared, a, b = np.intersect1d(first.begin_utc, second.begin_utc, return_indices=True)
    return Joined(shared, first.close[a], second.close[b])


def vwap(bars: Bars) -> Floats | BarRefusal:
    """Return the running volume-weighted price in ticks: Σ (high + low + close) / 3 × volume over Σ volume.

    NaN until something traded. An index is refused: it has no volume.
    """
    if bars.volume is None:
        return BarRefusal.NO_VOLUME
    typical = (bars.high + bars.low + bars.close) / 3.0
    volume = np.cumsum(bars.volume.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.cumsum(typical * bars.volume) / np.where(volume > 0.0, volume, np.nan))
