"""A day traded again with the settings that it had brings every trade that it truly had."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.folder import DataFolder
from commands.replay import read_header
from commands.what_if import lines_of, what_if
from config.settings import from_json
from simulation.backtest.model import FillModel
from storage.queries import LedgerReader
from tests.testkit import web_desk as desk


@pytest.mark.slow
def test_unchanged_settings_bring_every_trade_of_the_day(folder: Path) -> None:
    data = DataFolder(folder)
    settings = from_json(bytes(read_header(data.traces_of(desk.DAY)[0]).settings))
    found = what_if(data, desk.DAY, settings, settings, FillModel())
    truly = LedgerReader(data.ledgers, settings.desk).trades(desk.DAY)
    assert truly, "the day had a trade"
    for day in (found.then, found.here):
        assert [(one.contract.split()[0], one.qty, one.pnl_cents, one.reason) for one in day.trades] == [
            (row["trading_class"], row["opened_qty"], row["realised_cents"], row["exit_reason"]) for row in truly
        ]
    assert "truly had" not in "\n".join(lines_of(found, Path("same.yaml")))
