"""The automatic rules that the kill switch watches itself: each has a test that fires it, and one just below."""

from __future__ import annotations

from datetime import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import MS, SECOND, at_exchange
from domain.instruments import Spot
from domain.risk import kill, kill_watch
from domain.risk.kill import KillLevel, KillWatch
from domain.risk.kill_watch import Input, Norm, Watch
from domain.units import Qty, Ticks, Utc
from tests.testkit.desk_world import NOW, SETTINGS

RULES = SETTINGS.kill
FOR = RULES.spread_for_ms * MS
TODAY = SETTINGS.demo.session


def spreads(*readings: tuple[int, float | None]) -> kill_watch.Raise | None:
    """Feed (ns since NOW, median) readings against a norm of 0.1; return what the last one asks for."""
    watch, found = Watch(), None
    for after, median in readings:
        watch, found = kill_watch.on_spreads(watch, median, 0.1, RULES, Utc(NOW + after))
    return found


def test_spreads_above_twice_their_norm_for_two_minutes_stop_entries() -> None:
    found = spreads((0, 0.21), (FOR // 2, 0.3), (FOR, 0.21))
    assert found is not None
    assert found.level is KillLevel.NO_ENTRIES
    assert "21.0% of mid, above 20.0%" in found.reason


@pytest.mark.parametrize(
    "readings",
    [
        ((0, 0.21), (FOR - 1, 0.21)),  # not long enough
        ((0, 0.20), (FOR, 0.20)),  # at the limit is not above it
        ((0, 0.21), (FOR // 2, 0.19), (FOR, 0.21)),  # a calm reading starts the clock again
        ((0, 0.21), (FOR // 2, None)),  # no reading says nothing
        ((0, float("nan")), (FOR, float("nan"))),
    ],
)
def test_spreads_that_calm_down_stop_nothing(readings: tuple[tuple[int, float | None], ...]) -> None:
    assert spreads(*readings) is None


def test_the_norm_is_the_table_until_five_sessions_are_seen_then_their_median() -> None:
    table = {time(9, 30): 0.12, time(10, 0): 0.08}
    slot = kill_watch.slot_of(at_exchange(TODAY, time(10, 3)))
    assert slot == 600
    few = tuple(Norm(f"2026-11-{day:02d}", slot, 0.01) for day in range(1, 5))
    assert kill_watch.norm_of(few, slot, table) == 0.08
    assert kill_watch.norm_of(few, 9 * 60 + 55, table) == 0.12
    assert kill_watch.norm_of(few, 60, table) == 0.12  # before the table begins, its first row
    five = (*few, Norm("2026-11-05", slot, 0.05))
    assert kill_watch.norm_of(five, slot, table) == 0.01
    six = (*five, Norm("2026-11-06", slot, 0.07))
    assert kill_watch.norm_of((*six, Norm("2026-11-07", slot, 0.07)), slot, table) == 0.01
    assert kill_watch.norm_of((*few[:3], Norm("a", slot, 0.05), Norm("b", slot, 0.05), Norm("c", slot, 0.05)), slot,
                              table) == pytest.approx(0.03)  # fmt: skip


def test_three_rejections_within_five_minutes_stop_entries() -> None:
    window = RULES.rejects_window_ms * MS
    watch = Watch()
    for after in (0, window // 2):
        watch, found = kill_watch.on_refused(watch, 201, RULES, Utc(NOW + after))
        assert found is None
    late, found = kill_watch.on_refused(watch, 201, RULES, Utc(NOW + window))
    assert found is None  # the first is just out of the window
    _, found = kill_watch.on_refused(watch, 201, RULES, Utc(NOW + window - 1))
    assert found is not None
    assert found.level is KillLevel.NO_ENTRIES
    assert kill_watch.on_refused(late, 110, RULES, Utc(NOW + window)) == (late, None)  # another code is no rejection


@pytest.mark.parametrize(
    ("least", "most", "fires"),
    [(501, 900, True), (500, 900, False), (-900, -501, True), (-900, -500, False), (-2_000, 2_000, False)],
)
def test_only_a_clock_that_is_surely_off_stops_entries(least: int, most: int, fires: bool) -> None:
    watch, found = kill_watch.on_clock(Watch(), least, most, RULES, NOW)
    assert (found is not None) is fires
    assert dict(watch.heard) == {Input.CLOCK: NOW}
    if found is not None:
        assert ("501 ms behind" if least > 0 else "501 ms ahead of") in found.reason


def test_a_short_is_level_two_once_it_has_stood_ten_seconds() -> None:
    stood = RULES.uncovered_short_ms * MS
    watch = kill_watch.on_short(Watch(), 7, Qty(-2), NOW)
    watch = kill_watch.on_short(watch, 7, Qty(-1), Utc(NOW + SECOND))  # the first report counts
    assert kill_watch.short_overdue(watch, 7, RULES, Utc(NOW + stood - 1)) is None
    assert kill_watch.short_overdue(watch, 8, RULES, Utc(NOW + stood)) is None
    found = kill_watch.short_overdue(watch, 7, RULES, Utc(NOW + stood))
    assert found is not None
    assert found.level is KillLevel.FLATTEN
    covered = kill_watch.on_short(watch, 7, Qty(0), Utc(NOW + 2 * SECOND))
    assert kill_watch.short_overdue(covered, 7, RULES, Utc(NOW + stood)) is None
    again = kill_watch.on_short(covered, 7, Qty(-1), Utc(NOW + 3 * SECOND))
    assert kill_watch.short_overdue(again, 7, RULES, Utc(NOW + stood)) is None  # its time counts anew


@pytest.mark.parametrize("source", list(Input))
def test_an_input_that_falls_silent_while_something_is_held_stops_entries(source: Input) -> None:
    quiet = RULES.unknown_input_ms * MS
    watch = Watch()
    for other in Input:
        watch = kill_watch.heard(watch, other, Utc(NOW + (0 if other is source else quiet)))
    assert kill_watch.silent(watch, NOW, RULES, Utc(NOW + quiet - 1)) is None
    found = kill_watch.silent(watch, NOW, RULES, Utc(NOW + quiet))
    assert found is not None
    assert found.reason.startswith(source.value)
    assert kill_watch.silent(Watch(), Utc(NOW + 1), RULES, Utc(NOW + quiet)) is None  # held for less than the wait
    assert kill_watch.silent(Watch(), NOW, RULES, Utc(NOW + quiet)) is not None  # never heard at all


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_spread_rule_fires_exactly_on_an_unbroken_run_above_the_limit(readings: list[tuple[int, float]]) -> None:
    watch, at, run_from = Watch(), NOW, None
    for seconds, median in readings:
        at = Utc(at + seconds * SECOND)
        watch, found = kill_watch.on_spreads(watch, median, 0.1, RULES, at)
        run_from = None if median <= RULES.spread_multiple * 0.1 else (at if run_from is None else run_from)
        assert (found is not None) == (run_from is not None and at - run_from >= FOR)


def test_slots_follow_new_york_time_in_steps_of_five_minutes() -> None:
    slots = [kill_watch.slot_of(at_exchange(TODAY, time(9, minute))) for minute in range(30, 50)]
    assert sorted(set(slots)) == [570, 575, 580, 585]
    assert all(b - a in (0, 5) for a, b in pairwise(slots))


def test_each_reason_is_a_sentence_with_what_was_measured() -> None:
    rules, watch = SETTINGS.kill, Watch()
    for at_ms in (0, rules.spread_for_ms):
        watch, found = kill_watch.on_spreads(watch, 0.5, 0.1, rules, Utc(NOW + at_ms * MS))
    assert watch.heard == ((Input.SPREADS, NOW + rules.spread_for_ms * MS),)
    assert found is not None
    assert found.reason == "the median spread is 50.0% of mid, above 20.0%, for 120 s"
    for n in range(rules.rejects_max):
        watch, found = kill_watch.on_refused(watch, 201, rules, Utc(NOW + n))
    assert found is not None
    assert found.reason == "the broker rejected 3 orders (201) within 5 min"
    for (least, most), side in (((600, 700), "600 ms behind"), ((-700, -600), "600 ms ahead of")):
        _, found = kill_watch.on_clock(watch, least, most, rules, NOW)
        assert found is not None
        assert side in found.reason
    found = kill_watch.silent(Watch(), NOW, rules, Utc(NOW + rules.unknown_input_ms * MS))
    assert found is not None
    assert "said nothing for 60 s while" in found.reason


def test_a_fast_move_of_spx_is_told_in_dollars() -> None:
    watch = KillWatch()
    for n, price in enumerate((600_000, 604_000)):
        watch, reason = kill.watch_spots(watch, (Spot("SPX", Ticks(price), Utc(NOW + n)),), SETTINGS.kill)
    assert reason == "SPX moved from 6000.00 to 6040.00 within 1 min"
