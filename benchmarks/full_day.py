"""A day at full width, its faults and three kills of the supervisor; every row expected is stored or a gap on record.

    python -m benchmarks.full_day [--tickers 39] [--start 09:30:00] [--rate 300] [--data FOLDER]

Hubs and supervisor are processes of their own and speak over sockets. One hub is down for ten minutes of the market,
all hubs are frozen for 30 s, all tokens expire while a hub has to dial again; the supervisor is killed while a bucket
is appended, while a seal runs, and while the finished day is compacted, and started again each time. The supervisor
leads the clock, so market time waits for a slow machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import time as clock_time
from pathlib import Path
from typing import Final

import msgspec
import orjson
import psutil
import pyarrow.parquet as pq
import zstandard

from benchmarks.children import Child
from benchmarks.figures import Report, work_folder
from benchmarks.market_day import HUBS, SESSION
from commands.folder import DataFolder
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, MINUTE, NEW_YORK, SECOND, at_exchange, bucket_of, to_datetime
from domain.session import calendar
from domain.units import Utc
from storage import manifest
from storage.gap_totals import totals_of
from storage.warehouse_reader import WarehouseReader
from supervision.clock import LedClock, MarketClock
from supervision.trace import SEAL_LEVEL, lines_of

KEYS: Final = tuple(f"FULL_DAY_KEY_{n}" for n in range(4))  # ten tickers in 13 categories each
FROZEN_NS: Final = 30 * SECOND
DOWN_NS: Final = 10 * MINUTE
PATIENCE_S: Final = 3_600.0
TICKERS_N: Final = 39
RATE: Final = 300.0
SESSION_MIN: Final = 390
SHORTEST_MIN: Final = 25  # holds all faults, and a seal between them and the close


class Sums(msgspec.Struct, frozen=True):
    """What a day came to, in rows; `unknown` are neither stored nor a gap, `doubled` were stored twice.

    `both` are stored and a gap: they came after their bucket was closed (late) or by REST (covered).
    """

    buckets: int
    expected: int
    stored: int
    by_rest: int
    missing: int
    covered: int
    both: int
    unknown: int
    doubled: int
    by_cause: dict[str, int]
    runs: int
    seconds: float


class Day:
    """A running full day.

    Args:
        folder: a new one.
        tickers_n: how many tickers, each in 13 categories.
        start: in New York.
        rate: market seconds a real second, at most.
        seal_every_ms: market time between two seals.
    """

    session: Final = SESSION

    def __init__(
        self, folder: Path, tickers_n: int, start: clock_time, rate: float, seal_every_ms: int = 1_800_000
    ) -> None:
        self.folder = folder
        self.tickers = ("SPX", "QQQ", *(f"T{n:02d}" for n in range(tickers_n - 2)))
        self.start_utc = at_exchange(SESSION, start)
        self.rate = rate
        self.began_s = time.monotonic()
        self.runs = 0
        with socket.socket() as made:
            made.bind(("127.0.0.1", 0))
            port = made.getsockname()[1]
        given = {
            "profile": "real", "data_dir": str(folder / "data"), "tickers": self.tickers, "spot_only": [],
            "lanes": {"gexwatch": ["SPX"]}, "web": {"is_on": False},
            "connection": {"retry_fast_for_ms": 1_000, "retry_slow_ms": 60_000},
            "broker": {"gateways": [{"host": "127.0.0.1", "port": 1}], "paper_port": 1},
            "feed": {
                "negotiate_url": f"http://127.0.0.1:{port}/v2/negotiate", "keys": KEYS, "hubs": HUBS,
                "rest": {"failover_after_ms": 1_000},
            },
            "warehouse": {"seal_every_ms": seal_every_ms, "disk_free_min_mb": 100},
            "demo": {"session": SESSION.isoformat()},
        }  # fmt: skip
        (folder / "my.yaml").write_bytes(orjson.dumps(given))  # JSON is YAML
        self.settings: Settings = load_settings(folder / "my.yaml")
        LedClock.begin(folder / "clock", self.start_utc)
        self.clock = MarketClock.load(folder / "clock")
        self.warehouse = DataFolder(self.settings.data_dir).warehouse
        for n, name in enumerate(KEYS):
            os.environ[name] = f"gexbot_custom_full_day_{os.getpid()}_{n}"
        self.hubs = Child("full_day_child", "hubs", str(folder))
        self.hubs.next()
        self.supervisor = self.supervise()

    def supervise(self) -> Child:
        """Start a supervisor and wait until it is up."""
        child = Child("full_day_child", "supervisor", str(self.folder), str(self.rate))
        child.next(120)
        self.runs += 1
        return child

    def until(self, what: str, is_so: Callable[[], object], every_s: float = 0.01) -> None:
        """Wait for something of another process.

        Raises:
            RuntimeError: it did not come, or a process ended.
        """
        pause, until_s = threading.Event(), time.monotonic() + PATIENCE_S
        while not is_so():
            if time.monotonic() > until_s:
                raise RuntimeError(f"not within {PATIENCE_S:.0f} s: {what}")
            if self.supervisor.process.poll() is not None or self.hubs.process.poll() is not None:
                raise RuntimeError(f"a process ended while waiting: {what}")
            pause.wait(every_s)

    def until_at(self, at_utc: Utc) -> None:
        """Wait for an instant of the market."""
        self.until(f"market instant {at_utc}", lambda: self.clock.now_utc() >= at_utc)

    def tell(self, command: str) -> None:
        """Tell the hubs a fault."""
        self.hubs.tell(command)
        self.hubs.next()

    def kill_when(self, what: str, is_so: Callable[[], object], every_s: float) -> None:
        """Kill the supervisor at the moment in which something is so, and start it again."""
        self.until(what, is_so, every_s)
        self.supervisor.process.send_signal(signal.SIGKILL)
        self.supervisor.process.wait()
        self.supervisor = self.supervise()

    def sealing(self, *, is_whole: bool) -> bool:
        """Return whether a seal of the supervisor runs."""
        words = [words_of(child) for child in psutil.Process(self.supervisor.process.pid).children()]
        return any("storage.seal" in line and ("--whole" in line) is is_whole for line in words)

    def log_bytes(self) -> int:
        """Return the size of the day's log."""
        total = 0
        for _, path in manifest.logs_of(manifest.folder_of(self.warehouse, SESSION)):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
        return total

    def reader(self) -> WarehouseReader:
        """Return a reader of what was stored."""
        return WarehouseReader(self.warehouse)

    def close(self) -> None:
        """End the processes."""
        self.hubs.process.send_signal(signal.SIGCONT)
        self.supervisor.close()
        self.hubs.close()

    def sums(self) -> Sums:
        """Return what is stored and on record, row by row."""
        day = calendar.day(SESSION)
        assert day is not None
        first = max(day.open_utc, bucket_of(self.start_utc))
        grid = range(first, day.close_utc, BUCKET_NS)
        pairs = [(h, t, c) for h, categories in HUBS.items() for t in self.tickers for c in categories]
        found = self.reader().manifest(SESSION)
        stored: Counter[tuple[str, str, str, int]] = Counter()
        stores = Counter[tuple[str, str, str, int, int]]()
        late, by_rest = set[tuple[str, str, str, int]](), 0
        names = ["hub", "ticker", "category", "bucket_utc", "mode", "store_n"]
        for part in found.parts:
            table = pq.read_table(
                manifest.folder_of(self.warehouse, SESSION) / part.name, columns=names, partitioning=None
            )
            for hub, ticker, category, at, mode, store_n in zip(
                *(table[name].to_pylist() for name in names), strict=True
            ):
                stored[hub, ticker, category, at] += 1
                stores[hub, ticker, category, at, store_n] += 1
                by_rest += mode == "rest"
                if store_n:
                    late.add((hub, ticker, category, at))
        gaps = {
            (gap.hub, gap.ticker, gap.category, at): gap.cover
            for gap in found.gaps
            for at in range(gap.from_utc, gap.to_utc, BUCKET_NS)
        }
        expected = {(*pair, at) for pair in pairs for at in grid}
        totals = totals_of([found])
        odd = [key for key in gaps.keys() & stored.keys() if not gaps[key] and key not in late]
        return Sums(
            len(grid), len(expected), len(stored), by_rest, totals.absent_n, totals.covered_n,
            len(gaps.keys() & stored.keys()),
            len(expected - stored.keys() - gaps.keys()) + len((stored.keys() | gaps.keys()) - expected),
            sum(n > 1 for n in stores.values()) + len(odd), totals.by_cause, self.runs,
            time.monotonic() - self.began_s,
        )  # fmt: skip


def words_of(process: psutil.Process) -> list[str]:
    """Return a process's command line; none of one that has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def play(day: Day, at_s: tuple[int, int, int, int] = (180, 300, 960, 1_080)) -> Sums:
    """Play a day with its faults and kills, and return what it came to.

    `at_s`: market seconds after the start at which the tokens expire, a hub goes down, all hubs freeze, and from which
    the next append is killed in; a seal must still begin between that and the close.
    """
    tokens, down, freeze, append = (Utc(day.start_utc + s * SECOND) for s in at_s)
    day.until_at(tokens)
    day.tell("tokens")
    day.tell("blink classic")
    day.until_at(down)
    day.tell("down orderflow")
    day.until_at(Utc(down + DOWN_NS))
    day.tell("up orderflow")
    day.until_at(freeze)
    day.hubs.process.send_signal(signal.SIGSTOP)
    day.until_at(Utc(freeze + FROZEN_NS))
    day.hubs.process.send_signal(signal.SIGCONT)
    day.until_at(append)
    before = day.log_bytes()
    day.kill_when("an append", lambda: day.log_bytes() > before, 0.0002)
    day.kill_when("a seal", lambda: day.sealing(is_whole=False), 0.02)
    day.kill_when("a compaction", lambda: day.sealing(is_whole=True), 0.02)
    day.until("the day is whole", lambda: manifest.load(day.warehouse, SESSION).is_whole, 0.2)
    return day.sums()


def run(scale: float = 1.0) -> Report:
    """Play the day (below 1 its last part) and report it; a scale of less than 25 minutes is rounded up to that."""
    report = Report("full_day", "A day at full width, with faults and kills", "python -m benchmarks full_day")
    minutes = max(SHORTEST_MIN, round(SESSION_MIN * scale))
    start = to_datetime(Utc(at_exchange(SESSION, clock_time(16)) - minutes * MINUTE)).astimezone(NEW_YORK).time()
    with work_folder() as folder:
        day = Day(folder, TICKERS_N, start, RATE, 300_000 if scale < 1 else 1_800_000)
        try:
            sums = play(day)
        finally:
            day.close()
        plain, sealed = _trace_bytes(day)
    is_right = not sums.unknown and not sums.doubled
    report.aim("rows neither stored nor a gap, rows stored twice", "0, 0", f"{sums.unknown}, {sums.doubled}", is_right)
    counts = [name for name in Sums.__struct_fields__ if name not in ("by_cause", "seconds")]
    rows = [(name.replace("_", " "), getattr(sums, name)) for name in counts]
    report.table(f"{TICKERS_N} tickers in 13 categories, {sums.buckets} buckets.", ["what", "rows"], rows)
    report.table("Missing rows by hub and cause.", ["hub: cause", "rows"], sorted(sums.by_cause.items()))
    a_day = SESSION_MIN * 2 / sums.buckets
    report.note(
        f"The traces of the market side take {plain / 1e6:.0f} MB, {sealed / 1e6:.0f} MB sealed; a whole day of as many"
        f" tickers {plain * a_day / 1e6:.0f} and {sealed * a_day / 1e6:.0f} MB."
    )
    return report


def _trace_bytes(day: Day) -> tuple[int, int]:
    """Return the bytes of the day's traces, plain and as they are sealed."""
    plain = sealed = 0
    for path in DataFolder(day.settings.data_dir).traces_newest_first():
        raw = b"".join(lines_of(path))
        plain += len(raw)
        sealed += len(zstandard.compress(raw, SEAL_LEVEL))
    return plain, sealed


def main() -> int:
    """Play the day that is asked for; 1 where a row is unknown or doubled."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_day", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tickers", type=int, default=TICKERS_N)
    parser.add_argument("--start", type=clock_time.fromisoformat, default=clock_time(9, 30))
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--seal-minutes", type=float, default=30.0, help="market minutes between two seals")
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zerohour-full-day-") as aside:
        folder = given.data or Path(aside)
        folder.mkdir(parents=True, exist_ok=True)
        day = Day(folder, given.tickers, given.start, given.rate, round(given.seal_minutes * 60_000))
        try:
            sums = play(day)
        finally:
            day.close()
        print(orjson.dumps(sums, option=orjson.OPT_INDENT_2, default=msgspec.to_builtins).decode())
    return 1 if sums.unknown or sums.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
