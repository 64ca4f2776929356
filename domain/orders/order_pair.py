"""The two orders that a position may have at its broker: one that opens it, one that closes it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.orders.live_order import LegStage, LiveOrder


class OrderRole(StrEnum):
    """What an order is to its position."""

    ENTRY = "entry"
    EXIT = "exit"


class OrderPair(msgspec.Struct, frozen=True):
    """Entry and exit order, `None` where there is none."""

    entry: LiveOrder | None = None
    exit: LiveOrder | None = None

    def of(self, role: OrderRole) -> LiveOrder | None:
        """Return the order of this role."""
        return self.entry if role is OrderRole.ENTRY else self.exit

    def by_role(self) -> list[tuple[OrderRole, LiveOrder]]:
        """Return the orders that there are, each with its role."""
        pairs = (OrderRole.ENTRY, self.entry), (OrderRole.EXIT, self.exit)
        return [(role, order) for role, order in pairs if order is not None]

    def with_order(self, role: OrderRole, order: LiveOrder | None) -> OrderPair:
        """Return the pair with this order in its role; one that has ended leaves the pair."""
        kept = None if order is None or order.stage is LegStage.ENDED else order
        return OrderPair(kept, self.exit) if role is OrderRole.ENTRY else OrderPair(self.entry, kept)

    def find(self, order_ref: str) -> tuple[OrderRole, LiveOrder] | None:
        """Return the order of this reference that may be at the broker, and its role.

        `None` where there is none, or its intent is still being recorded: the broker's news are of another one then.
        """
        for role, order in self.by_role():
            if order.ref == order_ref and order.stage is not LegStage.RECORDING:
                return role, order
        return None
