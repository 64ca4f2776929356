"""The stepped runtime: the same seed gives the same whole trace, in this process and under any hash seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pykka
import pytest

from supervision.spec import Policy, Template
from supervision.stepped import SteppedShell, VirtualClock
from supervision.trace import MemoryTrace, NoTrace
from tests.supervision.test_replay import run, tree_of
from tests.testkit.toys import Log, Toy, say, spec, stepped, toy_tree, trace_lines

ROOT = Path(__file__).parents[2]


def trace_hash(seed: int | None) -> str:
    runtime = run(tree_of(), MemoryTrace(VirtualClock(0)), ("go 6", "go 5", "go 7"), seed)
    return hashlib.blake2b(b"".join(trace_lines(runtime))).hexdigest()


def test_same_seed_gives_the_same_trace_and_other_seeds_other_orders() -> None:
    assert trace_hash(None) == trace_hash(None)
    assert trace_hash(3) == trace_hash(3)
    assert len({trace_hash(seed) for seed in (None, 1, 2, 3, 4)}) > 1


def test_same_trace_under_any_hash_seed() -> None:
    code = "import test_stepped_determinism as t; print(t.trace_hash(None), t.trace_hash(5))"
    path = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        ).stdout
        for seed in ("0", "1", "4711")
    }  # fmt: skip
    assert found == {f"{trace_hash(None)} {trace_hash(5)}\n"}


def test_bare_runtime_decides_as_the_recording_one_does() -> None:
    def texts(recording: bool) -> list[tuple[str, str]]:
        log: Log = []
        h = toy_tree(*(spec(name, lambda n: Toy(n, log)) for name in ("a:1", "b:1")), log=log)
        clock = VirtualClock(0)
        runtime = stepped(h, trace=MemoryTrace(clock) if recording else NoTrace(clock))
        for text in ("tell b:1 x;timer t 5", "raise", "count b:1", "tell ghost:1 y"):
            runtime.post("a:1", say(text), "edge:test")
        runtime.run_until(20)
        assert runtime.dead_letters == 2
        return log

    assert texts(True) == texts(False)


def test_time_moves_only_when_nothing_is_ready() -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log)
    runtime = stepped(h)
    seen: list[int] = []
    runtime.call_at(7, lambda: seen.append(runtime.clock.now_utc()))
    runtime.post("a:1", say(";".join(["tell a:1 x"] * 100)), "edge:test")
    runtime.run_until(50)
    assert seen == [7] and runtime.clock.now_utc() == 50
    assert log.count(("a:1", "x")) == 100


def test_ended_process_stands_still() -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log), policy=Policy(end_on_spent_budget=True)), log=log)
    runtime = stepped(h)
    for _ in range(6):
        runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(2_000_000_000)
    runtime.post("notifier", say("after the end"), "edge:test")
    runtime.run_until(9_000_000_000)
    assert runtime.ended is not None and runtime.clock.now_utc() == 1_000_000_000
    assert all(m.text != "after the end" for m in h.heard["notifier"])


def test_shells_leave_pykkas_registry_and_nobody_may_ask() -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log)
    before = len(pykka.ActorRegistry.get_all())
    runtime = stepped(h)
    shell = runtime.cells["a:1"].shell
    with pytest.raises(RuntimeError, match="actors tell"):
        shell.ask("x", block=False)
    runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(1)
    assert len(pykka.ActorRegistry.get_by_class(SteppedShell)) >= len(runtime.cells)
    runtime.close()
    assert len(pykka.ActorRegistry.get_all()) == before


def test_shells_of_actors_that_have_retired_leave_the_registry_too() -> None:
    log: Log = []
    before = len(pykka.ActorRegistry.get_all())
    runtime = stepped(toy_tree(log=log, templates=(Template("position:paper:", lambda n: Toy(n, log)),)))
    runtime.post("position:paper:7", say("retire"), "edge:test")
    runtime.run_until(1)
    assert "position:paper:7" not in runtime.cells
    runtime.close()
    assert len(pykka.ActorRegistry.get_all()) == before


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["a turn", "a port"])
def test_ctrl_c_ends_a_stepped_run_and_is_nobodys_crash(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log: Log = []
    runtime = stepped(toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log))
    runtime.sinks["port:x"] = _interrupted
    if where == "a turn":
        monkeypatch.setattr(runtime.cells["a:1"], "decide", _interrupted)
    runtime.post("a:1", say("tell port:x hello"), "edge:test")
    with pytest.raises(KeyboardInterrupt):
        runtime.run_until(20)
    assert (runtime.cells["a:1"].crashes, runtime.dead_letters) == (0, 0)


def test_ctrl_c_while_an_actor_is_made_ends_a_stepped_run(monkeypatch: pytest.MonkeyPatch) -> None:
    log: Log = []
    monkeypatch.setattr(SteppedShell, "start", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        stepped(toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log))
