"""Wake-ups that a thread holds back reach whom they are for, whatever that thread waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from messages import operator
from supervision import threaded
from tests.testkit.live import Start, eventually, starter
from tests.testkit.toys import Log, Toy, say, spec, toy_tree

NEVER_S = 3600.0


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a runtime whose timers' thread looks after nothing but its timers."""
    monkeypatch.setattr(threaded, "_LOOK_AGAIN_S", NEVER_S)
    with starter() as begin:
        yield begin


@pytest.mark.parametrize("waits_in", ["the trace's sync", "the port's sink"])
def test_whoever_was_told_before_an_order_is_woken_before_the_order_waits_for_the_disk(
    start: Start, monkeypatch: pytest.MonkeyPatch, waits_in: str
) -> None:
    monkeypatch.setattr(threaded, "HELD_AT_MOST_S", NEVER_S)
    monkeypatch.setattr(operator.Announce, "is_synced_first", lambda told: told.text == "order")
    log: Log = []
    h = toy_tree(*(spec(name, lambda n: Toy(n, log)) for name in ("a:1", "b:1", "c:1")), log=log)
    runtime = start(h)
    assert eventually(lambda: all(runtime.is_idle(name) for name in ("a:1", "b:1", "c:1")))
    begun, release = threading.Event(), threading.Event()

    def wait_for_the_disk(*_: object) -> None:
        begun.set()
        assert release.wait(120)

    runtime.sinks["port:x"] = wait_for_the_disk if waits_in == "the port's sink" else lambda _: None
    if waits_in == "the trace's sync":
        monkeypatch.setattr(runtime.trace, "sync", wait_for_the_disk)
    try:
        runtime.post("a:1", say("tell b:1 x;tell c:1 y;tell port:x order;tell b:1 z"), "edge:t")
        assert begun.wait(60)
        assert eventually(lambda: "x" in h.texts("b:1") and "y" in h.texts("c:1"))
        assert not runtime.is_idle("a:1")
    finally:
        release.set()
    assert eventually(lambda: h.texts("b:1")[1:] == ["x", "z"])
    assert h.texts("c:1")[1:] == ["y"]


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
