"""When a position is flat: ledger and broker must agree; a difference that lasts is a dispute."""

from __future__ import annotations

from actors.position import reports
from actors.position.recovery import request_order_state
from actors.position.state import PositionRules, PositionTurn, Timer, move
from domain.instants import MS
from domain.orders.references import position_of
from domain.position.cycle import EndReason, PositionEvent, PositionState
from domain.position.mark import intrinsic_ticks
from domain.risk.kill import KillLevel
from domain.units import Qty, Utc

_ALIVE = frozenset({PositionState.OPEN, PositionState.PENDING_EXIT, PositionState.SETTLING})


def on_broker_quantity(rules: PositionRules, turn: PositionTurn, qty: Qty, read_utc: Utc) -> None:
    """Take the signed quantity that the broker holds; a difference that lasts becomes a dispute."""
    state = turn.state
    if state.ref is None or read_utc < state.broker_read_utc:
        return
    state.broker_qty = qty
    state.broker_read_utc = read_utc
    if qty == state.fills.signed_held:
        state.retry_utc = Utc(0)  # what refused the last exit may have been this difference
        state.is_disputed = False
    elif state.cycle in _ALIVE:
        _await_agreement(rules, turn)


def _await_agreement(rules: PositionRules, turn: PositionTurn) -> None:
    if turn.state.agree_due_utc is None:
        due_utc = turn.now + rules.exits.agreement_ms * MS
        turn.state.agree_due_utc = due_utc
        turn.arm(Timer.AGREE, due_utc)


def on_agreement_due(rules: PositionRules, turn: PositionTurn) -> None:
    """Dispute when broker and ledger had their time and still differ."""
    state, fills = turn.state, turn.state.fills
    state.agree_due_utc = None
    if state.cycle not in _ALIVE or state.cycle is PositionState.SETTLING or state.is_link_up is False:
        return
    is_read_since = state.broker_qty is not None and state.broker_read_utc >= state.last_fill_utc
    is_idle = state.orders.entry is None and state.orders.exit is None
    if is_read_since and state.broker_qty != fills.signed_held:
        reports.disputed(rules, turn, f"the broker holds {state.broker_qty}, the ledger {fills.signed_held}")
    elif fills.held == 0 and is_idle and not _is_broker_flat(turn):
        if state.is_link_up is None:
            request_order_state(rules, turn, state.entry_ref)  # no report since the restart: have it read back
        else:
            reports.disputed(rules, turn, "everything is closed and the broker does not confirm it")


def _is_broker_flat(turn: PositionTurn) -> bool:
    return turn.state.broker_qty == 0 and turn.state.broker_read_utc >= turn.state.agree_after_utc


def steer_flat(rules: PositionRules, turn: PositionTurn) -> None:
    """End the life when nothing is held, no order lives and the broker agrees."""
    state = turn.state
    if state.fills.held < 0:
        reports.disputed(rules, turn, f"more was closed than held: {state.fills.held}", KillLevel.FLATTEN)
    if state.cycle not in _ALIVE or state.orders.entry is not None or state.orders.exit is not None:
        return
    if state.cycle is PositionState.SETTLING and _is_broker_flat(turn):
        _end_life(rules, turn)
    elif state.fills.held == 0:
        if not _is_broker_flat(turn):
            _await_agreement(rules, turn)
        elif not _is_fee_awaited(rules, turn):
            _end_life(rules, turn)


def _is_fee_awaited(rules: PositionRules, turn: PositionTurn) -> bool:
    """Return whether commission reports are still waited for (once), so that the result is net of what they say."""
    state, position_id = turn.state, turn.state.opened_ref().position_id
    rows = (row for row in state.fills.rows if position_of(row.order_ref) == position_id and row.qty)
    if all(row.charged_qty >= row.qty for row in rows):
        return False
    if state.fees_due_utc is None:
        due_utc = turn.now + rules.exits.record_wait_ms * MS
        state.fees_due_utc = due_utc
        turn.arm(Timer.FEES, due_utc)
    return turn.now < state.fees_due_utc


def _end_life(rules: PositionRules, turn: PositionTurn) -> None:
    state = turn.state
    end, settled_ticks = EndReason.CLOSED, None
    if state.fills.held > 0:
        worth_ticks = intrinsic_ticks(state.opened_ref().contract, state.watch.spot)
        end = EndReason.SETTLED if worth_ticks else EndReason.EXPIRED
        settled_ticks = worth_ticks * state.fills.held
    reports.closed(turn, end, settled_ticks)
    move(turn, PositionEvent.BROKER_AGREED)
    state.wanted = None
    state.end = end
    state.agree_due_utc = None
    state.fees_due_utc = None
    state.retry_utc = Utc(0)
    reports.unwatch_contract(rules, turn)
    for timer in (Timer.SLOW, Timer.AGREE, Timer.FEES, Timer.RETRY):
        turn.disarm(timer)
