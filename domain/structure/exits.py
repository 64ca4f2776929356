"""When a held credit spread is closed before its day ends. Kill, end of day and a person's word reach its legs."""

from __future__ import annotations

import msgspec

from domain.instruments import DataType, Spot
from domain.position.cycle import ExitReason
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


def exit_of(
    spot: Spot | None, strike_ticks: Ticks, cover: Marked, short: Marked, rules: SpreadRules
) -> ExitReason | None:
    """Return why the spread should be closed now; `None` where it may stay.

    `spot` is the fund's price. A mark that is not known never switches the loss off: a leg without one for too long
    counts at its worst case.
    """
    if is_assignment_near(spot, strike_ticks, rules):
        return ExitReason.ASSIGNMENT_RISK
    counted = [(leg.worst_cents if leg.is_blind else leg.cents) for leg in (cover, short)]
    is_blind = cover.is_blind or short.is_blind
    if None in counted:
        is_unbounded = any(leg.is_blind and leg.worst_cents is None for leg in (cover, short))
        return ExitReason.BLIND if is_unbounded else None
    if sum(cents for cents in counted if cents is not None) < -rules.exit_loss_cents:
        return ExitReason.BLIND if is_blind else ExitReason.POSITION_LOSS
    return None
