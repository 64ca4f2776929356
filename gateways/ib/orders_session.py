# ruff: noqa: N802 - the names of the callbacks are the library's
"""What the order connection hears: orders, executions, fees, positions, groups of a read-back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from domain.instruments import OrderType, Side
from domain.orders.combo import COMBO_CLASS
from domain.orders.table import CodeMeaning, OrderStatus
from domain.units import Cents, Qty, Ticks
from gateways.ib import translate as tr
from gateways.ib.account import CURRENCY, AccountValues
from gateways.ib.answers import Answers, RequestError
from gateways.ib.codes import POSITIONS_NOT_READY, ends_request, status_of
from gateways.ib.decoding import COMPLETED_ORDER, EXECUTION, OPEN_ORDER, POSITION, WireFill
from gateways.ib.library import Contract as IbContract
from gateways.ib.library import ExecutionFilter, Order, OrderState
from gateways.ib.link import IbPort, Session
from gateways.ib.wire import number_of
from messages import broker
from messages.broker import GroupFailure, ReadGroup

R = TypeVar("R")

ACCOUNT_PAUSE_S = 0.1  # real: values come one by one; they are told together
GROUP_OF_MESSAGE: Final = {
    OPEN_ORDER: ReadGroup.ORDERS, COMPLETED_ORDER: ReadGroup.COMPLETED, EXECUTION: ReadGroup.EXECUTIONS,
    POSITION: ReadGroup.POSITIONS,
}  # fmt: skip


class KnownOrder:
    """An order as this session can change or cancel it.

    `good_till` is IB's text, empty for a day order; `is_unheard`: bytes of it left and the gateway has said nothing of
    it since.
    """

    __slots__ = (
        "contract", "filled_qty", "good_till", "is_unheard", "limit_ticks", "order_id", "order_type", "perm_id", "qty",
        "ref", "side", "stop_ticks",
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
        self.good_till = ""
        self.is_unheard = False


class OrderRow(NamedTuple):
    """An open or completed order, as it is read back; `client_id` is `None` where the broker does not say."""

    contract: IbContract
    order: Order
    status: OrderStatus
    client_id: int | None


class ExecutionRow(NamedTuple):
    """An execution, as it is read back."""

    contract: IbContract
    fill: WireFill


class Groups(NamedTuple):
    """The four groups of a read-back; one that failed has no rows and stands in `failed`."""

    open_orders: list[OrderRow]
    completed_orders: list[OrderRow]
    positions: list[broker.BrokerPosition]
    executions: list[ExecutionRow]
    failed: tuple[GroupFailure, ...]


class OrdersSession(Session):
    """The order session: hears orders, executions, positions and account values."""

    def __init__(self, port: IbPort, epoch: int) -> None:
        super().__init__(port, epoch)
        self.by_ref: dict[str, KnownOrder] = {}
        self.by_id: dict[int, KnownOrder] = {}
        # Who waits for what an order that is only asked about would need: its margin in USD, or words.
        self.questions: dict[int, Callable[[float | None, str], None]] = {}
        self.is_disturbed = False  # something filled while a read-back was under way
        self._open_orders = self.expecting(Answers[OrderRow](port.loop, ReadGroup.ORDERS))
        self._completed_orders = self.expecting(Answers[OrderRow](port.loop, ReadGroup.COMPLETED))
        self._positions = self.expecting(Answers[broker.BrokerPosition](port.loop, ReadGroup.POSITIONS))
        self._executions = self.expecting(Answers[ExecutionRow](port.loop, ReadGroup.EXECUTIONS))
        self._foreign_executions: set[str] = set()  # of other accounts
        self._account = AccountValues()
        self._account_due: asyncio.TimerHandle | None = None

    def keep(self, known: KnownOrder) -> None:
        """Make an order known to this session."""
        self.by_ref[known.ref] = known
        self.by_id[known.order_id] = known

    def forget(self, known: KnownOrder) -> None:
        """Drop an order that never left."""
        self.by_ref.pop(known.ref, None)
        self.by_id.pop(known.order_id, None)

    # -- errors and what cannot be read ---------------------------------------------------------

    def on_error(self, request_id: int, code: int, text: str) -> None:
        known = self.by_id.get(request_id)
        if known is not None:
            known.is_unheard = False
            self.report_error(known.ref, code, text)
        elif code == POSITIONS_NOT_READY:
            if not self._positions.fail(None, f"{code}: {text}"):
                self.report_error(None, code, text)
        else:
            if request_id < 0 and ends_request(code):
                self._doubt_unheard(code, text)
            super().on_error(request_id, code, text)

    def _doubt_unheard(self, code: int, text: str) -> None:
        """Doubt what was written last: an error that names no order may be the answer to it."""
        for known in list(self.by_ref.values()):
            if known.is_unheard:
                known.is_unheard = False
                self.report_error(known.ref, code, text, CodeMeaning.ORDER_UNKNOWN)

    def unreadable(self, message_id: int, why: str) -> None:
        """A row of a read-back that nobody can read makes its group fail: it must not be shorter in silence."""
        group = GROUP_OF_MESSAGE.get(message_id)
        answers = next((answers for answers in self._answers if answers.kind == group), None)
        if answers is None or not answers.fail_all(f"a row cannot be read: {why}"):
            super().unreadable(message_id, why)

    # -- orders -------------------------------------------------------------------------------

    def _answer_question(self, order_id: int, state: OrderState | None) -> None:
        """Tell what an order that was only asked about would need."""
        tell = self.questions.pop(order_id, None)
        if tell is None:
            return
        change_usd = None if state is None else number_of(str(state.initMarginChange))
        tell(change_usd, "" if state is None else str(state.warningText or ""))

    def openOrder(self, order_id: int, contract: IbContract, order: Order, state: OrderState | None) -> None:
        """An open order: ours of this session, or one of a read-back; `state` is `None` where it cannot be read."""
        if not self.is_ours(order.account):
            return
        if order.whatIf:
            self._answer_question(order_id, state)
            return
        is_own_id = order.clientId == self.client.clientId and order_id > 0
        if is_own_id:
            self.client.updateReqId(order_id + 1)  # only our own orders say how far we have counted
        # what stands among the open orders works, whatever it is called
        status = OrderStatus.WORKING if state is None else status_of(state.status)
        self._open_orders.add(OrderRow(contract, order, status, order.clientId))
        known = self.by_ref.get(order.orderRef)
        is_over = status in (OrderStatus.FILLED, OrderStatus.CANCELLED)
        if known is None and is_own_id and order.orderRef and not is_over:
            known = KnownOrder(order.orderRef, order_id, contract, tr.side_of(order.action))
            self.keep(known)
        if known is None or not is_own_id:
            return
        known.is_unheard = False
        known.perm_id = order.permId or known.perm_id
        known.qty = tr.qty_of(order.totalQuantity) or known.qty
        known.order_type, known.limit_ticks = tr.type_of(order.orderType), tr.limit_of(order)
        known.stop_ticks = tr.ticks_of(order.auxPrice)
        known.good_till = order.goodTillDate if order.tif == "GTD" else ""
        if not is_over:
            # an openOrder has no filled quantity, so the end of an order is told by its orderStatus alone
            raw = f"openOrder {'?' if state is None else state.status}"
            self._report_status(known, status, known.perm_id, raw)

    def orderStatus(
        self, order_id: int | None, status: str, filled: float | None, remaining: float | None, _average: float | None,
        perm_id: int | None, _parent: int | None, _last: float | None, client_id: int | None, why_held: str = "",
        _cap: float | None = None,
    ) -> None:  # fmt: skip
        """A status; it carries no reference, so only this client's ids can be told apart."""
        if not self.is_current or client_id != self.client.clientId or order_id is None:
            return
        known = self.by_id.get(order_id)
        if known is None:
            return
        known.is_unheard = False
        qty = tr.qty_of(filled)
        known.filled_qty = known.filled_qty if qty is None else qty
        known.perm_id = known.perm_id or perm_id or 0
        told = f"filled={_g(filled)} remaining={_g(remaining)} permId={perm_id} whyHeld={why_held}"
        self._report_status(known, status_of(status), perm_id or 0, f"orderStatus {status} {told}")

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

    def completedOrder(self, contract: IbContract, order: Order, state: OrderState) -> None:
        """A completed order; it has neither order id nor client id, the perm id is its only key."""
        if self.is_ours(order.account):
            self._completed_orders.add(OrderRow(contract, order, status_of(state.status), None))

    def completedOrdersEnd(self) -> None:
        """No more completed orders."""
        self._completed_orders.end()

    # -- executions, positions ----------------------------------------------------------------

    def execDetails(self, request_id: int, contract: IbContract, fill: WireFill) -> None:
        """An execution: live, or an answer."""
        if not self.is_ours(fill.account):
            self._foreign_executions.add(fill.exec_id)
            return
        known = self.by_ref.get(fill.order_ref)
        if known is not None:
            known.is_unheard = False
        if self._executions.add(ExecutionRow(contract, fill), request_id):
            return
        self.is_disturbed = True
        row = self.execution_of(contract, fill, is_live=request_id < 0)
        self.port.report(broker.ExecutionReported(session_epoch=self.epoch, execution=row))

    def execution_of(self, contract: IbContract, fill: WireFill, *, is_live: bool) -> broker.Execution:
        """Return an execution in our words; what it does not say itself is taken from our order of its reference.

        Raises:
            UnreadableError: its main facts are not to be known.
        """
        known, heard_utc = self.by_ref.get(fill.order_ref), self.port.clock.now_utc()
        if known is None or known.contract.secType == COMBO_CLASS:  # a leg has neither its side nor its price
            return tr.execution_of(contract, fill, heard_utc, is_live=is_live)
        return tr.execution_of(
            contract, fill, heard_utc, is_live=is_live, side=known.side, con_id=known.contract.conId,
            limit_ticks=known.limit_ticks,
        )  # fmt: skip

    def execDetailsEnd(self, request_id: int | None) -> None:
        """No more executions."""
        self._executions.end(request_id)

    def commissionReport(self, exec_id: str, commission: float | None, currency: str) -> None:
        """The fee of one execution, live or read back, sometimes before it; not yet known, it is told again later.

        One in another currency than ours is not converted: no rate is known here. It names no account, so that of a
        foreign execution is known by its id.
        """
        if not self.is_current or commission is None or exec_id in self._foreign_executions:
            return
        base, revision = tr.split_exec_id(exec_id)
        self.port.report(
            broker.CommissionReported(
                session_epoch=self.epoch,
                exec_id=base,
                revision=revision,
                commission_cents=tr.cents_of(commission) if currency == CURRENCY else None,
                raw=f"commission={commission:g} {currency}",
            )
        )

    def position(self, account: str, contract: IbContract, qty: float | None, average_cost: float | None) -> None:
        """A position: live, or of a read-back.

        We trade options alone: a number of shares (or the like) that cannot be read halts entries as a stranger's
        holding, and must not hold up our exits.

        Raises:
            UnreadableError: it has no contract id, or its quantity cannot be read and it may be of ours.
        """
        if not self.is_ours(account):
            return
        may_be_ours = contract.secType in ("OPT", "")
        row = broker.BrokerPosition(
            contract=tr.contract_of(contract),
            qty=tr.needed_qty(qty, "a position") if may_be_ours else tr.qty_or_unknown(qty),
            avg_cost_cents=Cents(0) if average_cost is None else tr.cents_of(average_cost),
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

    def updateAccountValue(self, tag: str, value: str, currency: str, account: str = "") -> None:
        """One account value; those that we need are told together."""
        if self.is_ours(account) and self._account.take(tag, value, currency) and self._account_due is None:
            self._account_due = self.port.loop.call_later(ACCOUNT_PAUSE_S, self._report_account)

    def accountDownloadEnd(self, account: str = "") -> None:
        """Every value has come once: what is not there now is not to be had."""
        if self.is_ours(account):
            self._account.is_whole = True
            if self._account_due is None:
                self._account_due = self.port.loop.call_later(ACCOUNT_PAUSE_S, self._report_account)

    def _report_account(self) -> None:
        self._account_due = None
        if self.is_current:
            fact = self._account.fact(self.epoch, self.port.clock.now_utc())
            if fact is not None:
                self.port.report(fact)

    def account_overdue(self) -> None:
        """The account's values were asked for and should have come by now; say so where they have not."""
        if self.is_current and not self._account.is_overdue:
            self._account.is_overdue = True
            self._report_account()

    # -- read-back ----------------------------------------------------------------------------

    async def read_all(self, within_s: float) -> Groups:
        """Ask for open and completed orders, positions, executions (last, so that they cover the others).

        Each group succeeds or fails by itself, with the broker's words, `within_s` real seconds.

        Raises:
            ConnectionError: the connection is gone, or has no request id left.
        """
        request_id = self.request_id()
        client, failed = self.client, list[GroupFailure]()

        async def group(
            name: ReadGroup, answers: Answers[R], send: Callable[[], None], with_id: int | None = None
        ) -> list[R]:
            answer = self.ask(answers, send, with_id)
            try:
                return await asyncio.wait_for(answer, within_s)
            except TimeoutError:
                failed.append(GroupFailure(name, f"no answer within {within_s:g} s"))
            except RequestError as error:
                failed.append(GroupFailure(name, str(error)))
            return []

        read = Groups(
            *await asyncio.gather(
                group(ReadGroup.ORDERS, self._open_orders, client.reqAllOpenOrders),
                group(ReadGroup.COMPLETED, self._completed_orders, lambda: client.reqCompletedOrders(False)),
                group(ReadGroup.POSITIONS, self._positions, client.reqPositions),
                group(
                    ReadGroup.EXECUTIONS, self._executions,
                    lambda: client.reqExecutions(request_id, ExecutionFilter()), request_id,
                ),
            ),
            (),
        )  # fmt: skip
        return read._replace(failed=tuple(failed))


def _g(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"
