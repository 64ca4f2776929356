"""Our own table of orders, keyed by our order ref and the broker's perm id: what we believe, and what we doubt.

Executions and read-backs are the truth, statuses are hints. An order about which an error came, or that was under way
when the link was lost, is in doubt until a read-back that began after the doubt has spoken.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.instruments import OrderType, Side


class OrderStatus(StrEnum):
    """What the broker calls an order, in our own words."""

    PENDING = "pending"
    WORKING = "working"
    CANCELLING = "cancelling"
    FILLED = "filled"
    CANCELLED = "cancelled"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


class CodeMeaning(StrEnum):
    """What a broker's error or notice means for us."""

    INFORMATIONAL = "informational"
    DATA = "data"
    ORDER_REFUSED = "order_refused"  # a new order is dead; a working one has refused a change, so it is in doubt
    ORDER_REJECTED = "order_rejected"  # a new order is dead once its status is inactive; a working one is in doubt
    ORDER_CANCELLED = "order_cancelled"
    ORDER_UNKNOWN = "order_unknown"  # ask the broker; never "cancelled"
    LINK = "link"


class Stage(StrEnum):
    """Where an order is."""

    HANDED = "handed"  # given to the port
    SENT = "sent"  # bytes left
    WORKING = "working"
    IN_DOUBT = "in_doubt"
    MISSING = "missing"  # the broker knows nothing of it, long after it was sent
    ENDED = "ended"


class OrderEvent(StrEnum):
    """What can happen to an order."""

    WRITTEN = "written"
    DENIED = "denied"  # never reached the socket
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    DOUBTED = "doubted"
    ENDED = "ended"
    FOUND_WORKING = "found_working"  # by a read-back
    NOT_FOUND = "not_found"  # by a read-back, `abandon_wait` after it was sent


_CLEARED = "only a read-back clears a doubt"
_OVER = "the order is over"

TRANSITIONS: dict[tuple[Stage, OrderEvent], Stage] = {
    (Stage.HANDED, OrderEvent.WRITTEN): Stage.SENT,
    (Stage.HANDED, OrderEvent.DENIED): Stage.ENDED,
    (Stage.HANDED, OrderEvent.ACKNOWLEDGED): Stage.WORKING,
    (Stage.HANDED, OrderEvent.REFUSED): Stage.ENDED,
    (Stage.HANDED, OrderEvent.DOUBTED): Stage.IN_DOUBT,
    (Stage.HANDED, OrderEvent.ENDED): Stage.ENDED,
    (Stage.HANDED, OrderEvent.FOUND_WORKING): Stage.WORKING,
    (Stage.HANDED, OrderEvent.NOT_FOUND): Stage.MISSING,
    (Stage.SENT, OrderEvent.ACKNOWLEDGED): Stage.WORKING,
    (Stage.SENT, OrderEvent.REFUSED): Stage.ENDED,
    (Stage.SENT, OrderEvent.DOUBTED): Stage.IN_DOUBT,
    (Stage.SENT, OrderEvent.ENDED): Stage.ENDED,
    (Stage.SENT, OrderEvent.FOUND_WORKING): Stage.WORKING,
    (Stage.SENT, OrderEvent.NOT_FOUND): Stage.MISSING,
    (Stage.WORKING, OrderEvent.REFUSED): Stage.IN_DOUBT,
    (Stage.WORKING, OrderEvent.DOUBTED): Stage.IN_DOUBT,
    (Stage.WORKING, OrderEvent.ENDED): Stage.ENDED,
    (Stage.WORKING, OrderEvent.NOT_FOUND): Stage.MISSING,
    (Stage.IN_DOUBT, OrderEvent.ENDED): Stage.ENDED,
    (Stage.IN_DOUBT, OrderEvent.FOUND_WORKING): Stage.WORKING,
    (Stage.IN_DOUBT, OrderEvent.NOT_FOUND): Stage.MISSING,
    (Stage.MISSING, OrderEvent.ACKNOWLEDGED): Stage.WORKING,
    (Stage.MISSING, OrderEvent.ENDED): Stage.ENDED,
    (Stage.MISSING, OrderEvent.FOUND_WORKING): Stage.WORKING,
    (Stage.ENDED, OrderEvent.FOUND_WORKING): Stage.WORKING,
}

IGNORED: dict[tuple[Stage, OrderEvent], str] = {
    (Stage.SENT, OrderEvent.WRITTEN): "bytes of a change",
    (Stage.SENT, OrderEvent.DENIED): "a change was denied; the order stands",
    (Stage.WORKING, OrderEvent.WRITTEN): "bytes of a change",
    (Stage.WORKING, OrderEvent.DENIED): "a change was denied; the order stands",
    (Stage.WORKING, OrderEvent.ACKNOWLEDGED): "works already",
    (Stage.WORKING, OrderEvent.FOUND_WORKING): "works already",
    (Stage.IN_DOUBT, OrderEvent.WRITTEN): _CLEARED,
    (Stage.IN_DOUBT, OrderEvent.DENIED): _CLEARED,
    (Stage.IN_DOUBT, OrderEvent.ACKNOWLEDGED): _CLEARED,
    (Stage.IN_DOUBT, OrderEvent.REFUSED): _CLEARED,
    (Stage.IN_DOUBT, OrderEvent.DOUBTED): "in doubt already",
    (Stage.MISSING, OrderEvent.WRITTEN): "bytes that led nowhere",
    (Stage.MISSING, OrderEvent.DENIED): "given up already",
    (Stage.MISSING, OrderEvent.REFUSED): "given up already",
    (Stage.MISSING, OrderEvent.DOUBTED): "given up already; a later word of the broker brings it back",
    (Stage.MISSING, OrderEvent.NOT_FOUND): "given up already",
    (Stage.ENDED, OrderEvent.WRITTEN): _OVER,
    (Stage.ENDED, OrderEvent.DENIED): _OVER,
    (Stage.ENDED, OrderEvent.ACKNOWLEDGED): "a status that came late; only a read-back brings an order back",
    (Stage.ENDED, OrderEvent.REFUSED): _OVER,
    (Stage.ENDED, OrderEvent.DOUBTED): _OVER,
    (Stage.ENDED, OrderEvent.ENDED): _OVER,
    (Stage.ENDED, OrderEvent.NOT_FOUND): _OVER,
}

UNDER_WAY = frozenset({Stage.HANDED, Stage.SENT, Stage.WORKING, Stage.IN_DOUBT})


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order of ours.

    `qty` is the total, what is filled included; `handed_utc` when it was given to the port; `executions` are (exec id
    base, revision, qty), highest revision each; `doubt_n` is the first read-back that may clear a doubt and `trouble`
    the broker's code and text behind it.
    """

    order_ref: str
    con_id: int
    owner: str
    side: Side
    is_exit: bool
    qty: int
    order_type: OrderType | None = None
    limit_ticks: int | None = None
    perm_id: int = 0
    stage: Stage = Stage.HANDED
    handed_utc: int
    executions: tuple[tuple[str, int, int], ...] = ()
    doubt_n: int = 0
    trouble: tuple[int, str] | None = None
    is_inactive: bool = False
    is_cancel_wanted: bool = False

    @property
    def filled_qty(self) -> int:
        """What the executions heard add up to."""
        return sum(qty for _, _, qty in self.executions)

    @property
    def is_under_way(self) -> bool:
        """Tell whether the order may still fill."""
        return self.stage in UNDER_WAY


Table = tuple[Order, ...]


def find(table: Table, order_ref: str) -> Order | None:
    """Give the order of a ref; `None` if there is none."""
    return next((order for order in table if order.order_ref == order_ref), None)


def put(table: Table, order: Order) -> Table:
    """Give the table with this order in place of the one of the same ref (or added)."""
    if find(table, order.order_ref) is None:
        return (*table, order)
    return tuple(order if old.order_ref == order.order_ref else old for old in table)


def moved(order: Order, event: OrderEvent) -> Order:
    """Give the order after an event; the same one where the table ignores the event."""
    stage = TRANSITIONS.get((order.stage, event))
    return order if stage is None else msgspec.structs.replace(order, stage=stage)


def doubted(order: Order, clear_n: int, trouble: tuple[int, str] | None = None) -> Order:
    """Give the order in doubt until read-back `clear_n`; only an order under way can be."""
    after = moved(order, OrderEvent.DOUBTED)
    if after.stage is not Stage.IN_DOUBT:
        return after
    return msgspec.structs.replace(after, doubt_n=max(clear_n, order.doubt_n), trouble=trouble or order.trouble)


def executed(order: Order, exec_id: str, revision: int, qty: int) -> Order:
    """Give the order with an execution counted once, at its highest revision."""
    known = next((row for row in order.executions if row[0] == exec_id), None)
    if known is not None and known[1] >= revision:
        return order
    rest = tuple(row for row in order.executions if row[0] != exec_id)
    return msgspec.structs.replace(order, executions=(*rest, (exec_id, revision, qty)))


def working_exit(table: Table, con_id: int) -> Order | None:
    """Give the exit order of a contract that may still fill; there is at most one."""
    return next((o for o in table if o.con_id == con_id and o.is_exit and o.is_under_way), None)


def selling_qty(table: Table, con_id: int) -> int:
    """Give what the sell orders under way may still sell of a contract."""
    return sum(o.qty - o.filled_qty for o in table if o.con_id == con_id and o.side is Side.SELL and o.is_under_way)
