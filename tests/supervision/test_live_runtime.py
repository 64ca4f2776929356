"""The threaded runtime: nothing lost or doubled under crashes, retirements and many senders; zombies; stop; ask."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from config.tree import Supervision
from domain.alarm import Severity
from domain.instants import MS
from domain.units import Utc
from messages import lifecycle, operator
from messages.base import Message
from supervision.actor import Actor
from supervision.cell import Cell
from supervision.clock import MarketClock, Segment, real_ns
from supervision.mailbox import Timer
from supervision.spec import Template
from supervision.starvation import StarvationMeter
from supervision.threaded import LiveRuntime
from supervision.trace import MemoryTrace, NoTrace
from supervision.turn import Turn
from supervision.watchdog import Watchdog
from tests.testkit.live import FakeNs, LockedTrace, Start, eventually, starter
from tests.testkit.narrow import known, of_class
from tests.testkit.toys import (
    RULES,
    Collector,
    Log,
    Toy,
    ToyState,
    ToyStore,
    kept,
    records,
    say,
    spec,
    text_of,
    toy_tree,
    trace_lines,
)


@pytest.fixture
def start() -> Iterator[Start]:
    with starter() as begin:
        yield begin


def post_from_threads(runtime: LiveRuntime, to: str, senders: int, each: int, poison_every: int = 0) -> None:
    def send(sender: int) -> None:
        for n in range(each):
            is_poison = poison_every and n % poison_every == poison_every - 1
            runtime.post(to, say(f"raise {sender} {n}" if is_poison else f"m {sender} {n}"), f"edge:{sender}")

    threads = [threading.Thread(target=send, args=(k,)) for k in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check_all_once_in_order(texts: list[str], senders: int, each: int) -> None:
    got = [text.split() for text in texts if not text.startswith(("started", "read:", "open", "close"))]
    assert len(got) == senders * each
    for sender in range(senders):
        assert [int(n) for _, who, n in got if int(who) == sender] == list(range(each))


def generous() -> Supervision:
    return dataclasses.replace(RULES, restarts_max=10_000)


def test_crashes_under_fire_from_many_threads_lose_nothing_double_nothing_and_keep_each_senders_order(
    start: Start,
) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log, rules=generous())
    runtime = start(h)
    post_from_threads(runtime, "a:1", senders=4, each=200, poison_every=20)
    assert eventually(lambda: len(h.texts("a:1")) >= 800 + 41)
    check_all_once_in_order(h.texts("a:1"), 4, 200)
    assert runtime.cells["a:1"].crashes == 40 and runtime.dead_letters == 40
    starts = [int(text.split(":")[1]) for text in h.texts("a:1") if text.startswith("started")]
    assert starts == list(range(1, 42))
    assert runtime.cells["a:1"].mailbox.depth() == 0


def test_started_is_the_first_receipt_of_every_incarnation_and_the_trace_keeps_its_invariants(start: Start) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), spec("b:1", lambda n: Toy(n, log)), log=log, rules=generous())
    runtime = start(h)
    for n in range(60):
        runtime.post(
            "a:1", say("tell b:1 x;tell b:1 raise;timer k 1000;tell a:1 raise" if n % 3 else "raise"), "edge:t"
        )
    assert eventually(lambda: h.texts("b:1").count("raise") == 40 and h.texts("a:1").count("raise") == 60)
    assert eventually(lambda: runtime.cells["a:1"].is_up and runtime.cells["b:1"].is_up)
    runtime.stop()
    envelopes, handled = records(trace_lines(runtime))
    assert [e.seq for e in envelopes] == list(range(1, len(envelopes) + 1))
    assert all(e.cause_seq < e.seq for e in envelopes)
    assert all(a.at_utc <= b.at_utc for a, b in itertools.pairwise(envelopes))
    firsts: dict[tuple[str, int], str] = {}
    counts: dict[tuple[str, int], int] = {}
    for e in envelopes:
        if e.incarnation:
            firsts.setdefault((e.to, e.incarnation), e.message_id)
            counts[e.to, e.incarnation] = counts.get((e.to, e.incarnation), 0) + 1
            assert e.inbox_n == counts[e.to, e.incarnation]
    assert all(first == f"1/{name}/{inc}/started" for (name, inc), first in firsts.items())
    assert {e.seq for e in envelopes if e.incarnation} == set(handled)


def test_io_actor_that_fails_now_and_then_loses_nothing_and_keeps_order(start: Start) -> None:
    log: Log = []
    failures = {f"m {k} {n}": 1 + n % 2 for k in range(2) for n in range(0, 60, 10)}
    h = toy_tree(spec("store:1", lambda n: ToyStore(n, log, failures)), log=log, rules=generous())
    runtime = start(h)
    post_from_threads(runtime, "store:1", senders=2, each=60)
    assert eventually(lambda: runtime.cells["store:1"].mailbox.depth() == 0 and runtime.cells["store:1"].is_up)
    assert eventually(lambda: runtime.cells["store:1"].in_hand is None)
    done: list[str] = []
    for text in (t for t in h.texts("store:1") if t.startswith("m ")):
        if not done or done[-1] != text:  # a failed delivery comes again before anything else
            done.append(text)
    check_all_once_in_order(done, 2, 60)
    assert runtime.dead_letters == 0
    opened = [t for t in h.texts("store:1") if t in ("open", "close")]
    assert opened == ["open", "close"] * (len(opened) // 2) + ["open"]  # each was closed before the next was opened


def test_retiring_at_every_message_under_fire_loses_nothing(start: Start) -> None:
    log: Log = []

    class Quitter(Toy):
        def decide(self, turn: Turn[ToyState], message: Message) -> None:
            self._log.append((self.name, text_of(message)))
            if not isinstance(message, lifecycle.Started):
                turn.retire()

    h = toy_tree(log=log, templates=(Template("position:paper:", lambda n: Quitter(n, log)),))
    runtime = start(h)
    post_from_threads(runtime, "position:paper:7", senders=4, each=100)
    assert eventually(lambda: sum(text.startswith("m ") for text in h.texts("position:paper:7")) >= 400)
    check_all_once_in_order(h.texts("position:paper:7"), 4, 100)
    assert eventually(lambda: "position:paper:7" not in runtime.cells)
    assert runtime.dead_letters == 0


@pytest.mark.parametrize("command", ["raise", "exit"])
def test_base_exception_in_one_thread_leaves_the_other_threads_running(start: Start, command: str) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), spec("b:1", lambda n: Toy(n, log)), log=log)
    runtime = start(h)
    runtime.post("a:1", say(command), "edge:t")
    assert eventually(lambda: runtime.cells["a:1"].incarnation == 2)
    runtime.post("b:1", say("here"), "edge:t")
    runtime.post("a:1", say("back"), "edge:t")
    assert eventually(lambda: "here" in h.texts("b:1") and "back" in h.texts("a:1"))


def test_stuck_actor_is_reported_with_its_stack_then_fenced_and_its_zombie_is_refused(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: Log = []
    holds = {"k": threading.Event()}
    toys: list[Toy] = []

    def make(name: str) -> Toy:
        toys.append(Toy(name, log, holds))
        return toys[-1]

    seen: list[lifecycle.ActorStuck] = []
    rules = dataclasses.replace(RULES, stuck_after_ms=20, watchdog_every_ms=3_600_000)
    h = toy_tree(spec("a:1", make), spec("b:1", lambda n: Toy(n, log)), log=log, rules=rules)
    runtime = start(h)
    now = FakeNs()
    meter = StarvationMeter(rules.watchdog_every_ms, now, now, lambda: 0)  # nothing but this process runs
    watchdog = Watchdog(runtime, rules, now, meter)
    real_post = runtime.post

    def post(to: str, message: Message, sender: str) -> None:
        if isinstance(message, lifecycle.ActorStuck):
            seen.append(message)
        real_post(to, message, sender)

    monkeypatch.setattr(runtime, "post", post)
    try:
        runtime.post("a:1", say("hold k;tell b:1 zombie;timer z 1"), "edge:t")
        runtime.post("a:1", say("after"), "edge:t")
        assert toys[0].begun.wait(60)
        cell = runtime.cells["a:1"]
        zombie = known(cell.thread)
        began_ns = cell.busy_since_ns
        now.ns = began_ns + 19_000_000
        watchdog.look()
        assert seen == []
        for now.ns in (began_ns + 20_000_000, began_ns + 60_000_000):
            watchdog.look()
        assert [s.for_ms for s in seen] == [20] and "holds[first].wait" in seen[0].stack
        assert eventually(lambda: any(m.key == "stuck:a:1" for m in h.heard["notifier"]))
        assert cell.incarnation == 1
        for now.ns in (began_ns + 100_000_000, began_ns + 101_000_000):
            watchdog.look()
        assert [s.for_ms for s in seen] == [20, 100]
        assert eventually(lambda: h.texts("a:1")[-1:] == ["after"])
        assert cell.incarnation == 2
        holds["k"].set()
        runtime.post("a:1", say("tell b:1 alive"), "edge:t")
        assert eventually(lambda: h.texts("b:1")[-1:] == ["alive"])
        zombie.join(60)
        assert not zombie.is_alive()  # it noticed, and went
        assert "zombie" not in h.texts("b:1")
        watchdog.look()
        assert eventually(
            lambda: [m.severity for m in h.heard["notifier"] if m.key == "stuck:a:1"][2:] == [Severity.INFO]
        )
        assert cell.state == ToyState(3)
        assert runtime.dead_letters == 1
    finally:
        watchdog.close()
    runtime.stop()
    envelopes, handled = records(trace_lines(runtime))
    held = [e for e in envelopes if e.to == "a:1" and e.sender == "edge:t"]
    assert [handled[e.seq].outcome for e in held] == ["fenced", "ok", "ok"]


def test_actor_that_went_on_to_its_next_message_before_the_supervisor_acts_is_not_fenced(start: Start) -> None:
    log: Log = []
    holds = {"k": threading.Event()}
    toys: list[Toy] = []
    h = toy_tree(spec("a:1", lambda n: kept(toys, Toy(n, log, holds))), log=log)
    runtime = start(h)
    runtime.post("a:1", say("slow"), "edge:t")
    runtime.post("a:1", say("hold k"), "edge:t")
    assert toys[0].begun.wait(60)
    stuck = lifecycle.ActorStuck(
        name="a:1", incarnation=1, message_id="1/edge:t/1", tag="operator.Announce", for_ms=99_999_999, stack=""
    )
    runtime.post("supervisor", stuck, "watchdog")
    runtime.post("supervisor", lifecycle.StartActor(name="a:1"), "edge:t")  # handled after the fence was tried
    assert eventually(lambda: runtime.cells["supervisor"].mailbox.depth() == 0)
    assert eventually(lambda: runtime.cells["supervisor"].in_hand is None)
    holds["k"].set()
    runtime.post("a:1", say("on"), "edge:t")
    assert eventually(lambda: "on" in h.texts("a:1"))
    assert runtime.cells["a:1"].incarnation == 1 and runtime.cells["a:1"].crashes == 0


def test_stuck_supervisor_latches_and_then_ends_the_process(start: Start) -> None:
    log: Log = []
    release, begun = threading.Event(), threading.Event()

    class Holding(Collector):
        def decide(self, turn: Turn[ToyState], message: Message) -> None:
            if not isinstance(message, lifecycle.Started):
                begun.set()
                release.wait(120)

    h = toy_tree(log=log, supervisor=lambda tree: Holding("supervisor", []))
    clock = MarketClock.real()
    runtime = LiveRuntime(h.tree, NoTrace(clock), clock, 1)
    rules = dataclasses.replace(RULES, stuck_after_ms=100, watchdog_every_ms=5)
    watchdog = Watchdog(runtime, rules)
    try:
        runtime.start_tree()
        runtime.post("supervisor", say("x"), "edge:t")
        assert begun.wait(60)
        assert runtime.end_wanted.wait(60)
        assert known(runtime.latched).startswith("the supervisor has had ")
        assert "release.wait" in known(runtime.ended)
    finally:
        release.set()
        watchdog.close()
        assert runtime.stop()


class SlowStart:
    """A live tree whose supervisor has its first message, its own `Started`, in hand until it is let go."""

    def __init__(self, stuck_after_ms: int) -> None:
        self.release, begun = threading.Event(), threading.Event()

        def make(name: str) -> Toy:
            begun.set()
            self.release.wait(120)
            return Toy(name, [])

        h = toy_tree(spec("a:1", make), log=[])
        clock = MarketClock.real()
        self.runtime = LiveRuntime(h.tree, NoTrace(clock), clock, 1)
        self.now = FakeNs()
        meter = StarvationMeter(5, self.now, self.now, lambda: 0)
        rules = dataclasses.replace(RULES, stuck_after_ms=stuck_after_ms, watchdog_every_ms=600_000)
        self.watchdog = Watchdog(self.runtime, rules, self.now, meter)  # the test looks, not the thread
        self.runtime.start_tree()
        assert begun.wait(60)
        self.runtime.cells["supervisor"].busy_since_ns = self.now.ns

    def look_after(self, ms: int) -> None:
        self.now.ns += ms * MS
        self.watchdog.look()


@pytest.fixture
def slow_start() -> Iterator[SlowStart]:
    slow = SlowStart(stuck_after_ms=2_000)
    yield slow
    slow.release.set()
    slow.watchdog.close()
    assert slow.runtime.stop()


def test_start_that_takes_long_does_not_latch_entries_off(slow_start: SlowStart) -> None:
    slow_start.look_after(2_700)
    slow_start.look_after(50_000)
    assert (slow_start.runtime.latched, slow_start.runtime.ended) == (None, None)
    slow_start.release.set()
    assert eventually(lambda: slow_start.runtime.cells["a:1"].is_up)
    slow_start.look_after(60_000)
    assert (slow_start.runtime.latched, slow_start.runtime.ended) == (None, None)


def test_start_that_does_not_end_latches_and_ends_the_process(slow_start: SlowStart) -> None:
    slow_start.look_after(60_000)
    assert known(slow_start.runtime.latched).startswith("the supervisor has had ")
    assert "is stuck in" in known(slow_start.runtime.ended)


def test_actor_stuck_in_a_ports_sink_cannot_be_fenced_and_ends_the_process(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervision.host._FENCE_WAIT_S", 0.05)
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log)
    runtime = start(h)
    release, begun = threading.Event(), threading.Event()

    def sink(message: object) -> None:
        begun.set()
        release.wait(120)

    runtime.sinks["port:x"] = sink
    try:
        runtime.post("a:1", say("tell port:x hello"), "edge:t")
        assert begun.wait(60)
        stuck = lifecycle.ActorStuck(
            name="a:1", incarnation=1, message_id="1/edge:t/1", tag="operator.Announce", for_ms=99_999, stack=""
        )
        runtime.post("supervisor", stuck, "watchdog")
        assert runtime.end_wanted.wait(60)
        assert runtime.ended == runtime.latched == "a:1 is stuck handing on what it decided"
    finally:
        release.set()


def test_stop_is_prompt_finishes_what_is_in_hand_and_leaves_the_rest_unhandled(start: Start) -> None:
    log: Log = []
    holds = {"k": threading.Event()}
    toys: list[Toy] = []
    h = toy_tree(
        spec("a:1", lambda n: kept(toys, Toy(n, log, holds))),
        spec("store:1", lambda n: ToyStore(n, log)), log=log,
    )  # fmt: skip
    runtime = start(h)
    runtime.post("a:1", say("hold k;tell nobody x"), "edge:t")
    for _ in range(2000):
        runtime.post("a:1", say("never"), "edge:t")
    assert toys[0].begun.wait(60)
    stopper = threading.Thread(target=lambda: results.append(runtime.stop(60)))
    results: list[bool] = []
    stopper.start()
    assert eventually(lambda: runtime.is_stopping)
    holds["k"].set()
    stopper.join(60)
    assert results == [True]
    assert "never" not in h.texts("a:1")
    assert runtime.cells["a:1"].mailbox.depth() == 2000
    assert h.texts("store:1")[-1] == "close"
    envelopes, handled = records(trace_lines(runtime))
    assert [handled[e.seq].outcome for e in envelopes if e.sender == "edge:t"] == ["ok"]


def test_stop_does_not_wait_for_a_stuck_actor_beyond_its_time(start: Start) -> None:
    log: Log = []
    holds = {"k": threading.Event()}
    toys: list[Toy] = []
    h = toy_tree(spec("a:1", lambda n: kept(toys, Toy(n, log, holds))), log=log)
    runtime = start(h)
    runtime.post("a:1", say("hold k"), "edge:t")
    assert toys[0].begun.wait(60)
    assert runtime.stop(0.2) is False, "whoever waits for the actor finds it done"
    holds["k"].set()


def test_ask_gives_the_answer_a_failure_or_none_in_time(start: Start) -> None:
    class Server(Actor[ToyState, Any]):
        def initial(self) -> ToyState:
            return ToyState()

        def decide(self, turn: Turn[ToyState], message: Message) -> None:
            match message:
                case operator.Flatten(command_id="good"):
                    turn.report(message.reply_to, operator.CommandDone(command_id="good", detail="done"))
                case operator.Flatten(command_id="bad"):
                    raise ValueError("no")

    def command(command_id: str, edge: str) -> operator.Flatten:
        return operator.Flatten(command_id=command_id, reply_to=f"edge:{edge}", by="me", reason="x", expires_utc=0)

    h = toy_tree(spec("a:1", Server), log=[])
    runtime = start(h)
    assert runtime.ask("x", "a:1", command("good", "x"), 60) == operator.CommandDone(command_id="good", detail="done")
    failed = runtime.ask("x", "a:1", command("bad", "x"), 60)
    assert isinstance(failed, lifecycle.CommandFailed) and failed.error == "ValueError: no"
    assert runtime.ask("x", "a:1", command("silent", "x"), 0.05) is None
    assert "edge:x" not in runtime.sinks
    runtime.sinks["edge:x"] = print
    with pytest.raises(ValueError, match="asking already"):
        runtime.ask("x", "a:1", command("good", "x"), 1)
    runtime.cells["a:1"].is_over_bound = True
    assert isinstance(runtime.ask("y", "a:1", command("good", "y"), 60), lifecycle.CommandFailed)


def test_late_answer_to_an_edge_that_is_gone_is_a_dead_letter(start: Start) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log)
    runtime = start(h)
    runtime.post("a:1", say("tell edge:gone x"), "edge:gone")
    assert eventually(lambda: runtime.dead_letters == 1)


def test_real_timers_fire_in_order_and_survive_a_clock_that_runs_fast(start: Start) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log)
    clock = MarketClock.starting(1_000_000, 1000.0)
    runtime = LiveRuntime(h.tree, LockedTrace(clock), clock, 1)
    try:
        runtime.start_tree()
        runtime.post("a:1", say("timer far 9000000000000000000;timer b 20000000000;timer a 10000000000"), "edge:t")
        assert eventually(lambda: "fired:b" in h.texts("a:1"))
        assert [t for t in h.texts("a:1") if t.startswith("fired")] == ["fired:a", "fired:b"]
        envelopes, _ = records(trace_lines(runtime))
        due = [e for e in envelopes if e.sender == "timer:a:1"]
        assert all(e.at_utc >= d for e, d in zip(due, (10_000_000_000, 20_000_000_000), strict=True))
    finally:
        assert runtime.stop()


def test_death_of_a_helper_thread_ends_the_process(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    h = toy_tree(log=[])
    runtime = start(h)

    def broken(cell: Cell, timer: Timer) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(runtime, "_timer_due", broken)
    runtime._arm(runtime.cells["halt"], Timer("k", "", 0, 0))
    assert runtime.end_wanted.wait(60)
    assert "timers" in known(runtime.ended) and runtime.latched == runtime.ended


def test_trace_that_can_no_longer_be_written_halts_trading_and_nothing_else(start: Start) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log)
    runtime = start(h, sync_every_s=0.005)
    of_class(MemoryTrace, runtime.trace).failed = "the disk is full"
    assert eventually(lambda: [(m.topic, m.text) for m in h.heard["halt"]] == [("runtime", "the disk is full")])
    assert runtime.latched == "the disk is full" and runtime.ended is None
    runtime.post("a:1", say("on"), "edge:t")
    assert eventually(lambda: h.texts("a:1")[-1:] == ["on"])


def test_timer_fires_soon_after_a_clock_jumped_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervision.threaded._LOOK_AGAIN_S", 0.01)

    class SetClock:
        rate = 1.0
        now = 0
        on_change: ClassVar[list[Callable[[], None]]] = []

        def now_utc(self) -> int:
            return self.now

        def real_wait_s(self, until_utc: int) -> float:
            return max(0.0, (until_utc - self.now) / 1e9)

    log: Log = []
    clock = SetClock()
    h = toy_tree(spec("a:1", lambda n: Toy(n, log, on_start="timer k 3600000000000")), log=log)
    runtime = LiveRuntime(h.tree, LockedTrace(clock), clock, 1)
    try:
        runtime.start_tree()
        assert eventually(lambda: "started:1" in h.texts("a:1") and runtime.cells["a:1"].in_hand is None)
        clock.now = 3_600_000_000_000
        assert eventually(lambda: "fired:k" in h.texts("a:1"))
    finally:
        assert runtime.stop()


def test_timers_wait_at_a_horizon_and_fire_right_when_the_pace_changes(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervision.threaded._LOOK_AGAIN_S", 3600.0)  # they are told, and need no look
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log)
    horizon_utc = Utc(100_000_000_000)
    clock = MarketClock(Segment(real_ns(), Utc(0), 600.0, horizon_utc))
    runtime = LiveRuntime(h.tree, LockedTrace(clock), clock, 1)
    try:
        runtime.start_tree()
        assert eventually(lambda: clock.now_utc() == horizon_utc)
        runtime.post("a:1", say("timer late 3000000000;timer soon 1000000000"), "edge:t")
        assert eventually(lambda: len(runtime.cells["a:1"].timers) == 2)
        assert not [t for t in h.texts("a:1") if t.startswith("fired")], "market time stands"
        clock.follow(600.0, Utc(horizon_utc + 2_000_000_000))
        assert eventually(lambda: "fired:soon" in h.texts("a:1"))
        assert "fired:late" not in h.texts("a:1") and clock.now_utc() <= horizon_utc + 2_000_000_000
        clock.follow(100.0)
        assert eventually(lambda: "fired:late" in h.texts("a:1"))
    finally:
        assert runtime.stop()


def test_observers_see_each_message_of_their_class_once_and_before_whom_it_is_told_to(start: Start) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), spec("b:1", lambda n: Toy(n, log)), log=log)
    runtime = start(h)
    seen: list[tuple[str, str, str, bool]] = []

    def see(message: Message, to: str, sender: str) -> None:
        seen.append((text_of(message), to, sender, ("b:1", text_of(message)) in log))

    runtime.observers[operator.Announce] = see
    runtime.post("a:1", say("tell b:1 x;publish quiet"), "edge:t")
    assert eventually(lambda: ("b:1", "x") in log)
    assert seen == [("tell b:1 x;publish quiet", "a:1", "edge:t", False), ("x", "b:1", "a:1", False)]


def test_actor_is_idle_only_with_nothing_in_hand_and_nothing_waiting(start: Start) -> None:
    log: Log = []
    hold = threading.Event()
    toy = Toy("a:1", log, {"k": hold})
    h = toy_tree(spec("a:1", lambda _: toy), log=log)
    runtime = start(h)
    assert eventually(lambda: runtime.is_idle("a:1"))
    runtime.post("a:1", say("hold k"), "edge:t")
    runtime.post("a:1", say("next"), "edge:t")
    assert toy.begun.wait(60)
    assert not runtime.is_idle("a:1")
    hold.set()
    assert eventually(lambda: runtime.is_idle("a:1"))
    assert h.texts("a:1")[-1] == "next"


# -- going on with whom one has told -------------------------------------------------------------


def test_thread_goes_on_with_the_idle_actor_that_was_told_and_the_two_shells_change_places(start: Start) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), spec("b:1", lambda n: Toy(n, log)), log=log)
    runtime = start(h)
    a, b = runtime.cells["a:1"], runtime.cells["b:1"]
    assert eventually(lambda: runtime.is_idle("a:1") and runtime.is_idle("b:1"))
    before = a.thread, b.thread
    runtime.post("a:1", say("tell b:1 x"), "edge:t")
    assert eventually(lambda: "x" in h.texts("b:1"))
    assert eventually(lambda: (b.thread, a.thread) == before)
    runtime.post("a:1", say("y"), "edge:t")
    assert eventually(lambda: "y" in h.texts("a:1"))


def test_stuck_actor_that_was_gone_on_with_does_not_take_its_teller_along(start: Start) -> None:
    log: Log = []
    holds = {"k": threading.Event()}
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), spec("b:1", lambda n: Toy(n, log, holds)), log=log)
    runtime = start(h)
    assert eventually(lambda: runtime.is_idle("a:1") and runtime.is_idle("b:1"))
    runtime.post("a:1", say("tell b:1 hold k"), "edge:t")
    assert eventually(lambda: "hold k" in h.texts("b:1"))
    for n in range(50):
        runtime.post("a:1", say(f"m 0 {n}"), "edge:t")
    assert eventually(lambda: f"m 0 {49}" in h.texts("a:1"))
    stuck = runtime.cells["b:1"]
    frame = sys._current_frames()[known(known(stuck.thread).ident)]
    assert "wait" in {f.name for f in traceback.extract_stack(frame)}  # its stack is found under its own name
    holds["k"].set()
    runtime.post("b:1", say("after"), "edge:t")
    assert eventually(lambda: "after" in h.texts("b:1"))


@pytest.mark.parametrize("poison_every", [0, 25])
def test_chain_of_tellers_under_fire_loses_nothing_doubles_nothing_and_keeps_each_senders_order(
    start: Start, poison_every: int
) -> None:
    log: Log = []
    names = ("a:1", "b:1", "c:1")
    h = toy_tree(*(spec(name, lambda n: Toy(n, log)) for name in names), log=log, rules=generous())
    runtime = start(h)

    def send(sender: int) -> None:
        for n in range(200):
            runtime.post("a:1", say(f"tell b:1 tell c:1 m {sender} {n}"), f"edge:{sender}")
            if poison_every and n % poison_every == 0:
                runtime.post(names[n // poison_every % 3], say("raise"), f"edge:{sender}")

    threads = [threading.Thread(target=send, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert eventually(lambda: sum(text.startswith("m ") for text in h.texts("c:1")) >= 800)
    check_all_once_in_order([text for text in h.texts("c:1") if text.startswith("m ")], 4, 200)
    assert all(runtime.cells[name].mailbox.depth() == 0 for name in names)
    assert len({runtime.cells[name].thread for name in names}) == 3


class FreeStore(ToyStore):
    """A store that any thread may serve."""

    is_bound = False


@pytest.mark.parametrize(("kind", "is_gone_on_with"), [(FreeStore, True), (ToyStore, False)])
def test_thread_goes_on_with_io_only_where_it_is_not_bound_to_the_thread_that_opened_it(
    start: Start, kind: type[ToyStore], is_gone_on_with: bool
) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), spec("store:1", lambda n: kind(n, log)), log=log)
    runtime = start(h)
    a, store = runtime.cells["a:1"], runtime.cells["store:1"]
    assert eventually(lambda: runtime.is_idle("a:1") and runtime.is_idle("store:1"))
    before = a.thread, store.thread
    runtime.post("a:1", say("tell store:1 x"), "edge:t")
    assert eventually(lambda: "x" in h.texts("store:1") and runtime.is_idle("store:1"))
    assert (store.thread, a.thread) == (before if is_gone_on_with else before[::-1])


def test_thread_goes_on_with_a_pure_actor_before_one_that_does_io_and_both_get_their_mail(start: Start) -> None:
    log: Log = []
    h = toy_tree(
        spec("a:1", lambda n: Toy(n, log)), spec("store:1", lambda n: FreeStore(n, log)),
        spec("b:1", lambda n: Toy(n, log)), log=log,
    )  # fmt: skip
    runtime = start(h)
    a, b, store = (runtime.cells[name] for name in ("a:1", "b:1", "store:1"))
    assert eventually(lambda: all(runtime.is_idle(cell.name) for cell in (a, b, store)))
    before = a.thread, b.thread, store.thread
    runtime.post("a:1", say("tell store:1 x;tell b:1 y"), "edge:t")
    assert eventually(lambda: "x" in h.texts("store:1") and "y" in h.texts("b:1"))
    assert (b.thread, a.thread, store.thread) == before


def test_stuck_actor_that_was_gone_on_with_does_not_keep_the_others_from_what_they_were_told(start: Start) -> None:
    log: Log = []
    holds = {"k": threading.Event()}
    h = toy_tree(
        spec("a:1", lambda n: Toy(n, log)), spec("b:1", lambda n: Toy(n, log, holds)),
        spec("c:1", lambda n: Toy(n, log)), log=log,
    )  # fmt: skip
    runtime = start(h)
    assert eventually(lambda: all(runtime.is_idle(name) for name in ("a:1", "b:1", "c:1")))
    runtime.post("a:1", say("tell b:1 hold k;tell c:1 x"), "edge:t")
    assert eventually(lambda: "x" in h.texts("c:1"))
    assert not runtime.is_idle("b:1")
    holds["k"].set()
