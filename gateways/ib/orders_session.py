# ruff: noqa: N802 - the names of the callbacks are ib_insync's
"""What the order connection hears: orders, executions, fees, positions, account values, groups of a read-back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from ib_insync import order as ib_order
from ib_insync.contract import Contract as IbContract
from ib_insync.objects import CommissionReport, Execution, ExecutionFilter
from ib_insync.util import UNSET_DOUBLE

from domain.instruments import OrderType, Side
from domain.orders.table import OrderStatus
from gateways.ib import translate as tr
from gateways.ib.codes import WORKING, meaning_of, status_of
from gateways.ib.link import IbPort, Session
from messages import orders as m
from messages.positions import BrokerPositionHeard
from messages.session import AccountRead, BrokerPosition

ACCOUNT_PAUSE_S = 0.1  # real: values come one by one; they are told together
ACCOUNT_TAGS = {"NetLiquidation", "AvailableFunds", "BuyingPower", "DayTradesRemaining"}


class Known:
    """An order as this session can change or cancel it."""

    __slots__ = (
        "aux_ticks",
        "contract",
        "filled_qty",
        "limit_ticks",
        "order_id",
        "order_type",
        "perm_id",
        "qty",
        "ref",
        "side",
    )

    def __init__(self, ref: str, order_id: int, contract: IbContract, side: Side) -> None:
        self.ref = ref
        self.order_id = order_id
        self.contract = contract
        self.side = side
        self.perm_id = 0
        self.qty = 0
        self.filled_qty = 0
        self.order_type: OrderType | None = None
        self.limit_ticks: int | None = None
        self.aux_ticks: int | None = None


class OrdersSession(Session):
    """The order session: hears orders, executions, positions and account values."""

    def __init__(self, port: IbPort, epoch: int) -> None:
        super().__init__(port, epoch)
        self.by_ref: dict[str, Known] = {}
        self.by_id: dict[int, Known] = {}
        self.is_disturbed = False  # something filled while a read-back was under way
        self._values: dict[str, float] = {}
        self._account_due: asyncio.TimerHandle | None = None

    def keep(self, known: Known) -> None:
        """Make an order known to this session."""
        self.by_ref[known.ref] = known
        self.by_id[known.order_id] = known

    def request_error(self, request_id: int, code: int, text: str) -> None:
        known = self.by_id.get(request_id)
        if known is None:
            super().request_error(request_id, code, text)
            return
        self.port.say(
            m.ErrorHeard(
                session_epoch=self.epoch, order_ref=known.ref, vendor_code=code, text=text, meaning=meaning_of(code)
            )
        )

    # -- orders -------------------------------------------------------------------------------

    def openOrder(self, order_id: int, contract: IbContract, order: ib_order.Order, state: ib_order.OrderState) -> None:
        """An open order: ours of this session, or one of a read-back."""
        if not self.is_current or order.whatIf:
            return
        self.client.updateReqId(order_id + 1)
        status = status_of(state.status)
        self.add("openOrders", (contract, order, status))
        known = self.by_ref.get(order.orderRef)
        is_own_id = order.clientId == self.client.clientId and order_id > 0
        if known is None and is_own_id and order.orderRef and status in WORKING:
            known = Known(order.orderRef, order_id, contract, tr.side_of(order.action))
            self.keep(known)
        if known is None or not is_own_id:
            return
        known.perm_id, known.qty = order.permId, round(order.totalQuantity)
        known.order_type, known.limit_ticks = tr.type_of(order.orderType), tr.limit_of(order)
        known.aux_ticks = tr.ticks_of(order.auxPrice)
        if status not in (OrderStatus.FILLED, OrderStatus.CANCELLED):
            # an openOrder has no filled quantity, so the end of an order is told by its orderStatus alone
            self._say_status(known, status, f"openOrder {state.status}")

    def orderStatus(
        self, order_id: int, status: str, filled: float, remaining: float, _average: float, perm_id: int, _parent: int,
        _last: float, client_id: int, why_held: str, _cap: float = 0.0,
    ) -> None:  # fmt: skip
        """A status; it carries no ref, so only this client's ids can be told apart."""
        if not self.is_current or client_id != self.client.clientId:
            return
        known = self.by_id.get(order_id)
        if known is None:
            return
        known.filled_qty = round(filled)
        known.perm_id = known.perm_id or perm_id
        raw = f"orderStatus {status} filled={filled:g} remaining={remaining:g} permId={perm_id} whyHeld={why_held}"
        self._say_status(known, status_of(status), raw, perm_id)

    def _say_status(self, known: Known, status: OrderStatus, raw: str, perm_id: int | None = None) -> None:
        self.port.say(
            m.StatusHeard(
                session_epoch=self.epoch,
                order_ref=known.ref,
                perm_id=known.perm_id if perm_id is None else perm_id,
                status=status.value,
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
        self.end("openOrders")

    def completedOrder(self, contract: IbContract, order: ib_order.Order, state: ib_order.OrderState) -> None:
        """A completed order; it has neither order id nor client id, the perm id is its only key."""
        self.add("completedOrders", (contract, order, status_of(state.status)))

    def completedOrdersEnd(self) -> None:
        """No more completed orders."""
        self.end("completedOrders")

    # -- executions, positions ----------------------------------------------------------------

    def execDetails(self, request_id: int, contract: IbContract, execution: Execution) -> None:
        """An execution: live, or an answer."""
        if not self.is_current:
            return
        if request_id in self._waits:
            self.add(request_id, (contract, execution))
            return
        self.is_disturbed = True
        self.port.say(tr.execution_heard(self.epoch, contract, execution))

    def execDetailsEnd(self, request_id: int) -> None:
        """No more executions."""
        self.end(request_id)

    def commissionReport(self, report: CommissionReport) -> None:
        """The fee of one execution, live or read back, sometimes before it."""
        if not self.is_current or report.commission >= UNSET_DOUBLE:
            return
        base, revision = tr.split_exec_id(report.execId)
        cents = tr.cents_of(report.commission)
        raw = f"commission={report.commission:g} {report.currency}"
        self.port.say(
            m.CommissionHeard(
                session_epoch=self.epoch, exec_id=base, revision=revision, commission_cents=cents, raw=raw
            )
        )

    def position(self, account: str, contract: IbContract, qty: float, average_cost: float) -> None:
        """A position: live, or of a read-back."""
        if not self.is_current or account != self.port.account:
            return
        cents = tr.cents_of(average_cost)
        row = BrokerPosition(contract=tr.contract_of(contract), qty=round(qty), avg_cost_cents=cents)
        self.add("positions", row)
        self.port.say(
            BrokerPositionHeard(
                session_epoch=self.epoch, contract=row.contract, qty=row.qty, avg_cost_cents=row.avg_cost_cents
            )
        )

    def positionEnd(self) -> None:
        """No more positions."""
        self.end("positions")

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
            self._account_due = self.port.loop.call_later(ACCOUNT_PAUSE_S, self._say_account)

    def updatePortfolio(self, *_row: Any) -> None:
        """Positions come from the position messages."""

    def _say_account(self) -> None:
        self._account_due = None
        if not self.is_current or not {"NetLiquidation", "AvailableFunds"} <= self._values.keys():
            return
        values = self._values
        day_trades = values.get("DayTradesRemaining", -1.0)
        self.port.say(
            AccountRead(
                session_epoch=self.epoch,
                nav_cents=tr.cents_of(values["NetLiquidation"]),
                available_cents=tr.cents_of(values["AvailableFunds"]),
                buying_power_cents=tr.cents_of(values.get("BuyingPower", values["AvailableFunds"])),
                day_trades_remaining=round(day_trades) if day_trades >= 0 else None,
                read_utc=self.port.clock.now_utc(),
            )
        )

    # -- read-back ----------------------------------------------------------------------------

    async def read_all(self) -> tuple[list[Any], list[Any], list[BrokerPosition], list[Any]]:
        """Ask for open and completed orders, positions, executions (last, so that they cover the others)."""
        request_id = self.request_id()
        client = self.client
        answers = await asyncio.gather(
            self.ask("openOrders", client.reqAllOpenOrders),
            self.ask("completedOrders", lambda: client.reqCompletedOrders(False)),
            self.ask("positions", client.reqPositions),
            self.ask(request_id, lambda: client.reqExecutions(request_id, ExecutionFilter())),
        )
        return tuple(answers)
