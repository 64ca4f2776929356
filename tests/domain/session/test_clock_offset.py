"""The offset of two clocks from answers in whole seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import MS, SECOND
from domain.session.clock_offset import ANSWERS_MAX, Answer, answer_of, bounds, kept

START = 1_795_194_000 * SECOND


def asked(offset_ns: int, at_ns: int, there_ns: int, back_ns: int) -> Answer:
    """The answer of a broker whose clock is ahead of ours by an offset."""
    sent = START + at_ns
    told_s = (sent + there_ns + offset_ns) // SECOND
    return answer_of(told_s, sent, sent + there_ns + back_ns)


@given(
    st.integers(-3 * SECOND, 3 * SECOND),
    st.lists(
        st.tuples(st.integers(0, 3 * SECOND), st.integers(0, SECOND), st.integers(0, SECOND)), min_size=1, max_size=50
    ),
)
def test_the_true_offset_is_always_within_the_bounds(offset_ns: int, legs: list[tuple[int, int, int]]) -> None:
    at_ns = 0
    answers: tuple[Answer, ...] = ()
    for pause_ns, there_ns, back_ns in legs:
        at_ns += pause_ns + there_ns + back_ns
        answers = kept(answers, asked(offset_ns, at_ns, there_ns, back_ns))
        least_ns, most_ns = bounds(answers)
        assert least_ns <= offset_ns <= most_ns
    assert len(answers) <= ANSWERS_MAX


@given(st.integers(-SECOND, SECOND))
def test_answers_at_other_fractions_of_a_second_bound_it_closely(offset_ns: int) -> None:
    answers: tuple[Answer, ...] = ()
    for n in range(20):
        answers = kept(answers, asked(offset_ns, n * 1_618 * MS, MS, MS))
    least_ns, most_ns = bounds(answers)
    assert most_ns - least_ns < 150 * MS


@given(st.integers(2, 100))
def test_a_step_of_a_clock_shows_with_the_first_answer_after_it(step_s: int) -> None:
    answers: tuple[Answer, ...] = ()
    for n in range(20):
        answers = kept(answers, asked(0, n * 1_618 * MS, MS, MS))
    answers = kept(answers, asked(step_s * SECOND, 33 * SECOND, MS, MS))
    least_ns, most_ns = bounds(answers)
    assert least_ns <= step_s * SECOND <= most_ns
    assert least_ns > 500 * MS


def test_when_our_own_clock_goes_back_what_was_measured_before_does_not_count() -> None:
    answers = kept((), asked(0, 40 * SECOND, MS, MS))
    assert kept(answers, asked(40 * SECOND, 0, MS, MS)) == (asked(40 * SECOND, 0, MS, MS),)


def test_nothing_is_known_without_an_answer_or_from_one_that_came_before_its_question() -> None:
    with pytest.raises(ValueError, match="no answer"):
        bounds(())
    with pytest.raises(ValueError, match="before the question"):
        answer_of(5, 10, 9)
