"""What a position does with the news of its orders, and with those that are not wanted any more."""

from __future__ import annotations

from actors.position.entry_order import finish_entry
from actors.position.exit_order import finish_exit, replace_exit
from actors.position.recovery import request_order_state
from actors.position.state import PositionRules, PositionTurn, Timer, arm_in, keep_order
from domain.orders.live_order import acknowledged, cancelling, ended, is_cancel_due, is_over, unsent, written
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


def on_order_acknowledged(rules: PositionRules, turn: PositionTurn, report: orders.OrderAcknowledged) -> None:
    """Note that the broker has the order."""
    live = turn.state.orders.find(report.order_ref)
    if live is not None:
        role, order = live
        turn.disarm(Timer.ACK, order.ref)
        keep_order(turn, role, acknowledged(order))
    elif not turn.state.fills.filled(report.order_ref):
        request_order_state(rules, turn, report.order_ref)  # one that was thought over shows a sign of life


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
    else:
        keep_order(turn, role, ended(order, turn.state.fills.filled(order.ref), is_sure=True))


def on_order_rejected(rules: PositionRules, turn: PositionTurn, report: orders.OrderRejected) -> None:
    """Take a refused entry as over without a fill; after a refused exit ask the broker before anything else is sent."""
    live = turn.state.orders.find(report.order_ref)
    if live is None:
        return
    role, order = live
    if role is OrderRole.ENTRY:
        keep_order(turn, role, ended(order, Qty(0)))
        arm_in(turn, Timer.QUERY, rules.exits.record_wait_ms, order.ref)
    else:
        keep_order(turn, role, unsent(order))
        request_order_state(rules, turn, order.ref)


def on_modify_refused(turn: PositionTurn, report: orders.ModifyRefused) -> None:
    """Replace an exit that cannot be modified; an entry works on at the limit it had."""
    live = turn.state.orders.find(report.order_ref)
    if live is not None and live[0] is OrderRole.EXIT:
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
    for role in OrderRole:
        order = turn.state.orders.of(role)
        if order is None or not is_cancel_due(order):
            continue
        keep_order(turn, role, cancelling(order, turn.now))
        turn.tell("ibkr", orders.CancelOrder(order_ref=order.ref, reply_to=turn.name))
        turn.disarm(Timer.ACK, order.ref)
        arm_in(turn, Timer.CANCEL, rules.exits.cancel_confirm_ms, order.ref)
