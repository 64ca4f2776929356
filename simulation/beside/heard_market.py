"""The market as a quote session tells it: what the in-process exchange of a `sim` desk stands on.

An order pays more than was quoted: `cross_share` of the spread from the mid, and it finds `size_share` of the size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from config.tree import SimDesk
from domain.instants import session_of
from domain.instruments import Contract, DataType, Quote, Spot
from domain.options.tick_rules import rule_of
from domain.session import calendar
from domain.units import Qty, Ticks, Utc
from messages import broker, market
from messages.base import Message

_LOOK_BACK_DAYS = 14  # in which the exchange has traded once


class _Path(NamedTuple):
    """The instant from which on the market moves."""

    start_utc: Utc


class HeardMarket:
    """Quotes, spots and contracts as they were told last.

    Nothing trades on what a lost session told, nor on what is delayed or frozen.

    Args:
        now_utc: the instant at which it begins.
        closed_dates: the calendar's unscheduled closures.
        contracts: those that are known before a chain is listed: what is held must have its terms.
        rules: how orders meet the quotes.
    """

    def __init__(
        self, now_utc: Utc, closed_dates: tuple[date, ...], contracts: Iterable[Contract], rules: SimDesk
    ) -> None:
        self.now_utc = now_utc
        self.over_utc: Utc | None = Utc(0)  # it goes on with the next session
        self._closed_dates = closed_dates
        self._rules = rules
        self._contracts = {contract.con_id: contract for contract in contracts}
        self._quotes: dict[int, Quote] = {}
        self._spots: dict[str, Spot] = {}
        day = self._session_before(session_of(now_utc))
        self.open_utc, self.close_utc = day.open_utc, day.close_utc
        self.path = _Path(Utc(0))

    def _session_before(self, session: date) -> calendar.TradingDay:
        """Return a session, or the last one before it where nothing trades that day."""
        for back in range(_LOOK_BACK_DAYS):
            day = calendar.day(session - timedelta(days=back), self._closed_dates)
            if day is not None:
                return day
        raise LookupError(f"the exchange has not traded in the {_LOOK_BACK_DAYS} days before {session}")

    def hear(self, fact: Message) -> None:
        """Take what a quote session says."""
        match fact:
            case market.QuotesArrived():
                self._quotes = self._quotes | {quote.con_id: quote for quote in fact.quotes}
                self._spots = self._spots | {spot.ticker: spot for spot in fact.spots}
            case market.ChainListed():
                self._contracts = self._contracts | {contract.con_id: contract for contract in fact.contracts}
            case broker.LinkLost() | broker.LinkUp():
                self._quotes = {}
            case _:
                pass

    def step(self, to_utc: Utc) -> None:
        """Go on to an instant; the close is reached when there are prices to settle by."""
        day = calendar.day(session_of(to_utc), self._closed_dates)
        if day is not None and day.open_utc != self.open_utc:
            self.open_utc, self.close_utc = day.open_utc, day.close_utc
        self.now_utc = to_utc if self._spots or to_utc < self.close_utc else Utc(self.close_utc - 1)

    def spot(self, ticker: str) -> Spot:
        """Return the last price of an underlying.

        Raises:
            KeyError: none was told yet.
        """
        return self._spots[ticker]

    def contract(self, con_id: int) -> Contract | None:
        """Return an option contract; `None` if none of this id was listed."""
        return self._contracts.get(con_id)

    def quote(self, con_id: int) -> Quote | None:
        """Return what an order meets now; `None` where nothing is quoted."""
        quote, contract = self._quotes.get(con_id), self._contracts.get(con_id)
        if quote is None or contract is None or not (quote.bid_ticks or quote.ask_ticks):
            return None
        if quote.data_type is not DataType.LIVE:
            return None
        bid, ask = quote.bid_ticks, quote.ask_ticks
        if bid and ask and bid <= ask:
            rule, mid = rule_of(contract.trading_class), (bid + ask) / 2
            reach = self._rules.cross_share * (ask - bid) / 2
            up, down = rule.increment(ask), rule.increment(bid)
            ask = Ticks(math.ceil((mid + reach) / up) * up)
            bid = Ticks(max(0, math.floor((mid - reach) / down) * down))
        return replace(
            quote, bid_ticks=bid or None, ask_ticks=ask, bid_size=self._size(quote.bid_size),
            ask_size=self._size(quote.ask_size),
        )  # fmt: skip

    def late_data(self, con_ids: Iterable[int]) -> DataType | None:
        """Return what kind of data keeps orders of these contracts from filling; `None` where none does."""
        told = (quote for con_id in con_ids if (quote := self._quotes.get(con_id)) is not None)
        return next((quote.data_type for quote in told if quote.data_type is not DataType.LIVE), None)

    def _size(self, shown: Qty) -> Qty:
        """Return how much of a size an order finds: at least one contract, where there is any."""
        return Qty(max(1, math.floor(shown * self._rules.size_share))) if shown else Qty(0)

    def settlement_ticks(self, ticker: str) -> Ticks:
        """Return the settlement price of a ticker's expiring options: the last price, 0 where none was told."""
        spot = self._spots.get(ticker)
        return Ticks(0) if spot is None else spot.price_ticks
