"""Who says what to whom, read from the code: inboxes, the table of subscribers, and where messages are made."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

from commands.reference.markdown import code, doc, first_line, table
from config.desks import desk_names
from config.settings import load_settings
from domain.signals import spread
from gateways.gexbot.hub_port import HubPort
from gateways.gexbot.negotiate import FeedPort
from gateways.ib.orders_port import OrdersPort
from gateways.ib.quotes_port import QuotesPort
from main import RECORD_ONLY, SUBSCRIBERS, Stores, build_tree, desks_beside
from messages import broker, lifecycle, market, operator, orders, risk, signals
from messages.base import SCHEMA, Command, Event, Message
from messages.envelope import MESSAGE_TYPES
from supervision.actor import inbox_of

ROOT = Path(__file__).resolve().parents[2]
PORTS: dict[str, type[Any]] = {
    "port:ibkr": OrdersPort, "port:quotes": QuotesPort, "port:feed": FeedPort, "port:hub": HubPort,
}  # fmt: skip
# Who speaks from a file that is not an actor's own; `actors/<name>.py` and `actors/<name>/` speak for themselves.
_SPEAKERS = {
    "gateways/ib/orders_port.py": ("port:ibkr",), "gateways/ib/orders_session.py": ("port:ibkr",),
    "gateways/ib/quotes_port.py": ("port:quotes",), "gateways/ib": ("port:ibkr", "port:quotes"),
    "gateways/ib/account.py": ("port:ibkr",), "gateways/direct.py": ("edge",),
    "gateways/tastytrade": ("port:ibkr",), "gateways/port_thread.py": ("port:ibkr", "port:quotes"),
    "gateways/chain/broker_chains.py": ("port:chains",), "gateways/closed.py": ("port:ibkr",),
    "gateways/gexbot/negotiate.py": ("port:feed",), "gateways/feeds.py": ("port:feed",), "gateways": ("port:hub",),
    "storage/shared_ledger.py": ("ledger",), "storage/warehouse.py": ("warehouse",),
    "storage/series.py": ("series",), "storage": ("desk_ledger",),
    "supervision/supervisor.py": ("supervisor",), "supervision": ("runtime",), "commands": ("edge",),
    "main.py": ("supervisor",), "actors/gateway_link.py": ("ibkr", "quotes"),
}  # fmt: skip
# Made and kept: what its maker sends to nobody.
OWN_USE: frozenset[tuple[str, type[Message]]] = frozenset({
    ("port:ibkr", broker.LatchKill),  # the latch that it was told last
    ("hub", market.BucketSealed),  # stands for the answer that its port did not give
    ("kill", risk.RaiseKill),  # a bucket that was not stored, as a reason of its own
})  # fmt: skip
# Sent by somebody who did not make it.
PASSED_ON: frozenset[tuple[str, type[Message]]] = frozenset({
    ("ibkr", broker.OrderSent),  # its port's word, to the order's owner
    ("runtime", risk.RaiseKill),  # through `halt` of main.py, as the supervisor
})  # fmt: skip
# Who takes what no actor and no port to the outside does.
AT_THE_EDGE: dict[type[Message], str] = {
    operator.Announce: "port:console", operator.CommandDone: "edge", operator.CommandDenied: "edge",
    lifecycle.CommandFailed: "edge", orders.EntriesWithdrawn: "edge", signals.OfferTaken: "edge",
    signals.OfferDenied: "edge",
}  # fmt: skip
_PLURALS = {"lanes": "lane", "readings": "reading", "hubs": "hub", "positions": "position", "structures": "structure"}


def receivers() -> dict[type[Message], set[str]]:
    """Return the actors, ports and edges that take a message, by message class."""
    found: dict[type[Message], set[str]] = {kind: {edge} for kind, edge in AT_THE_EDGE.items()}
    for name, actor in actor_classes().items():
        for kind in inbox_of(actor):
            found.setdefault(kind, set()).add(name)
    for name, port in PORTS.items():
        for kind in get_args(get_type_hints(port.post)["command"]) or (get_type_hints(port.post)["command"],):
            found.setdefault(kind, set()).add(name)
    return found


def actor_classes() -> dict[str, type[Any]]:
    """Return the class of each kind of actor, by the first part of its address (`desk_ledger` for a desk's ledger)."""
    none: Any = None
    shown: Any = object()  # series are kept and somebody looks, so their actors are there
    overrides = {"spread": {"is_on": True}, "desks": {"model": {"kind": "sim"}}}
    settings = load_settings(profile="demo", overrides=overrides)
    stores = Stores(none, none, none, shown, screen=shown)
    tree = build_tree(settings, stores, lambda: (), beside=desks_beside(settings, none))
    made = {spec.name: type(spec.make()) for spec in tree.children}
    made |= {template.prefix: type(template.make(template.prefix + "0")) for template in tree.templates}
    other = {f"ledger:{desk}": "desk_ledger" for desk in desk_names(settings)} | {spread.LANE: "spread_lane"}
    return {other.get(name, name.partition(":")[0]): cls for name, cls in made.items()}


def senders() -> dict[type[Message], set[str]]:
    """Return who sends a message, by message class: who makes it in the code, and who passes it on."""
    found = makers()
    for speaker, kind in OWN_USE:
        found[kind].discard(speaker)
    for speaker, kind in PASSED_ON:
        found.setdefault(kind, set()).add(speaker)
    for kind, names in receivers().items():
        if issubclass(kind, Event):  # its port tells an owner, who publishes it
            found.setdefault(kind, set()).update(name for name in names if name not in subscribed(kind))
    return found


def makers() -> dict[type[Message], set[str]]:
    """Return who makes a message, by message class, from the constructor calls in the code."""
    found: dict[type[Message], set[str]] = {}
    for path in _speaking_files():
        speakers = _speakers_of(path.relative_to(ROOT).as_posix())
        for kind in _made_in(path):
            found.setdefault(kind, set()).update(speakers)
    return found


def subscribed(event: type[Event]) -> frozenset[str]:
    """Return the kinds of actors that subscribe to an event."""
    return frozenset(role_kind(role) for role in SUBSCRIBERS.get(event, ()))


def role_kind(role: str) -> str:
    """Return the kind of actor that a role means (`lane:{key.source}:{ticker}` and `lanes` mean `lane`)."""
    kind = role.partition(":")[0]
    return _PLURALS.get(kind, kind)


def _speaking_files() -> Iterator[Path]:
    for room in ("actors", "gateways", "storage", "supervision", "commands"):
        yield from sorted((ROOT / room).rglob("*.py"))
    yield ROOT / "main.py"


def _speakers_of(file: str) -> tuple[str, ...]:
    parts = file.split("/")
    for n in range(len(parts), 0, -1):
        known = _SPEAKERS.get("/".join(parts[:n]))
        if known is not None:
            return known
    if parts[0] == "actors":
        return (parts[1].removesuffix(".py"),)
    raise LookupError(f"nobody speaks from {file}; name them in {__name__}._SPEAKERS")


@cache
def _made_in(path: Path) -> frozenset[type[Message]]:
    """Return the message classes that are called in a file, whatever name they were imported under."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules: dict[str, ModuleType] = {}
    names: dict[str, type[Message]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "messages":
            modules |= {a.asname or a.name: sys.modules[f"messages.{a.name}"] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("messages."):
            module = sys.modules[str(node.module)]
            names |= {a.asname or a.name: getattr(module, a.name) for a in node.names}
    found = set()
    for node in ast.walk(tree):
        # A class that stands for itself (a conditional expression chooses it) counts as made; a pattern or a type no.
        if isinstance(node, ast.Call | ast.IfExp):
            parts = (node.func,) if isinstance(node, ast.Call) else (node.body, node.orelse)
            for part in parts:
                kind: Any = None
                if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                    kind = getattr(modules.get(part.value.id), part.attr, None)
                elif isinstance(part, ast.Name):
                    kind = names.get(part.id)
                if isinstance(kind, type) and issubclass(kind, Message):
                    found.add(kind)
    return frozenset(found)


def messages_page() -> list[str]:
    """Return one row a message: its meaning, who says it, who hears it."""
    lines = [
        "# Messages", "",
        f"Everything that one actor can say to another (trace schema {SCHEMA}). A *command* is told to a role, a"
        " *report* answers or tells an owner what a port heard, an *event* is published and heard by its subscribers"
        " (`SUBSCRIBERS` in `main.py`); an event that a port tells an actor, which publishes it, has both in *from*."
        " `edge` is a person's way in (a command, the `KILL` file, a signal), `runtime` what hosts the actors, `record`"
        " the trace alone. Fields stand in `messages/`: instants `_utc` are integer nanoseconds, prices `_ticks`"
        " 1/100 USD, money `_cents`.",
        "",
    ]  # fmt: skip
    made, heard = senders(), receivers()
    for module in sorted({sys.modules[kind.__module__] for kind in MESSAGE_TYPES}, key=lambda m: m.__name__):
        kinds = [k for k in vars(module).values() if k in MESSAGE_TYPES and k.__module__ == module.__name__]
        lines += [f"## {module.__name__.rpartition('.')[2]}", "", doc(module).partition("\n")[0], ""]
        lines += table(("message", "kind", "meaning", "from", "to"), (_row_of(kind, made, heard) for kind in kinds))
    return lines


def _row_of(
    kind: type[Message], made: dict[type[Message], set[str]], heard: dict[type[Message], set[str]]
) -> tuple[str, ...]:
    sort = "command" if issubclass(kind, Command) else "event" if issubclass(kind, Event) else "report"
    if kind in RECORD_ONLY:
        to = code("record")
    elif issubclass(kind, Event) and kind in SUBSCRIBERS:
        to = ", ".join(code(role) for role in SUBSCRIBERS[kind])
    else:
        to = ", ".join(code(name) for name in sorted(heard.get(kind, ())))
    origin = ", ".join(code(name) for name in sorted(made.get(kind, ())))
    return code(kind.__struct_config__.tag), sort, first_line(kind), origin, to
