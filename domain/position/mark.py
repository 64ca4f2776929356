"""What a held position is worth: its mark while it is traded, its intrinsic value once it has expired."""

from __future__ import annotations

import msgspec

from domain.instants import SECOND
from domain.instruments import Contract, DataType, Right, Side
from domain.position.exits import MarketWatch
from domain.position.fills import Fills
from domain.units import Cents, Ticks, Utc

MARK_AGE_MAX = 60 * SECOND  # a mid older than this is no mark any more (risk-and-execution.md §2, day P&L)


class Mark(msgspec.Struct, frozen=True):
    """The unrealised result, and the instant of the price behind it; both `None` where there is no price."""

    unrealised_cents: Cents | None
    at_utc: Utc | None


def mark_of(fills: Fills, watch: MarketWatch, multiplier: int, now: Utc) -> Mark:
    """Return the mark of what is held: at mid, last good at most 60 s old, else at the price that closes at once."""
    if fills.held <= 0:
        return Mark(Cents(0), now)
    cost = fills.cost_cents(multiplier)
    if watch.good_mid_x2 is not None and watch.good_utc is not None and now - watch.good_utc <= MARK_AGE_MAX:
        value = watch.good_mid_x2 * fills.held * multiplier // 2
        return Mark(Cents(fills.sign * (value - cost)), watch.good_utc)
    if watch.quote is not None and watch.quote.data_type == DataType.LIVE:
        price = watch.quote.bid_ticks if fills.side is Side.BUY else watch.quote.ask_ticks
        if price is not None:
            return Mark(Cents(fills.sign * (price * fills.held * multiplier - cost)), watch.quote.at_utc)
    return Mark(None, None)


def last_closing_ticks(fills: Fills, watch: MarketWatch) -> float:
    """Return the last price known at which one contract of what is held could have been closed.

    Of a long one that is the bid, and nothing without one; of a short one the ask, and without one what it was sold
    for: nothing is never what a short costs.
    """
    if fills.side is Side.BUY:
        return watch.last_bid_ticks or 0
    ask = None if watch.quote is None else watch.quote.ask_ticks
    return ask or fills.average_ticks or 0


def intrinsic_ticks(contract: Contract, underlying_ticks: Ticks) -> Ticks:
    """Return what one expired contract is worth at the settlement price of its underlying."""
    sign = 1 if contract.right is Right.CALL else -1
    return max(Ticks(sign * (underlying_ticks - contract.strike_ticks)), Ticks(0))
