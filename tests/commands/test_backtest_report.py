"""What the report of a backtest says of a day on which entries met no fresh quote."""

from __future__ import annotations

from datetime import date

import pytest

from commands.backtest_report import report_of
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.run import Day

DAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("refused", "apart_s", "said"),
    [
        ({"spread_wide": 1}, 300.0, ""),
        (
            {"stale_quote": 6, "spread_wide": 1}, 300.0,
            "6 attempts met a quote that was too old: the quotes of a contract are 300 s apart here (median). Record"
            " days with `warehouse.chain_every_ms: 5000` to backtest them.",
        ),
        (
            {"stale_quote": 2}, 5.0,
            "2 attempts met a quote that was too old: the quotes of a contract are 5 s apart here (median).",
        ),
    ],
)  # fmt: skip
def test_why_quotes_were_too_old_is_said_beside_the_result_with_the_remedy(
    refused: dict[str, int], apart_s: float, said: str
) -> None:
    day = Day(
        session=DAY, trades=(), rows=10, quotes=3, contracts=2, alerts=7, shadows=0, refused=refused, unfilled=0,
        held=0, nav_cents=Cents(100), digest="0", crashed=(), damaged=(), apart_s=apart_s,
    )  # fmt: skip
    result = report_of(DAY, DAY, "paper", (day,), 0, Cents(100), FillModel(), "").sections[0]
    assert result.says == said
