"""The simulated hub server: negotiate over HTTP, and one WebSocket endpoint a hub that speaks the vendor's protocol.

Everything runs on one asyncio loop. Two ports: negotiate answers on `port`, its URLs lead to the WebSocket port.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, assert_never
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.typing import Subprotocol

from domain.ports import Clock
from simulation.hubs import http
from simulation.hubs.connections import SUBPROTOCOL, HubConnection
from simulation.hubs.faults import (
    DisconnectHub,
    DropHub,
    EndAtOnce,
    ForgetConnections,
    HubFault,
    KillTokens,
    Redeliver,
    RefusePatch,
    RefuseRest,
    SilenceGroup,
    SpoilFrames,
)
from simulation.hubs.publisher import FeedMarket, Publisher
from simulation.hubs.registry import NEGOTIATE_PATH, Registry, vendor_hub
from simulation.hubs.rest import RestDesk

_PATH: Final = re.compile(r"/client/hubs/([a-z0-9_]+)")
_POLICY_VIOLATION: Final = 1008  # the service's "this session is not there": start afresh
PING_S: Final = 20.0
FAULT_POLL_S: Final = 0.02


class HubServer:
    """Serves the feed of one market.

    Args:
        market: what is published; it is stepped to the clock before each publication.
        clock: the market's time.
        host: the address to listen on.
        port: of negotiate (0 takes any free one).
        ws_port: of the WebSocket (0 takes any free one).
        faults: what goes wrong and when.
        min_interval_real_ms: a group is published each market second, but not more often than this in real time; at
            whatever pace, the last part of each bucket has a frame of every group.
        keys: the keys that may negotiate; `None` lets any of the vendor's form in.
        token_life_s: real seconds.
        recovery_s: real seconds that a dropped connection waits for its client.
        fills_spot: whether analytics carry the spot (the vendor may send 0 there).
    """

    def __init__(
        self,
        market: FeedMarket,
        clock: Clock,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        ws_port: int = 0,
        faults: Iterable[HubFault] = (),
        min_interval_real_ms: int = 200,
        keys: frozenset[str] | None = None,
        token_life_s: float = 900.0,
        recovery_s: float = 30.0,
        fills_spot: bool = True,
    ) -> None:
        self._clock = clock
        self._host = host
        self.port = port
        self.ws_port = ws_port
        self._faults = sorted(faults, key=lambda fault: fault.at_utc)
        self._out_until_s: dict[str, float] = {}
        self._http: asyncio.Server | None = None
        self._ws: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self.registry = Registry(
            self._url_of,
            lambda: asyncio.get_running_loop().time(),
            keys=keys,
            token_life_s=token_life_s,
            recovery_s=recovery_s,
        )
        self.registry.ended = self._connection_ended
        self.rest = RestDesk(market, clock, self.registry.is_known, self._file_url)
        self._ending: dict[str, int] = {}
        self.dialled: Counter[str] = Counter()
        self.publisher = Publisher(
            market,
            clock,
            self.registry,
            min_interval_real_ms=min_interval_real_ms,
            fills_spot=fills_spot,
        )

    def _answer(self, request: http.Request) -> http.Answer:
        is_negotiate = request.path.endswith(NEGOTIATE_PATH)
        return self.registry.answer(request) if is_negotiate else self.rest.answer(request)

    def _file_url(self, name: str) -> str:
        return f"http://{self._host}:{self.port}/v2/files/{name}"

    @property
    def negotiate_url(self) -> str:
        """Where clients negotiate."""
        return f"http://{self._host}:{self.port}/v2/negotiate"

    async def start(self) -> None:
        """Listen and publish.

        Raises:
            OSError: a port is in use; nothing listens then.
        """
        self._ws = await serve(
            self._serve_client,
            self._host,
            self.ws_port,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            process_request=self._admit,
            compression=None,
            ping_interval=PING_S,
            max_size=2**20,
            close_timeout=2,
        )
        self.ws_port = next(iter(self._ws.sockets)).getsockname()[1]
        try:
            self._http = await http.serve(self._host, self.port, self._answer)
        except OSError:
            await self.stop()
            raise
        self.port = self._http.sockets[0].getsockname()[1]
        self._tasks = [
            asyncio.create_task(self.publisher.run(), name="publisher"),
            asyncio.create_task(self._watch_faults(), name="faults"),
        ]

    async def stop(self) -> None:
        """Stop publishing, end the connections in good order and close the ports."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self.registry.connections.values()):
            self.registry.end(connection, "the service stops")
        await asyncio.gather(*self._closing, return_exceptions=True)
        if self._http is not None:
            self._http.close()
        if self._ws is not None:
            self._ws.close()
            await self._ws.wait_closed()

    def inject(self, fault: HubFault) -> None:
        """Let a fault happen now."""
        match fault:
            case DropHub():
                self._out_until_s[vendor_hub(fault.hub)] = asyncio.get_running_loop().time() + fault.outage_s
                self._cut(fault.hub)
            case ForgetConnections():
                for connection in self._connections_of(fault.hub):
                    socket, connection.socket = connection.socket, None
                    self.registry.end(connection, "forgotten")
                    if socket is not None:
                        socket.transport.abort()
            case DisconnectHub():
                for connection in self._connections_of(fault.hub):
                    self.registry.end(connection, "the service closes this connection")
            case RefuseRest():
                self.rest.refuse(fault)
            case RefusePatch():
                self.registry.patch_refusals += [fault.status] * fault.count
            case EndAtOnce():
                self._ending[vendor_hub(fault.hub)] = fault.count
                self._cut(fault.hub)
            case KillTokens():
                self.registry.kill_tokens()
            case SilenceGroup() | SpoilFrames():
                self.publisher.spoil(fault)
            case Redeliver():
                for connection in self._connections_of(fault.hub):
                    connection.redeliver(fault.count)
            case _:
                assert_never(fault)

    async def _watch_faults(self) -> None:
        while True:
            while self._faults and self._faults[0].at_utc <= self._clock.now_utc():
                self.inject(self._faults.pop(0))
            self.registry.forget_expired()
            await asyncio.sleep(FAULT_POLL_S)

    def _url_of(self, hub: str, access_token: str) -> str:
        return f"ws://{self._host}:{self.ws_port}/client/hubs/{hub}?access_token={access_token}"

    def _connections_of(self, hub: str) -> list[HubConnection]:
        return [s for s in self.registry.connections.values() if s.hub == vendor_hub(hub)]

    def _cut(self, hub: str) -> None:
        for connection in self._connections_of(hub):
            if connection.socket is not None:
                connection.socket.transport.abort()

    def _admit(self, connection: ServerConnection, handshake: Handshake) -> Response | None:
        """Refuse a dial before the upgrade: unknown hub, an outage, a token that does not hold."""
        url = urlsplit(handshake.path)
        path = _PATH.fullmatch(url.path)
        if path is None:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such hub\n")
        hub = path[1]
        if self._out_until_s.get(hub, 0.0) > asyncio.get_running_loop().time():
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "the hub is down\n")
        query = parse_qs(url.query)
        if "awps_connection_id" in query:
            return None  # an unknown connection is refused by 1008, after the upgrade
        if self.registry.admit(hub, query.get("access_token", [""])[0]) is None:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the token does not hold\n")
        return None

    async def _serve_client(self, socket: ServerConnection) -> None:
        connection = self._connection_for(socket)
        if connection is None:
            await socket.close(_POLICY_VIOLATION, "no such session")
            return
        self.dialled[connection.hub] += 1
        if self._ending.get(connection.hub, 0) > 0:
            self._ending[connection.hub] -= 1
            await socket.send('{"type":"system","event":"connected","connectionId":"c","reconnectionToken":"r"}')
            connection.socket = None
            self.registry.end(connection, "another client uses this key")
            await self._close_in_order(socket, "another client uses this key")
            return
        pump = asyncio.create_task(self._pump(connection, socket))
        try:
            async for text in socket:
                self._take_message(connection, text)
        except ConnectionClosed:
            pass
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await pump
            connection.drop(socket, asyncio.get_running_loop().time())
            if isinstance(socket.protocol.close_exc, ConnectionClosedOK):
                self.registry.end(connection, "closed by the client")

    def _connection_for(self, socket: ServerConnection) -> HubConnection | None:
        assert socket.request is not None
        url = urlsplit(socket.request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        hub = url.path.rsplit("/", 1)[1]
        if "awps_connection_id" in query:
            connection = self.registry.recover(
                hub, query["awps_connection_id"], query.get("awps_reconnection_token", "")
            )
        else:
            token = self.registry.admit(hub, query.get("access_token", ""))
            connection = None if token is None else self.registry.open(token)
        if connection is not None:
            if connection.socket is not None:  # the client noticed the loss before we did
                connection.socket.transport.abort()
            connection.resume(socket)
        return connection

    async def _pump(self, connection: HubConnection, socket: ServerConnection) -> None:
        hello = {
            "type": "system",
            "event": "connected",
            "userId": None,
            "connectionId": connection.connection_id,
            "reconnectionToken": connection.reconnection_token,
        }
        with contextlib.suppress(ConnectionClosed):
            await socket.send(orjson.dumps(hello).decode())
            while True:
                while connection.pending and connection.socket is socket:
                    await socket.send(connection.pending.popleft())
                connection.wake.clear()
                await connection.wake.wait()

    def _take_message(self, connection: HubConnection, text: str | bytes) -> None:
        try:
            message = orjson.loads(text)
        except ValueError:
            self.registry.end(connection, "a message is no JSON")
            return
        match message:
            case {"type": "sequenceAck", "sequenceId": int(sequence)}:
                connection.acknowledge(sequence)
            case {"type": "joinGroup", "group": str(group), "ackId": int(ack_id)}:
                error = self.registry.join(connection, group)
                told = {"type": "ack", "ackId": ack_id, "success": error is None}
                connection.pending.append(orjson.dumps(told | ({"error": {"name": error}} if error else {})).decode())
                connection.wake.set()
            case {"type": "ping"}:
                connection.pending.append('{"type":"pong"}')
                connection.wake.set()
            case _:
                pass  # the service ignores what it does not know
        if connection.is_over_limit:  # asks without end, and reads no answer
            self.registry.end(connection, "too much is not acknowledged")

    def _connection_ended(self, connection: HubConnection, why: str) -> None:
        socket, connection.socket = connection.socket, None
        if socket is not None:
            task = asyncio.create_task(self._close_in_order(socket, why))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close_in_order(self, socket: ServerConnection, why: str) -> None:
        farewell = {"type": "system", "event": "disconnected", "message": why}
        with contextlib.suppress(ConnectionClosed):
            await socket.send(orjson.dumps(farewell).decode())
        await socket.close(_POLICY_VIOLATION, why)
