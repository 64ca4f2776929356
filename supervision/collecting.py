"""Garbage collection in idle moments: Python's own comes when enough was made, on whichever path that happens to be.

A collection holds the interpreter: of the youngest objects for a fifth of a millisecond, of all objects of a whole tree
for 50 to 70 (whoever is about to sell waits that long). So what stands at the start is set aside for good, and the rest
is collected by a thread of its own, when no actor has anything to do: young objects as often as Python would, all of
them at most every ten minutes. An actor that has nothing to do now may have a stop to execute a millisecond later.

A run on virtual time has no idle moments, and hardly anything in it that reference counts do not free: Python would
look at thousands of living objects again and again. It collects less often there (`collected_seldom`).
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Self

LOOK_EVERY_S: Final = 0.1
WHOLE_EVERY_S: Final = 600.0
WHOLE: Final = 2  # the generation of all objects
OVERDUE: Final = 100  # times the youngest generation's threshold: so much is collected whoever is busy
SELDOM: Final = (20_000, 10, 10)  # thresholds of a run on virtual time: Python's own are 700, 10, 10


class IdleCollector:
    """Collects in this process while nobody is busy, and puts Python's own collector to rest meanwhile.

    Args:
        is_idle: whether nothing is under way now; asked from a thread of the collector's own.
        now_s: a clock that never goes back, s.
    """

    def __init__(self, is_idle: Callable[[], bool], now_s: Callable[[], float] = time.monotonic) -> None:
        self._is_idle = is_idle
        self._now_s = now_s
        self._whole_due_s = now_s() + WHOLE_EVERY_S
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def started(self) -> Self:
        """Return itself, having collected everything once and set aside what is left, and looking for idle moments."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self._thread.start()
        return self

    def close(self) -> None:
        """Let Python collect by itself again."""
        self._closing.set()
        self._thread.join()
        gc.unfreeze()

    def look(self) -> None:
        """Collect what is due, unless somebody is busy and it is not overdue."""
        counts, thresholds, now_s = gc.get_count(), gc.get_threshold(), self._now_s()
        oldest = WHOLE if now_s >= self._whole_due_s else WHOLE - 1
        generation = due(counts[: oldest + 1], thresholds[: oldest + 1])
        if generation is not None and (counts[0] > OVERDUE * thresholds[0] or self._is_idle()):
            gc.collect(generation)
            if generation == WHOLE:
                self._whole_due_s = now_s + WHOLE_EVERY_S

    def _run(self) -> None:
        try:
            while not self._closing.wait(LOOK_EVERY_S):
                self.look()
        finally:
            gc.enable()  # whatever ends this thread: nobody else collects


def due(counts: Sequence[int], thresholds: Sequence[int]) -> int | None:
    """Return the oldest generation that Python would collect now (`gc.get_count`, `gc.get_threshold`); `None`: none."""
    if counts[0] <= thresholds[0]:
        return None
    return max(n for n, (count, threshold) in enumerate(zip(counts, thresholds, strict=True)) if count > threshold)


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Let Python collect seldom while a block runs; whoever runs it collects what it left, when it is over."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
