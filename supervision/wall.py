"""The wall clock, watched beside a market clock that does not stand on it.

The rule: market time never follows a step. A deviation of up to `STEP_NS` is slewed away at `SLEW` (time servers set
clocks by such amounts); a greater one is told once, and stays until the supervisor is started anew, which reads the
wall clock afresh. Which of the two clocks is right, only the broker's time says (`broker.ClockRead`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from supervision.clock import MarketClock

STEP_NS: Final = 500_000_000
SLEW: Final = 0.0005  # half a millisecond a second, as the kernel slews
EVERY_S: Final = 1.0
DOUBT_NS: Final = 20_000_000


class WallStep(msgspec.Struct, frozen=True):
    """The wall clock now reads `offset_ns` more than the market clock (less, where negative)."""

    offset_ns: int


class WallWatch(msgspec.Struct):
    """What has been told of the wall clock: the deviation told last."""

    told_ns: int = 0

    def look(self, offset_ns: int) -> WallStep | None:
        """Take note of a deviation; return a step that has not been told yet (also one that leads back)."""
        if abs(offset_ns - self.told_ns) <= STEP_NS:
            return None
        self.told_ns = 0 if abs(offset_ns) <= STEP_NS else offset_ns
        return WallStep(offset_ns)


def slewed(offset_ns: int) -> float:
    """Return the rate that takes a small deviation away; that of the monotonic clock where there is none or a step."""
    if abs(offset_ns) <= 1_000_000 or abs(offset_ns) > STEP_NS:
        return 1.0
    return 1.0 + SLEW if offset_ns > 0 else 1.0 - SLEW


class WallWatcher:
    """A thread that compares the wall clock with the market's once a second, from its making to its closing.

    Args:
        clock: the market's.
        tell: takes each step; called from this thread.
        wall_ns: reads the wall clock.
    """

    def __init__(
        self, clock: MarketClock, tell: Callable[[WallStep], None], wall_ns: Callable[[], int] = time.time_ns,
        every_s: float = EVERY_S,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._tell = tell
        self._wall_ns = wall_ns
        self._every_s = every_s
        self._watch = WallWatch()
        self._stop_wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wall", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop_wanted.set()
        self._thread.join()

    def look(self) -> None:
        """Compare once."""
        before_utc = self._clock.now_utc()
        wall_ns = self._wall_ns()
        after_utc = self._clock.now_utc()
        if after_utc - before_utc > DOUBT_NS:
            return  # this thread was held up between the readings: the next look will tell
        offset_ns = wall_ns - (before_utc + after_utc) // 2
        step = self._watch.look(offset_ns)
        if step is not None:
            self._tell(step)
        rate = slewed(offset_ns)
        if rate != self._clock.rate:
            self._clock.follow(rate)

    def _run(self) -> None:
        while not self._stop_wanted.wait(self._every_s):
            self.look()
