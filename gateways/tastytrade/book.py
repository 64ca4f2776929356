"""What is known of the account's orders, from answers, notifications and read-backs, in whatever order they come.

The vendor changes an order by replacing it: the new one has an id of its own and fills on from there. All that carry
one reference are a chain and one order of ours: its permanent id is that of the first, its quantity the first's size,
its fills those of all. One that bears no reference has that of what it replaces, or is replaced by: somebody else may
have replaced our order, or the vendor left it out. Taking a row twice, late or out of turn changes nothing that is
true. What the vendor's list has shown and shows no more in two lists running is gone, until it is told of again; so is
what was told of elsewhere, as an order that works or that replaces one, once no list has shown it for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec.structs import replace

from domain.instruments import OrderType, Side
from domain.orders.table import OrderStatus
from domain.position.fills import FIRST_REVISION
from domain.units import Qty, Ticks
from gateways.tastytrade.codes import CONTINGENT, OVER, PHASES, REJECTED, status_of
from gateways.tastytrade.wire import Fill, OrderRow

UNSEEN_S: Final = 45.0  # an order that was taken may stand in no list for a while


class View(NamedTuple):
    """A chain as one order; `live_id` is what a change or a cancel goes to, 0 where nothing works any more.

    `is_gone`: it had not ended, and the vendor shows it no more.
    """

    ref: str
    perm_id: int
    symbol: str
    underlying: str
    side: Side
    qty: Qty
    filled_qty: Qty
    order_type: OrderType | None
    limit_ticks: Ticks | None
    status: OrderStatus
    live_id: int
    raw: str
    reason: str
    is_gone: bool = False

    @property
    def is_working(self) -> bool:
        """Whether it may still fill."""
        return self.live_id > 0


class Counted(NamedTuple):
    """A fill with the order that it belongs to, and its version, from `FIRST_REVISION`; a correction has the next."""

    ref: str
    perm_id: int
    fill: Fill
    revision: int


class Taken(NamedTuple):
    """What a row brought: fills that are new or corrected, and whether it is a replacement that has come to nothing."""

    fills: tuple[Counted, ...]
    is_aborted: bool


class OrderBook:
    """The orders of one account and one session."""

    def __init__(self) -> None:
        self._rows: dict[int, OrderRow] = {}
        self._chains: dict[str, list[int]] = {}
        self._revisions: dict[str, int] = {}
        self._of_fill: dict[str, tuple[str, Fill]] = {}
        self._listed: set[int] = set()
        self._missing: set[int] = set()
        self._gone: set[int] = set()
        self._unseen: dict[int, float] = {}  # since when, of what no list has ever shown

    def note_list(self, order_ids: Iterable[int], now_s: float) -> None:
        """Take note of which orders a whole list has shown, after they were taken; `now_s` are monotonic seconds."""
        shown = set(order_ids)
        missing = self._listed - shown
        self._gone |= missing & self._missing
        self._missing = missing
        self._listed |= shown
        rows = self._rows
        told = {row.order_id for row in rows.values() if row.status not in OVER}
        told |= {row.replacing_id for row in rows.values() if row.replacing_id and row.replacing_id not in rows}
        self._unseen = {order_id: self._unseen.get(order_id, now_s) for order_id in told - self._listed}
        self._gone |= {order_id for order_id, since_s in self._unseen.items() if now_s - since_s >= UNSEEN_S}

    def take(self, row: OrderRow) -> Taken:
        """Take a row over, as far as it is news."""
        self._gone.discard(row.order_id)
        self._unseen.pop(row.order_id, None)
        was = self._rows.get(row.order_id)
        is_newer = was is None or _age(row) >= _age(was)
        now = row if was is None else _merged(*((was, row) if is_newer else (row, was)))
        if not now.ref:
            now = replace(now, ref=next((other.ref for other in self._linked(now) if other.ref), ""))
        self._rows[row.order_id] = now
        named = self._spread(now) if now.ref else ()
        key, chain = self._put(now)
        counted = tuple(self._counted(key, now.ref, chain[0], f) for f in row.fills if self._is_news(f, is_newer))
        is_over = now.status in OVER and (was is None or was.status not in OVER)
        has_others = any(self._rows[other].status not in OVER for other in chain if other < now.order_id)
        is_refused = now.order_id != chain[0] and not now.fills and (has_others or now.status == REJECTED)
        return Taken((*named, *counted), is_over and is_refused)

    def _put(self, row: OrderRow) -> tuple[str, list[int]]:
        """Return the key of an order's chain and the chain, in which the order stands now."""
        key = row.ref or f"#{row.order_id}"
        chain = self._chains.setdefault(key, [])
        if row.order_id not in chain:
            chain.append(row.order_id)
            chain.sort()
        return key, chain

    def _linked(self, row: OrderRow) -> list[OrderRow]:
        """Return the orders that replace this one or are replaced by it, as far as they are known."""
        near = {row.replaces_id, row.replacing_id}
        return [
            other
            for other in self._rows.values()
            if other.order_id in near or row.order_id in (other.replaces_id, other.replacing_id)
        ]

    def _spread(self, row: OrderRow) -> tuple[Counted, ...]:
        """Put an order with its reference in its chain, and all that it replaces or is replaced by and bear none.

        Returns the fills that were told without the reference: they are told again, a version on.
        """
        key, chain = self._put(row)
        told: list[Counted] = []
        was_key = f"#{row.order_id}"
        if self._chains.pop(was_key, None) is not None:
            fills = [fill for fill_key, fill in self._of_fill.values() if fill_key == was_key]
            told += (self._counted(key, row.ref, chain[0], fill) for fill in fills)
        for other in self._linked(row):
            if not other.ref:
                named = self._rows[other.order_id] = replace(other, ref=row.ref)
                told += self._spread(named)
        return tuple(told)

    def _is_news(self, fill: Fill, is_newer: bool) -> bool:
        """Return whether a fill is unknown, or a correction: another size or price in a report that is not older."""
        known = self._of_fill.get(fill.fill_id)
        if known is None:
            return True
        return is_newer and (known[1].qty, known[1].price_ticks) != (fill.qty, fill.price_ticks)

    def _counted(self, key: str, ref: str, perm_id: int, fill: Fill) -> Counted:
        revision = self._revisions.get(fill.fill_id, FIRST_REVISION - 1) + 1
        self._revisions[fill.fill_id] = revision
        self._of_fill[fill.fill_id] = key, fill
        return Counted(ref, perm_id, fill, revision)

    def refs(self) -> frozenset[str]:
        """Return every reference that an order of the account carries."""
        return frozenset(ref for ref in self._chains if not ref.startswith("#"))

    def ref_of(self, order_id: int) -> str:
        """Return the reference of an order; empty where it has none, or is not known."""
        row = self._rows.get(order_id)
        return "" if row is None else row.ref

    def views(self) -> list[View]:
        """Return every order, oldest first."""
        return [self._view(ref, ids) for ref, ids in sorted(self._chains.items(), key=lambda chain: chain[1][0])]

    def view(self, ref: str) -> View | None:
        """Return the order of a reference; `None` where none is known."""
        ids = self._chains.get(ref)
        return None if not ids else self._view(ref, ids)

    def working(self) -> list[View]:
        """Return the orders that may still fill."""
        return [view for view in self.views() if view.is_working]

    def fills(self) -> list[Counted]:
        """Return every fill once, as it was told last, in the order of the fills."""
        found = []
        for fill_id, (key, fill) in self._of_fill.items():
            ref = "" if key.startswith("#") else key
            found.append(Counted(ref, self._chains[key][0], fill, self._revisions[fill_id]))
        return found

    def _view(self, key: str, ids: Iterable[int]) -> View:
        rows = [self._rows[order_id] for order_id in ids]
        first, head = rows[0], _head(rows)
        filled = Qty(sum(row.filled_qty for row in rows))
        status = status_of(head.status)
        goes_on = bool(head.replacing_id) and head.replacing_id not in self._rows
        last_id = head.replacing_id if goes_on and head.status in OVER else head.order_id
        is_gone = (goes_on or head.status not in OVER) and last_id in self._gone and filled < first.size
        live_id = 0 if is_gone or head.status in OVER else head.order_id
        if not live_id and filled >= first.size:
            status = OrderStatus.FILLED
        elif not live_id and not is_gone and goes_on:
            live_id, status = head.order_id, OrderStatus.PENDING  # it goes on in an order that nobody told of yet
        elif not live_id and (filled or len(rows) > 1) and status is OrderStatus.INACTIVE:
            status = OrderStatus.CANCELLED  # it has worked
        raw = " ".join(f"{row.order_id}:{row.status}:{row.filled_qty}/{row.size}" for row in rows)
        return View(
            "" if key.startswith("#") else key, first.order_id, first.symbol, first.underlying, first.side, first.size,
            filled, head.order_type, head.limit_ticks, status, live_id, raw, head.reason, is_gone,
        )  # fmt: skip


def _age(told: OrderRow) -> tuple[bool, int, int, int]:
    """Return what orders two reports of one order: what is over stays over."""
    return told.status in OVER, told.updated_ms, PHASES.get(told.status, 0), told.filled_qty


def _merged(older: OrderRow, newer: OrderRow) -> OrderRow:
    """Return the newer of two reports of one order, with the fills of both."""
    fills = {fill.fill_id: fill for fill in (*older.fills, *newer.fills)}
    return replace(
        newer, fills=tuple(fills.values()), replaces_id=newer.replaces_id or older.replaces_id,
        replacing_id=newer.replacing_id or older.replacing_id, ref=newer.ref or older.ref,
    )  # fmt: skip


def _head(rows: list[OrderRow]) -> OrderRow:
    """Return the order that speaks for its chain: what may fill now, else what waits to replace it, else the last.

    A replacement that came to nothing speaks for nobody.
    """
    working = [row for row in rows if row.status not in OVER]
    can_fill = [row for row in working if row.status != CONTINGENT]
    if working:
        return (can_fill or working)[-1]
    lasting = [row for row in rows if row.fills or row.status != REJECTED]
    return (lasting or rows)[-1]
