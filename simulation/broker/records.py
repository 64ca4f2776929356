"""The records of the simulated broker: orders, their states, the exchange's events."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.instruments import OrderType, Side
from simulation.broker.book import Position


class OrderStatus(StrEnum):
    """IB's order states that this exchange uses."""

    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    INACTIVE = "Inactive"


class OrderStep(StrEnum):
    """What can happen to an accepted order."""

    ACTIVATED = "activated"
    FILLED_PART = "filled_part"
    FILLED_ALL = "filled_all"
    CANCELLED = "cancelled"


TRANSITIONS: dict[tuple[OrderStatus, OrderStep], OrderStatus] = {
    (OrderStatus.PRE_SUBMITTED, OrderStep.ACTIVATED): OrderStatus.SUBMITTED,
    (OrderStatus.PRE_SUBMITTED, OrderStep.CANCELLED): OrderStatus.CANCELLED,
    # a fault may fill an order that still waits for the open or for its trigger
    (OrderStatus.PRE_SUBMITTED, OrderStep.FILLED_PART): OrderStatus.SUBMITTED,
    (OrderStatus.PRE_SUBMITTED, OrderStep.FILLED_ALL): OrderStatus.FILLED,
    (OrderStatus.SUBMITTED, OrderStep.FILLED_PART): OrderStatus.SUBMITTED,
    (OrderStatus.SUBMITTED, OrderStep.FILLED_ALL): OrderStatus.FILLED,
    (OrderStatus.SUBMITTED, OrderStep.CANCELLED): OrderStatus.CANCELLED,
}
TERMINAL = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.INACTIVE})


class Order(msgspec.Struct, frozen=True):
    """An order as a client sends it; `perm_id` 0 means not yet accepted.

    `tif` is DAY, IOC or GTD; `good_till_utc` is when a GTD order ends.
    """

    con_id: int
    side: Side
    qty: int
    type: OrderType
    client_id: int
    order_id: int
    limit_ticks: int | None = None
    aux_ticks: int | None = None
    tif: str = "DAY"
    account: str = ""
    order_ref: str = ""
    good_till_utc: int | None = None
    perm_id: int = 0


class OrderState(msgspec.Struct, frozen=True):
    """The state of an order; `cost_ticks` is the sum of price times quantity of its fills."""

    order: Order
    status: OrderStatus
    filled_qty: int
    cost_ticks: int
    last_fill_ticks: int
    at_utc: int

    @property
    def remaining_qty(self) -> int:
        """Give what is still to be filled."""
        return self.order.qty - self.filled_qty

    @property
    def average_ticks(self) -> float:
        """Give the average fill price in ticks, 0 before the first fill."""
        return self.cost_ticks / self.filled_qty if self.filled_qty else 0.0


class Execution(msgspec.Struct, frozen=True):
    """One fill; `cum_qty` and `cum_cost_ticks` include it."""

    exec_id: str
    order: Order
    qty: int
    price_ticks: int
    cum_qty: int
    cum_cost_ticks: int
    at_utc: int


class Commission(msgspec.Struct, frozen=True):
    """The fees of one execution; `realised_cents` is `None` for a fill that only opened."""

    exec_id: str
    order: Order
    fee_cents: int
    realised_cents: int | None


class PositionChange(msgspec.Struct, frozen=True):
    """The new position of a contract; `settled_cents` is what settling paid, `None` for a trade."""

    position: Position
    at_utc: int
    settled_cents: int | None = None


class OrderError(msgspec.Struct, frozen=True):
    """A vendor code on an order, as IB gives it."""

    client_id: int
    order_id: int
    code: int
    text: str


Event = OrderState | Execution | Commission | PositionChange | OrderError


class WhatIf(msgspec.Struct, frozen=True):
    """The simple margin of an order: what it would block and what it would cost, in cents."""

    margin_before_cents: int
    margin_change_cents: int
    equity_cents: int
    fee_cents: int
