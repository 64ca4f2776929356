"""The data folder is gone and comes back from a backup that is older than what the broker knows: the desk goes on."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from datetime import time
from pathlib import Path
from typing import Any

import numpy as np
import pyrage
import pytest

from actors.ibkr.state import IBKRState
from config.settings import Settings, load_settings
from domain.features.frames import COLUMNS
from domain.instants import at_exchange
from domain.session.modes import Mode
from domain.units import Utc
from simulation import day as days
from simulation.day import SteppedDay, start_of, stepped_day
from storage.backup import back_up
from storage.restore import restore
from storage.targets import Target
from storage.views.database import Database
from tests.testkit.anchored import anchored
from tests.testkit.small_day import EAGER

IDENTITY = pyrage.x25519.Identity.generate()


def one_ticker() -> Settings:
    """Return the demo's settings with SPX and one hub alone, from 10:50 on, without outages: it enters at 11:34."""
    settings = load_settings(profile="demo", overrides=anchored({"alert_rules": EAGER}))
    demo = dataclasses.replace(settings.demo, start_clock=time(10, 50), gateway_drop_s=0.0, hub_drop_s=0.0)
    feed = dataclasses.replace(settings.feed, hubs={"classic": settings.feed.hubs["classic"]})
    lanes = dict.fromkeys(settings.lanes, ("SPX",))
    return settings.model_copy(
        update={"tickers": ("SPX",), "spot_only": (), "lanes": lanes, "demo": demo, "feed": feed}
    )


def held(day: SteppedDay) -> list[int]:
    return [position.con_id for position in day.exchange.positions() if position.qty]


def mode(day: SteppedDay) -> Mode:
    state = day.runtime.cells["ibkr:paper"].state
    assert isinstance(state, IBKRState)
    return state.mode


@pytest.fixture
def brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[SteppedDay, str], SteppedDay]:
    """What stops a supervisor, deletes its data folder, restores a backup, and starts again over the same broker."""

    def again(day: SteppedDay, name: str) -> SteppedDay:
        day.runtime.close()
        shutil.rmtree(day.folder)
        restore(Target(str(tmp_path / "target")), IDENTITY, day.folder, name.rpartition("/")[2].removesuffix(".age"))
        exchange: Any = day.exchange
        monkeypatch.setattr(days, "market_of", lambda *_, **__: exchange.market)
        monkeypatch.setattr(days, "Exchange", lambda *_, **__: exchange)
        clock: Any = day.runtime.clock
        return stepped_day(day.settings, day.folder, clock=clock)

    return again


def test_a_restored_supervisor_reconciles_what_happened_since_and_goes_on_without_entries(
    tmp_path: Path, brought_back: Callable[[SteppedDay, str], SteppedDay]
) -> None:
    settings, target = one_ticker(), Target(str(tmp_path / "target"))
    folder = tmp_path / "data"
    day = stepped_day(settings, folder, clock=start_of(settings))

    def at(hour: int, minute: int) -> Utc:
        return at_exchange(settings.demo.session, time(hour, minute))

    def backed_up(of: SteppedDay) -> str:
        return back_up(folder, target, IDENTITY.to_public(), of.runtime.clock.now_utc()).name

    def ask(sql: str) -> list[dict[str, Any]]:
        return Database(folder).rows(sql)

    day.run(at(11, 33))
    before_entry = backed_up(day)
    day.run(at(11, 39))
    (con_id,) = held(day)
    with_position = backed_up(day)

    # The backup knows nothing of the entry: what the broker holds is nobody's here, so a person looks.
    day = brought_back(day, before_entry)
    day.run(at(11, 42))
    assert (held(day), mode(day)) == ([con_id], Mode.FULLY_LIVE)
    assert ask("SELECT count(*) AS n FROM positions")[0]["n"] == 0
    (execution,) = ask("SELECT is_foreign, con_id FROM fills")
    assert execution == {"is_foreign": True, "con_id": con_id}
    kills = ask('SELECT level, reason, "by" FROM kills ORDER BY kill_epoch')
    assert kills[0]["by"] == "restore" and {kill["level"] for kill in kills} == {1}
    assert any("book is not ours" in kill["reason"] for kill in kills)

    # The backup knows the position: its exit goes on, and nothing is entered.
    day = brought_back(day, with_position)
    day.run(at(11, 58))
    assert held(day) == []
    (closed,) = ask("SELECT state, pnl IS NOT NULL AS is_booked, closed_utc IS NOT NULL AS is_over FROM positions")
    assert closed == {"state": "FLAT", "is_booked": True, "is_over": True}
    assert ask("SELECT code FROM attempts WHERE decided_ny > TIMESTAMP '2026-11-20 11:39:00' AND is_accepted") == []
    fills = ask("SELECT exec_id, side FROM fills ORDER BY at_utc")
    assert [fill["side"] for fill in fills] == ["BUY", "SELL"]

    # The same backup once more: meanwhile the exit was filled, which the restored ledger finds at the broker.
    day = brought_back(day, with_position)
    day.run(at(12, 1))
    assert (held(day), mode(day)) == ([], Mode.FULLY_LIVE)
    assert ask("SELECT exec_id, side FROM fills ORDER BY at_utc") == fills
    (found,) = ask("SELECT state, pnl IS NOT NULL AS is_booked, closed_utc IS NOT NULL AS is_over FROM positions")
    assert found == closed
    spots = day.runtime.cells["reading:SPX"].state.window.values[COLUMNS.index("spot")]
    assert np.count_nonzero(~np.isnan(spots)) > 70  # 49 min of the backup, and what has come since
    assert day.runtime.dead_letters == 0
    assert [cell.name for cell in day.runtime.cells.values() if cell.crashes] == []
