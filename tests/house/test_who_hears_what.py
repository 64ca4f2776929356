"""Who hears what: every event has its listeners, every listener its case, every told command somebody who takes it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
import pytest

from commands.reference.conversations import PORTS, actor_classes, receivers, senders
from config.settings import load_settings
from main import RECORD_ONLY, SUBSCRIBERS, routes
from messages import broker, lifecycle, market, risk, session
from messages.base import Event
from messages.envelope import MESSAGE_TYPES
from supervision.actor import inbox_of
from supervision.subscriptions import fields_of
from tests.house.test_import_direction import ROOT, modules

EVENTS = tuple(kind for kind in MESSAGE_TYPES if issubclass(kind, Event))
# Events that reach an actor otherwise than by a subscription, with the reason.
TOLD: dict[tuple[str, type[Event]], str] = {
    ("hub", market.HubUp): "its port tells it, it publishes it",
    ("hub", market.HubDown): "its port tells it, it publishes it",
    ("ibkr", broker.AccountRead): "its port tells it, it publishes it",
}
# Of the runtime's own making: what every actor hears, what edges hear, what a position is asked for.
_OF_THE_RUNTIME = {lifecycle.Started, lifecycle.TimerFired, lifecycle.CommandFailed}
_PORT_OF_ROLE = {"port:console"}


def role_class(role: str) -> str:
    """Return the kind of actor that a role means (`lane:{key.source}:{ticker}`, `lanes`: lane)."""
    kind = role.partition(":")[0]
    plural = {"lanes": "lane", "readings": "reading", "hubs": "hub", "positions": "position"}
    return plural.get(kind, kind)


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
        for role in roles:
            if event not in inboxes[role_class(role)]:
                found.append(f"{role} subscribes to {event.__name__} and its Inbox has no such case")
    return found


def test_every_event_has_a_listener_and_every_listener_its_case() -> None:
    assert subscription_faults() == []


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
    made = senders()
    subscribed = {(role_class(role), event) for event, roles in SUBSCRIBERS.items() for role in roles}
    idle = []
    for name, actor in actor_classes().items():
        for kind in inbox_of(actor):
            if kind in _OF_THE_RUNTIME:
                continue
            if kind not in made:
                idle.append(f"{name} takes {kind.__name__}, which nobody makes")
            elif issubclass(kind, Event) and (name, kind) not in subscribed and (name, kind) not in TOLD:
                idle.append(f"{name} takes the event {kind.__name__} and does not subscribe to it")
    assert idle == []


def test_every_message_is_made_and_heard() -> None:
    made, heard = senders(), receivers()
    edges = {"operator.CommandDone", "operator.CommandDenied", "lifecycle.CommandFailed", "operator.Announce"}
    assert [k.__struct_config__.tag for k in MESSAGE_TYPES if k not in made] == []
    unheard = {str(k.__struct_config__.tag) for k in MESSAGE_TYPES if k not in heard and k not in RECORD_ONLY}
    assert unheard <= edges


def told_commands() -> Iterator[tuple[str, int, str, str]]:
    """Yield (file, line, role, class name) of every `turn.tell("role", module.Command(...))` with a literal role."""
    for path in modules("actors"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "tell"):
                continue
            role, *rest = node.args
            if not (isinstance(role, ast.Constant) and isinstance(role.value, str) and len(rest) == 1):
                continue
            made = rest[0].func if isinstance(rest[0], ast.Call) else None
            name = made.attr if isinstance(made, ast.Attribute) else made.id if isinstance(made, ast.Name) else None
            if name is not None:
                yield str(path.relative_to(ROOT)), node.lineno, role.value, name


def test_a_told_command_stands_in_the_inbox_of_its_role() -> None:
    inboxes = {name: {kind.__name__ for kind in inbox_of(actor)} for name, actor in actor_classes().items()}
    found = list(told_commands())
    wrong = [
        f"{file}:{line}: {role} has no case for {name}"
        for file, line, role, name in found
        if name[0].isupper() and role not in _PORT_OF_ROLE and name not in inboxes[role_class(role)]
    ]
    assert len(found) > 20
    assert wrong == []


def test_a_port_takes_what_its_conversation_lists() -> None:
    hints = get_type_hints(PORTS["port:ibkr"].post)
    assert hints["command"] == broker.BrokerCommand


def test_an_event_without_a_row_and_a_row_without_a_case_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "SUBSCRIBERS", {**SUBSCRIBERS, session.ModeChanged: ("warehouse",)})
    monkeypatch.delitem(here.SUBSCRIBERS, risk.KillLowered)
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
    assert {kind.__name__ for kind in MESSAGE_TYPES if kind.SYNC_FIRST} == {"PlaceOrder", "AmendOrder"}
    assert {kind.__name__ for kind in MESSAGE_TYPES if kind.CONFLATES} == {"QuoteChanged", "SpotsChanged"}
