"""The order session's port: the last check before the socket, orders out, and the read-back of the broker's truth.

It speaks the whole broker conversation (`messages/broker.py`); what the connection hears is `orders_session.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, TypeVar, assert_never

from config.tree import Gateway
from domain.instants import MS
from domain.limits import ConnectionRules
from domain.orders.capabilities import CAPABILITIES, IB, BrokerCapability
from domain.orders.combo import COMBO_CON_ID, refusal_of
from domain.orders.references import is_ours
from domain.orders.table import CodeMeaning, OrderStatus
from domain.ports import Clock
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.clock_offset import Answer, answer_of, bounds, kept
from domain.units import Cents, Qty, Utc
from gateways.closed import answer_of_closed
from gateways.ib import translate as tr
from gateways.ib.answers import RequestError
from gateways.ib.codes import WORKING
from gateways.ib.decoding import UnreadableError
from gateways.ib.link import IbPort, Session
from gateways.ib.orders_session import Groups, KnownOrder, OrderRow, OrdersSession
from gateways.last_check import NO_LINK, Fault, last_check, order_of
from gateways.port_thread import Tell
from messages import broker
from messages.broker import (
    QTY_UNKNOWN,
    BrokerCommand,
    BrokerOrder,
    BrokerPort,
    BrokerRead,
    GroupFailure,
    ReadGroup,
)

R = TypeVar("R")
T = TypeVar("T")

ACCOUNT_EVERY_S = 60.0  # real: the account's values are asked for again, so that unchanged ones stay fresh

NOT_SENT = "not connected, or the gateway has lost its own link"
NOT_OURS = "not of this session: another client id has it, or nobody"


class Reading(NamedTuple):
    """A read-back and whether executions came while it was under way, so that its groups may not fit each other."""

    read: BrokerRead
    is_disturbed: bool


class OrdersPort(IbPort, BrokerPort):
    """`port:ibkr:<desk>`: one order connection, its kill latch and its reads."""

    session: OrdersSession | None
    is_order_path = True

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
        account_key: str = "",
    ) -> None:
        super().__init__(
            name, gateways=gateways, client_id=client_id, rules=rules, clock=clock, tell=tell, account=account,
            account_key=account_key,
        )  # fmt: skip
        self._latch = broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=0)
        self._entries_refused: str | None = None
        self._reading = asyncio.Lock()
        self._clock_answers: tuple[Answer, ...] = ()

    @property
    def capabilities(self) -> frozenset[BrokerCapability]:
        """What this broker can do."""
        return CAPABILITIES[IB]

    def refuse_entries(self, why: str) -> None:
        """Refuse every entry until the process ends (the kill actor or its like failed); any thread may call."""
        self._entries_refused = why

    def post(self, command: BrokerCommand) -> None:
        """Take a command; never blocks. After `close` it is refused."""
        self.take_soon(self._take, command)

    def refuse(self, command: BrokerCommand) -> None:
        answer = answer_of_closed(command)
        if answer is not None:
            self.report(answer)

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
            case broker.CancelEverything():
                self._cancel_everything(command)
            case broker.AskMargin():
                self._ask_margin(command)
            case broker.ReadBack():
                self.spawn(
                    f"read-back {command.read_n}",
                    lambda: self._read_in_turn(command),
                    on_death=lambda why: self._read_failed(command, why),
                )
            case _:
                assert_never(command)

    def _ask_margin(self, command: broker.AskMargin) -> None:
        """Ask what an order would need, marked as a question, so that it is never placed; silence is the asker's."""
        session, asked = self.session, command.order
        if session is None or not session.is_up or session.is_cut or session.epoch != command.session_epoch:
            self._tell_margin(command, None, "not connected")
            return
        try:
            order_id = session.request_id()
            order = tr.ib_order_of(
                asked.order_ref, asked.side, asked.qty, asked.order_type, asked.limit_ticks, None, self.account
            )
            order.whatIf = True
            session.questions[order_id] = partial(self._on_margin, command)
            session.client.placeOrder(order_id, tr.ib_traded(asked.contract, command.legs), order)
        except (ConnectionError, ValueError) as error:
            self._tell_margin(command, None, str(error))

    def _on_margin(self, command: broker.AskMargin, change_usd: float | None, words: str) -> None:
        """Tell the broker's answer to such a question; `None` where it named no margin."""
        if change_usd is None:
            self._tell_margin(command, None, words or "the broker told no margin")
        else:
            self._tell_margin(command, tr.cents_of(change_usd), "")

    def _tell_margin(self, command: broker.AskMargin, change_cents: Cents | None, why: str) -> None:
        told = broker.MarginTold(
            session_epoch=command.session_epoch, request_id=command.request_id, reply_to=command.reply_to,
            init_margin_change_cents=change_cents, why=why,
        )  # fmt: skip
        self.report(told)

    def new_session(self, epoch: int) -> OrdersSession:
        return OrdersSession(self, epoch)

    def on_open(self) -> None:
        session = self.session
        if session is not None:
            self._clock_answers = ()
            self.spawn(
                "following the account", lambda: self._follow_account(session),
                is_wanted=lambda: self.session is session,
            )  # fmt: skip

    def on_time(self, session: Session, epoch_s: int, sent_utc: Utc, heard_utc: Utc) -> None:
        if heard_utc < sent_utc:
            self._clock_answers = ()
            return
        self._clock_answers = kept(self._clock_answers, answer_of(epoch_s, sent_utc, heard_utc))
        least_ns, most_ns = bounds(self._clock_answers)
        self.report(
            broker.ClockRead(
                session_epoch=session.epoch,
                least_ms=least_ns // MS,
                most_ms=-(-most_ns // MS),
                round_trip_ms=(heard_utc - sent_utc) // MS,
                read_utc=heard_utc,
            )
        )

    async def _follow_account(self, session: OrdersSession) -> None:
        """Ask for the account again and again; values that do not come in time are told as missing."""
        wait_s = self.seconds(self.rules.read_back_ms)
        while self.session is session:
            try:
                session.client.reqAccountUpdates(True, self.account)
            except ConnectionError:
                return  # the loss is on its way to the actor
            await asyncio.sleep(wait_s)
            session.account_overdue()
            await asyncio.sleep(ACCOUNT_EVERY_S)

    # -- orders out -----------------------------------------------------------------------------

    def _place(self, command: broker.PlaceOrder) -> None:
        session, order = self.session, command.order
        if session is None or not session.is_up or session.is_cut:
            self._deny(order.order_ref, NO_LINK)
            return
        fault = self._fault(session, command)
        if fault is None and order.order_ref in session.by_ref:
            fault = RejectCode.DUPLICATE_REF, "this ref is at the broker already"
        if fault is None and command.legs and (why := refusal_of(command.legs, self.capabilities)) is not None:
            fault = RejectCode.UNKNOWN_CONTRACT, why
        if fault is not None:
            self._deny(order.order_ref, fault)
            return
        try:
            order_id = session.request_id()
        except ConnectionError as error:
            self._deny(order.order_ref, (RejectCode.NOT_CONNECTED, str(error)))
            return
        known = KnownOrder(order.order_ref, order_id, tr.ib_traded(order.contract, command.legs), order.side)
        known.qty, known.order_type = order.qty, order.order_type
        known.limit_ticks, known.stop_ticks = order.limit_ticks, order.stop_ticks
        known.good_till = tr.good_till_text(order.good_till_utc)
        session.keep(known)
        if not self._write(session, known):
            session.forget(known)

    def _amend(self, command: broker.AmendOrder) -> None:
        session, change = self.session, command.change
        if session is None or not session.is_up or session.is_cut:
            self._deny(change.order_ref, NO_LINK)
            return
        fault = self._fault(session, command)
        known = session.by_ref.get(change.order_ref)
        if fault is not None or known is None:
            self._deny(change.order_ref, fault or (RejectCode.NOT_CONNECTED, f"it cannot be changed: {NOT_OURS}"))
            return
        changed = KnownOrder(known.ref, known.order_id, known.contract, known.side)
        changed.perm_id, changed.stop_ticks = known.perm_id, known.stop_ticks
        changed.qty, changed.order_type, changed.limit_ticks = change.qty, change.order_type, change.limit_ticks
        changed.good_till = known.good_till
        if self._write(session, changed):
            known.is_unheard = True

    def _fault(self, session: OrdersSession, command: broker.PlaceOrder | broker.AmendOrder) -> Fault | None:
        """Return what forbids the write: the last check, on the loop that writes."""
        fault = last_check(command, self.clock.now_utc(), session.epoch, self._latch, self._entries_refused)
        if fault is not None or order_of(command).is_exit:
            return fault
        if not session.has_room():
            # what waits in the library's queue cannot be stopped by a kill or a deadline any more
            return RejectCode.NOT_CONNECTED, "the connection's pace is used up"
        return None

    def _write(self, session: OrdersSession, known: KnownOrder) -> bool:
        """Write an order; False, with the reason told, where nothing left."""
        assert known.order_type is not None
        try:
            order = tr.ib_order_of(
                known.ref, known.side, known.qty, known.order_type, known.limit_ticks, known.stop_ticks, self.account,
                known.good_till,
            )  # fmt: skip
            session.client.placeOrder(known.order_id, known.contract, order)
        except ConnectionError as error:
            self._deny(known.ref, (RejectCode.NOT_CONNECTED, str(error)))
            return False
        except ValueError as error:
            self._deny(known.ref, (RejectCode.MISSING_INPUT, str(error)))
            return False
        known.is_unheard = True
        self.report(
            broker.OrderSent(
                order_ref=known.ref,
                session_epoch=session.epoch,
                order_id=known.order_id,
                sent_utc=self.clock.now_utc(),
            )
        )
        return True

    def _withdraw(self, command: broker.WithdrawOrder) -> None:
        session = self.session
        known = session.by_ref.get(command.order_ref) if session is not None else None
        why = NOT_OURS if known is None else NOT_SENT
        if session is not None and known is not None and session.is_up and not session.is_cut:
            try:
                session.client.cancelOrder(known.order_id)
            except ConnectionError as error:
                why = str(error)
            else:
                return
        self._not_cancelled(command.order_ref, command.session_epoch, why, CodeMeaning.ORDER_UNKNOWN)

    def _cancel_everything(self, command: broker.CancelEverything) -> None:
        session, why = self.session, NOT_SENT
        if session is not None and session.is_up and not session.is_cut and session.epoch == command.session_epoch:
            try:
                session.client.reqGlobalCancel()
            except ConnectionError as error:
                why = str(error)
            else:
                return
        self._not_cancelled(None, command.session_epoch, why, CodeMeaning.LINK)

    def _not_cancelled(self, order_ref: str | None, epoch: int, why: str, meaning: CodeMeaning) -> None:
        what = "the order" if order_ref is not None else "everything"
        self.report(
            broker.ErrorReported(
                session_epoch=epoch, order_ref=order_ref, vendor_code=0, text=f"cannot cancel {what}: {why}",
                meaning=meaning,
            )
        )  # fmt: skip

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
        if session is None or not session.is_up or session.epoch != command.session_epoch:
            self._read_failed(command, NO_LINK[1])
            return
        within_s = self.seconds(self.rules.read_back_ms)
        until_s = self.loop.time() + within_s
        try:
            reading = await self._read_once(session, command, within_s)
            while reading.is_disturbed and self.loop.time() < until_s:
                reading = await self._read_once(session, command, within_s)
        except (RequestError, ConnectionError) as error:
            self._read_failed(command, str(error))
            return
        read = reading.read
        if self.session is not session:
            self._read_failed(command, "the link was lost while the broker was read")
        elif len(read.failed) == len(ReadGroup):
            self._read_failed(command, "; ".join(f"{failure.group}: {failure.why}" for failure in read.failed))
        elif reading.is_disturbed:
            self._read_failed(command, "executions kept coming while the broker was read")
        else:
            self.report(read)

    async def _read_once(self, session: OrdersSession, command: broker.ReadBack, within_s: float) -> Reading:
        session.is_disturbed = False
        groups = await session.read_all(within_s)
        return Reading(self._broker_read(session, command, groups), session.is_disturbed)

    def _read_failed(self, command: broker.ReadBack, why: str) -> None:
        self.report(broker.BrokerReadFailed(session_epoch=command.session_epoch, read_n=command.read_n, why=why))

    def _broker_read(self, session: OrdersSession, command: broker.ReadBack, groups: Groups) -> BrokerRead:
        failed = {failure.group: failure for failure in groups.failed}

        def readable(group: ReadGroup, rows: Iterable[R], read: Callable[[R], T]) -> list[T]:
            """Return what can be read; a row that cannot be costs no other one, but the group is not whole."""
            found = []
            for row in rows:
                try:
                    found.append(read(row))
                except UnreadableError as error:
                    failed.setdefault(group, GroupFailure(group, f"a row cannot be read: {error}"))
            return found

        told = readable(
            ReadGroup.EXECUTIONS, groups.executions,
            lambda row: session.execution_of(row.contract, row.fill, is_live=False),
        )  # fmt: skip
        executions = {e.exec_id: e for e in sorted(told, key=lambda e: e.revision)}
        filled: dict[int, Qty] = {}
        combos = {execution.perm_id for execution in executions.values() if execution.con_id == COMBO_CON_ID}
        for execution in executions.values():
            if execution.con_id == COMBO_CON_ID or execution.perm_id not in combos:  # of a combination the whole counts
                filled[execution.perm_id] = filled.get(execution.perm_id, Qty(0)) + execution.qty
        found = [
            order
            for group, rows in (
                (ReadGroup.ORDERS, groups.open_orders), (ReadGroup.COMPLETED, groups.completed_orders),
            )
            for order in readable(group, rows, lambda row: self._broker_order(session, row, filled))
        ]  # fmt: skip
        held = {row.contract.con_id: row for row in groups.positions}
        return BrokerRead(
            session_epoch=command.session_epoch,
            read_n=command.read_n,
            orders=_once_each(found),
            executions=tuple(sorted(executions.values(), key=lambda e: (e.at_utc, e.exec_id))),
            positions=tuple(held[con_id] for con_id in sorted(held) if held[con_id].qty),
            read_utc=self.clock.now_utc(),
            failed=tuple(failed.values()),
        )

    def _broker_order(self, session: OrdersSession, row: OrderRow, filled: dict[int, Qty]) -> BrokerOrder:
        """Return one order of a read-back; a completed order's total is 0 in some versions, its filled quantity is not.

        What is not ours may be without contract and quantity: it halts entries, and must not hold up our exits.

        Raises:
            UnreadableError: its side is not to be known, or, of an order of ours, its contract or quantity.
        """
        order = row.order
        known, is_own = session.by_ref.get(order.orderRef), is_ours(order.orderRef)
        con_id = tr.contract_of(row.contract).con_id if is_own else max(0, tr.con_id_of(row.contract))
        executed = filled.get(order.permId, Qty(0)) if order.permId else Qty(0)
        filled_qty = max(executed, tr.qty_of(order.filledQuantity) or Qty(0))
        total = tr.qty_of(order.totalQuantity)
        if total is None and row.client_id is not None:
            total = known.qty if known is not None else QTY_UNKNOWN
            if is_own and known is None:
                raise UnreadableError(f"no quantity of order {order.permId}")
        # what stands among the open orders works where its status is no word that we know
        is_working = row.status in WORKING or (row.status is OrderStatus.UNKNOWN and row.client_id is not None)
        return BrokerOrder(
            order_ref=order.orderRef,
            perm_id=order.permId,
            con_id=con_id,
            side=tr.side_of(order.action),
            qty=max(total or Qty(0), filled_qty),
            filled_qty=filled_qty,
            order_type=tr.type_of(order.orderType),
            limit_ticks=tr.limit_of(order),
            status=row.status,
            is_working=is_working,
            is_of_other_client=is_working and row.client_id not in (None, session.client.clientId),
        )


def _once_each(orders: list[BrokerOrder]) -> tuple[BrokerOrder, ...]:
    """Return the orders, each once: a later row of a perm id replaces an earlier one; 0 is no perm id."""
    by_perm_id = {order.perm_id: order for order in orders if order.perm_id}
    without = [order for order in orders if not order.perm_id]
    return (*without, *(by_perm_id[perm_id] for perm_id in sorted(by_perm_id)))
