"""The prices of entry and exit orders, and how an exit escalates."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from domain.instruments import OrderType, Quote
from domain.options.tick_rules import INDEX_RULE, PENNY_AT_ALL_PRICES_RULE
from domain.orders.tiers import (
    Ticket,
    Tier,
    disaster_trigger,
    exit_ticket,
    first_tier,
    next_tier,
    raised_entry_ticks,
    tier_wait_ms,
)
from domain.position.cycle import ExitReason
from domain.position.exits import SEVERITY
from tests.testkit.narrow import known
from tests.testkit.position_history import T0, settings

RULES = settings().exits


def quote(bid: int | None, ask: int | None) -> Quote:
    return Quote(1, bid, ask, 1, 1, T0)


@pytest.mark.parametrize("reason", ExitReason)
def test_severity_follows_the_enums_order_and_every_reason_ends_at_the_market(reason: ExitReason) -> None:
    reasons = list(ExitReason)
    assert all(SEVERITY[a] >= SEVERITY[b] for a, b in itertools.pairwise(reasons))
    tier = first_tier(reason)
    for _ in Tier:
        assert tier_wait_ms(reason, tier, RULES) > 0
        tier = next_tier(tier)
    assert tier is Tier.MARKET


@pytest.mark.parametrize(
    ("reason", "floor", "bid", "ask", "wanted"),
    [
        (ExitReason.TAKE_PROFIT, Tier.NONE, 795, 806, (Tier.MID, OrderType.LIMIT, 810)),
        (ExitReason.MAX_HOLD, Tier.NONE, 795, 806, (Tier.MID, OrderType.LIMIT, 800)),
        (ExitReason.MAX_HOLD, Tier.BID, 790, 810, (Tier.BID, OrderType.LIMIT, 790)),
        (ExitReason.PREMIUM_STOP, Tier.NONE, 790, 810, (Tier.BID, OrderType.LIMIT, 790)),
        (ExitReason.PREMIUM_STOP, Tier.MARKET, 790, 810, (Tier.MARKET, OrderType.MARKET, None)),
        (ExitReason.KILL, Tier.NONE, 790, 810, (Tier.MARKET, OrderType.MARKET, None)),
        (ExitReason.DISASTER, Tier.MARKET, 790, 810, (Tier.MARKET, OrderType.MARKET, None)),
        (ExitReason.MAX_HOLD, Tier.NONE, 820, 810, (Tier.MID, OrderType.LIMIT, 820)),  # crossed: the bid
    ],
)
def test_exit_price_by_reason_and_tier(
    reason: ExitReason, floor: Tier, bid: int, ask: int, wanted: tuple[Tier, OrderType, int | None]
) -> None:
    ticket = known(exit_ticket(reason, floor, quote(bid, ask), 790, INDEX_RULE, RULES))
    assert (ticket.tier, ticket.order_type, ticket.limit_ticks) == wanted


def test_exits_without_a_fresh_quote() -> None:
    def ticket(reason: ExitReason, last: int | None = 500) -> Ticket | None:
        return exit_ticket(reason, Tier.NONE, None, last, INDEX_RULE, RULES)

    assert ticket(ExitReason.TAKE_PROFIT) is None
    assert known(ticket(ExitReason.EOD)).order_type is OrderType.MARKET
    assert known(ticket(ExitReason.MAX_HOLD)).order_type is OrderType.MARKET
    assert known(ticket(ExitReason.UNDERLYING_STOP)).limit_ticks == 450
    assert known(ticket(ExitReason.BLIND, 5)).limit_ticks == 5  # never below the minimum tick


def test_entry_is_raised_by_a_share_of_the_spread_and_not_above_the_decisions_ask() -> None:
    rule = PENNY_AT_ALL_PRICES_RULE
    assert raised_entry_ticks(quote(100, 110), 105, 110, 0.25, rule) == 107
    assert raised_entry_ticks(quote(100, 110), 105, 106, 0.25, rule) == 106
    assert raised_entry_ticks(quote(100, 110), 107, 110, 0.25, rule) is None
    assert raised_entry_ticks(quote(112, 110), 105, 110, 0.25, rule) is None


WAITS = dataclasses.replace(RULES, tier_mid_ms=4000, tier_quote_ms=5000, stop_tier_quote_ms=2000)


@pytest.mark.parametrize(
    ("reason", "tier", "wait_ms"),
    [
        (ExitReason.TAKE_PROFIT, Tier.MID, WAITS.tier_mid_ms),
        (ExitReason.PREMIUM_STOP, Tier.MID, WAITS.tier_mid_ms),
        (ExitReason.TAKE_PROFIT, Tier.BID, WAITS.tier_quote_ms),
        (ExitReason.PREMIUM_STOP, Tier.BID, WAITS.stop_tier_quote_ms),
        (ExitReason.DISASTER, Tier.BID, WAITS.stop_tier_quote_ms),
        (ExitReason.BLIND, Tier.BID, WAITS.blind_market_ms - WAITS.blind_exit_ms),  # the market after 60 s in the dark
        (ExitReason.BLIND, Tier.MARKET, WAITS.tier_quote_ms),
        (ExitReason.PREMIUM_STOP, Tier.MARKET, WAITS.tier_quote_ms),
    ],
)
def test_how_long_an_exit_stays_at_a_tier(reason: ExitReason, tier: Tier, wait_ms: int) -> None:
    assert tier_wait_ms(reason, tier, WAITS) == wait_ms


def test_a_blind_exit_goes_below_the_last_bid_also_where_a_quote_is_there() -> None:
    ticket = known(exit_ticket(ExitReason.BLIND, Tier.NONE, quote(490, 510), 500, INDEX_RULE, RULES))
    assert (ticket.tier, ticket.limit_ticks) == (Tier.BID, 450)
    disaster = known(exit_ticket(ExitReason.DISASTER, Tier.NONE, quote(490, 510), 500, INDEX_RULE, RULES))
    assert (disaster.tier, disaster.limit_ticks) == (Tier.BID, 490)


def test_a_disaster_stop_triggers_where_its_share_of_the_average_is_lost() -> None:
    assert RULES.disaster_stop_premium == 0.6
    assert disaster_trigger(1000, INDEX_RULE, RULES) == 400
    assert disaster_trigger(5, INDEX_RULE, RULES) == 5  # never below the smallest tick


def test_a_locked_quote_may_raise_an_entry_and_a_crossed_one_may_not() -> None:
    rule = PENNY_AT_ALL_PRICES_RULE
    assert raised_entry_ticks(quote(108, 108), 105, 110, 0.25, rule) == 108
    assert raised_entry_ticks(quote(108, 107), 105, 110, 0.25, rule) is None
    assert raised_entry_ticks(quote(None, 108), 105, 110, 0.25, rule) is None
    assert raised_entry_ticks(quote(108, None), 105, 110, 0.25, rule) is None
