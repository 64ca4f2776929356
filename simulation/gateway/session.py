"""One client's connection: handshake, requests about contracts and market data, and its share of the ticks."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from simulation.gateway import account_messages as account
from simulation.gateway.contracts import market_rule
from simulation.gateway.order_messages import error
from simulation.gateway.requests import FieldReader
from simulation.gateway.ticks import Subscription
from simulation.gateway.wire import (
    SERVER_VERSION_MAX,
    SERVER_VERSION_MIN,
    Framer,
    WireError,
    client_versions,
    encode,
    epoch_s,
    fields_of,
    frame,
    handshake_time,
)

if TYPE_CHECKING:
    from simulation.gateway.server import GatewayServer

log = logging.getLogger(__name__)

UNREAD_BYTES_MAX = 1 << 18  # of ticks that a client leaves unread; orders are never held back
FARM_NOTICES = (
    (2104, "Market data farm connection is OK:usopt"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)
NO_SECURITY = "No security definition has been found for the request"
CLIENT_ID_IN_USE = "Unable to connect as the client id is already in use. Retry with a unique client id."
COMPETING = "No market data during competing live session"
LINK_LOST = "Connectivity between IB and Trader Workstation has been lost."
NO_SUCH_TICKER = "Can't find EId with tickerId"
# Requests that this gateway does not serve: where their request id stands and what IB says when it has nothing.
UNSERVED = {
    10: (2, 354, "Requested market data is not subscribed"),
    20: (1, 162, "Historical Market Data Service error message:HMDS query returned no data"),
    50: (2, 420, "Invalid Real-time Query"),
    81: (1, 321, "Error validating request: matching symbols are not simulated"),
    87: (1, 162, "Historical Market Data Service error message:No head time stamp"),
    92: (1, 321, "Error validating request: profit and loss subscriptions are not simulated"),
    94: (1, 321, "Error validating request: profit and loss subscriptions are not simulated"),
    96: (1, 162, "Historical Market Data Service error message:HMDS query returned no data"),
    97: (1, 10189, "Failed to request tick-by-tick data"),
}
# Sent by clients as a matter of course; a real gateway answers them with nothing that matters here.
UNANSWERED = frozenset({11, 12, 13, 14, 23, 25, 51, 75, 77, 90, 93, 95, 98})


class Session(asyncio.Protocol):
    """The server's end of one connection; `client_id` is `None` until the client has said it."""

    def __init__(self, server: GatewayServer) -> None:
        self._server = server
        self._framer = Framer()
        self._serve: Callable[[bytes], None] = self._hello
        self._has_prefix = False
        self._transport: asyncio.Transport | None = None
        self._held: list[bytes] | None = None
        self.version = 0
        self.client_id: int | None = None
        self.subscriptions: dict[int, Subscription] = {}
        self.wants_positions = False
        self.wants_account = False
        self.is_closed = False

    # the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection: served, held back or reset, as the faults of the moment say."""
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the client id and the market data lines."""
        self.is_closed = True
        self._server.disconnected(self)

    def data_received(self, data: bytes) -> None:
        """Handle every request that is complete; a client that sends garbage is cut off."""
        self._framer.push(data)
        try:
            if not self._has_prefix:
                taken = self._framer.take_prefix(b"API\0")
                if taken is None:
                    return
                if not taken:
                    raise WireError("the connection does not begin with API")
                self._has_prefix = True
            for payload in self._framer.feed(b""):
                if self.is_closed:
                    return
                self._serve(payload)
        except WireError as trouble:
            log.warning("client %s cut off: %s", self.client_id, trouble)
            self.close()

    def send(self, *frames: bytes) -> None:
        """Write frames in one piece; what a half-open fault holds back is kept for later."""
        if self.is_closed or self._transport is None:
            return
        data = b"".join(frames)
        if self._held is not None:
            self._held.append(data)
        else:
            self._transport.write(data)

    def _is_congested(self) -> bool:
        return self._transport is not None and self._transport.get_write_buffer_size() > UNREAD_BYTES_MAX

    def error(self, request_id: int, code: int, text: str) -> None:
        """Send an error; -1 concerns the connection."""
        self.send(error(request_id, code, text, self.version))

    def close(self) -> None:
        """End the connection after what is written."""
        self.is_closed = True
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """End the connection with a RST, as a machine does that has lost it."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        self.is_closed = True

    def hold(self) -> None:
        """Let nothing pass either way until `release`."""
        if self._held is None and self._transport is not None:
            self._held = []
            self._transport.pause_reading()

    def release(self) -> None:
        """Pass on what was held and go on."""
        if self._held is not None and self._transport is not None and not self.is_closed:
            held, self._held = self._held, None
            self._transport.write(b"".join(held))
            self._transport.resume_reading()

    # the handshake

    def _hello(self, payload: bytes) -> None:
        low, high = client_versions(payload.decode("utf-8", "backslashreplace"))
        self.version = min(high, SERVER_VERSION_MAX)
        if self.version < max(low, SERVER_VERSION_MIN):
            raise WireError(f"versions {low} to {high}; served are 157 to 178")
        now = handshake_time(self._server.now_utc())
        self.send(frame(f"{self.version}\0{now}\0".encode()))
        self._serve = self._start_api

    def _start_api(self, payload: bytes) -> None:
        reader = FieldReader(fields_of(payload), at=0)
        message, _, client_id = reader.number(), reader.number(), reader.number()
        if message != 71:
            raise WireError(f"message {message} before startApi")
        if not self._server.admit(self, client_id):
            self.error(-1, 326, CLIENT_ID_IN_USE)
            self.close()
            return
        next_id = self._server.exchange.next_order_id(client_id)
        notices = FARM_NOTICES if self._server.is_telling else ((1100, LINK_LOST),)
        self.send(
            encode(15, 1, self._server.account),
            encode(9, 1, next_id),
            *(error(-1, code, text, self.version) for code, text in notices),
        )
        self._serve = self._request

    # requests

    def _request(self, payload: bytes) -> None:
        fields = fields_of(payload)
        if not self._server.is_paced(self):
            return
        message = FieldReader(fields, at=0).number()
        handler = self._HANDLERS.get(message)
        if handler is not None:
            handler(self, fields)
        elif message in UNSERVED:
            place, code, text = UNSERVED[message]
            self.error(FieldReader(fields, at=place).number(), code, text)
        elif not self._server.desk.handle(self, message, fields) and message not in UNANSWERED:
            self.error(-1, 505, f"Fatal Error: Unknown message id. {message}")

    def _contract_details(self, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        request = reader.number()
        query = reader.contract()
        catalogue = self._server.catalogue
        found = catalogue.find(query)
        if not found:
            self.error(request, 200, NO_SECURITY)
            return
        rows = (catalogue.details(request, i, query.exchange, self.version) for i in found)
        self.send(*rows, encode(52, 1, request))

    def _option_params(self, fields: list[str]) -> None:
        reader = FieldReader(fields)
        request, symbol, exchange = reader.number(), reader.text(), reader.text()
        rows = self._server.catalogue.option_params(request, symbol, exchange)
        self.send(*rows, encode(76, request))

    def _market_rule(self, fields: list[str]) -> None:
        rule = market_rule(FieldReader(fields).number())
        if rule is None:
            self.error(-1, 322, "Error processing request.-'': cause - invalid market rule id")
        else:
            self.send(rule)

    def _market_data(self, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        request, query = reader.number(), reader.contract()
        if query.sec_type == "BAG":
            reader.skip(4 * reader.number())
        reader.skip(3 if reader.flag() else 0)
        reader.skip(1)  # generic ticks: this market has none
        is_snapshot = reader.flag()
        found = self._server.catalogue.find(query)
        if len(found) != 1:
            self.error(request, 200, NO_SECURITY)
        elif self._server.is_competing:
            self.error(request, 10197, COMPETING)
        elif not is_snapshot and self._server.lines_used() >= self._server.lines_max:
            self.error(request, 101, "Max number of tickers has been reached")
        else:
            subscription = Subscription(request, found[0], self._server.is_data_delayed)
            data_type = 3 if self._server.is_data_delayed else 1
            tick = 0.05 if subscription.is_option else 0.01
            self.send(encode(58, 1, request, data_type), encode(81, request, tick, "9c0001", 3))
            self.push(subscription)
            if is_snapshot:
                self.send(encode(57, 1, request))
            else:
                self.subscriptions[request] = subscription

    def _cancel_market_data(self, fields: list[str]) -> None:
        request = FieldReader(fields, at=2).number()
        if self.subscriptions.pop(request, None) is None:
            self.error(request, 300, f"{NO_SUCH_TICKER}:{request}")

    def push(self, *subscriptions: Subscription) -> None:
        """Send what is new to the given subscriptions."""
        if self._held is not None or self._is_congested():
            return  # the changes wait, merged, until the client reads again
        market, frames = self._server.market, []
        for sub in subscriptions:
            if sub.is_option:
                frames += sub.changes(market.quote(sub.con_id), None)
            else:
                frames += sub.changes(None, market.spot(sub.instrument.ticker))
        if frames:
            self.send(*frames)

    def _current_time(self, fields: list[str]) -> None:
        self.send(encode(49, 1, epoch_s(self._server.now_utc())))

    def _ids(self, fields: list[str]) -> None:
        assert self.client_id is not None
        self.send(encode(9, 1, self._server.exchange.next_order_id(self.client_id)))

    def _managed_accounts(self, fields: list[str]) -> None:
        self.send(encode(15, 1, self._server.account))

    def _data_type(self, fields: list[str]) -> None:
        """Take the wish and do nothing: the account has live data, and live goes before delayed."""

    def _positions(self, fields: list[str]) -> None:
        self.wants_positions = True
        self.send(*self._server.desk.position_rows(), account.position_end())

    def _cancel_positions(self, fields: list[str]) -> None:
        self.wants_positions = False

    def _account_updates(self, fields: list[str]) -> None:
        self.wants_account = FieldReader(fields, at=2).flag()
        if self.wants_account:
            server = self._server
            self.send(*server.desk.account_rows(), account.account_download_end(server.account))

    def _account_multi(self, fields: list[str]) -> None:
        server = self._server
        request, values = FieldReader(fields, at=2).number(), server.exchange.account_values()
        self.send(*account.account_multi(request, values, server.account))

    def _account_summary(self, fields: list[str]) -> None:
        server = self._server
        reader = FieldReader(fields, at=2)
        request, _, tags = reader.number(), reader.text(), reader.text()
        values = server.exchange.account_values()
        self.send(*account.account_summary(request, values, tags, server.account))

    def _cancel_account_summary(self, fields: list[str]) -> None:
        """A summary is sent once here, so there is nothing to stop."""

    _HANDLERS: ClassVar[dict[int, Callable[[Session, list[str]], None]]] = {
        1: _market_data,
        2: _cancel_market_data,
        6: _account_updates,
        8: _ids,
        9: _contract_details,
        17: _managed_accounts,
        49: _current_time,
        59: _data_type,
        61: _positions,
        62: _account_summary,
        63: _cancel_account_summary,
        64: _cancel_positions,
        76: _account_multi,
        78: _option_params,
        91: _market_rule,
    }
