"""How a hub flows: frames, their rate over the last minute, the last one and its lag. One thread writes, any reads."""

from __future__ import annotations

import msgspec

from domain.instants import SECOND
from domain.units import Utc

_WINDOW_S = 60


class HubStatus(msgspec.Struct, frozen=True):
    """How a hub does: `rate_per_s` over the last minute of market time; `None` before the first frame.

    `last_utc` is when the last frame came, `lag_ms` how old it was then by its own time. `conflated` counts the prices
    that gave way to a newer one of their ticker before they were taken, since the start.
    """

    hub: str
    frames: int
    rate_per_s: float
    last_utc: Utc | None
    lag_ms: int | None
    conflated: tuple[tuple[str, int], ...] = ()


class Flow:
    """Counts the frames of one hub, of the last minute second by second."""

    __slots__ = ("_counts", "_seconds", "frames", "lag_ns", "last_utc")

    def __init__(self) -> None:
        self._seconds = [0] * _WINDOW_S
        self._counts = [0] * _WINDOW_S
        self.frames = 0
        self.last_utc: Utc | None = None
        self.lag_ns = 0

    def note(self, received_utc: Utc, source_utc: Utc) -> None:
        """Count a frame."""
        second = received_utc // SECOND
        at = second % _WINDOW_S
        if self._seconds[at] != second:
            self._seconds[at], self._counts[at] = second, 0
        self._counts[at] += 1
        self.frames += 1
        self.last_utc, self.lag_ns = received_utc, received_utc - source_utc

    def status(self, hub: str, now_utc: Utc) -> HubStatus:
        """Return how the hub does now."""
        since = now_utc // SECOND - _WINDOW_S
        recent = sum(n for second, n in zip(self._seconds, self._counts, strict=True) if second > since)
        lag_ms = None if self.last_utc is None else self.lag_ns // 1_000_000
        return HubStatus(hub, self.frames, recent / _WINDOW_S, self.last_utc, lag_ms)
