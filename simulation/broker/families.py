"""Orders that depend on each other: children of a parent (brackets), and groups of which one cancels all (OCA).

A child waits until its parent is done. It then works for what the parent has filled, or is cancelled where that is
nothing. The children of one parent are a group of their own, unless they name another.
"""

from __future__ import annotations

from collections.abc import Mapping

from domain.units import Qty
from simulation.broker.orders import TERMINAL, OcaType, Order
from simulation.broker.working import Working


class Families:
    """What links the orders of an exchange, read from the orders themselves."""

    def __init__(self, orders: Mapping[tuple[int, int], Working]) -> None:
        self._orders = orders

    def parent(self, order: Order) -> Working | None:
        """Return the order that another one is attached to; `None` if it is attached to none that is known."""
        return self._orders.get((order.client_id, order.parent_id)) if order.parent_id else None

    def lacks_parent(self, order: Order) -> bool:
        """Return whether an order is attached to one that nobody knows."""
        return bool(order.parent_id) and self.parent(order) is None

    def waits(self, order: Order) -> bool:
        """Return whether an order waits for its parent to be done."""
        parent = self.parent(order)
        return parent is not None and parent.status not in TERMINAL

    def qty_of_parent(self, order: Order) -> Qty | None:
        """Return what a parent that is done has filled; `None` without a parent, or while it lives."""
        parent = self.parent(order)
        return parent.filled_qty if parent is not None and parent.status in TERMINAL else None

    def is_covered(self, order: Order) -> bool:
        """Return whether an order only closes what its parent opens."""
        parent = self.parent(order)
        if parent is None:
            return False
        opening = parent.order
        is_same = (opening.con_id, opening.legs) == (order.con_id, order.legs)
        return is_same and opening.side is not order.side and order.qty <= opening.qty

    def others(self, order: Order) -> list[Working]:
        """Return the live orders of the same group, without the order itself."""
        group = _group(order)
        if group is None:
            return []
        return [
            w for w in self._orders.values()
            if w.status not in TERMINAL and w.order.order_id != order.order_id and _group(w.order) == group
        ]  # fmt: skip


def qty_left(other: Working, filled: Working, qty: Qty) -> Qty:
    """Return what is left of an order of a group once another one of it has filled `qty` (already counted there)."""
    if filled.order.oca_type is OcaType.CANCEL:
        return Qty(0)
    before = filled.remaining_qty + qty
    return Qty(other.remaining_qty * filled.remaining_qty // before)


def _group(order: Order) -> tuple[int, str | int] | None:
    if order.oca_group:
        return order.client_id, order.oca_group
    return (order.client_id, order.parent_id) if order.parent_id else None
