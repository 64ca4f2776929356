"""The one threshold that kept a conditioned kind from an alert: named with its limit and with what would have done."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instants import BUCKET_NS
from domain.signals.evaluator import Reading
from domain.signals.kit import own_kind
from domain.signals.nearest_miss import LEAD_NS
from domain.signals.nearest_threshold import nearest_threshold
from domain.signals.predicates import CONDITIONS, ConditionRules, Directions, LevelBreakRules, Seen, fires
from tests.domain.signals.test_conditioned import evaluator, reading
from tests.domain.signals.test_predicates import COMMON, FIRES, RULES

KIND = "CASCADE_WATCH"
LATER = LEAD_NS // BUCKET_NS + 1


def reached(n: int, **changes: float) -> Reading:
    """A reading that is an alert but for the changes."""
    return reading(n, FIRES[KIND][0] | changes)


def test_the_threshold_that_alone_stood_in_the_way_is_named_with_what_would_have_done() -> None:
    near = nearest_threshold(evaluator(KIND), [reached(0, alignment=-0.3), reached(1, alignment=-0.36)])
    assert near is not None
    assert (near.reading.bucket_utc, near.name, near.limit) == (reached(1).bucket_utc, "alignment_min", 0.4)
    assert near.needed == pytest.approx(0.36)
    assert near.share == pytest.approx(0.1)


def test_a_threshold_that_bounds_from_above_is_raised() -> None:
    near = nearest_threshold(evaluator(KIND), [reached(0, loc_major_neg_vol_moves=0.75)])
    assert near is not None
    assert (near.name, near.limit) == ("near_moves", 0.5)
    assert near.needed == pytest.approx(0.75)


def test_a_count_of_readings_stays_a_whole_number() -> None:
    known = FIRES["STRUCTURE_BREAK"][0] | {"above_pos_age": 6.0}
    near = nearest_threshold(evaluator("STRUCTURE_BREAK"), [reading(0, known)])
    assert near is not None
    assert (near.name, near.limit, near.needed) == ("within_readings", 4.0, 6.0)


def test_what_two_thresholds_or_none_of_them_stood_in_the_way_of_is_not_told() -> None:
    two = reached(0, alignment=-0.3, price_return_5m_bps=-5.5)
    no_threshold = reached(1, loc_zero_gamma_bps=3.0)
    missing = replace(reached(2, alignment=-0.3), spot=None)
    assert nearest_threshold(evaluator(KIND), [two, no_threshold, missing]) is None
    assert nearest_threshold(evaluator(KIND), []) is None


def test_an_alert_and_what_led_up_to_it_are_no_misses() -> None:
    led_up, alert = reached(0, alignment=-0.39), reached(2)
    before = reached(2 - LATER, alignment=-0.3)
    near = nearest_threshold(evaluator(KIND), [before, led_up, alert])
    assert near is not None
    assert near.reading.bucket_utc == before.bucket_utc


@pytest.mark.parametrize("kind", CONDITIONS)
@given(data=st.data())
def test_a_reading_is_let_through_at_what_is_needed_and_by_nothing_else(kind: str, data: st.DataObject) -> None:
    known = {name: value * data.draw(st.floats(0.5, 1.5), name) for name, value in FIRES[kind][0].items()}
    made = evaluator(kind)
    near = nearest_threshold(made, [reading(0, known)])
    if near is None:
        return
    assert made.evaluate(made.initial(None), near.reading).terms is None
    whole = isinstance(getattr(RULES[kind], near.name), int)
    moved = dataclasses.replace(RULES[kind], **{near.name: round(near.needed) if whole else near.needed})
    other = type(made)(moved)
    assert other.evaluate(other.initial(None), near.reading).terms is not None


@dataclasses.dataclass(frozen=True, slots=True)
class Mine(ConditionRules):
    """Thresholds of one's own, without a range."""

    pace_min: float


def mine(seen: Seen, rules: Mine) -> Directions:
    """Fire upwards where the pace is enough."""
    pace = seen.feature("price_return_5m_bps")
    return fires(seen, (pace >= rules.pace_min) & seen.is_aligned(np.sign(pace), rules.alignment_min), np.sign(pace))


def test_a_threshold_of_ones_own_needs_no_range_and_a_condition_that_fails_says_nothing() -> None:
    rules = Mine(**COMMON, pace_min=6.0)
    known = {"price_return_5m_bps": 4.5, "alignment": 0.5}
    near = nearest_threshold(own_kind("MINE", "mine.py", mine, rules).evaluator(rules), [reading(0, known)])
    assert near is not None
    assert (near.name, near.limit) == ("pace_min", 6.0)
    assert near.needed == pytest.approx(4.5)

    def failing(seen: Seen, rules: Mine) -> Directions:
        if np.any(seen.feature("price_return_5m_bps") == 4.5):
            raise ZeroDivisionError
        return mine(seen, rules)

    made = own_kind("MINE", "mine.py", failing, rules).evaluator(rules)
    assert nearest_threshold(made, [reading(0, known)]) is None


def test_the_names_are_those_of_the_settings() -> None:
    known = FIRES["STRUCTURE_BREAK"][0] | {"flow_dex_5m_z": 0.5}
    near = nearest_threshold(evaluator("STRUCTURE_BREAK"), [reading(0, known)])
    assert near is not None
    assert near.name in {field.name for field in dataclasses.fields(LevelBreakRules)}
