"""What makes a position want an exit: its quotes, the slow check, the kill level, a reversal, a halt."""

from __future__ import annotations

from actors.position import adaptive, reports
from actors.position.exit_order import request_exit
from actors.position.exit_ticket import note_resume
from actors.position.settlement import note_underlying
from actors.position.state import PositionRules, PositionTurn, Timer
from domain.instants import MS
from domain.instruments import Quote, Spot
from domain.position import exits
from domain.position.cycle import ExitReason, PositionState
from domain.position.exits import WantedExit
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages import lifecycle, market, positions, risk, signals
from messages.restored import PositionRestored

_TRADED = frozenset({PositionState.OPEN, PositionState.PENDING_EXIT})


def on_quote(rules: PositionRules, turn: PositionTurn, quote: Quote | None, spot: Spot | None) -> None:
    """Take a quote, and let the hard exits look at it."""
    state = turn.state
    if quote is not None and quote.con_id != rules.con_id:
        return
    state.watch = exits.with_market(state.watch, quote, spot, turn.now, rules.exits)
    seen = None if exits.is_spot_stale(state.watch, turn.now, rules.exits) else state.watch.spot
    if state.entry_spot_ticks is None and seen is not None and state.held() is not None:
        state.entry_spot_ticks = seen.price_ticks  # a fill found after a restart: its own spot is not known
    note_underlying(rules, turn, state.watch.spot)
    note_resume(rules, turn)
    _look(rules, turn, is_slow_due=False)


def on_slow_check(rules: PositionRules, turn: PositionTurn) -> None:
    """Look at the slow dimensions, publish the mark, and come again; sooner where the quote is about to be too old."""
    state = turn.state
    if state.cycle in (PositionState.FLAT, PositionState.SETTLING):
        return
    note_resume(rules, turn)
    _look(rules, turn, is_slow_due=True)
    reports.changed(turn)
    reports.leg_changed(turn)
    waits_ms = (rules.exits.blind_resubscribe_ms, rules.exits.blind_exit_ms, rules.exits.blind_market_ms)
    blind_utc = (state.watch.seen_utc + wait_ms * MS + 1 for wait_ms in waits_ms)
    due_utc = turn.now + rules.exits.slow_check_ms * MS
    turn.arm(Timer.SLOW, min([due_utc, *(at for at in blind_utc if at > turn.now)]))


def _look(rules: PositionRules, turn: PositionTurn, *, is_slow_due: bool) -> None:
    """Let the rules look at the position: the hard ones always, the slow ones when they are due.

    A leg of a structure has none of its own: alone it says nothing of what both are worth.
    """
    state, held = turn.state, turn.state.held()
    if state.cycle not in _TRADED or held is None:
        return
    if state.opened_ref().is_leg:
        if is_slow_due and exits.is_resubscribe_due(state.watch, turn.now, rules.exits):
            reports.request_quote(rules, turn)
        return
    profile = adaptive.look(rules, turn, held, is_slow_due=is_slow_due)
    state.watch = exits.observe(state.watch, held, turn.now, profile.exits, profile.ticker)
    hard = exits.pick_hard(state.watch, held, turn.now, profile.exits, profile.ticker)
    if hard is not None:
        request_exit(turn, hard)
    if not is_slow_due:
        return
    slow = exits.pick_slow(state.watch, held, turn.now, profile.exits, profile.ticker)
    if slow is not None:
        request_exit(turn, slow)
    if exits.is_resubscribe_due(state.watch, turn.now, rules.exits):
        reports.request_quote(rules, turn)


def on_halt(turn: PositionTurn, event: market.HaltChanged) -> None:
    """Take a halt of the underlying: no market order during it, nor after it before a quote was seen."""
    state = turn.state
    if state.ref is None or event.ticker != state.ref.contract.ticker:
        return
    if event.is_told_again and not state.is_halted:
        return
    if state.is_halted and not event.is_halted:
        state.resumed_utc = event.at_utc
    elif event.is_halted:
        state.resumed_utc = None
    state.is_halted = event.is_halted
    state.no_market_until_utc = Utc(0)


def on_kill_level(turn: PositionTurn, event: risk.KillRaised | risk.KillLowered) -> None:
    """Take the kill level; a raise to the highest one wants everything out."""
    turn.state.kill_level = event.level
    if isinstance(event, risk.KillRaised) and event.level >= KillLevel.FLATTEN:
        request_exit(turn, WantedExit(ExitReason.KILL))


def on_cover_set(turn: PositionTurn, command: positions.SetCover) -> None:
    """Take the structure's word on whether what covers its shorts may be sold."""
    ref = turn.state.ref
    if ref is not None and ref.structure_id == command.structure_id:
        turn.state.is_free = command.is_free


def on_state_read(turn: PositionTurn, message: lifecycle.StateRead) -> None:
    """Let what covers others go where the ledger says that they are over: its structure may not be there to say so."""
    ref, known = turn.state.ref, message.restored
    if ref is None or not isinstance(known, PositionRestored) or known.reservation is None:
        return
    if known.is_free and known.reservation.ref.position_id == ref.position_id:
        turn.state.is_free = True


def on_leg_requested(turn: PositionTurn, command: positions.RequestLeg) -> None:
    """Tell a structure where its leg stands; one that nothing is known of is flat."""
    ref = turn.state.ref
    if ref is not None and ref.position_id == command.ref.position_id:
        reports.leg_changed(turn)
    else:
        reports.leg_refused(turn, command.ref)


def on_reversal(turn: PositionTurn, event: signals.ReversalRaised) -> None:
    """Want out where the source that opened the position points the other way."""
    ref = turn.state.ref
    if ref is None or (event.source, event.ticker) != (ref.key.source, ref.contract.ticker):
        return
    if not ref.is_leg and event.direction == -ref.direction and turn.state.fills.held > 0:
        request_exit(turn, WantedExit(ExitReason.REVERSAL))
