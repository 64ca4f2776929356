"""kill -9 of supervisor, gateway and hubs at random instants of demo days; judges the broker's own journal by the day.

    python -m benchmarks.kill_nine --kills 200 [--seed 1] [--data FOLDER]

Supervisors are killed soon after an order event, while they start and recover, or at any time; the gateway and the hubs
as well, alone or together with the supervisor. Nobody restarts a killed gateway but this program and the next
supervisor; the broker behind it goes on meanwhile (`simulation.broker.kept`).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import time as clock_time
from pathlib import Path

import msgspec
import orjson

from benchmarks.book_judge import Verdict, judge
from benchmarks.figures import ROOT, Report
from commands.book import Book
from commands.folder import DataFolder
from commands.report import facts
from config.settings import Settings, load_settings
from domain.instants import SECOND, at_exchange
from domain.position.day import DayMark
from domain.units import Cents
from simulation.broker.kept import entries_of
from storage.queries import LedgerReader
from supervision.clock import ClockFileError, MarketClock

# A desk that always has something at stake: more lanes, alerts that come more often, limits that let them trade.
BUSY = """
lanes: {gexwatch: [SPX, SPY, QQQ, IWM], advisor: [SPX, QQQ, NVDA, TSLA]}
strategies:
  gexwatch: {cooldown_ms: 60000, trades_per_day_max: 500, one_position_only: false}
  advisor: {cooldown_ms: 60000, trades_per_day_max: 500}
entry: {positions_max: 6, loss_streak_max: 500}
alert_rules:
  GAMMA_FLIP: {cooldown_ms: 60000, hysteresis_bps: 1, readings: 1}
  STRUCTURE_BREAK: {cooldown_ms: 60000, beyond_bps: 1, alignment_min: 0, within_readings: 40, flow_z_min: -3}
"""
KILLS = 200
PER_DAY = 70
ORDER_WORDS = ("Approved", "Filled", "Opened", "Closed")
VICTIMS = (("supervisor", 64), ("gateway", 14), ("hubs", 12), ("supervisor and gateway", 10))
INSTANTS = (("after an order event", 45), ("while it starts", 25), ("at any time", 30))
LAST_KILL_S = 600  # before the close: flat by then is what is asked
LAST_GATEWAY_KILL_S = 660  # the broker's own look at C-10 is its server's
END_TIMEOUT_S = 300.0
EVENT_WAIT_S = 12.0
BAD_STARTS_MAX = 3
STANDS = " stands since before this start"  # as the supervisor says of a level that its ledger gave back
START_S = 8.0  # of a supervisor: reading back, reconciling, becoming stable


class Day(msgspec.Struct):
    """One day: what was killed and when, what the broker's journal and the ledger say, how the last run ended."""

    killed: dict[str, int]
    exit_code: int | None
    verdict: Verdict
    trades: int
    starts: int
    readings_doubled: int
    is_flat_by_broker: bool | None
    held_at_verify: int | None
    levels: list[str]
    seconds: float
    tail: list[str]

    @property
    def kills(self) -> int:
        """How many kills there were."""
        return sum(self.killed.values())

    @property
    def faults(self) -> dict[str, object]:
        """Return what must not be: by name, only what is."""
        found: dict[str, object] = {name: count for name, count in self.verdict.faults.items() if count}
        if self.exit_code != 0:
            found["exit code"] = self.exit_code
        if self.readings_doubled:
            found["readings doubled"] = self.readings_doubled
        if self.held_at_verify != 0:
            found["held 10 min before the close"] = self.held_at_verify
        if self.is_flat_by_broker is not True:
            found["flat by the broker"] = self.is_flat_by_broker
        return found


class Child:
    """One supervisor process and what it prints, appended to `lines`."""

    def __init__(self, data: Path, config: Path, lines: list[str]) -> None:
        self.began = time.monotonic()
        self.order_event = threading.Event()
        self._lines = lines
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(ROOT / "main.py"), "--config", str(config), "--data", str(data), "run"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line.rstrip())
            if any(word in line for word in ORDER_WORDS):
                self.order_event.set()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._lines.append("--- the supervisor is killed")


class Play:
    """One demo day with kills, until `kills` are done or its last minutes begin."""

    def __init__(self, data: Path, kills: int, source: random.Random) -> None:
        self._data, self._kills, self._source = data, kills, source
        self._folder = DataFolder(data)
        data.mkdir(parents=True, exist_ok=True)
        self._config = data.with_suffix(".yaml")
        self._config.write_text(BUSY, encoding="utf-8")
        self._settings = load_settings(self._config, "demo", {"data_dir": str(data)})
        self._close_utc = at_exchange(self._settings.demo.session, clock_time(16, 0))
        self._lines: list[str] = []
        self._killed: Counter[str] = Counter()
        self._servers: list[subprocess.Popen[bytes]] = []

    def run(self) -> Day:
        """Play, wait for the day's end, and judge it."""
        began = time.monotonic()
        child = self._started()
        code: int | None = None
        try:
            self._await_world(child)
            early = 0
            while self._killed.total() < self._kills and self._left_s() > LAST_KILL_S:
                if not child.is_alive:  # nobody killed it
                    self._lines.append(f"--- the supervisor ended by itself with {child.process.returncode}")
                    early += 1
                    if early > BAD_STARTS_MAX:
                        break
                    child = self._started()
                child = self._kill_something(child)
            deadline = time.monotonic() + END_TIMEOUT_S
            while child.is_alive and (self._left_s() > 0 or time.monotonic() < deadline):
                if self._left_s() > 0:
                    deadline = time.monotonic() + END_TIMEOUT_S
                time.sleep(0.2)
            code = child.process.poll()
        finally:
            if child.is_alive:
                child.kill()
            self._end_servers()
        return self._judged(code, time.monotonic() - began)

    def _started(self) -> Child:
        return Child(self._data, self._config, self._lines)

    def _await_world(self, child: Child) -> None:
        while child.is_alive and not (self._folder.sim("gateway") and self._folder.sim("hubs")):
            time.sleep(0.05)

    def _kill_something(self, child: Child) -> Child:
        """Kill the next victim at its instant; return the supervisor that runs then."""
        victim = self._drawn(VICTIMS)
        instant = self._wait(child) if "supervisor" in victim else self._pause(0.3, 5.0)
        if not child.is_alive or self._left_s() <= LAST_KILL_S:
            return child
        if "gateway" in victim and self._left_s() <= LAST_GATEWAY_KILL_S:
            victim = "supervisor"
        self._killed[f"{victim}, {instant}" if victim == "supervisor" else victim] += 1
        if victim == "hubs":
            self._kill_server("hubs")
            self._pause(0.0, 5.0)
            self._start_server("hubs")
            return child
        if victim == "gateway":
            self._kill_server("gateway")
            self._pause(0.0, 5.0)
            self._start_server("gateway")
            return child
        if "gateway" in victim:
            self._kill_server("gateway")
        child.kill()
        self._pause(0.0, 0.5)
        return self._started()  # it starts a gateway that is missing, too

    def _wait(self, child: Child) -> str:
        """Wait for the next instant to kill a supervisor at; return what it is called."""
        instant = self._drawn(INSTANTS)
        if instant == "after an order event":
            child.order_event.clear()
            if not child.order_event.wait(timeout=EVENT_WAIT_S):
                return "at any time"
            time.sleep(self._source.uniform(0.0, 0.4))
        elif instant == "while it starts":
            wait_s = self._source.uniform(0.2, START_S) - (time.monotonic() - child.began)
            if wait_s <= 0:
                return self._pause(0.3, 3.0)
            time.sleep(wait_s)
        else:
            self._pause(1.0, 7.0)
        return instant

    def _pause(self, least_s: float, most_s: float) -> str:
        time.sleep(self._source.uniform(least_s, most_s))
        return "at any time"

    def _drawn(self, choices: Sequence[tuple[str, int]]) -> str:
        return self._source.choices([name for name, _ in choices], [weight for _, weight in choices])[0]

    def _left_s(self) -> float:
        """Return the market seconds until the close; many before there is a clock, none once it is gone."""
        try:
            return (self._close_utc - MarketClock.load(self._folder.clock).now_utc()) / SECOND
        except (OSError, ClockFileError):
            return 0.0

    def _kill_server(self, what: str) -> None:
        found = self._folder.sim(what)
        if found is not None:
            os.kill(found.pid, signal.SIGKILL)
            self._lines.append(f"--- the {what} server is killed")
            while found.is_alive():
                time.sleep(0.01)

    def _start_server(self, what: str) -> None:
        self._lines.append(f"--- the {what} server is started")
        with (self._folder.run / f"sim-{what}.log").open("ab") as log:
            self._servers.append(
                subprocess.Popen(
                    [sys.executable, str(ROOT / "main.py"), "sim", what, "--run-folder", str(self._folder.run)],
                    cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )
            )  # fmt: skip

    def _end_servers(self) -> None:
        for what in ("hubs", "gateway"):
            left = self._folder.sim(what)
            if left is not None:
                left.end()
        for server in self._servers:
            if server.poll() is None:
                server.terminate()
            server.wait()

    def _judged(self, code: int | None, seconds: float) -> Day:
        settings, folder = self._settings, self._folder
        session = settings.demo.session
        report = facts(settings, folder, session)
        reader = LedgerReader(folder.ledgers, settings.desk)
        verify = Book.load(folder.book).held.get(DayMark.VERIFY.value)
        return Day(
            killed=dict(self._killed),
            exit_code=code,
            verdict=judge(
                entries_of(folder.orders), reader.executions(session), reader.trades(session), start_cents(settings)
            ),
            trades=len(report["trades"]),
            starts=len(report["runs"]),
            readings_doubled=report["readings"]["doubled"],
            is_flat_by_broker=report["is_flat_by_broker"],
            held_at_verify=None if verify is None else len(verify),
            levels=raised_levels(self._lines),
            seconds=seconds,
            tail=self._lines,
        )


def raised_levels(printed: Sequence[str]) -> list[str]:
    """Return the lines that tell of a kill level that was raised while a supervisor ran.

    One that stands since before a start was raised only once, and what a start says of the level is no news either.
    """
    return [line for line in printed if "Kill level" in line and ", raised by " in line and STANDS not in line]


def start_cents(settings: Settings) -> Cents:
    """Return what the simulated account starts with."""
    return Cents(settings.demo.nav_usd * 100)


def play_days(kills: int, per_day: int, seed: int, data: Path | None) -> list[Day]:
    """Play days until the kills are done; a day with a fault is the last, and its data is kept."""
    source, days = random.Random(seed), list[Day]()
    while (left := kills - sum(day.kills for day in days)) > 0:
        folder = data or Path(tempfile.mkdtemp(prefix="zerohour-kill-"))
        day = Play(folder, min(per_day, left), source).run()
        days.append(day)
        shown = msgspec.to_builtins(day) | {"tail": None, "faults": day.faults}
        print(orjson.dumps(shown, default=str).decode(), file=sys.stderr, flush=True)
        if day.faults:
            (folder / "kill-nine.log").write_text("\n".join(day.tail), encoding="utf-8")
            print(f"seed {seed}; data kept in {folder}, what was printed in kill-nine.log", file=sys.stderr, flush=True)
            break
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".yaml").unlink(missing_ok=True)
    return days


def run(scale: float = 1.0) -> Report:
    """Kill `KILLS` times; `scale` below 1 does fewer."""
    return report_of(play_days(max(1, round(KILLS * scale)), PER_DAY, 1, None))


def report_of(days: Sequence[Day]) -> Report:
    """Return the figures of played days."""
    report = Report("kill_nine", "kill -9 at random instants", "python -m benchmarks kill_nine")
    killed: Counter[str] = Counter()
    faults: Counter[str] = Counter(dict.fromkeys(Verdict().faults, 0))
    for day in days:
        killed.update(day.killed)
        faults.update({name: count if isinstance(count, int) else 1 for name, count in day.faults.items()})
    report.aim("kills survived", f"≥ {KILLS}", str(killed.total()), killed.total() >= KILLS)
    for name, count in sorted(faults.items()):
        report.aim(name, "0", str(count), count == 0)
    report.table(
        "What was killed, of demo days with a durable broker behind the gateway.",
        ["victim and instant", "kills"],
        [[name, str(n)] for name, n in sorted(killed.items())],
    )
    report.table(
        "The days.",
        ["day", "kills", "starts", "orders at the broker", "executions", "trades", "cents: broker, ledger", "s"],
        [
            [
                str(n), str(day.kills), str(day.starts), str(day.verdict.orders), str(day.verdict.executions),
                str(day.trades), f"{day.verdict.broker_cents:,}, {day.verdict.ledger_cents:,}", f"{day.seconds:.0f}",
            ]
            for n, day in enumerate(days, 1)
        ],
    )  # fmt: skip
    return report


def main() -> int:
    """Play days until the kills are done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--per-day", type=int, default=PER_DAY)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    days = play_days(arguments.kills, arguments.per_day, arguments.seed, arguments.data)
    print(report_of(days).markdown())
    return 1 if any(day.faults for day in days) else 0


if __name__ == "__main__":
    sys.exit(main())
