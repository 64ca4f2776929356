"""A day under other settings: both days beside each other, and what is asked for wrongly is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from commands.cli import main
from commands.what_if import WhatIf, lines_of
from config.settings import load_settings
from domain.instants import MINUTE, SECOND
from domain.units import Cents, Utc
from simulation.backtest.run import Day, Trade, on_paper
from tests.testkit.web_desk import NOW

SESSION = date(2026, 11, 20)
FILE = Path("mine.yaml")


def trade(contract: str, cents: int, *, after_ns: int = 0, qty: int = 1, reason: str = "no_progress") -> Trade:
    return Trade(
        session=SESSION, ticker="SPX", contract=contract, strategy="gexwatch", qty=qty, pnl_cents=cents, fees_cents=290,
        reason=reason, opened_utc=Utc(NOW + after_ns), closed_utc=Utc(NOW + after_ns + MINUTE),
    )  # fmt: skip


def day(*trades: Trade, digest: str = "one", **changes: object) -> Day:
    found: dict[str, Any] = {
        "session": SESSION, "trades": trades, "rows": 1, "quotes": 1, "contracts": 1, "alerts": 5, "shadows": 0,
        "refused": {"loss_streak": 2, "bad_size": 1}, "unfilled": 1, "held": 0, "nav_cents": Cents(30_000_000),
        "digest": digest, "crashed": (), "damaged": (),
    }  # fmt: skip
    return Day(**(found | changes))


def test_both_days_stand_beside_each_other_with_every_trade() -> None:
    then = day(trade("SPXW 5890P", -23290), trade("SPXW 5900C", 10000, after_ns=5 * MINUTE, qty=2))
    here = day(
        trade("SPXW 5890P", -12000, after_ns=3 * SECOND, reason="premium_stop"),
        digest="other", refused={"bad_size": 1}, unfilled=0,
    )  # fmt: skip
    lines = lines_of(WhatIf(then, here, 2), FILE)
    told = [" ".join(line.split()) for line in lines]
    assert "as it was with these" in told
    assert "trades, won 2, 1 1, 0" in told
    assert "net USD -132.90 -120.00" in told
    assert "passed without a fill 1 0" in told
    assert "refused: loss_streak 2 0" in told
    assert not any("bad_size" in line for line in told)  # the same in both
    assert "10:02:00 1 SPXW 5890P -232.90 -120.00 no progress / premium stop" in told
    assert "10:07:00 2 SPXW 5900C +100.00 - no progress" in told
    assert max(map(len, lines)) <= 80


def test_settings_that_change_nothing_are_told_so() -> None:
    lines = lines_of(WhatIf(day(), day(), 0), FILE)
    assert "No trade with either." in lines
    assert lines[-1] == "Both come out the same: no alert, no verdict and no fill of this day differs."


def test_a_day_that_cannot_be_traded_again_as_it_was_says_so_and_what_to_try() -> None:
    told = " ".join(lines_of(WhatIf(day(), day(), 3), FILE))
    assert "truly had 3 trades, traded again 0 (refused: loss_streak 2, bad_size 1)" in told
    assert "`--stale 60`" in told


def test_a_crash_is_told_with_the_side_it_was_on() -> None:
    assert "Crashed with these: risk:paper." in lines_of(WhatIf(day(), day(crashed=("risk:paper",)), 0), FILE)


def test_the_port_and_the_money_of_the_run_do_not_matter() -> None:
    live = load_settings(profile="demo").model_copy(update={"trading_mode": "live"})
    found = on_paper(live.model_copy(update={"broker": replace(live.broker, paper_port=34_943)}))
    assert (found.trading_mode, found.broker.paper_port) == ("paper", 4002)


def test_without_settings_nothing_is_traded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "2026-11-20" / "run-1.trace"
    assert main(["--data", str(tmp_path), "replay", str(trace), "--what-if"]) == 2
    assert "--what-if asks for --settings FILE" in capsys.readouterr().err


def test_a_trace_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "2026-11-20").mkdir()
    trace = tmp_path / "2026-11-20" / "run-1.trace"
    trace.write_bytes(b"no trace\n")
    own = tmp_path / "mine.yaml"
    own.write_text("exits: {premium_stop: 0.4}\n", encoding="utf-8")
    assert main(["--data", str(tmp_path), "replay", str(trace), "--settings", str(own), "--what-if"]) in (1, 2, 3)
    assert "run-1.trace" in capsys.readouterr().err
