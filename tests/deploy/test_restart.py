"""A supervisor that is killed under its service manager comes back, reads the broker back, and closes what it holds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from commands.folder import DataFolder
from commands.traces import records
from storage.queries import LedgerReader
from tests.testkit.anchored import ANCHORED_ENVIRONMENT
from tests.testkit.paths import ROOT
from tests.testkit.service_manager import ServiceManager
from tests.testkit.supervisor_child import ENTRIES_FILL, LEAVES_SOON, Supervisor

pytestmark = pytest.mark.slow
UNIT = ROOT / "deploy" / "systemd" / "zerohour.service"
DAY = {**ANCHORED_ENVIRONMENT, **ENTRIES_FILL, "ZEROHOUR_DEMO__START_CLOCK": "09:38:00"}  # it trades from 09:46 on


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    made = DataFolder(tmp_path / "data")
    yield made
    for running in Supervisor.started:
        running.end_if_left()
    for what in ("gateway", "hubs"):
        left = made.sim(what)
        if left is not None:
            left.end()


def test_kill_9_with_a_position_open_is_followed_by_a_start_that_reconciles_and_closes_it(folder: DataFolder) -> None:
    days = iter((DAY, DAY | LEAVES_SOON))
    manager = ServiceManager(UNIT, lambda: Supervisor(folder.root, **next(days)))
    manager.run(1).wait_for("Filled: BUY", 300)  # a busy machine may need a second entry
    folder.kill_file.write_text("1")  # and could come to another one before the stop
    held = LedgerReader(folder.ledgers, "paper").held()
    assert [row["net_qty"] > 0 for row in held] == [True]
    os.kill(manager.run(1).process.pid, signal.SIGKILL)

    second = manager.run(2)
    second.wait_for("Order session: WARMUP (reconciled)")
    second.wait_for("Closed")
    second.process.send_signal(signal.SIGTERM)
    assert manager.ended()  # a clean stop is no failure
    assert len(manager.runs) == 2
    ledger = LedgerReader(folder.ledgers, "paper")
    assert held[0]["position_id"] in [row["position_id"] for row in ledger.trades(ledger.sessions()[0])]
    placed = [
        orjson.loads(line)["message"]["order"]["order_ref"]
        for path in folder.traces_newest_first() for line in records(path) if b'"broker.PlaceOrder"' in line
    ]  # fmt: skip
    assert len(placed) == len(set(placed))  # nothing was sent twice


def test_a_setting_that_is_wrong_is_not_tried_again(folder: DataFolder) -> None:
    manager = ServiceManager(UNIT, lambda: Supervisor(folder.root, ZEROHOUR_ENTRY__RISK_NAV="7"))
    assert manager.ended()
    assert len(manager.runs) == 1
    assert manager.runs[0].process.returncode == 2
