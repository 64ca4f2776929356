"""A REST and stream broker of Tastytrade's shape over the in-process exchange: HTTP and websocket on one port.

It speaks to anybody's client what `gateways/tastytrade` speaks: tokens, accounts, orders (new, dry-run, edit, replace,
cancel), positions, balances, transactions, and the account stream with its heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from email.utils import format_datetime
from typing import Any, Final

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect

from domain.instants import MS, SECOND, to_datetime
from domain.ports import Clock
from domain.units import Utc
from simulation.broker.exchange import Exchange
from simulation.tastytrade import faults as fa
from simulation.tastytrade.faults import TastytradeFaults
from simulation.tastytrade.orders import OrderDesk, Placed, RefusedError, change_of, order_of
from simulation.tastytrade.rows import TYPES, balance_row, error, occ_symbol, order_row, position_row, transaction_row

PERIOD_S: Final = 0.02  # real, between two looks at the market
ACCOUNT: Final = "5WT00001"


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


class TastytradeServer:
    """Serves one account of one exchange.

    Args:
        market: what the exchange stands on; it is stepped to the clock.
        exchange: the account.
        clock: the market's time.
        secret: the client secret and the refresh token that are known; `None` lets any in.
        account: the account's number.
        faults: what goes wrong; its fields may be set at any moment.
        period_s: real seconds between two looks at the market.
    """

    def __init__(
        self, market: Any, exchange: Exchange, clock: Clock, secret: tuple[str, str] | None = None, *,
        account: str = ACCOUNT, faults: TastytradeFaults | None = None, period_s: float = PERIOD_S,
    ) -> None:  # fmt: skip
        self.faults = faults or TastytradeFaults()
        self.desk = OrderDesk(exchange, self._now, self.faults, self._on_news)
        self.account = account
        self.port = 0
        self.requests: list[tuple[str, str]] = []
        self._market, self._clock, self._secret, self._period_s = market, clock, secret, period_s
        self._con_ids: dict[str, int] = {}
        self._contracts_of: Utc | None = None
        self._tokens: dict[str, float] = {}
        self._clients: set[_Client] = set()
        self._news: list[dict[str, Any]] = []
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

    def expire_tokens(self) -> None:
        """Let no token be good any more."""
        self._tokens.clear()

    async def tell(self, text: str) -> None:
        """Send a text, which may be no message at all, to every session of the stream."""
        for client in tuple(self._clients):
            await client.stream.send_text(text)

    # -- time -----------------------------------------------------------------------------------

    def _now(self) -> Utc:
        now = self._clock.now_utc()
        self._market.step(max(now, self._market.now_utc))
        return now

    async def _run(self) -> None:
        while True:
            self.desk.step()
            await self._send_news()
            await asyncio.sleep(self._period_s)

    def _on_news(self, what: Placed | int) -> None:
        if self.faults.is_silent:
            return
        if isinstance(what, Placed):
            kind, data = "Order", order_row(what, self.account, self.desk.contract(what.order.con_id))
        else:
            contract = self.desk.contract(what)
            kind, data = "CurrentPosition", position_row(self.desk.exchange.position(what), self.account, contract)
        self._news.append({"type": kind, "data": data, "timestamp": self._clock.now_utc() // MS})

    async def _send_news(self) -> None:
        told, self._news = self._news, []
        sent = self.faults.spoiled(told)
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
                await self._hear(client, orjson.loads(await stream.receive_text()))
        except (WebSocketDisconnect, RuntimeError, ValueError, AttributeError):
            pass  # the client went away, or speaks something else
        finally:
            self._clients.discard(client)

    async def _hear(self, client: _Client, said: dict[str, Any]) -> None:
        action = str(said.get("action"))
        if self.faults.is_mute:
            return
        answer = {"status": "ok", "action": action, "request-id": said.get("request-id"), "web-socket-session-id": "1"}
        if not self._is_good(str(said.get("auth-token", "")).removeprefix("Bearer ")):
            answer |= {"status": "error", "message": "failed"}
        elif action == "connect":
            client.accounts = {str(account) for account in said.get("value", ())}
            answer["value"] = sorted(client.accounts)
        elif action != "heartbeat":
            answer |= {"status": "error", "message": f"unknown action {action}"}
        await client.stream.send_text(orjson.dumps(answer).decode())

    # -- REST -----------------------------------------------------------------------------------

    def _app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)
        mine = "/accounts/{account}"
        for method, path, request, work in (
            ("POST", "/oauth/token", fa.Request.TOKEN, self._token),
            ("GET", "/customers/me/accounts", fa.Request.ACCOUNTS, self._accounts),
            ("POST", f"{mine}/orders", fa.Request.PLACE, self._place),
            ("POST", f"{mine}/orders/dry-run", fa.Request.DRY_RUN, self._dry_run),
            ("GET", f"{mine}/orders/live", fa.Request.ORDERS, self._orders),
            ("GET", f"{mine}/orders/{{order_id}}", fa.Request.ORDERS, self._order),
            ("PATCH", f"{mine}/orders/{{order_id}}", fa.Request.REPLACE, self._edit),
            ("PUT", f"{mine}/orders/{{order_id}}", fa.Request.REPLACE, self._replace),
            ("DELETE", f"{mine}/orders/{{order_id}}", fa.Request.CANCEL, self._cancel),
            ("GET", f"{mine}/positions", fa.Request.POSITIONS, self._positions),
            ("GET", f"{mine}/balances", fa.Request.BALANCES, self._balances),
            ("GET", f"{mine}/transactions", fa.Request.TRANSACTIONS, self._transactions),
        ):
            app.add_api_route(path, self._endpoint(request, work), methods=[method], response_model=None)
        app.add_api_websocket_route("/", self._stream)
        app.add_exception_handler(404, _not_found)
        return app

    def _endpoint(
        self, kind: fa.Request, work: Callable[[Request, Any], tuple[int, Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            self.requests.append((request.method, request.url.path))
            trouble = self.faults.trouble_of(kind)
            body = await request.body()
            if trouble is not None and not trouble.is_done:
                await asyncio.sleep(trouble.after_s)
                if trouble.is_cut:
                    request.scope["cut"]()
                    return Response()
                if trouble.status is not None:
                    return self._rendered(trouble.status, error(str(trouble.status), "the broker has troubles"))
            refused = self._refusal(request, kind)
            try:
                status, payload = refused or work(request, orjson.loads(body) if body else None)
            except RefusedError as why:
                status, payload = 422, error("preflight_check_failure", "One or more checks failed", str(why))
            except (ValueError, KeyError, TypeError) as why:
                status, payload = 400, error("bad_request", f"cannot be read: {why!r:.80}")
            if trouble is not None and trouble.is_done:
                await asyncio.sleep(trouble.after_s)
                if trouble.is_cut:
                    request.scope["cut"]()
                    return Response()
                if trouble.status is not None:
                    return self._rendered(trouble.status, error(str(trouble.status), "the broker has troubles"))
            return self._rendered(status, payload)

        return answer

    def _rendered(self, status: int, payload: Any) -> Response:
        date = format_datetime(to_datetime(Utc(self._clock.now_utc() // SECOND * SECOND)), usegmt=True)
        return Response(orjson.dumps(payload), status, {"Date": date}, "application/json")

    def _is_good(self, token: str) -> bool:
        return self._tokens.get(token, 0.0) > time.monotonic()

    def _refusal(self, request: Request, kind: fa.Request) -> tuple[int, Any] | None:
        """Return what a request without a token, a user agent or the right account is told."""
        if "/" not in request.headers.get("user-agent", ""):
            return 401, error("unauthorized", "User-Agent: product/version is wanted")
        if kind is fa.Request.TOKEN:
            return None
        if not self._is_good(request.headers.get("authorization", "").removeprefix("Bearer ")):
            return 401, error("token_invalid", "This token is invalid or has expired")
        if request.path_params.get("account", self.account) != self.account:
            asked = request.path_params["account"]
            return 403, error("not_permitted", f"No permission for account {asked}")
        return None

    def _token(self, _: Request, body: Any) -> tuple[int, Any]:
        given = body["client_secret"], body["refresh_token"]
        if body.get("grant_type") != "refresh_token" or (self._secret is not None and given != self._secret):
            return 400, {"error_code": "invalid_grant", "error_description": "Grant revoked"}
        token, life_s = secrets.token_hex(16), self.faults.token_life_s
        self._tokens[token] = time.monotonic() + life_s
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": life_s}

    def _accounts(self, _: Request, __: Any) -> tuple[int, Any]:
        return 200, _items([{"account": {"account-number": self.account}, "authority-level": "owner"}])

    def _place(self, _: Request, body: Any) -> tuple[int, Any]:
        order, action = order_of(body, self._symbols(), TYPES)
        is_strict = bool(body.get("advanced-instructions", {}).get("strict-position-effect-validation"))
        placed = self.desk.place(order, str(body.get("external-identifier", "")), action, is_strict=is_strict)
        return 201, {"data": {"order": self._row(placed), "warnings": []}, "context": "orders"}

    def _dry_run(self, _: Request, body: Any) -> tuple[int, Any]:
        found = self.desk.what_if(*order_of(body, self._symbols(), TYPES))
        change = found.margin_change_cents
        effect = {
            "change-in-margin-requirement": f"{abs(change) / 100:.2f}",
            "change-in-margin-requirement-effect": "Debit" if change > 0 else "Credit" if change else "None",
        }
        fees = {"total-fees": f"{found.fee_cents / 100:.2f}", "total-fees-effect": "Debit"}
        return 201, {"data": {"buying-power-effect": effect, "fee-calculation": fees}, "context": "orders/dry-run"}

    def _edit(self, request: Request, body: Any) -> tuple[int, Any]:
        original = self._placed(request)
        return 200, {"data": self._row(self.desk.replace(original, change_of(body, original.order, TYPES)))}

    def _replace(self, request: Request, body: Any) -> tuple[int, Any]:
        original = self._placed(request)
        order, action = order_of(body, self._symbols(), TYPES)
        if (order.con_id, action) != (original.order.con_id, original.action):
            raise RefusedError("a replacement trades the same contract the same way")
        return 200, {"data": self._row(self.desk.replace(original, order))}

    def _cancel(self, request: Request, _: Any) -> tuple[int, Any]:
        placed = self._placed(request)
        self.desk.cancel(placed)
        return 200, {"data": self._row(placed)}

    def _order(self, request: Request, _: Any) -> tuple[int, Any]:
        return 200, {"data": self._row(self._placed(request))}

    def _orders(self, request: Request, _: Any) -> tuple[int, Any]:
        now = self._now()
        seen = [placed for placed in self.desk.placed.values() if placed.seen_utc <= now]
        rows = [*self.faults.strange_orders, *(self._row(placed) for placed in reversed(seen))]
        return self._page(request, rows)

    def _positions(self, request: Request, _: Any) -> tuple[int, Any]:
        held = self.desk.exchange.positions()
        return self._page(request, (position_row(p, self.account, self.desk.contract(p.con_id)) for p in held))

    def _balances(self, _: Request, __: Any) -> tuple[int, Any]:
        self._now()
        return 200, {"data": balance_row(self.desk.exchange.account_values(), self.account)}

    def _transactions(self, request: Request, _: Any) -> tuple[int, Any]:
        rows = (
            transaction_row(execution, commission, self.desk.contract(execution.order.con_id), number)
            for number, (execution, commission) in enumerate(self.desk.fees, start=1)
        )
        return self._page(request, rows)

    def _page(self, request: Request, rows: Iterable[dict[str, Any]]) -> tuple[int, Any]:
        found, size = list(rows), self.faults.page_size
        if not size:
            return 200, _items(found)
        page, pages = int(request.query_params.get("page-offset", 0)), max(1, -(-len(found) // size))
        pagination = {"page-offset": page, "per-page": size, "total-items": len(found), "total-pages": pages}
        return 200, _items(found[page * size : (page + 1) * size]) | {"pagination": pagination}

    def _placed(self, request: Request) -> Placed:
        placed = self.desk.placed.get(int(request.path_params["order_id"]))
        if placed is None:
            raise RefusedError("there is no such order")
        return placed

    def _row(self, placed: Placed) -> dict[str, Any]:
        return order_row(placed, self.account, self.desk.contract(placed.order.con_id))

    def _symbols(self) -> dict[str, int]:
        """Return the contracts of the market's session by their symbols."""
        self._now()
        if self._contracts_of != self._market.open_utc:
            self._contracts_of = self._market.open_utc
            every = (contract for ticker in self._market.tickers for contract in self._market.contracts(ticker))
            self._con_ids = {occ_symbol(contract): contract.con_id for contract in every}
        return self._con_ids


def _with_cut(app: FastAPI) -> Callable[..., Awaitable[None]]:
    """Return the application with a way to end a connection without an answer in the scope of each request."""

    async def outermost(scope: Any, receive: Any, send: Any) -> None:
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if transport is not None:
            scope["cut"] = transport.abort
        await app(scope, receive, send)

    return outermost


def _items(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": {"items": rows}}


async def _not_found(_: Request, __: Exception) -> Response:
    return Response(orjson.dumps(error("not_found", "no such resource")), 404, None, "application/json")
