"""`main.py sim gateway --accounts`: several accounts under one login, by the command."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from commands.cli import main
from tests.testkit.gateway_world import new_client
from tests.testkit.paths import ROOT


@pytest.mark.slow
def test_the_accounts_that_are_named_are_those_of_the_login(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "main.py"), "sim", "gateway", "--port", "0", "--accounts", "DU1, DU2"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = re.search(r"127\.0\.0\.1:(\d+)", server.stdout.readline())
            assert port is not None
            assert asyncio.run(accounts_at(int(port[1]))) == ["DU1", "DU2"]
        finally:
            server.terminate()


async def accounts_at(port: int) -> list[str]:
    ib = new_client()
    await ib.connectAsync("127.0.0.1", port, clientId=1, timeout=30)
    accounts: list[str] = ib.managedAccounts()
    ib.disconnect()
    return accounts


@pytest.mark.parametrize("given", ["", "DU1,", "DU1,DU1", "A,B,C,D,E,F"])
def test_accounts_that_cannot_be_are_refused_in_one_sentence(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "gateway", "--port", "0", "--accounts", given]) != 0
    assert "--accounts wants 1 to 5 names" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["hubs", "provider", "tastytrade"])
def test_accounts_are_the_gateways(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", what, "--port", "0", "--accounts", "DU1"]) != 0
    assert "are the gateway's" in capsys.readouterr().err
