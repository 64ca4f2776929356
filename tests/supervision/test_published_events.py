"""Events reach whoever subscribes, and stand on record where nobody does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from messages import operator
from messages.base import Event, Message
from messages.envelope import encode
from messages.lifecycle import TimerFired
from supervision import outbox
from supervision.spec import Template
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.subscriptions import Subscriptions
from supervision.trace import NoTrace
from tests.testkit.narrow import of_class
from tests.testkit.toys import Log, Toy, ToyTree, alarm, message_of, records, say, spec, stepped, toy_tree, trace_lines


def world(*roles: str) -> ToyTree:
    log: Log = []
    subscribers: dict[type[Event], tuple[str, ...]] = {operator.Alarm: roles} if roles else {}
    toys = (spec(name, lambda n: Toy(n, log)) for name in ("a:1", "b:1"))
    return toy_tree(*toys, log=log, subscribers=subscribers)


def test_event_reaches_every_subscriber_once_in_the_order_of_the_table() -> None:
    h = world("b:1", "both", "notifier")
    runtime = stepped(h)
    runtime.post("a:1", say("publish hello"), "edge:test")
    runtime.run_until(1)
    envelopes, _ = records(trace_lines(runtime))
    assert [e.to for e in envelopes if e.sender == "a:1"] == ["b:1", "a:1", "notifier"]
    assert len({e.message_id for e in envelopes if e.sender == "a:1"}) == 1
    assert h.heard["notifier"] == [alarm("hello")]


@pytest.mark.parametrize("roles", [(), ("nobody",)], ids=["no subscriber", "a role of nobody"])
def test_event_that_nobody_hears_stands_on_record(roles: tuple[str, ...]) -> None:
    runtime = stepped(world(*roles))
    for text in ("publish one", "publish two"):
        runtime.post("a:1", say(text), "edge:test")
    runtime.run_until(1)
    envelopes, handled = records(trace_lines(runtime))
    found = [e for e in envelopes if e.to == "record"]
    assert [message_of(e) for e in found] == [alarm("one"), alarm("two")]
    assert [(e.incarnation, e.inbox_n, e.sender) for e in found] == [(0, 1, "a:1"), (0, 2, "a:1")]
    causes = [e.seq for e in envelopes if e.to == "a:1" and e.sender == "edge:test"]
    assert [e.cause_seq for e in found] == causes
    assert not handled.keys() & {e.seq for e in found}
    assert runtime.dead_letters == 0


def test_event_that_nobody_hears_costs_nothing_without_a_trace() -> None:
    runtime = stepped(world(), trace=NoTrace(VirtualClock(0)))
    runtime.post("a:1", say("publish one"), "edge:test")
    runtime.run_until(1)
    assert runtime.dead_letters == 0 and runtime.cells["a:1"].crashes == 0


def test_alarm_of_the_runtime_is_published_like_any_other() -> None:
    h = world("notifier", "b:1")
    runtime = stepped(h)
    runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(1)
    assert [m.key for m in h.heard["notifier"]] == ["crash:a:1", "dead_letter:a:1"]
    assert "a:1 crashed: ValueError: told to" in h.texts("b:1")


def test_alarm_of_the_runtime_that_nobody_hears_stands_on_record() -> None:
    runtime = stepped(world())
    runtime.post("a:1", say("raise"), "edge:test")
    runtime.run_until(1)
    envelopes, _ = records(trace_lines(runtime))
    assert [(e.sender, of_class(operator.Alarm, message_of(e)).key) for e in envelopes if e.to == "record"] == [
        ("runtime", "crash:a:1"),
        ("supervisor", "dead_letter:a:1"),
    ]


def test_undeclared_role_of_a_subscriber_is_a_crash_before_anything_has_happened() -> None:
    h = world("stranger")
    runtime = stepped(h)
    with pytest.raises(KeyError, match="stranger"):  # the alarm about the crash has nowhere to go either
        runtime.post("a:1", say("tell b:1 half;publish x"), "edge:test")
        runtime.run_until(1)
    assert h.texts("b:1") == ["started:1"]


def test_message_to_several_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = stepped(world("both", "notifier"))
    encoded: list[object] = []

    def counted(message: Message) -> bytes:
        encoded.append(message)
        return encode(message)

    monkeypatch.setattr(outbox, "encode", counted)
    runtime.post("a:1", say("publish x;tell both y"), "edge:test")
    runtime.run_until(1)
    assert encoded == [alarm("x"), say("y")]


def test_roles_are_keyed_by_fields_of_the_event() -> None:
    asked: list[tuple[str, str]] = []

    def route(sender: str, role: str) -> tuple[str, ...]:
        asked.append((sender, role))
        return (f"<{role}>",)

    table = Subscriptions({operator.Alarm: ("lane:{key}:{severity.value}", "all")}, route)
    assert table.addresses("a:1", alarm("x", key="SPX"), None) == ("<lane:SPX:info>", "<all>")
    assert asked == [("a:1", "lane:SPX:info"), ("a:1", "all")]
    assert table.addresses("a:1", TimerFired(kind="k", subject="", due_utc=0), None) == ()
    assert table.addresses("a:1", alarm("x", key="SPY"), None) == ("<lane:SPY:info>", "<all>")
    assert table.addresses("a:1", alarm("y", key="SPX"), None) == ("<lane:SPX:info>", "<all>")
    assert len(asked) == 4  # of each key once


def test_an_event_is_looked_up_anew_for_each_sender_and_whenever_the_addresses_have_changed() -> None:
    there: dict[str, None] = {"position:1": None}
    asked: list[str] = []

    def route(sender: str, role: str) -> tuple[str, ...]:
        asked.append(sender)
        return (*there, sender)

    table = Subscriptions({operator.Alarm: ("positions",)}, route)
    for _ in range(2):
        assert table.addresses("a:1", alarm("x"), there) == ("position:1", "a:1")
    assert table.addresses("b:1", alarm("x"), there) == ("position:1", "b:1")
    there = {**there, "position:2": None}
    assert table.addresses("a:1", alarm("x"), there) == ("position:1", "position:2", "a:1")
    assert asked == ["a:1", "b:1", "a:1"]


def test_a_role_of_everybody_there_reaches_an_actor_that_was_made_since() -> None:
    log: Log = []
    made = Template("made:", lambda name: Toy(name, log))
    teller = spec("a:1", lambda name: Toy(name, log))
    h = toy_tree(teller, log=log, templates=(made,), subscribers={operator.Alarm: ("everybody",)})
    runtime: SteppedRuntime | None = None

    def route(sender: str, role: str) -> tuple[str, ...]:
        if role != "everybody":
            return (role,)
        assert runtime is not None
        return tuple(sorted(name for name in runtime.cells if name.startswith("made:")))

    runtime = stepped(replace(h, tree=replace(h.tree, route=route)))
    for text in ("tell made:1 hello", "publish one", "tell made:2 hello", "publish two"):
        runtime.post("a:1", say(text), "edge:test")
        runtime.run_until(runtime.clock.now_utc() + 1)
    assert [(name, text) for name, text in log if text in ("one", "two")] == [
        ("made:1", "one"), ("made:1", "two"), ("made:2", "two"),
    ]  # fmt: skip
