"""What the page is told from is read once, however many ask for it at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from storage.warehouse_reader import WarehouseReader
from tests.testkit import web_desk as desk
from web.gamma_day import GammaDay
from web.stream import Client, Stream
from web.told import push_all
from web.view import View


def test_a_day_that_many_ask_for_at_once_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write_desk(tmp_path)
    view = View(desk.settings(tmp_path), tmp_path, 1, None)
    for _, fact in desk.facts():
        view.take(desk.NOW, fact)
    known: list[int] = []  # the last bucket known at the beginning of each reading
    read = GammaDay.read

    def noted(self: GammaDay, reader: WarehouseReader) -> pa.Table:
        known.append(self.last)
        return read(self, reader)

    monkeypatch.setattr(GammaDay, "read", noted)

    async def ask() -> list[bool]:
        return await asyncio.gather(*(view.read_market("SPX") for _ in range(3)))

    assert asyncio.run(ask()) == [True, False, False]
    assert known == [-1, desk.LAST, desk.LAST]


def test_the_kill_level_is_what_was_said_or_recorded_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view, at_s = View(desk.settings(tmp_path), tmp_path, 1, None), 100.0
    monkeypatch.setattr("web.view.time.monotonic", lambda: at_s)

    def kill() -> dict[str, Any] | None:
        return view.kill

    assert kill() is None, "nobody has said it, and nothing is on record"
    said = {"level": 0, "kill_epoch": 3, "reason": "first start", "by": "test"}
    view.answered({"process": {"at_utc": int(desk.NOW)}, "actors": [], "kill": said})
    at_s += 10.0  # the next answer takes its time
    assert kill() == said
    view.ledgers.kill = said | {"level": 1, "kill_epoch": 4}
    assert kill() == view.ledgers.kill, "raised since, and on record"
    view.ledgers.kill = said | {"level": 2, "kill_epoch": 2}
    assert kill() == said, "what was recorded before is over"
    at_s += 60.0
    assert kill() == view.ledgers.kill, "too old to go by"


def test_a_page_that_begins_is_told_bar_and_panels_of_one_moment(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    view, stream = View(desk.settings(tmp_path), tmp_path, 1, None), Stream(5)
    view.show(desk.DAY)

    async def begun() -> bytes:
        push_all(view, stream)
        frames = stream.follow(Client("", -1, 0), view)
        await anext(frames)
        told = await anext(frames)
        await frames.aclose()
        return told

    told = asyncio.run(begun())
    assert b"event: status" in told
    assert b"event: positions" not in told, "before the ledgers were read nothing says that nothing is held"
    assert asyncio.run(view.read_ledgers())
    told = asyncio.run(begun())
    for kind in (b"positions", b"performance", b"trades", b"fills", b"gates", b"market", b"pipeline"):
        assert b"event: " + kind + b"\n" in told
    assert b"SPXW 6015C" in told
