"""The fold of recorded fills into what is held, what it cost and what was realised.

Rows are totals per order (as the ledger tells them), so a fill told twice, or told again after a restart, changes
nothing. The sums of a life (from flat to flat) are kept as differences of those totals, so that a late fill of an
order of an earlier life counts where it is reported. Costs are in ticks × contracts before the multiplier.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from domain.instruments import Side
from domain.units import Cents, Qty

FIRST_REVISION = 1  # IB numbers the versions of an execution .01, .02, ...; a correction has a higher one


class OrderRow(msgspec.Struct, frozen=True):
    """Recorded totals of one order."""

    order_ref: str
    side: Side
    qty: Qty = Qty(0)
    cost_ticks: int = 0
    fees_cents: Cents = Cents(0)
    charged_qty: Qty = Qty(0)


class Fills(msgspec.Struct, frozen=True):
    """What is known of one contract: order totals of the session, and the sums of the present life.

    `side` is the one that opened this life; `opened_*` sums the fills of this side, `closed_*` those of the other.
    """

    side: Side = Side.BUY
    rows: tuple[OrderRow, ...] = ()
    opened_qty: Qty = Qty(0)
    opened_cost_ticks: int = 0
    closed_qty: Qty = Qty(0)
    closed_cost_ticks: int = 0
    fees_cents: Cents = Cents(0)

    @property
    def held(self) -> Qty:
        """Contracts held; negative when more was closed than opened."""
        return self.opened_qty - self.closed_qty

    @property
    def signed_held(self) -> Qty:
        """Contracts held as the broker signs them: negative when sold to open."""
        return Qty(self.sign * self.held)

    @property
    def sign(self) -> int:
        """+1 where a higher price is a gain (bought to open), -1 where it is a loss."""
        return 1 if self.side is Side.BUY else -1

    @property
    def average_ticks(self) -> float | None:
        """The average fill price of what was opened, without fees; `None` when nothing was."""
        return self.opened_cost_ticks / self.opened_qty if self.opened_qty else None

    def row(self, order_ref: str) -> OrderRow | None:
        """Return the totals of one order; `None` for one that nothing was recorded of."""
        return next((row for row in self.rows if row.order_ref == order_ref), None)

    def filled(self, order_ref: str) -> Qty:
        """Return the contracts filled of one order."""
        row = self.row(order_ref)
        return Qty(0) if row is None else row.qty

    def cost_cents(self, multiplier: int) -> Cents:
        """Return what is held at its average fill price, in cents."""
        if not self.opened_qty or self.held <= 0:
            return Cents(0)
        return Cents(round(self.opened_cost_ticks * multiplier * self.held / self.opened_qty))

    def realised_cents(self, multiplier: int, settled_ticks: int | None = None) -> Cents:
        """Return what was realised before fees, in cents.

        `settled_ticks` is what settlement was worth for all that was still held (ticks × contracts); `None` while the
        rest is not settled.
        """
        if settled_ticks is not None:
            gain = (self.closed_cost_ticks + settled_ticks - self.opened_cost_ticks) * multiplier
        else:
            cost_of_closed = self.opened_cost_ticks * multiplier - self.cost_cents(multiplier)
            gain = self.closed_cost_ticks * multiplier - cost_of_closed
        return Cents(self.sign * gain)


def new_life(fills: Fills, side: Side) -> Fills:
    """Return the orders' totals with all sums at nothing, for a life that `side` opens."""
    return Fills(side=side, rows=fills.rows)


def with_fill(
    fills: Fills, order_ref: str, side: Side, filled_qty_total: Qty, filled_cost_ticks_total: int, revision: int
) -> Fills:
    """Return the fills with the totals of an order after a recorded fill; the same ones where it changes nothing.

    Lower totals are believed of a correction only: anything else that goes back was overtaken by what is known.
    """
    row = fills.row(order_ref) or OrderRow(order_ref, side)
    is_correction = revision > FIRST_REVISION
    if filled_qty_total <= row.qty and not is_correction:
        return fills
    changed = replace(row, qty=filled_qty_total, cost_ticks=filled_cost_ticks_total)
    more_qty, more_ticks = changed.qty - row.qty, changed.cost_ticks - row.cost_ticks
    fills = _with_row(fills, changed)
    if side is fills.side:
        return replace(
            fills, opened_qty=fills.opened_qty + more_qty, opened_cost_ticks=fills.opened_cost_ticks + more_ticks
        )
    return replace(
        fills, closed_qty=fills.closed_qty + more_qty, closed_cost_ticks=fills.closed_cost_ticks + more_ticks
    )


def with_fees(fills: Fills, order_ref: str, side: Side, fees_cents_total: Cents, charged_qty: Qty) -> Fills:
    """Return the fills with the fees of an order so far, which are for `charged_qty` of its contracts."""
    row = fills.row(order_ref) or OrderRow(order_ref, side)
    fills = _with_row(fills, replace(row, fees_cents=fees_cents_total, charged_qty=charged_qty))
    return replace(fills, fees_cents=fills.fees_cents + fees_cents_total - row.fees_cents)


def _with_row(fills: Fills, changed: OrderRow) -> Fills:
    if fills.row(changed.order_ref) is not None:
        return replace(fills, rows=tuple(changed if row.order_ref == changed.order_ref else row for row in fills.rows))
    return replace(fills, rows=(*fills.rows, changed))
