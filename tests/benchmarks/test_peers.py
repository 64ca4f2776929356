"""The common day through other engines: trades are compared one by one, and times stand beside ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.peers.__main__ import OURS, lines_of, measured
from tests.benchmarks.test_common_day import day, plain

__all__ = ["day"]  # the fixture of that small day

# A child as an engine's: it tells the trades of a file that it finds, and what it took.
ANOTHER = (
    "import json, sys; import numpy as np; np.save(sys.argv[3], np.array([[1, 0, 1, 100], [2, 0, 2, 120]]));"
    " print(json.dumps({'wall_s': 3.0, 'cpu_s': 2.0, 'cold_s': 9.0, 'peak_mb': 500, 'version': '1.2'}))"
)


@pytest.mark.slow
def test_our_desk_and_another_engine_stand_beside_each_other_with_the_hashes_of_their_trades(
    day: Path, tmp_path: Path
) -> None:
    engines = {"another": [sys.executable, "-c", ANOTHER], OURS: [sys.executable, "-m", "benchmarks.peers.ours"]}
    table = measured(engines, day, 1.04, 1, tmp_path)
    orders, digest = plain(day, 1.04)
    assert (table[OURS]["orders"], table[OURS]["hash"]) == (orders, digest)
    assert table["another"]["hash"] != digest
    assert (table["another"]["orders"], table["another"]["pnl_usd"]) == (2, 20.0)
    another = next(line for line in lines_of(1.04, table) if line.startswith("| another 1.2"))
    assert f"{3.0 / table[OURS]['wall_s']:.2f} ({2.0 / table[OURS]['cpu_s']:.2f} by CPU)" in another


def test_an_engine_that_fails_is_named(day: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="another failed"):
        measured({"another": [sys.executable, "-c", "raise SystemExit(3)"]}, day, 1.04, 1, tmp_path)
