"""The live runtime: a pykka thread per actor; the pykka inbox carries wake-ups, the mail stands in the mailboxes."""

from __future__ import annotations

import heapq
import queue
import threading
from typing import Any

import pykka

from messages.base import Message
from supervision.clock import MarketClock
from supervision.host import Cell, Host
from supervision.spec import Tree
from supervision.trace import Trace

_WAKE = object()


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
        self._is_open = False

    def on_receive(self, message: object) -> None:
        """Handle one mail per wake-up."""
        if not self._is_open:
            if not self._host.open_actor(self._cell, self._incarnation):
                self.stop()
                return
            self._is_open = True
        if not self._host.handle_next(self._cell, self._incarnation) and (
            not self._cell.is_up or self._cell.incarnation != self._incarnation
        ):
            self.stop()

    def on_stop(self) -> None:
        """Release what an I/O actor holds, in its own thread."""
        actor = self._cell.actor if self._cell.incarnation == self._incarnation else None
        close = getattr(actor, "close", None)
        if close is not None:
            close()


class LiveRuntime(Host):
    """Threads, real timers, edges that ask."""

    def __init__(self, tree: Tree, trace: Trace, clock: MarketClock, run_n: int, sync_every_s: float = 0.1) -> None:
        super().__init__(tree, trace, clock, run_n)
        self._market_clock = clock
        self._timers: list[tuple[int, int, Cell, str, object]] = []
        self._timer_n = 0
        self._timers_changed = threading.Condition()
        self._sync_every_s = sync_every_s
        self._is_running = True
        self.end_wanted = threading.Event()
        for target in (self._run_timers, self._run_sync):
            threading.Thread(target=target, name=target.__name__.strip("_"), daemon=True).start()

    def _wake(self, cell: Cell) -> None:
        try:
            cell.shell.tell(_WAKE)
        except pykka.ActorDeadError:
            return  # the mail stays; the next incarnation is woken for all of it

    def _start_shell(self, cell: Cell, incarnation: int) -> None:
        cell.shell = LiveShell.start(self, cell, incarnation)

    def _arm(self, cell: Cell, key: str, token: object, at_utc: int) -> None:
        with self._timers_changed:
            self._timer_n += 1
            heapq.heappush(self._timers, (at_utc, self._timer_n, cell, key, token))
            self._timers_changed.notify()

    def _on_end(self) -> None:
        self.end_wanted.set()

    def _run_timers(self) -> None:
        while self._is_running:
            with self._timers_changed:
                wait_s = self._market_clock.real_wait_s(self._timers[0][0]) if self._timers else None
                if wait_s is None or wait_s > 0:
                    self._timers_changed.wait(wait_s)
                    continue
                due_utc, _, cell, key, token = heapq.heappop(self._timers)
            self._timer_due(cell, key, token, due_utc)

    def _run_sync(self) -> None:
        pause = threading.Event()
        while self._is_running:
            pause.wait(self._sync_every_s)
            if self._is_running:
                self.trace.sync()

    def ask(self, edge: str, to: str, message: Message, timeout_s: float) -> Message | None:
        """Tell `message` (whose `reply_to` is `edge:<edge>`) and wait for the answer; `None` when none came in time."""
        answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        address = f"edge:{edge}"
        self.sinks[address] = answers.put
        try:
            self.post(to, message, address)
            return answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        finally:
            self.sinks.pop(address, None)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Fence every actor, let each finish what it has in hand, stop the helpers' threads."""
        for cell in list(self.cells.values()):
            cell.is_up = False
            if cell.shell is not None:
                self._wake(cell)
        deadline = threading.Event()
        for cell in list(self.cells.values()):
            if cell.shell is not None and cell.shell.is_alive():
                cell.shell.actor_stopped.wait(timeout_s)
        self._is_running = False
        with self._timers_changed:
            self._timers_changed.notify_all()
        deadline.set()
