"""The order in which files of tests are handed out: the longest first, then all others that hold a slow test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.conftest import LONGEST_FIRST, pytest_collection_modifyitems
from tests.testkit.paths import ROOT


def item(file: str, name: str, *, is_slow: bool = False) -> Any:
    return SimpleNamespace(nodeid=f"{file}::{name}", get_closest_marker=lambda name: is_slow or None)


def test_the_longest_files_are_there() -> None:
    assert [file for file in LONGEST_FIRST if not (ROOT / file).is_file()] == []


def test_long_files_come_first_then_those_with_a_slow_test_and_each_keeps_its_own_order() -> None:
    last, first = LONGEST_FIRST[1], LONGEST_FIRST[0]
    items = [
        item("tests/a.py", "one"), item("tests/b.py", "quick"), item("tests/b.py", "slow", is_slow=True),
        item(last, "b"), item(last, "a"), item(first, "a", is_slow=True),
    ]  # fmt: skip
    pytest_collection_modifyitems(items)
    assert [one.nodeid for one in items] == [
        f"{first}::a", f"{last}::b", f"{last}::a", "tests/b.py::quick", "tests/b.py::slow", "tests/a.py::one",
    ]  # fmt: skip
