"""Where another exit profile would have left a position, on the same quotes: its would-be exits, sold at the bid.

It never sells anything. What it still holds when the position itself is closed goes with it, at the same price.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from domain.limits import ExitRules
from domain.position import exits
from domain.position.cycle import ExitKind, ExitReason
from domain.position.exits import HeldPosition, MarketWatch, WantedExit
from domain.position.profiles import Profile
from domain.units import Qty, Ticks, Utc


class WouldBeExit(msgspec.Struct, frozen=True):
    """A sale that was not made: `price_ticks` is the bid of that instant (0 where nobody bid, and none was known)."""

    reason: ExitReason
    qty: Qty
    price_ticks: Ticks
    at_utc: Utc


class Shadow(msgspec.Struct, frozen=True):
    """What the other profile holds of a position: `followed` contracts in all, `left` of them still.

    `wanted` is an exit that waits for a bid. `watch` has runs and checkpoint of its own.
    """

    watch: MarketWatch
    followed: Qty = Qty(0)
    left: Qty = Qty(0)
    took_part: bool = False
    wanted: WantedExit | None = None
    sales: tuple[WouldBeExit, ...] = ()


def looked(
    shadow: Shadow, market: MarketWatch, held: HeldPosition, opened_qty: Qty, profile: Profile, now: Utc,
    *, is_slow_due: bool,
) -> Shadow:  # fmt: skip
    """Return the shadow after a look at the market.

    Args:
        shadow: before it.
        market: what the position itself watches; its quotes and prices are the shadow's, too.
        held: the position; how much of it is left is the shadow's own affair.
        opened_qty: contracts that it has bought in all.
        profile: the rules that the shadow leaves by.
        now: the instant.
        is_slow_due: whether the slow rules look, too.
    """
    more = opened_qty - shadow.followed
    shadow = replace(shadow, followed=opened_qty, left=Qty(shadow.left + more), watch=_seen(shadow.watch, market))
    if shadow.left <= 0:
        return shadow
    own = replace(held, qty=shadow.left, took_part=shadow.took_part)
    rules, ticker = profile.exits, profile.ticker
    watch = exits.observe(shadow.watch, own, now, rules, ticker)
    found = [exits.pick_hard(watch, own, now, rules, ticker)]
    if is_slow_due:
        found.append(exits.pick_slow(watch, own, now, rules, ticker))
    wanted = shadow.wanted
    for one in found:
        if one is not None and exits.is_more(one, wanted):
            wanted = exits.raised(one, wanted)
    shadow = replace(shadow, watch=watch, wanted=wanted)
    return shadow if wanted is None else _sold(shadow, wanted, now, rules)


def result_ticks(shadow: Shadow, opened_cost_ticks: int, close_ticks: float) -> int:
    """Return what the shadow came to, in ticks × contracts, before fees.

    `close_ticks` is the average price at which the position itself was closed: what the shadow has left goes at it.
    """
    sold = sum(sale.qty * sale.price_ticks for sale in shadow.sales)
    return round(sold + shadow.left * close_ticks) - opened_cost_ticks


def _seen(own: MarketWatch, market: MarketWatch) -> MarketWatch:
    return replace(
        own, seen_utc=market.seen_utc, quote=market.quote, spot=market.spot, good_mid_x2=market.good_mid_x2,
        good_utc=market.good_utc, last_bid_ticks=market.last_bid_ticks,
    )  # fmt: skip


def _sold(shadow: Shadow, wanted: WantedExit, now: Utc, rules: ExitRules) -> Shadow:
    """Return the shadow after the sale that is wanted, or as it is where nobody bids for now."""
    price_ticks = _bid(shadow.watch, wanted, now, rules)
    if price_ticks is None:
        return shadow
    is_part = wanted.kind is ExitKind.TAKE_PART
    qty = Qty((shadow.left + 1) // 2) if is_part else shadow.left
    return replace(
        shadow, left=Qty(shadow.left - qty), took_part=shadow.took_part or is_part, wanted=None,
        watch=exits.without_breaches(shadow.watch),
        sales=(*shadow.sales, WouldBeExit(wanted.reason, qty, price_ticks, now)),
    )  # fmt: skip


def _bid(watch: MarketWatch, wanted: WantedExit, now: Utc, rules: ExitRules) -> Ticks | None:
    """Return what a sale would get: the bid, where blind the last one less its discount; `None`: wait for a quote."""
    quote = exits.tradable_quote(watch, now, rules)
    if quote is not None:
        return quote.bid_ticks
    if wanted.reason is not ExitReason.BLIND:
        return None
    last_ticks = watch.last_bid_ticks
    return Ticks(0) if last_ticks is None else Ticks(int(last_ticks * (1 - rules.blind_discount)))
