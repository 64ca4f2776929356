"""The market's clock: straight pieces of market time over the machine's monotonic time, shared by processes.

Market time stands on the boot clock, which no step of the wall clock moves (`supervision.wall` watches for those).
A demo's clock is published in one small file, `ClockFile`, and followed by every process of the demo.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from domain.units import Utc

FOREVER: Final = Utc(1 << 62)
RATE_ALONE: Final = 2.0  # the fastest that market time runs when nobody renews the lease
LEASE_NS: Final = 5_000_000_000

_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", None)  # counts on while the machine sleeps, as the market does
_RECORD: Final = struct.Struct("<4sQqqdqq")
_CHECK: Final = struct.Struct("<I")
_MAGIC: Final = b"ZHC1"
_SIZE: Final = _RECORD.size + _CHECK.size
_WAIT_S: Final = 0.05
_READS_MAX: Final = 100  # of a record that is being written; a write takes well under a microsecond


def real_ns() -> int:
    """Return the monotonic time that all processes of this machine share, ns."""
    return time.monotonic_ns() if _BOOT_CLOCK is None else time.clock_gettime_ns(_BOOT_CLOCK)


class Clock(Protocol):
    """What tells the time: market instants, which never decrease."""

    def now_utc(self) -> Utc:
        """Return the market instant, UTC ns."""


class Segment(msgspec.Struct, frozen=True):
    """A straight piece: at `real_ns` it was `market_utc`; since then `rate` times as fast, never past `horizon_utc`.

    From `lease_ns` on nobody keeps the horizon any more: market time goes on from where it stands, at `RATE_ALONE` at
    most. (A market does not wait for a supervisor that was killed.)
    """

    real_ns: int
    market_utc: Utc
    rate: float = 1.0
    horizon_utc: Utc = FOREVER
    lease_ns: int = FOREVER

    def at(self, real: int) -> Utc:
        """Return the market instant at a real one."""
        if real <= self.lease_ns:
            return self._leased(real)
        alone = round((real - self.lease_ns) * min(self.rate, RATE_ALONE))
        return Utc(self._leased(self.lease_ns) + alone)

    def real_ns_at(self, until_utc: Utc) -> int:
        """Return the real instant at which the market's is reached, rounded up; a past one where it has been."""
        if until_utc <= self.horizon_utc:
            real = self.real_ns + _ceil((until_utc - self.market_utc) / self.rate)
            if real <= self.lease_ns:
                return real
        left = until_utc - self._leased(self.lease_ns)
        return self.lease_ns + _ceil(left / min(self.rate, RATE_ALONE))

    def _leased(self, real: int) -> Utc:
        passed = max(0, round((real - self.real_ns) * self.rate))
        return Utc(min(self.market_utc + passed, self.horizon_utc))


def _ceil(value: float) -> int:
    return int(value) + (value > int(value))


class MarketClock:
    """Tells market time by a segment, which `follow` replaces; what it tells never decreases.

    `on_change` are called, from the thread that changed it, after every new segment (timers look again).
    """

    def __init__(self, segment: Segment, real: Callable[[], int] = real_ns) -> None:
        self.on_change: list[Callable[[], None]] = []
        self._segment = segment
        self._real = real
        self._told = Utc(0)
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """Market seconds per real second at this moment; for people, no rule may use it."""
        return self._current().rate

    @property
    def segment(self) -> Segment:
        """The piece in force."""
        return self._current()

    def now_utc(self) -> Utc:
        """Return the market instant, UTC ns."""
        with self._lock:
            now = self._current().at(self._real())
            self._told = max(self._told, now)
            return self._told

    def real_wait_s(self, until_utc: Utc) -> float:
        """Return the real seconds until a market instant (0 where it has passed), as far as is known now."""
        if self.now_utc() >= until_utc:
            return 0.0
        return max(1e-4, (self._current().real_ns_at(until_utc) - self._real()) / 1e9)

    def in_real_s(self, seconds: float) -> Utc:
        """Return the market instant that many real seconds ahead, at the present rate and at 1 at least.

        For what people say, who count in real seconds whatever the pace; no rule may use it.
        """
        return Utc(self.now_utc() + round(seconds * max(1.0, self.rate) * 1e9))

    def wait_until(self, until_utc: Utc) -> None:
        """Return when a market instant has come, whatever becomes of the pace meanwhile."""
        while (wait_s := self.real_wait_s(until_utc)) > 0:
            time.sleep(min(wait_s, _WAIT_S))

    def follow(self, rate: float, horizon_utc: Utc = FOREVER, lease_ns: int = FOREVER) -> Segment:
        """Go on from the present instant with another piece, and return it."""
        with self._lock:
            real = self._real()
            market_utc = max(self._current().at(real), self._told)
            segment = Segment(real, market_utc, rate, max(horizon_utc, market_utc), lease_ns)
            self._segment = segment
            self._keep(segment)
        for tell in self.on_change:
            tell()
        return segment

    def _current(self) -> Segment:
        return self._segment

    def _keep(self, segment: Segment) -> None:
        """Publish a new piece, where others follow."""

    @classmethod
    def real(cls) -> MarketClock:
        """Return the clock of the real market: the wall clock is read here, once."""
        before = real_ns()
        wall_utc = Utc(time.time_ns())
        return cls(Segment((before + real_ns()) // 2, wall_utc))

    @classmethod
    def starting(cls, market_utc: Utc, rate: float) -> MarketClock:
        """Return a clock of this process alone that reads `market_utc` now and runs at `rate`."""
        return cls(Segment(real_ns(), market_utc, rate))

    @staticmethod
    def load(path: Path) -> MarketClock:
        """Return a clock that follows a published one.

        Raises:
            OSError: no such file.
            ClockFileError: not a clock.
        """
        return FollowedClock(ClockFile.open(path, can_write=False))


class ClockFileError(ValueError):
    """A file that holds no published clock."""


class ClockFile:
    """One segment in a file of fixed size, written in one step and checked by a sum: no reader takes half of it."""

    def __init__(self, path: Path, *, can_write: bool) -> None:
        fd = os.open(path, os.O_RDWR if can_write else os.O_RDONLY)
        try:
            if os.fstat(fd).st_size < _SIZE:
                raise ClockFileError(f"{path} holds no clock")
            self._map = mmap.mmap(fd, _SIZE, access=mmap.ACCESS_WRITE if can_write else mmap.ACCESS_READ)
        finally:
            os.close(fd)
        self._n = 0
        self._raw = b""
        self._last: Segment | None = None

    @classmethod
    def open(cls, path: Path, *, can_write: bool) -> ClockFile:
        """Open a published clock.

        Raises:
            OSError: no such file.
            ClockFileError: not a clock.
        """
        found = cls(path, can_write=can_write)
        if found.read() is None:
            raise ClockFileError(f"{path} holds no clock")
        return found

    @classmethod
    def create(cls, path: Path, segment: Segment) -> ClockFile:
        """Publish a first segment; the file appears whole."""
        aside = path.with_suffix(".tmp")
        aside.write_bytes(_encoded(1, segment))
        aside.replace(path)
        return cls.open(path, can_write=True)

    def read(self) -> Segment | None:
        """Return the segment published last; one that is half written is waited for. `None`: there never was one."""
        for _ in range(_READS_MAX):
            raw = self._map[:_SIZE]
            if raw == self._raw:
                break
            found = _decoded(raw)
            if found is not None:
                self._n, self._last = found
                self._raw = raw
                break
        return self._last

    def write(self, segment: Segment) -> None:
        """Publish a segment."""
        self._n += 1
        self._map[:_SIZE] = self._raw = _encoded(self._n, segment)
        self._last = segment


def _encoded(n: int, segment: Segment) -> bytes:
    body = _RECORD.pack(
        _MAGIC, n, segment.real_ns, segment.market_utc, segment.rate, segment.horizon_utc, segment.lease_ns
    )
    return body + _CHECK.pack(zlib.crc32(body))


def _decoded(raw: bytes) -> tuple[int, Segment] | None:
    body = raw[: _RECORD.size]
    magic, n, real, market_utc, rate, horizon_utc, lease_ns = _RECORD.unpack(body)
    if magic != _MAGIC or _CHECK.unpack(raw[_RECORD.size :])[0] != zlib.crc32(body):
        return None
    return n, Segment(real, Utc(market_utc), rate, Utc(horizon_utc), lease_ns)


class FollowedClock(MarketClock):
    """Follows what another process publishes."""

    def __init__(self, published: ClockFile, real: Callable[[], int] = real_ns) -> None:
        self._published = published
        first = published.read()
        assert first is not None, "an opened file holds a segment"
        super().__init__(first, real)

    def _current(self) -> Segment:
        return self._published.read() or self._segment


class LedClock(MarketClock):
    """The clock of the process that paces a demo: every new piece is published."""

    def __init__(self, published: ClockFile, real: Callable[[], int] = real_ns) -> None:
        self._published = published
        first = published.read()
        assert first is not None, "an opened file holds a segment"
        super().__init__(first, real)

    def _keep(self, segment: Segment) -> None:
        self._published.write(segment)

    @classmethod
    def begin(cls, path: Path, market_utc: Utc, real: Callable[[], int] = real_ns) -> LedClock:
        """Publish a new clock that stands at `market_utc` until it is led on."""
        segment = Segment(real(), market_utc, 1.0, market_utc, FOREVER)
        return cls(ClockFile.create(path, segment), real)

    @classmethod
    def resume(cls, path: Path, real: Callable[[], int] = real_ns) -> LedClock:
        """Lead on a clock that a process which is gone had led.

        Raises:
            OSError: no such file.
            ClockFileError: not a clock.
        """
        return cls(ClockFile.open(path, can_write=True), real)

    @classmethod
    def lead(cls, path: Path, real: Callable[[], int] = real_ns) -> LedClock:
        """Lead on a clock that no other process leads, for as long as this process lives.

        Raises:
            OSError: no such file.
            ClockFileError: not a clock, or another process leads it.
        """
        clock = cls.resume(path, real)
        fd = os.open(path, os.O_RDWR)  # stays open: the lock goes with the process
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise ClockFileError(f"another process leads {path}") from None
        return clock
