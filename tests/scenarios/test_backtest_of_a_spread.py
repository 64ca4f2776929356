"""A recorded morning with the credit spread, backtested: it is opened, both legs fill, and it is settled or left."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from commands.backtest import promotions_of
from commands.folder import DataFolder
from config.settings import Settings, load_settings
from domain.instants import at_exchange
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.run import Backtest
from simulation.day import start_of, stepped_day
from storage.queries import LedgerReader
from supervision.trace import NoTrace
from tests.testkit.paths import ROOT

pytestmark = pytest.mark.slow
FEW = {
    "tickers": ["SPX", "SPY"], "lanes": {"gexwatch": ["SPX"], "advisor": []}, "warehouse": {"chain_every_ms": 5_000},
    "demo": {"session": "2026-11-27", "start_clock": "09:29:00"},  # a half day: the backtest goes on to its close
}  # fmt: skip


def entered(ledgers: Path, settings: Settings) -> list[str]:
    """Return the sides of what was executed to open something."""
    rows = LedgerReader(ledgers, settings.desk).executions(settings.demo.session)
    return sorted({row["side"] for row in rows if not row["is_exit"]})


def test_a_recorded_spread_is_opened_and_both_of_its_legs_fill(tmp_path: Path) -> None:
    settings = load_settings(ROOT / "config/examples/spread-demo.yaml", "demo", FEW)
    session, clock = settings.demo.session, start_of(settings)
    day = stepped_day(settings, tmp_path, trace=NoTrace(clock), clock=clock)
    day.run(at_exchange(session, time(9, 45)))
    day.runtime.close()
    folder, again = DataFolder(tmp_path), tmp_path / "again"
    assert entered(folder.ledgers, settings) == ["BUY", "SELL"], "the recorded day has one"
    again.mkdir()
    promotions = promotions_of(folder, settings, None)
    run = Backtest(
        settings, folder.series, folder.warehouse, promotions, FillModel(), Cents(30_000_000), again
    )  # fmt: skip
    (found,) = run.days((session,))
    assert found.crashed == ()
    assert entered(again, settings) == ["BUY", "SELL"]
    assert found.trades
    for trade in found.trades:  # both legs are one
        assert (trade.ticker, trade.strategy) == ("SPX-SPY", "spread")
        assert trade.contract.startswith("SPXW ")
        assert " and SPY " in trade.contract
