"""Days on which read-backs take time and reports come in any order: asked for alone, and nothing breaks on them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec.structs import replace

from simulation.days.faults import Fault
from simulation.days.one_day import Days, day_settings
from simulation.days.plan import plan_day

SEED: Final = 11
SETTINGS: Final = day_settings(has_slow_reads=True)
PLAIN: Final = day_settings()


def test_the_rest_of_a_day_stays_as_if_nobody_had_heard_of_slow_read_backs() -> None:
    for seed in range(60):
        slow, plain = plan_day(seed, SETTINGS), plan_day(seed, PLAIN)
        assert (slow.has_slow_reads, plain.has_slow_reads) == (True, False)
        assert replace(slow, has_slow_reads=False) == plain


def test_a_day_of_slow_read_backs_breaks_nothing(tmp_path: Path) -> None:
    result = Days(SETTINGS, tmp_path, parity_every=0).run(SEED)
    assert result.broken == ()
    assert result.coverage.faults[Fault.READ_SLOW.name] > 2
