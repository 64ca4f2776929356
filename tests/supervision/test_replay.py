"""Replay: a recorded run of toys is found the same; a changed actor is named with its first diverging message."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.base import Message
from supervision.actor import Actor
from supervision.effects import Publish, Tell
from supervision.replay import UnresolvedError, joined, replay
from supervision.spec import Template, Tree
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.supervisor import SupervisorActor
from supervision.trace import FileTrace, MemoryTrace, Trace, TraceError, TraceReader, seal
from supervision.turn import Turn
from tests.supervision.test_trace_files import header
from tests.testkit.narrow import known, of_class
from tests.testkit.toys import (
    RULES,
    Collector,
    Log,
    Toy,
    ToyState,
    ToyStore,
    ToyTree,
    alarm,
    message_of,
    say,
    spec,
    stepped,
    text_of,
    toy_tree,
    trace_lines,
)

NAMES = ("a:1", "b:1", "c:1")


class Walker(Toy):
    """Passes a number on, to whom and how often following from its state: `go N`."""

    def decide(self, turn: Turn[ToyState], message: Message) -> None:
        text = text_of(message)
        words = text.split()
        if words[0] != "go":
            super().decide(turn, message)
            return
        n = int(words[1])
        turn.state.n = total = turn.state.n + n
        if n <= 0:
            return
        turn.publish(alarm(f"walked {total}"))
        if total % 7 == 3:
            raise ValueError("seven")
        turn.tell(NAMES[total % 3], say(f"go {n - 1}"))
        turn.tell(NAMES[(total + n) % 3], say(f"go {n - 2}"))
        turn.tell("store:1", say(text))


class Changed(Walker):
    """As `Walker`, but for one state."""

    def decide(self, turn: Turn[ToyState], message: Message) -> None:
        super().decide(turn, message)
        if turn.state.n == 20:
            del turn.effects[-1:]


def tree_of() -> Tree:
    log: Log = []
    failures = {"go 2": 3}
    return toy_tree(
        *(spec(name, lambda n: Walker(n, log, on_start="timer t 50"), restore_from="store:1") for name in NAMES[:2]),
        spec("c:1", lambda n: Walker(n, log)),
        spec("store:1", lambda n: ToyStore(n, log, failures)),
        log=log, templates=(Template("d:", lambda n: Walker(n, log)),),
    ).tree  # fmt: skip


def run(
    tree: Tree, trace: Trace, inputs: tuple[str, ...] = ("go 6", "go 5"), seed: int | None = None
) -> SteppedRuntime:
    runtime = stepped(ToyTree(tree, [], {}), trace=trace, shuffle_seed=seed)
    for k, text in enumerate(inputs):
        runtime.post(NAMES[k % 3], say(text), "edge:test")
    runtime.run_until(100)
    runtime.close()
    return runtime


def maker(tree: Tree, walker: type[Walker] = Walker) -> Callable[[str], Actor[Any, Any] | None]:
    def make(name: str) -> Actor[Any, Any] | None:
        if name in NAMES:
            return walker(name, [], on_start="timer t 50" if name != "c:1" else "")
        if name == "supervisor":
            return SupervisorActor(name, tree, RULES)
        return Collector(name, []) if name in ("halt", "notifier") else None

    return make


def recorded(folder: Path, inputs: tuple[str, ...] = ("go 6", "go 5")) -> tuple[Tree, TraceReader]:
    tree = tree_of()
    clock = VirtualClock(0)
    trace = FileTrace(folder / "t.jsonl", header(), clock)
    run(tree, trace, inputs)
    trace.close()
    return tree, TraceReader(trace.path)


@settings(max_examples=25, deadline=None)
@given(inputs=st.lists(st.integers(0, 7).map(lambda n: f"go {n}"), min_size=1, max_size=4).map(tuple))
def test_recorded_run_replays_without_divergence(
    tmp_path_factory: pytest.TempPathFactory, inputs: tuple[str, ...]
) -> None:
    tree, reader = recorded(tmp_path_factory.mktemp("run"), inputs)
    report = replay(reader, maker(tree))
    assert report.divergence is None
    assert report.in_hand == () and not report.torn
    assert report.compared + report.skipped == report.envelopes
    assert report.compared > len(NAMES) and report.skipped > 0


@pytest.mark.parametrize("walker", [Walker, Changed])
def test_a_replay_shared_by_two_says_what_one_alone_says(tmp_path: Path, walker: type[Walker]) -> None:
    tree, reader = recorded(tmp_path)
    alone = replay(reader, maker(tree, walker))
    shares = [
        replay(reader, maker(tree, walker), is_mine=lambda name: name < "b"),
        replay(reader, maker(tree, walker), is_mine=lambda name: name >= "b"),
    ]
    together = joined(shares)
    if walker is Walker:
        assert together == alone
        assert all(part.compared for part in shares)
    else:
        assert alone.divergence is not None
        assert together.divergence == alone.divergence


def test_sealed_trace_replays_too_and_progress_is_told(tmp_path: Path) -> None:
    tree, reader = recorded(tmp_path)
    told: list[int] = []
    report = replay(TraceReader(seal(reader.path)), maker(tree), progress=told.append)
    assert report.divergence is None and told[-1] == report.envelopes


def test_changed_actor_is_named_by_its_first_diverging_message_with_both_outboxes_and_the_causes(
    tmp_path: Path,
) -> None:
    tree, reader = recorded(tmp_path, ("go 6", "go 5", "go 7", "go 4"))
    report = replay(reader, maker(tree, Changed))
    found = report.divergence
    assert found is not None and found.why == "its outbox is not the recorded one"
    assert found.envelope.to in NAMES
    assert len(found.recorded) == 4 and len(known(found.computed)) == 3
    told = {(e.to, text_of(message_of(e))) for e in found.recorded}
    event, *rest = known(found.computed)
    tells = [of_class(Tell, effect) for effect in rest]
    assert {("notifier", text_of(of_class(Publish, event).event)), *((t.to, text_of(t.message)) for t in tells)} < told
    seqs = [found.envelope.seq, *(e.seq for e in found.causes)]
    assert seqs == sorted(seqs, reverse=True)
    causes = [found.envelope.cause_seq, *(e.cause_seq for e in found.causes)]
    assert causes == [*(e.seq for e in found.causes), 0]
    before = tmp_path / "before.jsonl"
    lines = reader.path.read_bytes().splitlines(keepends=True)
    first = next(k for k, line in enumerate(lines) if line.startswith(b'{"kind":"handled","seq":%d,' % seqs[0]))
    before.write_bytes(b"".join(lines[:first]))
    assert replay(TraceReader(before), maker(tree, Changed)).divergence is None


def test_actor_that_no_longer_crashes_diverges(tmp_path: Path) -> None:
    class Calm(Walker):
        def decide(self, turn: Turn[ToyState], message: Message) -> None:
            with contextlib.suppress(ValueError):
                super().decide(turn, message)

    tree, reader = recorded(tmp_path, ("go 3", "go 6"))
    report = replay(reader, maker(tree, Calm))
    assert report.divergence is not None and report.divergence.why == "it raised then and is handled now"


def test_actor_that_crashes_now_diverges_with_what_it_raised(tmp_path: Path) -> None:
    class Nervous(Walker):
        def decide(self, turn: Turn[ToyState], message: Message) -> None:
            if text_of(message) == "go 4":
                raise RuntimeError("nerves")
            super().decide(turn, message)

    tree, reader = recorded(tmp_path)
    report = replay(reader, maker(tree, Nervous))
    assert report.divergence is not None
    assert report.divergence.why == "it was handled then and raises now (RuntimeError: nerves)"
    assert report.divergence.computed is None


def test_receipt_without_handling_at_the_tail_is_the_message_in_hand_and_no_divergence(tmp_path: Path) -> None:
    tree, reader = recorded(tmp_path)
    lines = reader.path.read_bytes().splitlines(keepends=True)
    to_pure = [
        k for k, line in enumerate(lines)
        if b'"kind":"envelope"' in line and any(b'"to":"%b"' % name.encode() in line for name in NAMES)
    ]  # fmt: skip
    reader.path.write_bytes(b"".join(lines[: to_pure[-1] + 1]) + b'{"kind":"handled","se')
    report = replay(reader, maker(tree))
    assert report.divergence is None and report.torn
    assert len(report.in_hand) == 1


def test_trace_with_a_part_cut_out_is_refused(tmp_path: Path) -> None:
    tree, reader = recorded(tmp_path)
    lines = reader.path.read_bytes().splitlines(keepends=True)
    reader.path.write_bytes(b"".join(lines[:9] + lines[15:]))
    with pytest.raises(TraceError, match="lacks the records before seq"):
        replay(reader, maker(tree))


def test_values_that_the_trace_keeps_as_reference_are_filled_in(tmp_path: Path) -> None:
    tree, reader = recorded(tmp_path)
    seen: list[str] = []

    def resolve(message: Message) -> Message:
        seen.append(text_of(message))
        return message

    report = replay(reader, maker(tree), resolve)
    assert len(seen) == report.compared


@pytest.mark.parametrize("seed", range(6))
def test_shuffled_run_keeps_the_order_per_sender_and_recipient(seed: int) -> None:
    tree = tree_of()
    clock = VirtualClock(0)
    runtime = run(tree, MemoryTrace(clock), ("go 6", "go 5", "go 4"), seed)
    ranks: dict[tuple[str, str], list[tuple[int, ...]]] = {}
    for line in trace_lines(runtime):
        record = json.loads(line)
        if record["kind"] == "envelope" and record["from"] in (*NAMES, "store:1"):
            _, _, *place = record["message_id"].split("/")
            ranks.setdefault((record["from"], record["to"]), []).append(tuple(map(int, place)))
    assert ranks and all(found == sorted(found) for found in ranks.values())


def test_independent_actors_decide_the_same_whatever_the_shuffle() -> None:
    def decisions(seed: int | None) -> dict[str, list[str]]:
        log: Log = []
        pairs = [(f"p{k}:1", f"q{k}:1") for k in range(5)]
        h = toy_tree(*(spec(name, lambda n: Toy(n, log)) for pair in pairs for name in pair), log=log)
        runtime = stepped(h, shuffle_seed=seed)
        for k, (p, q) in enumerate(pairs):
            for n in range(4):
                runtime.post(p, say(f"tell {q} {k}.{n};count {q};timer t{n} {n}"), "edge:test")
        runtime.run_until(10)
        return {name: h.texts(name) for pair in pairs for name in pair}

    plain = decisions(None)
    orders = random.Random(1).sample(range(1000), 8)
    assert all(decisions(seed) == plain for seed in orders)


def test_values_that_are_gone_end_the_driving_of_their_actor_and_are_no_divergence(tmp_path: Path) -> None:
    tree, reader = recorded(tmp_path)
    seen: list[Message] = []

    def resolve(message: Message) -> Message:
        seen.append(message)
        if len(seen) > 3:
            raise UnresolvedError("stored too late")
        return message

    report = replay(reader, maker(tree, Changed), resolve)
    assert report.divergence is None
    assert report.compared == 3
    assert report.skipped > 0
