"""What the report of a backtest says of a day on which entries met no fresh quote."""

from __future__ import annotations

from datetime import date

import pytest

from commands.backtest_report import report_of
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.run import Day

DAY = date(2026, 11, 20)


@pytest.mark.parametrize("refused", [{"stale_quote": 6, "spread_wide": 1}, {"spread_wide": 1}], ids=["stale", "others"])
def test_why_quotes_were_too_old_is_said_beside_the_result_with_the_remedy(refused: dict[str, int]) -> None:
    day = Day(
        session=DAY, trades=(), rows=10, quotes=3, contracts=2, alerts=7, shadows=0, refused=refused, unfilled=0,
        held=0, nav_cents=Cents(100), digest="0", crashed=(), damaged=(),
    )  # fmt: skip
    result = report_of(DAY, DAY, "paper", (day,), 0, Cents(100), FillModel(), 300_000, "").sections[0]
    said = (
        "6 attempts met a quote that was too old: quotes of chains are kept every 300 s here"
        " (`warehouse.chain_every_ms`); record days with 5000 ms there to backtest them."
    )
    assert result.says == (said if "stale_quote" in refused else "")
