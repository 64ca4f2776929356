"""The thread that leads a demo's clock beside a live runtime, and the sums that it keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from datetime import time as wall
from pathlib import Path

import pytest
from msgspec.structs import replace

from domain.instants import MS, SECOND, at_exchange
from domain.session.modes import Mode
from domain.units import Utc
from messages import session
from messages.base import Message
from simulation.pace.buckets import Buckets
from simulation.pace.driver import PaceDriver
from simulation.pace.pacer import Pacer
from simulation.pace.record import PaceRecord
from simulation.pace.stakes import Stake
from supervision.clock import LEASE_NS, LedClock, MarketClock, real_ns
from supervision.threaded import LiveRuntime
from supervision.trace import NoTrace
from tests.testkit.message_samples import one_of
from tests.testkit.toys import Log, Toy, spec, toy_tree

DAY = date(2026, 11, 20)
OPEN, CLOSE = at_exchange(DAY, wall(9, 30)), at_exchange(DAY, wall(16))
START = Utc(OPEN - 2_000 * SECOND)  # after the night, which runs faster


def eventually(is_so: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    pause, deadline = threading.Event(), time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < deadline:
        pause.wait(0.002)
    return is_so()


@contextmanager
def led(folder: Path) -> Iterator[tuple[LiveRuntime, PaceDriver, LedClock]]:
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log)
    clock = LedClock.begin(folder / "clock", START)
    runtime = LiveRuntime(h.tree, NoTrace(clock), clock, 1)
    runtime.start_tree()
    assert eventually(lambda: all(cell.is_up for cell in runtime.cells.values()))
    pacer = Pacer(100.0, (), Buckets(("SPX",), 2 * SECOND), lambda _: (OPEN, CLOSE), (), 200 * MS)
    driver = PaceDriver(clock, runtime, pacer, ("a:1",), lambda: ("a:1", "a:gone"), folder / "pace.json")
    try:
        yield runtime, driver, clock
    finally:
        driver.close()
        runtime.stop()


def mode(is_live: bool) -> Message:
    changed: Message = replace(
        one_of(session.ModeChanged), mode=Mode.FULLY_LIVE if is_live else Mode.DEGRADED
    )  # fmt: skip
    return changed


def test_clock_stands_until_it_is_led_and_follows_what_is_at_stake_at_once(tmp_path: Path) -> None:
    with led(tmp_path) as (runtime, driver, clock):
        assert clock.now_utc() == START
        driver.start()
        assert eventually(lambda: clock.now_utc() > START)
        assert clock.rate == 2.0
        runtime.publish(mode(True), "ibkr:paper")
        assert clock.rate == 100.0, "before the message is in its mailbox"
        followed = MarketClock.load(tmp_path / "clock")
        assert followed.rate == 100.0
        runtime.publish(mode(False), "ibkr:paper")
        assert clock.rate == followed.rate == 2.0


def test_desk_that_is_busy_holds_the_clock_and_one_that_is_gone_does_not(tmp_path: Path) -> None:
    with led(tmp_path) as (runtime, driver, clock):
        driver.start()
        assert eventually(lambda: clock.now_utc() > START + SECOND)
        with runtime.cells["a:1"].fence:  # it hands on what it has decided
            assert eventually(lambda: clock.now_utc() == clock.segment.horizon_utc)
        stood_utc = clock.now_utc()
        assert eventually(lambda: clock.now_utc() > stood_utc + SECOND)


def test_lease_is_renewed_while_the_driver_lives_and_runs_out_after_it(tmp_path: Path) -> None:
    with led(tmp_path) as (_runtime, driver, clock):
        driver.start()
        assert eventually(lambda: clock.segment.lease_ns <= real_ns() + LEASE_NS)
        first = clock.segment.lease_ns
        assert eventually(lambda: clock.segment.lease_ns > first)
        driver.close()
        assert clock.segment.lease_ns <= real_ns() + LEASE_NS


def test_sums_of_the_day_are_kept_and_a_resumed_day_adds_to_them(tmp_path: Path) -> None:
    for _ in range(2):
        with led(tmp_path) as (runtime, driver, clock):
            driver.start()
            runtime.publish(mode(True), "ibkr:paper")
            begun_utc = clock.now_utc()
            assert eventually(lambda c=clock, b=begun_utc: c.now_utc() > b + 5 * SECOND)  # type: ignore[misc]
    record = PaceRecord.load(tmp_path / "pace.json")
    assert record.by_stake[Stake.NOTHING.value].market_s > 9.5
    assert record.total.market_s == pytest.approx(sum(p.market_s for p in record.by_stake.values()))


def test_record_says_where_the_time_went() -> None:
    record = PaceRecord()
    record.add("nothing is at stake", 100.0, 12_000.0, "")
    record.add("nothing is at stake", 20.0, 0.0, "rows")
    record.add("an order works", 30.0, 60.0, "")
    assert record.lines() == [
        "3:21:00 of market time took 2:30 (80 times as fast)",
        "  nothing is at stake               3:20:00 in    2:00, 100.0 times as fast",
        "  an order works                       1:00 in    0:30,   2.0 times as fast",
        "  of it the market waited for: rows 20 s",
    ]
    assert PaceRecord().lines() == []


def test_record_that_cannot_be_read_or_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "pace.json").write_bytes(b"{")
    assert PaceRecord.load(tmp_path / "pace.json") == PaceRecord()
    PaceRecord().save(tmp_path / "none" / "pace.json")
