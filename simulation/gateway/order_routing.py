"""Orders between clients and the exchange: requests in, events out, with the faults that hit an order on its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TypeVar, assert_never

import msgspec

from domain.instruments import OrderType, Side
from domain.orders.combo import COMBO_CON_ID
from domain.units import Qty, Ticks, Utc
from simulation.broker.events import Commission, ExchangeEvent, Execution, OrderError, PositionChange
from simulation.broker.exchange import Exchange
from simulation.broker.login import Login
from simulation.broker.orders import IBStatus, Order, OrderState
from simulation.gateway.account_requests import AccountRequests, no_account
from simulation.gateway.clients import Clients, Handler
from simulation.gateway.connection import ApiClient
from simulation.gateway.contracts import NO_SECURITY, Catalogue
from simulation.gateway.faults import (
    CANCEL_FAULTS,
    FILLS,
    MODIFY_FAULTS,
    ORDER_FAULTS,
    WHAT_IF_FAULTS,
    ActiveFaults,
    ArmedFaults,
    Fault,
    FaultKind,
)
from simulation.gateway.held import HeldOrder, HeldOrders
from simulation.gateway.strangers import Strangers
from simulation.gateway.wire import orders
from simulation.gateway.wire.frames import encode, instant_of
from simulation.gateway.wire.requests import (
    PLACE_ORDER,
    BadOrderError,
    FieldReader,
    PlaceRequest,
    read_place_order,
)

log = logging.getLogger(__name__)

ORDER_ID_MAX = 2_147_483_646
CORRECTION_TICKS = 5  # by which an execution is corrected unless told otherwise
READ_ONLY = "Error validating request.-'bA' : cause - The API interface is currently in Read-Only mode."
CANNOT_MODIFY = "Cannot modify a filled order."
WAITS_FOR_OPEN = "Order Message:\nWarning: Your order will not be placed at the exchange until the next session opens."
# The order of a fill's callbacks, and what the reordering fault makes of it.
FILL_ORDERS: dict[str, tuple[type, ...]] = {
    "execution": (Execution, OrderState, Commission, PositionChange),
    "status": (OrderState, Execution, Commission, PositionChange),
    "commission": (Commission, Execution, OrderState, PositionChange),
}

MANUAL_CLIENT_ID = 0  # of orders that a person makes at the gateway itself
OrderKey = tuple[int, int]  # client id, order id
Seen = TypeVar("Seen", OrderState, Execution)


class OrderRouting:
    """Serves the order requests of all clients and reports the exchanges' events to those whom they concern.

    `elapsed_s` are real seconds since the server's start; `match_soon` has the exchanges match again once an order that
    came in just now may fill.
    """

    def __init__(
        self,
        login: Login,
        catalogue: Catalogue,
        clients: Clients,
        account: AccountRequests,
        active: ActiveFaults,
        strangers: Strangers,
        *,
        now_utc: Callable[[], Utc],
        elapsed_s: Callable[[], float],
        match_soon: Callable[[], None],
    ) -> None:
        self.faults = ArmedFaults()
        self._login = login
        self._catalogue = catalogue
        self._clients = clients
        self._account = account
        self._active = active
        self._strangers = strangers
        self._now_utc = now_utc
        self._elapsed_s = elapsed_s
        self._match_soon = match_soon
        self._held = HeldOrders()
        self._manual_n = 0  # orders that a person made at the gateway itself
        self._marks: dict[OrderKey, Fault] = {}  # faults that follow an order's callbacks
        self.handlers: dict[int, Handler] = {
            PLACE_ORDER: self._place,
            4: self._cancel,
            5: self._open_orders,
            7: self._executions,
            8: self._ids,
            15: self._auto_open_orders,
            16: self._all_open_orders,
            58: self._global_cancel,
            99: self._completed,
        }

    # requests

    def _place(self, client: ApiClient, fields: list[str]) -> None:
        try:
            request = read_place_order(fields, client.version)
        except BadOrderError as bad:
            client.error(bad.order_id, bad.code, bad.text)
            return
        con_id, exchange = self._con_id(request), self._login.of(request.account)
        if self._active.has(FaultKind.READ_ONLY):
            client.error(request.order_id, 321, READ_ONLY)
        elif request.order_id > ORDER_ID_MAX:
            client.error(-1, 320, "Error reading request. Unable to parse data.")
        elif exchange is None:
            client.error(request.order_id, *no_account(request.account))
        elif con_id is None:
            client.error(request.order_id, 200, NO_SECURITY)
        elif request.is_what_if:
            self._what_if(client, exchange, request, con_id)
        elif not request.is_transmitted:
            self._held.hold(_client_id(client), request, con_id)
        else:
            for released, of_contract in self._held.release(_client_id(client), request, con_id):
                self._transmit(client, exchange, released, of_contract)

    def _con_id(self, request: PlaceRequest) -> int | None:
        """Return what an order trades; `None` where that is not one thing that is known."""
        if request.legs:
            is_known = self._catalogue.are_options_of(request.contract.symbol, (leg.con_id for leg in request.legs))
            return COMBO_CON_ID if is_known else None
        found = self._catalogue.find(request.contract)
        return found[0].con_id if len(found) == 1 else None

    def _transmit(self, client: ApiClient, exchange: Exchange, request: PlaceRequest, con_id: int) -> None:
        at = self._login.of_order(_client_id(client), request.order_id)
        if at is None:
            self._new(client, self._login.of(request.account) or exchange, request, con_id)
        elif request.account in ("", at.account):
            self._modify(client, at, request, con_id)
        else:
            client.error(request.order_id, 105, "Order being modified does not match original order")

    def _what_if(self, client: ApiClient, exchange: Exchange, request: PlaceRequest, con_id: int) -> None:
        order = request.order(_client_id(client), con_id)
        fault = self.faults.take(WHAT_IF_FAULTS, self._elapsed_s())
        if fault is not None:
            client.error(order.order_id, 201, fault.text("Order rejected by the fault script"))
            return
        answer = exchange.what_if(order)
        if isinstance(answer, OrderError):
            client.error(answer.order_id, answer.code, answer.text)
            return
        order = msgspec.structs.replace(order, account=exchange.account)
        state = OrderState(order, IBStatus.PRE_SUBMITTED, Qty(0), 0, Ticks(0), self._now_utc())
        client.send(orders.open_order(state, self._catalogue.fields_of(order), client.version, answer))

    def _new(self, client: ApiClient, exchange: Exchange, request: PlaceRequest, con_id: int) -> None:
        order = request.order(_client_id(client), con_id)
        key, now = (order.client_id, order.order_id), self._now_utc()
        fault = self.faults.take(ORDER_FAULTS, self._elapsed_s())
        kind = fault.kind if fault else None
        if fault is None or kind is None:
            self.deliver(exchange.place(order, now))
            if exchange.waits_for_open(order, now):
                client.error(order.order_id, 399, WAITS_FOR_OPEN)
        elif kind is FaultKind.ORDER_REJECTED:
            reason = fault.text("Order rejected by the fault script")
            self.deliver(exchange.place(order, now, reject=reason))
        elif kind is FaultKind.ORDER_ERROR:
            client.error(fault.number("id", order.order_id), fault.code(103), fault.text("Duplicate order id"))
        elif kind is FaultKind.ORDER_NOTICE:
            self.deliver(exchange.place(order, now))
            text = "Order TIF was set to DAY based on order preset."
            client.error(order.order_id, fault.code(10349), fault.text(text))
        elif kind is FaultKind.ORDER_SILENCE and not fault.flag("reaches"):
            return
        elif kind is FaultKind.PARTIAL_FILLS:
            self.deliver(exchange.place(order, now, pieces=fault.pieces))
        else:
            self._marks[key] = fault
            self.deliver(exchange.place(order, now))
        self._match_soon()

    def _modify(self, client: ApiClient, exchange: Exchange, request: PlaceRequest, con_id: int) -> None:
        order = request.order(_client_id(client), con_id)
        key, now = (order.client_id, order.order_id), self._now_utc()
        fault = self.faults.take(MODIFY_FAULTS, self._elapsed_s())
        if fault is None:
            self.deliver(exchange.modify(order, now))
        elif fault.kind is FaultKind.MODIFY_ERROR:
            client.error(order.order_id, fault.code(201), fault.text("Order rejected - reason:"))
        elif fault.kind is FaultKind.MODIFY_FILL_THEN_104:
            self.deliver(exchange.fill_now(*key, now))
            client.error(order.order_id, 104, CANNOT_MODIFY)
        else:
            client.error(order.order_id, 104, CANNOT_MODIFY)
            filled = exchange.fill_now(*key, now)
            is_mute = fault.kind is FaultKind.MODIFY_104_EXECUTION_ONLY
            self.deliver(e for e in filled if not (is_mute and isinstance(e, OrderState)))
        self._match_soon()

    def _cancel(self, client: ApiClient, fields: list[str]) -> None:
        order_id = FieldReader(fields, at=2).number()
        key, now = (_client_id(client), order_id), self._now_utc()
        held, at = self._held.drop(*key), self._login.of_order(*key)
        if held is not None and at is None:
            self.deliver(self._never_sent(key[0], held))
            return
        fault = self.faults.take(CANCEL_FAULTS, self._elapsed_s())
        if fault is not None and fault.kind is FaultKind.CANCEL_ERROR:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            client.error(order_id, fault.code(10147), fault.text(text))
            return
        exchange = at or self._login.first  # one that nobody knows is refused by whichever is asked
        if fault is not None:
            self.deliver(exchange.fill_now(*key, now))
        self.deliver(exchange.cancel(*key, now))

    def _global_cancel(self, client: ApiClient, fields: list[str]) -> None:
        for client_id, held in self._held.drop_all():
            self.deliver(self._never_sent(client_id, held))
        self.deliver(self._login.cancel_all(self._now_utc()))

    def _never_sent(self, client_id: int, held: HeldOrder) -> list[ExchangeEvent]:
        """Return what is told of an order that is cancelled before it was transmitted."""
        request, con_id = held
        order = request.order(client_id, con_id)
        gone = OrderState(order, IBStatus.CANCELLED, Qty(0), 0, Ticks(0), self._now_utc())
        return [gone, OrderError(client_id, order.order_id, 202, "Order Canceled - reason:")]

    def _ids(self, client: ApiClient, fields: list[str]) -> None:
        client.send(encode(9, 1, self._login.next_order_id(_client_id(client))))

    def _open_orders(self, client: ApiClient, fields: list[str]) -> None:
        client_id = _client_id(client)
        states = self._login.open_orders()
        self._send_open(
            client, (s for s in states if s.order.client_id == client_id and _has_id(s.order.order_id, client))
        )

    def _all_open_orders(self, client: ApiClient, fields: list[str]) -> None:
        self._send_open(client, self._login.open_orders())

    def _auto_open_orders(self, client: ApiClient, fields: list[str]) -> None:
        if _client_id(client) != MANUAL_CLIENT_ID:
            client.error(-1, 327, "Only the default client (i.e 0) can auto bind orders.")
            return
        client.binds_manual_orders = FieldReader(fields, at=2).flag()

    def order_by_hand(self, fault: Fault) -> None:
        """Place a person's order: client id 0's, with a negative id for a client that binds them, 0 for others."""
        exchange = self._login.of(str(fault.args.get("account", self._login.first.account)))
        if exchange is None:
            log.warning("no order by hand: the login has no account %s", fault.args["account"])
            return
        self._manual_n += 1
        limit_ticks = fault.number("limit_ticks", 0)
        order = Order(
            con_id=fault.number("con_id", self._catalogue.any_option()), side=Side(str(fault.args.get("side", "BUY"))),
            qty=Qty(fault.number("qty", 1)), type=OrderType.LIMIT if limit_ticks else OrderType.MARKET,
            client_id=MANUAL_CLIENT_ID, order_id=-self._manual_n, limit_ticks=Ticks(limit_ticks) or None,
        )  # fmt: skip
        events = exchange.place(order, self._now_utc())
        for refused in (event for event in events if isinstance(event, OrderError)):
            log.warning("an order by hand is refused: %s %s", refused.code, refused.text)
        self.deliver(events)
        self._match_soon()

    def _send_open(self, client: ApiClient, states: Iterable[OrderState]) -> None:
        if self._is_refused(client, "orders"):
            return
        rows = [frame for state in states for frame in self._state_frames(state, client)]
        client.send(*rows, *self._strangers.open_rows(client.version), encode(53, 1))

    def _is_refused(self, client: ApiClient, group: str) -> bool:
        """Whether a request about orders gets an error (or nothing) in place of an answer."""
        fault = self._active.group_fault(group)
        if fault is not None:
            if not fault.flag("silent"):
                client.error(-1, fault.code(321), fault.text("Error validating request."))
            return True
        if self._active.has(FaultKind.READ_ONLY):
            client.error(-1, 321, READ_ONLY)
            return True
        return False

    def _completed(self, client: ApiClient, fields: list[str]) -> None:
        if self._is_refused(client, "completed"):
            return
        rows = [
            orders.completed_order(s, self._catalogue.fields_of(s.order), client.version)
            for s in self._login.completed()
        ]
        client.send(*rows, *self._strangers.completed_rows(client.version), encode(102))

    def _executions(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        request, client_id, account = reader.number(), reader.number(), reader.text()
        since, symbol = instant_of(reader.text().replace("  ", " ")) or 0, reader.text()
        fault = self._active.group_fault("executions")
        if fault is not None:
            if not fault.flag("silent"):
                client.error(request, fault.code(321), fault.text("Error validating request."))
            return
        frames = self._strangers.execution_rows(request, client.version)
        is_missing = self._active.has(FaultKind.EXECUTIONS_MISSING)
        for execution, commission in () if is_missing else self._login.executions():
            contract, order = self._catalogue.fields_of(execution.order), execution.order
            is_wanted = client_id in (0, order.client_id) and account in ("", order.account)
            is_wanted = is_wanted and symbol in ("", contract[1])
            if is_wanted and execution.at_utc >= since:
                frames += [
                    orders.exec_details(request, _as_seen(execution, client), contract, client.version),
                    orders.commission_report(commission),
                ]
        client.send(*frames, encode(55, 1, request))

    # what the exchange reports

    def deliver(self, events: Iterable[ExchangeEvent]) -> None:
        """Send events to the clients they concern, in their order unless a fault on the order changes it."""
        events = list(events)
        if not events or not self._active.is_link_up:
            return
        key = next((k for k in map(_key, events) if k in self._marks), None)
        fault = self._marks[key] if key is not None else None
        if fault is None or fault.kind is FaultKind.ORDER_SILENCE:
            self._send(e for e in events if fault is None or _key(e) != key)
        elif fault.kind is FaultKind.ORDER_DELAYED:
            has_fill = any(isinstance(e, Execution) and _key(e) == key for e in events)
            is_late = has_fill or fault.args.get("of") != FILLS
            self._send(e for e in events if not is_late or _key(e) != key)
            late = [e for e in events if is_late and _key(e) == key]
            asyncio.get_running_loop().call_later(fault.duration_s, self._send, late)
        elif fault.kind is FaultKind.EXECUTION_CORRECTED:
            self._send(events)
            first = next((e for e in events if isinstance(e, Execution) and _key(e) == key and not e.order.legs), None)
            if first is not None and key is not None:
                del self._marks[key]
                asyncio.get_running_loop().call_later(fault.duration_s, self._correct, first.exec_id, fault)
        elif fault.kind is FaultKind.CALLBACKS_DUPLICATED:
            self._send(twin for e in events for twin in ((e, e) if _key(e) == key else (e,)))
        else:
            self._send(_reordered(events, str(fault.args.get("first", "status"))))

    def _correct(self, exec_id: str, fault: Fault) -> None:
        shift = Ticks(fault.number("shift_ticks", CORRECTION_TICKS))
        self.deliver(self._login.correct(exec_id, shift, self._now_utc()))

    def _send(self, events: Iterable[ExchangeEvent]) -> None:
        changed: list[PositionChange] = []
        filled: set[OrderKey] = set()
        is_missing = self._active.has(FaultKind.EXECUTIONS_MISSING)
        for event in events:
            if isinstance(event, PositionChange):
                changed.append(event)
                continue
            if is_missing and isinstance(event, Execution | Commission):
                continue
            key = _key(event)
            if isinstance(event, Execution):
                filled.add(key)
            client = self._clients.of_id(key[0])
            if client is not None and (key[0] != MANUAL_CLIENT_ID or _has_id(key[1], client)):
                frames = self._frames(event, client)
                # a real gateway sends the state after a fill twice
                is_twice = isinstance(event, OrderState) and key in filled
                client.send(*frames, *(frames if is_twice else ()))
        if changed:
            self._account.report_positions(changed)

    def _frames(self, event: OrderState | Execution | Commission | OrderError, client: ApiClient) -> list[bytes]:
        version = client.version
        match event:
            case OrderState():
                return self._state_frames(event, client)
            case Execution():
                contract = self._catalogue.fields_of(event.order)
                return [orders.exec_details(orders.LIVE, event, contract, version)]
            case Commission():
                return [orders.commission_report(event)]
            case OrderError():
                return [orders.error(event.order_id, event.code, event.text, version)]
            case _:
                assert_never(event)

    def _state_frames(self, state: OrderState, client: ApiClient) -> list[bytes]:
        contract, seen = self._catalogue.fields_of(state.order), _as_seen(state, client)
        return [orders.open_order(seen, contract, client.version), orders.order_status(seen)]


def _client_id(client: ApiClient) -> int:
    assert client.client_id is not None, "a request before startApi"
    return client.client_id


def _has_id(order_id: int, client: ApiClient) -> bool:
    """Return whether a client knows an order by an id: a person's (below 0) it does only where it binds them."""
    return order_id >= 0 or client.binds_manual_orders


def _as_seen(row: Seen, client: ApiClient) -> Seen:
    """Return a row as a client sees it: a person's order has no id for those that do not bind it."""
    if _has_id(row.order.order_id, client):
        return row
    return msgspec.structs.replace(row, order=msgspec.structs.replace(row.order, order_id=0))


def _key(event: ExchangeEvent) -> OrderKey:
    """Return (client id, order id) of an event; a position belongs to no order."""
    if isinstance(event, OrderError):
        return (event.client_id, event.order_id)
    if isinstance(event, PositionChange):
        return (-1, -1)
    return (event.order.client_id, event.order.order_id)


def _reordered(events: list[ExchangeEvent], first: str) -> list[ExchangeEvent]:
    """Return the callbacks of a fill in another order; those before the first execution stay where they are."""
    start = next((n for n, e in enumerate(events) if isinstance(e, Execution)), len(events))
    rank = {kind: n for n, kind in enumerate(FILL_ORDERS[first])}
    return events[:start] + sorted(events[start:], key=lambda e: rank.get(type(e), -1))
