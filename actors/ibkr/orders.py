"""What positions ask for: orders to send, to change and to cancel, and what the broker knows of one."""

from __future__ import annotations

from collections.abc import Iterable

from actors.ibkr.read_back import start_read
from actors.ibkr.reports import report_change_refused, report_closed, report_denied, report_held
from actors.ibkr.state import IBKRState, Query, Wiring
from domain.instruments import OrderType, Side
from domain.orders.intent import Permit
from domain.orders.request import OrderChange, OrderRequest
from domain.orders.table import Order, OrderStage, Trouble, find, selling_qty, working_exit
from domain.risk.kill import KillLevel
from domain.risk.reject import REFUSED_IN_MODE, RejectCode
from domain.session.modes import ALLOWS_ENTRIES, ALLOWS_EXITS
from domain.units import Qty
from messages import broker, orders
from supervision.turn import Turn


def submit_order(wiring: Wiring, turn: Turn[IBKRState], command: orders.SubmitOrder) -> None:
    """Send a new order, refuse it with a code, or hold an exit until the mode allows it."""
    state, order = turn.state, command.order
    if order.order_ref in state.used_refs:
        report_denied(turn, command.reply_to, order.order_ref, RejectCode.DUPLICATE_REF, "this ref was used before")
    elif turn.now > order.deadline_utc:
        report_denied(turn, command.reply_to, order.order_ref, RejectCode.DEADLINE_PASSED, "came after its deadline")
    elif order.is_exit:
        _submit_exit(wiring, turn, command)
    else:
        code = _permit_fault(turn, command.permit)
        if code is not None:
            report_denied(turn, command.reply_to, order.order_ref, code, f"mode {state.mode.value}")
        else:
            assert command.permit is not None
            _place(wiring, turn, order, command.reply_to, command.permit.kill_epoch)


def _submit_exit(wiring: Wiring, turn: Turn[IBKRState], command: orders.SubmitOrder) -> None:
    order, con_id = command.order, command.order.contract.con_id
    under_way = working_exit(turn.state.table, con_id)
    is_in_doubt = under_way is not None and under_way.stage is OrderStage.IN_DOUBT
    if turn.state.mode not in ALLOWS_EXITS or is_in_doubt:
        report_held(turn, command.reply_to, order.order_ref)
        return
    if under_way is not None:
        why: str | None = f"exit order {under_way.order_ref} works"
    else:
        why = _oversell(turn.state, con_id, order.side, order.qty, command.held_qty)
    if why is not None:
        report_denied(turn, command.reply_to, order.order_ref, RejectCode.EXIT_OVERSELL, why)
        start_read(wiring, turn)
        return
    _place(wiring, turn, order, command.reply_to, turn.state.kill_epoch)


def _place(wiring: Wiring, turn: Turn[IBKRState], order: OrderRequest, owner: str, kill_epoch: int) -> None:
    state, con_id = turn.state, order.contract.con_id
    state.keep(
        Order(
            order_ref=order.order_ref, con_id=con_id, owner=owner, side=order.side, is_exit=order.is_exit,
            qty=order.qty, order_type=order.order_type, limit_ticks=order.limit_ticks, handed_utc=turn.now,
        )
    )  # fmt: skip
    state.used_refs |= {order.order_ref}
    state.follow_contract(con_id)
    turn.tell(wiring.port, broker.PlaceOrder(order=order, session_epoch=state.session_epoch, kill_epoch=kill_epoch))


def modify_order(wiring: Wiring, turn: Turn[IBKRState], command: orders.ModifyOrder) -> None:
    """Change a working order; what cannot be changed now is refused (entries) or held (exits), the order stands."""
    state, change = turn.state, command.change
    order = find(state.table, change.order_ref)
    if order is None or order.stage is OrderStage.MISSING:
        ask_broker(wiring, turn, change.order_ref, command.reply_to)
        return
    if order.stage is OrderStage.ENDED:
        report_closed(turn, order, "ended before the change", order.filled_qty)
        return
    if change.is_exit and (order.stage is OrderStage.IN_DOUBT or state.mode not in ALLOWS_EXITS):
        report_held(turn, order.owner, order.order_ref)
        return
    code = _change_fault(turn, order, change, command.permit)
    if code is not None:
        report_change_refused(turn, order, Trouble(0, code.value))
        return
    kill_epoch = command.permit.kill_epoch if command.permit is not None else state.kill_epoch
    turn.tell(wiring.port, broker.AmendOrder(change=change, session_epoch=state.session_epoch, kill_epoch=kill_epoch))


def cancel_order(wiring: Wiring, turn: Turn[IBKRState], command: orders.CancelOrder) -> None:
    """Cancel an order; while it is in doubt or the link is down, the read-back to come does it."""
    order = find(turn.state.table, command.order_ref)
    if order is None or order.stage is OrderStage.MISSING:
        ask_broker(wiring, turn, command.order_ref, command.reply_to)
    elif order.stage is OrderStage.ENDED:
        report_closed(turn, order, "ended before the cancel", order.filled_qty)
    else:
        withdraw_all(wiring, turn, (order,))


def ask_broker(wiring: Wiring, turn: Turn[IBKRState], order_ref: str, reply_to: str) -> None:
    """Answer what the broker knows of an order from the next read-back that begins after now."""
    turn.state.queries = (*turn.state.queries, Query(order_ref, reply_to, turn.state.read_n + 1))
    start_read(wiring, turn)


def withdraw_all(wiring: Wiring, turn: Turn[IBKRState], wanted: Iterable[Order]) -> None:
    """Cancel these orders, each now or as soon as a read-back has found it working."""
    for order in wanted:
        if turn.state.link.is_up and order.stage is not OrderStage.IN_DOUBT:
            withdraw(wiring, turn, order.order_ref)
        else:
            turn.state.keep(order.marked_for_cancel())


def withdraw(wiring: Wiring, turn: Turn[IBKRState], order_ref: str) -> None:
    """Cancel an order at the broker."""
    turn.tell(wiring.port, broker.WithdrawOrder(order_ref=order_ref, session_epoch=turn.state.session_epoch))


# -- what forbids it ----------------------------------------------------------------------------


def _permit_fault(turn: Turn[IBKRState], permit: Permit | None) -> RejectCode | None:
    state = turn.state
    if state.mode not in ALLOWS_ENTRIES:
        return REFUSED_IN_MODE[state.mode]
    if permit is None or turn.now > permit.expires_utc:
        return RejectCode.PERMIT_EXPIRED
    if state.kill_level > KillLevel.RUNNING or permit.kill_epoch < state.kill_epoch:
        return RejectCode.PERMIT_KILLED
    if permit.session_epoch != state.session_epoch:
        return RejectCode.PERMIT_SESSION
    return None


def _change_fault(turn: Turn[IBKRState], order: Order, change: OrderChange, permit: Permit | None) -> RejectCode | None:
    if turn.now > change.deadline_utc:
        return RejectCode.DEADLINE_PASSED
    if change.is_exit:
        more_qty, held_qty = change.qty - order.qty, abs(turn.state.position(order.con_id))
        if more_qty > 0 and _oversell(turn.state, order.con_id, order.side, more_qty, held_qty) is not None:
            return RejectCode.EXIT_OVERSELL
        return None
    if order.stage is OrderStage.IN_DOUBT:
        return RejectCode.EXIT_UNRECONCILED
    return _permit_fault(turn, permit) if _is_raised(order, change) else None


def _is_raised(order: Order, change: OrderChange) -> bool:
    if change.qty > order.qty or change.order_type is OrderType.MARKET or change.limit_ticks is None:
        return True
    if order.limit_ticks is None:
        return True
    is_buy = order.side is Side.BUY
    return change.limit_ticks > order.limit_ticks if is_buy else change.limit_ticks < order.limit_ticks


def _oversell(state: IBKRState, con_id: int, side: Side, qty: Qty, held_qty: Qty) -> str | None:
    """Return why this much more may not be sold (or bought back); `None` if it may."""
    is_sell = side is Side.SELL
    broker_qty = state.position(con_id) if is_sell else -state.position(con_id)
    on_sale_qty = selling_qty(state.table, con_id) if is_sell else Qty(0)
    if on_sale_qty + qty <= min(held_qty, broker_qty):
        return None
    return f"{on_sale_qty} on sale and {qty} more, held {held_qty} by the ledger and {broker_qty} by the broker"
