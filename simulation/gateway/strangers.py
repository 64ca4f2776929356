"""What a client sees that is none of its business: orders of other hands, and a second account under the same login."""

from __future__ import annotations

from collections.abc import Callable

from domain.instruments import OrderType, Side
from domain.units import Cents, Qty, Ticks, Utc
from simulation.broker.events import Execution
from simulation.broker.orders import IBStatus, Order, OrderState
from simulation.broker.portfolio import Position
from simulation.gateway.contracts import Catalogue
from simulation.gateway.faults import ActiveFaults, Fault, FaultKind
from simulation.gateway.wire import account, orders

OTHER_ACCOUNT = "DU7654321"
PRICE, QTY = Ticks(500), Qty(3)


class Strangers:
    """The rows that faults put beside the exchange's own."""

    def __init__(self, catalogue: Catalogue, active: ActiveFaults, now_utc: Callable[[], Utc]) -> None:
        self._catalogue = catalogue
        self._active = active
        self._now_utc = now_utc

    def open_rows(self, version: int) -> list[bytes]:
        """Return openOrder and orderStatus of foreign orders that work."""
        states = [state for fault in self._active.of(FaultKind.FOREIGN_ORDERS) for state in self._foreign(fault)]
        states += [self._state(self._order_of(fault), IBStatus.SUBMITTED) for fault in self._others()]
        rows = []
        for state in states:
            contract = self._catalogue.order_fields(state.order.con_id)
            rows += [orders.open_order(state, contract, version), orders.order_status(state)]
        return rows

    def completed_rows(self, version: int) -> list[bytes]:
        """Return completed orders of the other account."""
        states = [self._state(self._order_of(fault), IBStatus.CANCELLED) for fault in self._others()]
        return [orders.completed_order(s, self._catalogue.order_fields(s.order.con_id), version) for s in states]

    def execution_rows(self, request_id: int, version: int) -> list[bytes]:
        """Return executions of the other account; request id -1: as it happens."""
        rows = []
        for n, fault in enumerate(self._others()):
            order = self._order_of(fault)
            execution = Execution(f"0000f00d.{n + 1:08x}.01.01", order, QTY, PRICE, QTY, QTY * PRICE, self._now_utc())
            contract = self._catalogue.order_fields(order.con_id)
            rows.append(orders.exec_details(request_id, execution, contract, version))
        return rows

    def position_rows(self) -> list[bytes]:
        """Return positions of the other account."""
        return [
            account.position_row(
                Position(con_id, QTY, Cents(QTY * PRICE * 100)), self._catalogue.order_fields(con_id), _account(fault)
            )
            for fault in self._others()
            for con_id in (self._con_id(fault),)
        ]

    def value_rows(self) -> list[bytes]:
        """Return values of the other account."""
        values = {"NetLiquidation": Cents(1_00), "AvailableFunds": Cents(1_00)}
        return [row for fault in self._others() for row in account.account_updates(values, _account(fault))]

    def _others(self) -> list[Fault]:
        return self._active.of(FaultKind.OTHER_ACCOUNT)

    def _con_id(self, fault: Fault) -> int:
        return fault.number("con_id", self._catalogue.any_option())

    def _foreign(self, fault: Fault) -> list[OrderState]:
        order = Order(
            con_id=self._con_id(fault), side=Side(str(fault.args.get("side", "BUY"))), qty=QTY, type=OrderType.LIMIT,
            client_id=fault.number("client_id", 0), order_id=fault.number("order_id", 0),
            perm_id=fault.number("perm_id", 0), limit_ticks=PRICE, order_ref=str(fault.args.get("ref", "")),
        )  # fmt: skip
        return [self._state(order, IBStatus.SUBMITTED)] * fault.number("count", 1)

    def _order_of(self, fault: Fault) -> Order:
        return Order(
            con_id=self._con_id(fault), side=Side.BUY, qty=QTY, type=OrderType.LIMIT, client_id=0, order_id=0,
            perm_id=987_654, limit_ticks=PRICE, account=_account(fault),
        )  # fmt: skip

    def _state(self, order: Order, status: IBStatus) -> OrderState:
        return OrderState(order, status, Qty(0), 0, Ticks(0), self._now_utc())


def _account(fault: Fault) -> str:
    return str(fault.args.get("account", OTHER_ACCOUNT))
