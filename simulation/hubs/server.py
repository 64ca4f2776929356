"""The simulated hub server: negotiate over HTTP, and one WebSocket endpoint a hub that speaks the vendor's protocol.

Everything runs on one asyncio loop. Two ports: negotiate answers on `port`, its URLs lead to the WebSocket port.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.typing import Subprotocol

from domain.instruments import Spot
from domain.options.profile import Profile
from domain.ports import Clock
from simulation.hubs import http
from simulation.hubs.faults import (
    DisconnectHub,
    DropHub,
    ForgetSessions,
    HubFault,
    KillTokens,
    Redeliver,
    SilenceGroup,
    SpoilFrames,
)
from simulation.hubs.publisher import Publisher
from simulation.hubs.registry import Registry, vendor_hub
from simulation.hubs.sessions import SUBPROTOCOL, Session

_PATH: Final = re.compile(r"/client/hubs/([a-z0-9_]+)")
_POLICY_VIOLATION: Final = 1008  # the service's "this session is not there": start afresh
PING_S: Final = 20.0
FAULT_POLL_S: Final = 0.02


class FeedMarket(Protocol):
    """What the hubs read of the simulated market."""

    open_utc: int
    close_utc: int

    @property
    def now_utc(self) -> int:
        """The instant that the market stands at."""

    def step(self, to_utc: int) -> None:
        """Move the market on to an instant."""

    def spot(self, ticker: str) -> Spot:
        """Give an underlying's price."""

    def profile(self, ticker: str, category: str) -> Profile:
        """Give a profile as the vendor would publish it now."""


class HubServer:
    """Serves the feed of one market.

    Args:
        market: what is published; it is stepped to the clock before each publication.
        clock: the market's time.
        host: the address to listen on.
        port: of negotiate (0 takes any free one).
        ws_port: of the WebSocket (0 takes any free one).
        faults: what goes wrong and when.
        min_interval_real_ms: a group is published each market second, but not more often than this in real time.
        keys: the keys that may negotiate; `None` lets any of the vendor's form in.
        token_life_s: real seconds.
        recovery_s: real seconds that a dropped session waits for its client.
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
        self.registry.ended = self._session_ended
        self.publisher = Publisher(
            market,
            clock,
            self.registry,
            min_interval_real_ms=min_interval_real_ms,
            fills_spot=fills_spot,
        )

    @property
    def negotiate_url(self) -> str:
        """Where clients negotiate."""
        return f"http://{self._host}:{self.port}/v2/negotiate"

    async def start(self) -> None:
        """Listen and publish.

        Raises:
            OSError: a port is in use.
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
        self._http = await http.serve(self._host, self.port, self.registry.answer)
        self.port = self._http.sockets[0].getsockname()[1]
        self._tasks = [
            asyncio.create_task(self.publisher.run(), name="publisher"),
            asyncio.create_task(self._watch_faults(), name="faults"),
        ]

    async def stop(self) -> None:
        """Stop publishing, end the sessions in good order and close the ports."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for session in list(self.registry.sessions.values()):
            self.registry.end(session, "the service stops")
        await asyncio.gather(*self._closing, return_exceptions=True)
        if self._http is not None:
            self._http.close()
        if self._ws is not None:
            self._ws.close()
            await self._ws.wait_closed()

    async def run(self) -> None:
        """Serve until cancelled; a publisher that fails ends it with its exception."""
        try:
            await self.start()
            await asyncio.gather(*self._tasks)
        finally:
            await self.stop()

    def inject(self, fault: HubFault) -> None:
        """Let a fault happen now."""
        match fault:
            case DropHub():
                self._out_until_s[vendor_hub(fault.hub)] = asyncio.get_running_loop().time() + fault.outage_s
                self._cut(fault.hub)
            case ForgetSessions():
                for session in self._sessions_of(fault.hub):
                    socket, session.socket = session.socket, None
                    self.registry.end(session, "forgotten")
                    if socket is not None:
                        socket.transport.abort()
            case DisconnectHub():
                for session in self._sessions_of(fault.hub):
                    self.registry.end(session, "the service closes this connection")
            case KillTokens():
                self.registry.kill_tokens()
            case SilenceGroup() | SpoilFrames():
                self.publisher.spoil(fault)
            case Redeliver():
                for session in self._sessions_of(fault.hub):
                    session.redeliver(fault.count)

    async def _watch_faults(self) -> None:
        while True:
            while self._faults and self._faults[0].at_utc <= self._clock.now_utc():
                self.inject(self._faults.pop(0))
            self.registry.forget_expired()
            await asyncio.sleep(FAULT_POLL_S)

    def _url_of(self, hub: str, access_token: str) -> str:
        return f"ws://{self._host}:{self.ws_port}/client/hubs/{hub}?access_token={access_token}"

    def _sessions_of(self, hub: str) -> list[Session]:
        return [s for s in self.registry.sessions.values() if s.hub == vendor_hub(hub)]

    def _cut(self, hub: str) -> None:
        for session in self._sessions_of(hub):
            if session.socket is not None:
                session.socket.transport.abort()

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
            return None  # an unknown session is told so by 1008, after the upgrade
        if self.registry.admit(hub, query.get("access_token", [""])[0]) is None:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the token does not hold\n")
        return None

    async def _serve_client(self, socket: ServerConnection) -> None:
        session = self._session_for(socket)
        if session is None:
            await socket.close(_POLICY_VIOLATION, "no such session")
            return
        pump = asyncio.create_task(self._pump(session, socket))
        try:
            async for text in socket:
                self._hear(session, text)
        except ConnectionClosed:
            pass
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await pump
            session.drop(socket, asyncio.get_running_loop().time())
            if isinstance(socket.protocol.close_exc, ConnectionClosedOK):
                self.registry.end(session, "closed by the client")

    def _session_for(self, socket: ServerConnection) -> Session | None:
        assert socket.request is not None
        url = urlsplit(socket.request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        hub = url.path.rsplit("/", 1)[1]
        if "awps_connection_id" in query:
            session = self.registry.recover(hub, query["awps_connection_id"], query.get("awps_reconnection_token", ""))
        else:
            token = self.registry.admit(hub, query.get("access_token", ""))
            session = None if token is None else self.registry.open(token)
        if session is not None:
            if session.socket is not None:  # the client noticed the loss before we did
                session.socket.transport.abort()
            session.resume(socket)
        return session

    async def _pump(self, session: Session, socket: ServerConnection) -> None:
        hello = {
            "type": "system",
            "event": "connected",
            "userId": None,
            "connectionId": session.connection_id,
            "reconnectionToken": session.reconnection_token,
        }
        with contextlib.suppress(ConnectionClosed):
            await socket.send(orjson.dumps(hello).decode())
            while True:
                while session.pending and session.socket is socket:
                    await socket.send(session.pending.popleft())
                session.wake.clear()
                await session.wake.wait()

    def _hear(self, session: Session, text: str | bytes) -> None:
        try:
            message = orjson.loads(text)
        except ValueError:
            self.registry.end(session, "a message is no JSON")
            return
        match message:
            case {"type": "sequenceAck", "sequenceId": int(sequence)}:
                session.acknowledge(sequence)
            case {"type": "ping"}:
                session.pending.append('{"type":"pong"}')
                session.wake.set()
            case _:
                pass  # the service ignores what it does not know

    def _session_ended(self, session: Session, why: str) -> None:
        socket, session.socket = session.socket, None
        if socket is not None:
            task = asyncio.create_task(self._close_in_order(socket, why))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close_in_order(self, socket: ServerConnection, why: str) -> None:
        farewell = {"type": "system", "event": "disconnected", "message": why}
        with contextlib.suppress(ConnectionClosed):
            await socket.send(orjson.dumps(farewell).decode())
        await socket.close(_POLICY_VIOLATION, why)


async def run_hubs(
    market: FeedMarket,
    clock: Clock,
    host: str,
    port: int,
    faults: Iterable[HubFault] = (),
    *,
    min_interval_real_ms: int = 200,
) -> None:
    """Serve the feed until cancelled: negotiate on `port`, WebSocket on `port + 1`.

    Raises:
        OSError: a port is in use.
    """
    server = HubServer(
        market,
        clock,
        host,
        port,
        ws_port=port + 1 if port else 0,
        faults=faults,
        min_interval_real_ms=min_interval_real_ms,
    )
    await server.run()
