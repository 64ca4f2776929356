"""The house of the actors: dequeue, record, decide, record, carry out. Both runtimes are this, with other wake-ups.

Locks, outermost first: a cell's fence, the post office's counters, the trace's own. The one fence that is taken while
another is held is that of the actor whom the supervisor starts or fences.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from abc import abstractmethod
from typing import Any

from messages import lifecycle
from messages.envelope import encode, tag_of
from supervision.actor import IoActor
from supervision.cell import Cell
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
from supervision.mailbox import Mail, Timer
from supervision.outbox import outbox
from supervision.post import RUNTIME, SUPERVISOR, PostOffice, sentence
from supervision.spec import Tree
from supervision.trace import Trace

_OWN_EFFECTS = frozenset((SetTimer, CancelTimer, Retire, FenceActor, StartActor, LatchEntries, EndProcess))
_SUPERVISOR_RESTARTS = 3
_FENCE_WAIT_S = 1.0  # handing on effects takes microseconds; who holds a fence for longer is stuck in a port's sink
_NO_TARGETS: tuple[str, ...] = ()

Targets = list[tuple[str, ...]]


class Host(PostOffice):
    """Starts incarnations, has them handle their mail one by one, and ends those that fail.

    `ended` says why the process should end; `None` while it may go on.
    """

    is_timed = False  # whether handling times are measured

    def __init__(self, tree: Tree, trace: Trace, clock: Clock, run_n: int, mailbox_soft_bound: int = 10_000) -> None:
        super().__init__(tree, trace, clock, run_n, mailbox_soft_bound)
        self.ended: str | None = None
        self.is_stopping = False

    # -- what a runtime adds --------------------------------------------------------------------

    @abstractmethod
    def _start_shell(self, cell: Cell, incarnation: int) -> None:
        """Start the thread, or its stepped twin, of a new incarnation."""

    @abstractmethod
    def _arm(self, cell: Cell, timer: Timer) -> None:
        """Call `_timer_due(cell, timer)` at the timer's market instant."""

    @abstractmethod
    def _on_end(self) -> None:
        """Hear that the process should end (`self.ended` says why)."""

    # -- incarnations ---------------------------------------------------------------------------

    def start_tree(self) -> None:
        """Start the supervisor; it starts everybody else."""
        self._start_actor(SUPERVISOR, None, 0)

    def end(self, why: str) -> None:
        """Ask for the end of the process; the first reason stays."""
        self.ended = self.ended or why
        self._on_end()

    def fail(self, why: str) -> None:
        """Give up on this process: no entries, and an end."""
        self.latch(why)
        self.end(why)

    def _start_actor(self, name: str, restored: lifecycle.Restored | None, cause_seq: int) -> None:
        cell = self._cell(name)
        if cell is None:
            return
        self._awaken(cell)
        with cell.fence:
            if cell.is_up or self.is_stopping:
                return
            cell.incarnation += 1
            incarnation = cell.incarnation
            cell.prefix = f"{self.run_n}/{name}/{incarnation}"
            cell.inbox_n = 0
            started = lifecycle.Started(name=name, incarnation=incarnation, run_n=self.run_n, restored=restored)
            cell.started = Mail(
                started, encode(started), RUNTIME, f"{cell.prefix}/started", cause_seq, self.clock.now_utc()
            )
            try:
                actor = cell.spec.make()
                cell.state = None if isinstance(actor, IoActor) else actor.initial()
                cell.actor, cell.is_io = actor, isinstance(actor, IoActor)
                self._start_shell(cell, incarnation)
            except BaseException as error:
                self._report_crash(cell, 0, "", error)
                return
            cell.is_up = True
        for _ in range(cell.mailbox.depth() + 1):
            self._wake(cell)

    def close_actor(self, cell: Cell, incarnation: int) -> None:
        """End an incarnation in peace (its own thread, at a stop): release what it holds."""
        with cell.fence:
            if cell.is_current(incarnation):
                cell.is_up = False
                _release(cell)

    # -- one message ----------------------------------------------------------------------------

    def handle_next(self, cell: Cell, incarnation: int) -> bool:
        """Handle one message of this incarnation; False when there was none, or the incarnation is over."""
        with cell.fence:
            if cell.incarnation != incarnation or not cell.is_up or self.is_stopping:
                return False
            mail = cell.next_mail()
            if mail is None:
                return False
            cell.inbox_n = inbox_n = cell.inbox_n + 1
            actor: Any = cell.actor
            state = cell.state
            seq, at_utc = self.trace.receipt(cell.name, incarnation, inbox_n, mail)
            if self.is_timed:
                cell.busy_since_ns = time.perf_counter_ns()
            cell.in_hand_seq = seq
            cell.in_hand = mail
        message = mail.message
        try:
            if cell.is_io:
                if type(message) is lifecycle.Started:
                    actor.open()
                effects = actor.handle(message, at_utc)
            else:
                state, effects = actor.decide(state, message, at_utc)
            # All that can fail comes before anything has happened: unknown roles and effects, what cannot be encoded.
            targets = self._targets(cell.name, effects)
            digest, raws = outbox(effects) if self.trace.records else ("", None)
        except BaseException as error:
            self._failed(cell, incarnation, error)
            return False
        with cell.fence:
            if cell.incarnation != incarnation or not cell.is_up:
                return False  # a zombie: fenced while it was stuck; that was recorded and reported then
            cell.state = state
            self.trace.handled(seq, "ok", len(effects), digest)
            if effects:
                self._carry_out(cell, inbox_n, seq, at_utc, effects, targets, raws)
            cell.in_hand = None
            cell.handled += 1
            cell.last_type = type(message)
            if cell.is_over_bound and len(cell.mailbox.critical) < self.mailbox_soft_bound // 2:
                cell.is_over_bound = False
            if self.is_timed:
                cell.durations_ns.append(time.perf_counter_ns() - cell.busy_since_ns)
        return True

    def _targets(self, sender: str, effects: Effects) -> Targets:
        """Say for each effect to which addresses it goes.

        Raises:
            KeyError: a role that nobody declared. TypeError: no effect.
        """
        targets: Targets = []
        for effect in effects:
            if type(effect) is Tell:
                to = effect.to
                targets.append((to,) if to in self.cells else self._addresses(sender, to))
            elif type(effect) in _OWN_EFFECTS:
                targets.append(_NO_TARGETS)
            else:
                raise TypeError(f"{effect!r} is no effect")
        return targets

    def _carry_out(
        self, cell: Cell, inbox_n: int, seq: int, at_utc: int, effects: Effects, targets: Targets,
        raws: list[bytes] | None,
    ) -> None:  # fmt: skip
        for k, effect in enumerate(effects):
            if type(effect) is Tell:
                raw, message_id = (b"", "") if raws is None else (raws[k], f"{cell.prefix}/{inbox_n}/{k}")
                for address in targets[k]:
                    self._deliver(address, Mail(effect.message, raw, cell.name, message_id, seq, at_utc))
            elif type(effect) is SetTimer:
                timer = cell.timers[effect.key] = Timer(effect.key, effect.at_utc, seq)
                self._arm(cell, timer)
            elif type(effect) is CancelTimer:
                cell.timers.pop(effect.key, None)
            else:
                self._carry_out_rare(cell, effect, seq)

    def _carry_out_rare(self, cell: Cell, effect: Any, seq: int) -> None:
        match effect:
            case Retire():
                cell.is_up = False
                cell.timers.clear()
                _release(cell)
                self._put_to_sleep(cell)
            case FenceActor():
                self._fence(effect)
            case StartActor():
                self._start_actor(effect.name, effect.restored, seq)
            case LatchEntries():
                self.latch(effect.why)
            case EndProcess():
                self.end(effect.why)

    def _timer_due(self, cell: Cell, timer: Timer) -> None:
        # Looked at again when it is taken: until then it may be cancelled, moved, or outlived by its incarnation.
        if cell.timers.get(timer.key) is not timer:
            return
        fired = lifecycle.TimerFired(key=timer.key, due_utc=timer.at_utc)
        if cell.mailbox.put(self._outside_mail(fired, f"timer:{cell.name}", timer)) and cell.is_up:
            self._wake(cell)

    # -- failures -------------------------------------------------------------------------------

    def _failed(self, cell: Cell, incarnation: int, error: BaseException) -> None:
        """End the incarnation whose decision raised (its own thread)."""
        with cell.fence:
            if not cell.is_current(incarnation):
                return  # a zombie: fenced while it was stuck; that was recorded and reported then
            _release(cell)
            self._end_incarnation(cell, error, is_stuck=False)
        if cell.name == SUPERVISOR:
            self._restart_supervisor(cell, error)

    def _fence(self, effect: FenceActor) -> None:
        """End a stuck incarnation (the supervisor's thread), unless it has come to life since."""
        cell = self.cells.get(effect.name)
        if cell is None:
            return
        if not cell.fence.acquire(timeout=_FENCE_WAIT_S):
            self.fail(f"{effect.name} is stuck handing on what it decided")
            return
        try:
            mail = cell.in_hand
            if cell.is_current(effect.incarnation) and mail is not None and mail.message_id == effect.message_id:
                # What an I/O actor holds is not released here: its thread may be using it. `open` does it.
                self._end_incarnation(cell, TimeoutError(f"stuck in {tag_of(mail.message)}"), is_stuck=True)
        finally:
            cell.fence.release()

    def _end_incarnation(self, cell: Cell, error: BaseException, is_stuck: bool) -> None:
        """Close the books of an incarnation with a message in hand (fence held): of that message nothing happened.

        Mail comes again while the actor is one that does I/O and has deliveries left, and is a dead letter otherwise;
        a `Started` is the runtime's own and is made afresh.
        """
        mail, actor = cell.in_hand, cell.actor
        assert mail is not None
        cell.in_hand = None
        cell.is_up = False
        cell.timers.clear()
        mail.deliveries += 1
        is_started = type(mail.message) is lifecycle.Started
        comes_again = isinstance(actor, IoActor) and mail.deliveries < actor.max_deliveries
        outcome = "fenced" if is_stuck else "crashed" if is_started or comes_again else "set_aside"
        self.trace.handled(cell.in_hand_seq, outcome, 0, "")
        if not is_started:
            if comes_again:
                cell.mailbox.put_back(mail)
            else:
                self._report_set_aside(cell.name, mail, sentence(error))
        self._report_crash(cell, cell.in_hand_seq, mail.message_id, error)

    def _report_crash(self, cell: Cell, seq: int, message_id: str, error: BaseException) -> None:
        cell.crashes += 1
        why = f"{cell.name} crashed: {sentence(error)}"
        if cell.spec.is_vital or cell.name == SUPERVISOR:
            self.latch(why)
        if cell.name != SUPERVISOR:
            crashed = lifecycle.ActorCrashed(
                name=cell.name, incarnation=cell.incarnation, seq=seq, message_id=message_id,
                error="".join(traceback.format_exception(error)[-6:]),
            )  # fmt: skip
            self.post(SUPERVISOR, crashed, RUNTIME)
        if cell.name != "notifier":  # an alarm that crashes the notifier must not beget alarms
            self._alarm(f"crash:{cell.name}", why)

    def _restart_supervisor(self, cell: Cell, error: BaseException) -> None:
        """Bring the supervisor back at once, and tell it who is not up: its memory of them is gone."""
        if cell.crashes > _SUPERVISOR_RESTARTS:
            self.end(f"the supervisor crashed {cell.crashes} times: {sentence(error)}")
            return
        self._start_actor(SUPERVISOR, None, 0)
        for name, other in self.cells.items():
            if not other.is_up:
                self.post(SUPERVISOR, lifecycle.ActorNeeded(name=name), RUNTIME)


def _release(cell: Cell) -> None:
    if isinstance(cell.actor, IoActor):
        with contextlib.suppress(BaseException):  # the incarnation is over either way, and `open` starts afresh
            cell.actor.close()
