"""A wall clock that steps: 40 s back froze all stops for 35 s, an hour forward made 120 buckets due at once."""

from __future__ import annotations

from typing import Any

from commands.live import tell_step
from domain.alarm import Severity
from domain.instants import SECOND
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages import operator, risk
from supervision.clock import MarketClock, Segment
from supervision.wall import WallStep, WallWatcher


class Runtime:
    """Takes what an edge says."""

    def __init__(self) -> None:
        self.clock = MarketClock(Segment(0, Utc(0)), lambda: 0)
        self.said: list[Any] = []

    def post(self, to: str, message: Any, sender: str) -> None:
        self.said.append((to, message))

    def publish(self, event: Any, sender: str) -> None:
        self.said.append(("", event))


def told(step: WallStep) -> list[Any]:
    runtime: Any = Runtime()
    tell_step(runtime, step)
    said: list[Any] = runtime.said
    return said


def test_step_of_the_wall_clock_raises_level_one_and_an_alarm_that_names_the_clock() -> None:
    (to, raised), (_, alarm) = told(WallStep(-40 * SECOND))
    assert to == "kill" and isinstance(raised, risk.RaiseKill)
    assert raised.level is KillLevel.NO_ENTRIES and raised.reason == "clock step of -40.0 s"
    assert isinstance(alarm, operator.Alarm) and alarm.severity is Severity.HIGH
    assert "40.0 s behind the market clock" in alarm.text


def test_return_to_agreement_lowers_nothing() -> None:
    ((_, alarm),) = told(WallStep(0))
    assert isinstance(alarm, operator.Alarm) and alarm.severity is Severity.INFO


def test_stops_of_market_time_run_on_through_a_backward_step_of_forty_seconds() -> None:
    real_ns, wall_ns = 0, 1_000 * SECOND
    clock = MarketClock(Segment(0, Utc(wall_ns)), lambda: real_ns)
    watcher = WallWatcher(clock, lambda _: None, lambda: wall_ns)
    stop_utc = Utc(clock.now_utc() + 2 * SECOND)
    real_ns, wall_ns = real_ns + SECOND, wall_ns - 39 * SECOND
    watcher.look()
    assert clock.real_wait_s(stop_utc) == 1.0
    real_ns, wall_ns = real_ns + SECOND, wall_ns + SECOND
    assert clock.now_utc() >= stop_utc
