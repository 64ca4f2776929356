"""What the page is told from is read once, however many ask for it at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from domain.alarm import Severity
from domain.instants import SECOND
from domain.session.modes import Mode
from domain.units import Ticks, Utc
from messages import operator, session
from storage.warehouse_reader import WarehouseReader
from tests.testkit import web_desk as desk
from web import lists
from web.desk import alarm_lines, market, pipeline, status, troubles
from web.gamma_day import GammaDay
from web.holdings import performance
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
        frames = stream.follow(Client("paper", "", -1, 0), view)
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


def test_what_is_realised_of_positions_still_held_is_told_apart_from_the_trades(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    view = View(desk.settings(tmp_path), tmp_path, 1, None)
    view.show(desk.DAY)
    assert asyncio.run(view.read_ledgers())
    trades = performance(view)
    assert (trades.daily_realized_pnl, trades.held_realized_pnl) == (-120.0, 0.0)
    view.ledgers.held = [row | {"realised_cents": -360} for row in view.ledgers.held]
    with_fees = performance(view)
    assert (with_fees.daily_realized_pnl, with_fees.held_realized_pnl) == (-123.6, -3.6)


def test_a_supervisor_that_is_silent_for_a_minute_is_not_said_to_trade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, at_s = View(desk.settings(tmp_path), tmp_path, 1, None), 100.0
    monkeypatch.setattr("web.view.time.monotonic", lambda: at_s)
    for _, fact in desk.facts():
        view.take(desk.NOW, fact)
    kill = {"level": 0, "kill_epoch": 3, "reason": "first start", "by": "test"}
    view.answered({"process": {"at_utc": int(desk.NOW)}, "actors": [], "kill": kill})
    view.ledgers.kill = kill

    def told() -> tuple[bool, bool, set[str]]:
        found = status(view)
        return found.is_trading, found.is_connected, {stage.state for stage in pipeline(view)}

    assert told()[:2] == (True, True)
    at_s += 50.0
    view.answered({"error": "The supervisor does not answer."})
    assert told()[:2] == (True, True), "a busy machine takes its time"
    at_s += 20.0
    assert told() == (False, False, {"down"})
    view.take(desk.NOW, desk.spots(desk.spot_at(desk.LAST), desk.NOW))
    assert told()[:2] == (True, True), "what it pushes is a sign of life"


def test_an_old_price_gives_way_to_a_newer_reading_and_is_said_to_be_old(tmp_path: Path) -> None:
    view = View(desk.settings(tmp_path), tmp_path, 1, None)
    for _, fact in desk.facts():
        view.take(desk.NOW, fact)
    assert market(view).old_s == {}
    of_broker, spot = market(view).prices["SPX"], Ticks(desk.spot_at(desk.LAST) + 1_000)
    fresh = replace(view.readings["SPX"], bucket_utc=Utc(desk.NOW + 5 * 60 * SECOND), spot=spot)
    view.take(Utc(desk.NOW + 330 * SECOND), fresh)
    assert market(view).prices["SPX"] == spot / 100 != of_broker
    view.take(Utc(desk.NOW + 500 * SECOND), desk.facts()[0][1])
    assert market(view).old_s["SPX"] == 170


def test_what_the_public_is_told_late_tells_of_nothing_younger(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    view = View(desk.settings(tmp_path), tmp_path, 1, None)
    view.show(desk.DAY)
    assert asyncio.run(view.read_ledgers())
    asyncio.run(view.read_outcomes())
    now = {one.alert_id: (one.became, one.outcome) for one in lists.alerts(view, 50)}
    assert "traded" in {became for became, _ in now.values()}
    assert any(outcome for _, outcome in now.values())
    raised_utc = max(row["raised_utc"] for row in view.ledgers.alerts)
    late = lists.alerts(view, 50, Utc(raised_utc))
    assert len(late) == len(now)
    assert not {one.outcome for one in late} - {None}, "their horizon was not over by then"
    filled_utc = min(row["at_utc"] for row in view.ledgers.executions)
    before = lists.alerts(view, 50, Utc(filled_utc - 1))
    assert "traded" not in {one.became for one in before}


def alarm(view: View, key: str, text: str, severity: Severity = Severity.WARNING, after_s: int = 0) -> None:
    at_utc = Utc(desk.NOW + after_s * SECOND)
    view.take(at_utc, operator.Alarm(key=key, severity=severity, text=text, at_utc=at_utc))


def test_alarms_and_the_kill_level_are_told_in_plain_words(tmp_path: Path) -> None:
    view = View(desk.settings(tmp_path), tmp_path, 1, None)
    alarm(view, "mailbox:risk:paper", "risk:paper has more than 1000 messages waiting", Severity.HIGH)
    (line,) = alarm_lines(view)
    assert line.text.startswith("The risk check cannot keep up: more than 1,000 messages wait for it. Entries are off")
    assert (line.key, line.is_over) == ("mailbox:risk:paper", False)
    why = "hub:classic crashed 4 times in 60 s"
    view.answered({
        "process": {"at_utc": int(desk.NOW), "latched": "kill crashed: KeyError: 1"}, "actors": [],
        "kill": {"level": 1, "kill_epoch": 3, "reason": why, "by": "supervisor"},
    })  # fmt: skip
    assert status(view).kill_reason == "Hub classic failed 4 times in 60 s and is not started again (the supervisor)"
    assert "The kill switch failed" in " ".join(troubles(view))


def test_an_alarm_about_the_session_or_a_hub_is_over_when_it_stands_again(tmp_path: Path) -> None:
    view = View(desk.settings(tmp_path), tmp_path, 1, None)
    alarm(view, "gateway", "No session with the IB Gateway.")
    alarm(view, "hub:classic:silent", "Hub classic has been silent for 62 s of market time.")
    alarm(view, "hub:flow:silent", "Hub flow has been silent for 62 s of market time.")
    alarm(view, "hub:classic:cover", "Hub classic delivers again: REST has handed back.", Severity.INFO, after_s=3)

    def over() -> set[str]:
        return {line.key for line in alarm_lines(view) if line.is_over}

    assert over() == {"hub:classic:silent"}
    for mode, is_over in ((Mode.WARMUP, False), (Mode.FULLY_LIVE, True)):
        at_utc = Utc(desk.NOW + 10 * SECOND)
        view.take(at_utc, session.ModeChanged(mode=mode, mode_n=5, session_epoch=8, cause="stable", at_utc=at_utc))
        assert ("gateway" in over()) is is_over
    (text,) = (line.text for line in alarm_lines(view) if line.key == "gateway")
    assert text == "No session with the IB Gateway."  # of what has passed nothing is to be done
    alarm(view, "gateway", "No session with the IB Gateway.", after_s=20)
    assert "gateway" not in over()


def test_of_many_shadows_none_pushes_an_alert_out_of_the_list(tmp_path: Path) -> None:
    desk.write_desk(tmp_path)
    view = View(desk.settings(tmp_path), tmp_path, 1, None)
    view.show(desk.DAY)
    assert asyncio.run(view.read_ledgers())
    real = view.ledgers.alerts[0] | {"is_shadow": 0}
    view.ledgers.alerts = [real, *(real | {"alert_id": f"{real['alert_id']}{n}", "is_shadow": 1} for n in range(40))]
    assert [one.is_shadow for one in lists.alerts(view, 30, shadows=False)] == [False]
    assert len(lists.shadows(view, 30)) == 30
    assert len(lists.alerts(view, 50)) == 41
