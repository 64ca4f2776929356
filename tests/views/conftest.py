"""One small day for all tests of views, commands and notebooks: two hours of the stepped runtime, sealed once a run."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from domain.instants import at_exchange
from storage.views.database import Database
from storage.warehouse import Warehouse
from tests.testkit import bucket_rows as make
from tests.testkit.once import made_once
from tests.testkit.small_day import small_day


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as a supervisor leaves it at 11:30; nobody writes to it."""
    return made_once(tmp_path_factory, "small-day", _play)


def _play(made: Path) -> None:
    small_day(made, at_exchange(make.DAY, time(11, 30)))
    warehouse = Warehouse(made / "warehouse")
    warehouse.open()
    assert warehouse.start_seal()
    assert warehouse.wait_for_seal() == ""
    warehouse.close()


@pytest.fixture(scope="session")
def db(folder: Path) -> Database:
    return Database(folder)
