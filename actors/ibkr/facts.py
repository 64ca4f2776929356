"""What the broker reports of orders and positions: a status is a hint, an execution (`fills.py`) is a fact.

An order in doubt ends here only when it is filled, or rejected with a reason that is known; anything else waits for a
read-back (`settlement.py`). What an event does to an order's stage: `domain/orders/table.py`.
"""

from __future__ import annotations

from actors.ibkr.orders import withdraw_all
from actors.ibkr.read_back import start_read
from actors.ibkr.reports import (
    record_ids,
    reject,
    report_acknowledged,
    report_change_refused,
    report_closed,
    report_placed,
    report_position,
)
from actors.ibkr.state import IBKRState, Timer, Wiring
from domain.instants import MS
from domain.orders.references import is_of_desk
from domain.orders.table import (
    ORDERS,
    CodeMeaning,
    Ending,
    Order,
    OrderEvent,
    OrderStage,
    OrderStatus,
    Trouble,
    doubt_pause_ns,
    find,
)
from domain.session import gateway_health
from messages import broker
from supervision.turn import Turn

# -- orders -------------------------------------------------------------------------------------


def on_order_sent(turn: Turn[IBKRState], fact: broker.OrderSent) -> None:
    """Pass on that a new order's bytes left."""
    order = find(turn.state.table, fact.order_ref)
    if order is not None and order.stage is OrderStage.HANDED:
        turn.state.keep(order.after(OrderEvent.WRITTEN))
        report_placed(turn, order, fact)


def on_order_denied(turn: Turn[IBKRState], fact: broker.OrderDenied) -> None:
    """Pass on that the port's last check refused an order, or a change of one that stands."""
    order = find(turn.state.table, fact.order_ref)
    if order is None:
        return
    if order.stage is OrderStage.HANDED:
        turn.state.keep(order.after(OrderEvent.DENIED))
        report_placed(turn, order, fact)
    else:
        turn.state.keep(order.without_change())
        report_change_refused(turn, order, Trouble(0, f"{fact.code.value}: {fact.why}"))


def on_order_status(wiring: Wiring, turn: Turn[IBKRState], fact: broker.OrderStatusReported) -> None:
    """Take a status as the hint it is: acknowledge, close, or doubt."""
    order = find(turn.state.table, fact.order_ref)
    if fact.session_epoch != turn.state.session_epoch:
        return
    if order is None:
        if fact.status in (OrderStatus.PENDING, OrderStatus.WORKING) and is_of_desk(fact.order_ref, wiring.desk):
            start_read(wiring, turn)  # an order of a life that is over has come back: the ledger says what to do
        return
    if fact.perm_id and order.perm_id and fact.perm_id != order.perm_id:
        doubt(wiring, turn, order, Trouble(0, f"two perm ids: {order.perm_id} and {fact.perm_id}"))
        return
    if fact.perm_id and not order.perm_id:
        order = order.with_perm_id(fact.perm_id)
        record_ids(turn, order, fact.status)
    is_doubted = order.stage is OrderStage.IN_DOUBT
    match fact.status:
        case OrderStatus.PENDING | OrderStatus.WORKING if order.perm_id:
            was_given_up = order.stage is OrderStage.MISSING
            if order.stage is OrderStage.ENDED and order.is_inactive:  # taken as refused, and the broker has it again
                start_read(wiring, turn)
            order = _acknowledge(turn, order, fact)
            if was_given_up:  # its position was told that it is nowhere, and has acted on that
                withdraw_all(wiring, turn, (order,))
                return
        case OrderStatus.CANCELLED if _is_end_in_question(order, fact):
            order = _confirm_end(wiring, turn, order, fact)
        case OrderStatus.FILLED:
            order = _end(turn, order, fact)
        case OrderStatus.CANCELLED if not is_doubted:
            order = _end(turn, order, fact)
        case OrderStatus.CANCELLED if doubt_pause_ns(order.doubt_n):
            start_read(wiring, turn)  # what was waited for
        case OrderStatus.INACTIVE if order.is_under_way:
            order = order.marked_inactive()
            if order.trouble is not None and order.filled_qty == 0 and is_doubted:  # its error came before the status
                order = reject(turn, order, order.trouble)
            else:
                turn.arm(Timer.INACTIVE, turn.now + wiring.rules.query_wait_ms * MS, order.order_ref)
        case _:
            pass  # nothing to believe in it: a cancel on its way, a status that is unknown or without a perm id
    turn.state.keep(order)


def _end(turn: Turn[IBKRState], order: Order, fact: broker.OrderStatusReported) -> Order:
    if order.ending is not None:  # said again: the read-back under way will do
        return order.with_ending(Ending(fact.status, max(order.ending.filled_qty, fact.filled_qty)))
    if order.stage is not OrderStage.ENDED:
        record_ids(turn, order, fact.status)
        report_closed(turn, order, fact.status.value, fact.filled_qty)
    return order.ended(turn.state.next_read_n)


def _is_end_in_question(order: Order, fact: broker.OrderStatusReported) -> bool:
    """Return whether an exit was cancelled as we asked with less than all of it filled: the rest is sold again then."""
    is_alive = order.is_under_way and order.stage is not OrderStage.IN_DOUBT
    is_whole = max(order.filled_qty, fact.filled_qty) >= order.qty
    return order.is_exit and order.is_cancel_wanted and is_alive and not is_whole


def _confirm_end(wiring: Wiring, turn: Turn[IBKRState], order: Order, fact: broker.OrderStatusReported) -> Order:
    """Have the broker read back before the position is told: an order that is called cancelled may turn out filled.

    An execution behind that word would otherwise meet the exit in its place, and more would be sold than is held. That
    costs one read-back, and no more than `query_wait_ms`: then the word is believed, as a crossed stop cannot wait.
    """
    record_ids(turn, order, fact.status)
    ended = order.ended(turn.state.next_read_n).with_ending(Ending(fact.status, fact.filled_qty))
    turn.arm(Timer.CANCEL, turn.now + wiring.rules.query_wait_ms * MS, order.order_ref)
    start_read(wiring, turn)
    return ended


def _acknowledge(turn: Turn[IBKRState], was: Order, fact: broker.OrderStatusReported) -> Order:
    order = was.after(OrderEvent.ACKNOWLEDGED)
    if order.stage is not OrderStage.WORKING:
        return order
    if fact.order_type is not None:
        order = order.with_terms(fact.order_type, fact.limit_ticks, fact.qty)
        if order.limit_ticks not in (None, was.limit_ticks):
            record_ids(turn, order, fact.status)
    if (was.stage, was.order_type, was.limit_ticks, was.qty) != (
        order.stage, order.order_type, order.limit_ticks, order.qty,
    ):  # fmt: skip
        report_acknowledged(turn, order)
    return order


# -- errors -------------------------------------------------------------------------------------


def on_error(wiring: Wiring, turn: Turn[IBKRState], fact: broker.ErrorReported) -> None:
    """Take a vendor code on an order by its meaning; what is not known for sure is asked, never assumed cancelled."""
    state = turn.state
    words = f"{fact.vendor_code} {fact.text}"
    if fact.meaning is not CodeMeaning.ORDER_CANCELLED:  # an order's end, as a cancel or its deadline brings: no fault
        state.health = gateway_health.after_error(state.health, state.link.dial_n, words)
    order = find(state.table, fact.order_ref) if fact.order_ref is not None else None
    if order is None or not order.is_under_way:
        return
    is_refusal = fact.meaning in (CodeMeaning.ORDER_REFUSED, CodeMeaning.ORDER_REJECTED)
    trouble = Trouble(fact.vendor_code, fact.text, is_refusal)
    match fact.meaning:
        case CodeMeaning.INFORMATIONAL | CodeMeaning.DATA | CodeMeaning.LINK:
            pass  # none of them says anything of the order
        case CodeMeaning.ORDER_REFUSED if ORDERS.next(order.stage, OrderEvent.REFUSED) is OrderStage.ENDED:
            state.keep(reject(turn, order, trouble))
        case CodeMeaning.ORDER_REJECTED if order.is_inactive and order.filled_qty == 0:
            state.keep(reject(turn, order, trouble))
        case _:
            doubt(wiring, turn, order, trouble)


def on_inactive_unexplained(wiring: Wiring, turn: Turn[IBKRState], order_ref: str) -> None:
    """Look into an order that is inactive without a reason given."""
    order = find(turn.state.table, order_ref)
    if order is not None and order.is_under_way:
        doubt(wiring, turn, order, None)


def doubt(wiring: Wiring, turn: Turn[IBKRState], order: Order, trouble: Trouble | None) -> None:
    """Doubt an order until a read-back that begins after now; one doubted over and over is asked about ever later."""
    state, is_new = turn.state, order.stage is not OrderStage.IN_DOUBT
    doubted = order.doubted(state.next_read_n, trouble)
    if is_new:
        doubted = doubted.doubted_anew()
    state.keep(doubted)
    pause_ns, is_reading = doubt_pause_ns(doubted.doubt_n), state.reading is not None or state.read is not None
    if not pause_ns or (is_reading and not is_new):
        start_read(wiring, turn)
    elif is_new:
        turn.arm(Timer.READ_AGAIN, turn.now + pause_ns, order.order_ref)


def on_doubt_pause_over(wiring: Wiring, turn: Turn[IBKRState], order_ref: str) -> None:
    """Read the broker back for an order that is still in doubt; empty: for one that can be given up by now."""
    order = find(turn.state.table, order_ref) if order_ref else None
    if order is None or order.stage is OrderStage.IN_DOUBT:
        start_read(wiring, turn)


# -- holdings -----------------------------------------------------------------------------------


def on_position(wiring: Wiring, turn: Turn[IBKRState], fact: broker.PositionReported) -> None:
    """Pass on what the broker holds of a contract of ours."""
    con_id = fact.contract.con_id
    turn.state.keep_position(con_id, fact.qty)
    if con_id in turn.state.con_ids:
        report_position(wiring, turn, con_id, turn.now)
        turn.disarm(Timer.AGREE, str(con_id))
