"""The fold of recorded fills into what is held, what it cost and what was realised.

Rows are totals per order, so a fill told twice, or told again after a restart, changes nothing. Two may tell them: the
ledger (durable) and, where it fails or is late, whoever heard the execution (not durable); the higher total counts
until the ledger has caught up. The sums of a life (from flat to flat) are kept as differences of those totals, so that
a late fill of an order of an earlier life counts where it is reported; a fee belongs to the position that its order
names. Costs are in ticks × contracts before the multiplier.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from domain.instruments import Side
from domain.keyed import Keyed
from domain.orders.references import is_brokers_close, is_from_outside, position_of
from domain.units import Cents, Qty

FIRST_REVISION = 1  # IB numbers the versions of an execution .01, .02, ...; a correction has a higher one


class FillTotals(msgspec.Struct, frozen=True):
    """What a report of a fill says of its order: totals over all its executions.

    `is_durable`: the ledger has them on disk. `is_price_known` is False for a fill that was made from the broker's
    position; the execution that explains it later replaces it, and the totals may fall with it.
    """

    order_ref: str
    side: Side
    qty: Qty
    cost_ticks: int
    revision: int = FIRST_REVISION
    is_durable: bool = True
    is_price_known: bool = True


class OrderRow(msgspec.Struct, frozen=True):
    """Totals of one order: what counts (`qty`, `cost_ticks`), and what of it the ledger has told."""

    order_ref: str
    side: Side
    qty: Qty = Qty(0)
    cost_ticks: int = 0
    recorded_qty: Qty = Qty(0)
    recorded_cost_ticks: int = 0
    is_adopted: bool = False
    fees_cents: Cents = Cents(0)
    charged_qty: Qty = Qty(0)


class Fills(msgspec.Struct, frozen=True):
    """What is known of one contract: order totals of the session, and the sums of the present life.

    `side` is the one that opened this life; `opened_*` sums the fills of this side, `closed_*` those of the other. The
    first `past_rows` rows are of earlier lives. `charged` are the fees of each position's own orders. `has_outside`: a
    row of this life was changed that is of no order of its own.
    """

    side: Side = Side.BUY
    rows: Keyed[OrderRow] = Keyed()
    opened_qty: Qty = Qty(0)
    opened_cost_ticks: int = 0
    closed_qty: Qty = Qty(0)
    closed_cost_ticks: int = 0
    past_rows: int = 0
    charged: Mapping[str, Cents] = {}
    has_outside: bool = False

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
        return self.rows.get(order_ref)

    def fees_cents(self, position_id: str) -> Cents:
        """Return the fees so far of a position's orders, in cents; its own, and those that closed it for somebody."""
        own = self.charged.get(position_id, Cents(0))
        if not self.has_outside:
            return own
        from_outside = [row.fees_cents for row in self.rows.since(self.past_rows) if is_from_outside(row.order_ref)]
        return Cents(own + sum(from_outside))

    @property
    def is_closed_by_others(self) -> bool:
        """Whether this life was closed by somebody else's orders alone."""
        closing = [row for row in self.rows.since(self.past_rows) if row.side is not self.side and row.qty]
        return bool(closing) and all(is_brokers_close(row.order_ref) for row in closing)

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
    return Fills(side=side, rows=fills.rows, past_rows=len(fills.rows), charged=fills.charged)


def with_fill(fills: Fills, told: FillTotals) -> Fills:
    """Return the fills after a report of one; the same ones where it changes nothing.

    Lower totals are believed of a correction, and of the execution that replaces an adopted one: anything else that
    goes back was overtaken by what is known.
    """
    row = fills.row(told.order_ref) or OrderRow(told.order_ref, told.side)
    changed = _told(row, told)
    if changed == row:
        return fills
    more_qty, more_ticks = changed.qty - row.qty, changed.cost_ticks - row.cost_ticks
    fills = _with_row(fills, changed)
    if told.side is fills.side:
        return replace(
            fills, opened_qty=fills.opened_qty + more_qty, opened_cost_ticks=fills.opened_cost_ticks + more_ticks
        )
    return replace(
        fills, closed_qty=fills.closed_qty + more_qty, closed_cost_ticks=fills.closed_cost_ticks + more_ticks
    )


def _told(row: OrderRow, told: FillTotals) -> OrderRow:
    may_fall = told.revision > FIRST_REVISION or row.is_adopted
    if not told.is_durable and not may_fall:
        if told.qty <= row.qty:
            return row
        return replace(row, qty=told.qty, cost_ticks=told.cost_ticks, is_adopted=not told.is_price_known)
    if told.qty < row.recorded_qty and not may_fall:
        return row
    recorded = replace(
        row, recorded_qty=told.qty, recorded_cost_ticks=told.cost_ticks, is_adopted=not told.is_price_known
    )
    if row.qty > told.qty and not may_fall:
        return recorded  # the ledger has not caught up with what was told past it
    return replace(recorded, qty=told.qty, cost_ticks=told.cost_ticks)


def with_fees(fills: Fills, order_ref: str, side: Side, fees_cents_total: Cents, charged_qty: Qty) -> Fills:
    """Return the fills with the fees of an order so far, which are for `charged_qty` of its contracts."""
    row, position_id = fills.row(order_ref) or OrderRow(order_ref, side), position_of(order_ref)
    of_position = Cents(fills.charged.get(position_id, 0) + fees_cents_total - row.fees_cents)
    fills = _with_row(fills, replace(row, fees_cents=fees_cents_total, charged_qty=charged_qty))
    return replace(fills, charged={**fills.charged, position_id: of_position})


def _with_row(fills: Fills, changed: OrderRow) -> Fills:
    has_outside = fills.has_outside or is_from_outside(changed.order_ref)
    return replace(fills, rows=fills.rows.put(changed.order_ref, changed), has_outside=has_outside)
