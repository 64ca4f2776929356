"""A data folder of real size is backed up, deleted and brought back: how long it takes, and whether all is there.

A few days at full width are made, and copied to older dates until the folder has several gigabytes. The backup keeps
what is the same once, so its own time is that of the days made; the restore writes and checks every file.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import pyrage

from benchmarks import market_day as synthetic
from benchmarks.figures import Report, work_folder
from benchmarks.warehouse import write_day
from domain.instants import SECOND
from domain.units import Utc
from storage import manifest
from storage.backup import back_up
from storage.restore import restore
from storage.shared_ledger import start_run
from storage.targets import Target
from storage.views.database import Database
from storage.warehouse import Warehouse

DAYS: Final = 5  # full ticks are kept for seven days, five of them sessions (warehouse.retention)
COPIES: Final = 2  # of each; older days come back from the archive the same way
LIMIT_S: Final = 900.0


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 makes fewer and shorter days."""
    report = Report("restore", "Backup and restore at full width", "python -m benchmarks restore")
    buckets_n = max(20, round(synthetic.BUCKETS * min(1.0, scale)))
    identity = pyrage.x25519.Identity.generate()
    with work_folder() as folder:
        data, target = folder / "data", Target(str(folder / "target"))
        days = [synthetic.SESSION - timedelta(days=k) for k in range(max(1, round(DAYS * scale)))]
        for session in days:
            made = write_day(data / "warehouse", session, buckets_n, has_strikes=True)
            manifest.swap(data / "warehouse", manifest.Manifest(session, tuple(made)))
        all_days = [*days, *_copied(data / "warehouse", days)]
        (data / "ledgers").mkdir()
        start_run(data / "ledgers", (), synthetic.FIRST_UTC)
        size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
        rows_n = _rows(data)
        took: dict[str, float] = {}
        for what in ("first backup", "next backup, nothing new"):
            began = time.perf_counter()
            back_up(data, target, identity.to_public(), Utc(synthetic.FIRST_UTC + len(took) * SECOND))
            took[what] = time.perf_counter() - began
        shutil.rmtree(data)
        began = time.perf_counter()
        restored = restore(target, identity, data)
        took["restore"] = time.perf_counter() - began
        began = time.perf_counter()
        warehouse = Warehouse(data / "warehouse")
        warehouse.open()
        warehouse.close()
        came_n = _rows(data)
        took["the writer opens it, all rows are counted"] = time.perf_counter() - began
    report.table(
        f"{len(all_days)} sealed days of {synthetic.ROWS_A_BUCKET * buckets_n:,} rows ({size / 1e6:,.0f} MB);"
        f" {len(days)} of them made, the others copied.",
        ["what", "s", "MB/s"],
        [[what, f"{s:.1f}", f"{size / 1e6 / s:,.0f}"] for what, s in took.items()],
    )
    report.aim("rows that came back", f"{rows_n:,}", f"{came_n:,}", came_n == rows_n and not restored.lost)
    report.aim("restore, s", f"≤ {LIMIT_S:.0f}", f"{took['restore']:.1f}", took["restore"] <= LIMIT_S)
    report.note(
        "What a supervisor does next (read the broker back, reconcile) is timed by `python -m benchmarks reconcile`;"
        " that it goes on is tests/scenarios/test_restore_drill.py."
    )
    return report


def _copied(root: Path, days: Sequence[date]) -> list[date]:
    """Copy days to older dates, and return those."""
    made: list[date] = []
    for session in [*days] * COPIES:
        older = min((*days, *made)) - timedelta(days=1)
        shutil.copytree(manifest.folder_of(root, session), manifest.folder_of(root, older))
        manifest.swap(root, manifest.Manifest(older, manifest.load(root, session).parts))
        made.append(older)
    return made


def _rows(data: Path) -> int:
    found: int = Database(data).rows("SELECT count(*) AS n FROM rows")[0]["n"]
    return found
