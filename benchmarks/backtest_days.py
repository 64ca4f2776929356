"""A month of recorded days backtested: the same in processes of other hash seeds, in memory that does not grow.

A whole session of SPX with all gates says what a year of them takes, and a sweep of the month what a second process
is worth.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import ROOT, Report
from domain.session import calendar

MONTH: Final = 21  # sessions
FIRST: Final = date(2026, 11, 2)
SETTLED: Final = 3  # days after which nothing is loaded or grown for the first time
GROWN_MAX_MB: Final = 10
YEAR: Final = 252  # sessions
YEAR_AIM_S: Final = 300
CORES: Final = 2


def run(scale: float) -> Report:
    """Record days, backtest them twice."""
    report = Report(
        "backtest_days", "A month of simulated days, recorded and backtested", "python -m benchmarks backtest_days"
    )
    sessions = _sessions(max(SETTLED + 1, round(MONTH * scale)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n, session in enumerate(sessions):
            _child(["record", str(folder), session.isoformat(), str(100 + n)])
        first, second = (json.loads(_child(["backtest", str(folder)], seed)) for seed in ("1", "2"))
        alone_s, together_s = (float(_child(["sweep", str(folder), str(n)])) for n in (1, CORES))
    with tempfile.TemporaryDirectory() as name:
        _child(["record", name, FIRST.isoformat(), "100", "whole"])
        (whole_s,) = json.loads(_child(["backtest", name]))["cpu_s"]
    same = first["hash"] == second["hash"]
    grown = max(found["peak_mb"][-1] - found["peak_mb"][SETTLED - 1] for found in (first, second))
    report.aim("same hash in two processes with other hash seeds", "yes", first["hash"] if same else "no", same)
    report.aim(
        f"peak memory after day {SETTLED} and after day {len(sessions)}", f"≤ {GROWN_MAX_MB} MB more",
        f"{first['peak_mb'][SETTLED - 1]} and {first['peak_mb'][-1]} MB", grown <= GROWN_MAX_MB,
    )  # fmt: skip
    year_s = YEAR * whole_s / CORES
    report.aim(
        f"a year of SPX alone with all gates, on {CORES} cores", f"≤ {YEAR_AIM_S} s",
        f"{year_s:.0f} s ({whole_s:.2f} CPU s a session, {YEAR} of them)", year_s <= YEAR_AIM_S,
    )  # fmt: skip
    report.aim(
        f"a sweep of these sessions on {CORES} processes", "no limit set",
        f"{alone_s / together_s:.2f} times as fast as on one ({alone_s:.1f} s, {together_s:.1f} s)", None,
    )  # fmt: skip
    report.table(
        f"One ticker, 09:20 to 11:30, {first['trades']} trades; CPU seconds a day and the peak so far.",
        ("session", "CPU s", "peak MB"),
        list(zip(sessions, first["cpu_s"], first["peak_mb"], strict=True)),
    )
    return report


def _sessions(count: int) -> list[date]:
    found: list[date] = []
    day = FIRST
    while len(found) < count:
        found += [day] if calendar.day(day) is not None else []
        day += timedelta(days=1)
    return found


def _child(words: list[str], hash_seed: str = "0") -> Any:
    command = [sys.executable, "-m", "benchmarks.backtest_days_child", *words]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
