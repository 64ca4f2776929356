"""The order session's port: the last check before the socket, orders out, and the read-back of the broker's truth.

It speaks the whole broker conversation (`messages/broker.py`); what the connection hears is `orders_session.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import assert_never

from ib_insync.util import UNSET_DOUBLE

from config.settings import Gateway
from domain.instants import MS
from domain.limits import ConnectionRules
from domain.orders.table import CodeMeaning
from domain.ports import Clock
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.units import Qty, Utc
from gateways.ib import translate as tr
from gateways.ib.answers import RequestError
from gateways.ib.codes import WORKING
from gateways.ib.link import IbPort, Tell
from gateways.ib.orders_session import Groups, KnownOrder, OrderRow, OrdersSession
from messages import broker
from messages.broker import BrokerCommand, BrokerOrder, BrokerPort, BrokerRead

ACCOUNT_EVERY_S = 60.0  # real: the account's values are asked for again, so that unchanged ones stay fresh

Fault = tuple[RejectCode, str]
NO_LINK: Fault = (RejectCode.NOT_CONNECTED, "there is no link to the broker")


class OrdersPort(IbPort, BrokerPort):
    """`port:ibkr:<desk>`: one order connection, its kill latch and its reads."""

    session: OrdersSession | None

    def __init__(
        self,
        name: str,
        *,
        gateways: tuple[Gateway, ...],
        client_id: int,
        rules: ConnectionRules,
        clock: Clock,
        tell: Tell,
        account: str | None = None,
    ) -> None:
        super().__init__(
            name, gateways=gateways, client_id=client_id, rules=rules, clock=clock, tell=tell, account=account
        )
        self._latch = broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=0)
        self._entries_refused: str | None = None
        self._reading = asyncio.Lock()

    def refuse_entries(self, why: str) -> None:
        """Refuse every entry until the process ends (the kill actor or its like failed); any thread may call."""
        self._entries_refused = why

    def post(self, command: BrokerCommand) -> None:
        """Take a command; never blocks. After `close` it is dropped."""
        self.take_soon(self._take, command)

    def _take(self, command: BrokerCommand) -> None:
        match command:
            case broker.Dial() | broker.CloseLink():
                self.command_link(command)
            case broker.LatchKill():
                if command.kill_epoch >= self._latch.kill_epoch:
                    self._latch = command
            case broker.PlaceOrder():
                self._place(command)
            case broker.AmendOrder():
                self._amend(command)
            case broker.WithdrawOrder():
                self._withdraw(command)
            case broker.ReadBack():
                self.spawn(self._read_in_turn(command))
            case _:
                assert_never(command)

    def new_session(self, epoch: int) -> OrdersSession:
        return OrdersSession(self, epoch)

    def on_open(self) -> None:
        if self.session is not None:
            self.spawn(self._follow_account(self.session))

    async def _follow_account(self, session: OrdersSession) -> None:
        with contextlib.suppress(ConnectionError):
            while self.session is session:
                session.client.reqAccountUpdates(True, self.account)
                await asyncio.sleep(ACCOUNT_EVERY_S)

    # -- orders out -----------------------------------------------------------------------------

    def _place(self, command: broker.PlaceOrder) -> None:
        session, order = self.session, command.order
        if session is None or not session.is_up or session.is_cut:
            self._deny(order.order_ref, NO_LINK)
            return
        fault = self._fault(session, command, order.deadline_utc, order.is_exit)
        if fault is None and order.order_ref in session.by_ref:
            fault = RejectCode.DUPLICATE_REF, "this ref is at the broker already"
        if fault is not None:
            self._deny(order.order_ref, fault)
            return
        known = KnownOrder(order.order_ref, session.request_id(), tr.ib_option(order.contract), order.side)
        known.qty, known.order_type = order.qty, order.order_type
        known.limit_ticks, known.stop_ticks = order.limit_ticks, order.stop_ticks
        session.keep(known)
        self._write(session, known)

    def _amend(self, command: broker.AmendOrder) -> None:
        session, change = self.session, command.change
        if session is None or not session.is_up or session.is_cut:
            self._deny(change.order_ref, NO_LINK)
            return
        fault = self._fault(session, command, change.deadline_utc, change.is_exit)
        known = session.by_ref.get(change.order_ref)
        if fault is not None or known is None:
            self._deny(change.order_ref, fault or (RejectCode.NOT_CONNECTED, "this session does not know the order"))
            return
        changed = KnownOrder(known.ref, known.order_id, known.contract, known.side)
        changed.perm_id, changed.stop_ticks = known.perm_id, known.stop_ticks
        changed.qty, changed.order_type, changed.limit_ticks = change.qty, change.order_type, change.limit_ticks
        self._write(session, changed)

    def _fault(
        self, session: OrdersSession, command: broker.PlaceOrder | broker.AmendOrder, deadline_utc: Utc, is_exit: bool
    ) -> Fault | None:
        """Return what forbids the write: the last check, on the loop that writes."""
        if command.session_epoch != session.epoch:
            return RejectCode.PERMIT_SESSION, f"session epoch {command.session_epoch}, now {session.epoch}"
        late_ms = (self.clock.now_utc() - deadline_utc) // MS
        if late_ms > 0:
            return RejectCode.DEADLINE_PASSED, f"{late_ms} ms late at the socket"
        if is_exit:
            return None
        latch = self._latch
        if self._entries_refused is not None:
            return RejectCode.PERMIT_KILLED, self._entries_refused
        if latch.level > KillLevel.RUNNING or command.kill_epoch < latch.kill_epoch:
            return RejectCode.PERMIT_KILLED, f"kill level {latch.level}, epoch {latch.kill_epoch}"
        if not session.has_room():
            # what waits in the library's queue cannot be stopped by a kill or a deadline any more
            return RejectCode.NOT_CONNECTED, "the connection's pace is used up"
        return None

    def _write(self, session: OrdersSession, known: KnownOrder) -> None:
        assert known.order_type is not None
        try:
            order = tr.ib_order_of(
                known.ref, known.side, known.qty, known.order_type, known.limit_ticks, known.stop_ticks, self.account
            )
            session.client.placeOrder(known.order_id, known.contract, order)
        except ConnectionError as error:
            self._deny(known.ref, (RejectCode.NOT_CONNECTED, str(error)))
            return
        except ValueError as error:
            self._deny(known.ref, (RejectCode.MISSING_INPUT, str(error)))
            return
        self.report(
            broker.OrderSent(
                order_ref=known.ref,
                session_epoch=session.epoch,
                order_id=known.order_id,
                sent_utc=self.clock.now_utc(),
            )
        )

    def _withdraw(self, command: broker.WithdrawOrder) -> None:
        session = self.session
        known = session.by_ref.get(command.order_ref) if session is not None else None
        if session is None or known is None or not session.is_up:
            self.report(
                broker.ErrorReported(
                    session_epoch=command.session_epoch,
                    order_ref=command.order_ref,
                    vendor_code=0,
                    text="this session cannot cancel the order: not connected, or another client's",
                    meaning=CodeMeaning.ORDER_UNKNOWN,
                )
            )
            return
        with contextlib.suppress(ConnectionError):  # the loss is on its way to the actor
            session.client.cancelOrder(known.order_id)

    def _deny(self, order_ref: str, fault: Fault) -> None:
        code, why = fault
        self.report(broker.OrderDenied(order_ref=order_ref, code=code, why=why))

    # -- read-back ------------------------------------------------------------------------------

    async def _read_in_turn(self, command: broker.ReadBack) -> None:
        # answers carry no request id, so two reads at once would end each other
        async with self._reading:
            await self._read(command)

    async def _read(self, command: broker.ReadBack) -> None:
        session = self.session
        _, why = NO_LINK
        if session is not None and session.is_up and session.epoch == command.session_epoch:
            try:
                async with asyncio.timeout(self.seconds(self.rules.read_back_ms)):
                    while True:
                        session.is_disturbed = False
                        read = self._broker_read(command, await session.read_all())
                        if not session.is_disturbed:
                            break
                self.report(read)
                return
            except TimeoutError:
                why = "a group of the read-back did not end in time"
            except (RequestError, ConnectionError) as error:
                why = str(error)
        self.report(broker.BrokerReadFailed(session_epoch=command.session_epoch, read_n=command.read_n, why=why))

    def _broker_read(self, command: broker.ReadBack, groups: Groups) -> BrokerRead:
        read = [tr.execution_of(row.contract, row.execution) for row in groups.executions]
        executions = {e.exec_id: e for e in sorted(read, key=lambda e: e.revision)}
        filled: dict[int, Qty] = {}
        for execution in executions.values():
            filled[execution.perm_id] = filled.get(execution.perm_id, Qty(0)) + execution.qty
        found: dict[int, BrokerOrder] = {}
        for row in (*groups.open_orders, *groups.completed_orders):
            perm_id = row.order.permId
            if not row.order.account or row.order.account == self.account:
                found[perm_id] = _broker_order(row, filled.get(perm_id, Qty(0)))
        held = {row.contract.con_id: row for row in groups.positions}
        return BrokerRead(
            session_epoch=command.session_epoch,
            read_n=command.read_n,
            orders=tuple(found[perm_id] for perm_id in sorted(found)),
            executions=tuple(sorted(executions.values(), key=lambda e: (e.at_utc, e.exec_id))),
            positions=tuple(held[con_id] for con_id in sorted(held) if held[con_id].qty),
            read_utc=self.clock.now_utc(),
        )


def _broker_order(row: OrderRow, executed_qty: Qty) -> BrokerOrder:
    """Return one order of a read-back; a completed order's total is 0 in some versions, its filled quantity is not."""
    order = row.order
    told_qty = tr.qty_of(order.filledQuantity) if order.filledQuantity < UNSET_DOUBLE else Qty(0)
    filled_qty = max(executed_qty, told_qty)
    return BrokerOrder(
        order_ref=order.orderRef,
        perm_id=order.permId,
        con_id=row.contract.conId,
        side=tr.side_of(order.action),
        qty=max(tr.qty_of(order.totalQuantity), filled_qty),
        filled_qty=filled_qty,
        order_type=tr.type_of(order.orderType),
        limit_ticks=tr.limit_of(order),
        status=row.status,
        is_working=row.status in WORKING,
    )
