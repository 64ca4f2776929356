"""The dashboard of a supervisor as a user starts it: the printed address, a page that fills, actions on record."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from storage.queries import LedgerReader
from tests.testkit.browser import Watched, chromium
from tests.testkit.supervisor_child import Supervisor, command, eventually

FOR_SIGNALS = "a-token-for-signals-alone"


@pytest.mark.slow
def test_run_prints_the_address_where_stop_and_close_all_leave_audit_rows(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("tickers: [SPX, QQQ]\nlanes: {outside: [SPX]}\noutside: {kinds: {MODEL: 1}}\n", encoding="utf-8")
    supervisor = Supervisor(
        tmp_path / "data", "--config", str(own), "--profile", "demo", "--rate", "2", ZEROHOUR_WEB__IS_ON="true",
        ZEROHOUR_SIGNALS_TOKEN=FOR_SIGNALS,
    )  # fmt: skip
    try:
        url = supervisor.wait_for("Dashboard: ").split()[1]
        with httpx.Client(base_url=url, timeout=60) as page:
            eventually(lambda: page.get("/api/actors").json()["rows"])
            token = {"x-zerohour-token": page.get("/api/hello").json()["token"]}
            done = page.post("/api/action/stop", json={"reason": "lunch", "command_id": "web:1"}, headers=token)
            assert done.json()["done"] == "Kill level is 1 (epoch 1)."
            eventually(lambda: page.get("/api/status").json()["kill_level"] == 1)
            again = page.post("/api/action/stop", json={"reason": "lunch", "command_id": "web:1"}, headers=token)
            assert again.json() == done.json()
            assert page.post("/api/action/close_all", json={}, headers=token).status_code == 200
            ledger = LedgerReader(tmp_path / "data" / "ledgers", "paper")
            eventually(lambda: len(ledger.commands()) == 2)  # a raise goes out first and is recorded after
            rows = ledger.commands()
            assert [(row["name"], row["by"], row["reason"]) for row in rows] == [
                ("kill", "dashboard (127.0.0.1)", "lunch"),
                ("flatten", "dashboard (127.0.0.1)", "close all on the dashboard"),
            ]
            known = page.get("/api/status").json()["kill_epoch"]
            late = page.post("/api/action/start", json={"expected_epoch": known - 1}, headers=token)
            assert (late.status_code, late.json()["denied"]) == (409, "epoch_changed"), late.json()
            signal_ = {
                "signal_id": "1", "ticker": "SPX", "kind": "MODEL", "direction": 1, "price": 5890, "target": 5900,
                "stop": 5880,
            }  # fmt: skip
            offered = page.post("/api/signals", json=signal_, headers={"authorization": f"Bearer {FOR_SIGNALS}"})
            assert (offered.status_code, offered.json()["denied"]) == (409, "no_alerts_now"), offered.json()
            unwatched = signal_ | {"signal_id": "2", "ticker": "QQQ"}
            offered = page.post("/api/signals", json=unwatched, headers={"authorization": f"Bearer {FOR_SIGNALS}"})
            assert offered.json()["denied"] == "no_lane"
            supervisor.process.send_signal(signal.SIGKILL)
            eventually(lambda: not _answers(page))
    finally:
        supervisor.end_if_left()
        command(tmp_path / "data", "sim", "stop")


@pytest.mark.slow
def test_the_page_of_a_demo_day_fills_and_its_buttons_leave_audit_rows(tmp_path: Path) -> None:
    """Start the day as people do; trades come later in it, and their panels are filled by the desk of `test_page`."""
    supervisor = Supervisor(
        tmp_path / "data", "--config", str(_small(tmp_path)), "--profile", "demo", "--rate", "60",
        ZEROHOUR_WEB__IS_ON="true",
    )  # fmt: skip
    try:
        url = supervisor.wait_for("Dashboard: ").split()[1]
        with chromium() as browser:
            page = Watched(browser, url)
            supervisor.wait_for("Market open")
            for panel, text in (
                ("#link", "Live"), ("#mode", "fully live"), ("#stages", "5 of 5 hubs"), ("#market", "Ratio"),
                ("#account", "Net liq"), ("#actors tbody", "risk:paper"), ("#forces", "gamma"),
                ("#chart .summary", "zero gamma at"), ("#heat .summary", "gamma is"), ("#money .summary", "Day"),
            ):  # fmt: skip
                page.wait_for_text(panel, text)
            page.page.click("#entries:enabled")
            page.wait_for_text("#kill", "Kill level 1")
            page.page.click("#close-all")
            page.page.fill("#ask-reason", "enough")
            page.page.click("#ask-yes")
            page.wait_for_text("#kill", "Kill level 2")
            ledger = LedgerReader(tmp_path / "data" / "ledgers", "paper")
            eventually(lambda: len(ledger.commands()) == 2)
            assert [(row["name"], row["by"], row["reason"]) for row in ledger.commands()] == [
                ("kill", "dashboard (127.0.0.1)", "stop on the dashboard"),
                ("flatten", "dashboard (127.0.0.1)", "enough"),
            ]
            assert (page.complaints, page.hosts) == ([], {url.removeprefix("http://")})
    finally:
        supervisor.end_if_left()
        command(tmp_path / "data", "sim", "stop")


def _small(folder: Path) -> Path:
    own = folder / "small.yaml"
    own.write_text("tickers: [SPX, QQQ]\nlanes: {gexwatch: [SPX]}\n", encoding="utf-8")
    return own


def _answers(page: httpx.Client) -> bool:
    try:
        return page.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False
