"""A wall clock that steps: 40 s back froze all stops for 35 s, an hour forward made 120 buckets due at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from actors.position import PositionActor
from commands.live import tell_step
from domain.alarm import Severity
from domain.instants import MS, SECOND
from domain.instruments import OrderType
from domain.orders.request import OrderChange, OrderRequest
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages import lifecycle, operator, orders, positions, risk
from messages.base import Message
from supervision.clock import MarketClock, Segment, real_ns
from supervision.spec import ChildSpec
from supervision.threaded import LiveRuntime
from supervision.trace import NoTrace
from supervision.wall import WallStep, WallWatcher
from tests.testkit.live import eventually
from tests.testkit.position_history import EXIT_1, NAME, T0, History, settings
from tests.testkit.probe import Outbox
from tests.testkit.toys import toy_tree


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


# -- a held position on the threads of a supervisor ----------------------------------------------


class Desk(History):
    """A position on the live runtime; the test is everybody else, and leads the wall clock."""

    def __init__(self) -> None:
        super().__init__()
        rules = dataclasses.replace(settings().exits, stop_tier_quote_ms=100, confirm_gap_ms=20)
        quick = settings().model_copy(update={"exits": rules})
        self.heard: list[Message] = []
        self.offset_ns = 0
        self.clock = MarketClock(Segment(real_ns(), T0))
        toys = toy_tree(ChildSpec(NAME, lambda: PositionActor(NAME, quick)), log=[])
        tree = dataclasses.replace(toys.tree, route=lambda _sender, _role: ("edge:desk",), subscribers={})
        self.runtime = LiveRuntime(tree, NoTrace(self.clock), self.clock, 1)
        self.runtime.sinks["edge:desk"] = self._hear
        self.runtime.start_tree()
        self.watcher = WallWatcher(
            self.clock, lambda step: tell_step(self.runtime, step), lambda: self.clock.now_utc() + self.offset_ns, 0.002
        )
        self.watcher.start()
        assert eventually(lambda: self.runtime.cells[NAME].is_up)

    def _hear(self, message: Message) -> None:
        self.heard.append(message)
        if isinstance(message, orders.RecordExitIntent):
            told = orders.ExitIntentRecorded(order_ref=message.order_ref, tier=message.tier)
            self.runtime.post(NAME, told, "edge:desk")

    def feed(self, message: Message, at: Utc | None = None) -> Outbox:
        if isinstance(message, lifecycle.Started):
            return super().feed(message, at)  # the history's own position, of which nothing is asked
        self.runtime.post(NAME, message, "edge:desk")
        return Outbox([])

    def wait(self, ms: float) -> Outbox:
        self.clock.wait_until(Utc(self.clock.now_utc() + round(ms * MS)))
        self.now = self.clock.now_utc()
        return Outbox([])

    def step(self, seconds: int) -> None:
        """Set the wall clock, and wait until that was noticed."""
        self.offset_ns += seconds * SECOND
        wanted = f"clock step of {self.offset_ns / SECOND:+.1f} s"
        assert eventually(lambda: any(isinstance(m, risk.RaiseKill) and m.reason == wanted for m in tuple(self.heard)))

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in tuple(self.heard) if isinstance(message, kind)]

    def exits(self) -> list[OrderRequest]:
        return [submitted.order for submitted in self.of(orders.SubmitOrder) if submitted.order.is_exit]

    def close(self) -> None:
        self.watcher.close()
        self.runtime.stop()


@pytest.mark.parametrize("seconds", [-40, 3_600], ids=["back", "forward"])
def test_stop_of_a_held_position_is_crossed_and_goes_through_its_tiers_while_the_wall_clock_steps(seconds: int) -> None:
    desk = Desk()
    try:
        desk.now = desk.clock.now_utc()
        desk.hold()
        assert eventually(lambda: desk.runtime.cells[NAME].state.fills.held == 2)
        desk.quote(290, 310)  # 40 % below the fill
        desk.step(seconds)
        desk.wait(30)
        desk.quote(290, 310)  # and confirmed
        assert eventually(lambda: bool(desk.exits()))
        (sent,) = desk.exits()
        assert (sent.order_ref, sent.order_type, sent.qty) == (EXIT_1, OrderType.LIMIT, 2)
        desk.order_sent(EXIT_1)
        desk.ack(EXIT_1)
        desk.step(-seconds * 2)
        assert eventually(lambda: bool(desk.of(orders.ModifyOrder)))
        change: OrderChange = desk.of(orders.ModifyOrder)[0].change
        assert change.order_type is OrderType.MARKET
        assert len(desk.exits()) == 1  # never two
        assert desk.of(positions.PositionClosed) == []
    finally:
        desk.close()
