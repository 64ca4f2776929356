"""How long this process wanted to run and was given no processor; such time is nobody's fault."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final

_TASKS: Final = "/proc/self/task"


class Starvation:
    """How long this process wanted to run and was given no processor, ns, as a thread that only waits finds out.

    Where the kernel counts how long threads stood in the queue for a processor, the longest counts, as far as nothing
    of the process ran meanwhile: on a busy machine who only waits is woken soon, and who computes is kept waiting.
    Where it does not, the thread's lateness counts by the share of the time in which nothing of the process ran:
    whoever computes and keeps the interpreter lock makes that thread late, too, and should be reported.
    """

    def __init__(self, every_ns: int, now_ns: int, cpu_ns: int) -> None:
        self._every_ns = every_ns
        self._last_ns, self._last_cpu_ns = now_ns, cpu_ns
        self.total_ns = 0

    def beat(self, now_ns: int, cpu_ns: int, queued_ns: int = 0) -> None:
        """Take note that the thread runs again, which it meant to `every_ns` after it began to wait.

        Args:
            now_ns: of a clock that goes on while the process does not.
            cpu_ns: the processor time that all threads of the process have had so far.
            queued_ns: how long one of its threads has stood in the queue since the last note; 0 where nobody counts.
        """
        since_ns, ran_ns = now_ns - self._last_ns, cpu_ns - self._last_cpu_ns
        idle_ns = max(0, since_ns - ran_ns)
        late_ns = max(0, since_ns - self._every_ns)
        by_lateness_ns = late_ns * idle_ns // since_ns if late_ns else 0
        self.total_ns += max(by_lateness_ns, min(idle_ns, queued_ns))

    def rest(self, now_ns: int, cpu_ns: int) -> None:
        """Take note that the thread begins to wait: what it has done until now made it late by its own fault."""
        self._last_ns, self._last_cpu_ns = now_ns, cpu_ns


class Queued:
    """How long a thread of this process stood in the queue for a processor, as Linux counts it.

    Args:
        tasks: the folder of the threads, each with its `schedstat`.
    """

    def __init__(self, tasks: str = _TASKS) -> None:
        self._tasks = tasks
        self._last: dict[str, int] = {}
        self.since_last_ns()

    def since_last_ns(self) -> int:
        """Return what the thread that lost most has lost since the last call, ns; 0 where the kernel does not tell.

        Threads that stand there at the same time lose the same time, so that their sum would say nothing.
        """
        last, now = self._last, {}
        try:
            threads = os.listdir(self._tasks)
        except OSError:
            return 0
        for thread in threads:
            try:
                with open(f"{self._tasks}/{thread}/schedstat", "rb", buffering=0) as file:
                    now[thread] = int(file.read(80).split()[1])
            except (OSError, ValueError, IndexError):
                continue  # it has ended since, or this kernel does not count
        self._last = now
        return max((0, *(queued_ns - last.get(thread, 0) for thread, queued_ns in now.items())))


class StarvationMeter:
    """Reads the machine for a `Starvation`; from any thread.

    Args:
        every_ms: how long the thread that calls `beat` and `rest` waits between them.
        now_ns: a clock that goes on while the process does not.
        cpu_ns: reads the processor time of the process.
        queued_ns: reads how long one of its threads has stood in the queue since the last reading.
    """

    def __init__(
        self, every_ms: int, now_ns: Callable[[], int] = time.perf_counter_ns,
        cpu_ns: Callable[[], int] = time.process_time_ns, queued_ns: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        self._now_ns, self._cpu_ns = now_ns, cpu_ns
        self._queued_ns = Queued().since_last_ns if queued_ns is None else queued_ns
        self._starvation = Starvation(every_ms * 1_000_000, now_ns(), cpu_ns())
        self._lock = threading.Lock()

    @property
    def total_ns(self) -> int:
        """The sum at the last beat or look."""
        return self._starvation.total_ns

    def beat(self) -> int:
        """Take note that the waiting thread runs again; return the sum."""
        with self._lock:
            self._starvation.beat(self._now_ns(), self._cpu_ns(), self._queued_ns())
            return self._starvation.total_ns

    def rest(self) -> None:
        """Take note that the thread begins to wait."""
        with self._lock:
            self._starvation.rest(self._now_ns(), self._cpu_ns())

    def look(self) -> int:
        """Return the sum up to now."""
        with self._lock:
            now_ns, cpu_ns = self._now_ns(), self._cpu_ns()
            self._starvation.beat(now_ns, cpu_ns, self._queued_ns())
            self._starvation.rest(now_ns, cpu_ns)
            return self._starvation.total_ns
