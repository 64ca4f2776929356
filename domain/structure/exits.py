"""When a held credit spread is closed before its day ends. Kill, end of day and a person's word reach its legs."""

from __future__ import annotations

from domain.instruments import DataType, Spot
from domain.position.cycle import ExitReason
from domain.structure.rules import SpreadRules
from domain.units import Cents, Ticks


def is_assignment_near(spot: Spot | None, strike_ticks: Ticks, rules: SpreadRules) -> bool:
    """Return whether the fund stands so far above the short strike that early exercise must be reckoned with."""
    is_live = spot is not None and spot.data_type == DataType.LIVE
    return is_live and spot is not None and spot.price_ticks > strike_ticks + rules.threshold_ticks


def exit_of(spot: Spot | None, strike_ticks: Ticks, pnl_cents: Cents | None, rules: SpreadRules) -> ExitReason | None:
    """Return why the spread should be closed now; `None` where it may stay.

    `spot` is the fund's price. `pnl_cents` is the result of both legs by their marks net of fees, `None` while a mark
    is not known: the desk's own rules for unknown marks hold then.
    """
    if is_assignment_near(spot, strike_ticks, rules):
        return ExitReason.ASSIGNMENT_RISK
    if pnl_cents is not None and pnl_cents < -rules.max_position_loss_cents:
        return ExitReason.POSITION_LOSS
    return None
