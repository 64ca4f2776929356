"""The common day through other engines: trades are compared one by one, and times stand beside ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.__main__ import HFT, NAUTILUS, OURS, measured, report_of
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
    (row,) = (row for row in report_of({1.04: table}).sections[0][2] if row[0] == "another 1.2")
    assert row[-2:] == [f"{2.0 / table[OURS]['cpu_s']:.2f}", f"{500 / table[OURS]['peak_mb']:.2f}"]


def test_each_aim_is_judged_by_what_both_took() -> None:
    def one(cpu_s: float, peak_mb: float, orders: int, digest: str = "aa") -> dict[str, Any]:
        return {
            "wall_s": 9.0, "cpu_s": cpu_s, "cold_s": 9.0, "cold_cpu_s": 6.6, "peak_mb": peak_mb, "process_s": 9.0,
            "process_cpu_s": cpu_s + 0.2, "orders": orders, "hash": digest, "version": "", "pnl_usd": 0.0,
        }  # fmt: skip

    report = report_of({
        1.25: {HFT: one(1.3, 450, 1_000), NAUTILUS: one(10.0, 300, 1_000), OURS: one(0.4, 100, 1_000)},
        1.04: {HFT: one(1.3, 450, 6_000), NAUTILUS: one(10.0, 299, 6_000), OURS: one(1.4, 100, 6_000, "bb")},
    })  # fmt: skip
    assert [(aim.what, aim.measured, aim.is_reached) for aim in report.aims] == [
        ("1.25: the same trades, one by one", "aa", True),
        ("1.25: NautilusTrader, its time of ours", "25.0 times", True),
        ("1.25: NautilusTrader, its memory of ours", "3.00 times", True),
        ("1.25: hftbacktest warm, its time of ours", "3.25 times", True),
        ("1.25: hftbacktest cold, its time of our whole process", "11.0 times", True),
        ("1.04: the same trades, one by one", "differ", False),
        ("1.04: NautilusTrader, its time of ours", "7.1 times", False),
        ("1.04: NautilusTrader, its memory of ours", "2.99 times", False),
        ("1.04: hftbacktest warm, its time of ours", "0.93 times", False),
        ("1.04: hftbacktest cold, its time of our whole process", "4.1 times", False),
        ("ours: CPU ms for each order more", "0.200", False),
    ]


def test_an_engine_that_fails_is_named(day: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="another failed"):
        measured({"another": [sys.executable, "-c", "raise SystemExit(3)"]}, day, 1.04, 1, tmp_path)
