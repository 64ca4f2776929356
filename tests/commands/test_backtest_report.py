"""What the report of a backtest says of a day on which entries met no fresh quote."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest
from msgspec.structs import replace

from commands.backtest_report import record_of, report_of
from commands.report_period import text_of
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.run import Day
from tests.testkit.swept_days import day_of

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
    result = report_of(DAY, DAY, "paper", (day,), (), Cents(100), FillModel(), "").sections[0]
    assert result.says == said


def test_a_kill_level_that_ended_the_trading_is_named_with_its_reason_and_the_remedy() -> None:
    days = [
        replace(day_of(DAY, []), killed=((1, "no mark for 60 s"), (2, "day P&L is not known"))),
        replace(day_of(date(2026, 11, 23), []), killed=((2, "once more"),)),
    ]
    result = report_of(DAY, date(2026, 11, 23), "paper", days, (), Cents(100), FillModel(), "").sections[0]
    assert result.says.startswith(
        "Kill level 1 on 2026-11-20: no mark for 60 s. Kill level 2 on 2026-11-20: day P&L is not known. Nobody lowers"
        " it in a backtest, so it refuses entries to the end;"
    )
    assert "once more" not in result.says
    assert "connection.strikes_around_index" in result.says
    assert (
        "Kill level" not in report_of(DAY, DAY, "", [day_of(DAY, [])], 0, Cents(100), FillModel(), "").sections[0].says
    )


def test_all_trades_are_listed_as_they_were_closed_and_the_extremes_of_many() -> None:
    few = day_of(DAY, [500, -300, 200])
    report = report_of(DAY, DAY, "paper", (few,), (), Cents(30_000_000), FillModel(), "")
    (trades,) = (section for section in report.sections if section.title == "Trades, USD")
    assert [(row[2], row[3]) for row in trades.table.rows] == [
        ("1 SPXW 6000C", 5.0), ("1 SPXW 6000C", -3.0), ("1 SPXW 6000C", 2.0)
    ]  # fmt: skip
    assert report.title == "Backtest 2026-11-20: 1 session"
    many = day_of(DAY, list(range(-1_500, 1_500, 100)))
    report = report_of(DAY, DAY, "paper", (many,), (), Cents(30_000_000), FillModel(), "")
    (trades,) = (section for section in report.sections if section.title == "Trades, USD")
    assert [row[3] for row in trades.table.rows] == [*range(-15, -5), *range(5, 15)]
    assert trades.says.startswith("the 10 worst and the 10 best")
    assert all(len(line) <= 80 for line in text_of(report, 80))


def test_nothing_is_drawn_where_nothing_moved() -> None:
    report = report_of(DAY, DAY, "paper", (day_of(DAY, []),), (), Cents(30_000_000), FillModel(), "")
    assert [section.title for section in report.sections if section.chart is not None] == []


def test_what_is_not_on_record_is_said_with_the_result() -> None:
    days = [
        msgspec.structs.replace(day_of(date(2026, 11, 20), []), lacking=("no quotes of SPX 12:30 to 16:00",)),
        day_of(date(2026, 11, 23), []),
        msgspec.structs.replace(
            day_of(date(2026, 11, 24), []), damaged=tuple(f"chains-{n}.parquet cannot be read (cut)" for n in range(7))
        ),
    ]
    report = report_of(DAY, DAY, "paper", days, (date(2026, 11, 25),), Cents(30_000_000), FillModel(), "Seeds.")
    says = report.sections[0].says
    assert says.startswith(
        "Seeds. Nothing is stored of 2026-11-25. Recorded in part, so traded in part: 2026-11-20 (no quotes of SPX"
        " 12:30 to 16:00). Damaged and left out: 2026-11-24 (chains-0.parquet cannot be read (cut), "
    )
    assert says.endswith("chains-4.parquet cannot be read (cut) and 2 more).")


def test_of_a_whole_period_nothing_is_said_to_lack() -> None:
    assert record_of((), [(DAY, (), ()), (DAY, (), ())]) == ""


@pytest.mark.parametrize(
    ("unpriced", "nav_cents", "said"),
    [
        (0, 30_000_500, ""),
        (0, 30_000_400, "NAV moved by -1.00 more than the trades add up to; that is a fault, so believe neither."),
        (1, 30_000_900, "NAV moved by +4.00 more than the trades add up to; that is what was not closed or had no"),
    ],
)
def test_nav_and_trades_that_do_not_come_to_the_same_are_said(unpriced: int, nav_cents: int, said: str) -> None:
    day = msgspec.structs.replace(day_of(DAY, [500]), nav_cents=Cents(nav_cents), unpriced=unpriced)
    says = report_of(DAY, DAY, "paper", (day,), (), Cents(30_000_000), FillModel(), "").sections[0].says
    assert said in says
    assert ("NAV moved" in says) is bool(said)
