"""Results are kept as they are made, taken up again, and never mixed with those of other code."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation.days.coverage import EDGES, Coverage, judged
from simulation.days.faults import Fault
from simulation.days.one_day import DayResult, day_settings
from simulation.days.results import Results, SweepError
from simulation.days.sweep import chunks_of


def result(seed: int) -> DayResult:
    return DayResult(
        seed=seed, cpu_s=0.1, messages=5, lives=1, executions=2, digest="d", broken=(), is_same=None,
        coverage=Coverage(faults={"HALT": 1}),
    )  # fmt: skip


def test_results_are_taken_up_and_a_torn_last_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "days.jsonl"
    first = Results(path, day_settings(), "code", DayResult)
    first.add(result(1))
    first.add(result(2))
    first.close()
    with path.open("ab") as file:
        file.write(b'{"seed":3,"cpu')
    again = Results(path, day_settings(), "code", DayResult)
    assert sorted(again.done) == [1, 2]
    again.add(result(3))
    again.close()
    assert sorted(Results(path, day_settings(), "code", DayResult).done) == [1, 2, 3]


def test_results_of_other_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "days.jsonl"
    Results(path, day_settings(), "code", DayResult).close()
    with pytest.raises(SweepError, match="another version"):
        Results(path, day_settings(), "other", DayResult)
    (tmp_path / "foreign").write_text("hello\n")
    with pytest.raises(SweepError, match="no results file"):
        Results(tmp_path / "foreign", day_settings(), "code", DayResult)


def test_a_second_sweep_does_not_write_into_the_results_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "days.jsonl"
    first = Results(path, day_settings(), "code", DayResult)
    with pytest.raises(SweepError, match="another sweep"):
        Results(path, day_settings(), "code", DayResult)
    first.add(result(1))
    first.close()
    assert sorted(Results(path, day_settings(), "code", DayResult).done) == [1]


def test_a_results_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="cannot be written"):
        Results(tmp_path, day_settings(), "code", DayResult)


def test_chunks_hold_the_days_of_one_market() -> None:
    assert list(chunks_of(range(48, 53))) == [(48, 49), (50, 51, 52)]
    assert list(chunks_of([])) == []


def test_what_is_not_reached_is_named_with_its_test_or_as_missing() -> None:
    coverage = Coverage()
    coverage.fault(Fault.HALT)
    coverage.add(Coverage(faults={"HALT": 2}, edges={EDGES[0]: 1}))
    faults, edges, codes = judged(coverage)
    assert faults.reached == {"HALT": 3}
    assert edges.reached == {EDGES[0]: 1}
    assert len(edges.missing) + len(edges.elsewhere) == len(EDGES) - 1
    assert codes.reached == {}
