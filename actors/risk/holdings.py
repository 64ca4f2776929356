"""What positions report of themselves, folded into the read model; each word is an evaluation of the day's P&L."""

from __future__ import annotations

from actors.risk import day
from actors.risk.state import RiskState
from domain.limits import HardStopAction
from domain.orders.tiers import AT_MARKET
from domain.position.cycle import ExitReason, PositionState
from domain.risk import desk_view
from domain.risk.day import Closed
from domain.risk.desk_view import Holding
from domain.risk.gates.types import DeskRules
from domain.risk.kill import KillLevel
from domain.units import Cents, Utc
from messages import positions
from messages.restored import Reservation
from supervision.turn import Turn


def of_reservation(reservation: Reservation, now: Utc) -> Holding:
    """Return a live reservation as pending; what it is worth is not known until its position reports, soon after."""
    ref = reservation.ref
    return Holding(
        ref=ref,
        qty=reservation.qty,
        cost_cents=Cents(reservation.qty * reservation.limit_ticks * ref.contract.multiplier),
        is_pending=True,
        unrealised_cents=None,
        marked_utc=now,
    )


def on_opened(rules: DeskRules, turn: Turn[RiskState], message: positions.PositionOpened) -> None:
    """Count it as held, marked at cost until the position says otherwise."""
    holding = Holding(
        ref=message.ref,
        qty=message.qty,
        cost_cents=message.cost_cents,
        is_pending=False,
        unrealised_cents=Cents(0),
        marked_utc=turn.now,
    )
    turn.state.view = desk_view.with_holding(turn.state.view, holding)
    day.evaluate(rules, turn)
    flatten_again(rules, turn, message.ref.contract.con_id, None)


def on_changed(rules: DeskRules, turn: Turn[RiskState], message: positions.PositionChanged) -> None:
    """Take its quantity and mark over; a flat position that is not counted any more stays forgotten."""
    view, ref = turn.state.view, message.ref
    old = desk_view.holding_of(view, ref.position_id)
    if message.state is PositionState.FLAT and old is None:
        return
    unrealised_cents, marked_utc = mark_of(old, message, turn.now)
    holding = Holding(
        ref=ref,
        qty=message.qty,
        cost_cents=message.cost_cents,
        is_pending=message.state is PositionState.PENDING_ENTRY and message.qty == 0,
        unrealised_cents=unrealised_cents,
        marked_utc=marked_utc,
        realised_cents=message.realised_cents,
        fees_cents=message.fees_cents,
        ordered=desk_view.still_ordered(old, message.qty, turn.now),
    )
    turn.state.view = desk_view.with_holding(view, holding)
    day.evaluate(rules, turn)
    if message.qty > 0:
        flatten_again(rules, turn, ref.contract.con_id, message.exit_reason)


def mark_of(old: Holding | None, message: positions.PositionChanged, now: Utc) -> tuple[Cents | None, Utc]:
    """Return the last mark known of a position, and of when it is; `old` is the holding before this word of it.

    A position that knows none now keeps its old one, for the share of it that is still held.
    """
    if message.qty == 0:
        return Cents(0), message.at_utc
    if message.unrealised_cents is not None:
        return message.unrealised_cents, message.mark_utc if message.mark_utc is not None else message.at_utc
    if old is None or old.unrealised_cents is None:
        return None, now if old is None else old.marked_utc
    kept = old.unrealised_cents * message.qty // old.qty if 0 < message.qty < old.qty else old.unrealised_cents
    return Cents(kept), old.marked_utc


def on_closed(rules: DeskRules, turn: Turn[RiskState], message: positions.PositionClosed) -> None:
    """Count its result, once; a correction takes its place."""
    ref = message.ref
    closed = Closed(
        ref.position_id, ref.strategy, message.realised_cents, message.fees_cents, message.closed_utc, ref.structure_id
    )
    turn.state.view = desk_view.with_closed(turn.state.view, closed, is_correction=message.is_correction)
    day.check_flat(rules, turn)


def on_abandoned(rules: DeskRules, turn: Turn[RiskState], message: positions.EntryAbandoned) -> None:
    """Free its place."""
    turn.state.view = desk_view.without_holding(turn.state.view, message.ref.position_id)
    day.check_flat(rules, turn)


def flatten_again(rules: DeskRules, turn: Turn[RiskState], con_id: int, exit_reason: ExitReason | None) -> None:
    """Tell a position that is open against a standing order to flatten: it may have missed it while restarting."""
    view = turn.state.view
    is_stopped = view.stops.is_hard and rules.limits.on_hard_stop == HardStopAction.FLATTEN
    if exit_reason in AT_MARKET or not (is_stopped or view.kill_level == KillLevel.FLATTEN):
        return
    turn.tell(f"position:{rules.desk}:{con_id}", positions.FlattenPosition(reason=ExitReason.KILL))
