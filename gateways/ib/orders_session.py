# ruff: noqa: N802 - the names of the callbacks are ib_insync's
"""What the order connection hears: orders, executions, fees, positions, account values, groups of a read-back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, NamedTuple

from ib_insync import order as ib_order
from ib_insync.contract import Contract as IbContract
from ib_insync.objects import CommissionReport, ExecutionFilter
from ib_insync.objects import Execution as IbExecution
from ib_insync.util import UNSET_DOUBLE

from domain.instruments import OrderType, Side
from domain.orders.table import OrderStatus
from domain.units import Qty, Ticks
from gateways.ib import translate as tr
from gateways.ib.answers import Answers
from gateways.ib.codes import WORKING, status_of
from gateways.ib.link import IbPort, Session
from messages import broker

ACCOUNT_PAUSE_S = 0.1  # real: values come one by one; they are told together
ACCOUNT_TAGS: Final = frozenset({"NetLiquidation", "AvailableFunds", "BuyingPower", "DayTradesRemaining"})


class KnownOrder:
    """An order as this session can change or cancel it."""

    __slots__ = (
        "contract", "filled_qty", "limit_ticks", "order_id", "order_type", "perm_id", "qty", "ref", "side",
        "stop_ticks",
    )  # fmt: skip

    def __init__(self, ref: str, order_id: int, contract: IbContract, side: Side) -> None:
        self.ref = ref
        self.order_id = order_id
        self.contract = contract
        self.side = side
        self.perm_id = 0
        self.qty = Qty(0)
        self.filled_qty = Qty(0)
        self.order_type: OrderType | None = None
        self.limit_ticks: Ticks | None = None
        self.stop_ticks: Ticks | None = None


class OrderRow(NamedTuple):
    """An open or completed order, as it is read back."""

    contract: IbContract
    order: ib_order.Order
    status: OrderStatus


class ExecutionRow(NamedTuple):
    """An execution, as it is read back."""

    contract: IbContract
    execution: IbExecution


class Groups(NamedTuple):
    """The four groups of a read-back."""

    open_orders: list[OrderRow]
    completed_orders: list[OrderRow]
    positions: list[broker.BrokerPosition]
    executions: list[ExecutionRow]


class OrdersSession(Session):
    """The order session: hears orders, executions, positions and account values."""

    def __init__(self, port: IbPort, epoch: int) -> None:
        super().__init__(port, epoch)
        self.by_ref: dict[str, KnownOrder] = {}
        self.by_id: dict[int, KnownOrder] = {}
        self.is_disturbed = False  # something filled while a read-back was under way
        self._open_orders = self.expecting(Answers[OrderRow](port.loop))
        self._completed_orders = self.expecting(Answers[OrderRow](port.loop))
        self._positions = self.expecting(Answers[broker.BrokerPosition](port.loop))
        self._executions = self.expecting(Answers[ExecutionRow](port.loop))
        self._values: dict[str, float] = {}
        self._account_due: asyncio.TimerHandle | None = None

    def keep(self, known: KnownOrder) -> None:
        """Make an order known to this session."""
        self.by_ref[known.ref] = known
        self.by_id[known.order_id] = known

    def on_error(self, request_id: int, code: int, text: str) -> None:
        known = self.by_id.get(request_id)
        if known is None:
            super().on_error(request_id, code, text)
        else:
            self.report_error(known.ref, code, text)

    # -- orders -------------------------------------------------------------------------------

    def openOrder(self, order_id: int, contract: IbContract, order: ib_order.Order, state: ib_order.OrderState) -> None:
        """An open order: ours of this session, or one of a read-back."""
        if not self.is_current or order.whatIf:
            return
        self.client.updateReqId(order_id + 1)
        status = status_of(state.status)
        self._open_orders.add(OrderRow(contract, order, status))
        known = self.by_ref.get(order.orderRef)
        is_own_id = order.clientId == self.client.clientId and order_id > 0
        if known is None and is_own_id and order.orderRef and status in WORKING:
            known = KnownOrder(order.orderRef, order_id, contract, tr.side_of(order.action))
            self.keep(known)
        if known is None or not is_own_id:
            return
        known.perm_id, known.qty = order.permId, tr.qty_of(order.totalQuantity)
        known.order_type, known.limit_ticks = tr.type_of(order.orderType), tr.limit_of(order)
        known.stop_ticks = tr.ticks_of(order.auxPrice)
        if status not in (OrderStatus.FILLED, OrderStatus.CANCELLED):
            # an openOrder has no filled quantity, so the end of an order is told by its orderStatus alone
            self._report_status(known, status, known.perm_id, f"openOrder {state.status}")

    def orderStatus(
        self, order_id: int, status: str, filled: float, remaining: float, _average: float, perm_id: int, _parent: int,
        _last: float, client_id: int, why_held: str, _cap: float = 0.0,
    ) -> None:  # fmt: skip
        """A status; it carries no reference, so only this client's ids can be told apart."""
        if not self.is_current or client_id != self.client.clientId:
            return
        known = self.by_id.get(order_id)
        if known is None:
            return
        known.filled_qty = tr.qty_of(filled)
        known.perm_id = known.perm_id or perm_id
        raw = f"orderStatus {status} filled={filled:g} remaining={remaining:g} permId={perm_id} whyHeld={why_held}"
        self._report_status(known, status_of(status), perm_id, raw)

    def _report_status(self, known: KnownOrder, status: OrderStatus, perm_id: int, raw: str) -> None:
        self.port.report(
            broker.OrderStatusReported(
                session_epoch=self.epoch,
                order_ref=known.ref,
                perm_id=perm_id,
                status=status,
                filled_qty=known.filled_qty,
                remaining_qty=known.qty - known.filled_qty,
                qty=known.qty,
                order_type=known.order_type,
                limit_ticks=known.limit_ticks,
                raw=raw,
            )
        )

    def openOrderEnd(self) -> None:
        """No more open orders."""
        self._open_orders.end()

    def completedOrder(self, contract: IbContract, order: ib_order.Order, state: ib_order.OrderState) -> None:
        """A completed order; it has neither order id nor client id, the perm id is its only key."""
        self._completed_orders.add(OrderRow(contract, order, status_of(state.status)))

    def completedOrdersEnd(self) -> None:
        """No more completed orders."""
        self._completed_orders.end()

    # -- executions, positions ----------------------------------------------------------------

    def execDetails(self, request_id: int, contract: IbContract, execution: IbExecution) -> None:
        """An execution: live, or an answer."""
        if not self.is_current:
            return
        if self._executions.add(ExecutionRow(contract, execution), request_id):
            return
        self.is_disturbed = True
        row = tr.execution_of(contract, execution)
        self.port.report(broker.ExecutionReported(session_epoch=self.epoch, execution=row))

    def execDetailsEnd(self, request_id: int) -> None:
        """No more executions."""
        self._executions.end(request_id)

    def commissionReport(self, report: CommissionReport) -> None:
        """The fee of one execution, live or read back, sometimes before it."""
        if not self.is_current or report.commission >= UNSET_DOUBLE:
            return
        base, revision = tr.split_exec_id(report.execId)
        self.port.report(
            broker.CommissionReported(
                session_epoch=self.epoch,
                exec_id=base,
                revision=revision,
                commission_cents=tr.cents_of(report.commission),
                raw=f"commission={report.commission:g} {report.currency}",
            )
        )

    def position(self, account: str, contract: IbContract, qty: float, average_cost: float) -> None:
        """A position: live, or of a read-back."""
        if not self.is_current or account != self.port.account:
            return
        row = broker.BrokerPosition(
            contract=tr.contract_of(contract), qty=tr.qty_of(qty), avg_cost_cents=tr.cents_of(average_cost)
        )
        self._positions.add(row)
        self.port.report(
            broker.PositionReported(
                session_epoch=self.epoch, contract=row.contract, qty=row.qty, avg_cost_cents=row.avg_cost_cents
            )
        )

    def positionEnd(self) -> None:
        """No more positions."""
        self._positions.end()

    # -- account ------------------------------------------------------------------------------

    def updateAccountValue(self, tag: str, value: str, currency: str, account: str) -> None:
        """One account value; those that we need are told together."""
        if not self.is_current or account != self.port.account or tag not in ACCOUNT_TAGS:
            return
        if currency not in ("USD", ""):
            return
        with contextlib.suppress(ValueError):
            self._values[tag] = float(value)
        if self._account_due is None:
            self._account_due = self.port.loop.call_later(ACCOUNT_PAUSE_S, self._report_account)

    def updatePortfolio(self, *_row: object) -> None:
        """Positions come from the position messages."""

    def _report_account(self) -> None:
        self._account_due = None
        if not self.is_current or not {"NetLiquidation", "AvailableFunds"} <= self._values.keys():
            return
        values = self._values
        day_trades = values.get("DayTradesRemaining", -1.0)
        self.port.report(
            broker.AccountRead(
                session_epoch=self.epoch,
                nav_cents=tr.cents_of(values["NetLiquidation"]),
                available_cents=tr.cents_of(values["AvailableFunds"]),
                buying_power_cents=tr.cents_of(values.get("BuyingPower", values["AvailableFunds"])),
                day_trades_remaining=round(day_trades) if day_trades >= 0 else None,
                read_utc=self.port.clock.now_utc(),
            )
        )

    # -- read-back ----------------------------------------------------------------------------

    async def read_all(self) -> Groups:
        """Ask for open and completed orders, positions, executions (last, so that they cover the others).

        Raises:
            RequestError: a group was answered with an error, or the connection was lost.
        """
        request_id = self.request_id()
        client = self.client
        return Groups(
            *await asyncio.gather(
                self.ask(self._open_orders, client.reqAllOpenOrders),
                self.ask(self._completed_orders, lambda: client.reqCompletedOrders(False)),
                self.ask(self._positions, client.reqPositions),
                self.ask(self._executions, lambda: client.reqExecutions(request_id, ExecutionFilter()), request_id),
            )
        )
