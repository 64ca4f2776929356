"""Wake-ups that a thread holds back reach whom they are for, whatever that thread waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from messages import lifecycle, operator
from messages.base import Message
from supervision import threaded
from supervision.threaded import LiveRuntime, LiveShell
from supervision.turn import Turn
from tests.testkit.live import Start, eventually, starter
from tests.testkit.toys import Log, Toy, ToyStore, ToyTree, say, spec, text_of, toy_tree

NEVER_S = 3600.0


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a runtime whose timers' thread looks after nothing but its timers."""
    monkeypatch.setattr(threaded, "_LOOK_AGAIN_S", NEVER_S)
    with starter() as begin:
        yield begin


@dataclass
class Order:
    """`a:1` tells `b:1` and `c:1`, hands `port:x` an order, and tells `b:1` once more; `disk` is that of the trace."""

    runtime: LiveRuntime
    texts: Callable[[str], list[str]]
    handed: threading.Event
    disk: threading.Event

    def is_nobody_woken(self) -> bool:
        return not (self.texts("b:1")[1:] or self.texts("c:1")[1:])

    def are_all_woken(self) -> bool:
        return self.texts("b:1")[1:] == ["x", "z"] and self.texts("c:1")[1:] == ["y"]


Place = Callable[..., Order]


@pytest.fixture
def place(start: Start, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Give what has an order handed to a port of its own thread; a disk that is slow ends when the test says so."""

    def placed(after: str = "", is_disk_slow: bool = False) -> Order:
        monkeypatch.setattr(operator.Announce, "GOES_FIRST", True)
        monkeypatch.setattr(operator.Announce, "is_synced_first", lambda _: True)
        log: Log = []
        h = toy_tree(*(spec(name, lambda n: Toy(n, log)) for name in ("a:1", "b:1", "c:1")), log=log)
        runtime = start(h)
        assert eventually(lambda: all(runtime.is_idle(name) for name in ("a:1", "b:1", "c:1")))
        order = Order(runtime, h.texts, threading.Event(), threading.Event())
        runtime.sinks |= {"port:x": lambda _: order.handed.set(), "port:y": lambda _: None}
        if is_disk_slow:
            monkeypatch.setattr(runtime.trace, "sync", lambda: wait_for(order.disk))
        runtime.post("a:1", say(f"tell b:1 x;tell c:1 y;tell port:x order;tell b:1 z{after}"), "edge:t")
        return order

    return placed


def test_whoever_was_told_beside_an_order_is_woken_once_its_port_has_spoken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded, "HELD_AT_MOST_S", NEVER_S)
    order = place()
    assert order.handed.wait(60)
    assert eventually(lambda: order.runtime.is_idle("a:1"))
    order.runtime.post("port:nobody", say("another port's word"), "port:y")
    assert order.is_nobody_woken()
    order.runtime.post("port:nobody", say("sent"), "port:x")
    assert eventually(order.are_all_woken)


@pytest.mark.parametrize("is_disk_slow", [False, True], ids=["silent port", "slow disk"])
def test_an_order_whose_disk_or_port_is_slow_delays_nobody_for_long(place: Place, is_disk_slow: bool) -> None:
    order = place(is_disk_slow=is_disk_slow)
    try:
        assert eventually(lambda: order.texts("b:1")[1:2] == ["x"] and order.texts("c:1")[1:] == ["y"])
        assert order.handed.is_set() is not is_disk_slow
    finally:
        order.disk.set()
    assert eventually(order.are_all_woken)


def test_the_next_message_of_a_thread_whose_order_leaves_lets_go_of_the_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded, "HELD_AT_MOST_S", NEVER_S)
    order = place()
    assert order.handed.wait(60)
    assert eventually(lambda: order.runtime.is_idle("a:1"))
    order.runtime.post("a:1", say("next"), "edge:t")
    assert eventually(order.are_all_woken)


def test_an_actor_that_ends_with_its_order_lets_go_of_the_others(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded, "HELD_AT_MOST_S", NEVER_S)
    order = place(";retire")
    assert eventually(order.are_all_woken)


def test_an_order_of_a_thread_that_another_has_replaced_leaves_nobody_waiting_for_a_silent_port(start: Start) -> None:
    log: Log = []
    h = toy_tree(*(spec(name, lambda n: Toy(n, log)) for name in ("a:1", "b:1")), log=log)
    runtime = start(h)
    cell = runtime.cells["a:1"]
    assert eventually(lambda: runtime.is_idle("a:1") and runtime.is_idle("b:1"))
    stuck: LiveShell = cell.shell
    LiveShell.start(runtime, cell, cell.incarnation)  # as a restart does, before anybody has looked after the old one
    assert cell.shell is not stuck
    stuck.leaves_by, stuck.began_s = "port:x", time.monotonic()
    runtime._leaving["port:x"] = stuck
    assert eventually(lambda: not runtime.is_leaving)


def test_two_orders_of_one_turn_leave_by_two_ports_and_nobody_waits_for_the_first_port_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded, "HELD_AT_MOST_S", NEVER_S)
    order = place(";tell port:y another")
    assert order.handed.wait(60)
    assert eventually(lambda: order.runtime.is_idle("a:1"))
    order.runtime.post("port:nobody", say("sent"), "port:y")
    assert eventually(order.are_all_woken)
    assert not order.runtime.is_leaving


class Ledger(ToyStore):
    """A store that any thread may serve, slow until a test says otherwise; `record for NAME` is told to NAME."""

    is_bound = False

    def __init__(self, name: str, log: Log, release: threading.Event) -> None:
        super().__init__(name, log)
        self._release = release

    def handle(self, turn: Turn[None], message: Message) -> None:
        super().handle(turn, message)
        if not isinstance(message, lifecycle.Started):
            wait_for(self._release)
        if name := text_of(message).partition(" for ")[2]:
            turn.report(name, say("recorded"))


def two_and_a_ledger(start: Start, release: threading.Event) -> tuple[ToyTree, LiveRuntime]:
    """Start `a:1`, `b:1` and the ledger `s:1`, whose records wait for an event; all are idle."""
    log: Log = []
    tree = toy_tree(
        *(spec(name, lambda n: Toy(n, log)) for name in ("a:1", "b:1")),
        spec("s:1", lambda n: Ledger(n, log, release)), log=log,
    )  # fmt: skip
    runtime = start(tree)
    assert eventually(lambda: all(runtime.is_idle(name) for name in ("a:1", "b:1", "s:1")))
    return tree, runtime


@pytest.mark.parametrize("does_order_wait", [True, False])
@pytest.mark.parametrize("text", ["tell s:1 record;tell b:1 x", "tell b:1 x;tell s:1 record"])
def test_whoever_was_told_beside_what_an_order_waits_for_is_woken_when_that_is_recorded(
    start: Start, monkeypatch: pytest.MonkeyPatch, text: str, does_order_wait: bool
) -> None:
    monkeypatch.setattr(threaded, "HELD_AT_MOST_S", NEVER_S)
    monkeypatch.setattr(operator.Announce, "GOES_FIRST", does_order_wait)
    monkeypatch.setattr(threaded, "_may_be_gone_on_with", lambda cell: cell.name == "s:1")
    release = threading.Event()
    h, runtime = two_and_a_ledger(start, release)
    runtime.post("a:1", say(text), "edge:t")
    try:
        assert eventually(lambda: "record" in h.texts("s:1"))
        if does_order_wait:
            assert "x" not in h.texts("b:1")
        else:
            assert eventually(lambda: "x" in h.texts("b:1"))
        assert not runtime.is_idle("s:1")
    finally:
        release.set()
    assert eventually(lambda: "x" in h.texts("b:1"))


def test_whoever_was_told_beside_a_slow_record_that_an_order_waits_for_is_woken_after_a_moment(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator.Announce, "GOES_FIRST", True)
    release = threading.Event()
    h, runtime = two_and_a_ledger(start, release)
    runtime.post("a:1", say("tell s:1 record;tell b:1 x"), "edge:t")
    try:
        assert eventually(lambda: "record" in h.texts("s:1") and "x" in h.texts("b:1"))
        assert not runtime.is_idle("s:1")
    finally:
        release.set()


@pytest.mark.parametrize("text", ["tell s:1 record;tell b:1 x", "tell b:1 x;tell s:1 record"])
def test_a_thread_goes_on_with_what_an_order_waits_for_before_anybody_else(
    start: Start, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(operator.Announce, "GOES_FIRST", property(lambda told: told.text == "record"))
    release = threading.Event()
    release.set()
    h, runtime = two_and_a_ledger(start, release)
    a, b, s = (runtime.cells[name] for name in ("a:1", "b:1", "s:1"))
    before = s.thread, a.thread, b.thread
    runtime.post("a:1", say(text), "edge:t")
    assert eventually(lambda: "record" in h.texts("s:1") and "x" in h.texts("b:1"))
    assert (a.thread, s.thread, b.thread) == before


def test_a_thread_goes_on_with_an_actor_whom_only_prices_wait_for_beside_its_answer(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded, "HELD_AT_MOST_S", NEVER_S)
    monkeypatch.setattr(operator.Announce, "GOES_FIRST", property(lambda told: "record" in told.text))
    monkeypatch.setattr(operator.Announce, "CONFLATES", property(lambda told: told.text == "price"))
    release = threading.Event()
    release.set()
    h, runtime = two_and_a_ledger(start, release)
    a, b = runtime.cells["a:1"], runtime.cells["b:1"]
    before = a.thread
    runtime.post("a:1", say("tell b:1 price;tell s:1 record for b:1"), "edge:t")
    assert eventually(lambda: h.texts("b:1")[1:] == ["recorded", "price"])
    assert b.thread is before


def test_whoever_was_told_before_a_port_whose_sink_blocks_is_woken_all_the_same(start: Start) -> None:
    log: Log = []
    h = toy_tree(*(spec(name, lambda n: Toy(n, log)) for name in ("a:1", "b:1", "c:1")), log=log)
    runtime = start(h)
    assert eventually(lambda: all(runtime.is_idle(name) for name in ("a:1", "b:1", "c:1")))
    release = threading.Event()
    runtime.sinks["port:x"] = lambda _: wait_for(release)
    try:
        runtime.post("a:1", say("tell b:1 x;tell c:1 y;tell port:x z"), "edge:t")
        assert eventually(lambda: "x" in h.texts("b:1") and "y" in h.texts("c:1"))
        assert not runtime.is_idle("a:1")
    finally:
        release.set()
    assert eventually(lambda: all(runtime.is_idle(name) for name in ("a:1", "b:1", "c:1")))
    assert (h.texts("b:1")[1:], h.texts("c:1")[1:]) == (["x"], ["y"])


def test_whoever_was_told_besides_a_slow_actor_is_woken_while_that_one_thinks(start: Start) -> None:
    log: Log = []
    holds = {"k": threading.Event()}
    h = toy_tree(
        spec("a:1", lambda n: Toy(n, log)), spec("b:1", lambda n: Toy(n, log, holds)),
        spec("c:1", lambda n: Toy(n, log)), log=log,
    )  # fmt: skip
    runtime = start(h)
    assert eventually(lambda: all(runtime.is_idle(name) for name in ("a:1", "b:1", "c:1")))
    try:
        runtime.post("a:1", say("tell b:1 hold k;tell c:1 x"), "edge:t")
        assert eventually(lambda: "x" in h.texts("c:1"))
        assert not runtime.is_idle("b:1")
    finally:
        holds["k"].set()


def wait_for(release: threading.Event) -> None:
    assert release.wait(120)
