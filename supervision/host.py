"""The host of the actors: dequeue, record, decide, record, carry out. Both runtimes are this, with other wake-ups.

Locks, outermost first: a cell's fence, the post office's counters, the trace's own; the live runtime's lock on who
serves whom is taken last. The one fence that is taken while another is held is that of the actor whom the supervisor
starts or fences.
"""

from __future__ import annotations

import time
import traceback
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from domain.units import Utc
from messages import lifecycle
from messages.base import Message
from messages.envelope import HandlingOutcome, encode, tag_of
from messages.operator import Alarm
from messages.restored import Restored
from supervision.actor import AnyActor, IoActor
from supervision.cell import Cell, Decide
from supervision.clock import Clock
from supervision.effects import (
    CancelTimer,
    Effect,
    EndProcess,
    FenceActor,
    Publish,
    Retire,
    SetLatch,
    SetTimer,
    StartIncarnation,
    Tell,
)
from supervision.mailbox import Mail, Timer
from supervision.outbox import outbox
from supervision.post import RUNTIME, SUPERVISOR, PostOffice, sentence
from supervision.spec import Tree
from supervision.trace import Trace
from supervision.turn import Turn

_OWN_EFFECTS = frozenset((SetTimer, CancelTimer, Retire, FenceActor, StartIncarnation, SetLatch, EndProcess))
_SUPERVISOR_RESTARTS = 3  # in the life of the process, not in a window: nobody supervises the supervisor
_FENCE_WAIT_S = 1.0  # handing on effects takes microseconds; who holds a fence for longer is stuck in a port's sink
_NO_TARGETS: tuple[str, ...] = ()

Targets = list[tuple[str, ...]]


class Host(PostOffice):
    """Starts incarnations, has them handle their mail one by one, and ends those that fail.

    The life of an incarnation, and in which thread (the stepped runtime has one for all):

    1. `StartIncarnation` makes the actor and its shell, in the supervisor's thread; what raises here is a crash too.
    2. `Started` is its first mail, handled in its own thread like all mail; an I/O actor's `open` runs right before it.
       (Which thread is a pure actor's own may change between two messages: `supervision/threaded.py`.)
    3. A message is received, decided on, and its outcome recorded; then the effects are carried out, in order.
    4. It ends in its own thread, where an I/O actor's `close` runs: by `Retire`, when the process stops, or when it
       raises. Or it is fenced while it is stuck, in the supervisor's thread: `close` does not run, and what it still
       decides is refused.

    Whatever it raises is caught, `SystemExit` as well, by which pykka would stop every actor. A `KeyboardInterrupt` is
    Ctrl-C, nobody's bug, and ends a stepped run; the threads of the live runtime never get one (Python raises it in the
    main thread, where no actor runs).

    `ended` says why the process should end; `None` while it may go on.
    """

    is_timed = False  # whether handling times are measured

    def __init__(self, tree: Tree, trace: Trace, clock: Clock, run_n: int, mailbox_soft_bound: int = 10_000) -> None:
        super().__init__(tree, trace, clock, run_n, mailbox_soft_bound)
        self.ended: str | None = None
        self.is_stopping = False

    # -- what a runtime adds --------------------------------------------------------------------

    def wake(self, cell: Cell) -> None:
        """See to it that whoever has the cell now calls `handle_next` once more."""
        self._wake(cell)

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
        """End this process: set the latch, then ask for the end."""
        self.latch(why)
        self.end(why)

    def _start_actor(self, name: str, restored: Restored | None, cause_seq: int) -> None:
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
                cell.actor, cell.decide = actor, _decide_of(actor)
                self._start_shell(cell, incarnation)
            except KeyboardInterrupt:
                raise  # see `Host`
            except BaseException as error:
                if name == SUPERVISOR:
                    self.fail(f"the supervisor cannot be made: {sentence(error)}")
                self._report_crash(cell, 0, None, error)
                return
            cell.is_up = True
        for _ in range(cell.mailbox.depth() + 1):  # `Started`, and what came while nobody was there
            self._wake(cell)

    def close_actor(self, cell: Cell, incarnation: int) -> None:
        """End an incarnation in peace (its own thread, at a stop): release what it holds."""
        with cell.fence:
            if cell.is_current(incarnation):
                cell.is_up = False
                _release(cell)

    # -- one message ----------------------------------------------------------------------------

    def handle_next(self, cell: Cell, incarnation: int, shell: Any = None) -> bool:
        """Handle one message of this incarnation; return False when there was none, or the incarnation is over.

        `shell` is who does it, where the runtime has several: it hands on the wake-up where another one has the cell.
        """
        with cell.fence:
            if not cell.is_current(incarnation) or self.is_stopping:
                return False
            if shell is not None and (cell.shell is not shell or cell.in_hand is not None):
                self.wake(cell)
                return True
            mail = cell.next_mail()
            if mail is None:
                return False
            cell.inbox_n = inbox_n = cell.inbox_n + 1
            decide, state = cell.decide, cell.state
            seq, at_utc = self.trace.receipt(cell.name, incarnation, inbox_n, mail)
            if self.is_timed:
                cell.busy_since_ns = time.perf_counter_ns()
            cell.in_hand_seq = seq
            cell.in_hand = mail
        message = mail.message
        turn: Turn[Any] = Turn(cell.name, None if state is None else state.__copy__(), at_utc)
        try:
            decide(turn, message)
            effects = turn.effects
            # All that can fail comes before anything has happened: unknown roles and effects, what cannot be encoded.
            targets = self._targets(cell.name, effects)
            whole, raws = outbox(effects) if self.trace.records else (b"", None)
        except BaseException as error:
            self._failed(cell, incarnation, error)
            return False
        with cell.fence:
            if not cell.is_current(incarnation):
                return False  # a zombie: fenced while it was stuck; that was recorded and reported then
            cell.state = turn.state
            self.trace.handled(seq, HandlingOutcome.OK, len(effects), whole)
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

    def _targets(self, sender: str, effects: Sequence[Effect]) -> Targets:
        """Return for each effect to which addresses it goes.

        Raises:
            KeyError: a role that nobody declared.
            TypeError: an effect that is none.
        """
        targets: Targets = []
        cells = self.cells
        for effect in effects:
            if type(effect) is Tell:
                to = effect.to
                targets.append((to,) if to in cells else self._addresses(sender, to))
            elif type(effect) is Publish:
                targets.append(self._subscriptions.addresses(sender, effect.event, cells))
            elif type(effect) in _OWN_EFFECTS:
                targets.append(_NO_TARGETS)
            else:
                raise TypeError(f"{effect!r} is no effect")
        return targets

    def _carry_out(
        self, cell: Cell, inbox_n: int, seq: int, at_utc: Utc, effects: Sequence[Effect], targets: Targets,
        raws: list[bytes] | None,
    ) -> None:  # fmt: skip
        """Carry out what a turn decided, in order; an event that nobody hears stands on record alone."""
        observers = self.observers
        for k, effect in enumerate(effects):
            message: Message
            if type(effect) is Tell:
                message, to = effect.message, effect.to
            elif type(effect) is Publish:
                message, to = effect.event, ""
            else:
                self._carry_out_own(cell, effect, seq)
                continue
            if observers and type(message) in observers:
                observers[type(message)](message, to, cell.name)
            raw, message_id = (b"", "") if raws is None else (raws[k], f"{cell.prefix}/{inbox_n}/{k}")
            for address in targets[k]:
                mail, there = Mail(message, raw, cell.name, message_id, seq, at_utc), self.cells.get(address)
                if there is None:
                    self._deliver_elsewhere(address, mail)
                else:
                    self._put(there, mail)
            if not targets[k] and type(effect) is Publish:
                self._record(Mail(message, raw, cell.name, message_id, seq, at_utc))

    def is_idle(self, name: str) -> bool:
        """Return whether an actor has nothing in hand and no mail that it must take (from any thread)."""
        cell = self.cells.get(name)
        if cell is None:
            return True
        if not cell.fence.acquire(blocking=False):
            return False
        try:
            return cell.is_up and cell.in_hand is None and cell.started is None and not cell.critical
        finally:
            cell.fence.release()

    def _carry_out_own(self, cell: Cell, effect: Effect, seq: int) -> None:
        """Carry out what concerns the actor itself, or is the supervisor's to ask for."""
        match effect:
            case SetTimer():
                timer = Timer(effect.kind, effect.subject, effect.at_utc, seq, effect.excused_ms)
                cell.timers[timer.key] = timer
                self._arm(cell, timer)
            case CancelTimer():
                cell.timers.pop((effect.kind, effect.subject), None)
            case Retire():
                cell.is_up = False
                cell.timers.clear()
                _release(cell)
                self._put_to_sleep(cell)
                self.post(SUPERVISOR, lifecycle.ActorRetired(name=cell.name), RUNTIME)
            case FenceActor():
                self._fence(effect)
            case StartIncarnation():
                self._start_actor(effect.name, effect.restored, seq)
            case SetLatch():
                self.latch(effect.why)
            case EndProcess():
                self.end(effect.why)

    def _starved_ms(self, since_utc: Utc, starved_ns: int) -> int:
        """Return for how much of the market time since then the machine kept this process waiting for a processor."""
        return 0

    def _timer_due(self, cell: Cell, timer: Timer) -> None:
        # Looked at again when it is taken: until then it may be cancelled, moved, or outlived by its incarnation.
        if cell.timers.get(timer.key) is not timer:
            return
        kind, subject = timer.key
        fired = lifecycle.TimerFired(
            kind=kind, subject=subject, due_utc=timer.at_utc,
            starved_ms=0 if timer.began is None else self._starved_ms(*timer.began), excused_ms=timer.excused_ms,
        )  # fmt: skip
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
        if is_stuck:
            outcome = HandlingOutcome.FENCED
        else:
            outcome = HandlingOutcome.CRASHED if is_started or comes_again else HandlingOutcome.DEAD_LETTERED
        self.trace.handled(cell.in_hand_seq, outcome, 0, b"")
        if not is_started:
            if comes_again:
                cell.mailbox.put_back(mail)
            else:
                self._report_dead_letter(cell.name, mail, sentence(error))
        self._report_crash(cell, cell.in_hand_seq, mail, error)

    def _report_crash(self, cell: Cell, seq: int, mail: Mail | None, error: BaseException) -> None:
        cell.crashes += 1
        why = f"{cell.name} crashed: {sentence(error)}"
        if cell.spec.policy.latch_on_crash or cell.name == SUPERVISOR:
            self.latch(why, cell.spec.policy.group)
        if cell.name != SUPERVISOR:
            crashed = lifecycle.ActorCrashed(
                name=cell.name, incarnation=cell.incarnation, seq=seq,
                message_id="" if mail is None else mail.message_id,
                error=_story(error),
            )  # fmt: skip
            self.post(SUPERVISOR, crashed, RUNTIME)
        if mail is None or type(mail.message) is not Alarm:  # an alarm that crashes its reader must not beget alarms
            self._alarm(f"crash:{cell.name}", why)

    def _restart_supervisor(self, cell: Cell, error: BaseException) -> None:
        """Bring the supervisor back at once, and tell it who is down or lives on demand: its memory of them is gone."""
        if cell.crashes > _SUPERVISOR_RESTARTS:
            self.end(f"the supervisor crashed {cell.crashes} times: {sentence(error)}")
            return
        self._start_actor(SUPERVISOR, None, 0)
        for name, other in self.cells.items():
            if not other.is_up or self.tree.is_on_demand(name):
                self.post(SUPERVISOR, lifecycle.StartActor(name=name), RUNTIME)


def _decide_of(actor: AnyActor) -> Decide:
    """Return what handles a message; an actor that does I/O acquires what it needs when its `Started` comes."""
    if not isinstance(actor, IoActor):
        return actor.decide

    def handle(turn: Turn[Any], message: Any) -> None:
        if type(message) is lifecycle.Started:
            actor.open()
        actor.handle(turn, message)

    return handle


def _story(error: BaseException) -> str:
    """Return what was raised and where, without the loop's own frame: it is the same in every runtime."""
    where = error.__traceback__
    story = traceback.format_exception(type(error), error, where.tb_next if where is not None else None)
    return "".join(story[-6:])


def _release(cell: Cell) -> None:
    if isinstance(cell.actor, IoActor):
        try:
            cell.actor.close()
        except KeyboardInterrupt:
            raise  # see `Host`
        except BaseException:  # the incarnation is over either way, and `open` starts afresh
            pass
