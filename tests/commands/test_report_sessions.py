"""`report --last N` and `--csv`: a line a session, rates with their number, trades for a spreadsheet."""

from __future__ import annotations

import csv
import io
from datetime import date
from pathlib import Path

import orjson
import pytest

from commands.cli import main
from commands.folder import DataFolder
from commands.report_desks import report_of
from commands.report_sessions import table_of
from domain.instants import SECOND
from domain.instruments import Side
from domain.position.cycle import ExitReason
from domain.risk.reject import RejectCode
from domain.units import Utc
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask

BEFORE = date(2026, 11, 19)
DAY_S = 86_400


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """Two sessions: a loss the day before; a gain, an entry without a fill and a refusal on the last."""
    made = DataFolder(tmp_path)
    made.make()
    start_run(made.ledgers, ("paper",), ask.T0)
    desk = DeskLedger(made.ledgers, "paper", run_n=1)
    desk.open()
    earlier = Utc(ask.T0 - DAY_S * SECOND)
    before = {"bucket_utc": earlier + 270 * SECOND}
    for message, now in (
        (ask.reserve(9, session=BEFORE, raised_utc=earlier, decided_utc=earlier, **before), earlier),
        (ask.execution(9, exec_id="00e9.1", at_utc=earlier), earlier),
        (ask.position(9, ref=ask.position_ref(9, key=ask.key(9, **before))), earlier),
        (
            ask.closed(
                9, -5_000, ref=ask.position_ref(9, key=ask.key(9, **before)), opened_utc=earlier, closed_utc=earlier
            ),
            earlier,
        ),
        (ask.reserve(1), ask.T0),
        (ask.execution(1, price_ticks=505), ask.T0),
        (ask.position(1), ask.T0),
        (ask.exit_intent(1, reason=ExitReason.TAKE_PROFIT), ask.T0),
        (ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=700), ask.T0),
        (ask.closed(1, 38_740, reason=ExitReason.TAKE_PROFIT), ask.T0),
        (ask.reserve(2), ask.T0),
        (ask.abandoned(2), ask.T0),
        (ask.denial(3), ask.T0),
        (ask.denial(4, code=RejectCode.SHADOW_SIGNAL), ask.T0),
    ):
        desk.apply(message, now)
    desk.close()
    return made


def said(folder: DataFolder, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    main(["--data", str(folder.root), "report", *options])
    return capsys.readouterr().out


def test_the_last_sessions_are_a_line_each_oldest_first_with_their_sum(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(folder, capsys, "--last", "20").splitlines()
    not_summed_up = [n for n, line in enumerate(lines) if "not summed up" in line]
    assert not_summed_up == [2, 4]  # neither day was played to its end
    lines = [line for n, line in enumerate(lines) if n not in not_summed_up]
    assert [line.split()[0] for line in lines[1:3]] == ["2026-11-19", "2026-11-20"]
    assert lines[2].split() == ["2026-11-20", "1", "1", "+387.40", "2.60", "1", "1"]
    assert " ".join(lines[4:]) == "2 sessions: +337.40 USD, won 1 of 2 (50%, n = 2); largest fall of a day not known"
    assert max(map(len, lines)) <= 80


def test_so_many_sessions_are_the_newest(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    found = orjson.loads(said(folder, capsys, "--last", "1", "--json"))
    assert [row["session"] for row in found] == ["2026-11-20"]
    assert (found[0]["trades"], found[0]["won"], found[0]["entry_above_mid_usd"]) == (1, 1, 0.05)


def test_the_last_sessions_as_csv_say_the_same(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    by_json = orjson.loads(said(folder, capsys, "--last", "2", "--json"))
    by_csv = list(csv.DictReader(io.StringIO(said(folder, capsys, "--last", "2", "--csv"))))
    assert [row["pnl_usd"] for row in by_csv] == [str(row["pnl_usd"]) for row in by_json]


def test_the_trades_of_a_session_as_csv_name_their_alerts_and_the_entries_without_a_fill(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(csv.DictReader(io.StringIO(said(folder, capsys, "2026-11-20", "--csv"))))
    assert [(row["status"], row["alert_id"], row["order_ref"]) for row in rows] == [
        ("closed", ask.alert_id(1), ask.ref(1)), ("no fill", ask.alert_id(2), ask.ref(2)),
    ]  # fmt: skip
    assert (rows[0]["contract"], rows[0]["qty"], rows[0]["exit_reasons"], rows[0]["pnl_usd"]) == (
        "SPXW 6005C", "2", "take_profit", "387.40",
    )  # fmt: skip
    assert rows[0]["opened_ny"] == "2026-11-20 10:00:01"


def test_a_shadow_is_no_refusal_in_any_report(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(folder.root), "report", "--last", "5", "--json"]) == 0
    assert [row["refused"] for row in orjson.loads(capsys.readouterr().out)] == [0, 1]
    assert [day.refused for day in report_of(folder, ask.DAY).desks] == [1]
    main(["--data", str(folder.root), "report"])
    assert "1 refused, 1 shadow" in capsys.readouterr().out


def test_a_folder_without_sessions_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path / "new"), "report", "--last", "5"]) == 1
    assert "no session was run" in capsys.readouterr().err


def test_a_locked_day_is_told_and_the_largest_fall_too() -> None:
    row = {
        "session": "2026-11-20", "trades": 0, "won": 0, "pnl_usd": 0.0, "fees_usd": 0.0, "fall_usd": 12.5,
        "refused": 0, "without_fill": 0, "locked": "daily_loss", "is_over": True,
    }  # fmt: skip
    lines = table_of([row, row | {"fall_usd": 700.0, "locked": "eod"}])
    assert [line.strip() for line in lines if "locked" in line] == ["locked: daily_loss"]
    assert lines[-1] == "2 sessions: +0.00 USD, no trades; largest fall of a day 700.00 USD"
