"""The stepped runtime: the same actors, one thread, virtual time; the same seed gives the same trace.

Its loop is a twin of `Host.handle_next` for one thread: no fences, and wake-ups are cells in one queue. Both leave the
same bytes in the trace (a test holds them to it). The shells stand on pykka's own extension points
(`_create_actor_inbox`, `_create_future`, `_start_actor_loop`, pykka 4.5.0) and keep out of the loop's way.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pykka

from domain.units import Utc
from messages.envelope import HandlingOutcome
from supervision.cell import Cell
from supervision.effects import Tell
from supervision.host import Host
from supervision.mailbox import Mail, Timer
from supervision.outbox import outbox
from supervision.spec import Tree
from supervision.trace import MemoryTrace, Trace
from supervision.turn import Turn

_OK = HandlingOutcome.OK
_FIRST_N = -(1 << 62)
_RANK_N = 1 << 40


class VirtualClock:
    """Time that moves only when the scheduler moves it; `at_utc` is the virtual instant, for who reads it often."""

    __slots__ = ("at_utc",)

    def __init__(self, now_utc: Utc) -> None:
        self.at_utc = now_utc

    def now_utc(self) -> Utc:
        """Return the virtual instant, UTC ns."""
        return self.at_utc

    def advance(self, to_utc: Utc) -> None:
        """Move on; never back."""
        if to_utc > self.at_utc:  # noqa: PLR1730 - as in `NoTrace.receipt`
            self.at_utc = to_utc


class _Inbox:
    """A pykka inbox without a thread behind it: what is put here wakes the cell in the scheduler's one queue."""

    __slots__ = ("_cell", "_ready")

    def bind(self, ready: deque[Cell], cell: Cell) -> None:
        """Take note of whose inbox this is (pykka makes it before anybody knows)."""
        self._ready = ready
        self._cell = cell

    def put(self, _wake: object, /) -> None:
        """Have the scheduler step the cell once more."""
        self._ready.append(self._cell)

    def get(self) -> Any:
        """Return nothing: there is no loop that could wait."""
        raise RuntimeError("a stepped actor has no loop of its own")

    def empty(self) -> bool:
        """Return that nothing is left for a loop."""
        return True


class SteppedShell(pykka.Actor):
    """The stepped twin of a live shell, so that pykka knows the same actors in both runtimes; it has no loop."""

    @staticmethod
    def _create_actor_inbox() -> Any:
        return _Inbox()

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        raise RuntimeError("actors tell; only edges ask, and there are no edges in the stepped runtime")

    def _start_actor_loop(self) -> None:
        """Start no thread."""

    def __init__(self, cell: Cell, ready: deque[Cell]) -> None:
        super().__init__()
        inbox: Any = self.actor_inbox
        inbox.bind(ready, cell)


class SteppedRuntime(Host):
    """Virtual time and one ready queue. With `shuffle_seed` the order between recipients is drawn at random;
    what one recipient gets stays in order."""

    def __init__(
        self,
        tree: Tree,
        clock: VirtualClock,
        run_n: int = 1,
        trace: Trace | None = None,
        shuffle_seed: int | None = None,
        mailbox_soft_bound: int = 10_000,
    ) -> None:
        super().__init__(tree, trace or MemoryTrace(clock), clock, run_n, mailbox_soft_bound)
        self._virtual = clock
        self._ready: deque[Cell] = deque()
        self._later: list[tuple[Utc, int, Any, Cell | None]] = []  # a cell's timer, or what is called for nobody
        self._later_n = 0
        self._random = random.Random(shuffle_seed) if shuffle_seed is not None else None
        self.steps = 0

    def _wake(self, cell: Cell) -> None:
        self._ready.append(cell)

    def _start_shell(self, cell: Cell, incarnation: int) -> None:
        if cell.shell is not None:
            pykka.ActorRegistry.unregister(cell.shell)
        cell.shell = SteppedShell.start(cell, self._ready)
        cell.turn = Turn(cell.name, None, self._virtual.now_utc())

    def _arm(self, cell: Cell, timer: Timer) -> None:
        self._later_n += 1
        heapq.heappush(self._later, (timer.at_utc, self._later_n, timer, cell))

    def _on_end(self) -> None:
        """Nothing to do: `run_until` looks at `ended`."""

    def call_at(self, at_utc: Utc, act: Callable[[], None]) -> None:
        """Call `act` at a virtual instant (in-process ports live on this)."""
        self._later_n += 1
        heapq.heappush(self._later, (at_utc, self._later_n, act, None))

    def call_first_at(self, at_utc: Utc, rank: int, act: Callable[[], None]) -> None:
        """Call `act` at an instant before everything of a higher rank, and before everything without one."""
        self._later_n += 1
        heapq.heappush(self._later, (at_utc, _FIRST_N + rank * _RANK_N + self._later_n, act, None))

    def run_until(self, until_utc: Utc) -> None:
        """Handle everything that is due up to and including `until_utc`, then stand there.

        Where the process should end (`ended`) it stands still at once, like a process that is gone.
        """
        self._drain()
        while self._later and self._later[0][0] <= until_utc and self.ended is None:
            at_utc, _, due, cell = heapq.heappop(self._later)
            self._virtual.advance(at_utc)
            if cell is None:
                due()
            else:
                timer: Timer = due
                if cell.timers.get(timer.key) is not timer:  # most were disarmed since
                    continue
                self._timer_due(cell, timer)
            if self._ready:
                self._drain()
        if self.ended is None:
            self._virtual.advance(until_utc)

    def _drain(self) -> None:  # noqa: PLR0915 - each call fewer is a tenth of a message
        """Handle what is ready: `Host.handle_next` over and over, written out for one thread.

        A turn is the cell's own, used again for each message: nobody else can hold it while the next one runs.
        """
        ready, draw = self._ready, self._random
        records, receipt, handled = self.trace.records, self.trace.receipt, self.trace.handled
        steps, whole, raws, raw, message_id = 0, b"", None, b"", ""
        try:
            while ready and self.ended is None:
                if draw is not None:
                    ready.rotate(-draw.randrange(len(ready)))
                cell = ready.popleft()
                steps += 1
                if not cell.is_up:
                    continue
                waiting = cell.critical
                if waiting and waiting[0].timer is None and cell.started is None:
                    mail = waiting.popleft()
                else:
                    taken = cell.next_mail()
                    if taken is None:
                        continue
                    mail = taken
                cell.inbox_n = inbox_n = cell.inbox_n + 1
                seq, at_utc = receipt(cell.name, cell.incarnation, inbox_n, mail)
                message, state, turn = mail.message, cell.state, cell.turn
                turn.now = at_utc
                if state is not None:
                    turn.state = state.__copy__()
                effects = turn.effects
                target = None
                try:
                    cell.decide(turn, message)
                    if effects:
                        first = effects[0]
                        if type(first) is Tell and len(effects) == 1:
                            target = self.cells.get(first.to)
                        if target is None:
                            targets = self._targets(cell.name, effects)
                        if records:
                            whole, raws = outbox(effects)
                except KeyboardInterrupt:
                    raise  # a person at the terminal ends the run: nobody's bug
                except BaseException as error:
                    cell.in_hand, cell.in_hand_seq = mail, seq
                    self._failed(cell, cell.incarnation, error)
                    continue
                cell.state = turn.state
                if records:
                    handled(seq, _OK, len(effects), whole if effects else b"")
                if effects:
                    if target is None:
                        self._carry_out(cell, inbox_n, seq, at_utc, effects, targets, raws)
                    else:
                        if raws is not None:
                            raw, message_id = raws[0], f"{cell.prefix}/{inbox_n}/0"
                        self._put(target, Mail(first.message, raw, cell.name, message_id, seq, at_utc))
                    effects.clear()
                cell.handled += 1
                cell.last_type = type(message)
                if cell.is_over_bound and len(cell.critical) < self.mailbox_soft_bound // 2:
                    cell.is_over_bound = False
        finally:
            self.steps += steps

    def _put(self, cell: Cell, mail: Mail) -> None:
        # The post office's, written out: a call for the mailbox and one for the wake-up are a tenth of a message.
        if mail.message.CONFLATES:
            super()._put(cell, mail)
            return
        waiting = cell.critical
        waiting.append(mail)
        if cell.is_up:
            self._ready.append(cell)
        elif cell.is_asleep:
            self._rouse(cell)
        if len(waiting) > self.mailbox_soft_bound and not cell.is_over_bound:
            self._report_over_bound(cell)

    def close(self) -> None:
        """Release what the I/O actors hold, and take the shells out of pykka's registry."""
        for cell in self.cells.values():
            if cell.shell is not None:
                self.close_actor(cell, cell.incarnation)
        for cell in (*self.cells.values(), *self._asleep.values()):  # a retired actor's shell is in the registry still
            if cell.shell is not None:
                pykka.ActorRegistry.unregister(cell.shell)
