"""A credit spread is one trade in every report, its sold leg has a quantity below 0, and the largest fall is one."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import orjson
import pytest

from commands.cli import main
from messages.base import SCHEMA
from tests.testkit import ledger_asks as ask
from tests.testkit.spread_desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A demo day whose only trade is a spread: +450 USD on the bought call, -300 on the sold ones."""
    made = Desk(tmp_path)
    made.close(fall_cents=36_000)
    settings = {"profile": "demo", "demo": {"market_folder": None}, "market": {"kind": "honest", "feedback": 0.5}}
    path = made.folder.traces / ask.DAY.isoformat() / "run-1.jsonl"
    path.parent.mkdir(parents=True)
    header = {"kind": "header", "run_n": 1, "code_version": "x", "schema": SCHEMA, "settings": settings}
    path.write_bytes(orjson.dumps(header) + b"\n")
    return made


def said(desk: Desk, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    main(["--data", str(desk.folder.root), "report", *options])
    return capsys.readouterr().out


def sections(desk: Desk, capsys: pytest.CaptureFixture[str], span: str) -> dict[str, list[list[Any]]]:
    found = orjson.loads(said(desk, capsys, span, "--json"))["sections"]
    return {section["title"].partition(",")[0]: section["table"]["rows"] for section in found}


def test_a_spread_is_one_trade_with_a_line_a_leg(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(desk, capsys).splitlines()
    first = lines.index("Trades") + 1
    assert lines[first].split()[1:] == ["SPX-SPY", "+150.00", "USD", "assignment", "risk"]
    assert lines[first + 1].split() == ["bought", "1", "SPXW", "6005C", "+450.00", "USD", ask.ref(1)]
    assert lines[first + 2].split() == ["sold", "-10", "SPY", "600C", "-300.00", "USD", ask.ref(101)]
    assert "  synthetic: +150.00 USD, won 1 of 1" in lines
    assert any(line.startswith("  won 1 of 1 (100%, n = 1)") for line in lines)


def test_a_spread_is_one_row_for_a_spreadsheet_and_one_trade_for_machines(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = csv.DictReader(io.StringIO(said(desk, capsys, "--csv")))
    assert (row["contract"], row["side"], row["qty"], row["pnl_usd"]) == (
        "SPXW 6005C / SPY 600C", "BUY / SELL", "1 / -10", "150.00",
    )  # fmt: skip
    assert (row["order_ref"], row["exit_reasons"]) == (f"{ask.ref(1)} / {ask.ref(101)}", "assignment_risk")
    (trade,) = orjson.loads(said(desk, capsys, "--json"))["trades"]
    assert (trade["realised_cents"], [leg["qty"] for leg in trade["legs"]]) == (15_000, [1, -10])


@pytest.mark.slow
def test_a_period_counts_a_spread_once_in_every_table(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    once = {"hits": 1, "n": 1}
    for span in ("day", "week"):
        found = sections(desk, capsys, span)
        assert found["Money by desk"] == [["paper", 1, 1, once, 150.0, -19.0, 150.0, -360.0]]
        assert found["P&L by strategy and exit reason"] == [["paper", "spread", "assignment risk", once, 150.0, 150.0]]
        assert found["Recorded and synthetic quotes"] == [["paper", "synthetic", once, 150.0]]


def test_desks_beside_each_other_count_a_spread_once_and_show_what_was_sold(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(desk, capsys, "--desks").splitlines()
    assert lines[3].split()[:4] == ["paper", "?", "1", "1"]
    assert sorted(line.split()[1] for line in lines if "->" in line) == ["-10", "1"]


@pytest.mark.slow
def test_the_largest_fall_is_the_same_in_every_report(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert "largest fall of the day's P&L 360.00 USD" in " ".join(said(desk, capsys).split())
    assert orjson.loads(said(desk, capsys, "--last", "1", "--json"))[0]["fall_usd"] == 360.0
    assert sections(desk, capsys, "day")["Money by desk"][0][-1] == -360.0
