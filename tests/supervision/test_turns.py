"""A turn's state and effects are kept together, and only if the decision returned."""

from __future__ import annotations

from typing import Any

import pytest

from messages.base import Message
from messages.lifecycle import Started
from supervision.actor import Actor, IoActor
from supervision.stepped import SteppedRuntime
from supervision.turn import Turn
from tests.supervision.test_both_loops import HostLoop
from tests.testkit.toys import Log, Toy, ToyState, say, spec, stepped, text_of, toy_tree

LOOPS = pytest.mark.parametrize("loop", [SteppedRuntime, HostLoop])


@LOOPS
def test_decision_gets_a_copy_and_what_it_assigned_is_kept(loop: type[SteppedRuntime]) -> None:
    states: list[ToyState] = []

    class Keeping(Toy):
        def decide(self, turn: Turn[ToyState], message: Message) -> None:
            states.append(turn.state)
            super().decide(turn, message)

    runtime = stepped(toy_tree(spec("a:1", lambda n: Keeping(n, [])), log=[]), loop)
    runtime.post("a:1", say("x"), "edge:test")
    runtime.run_until(1)
    assert len({id(state) for state in states}) == 2
    assert [state.n for state in states] == [1, 2]
    assert runtime.cells["a:1"].state == ToyState(2)


@LOOPS
def test_raise_after_assignments_and_effects_keeps_neither(loop: type[SteppedRuntime]) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), spec("b:1", lambda n: Toy(n, log)), log=log)
    runtime = stepped(h, loop)
    before = runtime.cells["a:1"].state
    runtime.post("a:1", say("tell b:1 half;timer k 1;publish half;raise"), "edge:test")
    runtime.run_until(1)
    assert before == ToyState(1)
    assert h.texts("b:1") == ["started:1"]
    assert h.texts("a:1")[-1] == "started:2"
    assert [m.key for m in h.heard["notifier"]] == ["crash:a:1", "dead_letter:a:1"]


@LOOPS
def test_state_may_be_replaced_as_a_whole(loop: type[SteppedRuntime]) -> None:
    class Replacing(Actor[ToyState, Any]):
        def initial(self) -> ToyState:
            return ToyState()

        def decide(self, turn: Turn[ToyState], message: Message) -> None:
            turn.state = ToyState(turn.state.n + 10)

    runtime = stepped(toy_tree(spec("a:1", Replacing), log=[]), loop)
    runtime.post("a:1", say("x"), "edge:test")
    runtime.run_until(1)
    assert runtime.cells["a:1"].state == ToyState(20)


@LOOPS
def test_turn_names_the_actor_and_the_instant_of_the_dequeue(loop: type[SteppedRuntime]) -> None:
    seen: list[tuple[str, int, object]] = []

    class Looking(IoActor[Any]):
        def handle(self, turn: Turn[None], message: Message) -> None:
            seen.append((turn.name, turn.now, turn.state))

    runtime = stepped(toy_tree(spec("store:1", Looking), log=[]), loop)
    runtime.call_at(7, lambda: runtime.post("store:1", say("x"), "edge:test"))
    runtime.run_until(9)
    assert seen == [("store:1", 0, None), ("store:1", 7, None)]


@LOOPS
def test_effects_are_carried_out_in_the_order_of_the_turn(loop: type[SteppedRuntime]) -> None:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), spec("b:1", lambda n: Toy(n, log)), log=log)
    runtime = stepped(h, loop)
    runtime.post("a:1", say("tell b:1 1;tell both 2;publish p;tell b:1 3"), "edge:test")
    runtime.run_until(1)
    assert h.texts("b:1")[1:] == ["1", "2", "3"]


def test_io_actor_that_fails_halfway_told_nothing() -> None:
    log: Log = []

    class Half(IoActor[Any]):
        def handle(self, turn: Turn[None], message: Message) -> None:
            if isinstance(message, Started):
                return
            turn.tell("b:1", say(f"{text_of(message)} {len(log)}"))
            log.append((self.name, "tried"))
            if len([who for who, _ in log if who == self.name]) < 2:
                raise OSError("disk")

    h = toy_tree(spec("store:1", Half), spec("b:1", lambda n: Toy(n, log)), log=log)
    runtime = stepped(h)
    runtime.post("store:1", say("x"), "edge:test")
    runtime.run_until(1)
    assert h.texts("store:1") == ["tried", "tried"] and len(h.texts("b:1")) == 2
