"""Units of a sweep that take no time: each day is made up from its settings, and who ran what is put on record."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from datetime import date
from pathlib import Path

from config.settings import from_json
from domain.units import Cents, Utc
from simulation.backtest.run import Day, Trade
from simulation.backtest.sweep import Unit

RAN, KILLED = "ran", "killed"
DIES_AT = 3


def made_up(unit: Unit) -> Day:
    """Return a day that depends on the settings alone, and note that it was run."""
    with (Path(unit.series) / RAN).open("a", encoding="utf-8") as out:
        out.write(f"{unit.combination} {unit.session}\n")
    cents = [round(1000 * from_json(unit.settings).exits.premium_stop) * unit.session.day, -700]
    return day_of(unit.session, cents)


def kills_the_sweep(unit: Unit) -> Day:
    """Return the same, but the process that sweeps is killed once three ran; who runs another one waits for that."""
    day, sweeping = made_up(unit), multiprocessing.parent_process()
    if ran(Path(unit.series)) < DIES_AT or sweeping is None:
        return day
    with suppress(FileExistsError):
        (Path(unit.series) / KILLED).touch(exist_ok=False)
        assert sweeping.pid is not None
        os.kill(sweeping.pid, signal.SIGKILL)
    sweeping.join()
    return day


def dies(unit: Unit) -> Day:
    """Return the same, but the process that runs the third one ends."""
    day = made_up(unit)
    if ran(Path(unit.series)) == DIES_AT:
        os._exit(7)
    return day


def dies_on_a_node(unit: Unit) -> Day:
    """Return the same, but the third one fails."""
    day = made_up(unit)
    if ran(Path(unit.series)) == DIES_AT:
        raise RuntimeError("made up")
    return day


def ran(series: Path) -> int:
    """Return how many units were run."""
    path = series / RAN
    return len(path.read_text("utf-8").splitlines()) if path.exists() else 0


def day_of(session: date, cents: list[int]) -> Day:
    """Return a day of these trades."""
    trades = tuple(
        Trade(
            session=session, ticker="SPX", contract="SPXW 6000C", strategy="gexwatch", qty=1, pnl_cents=one,
            fees_cents=130, reason="eod", opened_utc=Utc(0), closed_utc=Utc(1),
        )
        for one in cents
    )  # fmt: skip
    return Day(
        session=session, trades=trades, rows=1, quotes=1, contracts=1, alerts=len(cents), shadows=0, refused={},
        unfilled=0, held=0, nav_cents=Cents(30_000_000 + sum(cents)), digest="d", crashed=(), damaged=(),
    )  # fmt: skip
