"""Minute bars of a ticker and session, from whatever is stored of it, and what they tell together.

Bars that a source told come first, then the spots of the vendor's rows, then the prices that the broker told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.indices import VOLATILITY_TERMS
from domain.market import correlation
from domain.market.bars import Bars, of_quotes
from domain.market.correlation import PAIRS, Baseline, Pair, baseline, breakdowns
from domain.market.derived import FUTURES, TABLE
from domain.units import Ticks, Utc
from storage.series_reader import SeriesReader
from storage.series_rows import BARS, UNDERLYINGS
from storage.warehouse_reader import WarehouseReader

SESSIONS: Final = correlation.BASELINE_SESSIONS
TICKERS: Final = tuple(sorted({*correlation.TICKERS, *(name for series in TABLE for name in series.inputs)}))
_CATEGORY: Final = "classic_gex_zero"  # every followed ticker has it
_NEVER_ROWS: Final = frozenset((*FUTURES, *VOLATILITY_TERMS))  # the vendor has no gamma of them

Sessions = Mapping[date, Mapping[str, Bars]]


class Correlated(msgspec.Struct, frozen=True):
    """How a pair's minute returns go together in a session, and what was usual in the sessions before."""

    pair: Pair
    now: float | None
    usual: Baseline | None
    is_broken: bool


def minute_bars(
    market: WarehouseReader, series: SeriesReader, session: date, tickers: Iterable[str]
) -> dict[str, Bars]:
    """Return the minute bars of a session by ticker; one of which nothing is stored is left out."""
    wanted = tuple(tickers)
    told, prices = series.day(BARS, session), series.day(UNDERLYINGS, session)
    found: dict[str, Bars] = {}
    for ticker in wanted:
        bars = _told(ticker, told)
        if bars is None:
            bars = of_quotes(ticker, () if ticker in _NEVER_ROWS else _spots(market, session, ticker))
        if len(bars) == 0:
            of = prices.filter(pc.equal(prices["ticker"], ticker))
            bars = of_quotes(ticker, zip(of["tick_utc"].to_pylist(), of["price"].to_pylist(), strict=True))
        if len(bars):
            found[ticker] = bars
    return found


def _told(ticker: str, told: pa.Table) -> Bars | None:
    """Return the bars that a source told, of a minute the last that was told; `None` where there are none."""
    of = told.filter(pc.equal(told["ticker"], ticker)).sort_by([("begin_utc", "ascending"), ("at_utc", "ascending")])
    if of.num_rows == 0:
        return None
    begin = of["begin_utc"].to_numpy()
    of = of.filter(pa.array(np.append(begin[1:] != begin[:-1], True)))
    columns = [of[name].to_numpy() for name in ("begin_utc", "open", "high", "low", "close")]
    return Bars(ticker, 1, *columns)


def _spots(market: WarehouseReader, session: date, ticker: str) -> list[tuple[Utc, Ticks]]:
    rows = market.series(session, ticker, _CATEGORY, ()).select(["bucket_utc", "spot"])
    instants: list[Any] = pc.multiply(rows["bucket_utc"].cast(pa.int64()), 1_000).to_pylist()
    return [
        (Utc(at_utc), Ticks(round(spot * 100)))
        for at_utc, spot in zip(instants, rows["spot"].to_pylist(), strict=True)
        if spot is not None
    ]


def correlated(sessions: Sessions, newest: date) -> tuple[Correlated, ...]:
    """Return how each pair goes together in the newest session, against the sessions before it."""
    before = [sessions[session] for session in sorted(sessions) if session < newest]
    now = {pair: _of(sessions.get(newest, {}), pair) for pair in PAIRS}
    usual = {pair: baseline([_of(bars, pair) for bars in before]) for pair in PAIRS}
    broken: set[Pair] = {one.pair for one in breakdowns(now, usual) or ()}
    return tuple(Correlated(pair, now[pair], usual[pair], pair in broken) for pair in PAIRS)


def _of(bars: Mapping[str, Bars], pair: Pair) -> float | None:
    first, second = pair
    return correlation.correlation(bars[first], bars[second]) if first in bars and second in bars else None


def joined_sessions(sessions: Sessions) -> dict[str, Bars]:
    """Return the bars of all sessions one after the other, by ticker, without their volumes."""
    pieces: dict[str, list[Bars]] = {}
    for session in sorted(sessions):
        for ticker, bars in sessions[session].items():
            pieces.setdefault(ticker, []).append(bars)
    return {
        ticker: Bars(
            ticker, 1, *(np.concatenate([getattr(one, name) for one in found]) for name in
                         ("begin_utc", "open", "high", "low", "close")),
        )
        for ticker, found in pieces.items()
    }  # fmt: skip
