"""Small recorded days: looks at a few quotes, as a data folder gives them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import numpy as np

from domain.instants import SECOND
from domain.instruments import Contract, Right
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.units import Ticks, Utc
from simulation.backtest.market import RecordedMarket
from simulation.backtest.recorded import Column, RecordedDay

SESSION = date(2026, 11, 20)
CALL = Contract(7, "SPX", "SPXW", SESSION, Ticks(600_000), Right.CALL)
PUT = Contract(8, "SPX", "SPXW", SESSION, Ticks(600_000), Right.PUT)

Look = tuple[int, int, int]  # seconds after the open, bid, ask; -1: that side is not there


def hours() -> TradingDay:
    """Return the hours of the session."""
    found = calendar.day(SESSION)
    assert found is not None
    return found


OPEN = hours().open_utc


def at(seconds: float) -> Utc:
    """Return an instant after the open."""
    return Utc(OPEN + round(seconds * SECOND))


def column(looks: Iterable[Look], size: int = 9) -> Column:
    """Return a contract's looks as a column."""
    rows = list(looks)
    numbers = {
        "at_utc": [at(s) for s, _, _ in rows], "quote_utc": [at(s) for s, _, _ in rows],
        "bid": [bid for _, bid, _ in rows], "ask": [ask for _, _, ask in rows],
        "bid_size": [size] * len(rows), "ask_size": [size] * len(rows),
    }  # fmt: skip
    longs = {name: np.array(values, np.int64) for name, values in numbers.items()}
    return Column(longs, np.full((len(rows), 5), np.nan))


def market_of(
    calls: Iterable[Look], puts: Iterable[Look] = (), prices: Iterable[tuple[int, int]] = ((0, 600_000),),
    stale_ms: int = 10_000, size: int = 9,
) -> RecordedMarket:  # fmt: skip
    """Return a market of one call and one put."""
    columns = {7: column(calls, size), 8: column(puts, size)}
    priced = list(prices)
    recorded = RecordedDay(
        SESSION, (CALL, PUT), columns, {"SPX": ([at(s) for s, _ in priced], [price for _, price in priced])}
    )
    return RecordedMarket(recorded, hours(), stale_ms)
