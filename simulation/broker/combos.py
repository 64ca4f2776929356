"""Combinations: what all legs together cost at the quotes of the moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from domain.instruments import Quote, Side
from domain.units import Qty, Ticks
from simulation.broker.orders import Leg, Order

INDEX_INCREMENT_TICKS, INCREMENT_TICKS = 5, 1  # of the price of all legs together


class Touch(msgspec.Struct, frozen=True):
    """What a combination trades at now: `price_ticks` of one, of how many, and at which price of each leg."""

    price_ticks: Ticks
    qty: Qty
    leg_ticks: tuple[Ticks, ...]


def side_of(leg: Leg, order: Order) -> Side:
    """Return what is done with a leg: the leg's own side where the combination is bought, the other where sold."""
    if order.side is Side.BUY:
        return leg.side
    return Side.SELL if leg.side is Side.BUY else Side.BUY


def price_of(legs: Sequence[Leg], leg_ticks: Sequence[Ticks]) -> Ticks:
    """Return the price of one combination at prices of its legs; negative where buying it pays."""
    priced = zip(legs, leg_ticks, strict=True)
    return Ticks(sum(leg.ratio * price * (1 if leg.side is Side.BUY else -1) for leg, price in priced))


def touch(quote_of: Callable[[int], Quote | None], order: Order) -> Touch | None:
    """Return what an order for a combination trades at now; `None` where a leg has no price or no size to trade at."""
    prices: list[Ticks] = []
    sizes: list[int] = []
    for leg in order.legs:
        quote = quote_of(leg.con_id)
        if quote is None:
            return None
        is_buy = side_of(leg, order) is Side.BUY
        price, size = (quote.ask_ticks, quote.ask_size) if is_buy else (quote.bid_ticks, quote.bid_size)
        if not price:
            return None
        prices.append(price)
        sizes.append(size // leg.ratio)
    return Touch(price_of(order.legs, prices), Qty(min(sizes)), tuple(prices))
