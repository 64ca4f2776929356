"""PositionActor: the life of one desk's position in one contract, `position:<desk>:<conId>`.

Messages change facts; then one pass brings the orders to what the facts want. Nothing is queued. On a crash the ledger
gives fills and intents back and the broker is asked for the rest.
"""

from __future__ import annotations

from typing import assert_never

from actors.position.agreement import on_agreement_due, on_broker_position, steer_flat
from actors.position.day import on_day_due, on_phase_changed, steer_day, take_phase
from actors.position.entry_order import cancel_entry, on_open_position, on_permit_renewed, raise_limit, steer_entry
from actors.position.exit_order import (
    join_exit,
    on_exit_held,
    on_exit_intent_recorded,
    on_record_overdue,
    on_retry_due,
    on_tier_due,
    request_exit,
    steer_exit,
)
from actors.position.exit_triggers import (
    on_cover_set,
    on_halt,
    on_kill_level,
    on_leg_requested,
    on_quote,
    on_reversal,
    on_slow_check,
    on_state_read,
)
from actors.position.fills import on_commission, on_fill
from actors.position.link import on_mode_changed, on_reconcile_finished
from actors.position.order_news import (
    on_modify_refused,
    on_order_acknowledged,
    on_order_closed,
    on_order_denied,
    on_order_rejected,
    on_order_sent,
    settle_orders,
    steer_cancels,
)
from actors.position.recovery import on_news_overdue, on_order_found, on_order_not_found, on_started
from actors.position.reports import report_changes, reported
from actors.position.slices import (
    on_slice_allowed,
    on_slice_due,
    on_slice_recorded,
    on_slice_refused,
    steer_slices,
)
from actors.position.state import PositionData, PositionRules, PositionTurn, Timer, parse_tier_subject
from actors.position.watchers import on_stuck_due, steer_short, steer_stuck
from config.settings import Settings
from domain.orders.live_order import LegStage, is_resting_stop
from domain.position.cycle import PositionState
from domain.position.day import DayMark, next_mark
from domain.position.exits import Wakes, WantedExit, wakes_of
from domain.position.profiles import other_of
from domain.session.phases import Phase
from messages import broker, entries, lifecycle, market, orders, positions, risk, session, signals
from supervision.actor import Actor

Inbox = (
    lifecycle.Started | lifecycle.TimerFired | lifecycle.StateRead
    | entries.OpenPosition | entries.PermitRenewed | entries.PermitRefused
    | entries.SliceAllowed | entries.SliceRefused | orders.SliceRecorded
    | broker.OrderSent | broker.OrderDenied
    | orders.OrderAcknowledged | orders.OrderRejected | orders.OrderClosed | orders.ModifyRefused | orders.OrderFound
    | orders.OrderNotFound | orders.ExitHeld | orders.FillRecorded | orders.CommissionRecorded
    | orders.ExitIntentRecorded
    | positions.BrokerPositionRead | positions.FlattenPosition | positions.SetCover | positions.RequestLeg
    | positions.JoinExit
    | market.QuoteChanged | market.QuoteRead | market.QuoteUnavailable | market.HaltChanged
    | session.PhaseChanged | session.ModeChanged | session.ReconcileFinished
    | risk.KillRaised | risk.KillLowered
    | signals.ReversalRaised
)  # fmt: skip


class PositionActor(Actor[PositionData, Inbox]):
    """The position of one desk in one contract."""

    weighs = frozenset((Timer.RECORD, Timer.AGREE))

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        _, _, con_id = name.split(":")
        self._rules = PositionRules(
            con_id=int(con_id), exits=settings.exits, connection=settings.connection, overlay=settings.entry.overlay,
            day=settings.day, tickers=settings.ticker_rules,
        )  # fmt: skip

    def initial(self) -> PositionData:
        """Return the state before `Started`: flat, and nothing known of the session."""
        return PositionData()

    def wakes_on(self, state: PositionData) -> Wakes | None:
        """Return what would wake a position that is held and has no order under way; `None`: anything may."""
        held, exit_ = state.held(), state.orders.exit
        if state.ref is None or held is None or state.cycle is not PositionState.OPEN or state.day is None:
            return None
        if state.ref.is_leg or state.is_other_in_force or other_of(self._rules.exits) is not None:
            return None
        is_exit_quiet = exit_ is None or (is_resting_stop(exit_) and exit_.stage is LegStage.WORKING)
        if state.orders.entry is not None or not is_exit_quiet or state.wanted is not None or state.resumed_utc:
            return None
        due = next_mark(state.day, state.watch.seen_utc)
        ticker = self._rules.ticker(state.ref)
        return wakes_of(state.watch, held, self._rules.exits, ticker, None if due is None else due[0])

    def decide(self, turn: PositionTurn, message: Inbox) -> None:  # noqa: PLR0915 - one case per message
        """Take note of one fact or command, then steer entry, exit and end to what is wanted."""
        rules, before = self._rules, reported(turn.state)
        take_phase(turn)
        match message:
            # by far the most frequent: quotes, and what becomes of each order
            case market.QuoteChanged() | market.QuoteRead():
                on_quote(rules, turn, message.quote, message.spot)
            case orders.FillRecorded():
                on_fill(rules, turn, message)
            case orders.CommissionRecorded():
                on_commission(turn, message)
            case broker.OrderSent():
                on_order_sent(turn, message)
            case orders.OrderAcknowledged():
                on_order_acknowledged(turn, message)
            case orders.OrderClosed():
                on_order_closed(rules, turn, message)
            case positions.BrokerPositionRead():
                on_broker_position(rules, turn, message)
            case orders.ExitIntentRecorded():
                on_exit_intent_recorded(rules, turn, message)
            case positions.FlattenPosition():
                request_exit(turn, WantedExit(message.reason))
            case entries.OpenPosition():
                on_open_position(rules, turn, message)
            case lifecycle.TimerFired():
                _on_timer(rules, turn, message)
            case lifecycle.Started():
                on_started(rules, turn, message)
            case entries.PermitRenewed():
                on_permit_renewed(rules, turn, message)
            case entries.PermitRefused():
                pass  # the entry stays at the limit it has
            case entries.SliceAllowed():
                on_slice_allowed(rules, turn, message)
            case entries.SliceRefused():
                on_slice_refused(turn, message)
            case orders.SliceRecorded():
                on_slice_recorded(rules, turn, message)
            case broker.OrderDenied():
                on_order_denied(rules, turn, message)
            case orders.OrderRejected():
                on_order_rejected(rules, turn, message)
            case orders.ModifyRefused():
                on_modify_refused(rules, turn, message)
            case orders.OrderFound():
                on_order_found(rules, turn, message)
            case orders.OrderNotFound():
                on_order_not_found(rules, turn, message)
            case orders.ExitHeld():
                on_exit_held(rules, turn, message)
            case positions.JoinExit():
                join_exit(rules, turn, message)
            case positions.SetCover():
                on_cover_set(turn, message)
            case positions.RequestLeg():
                on_leg_requested(turn, message)
            case lifecycle.StateRead():
                on_state_read(turn, message)
            case market.QuoteUnavailable():
                on_quote(rules, turn, message.last, None)
            case market.HaltChanged():
                on_halt(turn, message)
            case session.PhaseChanged():
                on_phase_changed(turn, message)
            case session.ModeChanged():
                on_mode_changed(turn, message)
            case session.ReconcileFinished():
                on_reconcile_finished(rules, turn, message)
            case risk.KillRaised() | risk.KillLowered():
                on_kill_level(turn, message)
            case signals.ReversalRaised():
                on_reversal(turn, message)
            case _:
                assert_never(message)
        _steer(rules, turn)
        report_changes(turn, before)
        # One that was woken only to be told something has no reference and stays: retired, the next word would wake it.
        state = turn.state
        if state.phase is Phase.CLOSED and state.cycle is PositionState.FLAT and state.ref is not None:
            turn.retire()


def _steer(rules: PositionRules, turn: PositionTurn) -> None:
    steer_day(rules, turn)
    settle_orders(rules, turn)
    steer_entry(turn)
    steer_slices(turn)
    steer_short(rules, turn)
    steer_exit(rules, turn)
    steer_cancels(rules, turn)
    steer_flat(rules, turn)
    steer_stuck(rules, turn)


def _on_timer(rules: PositionRules, turn: PositionTurn, fired: lifecycle.TimerFired) -> None:
    timer = Timer(fired.kind)
    match timer:
        case Timer.ACK:
            on_news_overdue(rules, turn, fired.subject, LegStage.SENT)
        case Timer.QUERY:
            on_news_overdue(rules, turn, fired.subject, LegStage.UNKNOWN)
        case Timer.CANCEL:
            on_news_overdue(rules, turn, fired.subject, LegStage.CANCELLING)
        case Timer.RECORD:
            on_record_overdue(rules, turn, fired)
        case Timer.TIER:
            order_ref, tier = parse_tier_subject(fired.subject)
            if on_tier_due(rules, turn, order_ref, tier):
                on_news_overdue(rules, turn, order_ref, LegStage.WORKING)
        case Timer.ENTRY_STEP:
            raise_limit(rules, turn)
        case Timer.ENTRY_CANCEL | Timer.ENTRY_DEADLINE:
            cancel_entry(turn)
        case Timer.SLICE:
            on_slice_due(rules, turn)
        case Timer.SLOW:
            on_slow_check(rules, turn)
        case Timer.AGREE:
            on_agreement_due(rules, turn, fired)
        case Timer.FEES:
            pass  # the wait is over: steering looks again
        case Timer.RETRY:
            on_retry_due(turn)
        case Timer.DAY:
            on_day_due(rules, turn, DayMark(fired.subject))
        case Timer.STUCK:
            on_stuck_due(rules, turn)
        case _:
            assert_never(timer)
