"""The status dump names every actor and what it does at the moment, and is JSON at once."""

from __future__ import annotations

import threading

import msgspec
import orjson

from supervision.clock import MarketClock
from supervision.status import snapshot, status
from supervision.threaded import LiveRuntime
from tests.testkit.live import LockedTrace, eventually
from tests.testkit.narrow import known
from tests.testkit.toys import Log, Toy, kept, say, spec, stepped, toy_tree


def test_live_actor_with_a_message_in_hand_is_shown_with_its_queue_and_times() -> None:
    log: Log = []
    holds = {"k": threading.Event()}
    toys: list[Toy] = []
    h = toy_tree(spec("a:1", lambda n: kept(toys, Toy(n, log, holds))), log=log)
    clock = MarketClock.real()
    runtime = LiveRuntime(h.tree, LockedTrace(clock), clock, 3)
    try:
        runtime.start_tree()
        for text in ("one", "raise", "two", "hold k", "three", "four"):
            runtime.post("a:1", say(text), "edge:test")
        assert eventually(lambda: len(toys) == 2 and toys[1].begun.is_set())
        (found,) = [s for s in snapshot(runtime) if s.name == "a:1"]
        assert (found.incarnation, found.restarts, found.crashes, found.is_up) == (2, 1, 1, True)
        assert (found.depth, found.handled, found.last_tag) == (2, 4, "operator.Announce")
        assert known(found.in_hand_ms) >= 0 and known(found.oldest_ms) >= 0
        assert 0 <= known(found.p50_us) <= known(found.p99_us)
        whole = orjson.loads(orjson.dumps(msgspec.to_builtins(status(runtime))))
        assert whole["process"]["run_n"] == 3 and whole["process"]["dead_letters"] == 1
        assert whole["process"]["rss_mb"] > 5 and whole["process"]["latched"] is None
        assert [a["name"] for a in whole["actors"]] == sorted(runtime.cells)
    finally:
        holds["k"].set()
        assert runtime.stop()


def test_actor_that_is_down_and_has_handled_nothing_shows_no_times() -> None:
    log: Log = []
    h = toy_tree(
        spec("store:1", lambda n: Toy(n, log)), spec("a:1", lambda n: Toy(n, log), restore_from="store:1"), log=log
    )
    runtime = stepped(h)
    runtime.post("a:1", say("waits"), "edge:test")
    (found,) = [s for s in snapshot(runtime) if s.name == "a:1"]
    assert not found.is_up and found.depth == 1 and found.restarts == 0
    assert found.p50_us is None and found.p99_us is None and found.last_tag is None and found.in_hand_ms is None
