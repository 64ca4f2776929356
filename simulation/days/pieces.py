"""The desk's own orders at the exchange of a simulated day, contract by contract: of a combination each leg."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from domain.instruments import Side
from domain.orders.references import is_ours
from simulation.broker.combos import side_of
from simulation.broker.exchange import Exchange
from simulation.broker.orders import Order


class Piece(msgspec.Struct, frozen=True):
    """What an order trades of one contract; `is_leg`: as a leg of a combination, which fills whole or not at all."""

    order_ref: str
    con_id: int
    side: Side
    filled_qty: int
    is_leg: bool

    @property
    def signed_qty(self) -> int:
        """What it has added to what is held."""
        return self.filled_qty * self.side.sign


def pieces_of(exchange: Exchange) -> Iterator[Piece]:
    """Yield what each order of the desk has traded, and may still trade, of each contract."""
    for working in exchange._orders.values():
        if is_ours(working.order.order_ref):
            yield from _pieces(working.order, working.filled_qty)


def contracts_of(order: Order) -> tuple[tuple[int, Side], ...]:
    """Return the contracts that an order trades, and on which side."""
    return tuple((leg.con_id, side_of(leg, order)) for leg in order.legs) or ((order.con_id, order.side),)


def _pieces(order: Order, filled_qty: int) -> Iterator[Piece]:
    if not order.legs:
        yield Piece(order.order_ref, order.con_id, order.side, filled_qty, is_leg=False)
    for leg in order.legs:
        yield Piece(order.order_ref, leg.con_id, side_of(leg, order), filled_qty * leg.ratio, is_leg=True)
