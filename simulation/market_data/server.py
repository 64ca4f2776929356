"""A provider of chains, prices and bars over the simulated market: its streams and its REST on one port.

It speaks the shape of the provider, as `gateways/market_data` describes it, to anybody's client.
"""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import Any, Final

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from domain.indices import INDICES
from domain.instants import MINUTE, MS
from domain.ports import Clock
from simulation.hubs.http import Answer
from simulation.market.market import Market
from simulation.market_data.faults import ProviderFaults
from simulation.market_data.rest import RestDesk

INTERVAL_S: Final = 0.25
AUTH_S: Final = 5.0  # real; a client that has not sent its key by then is sent away
CLUSTERS: Final = ("stocks", "indices")


class _Client:
    """One client of a stream, and what it subscribed to."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.wanted: dict[str, None] = {}


class ProviderServer:
    """Serves one market.

    Args:
        market: what is told; it is stepped to the clock.
        clock: the market's time.
        key: the one key that is known; `None` lets any in.
        host: the address to listen on.
        port: 0 takes any free one.
        faults: what goes wrong; its fields may be set at any moment.
        interval_s: real seconds between two messages of a stream.
    """

    def __init__(
        self, market: Market, clock: Clock, key: str | None, host: str = "127.0.0.1", port: int = 0, *,
        faults: ProviderFaults | None = None, interval_s: float = INTERVAL_S,
    ) -> None:  # fmt: skip
        self.faults = faults or ProviderFaults()
        self.rest = RestDesk(market, clock, key, self.faults, lambda: self.rest_url)
        self._market = market
        self._clock = clock
        self._key = key
        self._host = host
        self.port = port
        self._interval_s = interval_s
        self._server: Server | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._clients: set[_Client] = set()
        self._minutes: dict[str, tuple[int, list[int]]] = {}
        self.dialled_n = 0
        self.authenticated_n = 0

    @property
    def rest_url(self) -> str:
        """The address below which REST answers."""
        return f"http://{self._host}:{self.port}"

    @property
    def stream_url(self) -> str:
        """The address below which the streams are dialled."""
        return f"ws://{self._host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is in use.
        """
        self._server = await serve(self._talk, self._host, self.port, process_request=self._answer, compression=None)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._publishing = asyncio.get_running_loop().create_task(self._publish())

    async def close(self) -> None:
        """Stop listening and end the sessions."""
        if self._publishing is not None:
            self._publishing.cancel()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def drop(self) -> None:
        """End every session of the streams without a word."""
        for client in tuple(self._clients):
            client.socket.transport.abort()

    async def tell(self, ticker: str, *events: dict[str, Any]) -> int:
        """Send events of a ticker, as they are, in one message to all who subscribed to it; return how many have."""
        listening = [c for c in self._clients if any(self._ticker(name) == ticker for name in c.wanted)]
        for client in listening:
            await self._send(client.socket, list(events))
        return len(listening)

    async def tell_raw(self, text: str) -> None:
        """Send a text that may be no message at all."""
        for client in tuple(self._clients):
            with contextlib.suppress(ConnectionClosed):
                await client.socket.send(text)

    # -- REST on the same port -------------------------------------------------------------------

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if "upgrade" in request.headers:
            if request.path.strip("/") in CLUSTERS:
                return None
            return _rendered(Answer(404, {"status": "ERROR", "error": f"there is no stream {request.path}"}))
        return _rendered(self.rest.answer(request.path, request.headers.get("Authorization", "")))

    # -- the streams -----------------------------------------------------------------------------

    async def _talk(self, socket: ServerConnection) -> None:
        self.dialled_n += 1
        client = _Client(socket)
        try:
            await self._status(socket, "connected", "Connected Successfully")
            if self.faults.is_mute:
                await socket.wait_closed()
            elif not await self._is_let_in(socket):
                return
            self._clients.add(client)
            async for text in socket:
                await self._subscribe(client, orjson.loads(text))
        except (ConnectionClosed, TimeoutError, AttributeError, ValueError, TypeError):
            pass  # the client went away, or speaks something else
        finally:
            self._clients.discard(client)

    async def _is_let_in(self, socket: ServerConnection) -> bool:
        async with asyncio.timeout(AUTH_S):
            said = orjson.loads(await socket.recv())
        is_known = bool(said.get("params")) if self._key is None else said.get("params") == self._key
        if said.get("action") != "auth" or not is_known or self.faults.refuses_keys:
            await self._status(socket, "auth_failed", "authentication failed")
            return False
        if self.faults.is_full:
            await self._status(socket, "max_connections", "Maximum number of websocket connections exceeded.")
            return False
        self.authenticated_n += 1
        await self._status(socket, "auth_success", "authenticated")
        return True

    async def _subscribe(self, client: _Client, said: dict[str, Any]) -> None:
        if said.get("action") != "subscribe":
            return
        for name in str(said.get("params", "")).split(","):
            client.wanted[name] = None
            await self._status(client.socket, "success", f"subscribed to: {name}")

    @staticmethod
    def _ticker(name: str) -> str:
        return name.partition(".")[2].removeprefix("I:")

    async def _status(self, socket: ServerConnection, status: str, message: str) -> None:
        await self._send(socket, [{"ev": "status", "status": status, "message": message}])

    async def _send(self, socket: ServerConnection, events: list[dict[str, Any]]) -> None:
        with contextlib.suppress(ConnectionClosed):
            await socket.send(orjson.dumps(events).decode())

    async def _publish(self) -> None:
        """Tell of every ticker as it stands, and of each minute once it is over."""
        while True:
            if not self.faults.is_silent:
                self._market.step(max(self._clock.now_utc(), self._market.now_utc))
                events = {ticker: self._events(ticker) for ticker in self._tickers()}
                for client in tuple(self._clients):
                    wanted = [e for ticker in events for e in events[ticker] if _name(e, ticker) in client.wanted]
                    if wanted:
                        await self._send(client.socket, self.faults.spoiled(wanted))
            await asyncio.sleep(self._interval_s)

    def _tickers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._market.tickers, "VIX")))

    def _events(self, ticker: str) -> list[dict[str, Any]]:
        """Return what there is to tell of a ticker now: its value or its second, and the minute that has ended."""
        spot = self._market.spot(ticker)
        usd, at_ms = spot.price_ticks / 100, self._market.now_utc // MS
        symbol = f"I:{ticker}" if ticker in INDICES else ticker
        events: list[dict[str, Any]] = [
            {"ev": "V", "T": symbol, "val": usd, "t": at_ms} if ticker in INDICES
            else {"ev": "A", "sym": symbol, "v": 100, "o": usd, "h": usd, "l": usd, "c": usd, "s": at_ms - 1000,
                  "e": at_ms}
        ]  # fmt: skip
        minute = self._market.now_utc // MINUTE
        begun, prices = self._minutes.get(ticker, (minute, []))
        if begun != minute and prices:
            first, high, low, last = (p / 100 for p in (prices[0], max(prices), min(prices), prices[-1]))
            begin_ms = begun * MINUTE // MS
            events.append({
                "ev": "AM", "sym": symbol, "o": first, "h": high, "l": low, "c": last, "v": 6_000, "s": begin_ms,
                "e": begin_ms + 60_000,
            })  # fmt: skip
            prices = []
        self._minutes[ticker] = minute, [*prices, spot.price_ticks]
        return events


def _name(event: dict[str, Any], ticker: str) -> str:
    """Return the subscription that an event belongs to."""
    return f"{event['ev']}.{'I:' if ticker in INDICES else ''}{ticker}"


def _rendered(answer: Answer) -> Response:
    body = answer.payload if isinstance(answer.payload, bytes) else orjson.dumps(answer.payload)
    headers = Headers({
        "Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close", **answer.headers,
    })  # fmt: skip
    return Response(answer.status, HTTPStatus(answer.status).phrase, headers, body)
