"""The post office: which address a message goes to, and into which mailbox, port or dead-letter record it is put."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from domain.alarm import Severity
from messages import lifecycle
from messages.base import Event, Message
from messages.envelope import encode, tag_of
from messages.operator import Alarm
from supervision.cell import Cell
from supervision.clock import Clock
from supervision.mailbox import Mail, Timer
from supervision.spec import Halt, Tree
from supervision.subscriptions import Subscriptions
from supervision.trace import Trace

SUPERVISOR = "supervisor"
RUNTIME = "runtime"
RECORD = "record"  # where an event stands in the trace that nobody hears

Observer = Callable[[Any, str, str], None]


class PostOffice(ABC):
    """Cells, ports and edges by address.

    `cells` is replaced, never changed in place: whoever iterates over it sees one moment. `sinks` are the ports and
    edges: callables that take a message and must neither block nor raise (one that raises makes a dead letter).
    `observers` see messages of their class once, right before they are delivered, with the name they are told to (""
    for events) and the sender's; they stand outside the trace, so nothing that an actor decides may depend on them.
    """

    def __init__(self, tree: Tree, trace: Trace, clock: Clock, run_n: int, mailbox_soft_bound: int) -> None:
        self.tree = tree
        self.trace = trace
        self.clock = clock
        self.run_n = run_n
        self.mailbox_soft_bound = mailbox_soft_bound
        self.cells: dict[str, Cell] = {spec.name: Cell(spec.name, spec) for spec in tree.children}
        self.sinks: dict[str, Callable[[Message], None]] = {}
        self.dead_letters = 0
        self.latched: str | None = None
        self.on_latch: Callable[[str], None] = _nothing
        self.latched_groups: dict[str, str] = {}
        self.on_group_latch: Callable[[str, str], None] = _nothing_of_group
        self.observers: dict[type[Message], Observer] = {}
        self._subscriptions = Subscriptions(tree.subscribers, self._addresses)
        self._asleep: dict[str, Cell] = {}
        self._counters = threading.Lock()
        self._sink_n: dict[str, int] = {}
        self._outside_n: dict[str, int] = {}

    @abstractmethod
    def _wake(self, cell: Cell) -> None:
        """See to it that `handle_next` is called once more for this cell."""

    def _hold_for(self, port: str) -> None:  # noqa: B027 - a runtime of one thread wakes nobody
        """Hold back what the present thread would wake others for until this port has spoken: an order leaves by it."""

    def latch(self, why: str, group: str = "") -> None:
        """Set the process latch, or that of a group, and let those who obey it know; the first reason stays."""
        if group:
            if group not in self.latched_groups:
                self.latched_groups = {**self.latched_groups, group: why}
                self.on_group_latch(group, why)
        elif self.latched is None:
            self.latched = why
            self.on_latch(why)

    def post(self, to: str, message: Message, sender: str) -> None:
        """Put a message from outside the tree (a port, an edge, the runtime itself) into a mailbox; from any thread.

        Raises:
            KeyError: a role that nobody declared.
        """
        mail = self._outside_mail(message, sender)
        if type(message) in self.observers:
            self.observers[type(message)](message, to, sender)
        for address in self._addresses(sender, to):
            self._deliver(address, mail)

    def publish(self, event: Event, sender: str) -> None:
        """Publish an event from outside the tree; from any thread.

        Raises:
            KeyError: a subscriber's role that nobody declared.
        """
        mail = self._outside_mail(event, sender)
        addresses = self._subscriptions.addresses(sender, event, self.cells)
        if type(event) in self.observers:
            self.observers[type(event)](event, "", sender)
        for address in addresses:
            self._deliver(address, mail)
        if not addresses:
            self._record(mail)

    def _outside_mail(self, message: Message, sender: str, timer: Timer | None = None) -> Mail:
        cause_seq = timer.cause_seq if timer is not None else 0
        if not self.trace.records:
            return Mail(message, b"", sender, "", cause_seq, self.clock.now_utc(), timer)
        with self._counters:
            n = self._outside_n[sender] = self._outside_n.get(sender, 0) + 1
        message_id = f"{self.run_n}/{sender}/{n}"
        return Mail(message, encode(message), sender, message_id, cause_seq, self.clock.now_utc(), timer)

    def _addresses(self, sender: str, to: str) -> tuple[str, ...]:
        """Return what a name means: itself where it is somebody's address, else what `Tree.route` says.

        A name with a colon that the route does not know is an address, if of nobody.
        """
        if to in self.cells or to in self.sinks:
            return (to,)
        try:
            return self.tree.route(sender, to)
        except KeyError:
            if ":" in to:
                return (to,)
            raise

    def _deliver(self, address: str, mail: Mail) -> None:
        cell = self.cells.get(address)
        if cell is None:
            self._deliver_elsewhere(address, mail)
        else:
            self._put(cell, mail)

    def _put(self, cell: Cell, mail: Mail) -> None:
        if cell.mailbox.put(mail) and cell.is_up:
            self._wake(cell)
        elif cell.is_asleep:  # it retired between our look at `cells` and the put
            self._rouse(cell)
        if len(cell.mailbox.critical) > self.mailbox_soft_bound and not cell.is_over_bound:
            self._report_over_bound(cell)

    def _deliver_elsewhere(self, address: str, mail: Mail) -> None:
        sink = self.sinks.get(address)
        if sink is not None:
            self._hand_over(address, sink, mail)
            return
        cell = self._cell(address)
        if cell is None:
            self._receipt_nobody(address, mail)
            return
        cell.mailbox.put(mail)
        self._rouse(cell)

    def _receipt_nobody(self, address: str, mail: Mail) -> None:
        """Put mail on record that has no address; what could cost money is a dead letter like any other."""
        self.trace.receipt(f"dead:{address}", 0, 0, mail)
        if mail.message.IS_VITAL:
            self._report_dead_letter(address, mail, "nobody has this address")
            return
        with self._counters:
            self.dead_letters += 1

    def _hand_over(self, address: str, sink: Callable[[Message], None], mail: Mail) -> None:
        self._receipt(address, mail)
        if mail.message.GOES_FIRST:
            self._hold_for(address)
        if mail.message.is_synced_first():
            self.trace.sync()
            if self.trace.failed is not None:
                self.latch(self.trace.failed)
        try:
            sink(mail.message)
        except KeyboardInterrupt:
            raise  # Ctrl-C in a stepped run, whose ports are called in its one thread
        except BaseException as error:
            self._report_dead_letter(address, mail, sentence(error))

    def _record(self, mail: Mail) -> None:
        """Put an event on record that nobody hears."""
        if self.trace.records:
            self._receipt(RECORD, mail)

    def _receipt(self, address: str, mail: Mail) -> None:
        with self._counters:
            n = self._sink_n[address] = self._sink_n.get(address, 0) + 1
            self.trace.receipt(address, 0, n, mail)

    # -- actors made on demand ------------------------------------------------------------------

    def _cell(self, address: str) -> Cell | None:
        """Return the cell of an address, asleep where a template makes such an address; `None` for nobody's."""
        with self._counters:
            cell = self.cells.get(address) or self._asleep.get(address)
            if cell is None:
                try:
                    spec = self.tree.child(address)
                except KeyError:
                    return None
                cell = self._asleep[address] = Cell(address, spec, is_asleep=True)
            return cell

    def _awaken(self, cell: Cell) -> bool:
        """Count a cell among `cells` again; True for the one of those who race that did it."""
        with self._counters:
            if not cell.is_asleep:
                return False
            cell.is_asleep = False
            self._asleep.pop(cell.name, None)
            self.cells = {**self.cells, cell.name: cell}
        return True

    def _rouse(self, cell: Cell) -> None:
        """Have a sleeping cell's actor started."""
        if self._awaken(cell):
            self.post(SUPERVISOR, lifecycle.StartActor(name=cell.name), RUNTIME)

    def _put_to_sleep(self, cell: Cell) -> None:
        """Take a retired actor's cell out of `cells`; mail that came first wakes it again (its fence is held)."""
        with self._counters:
            cell.is_asleep = True
            self._asleep[cell.name] = cell
            self.cells = {name: other for name, other in self.cells.items() if other is not cell}
        if cell.mailbox.depth():
            self._rouse(cell)

    # -- what a person should hear of -----------------------------------------------------------

    def _alarm(self, key: str, text: str) -> None:
        self.publish(Alarm(key=key, severity=Severity.HIGH, text=text, at_utc=self.clock.now_utc()), RUNTIME)

    def _halt(self, key: str, reason: str) -> None:
        """Tell that trading must stop, and say why."""
        for tell in self.tree.on_halt(Halt(RUNTIME, reason)):
            self.post(tell.to, tell.message, RUNTIME)
        self._alarm(key, reason)

    def _report_over_bound(self, cell: Cell) -> None:
        cell.is_over_bound = True
        text = f"{cell.name} has more than {self.mailbox_soft_bound} messages waiting"
        self._halt(f"mailbox:{cell.name}", text)

    def _report_dead_letter(self, name: str, mail: Mail, why: str) -> None:
        """Make a dead letter of mail, and let an edge that asked know."""
        with self._counters:
            self.dead_letters += 1
        dead = lifecycle.MessageDeadLettered(
            name=name, message_id=mail.message_id, tag=tag_of(mail.message), why=why, is_vital=mail.message.IS_VITAL,
            is_stop_lost=mail.message.stops_everything(),
        )  # fmt: skip
        self.post(SUPERVISOR, dead, RUNTIME)
        reply_to = getattr(mail.message, "reply_to", "")
        if reply_to.startswith("edge:"):
            self.post(reply_to, lifecycle.CommandFailed(name=name, error=why), RUNTIME)


def _nothing(why: str) -> None:
    """Stand where nobody wants to know of the latch."""


def _nothing_of_group(_group: str, _why: str) -> None:
    """Stand where there are no groups."""


def sentence(error: BaseException) -> str:
    """Return what was raised, in one line of at most 300 characters."""
    return f"{type(error).__name__}: {error}"[:300]
