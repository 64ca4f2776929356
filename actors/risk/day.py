"""The desk's day: start NAV, P&L and its stops, the lock, the verified end, the day's row."""

from __future__ import annotations

from datetime import date, time

from actors.risk import inputs
from actors.risk.automatic_kill import ask_once, cause_gone
from actors.risk.state import RiskState, Timer
from domain.alarm import Severity
from domain.instants import MS, at_exchange
from domain.instruments import Side
from domain.limits import HardStopAction
from domain.position.cycle import ExitReason
from domain.risk import day, desk_view
from domain.risk.day import DayStops, LockReason
from domain.risk.desk_view import AccountFacts, DayPnl, Funds
from domain.risk.gates.types import DeskRules
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.units import Cents
from messages import broker, operator, positions, risk, session
from supervision.turn import Turn

START_NAV_FROM = time(4)
_ENDING = (Phase.PANIC, Phase.FLATTEN, Phase.CLOSED)


# -- the account and its start NAV ----------------------------------------------------------------------------------


def on_account_checked(turn: Turn[RiskState], message: session.AccountChecked) -> None:
    """Keep which port and account the order session is connected to."""
    facts = AccountFacts(message.port, message.account_class, message.account_matches)
    turn.state.view = desk_view.with_account(turn.state.view, facts)


def on_account_read(turn: Turn[RiskState], message: broker.AccountRead) -> None:
    """Keep the account's values."""
    funds = Funds(message.nav_cents, message.available_cents, message.day_trades_remaining, message.read_utc)
    turn.state.view = desk_view.with_funds(turn.state.view, funds)
    ask_for_start_nav(turn)


def on_account_unreadable(turn: Turn[RiskState], message: broker.AccountUnreadable) -> None:
    """Know no values any more, and why."""
    turn.state.view = desk_view.without_funds(turn.state.view, message.why)


def on_reconciled(turn: Turn[RiskState], message: session.ReconcileFinished) -> None:
    """Take note that all of the broker's truth was read, so that the account's values mean something."""
    if message.is_complete:
        turn.state.view = desk_view.as_reconciled(turn.state.view, message.read_utc)
        ask_for_start_nav(turn)


def ask_for_start_nav(turn: Turn[RiskState]) -> None:
    """Ask for the session's start NAV to be kept: account values and a reconciliation, both of after 04:00."""
    view = turn.state.view
    funds, reconciled_utc = view.funds, view.reconciled_utc
    if view.session is None or view.start_nav_cents is not None or funds is None or reconciled_utc is None:
        return
    if min(turn.now, funds.read_utc, reconciled_utc) < at_exchange(view.session, START_NAV_FROM):
        return
    if funds.nav_cents > 0:  # anything else is no net liquidation that a limit could be a share of
        record = risk.RecordStartNav(session=view.session, nav_cents=funds.nav_cents, at_utc=funds.read_utc)
        turn.tell("desk_ledger", record)


def on_start_nav(rules: DeskRules, turn: Turn[RiskState], message: risk.StartNavRecorded) -> None:
    """Take the NAV in force; one of another session is of no use."""
    if message.session == turn.state.view.session and message.nav_cents > 0:
        turn.state.view = desk_view.with_start_nav(turn.state.view, message.nav_cents)
        evaluate(rules, turn)


# -- P&L and stops ------------------------------------------------------------------------------


def evaluate(rules: DeskRules, turn: Turn[RiskState]) -> None:
    """Evaluate the day's P&L: latch the stops and do what they say.

    Without a start NAV there is nothing to measure it against; that is an unknown input like any other. What was
    evaluated is not evaluated again in the same instant: of one fill a position tells several times.
    """
    state = turn.state
    if state.evaluated is state.view and state.evaluated_utc == turn.now:
        return
    inputs.look(rules, turn)
    view, limits = state.view, rules.limits
    if view.start_nav_cents is None or view.session is None:
        return
    pnl = desk_view.day_pnl(view, turn.now, rules.kill.unknown_input_ms * MS)
    is_marked = not pnl.unmarked
    before = view.stops
    stops = day.evaluate(before, pnl.cents, view.start_nav_cents, limits, turn.now, is_marked)
    state.view = desk_view.with_stops(view, stops)
    if stops.breach_utc is not None and before.breach_utc is None and not stops.is_hard:
        turn.arm(Timer.DAY_LOSS, turn.now + limits.daily_loss_confirm_ms * MS)
    if stops.is_hard and not before.is_hard:
        stop_day(rules, turn, pnl)
    record_stops(turn, view.session, view.start_nav_cents)
    flatten_limit = -limits.auto_flatten_nav * view.start_nav_cents
    if day.is_at_or_below(pnl.cents, flatten_limit):
        reason = f"day P&L {pnl_text(pnl)} is at or below {flatten_limit / 100:.2f} USD, where all is closed"
        ask_once(turn, "day_pnl", KillLevel.FLATTEN, reason)
    else:
        cause_gone(state, "day_pnl")
    state.evaluated, state.evaluated_utc = state.view, turn.now


def record_stops(turn: Turn[RiskState], of_session: date, start_nav_cents: Cents) -> None:
    """Have the stops kept where they have changed, so that they survive a restart."""
    state = turn.state
    stops = state.view.stops
    if day.is_worth_a_record(state.recorded, stops, start_nav_cents):
        state.recorded = stops
        turn.tell("desk_ledger", risk.RecordDayStops(session=of_session, stops=stops, at_utc=turn.now))


def stop_day(rules: DeskRules, turn: Turn[RiskState], pnl: DayPnl) -> None:
    """Lock the day for its loss, and flatten where the desk says so."""
    ask_for_lock(turn, LockReason.DAILY_LOSS)
    text = f"Day P&L {pnl_text(pnl)} is at the daily loss limit; the day is locked."
    turn.publish(operator.Alarm(key="daily_loss", severity=Severity.HIGH, text=text, at_utc=turn.now))
    if rules.limits.on_hard_stop == HardStopAction.FLATTEN:
        turn.tell("positions", positions.FlattenPosition(reason=ExitReason.KILL))


def pnl_text(pnl: DayPnl) -> str:
    """Return the day's P&L as people are told it: what is known, and what is left out and counts as lost."""
    if not pnl.worst:
        return f"{pnl.cents / 100:.2f} USD"
    labels = ", ".join(holding.contract.label for holding in pnl.worst)
    return f"is {pnl.known_cents / 100:.2f} USD as far as known; with {labels}, whose price is not known, as lost it"


def on_confirmation_due(rules: DeskRules, turn: Turn[RiskState]) -> None:
    """Evaluate a breach again; while it stands unconfirmed, once more."""
    evaluate(rules, turn)
    stops = turn.state.view.stops
    if stops.breach_utc is not None and not stops.is_hard:
        turn.arm(Timer.DAY_LOSS, turn.now + rules.limits.daily_loss_confirm_ms * MS)


# -- the lock and the end of the day ------------------------------------------------------------


def on_phase(rules: DeskRules, turn: Turn[RiskState], message: session.PhaseChanged) -> None:
    """Take the phase over; at the day's end lock it, look whether it is flat, and have its row written."""
    state = turn.state
    if state.view.session not in (None, message.session):
        state.has_asked_lock = state.has_told_flat = state.has_recorded_day = False
        state.recorded = DayStops()
        cause_gone(state, "day_pnl")
    state.view = desk_view.in_phase(state.view, message.session, message.phase, message.open_utc, message.close_utc)
    ask_for_start_nav(turn)
    if message.phase is Phase.OPEN and state.view.start_nav_cents is None:
        why = f"risk has no start NAV of {message.session}"
        turn.tell("ibkr", session.RequestReconcile(why=why))
    evaluate(rules, turn)
    if message.phase not in _ENDING:
        return
    if state.view.day_locked is None and not state.has_asked_lock:
        ask_for_lock(turn, LockReason.END_OF_DAY)
    if message.phase is Phase.FLATTEN:
        for n, before_ms in enumerate((rules.day.verify_flat_ms, rules.day.verify_flat_again_ms, 0)):
            turn.arm(Timer.VERIFY_FLAT, message.close_utc - before_ms * MS, str(n))
    if message.phase is Phase.CLOSED:
        turn.arm(Timer.SETTLE, message.close_utc + rules.day.settlement_ms * MS)
    check_flat(rules, turn)


def ask_for_lock(turn: Turn[RiskState], reason: LockReason) -> None:
    """Ask the ledger to lock the session; entries are refused once it has."""
    view = turn.state.view
    if view.session is not None:
        turn.state.has_asked_lock = True
        turn.tell("desk_ledger", risk.LockDay(session=view.session, reason=reason, at_utc=turn.now))


def on_locked(turn: Turn[RiskState], message: risk.DayLocked) -> None:
    """Refuse entries from now on; the lock of another session is of no use."""
    if message.session == turn.state.view.session:
        turn.state.view = desk_view.with_lock(turn.state.view, message.reason)


def check_flat(rules: DeskRules, turn: Turn[RiskState]) -> None:
    """Publish that the day is flat, once; have its row written when it is over."""
    evaluate(rules, turn)
    state = turn.state
    if state.view.holdings or state.view.phase not in (Phase.FLATTEN, Phase.CLOSED):
        return
    if not state.has_told_flat:
        state.has_told_flat = True
        turn.publish(positions.DayFlattened(at_utc=turn.now))
    if state.view.phase is Phase.CLOSED:
        record_day(turn)


def verify_flat(turn: Turn[RiskState]) -> None:
    """Alarm where something is still held near the close."""
    held = ", ".join(
        f"{'short ' if h.ref.side is Side.SELL else ''}{h.qty} {h.contract.label}" for h in turn.state.view.holdings
    )
    if held:
        text = f"Not flat near the close: {held}."
        turn.publish(operator.Alarm(key="not_flat", severity=Severity.HIGH, text=text, at_utc=turn.now))


def record_day(turn: Turn[RiskState]) -> None:
    """Have the day's row written, once."""
    state = turn.state
    if state.has_recorded_day or state.view.session is None:
        return
    state.has_recorded_day = True
    summary = day.summarise(tuple(state.view.closed), state.view.stops)
    turn.tell("desk_ledger", risk.RecordDay(session=state.view.session, summary=summary, at_utc=turn.now))
    turn.publish(risk.DaySettled(session=state.view.session, summary=summary, at_utc=turn.now))
