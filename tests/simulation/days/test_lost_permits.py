"""Days on which answers of risk are lost: asked for alone, and what was reserved is let go, nothing is sent twice."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from config.settings import Settings
from simulation.days.faults import Fault
from simulation.days.one_day import Days, day_settings
from simulation.days.plan import plan_day

SETTINGS: Final = day_settings(has_lost_permits=True, has_slices=True)
PLAIN: Final = day_settings(has_slices=True)
OF_SPREADS: Final = day_settings(has_lost_permits=True, has_spreads=True)


def test_the_rest_of_a_day_stays_as_if_no_answer_were_lost() -> None:
    for seed in range(60):
        losing, plain = plan_day(seed, SETTINGS), plan_day(seed, PLAIN)
        assert (losing.has_lost_permits, plain.has_lost_permits) == (True, False)
        assert replace(losing, has_lost_permits=False) == plain
        assert not plain.is_lost("ZH-paper-a-e", 1)


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "seed"), [(SETTINGS, 7), (OF_SPREADS, 4)], ids=["slices", "spreads"])
def test_a_day_of_lost_answers_breaks_nothing(settings: Settings, seed: int, tmp_path: Path) -> None:
    result = Days(settings, tmp_path, parity_every=0).run(seed)
    assert result.broken == ()
    assert result.coverage.faults[Fault.PERMIT_LOST.name] > 0
