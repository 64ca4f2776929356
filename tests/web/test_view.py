"""What the page is told from is read once, however many ask for it at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyarrow as pa
import pytest

from storage.warehouse_reader import WarehouseReader
from tests.testkit import web_desk as desk
from web.gamma_day import GammaDay
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
