"""A whole faulty day: the same each time, the same stepped every second, and broken where the desk is."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.position import actor as position_actor
from simulation.days.one_day import Days, day_settings

SEED = 10  # roomy: some twenty executions, a delayed quote and a reset of the quote link


@pytest.mark.slow
def test_a_day_is_the_same_each_time_and_stepped_every_second(tmp_path: Path) -> None:
    days = Days(day_settings(), tmp_path, parity_every=0)
    first, again = days.run(SEED), days.run(SEED)
    assert first.broken == ()
    assert (first.digest, first.messages, first.executions) == (again.digest, again.messages, again.executions)
    assert first.executions > 0
    assert days.is_same(SEED)


@pytest.mark.slow
def test_a_desk_whose_exits_are_disabled_breaks_an_invariant_and_leaves_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(position_actor, "steer_exit", lambda rules, turn: None)
    days = Days(day_settings(), tmp_path / "days", parity_every=0)
    found = days.run(SEED).broken
    assert any("after a flatten" in text or "not flat" in text for text in found), found
    assert days.trace(SEED, tmp_path / "trace") == found
    assert (tmp_path / "trace" / "findings.txt").read_text(encoding="utf-8").startswith(f"seed {SEED}: ")
    assert list((tmp_path / "trace").glob("trace-*.jsonl"))
