"""Toy actors that do what a message's text tells them, and trees of them under the real supervisor."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from config.settings import load_settings
from config.tree import Supervision
from domain.alarm import Severity
from domain.risk.kill import KillLevel
from messages import lifecycle, operator, restored
from messages.base import Event, Message
from messages.envelope import Envelope, Handled, decode
from supervision.actor import Actor, AnyActor, IoActor
from supervision.effects import Tell
from supervision.host import Host
from supervision.spec import ChildSpec, Halt, Template, Tree
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.supervisor import SupervisorActor
from supervision.trace import MemoryTrace
from supervision.turn import Turn

RULES: Supervision = load_settings(profile="real").supervision
ROLES: dict[str, tuple[str, ...]] = {"nobody": (), "both": ("a:1", "b:1")}
Log = list[tuple[str, str]]


def say(text: str, topic: str = "toy") -> operator.Announce:
    """Return a command whose text a toy carries out: commands separated by `;`."""
    return operator.Announce(topic=topic, severity=Severity.INFO, text=text, at_utc=0)


def alarm(text: str, key: str = "toy") -> operator.Alarm:
    """Return an event whose text a toy carries out."""
    return operator.Alarm(key=key, severity=Severity.INFO, text=text, at_utc=0)


class ToyState(msgspec.Struct):
    """How many messages this incarnation has handled."""

    n: int = 0


class Toy(Actor[ToyState, Any]):
    """Carries out texts: `tell TO TEXT`, `publish TEXT`, `timer KEY AT`, `cancel KEY`, `retire`, `raise`, `hold KEY`...

    What it handles goes to `log` as (name, text), `Started` as `started:<incarnation>`. `hold KEY` blocks on an event.
    The key of a timer is `kind` or `kind/subject`.
    """

    def __init__(
        self, name: str, log: Log, holds: dict[str, threading.Event] | None = None, on_start: str = ""
    ) -> None:
        super().__init__(name)
        self._log = log
        self._holds = holds or {}
        self._on_start = on_start
        self.begun = threading.Event()

    def initial(self) -> ToyState:
        return ToyState()

    def decide(self, turn: Turn[ToyState], message: Message) -> None:
        turn.state.n += 1
        text = text_of(message)
        self._log.append((self.name, text))
        commands = self._on_start if text.startswith("started:") else text
        for command in commands.split(";"):
            self._carry_out(turn, command.strip())

    def _carry_out(self, turn: Turn[ToyState], command: str) -> None:
        verb, _, rest = command.partition(" ")
        first, _, second = rest.partition(" ")
        kind, _, subject = first.partition("/")
        match verb:
            case "tell":
                turn.tell(first, say(second))
            case "publish":
                turn.publish(alarm(rest))
            case "count":
                turn.tell(first, say(f"n={turn.state.n}"))
            case "timer":
                turn.arm(kind, turn.now + int(second), subject)
            case "cancel":
                turn.disarm(kind, subject)
            case "retire":
                turn.retire()
            case "raise":
                raise ValueError(rest or "told to")
            case "exit":
                raise SystemExit(rest)
            case "hold":
                self.begun.set()
                assert self._holds[first].wait(120), "nobody let go"


class ToyStore(IoActor[Any]):
    """An I/O actor: fails on a text as long as `failures[text]` is above 0, answers `RequestState` with a kill epoch.

    The epoch is the count of what it has logged so far.
    """

    def __init__(self, name: str, log: Log, failures: dict[str, int] | None = None) -> None:
        super().__init__(name)
        self._log = log
        self._failures = failures if failures is not None else {}

    def open(self) -> None:
        self._log.append((self.name, "open"))
        self._fail("open")

    def close(self) -> None:
        self._log.append((self.name, "close"))

    def handle(self, turn: Turn[None], message: Message) -> None:
        text = text_of(message)
        self._log.append((self.name, text))
        self._fail(text)
        if isinstance(message, lifecycle.RequestState):
            epoch = sum(name == self.name for name, _ in self._log)
            back = restored.KillRestored(level=KillLevel.RUNNING, kill_epoch=epoch, reason="", by="")
            turn.report(message.reply_to, lifecycle.StateRead(name=message.name, restored=back, read_n=message.read_n))

    def _fail(self, text: str) -> None:
        if self._failures.get(text, 0) > 0:
            self._failures[text] -= 1
            raise OSError(f"no disk for {text}")


def text_of(message: Message) -> str:
    """Return what a message is, in a word or its own text."""
    match message:
        case operator.Announce() | operator.Alarm():
            return message.text
        case lifecycle.Started():
            return f"started:{message.incarnation}"
        case lifecycle.TimerFired():
            return f"fired:{message.kind}" + (f"/{message.subject}" if message.subject else "")
        case lifecycle.RequestState():
            return f"read:{message.name}"
    return type(message).__name__


def spec(name: str, make: Callable[[str], AnyActor], **more: Any) -> ChildSpec:
    """Return the child spec of a toy."""
    return ChildSpec(name, lambda: make(name), **more)


def kept(toys: list[Toy], toy: Toy) -> Toy:
    """Return a toy, of which the test keeps hold."""
    toys.append(toy)
    return toy


class Collector(Actor[ToyState, Any]):
    """Stands for who hears alarms and who hears that trading must stop: keeps what it is told."""

    def __init__(self, name: str, kept: list[Message]) -> None:
        super().__init__(name)
        self._kept = kept

    def initial(self) -> ToyState:
        return ToyState()

    def decide(self, turn: Turn[ToyState], message: Message) -> None:
        if not isinstance(message, lifecycle.Started):
            self._kept.append(message)


@dataclasses.dataclass
class ToyTree:
    """A tree of toys, and what `halt` and `notifier` heard."""

    tree: Tree
    log: Log
    heard: dict[str, list[Any]]

    def texts(self, name: str) -> list[str]:
        """Return what an actor handled, in order."""
        return [text for who, text in self.log if who == name]


def on_halt(halt: Halt) -> tuple[Tell, ...]:
    """Tell `halt` the reason; the topic names who says it, and whether something vital was lost."""
    topic = f"{halt.by}:vital" if halt.is_vital_loss else halt.by
    return (Tell("halt", say(halt.reason, topic)),)


def toy_tree(
    *children: ChildSpec,
    log: Log,
    templates: tuple[Template, ...] = (),
    rules: Supervision = RULES,
    rosters: tuple[tuple[str, str], ...] = (),
    supervisor: Callable[[Tree], Actor[Any, Any]] | None = None,
    subscribers: dict[type[Event], tuple[str, ...]] | None = None,
) -> ToyTree:
    """Put toys under the real supervisor, beside collectors for halts and (unless told otherwise) alarms."""
    heard: dict[str, list[Any]] = {name: [] for name in ("halt", "notifier")}
    taken = {child.name for child in children}
    collectors = (
        ChildSpec(name, functools.partial(Collector, name, heard[name])) for name in heard if name not in taken
    )

    def route(sender: str, role: str) -> tuple[str, ...]:
        return ROLES[role]

    tree = Tree(
        children=(
            ChildSpec(
                "supervisor",
                lambda: supervisor(tree) if supervisor else SupervisorActor("supervisor", tree, rules),
            ),
            *collectors,
            *children,
        ),
        templates=templates,
        route=route,
        subscribers={operator.Alarm: ("notifier",)} if subscribers is None else subscribers,
        on_halt=on_halt,
        rosters=rosters,
    )
    return ToyTree(tree, log, heard)


def stepped(of: ToyTree, make: type[SteppedRuntime] = SteppedRuntime, **more: Any) -> SteppedRuntime:
    """Start a tree of toys in the stepped runtime at instant 0 and let the start settle."""
    clock = VirtualClock(0)
    runtime = make(of.tree, clock, trace=more.pop("trace", None) or MemoryTrace(clock), **more)
    runtime.start_tree()
    runtime.run_until(0)
    return runtime


def trace_lines(runtime: Host) -> list[bytes]:
    """Return what a runtime has recorded in memory so far."""
    assert isinstance(runtime.trace, MemoryTrace)
    return runtime.trace.lines


def records(lines: Iterable[bytes]) -> tuple[list[Envelope], dict[int, Handled]]:
    """Return a trace's lines read back: the envelopes, and each one's handling by seq."""
    decoder = msgspec.json.Decoder(Envelope | Handled)
    found = [decoder.decode(line) for line in lines]
    return [r for r in found if isinstance(r, Envelope)], {r.seq: r for r in found if isinstance(r, Handled)}


def message_of(envelope: Envelope) -> Message:
    """Return an envelope's message."""
    return decode(envelope.message)
