"""The market's clock."""

from __future__ import annotations

import time
from pathlib import Path

from supervision.clock import MarketClock


def test_saved_clock_reads_the_same_market_time(tmp_path: Path) -> None:
    clock = MarketClock.starting(1_000_000_000_000, 60.0)
    clock.save(tmp_path / "clock.json")
    assert MarketClock.load(tmp_path / "clock.json") == clock
    assert list(tmp_path.iterdir()) == [tmp_path / "clock.json"]


def test_fast_clock_passes_market_time_at_its_rate() -> None:
    clock = MarketClock(real_utc=time.time_ns() - 2_000_000_000, market_utc=5_000_000_000, rate=10.0)
    assert 25_000_000_000 <= clock.now_utc() < 25_000_000_000 + 600_000_000_000
    assert clock.real_wait_s(0) == 0.0
    assert 0.9 < clock.real_wait_s(clock.now_utc() + 10_000_000_000) <= 1.0


def test_real_clock_is_the_wall_clock() -> None:
    clock = MarketClock.real()
    before = time.time_ns()
    assert before <= clock.now_utc() <= time.time_ns()
