"""What the simulated broker charges for a fill: its own commission, and the exchange's fee that it passes on.

Source: IB's price pages, as collected in the project's reference data (`rules_and_tax_cases.json`).
"""

from __future__ import annotations

from domain.indices import INDICES
from domain.instruments import Contract
from domain.units import Cents, Qty, Ticks

# IB's tiered option rates in cents a contract up to 10,000 contracts a month, by premium below so many ticks, and the
# minimum an order.
COMMISSION_BANDS = ((5, 25), (10, 50))
COMMISSION_CENTS = 65
COMMISSION_ORDER_CENTS_MIN = Cents(100)
CBOE_INDEX_FEE_CENTS = (36, 45)  # the customer fee for SPX and SPXW, below and from a premium of 1.00


def commission_cents(price_ticks: Ticks, qty: Qty) -> Cents:
    """Return IB's commission of a fill before the minimum of the order and before exchange fees."""
    rate = next((rate for below, rate in COMMISSION_BANDS if price_ticks < below), COMMISSION_CENTS)
    return Cents(rate * qty)


def exchange_fee_cents(contract: Contract, price_ticks: Ticks, qty: Qty) -> Cents:
    """Return the exchange fee that IB passes on; nothing but the index classes of Cboe has one."""
    if contract.ticker not in INDICES:
        return Cents(0)
    return Cents(CBOE_INDEX_FEE_CENTS[price_ticks >= 100] * qty)
