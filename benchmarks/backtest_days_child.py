"""A child of `backtest_days`: records a simulated day into a data folder, backtests the days of one, or sweeps them."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from datetime import date
from datetime import time as clock_time
from pathlib import Path
from typing import Final

from config.settings import Settings, load_settings
from domain.instants import at_exchange
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.recorded import sessions_of
from simulation.backtest.run import Backtest, Day, hash_of
from simulation.backtest.sweep import Unit, sweep
from simulation.days.sweep import quick_folder
from simulation.recording import record_day

UNTIL: Final = clock_time(11, 30)  # of each day: enough to enter and to leave
NAV_CENTS: Final = Cents(30_000_000)


def settings_of(session: date, seed: int) -> Settings:
    """Return a demo day of one ticker whose band is recorded often, without its outages."""
    return load_settings(
        None, "demo",
        {
            "tickers": ["SPX"], "lanes": {"gexwatch": ["SPX"], "advisor": ["SPX"]},
            "warehouse": {"chain_every_ms": 5_000},
            "demo": {
                "session": session.isoformat(), "seed": seed, "start_clock": "09:20:00", "gateway_drop_s": 0,
                "hub_drop_s": 0,
            },
        },
    )  # fmt: skip


def record(folder: Path, session: date, seed: int, *, is_whole: bool) -> None:
    """Play a day, or its first two hours, into a data folder."""
    record_day(settings_of(session, seed), folder, None if is_whole else at_exchange(session, UNTIL))


def backtest(folder: Path) -> None:
    """Backtest all days of a data folder; print the run's hash, and seconds of CPU and the peak (MB) day by day."""
    sessions = sessions_of(folder / "series", folder / "warehouse", date.min, date.max)
    settings = settings_of(sessions[0], 1)
    promotions = dict.fromkeys(settings.lanes, settings.promoted)
    days: list[Day] = []
    spent: list[float] = []
    peaks: list[int] = []
    with tempfile.TemporaryDirectory(dir=quick_folder()) as ledgers:
        run = Backtest(
            settings, folder / "series", folder / "warehouse", promotions, FillModel(), NAV_CENTS, Path(ledgers)
        )
        for session in sessions:
            began = time.process_time()
            days += run.days((session,))
            spent.append(round(time.process_time() - began, 2))
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    trades = sum(len(day.trades) for day in days)
    print(json.dumps({"hash": hash_of(days), "cpu_s": spent, "peak_mb": peaks, "trades": trades}))


def sweep_of(folder: Path, workers: int) -> None:
    """Sweep all days of a data folder over processes; print the seconds that it took, their start included."""
    sessions = sessions_of(folder / "series", folder / "warehouse", date.min, date.max)
    settings = settings_of(sessions[0], 1)
    units = [
        Unit(
            combination=0, session=session, settings=settings.to_json(), model=FillModel(), nav_cents=NAV_CENTS,
            promotions=dict.fromkeys(settings.lanes, settings.promoted), series=str(folder / "series"),
            warehouse=str(folder / "warehouse"),
        )
        for session in sessions
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as parts:
        began = time.perf_counter()
        list(sweep(units, Path(parts), workers=workers, progress=lambda _n, _of: None))
        print(round(time.perf_counter() - began, 2))


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(Path(sys.argv[2]), date.fromisoformat(sys.argv[3]), int(sys.argv[4]), is_whole="whole" in sys.argv[5:])
    elif sys.argv[1] == "sweep":
        sweep_of(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        backtest(Path(sys.argv[2]))
