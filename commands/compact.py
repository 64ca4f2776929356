"""`main.py compact [SESSION]`: seal finished days whole, one file a hub and shape."""

from __future__ import annotations

from argparse import Namespace
from datetime import date
from pathlib import Path

from commands.cli import CommandError
from commands.folder import DataFolder
from commands.gaps import session_in
from commands.sql import existing
from domain.instants import session_of
from storage import manifest
from storage.manifest import WarehouseRefusedError
from storage.warehouse import Warehouse
from supervision.clock import MarketClock


def act(arguments: Namespace) -> int:
    """Seal one day, or all days that are not whole; the supervisor must not be running."""
    folder = DataFolder(existing(arguments))
    wanted = session_in(arguments.session)
    if wanted is not None and wanted not in manifest.sessions_in(folder.warehouse):
        raise CommandError(f"Nothing is stored of {wanted}.", 1)
    lines = seal_whole(folder.warehouse, wanted, session_of(MarketClock.real().now_utc()))
    print("\n".join(lines or ["Every day is one file a hub and shape already."]))
    return 0


def seal_whole(root: Path, wanted: date | None = None, today: date | None = None) -> list[str]:
    """Seal a day (or every day) whole and return what was done, one line a day.

    Days before `today` are over: what they lack up to their close goes on record.

    Raises:
        CommandError: the warehouse is in use, or a seal failed; the other days were sealed.
    """
    warehouse = Warehouse(root)
    try:
        warehouse.open()
    except WarehouseRefusedError as error:
        raise CommandError(str(error), 3) from None
    lines, failed = list(warehouse.take_findings()), list[str]()
    try:
        for session in (wanted,) if wanted is not None else manifest.sessions_in(root):
            if today is not None and session < today:
                warehouse.end_day(session)
            before = len(manifest.load(root, session).parts)
            if not warehouse.start_seal(session):
                continue
            why = warehouse.wait_for_seal()
            if why:
                failed.append(why)
                continue
            parts = manifest.load(root, session).parts
            lines.append(f"{session}: {before} files are {len(parts)} now, {sum(part.rows for part in parts)} rows.")
    finally:
        warehouse.close()
    if failed:
        raise CommandError(" ".join([*lines, *failed]), 3)
    return lines
