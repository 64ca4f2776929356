"""Every guard of the desk, taken out once in a process of its own, is missed by the test that its row names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.mutants.rooms import ROOT
from tests.mutants.sabotage import ALL, Sabotage

pytestmark = [pytest.mark.slow, pytest.mark.sabotage]
FAILED, PASSED = 1, 0


def run(row: Sabotage, *, is_sound: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the row's test on a desk without the guard, or on the sound one."""
    module = ["pytest", "-p", "no:cacheprovider", row.test] if is_sound else ["tests.mutants.sabotage", row.name]
    return subprocess.run(
        [sys.executable, "-m", *module], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_a_guard_that_is_taken_out_is_missed_by_its_test(row: Sabotage) -> None:
    done = run(row)
    assert done.returncode == FAILED, f"nobody misses {row.name!r}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_the_same_test_passes_where_the_guard_stands() -> None:
    done = run(ALL[0], is_sound=True)
    assert done.returncode == PASSED, done.stdout[-2000:]
