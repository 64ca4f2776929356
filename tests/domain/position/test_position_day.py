"""The day of a position: its instants from the calendar alone, and which of two words on the phase counts."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import date, time

import pytest

from domain.instants import MINUTE, at_exchange
from domain.position.day import DayMark, day_of, is_over, later, next_mark, phase_of, settle_utc
from domain.session.phases import Phase
from domain.units import Utc
from tests.testkit.position_history import settings

RULES = settings().day
FULL, HALF, CHRISTMAS_EVE = date(2026, 11, 20), date(2026, 11, 27), date(2026, 12, 24)


@pytest.mark.parametrize(
    ("session", "close"),
    [
        (FULL, time(16)), (HALF, time(13)), (CHRISTMAS_EVE, time(13)),
        (date(2026, 3, 9), time(16)),  # the Monday after the clocks went forward
        (date(2026, 11, 2), time(16)),  # and back
    ],
)  # fmt: skip
def test_every_mark_counts_from_the_sessions_own_close(session: date, close: time) -> None:
    close_utc = at_exchange(session, close)
    day = day_of(session, at_exchange(session, time(10)), RULES)
    marks = {mark: round((at_utc - close_utc) / MINUTE, 1) for at_utc, mark in day.marks}
    assert {mark: marks[mark] for mark in marks if mark is not DayMark.OVER} == {
        DayMark.PANIC: -25, DayMark.FLATTEN: -15, DayMark.VERIFY: -10, DayMark.VERIFY_AGAIN: -5, DayMark.CLOSE: 0,
        DayMark.SETTLE: 4,
    }  # fmt: skip
    assert (day.session, day.close_utc, settle_utc(day)) == (session, close_utc, close_utc + 4 * MINUTE)
    for before, phase, at in (
        (Phase.LATE, Phase.PANIC, -25), (Phase.PANIC, Phase.FLATTEN, -15), (Phase.FLATTEN, Phase.CLOSED, 0),
    ):  # fmt: skip
        assert phase_of(day, close_utc + at * MINUTE - 1) is before
        assert phase_of(day, close_utc + at * MINUTE) is phase


def test_the_day_before_the_open_and_after_its_end() -> None:
    day = day_of(FULL, at_exchange(FULL, time(4)), RULES)
    assert phase_of(day, at_exchange(FULL, time(9, 29))) is Phase.PRE
    assert phase_of(day, at_exchange(FULL, time(9, 30))) is Phase.OPEN
    assert phase_of(day, at_exchange(date(2026, 11, 23), time(11))) is Phase.CLOSED


def test_marks_come_one_after_the_other_and_end() -> None:
    day = day_of(FULL, at_exchange(FULL, time(10)), RULES)
    found, now = [], at_exchange(FULL, time(10))
    while (due := next_mark(day, now)) is not None:
        now = due[0]
        found.append(due[1])
    assert found == list(DayMark)
    assert now == at_exchange(date(2026, 11, 21), time())


@pytest.mark.parametrize("settlement_ms", [RULES.settlement_ms, 24 * 3_600_000])
def test_a_day_is_over_with_the_last_of_its_marks_in_whatever_order_they_stand(settlement_ms: int) -> None:
    day = day_of(FULL, at_exchange(FULL, time(10)), dataclasses.replace(RULES, settlement_ms=settlement_ms))
    last_utc = max(at_utc for at_utc, _ in day.marks)
    assert [is_over(day, Utc(at_utc)) for at_utc in (day.close_utc, last_utc - 1, last_utc)] == [False, False, True]


def test_an_unforeseen_closure_is_a_day_without_trading_that_still_ends() -> None:
    rules = dataclasses.replace(RULES, closed_dates=(FULL,))
    day = day_of(FULL, at_exchange(FULL, time(10)), rules)
    assert phase_of(day, at_exchange(FULL, time(12))) is Phase.CLOSED_DAY
    assert phase_of(day, at_exchange(FULL, time(16))) is Phase.CLOSED


def test_an_expired_contract_has_the_day_of_its_expiry_and_a_later_one_todays() -> None:
    assert day_of(FULL, at_exchange(date(2026, 11, 23), time(11)), RULES).session == FULL
    assert day_of(date(2026, 12, 18), at_exchange(FULL, time(11)), RULES).session == FULL


@pytest.mark.parametrize(("own", "told"), list(itertools.product(Phase, Phase)))
def test_a_word_of_another_only_brings_the_phase_forward(own: Phase, told: Phase) -> None:
    order = list(Phase)
    result = later(own, told)
    if own is Phase.CLOSED:
        assert result is Phase.CLOSED
    elif Phase.CLOSED_DAY in (own, told):
        assert result is Phase.CLOSED_DAY
    else:
        assert order.index(result) == max(order.index(own), order.index(told))
