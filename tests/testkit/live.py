"""A live runtime of toys: its threads take turns far more often than by default; a trace that many may write to."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from domain.units import Utc
from supervision.clock import Clock, MarketClock
from supervision.mailbox import Mail
from supervision.threaded import LiveRuntime
from supervision.trace import MemoryTrace
from tests.testkit.toys import ToyTree

Start = Callable[..., LiveRuntime]


def eventually(is_so: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Wait for what another thread will bring about."""
    pause = threading.Event()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if is_so():
            return True
        pause.wait(0.002)
    return is_so()


class LockedTrace(MemoryTrace):
    """A trace in memory that many threads may write to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._lock = threading.Lock()

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, Utc]:
        with self._lock:
            return super().receipt(to, incarnation, inbox_n, mail)


@contextmanager
def starter() -> Iterator[Start]:
    """Give what starts the runtime of a toy tree; stop all of them in the end."""
    running: list[LiveRuntime] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # races get their chance

    def begin(h: ToyTree, **more: Any) -> LiveRuntime:
        clock = MarketClock.real()
        runtime = LiveRuntime(h.tree, LockedTrace(clock), clock, 1, **more)
        running.append(runtime)
        runtime.start_tree()
        assert eventually(lambda: all(cell.is_up for cell in runtime.cells.values()))
        return runtime

    try:
        yield begin
    finally:
        for runtime in running:
            runtime.stop(2.0)
        sys.setswitchinterval(interval)


class FakeNs:
    """A clock that stands still unless it is set."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns
