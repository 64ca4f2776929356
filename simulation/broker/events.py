"""What the simulated exchange reports: states of orders, executions with their fees, positions, errors."""

from __future__ import annotations

import msgspec

from domain.units import Cents, Qty, Ticks, Utc
from simulation.broker.orders import Order, OrderState
from simulation.broker.portfolio import Position


class Execution(msgspec.Struct, frozen=True):
    """One execution; `cum_qty` and `cum_cost_ticks` (the sum of price times quantity) include it."""

    exec_id: str
    order: Order
    qty: Qty
    price_ticks: Ticks
    cum_qty: Qty
    cum_cost_ticks: int
    at_utc: Utc


class Commission(msgspec.Struct, frozen=True):
    """The fees of one execution; `realised_cents` is `None` for one that only opened."""

    exec_id: str
    order: Order
    fee_cents: Cents
    realised_cents: Cents | None


class PositionChange(msgspec.Struct, frozen=True):
    """The new position of a contract; `settled_cents` is what settling paid, `None` for a trade."""

    position: Position
    at_utc: Utc
    settled_cents: Cents | None = None
    account: str = ""


class OrderError(msgspec.Struct, frozen=True):
    """A vendor code on an order, as IB sends it."""

    client_id: int
    order_id: int
    code: int
    text: str


ExchangeEvent = OrderState | Execution | Commission | PositionChange | OrderError
