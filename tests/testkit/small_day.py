"""A data folder as the supervisor leaves it, made by some hours of a stepped day: market, ledgers and trace."""

from __future__ import annotations

from pathlib import Path

import msgspec

from config.settings import load_settings
from domain.units import Utc
from simulation.day import SteppedDay, start_of, stepped_day
from supervision.trace import FileTrace, Header
from tests.testkit.anchored import anchored

# A desk with something to do in the morning: flips are told at once, and breaks ask for neither flow nor forces.
EAGER = {
    "GAMMA_FLIP": {"cooldown_ms": 60_000, "hysteresis_bps": 1, "readings": 1},
    "STRUCTURE_BREAK": {"cooldown_ms": 300_000, "alignment_min": -1, "within_readings": 8, "flow_z_min": -100},
}


def small_day(folder: Path, until_utc: Utc) -> SteppedDay:
    """Run three tickers of the demo's day on the stepped runtime up to an instant, with its trace on disk."""
    few = {"tickers": ["SPX", "SPY", "QQQ"], "web": {"is_on": False}, "alert_rules": EAGER}
    settings = load_settings(profile="demo", overrides=anchored(few))
    session = settings.demo.session.isoformat()
    header = Header(
        run_n=1, session=session, started_utc=Utc(0), rate=1.0, settings_digest=settings.digest(), code_version="test",
        settings=msgspec.Raw(settings.to_json()),
    )  # fmt: skip
    clock = start_of(settings)
    trace = FileTrace(folder / "traces" / session / "run-1.jsonl", header, clock)
    day = stepped_day(settings, folder, trace=trace, clock=clock)
    day.run(until_utc)
    day.runtime.close()
    trace.close()
    return day
