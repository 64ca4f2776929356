"""The fold of recorded fills into what is held, what it cost and what was realised.

Rows are totals per order (as the ledger tells them), so a fill told twice, or told again after a restart, changes
nothing. The sums of a life (from flat to flat) are kept as differences of those totals, so that a late fill of an
order of an earlier life is booked where it is heard. Costs are in ticks × contracts before the multiplier.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from domain.instruments import Side

FIRST_REVISION = 1  # IB numbers the versions of an execution .01, .02, ...; a correction has a higher one


class OrderRow(msgspec.Struct, frozen=True):
    """Recorded totals of one order."""

    order_ref: str
    side: Side
    qty: int = 0
    cost_ticks: int = 0
    fees_cents: int = 0
    charged_qty: int = 0


class Book(msgspec.Struct, frozen=True):
    """What is known of one contract: order totals of the session, and the sums of the present life."""

    rows: tuple[OrderRow, ...] = ()
    bought_qty: int = 0
    bought_ticks: int = 0
    sold_qty: int = 0
    sold_ticks: int = 0
    fees_cents: int = 0

    @property
    def held(self) -> int:
        """Contracts held; negative when more was sold than bought."""
        return self.bought_qty - self.sold_qty

    @property
    def average_ticks(self) -> float | None:
        """The average fill price of what was bought, without fees; `None` when nothing was."""
        return self.bought_ticks / self.bought_qty if self.bought_qty else None

    def filled(self, order_ref: str) -> int:
        """Contracts filled of one order."""
        return next((row.qty for row in self.rows if row.order_ref == order_ref), 0)

    def cost_cents(self, multiplier: int) -> int:
        """Give the cost of what is held (average cost), in cents."""
        if not self.bought_qty or self.held <= 0:
            return 0
        return round(self.bought_ticks * multiplier * self.held / self.bought_qty)

    def realised_cents(self, multiplier: int, settled_ticks: int | None = None) -> int:
        """Give what was realised before fees, in cents.

        `settled_ticks` is what settlement paid for all that was still held; `None` while the rest is not settled.
        """
        if settled_ticks is not None:
            return (self.sold_ticks + settled_ticks - self.bought_ticks) * multiplier
        return self.sold_ticks * multiplier - (self.bought_ticks * multiplier - self.cost_cents(multiplier))


def new_life(book: Book) -> Book:
    """Start the sums anew and keep the orders' totals."""
    return Book(rows=book.rows)


def with_fill(
    book: Book, order_ref: str, side: Side, filled_qty_total: int, filled_cost_ticks_total: int, revision: int
) -> Book:
    """Book the totals of an order after a recorded fill.

    Lower totals are believed of a correction only: anything else that goes back was overtaken by what is known.
    """
    row = _row(book, order_ref, side)
    is_correction = revision > FIRST_REVISION
    if filled_qty_total <= row.qty and not is_correction:
        return book
    changed = replace(row, qty=filled_qty_total, cost_ticks=filled_cost_ticks_total)
    more_qty, more_ticks = changed.qty - row.qty, changed.cost_ticks - row.cost_ticks
    book = _with_row(book, changed)
    if side is Side.BUY:
        return replace(book, bought_qty=book.bought_qty + more_qty, bought_ticks=book.bought_ticks + more_ticks)
    return replace(book, sold_qty=book.sold_qty + more_qty, sold_ticks=book.sold_ticks + more_ticks)


def with_fees(book: Book, order_ref: str, side: Side, fees_cents_total: int, charged_qty: int) -> Book:
    """Book the fees of an order so far, which are for `charged_qty` of its contracts."""
    row = _row(book, order_ref, side)
    book = _with_row(book, replace(row, fees_cents=fees_cents_total, charged_qty=charged_qty))
    return replace(book, fees_cents=book.fees_cents + fees_cents_total - row.fees_cents)


def _row(book: Book, order_ref: str, side: Side) -> OrderRow:
    return next((row for row in book.rows if row.order_ref == order_ref), OrderRow(order_ref, side))


def _with_row(book: Book, changed: OrderRow) -> Book:
    if any(row.order_ref == changed.order_ref for row in book.rows):
        return replace(book, rows=tuple(changed if row.order_ref == changed.order_ref else row for row in book.rows))
    return replace(book, rows=(*book.rows, changed))
