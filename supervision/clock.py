"""The market's clock: real time, or real time speeded up from a start that all processes of a demo share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

import msgspec

from domain.units import Utc


class Clock(Protocol):
    """What tells the time: market instants, and how fast they pass."""

    @property
    def rate(self) -> float:
        """Market seconds per real second."""

    def now_utc(self) -> Utc:
        """Return the market instant, UTC ns."""


class MarketClock(msgspec.Struct, frozen=True):
    """Market time: at real instant `real_utc` it was `market_utc`; since then it runs `rate` times as fast."""

    real_utc: Utc
    market_utc: Utc
    rate: float = 1.0

    def now_utc(self) -> Utc:
        """Return the market instant, UTC ns."""
        if self.rate == 1.0 and self.real_utc == self.market_utc:
            return Utc(time.time_ns())
        return self.market_utc + round((time.time_ns() - self.real_utc) * self.rate)

    def real_wait_s(self, until_utc: Utc) -> float:
        """Return the real seconds until a market instant (0 where it has passed)."""
        return max(0.0, (until_utc - self.now_utc()) / self.rate / 1e9)

    def save(self, path: Path) -> None:
        """Write the clock beside the others' files of a run, in one step."""
        aside = path.with_suffix(".tmp")
        aside.write_bytes(msgspec.json.encode(self))
        aside.replace(path)

    @classmethod
    def load(cls, path: Path) -> MarketClock:
        """Return a saved clock.

        Raises:
            OSError: no such file. msgspec.DecodeError: not a clock.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls)

    @classmethod
    def real(cls) -> MarketClock:
        """Return the clock of the real market."""
        return cls(real_utc=Utc(0), market_utc=Utc(0), rate=1.0)

    @classmethod
    def starting(cls, market_utc: Utc, rate: float) -> MarketClock:
        """Return a clock that reads `market_utc` now and runs at `rate`."""
        return cls(real_utc=Utc(time.time_ns()), market_utc=market_utc, rate=rate)
