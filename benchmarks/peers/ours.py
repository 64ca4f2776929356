"""The day through our own desk, told as the other engines' children tell theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common_day
from benchmarks.peers.day import BUY, SELL, Rows, tell
from domain.instruments import Side


def run(path: Path, threshold: float) -> tuple[Rows, dict[str, Any]]:
    """Return the fills, and how many messages it took."""
    result, fills = common_day.traded(path, threshold)
    rows = [
        (at, con_id - common_day.FIRST_ID, BUY if side is Side.BUY else SELL, price)
        for at, con_id, side, price in fills
    ]
    return np.array(rows, np.int64).reshape(-1, 4), {"messages": result.messages}


if __name__ == "__main__":
    tell("ours", run, twice=False)
