"""A recorded or imported session as columns: quotes of what expires that day, and prices of the underlyings."""

from __future__ import annotations

import itertools
from datetime import date
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.instants import MINUTE
from domain.instruments import Contract, Right
from domain.units import Ticks
from storage.series_reader import SeriesReader
from storage.series_rows import BARS, CHAINS, QUOTES, UNDERLYINGS
from storage.warehouse_reader import WarehouseReader

Longs = NDArray[np.int64]
Greek = tuple[float | None, ...]  # iv, delta, gamma, theta, vega

NAMED_FROM: Final = 2_000_000_000  # ids of contracts that were imported without one
UNDERLYING_FROM: Final = 1_990_000_000
_PLACE: Final = ("trading_class", "strike", "right")
_NUMBERS: Final = ("at_utc", "quote_utc", "bid", "ask", "bid_size", "ask_size")
_GREEKS: Final = ("iv", "delta", "gamma", "theta", "vega")


class Column:
    """What was recorded of one contract: instants of looking and of ticking, ticks, sizes, greeks; a row a look.

    A missing bid or ask is -1.
    """

    __slots__ = ("at_utc", "greeks", "numbers")

    def __init__(self, numbers: dict[str, Longs], greeks: list[Greek]) -> None:
        self.at_utc = numbers["at_utc"].tolist()
        self.numbers = tuple(numbers[name].tolist() for name in _NUMBERS[1:])
        self.greeks = greeks


class RecordedDay:
    """One session's quotes by contract id, and prices by ticker: (instants, prices in ticks), both ascending."""

    def __init__(
        self,
        session: date,
        contracts: tuple[Contract, ...],
        columns: dict[int, Column],
        prices: dict[str, tuple[list[int], list[int]]],
    ) -> None:
        self.session = session
        self.contracts = contracts
        self.columns = columns
        self.prices = prices

    def looks(self) -> list[tuple[int, int | str]]:
        """Return every recorded quote or price as (instant, contract id or ticker), ascending by instant."""
        quoted = ((at, con_id) for con_id, column in self.columns.items() for at in column.at_utc)
        priced = ((at, ticker) for ticker, (instants, _) in sorted(self.prices.items()) for at in instants)
        found: list[tuple[int, int | str]] = [*quoted, *priced]
        found.sort(key=itemgetter(0))
        return found


def sessions_of(series: Path, warehouse: Path, first: date, last: date) -> tuple[date, ...]:
    """Return the sessions from `first` to `last` of which anything is stored, ascending."""
    known = {*SeriesReader(series).sessions(), *WarehouseReader(warehouse).sessions()}
    return tuple(sorted(session for session in known if first <= session <= last))


def load(series: Path, session: date) -> RecordedDay:
    """Return what is stored of a session's quotes and prices; empty where there is nothing."""
    reader = SeriesReader(series)
    table = pa.concat_tables([reader.day(QUOTES, session), reader.day(CHAINS, session)])
    table = table.filter(pc.equal(table["expiry"], session.isoformat()))
    contracts, columns = _columns(table, session)
    prices = _prices(reader.day(UNDERLYINGS, session), ("at_utc", "price"), 0)
    of_bars = _prices(reader.day(BARS, session), ("begin_utc", "close"), MINUTE)
    return RecordedDay(session, contracts, columns, of_bars | prices)


def _columns(table: pa.Table, session: date) -> tuple[tuple[Contract, ...], dict[int, Column]]:
    """Return a session's contracts and their columns; a look that is stored twice counts once."""
    table = table.sort_by([(name, "ascending") for name in (*_PLACE, "at_utc", "quote_utc")])
    if not table.num_rows:
        return (), {}
    places = [table[name].to_pylist() for name in _PLACE]
    keys = list(zip(*places, strict=True))
    starts = [0, *(n for n in range(1, len(keys)) if keys[n] != keys[n - 1]), len(keys)]
    numbers = {name: _longs(table[name], -1 if name in ("bid", "ask") else 0) for name in _NUMBERS}
    greeks: list[Greek] = list(zip(*(table[name].to_pylist() for name in _GREEKS), strict=True))
    con_ids, tickers = _longs(table["con_id"], 0), table["ticker"].to_pylist()
    contracts, columns = [], {}
    for n, (begin, end) in enumerate(itertools.pairwise(starts)):
        trading_class, strike, right = keys[begin]
        con_id = int(con_ids[begin:end].max()) or NAMED_FROM + n
        at_utc = numbers["at_utc"][begin:end]
        keep = begin + np.flatnonzero(np.append(at_utc[1:] != at_utc[:-1], True))
        contracts.append(Contract(con_id, tickers[begin], trading_class, session, Ticks(strike), Right(right)))
        columns[con_id] = Column(
            {name: values[keep] for name, values in numbers.items()}, [greeks[at] for at in keep.tolist()]
        )
    return tuple(contracts), columns


def _prices(table: pa.Table, names: tuple[str, str], known_after_ns: int) -> dict[str, tuple[list[int], list[int]]]:
    """Return prices by ticker; what a bar closed at is known once the bar is over."""
    at, price = names
    table = table.sort_by([("ticker", "ascending"), (at, "ascending")])
    found: dict[str, tuple[list[int], list[int]]] = {}
    for ticker, at_utc, ticks in zip(*(table[name].to_pylist() for name in ("ticker", at, price)), strict=True):
        instants, prices = found.setdefault(ticker, ([], []))
        instants.append(at_utc + known_after_ns)
        prices.append(ticks)
    return found


def _longs(column: Any, missing: int) -> Longs:
    return np.asarray(pc.fill_null(column, missing).to_numpy(), np.int64)
