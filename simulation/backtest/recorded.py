"""A recorded or imported session as columns: quotes of what expires that day, and prices of the underlyings."""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from domain.instants import MINUTE
from domain.instruments import Contract, DataType, Right
from domain.units import Qty, Ticks, Utc
from storage.series_reader import SeriesReader
from storage.series_rows import BARS, CHAINS, QUOTES, UNDERLYINGS
from storage.warehouse_reader import WarehouseReader

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Prices = tuple[list[int], list[int]]  # instants, and prices in ticks
K = TypeVar("K")

NAMED_FROM: Final = 2_000_000_000  # ids of contracts that were imported without one
UNDERLYING_FROM: Final = 1_990_000_000
_PLACE: Final = ("trading_class", "strike", "right")
_NUMBERS: Final = ("at_utc", "quote_utc", "bid", "ask", "bid_size", "ask_size")
DATA_TYPES: Final = {one.value: one for one in DataType}
_TYPE_MAX: Final = 127  # as they are kept; nothing that the broker says comes near it
_MISSING: Final = {"bid": -1, "ask": -1, "data_type": DataType.LIVE.value}
_GREEKS: Final = ("iv", "delta", "gamma", "theta", "vega")
_WANTED: Final = ["con_id", "ticker", "expiry", "data_type", *_PLACE, *_NUMBERS, *_GREEKS]


class Column:
    """What was recorded of one contract: instants of looking and of ticking, ticks, sizes, greeks; a value a look.

    A missing bid or ask is -1, a missing iv or delta NaN, another missing greek 0; without `data_type` a look was of
    live quotes.

    Args:
        numbers: by the names of `_NUMBERS`, each a value a look; and `data_type`, where it is told.
        greeks: a row a look of iv, delta, gamma, theta and vega; missing ones are NaN.
    """

    __slots__ = ("ask", "ask_size", "at_utc", "bid", "bid_size", "data_types", "greeks", "quote_utc")

    def __init__(self, numbers: dict[str, Longs], greeks: Floats) -> None:
        # A fifth of what lists take, and read as fast: a day has millions of values.
        at_utc, quote_utc, bid, ask, bid_size, ask_size = (array("q", numbers[name].tobytes()) for name in _NUMBERS)
        self.at_utc = cast("Sequence[Utc]", at_utc)
        self.quote_utc = cast("Sequence[Utc]", quote_utc)
        self.bid, self.ask = cast("Sequence[Ticks]", bid), cast("Sequence[Ticks]", ask)
        self.bid_size, self.ask_size = cast("Sequence[Qty]", bid_size), cast("Sequence[Qty]", ask_size)
        told = numbers.get("data_type")
        types = np.full(len(at_utc), DataType.LIVE.value) if told is None else np.clip(told, 0, _TYPE_MAX)
        self.data_types = array("b", types.astype(np.int8).tobytes())
        needed, others = greeks[:, :2], greeks[:, 2:]
        whole = np.hstack([needed, np.where(np.isnan(others), 0.0, others)])
        self.greeks = tuple(array("d", values.tobytes()) for values in whole.T)


class RecordedDay:
    """One session's quotes by contract id, and prices by ticker: (instants, prices in ticks), both ascending.

    `damaged` names, in sentences, the files that could not be read and so were left out.
    """

    def __init__(
        self,
        session: date,
        contracts: tuple[Contract, ...],
        columns: dict[int, Column],
        prices: dict[str, Prices],
        damaged: tuple[str, ...] = (),
    ) -> None:
        self.session = session
        self.contracts = contracts
        self.columns = columns
        self.prices = prices
        self.damaged = damaged

    def looks(self) -> list[tuple[int, list[int], list[str]]]:
        """Return by instant, ascending, which contracts were quoted and which tickers were priced."""
        quoted = _by_instant({con_id: column.at_utc for con_id, column in self.columns.items()})
        priced = _by_instant({ticker: instants for ticker, (instants, _) in self.prices.items()})
        return [(at, quoted.get(at, []), priced.get(at, [])) for at in sorted({*quoted, *priced})]


def _by_instant(looks: Mapping[K, Sequence[int]]) -> dict[int, list[K]]:
    """Return by instant what was looked at then, in the order that it has here."""
    if not looks:
        return {}
    lengths = [len(instants) for instants in looks.values()]
    at_utc = np.concatenate([np.asarray(instants, np.int64) for instants in looks.values()])
    order = np.argsort(at_utc, kind="stable")
    names, places = list(looks), np.repeat(np.arange(len(looks)), lengths)[order].tolist()
    instants, starts = np.unique(at_utc[order], return_index=True)
    of_starts = itertools.pairwise([*starts.tolist(), len(places)])
    return {
        at: [names[place] for place in places[begin:end]]
        for at, (begin, end) in zip(instants.tolist(), of_starts, strict=True)
    }


def sessions_of(series: Path, warehouse: Path, first: date, last: date) -> tuple[date, ...]:
    """Return the sessions from `first` to `last` of which anything is stored, ascending."""
    known = {*SeriesReader(series).sessions(), *WarehouseReader(warehouse).sessions()}
    return tuple(sorted(session for session in known if first <= session <= last))


def load(series: Path, session: date) -> RecordedDay:
    """Return what is stored of a session's quotes and prices; empty where there is nothing.

    Where recorded prices end early, minute bars go on from there: such a day must not settle at its noon.
    """
    reader = SeriesReader(series)
    table = pa.concat_tables([reader.day(kind, session, _WANTED) for kind in (QUOTES, CHAINS)])
    table = table.filter(pc.equal(table["expiry"], session.isoformat()))
    contracts, columns = _columns(table, session)
    prices = _prices(_live(reader.day(UNDERLYINGS, session)), ("at_utc", "price"), 0)
    of_bars = _prices(reader.day(BARS, session), ("begin_utc", "close"), MINUTE)
    for ticker, known in prices.items():
        of_ticker = of_bars.get(ticker, ([], []))
        end = bisect_right(of_ticker[0], known[0][-1] + MINUTE)
        for values, later in zip(known, of_ticker, strict=True):
            values.extend(later[end:])
    damaged = tuple(f"{path.name} cannot be read ({why})" for path, why in sorted(reader.damaged.items()))
    del reader, table
    pa.default_memory_pool().release_unused()  # tables of 100 MB: the next day's would come on top
    return RecordedDay(session, contracts, columns, of_bars | prices, damaged)


def _columns(table: pa.Table, session: date) -> tuple[tuple[Contract, ...], dict[int, Column]]:
    """Return a session's contracts and their columns; a look that is stored twice counts once."""
    table = table.sort_by([(name, "ascending") for name in (*_PLACE, "at_utc", "quote_utc")])
    if not table.num_rows:
        return (), {}
    places = [_codes(table[name]) for name in _PLACE]
    is_other = np.any([codes[1:] != codes[:-1] for codes in places], axis=0)
    starts = [0, *(np.flatnonzero(is_other) + 1).tolist(), table.num_rows]
    heads = [table[name].take(starts[:-1]).to_pylist() for name in ("ticker", *_PLACE)]
    numbers = {name: _longs(table[name], _MISSING.get(name, 0)) for name in (*_NUMBERS, "data_type")}
    numbers["quote_utc"] = np.minimum(numbers["quote_utc"], numbers["at_utc"])  # no tick is later than its look
    greeks = np.column_stack([pc.fill_null(table[name], np.nan).to_numpy() for name in _GREEKS])
    con_ids = _longs(table["con_id"], 0)
    contracts, columns = [], {}
    of_places = zip(itertools.pairwise(starts), *heads, strict=True)
    for n, ((begin, end), ticker, trading_class, strike, right) in enumerate(of_places):
        con_id = int(con_ids[begin:end].max()) or NAMED_FROM + n
        at_utc = numbers["at_utc"][begin:end]
        keep = begin + np.flatnonzero(np.append(at_utc[1:] != at_utc[:-1], True))
        contracts.append(Contract(con_id, ticker, trading_class, session, Ticks(strike), Right(right)))
        columns[con_id] = Column({name: values[keep] for name, values in numbers.items()}, greeks[keep])
    return tuple(contracts), columns


def _codes(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """Return a number for each value: the same for the same."""
    codes: NDArray[np.int32] = column.combine_chunks().dictionary_encode().indices.to_numpy()
    return codes


def _live(table: pa.Table) -> pa.Table:
    """Return the prices that were not delayed: of another instant than that of the look, nobody knows which."""
    return table.filter(pc.equal(pc.fill_null(table["data_type"], DataType.LIVE.value), DataType.LIVE.value))


def _prices(table: pa.Table, names: tuple[str, str], known_after_ns: int) -> dict[str, Prices]:
    """Return prices by ticker; what a bar closed at is known once the bar is over."""
    at, price = names
    table = table.sort_by([("ticker", "ascending"), (at, "ascending")])
    found: dict[str, Prices] = {}
    for ticker, at_utc, ticks in zip(*(table[name].to_pylist() for name in ("ticker", at, price)), strict=True):
        instants, prices = found.setdefault(ticker, ([], []))
        instants.append(at_utc + known_after_ns)
        prices.append(ticks)
    return found


def _longs(column: Any, missing: int) -> Longs:
    return np.asarray(pc.fill_null(column, missing).to_numpy(), np.int64)
