"""A build whose exits do nothing is found out: not flat by the broker's book, whatever the settlement does after it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import actors.position.actor as position_actor
from commands.folder import DataFolder
from commands.report import facts as report_facts
from commands.report import is_bad, lines_of
from config.settings import load_settings
from simulation.day import start_of, stepped_day
from supervision.trace import FileTrace, Header
from tests.testkit.anchored import anchored

pytestmark = pytest.mark.slow
# From before the day's last signals: enough to open something, and short.
AFTERNOON = {"start_clock": "14:20:00", "gateway_drop_s": 0, "hub_drop_s": 0}


def test_a_day_with_exits_switched_off_is_called_not_flat_with_contract_and_quantity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(position_actor, "steer_exit", lambda *_, **__: None)
    settings = load_settings(profile="demo", overrides=anchored({"tickers": ["SPX", "QQQ"], "demo": AFTERNOON}))
    session, clock = settings.demo.session, start_of(settings)
    header = Header(
        run_n=1, session=session.isoformat(), started_utc=clock.now_utc(), rate=1.0, settings_digest=settings.digest(),
        code_version="test", settings=msgspec.Raw(settings.to_json()),
    )  # fmt: skip
    folder = DataFolder(tmp_path)
    trace = FileTrace(folder.trace(session, 1), header, clock)
    day = stepped_day(settings, tmp_path, trace=trace, clock=clock, shows=False)
    day.run()
    trace.close()
    day.runtime.close()

    held = day.exchange.held_at_close
    assert held, "the broker holds at the close what nobody sold"
    assert day.exchange.positions() == [], "and its settlement empties the book"
    found = report_facts(settings, folder, session)
    assert (found["is_flat"], found["is_flat_by_broker"], is_bad(found)) == (True, False, True)
    assert {(h.con_id, h.qty) for look in found["looks"] for h in look.held} == {(p.con_id, p.qty) for p in held}
    _, lines = lines_of(settings, folder, session)
    said = " ".join(" ".join(lines).split())
    assert "10 min before the close: NOT FLAT, the broker held" in said
    assert "The day was NOT FLAT by the broker's book" in said
