"""Minimum price increments of US options and rounding onto them, in `_ticks` of 1/100 USD.

Source of the increments: the exchange's contract specification of SPX and the penny interval
programme, as collected in the project's reference data (`rules_and_tax_cases.json`). A broker's market
rule, where one was read, goes first.
"""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from domain.indices import SPX_CLASSES
from domain.instruments import Side
from domain.units import Ticks

BOUNDARY_TICKS = Ticks(300)  # increments change at 3.00 USD


class OrderKind(StrEnum):
    """What is priced: one option, a package of several, or a box (which has no market risk)."""

    SINGLE = "single"
    COMPLEX = "complex"
    BOX = "box"


class TickRule(msgspec.Struct, frozen=True):
    """The increments of a class: `low_ticks` below 3.00 USD, `high_ticks` from 3.00 USD."""

    low_ticks: Ticks
    high_ticks: Ticks

    def increment(self, price_ticks: float) -> Ticks:
        """Return the increment in force at a price."""
        return self.low_ticks if price_ticks < BOUNDARY_TICKS else self.high_ticks


INDEX_RULE = TickRule(Ticks(5), Ticks(10))
PENNY_AT_ALL_PRICES_RULE = TickRule(Ticks(1), Ticks(1))
PENNY_RULE = TickRule(Ticks(1), Ticks(5))
NON_PENNY_RULE = TickRule(Ticks(5), Ticks(10))
INDEX_COMPLEX_RULE = TickRule(Ticks(5), Ticks(5))
CENT_RULE = TickRule(Ticks(1), Ticks(1))

PENNY_AT_ALL_PRICES = frozenset({"SPY", "QQQ", "IWM"})
# The vendor's default single names and ETFs that are in the penny interval programme.
PENNY_CLASSES = frozenset({
    "DIA", "TLT", "GLD", "USO", "HYG", "AAPL", "MSFT", "NVDA", "AMZN", "META",
    "GOOGL", "TSLA", "AMD", "AVGO", "NFLX", "COIN", "MSTR", "PLTR", "SMCI", "INTC",
    "MU", "BABA", "CRWD", "GME", "HOOD", "TSM", "UBER", "ORCL", "SOFI", "SNOW",
})  # fmt: skip


def rule_of(trading_class: str, kind: OrderKind = OrderKind.SINGLE) -> TickRule:
    """Return the rule of a trading class; an unknown one is non-penny (the coarser rule is always valid)."""
    if trading_class in SPX_CLASSES:
        if kind is OrderKind.BOX:
            return CENT_RULE
        return INDEX_COMPLEX_RULE if kind is OrderKind.COMPLEX else INDEX_RULE
    if kind is not OrderKind.SINGLE:
        return CENT_RULE
    if trading_class in PENNY_AT_ALL_PRICES:
        return PENNY_AT_ALL_PRICES_RULE
    return PENNY_RULE if trading_class in PENNY_CLASSES else NON_PENNY_RULE


def is_on_tick(rule: TickRule, price_ticks: float) -> bool:
    """Return whether an order at this price would be accepted."""
    return price_ticks > 0 and price_ticks % rule.increment(price_ticks) == 0


def round_down(rule: TickRule, price_ticks: float) -> Ticks:
    """Return the highest valid price at or below one (fractions allowed), at least the smallest increment."""
    increment = rule.increment(price_ticks)
    return max(Ticks(math.floor(price_ticks / increment) * increment), rule.low_ticks)


def round_up(rule: TickRule, price_ticks: float) -> Ticks:
    """Return the lowest valid price at or above one (fractions allowed), at least the smallest increment."""
    increment = rule.increment(price_ticks)
    return max(Ticks(math.ceil(price_ticks / increment) * increment), rule.low_ticks)


def passive(rule: TickRule, side: Side, price_ticks: float) -> Ticks:
    """Return a price rounded away from the fill, for entries and takes: a buy down, a sell up."""
    return round_down(rule, price_ticks) if side is Side.BUY else round_up(rule, price_ticks)


def toward_fill(rule: TickRule, side: Side, price_ticks: float) -> Ticks:
    """Return a price rounded toward the fill, for stops: a buy up, a sell down."""
    return round_up(rule, price_ticks) if side is Side.BUY else round_down(rule, price_ticks)
