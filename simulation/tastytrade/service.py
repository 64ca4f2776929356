"""What the simulated REST broker answers and tells, without a socket: `server` puts HTTP and a websocket around it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from domain.instants import MS
from domain.ports import Clock
from domain.units import Utc
from simulation.broker.exchange import Exchange
from simulation.tastytrade.faults import Request, TastytradeFaults, Trouble
from simulation.tastytrade.orders import OrderDesk, Placed, RefusedError, change_of, order_of
from simulation.tastytrade.rows import TYPES, balance_row, error, occ_symbol, order_row, position_row, transaction_row

ACCOUNT: Final = "5WT00001"


class Asked(NamedTuple):
    """A request: its path without the query, its query, and what its headers say of who asks."""

    method: str
    path: str
    query: Mapping[str, str]
    agent: str
    token: str


class Target(NamedTuple):
    """What a request is about; `account` and `order_id` are empty where its path names none."""

    request: Request
    name: str
    account: str = ""
    order_id: str = ""


Answered = tuple[int, Any]  # an HTTP status and its body
_OF_ACCOUNT: Final = {
    ("POST", "orders"): (Request.PLACE, "place"),
    ("POST", "orders/dry-run"): (Request.DRY_RUN, "dry_run"),
    ("GET", "orders/live"): (Request.ORDERS, "orders"),
    ("GET", "orders/*"): (Request.ORDERS, "order"),
    ("PATCH", "orders/*"): (Request.REPLACE, "edit"),
    ("PUT", "orders/*"): (Request.REPLACE, "replace"),
    ("DELETE", "orders/*"): (Request.CANCEL, "cancel"),
    ("GET", "positions"): (Request.POSITIONS, "positions"),
    ("GET", "balances"): (Request.BALANCES, "balances"),
    ("GET", "transactions"): (Request.TRANSACTIONS, "transactions"),
}  # fmt: skip


def target_of(method: str, path: str) -> Target | None:
    """Return what a request is about; `None` where there is no such thing."""
    match path.strip("/").split("/"):
        case ["oauth", "token"] if method == "POST":
            return Target(Request.TOKEN, "token")
        case ["customers", "me", "accounts"] if method == "GET":
            return Target(Request.ACCOUNTS, "accounts")
        case ["accounts", account, *rest]:
            found = _OF_ACCOUNT.get((method, "/".join(rest)))
            if found is not None:
                return Target(*found, account)
            if len(rest) == 2 and rest[1].isdigit():
                found = _OF_ACCOUNT.get((method, f"{rest[0]}/*"))
                return None if found is None else Target(*found, account, rest[1])
    return None


class TastytradeService:
    """One account of one exchange, as its vendor shows it.

    Args:
        market: what the exchange stands on; it is stepped to the clock.
        exchange: the account.
        clock: the market's time.
        secret: the client secret and the refresh token that are known; `None` lets any in.
        account: the account's number.
        faults: what goes wrong; its fields may be set at any moment.
        now_s: tells monotonic seconds, in which tokens live.
    """

    def __init__(
        self, market: Any, exchange: Exchange, clock: Clock, secret: tuple[str, str] | None = None, *,
        account: str = ACCOUNT, faults: TastytradeFaults | None = None, now_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.faults = faults or TastytradeFaults()
        self.desk = OrderDesk(exchange, self._now, self.faults, self._on_news)
        self.account = account
        self.requests: list[tuple[str, str]] = []
        self._market, self._clock, self._secret, self._now_s = market, clock, secret, now_s
        self._con_ids: dict[str, int] = {}
        self._contracts_of: Utc | None = None
        self._tokens: dict[str, float] = {}
        self._news: list[dict[str, Any]] = []

    def expire_tokens(self) -> None:
        """Let no token be good any more."""
        self._tokens.clear()

    def turn(self, market: Any, exchange: Exchange) -> None:
        """Begin a session on another market and exchange, without orders."""
        self._market, self.desk.exchange = market, exchange
        self._contracts_of = None
        self.desk.begin()

    def take_news(self) -> list[dict[str, Any]]:
        """Return the notifications since the last call, as they are sent."""
        told, self._news = self._news, []
        return self.faults.spoiled(told)

    def hear(self, accounts: set[str], said: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what a session of the stream is told to a message; `accounts` are those that it follows.

        `None`: nothing, it is as if nobody were there.
        """
        action = str(said.get("action"))
        if self.faults.is_mute:
            return None
        answer = {"status": "ok", "action": action, "request-id": said.get("request-id"), "web-socket-session-id": "1"}
        if not self._is_good(str(said.get("auth-token", "")).removeprefix("Bearer ")):
            answer |= {"status": "error", "message": "failed"}
        elif action == "connect":
            accounts.clear()
            accounts.update(str(account) for account in said.get("value", ()))
            answer["value"] = sorted(accounts)
        elif action != "heartbeat":
            answer |= {"status": "error", "message": f"unknown action {action}"}
        return answer

    async def answer(self, asked: Asked, body: bytes, trouble: Trouble | None = None) -> Answered | None:
        """Return what a request is answered; `None`: its connection ends without an answer.

        `trouble` is what happens to it; `None`: what the switches say.
        """
        self.requests.append((asked.method, asked.path))
        target = target_of(asked.method, asked.path)
        if target is None:
            return 404, error("not_found", "no such resource")
        trouble = trouble or self.faults.trouble_of(target.request) or Trouble(target.request)
        if trouble.is_done:
            done = self._done(target, asked, body)
            await asyncio.sleep(trouble.after_s)
            return None if trouble.is_cut else done if trouble.status is None else _troubled(trouble.status)
        if trouble.after_s:
            await asyncio.sleep(trouble.after_s)
        if trouble.is_cut:
            return None
        return self._done(target, asked, body) if trouble.status is None else _troubled(trouble.status)

    def _done(self, target: Target, asked: Asked, body: bytes) -> Answered:
        """Do what is asked for, unless whoever asks may not."""
        refused = self._refusal(target, asked)
        if refused is not None:
            return refused
        work: Callable[[Target, Asked, Any], Answered] = getattr(self, f"_{target.name}")
        try:
            return work(target, asked, orjson.loads(body) if body else None)
        except RefusedError as why:
            return 422, error("preflight_check_failure", "One or more checks failed", str(why))
        except (ValueError, KeyError, TypeError) as why:
            return 400, error("bad_request", f"cannot be read: {why!r:.80}")

    # -- time -----------------------------------------------------------------------------------

    def _now(self) -> Utc:
        now = self._clock.now_utc()
        self._market.step(max(now, self._market.now_utc))
        return now

    def _on_news(self, what: Placed | int) -> None:
        if self.faults.is_silent:
            return
        if isinstance(what, Placed):
            kind, data = "Order", self._row(what)
        else:
            contract = self.desk.contract(what)
            kind, data = "CurrentPosition", position_row(self.desk.exchange.position(what), self.account, contract)
        self._news.append({"type": kind, "data": data, "timestamp": self._clock.now_utc() // MS})

    # -- who asks -------------------------------------------------------------------------------

    def _is_good(self, token: str) -> bool:
        return self._tokens.get(token, 0.0) > self._now_s()

    def _refusal(self, target: Target, asked: Asked) -> Answered | None:
        """Return what a request without a token, a user agent or the right account is told."""
        if "/" not in asked.agent:
            return 401, error("unauthorized", "User-Agent: product/version is wanted")
        if target.request is Request.TOKEN:
            return None
        if not self._is_good(asked.token.removeprefix("Bearer ")):
            return 401, error("token_invalid", "This token is invalid or has expired")
        if target.account not in ("", self.account):
            return 403, error("not_permitted", f"No permission for account {target.account}")
        return None

    def _token(self, _: Target, __: Asked, body: Any) -> Answered:
        given = body["client_secret"], body["refresh_token"]
        if body.get("grant_type") != "refresh_token" or (self._secret is not None and given != self._secret):
            return 400, {"error_code": "invalid_grant", "error_description": "Grant revoked"}
        token, life_s = secrets.token_hex(16), self.faults.token_life_s
        self._tokens[token] = self._now_s() + life_s
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": life_s}

    def _accounts(self, _: Target, __: Asked, ___: Any) -> Answered:
        return 200, _items([{"account": {"account-number": self.account}, "authority-level": "owner"}])

    # -- orders ---------------------------------------------------------------------------------

    def _place(self, _: Target, __: Asked, body: Any) -> Answered:
        order, action = order_of(body, self._symbols(), TYPES)
        is_strict = bool(body.get("advanced-instructions", {}).get("strict-position-effect-validation"))
        placed = self.desk.place(order, str(body.get("external-identifier", "")), action, is_strict=is_strict)
        return 201, {"data": {"order": self._row(placed), "warnings": []}, "context": "orders"}

    def _dry_run(self, _: Target, __: Asked, body: Any) -> Answered:
        found = self.desk.what_if(*order_of(body, self._symbols(), TYPES))
        change = found.margin_change_cents
        effect = {
            "change-in-margin-requirement": f"{abs(change) / 100:.2f}",
            "change-in-margin-requirement-effect": "Debit" if change > 0 else "Credit" if change else "None",
        }
        fees = {"total-fees": f"{found.fee_cents / 100:.2f}", "total-fees-effect": "Debit"}
        return 201, {"data": {"buying-power-effect": effect, "fee-calculation": fees}, "context": "orders/dry-run"}

    def _edit(self, target: Target, _: Asked, body: Any) -> Answered:
        original = self._placed(target)
        return 200, {"data": self._row(self.desk.replace(original, change_of(body, original.order, TYPES)))}

    def _replace(self, target: Target, _: Asked, body: Any) -> Answered:
        original = self._placed(target)
        order, action = order_of(body, self._symbols(), TYPES)
        if (order.con_id, action) != (original.order.con_id, original.action):
            raise RefusedError("a replacement trades the same contract the same way")
        return 200, {"data": self._row(self.desk.replace(original, order))}

    def _cancel(self, target: Target, _: Asked, __: Any) -> Answered:
        placed = self._placed(target)
        self.desk.cancel(placed)
        return 200, {"data": self._row(placed)}

    def _order(self, target: Target, _: Asked, __: Any) -> Answered:
        return 200, {"data": self._row(self._placed(target))}

    def _orders(self, _: Target, asked: Asked, __: Any) -> Answered:
        now = self._now()
        seen = [placed for placed in self.desk.placed.values() if placed.seen_utc <= now]
        rows = [*self.faults.strange_orders, *(self._row(placed) for placed in reversed(seen))]
        return self._page(asked, rows)

    def _positions(self, _: Target, asked: Asked, __: Any) -> Answered:
        held = self.desk.exchange.positions()
        return self._page(asked, (position_row(p, self.account, self.desk.contract(p.con_id)) for p in held))

    def _balances(self, _: Target, __: Asked, ___: Any) -> Answered:
        self._now()
        return 200, {"data": balance_row(self.desk.exchange.account_values(), self.account)}

    def _transactions(self, _: Target, asked: Asked, __: Any) -> Answered:
        rows = (
            transaction_row(execution, commission, self.desk.contract(execution.order.con_id), number)
            for number, (execution, commission) in enumerate(self.desk.fees, start=1)
        )
        return self._page(asked, rows)

    def _page(self, asked: Asked, rows: Iterable[dict[str, Any]]) -> Answered:
        found, size = list(rows), self.faults.page_size
        if not size:
            return 200, _items(found)
        page, pages = int(asked.query.get("page-offset", 0)), max(1, -(-len(found) // size))
        pagination = {"page-offset": page, "per-page": size, "total-items": len(found), "total-pages": pages}
        return 200, _items(found[page * size : (page + 1) * size]) | {"pagination": pagination}

    def _placed(self, target: Target) -> Placed:
        placed = self.desk.placed.get(int(target.order_id))
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


def _items(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": {"items": rows}}


def _troubled(status: int) -> Answered:
    return status, error(str(status), "the broker has troubles")
