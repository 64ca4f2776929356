"""`main.py archive [SESSION]`: finished days to a folder or an S3 bucket, read back and compared."""

from __future__ import annotations

from argparse import Namespace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from commands.cli import CommandError
from commands.folder import settings_of
from commands.gaps import session_in
from commands.sql import existing
from domain.instants import session_of
from storage.aggregates import keep_daily
from storage.archive import RetentionDays, Unit, archive, clean, retire, units
from storage.disk_space import disk_text
from storage.series_reader import LINES, sessions_in
from storage.targets import Target, TargetError
from storage.views.database import QueryError
from supervision.clock import MarketClock
from supervision.trace import seal

_WRITTEN: Final = timedelta(days=1)  # a supervisor may write to yesterday's trace for a while


def act(arguments: Namespace) -> int:
    """Archive what is finished; with --prune, delete here what is archived and older than the retention."""
    settings = settings_of(arguments)
    address = arguments.to or settings.warehouse.archive_to
    if not address:
        raise CommandError("No target is named: give --to FOLDER (or s3://…), or set warehouse.archive_to.")
    root, wanted = existing(arguments), session_in(arguments.session)
    retention = settings.warehouse.retention
    days = RetentionDays(
        ticks=arguments.ticks_days or retention.ticks_days, buckets=arguments.buckets_days or retention.buckets_days
    )
    today = session_in(arguments.today) or session_of(MarketClock.real().now_utc())
    try:
        lines = carry_out(root, Target(address), wanted, days if arguments.prune else None, today)
    except (TargetError, QueryError) as error:
        raise CommandError(str(error), 3) from None
    except OSError as error:
        raise CommandError(disk_text(error, error.filename or root), 3) from None
    print("\n".join(lines or ["Nothing is stored yet."]))
    return 0


def carry_out(root: Path, target: Target, wanted: date | None, days: RetentionDays | None, today: date) -> list[str]:
    """Archive the finished units of a data folder (of one day, or of all) and return a line about each.

    `days`: what is older leaves this disk, its daily aggregates kept; `None`: everything stays.

    Raises:
        TargetError, OSError: as `archive`; what was done before is done.
    """
    clean(root)
    lines = seal_left(root / "traces", today)
    for unit in units(root):
        if wanted not in (None, unit.session):
            continue
        if unit.unfinished is not None:
            lines.append(f"{unit.name}: not archived ({unit.unfinished}).")
            continue
        lines.append(f"{unit.name}: {_done(root, unit, target, days, today)}")
    return lines


def seal_left(traces: Path, today: date) -> list[str]:
    """Compress the traces of killed runs, which nobody writes two days later, and say of which that failed."""
    lines = []
    for session in sessions_in(traces):
        for path in sorted((traces / session.isoformat()).glob(f"*{LINES}")) if session < today - _WRITTEN else ():
            try:
                seal(path)
            except OSError as error:
                lines.append(f"traces/{session}: {disk_text(error, path)}")
    return lines


def _done(root: Path, unit: Unit, target: Target, days: RetentionDays | None, today: date) -> str:
    if unit.kind == "warehouse":
        keep_daily(root, unit.session)
    if days is not None and days.is_over(unit, today):
        retire(unit, target)
        return f"{len(unit.files)} files archived and read back, and deleted here."
    index = archive(unit, target)
    return f"{len(index.files)} files ({sum(file.size for file in index.files) / 1e6:.1f} MB) archived and read back."
