"""The watchdog counts only the time in which the process could run."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import lifecycle
from messages.base import Message
from supervision.starvation import Queued, Starvation, StarvationMeter
from supervision.watchdog import Watchdog
from tests.testkit.live import FakeNs, Start, starter
from tests.testkit.supervisor_child import eventually
from tests.testkit.toys import RULES, Log, Toy, kept, say, spec, toy_tree

MS = 1_000_000
EVERY_MS, STUCK_MS = 250, 2_000


@pytest.fixture
def start() -> Iterator[Start]:
    with starter() as begin:
        yield begin


class Held:
    """A watchdog on clocks of its own, and an actor with a message in hand."""

    def __init__(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        log: Log = []
        toys: list[Toy] = []
        self.release = threading.Event()
        h = toy_tree(spec("a:1", lambda n: kept(toys, Toy(n, log, {"k": self.release}))), log=log)
        self.runtime = start(h)
        self.now, self.cpu, self.post_takes_ms = FakeNs(), FakeNs(), 0
        self.reported: list[lifecycle.ActorStuck] = []
        self.freed: list[str] = []
        rules = dataclasses.replace(RULES, stuck_after_ms=STUCK_MS, watchdog_every_ms=EVERY_MS)
        monkeypatch.setattr(Watchdog, "_run", lambda _: None)  # the test looks, not the thread
        self.queued_ms = 0
        self.meter = StarvationMeter(EVERY_MS, self.now, self.cpu, lambda: self.queued_ms * MS)
        self.watchdog = Watchdog(self.runtime, rules, self.now, self.meter)
        monkeypatch.setattr(self.runtime, "post", self._post)
        self._toy = toys[0]

    def _post(self, to: str, message: Message, sender: str) -> None:
        if isinstance(message, lifecycle.ActorFreed):
            self.freed.append(message.name)
            return
        assert isinstance(message, lifecycle.ActorStuck)
        self.reported.append(message)
        self.now.ns += self.post_takes_ms * MS

    def take_in_hand(self) -> None:
        """Have the actor begin a message that it does not end."""
        type(self.runtime).post(self.runtime, "a:1", say("hold k"), "edge:t")
        assert self._toy.begun.wait(60)
        self.runtime.cells["a:1"].busy_since_ns = self.now.ns

    def look_after(self, wall_ms: int, cpu_ms: int) -> list[int]:
        """Let time go by and look; return for how many ms the message was reported to be in hand."""
        self.now.ns += wall_ms * MS
        self.cpu.ns += cpu_ms * MS
        before = len(self.reported)
        self.watchdog.look()
        return [stuck.for_ms for stuck in self.reported[before:]]


@pytest.fixture
def held(start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    made = Held(start, monkeypatch)
    yield made
    made.release.set()
    made.watchdog.close()


def test_time_in_which_the_process_was_given_no_processor_makes_no_actor_stuck(held: Held) -> None:
    held.take_in_hand()
    assert held.look_after(60_000, 0) == []
    assert [held.look_after(EVERY_MS, 0) for _ in range(6)] == [[]] * 6
    assert held.look_after(EVERY_MS, 0) == [STUCK_MS]  # eight times 250 ms in which it could run
    assert held.reported[0].name == "a:1"


def test_time_lost_before_a_message_began_is_not_taken_off(held: Held) -> None:
    held.look_after(60_000, 0)
    held.take_in_hand()
    assert [held.look_after(EVERY_MS, 0) for _ in range(7)] == [[]] * 7
    assert held.look_after(EVERY_MS, 0) == [STUCK_MS]


def test_actor_that_computes_and_lets_nobody_else_run_is_reported(held: Held) -> None:
    held.take_in_hand()
    assert held.look_after(STUCK_MS, STUCK_MS) == [STUCK_MS]


def test_actor_that_was_stuck_is_said_to_go_on_once_it_is_done(held: Held) -> None:
    held.take_in_hand()
    held.look_after(STUCK_MS, STUCK_MS)
    held.look_after(EVERY_MS, EVERY_MS)
    assert held.freed == []
    held.release.set()
    eventually(lambda: held.runtime.cells["a:1"].in_hand is None)
    for _ in range(2):
        held.look_after(EVERY_MS, 0)
    assert held.freed == ["a:1"]


def test_actor_that_was_stuck_goes_on_when_it_is_up_again_and_not_before(held: Held) -> None:
    held.take_in_hand()
    held.look_after(STUCK_MS, STUCK_MS)
    cell = held.runtime.cells["a:1"]
    cell.is_up = False  # fenced, and not started again yet
    held.look_after(EVERY_MS, 0)
    assert held.freed == []
    cell.is_up, cell.incarnation = True, 2
    held.look_after(EVERY_MS, 0)
    assert held.freed == ["a:1"]
    cell.incarnation = 1


def test_actor_that_was_never_reported_is_not_said_to_go_on(held: Held) -> None:
    held.take_in_hand()
    held.look_after(EVERY_MS, EVERY_MS)
    held.release.set()
    eventually(lambda: held.runtime.cells["a:1"].in_hand is None)
    held.look_after(EVERY_MS, 0)
    assert held.freed == []


def test_who_was_reported_for_a_restart_is_stuck_until_the_message_is_done(held: Held) -> None:
    held.take_in_hand()
    held.look_after(STUCK_MS, STUCK_MS)
    assert held.watchdog.stuck() == frozenset()  # reported once: it may be slow
    held.look_after(4 * STUCK_MS, 4 * STUCK_MS)
    assert held.watchdog.stuck() == {"a:1"}
    held.release.set()
    eventually(lambda: held.runtime.cells["a:1"].in_hand is None)
    held.look_after(EVERY_MS, 0)
    assert held.watchdog.stuck() == frozenset()


def test_time_in_which_the_watchdog_itself_was_held_up_is_not_taken_off(held: Held) -> None:
    held.take_in_hand()
    held.post_takes_ms = 7_000  # the trace's disk does not answer
    assert held.look_after(STUCK_MS, STUCK_MS) == [STUCK_MS]
    assert held.look_after(EVERY_MS, 0) == []
    assert held.look_after(EVERY_MS * 3, EVERY_MS * 3) == [STUCK_MS + 7_000 + EVERY_MS * 4]


def test_process_that_gets_a_fifth_of_a_processor_loses_four_fifths_of_its_lateness(held: Held) -> None:
    held.take_in_hand()
    assert held.look_after(10_250, 2_050) == [2_250]  # 10 s late, 8 s of them lost


def test_time_that_threads_stand_in_the_queue_for_a_processor_makes_no_actor_stuck(held: Held) -> None:
    held.take_in_hand()  # whoever waits is woken in time on a busy machine, whoever computes stands in the queue
    held.queued_ms = EVERY_MS - 25
    assert [held.look_after(EVERY_MS, 25) for _ in range(79)] == [[]] * 79
    assert held.look_after(EVERY_MS, 25) == [STUCK_MS]  # eighty times 25 ms in which it ran


def test_time_in_which_another_thread_of_the_process_ran_counts_although_some_stood_in_the_queue(held: Held) -> None:
    held.take_in_hand()
    held.queued_ms = 10 * STUCK_MS
    assert held.look_after(STUCK_MS, STUCK_MS) == [STUCK_MS]


def test_kernel_counts_how_long_threads_of_this_process_stood_in_the_queue() -> None:
    queued = Queued()
    assert queued.since_last_ns() >= 0
    assert queued.since_last_ns() >= 0


def test_threads_that_stand_in_the_queue_at_the_same_time_lose_that_time_once(tmp_path: Path) -> None:
    for thread_n in range(47):
        (tmp_path / str(thread_n)).mkdir()
        (tmp_path / str(thread_n) / "schedstat").write_text("1000 5000 3\n")
    queued = Queued(str(tmp_path))
    for thread_n in range(47):
        (tmp_path / str(thread_n) / "schedstat").write_text(f"2000 {5_000 + 6 * MS - thread_n} 4\n")
    assert queued.since_last_ns() == 6 * MS
    assert queued.since_last_ns() == 0


BEATS = st.lists(st.tuples(st.integers(1, 10**11), st.integers(0, 10**11), st.integers(0, 10**11)), max_size=20)


@given(beats=BEATS)
def test_starvation_never_exceeds_the_time_in_which_nothing_ran_and_never_shrinks(
    beats: list[tuple[int, int, int]],
) -> None:
    starvation, now_ns, cpu_ns = Starvation(EVERY_MS * MS, 0, 0), 0, 0
    for since_ns, ran_ns, queued_ns in beats:
        before_ns = starvation.total_ns
        now_ns, cpu_ns = now_ns + since_ns, cpu_ns + ran_ns
        starvation.beat(now_ns, cpu_ns, queued_ns)
        starvation.rest(now_ns, cpu_ns)
        lost_ns = starvation.total_ns - before_ns
        assert 0 <= lost_ns <= max(0, since_ns - ran_ns)
        assert queued_ns or lost_ns <= max(0, since_ns - EVERY_MS * MS)


def test_a_start_costs_its_incarnation_later_than_other_messages(held: Held) -> None:
    held.take_in_hand()
    mail = held.runtime.cells["a:1"].in_hand
    assert mail is not None
    mail.message = lifecycle.Started(name="a:1", incarnation=1, run_n=1)
    assert held.look_after(STUCK_MS, STUCK_MS) == [STUCK_MS]  # said as early
    assert held.look_after(28 * STUCK_MS, 28 * STUCK_MS) == []
    assert held.watchdog.stuck() == frozenset()  # what it reads again takes as long again
    held.look_after(STUCK_MS, STUCK_MS)
    assert held.watchdog.stuck() == {"a:1"}
