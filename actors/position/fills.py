"""What a position does with its recorded fills and their fees."""

from __future__ import annotations

from actors.position import reports
from actors.position.state import PositionRules, PositionTurn, Timer, arm_in, move
from domain.position.cycle import PositionEvent, PositionState
from domain.position.exits import MarketWatch
from domain.position.fills import new_life, with_fees, with_fill
from messages import orders


def on_fill(rules: PositionRules, turn: PositionTurn, report: orders.FillRecorded) -> None:
    """Take a recorded fill; whatever the state, a fill moves it."""
    state, ref = turn.state, turn.state.opened_ref()
    was = state.cycle
    before = new_life(state.fills, ref.side) if was is PositionState.FLAT else state.fills
    after = with_fill(
        before, report.order_ref, report.side, report.filled_qty_total, report.filled_cost_ticks_total, report.revision
    )
    if after == before:
        return
    state.fills = after
    state.last_fill_utc = turn.now
    if was is PositionState.FLAT:
        state.watch = MarketWatch(turn.now)
        state.took_part = False
        state.end = None
        state.wanted = None
        state.agree_after_utc = turn.now
        reports.watch_contract(turn)
    is_opening = report.side is ref.side
    move(turn, PositionEvent.OPENING_FILL if is_opening else PositionEvent.CLOSING_FILL)
    if is_opening and was in (PositionState.FLAT, PositionState.PENDING_ENTRY):
        _on_first_fill(rules, turn)


def _on_first_fill(rules: PositionRules, turn: PositionTurn) -> None:
    state = turn.state
    if state.watch.spot is not None:
        state.entry_spot_ticks = state.watch.spot.price_ticks
    else:
        state.entry_spot_ticks = None if state.decision is None else state.decision.spot_ticks
    greeks = None if state.watch.quote is None else state.watch.quote.greeks
    state.entry_iv = None if greeks is None else greeks.iv
    state.opened_utc = turn.now
    reports.opened(turn)
    arm_in(turn, Timer.SLOW, rules.exits.slow_check_ms)


def on_commission(turn: PositionTurn, report: orders.CommissionRecorded) -> None:
    """Take the fees of an order."""
    state = turn.state
    if state.ref is None:
        return  # a fee that came after the life's end and a restart: the ledger has it
    side = state.ref.side if report.order_ref == state.entry_ref else state.ref.side.opposite
    state.fills = with_fees(
        state.fills, report.order_ref, side, report.commission_cents_total, report.charged_qty_total
    )
