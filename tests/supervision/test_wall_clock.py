"""The wall clock beside the market's: steps are told, never followed; small deviations are slewed away."""

from __future__ import annotations

from domain.instants import SECOND
from domain.units import Utc
from supervision.clock import MarketClock, Segment
from supervision.wall import SLEW, WallStep, WallWatch, WallWatcher, slewed

MS = 1_000_000


class Times:
    """A monotonic and a wall clock that a test sets."""

    def __init__(self) -> None:
        self.real_ns = 0
        self.wall_ns = 1_000 * SECOND

    def watched(self, told: list[WallStep]) -> tuple[MarketClock, WallWatcher]:
        clock = MarketClock(Segment(self.real_ns, Utc(self.wall_ns)), lambda: self.real_ns)
        return clock, WallWatcher(clock, told.append, lambda: self.wall_ns)

    def pass_s(self, seconds: float, step_s: float = 0.0) -> None:
        self.real_ns += round(seconds * SECOND)
        self.wall_ns += round((seconds + step_s) * SECOND)


def test_backward_step_of_forty_seconds_is_told_once_and_market_time_goes_on() -> None:
    times, told = Times(), list[WallStep]()
    clock, watcher = times.watched(told)
    before = clock.now_utc()
    times.pass_s(1, step_s=-40)
    watcher.look()
    assert told == [WallStep(-40 * SECOND)]
    for _ in range(35):
        times.pass_s(1)
        watcher.look()
    assert told == [WallStep(-40 * SECOND)]
    assert clock.now_utc() == before + 36 * SECOND


def test_step_forward_and_back_is_told_twice_and_moves_nothing() -> None:
    times, told = Times(), list[WallStep]()
    clock, watcher = times.watched(told)
    before = clock.now_utc()
    for step_s in (3_600.0, -3_564.8, 0.0):  # 12:00:35, then 11:01:10
        times.pass_s(1, step_s)
        watcher.look()
    assert [round(step.offset_ns / SECOND, 1) for step in told] == [3_600.0, 35.2]
    assert clock.now_utc() == before + 3 * SECOND


def test_return_to_agreement_is_told() -> None:
    watch = WallWatch()
    assert watch.look(2 * SECOND) == WallStep(2 * SECOND)
    assert watch.look(10 * MS) == WallStep(10 * MS)
    assert watch.look(20 * MS) is None


def test_small_deviations_that_add_up_are_a_step() -> None:
    watch = WallWatch()
    assert [watch.look(k * 200 * MS) for k in range(4)] == [None, None, None, WallStep(600 * MS)]


def test_small_deviation_is_slewed_away_without_a_jump() -> None:
    times, told = Times(), list[WallStep]()
    clock, watcher = times.watched(told)
    times.pass_s(1, step_s=0.1)
    watcher.look()
    assert clock.rate == 1.0 + SLEW and told == []
    for _ in range(240):
        before = clock.now_utc()
        times.pass_s(1)
        watcher.look()
        assert 0 < clock.now_utc() - before <= round(SECOND * (1 + SLEW))
    assert clock.rate == 1.0 and abs(times.wall_ns - clock.now_utc()) <= 2 * MS


def test_slew_leads_towards_the_wall_clock_and_ends_at_a_step() -> None:
    assert slewed(100 * MS) > 1.0 > slewed(-100 * MS)
    assert slewed(0) == slewed(501 * MS) == slewed(-40 * SECOND) == 1.0
