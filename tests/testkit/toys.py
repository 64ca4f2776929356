"""Toy actors that do what a message's text tells them, and trees of them under the real supervisor."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from config.settings import Supervision, load_settings
from messages import lifecycle, operator
from messages.base import Message
from messages.envelope import Envelope, Handled, decode
from supervision.actor import Actor, IoActor
from supervision.effects import CancelTimer, Effect, Effects, Retire, SetTimer, Tell
from supervision.spec import AnyActor, ChildSpec, Template, Tree
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.supervisor import SupervisorActor
from supervision.trace import MemoryTrace

RULES: Supervision = load_settings(profile="real").supervision
Log = list[tuple[str, str]]


def say(text: str, key: str = "toy") -> operator.Alarm:
    """Give a message whose text a toy carries out: commands separated by `;`."""
    return operator.Alarm(key=key, severity="toy", text=text, at_utc=0)


class ToyState(msgspec.Struct, frozen=True):
    """How many messages this incarnation has handled."""

    n: int = 0


class Toy(Actor[ToyState]):
    """Carries out texts: `tell TO TEXT`, `timer KEY AT`, `cancel KEY`, `retire`, `raise`, `exit`, `echo`, `hold KEY`.

    What it handles goes to `log` as (name, text), `Started` as `started:<incarnation>`. `hold KEY` blocks on an event.
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

    def decide(self, state: ToyState, message: Message, now: int) -> tuple[ToyState, Effects]:
        state = ToyState(state.n + 1)
        text = text_of(message)
        self._log.append((self.name, text))
        commands = self._on_start if text.startswith("started:") else text
        effects: list[Effect] = []
        for command in commands.split(";"):
            effects += self._carried_out(command.strip(), state, now)
        return state, tuple(effects)

    def _carried_out(self, command: str, state: ToyState, now: int) -> Iterable[Effect]:
        verb, _, rest = command.partition(" ")
        first, _, second = rest.partition(" ")
        match verb:
            case "tell":
                yield Tell(first, say(second))
            case "count":
                yield Tell(first, say(f"n={state.n}"))
            case "timer":
                yield SetTimer(first, now + int(second))
            case "cancel":
                yield CancelTimer(first)
            case "retire":
                yield Retire()
            case "raise":
                raise ValueError(rest or "told to")
            case "exit":
                raise SystemExit(rest)
            case "hold":
                self.begun.set()
                assert self._holds[first].wait(20), "nobody let go"


class ToyStore(IoActor):
    """An I/O actor: fails on `fail N` as long as `failures[text]` is above 0, answers `ReadState` with a kill level."""

    def __init__(self, name: str, log: Log, failures: dict[str, int] | None = None) -> None:
        super().__init__(name)
        self._log = log
        self._failures = failures if failures is not None else {}

    def open(self) -> None:
        self._log.append((self.name, "open"))
        self._fail("open")

    def close(self) -> None:
        self._log.append((self.name, "close"))

    def handle(self, message: Message, now: int) -> Effects:
        text = text_of(message)
        self._log.append((self.name, text))
        self._fail(text)
        if isinstance(message, lifecycle.ReadState):
            level = sum(name == self.name for name, _ in self._log)
            restored = lifecycle.KillRestored(level=level, kill_epoch=0, reason="", by="")
            return (Tell(message.reply_to, lifecycle.StateRead(
                name=message.name, restored=restored, read_n=message.read_n)),)  # fmt: skip
        return ()

    def _fail(self, text: str) -> None:
        if self._failures.get(text, 0) > 0:
            self._failures[text] -= 1
            raise OSError(f"no disk for {text}")


def text_of(message: Message) -> str:
    """Say what a message is, in a word or its own text."""
    match message:
        case operator.Alarm():
            return message.text
        case lifecycle.Started():
            return f"started:{message.incarnation}"
        case lifecycle.TimerFired():
            return f"fired:{message.key}"
        case lifecycle.ReadState():
            return f"read:{message.name}"
    return type(message).__name__


def spec(name: str, make: Callable[[str], AnyActor], **more: Any) -> ChildSpec:
    """Give the child spec of a toy."""
    return ChildSpec(name, lambda: make(name), **more)


class Collector(Actor[ToyState]):
    """Stands for kill, notifier and ibkr: keeps what it is told."""

    def __init__(self, name: str, kept: list[Message]) -> None:
        super().__init__(name)
        self._kept = kept

    def initial(self) -> ToyState:
        return ToyState()

    def decide(self, state: ToyState, message: Message, now: int) -> tuple[ToyState, Effects]:
        if not isinstance(message, lifecycle.Started):
            self._kept.append(message)
        return state, ()


@dataclasses.dataclass
class House:
    """A tree of toys, and what kill, notifier and ibkr heard."""

    tree: Tree
    log: Log
    heard: dict[str, list[Message]]

    def texts(self, name: str) -> list[str]:
        """Give what an actor handled, in order."""
        return [text for who, text in self.log if who == name]


def house(
    *children: ChildSpec,
    log: Log,
    templates: tuple[Template, ...] = (),
    rules: Supervision = RULES,
    seeds: tuple[tuple[str, str], ...] = (),
    supervisor: Callable[[Tree], Actor[Any]] | None = None,
) -> House:
    """Put toys under the real supervisor, beside collectors for kill, notifier and ibkr."""
    heard: dict[str, list[Message]] = {name: [] for name in ("kill", "notifier", "ibkr")}
    taken = {child.name for child in children}
    collectors = (ChildSpec(name, lambda n=name: Collector(n, heard[n])) for name in heard if name not in taken)

    def route(sender: str, role: str) -> tuple[str, ...]:
        return {"nobody": (), "both": ("a:1", "b:1")}[role]

    tree = Tree(
        (
            ChildSpec(
                "supervisor",
                lambda: supervisor(tree) if supervisor else SupervisorActor("supervisor", tree, rules, 1.0),
            ),
            *collectors,
            *children,
        ),
        templates,
        route,
        seeds,
    )
    return House(tree, log, heard)


def stepped(of: House, **more: Any) -> SteppedRuntime:
    """Start a house in the stepped runtime at instant 0 and let the start settle."""
    clock = VirtualClock(0)
    runtime = SteppedRuntime(of.tree, clock, trace=more.pop("trace", None) or MemoryTrace(clock), **more)
    runtime.start_tree()
    runtime.run_until(0)
    return runtime


def records(lines: Iterable[bytes]) -> tuple[list[Envelope], dict[int, Handled]]:
    """Read a trace's lines back: the envelopes, and each one's handling by seq."""
    decoder = msgspec.json.Decoder(Envelope | Handled)
    found = [decoder.decode(line) for line in lines]
    return [r for r in found if isinstance(r, Envelope)], {r.seq: r for r in found if isinstance(r, Handled)}


def message_of(envelope: Envelope) -> Message:
    """Read an envelope's message."""
    return decode(envelope.message)
