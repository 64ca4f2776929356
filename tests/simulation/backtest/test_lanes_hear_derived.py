"""A backtest tells its lanes the derived series as they were told on the day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.settings import load_settings
from domain.instants import MINUTE
from domain.market.derived import Told, Value
from domain.units import Cents, Utc
from messages import market
from simulation.backtest.model import FillModel
from simulation.backtest.run import Backtest
from storage.series import Series
from supervision.stepped import SteppedRuntime
from tests.testkit.recorded_days import OPEN, SESSION

pytestmark = pytest.mark.slow


class Watched(Backtest):
    """Keeps its runtime for the test."""

    def _runtime(self, *given: Any) -> SteppedRuntime:
        self.runtime = super()._runtime(*given)
        return self.runtime


def test_lanes_of_a_backtest_hear_what_lanes_of_the_day_heard(tmp_path: Path) -> None:
    told = [
        market.ContextRead(
            at_utc=Utc(OPEN + n * MINUTE), session=SESSION, broken=None, told_utc=Utc(OPEN + n * MINUTE + 1),
            derived=(_gap(n / 100),),
        )
        for n in (1, 16, 31)
    ]  # fmt: skip
    series = Series(tmp_path / "series", 1, is_durable=False)
    for one in told:
        series.take(one)
    assert series.flush() is None
    settings = load_settings(profile="demo", overrides={"tickers": ["SPX", "QQQ"]})
    run = Watched(
        settings, tmp_path / "series", tmp_path / "warehouse", {}, FillModel(), Cents(30_000_000), tmp_path / "ledgers"
    )
    (day,) = run.days((SESSION,))
    assert day.crashed == ()
    lanes = [cell.state for name, cell in run.runtime.cells.items() if name.startswith("lane:")]
    assert len(lanes) == sum(len(tickers) for tickers in settings.lanes.values())
    for lane in lanes:
        assert lane.derived == tuple(Told(one.told_utc, one.derived) for one in told[1:])


def _gap(value: float) -> Value:
    return "SPY", "gap", value
