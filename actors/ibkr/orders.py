"""The order half of the broker session's actor: what is sent, what the broker says of it, what a read-back settles."""

from __future__ import annotations

from actors.ibkr.state import OWN_REF, IbkrState, Link, Step, Wiring, replace, start_read, with_position, withdraw
from domain.instants import MS
from domain.instruments import OrderType, Side
from domain.orders.table import (
    CodeMeaning,
    Order,
    OrderEvent,
    OrderStatus,
    Stage,
    doubted,
    executed,
    find,
    moved,
    put,
    selling_qty,
    working_exit,
)
from domain.risk.reject import RejectCode
from domain.session.modes import ALLOWS_ENTRIES, ALLOWS_EXITS, Mode
from messages import orders as m
from messages.positions import ExitHeld
from supervision.effects import Effect, Effects, SetTimer, Tell

MODE_CODES = {
    Mode.DATA_ONLY: RejectCode.MODE_DATA_ONLY,
    Mode.DEGRADED: RejectCode.MODE_DEGRADED,
    Mode.WARMUP: RejectCode.MODE_WARMUP,
}
IN_DOUBT = "in_doubt"


# -- what positions ask for ---------------------------------------------------------------------


def submit(wiring: Wiring, state: IbkrState, wish: m.SubmitOrder, now: int) -> Step:
    """Send a new order, refuse it with a code, or hold an exit until the mode allows it."""
    if wish.order_ref in state.seen:
        return state, (_denied(wish.reply_to, wish.order_ref, RejectCode.DUPLICATE_REF, "this ref was used before"),)
    if now > wish.deadline_utc:
        return state, (_denied(wish.reply_to, wish.order_ref, RejectCode.DEADLINE_PASSED, "came after its deadline"),)
    kill_epoch = state.kill_epoch
    if wish.is_exit:
        if _is_exit_held(state, wish.contract.con_id):
            return state, (_held(state, wish.reply_to, wish.order_ref),)
        under_way = working_exit(state.table, wish.contract.con_id)
        why = f"exit order {under_way.order_ref} works" if under_way is not None else None
        why = why or _oversell(state, wish.contract.con_id, wish.side, wish.qty, wish.held_qty)
        if why is not None:
            state, effects = start_read(wiring, state, now)
            return state, (_denied(wish.reply_to, wish.order_ref, RejectCode.EXIT_OVERSELL, why), *effects)
    else:
        code = _permit_fault(state, wish.permit, now)
        if code is not None:
            return state, (_denied(wish.reply_to, wish.order_ref, code, f"mode {state.mode.value}"),)
        assert wish.permit is not None
        kill_epoch = wish.permit.kill_epoch
    order = Order(
        order_ref=wish.order_ref, con_id=wish.contract.con_id, owner=wish.reply_to, side=wish.side,
        is_exit=wish.is_exit, qty=wish.qty, order_type=wish.order_type, limit_ticks=wish.limit_ticks, handed_utc=now,
    )  # fmt: skip
    place = m.PlaceOrder(
        order_ref=wish.order_ref, session_epoch=state.session_epoch, kill_epoch=kill_epoch, contract=wish.contract,
        side=wish.side, qty=wish.qty, order_type=wish.order_type, limit_ticks=wish.limit_ticks,
        aux_ticks=wish.aux_ticks, is_exit=wish.is_exit, deadline_utc=wish.deadline_utc,
    )  # fmt: skip
    con_ids = tuple(sorted({*state.con_ids, order.con_id}))
    state = replace(state, table=put(state.table, order), seen=state.seen | {order.order_ref}, con_ids=con_ids)
    return state, (Tell(wiring.port, place),)


def modify(wiring: Wiring, state: IbkrState, wish: m.ModifyOrder, now: int) -> Step:
    """Change a working order; what cannot be changed now is refused (entries) or held (exits), the order stands."""
    order = find(state.table, wish.order_ref)
    if order is None or order.stage is Stage.MISSING:
        return query(wiring, state, wish.order_ref, wish.reply_to, now)
    if order.stage is Stage.ENDED:
        return state, (closed(order, "ended before the change"),)
    if wish.is_exit and (order.stage is Stage.IN_DOUBT or state.mode not in ALLOWS_EXITS):
        return state, (_held(state, order.owner, order.order_ref),)
    code: RejectCode | None = None
    if now > wish.deadline_utc:
        code = RejectCode.DEADLINE_PASSED
    elif wish.is_exit:
        grown, held = wish.qty - order.qty, abs(state.position(order.con_id))
        if grown > 0 and _oversell(state, order.con_id, order.side, grown, held) is not None:
            code = RejectCode.EXIT_OVERSELL
    elif order.stage is Stage.IN_DOUBT:
        code = RejectCode.EXIT_UNRECONCILED
    elif _is_raised(order, wish):
        code = _permit_fault(state, wish.permit, now)
    if code is not None:
        return state, (change_refused(order, 0, code.value),)
    amend = m.AmendOrder(
        order_ref=wish.order_ref, session_epoch=state.session_epoch, qty=wish.qty, order_type=wish.order_type,
        kill_epoch=wish.permit.kill_epoch if wish.permit is not None else state.kill_epoch,
        limit_ticks=wish.limit_ticks, is_exit=wish.is_exit, deadline_utc=wish.deadline_utc,
    )  # fmt: skip
    return state, (Tell(wiring.port, amend),)


def cancel(wiring: Wiring, state: IbkrState, wish: m.CancelOrder, now: int) -> Step:
    """Cancel an order; while it is in doubt or the link is down, the read-back to come does it."""
    order = find(state.table, wish.order_ref)
    if order is None or order.stage is Stage.MISSING:
        return query(wiring, state, wish.order_ref, wish.reply_to, now)
    if order.stage is Stage.ENDED:
        return state, (closed(order, "ended before the cancel"),)
    return withdraw_all(wiring, state, (order,))


def withdraw_all(wiring: Wiring, state: IbkrState, wanted: tuple[Order, ...]) -> Step:
    """Cancel these orders, each now or as soon as a read-back has found it working."""
    effects: list[Effect] = []
    for order in wanted:
        if state.link is Link.UP and order.stage is not Stage.IN_DOUBT:
            effects.append(withdraw(wiring, state, order.order_ref))
        else:
            state = keep(state, replace(order, is_cancel_wanted=True))
    return state, tuple(effects)


def query(wiring: Wiring, state: IbkrState, order_ref: str, reply_to: str, now: int) -> Step:
    """Answer from the next read-back that begins after now."""
    queries = (*state.queries, (order_ref, reply_to, state.read_n + 1))
    return start_read(wiring, replace(state, queries=queries), now)


# -- what the port and the broker say -----------------------------------------------------------


def sent(state: IbkrState, fact: m.OrderSent) -> Step:
    """Pass on that a new order's bytes left."""
    order = find(state.table, fact.order_ref)
    if order is None or order.stage is not Stage.HANDED:
        return state, ()
    return keep(state, moved(order, OrderEvent.WRITTEN)), (Tell(order.owner, fact),)


def denied(state: IbkrState, fact: m.OrderDenied) -> Step:
    """Pass on that the port's last check refused an order, or a change of one that stands."""
    order = find(state.table, fact.order_ref)
    if order is None:
        return state, ()
    if order.stage is Stage.HANDED:
        return keep(state, moved(order, OrderEvent.DENIED)), (Tell(order.owner, fact),)
    return state, (change_refused(order, 0, f"{fact.code.value}: {fact.why}"),)


def status_heard(wiring: Wiring, state: IbkrState, fact: m.StatusHeard, now: int) -> Step:
    """Take a status as the hint it is: acknowledge, close, or doubt."""
    order = find(state.table, fact.order_ref)
    if order is None or fact.session_epoch != state.session_epoch:
        return state, ()
    status = OrderStatus(fact.status)
    effects: list[Effect] = []
    if fact.perm_id and order.perm_id and fact.perm_id != order.perm_id:
        return _doubt(wiring, state, order, (0, f"two perm ids: {order.perm_id} and {fact.perm_id}"), now)
    if fact.perm_id and not order.perm_id:
        order = replace(order, perm_id=fact.perm_id)
        effects.append(ids(order, status))
    if status in (OrderStatus.WORKING, OrderStatus.PENDING) and order.perm_id:
        order, told = _acknowledged(order, fact)
        effects += told
    elif status is OrderStatus.FILLED or (status is OrderStatus.CANCELLED and order.stage is not Stage.IN_DOUBT):
        if order.is_under_way or order.stage is Stage.MISSING:
            effects += (ids(order, status), closed(order, status.value, fact.filled_qty))
        order = moved(order, OrderEvent.ENDED)
    elif status is OrderStatus.INACTIVE and order.is_under_way:
        order = replace(order, is_inactive=True)
        if order.trouble is not None and order.filled_qty == 0 and order.stage is Stage.IN_DOUBT:
            order, told = rejected(order, order.trouble)
            effects += told
        else:
            effects.append(SetTimer(f"inactive:{order.order_ref}", now + wiring.rules.query_wait_ms * MS))
    return keep(state, order), tuple(effects)


def execution_heard(wiring: Wiring, state: IbkrState, fact: m.ExecutionHeard, now: int) -> Step:
    """Hand an execution to the ledger; one that is not ours is looked into by a read-back."""
    if not fact.order_ref.startswith(OWN_REF):
        return start_read(wiring, state, now)
    con_id = fact.contract.con_id
    effects: list[Effect] = [
        Tell(
            "desk_ledger",
            m.RecordExecution(
                exec_id=fact.exec_id, revision=fact.revision, order_ref=fact.order_ref, con_id=con_id, side=fact.side,
                qty=fact.qty, price_ticks=fact.price_ticks, at_utc=fact.at_utc, raw=fact.raw,
            ),
        )
    ]  # fmt: skip
    order = find(state.table, fact.order_ref)
    if order is not None:
        before = order.filled_qty
        order = executed(order, fact.exec_id, fact.revision, fact.qty)
        if order.side is Side.SELL and order.filled_qty != before:
            # the broker's own word replaces this estimate; until then no exit may sell the same contract again
            state = with_position(state, con_id, state.position(con_id) - (order.filled_qty - before))
        if order.filled_qty >= order.qty and (order.is_under_way or order.stage is Stage.MISSING):
            order = moved(order, OrderEvent.ENDED)
            effects.append(closed(order, OrderStatus.FILLED.value))
        state = keep(state, order)
    effects.append(SetTimer(f"agree:{con_id}", now + wiring.rules.query_wait_ms * MS))
    return replace(state, con_ids=tuple(sorted({*state.con_ids, con_id}))), tuple(effects)


def error_heard(wiring: Wiring, state: IbkrState, fact: m.ErrorHeard, now: int) -> Step:
    """Take a vendor code on an order by its meaning; what is not known for sure is asked, never assumed cancelled."""
    order = find(state.table, fact.order_ref) if fact.order_ref is not None else None
    if order is None or not order.is_under_way:
        return state, ()
    trouble = (fact.vendor_code, fact.text)
    match fact.meaning:
        case CodeMeaning.INFORMATIONAL | CodeMeaning.DATA | CodeMeaning.LINK:
            return state, ()
        case CodeMeaning.ORDER_REFUSED if moved(order, OrderEvent.REFUSED).stage is Stage.ENDED:
            order, effects = rejected(order, trouble)
            return keep(state, order), effects
        case CodeMeaning.ORDER_REJECTED if order.is_inactive and order.filled_qty == 0:
            order, effects = rejected(order, trouble)
            return keep(state, order), effects
    return _doubt(wiring, state, order, trouble, now)


def inactive_due(wiring: Wiring, state: IbkrState, order_ref: str, now: int) -> Step:
    """Look into an order that is inactive without a reason given."""
    order = find(state.table, order_ref)
    if order is None or not order.is_under_way:
        return state, ()
    return _doubt(wiring, state, order, None, now)


def doubt_all(state: IbkrState) -> IbkrState:
    """Put every order whose bytes left in doubt (the link was lost)."""
    table = tuple(
        doubted(order, state.read_n + 1) if order.stage in (Stage.SENT, Stage.WORKING) else order
        for order in state.table
    )
    return replace(state, table=table)


# -- parts --------------------------------------------------------------------------------------


def keep(state: IbkrState, order: Order) -> IbkrState:
    """Give the state with this order in its table."""
    return replace(state, table=put(state.table, order))


def _permit_fault(state: IbkrState, permit: m.Permit | None, now: int) -> RejectCode | None:
    if state.mode not in ALLOWS_ENTRIES:
        return MODE_CODES[state.mode]
    if permit is None or now > permit.expires_utc:
        return RejectCode.PERMIT_EXPIRED
    if state.kill_level >= 1 or permit.kill_epoch < state.kill_epoch:
        return RejectCode.PERMIT_KILLED
    if permit.session_epoch != state.session_epoch:
        return RejectCode.PERMIT_SESSION
    return None


def _is_raised(order: Order, wish: m.ModifyOrder) -> bool:
    if wish.qty > order.qty or wish.order_type is OrderType.MARKET or wish.limit_ticks is None:
        return True
    if order.limit_ticks is None:
        return True
    return wish.limit_ticks > order.limit_ticks if order.side is Side.BUY else wish.limit_ticks < order.limit_ticks


def _is_exit_held(state: IbkrState, con_id: int) -> bool:
    under_way = working_exit(state.table, con_id)
    return state.mode not in ALLOWS_EXITS or (under_way is not None and under_way.stage is Stage.IN_DOUBT)


def _oversell(state: IbkrState, con_id: int, side: Side, qty: int, held_qty: int) -> str | None:
    """Say why this much more may not be sold (or bought back); `None` if it may."""
    broker_qty = state.position(con_id) if side is Side.SELL else -state.position(con_id)
    selling = selling_qty(state.table, con_id) if side is Side.SELL else 0
    if selling + qty > min(held_qty, broker_qty):
        return f"{selling} on sale and {qty} more, held {held_qty} by the ledger and {broker_qty} by the broker"
    return None


def _acknowledged(order: Order, fact: m.StatusHeard) -> tuple[Order, Effects]:
    was = order
    order = moved(order, OrderEvent.ACKNOWLEDGED)
    if order.stage is not Stage.WORKING:
        return order, ()
    if fact.order_type is not None:
        order = replace(order, order_type=fact.order_type, limit_ticks=fact.limit_ticks, qty=fact.qty)
    is_news = (was.stage, was.order_type, was.limit_ticks, was.qty) != (
        order.stage, order.order_type, order.limit_ticks, order.qty,
    )  # fmt: skip
    return order, (acknowledgement(order),) if is_news else ()


def _doubt(wiring: Wiring, state: IbkrState, order: Order, trouble: tuple[int, str] | None, now: int) -> Step:
    return start_read(wiring, keep(state, doubted(order, state.read_n + 1, trouble)), now)


def rejected(order: Order, trouble: tuple[int, str]) -> tuple[Order, Effects]:
    """End an order that the broker refused."""
    code, text = trouble
    told = Tell(order.owner, m.OrderRejected(order_ref=order.order_ref, vendor_code=code, text=text))
    order = moved(order, OrderEvent.ENDED)
    return order, (ids(order, OrderStatus.INACTIVE), told)


def _denied(to: str, order_ref: str, code: RejectCode, why: str) -> Effect:
    return Tell(to, m.OrderDenied(order_ref=order_ref, code=code, why=why))


def _held(state: IbkrState, to: str, order_ref: str) -> Effect:
    mode = state.mode.value if state.mode not in ALLOWS_EXITS else IN_DOUBT
    return Tell(to, ExitHeld(order_ref=order_ref, mode=mode))


def change_refused(order: Order, code: int, text: str) -> Effect:
    """Say that a change was refused and the order stands."""
    return Tell(order.owner, m.ModifyRefused(order_ref=order.order_ref, vendor_code=code, text=text))


def closed(order: Order, cause: str, heard_qty: int = 0) -> Effect:
    """Say that an order ended, with the most that is known to have filled."""
    total = max(order.filled_qty, heard_qty)
    return Tell(order.owner, m.OrderClosed(order_ref=order.order_ref, cause=cause, filled_qty_total=total))


def acknowledgement(order: Order) -> Effect:
    """Say that the broker has the order as it stands."""
    return Tell(
        order.owner,
        m.OrderAcknowledged(
            order_ref=order.order_ref, perm_id=order.perm_id, order_type=order.order_type, limit_ticks=order.limit_ticks
        ),
    )


def ids(order: Order, status: OrderStatus) -> Effect:
    """Have the ledger keep the broker's id and the status."""
    ids = m.RecordOrderIds(order_ref=order.order_ref, perm_id=order.perm_id, status=status.value)
    return Tell("desk_ledger", ids)
