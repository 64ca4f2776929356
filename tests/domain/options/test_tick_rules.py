"""Increments by class and rounding onto them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instruments import Side
from domain.options.tick_rules import (
    OrderKind,
    TickRule,
    is_on_tick,
    passive,
    round_down,
    round_up,
    rule_of,
    toward_fill,
)
from tests.testkit.paths import DATA

CASES = DATA / "rules_and_tax_cases.json"
RULES = [rule_of(c) for c in ("SPXW", "SPY", "NVDA", "RUT")]


def test_published_cases_are_judged_as_published() -> None:
    cases = json.loads(CASES.read_text(encoding="utf-8"))["cboe_tick_rules"]["cases"]
    assert len(cases) >= 15
    for trading_class, kind, price, is_valid in cases:
        rule = rule_of(trading_class, OrderKind(kind))
        assert is_on_tick(rule, round(price * 1_000) / 10) == is_valid, (trading_class, kind, price)


@pytest.mark.parametrize(
    ("trading_class", "below", "from_three"),
    [("SPX", 5, 10), ("SPXW", 5, 10), ("IWM", 1, 1), ("TSLA", 1, 5), ("RUT", 5, 10), ("ZZZZ", 5, 10)],
)
def test_class_has_its_increments(trading_class: str, below: int, from_three: int) -> None:
    rule = rule_of(trading_class)
    assert (rule.increment(299), rule.increment(300)) == (below, from_three)


@pytest.mark.parametrize(
    ("side", "price_ticks", "away", "toward"),
    [
        (Side.BUY, 297.5, 295, 300),
        (Side.SELL, 297.5, 300, 295),
        (Side.BUY, 304, 300, 310),
        (Side.SELL, 304, 310, 300),
        (Side.BUY, 300, 300, 300),
        (Side.SELL, 1.5, 5, 5),
        (Side.BUY, 1.5, 5, 5),
        (Side.SELL, 0, 5, 5),
    ],
)
def test_rounding_by_side_on_index_options(side: Side, price_ticks: float, away: int, toward: int) -> None:
    rule = rule_of("SPXW")
    assert passive(rule, side, price_ticks) == away
    assert toward_fill(rule, side, price_ticks) == toward


@given(rule=st.sampled_from(RULES), quarters=st.integers(0, 40_000))
def test_rounded_prices_are_valid_and_nearest_on_their_side(rule: TickRule, quarters: int) -> None:
    price_ticks = quarters / 4
    low, high = round_down(rule, price_ticks), round_up(rule, price_ticks)
    assert is_on_tick(rule, low) and is_on_tick(rule, high)
    assert low <= max(price_ticks, rule.low_ticks) and high >= price_ticks
    between = range(low + 1, high)
    assert not [p for p in between if is_on_tick(rule, p)]
