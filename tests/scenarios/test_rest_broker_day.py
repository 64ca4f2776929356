"""A part of a demo day whose orders go to a REST broker started by hand, while its quotes come from the gateway."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from commands.folder import DataFolder
from tests.testkit.anchored import ANCHORED_ENVIRONMENT
from tests.testkit.live_folder import live_folder
from tests.testkit.paths import ROOT
from tests.testkit.supervisor_child import ENTRIES_FILL, LEAVES_SOON, Supervisor, command, eventually

pytestmark = pytest.mark.slow
SECRETS = {"ZEROHOUR_TASTYTRADE_SECRET": "a-client-secret", "ZEROHOUR_TASTYTRADE_TOKEN": "a-refresh-token"}
A_TRADE_S = 400


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with live_folder(tmp_path / "data") as root:
        yield root


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Broker:
    """The server as a person asks it, with a token of its own."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        given = {"grant_type": "refresh_token", "client_secret": "mine", "refresh_token": "mine"}
        self._token = self._ask("/oauth/token", given)["access_token"]
        (row,) = self.items("/customers/me/accounts")
        self._account = row["account"]["account-number"]

    def items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask(path)["data"]["items"]
        return found

    def orders(self) -> list[dict[str, Any]]:
        """Return the orders of the day, oldest first."""
        return self.items(f"/accounts/{self._account}/orders/live")[::-1]

    def _ask(self, path: str, body: object = None) -> Any:
        headers = {"User-Agent": "a-person/1.0", "Authorization": f"Bearer {getattr(self, '_token', '')}"}
        payload = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self._url + path, payload, headers), timeout=60) as answer:
            return json.load(answer)


def test_entries_and_exits_of_a_day_go_through_the_rest_broker(data: Path) -> None:
    port = free_port()
    environment = {
        **ANCHORED_ENVIRONMENT, **ENTRIES_FILL, **LEAVES_SOON, **SECRETS,
        "ZEROHOUR_DEMO__START_CLOCK": "11:25:00",  # the first trade opens at 11:36
        "ZEROHOUR_BROKER__ORDERS": "tastytrade",
        "ZEROHOUR_BROKER__TASTYTRADE__REST_URL": f"http://127.0.0.1:{port}",
        "ZEROHOUR_BROKER__TASTYTRADE__STREAM_URL": f"ws://127.0.0.1:{port}",
    }  # fmt: skip
    supervisor = Supervisor(data, **environment)
    clock = DataFolder(data).clock
    eventually(clock.exists)
    server = subprocess.Popen(
        [sys.executable, "main.py", "sim", "tastytrade", "--port", str(port), "--clock", str(clock)], cwd=ROOT,
        env=os.environ | environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        supervisor.wait_for("Filled: BUY", A_TRADE_S)
        supervisor.wait_for("Filled: SELL", A_TRADE_S)
        orders = [order for order in Broker(port).orders() if order["external-identifier"].startswith("ZH-paper-")]
        filled = [order for order in orders if order["status"] == "Filled"]
        assert {order["legs"][0]["action"] for order in filled} >= {"Buy to Open", "Sell to Close"}
        supervisor.end(signal.SIGTERM)
    finally:
        server.terminate()
        server.wait(60)
    said = command(data, "report").stdout + "\n".join(supervisor.lines)
    assert not any(secret in said for secret in SECRETS.values())
    traces = b"".join(path.read_bytes() for path in DataFolder(data).traces_newest_first())
    assert not any(secret.encode() in traces for secret in (*SECRETS.values(), "5WT00001"))
