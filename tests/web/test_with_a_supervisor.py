"""The dashboard of a supervisor as a user starts it: the printed address, actions on record, and the end of both."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from storage.queries import LedgerReader
from tests.testkit.supervisor_child import Supervisor, eventually, main_py


@pytest.mark.slow
def test_run_prints_the_address_where_stop_and_close_all_leave_audit_rows(tmp_path: Path) -> None:
    supervisor = Supervisor(
        tmp_path, "--profile", "demo", "--rate", "60", ZEROHOUR_TICKERS='["SPX","QQQ"]', ZEROHOUR_WEB__IS_ON="true"
    )
    try:
        url = supervisor.wait_for("Dashboard: ").split()[1]
        with httpx.Client(base_url=url, timeout=20) as page:
            eventually(lambda: page.get("/api/actors").json()["rows"])
            token = {"x-zerohour-token": page.get("/api/hello").json()["token"]}
            done = page.post("/api/action/stop", json={"reason": "lunch", "command_id": "web:1"}, headers=token)
            assert done.json()["done"] == "Kill level is 1 (epoch 1)."
            assert page.get("/api/status").json()["kill_level"] == 1
            again = page.post("/api/action/stop", json={"reason": "lunch", "command_id": "web:1"}, headers=token)
            assert again.json() == done.json()
            assert page.post("/api/action/close_all", json={}, headers=token).status_code == 200
            rows = LedgerReader(tmp_path / "ledgers", "paper").commands()
            assert [(row["name"], row["by"], row["reason"]) for row in rows] == [
                ("kill", "dashboard (127.0.0.1)", "lunch"),
                ("flatten", "dashboard (127.0.0.1)", "close all on the dashboard"),
            ]
            supervisor.process.send_signal(signal.SIGKILL)
            eventually(lambda: not _answers(page))
    finally:
        supervisor.end_if_left()
        main_py(tmp_path, "sim", "stop")


def _answers(page: httpx.Client) -> bool:
    try:
        return page.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False
