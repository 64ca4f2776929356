"""An alert that was a shadow is no refused attempt, whichever gate said no: a kill level is asked before its check."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from commands.ask import answer_to
from commands.backtest_report import report_of
from commands.cli import main
from commands.folder import DataFolder
from commands.report_period import text_of
from config.settings import load_settings
from domain.risk.reject import RejectCode
from domain.units import Cents
from simulation.backtest.model import FillModel
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger, start_run
from storage.views.database import Database
from tests.testkit import ledger_asks as ask
from tests.testkit import web_desk
from tests.testkit.swept_days import day_of
from web import lists
from web.ledgers import ledgers_of
from web.view import View


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """Kill level 1 refuses two alerts, the second of them a shadow; a gate of the contract refuses a third."""
    made = DataFolder(tmp_path)
    made.make()
    start_run(made.ledgers, ("paper",), ask.T0)
    shared = SharedLedger(made.ledgers, ("paper",))
    shared.open()
    for n in (1, 2, 3):
        shared.apply(ask.alert(n, is_shadow=n == 2), ask.T0)
    shared.close()
    desk = DeskLedger(made.ledgers, "paper", run_n=1)
    desk.open()
    for n in (1, 2):
        desk.apply(ask.denial(n, RejectCode.KILL_SWITCH_L1), ask.T0)
    desk.apply(ask.denial(3), ask.T0)
    desk.close()
    return made


def said(folder: DataFolder, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    main(["--data", str(folder.root), *words])
    return " ".join(capsys.readouterr().out.split())


def test_a_session_and_its_desks_count_it_as_a_shadow(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(folder, capsys, "report")
    assert "0 approved, 2 refused, 1 shadow (not traded until promoted)" in told
    assert ask.alert_id(1) in told and ask.alert_id(2) not in told
    assert orjson.loads(said(folder, capsys, "report", "--last", "1", "--json"))[0]["refused"] == 2
    assert orjson.loads(said(folder, capsys, "report", "--desks", "--json"))["desks"][0]["refused"] == 2
    assert "3 alerts (1 of them shadows), 2 attempts" in said(folder, capsys, "why-not", ask.DAY.isoformat())


@pytest.mark.slow
def test_a_period_and_its_view_count_it_as_a_shadow(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(folder, capsys, "report", "day")
    assert "refused: paper 100 % of 2 (34-100); shadows beside them: paper 1" in told
    assert "kill_switch_l1 50 % of 2" in told
    rows = Database(folder.root).rows("SELECT alert_id FROM attempts WHERE is_shadow")
    assert rows == [{"alert_id": ask.alert_id(2)}]


def test_ask_and_the_page_count_it_as_a_shadow(folder: DataFolder) -> None:
    settings = load_settings(profile="demo", overrides={"data_dir": str(folder.root)})
    told = answer_to("what was refused today?", settings, folder).text
    assert "2 refused (kill_switch_l1 1, stale_quote 1). Beside them 1 shadow, not traded until promoted." in told
    view = View(web_desk.settings(folder.root), folder.root, 1, None)
    view.ledgers = ledgers_of(LedgerReader(folder.ledgers, "paper"), ask.DAY)
    gates = lists.gates(view)
    assert gates.counts == {"kill_switch_l1": 1, "shadow_signal": 1, "stale_quote": 1}
    assert {refusal.alert_id for refusal in gates.refusals} == {ask.alert_id(1), ask.alert_id(3)}


def test_a_backtest_says_its_shadows_beside_what_was_refused() -> None:
    day = replace(day_of(date(2026, 11, 20), []), alerts=27, shadows=26, refused={"no_contract": 1})
    report = report_of(day.session, day.session, "paper", (day,), 0, Cents(100), FillModel(), "")
    told = " ".join(" ".join(text_of(report, 80)).split())
    assert "1 attempts were refused, 0 passed and were not filled; 26 shadows beside them (not traded" in told
