"""What a read-back settles: orders are found working, ended, or nowhere; queries are answered; the foreign is named."""

from __future__ import annotations

from actors.ibkr.link import change_mode, lose
from actors.ibkr.orders import withdraw, withdraw_all
from actors.ibkr.read_back import start_read
from actors.ibkr.reports import (
    record_ids,
    reject,
    report_acknowledged,
    report_change_refused,
    report_closed,
    report_position,
)
from actors.ibkr.state import IBKRState, Query, Timer, Wiring, halt
from domain.instants import MS
from domain.orders.table import Order, OrderEvent, OrderStage, OrderStatus, Trouble
from domain.risk.kill import KillLevel
from domain.session.modes import ModeEvent
from domain.units import Qty
from messages import broker, orders, session
from messages.broker import BrokerOrder, BrokerRead
from supervision.turn import Turn


def on_broker_read(wiring: Wiring, turn: Turn[IBKRState], read: BrokerRead) -> None:
    """Have the ledger compare the broker's truth with ours."""
    state = turn.state
    if read.read_n != state.reading:
        return  # given up since, or of a link before
    state.reading, state.read = None, read
    state.positions = tuple(sorted((p.contract.con_id, p.qty) for p in read.positions))
    turn.tell("desk_ledger", session.Reconcile(session_epoch=state.session_epoch, read=read))
    turn.disarm(Timer.READ_BACK)
    turn.arm(Timer.RECONCILE, turn.now + wiring.rules.read_back_ms * MS)


def on_broker_read_failed(wiring: Wiring, turn: Turn[IBKRState], fact: broker.BrokerReadFailed) -> None:
    """Close the link: without a read-back nothing is known of what the broker holds."""
    if fact.read_n == turn.state.reading:
        lose(wiring, turn, f"read-back failed: {fact.why}")


def on_read_back_overdue(wiring: Wiring, turn: Turn[IBKRState]) -> None:
    """Close the link: it looks alive and does not answer."""
    if turn.state.reading is not None:
        lose(wiring, turn, "the read-back was not answered")


def on_reconcile_overdue(wiring: Wiring, turn: Turn[IBKRState]) -> None:
    """Read again: the ledger has not answered, and meanwhile what was read has grown old."""
    if turn.state.read is not None:
        turn.state.read = None
        start_read(wiring, turn)


def on_reconciled(wiring: Wiring, turn: Turn[IBKRState], fact: session.Reconciled) -> None:
    """Settle every order, cancel what nobody wants, halt on what is foreign; then exits and the warm-up may go on."""
    state, read = turn.state, turn.state.read
    if read is None:
        return  # an answer to a read-back that was given up
    is_first = not state.is_reconciled
    state.read, state.is_reconciled = None, True
    turn.disarm(Timer.RECONCILE)
    withdrawn = _settle(wiring, turn, read)
    _cancel_unwanted(wiring, turn, fact.cancel_refs if is_first else (), withdrawn)
    _halt_on_foreign(turn, fact)
    for con_id in state.con_ids:
        # positions reported since the read-back began may be newer than it: the latest word goes out
        report_position(wiring, turn, con_id, read.read_utc)
    state.read_utc = read.read_utc
    change_mode(wiring, turn, ModeEvent.RECONCILED, "reconciled")
    if is_first:
        # Only a link's first: a position asks about what it does not know on each, and every question is a read-back.
        finished = session.ReconcileFinished(
            session_epoch=state.session_epoch, positions=state.positions, read_utc=read.read_utc
        )
        turn.publish(finished)
    if state.is_read_wanted or state.queries:
        start_read(wiring, turn)


def _cancel_unwanted(
    wiring: Wiring, turn: Turn[IBKRState], cancel_refs: tuple[str, ...], withdrawn: frozenset[str]
) -> None:
    """Cancel what the ledger no longer wants, and every entry while the kill level is raised."""
    table = turn.state.table
    is_killed = turn.state.kill_level > KillLevel.RUNNING
    unwanted = [
        order
        for order in table
        if (order.order_ref in cancel_refs or (is_killed and not order.is_exit))
        and order.order_ref not in withdrawn
        and order.is_under_way
    ]
    withdraw_all(wiring, turn, unwanted)
    known = {order.order_ref for order in table}
    for order_ref in cancel_refs:
        if order_ref not in known:
            withdraw(wiring, turn, order_ref)


def _halt_on_foreign(turn: Turn[IBKRState], fact: session.Reconciled) -> None:
    """Raise what is not ours, or does not agree, once for as long as it stays the same."""
    seen = (
        *(f"position {p.contract.label} {p.qty:+d}" for p in fact.foreign_positions),
        *(f"order {ref or 'without a ref'}" for ref in fact.foreign_orders),
        *(f"mismatch {text}" for text in fact.mismatches),
    )
    is_news = bool(seen) and seen != turn.state.foreign
    turn.state.foreign = seen
    if is_news:
        halt(turn, "foreign", f"the broker's book is not ours: {'; '.join(seen)}")


# -- orders and queries -------------------------------------------------------------------------


def _settle(wiring: Wiring, turn: Turn[IBKRState], read: BrokerRead) -> frozenset[str]:
    """Believe the read-back about every order, then answer the queries; return the references that were cancelled."""
    state, withdrawn = turn.state, set[str]()
    for order in state.table:
        settled = _settle_order(wiring, turn, order, read)
        if order.is_cancel_wanted and not settled.is_cancel_wanted:
            withdrawn.add(order.order_ref)
        state.keep(settled)
    state.used_refs |= {order.order_ref for order in read.orders if order.order_ref}
    due = [query for query in state.queries if query.read_n <= read.read_n]
    state.queries = tuple(query for query in state.queries if query.read_n > read.read_n)
    for query in due:
        _answer(turn, query, read)
    return frozenset(withdrawn)


def _settle_order(wiring: Wiring, turn: Turn[IBKRState], order: Order, read: BrokerRead) -> Order:
    for execution in read.executions:
        if execution.order_ref == order.order_ref:
            order = order.executed(execution.exec_id, execution.revision, execution.qty)
    if order.stage is OrderStage.IN_DOUBT and read.read_n < order.doubt_n:
        return order
    found = _found(read, order.order_ref)
    if found is not None and found.is_working:
        return _settle_working(wiring, turn, order, found)
    if order.stage is OrderStage.ENDED:
        return order
    if found is not None or order.filled_qty:
        return _settle_ended(turn, order, found)
    if order.stage is OrderStage.MISSING:
        return order
    if order.trouble is not None and order.perm_id == 0:
        return reject(turn, order, order.trouble)
    given_up_utc = order.handed_utc + wiring.rules.abandon_wait_ms * MS
    if turn.now < given_up_utc:
        # bytes of a broken link may still arrive, so that "nowhere" is believed late only
        if order.stage is OrderStage.IN_DOUBT:
            turn.arm(Timer.READ_AGAIN, given_up_utc)
        return order
    turn.report(order.owner, orders.OrderNotFound(order_ref=order.order_ref, read_back_utc=read.read_utc))
    return order.after(OrderEvent.NOT_FOUND)


def _settle_working(wiring: Wiring, turn: Turn[IBKRState], was: Order, found: BrokerOrder) -> Order:
    if not was.perm_id:
        record_ids(turn, was.with_perm_id(found.perm_id), OrderStatus.WORKING)
    if was.stage is OrderStage.IN_DOUBT and was.trouble is not None:
        report_change_refused(turn, was, was.trouble)
    order = was.after(OrderEvent.FOUND_WORKING).with_perm_id(found.perm_id).without_trouble()
    order = order.with_terms(found.order_type, found.limit_ticks, found.qty)
    if was.stage is not OrderStage.WORKING:
        report_acknowledged(turn, order)
    if order.is_cancel_wanted:
        withdraw(wiring, turn, order.order_ref)
        order = order.marked_for_cancel(is_wanted=False)
    return order


def _settle_ended(turn: Turn[IBKRState], order: Order, found: BrokerOrder | None) -> Order:
    status = found.status if found is not None else OrderStatus.UNKNOWN
    if status is OrderStatus.INACTIVE and not order.filled_qty:
        return reject(turn, order, order.trouble or Trouble(0, "inactive"))
    ended = order.after(OrderEvent.ENDED)
    cause = OrderStatus.FILLED if order.filled_qty >= order.qty else status
    record_ids(turn, ended, cause)
    report_closed(turn, ended, cause.value, found.filled_qty if found is not None else ended.filled_qty)
    return ended


def _found(read: BrokerRead, order_ref: str) -> BrokerOrder | None:
    of_ref = [order for order in read.orders if order.order_ref == order_ref]
    return next((order for order in of_ref if order.is_working), of_ref[-1] if of_ref else None)


def _answer(turn: Turn[IBKRState], query: Query, read: BrokerRead) -> None:
    order_ref = query.order_ref
    found = _found(read, order_ref)
    fills = {e.exec_id: e for e in sorted(read.executions, key=lambda e: e.revision) if e.order_ref == order_ref}
    if found is None and not fills:
        turn.report(query.reply_to, orders.OrderNotFound(order_ref=order_ref, read_back_utc=read.read_utc))
        return
    filled_qty = Qty(sum(execution.qty for execution in fills.values()))
    answer = orders.OrderFound(
        order_ref=order_ref,
        perm_id=found.perm_id if found is not None else next(iter(fills.values())).perm_id,
        is_working=found is not None and found.is_working,
        filled_qty=filled_qty,
        qty=found.qty if found is not None else filled_qty,
        order_type=found.order_type if found is not None else None,
        limit_ticks=found.limit_ticks if found is not None else None,
        status=(found.status if found is not None else OrderStatus.UNKNOWN).value,
        read_back_utc=read.read_utc,
    )
    turn.report(query.reply_to, answer)
