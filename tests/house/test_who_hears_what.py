"""Who hears what: every event has its listeners, every listener its case, every told command somebody who takes it."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
import pytest

from commands.reference.conversations import (
    AT_THE_EDGE,
    OWN_USE,
    PASSED_ON,
    PORTS,
    actor_classes,
    makers,
    receivers,
    role_kind,
    senders,
)
from config.settings import load_settings
from main import RECORD_ONLY, SUBSCRIBERS, routes
from messages import broker, entries, lifecycle, market, risk, session
from messages.base import Event, Message
from messages.envelope import MESSAGE_TYPES
from supervision.actor import inbox_of
from supervision.subscriptions import fields_of
from tests.house.test_import_direction import modules
from tests.testkit.paths import ROOT

EVENTS = tuple(kind for kind in MESSAGE_TYPES if issubclass(kind, Event))
# Events that reach an actor otherwise than by a subscription, with the reason.
TOLD: dict[tuple[str, type[Event]], str] = {
    ("hub", market.HubUp): "its port tells it, it publishes it",
    ("hub", market.HubDown): "its port tells it, it publishes it",
    ("ibkr", broker.AccountRead): "its port tells it, it publishes it",
    ("ibkr", broker.AccountUnreadable): "its port tells it, it publishes it",
    ("ibkr", broker.ClockRead): "its port tells it, it publishes it",
    ("spread_lane", entries.EntryDenied): "it is a lane: `lane:{key.source}:{key.ticker}` is its address",
    ("spread_lane", entries.EntryHandedOver): "it is a lane: `lane:{key.source}:{key.ticker}` is its address",
}
# Of the runtime's own making: what every actor hears, what edges hear, what a position is asked for.
_OF_THE_RUNTIME = {lifecycle.Started, lifecycle.TimerFired, lifecycle.CommandFailed}


def subscription_faults() -> list[str]:
    """Return one sentence for each event without a listener and each listener without a case."""
    inboxes = {name: inbox_of(actor) for name, actor in actor_classes().items()}
    found = []
    for event in EVENTS:
        tag = event.__struct_config__.tag
        if event not in SUBSCRIBERS and event not in RECORD_ONLY:
            found.append(f"{tag} has no subscriber: add a row to SUBSCRIBERS or RECORD_ONLY in main.py")
        if event in SUBSCRIBERS and event in RECORD_ONLY:
            found.append(f"{tag} has subscribers and stands in RECORD_ONLY: take it out of one")
    for event, roles in SUBSCRIBERS.items():
        found += [
            f"{role} subscribes to {event.__name__} and its Inbox has no such case"
            for role in roles
            if event not in inboxes[role_kind(role)]
        ]
    return found


def test_every_event_has_a_listener_and_every_listener_its_case() -> None:
    assert subscription_faults() == []


@pytest.mark.parametrize("name", actor_classes())
def test_the_cases_of_an_actor_are_those_of_its_inbox(name: str) -> None:
    # The type checker misses a case too many: for all it knows, a message could be of two classes.
    actor = actor_classes()[name]
    cases, inbox = cases_of(actor), inbox_of(actor)
    where = f"its Inbox in {actor.__module__.replace('.', '/')}.py"
    faults = [f"{actor.__name__} has a case for {kind.__name__}, which is not in {where}" for kind in cases - inbox]
    faults += [f"{actor.__name__} has no case for {kind.__name__}, which is in {where}" for kind in inbox - cases]
    assert faults == []


def cases_of(actor: type[Any]) -> set[type[Any]]:
    """Return the message classes of the patterns with which an actor matches what it is sent."""
    method = getattr(actor, "decide", None) or actor.handle
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    match = next(n for n in ast.walk(tree) if isinstance(n, ast.Match) and ast.unparse(n.subject) == "message")
    patterns = [p for case in match.cases for p in ast.walk(case.pattern) if isinstance(p, ast.MatchClass)]
    found = [named_by(pattern.cls, method.__globals__) for pattern in patterns]
    return {kind for kind in found if issubclass(kind, Message)}


def named_by(node: ast.expr, names: dict[str, Any]) -> Any:
    """Return what a dotted name means."""
    match node:
        case ast.Attribute(value=owner, attr=name):
            return getattr(named_by(owner, names), name)
        case ast.Name(id=name):
            return names[name]
        case _:
            raise TypeError(ast.unparse(node))


@pytest.mark.parametrize("event", SUBSCRIBERS, ids=lambda event: event.__name__)
def test_a_keyed_role_is_keyed_by_fields_of_its_event(event: type[Event]) -> None:
    for role in SUBSCRIBERS[event]:
        for field in fields_of(role):
            kind: Any = event
            for name in field.split("."):
                kind = get_type_hints(kind)[name]
            assert isinstance(kind, type) and not issubclass(kind, msgspec.Struct), f"{role} of {event.__name__}"


def test_every_subscribed_role_is_declared() -> None:
    route = routes(load_settings(profile="demo"), lambda: ())
    for roles in SUBSCRIBERS.values():
        for role in roles:
            if not fields_of(role):
                route("anybody", role)


def test_no_inbox_holds_what_nobody_sends() -> None:
    sent = senders()
    subscribed = {(role_kind(role), event) for event, roles in SUBSCRIBERS.items() for role in roles}
    idle = []
    for name, actor in actor_classes().items():
        for kind in inbox_of(actor):
            if kind in _OF_THE_RUNTIME:
                continue
            if kind not in sent:
                idle.append(f"{name} takes {kind.__name__}, which nobody sends")
            elif issubclass(kind, Event) and (name, kind) not in subscribed and (name, kind) not in TOLD:
                idle.append(f"{name} takes the event {kind.__name__} and does not subscribe to it")
    assert idle == []


def test_every_message_is_sent_and_heard() -> None:
    sent, heard = senders(), receivers()
    assert [k.__struct_config__.tag for k in MESSAGE_TYPES if not sent.get(k)] == []
    assert [k.__struct_config__.tag for k in MESSAGE_TYPES if not heard.get(k) and k not in RECORD_ONLY] == []


def test_what_the_page_of_messages_is_told_by_hand_is_still_so() -> None:
    made, inboxes = makers(), {name: inbox_of(actor) for name, actor in actor_classes().items()}
    assert [f"{who} no longer makes {kind.__name__}" for who, kind in OWN_USE if who not in made[kind]] == []
    assert [f"{who} makes {kind.__name__} itself" for who, kind in PASSED_ON if who in made.get(kind, ())] == []
    passes = {who for who, kind in PASSED_ON if who in inboxes and kind not in inboxes[who]}
    assert passes == set()
    assert [k.__name__ for k in AT_THE_EDGE if issubclass(k, Event)] == []


def told_commands(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, kind of role, class name) of every command that is told in a module.

    A role is a literal, a literal's beginning (`f"position:{...}"`), or somebody's port; a command is made on the spot
    or under a name of the same function. What is neither (a parameter that is handed on) is told where it was made.
    """
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        named = {
            target.id: name
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and (name := class_made(node.value)) is not None
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Attribute(attr="tell"), args=[role, command]):
                    name = named.get(command.id) if isinstance(command, ast.Name) else class_made(command)
                    if name is not None:
                        yield node.lineno, role_in(role), name
                case _:
                    pass


def class_made(node: ast.expr) -> str | None:
    """Return the name of the class that an expression makes an instance of."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name[0].isupper():
            return name
        case _:
            return None


def role_in(node: ast.expr) -> str:
    """Return the kind of role that an expression names; `port` for a port's address, `anybody` for whoever asked."""
    match node:
        case ast.Constant(value=str(text)) | ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text if text.startswith("port:") else role_kind(text)
        case ast.Name(id="port") | ast.Attribute(attr="port"):
            return "port"
        case _:
            return "anybody"


def test_a_told_command_stands_in_the_inbox_of_its_role() -> None:
    heard = receivers()
    by_name = {kind.__name__: names for kind, names in heard.items()}
    found = [
        (f"{path.relative_to(ROOT)}:{line}", role, name)
        for path in modules("actors")
        for line, role, name in told_commands(path.read_text(encoding="utf-8"))
    ]
    wrong = [
        f"{place}: {role} has no case for {name}"
        for place, role, name in found
        if not any(role in (who, who.partition(":")[0], "anybody") for who in by_name.get(name, ()))
    ]
    assert len(found) > 50
    assert wrong == []


def test_a_command_for_nobody_is_seen() -> None:
    source = """
def f(turn, rules, given):
    asked = market.RequestQuote(con_id=1)
    turn.tell("quotes", asked)
    turn.tell(f"position:{rules.desk}:1", entries.OpenPosition())
    turn.tell(rules.port, broker.Dial())
    turn.tell("port:console", Announce())
    turn.tell(given.reply_to, FlattenPosition())
    turn.tell("kill", given)
"""
    assert list(told_commands(source)) == [
        (4, "quotes", "RequestQuote"), (5, "position", "OpenPosition"), (6, "port", "Dial"),
        (7, "port:console", "Announce"), (8, "anybody", "FlattenPosition"),
    ]  # fmt: skip


def test_a_port_takes_what_its_conversation_lists() -> None:
    hints = get_type_hints(PORTS["port:ibkr"].post)
    assert hints["command"] == broker.BrokerCommand


def test_an_event_without_a_row_and_a_row_without_a_case_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    changed: dict[type[Event], tuple[str, ...]] = {**SUBSCRIBERS, session.ModeChanged: ("warehouse",)}
    del changed[risk.KillLowered]
    monkeypatch.setattr(sys.modules[__name__], "SUBSCRIBERS", changed)
    assert subscription_faults() == [
        "risk.KillLowered has no subscriber: add a row to SUBSCRIBERS or RECORD_ONLY in main.py",
        "warehouse subscribes to ModeChanged and its Inbox has no such case",
    ]


def test_traits_of_money_are_where_they_must_be() -> None:
    vital = {kind.__name__ for kind in MESSAGE_TYPES if kind.IS_VITAL}
    assert vital == {
        "PlaceOrder", "AmendOrder", "FillRecorded", "OrderClosed", "ExecutionReported", "RecordExecution", "RaiseKill",
        "KillRaised", "FlattenPosition",
    }  # fmt: skip
    assert {kind.__name__ for kind in MESSAGE_TYPES if "is_synced_first" in vars(kind)} == {"PlaceOrder", "AmendOrder"}
    assert {kind.__name__ for kind in MESSAGE_TYPES if kind.GOES_FIRST} == {
        "RecordAlert", "ReserveEntry", "RecordExitIntent", "PlaceOrder", "AmendOrder",
    }  # fmt: skip
    assert {kind.__name__ for kind in MESSAGE_TYPES if kind.CONFLATES} == {"QuoteChanged", "SpotsChanged"}
