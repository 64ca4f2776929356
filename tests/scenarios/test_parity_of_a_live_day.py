"""A live stretch (threads, sockets) is recorded, then backtested: the same signals, gates, orders and fills."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.folder import DataFolder
from config.settings import load_settings
from storage.queries import LedgerReader
from tests.testkit.anchored import ANCHORED_ENVIRONMENT
from tests.testkit.live_folder import live_folder
from tests.testkit.supervisor_child import ENTRIES_FILL, LEAVES_SOON, Supervisor, main_py

pytestmark = pytest.mark.slow
# The first trade opens shortly after 09:46. Its limit is not moved before the broker has told of it, however busy the
# machine: a backtest's broker tells at once.
BEFORE_THE_FIRST_TRADE = {
    **ANCHORED_ENVIRONMENT, **ENTRIES_FILL, **LEAVES_SOON, "ZEROHOUR_DEMO__START_CLOCK": "09:38:00",
    "ZEROHOUR_EXITS__ENTRY_MID_MS": "5000",
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with live_folder(tmp_path / "data") as root:
        yield root


def test_a_live_stretch_and_its_backtest_show_the_same_signals_gates_orders_and_fills(data: Path) -> None:
    running = Supervisor(data, **BEFORE_THE_FIRST_TRADE)
    running.wait_for("Filled: BUY", 300)
    running.wait_for("Closed", 300)
    running.end(signal.SIGTERM)

    settings = load_settings(profile="demo", overrides={"data_dir": str(data)})
    session = settings.demo.session
    then = LedgerReader(DataFolder(data).ledgers, settings.desk)
    traded = {row["order_ref"] for row in then.executions(session)}
    assert len(traded) >= 2  # an entry and its exit

    words = ("backtest", str(session), str(session), "--parity", "--json")
    compared = main_py(data, *words, timeout_s=600, **BEFORE_THE_FIRST_TRADE)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    told = json.loads(compared.stdout)
    assert told["is_heard"]
    # An order may differ by the milliseconds that a desk takes to work; nothing is unexplained.
    assert all(one["cause"] for one in told["differences"]), told["differences"]
    assert told["same"]["alert"] == len(then.alerts(session)) > 0
    assert told["same"]["gate"] == len(then.attempts(session)) > 0
    assert told["same"]["fill"] == len(traded)
