"""The plan of an entry: what is sold in it, and whether each sold contract stands behind a bought one."""

from __future__ import annotations

import pytest

from domain.instruments import Right, Side
from domain.orders.intent import EntryPlan, PlannedLeg

BOUGHT_CALL = PlannedLeg(Right.CALL, Side.BUY)
SOLD_CALL = PlannedLeg(Right.CALL, Side.SELL)
BOUGHT_PUT = PlannedLeg(Right.PUT, Side.BUY)
SOLD_PUT = PlannedLeg(Right.PUT, Side.SELL)


@pytest.mark.parametrize(
    ("legs", "is_long_only", "is_covered"),
    [
        ((BOUGHT_CALL,), True, True),
        ((BOUGHT_CALL, BOUGHT_PUT), True, True),
        ((SOLD_CALL,), False, False),
        ((SOLD_PUT,), False, False),
        ((BOUGHT_CALL, SOLD_CALL), False, True),
        ((BOUGHT_CALL, SOLD_PUT), False, False),  # a call covers no put
        ((BOUGHT_CALL, SOLD_CALL, SOLD_PUT), False, False),
        ((BOUGHT_CALL, SOLD_CALL, BOUGHT_PUT, SOLD_PUT), False, True),
        ((BOUGHT_CALL, PlannedLeg(Right.CALL, Side.SELL, ratio=2)), False, False),  # one call covers one
        ((PlannedLeg(Right.CALL, Side.BUY, ratio=2), SOLD_CALL), False, True),
        ((SOLD_CALL, SOLD_CALL, PlannedLeg(Right.CALL, Side.BUY, ratio=2)), False, True),
    ],
)
def test_a_plan_is_covered_where_each_sold_contract_has_a_bought_one_of_its_right(
    legs: tuple[PlannedLeg, ...], is_long_only: bool, is_covered: bool
) -> None:
    plan = EntryPlan(legs)
    assert (plan.is_long_only, plan.is_covered) == (is_long_only, is_covered)


def test_a_leg_is_one_contract_per_unit_unless_the_plan_says_more() -> None:
    assert BOUGHT_CALL.ratio == 1
