"""Simulated days recorded as a desk records its own, for backtests and sweeps to be tried on."""

from __future__ import annotations

import errno
import shutil
import tempfile
from datetime import date
from pathlib import Path

from config.settings import Settings
from domain.units import Utc
from simulation.day import start_of, stepped_day
from storage import series
from storage.warehouse import Warehouse
from supervision.trace import NoTrace


def record_day(settings: Settings, folder: Path, until_utc: Utc | None = None) -> None:
    """Play the demo day of the settings, and keep what was recorded of its session in a data folder.

    It takes the place of what is there of that session, and is sealed, rows and series, as a finished day is.
    Ledgers are not kept: the next day's broker is another one.

    Args:
        settings: with the session, the seed and the start of the day.
        folder: of the data; it exists.
        until_utc: where the day ends; `None`: behind its settlement.

    Raises:
        OSError: it cannot be written or sealed.
    """
    session, clock = settings.demo.session, start_of(settings)
    with tempfile.TemporaryDirectory(prefix=f".{session}-", dir=folder) as name:
        aside = Path(name)
        day = stepped_day(settings, aside, trace=NoTrace(clock), clock=clock)
        day.run(until_utc)
        day.runtime.close()
        seal_rows(aside / "warehouse", session)
        series.seal(aside / "series", session)
        for kept in (Path("series", session.isoformat()), Path("warehouse", f"date={session}")):
            shutil.rmtree(folder / kept, ignore_errors=True)
            (folder / kept).parent.mkdir(exist_ok=True)
            (aside / kept).rename(folder / kept)


def seal_rows(root: Path, session: date) -> None:
    """Seal a day whole: thousands of small files become one a hub and shape."""
    warehouse = Warehouse(root)
    warehouse.open()
    try:
        why = warehouse.wait_for_seal() if warehouse.start_seal(session) else ""
    finally:
        warehouse.close()
    if why:
        raise OSError(errno.EIO, why)
