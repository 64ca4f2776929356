"""From a recorded alert to what a strategy wants to do about it."""

from __future__ import annotations

import dataclasses

import pytest

from domain.instants import BUCKET_NS, SECOND
from domain.instruments import Right, Side
from domain.orders.intent import EntryPlan, PlannedLeg
from domain.signals.alert import DOWN, UP, Alert, AlertKey
from domain.signals.strategies import PLANS, intent_of
from tests.testkit.signal_histories import OPEN, SETTINGS

RULES = SETTINGS.strategies["gexwatch"]


def alert(direction: int) -> Alert:
    return Alert(
        key=AlertKey("gexwatch", "SPX", "GAMMA_FLIP", 1, OPEN),
        direction=direction,
        entry_ticks=600_000,
        target_ticks=601_000,
        stop_ticks=599_000,
        horizon_ms=1_800_000,
        is_shadow=False,
        raised_utc=OPEN + 32 * SECOND,
    )


@pytest.mark.parametrize(("direction", "right"), [(UP, Right.CALL), (DOWN, Right.PUT)])
def test_a_long_option_is_one_bought_call_up_or_put_down(direction: int, right: Right) -> None:
    plan = intent_of(alert(direction), "gexwatch", RULES).plan
    assert plan == EntryPlan((PlannedLeg(right, Side.BUY, 1),))
    assert plan.is_long_only


def test_an_intents_age_counts_from_the_end_of_its_bucket() -> None:
    intent = intent_of(alert(UP), "gexwatch", RULES)
    assert intent.expires_utc == OPEN + BUCKET_NS + RULES.signal_age_max_ms * 1_000_000
    assert intent.raised_utc == OPEN + 32 * SECOND


def test_the_same_alert_and_strategy_give_the_same_intent() -> None:
    assert intent_of(alert(UP), "gexwatch", RULES) == intent_of(alert(UP), "gexwatch", RULES)
    assert intent_of(alert(UP), "other", RULES).intent_id != intent_of(alert(UP), "gexwatch", RULES).intent_id


def test_a_plan_that_nobody_has_written_is_a_bug_of_the_settings() -> None:
    with pytest.raises(KeyError):
        intent_of(alert(UP), "gexwatch", dataclasses.replace(RULES, plan="short_straddle"))
    assert "short_straddle" not in PLANS
