"""Combinations: what all legs together cost at the quotes of the moment, and what they can lose."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from domain.instruments import Contract, Right, Side
from domain.units import Cents, Qty, Ticks
from simulation.broker.orders import Leg, Order
from simulation.broker.quoted import QuotedMarket

COMBO_CON_ID = 28_812_380  # the contract id under which IB reports every combination of options
INDEX_INCREMENT_TICKS, INCREMENT_TICKS = 5, 1  # of the price of all legs together

Holding = tuple[Contract, Qty]  # signed


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


def touch(market: QuotedMarket, order: Order) -> Touch | None:
    """Return what an order for a combination trades at now; `None` where a leg has no price or no size to trade at."""
    prices: list[Ticks] = []
    sizes: list[int] = []
    for leg in order.legs:
        quote = market.quote(leg.con_id)
        if quote is None:
            return None
        is_buy = side_of(leg, order) is Side.BUY
        price, size = (quote.ask_ticks, quote.ask_size) if is_buy else (quote.bid_ticks, quote.bid_size)
        if not price:
            return None
        prices.append(price)
        sizes.append(size // leg.ratio)
    return Touch(price_of(order.legs, prices), Qty(min(sizes)), tuple(prices))


def worst_loss_cents(holdings: Sequence[Holding]) -> Cents | None:
    """Return what holdings of one ticker lose at most when they expire; `None` where that has no bound.

    A long that expires before a short covers nothing.
    """
    shorts_until = max((contract.expiry for contract, qty in holdings if qty < 0), default=None)
    if shorts_until is None:
        return Cents(0)
    counted = [(contract, qty) for contract, qty in holdings if qty < 0 or contract.expiry >= shorts_until]
    if sum(qty * contract.multiplier for contract, qty in counted if contract.right is Right.CALL) < 0:
        return None
    prices = {0, *(contract.strike_ticks for contract, _ in counted)}
    return Cents(max(0, *(-_value_cents(counted, price) for price in prices)))


def _value_cents(holdings: Sequence[Holding], price_ticks: int) -> int:
    def intrinsic(contract: Contract) -> int:
        gap = price_ticks - contract.strike_ticks
        return max(0, gap if contract.right is Right.CALL else -gap)

    return sum(qty * contract.multiplier * intrinsic(contract) for contract, qty in holdings)
