"""The house of the cells: dequeue, record, decide, record, carry out. Both runtimes are this, with other wake-ups.

A cell is an address: its mailbox and counters live as long as the process, the actor in it as long as an incarnation.
"""

from __future__ import annotations

import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from messages import lifecycle, operator, orders, positions, risk
from messages.base import Message
from messages.envelope import encode, tag_of
from supervision.actor import IoActor
from supervision.clock import Clock
from supervision.effects import (
    CancelTimer,
    Effects,
    EndProcess,
    FenceActor,
    LatchEntries,
    Retire,
    SetTimer,
    StartActor,
    Tell,
)
from supervision.mailbox import Mail, Mailbox
from supervision.spec import AnyActor, ChildSpec, Tree
from supervision.trace import Trace

SUPERVISOR = "supervisor"
# What must not be lost in silence: setting one of these aside halts entries and asks for a reconciliation.
VITAL = (
    orders.FillRecorded, orders.OrderClosed, orders.ExecutionHeard, orders.RecordExecution,
    risk.RaiseKill, risk.KillRaised, positions.FlattenPosition,
)  # fmt: skip
# The trace is durable before these leave for a port.
SYNC_BEFORE = (orders.PlaceOrder, orders.AmendOrder)
_SUPERVISOR_RESTARTS = 3


class Cell:
    """One address: mailbox, counters, and the present incarnation."""

    __slots__ = (
        "actor", "busy_since_ns", "crashes", "durations_ns", "fence", "handled", "in_hand", "inbox_n", "incarnation",
        "is_up", "last_tag", "mailbox", "name", "prefix", "shell", "spec", "state", "timers",
    )  # fmt: skip

    def __init__(self, name: str, spec: ChildSpec) -> None:
        self.name = name
        self.spec = spec
        self.mailbox = Mailbox()
        self.fence = threading.Lock()
        self.incarnation = 0
        self.prefix = ""
        self.is_up = False
        self.actor: AnyActor | None = None
        self.shell: Any = None
        self.state: Any = None
        self.timers: dict[str, object] = {}
        self.inbox_n = 0
        self.handled = 0
        self.crashes = 0
        self.last_tag = ""
        self.in_hand: Mail | None = None
        self.busy_since_ns = 0
        self.durations_ns: deque[int] = deque(maxlen=512)


def outbox(effects: Effects) -> tuple[str, list[bytes]]:
    """Give the digest of an outbox (blake2b, 8 bytes, hexadecimal; empty for none) and each effect's encoding."""
    if not effects:
        return "", []
    parts: list[bytes] = []
    raws: list[bytes] = []
    for effect in effects:
        if type(effect) is Tell:
            raw = encode(effect.message)
            raws.append(raw)
            parts.append(effect.to.encode())
            parts.append(raw)
        else:
            raws.append(b"")
            parts.append(repr(effect).encode())
    return blake2b(b"\0".join(parts), digest_size=8).hexdigest(), raws


class Host(ABC):
    """Cells, ports and edges by address, and what happens to a message in hand."""

    def __init__(self, tree: Tree, trace: Trace, clock: Clock, run_n: int) -> None:
        self.tree = tree
        self.trace = trace
        self.clock = clock
        self.run_n = run_n
        self.cells: dict[str, Cell] = {}
        self.sinks: dict[str, Callable[[Message], None]] = {}
        self.latched: str | None = None
        self.ended: str | None = None
        self.dead_letters = 0
        self._sink_n: dict[str, int] = {}
        self._outside_n: dict[str, int] = {}
        self._counters = threading.Lock()
        for spec in tree.children:
            self.cells[spec.name] = Cell(spec.name, spec)

    # -- what a runtime adds --------------------------------------------------------------------

    @abstractmethod
    def _wake(self, cell: Cell) -> None:
        """See to it that `handle_next` is called once more for this cell."""

    @abstractmethod
    def _start_shell(self, cell: Cell, incarnation: int) -> None:
        """Start the thread, or its stepped twin, of a new incarnation."""

    @abstractmethod
    def _arm(self, cell: Cell, key: str, token: object, at_utc: int) -> None:
        """Call `_timer_due(cell, key, token, at_utc)` at that market instant."""

    @abstractmethod
    def _on_end(self) -> None:
        """Hear that the process should end (`self.ended` says why)."""

    # -- mail -----------------------------------------------------------------------------------

    def post(self, to: str, message: Message, sender: str) -> None:
        """Put a message from outside the tree (a port, an edge, a timer) into a mailbox; from any thread."""
        with self._counters:
            n = self._outside_n[sender] = self._outside_n.get(sender, 0) + 1
        mail = Mail(message, encode(message), sender, f"{self.run_n}/{sender}/{n}", 0, self.clock.now_utc())
        for address in self._addresses(sender, to):
            self._deliver(address, mail)

    def _addresses(self, sender: str, to: str) -> tuple[str, ...]:
        if to in self.cells or to in self.sinks or to.startswith(("port:", "edge:")):
            return (to,)
        if ":" in to and not to.startswith("lanes:"):
            return (to,)
        return self.tree.route(sender, to)

    def _deliver(self, address: str, mail: Mail) -> None:
        cell = self.cells.get(address)
        if cell is None:
            sink = self.sinks.get(address)
            if sink is not None:
                self._to_sink(address, sink, mail)
                return
            cell = self._cell_on_demand(address)
            if cell is None:
                self.dead_letters += 1
                self.trace.receipt(f"dead:{address}", 0, 0, mail)
                return
        if cell.mailbox.put(mail) and cell.is_up:
            self._wake(cell)

    def _to_sink(self, address: str, sink: Callable[[Message], None], mail: Mail) -> None:
        with self._counters:
            n = self._sink_n[address] = self._sink_n.get(address, 0) + 1
        self.trace.receipt(address, 0, n, mail)
        if isinstance(mail.message, SYNC_BEFORE):
            self.trace.sync()
        sink(mail.message)

    def _cell_on_demand(self, address: str) -> Cell | None:
        try:
            spec = self.tree.child(address)
        except KeyError:
            return None
        with self._counters:
            if address not in self.cells:
                self.cells[address] = Cell(address, spec)
            else:
                return self.cells[address]
        self.post(SUPERVISOR, lifecycle.ActorNeeded(name=address), "runtime")
        return self.cells[address]

    # -- incarnations ---------------------------------------------------------------------------

    def start_tree(self) -> None:
        """Start the supervisor; it starts everybody else."""
        self._start_actor(SUPERVISOR, None)

    def _start_actor(self, name: str, restored: lifecycle.Restored | None) -> None:
        with self._counters:
            cell = self.cells.get(name)
            if cell is None:
                cell = self.cells[name] = Cell(name, self.tree.child(name))
        with cell.fence:
            if cell.is_up:
                return
            cell.incarnation += 1
            incarnation = cell.incarnation
            cell.prefix = f"{self.run_n}/{name}/{incarnation}"
            cell.timers.clear()
            cell.inbox_n = 0
            actor = cell.spec.make()
            cell.actor = actor
            cell.state = None if isinstance(actor, IoActor) else actor.initial()
            started = lifecycle.Started(name=name, incarnation=incarnation, run_n=self.run_n, restored=restored)
            cell.mailbox.put_back(
                Mail(started, encode(started), "runtime", f"{cell.prefix}/started", 0, self.clock.now_utc())
            )
            self._start_shell(cell, incarnation)
            cell.is_up = True
        for _ in range(cell.mailbox.depth()):
            self._wake(cell)

    def open_actor(self, cell: Cell, incarnation: int) -> bool:
        """Let an I/O actor acquire what it needs, in its own thread; False when that failed (and was reported)."""
        if isinstance(cell.actor, IoActor):
            try:
                cell.actor.open()
            except BaseException as error:
                self._report_crash(cell, incarnation, 0, "open", error)
                return False
        return True

    # -- one message ----------------------------------------------------------------------------

    def handle_next(self, cell: Cell, incarnation: int) -> bool:
        """Handle one message of this incarnation; False when there was none, or the incarnation is over."""
        if cell.incarnation != incarnation or not cell.is_up:
            return False
        mail = cell.mailbox.take()
        if mail is None:
            return False
        cell.inbox_n += 1
        inbox_n = cell.inbox_n
        seq, at_utc = self.trace.receipt(cell.name, incarnation, inbox_n, mail)
        began = time.perf_counter_ns()
        cell.busy_since_ns = began
        cell.in_hand = mail
        actor = cell.actor
        try:
            if isinstance(actor, IoActor):
                state, effects = None, actor.handle(mail.message, at_utc)
            else:
                state, effects = actor.decide(cell.state, mail.message, at_utc)  # type: ignore[union-attr]
            digest, raws = outbox(effects)
        except BaseException as error:
            cell.in_hand = None
            self._failed(cell, incarnation, seq, mail, error)
            return False
        cell.in_hand = None
        with cell.fence:
            if cell.incarnation != incarnation:
                self.trace.handled(seq, "fenced", 0, "")
                return False
            cell.state = state
            self.trace.handled(seq, "ok", len(effects), digest)
            if effects:
                self._carry_out(cell, f"{cell.prefix}/{inbox_n}", seq, at_utc, effects, raws)
        cell.handled += 1
        cell.last_tag = mail.message.__class__.__name__
        cell.durations_ns.append(time.perf_counter_ns() - began)
        return True

    def _carry_out(self, cell: Cell, prefix: str, seq: int, at_utc: int, effects: Effects, raws: list[bytes]) -> None:
        for k, effect in enumerate(effects):
            kind = type(effect)
            if kind is Tell:
                mail_id = f"{prefix}/{k}"
                for address in self._addresses(cell.name, effect.to):  # type: ignore[union-attr]
                    self._deliver(
                        address,
                        Mail(effect.message, raws[k], cell.name, mail_id, seq, at_utc),  # type: ignore[union-attr]
                    )
            elif kind is SetTimer:
                token = object()
                cell.timers[effect.key] = token  # type: ignore[union-attr]
                self._arm(cell, effect.key, token, effect.at_utc)  # type: ignore[union-attr]
            elif kind is CancelTimer:
                cell.timers.pop(effect.key, None)  # type: ignore[union-attr]
            else:
                self._carry_out_rare(cell, effect)

    def _carry_out_rare(self, cell: Cell, effect: Any) -> None:
        match effect:
            case Retire():
                cell.is_up = False
                cell.timers.clear()
                if cell.mailbox.depth():
                    self.post(SUPERVISOR, lifecycle.ActorNeeded(name=cell.name), "runtime")
                else:
                    self.cells.pop(cell.name, None)
            case FenceActor():
                stuck = self.cells.get(effect.name)
                if stuck is not None:
                    stuck.incarnation += 1
                    stuck.is_up = False
            case StartActor():
                self._start_actor(effect.name, effect.restored)
            case LatchEntries():
                self.latched = self.latched or effect.why
            case EndProcess():
                self.ended = self.ended or effect.why
                self._on_end()
            case _:
                raise TypeError(f"{effect!r} is no effect")

    def _timer_due(self, cell: Cell, key: str, token: object, due_utc: int) -> None:
        if cell.timers.get(key) is not token:
            return
        del cell.timers[key]
        self.post(cell.name, lifecycle.TimerFired(key=key, due_utc=due_utc), f"timer:{cell.name}")

    # -- failures -------------------------------------------------------------------------------

    def _failed(self, cell: Cell, incarnation: int, seq: int, mail: Mail, error: BaseException) -> None:
        mail.deliveries += 1
        actor = cell.actor
        again = isinstance(actor, IoActor) and mail.deliveries < actor.max_deliveries
        self.trace.handled(seq, "crashed" if again else "set_aside", 0, "")
        if cell.incarnation != incarnation:
            return
        if again:
            cell.mailbox.put_back(mail)
        else:
            self.dead_letters += 1
            aside = lifecycle.MessageSetAside(
                name=cell.name, message_id=mail.message_id, tag=tag_of(mail.message),
                why=_sentence(error), is_vital=isinstance(mail.message, VITAL),
            )  # fmt: skip
            self.post(SUPERVISOR, aside, "runtime")
            reply_to = getattr(mail.message, "reply_to", "")
            if reply_to.startswith("edge:"):
                self.post(reply_to, lifecycle.CommandFailed(name=cell.name, error=_sentence(error)), "runtime")
        self._report_crash(cell, incarnation, seq, mail.message_id, error)

    def _report_crash(self, cell: Cell, incarnation: int, seq: int, message_id: str, error: BaseException) -> None:
        cell.is_up = False
        cell.crashes += 1
        cell.timers.clear()
        if cell.spec.is_vital:
            self.latched = self.latched or f"{cell.name} crashed: {_sentence(error)}"
        if cell.name == SUPERVISOR:
            if cell.crashes > _SUPERVISOR_RESTARTS:
                self.ended = f"the supervisor crashed {cell.crashes} times: {_sentence(error)}"
                self._on_end()
            else:
                self._start_actor(SUPERVISOR, None)
            return
        crashed = lifecycle.ActorCrashed(
            name=cell.name, incarnation=incarnation, seq=seq, message_id=message_id,
            error="".join(traceback.format_exception(error)[-6:]),
        )  # fmt: skip
        self.post(SUPERVISOR, crashed, "runtime")
        if cell.mailbox.depth() and cell.name == "notifier":
            return
        self.post(
            "notifier",
            operator.Alarm(
                key=f"crash:{cell.name}", severity="high", text=f"{cell.name} crashed: {_sentence(error)}",
                at_utc=self.clock.now_utc(),
            ),
            "runtime",
        )  # fmt: skip


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
