"""The simulated broker's books: cash, positions, fees and tick rules.

Money in `_cents`, prices in `_ticks` of 1/100 USD.
"""

from __future__ import annotations

import msgspec

from domain.instruments import Contract, Side
from domain.options.tick_rules import (
    BOUNDARY_TICKS,
    INDEX_RULE,
    PENNY_AT_ALL_PRICES_RULE,
    PENNY_RULE,
    rule_of,
)

INDEX_TICKERS = frozenset({"SPX", "VIX"})

# IB's market rule ids are its own; these are ours, one for each rule of `domain.options.tick_rules`.
RULE_IDS = {PENNY_AT_ALL_PRICES_RULE: 26, PENNY_RULE: 32, INDEX_RULE: 239}
TICK_RULES: dict[int, tuple[tuple[int, int], ...]] = {
    number: ((0, rule.low_ticks), (BOUNDARY_TICKS, rule.high_ticks)) for rule, number in RULE_IDS.items()
}

# IB's tiered option rates in cents a contract up to 10,000 contracts a month, by premium below so
# many ticks, and the minimum an order; the Cboe customer fee that IB passes on for SPX and SPXW,
# below and from a premium of 1.00. Source: IB's price pages, in rules_and_tax_cases.json.
COMMISSION_BANDS = ((5, 25), (10, 50))
COMMISSION_CENTS = 65
COMMISSION_ORDER_CENTS_MIN = 100
CBOE_INDEX_FEE_CENTS = (36, 45)


def rule_id(trading_class: str) -> int:
    """Name the market rule of an option class."""
    return RULE_IDS[rule_of(trading_class)]


def commission_cents(price_ticks: int, qty: int) -> int:
    """Give IB's commission of a fill before the minimum of the order and before exchange fees."""
    rate = next((rate for below, rate in COMMISSION_BANDS if price_ticks < below), COMMISSION_CENTS)
    return rate * qty


def exchange_fee_cents(contract: Contract, price_ticks: int, qty: int) -> int:
    """Give the exchange fee that IB passes on; nothing but the index classes of Cboe has one."""
    if contract.ticker not in INDEX_TICKERS:
        return 0
    return CBOE_INDEX_FEE_CENTS[price_ticks >= 100] * qty


class Position(msgspec.Struct, frozen=True):
    """What is held of one contract: `qty` and `cost_cents` signed, opening fees in the cost."""

    con_id: int
    qty: int = 0
    cost_cents: int = 0
    realised_cents: int = 0

    @property
    def average_cost_usd(self) -> float:
        """Give the cost of one contract in USD (multiplier included, IB's convention)."""
        return self.cost_cents / self.qty / 100 if self.qty else 0.0


class Book:
    """Cash and positions of one account."""

    def __init__(self, cash_cents: int) -> None:
        self.cash_cents = cash_cents
        self._positions: dict[int, Position] = {}

    def position(self, con_id: int) -> Position:
        """Give the position of a contract, a flat one if there never was any."""
        return self._positions.get(con_id) or Position(con_id)

    def held(self) -> list[Position]:
        """Give the positions that are not flat."""
        return [position for position in self._positions.values() if position.qty]

    @property
    def realised_cents(self) -> int:
        """Give the realised profit and loss of the account, fees included."""
        return sum(position.realised_cents for position in self._positions.values())

    def fill(self, contract: Contract, side: Side, qty: int, price_ticks: int, fee_cents: int) -> int | None:
        """Book a fill and give what its closing part realised; `None` if it only opened."""
        old = self.position(contract.con_id)
        signed = qty if side is Side.BUY else -qty
        value = signed * price_ticks * contract.multiplier
        self.cash_cents -= value + fee_cents
        is_closing = old.qty * signed < 0
        closed = min(abs(old.qty), qty) if is_closing else 0
        if not closed:
            self._set(old, old.qty + signed, old.cost_cents + value + fee_cents, 0)
            return None
        close_signed = closed if signed > 0 else -closed
        close_value = close_signed * price_ticks * contract.multiplier
        close_fee = fee_cents * closed // qty
        released = old.cost_cents * closed // abs(old.qty)
        realised = -close_value - released - close_fee
        rest_cost = old.cost_cents - released
        if closed < qty:
            rest_cost = value - close_value + fee_cents - close_fee
        self._set(old, old.qty + signed, rest_cost, realised)
        return realised

    def settle(self, contract: Contract, value_ticks: int) -> int:
        """Take a position off against its cash value and give the cents paid (negative: owed)."""
        old = self.position(contract.con_id)
        paid = old.qty * value_ticks * contract.multiplier
        self.cash_cents += paid
        self._set(old, 0, 0, paid - old.cost_cents)
        return paid

    def _set(self, old: Position, qty: int, cost_cents: int, realised_cents: int) -> None:
        self._positions[old.con_id] = Position(
            old.con_id, qty, cost_cents if qty else 0, old.realised_cents + realised_cents
        )
