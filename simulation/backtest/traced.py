"""What a desk saw of the market on a recorded day, tick by tick, from its trace: more than its series keep of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from domain.instruments import Contract, Quote, Spot
from domain.units import Utc
from messages import market
from simulation.backtest.heard import heard_in
from simulation.backtest.recorded import Column, RecordedDay


class _Looks(msgspec.Struct):
    """What was told of one contract, in its order."""

    at_utc: list[int] = msgspec.field(default_factory=list)
    quotes: list[Quote] = msgspec.field(default_factory=list)

    def column(self) -> Column:
        """Return it as a column."""
        numbers = {
            "at_utc": self.at_utc, "quote_utc": [quote.at_utc for quote in self.quotes],
            "bid": [_side(quote.bid_ticks) for quote in self.quotes],
            "ask": [_side(quote.ask_ticks) for quote in self.quotes],
            "bid_size": [quote.bid_size for quote in self.quotes],
            "ask_size": [quote.ask_size for quote in self.quotes],
            "data_type": [quote.data_type for quote in self.quotes],
        }  # fmt: skip
        greeks = [
            (np.nan,) * 5 if (known := quote.greeks) is None
            else (known.iv, known.delta, known.gamma, known.theta, known.vega)
            for quote in self.quotes
        ]  # fmt: skip
        longs = {name: np.asarray(values, np.int64) for name, values in numbers.items()}
        return Column(longs, np.asarray(greeks, np.float64))


def with_traced(day: RecordedDay, traces: Iterable[Path]) -> RecordedDay:
    """Return a recorded day with everything that the desk was told of quotes and prices in its stead.

    What no trace knows stays as the series have it. `traces` are those of the session, oldest first.

    Raises:
        TraceError: a trace is damaged.
    """
    contracts = {contract.con_id: contract for contract in day.contracts}
    looks: dict[int, _Looks] = {}
    prices: dict[str, tuple[list[int], list[int]]] = {}
    for at_utc, _, message in heard_in(traces):
        if isinstance(message, market.ChainListed):
            contracts |= {one.con_id: one for one in message.contracts if one.expiry == day.session}
        if not isinstance(message, market.QuotesArrived):
            continue
        for quote in message.quotes:
            seen = looks.setdefault(quote.con_id, _Looks())
            seen.at_utc.append(at_utc)
            seen.quotes.append(quote)
        for spot in message.spots:
            _add(prices, at_utc, spot)
    columns = day.columns | {con_id: seen.column() for con_id, seen in looks.items() if con_id in contracts}
    return RecordedDay(day.session, _in_order(contracts, columns), columns, day.prices | prices, day.damaged)


def _add(prices: dict[str, tuple[list[int], list[int]]], at_utc: Utc, spot: Spot) -> None:
    instants, ticks = prices.setdefault(spot.ticker, ([], []))
    instants.append(at_utc)
    ticks.append(spot.price_ticks)


def _in_order(contracts: dict[int, Contract], columns: dict[int, Column]) -> tuple[Contract, ...]:
    """Return the contracts of which anything was quoted, as a stored day has them."""
    known = [contract for con_id, contract in contracts.items() if con_id in columns]
    return tuple(sorted(known, key=lambda one: (one.trading_class, one.strike_ticks, one.right)))


def _side(ticks: int | None) -> int:
    return -1 if ticks is None else ticks
