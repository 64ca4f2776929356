"""How an order of ours is priced and how it escalates: entries one step up, exits from mid to bid to market.

Source: risk-and-execution.md §5, whose rules are those of a premium that is bought to open and sold to close; what is
sold to open is the short leg of a structure and closed by `cover_ticket`. Prices are `_ticks`; a quote is handed in
only while it is fresh, `None` otherwise.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from domain.instruments import OrderType, Quote, Side
from domain.limits import ExitRules
from domain.options.tick_rules import TickRule, passive, round_down, round_up, toward_fill
from domain.position.cycle import ExitReason
from domain.units import Ticks


class Tier(IntEnum):
    """How hard an exit order tries; each is a modification of the same order."""

    NONE = 0
    MID = 1
    BID = 2
    MARKET = 3


AT_MARKET = frozenset({ExitReason.KILL, ExitReason.EOD, ExitReason.OPERATOR})
STOP_CLASS = frozenset({
    ExitReason.PREMIUM_STOP, ExitReason.UNDERLYING_STOP, ExitReason.BLIND, ExitReason.DISASTER,
    ExitReason.ASSIGNMENT_RISK, ExitReason.POSITION_LOSS, ExitReason.UNWIND,
})  # fmt: skip


class Ticket(msgspec.Struct, frozen=True):
    """Type and price of an exit order at a tier."""

    tier: Tier
    order_type: OrderType
    limit_ticks: Ticks | None


def first_tier(reason: ExitReason) -> Tier:
    """Return the tier at which an exit starts."""
    if reason in AT_MARKET:
        return Tier.MARKET
    return Tier.BID if reason in STOP_CLASS else Tier.MID


def next_tier(tier: Tier) -> Tier:
    """Return the tier after this one; there is nothing above the market."""
    return Tier(min(tier + 1, Tier.MARKET))


def tier_wait_ms(reason: ExitReason, tier: Tier, rules: ExitRules) -> int:
    """Return how long an exit order stays at a tier (at the market: until the broker is asked what became of it)."""
    if tier is Tier.MID:
        return rules.tier_mid_ms
    if tier is Tier.BID and reason is ExitReason.BLIND:
        return rules.blind_market_ms - rules.blind_exit_ms
    if tier is Tier.BID and reason in STOP_CLASS:
        return rules.stop_tier_quote_ms
    return rules.tier_quote_ms


def exit_ticket(
    reason: ExitReason,
    at_least: Tier,
    quote: Quote | None,
    last_bid_ticks: float | None,
    rule: TickRule,
    rules: ExitRules,
) -> Ticket | None:
    """Return type and price of an exit; `None` when it needs a quote that is not there (the blind rule is next).

    `quote` is one that may be traded on. `last_bid_ticks` is the last bid known, fresh or not; a stop without a quote
    starts from it, less the blind discount.
    """
    tier = max(first_tier(reason), at_least)
    bid = None if quote is None else quote.bid_ticks
    if tier is Tier.MARKET or (bid is None and reason is ExitReason.MAX_HOLD):
        return Ticket(Tier.MARKET, OrderType.MARKET, None)
    if quote is None or bid is None or reason is ExitReason.BLIND:
        if reason not in STOP_CLASS or last_bid_ticks is None:
            return None
        return Ticket(Tier.BID, OrderType.LIMIT, below_last_bid(last_bid_ticks, rule, rules))
    price = float(bid)
    if tier is Tier.MID and quote.mid_x2 is not None and not is_crossed(quote):
        price = quote.mid_x2 / 2
    rounded = passive if reason is ExitReason.TAKE_PROFIT else toward_fill
    return Ticket(tier, OrderType.LIMIT, max(rounded(rule, Side.SELL, price), floor_of(rule, rules)))


def cover_ticket(reason: ExitReason, at_least: Tier, quote: Quote | None, rule: TickRule) -> Ticket:
    """Return type and price of the purchase that closes what was sold to open.

    `quote` is one that may be traded on. Without it the purchase goes to the market: nothing bounds what waiting costs.
    """
    tier = max(first_tier(reason), at_least)
    if tier is Tier.MARKET or quote is None or quote.ask_ticks is None or quote.mid_x2 is None:
        return Ticket(Tier.MARKET, OrderType.MARKET, None)
    price = quote.mid_x2 / 2 if tier is Tier.MID else float(quote.ask_ticks)
    return Ticket(tier, OrderType.LIMIT, toward_fill(rule, Side.BUY, price))


def above_last_ask(last_ask_ticks: float, rule: TickRule, rules: ExitRules) -> Ticks:
    """Return the limit of a purchase at the last ask known and the blind discount above it."""
    return max(round_up(rule, last_ask_ticks * (1 + rules.blind_discount)), floor_of(rule, rules))


def floor_of(rule: TickRule, rules: ExitRules) -> Ticks:
    """Return the lowest price at which an exit is ever offered."""
    return max(rule.low_ticks, rules.price_min_ticks)


def below_last_bid(last_bid_ticks: float, rule: TickRule, rules: ExitRules) -> Ticks:
    """Return the limit of a sale at the last bid known, less the blind discount."""
    return max(round_down(rule, last_bid_ticks * (1 - rules.blind_discount)), floor_of(rule, rules))


def disaster_trigger(average_ticks: float, rule: TickRule, rules: ExitRules) -> Ticks:
    """Return the trigger of the stop that rests at the broker, for what was bought at this average price."""
    return max(round_down(rule, average_ticks * (1 - rules.disaster_stop_premium)), floor_of(rule, rules))


def raised_entry_ticks(
    quote: Quote, limit_ticks: Ticks, ask_max_ticks: Ticks, share: float, rule: TickRule
) -> Ticks | None:
    """Return the entry's second limit: mid + `share` of the spread, at most the decision's ask; `None` for no raise."""
    if quote.mid_x2 is None or quote.ask_ticks is None or quote.bid_ticks is None or is_crossed(quote):
        return None
    spread = quote.ask_ticks - quote.bid_ticks
    wanted = passive(rule, Side.BUY, min(quote.mid_x2 / 2 + share * spread, ask_max_ticks))
    return wanted if wanted > limit_ticks else None


def is_crossed(quote: Quote) -> bool:
    """Return whether the bid is above the ask (both must be there)."""
    return bool(quote.bid_ticks and quote.ask_ticks is not None and quote.bid_ticks > quote.ask_ticks)
