"""The stepped runtime: the same actors, one thread, virtual time; the same seed gives the same trace.

Built on pykka's own extension points (`_create_actor_inbox`, `_create_future`, `_start_actor_loop`, pykka 4.5.0).
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import pykka

from supervision.cell import Cell
from supervision.host import Host
from supervision.mailbox import Timer
from supervision.spec import Tree
from supervision.trace import MemoryTrace, Trace

_WAKE = object()


class VirtualClock:
    """Time that moves only when the scheduler moves it."""

    def __init__(self, now_utc: int) -> None:
        self._now_utc = now_utc

    @property
    def rate(self) -> float:
        """Virtual time is market time."""
        return 1.0

    def now_utc(self) -> int:
        """Give the virtual instant, UTC ns."""
        return self._now_utc

    def advance(self, to_utc: int) -> None:
        """Move on; never back."""
        self._now_utc = max(self._now_utc, to_utc)


class _Inbox:
    """A pykka inbox without a thread behind it: a wake-up put here stands in the scheduler's one queue."""

    __slots__ = ("_ready", "_shell")

    def bind(self, ready: deque[SteppedShell], shell: SteppedShell) -> None:
        """Say whose inbox this is (pykka makes it before anybody knows)."""
        self._ready = ready
        self._shell = shell

    def put(self, _wake: object, /) -> None:
        """Have the scheduler step the shell once more."""
        self._ready.append(self._shell)

    def get(self) -> Any:
        """Give nothing to wait for: the scheduler hands out the steps."""
        raise RuntimeError("a stepped actor has no loop of its own")

    def empty(self) -> bool:
        """Say that nothing is left for a loop."""
        return True


class SteppedShell(pykka.Actor):
    """The stepped twin of a live shell: it has no loop; the scheduler calls `on_receive` once per wake-up."""

    @staticmethod
    def _create_actor_inbox() -> Any:
        return _Inbox()

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        raise RuntimeError("actors tell; only edges ask, and there are no edges in the stepped runtime")

    def _start_actor_loop(self) -> None:
        """Start no thread."""

    def __init__(self, host: Host, cell: Cell, incarnation: int, ready: deque[SteppedShell]) -> None:
        super().__init__()
        self._handle_next = host.handle_next
        self._cell = cell
        self._incarnation = incarnation
        inbox: Any = self.actor_inbox
        inbox.bind(ready, self)

    def on_receive(self, message: object) -> None:
        """Handle one mail per wake-up."""
        self._handle_next(self._cell, self._incarnation)


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
        self._ready: deque[SteppedShell] = deque()
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._later_n = 0
        self._random = random.Random(shuffle_seed) if shuffle_seed is not None else None
        self.steps = 0

    def _wake(self, cell: Cell) -> None:
        cell.shell.actor_inbox.put(_WAKE)

    def _start_shell(self, cell: Cell, incarnation: int) -> None:
        if cell.shell is not None:
            pykka.ActorRegistry.unregister(cell.shell)
        cell.shell = SteppedShell.start(self, cell, incarnation, self._ready)

    def _arm(self, cell: Cell, timer: Timer) -> None:
        self.call_at(timer.at_utc, partial(self._timer_due, cell, timer))

    def _on_end(self) -> None:
        """Nothing to do: `run_until` looks at `ended`."""

    def call_at(self, at_utc: int, act: Callable[[], None]) -> None:
        """Call `act` at a virtual instant (in-process ports live on this)."""
        self._later_n += 1
        heapq.heappush(self._later, (at_utc, self._later_n, act))

    def run_until(self, until_utc: int) -> None:
        """Handle everything that is due up to and including `until_utc`, then stand there.

        Where the process should end (`ended`) it stands still at once, like a process that is gone.
        """
        self._drain()
        while self._later and self._later[0][0] <= until_utc and self.ended is None:
            at_utc, _, act = heapq.heappop(self._later)
            self._virtual.advance(at_utc)
            act()
            self._drain()
        if self.ended is None:
            self._virtual.advance(until_utc)

    def _drain(self) -> None:
        ready, draw = self._ready, self._random
        while ready and self.ended is None:
            if draw is not None:
                ready.rotate(-draw.randrange(len(ready)))
            self.steps += 1
            ready.popleft().on_receive(_WAKE)

    def close(self) -> None:
        """Release what the I/O actors hold, and take the shells out of pykka's registry."""
        for cell in self.cells.values():
            if cell.shell is not None:
                self.close_actor(cell, cell.incarnation)
                pykka.ActorRegistry.unregister(cell.shell)
