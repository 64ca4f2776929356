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
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from benchmarks.common_day import day_file, hash_of, pnl_usd
from benchmarks.figures import ROOT, load_average, machine

OURS: Final = "ours"
THRESHOLDS: Final = (1.25, 1.04)
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
    """Run all engines in turns and print the table; 1 when trades differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="of an environment with requirements-peers.lock")
    parser.add_argument("--newest", type=Path, help="of another one, whose Python has a newer NautilusTrader")
    parser.add_argument("--thr", type=float, action="append", help="entry threshold (default: 1.25 and 1.04)")
    parser.add_argument("--turns", type=int, default=3, help="how often each runs (default 3; the median is told)")
    parser.add_argument("--day", type=Path, metavar="FILE", help="the day's .npz (default: made as the others make it)")
    parser.add_argument("--without", action="append", default=[], help="leave an engine out")
    parser.add_argument("--json", action="store_true", help="for machines")
    given = parser.parse_args()
    engines: dict[str, list[str]] = {
        "floor": [str(given.python), "-m", "benchmarks.peers.floor"],
        "hftbacktest": [str(given.python), "-m", "benchmarks.peers.hft"],
        "NautilusTrader": [str(given.python), "-m", "benchmarks.peers.nautilus"],
        **({"NautilusTrader, newest": [str(given.newest), "-m", "benchmarks.peers.nautilus"]} if given.newest else {}),
        OURS: [sys.executable, "-m", "benchmarks.peers.ours"],
    }
    engines = {name: command for name, command in engines.items() if name not in given.without}
    before = load_average()
    with tempfile.TemporaryDirectory() as name:
        day = day_file(given.day, Path(name))
        tables = {thr: measured(engines, day, thr, given.turns, Path(name)) for thr in given.thr or THRESHOLDS}
    load = f"{before}, {load_average()}"
    if given.json:
        print(
            orjson.dumps({"machine": machine(), "load": load, "found": {str(t): f for t, f in tables.items()}}).decode()
        )
    else:
        print(f"{machine()}\nLoad average before and after: {load}.\n")
        for threshold, table in tables.items():
            print("\n".join(lines_of(threshold, table)))
        print("\n".join(f"- {note}" for note in NOTES))
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
            for key in ("wall_s", "cpu_s", "cold_s", "peak_mb", "process_s")
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
    return {**found, "process_s": round(os.times().elapsed - began.elapsed, 3)}


def lines_of(threshold: float, table: dict[str, Found]) -> list[str]:
    """Return one threshold's table, each engine beside ours: how many times its time and memory are of ours."""
    ours = table.get(OURS)
    lines = [
        f"Threshold {threshold:g}", "",
        "| engine | orders | trades' hash | P&L USD | s, file to last fill | CPU s | cold s | peak MB |"
        " its time / ours | its memory / ours |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, one in table.items():
        times = f"{one['wall_s'] / ours['wall_s']:.2f} ({one['cpu_s'] / ours['cpu_s']:.2f} by CPU)" if ours else ""
        memory = f"{one['peak_mb'] / ours['peak_mb']:.2f}" if ours else ""
        cold = f"{one['cold_s']:.2f}" if "cold_s" in one else ""
        came_to = f"{one['orders']:,} | {one['hash']} | {one['pnl_usd']:+,.0f}"
        took = f"{one['wall_s']:.3f} | {one['cpu_s']:.3f} | {cold} | {one['peak_mb']:.0f}"
        lines.append(f"| {name} {one['version']} | {came_to} | {took} | {times} | {memory} |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
