"""What a position does with its fills and their fees; whoever tells a fill, the ledger or the broker session."""

from __future__ import annotations

from actors.position import adaptive, reports
from actors.position.exit_order import forget_refusals
from actors.position.state import PositionRules, PositionTurn, Timer, arm_in, keep_order, move
from domain.alarm import Severity
from domain.instruments import Side
from domain.orders.live_order import is_resting_stop, raised_in_place
from domain.orders.order_pair import OrderRole
from domain.orders.references import is_direct, is_from_outside, position_of
from domain.orders.tiers import Tier
from domain.position.cycle import ExitReason, PositionEvent, PositionState
from domain.position.exits import MarketWatch, WantedExit, is_spot_stale
from domain.position.fills import FillTotals, new_life, with_fees, with_fill
from domain.units import Cents, Qty
from messages import orders


def on_fill(rules: PositionRules, turn: PositionTurn, report: orders.FillRecorded) -> None:
    """Take a fill; whatever the state, a fill moves it. One of the life that is over goes on with its sums."""
    state, ref = turn.state, turn.state.opened_ref()
    was = state.cycle
    is_of_this_life = _life_of(turn, report.order_ref) == ref.position_id
    is_restart = was is PositionState.FLAT and not is_of_this_life
    before = new_life(state.fills, ref.side) if is_restart else state.fills
    told = FillTotals(
        report.order_ref, report.side, report.filled_qty_total, report.filled_cost_ticks_total, report.revision,
        is_durable=report.is_durable, is_price_known=report.is_price_known,
    )  # fmt: skip
    after = with_fill(before, told)
    more_qty = after.filled(report.order_ref) - before.filled(report.order_ref)
    is_money_changed = (after.opened_cost_ticks, after.closed_cost_ticks) != (
        before.opened_cost_ticks, before.closed_cost_ticks,
    )  # fmt: skip
    if more_qty == 0 and not is_money_changed:
        state.fills = after if after.rows != before.rows else state.fills  # made durable: nothing to tell
        return
    state.fills = after
    state.last_fill_utc = turn.now
    state.is_broker_newer = False
    if is_restart:
        state.is_estimated = False
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
    if not is_opening:
        forget_refusals(turn)
        _note_stop(turn, report.order_ref)
    if more_qty:
        reports.fill_booked(turn, report, Qty(abs(more_qty)))
    if more_qty > 0 and is_direct(report.order_ref):
        _note_direct(turn, report, more_qty)


def _life_of(turn: PositionTurn, order_ref: str) -> str:
    """Return the position that an order belongs to; what no order of its own closes is the last one's."""
    return turn.state.opened_ref().position_id if is_from_outside(order_ref) else position_of(order_ref)


def _note_direct(turn: PositionTurn, report: orders.FillRecorded, qty: Qty) -> None:
    """Say what the direct flatten has closed of this position; it was a person's, or the hard stop's, doing."""
    state = turn.state
    if state.wanted is None:
        state.reason = ExitReason.OPERATOR
    done = "sold" if report.side is Side.SELL else "bought back"
    text = (
        f"The direct flatten {done} {qty} {state.opened_ref().contract.label} at {report.price_ticks / 100:.2f}"
        f" (execution {report.exec_id}): booked to this position."
    )
    reports.alarm(turn, f"direct:{report.con_id}", Severity.WARNING, text)


def _on_first_fill(rules: PositionRules, turn: PositionTurn) -> None:
    state = turn.state
    if state.watch.spot is not None and not is_spot_stale(state.watch, turn.now, rules.exits):
        state.entry_spot_ticks = state.watch.spot.price_ticks
    else:
        state.entry_spot_ticks = None if state.decision is None else state.decision.spot_ticks
    greeks = None if state.watch.quote is None else state.watch.quote.greeks
    state.entry_iv = None if greeks is None else greeks.iv
    state.opened_utc = turn.now
    adaptive.on_first_fill(rules, turn)
    reports.opened(turn)
    arm_in(turn, Timer.SLOW, rules.exits.slow_check_ms)


def _note_stop(turn: PositionTurn, order_ref: str) -> None:
    """Want out where the stop that rests at the broker has begun to fill; it is at the market by now."""
    state, order = turn.state, turn.state.orders.exit
    if order is None or order.ref != order_ref or not is_resting_stop(order):
        return
    keep_order(turn, OrderRole.EXIT, raised_in_place(order, Tier.MARKET, ExitReason.DISASTER))
    if state.wanted is None:
        state.wanted, state.reason = WantedExit(ExitReason.DISASTER, floor=Tier.MARKET), ExitReason.DISASTER


def on_commission(turn: PositionTurn, report: orders.CommissionRecorded) -> None:
    """Take the fees of an order; those of a life that is over change its result, and nobody else's."""
    state = turn.state
    if state.ref is None:
        return  # a fee that came after the life's end and a restart: the ledger has it
    row = state.fills.row(report.order_ref)
    known_cents = Cents(0) if row is None else row.fees_cents
    side = state.ref.side if state.is_entry(report.order_ref) else state.ref.side.opposite
    state.fills = with_fees(
        state.fills, report.order_ref, side, report.commission_cents_total, report.charged_qty_total
    )
    more_cents = Cents(report.commission_cents_total - known_cents)
    position_id = _life_of(turn, report.order_ref)
    is_over = position_id != state.ref.position_id or state.cycle is PositionState.FLAT
    if not is_over or not more_cents:
        return
    past = state.past.get(position_id)
    if past is not None:
        reports.corrected(turn, past, more_cents)
