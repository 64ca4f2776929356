"""The MCP server as a client sees it: the library's own client starts `main.py mcp` and asks over its pipes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
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
READ_ONLY = {
    "status", "positions", "performance", "trades", "rejects", "alerts", "gaps", "why", "why_not", "views", "sql",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return asked_desk(tmp_path_factory.mktemp("asked"))


def with_client(folder: DataFolder, use: Callable[[Client], Awaitable[T]], **environment: str) -> T:
    """Start the server as a client's configuration does, use it, and end it."""

    async def run() -> T:
        child = StdioServerParameters(
            command=sys.executable, args=["main.py", "--data", str(folder.root), "mcp"], cwd=ROOT,
            env={**os.environ, "ZEROHOUR_ENV_FILE": "", **environment},
        )  # fmt: skip
        async with Client(child, read_timeout_seconds=60) as client:
            return await use(client)

    return asyncio.run(run())


def call(folder: DataFolder, *calls: tuple[str, dict[str, Any]], **environment: str) -> list[CallToolResult]:
    async def use(client: Client) -> list[CallToolResult]:
        return [await client.call_tool(name, arguments) for name, arguments in calls]

    return with_client(folder, use, **environment)


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def test_a_client_asks_for_status_a_why_and_a_select(folder: DataFolder) -> None:
    status, why, rows = call(
        folder, ("status", {}), ("why", {"strike": 6005, "right": "call"}),
        ("sql", {"query": "SELECT status, count(*) AS n FROM trades GROUP BY ALL ORDER BY 1"}),
    )  # fmt: skip
    assert not (status.is_error or why.is_error or rows.is_error)
    assert "No supervisor runs" in text_of(status)
    assert "Bought 2 SPXW 6005C" in text_of(why)
    assert f"ledgers/paper.db positions: {ask.stem(1)}" in why.structured_content["rests_on"]
    assert '"columns":["status","n"]' in text_of(rows)


def test_what_writes_reads_the_machine_or_opens_files_is_refused(folder: DataFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused = call(
        folder,
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


def test_no_answer_holds_an_account_number(folder: DataFolder) -> None:
    answers = call(
        folder, ("status", {}), ("sql", {"query": "SELECT reason FROM kills"}),
        ("sql", {"query": "SELECT message FROM trace WHERE type = 'risk.RecordKill'"}),
        ("sql", {"query": f"SELECT '{ACCOUNT}' AS account"}),
    )  # fmt: skip
    for result in answers:
        assert MASKED in text_of(result)
        assert ACCOUNT not in result.model_dump_json()


def test_the_tools_are_read_only_and_say_what_they_take(folder: DataFolder) -> None:
    async def use(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = with_client(folder, use)
    assert {tool.name for tool in tools} == READ_ONLY
    assert all(tool.annotations.read_only_hint for tool in tools)
    assert all(tool.input_schema["type"] == "object" for tool in tools)


def test_raising_the_kill_level_is_no_tool_unless_the_settings_say_so(folder: DataFolder) -> None:
    (refused,) = call(folder, ("raise_kill_level", {"level": 1, "reason": "asked by a test"}))
    assert refused.is_error
    assert "There is no tool" in text_of(refused)


def test_where_the_settings_say_so_it_is_raised_and_never_lowered(folder: DataFolder) -> None:
    heard: list[dict[str, Any]] = []

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        heard.append(request)
        return {"done": f"kill level {request['level']}"}

    control = ControlServer(folder.control, handle)
    try:
        raised, *refused = call(
            folder, ("raise_kill_level", {"level": 2, "reason": "asked by a test"}),
            ("raise_kill_level", {"level": 0, "reason": "asked by a test"}), ("raise_kill_level", {"level": 1}),
            ZEROHOUR_MCP__ALLOWS_KILL="true",
        )  # fmt: skip
    finally:
        control.close()
    assert not raised.is_error
    assert "kill level 2" in text_of(raised)
    assert heard == [{"do": "kill", "level": 2, "by": "mcp", "reason": "asked by a test"}]
    assert all(result.is_error for result in refused)


def test_silence_is_not_said_to_be_a_refusal(folder: DataFolder) -> None:
    control = ControlServer(folder.control, lambda _: {"error": "no answer in time: the outcome is unknown"})
    try:
        (unsure,) = call(
            folder, ("raise_kill_level", {"level": 1, "reason": "asked by a test"}), ZEROHOUR_MCP__ALLOWS_KILL="true"
        )
    finally:
        control.close()
    assert unsure.is_error
    assert text_of(unsure).startswith("It is not confirmed that the kill level was raised")


def test_raising_it_without_a_supervisor_is_refused_in_a_sentence(folder: DataFolder) -> None:
    (refused,) = call(
        folder, ("raise_kill_level", {"level": 1, "reason": "asked by a test"}), ZEROHOUR_MCP__ALLOWS_KILL="true"
    )
    assert refused.is_error
    assert "No supervisor runs" in text_of(refused)
