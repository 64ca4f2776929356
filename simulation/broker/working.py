"""An order that the simulated exchange has accepted, with what has become of it so far."""

from __future__ import annotations

import msgspec

from domain.units import Cents, Qty, Ticks, Utc
from simulation.broker.orders import IBStatus, Order, OrderState


class Working(msgspec.Struct):
    """An accepted order; `pieces` scripts the sizes of its fills, matching begins at `due_utc`."""

    order: Order
    status: IBStatus
    due_utc: Utc
    pieces: list[Qty]
    at_utc: Utc
    filled_qty: Qty = Qty(0)
    cost_ticks: int = 0
    last_fill_ticks: Ticks = Ticks(0)
    commission_cents: Cents = Cents(0)
    is_resting: bool = False
    is_triggered: bool = False

    @property
    def remaining_qty(self) -> Qty:
        """What is still to be filled."""
        return self.order.qty - self.filled_qty

    def state(self) -> OrderState:
        """Return what is told of it."""
        return OrderState(
            self.order,
            self.status,
            self.filled_qty,
            self.cost_ticks,
            self.last_fill_ticks,
            self.at_utc,
        )
