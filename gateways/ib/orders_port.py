"""The order session's port: the last check before the socket, orders out, and everything that the broker says of them.

ibkr => port   Dial, CloseLink, ReadBack, LatchKill, PlaceOrder, AmendOrder, WithdrawOrder
port => ibkr   LinkUp, LinkFailed, LinkLost, LinkRestored, FarmNotice, OrderSent, OrderDenied, StatusHeard,
               ExecutionHeard, CommissionHeard, ErrorHeard, BrokerRead, BrokerReadFailed, AccountRead,
               BrokerPositionHeard
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from ib_insync import order as ib_order
from ib_insync.contract import Contract as IbContract
from ib_insync.objects import Execution
from ib_insync.util import UNSET_DOUBLE

from domain.orders.table import CodeMeaning, OrderStatus
from domain.risk.reject import RejectCode
from gateways.ib import translate as tr
from gateways.ib.codes import WORKING
from gateways.ib.link import IbPort, RequestError
from gateways.ib.orders_session import Known, OrdersSession
from messages import orders as m
from messages.base import Message
from messages.risk import LatchKill
from messages.session import (
    BrokerOrder,
    BrokerPosition,
    BrokerRead,
    BrokerReadFailed,
    ReadBack,
)

ACCOUNT_EVERY_S = 60.0  # real: the account's values are asked for again, so that unchanged ones stay fresh


class OrdersPort(IbPort):
    """`port:ibkr:<desk>`: one order connection, its kill latch and its reads."""

    session_type = OrdersSession
    session: OrdersSession | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._latch = LatchKill(level=0, kill_epoch=0)
        self._entries_refused: str | None = None
        self._reading = asyncio.Lock()

    def refuse_entries(self, why: str) -> None:
        """Refuse every entry until the process ends (the kill actor or its like failed); any thread may call."""
        self._entries_refused = why

    def command(self, message: Message) -> None:
        match message:
            case LatchKill():
                if message.kill_epoch >= self._latch.kill_epoch:
                    self._latch = message
            case m.PlaceOrder():
                self._place(message)
            case m.AmendOrder():
                self._amend(message)
            case m.WithdrawOrder():
                self._withdraw(message)
            case ReadBack():
                self.spawn(self._read_in_turn(message))
            case _:
                super().command(message)

    def opened(self, session: OrdersSession) -> None:
        self.spawn(self._follow_account(session))

    async def _follow_account(self, session: OrdersSession) -> None:
        with contextlib.suppress(ConnectionError):
            while self.session is session:
                session.client.reqAccountUpdates(True, self.account)
                await asyncio.sleep(ACCOUNT_EVERY_S)

    # -- orders out -----------------------------------------------------------------------------

    def _fault(
        self, order: m.PlaceOrder | m.AmendOrder, session: OrdersSession | None
    ) -> tuple[RejectCode, str] | None:
        """The last check, on the loop that writes."""
        if session is None or not session.is_up or session.is_cut:
            return RejectCode.NOT_CONNECTED, "there is no link to the broker"
        if order.session_epoch != session.epoch:
            return RejectCode.PERMIT_SESSION, f"session epoch {order.session_epoch}, now {session.epoch}"
        late_ms = (self.clock.now_utc() - order.deadline_utc) // 1_000_000
        if late_ms > 0:
            return RejectCode.DEADLINE_PASSED, f"{late_ms} ms late at the socket"
        if not order.is_exit:
            latch = self._latch
            if self._entries_refused is not None:
                return RejectCode.PERMIT_KILLED, self._entries_refused
            if latch.level >= 1 or order.kill_epoch < latch.kill_epoch:
                return RejectCode.PERMIT_KILLED, f"kill level {latch.level}, epoch {latch.kill_epoch}"
            if not session.has_room():
                # what waits in the library's queue cannot be stopped by a kill or a deadline any more
                return RejectCode.NOT_CONNECTED, "the connection's pace is used up"
        return None

    def _place(self, order: m.PlaceOrder) -> None:
        session = self.session
        fault = self._fault(order, session)
        if fault is None and session is not None and order.order_ref in session.by_ref:
            fault = RejectCode.DUPLICATE_REF, "this ref is at the broker already"
        if fault is not None or session is None:
            self._deny(order.order_ref, fault)
            return
        known = Known(order.order_ref, session.request_id(), tr.ib_option(order.contract), order.side)
        known.qty, known.order_type = order.qty, order.order_type
        known.limit_ticks, known.aux_ticks = order.limit_ticks, order.aux_ticks
        session.keep(known)
        self._write(session, known)

    def _amend(self, change: m.AmendOrder) -> None:
        session = self.session
        known = session.by_ref.get(change.order_ref) if session is not None else None
        fault = self._fault(change, session)
        if fault is None and known is None:
            fault = RejectCode.NOT_CONNECTED, "this session does not know the order"
        if fault is not None or session is None or known is None:
            self._deny(change.order_ref, fault)
            return
        changed = Known(known.ref, known.order_id, known.contract, known.side)
        changed.perm_id, changed.aux_ticks = known.perm_id, known.aux_ticks
        changed.qty, changed.order_type, changed.limit_ticks = change.qty, change.order_type, change.limit_ticks
        self._write(session, changed)

    def _write(self, session: OrdersSession, known: Known) -> None:
        assert known.order_type is not None
        try:
            order = tr.ib_order_of(
                known.ref, known.side, known.qty, known.order_type, known.limit_ticks, known.aux_ticks, self.account
            )
            session.client.placeOrder(known.order_id, known.contract, order)
        except ConnectionError as error:
            self._deny(known.ref, (RejectCode.NOT_CONNECTED, str(error)))
            return
        except ValueError as error:
            self._deny(known.ref, (RejectCode.MISSING_INPUT, str(error)))
            return
        self.say(
            m.OrderSent(
                order_ref=known.ref,
                session_epoch=session.epoch,
                order_id=known.order_id,
                sent_utc=self.clock.now_utc(),
            )
        )

    def _withdraw(self, wish: m.WithdrawOrder) -> None:
        session = self.session
        known = session.by_ref.get(wish.order_ref) if session is not None else None
        if session is None or known is None or not session.is_up:
            self.say(
                m.ErrorHeard(
                    session_epoch=wish.session_epoch,
                    order_ref=wish.order_ref,
                    vendor_code=0,
                    text="this session cannot cancel the order: not connected, or another client's",
                    meaning=CodeMeaning.ORDER_UNKNOWN,
                )
            )
            return
        with contextlib.suppress(ConnectionError):  # the loss is on its way to the actor
            session.client.cancelOrder(known.order_id)

    def _deny(self, order_ref: str, fault: tuple[RejectCode, str] | None) -> None:
        code, why = fault or (RejectCode.NOT_CONNECTED, "there is no link to the broker")
        self.say(m.OrderDenied(order_ref=order_ref, code=code, why=why))

    # -- read-back ------------------------------------------------------------------------------

    async def _read_in_turn(self, wish: ReadBack) -> None:
        # answers carry no request id, so two reads at once would end each other
        async with self._reading:
            await self._read(wish)

    async def _read(self, wish: ReadBack) -> None:
        session = self.session
        why = "there is no link to the broker"
        if session is not None and session.is_up and session.epoch == wish.session_epoch:
            try:
                async with asyncio.timeout(self.seconds(self.rules.read_back_ms)):
                    while True:
                        session.is_disturbed = False
                        read = self._broker_read(wish, *await session.read_all())
                        if not session.is_disturbed:
                            break
                self.say(read)
                return
            except TimeoutError:
                why = "a group of the read-back did not end in time"
            except (RequestError, ConnectionError) as error:
                why = str(error)
        self.say(BrokerReadFailed(session_epoch=wish.session_epoch, read_n=wish.read_n, why=why))

    def _broker_read(
        self,
        wish: ReadBack,
        open_rows: list[tuple[IbContract, ib_order.Order, OrderStatus]],
        completed_rows: list[tuple[IbContract, ib_order.Order, OrderStatus]],
        positions: list[BrokerPosition],
        executions: list[tuple[IbContract, Execution]],
    ) -> BrokerRead:
        read = {
            e.exec_id: e for e in sorted((tr.execution_read(c, e) for c, e in executions), key=lambda e: e.revision)
        }
        filled: dict[int, int] = {}
        for execution in read.values():
            filled[execution.perm_id] = filled.get(execution.perm_id, 0) + execution.qty
        found: dict[int, BrokerOrder] = {}
        for contract, order, status in (*open_rows, *completed_rows):
            if order.account and order.account != self.account:
                continue
            found[order.permId] = _broker_order(contract, order, status, filled.get(order.permId, 0))
        held = {row.contract.con_id: row for row in positions}
        return BrokerRead(
            session_epoch=wish.session_epoch,
            read_n=wish.read_n,
            orders=tuple(found[perm_id] for perm_id in sorted(found)),
            executions=tuple(sorted(read.values(), key=lambda e: (e.at_utc, e.exec_id))),
            positions=tuple(held[con_id] for con_id in sorted(held) if held[con_id].qty),
            read_utc=self.clock.now_utc(),
        )


def _broker_order(contract: IbContract, order: ib_order.Order, status: OrderStatus, executed_qty: int) -> BrokerOrder:
    """Give one order of a read-back; a completed order's total is 0 in some versions, its filled quantity is not."""
    told_qty = round(order.filledQuantity) if order.filledQuantity < UNSET_DOUBLE else 0
    filled_qty = max(executed_qty, told_qty)
    return BrokerOrder(
        order_ref=order.orderRef,
        perm_id=order.permId,
        con_id=contract.conId,
        side=tr.side_of(order.action),
        qty=max(round(order.totalQuantity), filled_qty),
        filled_qty=filled_qty,
        order_type=tr.type_of(order.orderType),
        limit_ticks=tr.limit_of(order),
        status=status.value,
        is_working=status in WORKING,
    )
