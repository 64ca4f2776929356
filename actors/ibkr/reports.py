"""What is told of an order and of a holding, to the position that owns it and to the ledger."""

from __future__ import annotations

from msgspec.structs import replace

from actors.ibkr.state import IBKRState, Wiring
from domain.orders.table import Ending, Order, OrderStatus, Trouble
from domain.risk.reject import RejectCode
from domain.units import Qty, Ticks, Utc
from messages import broker, orders, positions
from messages.broker import ReadGroup
from supervision.turn import Turn


def report_placed(turn: Turn[IBKRState], order: Order, fact: broker.OrderSent | broker.OrderDenied) -> None:
    """Pass on to all that an order is for whether its bytes left."""
    for share in order.shares:
        turn.report(share.owner, replace(fact, order_ref=share.order_ref))


def report_denied(
    turn: Turn[IBKRState], to: str, order_ref: str, code: RejectCode, why: str, broker_qty: Qty | None = None
) -> None:
    """Report that an order was not sent; `broker_qty` is what the broker holds, where that is the reason."""
    turn.report(to, broker.OrderDenied(order_ref=order_ref, code=code, why=why, broker_qty=broker_qty))


def report_held(turn: Turn[IBKRState], to: str, order_ref: str) -> None:
    """Report that an exit is not sent now."""
    state = turn.state
    turn.report(to, orders.ExitHeld(order_ref=order_ref, mode=state.mode, allows_exits=state.allows_exits))


def report_change_refused(turn: Turn[IBKRState], order: Order, trouble: Trouble) -> None:
    """Report that a change was refused and the order stands, to everybody where it was the broker who refused."""
    if trouble.vendor_code:
        _publish_refusal(turn, order, trouble)
    for share in order.shares:
        refused = orders.ModifyRefused(order_ref=share.order_ref, vendor_code=trouble.vendor_code, text=trouble.text)
        turn.report(share.owner, refused)


def report_acknowledged(turn: Turn[IBKRState], order: Order) -> None:
    """Report that the broker has the order as it stands."""
    for share in order.shares:
        acknowledged = orders.OrderAcknowledged(
            order_ref=share.order_ref, perm_id=order.perm_id, order_type=order.order_type,
            limit_ticks=_own_limit_ticks(order),
        )  # fmt: skip
        turn.report(share.owner, acknowledged)


def _own_limit_ticks(order: Order) -> Ticks | None:
    """Return the limit of an order; that of a combination is no leg's."""
    return None if order.legs else order.limit_ticks


def report_closed(turn: Turn[IBKRState], order: Order, cause: str, reported_qty: Qty) -> None:
    """Report that an order ended, with the most that is known to have filled."""
    for share in order.shares:
        total = max(order.filled_of(share), Qty(reported_qty * share.ratio))
        turn.report(share.owner, orders.OrderClosed(order_ref=share.order_ref, cause=cause, filled_qty_total=total))


def report_missing(turn: Turn[IBKRState], order: Order, read_utc: Utc) -> None:
    """Report that the broker knows nothing of an order."""
    for share in order.shares:
        turn.report(share.owner, orders.OrderNotFound(order_ref=share.order_ref, read_back_utc=read_utc))


def tell_ending(turn: Turn[IBKRState], order: Order, ending: Ending, claimed_qty: Qty | None = None) -> Order:
    """Report an end that was to be confirmed, and return the order without it; `claimed_qty`: what a row says."""
    report_closed(turn, order, ending.status.value, max(ending.filled_qty, claimed_qty or Qty(0)))
    return order.with_ending(None)


def reject(turn: Turn[IBKRState], order: Order, trouble: Trouble) -> Order:
    """Return an order that the broker refused as ended, and report it."""
    ended = order.ended(turn.state.next_read_n)
    record_ids(turn, ended, OrderStatus.INACTIVE)
    _publish_refusal(turn, order, trouble)
    for share in order.shares:
        rejected = orders.OrderRejected(order_ref=share.order_ref, vendor_code=trouble.vendor_code, text=trouble.text)
        turn.report(share.owner, rejected)
    return ended


def _publish_refusal(turn: Turn[IBKRState], order: Order, trouble: Trouble) -> None:
    refused = orders.BrokerRefused(
        order_ref=order.order_ref, is_exit=order.is_exit, vendor_code=trouble.vendor_code, text=trouble.text,
        at_utc=turn.now,
    )  # fmt: skip
    turn.publish(refused)


def record_ids(turn: Turn[IBKRState], order: Order, status: OrderStatus, by: str = "broker") -> None:
    """Have the ledger keep the broker's id, the status and the limit, and who told them."""
    for share in order.shares:
        ids = orders.RecordOrderIds(
            order_ref=share.order_ref, perm_id=order.perm_id, status=status.value, limit_ticks=_own_limit_ticks(order),
            by=by,
        )  # fmt: skip
        turn.tell("desk_ledger", ids)


def report_position(
    wiring: Wiring, turn: Turn[IBKRState], con_id: int, read_utc: Utc, *, is_taken_back: bool = False
) -> None:
    """Tell a position what the broker holds of its contract, as last reported."""
    told = positions.BrokerPositionRead(
        con_id=con_id, qty=turn.state.position(con_id), read_utc=read_utc,
        has_executions=all(failure.group is not ReadGroup.EXECUTIONS for failure in turn.state.failed),
        is_taken_back=is_taken_back,
    )  # fmt: skip
    turn.report(wiring.position(con_id), told)
