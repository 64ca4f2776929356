"""A part of a demo day on the broker alone: its chains give gamma, gamma gives alerts, and a position opens."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.folder import DataFolder
from storage.views.database import Database
from tests.testkit.anchored import ANCHORED_ENVIRONMENT
from tests.testkit.live_folder import live_folder
from tests.testkit.supervisor_child import ENTRIES_FILL, Supervisor

pytestmark = pytest.mark.slow
BROKERS_CHAINS = {
    **ANCHORED_ENVIRONMENT,
    **ENTRIES_FILL,
    "ZEROHOUR_FEED__SOURCE": "chain",
    "ZEROHOUR_FEED__CHAIN__ORIGIN": "broker",
    "ZEROHOUR_FEED__CHAIN__LINES": "40",
    "ZEROHOUR_DEMO__START_CLOCK": "11:25:00",  # the first trade opens at 11:36
}
A_SECOND_ENTRY_S = 300


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with live_folder(tmp_path / "data") as root:
        yield root


def test_a_day_on_the_brokers_chains_trades_without_the_vendor_and_stores_them(data: Path) -> None:
    supervisor = Supervisor(data, **BROKERS_CHAINS)
    supervisor.wait_for("Filled: BUY", A_SECOND_ENTRY_S)
    folder = DataFolder(data)
    assert folder.sim("hubs") is None
    supervisor.end(signal.SIGTERM)
    db = Database(data)
    assert db.rows("SELECT DISTINCT hub, mode FROM rows") == [{"hub": "chain", "mode": "chain"}]
    kept = db.rows("SELECT ticker, count(DISTINCT expiry) AS expiries, count(iv) AS n FROM chains GROUP BY ALL")
    assert {row["ticker"]: row["expiries"] for row in kept} == {"SPX": 2, "QQQ": 2}
    assert all(row["n"] > 0 for row in kept)
