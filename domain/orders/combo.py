"""Combinations: several options of one ticker as one order at one price, and what they lose at most.

The price of a combination is that of all its legs together, `_ticks` per unit: what buying one costs, below zero where
buying it pays. It fills as a whole or not at all, so that no leg is ever held without the others. Which structures are
known, and that a desk takes none whose legs expire on different days: risk-and-execution.md, sections 5 and 7.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from domain.indices import INDICES
from domain.instruments import Contract, Right, Side
from domain.orders.capabilities import BrokerCapability
from domain.units import Cents, Qty, Ticks

COMBO_CON_ID: Final = 28_812_380  # the contract id under which IB reports the execution of every whole combination
COMBO_CLASS: Final = "BAG"  # what IB calls it

Holding = tuple[Contract, Qty]  # signed


class ComboKind(StrEnum):
    """The structures that are ordered as one; each may be bought or sold."""

    VERTICAL = "vertical"  # two strikes of one right
    BUTTERFLY = "butterfly"  # three strikes of one right at equal distances, the middle one twice the other way
    IRON_CONDOR = "iron condor"  # a vertical of puts and one of calls above it
    CALENDAR = "calendar"  # one strike at two expiries


class ComboLeg(msgspec.Struct, frozen=True):
    """One leg: so many contracts of it, bought or sold, for each combination that is bought."""

    contract: Contract
    side: Side
    ratio: int = 1


def increment_ticks(ticker: str) -> int:
    """Return the step of the net price of a combination in this ticker's options."""
    return 5 if ticker in INDICES else 1


def combo_contract(legs: Sequence[ComboLeg]) -> Contract:
    """Return what stands for a combination where an order names one contract: nothing to be traded by itself."""
    first = legs[0].contract
    return Contract(COMBO_CON_ID, first.ticker, COMBO_CLASS, first.expiry, Ticks(0), first.right, first.multiplier)


def refusal_of(legs: Sequence[ComboLeg], capabilities: Collection[BrokerCapability]) -> str | None:
    """Return why no broker of these capabilities is given such an order, in a sentence; `None` where it may be.

    Nothing is legged in instead: where it cannot be one order, it is none.
    """
    if BrokerCapability.COMBOS not in capabilities:
        return "this broker takes no combination as one order, and its legs are not sent one by one"
    if kind_of(legs) is None:
        known = ", ".join(kind.value for kind in ComboKind)
        return f"these {len(legs)} legs are none of the combinations that are known ({known})"
    return None


def kind_of(legs: Sequence[ComboLeg]) -> ComboKind | None:
    """Return which structure legs make, in whatever order they are named; `None` for anything else."""
    contracts = [leg.contract for leg in legs]
    if len({(c.ticker, c.multiplier) for c in contracts}) != 1 or len({c.con_id for c in contracts}) < len(legs):
        return None
    ordered = sorted(legs, key=lambda leg: leg.contract.strike_ticks)
    is_one_day = len({c.expiry for c in contracts}) == 1
    if len(legs) == 2 and not is_one_day:
        return ComboKind.CALENDAR if _is_calendar(ordered) else None
    checks = {2: (_is_vertical, ComboKind.VERTICAL), 3: (_is_butterfly, ComboKind.BUTTERFLY)}
    is_shape, kind = checks.get(len(legs), (_is_condor, ComboKind.IRON_CONDOR))
    return kind if is_one_day and is_shape(ordered) else None


def _is_vertical(legs: Sequence[ComboLeg]) -> bool:
    return (
        len(legs) == 2
        and legs[0].contract.right is legs[1].contract.right
        and legs[0].contract.strike_ticks < legs[1].contract.strike_ticks
        and _are_opposite(*legs)
    )


def _is_calendar(legs: Sequence[ComboLeg]) -> bool:
    near, far = (leg.contract for leg in legs)
    return (near.right, near.strike_ticks) == (far.right, far.strike_ticks) and _are_opposite(*legs)


def _is_butterfly(legs: Sequence[ComboLeg]) -> bool:
    low, middle, high = legs
    lowest, mid, highest = (leg.contract.strike_ticks for leg in legs)
    return (
        len({leg.contract.right for leg in legs}) == 1
        and lowest < mid
        and mid - lowest == highest - mid
        and (low.ratio, middle.ratio, high.ratio) == (1, 2, 1)
        and low.side is high.side is not middle.side
    )


def _is_condor(legs: Sequence[ComboLeg]) -> bool:
    puts = [leg for leg in legs if leg.contract.right is Right.PUT]
    calls = [leg for leg in legs if leg.contract.right is Right.CALL]
    return (
        len(legs) == 4
        and _is_vertical(puts)
        and _is_vertical(calls)
        and puts[1].contract.strike_ticks <= calls[0].contract.strike_ticks
        and puts[0].side is calls[1].side
    )


def _are_opposite(one: ComboLeg, other: ComboLeg) -> bool:
    return one.ratio == other.ratio == 1 and one.side is not other.side


def worst_loss_cents(holdings: Sequence[Holding]) -> Cents | None:
    """Return what holdings of one ticker lose at most when they expire; `None` where that has no bound.

    A long that expires before a short covers nothing.
    """
    shorts_until = max((contract.expiry for contract, qty in holdings if qty < 0), default=None)
    if shorts_until is None:
        return Cents(0)
    counted = [(contract, qty) for contract, qty in holdings if qty < 0 or contract.expiry >= shorts_until]
    if sum(qty * contract.multiplier for contract, qty in counted if contract.right is Right.CALL) < 0:
        return None
    prices = {0, *(contract.strike_ticks for contract, _ in counted)}
    return Cents(max(0, *(-_value_cents(counted, price) for price in prices)))


def _value_cents(holdings: Sequence[Holding], price_ticks: int) -> int:
    def intrinsic(contract: Contract) -> int:
        gap = price_ticks - contract.strike_ticks
        return max(0, gap if contract.right is Right.CALL else -gap)

    return sum(qty * contract.multiplier * intrinsic(contract) for contract, qty in holdings)
