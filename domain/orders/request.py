"""What is asked of a broker: a new order, or a change of a working one."""

from __future__ import annotations

import msgspec

from domain.instruments import Contract, OrderType, Side
from domain.orders.combo import ComboLeg
from domain.units import Qty, Ticks, Utc


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A new order; prices are `None` where the type has none.

    `good_till_utc`: the venue itself ends the order then (tif GTD); `None`: tif DAY. Every entry carries one.
    """

    order_ref: str
    contract: Contract
    side: Side
    qty: Qty
    order_type: OrderType
    limit_ticks: Ticks | None
    stop_ticks: Ticks | None = None
    is_exit: bool
    deadline_utc: Utc
    good_till_utc: Utc | None = None


class OrderPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A leg of an order for a combination, as its position knows it: under a reference of its own.

    `leg` says what is done with it where the combination is bought. `held_qty` of an exit is what the ledger says is
    held of it, without a sign.
    """

    order_ref: str
    owner: str
    leg: ComboLeg
    held_qty: Qty = Qty(0)

    def side_in(self, side: Side) -> Side:
        """Return what an order of this side does with the leg."""
        return self.leg.side if side is Side.BUY else self.leg.side.opposite


class OrderChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a working order; `qty` is its new total, what is filled already included."""

    order_ref: str
    qty: Qty
    order_type: OrderType
    limit_ticks: Ticks | None
    is_exit: bool
    deadline_utc: Utc
