"""Orders at the simulated REST broker, over one account of the simulated exchange.

A change is a replacement: an order of its own waits (`Contingent`) until its original has ended, and any fill of the
original meanwhile ends the replacement instead. The `external-identifier` is kept and never checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from domain.instants import MS, SECOND, from_datetime
from domain.instruments import Contract, OrderType, Side
from domain.units import Qty, Ticks, Utc
from simulation.broker.events import Commission, ExchangeEvent, Execution, OrderError, PositionChange
from simulation.broker.exchange import Exchange
from simulation.broker.orders import TERMINAL, IBStatus, Order, OrderState, TimeInForce, WhatIf
from simulation.tastytrade.faults import TastytradeFaults

CLIENT_ID: Final = 4
REJECTED: Final = 201  # the exchange's code of an order that it took and does not want
OVER: Final = frozenset({"Filled", "Cancelled", "Rejected", "Expired"})
_STATUSES: Final = {
    IBStatus.PRE_SUBMITTED: "Received", IBStatus.SUBMITTED: "Live", IBStatus.FILLED: "Filled",
    IBStatus.CANCELLED: "Cancelled", IBStatus.INACTIVE: "Rejected",
}  # fmt: skip


class Placed(msgspec.Struct):
    """An order as this broker has it; `seen_utc` is from when on it stands in lists, `due_utc` when it replaces."""

    order_id: int
    ref: str
    action: str
    order: Order
    received_utc: Utc
    seen_utc: Utc
    status: str = "Received"
    updated_ms: int = 0
    replaces_id: int = 0
    replacing_id: int = 0
    due_utc: Utc | None = None
    reason: str = ""
    fills: dict[str, Execution] = {}

    @property
    def filled_qty(self) -> Qty:
        """What has filled."""
        return Qty(sum(execution.qty for execution in self.fills.values()))

    @property
    def can_change(self) -> bool:
        """Whether it can be changed or cancelled."""
        return self.status in ("Received", "Live")


class RefusedError(Exception):
    """A request that this broker does not carry out; nothing was done."""


class OrderDesk:
    """Takes orders of one account to the exchange and keeps what became of them.

    Args:
        exchange: where they trade.
        now_utc: the market's clock.
        faults: what goes wrong.
        on_news: is told which order, or which position's contract, has news.
    """

    def __init__(
        self, exchange: Exchange, now_utc: Callable[[], Utc], faults: TastytradeFaults,
        on_news: Callable[[Placed | int], None],
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self.placed: dict[int, Placed] = {}
        self.fees: list[tuple[Execution, Commission]] = []
        self._now = now_utc
        self._faults = faults
        self._on_news = on_news
        self._open_utc = exchange.market.open_utc
        self._last_id = 0  # an id is given once, whatever becomes of its order and of the session

    def place(self, order: Order, ref: str, action: str, *, is_strict: bool) -> Placed:
        """Take a new order.

        Raises:
            RefusedError: it is no good; no order is left behind.
        """
        self._check(order, action, is_strict=is_strict)
        placed = self._new(order, ref, action)
        if self._faults.rejects_orders:
            self._faults.rejects_orders -= 1
            self._end(placed, "Rejected", "the venue rejected it")
        else:
            self._route(placed)
        return placed

    def replace(self, original: Placed, order: Order) -> Placed:
        """Take a replacement of what is left of an order.

        Raises:
            RefusedError: the order cannot be replaced.
        """
        if not original.can_change:
            raise RefusedError(f"order {original.order_id} is {original.status} and cannot be edited")
        left = Qty(original.order.qty - original.filled_qty)
        placed = self._new(replace(order, qty=left), original.ref, original.action)
        placed.replaces_id, placed.status = original.order_id, "Contingent"
        original.replacing_id = placed.order_id
        placed.due_utc = Utc(self._now() + round(self._faults.replace_s * SECOND))
        self._touch(original, "Replace Requested")
        self._touch(placed)
        if not self._faults.replace_s:
            self._replace_now(original, placed)
        return placed

    def cancel(self, placed: Placed) -> None:
        """Cancel an order.

        Raises:
            RefusedError: it cannot be cancelled.
        """
        if not placed.can_change:
            raise RefusedError(f"order {placed.order_id} is {placed.status} and cannot be cancelled")
        if self._faults.refuses_cancels:
            self._faults.refuses_cancels -= 1
            raise RefusedError("the venue rejected the cancel")
        self._touch(placed, "Cancel Requested")
        self.take(self.exchange.cancel(CLIENT_ID, placed.order_id, self._now()))

    def what_if(self, order: Order, action: str) -> WhatIf:
        """Return what an order would need.

        Raises:
            RefusedError: it is no good.
        """
        self._check(order, action, is_strict=False)
        found = self.exchange.what_if(order)
        if isinstance(found, OrderError):
            raise RefusedError(found.text)
        return found

    def step(self) -> None:
        """Let the exchange match, and replacements whose time has come replace; a new session begins with no orders."""
        if self.exchange.market.open_utc != self._open_utc:
            self.begin()
        self.take(self.exchange.step(self._now()))
        for placed in [p for p in self.placed.values() if p.due_utc is not None and p.due_utc <= self._now()]:
            self._replace_now(self.placed[placed.replaces_id], placed)

    def begin(self) -> None:
        """Begin a session: yesterday's orders and fees are nobody's any more."""
        self._open_utc = self.exchange.market.open_utc
        self.placed.clear()
        self.fees.clear()

    def take(self, events: Iterable[ExchangeEvent]) -> None:
        """Keep what the exchange says of orders of this broker, and of positions."""
        events = tuple(events)
        for error in (event for event in events if isinstance(event, OrderError) and event.code == REJECTED):
            if error.client_id == CLIENT_ID and error.order_id in self.placed:
                self.placed[error.order_id].reason = error.text
        for event in events:
            match event:
                case OrderState():
                    self._on_state(event)
                case Execution():
                    placed = self._of(event.order)
                    if placed is not None:
                        placed.fills[event.exec_id.rpartition(".")[0]] = event
                        self._touch(placed)
                        self._abort_replacement(placed)
                case Commission():
                    executions = {e.exec_id: e for e, _ in self.exchange.executions()}
                    self.fees.append((executions[event.exec_id], event))
                case PositionChange():
                    self._on_news(event.position.con_id)
                case OrderError():
                    pass  # it is in the order's state

    def correct(self, fill_id: str, shift_ticks: Ticks) -> None:
        """Correct the price of a fill."""
        exec_id = next(e.exec_id for e, _ in reversed(self.exchange.executions()) if e.exec_id.startswith(fill_id))
        self.take(self.exchange.correct(exec_id, shift_ticks, self._now()))

    def contract(self, con_id: int) -> Contract:
        """Return a contract of the market.

        Raises:
            LookupError: there is none of this id.
        """
        contract = self.exchange.market.contract(con_id)
        if contract is None:
            raise LookupError(f"no contract {con_id} in this market")
        return contract

    def _check(self, order: Order, action: str, *, is_strict: bool) -> None:
        """Look at an order before it is taken; one that closes, closes what is there and no other order closes."""
        found = self.exchange.what_if(order)
        if isinstance(found, OrderError):
            raise RefusedError(found.text)
        if action.endswith("to Close"):
            held = self.exchange.position(order.con_id).qty
            can_close = Qty(held if order.side is Side.SELL else -held)
            for other in self.placed.values():
                if other.status not in OVER and other.order.con_id == order.con_id and other.order.side is order.side:
                    can_close -= other.order.qty - other.filled_qty
            if is_strict and order.qty > can_close:
                raise RefusedError(f"only {max(can_close, 0)} can be closed")

    def _new(self, order: Order, ref: str, action: str) -> Placed:
        now = self._now()
        order_id = self._last_id = max(self.exchange.next_order_id(CLIENT_ID), self._last_id + 1)
        seen_utc = Utc(now + round(self._faults.hides_s * SECOND))
        order = replace(order, order_id=order_id, client_id=CLIENT_ID, order_ref=ref)
        placed = self.placed[order_id] = Placed(order_id, ref, action, order, now, seen_utc, fills={})
        return placed

    def _route(self, placed: Placed) -> None:
        pieces, self._faults.pieces = tuple(Qty(piece) for piece in self._faults.pieces), ()
        self._touch(placed, "Routed")
        self.take(self.exchange.place(placed.order, self._now(), pieces=pieces))
        if self.exchange.state(CLIENT_ID, placed.order_id) is None:
            self._end(placed, "Rejected", "the exchange does not know it")

    def _replace_now(self, original: Placed, placed: Placed) -> None:
        """End the original and route what replaces it, with what is left of it."""
        placed.due_utc = None
        if original.status in OVER:
            self._end(placed, "Rejected", f"order {original.order_id} had ended")
            return
        self.take(self.exchange.cancel(CLIENT_ID, original.order_id, self._now()))
        self._route(placed)

    def _abort_replacement(self, original: Placed) -> None:
        waiting = self.placed.get(original.replacing_id)
        if waiting is None or waiting.due_utc is None:
            return
        waiting.due_utc = None
        original.replacing_id = 0
        self._end(waiting, "Rejected", f"order {original.order_id} filled before it was replaced")
        if original.status == "Replace Requested":
            self._touch(original, "Live")

    def _on_state(self, state: OrderState) -> None:
        placed = self._of(state.order)
        if placed is None:
            return
        status = _STATUSES[state.status]
        waits = placed.status in ("Replace Requested", "Cancel Requested") and state.status not in TERMINAL
        self._touch(placed, placed.status if waits else status)

    def _of(self, order: Order) -> Placed | None:
        return self.placed.get(order.order_id) if order.client_id == CLIENT_ID else None

    def _end(self, placed: Placed, status: str, reason: str) -> None:
        placed.reason = reason
        self._touch(placed, status)

    def _touch(self, placed: Placed, status: str | None = None) -> None:
        placed.status = placed.status if status is None else status
        placed.updated_ms = max(placed.updated_ms + 1, self._now() // MS)
        self._on_news(placed)


def order_of(body: Mapping[str, Any], con_ids: Mapping[str, int], types: Mapping[str, OrderType]) -> tuple[Order, str]:
    """Return the order and the action that a request asks for.

    Raises:
        RefusedError: it cannot be read, or names what is not traded here.
    """
    try:
        (leg,) = body["legs"]
        action, kind = str(leg["action"]), types[str(body["order-type"])]
        con_id = con_ids[str(leg["symbol"])]
        side = {"Buy": Side.BUY, "Sell": Side.SELL}[action.partition(" ")[0]]
        limit, stop, till = _ticks(body.get("price")), _ticks(body.get("stop-trigger")), _till(body.get("rules"))
        effect = {Side.BUY: "Debit", Side.SELL: "Credit"}[side]
        if kind is OrderType.LIMIT and (limit is None or body.get("price-effect") != effect):
            raise ValueError("price or price-effect")
        qty = Qty(int(leg["quantity"]))
    except (KeyError, TypeError, ValueError) as trouble:
        raise RefusedError(f"the order cannot be read: {trouble}") from None
    tif = TimeInForce.DAY if till is None else TimeInForce.GTD
    return Order(
        con_id=con_id, side=side, qty=qty, type=kind, client_id=CLIENT_ID, order_id=0,
        limit_ticks=limit if kind is OrderType.LIMIT else None, stop_ticks=stop if kind is OrderType.STOP else None,
        tif=tif, good_till_utc=till,
    ), action  # fmt: skip


def change_of(body: Mapping[str, Any], order: Order, types: Mapping[str, OrderType]) -> Order:
    """Return an order with the type and the price that a change asks for.

    Raises:
        RefusedError: it cannot be read, or asks for more than that.
    """
    if "legs" in body:
        raise RefusedError("an edit changes price, type and time in force, not legs")
    try:
        kind, limit = types[str(body["order-type"])], _ticks(body.get("price"))
    except (KeyError, ValueError) as trouble:
        raise RefusedError(f"the change cannot be read: {trouble}") from None
    if kind is OrderType.LIMIT and limit is None:
        raise RefusedError("a limit order without a price")
    return replace(order, type=kind, limit_ticks=limit if kind is OrderType.LIMIT else None, stop_ticks=None)


def _ticks(value: object) -> Ticks | None:
    return None if value is None else Ticks(round(float(str(value)) * 100))


def _till(rules: object) -> Utc | None:
    """Return the instant at which an order is cancelled by itself."""
    text = rules.get("cancel-at") if isinstance(rules, Mapping) else None
    return None if text is None else from_datetime(datetime.fromisoformat(str(text)))
