"""What a position does with the news of its orders, and with those that are not wanted any more."""

from __future__ import annotations

from actors.position import reports
from actors.position.agreement import on_broker_quantity
from actors.position.entry_order import finish_entry
from actors.position.exit_order import count_refusal, finish_exit, replace_exit
from actors.position.recovery import request_order_state
from actors.position.slices import stop_slices
from actors.position.state import PositionRules, PositionTurn, Timer, arm_in, keep_order
from domain.instants import MS
from domain.orders.live_order import (
    LegStage,
    acknowledged,
    cancelling,
    ended,
    is_cancel_due,
    is_over,
    unsent,
    written,
)
from domain.orders.order_pair import OrderRole
from domain.risk.reject import RejectCode
from domain.units import Qty
from messages import broker, orders

# -- news ----------------------------------------------------------------------------------------


def on_order_sent(turn: PositionTurn, report: broker.OrderSent) -> None:
    """Note that the order's bytes left."""
    live = turn.state.orders.find(report.order_ref)
    if live is not None:
        role, order = live
        keep_order(turn, role, written(order))


def on_order_acknowledged(turn: PositionTurn, report: orders.OrderAcknowledged) -> None:
    """Note that the broker has the order; one that was let go of is cancelled at once: nothing else may work."""
    live = turn.state.orders.find(report.order_ref)
    if live is not None:
        role, order = live
        turn.disarm(Timer.ACK, order.ref)
        keep_order(turn, role, acknowledged(order))
        if role is OrderRole.EXIT:
            turn.state.trouble = ""
    elif not turn.state.fills.filled(report.order_ref):  # one that was thought over shows a sign of life
        turn.tell("ibkr", orders.CancelOrder(order_ref=report.order_ref, reply_to=turn.name))


def on_order_closed(rules: PositionRules, turn: PositionTurn, report: orders.OrderClosed) -> None:
    """Believe the end that was wanted or is complete; ask about any other, since only executions are believed."""
    live = turn.state.orders.find(report.order_ref)
    if live is None:
        return
    role, order = live
    if order.cancel_wanted or report.filled_qty_total >= order.qty:
        keep_order(turn, role, ended(order, report.filled_qty_total))
        arm_in(turn, Timer.QUERY, rules.exits.record_wait_ms, order.ref)
    else:
        request_order_state(rules, turn, order.ref)


def on_order_denied(rules: PositionRules, turn: PositionTurn, report: broker.OrderDenied) -> None:
    """Take an order that never reached the socket as over; one whose reference was seen before is looked for."""
    live = turn.state.orders.find(report.order_ref)
    if live is None:
        return
    role, order = live
    if report.code is RejectCode.DUPLICATE_REF:
        request_order_state(rules, turn, report.order_ref)
        return
    filled = turn.state.fills.filled(order.ref)
    keep_order(turn, role, ended(order, filled, is_sure=True))
    if role is OrderRole.ENTRY:
        if not _is_in_slices(turn, report.code.value) and not filled:
            reports.entry_amended(turn, turn.state.opened_ref(), report.code, report.why)
        return
    turn.state.trouble = f"{report.code.value}: {report.why}"
    if report.code is RejectCode.EXIT_HALTED:
        turn.state.no_market_until_utc = turn.now + rules.exits.stuck_page_ms * MS
    if report.broker_qty is not None:
        on_broker_quantity(rules, turn, report.broker_qty, turn.now, turn.state.has_executions)


def on_order_rejected(rules: PositionRules, turn: PositionTurn, report: orders.OrderRejected) -> None:
    """Take a refused entry as over without a fill; after a refused exit ask the broker before anything else is sent."""
    live = turn.state.orders.find(report.order_ref)
    if live is None:
        return
    role, order = live
    words = f"{report.text} ({report.vendor_code})"
    if role is OrderRole.ENTRY:
        keep_order(turn, role, ended(order, Qty(0)))
        arm_in(turn, Timer.QUERY, rules.exits.record_wait_ms, order.ref)
        is_in_slices = _is_in_slices(turn, words)
        if not is_in_slices and not turn.state.fills.filled(order.ref) and order.ended_qty is None:
            reports.entry_amended(turn, turn.state.opened_ref(), RejectCode.BROKER_REJECTED, words)
        return
    if order.reached or order.stage is LegStage.SENT:  # told twice it is one refusal
        count_refusal(rules, turn, order, words, is_change=False)
    keep_order(turn, role, unsent(order))
    request_order_state(rules, turn, order.ref)


def _is_in_slices(turn: PositionTurn, why: str) -> bool:
    """Return whether the order follows one of this entry that filled: no slice follows, and the attempt stands."""
    stop_slices(turn, why)
    return turn.state.twap is not None and turn.state.fills.opened_qty > 0


def on_modify_refused(rules: PositionRules, turn: PositionTurn, report: orders.ModifyRefused) -> None:
    """Replace an exit that cannot be modified; an entry works on at the limit it had."""
    live = turn.state.orders.find(report.order_ref)
    if live is None or live[0] is not OrderRole.EXIT:
        return
    if report.vendor_code and not live[1].cancel_wanted:
        count_refusal(rules, turn, live[1], f"{report.text} ({report.vendor_code})", is_change=True)
    replace_exit(turn, live[1])


# -- steering ------------------------------------------------------------------------------------


def settle_orders(rules: PositionRules, turn: PositionTurn) -> None:
    """Let go of the orders whose recorded fills say that they are over."""
    entry = turn.state.orders.entry
    if entry is not None and is_over(entry, turn.state.fills.filled(entry.ref)):
        finish_entry(rules, turn, entry)
    exit_ = turn.state.orders.exit
    if exit_ is not None and is_over(exit_, turn.state.fills.filled(exit_.ref)):
        finish_exit(rules, turn, exit_)


def steer_cancels(rules: PositionRules, turn: PositionTurn) -> None:
    """Cancel what is no longer wanted; an order that is unknown is found first."""
    if turn.state.is_link_up is False:
        return
    for role, order in turn.state.orders.by_role():
        if not is_cancel_due(order):
            continue
        keep_order(turn, role, cancelling(order, turn.now))
        turn.tell("ibkr", orders.CancelOrder(order_ref=order.ref, reply_to=turn.name))
        turn.disarm(Timer.ACK, order.ref)
        arm_in(turn, Timer.CANCEL, rules.exits.cancel_confirm_ms, order.ref)
