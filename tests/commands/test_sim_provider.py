"""`main.py sim provider`: a provider of chains, prices and bars for anybody's client."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0


@pytest.mark.slow
def test_a_bare_client_gets_a_chain_and_prices_from_it(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "main.py"), "sim", "provider", "--seed", "7"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            said = server.stdout.readline()
            found = re.search(r"provider at (127\.0\.0\.1:\d+)\.", said)
            assert found is not None, said
            asked = urllib.request.Request(
                f"http://{found[1]}/v3/snapshot/options/I:SPX?limit=2", headers={"Authorization": "Bearer any"}
            )
            with urllib.request.urlopen(asked, timeout=WAIT_S) as answer:
                page = json.load(answer)
            assert len(page["results"]) == 2 and page["next_url"].startswith(f"http://{found[1]}/")
            with connect(f"ws://{found[1]}/stocks") as socket:
                socket.send('{"action":"auth","params":"any"}')
                socket.send('{"action":"subscribe","params":"A.SPY"}')
                events = [event for _ in range(4) for event in json.loads(socket.recv(timeout=WAIT_S))]
        finally:
            server.terminate()
    assert [event.get("status") for event in events[:3]] == ["connected", "auth_success", "success"]
    assert (events[3]["ev"], events[3]["sym"]) == ("A", "SPY")
