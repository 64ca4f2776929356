"""Sweeps on a local Ray: the table of two processes, resumed where it was left, and only on the same code and data."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from simulation.backtest.cluster import LOCAL, ClusterError, run_on_cluster
from simulation.backtest.sweep import SweepError, Task, Unit, _answer, recorded_digest, sweep
from simulation.days.results import source_digest
from tests.simulation.backtest.test_sweep import Rows, swept, units_of
from tests.testkit import swept_days
from tests.testkit.paths import ROOT
from tests.testkit.swept_days import DIES_AT, dies_on_a_node, made_up, ran

STOPS = tuple(n / 1000 for n in range(250, 317))  # 67 values on three sessions: 201 units
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is in an environment of its own: `make test-ray`")


@pytest.fixture(autouse=True)
def acts_go_along() -> None:
    """Send the tests' own functions by value: a node is given the program alone."""
    if find_spec("ray") is not None:
        import_module("ray.cloudpickle").register_pickle_by_value(swept_days)


def on_ray(units: list[Unit], folder: Path) -> Rows:
    return list(sweep(units, folder / "parts", workers=2, progress=lambda n, of: None, act=made_up, address=LOCAL))


@needs_ray
@pytest.mark.slow
def test_200_runs_come_to_the_table_of_two_processes_and_none_is_run_twice(tmp_path: Path) -> None:
    units = units_of(tmp_path, STOPS)
    assert len(units) > 200
    expected = swept(units, tmp_path / "processes", workers=2)
    assert on_ray(units, tmp_path / "ray") == expected
    assert ran(tmp_path / "series") == 2 * len(units)
    assert on_ray(units, tmp_path / "processes") == expected
    assert ran(tmp_path / "series") == 2 * len(units)


@needs_ray
@pytest.mark.slow
def test_a_sweep_that_is_killed_on_ray_goes_on_in_processes_to_the_same_table(tmp_path: Path) -> None:
    units = units_of(tmp_path, STOPS)
    expected = swept(units, tmp_path / "whole", workers=2)
    (tmp_path / "units").write_bytes(msgspec.json.encode(units))
    program = (
        "import os, signal, sys, msgspec; from pathlib import Path; from simulation.backtest.sweep import Unit, sweep;"
        "import ray.cloudpickle; from tests.testkit import swept_days; folder = Path(sys.argv[1]);"
        "ray.cloudpickle.register_pickle_by_value(swept_days);"
        "units = msgspec.json.decode((folder / 'units').read_bytes(), type=list[Unit]);"
        "dies = lambda n, of: os.kill(os.getpid(), signal.SIGKILL) if n >= of // 2 else None;"
        "list(sweep(units, folder / 'parts', workers=2, progress=dies, act=swept_days.made_up, address='local'))"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=False, capture_output=True)
    assert ended.returncode < 0, ended.stderr
    assert len(list((tmp_path / "parts").glob("*.parquet"))) == len(units) // 2
    assert swept(units, tmp_path, workers=2) == expected


@needs_ray
@pytest.mark.slow
def test_a_job_that_fails_on_its_node_is_said_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    units = units_of(tmp_path)
    with pytest.raises(SweepError, match=r"A job failed on the cluster \(.*made up.*\); what was finished is kept"):
        list(
            sweep(units, tmp_path / "parts", workers=1, progress=lambda n, of: None, act=dies_on_a_node, address=LOCAL)
        )
    assert len(list((tmp_path / "parts").glob("*.parquet"))) == DIES_AT - 1


@needs_ray
@pytest.mark.slow
def test_an_address_where_nothing_answers_is_said_in_one_sentence() -> None:
    with pytest.raises(ClusterError, match=r"^No Ray cluster can be used at auto .*leave --address out\.$"):
        list(run_on_cluster("auto", 1, [1], str))


def test_without_ray_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match="run `make ray`"):
        list(run_on_cluster(LOCAL, 1, [1], str))


def test_a_node_with_other_code_or_other_files_makes_no_row(tmp_path: Path) -> None:
    unit = units_of(tmp_path)[0]
    here = recorded_digest(Path(unit.series), Path(unit.warehouse), unit.session)
    assert isinstance(_answer(made_up, source_digest(), Task(unit, "", here)), dict)
    assert "runs other code" in str(_answer(made_up, "another", Task(unit, "", here)))
    assert "has other files of 2026-11-16" in str(_answer(made_up, source_digest(), Task(unit, "", "another")))
    assert ran(tmp_path / "series") == 1
