"""Requests about contracts and market data, and the ticks that subscriptions get."""

from __future__ import annotations

from collections.abc import Iterable

from domain.instants import SECOND
from domain.instruments import Contract, Quote
from domain.units import Ticks
from simulation.broker.quoted import QuotedMarket
from simulation.gateway.clients import Clients, Handler
from simulation.gateway.connection import ApiClient
from simulation.gateway.contracts import NO_SECURITY, Catalogue, Instrument, market_rule
from simulation.gateway.faults import ActiveFaults, FaultKind
from simulation.gateway.subscription import Subscription
from simulation.gateway.wire.frames import encode
from simulation.gateway.wire.requests import FieldReader
from simulation.market.market import Market

COMPETING = "No market data during competing live session"
NOT_SUBSCRIBED = "Requested market data is not subscribed."
NO_SUCH_TICKER = "Can't find EId with tickerId"
RECORD_AGE_MAX_NS = 3 * SECOND  # a drawn quote is no older either


class MarketData:
    """Serves the contract and market data requests of all clients."""

    def __init__(
        self, market: QuotedMarket, catalogue: Catalogue, clients: Clients, active: ActiveFaults, lines_max: int
    ) -> None:
        self._market = market
        self._catalogue = catalogue
        self._clients = clients
        self._active = active
        self._lines_max = lines_max
        self.handlers: dict[int, Handler] = {
            1: self._subscribe,
            2: self._cancel,
            9: self._contract_details,
            59: self._data_type,
            78: self._option_params,
            91: self._market_rule,
        }

    def push_all(self) -> None:
        """Send what is new to every subscription of every client."""
        for client in self._clients.admitted():
            self._push(client, client.subscriptions.values())

    def refuse_subscriptions(self) -> None:
        """Send every client that another session has the market data."""
        for client in self._clients.admitted():
            for request in client.subscriptions:
                client.error(request, 10197, COMPETING)

    def report_halt(self, ticker: str, *, is_halted: bool) -> None:
        """Send the halted tick (49) on every line of an underlying and of its options; no ticker means all."""
        for client in self._clients.admitted():
            rows = [
                sub.halt(is_halted) for sub in client.subscriptions.values() if ticker in ("", sub.instrument.ticker)
            ]
            client.send(*rows)

    def _push(self, client: ApiClient, subscriptions: Iterable[Subscription]) -> None:
        if not client.can_take_ticks:
            return
        market, frames = self._market, []
        for sub in subscriptions:
            if sub.is_option:
                # what has expired is not listed any more, and its line is silent
                quote = None if market.contract(sub.con_id) is None else market.quote(sub.con_id)
                is_old = sub.is_new and quote is not None and self._is_old_record(quote)
                frames += sub.changes(None if is_old else quote, None)
            else:
                frames += sub.changes(None, market.spot(sub.instrument.ticker))
        if frames:
            client.send(*frames)

    def _is_old_record(self, quote: Quote) -> bool:
        """Return whether a recorded quote is too old to begin a line with.

        Its client takes it for as old as its arrival: the line begins with the record of the next minute.
        """
        market = self._market
        return (
            isinstance(market, Market)
            and market.now_utc - quote.at_utc > RECORD_AGE_MAX_NS
            and market.is_recorded(quote.con_id)
        )

    def _subscribe(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        request, query = reader.number(), reader.contract()
        if query.sec_type == "BAG":
            reader.skip(4 * reader.number())
        reader.skip(3 if reader.flag() else 0)
        generic_ticks = reader.text()
        is_snapshot = reader.flag()
        found = self._catalogue.find(query)
        if len(found) != 1:
            client.error(request, 200, NO_SECURITY)
        elif (refused := self.refusal(found[0])) is not None:
            client.error(request, *refused)
        elif not is_snapshot and self._clients.lines_used() >= self._lines_allowed():
            client.error(request, 101, "Max number of tickers has been reached")
        else:
            is_delayed = self._active.is_data_delayed
            first = self._active.of(FaultKind.FIRST_PRINT)
            subscription = Subscription(
                request, found[0], is_delayed, Ticks(first[0].number("ticks", 1)) if first else None, generic_ticks
            )
            tick = 0.05 if subscription.is_option else 0.01
            data_type = self._active.data_type
            client.send(encode(58, 1, request, data_type), encode(81, request, tick, "9c0001", 3))
            self._push(client, (subscription,))
            if is_snapshot:
                client.send(encode(57, 1, request))
            else:
                client.subscriptions[request] = subscription

    def _lines_allowed(self) -> int:
        """Return how many market data lines the account has at the moment."""
        return min([self._lines_max, *(fault.number("lines", 0) for fault in self._active.of(FaultKind.LINE_LIMIT))])

    def refusal(self, instrument: Instrument) -> tuple[int, str] | None:
        """Return code and text of what refuses the market data of an instrument; `None` where the account has them."""
        name = instrument.trading_class if isinstance(instrument, Contract) else instrument.ticker
        for fault in self._active.of(FaultKind.NOT_SUBSCRIBED):
            if fault.args.get("of", name) == name:
                return fault.code(354), fault.text(NOT_SUBSCRIBED)
        return (10197, COMPETING) if self._active.is_competing else None

    def _cancel(self, client: ApiClient, fields: list[str]) -> None:
        request = FieldReader(fields, at=2).number()
        if client.subscriptions.pop(request, None) is None:
            client.error(request, 300, f"{NO_SUCH_TICKER}:{request}")

    def _contract_details(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        request = reader.number()
        query = reader.contract()
        hidden = self._not_permitted()
        found = [i for i in self._catalogue.find(query) if not (isinstance(i, Contract) and i.trading_class in hidden)]
        if not found:
            client.error(request, 200, NO_SECURITY)
            return
        rows = (self._catalogue.details(request, i, query.exchange, client.version) for i in found)
        client.send(*rows, encode(52, 1, request))

    def _option_params(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields)
        request, symbol, exchange = reader.number(), reader.text(), reader.text()
        rows = self._catalogue.option_params(request, symbol, exchange, self._not_permitted())
        client.send(*rows, encode(76, request))

    def _not_permitted(self) -> frozenset[str]:
        """Return the option classes that the account may not even see."""
        return frozenset(str(fault.args.get("of", "")) for fault in self._active.of(FaultKind.NOT_PERMITTED))

    def _market_rule(self, client: ApiClient, fields: list[str]) -> None:
        rule = market_rule(FieldReader(fields).number())
        if rule is None:
            client.error(-1, 322, "Error processing request.-'': cause - invalid market rule id")
        else:
            client.send(rule)

    def _data_type(self, client: ApiClient, fields: list[str]) -> None:
        """Take the wish and do nothing: the account has live data, and live goes before delayed."""
