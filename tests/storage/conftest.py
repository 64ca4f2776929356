"""What several tests of the stores begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.units import Utc
from storage.desk_ledger import DeskLedger
from storage.series import seal
from storage.shared_ledger import start_run
from tests.storage.test_series import DAY, quoted, reading, stored
from tests.testkit.small_disks import mounted


@pytest.fixture
def ledger(tmp_path: Path) -> DeskLedger:
    """An empty ledger of the desk `paper`, open."""
    desk = DeskLedger(tmp_path, "paper", run_n=1)
    desk.open()
    return desk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder with ledgers, a finished day of series and a trace."""
    made = tmp_path / "data"
    start_run(made / "ledgers", ("paper",), Utc(5))
    stored(made / "series", reading(0), quoted(0))
    seal(made / "series", DAY)
    trace = made / "traces" / DAY.isoformat() / "run-1.jsonl.zst"
    trace.parent.mkdir(parents=True)
    trace.write_bytes(b"a finished trace")
    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with mounted(tmp_path / "small", 8) as folder:
        yield folder
