"""The stepped runtime's loop and the Host's (which the threads run) leave the same trace, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instruments import Spot
from messages import operator
from messages.lifecycle import ActorStuck
from messages.market import SpotsChanged
from supervision.spec import Policy, Template
from supervision.stepped import SteppedRuntime
from tests.testkit.toys import Log, Toy, ToyStore, ToyTree, say, spec, stepped, toy_tree, trace_lines

COMMANDS = (
    "tell b:1 x", "tell c:1 tell a:1 back", "tell both y", "tell nobody x", "tell ghost:1 x", "tell port:x hello",
    "tell port:broken hello", "tell d:7 count a:1", "tell d:8 retire", "tell store:1 bad", "tell stranger x",
    "publish news", "timer k 5", "timer k/s 9", "timer late 40", "cancel k", "raise", "exit", "count c:1", "retire",
)  # fmt: skip
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a:1", "b:1", "c:1", "d:7", "store:1"]), st.lists(st.sampled_from(COMMANDS), max_size=4)
    ),
    max_size=25,
)
SPOTS = SpotsChanged(spots=(Spot(ticker="SPX", **{f: 0 for f in Spot.__struct_fields__ if f != "ticker"}),))


class HostLoop(SteppedRuntime):
    """Virtual time under the loop of the Host."""

    def _drain(self) -> None:
        while self._ready and self.ended is None:
            if self._random is not None:
                self._ready.rotate(-self._random.randrange(len(self._ready)))
            self.steps += 1
            cell = self._ready.popleft()
            self.handle_next(cell, cell.incarnation)


def world() -> ToyTree:
    log: Log = []
    return toy_tree(
        *(spec(name, lambda n: Toy(n, log, on_start="timer t 50"), restore_from="store:1") for name in ("a:1", "b:1")),
        spec("c:1", lambda n: Toy(n, log), policy=Policy(latch_on_crash=True, end_on_spent_budget=True)),
        spec("store:1", lambda n: ToyStore(n, log, {"bad": 4})),
        log=log, templates=(Template("d:", lambda n: Toy(n, log), "store:1"),),
        subscribers={operator.Alarm: ("notifier", "both")},
    )  # fmt: skip


# Why it ended and latched; dead letters and steps; name, handled, crashes and "over its bound" of every actor.
Outcome = tuple[str | None, str | None, int, int, list[tuple[str, int, int, bool]]]


def played(
    loop: type[SteppedRuntime], steps: list[tuple[str, list[str]]], seed: int | None
) -> tuple[list[bytes], Outcome, Log]:
    h = world()
    runtime = stepped(h, loop, shuffle_seed=seed, mailbox_soft_bound=2)
    runtime.sinks["port:x"] = lambda message: runtime.post("a:1", say("heard"), "port:x")

    def broken(message: object) -> None:
        raise ConnectionError("no loop")

    runtime.sinks["port:broken"] = broken
    for n, (to, commands) in enumerate(steps):
        runtime.post(to, say(";".join(commands)), "edge:test")
        if n % 3 == 0:
            runtime.post(to, SPOTS, "edge:test")
        if n % 4 == 0:
            runtime.run_until(n * 2)
    stuck = ActorStuck(name="b:1", incarnation=1, message_id="x", tag="t", for_ms=10**9, stack="")
    runtime.post("supervisor", stuck, "watchdog")
    runtime.run_until(5_000_000_000)
    runtime.close()
    counts = [(cell.name, cell.handled, cell.crashes, cell.is_over_bound) for cell in runtime.cells.values()]
    return trace_lines(runtime), (runtime.ended, runtime.latched, runtime.dead_letters, runtime.steps, counts), h.log


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.one_of(st.none(), st.integers(0, 3)))
def test_same_bytes_under_both_loops_whatever_is_said(steps: list[tuple[str, list[str]]], seed: int | None) -> None:
    assert played(SteppedRuntime, steps, seed) == played(HostLoop, steps, seed)


@pytest.mark.parametrize("seed", [None, 1])
def test_same_bytes_under_both_loops_when_everything_happens(seed: int | None) -> None:
    steps = [(to, [command]) for command in COMMANDS for to in ("a:1", "b:1", "c:1", "d:7", "store:1")]
    lines, outcome, log = played(SteppedRuntime, steps, seed)
    assert (lines, outcome, log) == played(HostLoop, steps, seed)
    assert len(lines) > 300 and outcome[2] > 0
