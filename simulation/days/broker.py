"""The order session's port of a faulty day: the in-process one, event-driven, with what goes wrong on its wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from domain.instants import MINUTE, MS, SECOND
from domain.instruments import OrderType, Side
from domain.orders.references import is_ours
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import OrderStatus
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass
from domain.units import Cents, Qty, Utc
from messages import broker
from messages.base import Message
from messages.broker import ReadGroup
from simulation.broker.events import ExchangeEvent, OrderError, PositionChange
from simulation.broker.orders import Order
from simulation.days.checks import Checks
from simulation.days.faults import ERROR_OF_CHANGE, Fault
from simulation.days.plan import PlannedFault
from simulation.days.runtime import EXCHANGE_FIRST, DayRuntime, every
from simulation.days.scene import Scene
from simulation.inprocess.broker import CLIENT_ID, CLOCK_EVERY_NS, InProcessBroker
from simulation.inprocess.port import PAPER, STEPS_AFTER_CLOSE_NS, Login

WRONG_PORT: Final = 4001
POSITIONS_FIRST_SHARE: Final = 0.7  # of the reports of a day with slow read-backs; the others come in any order
NIGHT_BEAT_NS: Final = 900 * SECOND  # between two words of the account while nothing is traded
HEARTBEAT_NS: Final = 3_500 * MS  # a black hole is noticed after so long
_WORDS = {
    104: "Cannot modify a filled order.",
    105: "Order being modified does not match original order.",
    161: "Cancel attempted when order is not in a cancellable state.",
    201: "Order rejected - reason: the change was refused",
    321: "Error validating request",
}


class DayBroker(InProcessBroker):
    """Faults of orders are drawn by their reference, so that both ways of stepping a day meet the same ones."""

    def __init__(self, owner: str, runtime: DayRuntime, scene: Scene, checks: Checks, login: Login = PAPER) -> None:
        self._day_runtime = runtime
        self._scene = scene
        self._checks = checks
        self._planned_utc: Utc | None = None
        self._is_deaf = False  # a black hole: nothing passes either way
        self._is_cut = False  # the gateway is without its broker
        self._next_link: Fault | None = None
        self._changes: dict[str, int] = {}
        self._cancels: dict[str, int] = {}
        self._ref_of_exec: dict[str, str] = {}
        self._corrected: set[str] = set()
        self._is_under_way = self._is_late = False
        self._late: list[broker.PlaceOrder] = []
        self._failing: ReadGroup | None = None
        self._told_n = self._executed_n = 0  # reports that told something, and executions among them
        super().__init__(owner, runtime, scene.market, scene.exchange, login)
        for command, due_utc in scene.under_way.values():
            self._await_return(command, due_utc)

    @property
    def is_reachable(self) -> bool:
        """Whether what is sent reaches the broker."""
        return self._is_up and not self._is_deaf and not self._is_cut

    # -- when it acts -----------------------------------------------------------------------------

    def _every(self, period_ns: int, act: Callable[[], None]) -> None:
        if self._scene.is_dense:
            every(self._day_runtime, period_ns, EXCHANGE_FIRST, act, self._scene.market)
        else:
            self._plan_step()

    def _plan_step(self) -> None:
        """Step the exchange at the next instant at which anything can change, and when clock and account are told."""
        if self._scene.is_dense:
            return
        now = self._now()
        beat_ns = NIGHT_BEAT_NS if now > self._market.close_utc + STEPS_AFTER_CLOSE_NS else CLOCK_EVERY_NS
        beat_utc = now - now % beat_ns + beat_ns
        due_utc = self._scene.exchange.next_due(now)
        at_utc = beat_utc if due_utc is None else min(due_utc, beat_utc)
        if self._planned_utc == at_utc:
            return
        self._planned_utc = at_utc
        self._day_runtime.call_first_at(at_utc, EXCHANGE_FIRST, lambda: self._due(at_utc))

    def _due(self, at_utc: Utc) -> None:
        if self._planned_utc != at_utc:
            return
        self._planned_utc = None
        self._step()
        self._plan_step()

    def turn(self) -> None:
        """Begin another session: its market, and books without orders."""
        self._market, self._exchange = self._scene.market, self._scene.exchange
        self._plan_step()

    # -- the link ---------------------------------------------------------------------------------

    def strike(self, fault: PlannedFault) -> None:
        """Let a fault of the link happen now."""
        self._scene.coverage.fault(fault.kind)
        self._scene.disturb(self._now(), fault.until_utc)
        lasting_ns = fault.lasting_ns
        match fault.kind:
            case Fault.LINK_RESET | Fault.LINK_OUT_AT_CLOSE:
                self.drop(lasting_ns)
            case (
                Fault.LINK_DIES_DIALLING | Fault.LINK_ID_IN_USE | Fault.LINK_WRONG_ACCOUNT | Fault.LINK_WRONG_PORT
                | Fault.LINK_SHORT_OF_BROKER
            ):  # fmt: skip
                self._next_link = fault.kind
                self.drop(min(lasting_ns, 3 * SECOND))
            case Fault.LINK_BLACK_HOLE:
                self._is_deaf = True
                self._later(HEARTBEAT_NS, self._miss_heartbeat)
                self._later(max(lasting_ns, HEARTBEAT_NS), self._hear_again)
            case Fault.LINK_CUT | Fault.LINK_CUT_DATA_LOST:
                if self._is_up and not self._is_cut:
                    self._is_cut = True
                    self._tell(broker.LinkLost(session_epoch=self._epoch, cause="1100", is_socket_up=True))
                    is_data_lost = fault.kind is Fault.LINK_CUT_DATA_LOST
                    self._later(lasting_ns, lambda: self._restore(is_data_lost))
            case Fault.LINK_RESTORED_UNASKED:
                if self._is_up and not self._is_cut:
                    self._tell(broker.LinkRestored(session_epoch=self._epoch, data_lost=False))
            case Fault.FARM_BROKEN:
                if self._is_up:
                    self._tell(
                        broker.FarmNotice(
                            session_epoch=self._epoch, vendor_code=2103, text="the farm is broken", is_broken=True
                        )
                    )
            case _:
                raise ValueError(f"{fault.kind} is no fault of the link")

    def _miss_heartbeat(self) -> None:
        if self._is_up and self._is_deaf:
            self._is_up = False
            self._tell_now(broker.LinkLost(session_epoch=self._epoch, cause="no answer to the heartbeat"))

    def _hear_again(self) -> None:
        self._is_deaf = False

    def _restore(self, is_data_lost: bool) -> None:
        was_cut, self._is_cut = self._is_cut, False
        if was_cut and self._is_up:
            self._tell(broker.LinkRestored(session_epoch=self._epoch, data_lost=is_data_lost))

    def _connect(self, command: broker.Dial) -> None:
        if self._is_deaf or command.session_epoch != self._epoch:
            return  # nobody answers; the dialling actor gives up by itself
        fault, is_refused = self._next_link, self._now() < self._down_until_utc
        if is_refused or fault is None:
            super()._connect(command)
            if self._is_cut and self._is_up:
                self._tell(broker.LinkLost(session_epoch=self._epoch, cause="1100", is_socket_up=True))
            return
        self._next_link = None
        match fault:
            case Fault.LINK_ID_IN_USE:
                text = "326: the client id is in use"
                self._tell(broker.LinkFailed(session_epoch=self._epoch, why=text, is_id_in_use=True))
            case Fault.LINK_DIES_DIALLING:
                self._tell(broker.LinkLost(session_epoch=self._epoch, cause="closed during the handshake"))
            case Fault.LINK_WRONG_ACCOUNT | Fault.LINK_WRONG_PORT:
                is_port, login = fault is Fault.LINK_WRONG_PORT, self._login
                is_paper = login.account_class is AccountClass.PAPER
                self._tell(
                    broker.LinkUp(
                        session_epoch=self._epoch, gateway_n=command.gateway_n, account_matches=is_port,
                        next_order_id=1, port=(WRONG_PORT if is_paper else PAPER.port) if is_port else login.port,
                        account_class=AccountClass.PAPER if is_port is is_paper else AccountClass.LIVE,
                    )
                )  # fmt: skip
                self._later(20 * SECOND, self._lose_wrong_link)
            case _:
                # The gateway answers and has no link to the broker itself.
                self._tell(broker.LinkLost(session_epoch=self._epoch, cause="1100", is_socket_up=True))

    def _lose_wrong_link(self) -> None:
        if not self._is_up:
            is_cut = self._scene.plan.drawn("wrong", self._epoch).random() < 0.5
            self._tell(broker.LinkLost(session_epoch=self._epoch, cause="gone", is_socket_up=is_cut))

    # -- commands ---------------------------------------------------------------------------------

    def post(self, command: broker.BrokerCommand) -> None:
        """Take a command, or have it wait in its order while the port gets no turn."""
        fault = self._scene.active(Fault.PORT_SLOW, self._now())
        if fault is None:
            super().post(command)
            return
        self._scene.disturb(self._now(), fault.until_utc)
        self._runtime.call_at(fault.until_utc, lambda: self._take_late(command))

    def _take_late(self, command: broker.BrokerCommand) -> None:
        self._is_late = True
        self._take(command)
        self._is_late = False

    def _take(self, command: broker.BrokerCommand) -> None:
        if isinstance(command, broker.LatchKill):
            self._checks.on_latch(command)
        if isinstance(command, broker.Dial):
            self._is_up = False  # the old socket goes with a new dial
            self._deliver_late()
        elif (self._is_deaf or self._is_cut) and not isinstance(command, broker.CloseLink | broker.LatchKill):
            self._scene.coverage.other("commands into a dead link")
            return
        super()._take(command)
        self._plan_step()

    def _place(self, command: broker.PlaceOrder) -> None:
        order_ref = command.order.order_ref
        if self._refusal(command.order, command) is None:
            epoch = self._epoch if self._is_up else None
            self._checks.on_handed_over(command, epoch, self._now(), is_late=self._is_late)
        fault = self._scene.plan.fault_of("new", order_ref)
        if fault is Fault.NEW_LOST and self._refusal(command.order, command) is None:
            self._count(fault)
            sent = broker.OrderSent(order_ref=order_ref, session_epoch=self._epoch, order_id=0, sent_utc=self._now())
            self._tell(sent)
            return
        is_out_of_order = fault is Fault.NEW_OUT_OF_ORDER and not command.order.is_exit
        if (fault is Fault.NEW_LATE or is_out_of_order) and self._refusal(command.order, command) is None:
            assert fault is not None
            self._count(fault)
            sent = broker.OrderSent(order_ref=order_ref, session_epoch=self._epoch, order_id=0, sent_utc=self._now())
            self._tell(sent)
            wait_ms = self._scene.plan.drawn("arrives", order_ref).randrange(500, 25_000)
            self._late.append(command)
            self._later(wait_ms * MS + 3, lambda: self._arrive(command))
            return
        is_sale = command.order.side is Side.SELL and command.order.order_type is OrderType.LIMIT and not command.legs
        if fault is Fault.NEW_COMES_BACK and is_sale and self._refusal(command.order, command) is None:
            sent = broker.OrderSent(order_ref=order_ref, session_epoch=self._epoch, order_id=0, sent_utc=self._now())
            self._tell(sent)
            wait_s = self._scene.plan.drawn("comes back", order_ref).randrange(25, 180)
            due_utc = Utc(self._now() + wait_s * SECOND + 3)
            self._scene.under_way[order_ref] = command, due_utc
            self._await_return(command, due_utc)
            return
        super()._place(command)
        if fault is Fault.NEW_UNKNOWN_CODE and order_ref in self._orders:
            self._count(fault)
            self._report([OrderError(CLIENT_ID, self._orders[order_ref].order_id, 2_999, "nobody knows this code")])
        self._checks.on_order(order_ref, self._now())

    def _arrive(self, command: broker.PlaceOrder) -> None:
        """Let an order arrive that left long ago: nobody checks it any more."""
        if command not in self._late:
            return
        self._late.remove(command)
        self._is_under_way = True
        super()._place(command)
        self._is_under_way = False
        self._checks.on_order(command.order.order_ref, self._now())
        self._plan_step()

    def _await_return(self, command: broker.PlaceOrder, due_utc: Utc) -> None:
        """Let an exit come back at its time; it outlives the process that sent it."""
        self._day_runtime.call_at(max(due_utc, self._now()), lambda: self._come_back(command))

    def _come_back(self, command: broker.PlaceOrder) -> None:
        """Let an exit that nobody knew of for long work at the broker, once it would not fill at once."""
        order, now = command.order, self._market_now()
        if now >= self._market.close_utc - MINUTE or order.order_ref in self._orders:
            self._scene.under_way.pop(order.order_ref, None)
            return
        bid = self._market.quote(order.contract.con_id).bid_ticks or 0
        if not self.is_reachable or (order.limit_ticks or 0) <= bid + 10:
            self._later(7 * SECOND, lambda: self._come_back(command))
            return
        self._count(Fault.NEW_COMES_BACK)
        self._scene.under_way.pop(order.order_ref, None)
        self._scene.came_back[order.order_ref] = now
        self._scene.touched_by_hand[order.contract.con_id] = now
        self._is_under_way = True
        super()._place(command)
        self._is_under_way = False
        self._plan_step()

    def _deliver_late(self) -> None:
        """Deliver what is under way: a socket keeps its order, and one client id has one socket at a time."""
        for command in list(self._late):
            if self._scene.plan.fault_of("new", command.order.order_ref) is Fault.NEW_LATE:
                self._arrive(command)

    def _refusal(
        self, order: OrderRequest | OrderChange, command: broker.PlaceOrder | broker.AmendOrder
    ) -> RejectCode | None:
        return None if self._is_under_way else super()._refusal(order, command)

    def _amend(self, command: broker.AmendOrder) -> None:
        ref = command.change.order_ref
        known = self._orders.get(ref)
        if self._refusal(command.change, command) is not None or known is None:
            super()._amend(command)
            return
        n = self._changes[ref] = self._changes.get(ref, 0) + 1
        fault = self._scene.plan.fault_of("change", ref, n)
        if fault is None:
            super()._amend(command)
            self._checks.on_order(ref, self._now())
            return
        self._count(fault)
        code = ERROR_OF_CHANGE.get(fault)
        if code is None:
            return  # lost on the way
        draw = self._scene.plan.drawn("wait", ref, n)
        if fault is Fault.CHANGE_PHANTOM:
            events = self._exchange.fill_now(CLIENT_ID, known.order_id, self._market_now())
            if events:
                self._later(draw.randrange(300, 6_000) * MS, lambda: self._report(events))
                self._tell(self._phantom(known))
        elif fault.name.startswith("CHANGE_FILLED"):
            events = self._exchange.fill_now(CLIENT_ID, known.order_id, self._market_now())
            if fault is Fault.CHANGE_FILLED_104:
                self._later(draw.randrange(50, 3_000) * MS, lambda: self._report(events))
            elif fault is Fault.CHANGE_FILLED_SILENT_104:
                executions = [e for e in events if not hasattr(e, "status")]
                self._later(draw.randrange(50, 3_000) * MS, lambda: self._report(executions))
            else:
                self._report(events)
        self._report([OrderError(CLIENT_ID, known.order_id, code, _WORDS[code])])

    def _phantom(self, order: Order) -> broker.OrderStatusReported:
        """Return the word that an order was cancelled, which has filled."""
        return broker.OrderStatusReported(
            session_epoch=self._epoch, order_ref=order.order_ref, perm_id=order.perm_id, status=OrderStatus.CANCELLED,
            filled_qty=Qty(0), remaining_qty=order.qty, qty=order.qty, order_type=order.type,
            limit_ticks=order.limit_ticks, raw="phantom",
        )  # fmt: skip

    def _withdraw(self, command: broker.WithdrawOrder) -> None:
        ref = command.order_ref
        known = self._orders.get(ref)
        n = self._cancels[ref] = self._cancels.get(ref, 0) + 1
        fault = self._scene.plan.fault_of("cancel", ref, n) if self._is_up and known is not None else None
        if fault is None or known is None or n > 3:
            super()._withdraw(command)
            return
        self._count(fault)
        order_id, now = known.order_id, self._market_now()
        match fault:
            case Fault.CANCEL_10147:
                text = f"OrderId {order_id} that needs to be cancelled is not found."
                self._report([OrderError(CLIENT_ID, order_id, 10147, text)])
            case Fault.CANCEL_161:
                self._report([OrderError(CLIENT_ID, order_id, 161, _WORDS[161])])
            case Fault.CANCEL_FILLED_10148:
                self._report(self._exchange.fill_now(CLIENT_ID, order_id, now))
                super()._withdraw(command)
            case Fault.CANCEL_FILLED_SILENT:
                events = self._exchange.fill_now(CLIENT_ID, order_id, now)
                self._later(2_500 * MS, lambda: self._report(events))
            case _:
                pass  # lost on the way

    # -- what it tells ----------------------------------------------------------------------------

    def _tell(self, message: Message) -> None:
        if self._is_deaf:
            return
        if self._failing is not None and isinstance(message, broker.BrokerRead):
            message = self._without(message, self._failing)
        if isinstance(message, broker.BrokerRead) and self._scene.plan.has_slow_reads:
            self._tell_slowly(message)
            return
        ref = self._ref_of(message)
        fault = self._scene.plan.fault_of("new", ref) if ref else None
        if fault is None:
            self._tell_now(message)
            return
        match fault, message:
            case Fault.SENT_LATE, broker.OrderSent():
                self._tell_later(fault, message, ref, 1, 3_000)
            case Fault.SENT_SILENT, broker.OrderSent():
                self._count(fault)
            case Fault.NEW_SILENT, broker.OrderStatusReported() | broker.PositionReported():
                self._count(fault)
            case Fault.NEW_SILENT, broker.ExecutionReported():
                self._tell_later(fault, message, ref, 2_000, 20_000)
            case Fault.ACK_LATE, broker.OrderStatusReported(status=OrderStatus.WORKING | OrderStatus.PENDING):
                self._tell_later(fault, message, ref, 200, 6_000)
            case Fault.FILL_LATE, broker.ExecutionReported():
                self._tell_later(fault, message, ref, 200, 9_000)
            case Fault.STATUS_FIRST | Fault.COMMISSION_FIRST, broker.ExecutionReported():
                self._tell_later(fault, message, ref, 100, 900)
            case Fault.REPORTS_TWICE, _:
                self._count(fault)
                self._tell_now(message)
                self._tell_now(message)
            case Fault.TIME_UNREADABLE, broker.ExecutionReported():
                self._count(fault)
                self._tell_now(unreadable(message, self._now()))
            case Fault.CORRECTED, broker.ExecutionReported():
                self._tell_now(message)
                self._correct_later(message.execution)
            case Fault.POSITION_LATE, broker.PositionReported():
                self._tell_later(fault, message, ref, 1_000, 20_000)
            case Fault.POSITION_SILENT, broker.PositionReported():
                self._count(fault)
            case _:
                self._tell_now(message)

    def _tell_now(self, message: Message) -> None:
        if isinstance(message, broker.ExecutionReported):
            self._executed_n += 1
        super()._tell(message)

    def _tell_slowly(self, read: broker.BrokerRead) -> None:
        """Hand a read-back on after a while; it is read again where something fills meanwhile, as by the real port.

        It says how the broker stood when it was read.
        """
        self._count(Fault.READ_SLOW)
        executed_n, epoch = self._executed_n, self._epoch

        def act() -> None:
            if self._epoch != epoch or not self.is_reachable:
                return
            if self._executed_n != executed_n:
                self._read_back(broker.ReadBack(session_epoch=epoch, read_n=read.read_n))
            else:
                self._tell_now(replace(read, read_utc=self._market_now()))

        self._later(self._scene.plan.drawn("read", epoch, read.read_n, executed_n).randrange(20, 1_200) * MS + 1, act)

    def _report(self, events: Iterable[ExchangeEvent]) -> None:
        told = list(events)
        if told and self._scene.plan.has_slow_reads:
            self._told_n += 1
            draw = self._scene.plan.drawn("order", self._epoch, self._told_n)
            if draw.random() < POSITIONS_FIRST_SHARE:
                told.sort(key=lambda event: not isinstance(event, PositionChange))
            else:
                draw.shuffle(told)
        super()._report(told)

    def _tell_later(self, fault: Fault, message: Message, ref: str, least_ms: int, most_ms: int) -> None:
        self._count(fault)
        wait_ms = self._scene.plan.drawn("late", ref, type(message).__name__).randrange(least_ms, most_ms)
        epoch = self._epoch

        def act() -> None:
            if self.is_reachable and self._epoch == epoch:
                self._tell_now(message)

        self._later(wait_ms * MS + 1, act)

    def _correct_later(self, execution: broker.Execution) -> None:
        if execution.exec_id in self._corrected or execution.revision > 1:
            return
        self._corrected.add(execution.exec_id)

        def act() -> None:
            corrected = self._scene.exchange.revise(f"{execution.exec_id}.{execution.revision:02d}")
            if corrected is not None:
                self._count(Fault.CORRECTED)
                self._report(corrected)

        self._later(self._scene.plan.drawn("correct", execution.exec_id).randrange(300, 30_000) * MS, act)

    def _ref_of(self, message: Message) -> str:
        match message:
            case broker.OrderSent():
                return message.order_ref
            case broker.OrderStatusReported():
                return message.order_ref if is_ours(message.order_ref) else ""
            case broker.ExecutionReported():
                ref = message.execution.order_ref
                self._ref_of_exec[message.execution.exec_id] = ref
                return ref if is_ours(ref) else ""
            case broker.CommissionReported():
                return self._ref_of_exec.get(message.exec_id, "")
            case broker.PositionReported():
                return self._newest_ref(message.contract.con_id)
            case _:
                return ""

    def _newest_ref(self, con_id: int) -> str:
        found = [ref for ref, order in self._orders.items() if order.con_id == con_id and is_ours(ref)]
        return found[-1] if found else ""

    def _count(self, fault: Fault) -> None:
        self._scene.coverage.fault(fault)

    # -- the read-back ----------------------------------------------------------------------------

    def _read_back(self, command: broker.ReadBack) -> None:
        self._deliver_late()
        fault = self._scene.read_faults.pop(0) if self._scene.read_faults else None
        if fault is None or not self._is_up:
            super()._read_back(command)
            return
        self._count(fault.kind)
        self._scene.disturb(self._now())
        match fault.kind:
            case Fault.READ_SILENT:
                return
            case Fault.READ_FAILED:
                failed = broker.BrokerReadFailed(
                    session_epoch=command.session_epoch, read_n=command.read_n, why="stalled"
                )
                self._tell(failed)
            case _:
                self._failing = tuple(ReadGroup)[fault.n]
                super()._read_back(command)
                self._failing = None

    def _without(self, read: broker.BrokerRead, group: ReadGroup) -> broker.BrokerRead:
        """Return a read-back of which one group failed."""
        failed = (broker.GroupFailure(group, "no end of the group"),)
        match group:
            case ReadGroup.ORDERS:
                return replace(read, orders=tuple(o for o in read.orders if not o.is_working), failed=failed)
            case ReadGroup.COMPLETED:
                return replace(read, orders=tuple(o for o in read.orders if o.is_working), failed=failed)
            case ReadGroup.EXECUTIONS:
                return replace(read, executions=(), failed=failed)
            case ReadGroup.POSITIONS:
                return replace(read, positions=(), failed=failed)

    # -- the account ------------------------------------------------------------------------------

    def _report_account(self) -> None:
        fault = self._scene.active(Fault.ACCOUNT_BAD, self._now())
        if fault is None or not self._is_up:
            super()._report_account()
            return
        if fault.n == 1:
            why = "NetLiquidation came in EUR, USD is wanted"
            self._tell(broker.AccountUnreadable(session_epoch=self._epoch, why=why, read_utc=self._market_now()))
            return
        nav_cents = self._exchange.account_values()["NetLiquidation"] if fault.n == 4 else Cents(0)
        self._tell(
            broker.AccountRead(
                session_epoch=self._epoch, nav_cents=nav_cents, available_cents=Cents(-5_000),
                buying_power_cents=Cents(0),
                day_trades_remaining={2: None, 4: -1}.get(fault.n, 0), read_utc=self._market_now(),
            )
        )  # fmt: skip

    def _report_clock(self) -> None:
        fault = self._scene.active(Fault.CLOCK_OFF, self._now())
        if fault is None or not self._is_up:
            super()._report_clock()
            return
        self._tell(
            broker.ClockRead(
                session_epoch=self._epoch, least_ms=fault.n, most_ms=fault.n, round_trip_ms=1, read_utc=self._now()
            )
        )

    # -- what is done by hand ---------------------------------------------------------------------

    def vanish(self) -> bool:
        """Let the newest live order of ours vanish from the broker's books, without a word."""
        live = [s.order for s in self._exchange.open_orders() if is_ours(s.order.order_ref) and not s.filled_qty]
        if not live:
            return False
        self._scene.exchange.forget(live[-1], self._now())
        return True

    def trade_by_hand(self, order: Order) -> None:
        """Place an order of somebody else in the same account."""
        self._report(self._exchange.place(order, self._market_now()))
        self._plan_step()


def unreadable(message: broker.ExecutionReported, now: Utc) -> broker.ExecutionReported:
    """Return an execution whose instant could not be read: it bears the one at which it was heard."""
    return replace(message, execution=replace(message.execution, at_utc=now, is_time_uncertain=True))
