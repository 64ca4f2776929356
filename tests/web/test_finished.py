"""A session from its records, without a supervisor: `main.py dashboard`."""

from __future__ import annotations

import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from commands.cli import CommandError
from commands.finished import act, desks_on_record
from commands.folder import DataFolder
from domain.instants import MINUTE, SECOND
from domain.session import calendar
from domain.units import Cents, Utc
from messages import positions
from storage.desk_ledger import DeskLedger
from tests.testkit import ledger_asks as ask
from tests.testkit import web_desk as desk
from tests.testkit.browser import Watched, chromium
from tests.testkit.paths import ROOT
from web import desk as standing
from web import holdings, lists
from web.curve import CurveMaker


def arguments(folder: Path, **given: object) -> Namespace:
    return Namespace(config=None, data=folder, profile=None, session=None, port=None, **given)


def test_a_finished_session_is_shown_as_it_stands_in_its_ledgers(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    view = desks_on_record(DataFolder(tmp_path), desk.settings(tmp_path), desk.DAY).first
    status = standing.status(view)
    assert status.ended is not None
    assert "No supervisor runs: this is what 2026-11-20 left on record." in status.ended
    assert "1 position open, and nobody watches" in status.ended
    assert (status.is_trading, status.is_connected, status.allows_actions) == (False, False, False)
    assert [trade.final_pnl for trade in lists.trades(view, 50)] == [-120.0]
    assert [position.contract for position in holdings.positions(view)] == ["SPXW 6015C"]
    assert {stage.state for stage in standing.pipeline(view)} == {"down"}
    assert not status.is_finished, "something is held, and nobody watches"


def test_a_day_that_was_played_to_its_end_is_no_outage(tmp_path: Path) -> None:
    desk.write_finished(tmp_path)
    view = desks_on_record(DataFolder(tmp_path), desk.settings(tmp_path), desk.DAY).first
    status = standing.status(view)
    assert status.is_finished
    assert status.ended == "Finished day 2026-11-20. 1 trade, \u2212120.00 USD net; nothing is held."
    assert standing.pipeline(view) == [], "nothing flows, and nothing should"
    assert not status.allows_actions
    assert [alert.became for alert in lists.alerts(view)] == ["no_fill", "traded"]


def test_an_entry_that_may_have_filled_is_not_said_to_be_nothing(tmp_path: Path) -> None:
    desk.write_finished(tmp_path)
    ledger = DeskLedger(tmp_path / "ledgers", "paper", run_n=1)
    ledger.open()
    ledger.apply(ask.reserve(4), ask.T0)
    ledger.close()
    status = standing.status(desks_on_record(DataFolder(tmp_path), desk.settings(tmp_path), desk.DAY).first)
    assert not status.is_finished
    assert status.ended is not None
    assert "1 entry order that may have filled, and nobody watches" in status.ended
    assert "nothing is held" not in status.ended


def test_a_folder_without_a_session_and_a_session_that_it_has_not_are_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="holds no session yet"):
        act(arguments(tmp_path))
    desk.write_desk(tmp_path)
    given = arguments(tmp_path)
    for wrong, why in (("2026-11-19", "holds nothing of 2026-11-19"), ("yesterday", "'yesterday' is no date")):
        given.session = wrong
        with pytest.raises(CommandError, match=why):
            act(given)


@pytest.mark.slow
def test_the_command_serves_the_day_on_loopback_and_changes_nothing(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    before = (tmp_path / "ledgers" / "paper.db").read_bytes()
    command = [sys.executable, "-u", "main.py", "--data", str(tmp_path), "dashboard", "--port", "31500"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        with httpx.Client(base_url=url, timeout=60) as page:
            assert page.get("/api/status").json()["ended"].startswith("No supervisor runs")
            assert page.get("/api/positions").json()[0]["contract"] == "SPXW 6015C"
            assert page.get("/api/day?ticker=SPX").json()["last"] == desk.LAST
            assert page.get("/api/hello").json()["token"] is None
            assert page.get("/healthz").json()["supervisor"] == "ended"
            assert page.post("/api/action/stop", json={}).status_code == 403
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert (tmp_path / "ledgers" / "paper.db").read_bytes() == before


@pytest.mark.slow
def test_the_page_of_a_finished_day_is_calm_and_offers_no_action(tmp_path: Path) -> None:
    desk.write_finished(tmp_path)
    command = [sys.executable, "-u", "main.py", "--data", str(tmp_path), "dashboard", "--port", "31600"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        try:
            with chromium() as browser:
                watched = Watched(browser, url)
                watched.wait_for_text("#link", "Finished day 2026-11-20")
                watched.wait_for_text("#trades tbody tr", "premium stop")
                for hidden in ("#mode", "#kill", "#clock", "#alarm-chip", "#entries", "#close-all", "#lost"):
                    assert not watched.page.is_visible(hidden), hidden
                assert watched.page.locator("#stages li").count() == 0
                assert watched.complaints == []
                watched.context.close()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def changed(unrealised_cents: int | None) -> positions.PositionChanged:
    found = next(fact for _, fact in desk.facts() if isinstance(fact, positions.PositionChanged))
    unrealised = None if unrealised_cents is None else Cents(unrealised_cents)
    return replace(found, unrealised_cents=unrealised)


def test_the_curve_is_made_again_from_what_positions_said_and_what_was_closed() -> None:
    hours = calendar.day(desk.DAY, ())
    assert hours is not None
    closed_utc = Utc(hours.open_utc + 3 * MINUTE)
    made = CurveMaker(hours, [{"position_id": ask.stem(3), "closed_utc": closed_utc, "realised_cents": -12_000}])
    for minute, gain in ((1, 5_000), (2, -8_000), (4, -12_000)):  # the last word comes after the closing
        made.take(Utc(hours.open_utc + minute * MINUTE), changed(gain))
    open_s = hours.open_utc // SECOND
    assert made.finish(hours.close_utc) == [
        (open_s, 0.0), (open_s + 60, 50.0), (open_s + 120, -80.0), (open_s + 240, -120.0)
    ]  # fmt: skip
