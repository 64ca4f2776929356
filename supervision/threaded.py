"""The live runtime: a pykka thread per actor; the pykka inbox carries wake-ups, the mail stands in the mailboxes."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka

from domain.units import Utc
from messages import lifecycle
from messages.base import Message
from supervision.cell import Cell
from supervision.clock import MarketClock
from supervision.host import Host
from supervision.mailbox import Timer
from supervision.post import sentence
from supervision.spec import Tree
from supervision.trace import Trace

_WAKE = object()
_LOOK_AGAIN_S = 1.0  # the market clock stands on the wall clock, which may be set while a timer waits


class LiveShell(pykka.ThreadingActor):
    """The thread of one incarnation; nothing that its actor raises gets past `on_receive`."""

    use_daemon_thread = True

    @staticmethod
    def _create_actor_inbox() -> Any:
        # SimpleQueue: seven times the throughput of pykka's own queue.Queue (pykka 4.5.0; a test holds the hook).
        return queue.SimpleQueue()

    def __init__(self, host: Host, cell: Cell, incarnation: int) -> None:
        super().__init__()
        self._host = host
        self._cell = cell
        self._incarnation = incarnation

    def on_start(self) -> None:
        """Make the thread known to the watchdog."""
        self._cell.thread = threading.current_thread()

    def on_receive(self, message: object) -> None:
        """Handle one mail per wake-up; stop once the incarnation is over."""
        try:
            if self._host.handle_next(self._cell, self._incarnation):
                return
        except BaseException as error:  # a bug of the runtime's own: no actor's exception gets here
            self._host.fail(f"the runtime failed in {self._cell.name}: {sentence(error)}")
        if self._host.is_stopping or not self._cell.is_current(self._incarnation):
            self.stop()

    def on_stop(self) -> None:
        """Release what an I/O actor holds, in its own thread."""
        self._host.close_actor(self._cell, self._incarnation)


class LiveRuntime(Host):
    """Threads, real timers, edges that ask."""

    is_timed = True

    def __init__(
        self,
        tree: Tree,
        trace: Trace,
        clock: MarketClock,
        run_n: int,
        sync_every_s: float = 0.1,
        mailbox_soft_bound: int = 10_000,
    ) -> None:
        super().__init__(tree, trace, clock, run_n, mailbox_soft_bound)
        self._market_clock = clock
        self._timers: list[tuple[Utc, int, Cell, Timer]] = []
        self._timer_n = 0
        self._timers_changed = threading.Condition()
        self._sync_every_s = sync_every_s
        self._stop_wanted = threading.Event()
        self.end_wanted = threading.Event()
        self._helpers = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for name, work in (("timers", self._run_timers), ("sync", self._run_sync))
        ]
        for helper in self._helpers:
            helper.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run a helper thread; its death would be silent and the process without timers, so that ends the process."""
        try:
            work()
        except BaseException as error:
            self.fail(f"the thread {threading.current_thread().name!r} failed: {sentence(error)}")

    def _wake(self, cell: Cell) -> None:
        try:
            cell.shell.tell(_WAKE)
        except pykka.ActorDeadError:
            return  # the mail stays; the next incarnation is woken for all of it

    def _start_shell(self, cell: Cell, incarnation: int) -> None:
        cell.shell = LiveShell.start(self, cell, incarnation)

    def _arm(self, cell: Cell, timer: Timer) -> None:
        with self._timers_changed:
            self._timer_n += 1
            heapq.heappush(self._timers, (timer.at_utc, self._timer_n, cell, timer))
            if self._timers[0][3] is timer:
                self._timers_changed.notify()

    def _on_end(self) -> None:
        self.end_wanted.set()

    def _run_timers(self) -> None:
        while not self.is_stopping:
            with self._timers_changed:
                wait_s = self._market_clock.real_wait_s(self._timers[0][0]) if self._timers else _LOOK_AGAIN_S
                if wait_s > 0:
                    self._timers_changed.wait(min(wait_s, _LOOK_AGAIN_S))
                    continue
                _, _, cell, timer = heapq.heappop(self._timers)
            self._timer_due(cell, timer)

    def _run_sync(self) -> None:
        while not self._stop_wanted.wait(self._sync_every_s):
            self.trace.sync()
            if self.trace.failed is not None and self.latched is None:
                self.latch(self.trace.failed)
                self._halt("trace", self.trace.failed)

    def ask(self, edge: str, to: str, message: Message, timeout_s: float) -> Message | None:
        """Tell `message` (whose `reply_to` is `edge:<edge>`) and wait for the answer; `None` when none came in time.

        A mailbox over its soft bound takes nothing more from edges: `CommandFailed` says so at once.

        Raises:
            ValueError: somebody is asking as this edge already.
        """
        answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        take = answers.put
        address = f"edge:{edge}"
        cell = self.cells.get(to)
        if cell is not None and cell.is_over_bound:
            return lifecycle.CommandFailed(name=to, error="too many messages are waiting there; try again later")
        if self.sinks.setdefault(address, take) is not take:
            raise ValueError(f"{address} is asking already")
        try:
            self.post(to, message, address)
            return answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        finally:
            self.sinks.pop(address, None)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Let each actor finish what it has in hand and nothing more; False when some did not within the time."""
        self.is_stopping = True
        self._stop_wanted.set()
        with self._timers_changed:
            self._timers_changed.notify_all()
        up = [cell for cell in self.cells.values() if cell.is_up]
        for cell in up:
            self._wake(cell)
        deadline = time.monotonic() + timeout_s
        for thread in (*self._helpers, *(cell.thread for cell in up if cell.thread is not None)):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(cell.thread is not None and cell.thread.is_alive() for cell in up)
