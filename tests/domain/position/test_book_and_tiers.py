"""The fold of fills, and the prices of entry and exit orders."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instruments import OrderType, Quote, Side
from domain.options.tick_rules import INDEX_RULE, PENNY_AT_ALL_PRICES_RULE
from domain.orders.tiers import Tier, exit_ticket, first_tier, next_tier, raised_entry_ticks, tier_wait_ms
from domain.position.book import Book, new_life, with_fees, with_fill
from domain.position.cycle import ExitReason
from domain.position.exits import SEVERITY
from tests.testkit.position_history import T0, settings

RULES = settings().exits


def book_of(*fills: tuple[str, Side, int, int]) -> Book:
    book = Book()
    for ref, side, qty, cost in fills:
        book = with_fill(book, ref, side, qty, cost, 1)
    return book


def test_average_cost_and_result_of_a_part_sold():
    book = book_of(("e", Side.BUY, 3, 1500), ("x1", Side.SELL, 1, 700))
    assert (book.held, book.average_ticks) == (2, 500)
    assert (book.cost_cents(100), book.realised_cents(100)) == (100_000, 20_000)


def test_settlement_realises_the_whole_rest():
    book = book_of(("e", Side.BUY, 2, 1000), ("x1", Side.SELL, 1, 700))
    assert book.realised_cents(100, settled_ticks=0) == -30_000


def test_totals_that_go_back_were_overtaken_unless_they_are_a_correction():
    book = book_of(("e", Side.BUY, 3, 1500))
    assert with_fill(book, "e", Side.BUY, 2, 1000, 1) == book
    assert with_fill(book, "e", Side.BUY, 2, 1000, 2).held == 2


def test_fees_are_totals_per_order():
    book = with_fees(with_fees(book_of(("e", Side.BUY, 1, 500)), "e", Side.BUY, 65, 1), "e", Side.BUY, 65, 1)
    assert book.fees_cents == 65


def test_late_fill_of_an_earlier_life_is_booked_in_the_present_one():
    book = new_life(book_of(("a-e", Side.BUY, 1, 500), ("a-x1", Side.SELL, 1, 600)))
    assert (book.held, book.realised_cents(100)) == (0, 0)
    late = with_fill(book, "a-e", Side.BUY, 2, 990, 1)
    assert (late.held, late.average_ticks) == (1, 490)


@given(st.lists(st.tuples(st.sampled_from(["e", "x1", "x2"]), st.integers(1, 3), st.integers(1, 900)), max_size=12))
def test_telling_everything_twice_changes_nothing(fills):
    once = twice = Book()
    totals: dict[str, tuple[int, int]] = {}
    for ref, qty, price in fills:
        before = totals.get(ref, (0, 0))
        totals[ref] = (before[0] + qty, before[1] + qty * price)
        side = Side.BUY if ref == "e" else Side.SELL
        once = with_fill(once, ref, side, *totals[ref], 1)
        twice = with_fill(with_fill(twice, ref, side, *totals[ref], 1), ref, side, *totals[ref], 1)
        twice = with_fill(twice, ref, side, *before, 1)
    assert once == twice
    assert once.held == sum(q if r == "e" else -q for r, (q, _) in totals.items())


def quote(bid: int | None, ask: int | None) -> Quote:
    return Quote(1, bid, ask, 1, 1, T0)


@pytest.mark.parametrize("reason", ExitReason)
def test_severity_follows_the_enums_order_and_every_reason_ends_at_the_market(reason):
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
        (ExitReason.KILL, Tier.NONE, 0, 5, (Tier.MARKET, OrderType.LIMIT, 5)),
        (ExitReason.MAX_HOLD, Tier.NONE, 820, 810, (Tier.MID, OrderType.LIMIT, 820)),  # crossed: the bid
    ],
)
def test_exit_price_by_reason_and_tier(reason, floor, bid, ask, wanted):
    ticket = exit_ticket(reason, floor, quote(bid, ask), 790, INDEX_RULE, RULES)
    assert (ticket.tier, ticket.order_type, ticket.limit_ticks) == wanted


def test_exits_without_a_fresh_quote():
    def ticket(reason: ExitReason, last: int | None = 500) -> object:
        return exit_ticket(reason, Tier.NONE, None, last, INDEX_RULE, RULES)

    assert ticket(ExitReason.TAKE_PROFIT) is None
    assert ticket(ExitReason.EOD).order_type is OrderType.MARKET
    assert ticket(ExitReason.MAX_HOLD).order_type is OrderType.MARKET
    assert ticket(ExitReason.UNDERLYING_STOP).limit_ticks == 450
    assert ticket(ExitReason.BLIND, 5).limit_ticks == 5  # never below the minimum tick


def test_entry_is_raised_by_a_share_of_the_spread_and_not_above_the_decisions_ask():
    rule = PENNY_AT_ALL_PRICES_RULE
    assert raised_entry_ticks(quote(100, 110), 105, 110, 0.25, rule) == 107
    assert raised_entry_ticks(quote(100, 110), 105, 106, 0.25, rule) == 106
    assert raised_entry_ticks(quote(100, 110), 107, 110, 0.25, rule) is None
    assert raised_entry_ticks(quote(112, 110), 105, 110, 0.25, rule) is None
