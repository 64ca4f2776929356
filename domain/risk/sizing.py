"""How many contracts an entry buys: the smallest of the risk, premium and cap bounds, then the cuts."""

from __future__ import annotations

import math

import msgspec

from domain.limits import EntryLimits

SOFT_STOP_CUT = 0.5
LOSSES_CUT = 0.5
LOSSES_FOR_CUT = 2


class Sizing(msgspec.Struct, frozen=True):
    """The size and what bounded it; `by_*` are contracts before cuts, `cuts` the factor on the smallest of them."""

    qty: int
    by_risk: float
    by_premium: float
    cap: int
    cuts: float

    @property
    def reason(self) -> str:
        """Say in one line what went in."""
        return f"risk {self.by_risk:.2f}, premium {self.by_premium:.2f}, cap {self.cap}, cuts {self.cuts:g}"


def cuts_of(is_soft_stopped: bool, streak: int) -> float:
    """Give the factor on the size: half for the latched soft stop, half for two losses in a row."""
    return (SOFT_STOP_CUT if is_soft_stopped else 1.0) * (LOSSES_CUT if streak >= LOSSES_FOR_CUT else 1.0)


def size_entry(
    nav_cents: int,
    ask_ticks: int,
    multiplier: int,
    stop_share: float,
    fees_cents: int,
    cap: int,
    cuts: float,
    limits: EntryLimits,
) -> Sizing:
    """Size a long option entry; 0 contracts where no whole contract fits.

    `stop_share` is the share of premium that the stop gives up, `fees_cents` the round trip of one contract.
    """
    premium = ask_ticks * multiplier
    by_risk = limits.risk_nav * nav_cents / (limits.risk_stop_multiple * stop_share * premium + fees_cents)
    by_premium = limits.notional_nav * nav_cents / premium
    # A bound that is a whole number but for the last bits of a float keeps that whole number.
    qty = math.floor(min(by_risk, by_premium, cap) * cuts + 1e-9)
    return Sizing(qty, by_risk, by_premium, cap, cuts)
