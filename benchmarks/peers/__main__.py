"""`make bench-peers`: the common day through other engines and through our desk, in turns, and how they compare.

Each run is a process of its own; engines take turns, so that a machine that grows busier slows all of them. Trades are
compared one by one, by their hash. Seconds go from the file (in memory by then) to the last fill, imports left out, as
every engine's makers would count; a compiled engine is told warm and cold.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from benchmarks.__main__ import keep, write
from benchmarks.common_day import day_file, hash_of, pnl_usd
from benchmarks.figures import ROOT, Report, load_average, machine, others_cores

OURS, HFT, NAUTILUS = "ours", "hftbacktest", "NautilusTrader"
THRESHOLDS: Final = (1.25, 1.04)
TURNS: Final = 3
MEASURED: Final = ("wall_s", "cpu_s", "cold_s", "cold_cpu_s", "peak_mb", "process_s", "process_cpu_s")
COLUMNS: Final = (
    "engine", "orders", "trades' hash", "P&L USD", "s, file to last fill", "CPU s", "cold s", "whole process s",
    "peak MB", "its CPU s / ours", "its memory / ours",
)  # fmt: skip
KEPT: Final = "All engines at both thresholds are kept in benchmarks/RESULTS.md."
# What the others leave out or take along, so that nobody reads a ratio as more than it is.
NOTES: Final = (
    "ours: every order passes the gates, the ledgers (SQLite in memory), the order session and a position actor; quotes"
    " that change no decision are never made messages",
    "NautilusTrader: accounts, risk engine, cache and an event for each quote; no ledger that outlives the run",
    "hftbacktest: a depth book a contract, queue positions and latency are on offer; no accounts, risk checks or"
    " record; the conversion of quotes to depth events is left out of its time",
    "floor: the rule in one compiled loop, without an engine",
)
Found = dict[str, Any]


def main() -> int:
    """Run all engines in turns and print the tables; 1 when trades differ."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=f"{(__doc__ or '').splitlines()[0]} {KEPT}"
    )
    parser.add_argument("--python", type=Path, required=True, help="of an environment with requirements-peers.lock")
    parser.add_argument("--newest", type=Path, help="of another one, whose Python has a newer NautilusTrader")
    parser.add_argument("--thr", type=float, action="append", help="entry threshold (default: 1.25 and 1.04)")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"how often each runs (default {TURNS}; medians)")
    parser.add_argument("--day", type=Path, metavar="FILE", help="the day's .npz (default: made as the others make it)")
    parser.add_argument("--without", action="append", default=[], help="leave an engine out")
    parser.add_argument("--json", action="store_true", help="for machines")
    given = parser.parse_args()
    engines: dict[str, list[str]] = {
        "floor": [str(given.python), "-m", "benchmarks.peers.floor"],
        HFT: [str(given.python), "-m", "benchmarks.peers.hft"],
        NAUTILUS: [str(given.python), "-m", "benchmarks.peers.nautilus"],
        **({f"{NAUTILUS}, newest": [str(given.newest), "-m", "benchmarks.peers.nautilus"]} if given.newest else {}),
        OURS: [sys.executable, "-m", "benchmarks.peers.ours"],
    }
    for python in filter(None, (given.python, given.newest)):
        if not python.exists():
            parser.error(f"there is no {python}; `make bench-peers` makes that environment")
    unknown = sorted(set(given.without) - set(engines))
    if unknown or given.turns < 1:
        parser.error(f"--without takes one of {', '.join(engines)}" if unknown else "--turns takes 1 or more")
    engines = {name: command for name, command in engines.items() if name not in given.without}
    before, others, began = load_average(), others_cores(), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        day = day_file(given.day, Path(name))
        tables = {thr: measured(engines, day, thr, given.turns, Path(name)) for thr in given.thr or THRESHOLDS}
    report = report_of(tables)
    report.seconds, report.others_cores = time.perf_counter() - began, others
    report.load, report.at = f"{before}, {load_average()}", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if given.json:
        found = {"machine": machine(), "load": report.load, "found": {str(t): f for t, f in tables.items()}}
        print(orjson.dumps(found).decode())
    else:
        print(f"{machine()}\n\n{report.markdown()}")
    if not given.without and not given.thr and given.turns >= TURNS:
        keep(report)
        write()
    return 0 if all(len({one["hash"] for one in table.values()}) == 1 for table in tables.values()) else 1


def measured(engines: dict[str, list[str]], day: Path, threshold: float, turns: int, folder: Path) -> dict[str, Found]:
    """Return by engine the medians of its runs, with its trades' hash and P&L.

    Raises:
        SystemExit: an engine failed.
    """
    about = orjson.loads(day.with_suffix(".json").read_bytes())
    runs: dict[str, list[Found]] = {name: [] for name in engines}
    rows = folder / "rows.npy"
    for _ in range(turns):
        for name, command in engines.items():
            print(f"{name}, {threshold:g} ...", file=sys.stderr, flush=True)
            runs[name].append(_run(name, [*command, str(day), str(threshold), str(rows)]))
            runs[name][-1]["rows"] = np.load(rows).tolist()
    found = {}
    for name, of_engine in runs.items():
        trades = of_engine[0]["rows"]
        if any(one["rows"] != trades for one in of_engine):
            raise SystemExit(f"{name} traded differently in two runs of one day.")
        numbers = {
            key: statistics.median(one[key] for one in of_engine)
            for key in MEASURED
            if of_engine[0].get(key) is not None
        }
        digest = hash_of([(ts, about["inst"][k]["symbol"], side, cents) for ts, k, side, cents in trades])
        found[name] = {
            **numbers, "orders": len(trades), "hash": digest, "version": of_engine[0].get("version", ""),
            "pnl_usd": pnl_usd([(k, side == 1, cents) for _, k, side, cents in trades]),
        }  # fmt: skip
    return found


def _run(name: str, command: list[str]) -> Found:
    began = os.times()
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, capture_output=True, text=True
    )
    if ran.returncode:
        raise SystemExit(f"{name} failed:\n{ran.stderr[-2000:]}")
    found: Found = json.loads(ran.stdout.splitlines()[-1])
    ended = os.times()
    cpu_s = ended.children_user - began.children_user + ended.children_system - began.children_system
    return {**found, "process_s": round(ended.elapsed - began.elapsed, 3), "process_cpu_s": round(cpu_s, 3)}


def report_of(tables: dict[float, dict[str, Found]]) -> Report:
    """Return what was measured, a table a threshold, with each engine beside ours where ours ran."""
    report = Report("peers", "The common day beside other engines", "make bench-peers")
    for threshold, table in tables.items():
        ours = table.get(OURS)
        if ours is not None:
            _aims(report, threshold, table, ours)
        report.table(f"Threshold {threshold:g}, medians of turns", COLUMNS, [
            _cells(name, one, ours) for name, one in table.items()
        ])  # fmt: skip
    if len(tables) > 1 and all(OURS in table for table in tables.values()):
        few, *_, many = sorted((table[OURS] for table in tables.values()), key=itemgetter("orders"))
        ms = (many["cpu_s"] - few["cpu_s"]) / max(1, many["orders"] - few["orders"]) * 1_000
        report.aim("ours: CPU ms for each order more", "≤ 0.15", f"{ms:.3f}", ms <= 0.15)
    for note in NOTES:
        report.note(note)
    return report


def _aims(report: Report, threshold: float, table: dict[str, Found], ours: Found) -> None:
    """Say what is aimed at; shares are of CPU time, which a busy machine moves least."""
    same = len({one["hash"] for one in table.values()}) == 1
    report.aim(f"{threshold:g}: the same trades, one by one", "all", ours["hash"] if same else "differ", same)
    peer = table.get(NAUTILUS)
    if peer is not None:
        times, memory = peer["cpu_s"] / ours["cpu_s"], peer["peak_mb"] / ours["peak_mb"]
        report.aim(f"{threshold:g}: {NAUTILUS}, its time of ours", "≥ 25 times", f"{times:.1f} times", times >= 25)
        report.aim(f"{threshold:g}: {NAUTILUS}, its memory of ours", "≥ 3 times", f"{memory:.2f} times", memory >= 3)
    peer = table.get(HFT)
    if peer is not None:
        warm, cold = peer["cpu_s"] / ours["cpu_s"], peer["cold_cpu_s"] / ours["process_cpu_s"]
        report.aim(f"{threshold:g}: {HFT} warm, its time of ours", "≥ 3 times", f"{warm:.2f} times", warm >= 3)
        report.aim(
            f"{threshold:g}: {HFT} cold, its time of our whole process", "≥ 10 times", f"{cold:.1f} times", cold >= 10
        )


def _cells(name: str, one: Found, ours: Found | None) -> list[str]:
    shares = ["", ""] if ours is None else [
        f"{one['cpu_s'] / ours['cpu_s']:.2f}", f"{one['peak_mb'] / ours['peak_mb']:.2f}"
    ]  # fmt: skip
    cold = f"{one['cold_s']:.2f}" if "cold_s" in one else ""
    return [
        f"{name} {one['version']}".strip(), f"{one['orders']:,}", one["hash"], f"{one['pnl_usd']:+,.0f}",
        f"{one['wall_s']:.3f}", f"{one['cpu_s']:.3f}", cold, f"{one['process_s']:.2f}", f"{one['peak_mb']:.0f}",
        *shares,
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
