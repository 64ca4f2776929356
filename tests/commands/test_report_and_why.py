"""What `report` lists of a session, and what `why` says of a ref that it does not find there."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from commands.cli import main
from commands.folder import Control, DataFolder, write_private
from domain.instruments import Side
from domain.orders.references import parse_order_ref
from domain.position.cycle import ExitReason
from domain.risk.day import DayStops, summarise
from messages import risk
from messages.base import SCHEMA
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask

NOBODY = 2**22 + 1  # above every pid that Linux gives


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A demo day that is under way: one trade, one entry without a fill, one that works, one refused attempt."""
    made = DataFolder(tmp_path)
    made.make()
    start_run(made.ledgers, ("paper",), ask.T0)
    desk = DeskLedger(made.ledgers, "paper", run_n=1)
    desk.open()
    for message in (
        ask.reserve(1),
        ask.execution(1, price_ticks=505),
        ask.position(1),
        ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=450),
        ask.closed(1),
        ask.reserve(3),
        ask.abandoned(3),
        ask.denial(2),
        ask.reserve(4),
    ):
        desk.apply(message, ask.T0)
    trace(made)
    return made


def trace(folder: DataFolder, *lines: str) -> None:
    path = folder.traces / ask.DAY.isoformat() / "run-1.jsonl"
    path.parent.mkdir(parents=True)
    header = f'{{"kind":"header","run_n":1,"code_version":"x","schema":{SCHEMA}}}'
    path.write_text("\n".join((header, *lines, "")), encoding="utf-8")


def report(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> str:
    main(["--data", str(folder.root), "report"])
    return capsys.readouterr().out


def test_a_report_names_what_why_can_be_asked_for(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    said = " ".join(report(folder, capsys).split())
    assert ask.ref(1) in said
    assert f"{ask.alert_id(2)} stale_quote 4 s against 3 s" in said


def test_a_report_says_what_became_of_approved_attempts(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert "3 approved (1 filled, 1 working, 1 without a fill), 1 refused" in report(folder, capsys)


def holding(root: Path) -> tuple[DataFolder, DeskLedger]:
    """Return a data folder whose desk holds one position, and its ledger."""
    made = DataFolder(root)
    made.make()
    start_run(made.ledgers, ("paper",), ask.T0)
    desk = DeskLedger(made.ledgers, "paper", run_n=1)
    desk.open()
    for message in (ask.reserve(1), ask.execution(1, price_ticks=505), ask.position(1)):
        desk.apply(message, ask.T0)
    trace(made)
    return made, desk


def test_a_report_of_a_day_with_an_open_position_says_so_with_its_price(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = holding(tmp_path)
    said = " ".join(report(made, capsys).split())
    assert "No trades" not in said
    assert "No trade has been closed; 1 open: 2 SPXW 6005C (see Open)." in said
    assert f"2 SPXW 6005C at 5.05 (gexwatch, {ask.ref(1)}); nothing at the broker protects it" in said
    write_private(made.control, Control(port=1, token="t", pid=os.getpid(), began=psutil.Process().create_time()))
    assert "the running supervisor watches its exits" in " ".join(report(made, capsys).split())


def test_what_a_running_day_holds_is_no_fault_and_what_a_stopped_one_holds_is(tmp_path: Path) -> None:
    made, desk = holding(tmp_path)
    calls = [["--data", str(tmp_path), "report", *more] for more in ((), ("--csv",), ("--desks",))]
    assert [main(call) for call in calls] == [1, 1, 1]
    write_private(made.control, Control(port=1, token="t", pid=os.getpid(), began=psutil.Process().create_time()))
    assert [main(call) for call in calls] == [0, 0, 0]
    over = risk.RecordDay(session=ask.DAY, summary=summarise((), DayStops()), at_utc=ask.T0)
    desk.apply(over, ask.T0)
    assert [main(call) for call in calls] == [1, 1, 1], "a day that is over has to be flat"


def test_a_trade_in_two_parts_shows_both_reasons_and_the_rates_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = DataFolder(tmp_path)
    made.make()
    start_run(made.ledgers, ("paper",), ask.T0)
    desk = DeskLedger(made.ledgers, "paper", run_n=1)
    desk.open()
    for message in (
        ask.reserve(1),
        ask.execution(1, price_ticks=505),
        ask.position(1),
        ask.exit_intent(1, reason=ExitReason.TAKE_PROFIT, qty=1),
        ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, qty=1, price_ticks=700),
        ask.exit_intent(1, 2, reason=ExitReason.NO_PROGRESS, qty=1),
        ask.execution(1, exec_id="x.2", order_ref=ask.ref(1, "x2"), side=Side.SELL, qty=1, price_ticks=500),
        ask.closed(1, 18_740, reason=ExitReason.NO_PROGRESS),
    ):
        desk.apply(message, ask.T0)
    trace(made)
    text = report(made, capsys)
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 80
    said = " ".join(text.split())
    assert "+187.40 USD take profit, then no progress" in said
    assert f"gexwatch, {ask.alert_id(1)}, {ask.ref(1)}" in said
    assert "won 1 of 1 (100%, n = 1)" in said
    assert "entries 0.05 USD above the mid (n = 2 contracts)" in said


def test_a_report_names_the_traces(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"Traces: run-1.jsonl in {folder.traces / ask.DAY.isoformat()}" in report(folder, capsys)


@pytest.mark.parametrize(
    ("pid", "began_ago_s", "wanted"),
    [(os.getpid(), 0, "is running"), (os.getpid(), 3600, "was stopped"), (NOBODY, 0, "was stopped")],
    ids=["alive", "the pid is another's now", "killed"],
)
def test_a_day_whose_supervisor_was_killed_is_stopped(
    folder: DataFolder, capsys: pytest.CaptureFixture[str], pid: int, began_ago_s: float, wanted: str
) -> None:
    began = psutil.Process().create_time() - began_ago_s
    write_private(folder.control, Control(port=1, token="t", pid=pid, began=began))
    assert f"The day {wanted}" in report(folder, capsys)


def test_why_says_where_a_ref_of_the_previous_day_is_kept(
    folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = ask.ref(7)
    assert parse_order_ref(ref) is not None
    previous = DataFolder(folder.root / "previous")
    submitted = f'{{"type":"orders.CancelOrder","order_ref":"{ref}"}}'
    line = f'{{"kind":"envelope","seq":1,"at_utc":{ask.T0},"to":"ibkr:paper","message":{submitted}}}'
    trace(previous, line)
    assert main(["--data", str(folder.root), "why", ref]) == 1
    assert f"`main.py --data {previous.root} why {ref}`" in capsys.readouterr().err
    assert main(["--data", str(previous.root), "why", ref]) == 0
    assert ref in capsys.readouterr().out
    assert main(["--data", str(folder.root), "why", ask.ref(8)]) == 1
    assert "No trace knows" in capsys.readouterr().err
