"""What every engine's child shares: the day's file, the numbers of the rule, and how a run is told.

A child runs in the environment of its engine, so this needs nothing but numpy. It is called as
`python -m benchmarks.peers.ENGINE DAY.npz THRESHOLD ROWS.npy` and prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SECOND: Final = 1_000_000_000
MEAN_SHARE: Final = 0.01  # of the newest mid in the slow mean
BID_MIN_USD: Final = 0.50
GAIN: Final = 1.2
LOSS: Final = 0.88
HOLD_NS, PAUSE_NS, CANCEL_NS = 600 * SECOND, 30 * SECOND, 2 * SECOND
BUY, SELL = 1, 2

Rows = NDArray[np.int64]  # instant (ns UTC), contract, side, price in cents; a row a fill
Day = dict[str, NDArray[Any]]


def read(path: Path) -> tuple[Day, dict[str, Any]]:
    """Return the day's columns (`ts inst bid ask bsz asz`) and what lies beside them."""
    with np.load(path) as columns:
        day = {name: columns[name] for name in ("ts", "inst", "bid", "ask", "bsz", "asz")}
    return day, json.loads(path.with_suffix(".json").read_bytes())


def tell(engine: str, run: Callable[[Path, float], tuple[Rows, dict[str, float]]], *, twice: bool) -> None:
    """Run the day of the command line, from the file to the last fill, and print what it took.

    With `twice` the first run, which compiles, is told as `cold_s`, and the second as the engine's time.
    """
    path, threshold, out = Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    cold_s = cold_cpu_s = None
    if twice:
        began, began_cpu = time.perf_counter(), time.process_time()
        run(path, threshold)
        cold_s, cold_cpu_s = round(time.perf_counter() - began, 4), round(time.process_time() - began_cpu, 4)
    began, began_cpu = time.perf_counter(), time.process_time()
    rows, more = run(path, threshold)
    left_out = more.get("left_out_s", 0.0)
    found = {
        "engine": engine, "wall_s": round(time.perf_counter() - began - left_out, 4),
        "cpu_s": round(time.process_time() - began_cpu - more.get("left_out_cpu_s", 0.0), 4), "cold_s": cold_s,
        "cold_cpu_s": cold_cpu_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, **more,
    }  # fmt: skip
    np.save(out, rows)
    print(json.dumps(found))
