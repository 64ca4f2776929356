"""A data folder for tests that start supervisors and servers on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from commands.folder import DataFolder
from tests.testkit.supervisor_child import Supervisor


@contextlib.contextmanager
def live_folder(root: Path) -> Iterator[Path]:
    """Give a data folder, and end whatever a test that failed has left running on it."""
    folder = DataFolder(root)
    yield folder.root
    for running in Supervisor.started:
        running.end_if_left()
    for what in ("gateway", "hubs"):
        left = folder.sim(what)
        if left is not None:
            left.end()
