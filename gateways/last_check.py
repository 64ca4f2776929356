"""The last check before an order is written: the same for every broker, on the thread that writes."""

from __future__ import annotations

from domain.instants import MS
from domain.orders.request import OrderChange, OrderRequest
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.units import Utc
from messages.broker import AmendOrder, LatchKill, PlaceOrder

Fault = tuple[RejectCode, str]
NO_LINK: Fault = (RejectCode.NOT_CONNECTED, "there is no link to the broker")


def order_of(command: PlaceOrder | AmendOrder) -> OrderRequest | OrderChange:
    """Return the order or the change that a command wants written."""
    return command.order if isinstance(command, PlaceOrder) else command.change


def last_check(
    command: PlaceOrder | AmendOrder, now: Utc, session_epoch: int, latch: LatchKill, refused: str | None
) -> Fault | None:
    """Return what forbids the write now: epoch, deadline, good-till, for entries the latch; else `None`.

    `refused` is why the process takes no entries any more, `None` while it does.
    """
    order = order_of(command)
    if command.session_epoch != session_epoch:
        return RejectCode.PERMIT_SESSION, f"session epoch {command.session_epoch}, now {session_epoch}"
    if (late_ms := (now - order.deadline_utc) // MS) > 0:
        return RejectCode.DEADLINE_PASSED, f"{late_ms} ms late at the socket"
    till = order.good_till_utc if isinstance(order, OrderRequest) else None
    if till is not None and till <= now:
        return RejectCode.DEADLINE_PASSED, "its good-till has passed"
    if order.is_exit:
        return None
    if refused is not None:
        return RejectCode.PERMIT_KILLED, refused
    if latch.level > KillLevel.RUNNING or command.kill_epoch < latch.kill_epoch:
        return RejectCode.PERMIT_KILLED, f"kill level {latch.level}, epoch {latch.kill_epoch}"
    return None
