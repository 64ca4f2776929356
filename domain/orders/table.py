"""Our own table of orders, keyed by our order ref and the broker's perm id: what we believe, and what we doubt.

Executions and read-backs are the truth, statuses are hints. An order about which an error came, or that was under way
when the link was lost, is in doubt until a read-back that began after the doubt has settled it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from domain.fsm import Machine
from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.keyed import Keyed
from domain.orders.combo import COMBO_CON_ID
from domain.units import Qty, Ticks, Utc


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


class OrderStage(StrEnum):
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

ORDERS: Final = Machine(
    "Orders at the broker",
    transitions={
        (OrderStage.HANDED, OrderEvent.WRITTEN): OrderStage.SENT,
        (OrderStage.HANDED, OrderEvent.DENIED): OrderStage.ENDED,
        (OrderStage.HANDED, OrderEvent.ACKNOWLEDGED): OrderStage.WORKING,
        (OrderStage.HANDED, OrderEvent.REFUSED): OrderStage.ENDED,
        (OrderStage.HANDED, OrderEvent.DOUBTED): OrderStage.IN_DOUBT,
        (OrderStage.HANDED, OrderEvent.ENDED): OrderStage.ENDED,
        (OrderStage.HANDED, OrderEvent.FOUND_WORKING): OrderStage.WORKING,
        (OrderStage.HANDED, OrderEvent.NOT_FOUND): OrderStage.MISSING,
        (OrderStage.SENT, OrderEvent.ACKNOWLEDGED): OrderStage.WORKING,
        (OrderStage.SENT, OrderEvent.REFUSED): OrderStage.ENDED,
        (OrderStage.SENT, OrderEvent.DOUBTED): OrderStage.IN_DOUBT,
        (OrderStage.SENT, OrderEvent.ENDED): OrderStage.ENDED,
        (OrderStage.SENT, OrderEvent.FOUND_WORKING): OrderStage.WORKING,
        (OrderStage.SENT, OrderEvent.NOT_FOUND): OrderStage.MISSING,
        (OrderStage.WORKING, OrderEvent.REFUSED): OrderStage.IN_DOUBT,
        (OrderStage.WORKING, OrderEvent.DOUBTED): OrderStage.IN_DOUBT,
        (OrderStage.WORKING, OrderEvent.ENDED): OrderStage.ENDED,
        (OrderStage.WORKING, OrderEvent.NOT_FOUND): OrderStage.MISSING,
        (OrderStage.IN_DOUBT, OrderEvent.ENDED): OrderStage.ENDED,
        (OrderStage.IN_DOUBT, OrderEvent.FOUND_WORKING): OrderStage.WORKING,
        (OrderStage.IN_DOUBT, OrderEvent.NOT_FOUND): OrderStage.MISSING,
        (OrderStage.MISSING, OrderEvent.ACKNOWLEDGED): OrderStage.WORKING,
        (OrderStage.MISSING, OrderEvent.ENDED): OrderStage.ENDED,
        (OrderStage.MISSING, OrderEvent.FOUND_WORKING): OrderStage.WORKING,
        (OrderStage.ENDED, OrderEvent.FOUND_WORKING): OrderStage.WORKING,
    },
    ignored={
        (OrderStage.SENT, OrderEvent.WRITTEN): "bytes of a change",
        (OrderStage.SENT, OrderEvent.DENIED): "a change was denied; the order stands",
        (OrderStage.WORKING, OrderEvent.WRITTEN): "bytes of a change",
        (OrderStage.WORKING, OrderEvent.DENIED): "a change was denied; the order stands",
        (OrderStage.WORKING, OrderEvent.ACKNOWLEDGED): "works already",
        (OrderStage.WORKING, OrderEvent.FOUND_WORKING): "works already",
        (OrderStage.IN_DOUBT, OrderEvent.WRITTEN): _CLEARED,
        (OrderStage.IN_DOUBT, OrderEvent.DENIED): _CLEARED,
        (OrderStage.IN_DOUBT, OrderEvent.ACKNOWLEDGED): _CLEARED,
        (OrderStage.IN_DOUBT, OrderEvent.REFUSED): _CLEARED,
        (OrderStage.IN_DOUBT, OrderEvent.DOUBTED): "in doubt already",
        (OrderStage.MISSING, OrderEvent.WRITTEN): "bytes that led nowhere",
        (OrderStage.MISSING, OrderEvent.DENIED): "given up already",
        (OrderStage.MISSING, OrderEvent.REFUSED): "given up already",
        (OrderStage.MISSING, OrderEvent.DOUBTED): "given up already; a later report of the broker brings it back",
        (OrderStage.MISSING, OrderEvent.NOT_FOUND): "given up already",
        (OrderStage.ENDED, OrderEvent.WRITTEN): _OVER,
        (OrderStage.ENDED, OrderEvent.DENIED): _OVER,
        (OrderStage.ENDED, OrderEvent.ACKNOWLEDGED): "a status that came late; only a read-back brings an order back",
        (OrderStage.ENDED, OrderEvent.REFUSED): _OVER,
        (OrderStage.ENDED, OrderEvent.DOUBTED): _OVER,
        (OrderStage.ENDED, OrderEvent.ENDED): _OVER,
        (OrderStage.ENDED, OrderEvent.NOT_FOUND): _OVER,
    },
)

NO_PRICE: Final = Ticks(0)
UNDER_WAY: Final = frozenset({OrderStage.HANDED, OrderStage.SENT, OrderStage.WORKING, OrderStage.IN_DOUBT})


_DOUBTS_AT_ONCE: Final = 3
_DOUBT_PAUSE_NS, _DOUBT_PAUSE_MAX_NS = SECOND // 4, 5 * SECOND


def doubt_pause_ns(doubt_n: int) -> int:
    """Return how long the broker is not asked about an order that is doubted for this many times running, ns.

    The first doubts are asked about at once. An order that the broker calls working and yet refuses to change or to
    cancel would otherwise be asked about as fast as it answers, all day.
    """
    doubling = doubt_n - _DOUBTS_AT_ONCE - 1
    return 0 if doubling < 0 else min(_DOUBT_PAUSE_NS << min(doubling, 10), _DOUBT_PAUSE_MAX_NS)


class Trouble(msgspec.Struct, frozen=True):
    """The broker's code and text behind a doubt; code 0 where the doubt is our own.

    `is_refusal`: the code is known to refuse an order, so that one which is nowhere need not be waited for.
    """

    vendor_code: int
    text: str
    is_refusal: bool = False


class Terms(msgspec.Struct, frozen=True):
    """Type, price and total quantity of an order."""

    order_type: OrderType | None
    limit_ticks: Ticks | None
    qty: Qty


class Counted(msgspec.Struct, frozen=True):
    """An execution as it counts: its base id, the highest revision so far, and quantity and price of that revision.

    `con_id` is told of an order for a combination alone: which leg it is of, or `COMBO_CON_ID` of the whole.
    """

    exec_id: str
    revision: int
    qty: Qty
    price_ticks: Ticks = NO_PRICE
    con_id: int = 0


class Share(msgspec.Struct, frozen=True):
    """What an order is to a position: of one for a combination a leg of it, else all of it.

    `order_ref` is the reference under which `owner` knows it; `ratio` contracts go with each unit of the order, on
    `side`.
    """

    order_ref: str
    con_id: int
    owner: str
    side: Side
    ratio: int = 1


class Ending(msgspec.Struct, frozen=True):
    """An end as a status tells it, and how many contracts were filled by then."""

    status: OrderStatus
    filled_qty: Qty


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order of ours.

    `qty` is the total, what is filled included; `handed_utc` when it was given to the port; `settle_n` is the first
    read-back that may say what became of it: one that began earlier knows nothing of what was sent, doubted or ended
    since. `change` was sent and not confirmed; `cancel_n` is the first read-back after a cancel was sent (0: none was);
    `is_elsewhere`: it works under another client id, so we can neither change nor cancel it. `ending` is an end by the
    broker's status of which its position is told only after one more read-back (`None`: nothing is awaited).

    `doubt_n` counts the doubts of its own that it came into since anything of it was new: an execution, or a change
    that the broker confirmed.

    `legs` are those of an order for a combination, whose quantities count combinations and whose `con_id` is
    `COMBO_CON_ID`; it is only ever cancelled, never changed. `is_disputed`: its legs did not fill alike in time.
    """

    order_ref: str
    con_id: int
    owner: str
    side: Side
    is_exit: bool
    qty: Qty
    order_type: OrderType | None = None
    limit_ticks: Ticks | None = None
    perm_id: int = 0
    stage: OrderStage = OrderStage.HANDED
    handed_utc: Utc
    executions: tuple[Counted, ...] = ()
    settle_n: int = 0
    trouble: Trouble | None = None
    is_inactive: bool = False
    change: Terms | None = None
    is_cancel_wanted: bool = False
    cancel_n: int = 0
    is_elsewhere: bool = False
    ending: Ending | None = None
    doubt_n: int = 0
    legs: tuple[Share, ...] = ()
    is_disputed: bool = False

    @property
    def filled_qty(self) -> Qty:
        """What the executions reported add up to; of a combination those whose every leg is there."""
        if self.legs:
            return Qty(min(self.filled_of(leg) // leg.ratio for leg in self.legs))
        return Qty(sum(execution.qty for execution in self.executions))

    @property
    def shares(self) -> tuple[Share, ...]:
        """What the order is to each position that it trades for."""
        return self.legs or (Share(self.order_ref, self.con_id, self.owner, self.side),)

    @property
    def con_ids(self) -> tuple[int, ...]:
        """The contracts that it trades."""
        return tuple(leg.con_id for leg in self.legs) or (self.con_id,)

    @property
    def is_lopsided(self) -> bool:
        """Whether a leg has filled for other combinations than another one, or than the executions of the whole say."""
        if not self.legs:
            return False
        whole_qty = sum(execution.qty for execution in self.executions if execution.con_id == COMBO_CON_ID)
        most = max(whole_qty, *(-(-self.filled_of(leg) // leg.ratio) for leg in self.legs))
        return most > self.filled_qty

    def filled_of(self, share: Share) -> Qty:
        """Return how many contracts the executions reported show of a share."""
        return Qty(sum(execution.qty for execution in self._executions_of(share)))

    def filled_cost_ticks_of(self, share: Share) -> int:
        """Return quantity times price, over the executions reported of a share."""
        return sum(execution.qty * execution.price_ticks for execution in self._executions_of(share))

    def _executions_of(self, share: Share) -> tuple[Counted, ...]:
        if not self.legs:
            return self.executions
        return tuple(execution for execution in self.executions if execution.con_id == share.con_id)

    @property
    def most_qty(self) -> Qty:
        """The most that the order may fill in all: its total, or that of a change that was sent."""
        return max(self.qty, self.change.qty) if self.change is not None else self.qty

    @property
    def is_under_way(self) -> bool:
        """Whether the order may still fill."""
        return self.stage in UNDER_WAY

    def after(self, event: OrderEvent) -> Order:
        """Return the order after an event; the same one where the table ignores the event.

        Raises:
            IllegalTransition: the event cannot happen to an order in this stage.
        """
        return replace(self, stage=ORDERS.next(self.stage, event))

    def doubted(self, clear_n: int, trouble: Trouble | None = None) -> Order:
        """Return the order in doubt until read-back `clear_n`; only an order under way can be."""
        order = self.after(OrderEvent.DOUBTED)
        if order.stage is not OrderStage.IN_DOUBT:
            return order
        return replace(order, settle_n=max(clear_n, self.settle_n), trouble=trouble or self.trouble)

    def doubted_anew(self) -> Order:
        """Return the order with one more doubt of its own counted."""
        return replace(self, doubt_n=self.doubt_n + 1)

    def ended(self, settle_n: int) -> Order:
        """Return the order as over; only a read-back from `settle_n` on can bring it back."""
        return replace(self.after(OrderEvent.ENDED), settle_n=max(settle_n, self.settle_n), change=None)

    def with_ending(self, ending: Ending | None) -> Order:
        """Return the order with an end that is to be confirmed before it is told; `None`: with none."""
        return replace(self, ending=ending)

    def executed(
        self, exec_id: str, revision: int, qty: Qty, price_ticks: Ticks = NO_PRICE, con_id: int = 0
    ) -> Order:  # fmt: skip
        """Return the order with an execution counted once, at its highest revision."""
        known = next((counted for counted in self.executions if counted.exec_id == exec_id), None)
        if known is not None and known.revision >= revision:
            return self
        rest = tuple(counted for counted in self.executions if counted.exec_id != exec_id)
        counted = Counted(exec_id, revision, qty, price_ticks, con_id if self.legs else 0)
        return replace(self, executions=(*rest, counted), doubt_n=0)

    def with_perm_id(self, perm_id: int) -> Order:
        """Return the order with the broker's id."""
        return replace(self, perm_id=perm_id)

    def with_terms(self, order_type: OrderType | None, limit_ticks: Ticks | None, qty: Qty) -> Order:
        """Return the order with type, price and quantity as the broker has them; a change that they show is over."""
        terms = Terms(order_type, limit_ticks, qty)
        is_confirmed = terms == self.change
        return replace(
            self, order_type=order_type, limit_ticks=limit_ticks, qty=qty, change=None if is_confirmed else self.change,
            doubt_n=0 if is_confirmed else self.doubt_n,
        )  # fmt: skip

    def with_change(self, change: Terms, settle_n: int) -> Order:
        """Return the order with a change that was sent; read-backs before `settle_n` know nothing of it."""
        return replace(self, change=change, settle_n=max(settle_n, self.settle_n))

    def without_change(self) -> Order:
        """Return the order whose change was refused, or never arrived."""
        return replace(self, change=None)

    def without_trouble(self) -> Order:
        """Return the order without the troubles that a read-back has settled."""
        return replace(self, trouble=None, is_inactive=False)

    def marked_inactive(self) -> Order:
        """Return the order as one that the broker calls inactive (refused, or held back)."""
        return replace(self, is_inactive=True)

    def marked_for_cancel(self) -> Order:
        """Return the order marked to be cancelled as soon as a read-back finds it working."""
        return replace(self, is_cancel_wanted=True)

    def cancelling(self, cancel_n: int) -> Order:
        """Return the order whose cancel was sent; where a read-back from `cancel_n` on finds it, it is sent again."""
        return replace(self, is_cancel_wanted=True, cancel_n=cancel_n)

    def disputed(self) -> Order:
        """Return the order whose legs did not fill alike in time."""
        return replace(self, is_disputed=True)

    def placed_by(self, *, is_elsewhere: bool) -> Order:
        """Return the order with whether another client's session placed it."""
        return replace(self, is_elsewhere=is_elsewhere)


class Table(msgspec.Struct, frozen=True):
    """Orders by reference as they came; `under_way` are those of them that may still fill, in the same order."""

    orders: Keyed[Order] = Keyed()
    under_way: tuple[Order, ...] = ()

    def __iter__(self) -> Iterator[Order]:
        return iter(self.orders)

    def __len__(self) -> int:
        return len(self.orders)


def table_of(orders: Iterable[Order]) -> Table:
    """Return a table of orders; of two of one reference it holds the later one."""
    rows = Keyed((order.order_ref, order) for order in orders)
    return Table(rows, tuple([order for order in rows if order.is_under_way]))


def find(table: Table, order_ref: str) -> Order | None:
    """Return the order of a reference; `None` if there is none."""
    return table.orders.get(order_ref)


def find_share(table: Table, order_ref: str) -> tuple[Order, Share] | None:
    """Return the order that a position knows by this reference, and what it is to it; `None` if there is none.

    The reference of a combination is its first leg's: where it is another leg's alone, it names no share.
    """
    order = find(table, order_ref) or next((o for o in table if any(s.order_ref == order_ref for s in o.legs)), None)
    share = None if order is None else next((share for share in order.shares if share.order_ref == order_ref), None)
    return None if order is None or share is None else (order, share)


def put(table: Table, order: Order) -> Table:
    """Return the table with this order in place of the one of the same reference (or added)."""
    known = table.orders.get(order.order_ref)
    if known is order:
        return table
    orders, under_way = table.orders.put(order.order_ref, order), table.under_way
    if known is not None and known.is_under_way:
        under_way = tuple(
            [order if one is known else one for one in under_way if one is not known or order.is_under_way]
        )
    elif order.is_under_way:  # one that comes back has the place that it had
        under_way = (*under_way, order) if known is None else tuple([one for one in orders if one.is_under_way])
    return Table(orders, under_way)


def doubt_sent(table: Table, clear_n: int) -> Table:
    """Return the table with every order whose bytes left in doubt until read-back `clear_n` (the link was lost)."""
    for order in table.under_way:
        if order.stage in (OrderStage.SENT, OrderStage.WORKING):
            table = put(table, order.doubted(clear_n))
    return table


def working_exit(table: Table, con_id: int) -> Order | None:
    """Return the exit order of a contract that may still fill; there is at most one, of its own or of a combination."""
    return next((order for order in table.under_way if order.is_exit and con_id in order.con_ids), None)


def selling_qty(table: Table, con_id: int) -> Qty:
    """Return what the sell orders under way may still sell of a contract."""
    selling = [
        order.most_qty * share.ratio - order.filled_of(share)
        for order in table.under_way
        for share in order.shares
        if share.con_id == con_id and share.side is Side.SELL
    ]
    return Qty(sum(selling))
