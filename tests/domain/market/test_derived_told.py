"""What a reading sees of the derived series: what was told last before it ended, while that is valid."""

from __future__ import annotations

import math

import pytest

from domain.instants import MINUTE, SECOND
from domain.market.derived import PLACES, REGIMES, TABLE, VALID_NS, Told, Value, numbers_of, values_at
from domain.units import Utc
from tests.testkit.signal_histories import clock

EARLY: tuple[Value, ...] = (("SPY", "gap", 0.01),)
LATE: tuple[Value, ...] = (("SPY", "gap", 0.01), ("QQQ", "hourly_regime", "trend_down"))
NOON = clock(12)
TOLD = (Told(NOON, EARLY), Told(Utc(NOON + 15 * MINUTE), LATE))


@pytest.mark.parametrize(
    ("end_utc", "known"),
    [
        (NOON - 1, ()),
        (NOON, EARLY),
        (NOON + 15 * MINUTE - SECOND, EARLY),
        (NOON + 15 * MINUTE, LATE),
        (NOON + 15 * MINUTE + VALID_NS, LATE),
        (NOON + 15 * MINUTE + VALID_NS + 1, ()),
    ],
)
def test_a_reading_sees_what_was_told_last_before_it_ended_and_nothing_that_is_old(
    end_utc: int, known: tuple[Value, ...]
) -> None:
    assert values_at(TOLD, Utc(end_utc)) == known
    assert values_at((), Utc(end_utc)) == ()


def test_values_are_numbers_in_the_order_of_the_table_and_a_regime_has_its_own() -> None:
    found = numbers_of(LATE)
    known = {name: found[at] for name, at in PLACES.items() if not math.isnan(found[at])}
    assert known == {"SPY.gap": 0.01, "QQQ.hourly_regime": REGIMES["trend_down"]}
    assert len(PLACES) == len(found) == len(TABLE)


def test_what_another_version_told_is_nothing_that_is_known() -> None:
    assert all(math.isnan(one) for one in numbers_of((("SPY", "of_before", 1.0), ("SPY", "hourly_regime", "wild"))))
