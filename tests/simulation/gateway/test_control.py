"""The control port: faults set, seen and ended over HTTP while clients are connected."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from simulation.gateway.control import FaultControl
from simulation.gateway.faults import ActiveFaults, Fault, FaultKind
from tests.testkit.gateway_world import World, limit, until, world
from tests.testkit.paths import ROOT

Call = Callable[..., Any]


def call(port: int, method: str, body: object = None, path: str = "/faults", host: str = "") -> tuple[int, Any]:
    """Send one request and return the status and the decoded answer."""
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    headers = {"Host": host} if host else {}
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method), timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refusal:
        return refusal.code, json.load(refusal)


@asynccontextmanager
async def controlled() -> AsyncIterator[tuple[World, Call]]:
    """Run a gateway with a control port; calls go out from a thread, as another process's would."""
    async with world() as it:
        control = FaultControl(it.server)
        port = await control.start()
        try:
            yield it, lambda *request: asyncio.to_thread(call, port, *request)
        finally:
            await control.stop()


def test_a_fault_that_is_posted_hits_the_next_order() -> None:
    async def scenario() -> None:
        async with controlled() as (it, ask):
            ib = await it.connect()
            contract = await it.qualified(ib)
            record = {"kind": "partial_fills", "args": {"pieces": [1, 2]}}
            status, now = await ask("POST", [record])
            assert status == 200
            assert [fault["args"] for fault in now["waiting"]] == [{"pieces": [1, 2]}]
            trade = ib.placeOrder(contract, limit("BUY", 3, 5.1))
            await until(ib, trade.isDone)
            assert [fill.execution.shares for fill in trade.fills] == [1.0, 2.0]
            assert await ask("GET") == (200, {"active": [], "waiting": []})

    asyncio.run(scenario())


def test_a_fault_that_lasts_ends_when_it_is_deleted_and_what_waits_never_comes() -> None:
    async def scenario() -> None:
        async with controlled() as (it, ask):
            ib = await it.connect()
            told: list[int] = []
            ib.errorEvent += lambda request_id, code, text, contract: told.append(code)
            _, now = await ask("POST", {"kind": "link_lost", "duration_s": 3600})
            assert [fault["kind"] for fault in now["active"]] == ["link_lost"]
            await ask("POST", {"kind": "farm_lost", "at_s": 0.0, "duration_s": 3600})
            await ask("POST", {"kind": "drop_refuse", "at_clock": "15:59:59", "duration_s": 1})
            _, after = await ask("DELETE")
            assert after == {"active": [], "waiting": []}
            await until(ib, lambda: 1102 in told)
            assert told[0] == 1100

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "body", "path", "status", "said"),
    [
        ("POST", {"kind": "earthquake"}, "/faults", 400, "Invalid enum value 'earthquake'"),
        ("POST", {"kind": "partial_fills"}, "/faults", 400, "partial_fills needs pieces"),
        ("POST", b"no json", "/faults", 400, "correct the record"),
        ("PUT", {}, "/faults", 404, "use GET, POST or DELETE /faults"),
        ("POST", [{"kind": "orderStatus"}], "/callbacks", 400, "missing required field `orderId`"),
        ("GET", None, "/orders", 404, "GET, POST or DELETE /faults"),
    ],
)
def test_a_request_that_cannot_be_understood_is_explained_and_sets_nothing(
    method: str, body: object, path: str, status: int, said: str
) -> None:
    async def scenario() -> None:
        async with controlled() as (it, ask):
            code, answer = await ask(method, body, path)
            assert (code, said in answer["error"]) == (status, True), answer
            assert it.server.faults() == {"active": [], "waiting": []}

    asyncio.run(scenario())


def test_a_foreign_host_name_is_refused() -> None:
    async def scenario() -> None:
        async with controlled() as (it, ask):
            status, _ = await ask("POST", {"kind": "drop_reset", "duration_s": 60}, "/faults", "evil.example")
            assert status == 403
            assert it.server.faults()["active"] == []

    asyncio.run(scenario())


def test_a_fault_that_is_set_again_after_a_delete_lasts_its_own_time() -> None:
    async def scenario() -> None:
        async with controlled() as (it, ask):
            ib = await it.connect()
            told: list[int] = []
            ib.errorEvent += lambda request_id, code, text, contract: told.append(code)
            lost = {"kind": "farm_lost", "duration_s": 0.3}
            await ask("POST", lost)
            await ask("DELETE")
            await ask("POST", {"kind": "link_lost", "duration_s": 0.1})
            await until(ib, lambda: told == [2103, 2104, 1100, 1102])
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await ask("POST", lost)
            await until(ib, lambda: told[4:] == [2103, 2104])
            assert loop.time() - began_s >= 0.3, "not at the end of the first one's time"

    asyncio.run(scenario())


@pytest.mark.slow
def test_the_command_says_where_its_control_port_is_and_a_fault_set_there_cuts_a_client(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "main.py"), "sim", "gateway", "--port", "0", "--control-port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            gateway = re.search(r"127\.0\.0\.1:(\d+)", server.stdout.readline())
            control = re.search(r":(\d+)/faults", server.stdout.readline())
            assert gateway is not None and control is not None
            with socket.create_connection(("127.0.0.1", int(gateway[1])), timeout=20) as client:
                status, now = call(int(control[1]), "POST", {"kind": "drop_refuse", "duration_s": 600})
                assert (status, now["active"][0]["kind"]) == (200, "drop_refuse")
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
        finally:
            server.terminate()


def test_a_fault_that_was_ended_does_not_end_again_at_its_own_time() -> None:
    async def scenario() -> None:
        async with controlled() as (it, ask):
            ib = await it.connect()
            told: list[int] = []
            ib.errorEvent += lambda request_id, code, text, contract: told.append(code)
            await ask("POST", {"kind": "farm_lost", "duration_s": 0.1})
            await ask("DELETE")
            await ask("POST", {"kind": "link_lost", "duration_s": 0.2})
            await until(ib, lambda: 1102 in told)
            assert told == [2103, 2104, 1100, 1102]

    asyncio.run(scenario())


def test_of_two_equal_faults_one_ends_at_a_time() -> None:
    active = ActiveFaults()
    first, second = (Fault(FaultKind.FARM_LOST, duration_s=1.0) for _ in range(2))
    active.begin(first)
    active.begin(second)
    active.end(first)
    assert active.all() == [second]
