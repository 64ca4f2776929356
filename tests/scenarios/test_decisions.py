"""The witness: some short stepped days decide what they decided when the reference was written.

A change of a rule changes it on purpose: look at the difference (`python -m tests.scenarios.decisions --compare`), name
it in the changelog, and write the reference anew (`--write tests/scenarios/decisions.jsonl.zst`).
"""

from __future__ import annotations

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
