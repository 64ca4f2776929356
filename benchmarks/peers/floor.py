"""The rule alone, in one compiled loop: no engine, no orders, no records. What is above it is the engine's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from benchmarks.peers.day import BID_MIN_USD, BUY, GAIN, HOLD_NS, LOSS, MEAN_SHARE, PAUSE_NS, SELL, Rows, read, tell


def run(path: Path, threshold: float) -> tuple[Rows, dict[str, float]]:
    """Return the fills."""
    day, about = read(path)
    rows = np.empty((len(day["ts"]), 4), np.int64)
    n = _loop(day["ts"], day["inst"], day["bid"], day["ask"], threshold, len(about["inst"]), rows)
    return rows[:n].copy(), {}


@njit  # type: ignore[untyped-decorator]
def _loop(ts: Any, inst: Any, bids: Any, asks: Any, threshold: float, contracts: int, rows: Any) -> int:
    mean, entry = np.zeros(contracts), np.zeros(contracts)
    entered, quiet = np.zeros(contracts, np.int64), np.zeros(contracts, np.int64)
    n = 0
    for i in range(len(ts)):
        k, bid, ask, now = inst[i], bids[i], asks[i], ts[i]
        mid = (bid + ask) * 0.5
        if mean[k] == 0.0:
            mean[k] = mid
        mean[k] += MEAN_SHARE * (mid - mean[k])
        if entry[k] == 0.0:
            if mid > threshold * mean[k] and bid >= BID_MIN_USD and now > quiet[k]:
                entry[k], entered[k] = ask, now
                rows[n, 0], rows[n, 1], rows[n, 2], rows[n, 3] = now, k, BUY, round(ask * 100)
                n += 1
        elif bid >= GAIN * entry[k] or bid <= LOSS * entry[k] or now - entered[k] > HOLD_NS:
            entry[k], quiet[k] = 0.0, now + PAUSE_NS
            rows[n, 0], rows[n, 1], rows[n, 2], rows[n, 3] = now, k, SELL, round(bid * 100)
            n += 1
    return n


if __name__ == "__main__":
    tell("floor", run, twice=True)
