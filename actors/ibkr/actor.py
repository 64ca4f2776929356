"""The broker session of one desk: the mode, the link, and every order on its way to the broker and back.

It never blocks: the port dials, reads and writes. What is asked of the port has a timer that ends in a message.
"""

from __future__ import annotations

from typing import assert_never

from actors import gateway_link
from actors.ibkr import closing, facts, fills, link, orders, preopen, settlement
from actors.ibkr.read_back import start_read
from actors.ibkr.state import IBKRState, Timer, Wiring
from config.settings import Settings
from domain.position.day import DayMark
from domain.session import gateway_health
from domain.session.modes import AccountClass, ModeEvent
from messages import broker, positions, risk, session
from messages.lifecycle import Started, TimerFired
from messages.orders import (
    CancelOrder,
    ExecutionRecorded,
    ModifyOrder,
    RequestOrderState,
    RequestWhatIf,
    SubmitOrder,
    WithdrawEntries,
)
from supervision.actor import Actor
from supervision.turn import Turn

ReadBackFact = broker.BrokerRead | broker.BrokerReadFailed | session.Reconciled
OrderFact = (
    broker.OrderSent | broker.OrderDenied | broker.OrderStatusReported | broker.ExecutionReported
    | broker.CommissionReported | broker.ErrorReported | broker.PositionReported | ExecutionRecorded
)  # fmt: skip
Inbox = (
    Started
    | TimerFired
    | broker.BrokerFact
    | session.PhaseChanged
    | session.Reconciled
    | session.RequestMode
    | session.RequestReconcile
    | SubmitOrder
    | ModifyOrder
    | CancelOrder
    | RequestWhatIf
    | RequestOrderState
    | WithdrawEntries
    | ExecutionRecorded
    | positions.PositionDisputed
    | risk.KillRaised
    | risk.KillLowered
)


class IBKRActor(Actor[IBKRState, Inbox]):
    """`ibkr:<desk>`: owns the mode, the session epoch and the live orders of one account."""

    weighs = frozenset((Timer.READ_BACK, Timer.RECONCILE, Timer.RECORD))

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        desk = name.partition(":")[2]
        account_class = AccountClass(settings.trading_mode)
        is_paper = account_class is AccountClass.PAPER
        self._wiring = Wiring(
            desk=desk,
            port=f"port:ibkr:{desk}",
            rules=settings.connection,
            day=settings.day,
            record_wait_ms=settings.exits.record_wait_ms,
            account_class=account_class,
            wanted_port=settings.broker.paper_port if is_paper else settings.broker.live_port,
            gateways=len(settings.broker.gateways),
        )

    def initial(self) -> IBKRState:
        """Return the state before the first dial."""
        return IBKRState()

    def decide(self, turn: Turn[IBKRState], message: Inbox) -> None:  # noqa: PLR0915 - one case per message
        """Handle one message; what is told of an older epoch is void."""
        w = self._wiring
        match message:
            # orders: by far the most frequent
            case (
                broker.OrderStatusReported() | broker.CommissionReported() | broker.OrderSent()
                | broker.ExecutionReported() | ExecutionRecorded() | broker.PositionReported()
                | broker.OrderDenied() | broker.ErrorReported()
            ):  # fmt: skip
                self._on_order_fact(turn, message)
            case SubmitOrder():
                orders.submit_order(w, turn, message)
            case Started():
                link.start(w, turn, message)
            case TimerFired():
                self._on_timer(turn, message)
            # the link
            case (
                broker.LinkUp() | broker.LinkFailed() | broker.LinkLost() | broker.LinkRestored() | broker.FarmNotice()
            ):
                if message.session_epoch == turn.state.session_epoch:
                    self._on_link(turn, message)
            case broker.AccountRead():
                turn.state.account, turn.state.account_fault = message, ""
                turn.publish(message)
            case broker.AccountUnreadable():
                link.on_account_unreadable(turn, message)
            case broker.ClockRead():
                link.on_clock_read(turn, message)
            case broker.PortFaulted():
                link.on_port_fault(w, turn, message)
            case session.PhaseChanged():
                closing.on_phase(w, turn, message)
                preopen.on_phase(w, turn, message)
            case session.RequestMode():
                link.report_mode(turn, message)
            case risk.KillRaised() | risk.KillLowered():
                link.on_kill_level(w, turn, message.level, message.kill_epoch)
            # the read-back
            case broker.BrokerRead() | broker.BrokerReadFailed() | session.Reconciled():
                if message.session_epoch == turn.state.session_epoch:
                    self._on_read_back(turn, message)
            case session.RequestReconcile():
                if message.stands_down:
                    link.stand_down(w, turn, message.why)
                else:
                    start_read(w, turn)
            case positions.PositionDisputed():
                # None of this run's orders may be of its contract: a position of an earlier run waits for the answer.
                turn.state.follow_contract(message.con_id)
                start_read(w, turn)
            # what else is asked of orders
            case ModifyOrder():
                orders.modify_order(w, turn, message)
            case CancelOrder():
                orders.cancel_order(w, turn, message)
            case RequestWhatIf() | broker.MarginTold():
                orders.on_margin(w, turn, message)
            case RequestOrderState():
                orders.ask_broker(w, turn, message.order_ref, message.reply_to, message.con_id)
            case WithdrawEntries():
                closing.withdraw_entries(w, turn, message.reply_to)
            case _:
                assert_never(message)
        closing.answer_when_withdrawn(turn)
        turn.state.health = gateway_health.after_link(turn.state.health, turn.state.link, turn.now)

    def _on_order_fact(self, turn: Turn[IBKRState], message: OrderFact) -> None:
        w = self._wiring
        match message:
            case broker.OrderStatusReported():
                facts.on_order_status(w, turn, message)
            case broker.CommissionReported():
                fills.on_commission(turn, message)
            case broker.OrderSent():
                facts.on_order_sent(turn, message)
            case broker.ExecutionReported():
                fills.on_execution(w, turn, message)
            case ExecutionRecorded():
                fills.on_execution_recorded(turn, message)
            case broker.PositionReported():
                facts.on_position(w, turn, message)
            case broker.OrderDenied():
                facts.on_order_denied(turn, message)
            case broker.ErrorReported():
                facts.on_error(w, turn, message)
            case _:
                assert_never(message)

    def _on_link(self, turn: Turn[IBKRState], message: broker.LinkFact) -> None:
        w = self._wiring
        match message:
            case broker.LinkUp():
                link.on_link_up(w, turn, message)
            case broker.LinkFailed():
                link.on_link_failed(w, turn, message)
            case broker.LinkLost():
                link.lose(w, turn, message.cause, is_socket_up=message.is_socket_up)
            case broker.LinkRestored():
                link.on_link_restored(w, turn)
            case broker.FarmNotice():
                link.on_farm_notice(w, turn, message)
            case _:
                assert_never(message)

    def _on_read_back(self, turn: Turn[IBKRState], message: ReadBackFact) -> None:
        w = self._wiring
        match message:
            case broker.BrokerRead():
                settlement.on_broker_read(w, turn, message)
            case broker.BrokerReadFailed():
                settlement.on_broker_read_failed(w, turn, message)
            case session.Reconciled():
                settlement.on_reconciled(w, turn, message)
            case _:
                assert_never(message)

    def _on_timer(self, turn: Turn[IBKRState], message: TimerFired) -> None:
        w, kind = self._wiring, Timer(message.kind)
        match kind:
            case Timer.LINK:
                gateway_link.on_wait_over(turn, w.port, w.rules, w.gateways)
            case Timer.READ_BACK:
                settlement.on_read_back_overdue(w, turn, message)
            case Timer.RECONCILE:
                settlement.on_reconcile_overdue(w, turn, message)
            case Timer.STABLE:
                link.change_mode(w, turn, ModeEvent.STABLE, "stable for the whole warm-up")
            case Timer.INACTIVE:
                facts.on_inactive_unexplained(w, turn, message.subject)
            case Timer.CANCEL:
                orders.on_cancel_overdue(w, turn, message.subject)
            case Timer.READ_AGAIN:
                facts.on_doubt_pause_over(w, turn, message.subject)
            case Timer.READ_REST | Timer.AGREE:
                start_read(w, turn)
            case Timer.RECORD:
                fills.on_record_overdue(w, turn, message)
            case Timer.LEGS:
                fills.on_legs_due(w, turn, message.subject)
            case Timer.PREOPEN_CHECK:
                preopen.on_check_due(w, turn)
            case Timer.PREOPEN_REPORT:
                preopen.on_report_due(turn)
            case Timer.HOLDINGS_READ:
                closing.on_read_due(w, turn)
            case Timer.HOLDINGS:
                closing.on_check_due(turn, DayMark(message.subject))
            case _:
                assert_never(kind)
