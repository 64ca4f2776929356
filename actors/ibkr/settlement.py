"""What a read-back settles: every order of ours is found working, ended, or nowhere, and queries get their answer."""

from __future__ import annotations

from actors.ibkr.orders import acknowledgement, change_refused, closed, ids, keep, rejected
from actors.ibkr.state import IbkrState, Step, Wiring, replace, withdraw
from domain.instants import MS
from domain.orders.table import Order, OrderEvent, OrderStatus, Stage, executed, moved
from messages import orders as m
from messages.session import BrokerOrder, BrokerRead
from supervision.effects import Effect, Effects, SetTimer, Tell


def settle(wiring: Wiring, state: IbkrState, read: BrokerRead, now: int) -> Step:
    """Believe the read-back: every order of ours found working, ended or nowhere; then answer the queries."""
    effects: list[Effect] = []
    for order in state.table:
        changed, told = _settled(wiring, state, order, read, now)
        state = keep(state, changed)
        effects += told
    state = replace(state, seen=state.seen | {o.order_ref for o in read.orders if o.order_ref})
    waiting = tuple(row for row in state.queries if row[2] > read.read_n)
    effects += [_answer(read, ref, reply_to) for ref, reply_to, n in state.queries if n <= read.read_n]
    return replace(state, queries=waiting), tuple(effects)


def _settled(wiring: Wiring, state: IbkrState, order: Order, read: BrokerRead, now: int) -> tuple[Order, Effects]:
    for execution in read.executions:
        if execution.order_ref == order.order_ref:
            order = executed(order, execution.exec_id, execution.revision, execution.qty)
    if order.stage is Stage.IN_DOUBT and read.read_n < order.doubt_n:
        return order, ()
    found = _found(read, order.order_ref)
    if found is not None and found.is_working:
        return _found_working(wiring, state, order, found)
    if not order.is_under_way and order.stage is not Stage.MISSING:
        return order, ()
    if found is not None or order.filled_qty:
        status = OrderStatus(found.status) if found is not None else OrderStatus.UNKNOWN
        if status is OrderStatus.INACTIVE and not order.filled_qty:
            return rejected(order, order.trouble or (0, "inactive"))
        order = moved(order, OrderEvent.ENDED)
        cause = OrderStatus.FILLED if order.filled_qty >= order.qty else status
        return order, (ids(order, cause), closed(order, cause.value, found.filled_qty if found else 0))
    if order.stage is Stage.MISSING:
        return order, ()
    if order.trouble is not None and order.perm_id == 0:
        return rejected(order, order.trouble)
    given_up_utc = order.handed_utc + wiring.rules.abandon_wait_ms * MS
    if now < given_up_utc:
        # bytes of a broken link may still arrive, so that "nowhere" is believed late only
        is_due = order.stage is Stage.IN_DOUBT
        return order, (SetTimer("reread", given_up_utc),) if is_due else ()
    answer = m.OrderNotFound(order_ref=order.order_ref, read_back_utc=read.read_utc)
    return moved(order, OrderEvent.NOT_FOUND), (Tell(order.owner, answer),)


def _found_working(wiring: Wiring, state: IbkrState, order: Order, found: BrokerOrder) -> tuple[Order, Effects]:
    was = order.stage
    effects: list[Effect] = []
    if not order.perm_id:
        effects.append(ids(replace(order, perm_id=found.perm_id), OrderStatus.WORKING))
    if was is Stage.IN_DOUBT and order.trouble is not None:
        effects.append(change_refused(order, *order.trouble))
    order = replace(
        moved(order, OrderEvent.FOUND_WORKING), perm_id=found.perm_id, qty=found.qty, order_type=found.order_type,
        limit_ticks=found.limit_ticks, trouble=None, is_inactive=False,
    )  # fmt: skip
    if was is not Stage.WORKING:
        effects.append(acknowledgement(order))
    if order.is_cancel_wanted:
        effects.append(withdraw(wiring, state, order.order_ref))
        order = replace(order, is_cancel_wanted=False)
    return order, tuple(effects)


def _found(read: BrokerRead, order_ref: str) -> BrokerOrder | None:
    of_ref = [order for order in read.orders if order.order_ref == order_ref]
    return next((order for order in of_ref if order.is_working), of_ref[-1] if of_ref else None)


def _answer(read: BrokerRead, order_ref: str, reply_to: str) -> Effect:
    found = _found(read, order_ref)
    fills = {e.exec_id: e for e in sorted(read.executions, key=lambda e: e.revision) if e.order_ref == order_ref}
    filled = sum(e.qty for e in fills.values())
    if found is None and not fills:
        return Tell(reply_to, m.OrderNotFound(order_ref=order_ref, read_back_utc=read.read_utc))
    perm_id = found.perm_id if found is not None else next(iter(fills.values())).perm_id
    return Tell(
        reply_to,
        m.OrderFound(
            order_ref=order_ref, perm_id=perm_id, is_working=found is not None and found.is_working,
            filled_qty=filled, qty=found.qty if found is not None else filled,
            order_type=found.order_type if found is not None else None,
            limit_ticks=found.limit_ticks if found is not None else None,
            status=found.status if found is not None else OrderStatus.UNKNOWN.value, read_back_utc=read.read_utc,
        ),
    )  # fmt: skip
