"""How far the broker's clock is from ours, from answers in whole seconds.

An answer "it is second S", asked at `sent_utc` and heard at `heard_utc` of our clock, says that the broker's clock
stood in [S, S + 1 s) at some instant between the two. So the offset (broker less ours) lies in
[S - heard, S + 1 s - sent].
Several answers narrow it; an older one counts with what two clocks can have drifted apart since.
"""

from __future__ import annotations

from typing import Final

import msgspec

from domain.instants import SECOND
from domain.units import Utc

ANSWERS_MAX: Final = 32
DRIFT_PPM: Final = 200  # of two undisciplined clocks against each other


class Answer(msgspec.Struct, frozen=True):
    """One answer of the broker: bounds of the offset, in nanoseconds, and when it was heard."""

    least_ns: int
    most_ns: int
    heard_utc: Utc


def answer_of(epoch_s: int, sent_utc: Utc, heard_utc: Utc) -> Answer:
    """Return what one answer says of the offset.

    Raises:
        ValueError: it was heard before it was asked for.
    """
    if heard_utc < sent_utc:
        raise ValueError(f"an answer heard {sent_utc - heard_utc} ns before the question")
    return Answer(epoch_s * SECOND - heard_utc, (epoch_s + 1) * SECOND - sent_utc, heard_utc)


def bounds(answers: tuple[Answer, ...]) -> tuple[int, int]:
    """Return the least and the most that the offset can be, in nanoseconds, from answers in the order they came.

    Answers that contradict a newer one are of before a step of a clock and do not count.

    Raises:
        ValueError: there is no answer.
    """
    if not answers:
        raise ValueError("no answer of the broker's clock")
    *older, newest = answers
    least, most = newest.least_ns, newest.most_ns
    for answer in reversed(older):
        drift_ns = (newest.heard_utc - answer.heard_utc) * DRIFT_PPM // 1_000_000 + 1
        narrower = max(least, answer.least_ns - drift_ns), min(most, answer.most_ns + drift_ns)
        if narrower[0] > narrower[1]:
            break
        least, most = narrower
    return least, most


def kept(answers: tuple[Answer, ...], answer: Answer) -> tuple[Answer, ...]:
    """Return the answers that still count beside a new one, the oldest first."""
    if answers and answer.heard_utc < answers[-1].heard_utc:
        return (answer,)  # our own clock went back: what was measured on it before says nothing
    return (*answers, answer)[-ANSWERS_MAX:]
