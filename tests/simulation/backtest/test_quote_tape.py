"""Quotes that change no decision are never delivered: what is left finds the same places as a look at every quote."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.units import Utc
from simulation.backtest.quote_lane import Interest, LaneRules, LaneState, interest_of, is_entry
from simulation.backtest.quote_tape import MEAN_SHARE, Tape
from tests.testkit.recorded_days import CALL

# Runs of one price, so that a search is long as often as short.
PRICES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 90)), min_size=1, max_size=12).map(
    lambda runs: [price for price, length in runs for _ in range(length)]
)
SHARE = st.floats(0, 1)  # of the day, so that a place lies within it
RULES = LaneRules(1.05)


def tape_of(steps: list[int]) -> Tape:
    bid = np.array([step * 0.05 for step in steps]).round(2)
    ts = np.arange(len(steps), dtype=np.int64) * SECOND
    sizes = np.full(len(steps), 5, np.int64)
    return Tape(CALL, ts, np.arange(len(steps)), bid, (bid + 0.05).round(2), (sizes, sizes), RULES)


def plain_means(tape: Tape) -> list[float]:
    mean, found = 0.0, []
    for bid, ask in zip(tape.bid.tolist(), tape.ask.tolist(), strict=True):
        mid = (bid + ask) * 0.5
        mean = mean or mid
        mean += MEAN_SHARE * (mid - mean)
        found.append(mean)
    return found


@given(steps=PRICES, begins=SHARE, waits=SHARE)
def test_the_next_entry_is_the_first_quote_that_the_lane_itself_would_enter_on(
    steps: list[int], begins: float, waits: float
) -> None:
    tape, begin, after = tape_of(steps), int(begins * len(steps)), int(waits * len(steps)) - 1
    rows = list(zip(tape.bid.tolist(), tape.ask.tolist(), plain_means(tape), strict=True))
    plain = (n for n in range(begin, len(rows)) if n > after and is_entry(RULES, *rows[n]))
    assert tape.next_of(Interest(Utc(after * SECOND)), begin) == next(plain, None)


@given(steps=PRICES, begins=SHARE, entry=st.integers(1, 60), enters=SHARE)
def test_the_next_quote_of_what_is_held_is_the_first_beyond_its_bounds_or_its_time(
    steps: list[int], begins: float, entry: int, enters: float
) -> None:
    tape, begin, entered = tape_of(steps), int(begins * len(steps)), int(enters * len(steps))
    rules = LaneRules(1.05, hold_ns=60 * SECOND)
    wanted = interest_of(rules, LaneState(entry_usd=entry * 0.05, entered_utc=Utc(entered * SECOND)))
    bids = tape.bid.tolist()
    plain = (
        n for n in range(begin, len(bids))
        if bids[n] >= 1.2 * (entry * 0.05) or bids[n] <= 0.88 * (entry * 0.05) or n > entered + 60
    )  # fmt: skip
    assert tape.next_of(wanted, begin) == next(plain, None)


def test_a_single_quote_beyond_the_bounds_is_found_wherever_it_stands() -> None:
    wanted = Interest(Utc(10_000 * SECOND), 0.75, 0.25)
    for place in range(400):
        steps = [10] * 400
        steps[place] = 20
        assert tape_of(steps).next_of(wanted, 0) == place
