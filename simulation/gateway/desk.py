"""Orders between clients and the exchange: requests in, events out, with the faults that hit an order on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from simulation.broker.book import Position
from simulation.broker.records import (
    Commission,
    Event,
    Execution,
    OrderError,
    OrderState,
    OrderStatus,
    PositionChange,
)
from simulation.gateway import account_messages as account
from simulation.gateway import order_messages as orders
from simulation.gateway.contracts import contract_fields
from simulation.gateway.faults import (
    CANCEL_FAULTS,
    MODIFY_FAULTS,
    ORDER_FAULTS,
    Fault,
    FaultBook,
    FaultKind,
)
from simulation.gateway.requests import (
    PLACE_ORDER,
    BadOrderError,
    FieldReader,
    PlaceRequest,
    read_place_order,
)
from simulation.gateway.wire import encode, instant_of

if TYPE_CHECKING:
    from simulation.gateway.server import GatewayServer
    from simulation.gateway.session import Session

CANNOT_MODIFY = "Cannot modify a filled order."
NO_SECURITY = "No security definition has been found for the request"
# The order of a fill's callbacks, and what the reordering fault makes of it.
FILL_ORDERS: dict[str, tuple[type, ...]] = {
    "execution": (Execution, OrderState, Commission, PositionChange),
    "status": (OrderState, Execution, Commission, PositionChange),
    "commission": (Commission, Execution, OrderState, PositionChange),
}

Key = tuple[int, int]


class OrderDesk:
    """Serves the order requests of all sessions and tells the exchange's events to those whom they concern."""

    def __init__(self, server: GatewayServer) -> None:
        self._server = server
        self.faults = FaultBook()
        self._marks: dict[Key, Fault] = {}  # faults that follow an order's callbacks
        self._handlers: dict[int, Callable[[Session, list[str]], None]] = {
            PLACE_ORDER: self._place,
            4: self._cancel,
            5: self._open_orders,
            7: self._executions,
            15: self._auto_open_orders,
            16: self._all_open_orders,
            58: self._global_cancel,
            99: self._completed,
        }

    def handle(self, session: Session, message: int, fields: list[str]) -> bool:
        """Serve an order request; False if it is none."""
        handler = self._handlers.get(message)
        if handler is None:
            return False
        handler(session, fields)
        return True

    # requests

    def _place(self, session: Session, fields: list[str]) -> None:
        client_id = _client_id(session)
        try:
            request = read_place_order(fields, session.version)
        except BadOrderError as bad:
            session.error(bad.order_id, bad.code, bad.text)
            return
        found = self._server.catalogue.find(request.contract)
        if len(found) != 1:
            session.error(request.order_id, 200, NO_SECURITY)
        elif request.is_what_if:
            self._what_if(session, request, found[0].con_id)
        elif not request.is_transmitted:
            text = "Order rejected - reason:orders that are not transmitted are not simulated"
            session.error(request.order_id, 201, text)
        elif self._server.exchange.state(client_id, request.order_id) is None:
            self._new(session, request, found[0].con_id)
        else:
            self._modify(session, request, found[0].con_id)

    def _what_if(self, session: Session, request: PlaceRequest, con_id: int) -> None:
        order = request.order(_client_id(session), con_id)
        answer = self._server.exchange.what_if(order)
        if isinstance(answer, OrderError):
            session.error(answer.order_id, answer.code, answer.text)
            return
        state = OrderState(order, OrderStatus.PRE_SUBMITTED, 0, 0, 0, self._server.now_utc())
        session.send(orders.open_order(state, self._contract(con_id), session.version, answer))

    def _new(self, session: Session, request: PlaceRequest, con_id: int) -> None:
        server, order = self._server, request.order(_client_id(session), con_id)
        key, now = (order.client_id, order.order_id), server.now_utc()
        fault = self.faults.take(ORDER_FAULTS, server.elapsed_s())
        kind = fault.kind if fault else None
        if fault is None or kind is None:
            self.deliver(server.exchange.place(order, now))
        elif kind is FaultKind.ORDER_REJECTED:
            reason = fault.text("Order rejected by the fault script")
            self.deliver(server.exchange.place(order, now, reject=reason))
        elif kind is FaultKind.ORDER_ERROR:
            session.error(order.order_id, fault.code(103), fault.text("Duplicate order id"))
        elif kind is FaultKind.ORDER_NOTICE:
            self.deliver(server.exchange.place(order, now))
            text = "Order TIF was set to DAY based on order preset."
            session.error(order.order_id, fault.code(10349), fault.text(text))
        elif kind is FaultKind.ORDER_SILENCE and not fault.args.get("reaches"):
            return
        elif kind is FaultKind.PARTIAL_FILLS:
            self.deliver(server.exchange.place(order, now, pieces=tuple(fault.args["pieces"])))
        else:
            self._marks[key] = fault
            self.deliver(server.exchange.place(order, now))
        server.match_soon()

    def _modify(self, session: Session, request: PlaceRequest, con_id: int) -> None:
        server, order = self._server, request.order(_client_id(session), con_id)
        key, now = (order.client_id, order.order_id), server.now_utc()
        fault = self.faults.take(MODIFY_FAULTS, server.elapsed_s())
        if fault is None:
            self.deliver(server.exchange.modify(order, now))
        elif fault.kind is FaultKind.MODIFY_ERROR:
            session.error(order.order_id, fault.code(201), fault.text("Order rejected - reason:"))
        elif fault.kind is FaultKind.MODIFY_FILL_THEN_104:
            self.deliver(server.exchange.fill_now(*key, now))
            session.error(order.order_id, 104, CANNOT_MODIFY)
        else:
            session.error(order.order_id, 104, CANNOT_MODIFY)
            filled = server.exchange.fill_now(*key, now)
            is_mute = fault.kind is FaultKind.MODIFY_104_EXECUTION_ONLY
            self.deliver(e for e in filled if not (is_mute and isinstance(e, OrderState)))
        server.match_soon()

    def _cancel(self, session: Session, fields: list[str]) -> None:
        server, order_id = self._server, FieldReader(fields, at=2).number()
        key, now = (_client_id(session), order_id), server.now_utc()
        fault = self.faults.take(CANCEL_FAULTS, server.elapsed_s())
        if fault is not None and fault.kind is FaultKind.CANCEL_ERROR:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            session.error(order_id, fault.code(10147), fault.text(text))
            return
        if fault is not None:
            self.deliver(server.exchange.fill_now(*key, now))
        self.deliver(server.exchange.cancel(*key, now))

    def _global_cancel(self, session: Session, fields: list[str]) -> None:
        self.deliver(self._server.exchange.cancel_all(self._server.now_utc()))

    def _open_orders(self, session: Session, fields: list[str]) -> None:
        client_id = _client_id(session)
        states = self._server.exchange.open_orders()
        self._send_open(session, (s for s in states if s.order.client_id == client_id))

    def _all_open_orders(self, session: Session, fields: list[str]) -> None:
        self._send_open(session, self._server.exchange.open_orders())

    def _auto_open_orders(self, session: Session, fields: list[str]) -> None:
        """Orders made by hand do not exist here, so there is nothing to bind."""

    def _send_open(self, session: Session, states: Iterable[OrderState]) -> None:
        rows = [frame for state in states for frame in self._state_frames(state, session.version)]
        session.send(*rows, encode(53, 1))

    def _completed(self, session: Session, fields: list[str]) -> None:
        rows = [
            orders.completed_order(s, self._contract(s.order.con_id), session.version)
            for s in self._server.exchange.completed()
        ]
        session.send(*rows, encode(102))

    def _executions(self, session: Session, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        request, client_id = reader.number(), reader.number()
        reader.skip(1)  # account: there is one
        since, symbol = instant_of(reader.text().replace("  ", " ")) or 0, reader.text()
        frames = []
        for execution, commission in self._server.exchange.executions():
            contract = self._contract(execution.order.con_id)
            is_wanted = client_id in (0, execution.order.client_id) and symbol in ("", contract[1])
            if is_wanted and execution.at_utc >= since:
                frames += [
                    orders.exec_details(request, execution, contract, session.version),
                    orders.commission_report(commission),
                ]
        session.send(*frames, encode(55, 1, request))

    # what the exchange says

    def deliver(self, events: Iterable[Event]) -> None:
        """Tell events to the sessions they concern, in their order unless a fault on the order changes it."""
        events = list(events)
        if not events or not self._server.is_telling:
            return
        key = next((k for k in map(_key, events) if k in self._marks), None)
        fault = self._marks[key] if key is not None else None
        if fault is None or fault.kind is FaultKind.ORDER_SILENCE:
            self._tell(e for e in events if fault is None or _key(e) != key)
        elif fault.kind is FaultKind.ORDER_DELAYED:
            self._tell(e for e in events if _key(e) != key)
            late = [e for e in events if _key(e) == key]
            asyncio.get_running_loop().call_later(fault.duration_s, self._tell, late)
        elif fault.kind is FaultKind.CALLBACKS_DUPLICATED:
            self._tell(twin for e in events for twin in ((e, e) if _key(e) == key else (e,)))
        else:
            self._tell(_reordered(events, str(fault.args.get("first", "status"))))

    def _tell(self, events: Iterable[Event]) -> None:
        changed: list[Position] = []
        filled: set[Key] = set()
        for event in events:
            if isinstance(event, PositionChange):
                changed.append(event.position)
                continue
            key = _key(event)
            if isinstance(event, Execution):
                filled.add(key)
            session = self._server.session_of_client(key[0])
            if session is not None:
                frames = self._frames(event, session.version)
                # a real gateway says the state after a fill twice
                is_twice = isinstance(event, OrderState) and key in filled
                session.send(*frames, *(frames if is_twice else ()))
        if changed:
            self._tell_positions(changed)

    def _tell_positions(self, changed: list[Position]) -> None:
        for session in self._server.sessions():
            if session.wants_positions:
                session.send(*(self._position_row(p) for p in changed))
            if session.wants_account:
                session.send(*self.account_rows(changed))

    def _frames(self, event: Event, version: int) -> list[bytes]:
        match event:
            case OrderState():
                return self._state_frames(event, version)
            case Execution():
                contract = self._contract(event.order.con_id)
                return [orders.exec_details(orders.LIVE, event, contract, version)]
            case Commission():
                return [orders.commission_report(event)]
            case OrderError():
                return [orders.error(event.order_id, event.code, event.text, version)]
        return []

    def _state_frames(self, state: OrderState, version: int) -> list[bytes]:
        contract = self._contract(state.order.con_id)
        return [orders.open_order(state, contract, version), orders.order_status(state)]

    def position_rows(self) -> list[bytes]:
        """Write what is held."""
        return [self._position_row(p) for p in self._server.exchange.positions()]

    def account_rows(self, positions: list[Position] | None = None) -> list[bytes]:
        """Write the account values and the given positions (all that are held if none are given)."""
        server = self._server
        held = server.exchange.positions() if positions is None else positions
        mark = server.exchange.mark_ticks
        return [
            *account.account_updates(server.exchange.account_values(), server.account),
            *(account.portfolio(p, self._contract(p.con_id), mark(p.con_id), server.account) for p in held),
            account.account_time(server.now_utc()),
        ]

    def _position_row(self, position: Position) -> bytes:
        return account.position_row(position, self._contract(position.con_id), self._server.account)

    def _contract(self, con_id: int) -> tuple[str, ...]:
        instrument = self._server.catalogue.instrument(con_id)
        assert instrument is not None
        return contract_fields(instrument, "SMART")


def _client_id(session: Session) -> int:
    assert session.client_id is not None, "a request before startApi"
    return session.client_id


def _key(event: Event) -> Key:
    """Give (client id, order id) of an event; a position belongs to no order."""
    if isinstance(event, OrderError):
        return (event.client_id, event.order_id)
    if isinstance(event, PositionChange):
        return (-1, -1)
    return (event.order.client_id, event.order.order_id)


def _reordered(events: list[Event], first: str) -> list[Event]:
    """Put the callbacks of a fill in another order; those before the first execution stay where they are."""
    start = next((n for n, e in enumerate(events) if isinstance(e, Execution)), len(events))
    rank = {kind: n for n, kind in enumerate(FILL_ORDERS[first])}
    return events[:start] + sorted(events[start:], key=lambda e: rank.get(type(e), -1))
