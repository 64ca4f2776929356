"""What a position says by itself while something is wrong: it holds and cannot close, or the broker holds a short."""

from __future__ import annotations

from actors.position import reports
from actors.position.exit_ticket import is_market_barred, ticket_of
from actors.position.state import AFTER_HOURS, PositionRules, PositionTurn, Timer, arm_in, move
from domain.alarm import Severity
from domain.instants import SECOND, session_of
from domain.instruments import Side
from domain.orders.live_order import LegStage, LiveOrder, is_resting_stop
from domain.position import exits
from domain.position.cycle import ExitReason, PositionEvent, PositionState
from domain.position.exits import WantedExit
from domain.risk.kill import KillLevel
from domain.units import Qty
from messages import lifecycle, positions

_WATCHED = frozenset({PositionState.OPEN, PositionState.PENDING_EXIT})


# -- a short -------------------------------------------------------------------------------------


def steer_short(rules: PositionRules, turn: PositionTurn) -> None:
    """Say that the broker holds a short of what may only be held long; at kill level 2 want it bought back."""
    state = turn.state
    short = state.short_qty
    if short and state.short_since_utc is None:
        state.short_since_utc = turn.now
        turn.publish(positions.ShortFound(con_id=rules.con_id, qty=Qty(-short), since_utc=turn.now))
    elif not short and state.short_since_utc is not None:
        turn.publish(positions.ShortFound(con_id=rules.con_id, qty=Qty(0), since_utc=state.short_since_utc))
        state.short_since_utc = None
    if short and state.kill_level >= KillLevel.FLATTEN and state.phase not in AFTER_HOURS:
        move(turn, PositionEvent.SHORT_FOUND)
        if state.cycle is PositionState.PENDING_EXIT and state.wanted is None:
            state.wanted, state.reason = WantedExit(ExitReason.KILL), ExitReason.KILL


# -- what cannot be closed -----------------------------------------------------------------------


def steer_stuck(rules: PositionRules, turn: PositionTurn) -> None:
    """Start the clock of something that is held, or may be, and cannot be closed; or stop it."""
    state = turn.state
    if not _is_stuck(turn):
        if state.stuck_since_utc is not None:
            state.stuck_since_utc, state.is_stuck_told = None, False
            turn.disarm(Timer.STUCK)
    elif state.stuck_since_utc is None:
        state.stuck_since_utc = turn.now
        arm_in(turn, Timer.STUCK, rules.exits.stuck_page_ms)


def on_stuck_due(rules: PositionRules, turn: PositionTurn) -> None:
    """Page with the reason, whatever it is, and again for as long as it lasts; the first page halts entries, too.

    Later pages do not: a person who has lowered the level since is not overruled by the same facts.
    """
    state = turn.state
    if state.stuck_since_utc is None or not _is_stuck(turn):
        return
    seconds = (turn.now - state.stuck_since_utc) // SECOND
    level = f" (kill level {state.kill_level.value})" if state.kill_level >= KillLevel.FLATTEN else ""
    entry = _entry_in_doubt(turn)
    what = "cannot be closed"
    if entry is not None:
        done = "bought" if state.opened_ref().side is Side.BUY else "sold"
        what = f"order {entry.ref} may have {done} {entry.qty}, and nobody can ask"
    text = (
        f"{reports.open_text(turn)}: {what} since {seconds} s{level}: {_obstacle(rules, turn)}; {reports.remedy(turn)}"
    )
    reports.alarm(turn, f"stuck:{rules.con_id}", Severity.CRITICAL, text)
    if not state.is_stuck_told:
        state.is_stuck_told = True
        reports.raise_kill(turn, text)
    if state.is_held_back:  # its structure is silent, and may not be there: the ledger knows what is left to cover
        asked = lifecycle.RequestState(name=turn.name, reply_to=turn.name, session=session_of(turn.now))
        turn.tell("desk_ledger", asked)
    arm_in(turn, Timer.STUCK, rules.exits.stuck_page_ms)


def _is_stuck(turn: PositionTurn) -> bool:
    """Return whether something is open in trading hours, or may be, and either no exit could leave or one is wanted."""
    state = turn.state
    if state.ref is None or state.phase in AFTER_HOURS:
        return False
    if _entry_in_doubt(turn) is not None:
        return not state.is_link_up
    is_short = state.short_qty > 0
    if state.cycle not in _WATCHED and not is_short:
        return False
    if state.is_link_up and state.wanted is None and not is_short:
        return False
    return state.fills.held != 0 or state.broker_qty not in (None, 0)


def _entry_in_doubt(turn: PositionTurn) -> LiveOrder | None:
    """Return the entry of which nobody knows what became, where it alone says that something may be open."""
    state = turn.state
    entry = state.orders.entry
    if entry is None or entry.stage is not LegStage.UNKNOWN:
        return None
    return entry if state.cycle is PositionState.PENDING_ENTRY and not state.short_qty else None


def _obstacle(rules: PositionRules, turn: PositionTurn) -> str:
    """Return why nothing leaves, for people: the gravest reason first."""
    state = turn.state
    order, wanted = state.orders.exit, state.wanted
    if state.is_link_up is False:
        return f"no reconciled broker session (mode {'unknown' if state.mode is None else state.mode.value})"
    if state.short_qty:
        return f"the broker holds {-state.short_qty} short; it is bought back at kill level 2"
    if state.is_held_back and state.fills.held > 0:
        return "it covers sold contracts, and its spread has not said yet that none of them is left"
    if state.closable_qty <= 0 or state.disputed_utc is not None:
        return f"the ledger holds {state.fills.signed_held}, the broker {state.broker_qty}"
    if is_market_barred(turn):
        return "trading is halted, or nothing was quoted since it resumed"
    if order is not None and order.stage is LegStage.UNKNOWN:
        before = f"; before it {state.trouble}" if state.trouble else ""
        return f"nobody knows what became of order {order.ref}{before}"
    if state.trouble:
        return state.trouble
    if order is not None and not is_resting_stop(order):
        return f"order {order.ref} ({order.order_type}) is {order.stage.value} and does not fill"
    if wanted is not None and order is None and ticket_of(rules, turn, wanted) is None:
        return "no quote that could be traded on"
    if state.is_link_up is None:
        return "the broker session has not said yet whether exits may go"
    return "the exit is under way" if exits.tradable_quote(state.watch, turn.now, rules.exits) else "no quote"
