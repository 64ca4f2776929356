"""The MCP server as a client sees it: the library's own client starts `main.py mcp` and asks over its pipes."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent

from commands.control import ControlServer
from commands.folder import DataFolder
from tests.testkit import ledger_asks as ask
from tests.testkit.asked_desk import ACCOUNT, MASKED, asked_desk
from tests.testkit.paths import ROOT

pytestmark = pytest.mark.slow
T = TypeVar("T")
PATIENT_S = 120.0
READ_ONLY = {
    "status", "positions", "performance", "trades", "rejects", "alerts", "gaps", "why", "why_not", "views", "sql",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return asked_desk(tmp_path_factory.mktemp("asked"))


class Server:
    """The server as a client's configuration starts it, and the client, for tests that only ask."""

    def __init__(self, folder: DataFolder, **environment: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._over, self._ready = asyncio.Event(), Future[Client]()
        self._served = asyncio.run_coroutine_threadsafe(self._serve(folder, environment), self._loop)

    async def _serve(self, folder: DataFolder, environment: dict[str, str]) -> None:
        child = StdioServerParameters(
            command=sys.executable, args=["main.py", "--data", str(folder.root), "mcp"], cwd=ROOT,
            env={**os.environ, "ZEROHOUR_ENV_FILE": "", **environment},
        )  # fmt: skip
        try:
            async with Client(child, read_timeout_seconds=PATIENT_S) as client:
                self._ready.set_result(client)
                await self._over.wait()
        finally:
            self._ready.cancel()  # where it did not come up: nobody waits for it

    def do(self, use: Callable[[Client], Awaitable[T]]) -> T:
        """Use the client."""

        async def used() -> T:
            return await use(self._ready.result())

        self._ready.result(PATIENT_S)
        return asyncio.run_coroutine_threadsafe(used(), self._loop).result(PATIENT_S)

    def call(self, *calls: tuple[str, dict[str, Any]]) -> list[CallToolResult]:
        """Call tools, one after the other."""

        async def use(client: Client) -> list[CallToolResult]:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

        return self.do(use)

    def close(self) -> None:
        """End the client, which ends the server."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._served.result(PATIENT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def server(folder: DataFolder) -> Iterator[Server]:
    made = Server(folder)
    yield made
    made.close()


@pytest.fixture(scope="module")
def raising(folder: DataFolder) -> Iterator[Server]:
    """A server that may raise the kill level."""
    made = Server(folder, ZEROHOUR_MCP__ALLOWS_KILL="true")
    yield made
    made.close()


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def test_a_client_asks_for_status_a_why_and_a_select(server: Server) -> None:
    status, why, rows = server.call(
        ("status", {}), ("why", {"strike": 6005, "right": "call"}),
        ("sql", {"query": "SELECT status, count(*) AS n FROM trades GROUP BY ALL ORDER BY 1"}),
    )  # fmt: skip
    assert not (status.is_error or why.is_error or rows.is_error)
    assert "No supervisor runs" in text_of(status)
    assert "Bought 2 SPXW 6005C" in text_of(why)
    assert f"ledgers/paper.db positions: {ask.stem(1)}" in why.structured_content["rests_on"]
    assert '"columns":["status","n"]' in text_of(rows)


def test_what_writes_reads_the_machine_or_opens_files_is_refused(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused = server.call(
        *(
            ("sql", {"query": query})
            for query in (
                "DELETE FROM trades", "SELECT * FROM read_text('/etc/passwd')", f"COPY (SELECT 1) TO '{out}'",
                f"ATTACH '{out}' AS other",
            )
        ),
        ("why", {"strike": 6005, "shell": "ls"}), ("sql", {}), ("shell", {}),
    )  # fmt: skip
    assert [result.is_error for result in refused] == [True] * 7
    assert all("root:" not in text_of(result) for result in refused)
    assert not out.exists()


def test_no_answer_holds_an_account_number(server: Server) -> None:
    answers = server.call(
        ("status", {}), ("sql", {"query": "SELECT reason FROM kills"}),
        ("sql", {"query": "SELECT message FROM trace WHERE type = 'risk.RecordKill'"}),
        ("sql", {"query": f"SELECT '{ACCOUNT}' AS account"}),
    )  # fmt: skip
    for result in answers:
        assert MASKED in text_of(result)
        assert ACCOUNT not in result.model_dump_json()


def test_the_tools_are_read_only_and_say_what_they_take(server: Server) -> None:
    async def use(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = server.do(use)
    assert {tool.name for tool in tools} == READ_ONLY
    assert all(tool.annotations.read_only_hint for tool in tools)
    assert all(tool.input_schema["type"] == "object" for tool in tools)


def test_raising_the_kill_level_is_no_tool_unless_the_settings_say_so(server: Server) -> None:
    (refused,) = server.call(("raise_kill_level", {"level": 1, "reason": "asked by a test"}))
    assert refused.is_error
    assert "There is no tool" in text_of(refused)


def test_where_the_settings_say_so_it_is_raised_and_never_lowered(folder: DataFolder, raising: Server) -> None:
    heard: list[dict[str, Any]] = []

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        heard.append(request)
        return {"done": f"kill level {request['level']}"}

    control = ControlServer(folder.control, handle)
    try:
        raised, *refused = raising.call(
            ("raise_kill_level", {"level": 2, "reason": "asked by a test"}),
            ("raise_kill_level", {"level": 0, "reason": "asked by a test"}), ("raise_kill_level", {"level": 1}),
        )  # fmt: skip
    finally:
        control.close()
    assert not raised.is_error
    assert "kill level 2" in text_of(raised)
    assert heard == [{"do": "kill", "level": 2, "by": "mcp", "reason": "asked by a test"}]
    assert all(result.is_error for result in refused)


def test_silence_is_not_said_to_be_a_refusal(folder: DataFolder, raising: Server) -> None:
    control = ControlServer(folder.control, lambda _: {"error": "no answer in time: the outcome is unknown"})
    try:
        (unsure,) = raising.call(("raise_kill_level", {"level": 1, "reason": "asked by a test"}))
    finally:
        control.close()
    assert unsure.is_error
    assert text_of(unsure).startswith("It is not confirmed that the kill level was raised")


def test_raising_it_without_a_supervisor_is_refused_in_a_sentence(raising: Server) -> None:
    (refused,) = raising.call(("raise_kill_level", {"level": 1, "reason": "asked by a test"}))
    assert refused.is_error
    assert "No supervisor runs" in text_of(refused)
