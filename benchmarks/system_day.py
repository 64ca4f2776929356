"""A day of 39 tickers on all lanes, from the warehouse's columns through gates, orders and positions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any, Final

from benchmarks.figures import ROOT, Report, percentile

AIM_S: Final = 5.0
ROUNDS: Final = 3


def run(scale: float = 1.0) -> Report:
    """Record a day (below 1 its first part), backtest it in processes of other hash seeds."""
    report = Report("system_day", "A whole day of 39 tickers on all lanes", "python -m benchmarks system_day")
    with tempfile.TemporaryDirectory() as name:
        _child(["record", name, str(min(1.0, scale))])
        found = [json.loads(_child(["backtest", name], str(seed))) for seed in range(1, ROUNDS + 1)]
    cpu_s = percentile([one["cpu_s"] for one in found], 50)
    first, hashes = found[0], {one["hash"] for one in found}
    report.aim(
        "a day of 39 tickers on all lanes (78), CPU of one core", f"≤ {AIM_S:g} s",
        f"{cpu_s:.2f} s ({first['messages']:,} messages, {first['trades']} trades)", cpu_s <= AIM_S,
    )  # fmt: skip
    report.aim("the same hash each time", "yes", first["hash"] if len(hashes) == 1 else "no", len(hashes) == 1)
    report.table(
        f"{first['rows']:,} rows of hubs, {first['quotes']:,} recorded quotes; {first['alerts']} alerts,"
        f" {first['refused']} refused. CPU seconds include reading the day.",
        ("run", "CPU s", "peak MB"),
        [(n, one["cpu_s"], one["peak_mb"]) for n, one in enumerate(found, 1)],
    )
    return report


def _child(words: list[str], hash_seed: str = "0") -> Any:
    command = [sys.executable, "-m", "benchmarks.system_day_child", *words]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
