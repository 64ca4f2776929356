"""Whose work can wait takes no mail while one on whom money depends has some, but never waits for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from messages import operator
from supervision import threaded
from supervision.spec import Policy
from tests.testkit.live import Start, eventually, starter
from tests.testkit.toys import Log, Toy, say, spec, toy_tree

MONEY, FIRST, BESIDE = Policy(end_on_spent_budget=True), Policy(goes_first=True), Policy(gives_way=True)
LAST = Policy(gives_way=True, goes_last=True)
NEVER_S = 3600.0


@pytest.fixture
def start() -> Iterator[Start]:
    with starter() as begin:
        yield begin


class Tree:
    """Money `m:1` and `a:1` of no kind, two actors that give way, `w:1` and `w:2`, and one that goes last, `z:1`.

    A test can hold up all but `w:2` and `z:1`.
    """

    def __init__(self, start: Start, first: Policy = MONEY) -> None:
        self.log: Log = []
        self.held = threading.Event()
        holds = {"k": self.held}
        h = toy_tree(
            spec("m:1", lambda n: Toy(n, self.log, holds), policy=first),
            spec("w:1", lambda n: Toy(n, self.log, holds), policy=BESIDE),
            spec("w:2", lambda n: Toy(n, self.log), policy=BESIDE),
            spec("z:1", lambda n: Toy(n, self.log), policy=LAST),
            spec("a:1", lambda n: Toy(n, self.log, holds)), log=self.log,
        )  # fmt: skip
        self.runtime = start(h)
        self.texts = h.texts
        assert eventually(lambda: all(self.runtime.is_idle(name) for name in ("m:1", "w:1", "w:2", "z:1", "a:1")))

    def hold_money(self) -> None:
        self.runtime.post("m:1", say("hold k"), "edge:t")
        assert eventually(lambda: "hold k" in self.texts("m:1"))


@pytest.mark.parametrize("first", [MONEY, FIRST], ids=["money", "goes first"])
def test_who_comes_first_is_done_before_what_gives_way_begins(
    start: Start, monkeypatch: pytest.MonkeyPatch, first: Policy
) -> None:
    monkeypatch.setattr(threaded, "GIVE_WAY_AT_MOST_S", NEVER_S)
    tree = Tree(start, first)
    waits = threading.Event()
    real = threaded.LiveRuntime._are_first_busy

    def notes(runtime: threaded.LiveRuntime, is_last: bool) -> bool:
        is_busy = real(runtime, is_last)
        if is_busy:
            waits.set()
        return is_busy

    monkeypatch.setattr(threaded.LiveRuntime, "_are_first_busy", notes)
    tree.hold_money()
    tree.runtime.post("m:1", say("next"), "edge:t")
    tree.runtime.post("w:1", say("beside"), "edge:t")
    tree.runtime.post("a:1", say("neither"), "edge:t")
    try:
        assert waits.wait(60)
        assert eventually(lambda: "neither" in tree.texts("a:1"))  # nobody else waits
        assert "beside" not in tree.texts("w:1")
    finally:
        tree.held.set()
    assert eventually(lambda: "beside" in tree.texts("w:1"))
    told = [text for _, text in tree.log if text in ("next", "beside")]
    assert told == ["next", "beside"]


def test_what_gives_way_begins_when_the_order_that_leaves_has_left(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("GIVE_WAY_AT_MOST_S", "HELD_AT_MOST_S"):
        monkeypatch.setattr(threaded, bound, NEVER_S)
    monkeypatch.setattr(operator.Announce, "GOES_FIRST", True)
    tree, waits = Tree(start), threading.Event()
    real = threaded.LiveRuntime._are_first_busy

    def notes(runtime: threaded.LiveRuntime, is_last: bool) -> bool:
        is_busy = real(runtime, is_last)
        if is_busy:
            waits.set()
        return is_busy

    monkeypatch.setattr(threaded.LiveRuntime, "_are_first_busy", notes)
    tree.runtime.sinks["port:x"] = lambda _: None
    tree.runtime.post("a:1", say("tell port:x order"), "edge:t")
    assert eventually(lambda: tree.runtime.is_leaving and tree.runtime.is_idle("a:1"))
    tree.runtime.post("w:1", say("beside"), "edge:t")
    assert waits.wait(60)
    assert "beside" not in tree.texts("w:1")
    tree.runtime.post("port:nobody", say("sent"), "port:x")
    assert eventually(lambda: "beside" in tree.texts("w:1"))
    assert not tree.runtime.is_leaving


def test_who_is_stuck_does_not_hold_up_what_gives_way(start: Start) -> None:
    tree = Tree(start)
    tree.hold_money()
    try:
        tree.runtime.post("w:1", say("beside"), "edge:t")
        assert eventually(lambda: "beside" in tree.texts("w:1"))
        assert not tree.runtime.is_idle("m:1")
    finally:
        tree.held.set()


def test_a_thread_that_gives_way_holds_no_wake_up_back(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded, "GIVE_WAY_AT_MOST_S", NEVER_S)
    monkeypatch.setattr(threaded, "HELD_AT_MOST_S", NEVER_S)
    tree = Tree(start)
    tree.runtime.post("a:1", say("tell w:1 first;tell m:1 second"), "edge:t")
    assert eventually(lambda: "first" in tree.texts("w:1") and "second" in tree.texts("m:1"))


def two_beside(start: Start) -> Tree:
    tree = Tree(start)
    tree.runtime.post("w:1", say("hold k"), "edge:t")
    assert eventually(lambda: "hold k" in tree.texts("w:1"))
    return tree


def test_those_that_give_way_take_turns(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded, "BESIDE_AT_MOST_S", 20.0)
    tree = two_beside(start)
    waits = threading.Event()
    monkeypatch.setattr(threaded.LiveRuntime, "_wake_held", lambda *_: waits.set())
    tree.runtime.post("w:2", say("second"), "edge:t")
    try:
        assert waits.wait(60)
        assert "second" not in tree.texts("w:2")
    finally:
        monkeypatch.undo()
        tree.held.set()
    assert eventually(lambda: "second" in tree.texts("w:2"))


def test_one_that_is_stuck_in_its_turn_delays_the_others_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = two_beside(start)
    try:
        tree.runtime.post("w:2", say("second"), "edge:t")
        assert eventually(lambda: "second" in tree.texts("w:2"))
        monkeypatch.setattr(threaded, "BESIDE_AT_MOST_S", NEVER_S)
        tree.runtime.post("w:2", say("third"), "edge:t")
        assert eventually(lambda: "third" in tree.texts("w:2"))
        assert not tree.runtime.is_idle("w:1")
    finally:
        tree.held.set()


def test_the_next_turn_waits_for_what_the_one_before_has_led_to(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded, "BESIDE_AT_MOST_S", 120.0)
    tree = Tree(start)
    seen = threading.Event()
    real = threaded.LiveRuntime._wake_held

    def notes(runtime: threaded.LiveRuntime, shell: threaded.LiveShell) -> None:
        if shell.serves[0].name == "w:2":  # it waits for its turn, or has had it
            seen.set()
        real(runtime, shell)

    tree.runtime.post("w:1", say("tell a:1 hold k"), "edge:t")
    assert eventually(lambda: "hold k" in tree.texts("a:1"))
    monkeypatch.setattr(threaded.LiveRuntime, "_wake_held", notes)
    tree.runtime.post("w:2", say("second"), "edge:t")
    try:
        assert seen.wait(60)
        assert "second" not in tree.texts("w:2")
        assert not tree.runtime.is_idle("a:1")
    finally:
        tree.held.set()
    assert eventually(lambda: "second" in tree.texts("w:2"))


def test_what_a_turn_has_led_to_delays_the_next_for_a_moment_at_most(start: Start) -> None:
    tree = Tree(start)
    tree.runtime.post("w:1", say("tell a:1 hold k"), "edge:t")
    assert eventually(lambda: "hold k" in tree.texts("a:1"))
    try:
        tree.runtime.post("w:2", say("second"), "edge:t")
        assert eventually(lambda: "second" in tree.texts("w:2"))
        assert not tree.runtime.is_idle("a:1")
    finally:
        tree.held.set()


def test_a_turn_that_leads_to_another_who_gives_way_does_not_wait_for_itself(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded, "BESIDE_AT_MOST_S", NEVER_S)
    tree = Tree(start)
    tree.runtime.post("w:1", say("tell w:2 tell w:1 back"), "edge:t")
    assert eventually(lambda: "back" in tree.texts("w:1"))


def test_who_goes_last_begins_when_nobody_has_anything_to_do_who_gives_way(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded, "LAST_AT_MOST_S", NEVER_S)
    monkeypatch.setattr(threaded, "BESIDE_AT_MOST_S", NEVER_S)
    tree, waits = Tree(start), threading.Event()
    real = threaded.LiveRuntime._are_first_busy

    def notes(runtime: threaded.LiveRuntime, is_last: bool) -> bool:
        is_busy = real(runtime, is_last)
        if is_busy and is_last:
            waits.set()
        return is_busy

    monkeypatch.setattr(threaded.LiveRuntime, "_are_first_busy", notes)
    tree.runtime.post("w:1", say("hold k"), "edge:t")
    assert eventually(lambda: "hold k" in tree.texts("w:1"))
    tree.runtime.post("z:1", say("look back"), "edge:t")
    tree.runtime.post("w:2", say("second"), "edge:t")  # waits for its turn, and goes before who goes last
    try:
        assert waits.wait(60)
        assert "look back" not in tree.texts("z:1")
    finally:
        tree.held.set()
    assert eventually(lambda: "look back" in tree.texts("z:1"))
    assert [text for _, text in tree.log if text in ("second", "look back")] == ["second", "look back"]


@pytest.mark.parametrize("is_full", [False, True], ids=["a moment", "its mailbox fills"])
def test_who_goes_last_does_not_wait_for_long(start: Start, monkeypatch: pytest.MonkeyPatch, is_full: bool) -> None:
    if is_full:
        monkeypatch.setattr(threaded, "LAST_AT_MOST_S", NEVER_S)
    tree = Tree(start)
    tree.runtime.post("w:1", say("hold k"), "edge:t")
    assert eventually(lambda: "hold k" in tree.texts("w:1"))
    try:
        for n in range(threaded.FEW + 2 if is_full else 1):
            tree.runtime.post("z:1", say(f"look back {n}"), "edge:t")
        assert eventually(lambda: "look back 0" in tree.texts("z:1"))
        assert not tree.runtime.is_idle("w:1")
    finally:
        tree.held.set()


def test_a_turn_does_not_go_on_with_who_waits_for_its_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("LAST_AT_MOST_S", "BESIDE_AT_MOST_S"):
        monkeypatch.setattr(threaded, bound, NEVER_S)
    tree = Tree(start)
    tree.runtime.post("w:1", say("hold k;tell z:1 look back"), "edge:t")
    assert eventually(lambda: tree.texts("w:1")[1:] == ["hold k;tell z:1 look back"])
    tree.runtime.post("w:2", say("second"), "edge:t")
    assert eventually(lambda: tree.runtime.cells["w:2"].mailbox.depth() == 1)
    tree.held.set()
    assert eventually(lambda: "second" in tree.texts("w:2") and "look back" in tree.texts("z:1"))
