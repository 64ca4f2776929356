"""A REST and stream broker of Tastytrade's shape over the in-process exchange: HTTP and websocket on one port.

It speaks to anybody's client what `gateways/tastytrade` speaks: tokens, accounts, orders (new, dry-run, edit, replace,
cancel), positions, balances, transactions, and the account stream with its heartbeat. What it says is `service`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from email.utils import format_datetime
from typing import Any, Final

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect

from domain.instants import SECOND, to_datetime
from domain.ports import Clock
from domain.units import Utc
from simulation.broker.exchange import Exchange
from simulation.tastytrade.faults import TastytradeFaults
from simulation.tastytrade.service import ACCOUNT, Asked, TastytradeService

PERIOD_S: Final = 0.02  # real, between two looks at the market
_METHODS: Final = ("GET", "POST", "PATCH", "PUT", "DELETE")


class _Uvicorn(uvicorn.Server):
    """A server that leaves the process's signals to whoever started it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Client:
    """One session of the account stream; `accounts` is what it asked for."""

    def __init__(self, stream: WebSocket) -> None:
        self.stream = stream
        self.accounts: set[str] = set()


class TastytradeServer(TastytradeService):
    """Serves one account of one exchange; the arguments are those of `TastytradeService`.

    Args:
        period_s: real seconds between two looks at the market.
    """

    def __init__(
        self, market: Any, exchange: Exchange, clock: Clock, secret: tuple[str, str] | None = None, *,
        account: str = ACCOUNT, faults: TastytradeFaults | None = None, period_s: float = PERIOD_S,
    ) -> None:  # fmt: skip
        super().__init__(market, exchange, clock, secret, account=account, faults=faults)
        self.port = 0
        self._period_s = period_s
        self._clients: set[_Client] = set()
        self._server: uvicorn.Server | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def rest_url(self) -> str:
        """The address below which REST answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        """The address of the account stream."""
        return f"ws://127.0.0.1:{self.port}"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen and return the port; 0 takes a free one.

        Raises:
            OSError: the port is in use.
        """
        listener = socket.create_server((host, port))
        self.port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            _with_cut(self._app()), log_level="critical", lifespan="off", timeout_graceful_shutdown=1,
            server_header=False, date_header=False, ws_ping_interval=None,
        )  # fmt: skip
        self._server = server = _Uvicorn(config)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(server.serve([listener])), loop.create_task(self._run())]
        while not server.started:
            await asyncio.sleep(0.005)
        return self.port

    async def stop(self) -> None:
        """Listen no more, and end the sessions."""
        if self._server is None:
            return
        self._tasks[1].cancel()
        await self.drop_streams()
        self._server.should_exit = True
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drop_streams(self) -> None:
        """End every session of the stream."""
        for client in tuple(self._clients):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await client.stream.close(1001)

    async def tell(self, text: str) -> None:
        """Send a text, which may be no message at all, to every session of the stream."""
        for client in tuple(self._clients):
            await client.stream.send_text(text)

    async def _run(self) -> None:
        while True:
            self.desk.step()
            await self._send_news()
            await asyncio.sleep(self._period_s)

    async def _send_news(self) -> None:
        sent = self.take_news()
        if not sent:
            return
        if self.faults.delay_s:
            await asyncio.sleep(self.faults.delay_s)
        for client in [client for client in self._clients if self.account in client.accounts]:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                for row in sent:
                    await client.stream.send_text(orjson.dumps(row).decode())

    # -- the stream -----------------------------------------------------------------------------

    async def _stream(self, stream: WebSocket) -> None:
        await stream.accept()
        client = _Client(stream)
        self._clients.add(client)
        try:
            while True:
                answer = self.hear(client.accounts, orjson.loads(await stream.receive_text()))
                if answer is not None:
                    await stream.send_text(orjson.dumps(answer).decode())
        except (WebSocketDisconnect, RuntimeError, ValueError, AttributeError):
            pass  # the client went away, or speaks something else
        finally:
            self._clients.discard(client)

    # -- REST -----------------------------------------------------------------------------------

    def _app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)
        app.add_api_route("/{path:path}", self._respond, methods=list(_METHODS), response_model=None)
        app.add_api_websocket_route("/", self._stream)
        return app

    async def _respond(self, request: Request) -> Response:
        headers = request.headers
        asked = Asked(
            request.method, request.url.path, request.query_params, headers.get("user-agent", ""),
            headers.get("authorization", ""),
        )  # fmt: skip
        answer = await self.answer(asked, await request.body())
        if answer is None:
            request.scope["cut"]()
            return Response()
        status, payload = answer
        date = format_datetime(to_datetime(Utc(self._clock.now_utc() // SECOND * SECOND)), usegmt=True)
        return Response(orjson.dumps(payload), status, {"Date": date}, "application/json")


def _with_cut(app: FastAPI) -> Callable[..., Awaitable[None]]:
    """Return the application with a way to end a connection without an answer in the scope of each request."""

    async def outermost(scope: Any, receive: Any, send: Any) -> None:
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if transport is not None:
            scope["cut"] = transport.abort
        await app(scope, receive, send)

    return outermost
