"""The market's clock: pieces that join without a step, one file that other processes follow, no wall clock in it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.units import Utc
from supervision.clock import (
    FOREVER,
    RATE_ALONE,
    ClockFile,
    ClockFileError,
    FollowedClock,
    LedClock,
    MarketClock,
    Segment,
    real_ns,
)

ROOT = Path(__file__).resolve().parents[2]
FOLLOW = """
import sys, time
from pathlib import Path
from supervision.clock import MarketClock, real_ns
clock = MarketClock.load(Path(sys.argv[1]))
print("ready", flush=True)
seen, until = [], int(sys.argv[2])
while clock.now_utc() < until and len(seen) < 5_000_000:
    seen.append(clock.now_utc())
backwards = sum(b < a for a, b in zip(seen, seen[1:]))
print(len(seen), backwards, max(seen, default=0), flush=True)
"""


class Real:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.ns = 1_000 * SECOND

    def __call__(self) -> int:
        return self.ns


def test_piece_runs_at_its_rate_and_stops_at_its_horizon() -> None:
    segment = Segment(100 * SECOND, Utc(5_000 * SECOND), 30.0, Utc(5_060 * SECOND))
    assert segment.at(100 * SECOND) == 5_000 * SECOND
    assert segment.at(101 * SECOND) == 5_030 * SECOND
    assert segment.at(110 * SECOND) == 5_060 * SECOND
    assert segment.at(99 * SECOND) == 5_000 * SECOND


def test_market_goes_on_at_twice_real_time_when_nobody_renews_the_lease() -> None:
    segment = Segment(100 * SECOND, Utc(5_000 * SECOND), 30.0, Utc(5_060 * SECOND), 110 * SECOND)
    assert segment.at(110 * SECOND) == 5_060 * SECOND
    assert segment.at(115 * SECOND) == 5_060 * SECOND + 10 * SECOND
    assert segment.real_ns_at(Utc(5_070 * SECOND)) == 115 * SECOND


@given(
    rate=st.floats(0.1, 600.0), horizon_s=st.integers(0, 5_000), lease_s=st.integers(0, 100),
    until_s=st.integers(0, 10_000),
)  # fmt: skip
def test_instant_at_which_a_market_instant_is_reached_is_the_first_that_reads_it(
    rate: float, horizon_s: int, lease_s: int, until_s: int
) -> None:
    segment = Segment(7, Utc(11), rate, Utc(11 + horizon_s * SECOND), 7 + lease_s * SECOND)
    until_utc = Utc(11 + until_s * SECOND)
    real = segment.real_ns_at(until_utc)
    assert segment.at(real + 2) >= until_utc - 1_000
    assert real <= 7 or segment.at(real - 1_000) <= until_utc


@given(
    steps=st.lists(
        st.tuples(st.floats(0.1, 600.0), st.integers(-5, 60), st.integers(0, 20 * SECOND), st.booleans()), max_size=20
    )
)
def test_market_time_never_steps_back_whatever_is_published(steps: list[tuple[float, int, int, bool]]) -> None:
    real = Real()
    clock = MarketClock(Segment(real.ns, Utc(50 * SECOND)), real)
    told = clock.now_utc()
    for rate, horizon_s, passed_ns, has_lease in steps:
        before = clock.now_utc()
        segment = clock.follow(
            rate, Utc(told + horizon_s * SECOND), real.ns + 5 * SECOND if has_lease else FOREVER
        )  # fmt: skip
        assert clock.now_utc() == before >= told
        real.ns += passed_ns
        told = clock.now_utc()
        alone_ns = max(0, real.ns - segment.lease_ns)
        assert before <= told <= max(segment.horizon_utc, before) + alone_ns * RATE_ALONE + 1


def test_no_step_of_the_wall_clock_moves_market_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = MarketClock.real()
    before = clock.now_utc()
    wall_ns = time.time_ns()
    assert abs(before - wall_ns) < 5 * SECOND
    for step_ns in (-40 * SECOND, 3_600 * SECOND):
        monkeypatch.setattr(time, "time_ns", lambda step_ns=step_ns: wall_ns + step_ns)
        assert before <= clock.now_utc() < before + 30 * SECOND


def test_wait_is_reckoned_in_real_seconds_up_to_the_horizon() -> None:
    real = Real()
    clock = MarketClock(Segment(real.ns, Utc(0), 10.0, Utc(100 * SECOND), real.ns + 1_000 * SECOND), real)
    assert clock.real_wait_s(Utc(0)) == 0.0
    assert clock.real_wait_s(Utc(50 * SECOND)) == pytest.approx(5.0)
    assert clock.real_wait_s(Utc(101 * SECOND)) > 1_000.0


def test_published_clock_reads_the_same_for_whoever_follows_it(tmp_path: Path) -> None:
    real = Real()
    led = LedClock.begin(tmp_path / "clock", Utc(9 * SECOND), real)
    followed = FollowedClock(ClockFile.open(tmp_path / "clock", can_write=False), real)
    real.ns += 5 * SECOND
    assert led.now_utc() == followed.now_utc() == 9 * SECOND, "it stands until it is led on"
    led.follow(60.0, Utc(600 * SECOND))
    real.ns += SECOND
    assert led.now_utc() == followed.now_utc() == 69 * SECOND
    led.follow(1.0)
    real.ns += SECOND
    assert led.now_utc() == followed.now_utc() == 70 * SECOND
    assert [path.name for path in tmp_path.iterdir()] == ["clock"]


def test_resumed_clock_goes_on_where_market_time_stands(tmp_path: Path) -> None:
    real = Real()
    LedClock.begin(tmp_path / "clock", Utc(0), real).follow(60.0, Utc(90 * SECOND), real.ns + 10 * SECOND)
    real.ns += 12 * SECOND
    resumed = LedClock.resume(tmp_path / "clock", real)
    assert resumed.now_utc() == 94 * SECOND
    resumed.follow(1.0)
    assert resumed.now_utc() == 94 * SECOND


def test_half_written_record_is_never_taken(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    LedClock.begin(path, Utc(9 * SECOND))
    followed = ClockFile.open(path, can_write=False)
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.write(whole[:20] + b"\xff" * 8 + whole[28:])
    assert followed.read() == Segment(followed.read().real_ns, Utc(9 * SECOND), 1.0, Utc(9 * SECOND))  # type: ignore[union-attr]
    with pytest.raises(ClockFileError):
        ClockFile.open(path, can_write=False)


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 64])
def test_file_that_holds_no_clock_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clock").write_bytes(content)
    with pytest.raises(ClockFileError):
        MarketClock.load(tmp_path / "clock")
    with pytest.raises(OSError):
        MarketClock.load(tmp_path / "none")


def test_another_process_follows_without_a_step_back_and_never_past_a_horizon(tmp_path: Path) -> None:
    path, end_utc = tmp_path / "clock", Utc(2_000 * SECOND)
    led = LedClock.begin(path, Utc(0))
    child = subprocess.Popen(
        [sys.executable, "-c", FOLLOW, str(path), str(end_utc)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    n = 0
    while led.now_utc() < end_utc:
        n += 1
        led.follow((600.0, 1.0, 120.0, 30.0)[n % 4], Utc(min(end_utc, led.now_utc() + 3 * SECOND)))
    seen_n, backwards, newest = map(int, child.stdout.readline().split())
    assert child.wait(60) == 0
    assert seen_n > 100 and backwards == 0 and newest <= end_utc


def test_threads_of_one_process_never_see_time_step_back_while_the_pace_changes() -> None:
    clock = MarketClock(Segment(real_ns(), Utc(0), 600.0))
    stop, wrong = threading.Event(), []

    def read() -> None:
        last = Utc(0)
        while not stop.is_set():
            now = clock.now_utc()
            if now < last:
                wrong.append(last - now)
            last = now

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(2_000):
        clock.follow((600.0, 1.0)[n % 2])
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
