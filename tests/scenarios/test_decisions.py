"""The witness: some short stepped days decide what they decided when the reference was written.

A change of a rule changes it on purpose: look at the difference (`python -m tests.scenarios.decisions --compare`), name
it in the changelog, and write the days that changed anew (`--only DAYS --write FILE`; README.md says how, and why).
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scenarios import decisions

pytestmark = pytest.mark.slow
PLAYED = ("quick-plain", "quick-shuffled", "quick-gateway-drop-held", "quick-kill-and-resume", "quick-crash-position")


@pytest.mark.parametrize("name", PLAYED)
def test_a_day_decides_what_it_decided_before(name: str) -> None:
    scenario = next(scenario for scenario in decisions.SCENARIOS if scenario.name == name)
    lines = decisions.play(scenario)
    kept = decisions.read(decisions.REFERENCE)[name]
    assert decisions.differences(name, kept, lines) == []


def day_of(**cells: Any) -> decisions.Day:
    """A day of which nothing is there but the cells of its actors."""
    day = decisions.Day.__new__(decisions.Day)
    runtime: Any = SimpleNamespace(cells=cells, close=lambda: None)
    day._runtime = runtime
    day.crashing = []
    return day


def test_a_crash_that_meets_nobody_ends_the_scenario() -> None:
    with pytest.raises(LookupError, match="no actor 'position:paper' to crash"):
        day_of().crash(decisions.HELD)


def test_a_crash_that_nothing_wakes_ends_the_scenario() -> None:
    cell = SimpleNamespace(name="risk", actor=object(), decide=lambda: None)
    day = day_of(risk=cell)
    day.crash("risk")
    with pytest.raises(LookupError, match="nothing woke risk"):
        day.close()
    with pytest.raises(RuntimeError):
        cell.decide()
    cell.decide()
    day.close()


def test_writing_some_days_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "days.jsonl.zst"
    decisions.write(path, {"quick-real-pace": ["old"], "quick-plain": ["old"], "a day of before": ["old"]})
    monkeypatch.setattr(decisions, "play", lambda scenario: [f"new {scenario.name}"])
    assert decisions.main(["--only", "quick-plain", "--only", "two-busy", "--write", str(path)]) == 0
    kept = decisions.read(path)
    assert kept == {"quick-plain": ["new quick-plain"], "quick-real-pace": ["old"], "two-busy": ["new two-busy"]}
    assert list(kept) == ["quick-plain", "quick-real-pace", "two-busy"]  # in the order in which days are played
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_day_that_cannot_be_told_leaves_the_others_in_peace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(scenario: decisions.Scenario) -> list[str]:
        if scenario.name == "quick-real-pace":
            raise LookupError("fill 3 never came")
        return ["new"]

    monkeypatch.setattr(decisions, "play", play)
    path = tmp_path / "days.jsonl"
    decisions.write(path, {"quick-real-pace": ["old"]})
    assert decisions.main(["--days", "3", "--write", str(path)]) == 1
    kept = decisions.read(path)
    assert kept["quick-real-pace"] == ["old"]
    assert [name for name, lines in kept.items() if lines == ["new"]] == [
        "quick-plain",
        "quick-gateway-drop-fills-meanwhile",
    ]
    assert "quick-real-pace" in capsys.readouterr().out.splitlines()[-1]


def test_a_run_that_is_cut_short_keeps_what_it_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(scenario: decisions.Scenario) -> list[str]:
        if scenario.name == "quick-real-pace":
            raise KeyboardInterrupt
        return ["new"]

    monkeypatch.setattr(decisions, "play", play)
    path = tmp_path / "days.jsonl"
    with pytest.raises(KeyboardInterrupt):
        decisions.main(["--days", "2", "--write", str(path)])
    assert decisions.read(path) == {"quick-plain": ["new"]}
