"""A pytest plugin: which edges of the state machines each test takes, as JSON into the file of `EDGE_RECORD`."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from simulation.days.coverage import count_edges

_COUNTS = count_edges()
_TAKEN: dict[str, list[str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    before = dict(_COUNTS)
    yield
    _TAKEN[item.nodeid] = [name for name, count in _COUNTS.items() if count > before.get(name, 0)]


def pytest_sessionfinish() -> None:
    Path(os.environ["EDGE_RECORD"]).write_text(json.dumps(_TAKEN), encoding="utf-8")
