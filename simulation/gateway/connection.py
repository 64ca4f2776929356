"""One API client's connection: the socket, the handshake, and what the client has asked to be kept informed of."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

from domain.units import Utc
from simulation.gateway.garble import Garbler
from simulation.gateway.subscription import Subscription, TickStream
from simulation.gateway.wire.frames import (
    SERVER_VERSION_MAX,
    SERVER_VERSION_MIN,
    Framer,
    WireError,
    client_versions,
    fields_of,
    frame,
    handshake_time,
)
from simulation.gateway.wire.orders import error
from simulation.gateway.wire.requests import FieldReader

log = logging.getLogger(__name__)

UNREAD_BYTES_MAX = 1 << 18  # of ticks that a client leaves unread; orders are never held back


class KeptBars(NamedTuple):
    """Historical bars that a client has kept up to date: what of, and from which bar on it has not heard all."""

    ticker: str
    size_s: int
    form: int
    volume_per_s: int
    from_utc: Utc


class Gateway(Protocol):
    """What a connection needs of the gateway behind it."""

    def now_utc(self) -> Utc:
        """Return the market's instant."""

    def connected(self, connection: ApiClient) -> None:
        """Take a new connection in."""

    def disconnected(self, connection: ApiClient) -> None:
        """Forget a connection."""

    def admit(self, connection: ApiClient, client_id: int) -> bool:
        """Return whether the connection may have this client id; if so it is greeted."""

    def serve(self, connection: ApiClient, fields: list[str]) -> None:
        """Serve one request."""


class ApiClient(asyncio.Protocol):
    """The server's end of one connection; `client_id` is `None` until the client has sent it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._framer = Framer()
        self._take: Callable[[bytes], None] = self._hello
        self._has_prefix = False
        self._transport: asyncio.Transport | None = None
        self._held: list[bytes] | None = None
        self.version = 0
        self.client_id: int | None = None
        self.subscriptions: dict[int, Subscription] = {}
        self.real_time_bars: dict[int, KeptBars] = {}  # by request
        self.tick_streams: dict[int, TickStream] = {}  # by request
        self.kept_bars: dict[int, KeptBars] = {}  # by request
        self.wants_positions = False
        self.binds_manual_orders = False
        self.follows_account = ""
        self.profits: dict[int, tuple[str, int | None]] = {}  # by request: the account, and the contract of a position
        self.requests_s: deque[float] = deque()  # when the requests of the last second came
        self.is_closed = False
        self.garbler: Garbler | None = None

    # the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection: served, held back or reset, as the faults of the moment have it."""
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._gateway.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the client id and the market data lines."""
        self.is_closed = True
        self._gateway.disconnected(self)

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
                self._take(payload)
        except WireError as trouble:
            log.warning("client %s cut off: %s", self.client_id, trouble)
            self.close()

    def send(self, *frames: bytes) -> None:
        """Write frames in one piece; what a half-open fault holds back is kept for later."""
        if self.is_closed or self._transport is None:
            return
        if self.garbler and self.client_id is not None:
            frames = tuple(self.garbler.rewrite(frames, self.version))
        data = b"".join(frames)
        if self._held is not None:
            self._held.append(data)
        else:
            self._transport.write(data)

    @property
    def can_take_ticks(self) -> bool:
        """Whether ticks go out now; else the changes wait, merged, until the client reads again."""
        if self._held is not None:
            return False
        return self._transport is None or self._transport.get_write_buffer_size() <= UNREAD_BYTES_MAX

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
        now = handshake_time(self._gateway.now_utc())
        self.send(frame(f"{self.version}\0{now}\0".encode()))
        self._take = self._start_api

    def _start_api(self, payload: bytes) -> None:
        reader = FieldReader(fields_of(payload), at=0)
        message, _, client_id = reader.number(), reader.number(), reader.number()
        if message != 71:
            raise WireError(f"message {message} before startApi")
        if self._gateway.admit(self, client_id):
            self._take = self._request

    def _request(self, payload: bytes) -> None:
        self._gateway.serve(self, fields_of(payload))
