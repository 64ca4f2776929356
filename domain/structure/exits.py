"""When a held credit spread is closed before its day ends. Kill, end of day and a person's word reach its legs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from domain.instants import MS
from domain.instruments import Contract, DataType, Right, Spot
from domain.position.cycle import ExitReason
from domain.structure.credit import Terms
from domain.structure.rules import SpreadRules
from domain.units import Cents, Ticks


def is_assignment_near(spot: Spot | None, strike_ticks: Ticks, rules: SpreadRules) -> bool:
    """Return whether the fund stands so far above the short strike that early exercise must be reckoned with."""
    is_live = spot is not None and spot.data_type == DataType.LIVE
    return is_live and spot is not None and spot.price_ticks > strike_ticks + rules.threshold_ticks


class Marked(msgspec.Struct, frozen=True):
    """The result of a leg by its mark, net of fees; `worst_cents` where it is unknown, `None` where nothing bounds it.

    `is_blind`: no mark has been known for as long as the desk bears.
    """

    cents: Cents | None
    worst_cents: Cents | None
    is_blind: bool = False


def exit_of(legs: Sequence[Marked], rules: SpreadRules) -> ExitReason | None:
    """Return why a structure should be closed for what its legs lose; `None` where it may stay.

    A mark that is not known never switches the loss off: a leg without one for too long counts at its worst case.
    """
    counted = [(leg.worst_cents if leg.is_blind else leg.cents) for leg in legs]
    is_blind = any(leg.is_blind for leg in legs)
    if None in counted:
        is_unbounded = any(leg.is_blind and leg.worst_cents is None for leg in legs)
        return ExitReason.BLIND if is_unbounded else None
    if sum(cents for cents in counted if cents is not None) < -rules.exit_loss_cents:
        return ExitReason.BLIND if is_blind else ExitReason.POSITION_LOSS
    return None


def is_in_the_money(spot: Spot | None, sold: Iterable[Contract]) -> bool:
    """Return whether the index stands beyond the strike of a sold leg, by a live price."""
    if spot is None or spot.data_type != DataType.LIVE:
        return False
    return any(
        spot.price_ticks > contract.strike_ticks
        if contract.right is Right.CALL
        else spot.price_ticks < contract.strike_ticks
        for contract in sold
    )


def early_exit_of(
    left_ns: int | None, spot: Spot | None, sold: Iterable[Contract], legs: Sequence[Marked], terms: Terms | None,
    rules: SpreadRules,
) -> ExitReason | None:  # fmt: skip
    """Return why a structure of the index should be closed though nothing is wrong with it; `None` where it may stay.

    `left_ns` is the time to the close, `None` where nobody has told it; `spot` is the index's price. Profit is taken by
    marks that are known and young, as a share of the credit that it was opened for; without one there is no such share.
    """
    if left_ns is not None:
        if left_ns < rules.in_money_before_close_ms * MS and is_in_the_money(spot, sold):
            return ExitReason.ASSIGNMENT_RISK
        if left_ns < rules.leave_before_close_ms * MS:
            return ExitReason.MAX_HOLD
    known = [leg.cents for leg in legs if leg.cents is not None and not leg.is_blind]
    if terms is None or terms.credit_cents <= 0 or rules.profit_share <= 0 or len(known) < len(legs):
        return None
    return ExitReason.TAKE_PROFIT if sum(known) >= rules.profit_share * terms.credit_cents else None
