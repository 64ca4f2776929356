"""Tick-by-tick data: every change of a market as a message of its own, with its second."""

from __future__ import annotations

from typing import NamedTuple

from domain.units import Qty, Ticks
from simulation.broker.quoted import QuotedMarket
from simulation.gateway.clients import Clients, Handler
from simulation.gateway.connection import ApiClient
from simulation.gateway.contracts import NO_SECURITY, Catalogue, Instrument, Underlying
from simulation.gateway.market_data import MarketData
from simulation.gateway.subscription import STOCK_SIZE, TickKind, TickStream
from simulation.gateway.wire.frames import encode, epoch_s, usd
from simulation.gateway.wire.requests import FieldReader

FAILED = "Failed to request tick-by-tick data"  # 10189


KINDS = {
    "Last": TickKind.LAST, "AllLast": TickKind.ALL_LAST, "BidAsk": TickKind.BID_ASK, "MidPoint": TickKind.MIDPOINT,
}  # fmt: skip


class Market(NamedTuple):
    """The two sides of a market; no bid or no ask is `None`."""

    bid_ticks: Ticks | None
    ask_ticks: Ticks | None
    bid_size: Qty
    ask_size: Qty


class TickByTick:
    """Serves the tick-by-tick requests of all clients: both sides of options and stocks, prices of underlyings."""

    def __init__(self, market: QuotedMarket, catalogue: Catalogue, clients: Clients, data: MarketData) -> None:
        self._market = market
        self._catalogue = catalogue
        self._clients = clients
        self._data = data
        self.handlers: dict[int, Handler] = {97: self._subscribe, 98: self._cancel}

    def push_all(self) -> None:
        """Send what has changed to every client."""
        for client in self._clients.admitted():
            if client.can_take_ticks:
                for request, stream in client.tick_streams.items():
                    self._push(client, request, stream)

    def _subscribe(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields)
        request, query = reader.number(), reader.contract()
        kind, found = KINDS.get(reader.text()), self._catalogue.find(query)
        if len(found) != 1:
            client.error(request, 200, NO_SECURITY)
        elif (refused := self._data.refusal(found[0])) is not None:
            client.error(request, *refused)
        elif kind is None or not _has(found[0], kind):
            client.error(request, 10189, FAILED)
        else:
            stream = client.tick_streams[request] = TickStream(found[0], kind)
            self._push(client, request, stream)

    def _cancel(self, client: ApiClient, fields: list[str]) -> None:
        client.tick_streams.pop(FieldReader(fields).number(), None)

    def _push(self, client: ApiClient, request: int, stream: TickStream) -> None:
        now = self._tick(stream)
        if now and now != stream.told:
            stream.told = now
            client.send(encode(99, request, stream.kind, epoch_s(self._market.now_utc), *now))

    def _tick(self, stream: TickStream) -> tuple[object, ...]:
        """Return the fields of a tick as the market is now; nothing where there is none."""
        market = self._market_of(stream.instrument)
        if stream.kind in (TickKind.LAST, TickKind.ALL_LAST):
            price = self._market.spot(stream.instrument.ticker).price_ticks
            return (usd(price), STOCK_SIZE, 0, "", "")
        if market is None:
            return ()
        bid, ask = market.bid_ticks, market.ask_ticks
        if stream.kind is TickKind.MIDPOINT:
            return (usd((bid + ask) / 2),) if bid and ask else ()
        sizes = market.bid_size if bid else 0, market.ask_size if ask else 0
        return (usd(bid) if bid else -1, usd(ask) if ask else -1, *sizes, 0)

    def _market_of(self, instrument: Instrument) -> Market | None:
        if isinstance(instrument, Underlying):
            price = self._market.spot(instrument.ticker).price_ticks
            return Market(Ticks(price - 1), Ticks(price + 1), STOCK_SIZE, STOCK_SIZE)
        quote = self._market.quote(instrument.con_id)
        if quote is None or self._market.contract(instrument.con_id) is None:  # what has expired is silent
            return None
        return Market(quote.bid_ticks, quote.ask_ticks, quote.bid_size, quote.ask_size)


def _has(instrument: Instrument, kind: TickKind) -> bool:
    """Return whether there are such ticks: an index has prices alone, of options no trades are known."""
    is_price = kind in (TickKind.LAST, TickKind.ALL_LAST)
    if not isinstance(instrument, Underlying):
        return not is_price
    return is_price or instrument.sec_type != "IND"
