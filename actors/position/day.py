"""A position's own day: it looks up at its own instants and does what they ask, whoever else is alive.

What `session` says of the phase is a second source: it can only bring a phase forward.
"""

from __future__ import annotations

from actors.position import reports
from actors.position.exit_order import request_exit
from actors.position.settlement import note_underlying
from actors.position.state import PositionRules, PositionTurn, Timer, keep_order, move
from domain.alarm import Severity
from domain.orders.live_order import LegStage, dropped, ended
from domain.position import day as days
from domain.position.cycle import ExitReason, PositionEvent, PositionState
from domain.position.day import DayMark
from domain.position.exits import WantedExit
from domain.session.phases import Phase
from messages import session

_TRADED = frozenset({PositionState.OPEN, PositionState.PENDING_EXIT})


def begin_day(rules: PositionRules, turn: PositionTurn) -> None:
    """Compute the day of the position's contract and look up at its next instant."""
    state = turn.state
    state.day = days.day_of(state.opened_ref().contract.expiry, turn.now, rules.day)
    take_phase(turn)
    _arm_next(turn)


def on_phase_changed(turn: PositionTurn, event: session.PhaseChanged) -> None:
    """Take what `session` says of the day's phase."""
    turn.state.told_phase = event
    take_phase(turn)


def take_phase(turn: PositionTurn) -> None:
    """Bring the phase up to now."""
    state = turn.state
    told = state.told_phase
    if state.day is None:
        state.phase = None if told is None else told.phase
        return
    own = days.phase_of(state.day, turn.now)
    is_of_this_day = told is not None and told.session == state.day.session
    state.phase = days.later(own, told.phase) if told is not None and is_of_this_day else own


def on_day_due(rules: PositionRules, turn: PositionTurn, mark: DayMark) -> None:
    """Look up: where it should be flat by now and is not, say so; the steering that follows does the rest."""
    state = turn.state
    _arm_next(turn)
    if mark in (DayMark.VERIFY, DayMark.VERIFY_AGAIN, DayMark.CLOSE) and state.cycle in _TRADED and state.day:
        minutes = max(round((state.day.close_utc - turn.now) / 60e9), 0)
        when = f"{minutes} min before the close" if minutes else "at the close"
        text = f"not flat {when}: {reports.open_text(turn)}; {reports.remedy(turn)}"
        reports.alarm(turn, f"not_flat:{rules.con_id}:{mark.value}", Severity.CRITICAL, text)


def _arm_next(turn: PositionTurn) -> None:
    if turn.state.day is None:
        return
    due = days.next_mark(turn.state.day, turn.now)
    if due is not None:
        turn.arm(Timer.DAY, due[0], due[1].value)


def steer_day(rules: PositionRules, turn: PositionTurn) -> None:
    """Do what the phase asks: everything out at the flatten time, the rest to settlement at the close."""
    state = turn.state
    if state.phase is Phase.FLATTEN:
        request_exit(turn, WantedExit(ExitReason.EOD))
    if state.phase is Phase.CLOSED and state.cycle in _TRADED and state.fills.held > 0:
        state.close_qty = state.broker_qty if state.is_broker_newer else None
        state.settling_utc = turn.now if state.day is None else min(turn.now, state.day.close_utc)
        move(turn, PositionEvent.SESSION_CLOSED)
        note_underlying(rules, turn, state.watch.spot)
    if is_over(turn):
        _forget_orders(turn)


def is_over(turn: PositionTurn) -> bool:
    """Return whether the date of the position's day is over: what expired is gone, and so are the day's orders."""
    day = turn.state.day
    return day is not None and days.is_over(day, turn.now)


def _forget_orders(turn: PositionTurn) -> None:
    """Take the orders of a day that is over as ended with what filled of them."""
    state = turn.state
    for role, order in state.orders.by_role():
        is_unsent = order.stage is LegStage.RECORDING
        filled = state.fills.filled(order.ref)
        keep_order(turn, role, dropped(order) if is_unsent else ended(order, filled, is_sure=True))
