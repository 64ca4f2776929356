"""The stepped runtime: the same actors, one thread, virtual time; the same seed gives the same trace.

Built on pykka's own extension points (`_create_actor_inbox`, `_create_future`, `_start_actor_loop`, pykka 4.5.0).
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pykka

from supervision.host import Cell, Host
from supervision.spec import Tree
from supervision.trace import MemoryTrace, Trace


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
    """A pykka inbox without a thread behind it: what is put is for the scheduler to hand out."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Any] = deque()

    def put(self, envelope: Any, /) -> None:
        self._waiting.append(envelope)

    def get(self) -> Any:
        return self._waiting.popleft()

    def empty(self) -> bool:
        return not self._waiting


class SteppedShell(pykka.Actor):
    """The stepped twin of a live shell: it has no loop; the scheduler calls `handle_next`."""

    @staticmethod
    def _create_actor_inbox() -> Any:
        return _Inbox()

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        raise RuntimeError("actors tell; only edges ask, and there are no edges in the stepped runtime")

    def _start_actor_loop(self) -> None:
        self.on_start()

    def __init__(self, host: Host, cell: Cell, incarnation: int) -> None:
        super().__init__()
        self.host = host
        self.cell = cell
        self.incarnation = incarnation


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
    ) -> None:
        super().__init__(tree, trace or MemoryTrace(clock), clock, run_n)
        self._virtual = clock
        self._ready: deque[Cell] = deque()
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._later_n = 0
        self._random = random.Random(shuffle_seed) if shuffle_seed is not None else None
        self.steps = 0

    def _wake(self, cell: Cell) -> None:
        self._ready.append(cell)

    def _start_shell(self, cell: Cell, incarnation: int) -> None:
        if cell.shell is not None:
            pykka.ActorRegistry.unregister(cell.shell)
        cell.shell = SteppedShell.start(self, cell, incarnation)
        self.open_actor(cell, incarnation)

    def _arm(self, cell: Cell, key: str, token: object, at_utc: int) -> None:
        self.call_at(at_utc, lambda: self._timer_due(cell, key, token, at_utc))

    def _on_end(self) -> None:
        """Nothing to do: `run_until` looks at `ended`."""

    def call_at(self, at_utc: int, act: Callable[[], None]) -> None:
        """Call `act` at a virtual instant (in-process ports live on this)."""
        self._later_n += 1
        heapq.heappush(self._later, (at_utc, self._later_n, act))

    def run_until(self, until_utc: int) -> None:
        """Handle everything that is due up to and including `until_utc`, then stand there."""
        self._drain()
        while self._later and self._later[0][0] <= until_utc and self.ended is None:
            at_utc, _, act = heapq.heappop(self._later)
            self._virtual.advance(at_utc)
            act()
            self._drain()
        self._virtual.advance(until_utc)

    def _drain(self) -> None:
        ready = self._ready
        if self._random is not None:
            self._drain_shuffled(self._random)
            return
        handle = self.handle_next
        while ready:
            cell = ready.popleft()
            self.steps += 1
            handle(cell, cell.incarnation)

    def _drain_shuffled(self, source: random.Random) -> None:
        ready = self._ready
        while ready:
            ready.rotate(-source.randrange(len(ready)))
            cell = ready.popleft()
            self.steps += 1
            self.handle_next(cell, cell.incarnation)

    def close(self) -> None:
        """Take the shells out of pykka's registry."""
        for cell in self.cells.values():
            if cell.shell is not None:
                pykka.ActorRegistry.unregister(cell.shell)
