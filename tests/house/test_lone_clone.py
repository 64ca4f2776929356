"""A lone clone is the normal case: what lies beside the checkout is named in one place, and its absence is said."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from tests.conftest import pytest_terminal_summary
from tests.testkit.paths import ABSENT, ROOT, needs_recorded_callbacks, needs_recorded_day

MARKED = {"LEAN": "needs_recorded_day", "CALLBACKS": "needs_recorded_callbacks"}


@pytest.mark.parametrize(("name", "marker"), MARKED.items())
def test_recorded_data_is_used_only_where_tests_are_marked_for_it(name: str, marker: str) -> None:
    files = {
        str(path.relative_to(ROOT)): text
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if re.search(rf"import .*\b{name}\b", text := path.read_text(encoding="utf-8"))
    }
    assert files
    assert [file for file, text in files.items() if marker not in text] == []


def test_only_the_testkit_knows_what_lies_beside_the_checkout() -> None:
    beside = re.compile(r"ROOT\.parent|parents\[3\]|\.\./shared")
    known = {"tests/testkit/paths.py", "tests/conftest.py", "tests/house/test_lone_clone.py"}
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if beside.search(path.read_text(encoding="utf-8"))
    }
    assert found <= known


def test_the_summary_of_a_run_counts_what_was_left_out() -> None:
    reasons = [mark.mark.kwargs["reason"] for mark in (needs_recorded_day, needs_recorded_callbacks)]
    assert all(reason.startswith(ABSENT) for reason in reasons)
    skipped = [SimpleNamespace(longrepr=("f.py", 1, f"Skipped: {text}")) for text in (*reasons, "no clients")]
    lines: list[str] = []
    for stats in ({"skipped": skipped}, {"skipped": skipped[2:]}, {}):
        pytest_terminal_summary(SimpleNamespace(stats=stats, write_line=lines.append))
    assert lines == ["2 tests were skipped: ../shared/data, recorded by others, is not beside this checkout."]
