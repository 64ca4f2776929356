"""How long a demo day took, and at which rates: sums by what was at stake, in a small file of the run folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec


class Passed(msgspec.Struct):
    """Real and market seconds that passed with one thing at stake; `stood_s` of the real ones the market stood."""

    real_s: float = 0.0
    market_s: float = 0.0
    stood_s: float = 0.0

    @property
    def rate(self) -> float:
        """Market seconds a real second."""
        return self.market_s / self.real_s if self.real_s > 0 else 0.0


class PaceRecord(msgspec.Struct):
    """`by_stake` by what was at stake, `stood_for` the real seconds that the market stood for something."""

    by_stake: dict[str, Passed] = {}
    stood_for: dict[str, float] = {}

    @property
    def total(self) -> Passed:
        """All of it."""
        parts = self.by_stake.values()
        return Passed(
            sum(p.real_s for p in parts), sum(p.market_s for p in parts), sum(p.stood_s for p in parts)
        )  # fmt: skip

    def add(self, stake: str, real_s: float, market_s: float, stood_for: str) -> None:
        """Add a stretch; `stood_for` is empty where the market ran."""
        passed = self.by_stake.setdefault(stake, Passed())
        passed.real_s += real_s
        passed.market_s += market_s
        if stood_for:
            passed.stood_s += real_s
            self.stood_for[stood_for] = self.stood_for.get(stood_for, 0.0) + real_s

    def lines(self) -> list[str]:
        """Return what the report prints: how long the day took, and where the time went."""
        total = self.total
        if total.real_s <= 0:
            return []
        head = f"{_clock(total.market_s)} of market time took {_clock(total.real_s)} ({total.rate:.0f} times as fast)"
        rows = sorted(self.by_stake.items(), key=lambda item: -item[1].real_s)
        parts = [
            f"  {stake:<32} {_clock(p.market_s):>8} in {_clock(p.real_s):>7}, {p.rate:5.1f} times as fast"
            for stake, p in rows
            if p.real_s >= 1.0
        ]
        waits = sorted(self.stood_for.items(), key=lambda item: -item[1])
        stood = ", ".join(f"{what} {real_s:.0f} s" for what, real_s in waits if real_s >= 1.0)
        return [head, *parts, *([f"  of it the market waited for: {stood}"] if stood else [])]

    def save(self, path: Path) -> None:
        """Write it in one step; a disk that takes nothing costs the record, never the day."""
        aside = path.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            aside.write_bytes(msgspec.json.encode(self))
            aside.replace(path)

    @classmethod
    def load(cls, path: Path) -> PaceRecord:
        """Return a saved record; an empty one where there is none that can be read."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return cls()


def _clock(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
