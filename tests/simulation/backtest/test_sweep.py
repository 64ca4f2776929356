"""Sweeps over processes: the same table however it comes about, and nothing is run twice."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.settings import load_settings
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.sweep import SweepError, Unit, _store, row_of, stored_row, sweep
from tests.testkit.paths import ROOT
from tests.testkit.swept_days import DIES_AT, RAN, day_of, dies, made_up, ran

SESSIONS = tuple(date(2026, 11, day) for day in (16, 17, 18))
STOPS = (0.25, 0.3, 0.4)
Rows = list[tuple[int, dict[str, Any]]]


def units_of(folder: Path, stops: tuple[float, ...] = STOPS) -> list[Unit]:
    series = folder / "series"
    for session in SESSIONS:
        (series / session.isoformat()).mkdir(parents=True, exist_ok=True)
    return [
        Unit(
            combination=n, session=session,
            settings=load_settings(None, None, {"exits": {"premium_stop": stop}}).to_json(), model=FillModel(),
            promotions={"gexwatch": ("GAMMA_FLIP-1",)}, nav_cents=Cents(30_000_000), series=str(series),
            warehouse=str(folder / "warehouse"),
        )
        for session in SESSIONS for n, stop in enumerate(stops)
    ]  # fmt: skip


def swept(units: list[Unit], folder: Path, workers: int = 1) -> Rows:
    return list(sweep(units, folder / "parts", workers=workers, progress=lambda n, of: None, act=made_up))


@pytest.mark.slow
def test_two_processes_come_to_the_table_of_one_and_what_is_there_is_not_run_again(tmp_path: Path) -> None:
    units = units_of(tmp_path)
    one, two = swept(units, tmp_path / "1"), swept(units, tmp_path / "2", workers=2)
    assert one == two
    assert ran(tmp_path / "series") == 2 * len(units)
    assert [(n, row["session"], row["net_cents"]) for n, row in one[:4]] == [
        (0, SESSIONS[0], 3300), (1, SESSIONS[0], 4100), (2, SESSIONS[0], 5700), (0, SESSIONS[1], 3550),
    ]  # fmt: skip
    assert swept(units, tmp_path / "1") == one
    assert ran(tmp_path / "series") == 2 * len(units)


@pytest.mark.slow
def test_a_sweep_that_is_killed_half_way_goes_on_to_the_same_table(tmp_path: Path) -> None:
    units = units_of(tmp_path)
    expected = swept(units, tmp_path / "whole")
    (tmp_path / "series" / RAN).unlink()
    (tmp_path / "units").write_bytes(msgspec.json.encode(units))
    program = (
        "import sys, msgspec; from pathlib import Path; from simulation.backtest.sweep import Unit, sweep;"
        "from tests.testkit.swept_days import kills_the_sweep; folder = Path(sys.argv[1]);"
        "units = msgspec.json.decode((folder / 'units').read_bytes(), type=list[Unit]);"
        "list(sweep(units, folder / 'parts', workers=2, progress=lambda n, of: None, act=kills_the_sweep))"
    )
    # Its processes hold the pipe: they too have ended once it is closed.
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=False, capture_output=True)
    assert ended.returncode < 0
    ran_before = ran(tmp_path / "series")
    assert DIES_AT <= ran_before <= DIES_AT + 1
    left = len(units) - len(list((tmp_path / "parts").glob("*.parquet")))
    assert swept(units, tmp_path, workers=2) == expected
    assert ran(tmp_path / "series") == ran_before + left


@pytest.mark.slow
def test_a_process_that_dies_is_said_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    units = units_of(tmp_path)
    with pytest.raises(SweepError, match=r"exit code 7.*run the same command to go on"):
        list(sweep(units, tmp_path / "parts", workers=1, progress=lambda n, of: None, act=dies))
    assert len(list((tmp_path / "parts").glob("*.parquet"))) == DIES_AT - 1
    assert len(swept(units, tmp_path)) == len(units)
    assert ran(tmp_path / "series") == len(units) + 1


@pytest.mark.slow
def test_only_what_a_change_touches_is_run_again(tmp_path: Path) -> None:
    swept(units_of(tmp_path), tmp_path)
    wider = units_of(tmp_path, (*STOPS, 0.45))
    swept(wider, tmp_path)
    assert ran(tmp_path / "series") == len(wider)  # a value more: its sessions alone
    (tmp_path / "series" / SESSIONS[1].isoformat() / "quotes.jsonl").write_text("{}\n", "utf-8")
    swept(wider, tmp_path)
    assert ran(tmp_path / "series") == len(wider) + 4  # a session is recorded further: every combination on it
    worse = [msgspec.structs.replace(unit, model=FillModel(crossing=1.5)) for unit in wider]
    swept(worse, tmp_path)
    assert ran(tmp_path / "series") == 2 * len(wider) + 4


@pytest.mark.slow
def test_a_result_that_was_not_written_whole_is_none(tmp_path: Path) -> None:
    units = units_of(tmp_path, (0.3,))[:1]
    swept(units, tmp_path)
    (part,) = (tmp_path / "parts").glob("*.parquet")
    part.rename(part.with_suffix(".tmp"))
    swept(units, tmp_path)
    assert ran(tmp_path / "series") == 2


@pytest.mark.slow
def test_a_result_that_is_cut_is_made_again(tmp_path: Path) -> None:
    units = units_of(tmp_path, (0.3,))
    expected = swept(units, tmp_path)
    parts = sorted((tmp_path / "parts").glob("*.parquet"))
    parts[0].write_bytes(b"")
    parts[1].write_bytes(parts[1].read_bytes()[:-9])
    assert swept(units, tmp_path) == expected
    assert ran(tmp_path / "series") == len(units) + 2
    assert sorted((tmp_path / "parts").iterdir()) == parts


def test_no_byte_of_a_result_can_be_another_and_its_figures_be_believed(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    row = row_of(day_of(SESSIONS[0], [4000, -700]))
    _store(path, row)
    whole = path.read_bytes()
    believed = 0
    for n in range(len(whole)):
        path.write_bytes(whole[:n] + bytes([whole[n] ^ 0x10]) + whole[n + 1 :])
        found = stored_row(path)
        assert found in (None, row)
        believed += found is not None
    assert believed < len(whole)
