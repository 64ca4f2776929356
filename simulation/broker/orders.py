"""Orders at the simulated broker: what a client sends, and the states that an order goes through."""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from domain.fsm import Machine
from domain.instruments import OrderType, Side
from domain.units import Cents, Qty, Ticks, Utc


class IBStatus(StrEnum):
    """IB's order states that this exchange uses, as they stand on the wire."""

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


LIFE = Machine(
    "order at the simulated exchange",
    {
        (IBStatus.PRE_SUBMITTED, OrderStep.ACTIVATED): IBStatus.SUBMITTED,
        (IBStatus.PRE_SUBMITTED, OrderStep.CANCELLED): IBStatus.CANCELLED,
        # a fault may fill an order that still waits for the open or for its trigger
        (IBStatus.PRE_SUBMITTED, OrderStep.FILLED_PART): IBStatus.SUBMITTED,
        (IBStatus.PRE_SUBMITTED, OrderStep.FILLED_ALL): IBStatus.FILLED,
        (IBStatus.SUBMITTED, OrderStep.FILLED_PART): IBStatus.SUBMITTED,
        (IBStatus.SUBMITTED, OrderStep.FILLED_ALL): IBStatus.FILLED,
        (IBStatus.SUBMITTED, OrderStep.CANCELLED): IBStatus.CANCELLED,
    },
    {},
)
TERMINAL = frozenset({IBStatus.FILLED, IBStatus.CANCELLED, IBStatus.INACTIVE})


class TimeInForce(StrEnum):
    """How long an order lives: the day, one attempt, or until an instant."""

    DAY = "DAY"
    IOC = "IOC"
    GTD = "GTD"


class OcaType(IntEnum):
    """What a fill does to the other orders of its group: ends them, or takes its share of their size (both kinds)."""

    CANCEL = 1
    REDUCE_WITH_BLOCK = 2
    REDUCE = 3


class Leg(msgspec.Struct, frozen=True):
    """One leg of a combination: so many contracts of it, bought or sold, for each one that is bought."""

    con_id: int
    ratio: int
    side: Side


class Order(msgspec.Struct, frozen=True):
    """An order as a client sends it; `perm_id` 0 means not yet accepted; `good_till_utc` is when a GTD order ends.

    `parent_id` is the order of the same client that it is attached to, 0 for none; orders of one `oca_group` end each
    other. `is_stop_limit` says of a stop that `limit_ticks` holds once it is triggered. Only a combination has `legs`;
    its prices are those of all legs together, below zero for a credit.
    """

    con_id: int
    side: Side
    qty: Qty
    type: OrderType
    client_id: int
    order_id: int
    limit_ticks: Ticks | None = None
    stop_ticks: Ticks | None = None
    tif: TimeInForce = TimeInForce.DAY
    account: str = ""
    order_ref: str = ""
    good_till_utc: Utc | None = None
    perm_id: int = 0
    parent_id: int = 0
    oca_group: str = ""
    oca_type: OcaType = OcaType.REDUCE
    is_stop_limit: bool = False
    legs: tuple[Leg, ...] = ()

    @property
    def limit(self) -> Ticks | None:
        """The price beyond which it may not fill; `None` where any price will do."""
        return self.limit_ticks if self.type is OrderType.LIMIT or self.is_stop_limit else None


class OrderState(msgspec.Struct, frozen=True):
    """The state of an order; `cost_ticks` is the sum of price times quantity of its fills."""

    order: Order
    status: IBStatus
    filled_qty: Qty
    cost_ticks: int
    last_fill_ticks: Ticks
    at_utc: Utc

    @property
    def remaining_qty(self) -> Qty:
        """What is still to be filled."""
        return self.order.qty - self.filled_qty

    @property
    def average_ticks(self) -> float:
        """The average fill price in ticks, 0 before the first fill."""
        return self.cost_ticks / self.filled_qty if self.filled_qty else 0.0


class WhatIf(msgspec.Struct, frozen=True):
    """The simple margin of an order: what it would block and what it would cost."""

    margin_before_cents: Cents
    margin_change_cents: Cents
    equity_cents: Cents
    fee_cents: Cents
