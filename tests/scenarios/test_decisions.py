"""The witness: some short stepped days decide what they decided when the reference was written.

A change of a rule changes it on purpose: look at the difference (`python -m tests.scenarios.decisions --compare`), name
it in the changelog, and write the reference anew (`--write tests/scenarios/decisions.jsonl.zst`).
"""

from __future__ import annotations

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
