"""What of a data folder keeps a run from beginning: its disk, its permissions, its ledgers. Nothing is changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from commands.findings import Finding
from commands.folder import DataFolder
from storage.ledger_schema import DESK, SHARED, SHARED_OWNER
from storage.lost import SHARED_FILE, refuse_lost
from storage.sqlite_file import LedgerRefusedError, Schema, is_empty, peek

_MB = 1024 * 1024
_STEP_S = 60.0  # files may bear a time this far ahead of ours before the clock is said to be wrong


def folder_findings(folder: DataFolder, wanted_mb: int) -> Iterator[Finding]:
    root = folder.root
    above = next(path for path in (root, *root.absolute().parents) if path.exists())
    remedy = "Give another folder with --data, or mend its permissions."
    if not above.is_dir():
        yield Finding("data folder", False, f"{above} is no folder", remedy)
        return
    parts = (folder.ledgers, folder.warehouse, folder.traces, folder.run)
    shut = [path for path in (above, *parts) if path.exists() and not os.access(path, os.W_OK | os.X_OK)]
    if shut:
        yield Finding("data folder", False, f"{shut[0]} cannot be written", remedy)
    else:
        yield Finding("data folder", True, f"{root}" if root.exists() else f"{root} (the first run makes it)")
    free_mb = shutil.disk_usage(above).free // _MB
    yield Finding("disk", free_mb >= wanted_mb, f"{free_mb} MB free", f"Free the disk: {wanted_mb} MB are the least.")


def ledger_findings(folder: DataFolder, desk: str) -> Iterator[Finding]:
    """Look at both ledgers: lost, emptied, damaged, another desk's, of a newer version."""
    names = ((SHARED_FILE, SHARED, SHARED_OWNER), (f"{desk}.db", DESK, desk))
    try:
        with _as_they_lie(folder) as ledgers:
            try:
                refuse_lost(ledgers, (desk,), folder.traces)
            except LedgerRefusedError as error:
                yield _told(error, ledgers, folder.ledgers)
                return
            for name, schema, owner in names:
                path = ledgers / name
                if not path.exists():
                    yield Finding("ledger", True, f"{folder.ledgers / name} (the first run makes it)")
                    continue
                try:
                    seen = f"{folder.ledgers / name}, {_sound(path, schema, owner)}"
                    yield Finding("ledger", True, seen)
                except LedgerRefusedError as error:
                    yield _told(error, ledgers, folder.ledgers)
    except OSError as error:
        remedy = "Mend the permissions of the ledgers, or give another folder with --data."
        yield Finding(
            "ledger", False, f"{folder.ledgers} cannot be read ({error.strerror or 'not every file'})", remedy
        )


@contextmanager
def _as_they_lie(folder: DataFolder) -> Iterator[Path]:
    """Give a folder in which the ledgers may be read: even a reader of SQLite writes files beside an idle one."""
    if folder.is_supervised() or not folder.ledgers.is_dir():
        yield folder.ledgers
        return
    with tempfile.TemporaryDirectory(prefix="zerohour-doctor-") as aside:
        copy = Path(aside) / folder.ledgers.name
        shutil.copytree(folder.ledgers, copy, ignore=shutil.ignore_patterns("*-shm", "*.tmp"))
        yield copy


def _sound(path: Path, schema: Schema, owner: str) -> str:
    """Return what is to be said of a ledger that can be used.

    Raises:
        LedgerRefusedError: it cannot; one sentence with the remedy.
    """
    if is_empty(path):
        raise LedgerRefusedError(f"The ledger {path} is empty, which no ledger is; restore it from a backup.")
    restore = "restore it from a backup"
    try:
        with closing(peek(path)) as db:
            application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in _HEADER)
            if application != schema.app_id:
                raise LedgerRefusedError(f"{path} is not a {schema.kind} ledger of Zerohour; {restore}.")
            if version > schema.version:
                raise LedgerRefusedError(
                    f"The ledger {path} has version {version}, this program knows up to {schema.version};"
                    " update the program."
                )
            verdict = " ".join(str(db.execute("PRAGMA quick_check(1)").fetchone()[0]).split())
            if verdict != "ok":
                raise LedgerRefusedError(f"The ledger {path} is damaged ({verdict}); {restore}.")
            row = db.execute("SELECT value FROM meta WHERE key = 'desk'").fetchone()
    except sqlite3.Error as error:
        raise LedgerRefusedError(f"The ledger {path} cannot be read ({error}); {restore}.") from None
    if row is None or row[0] != owner:
        whose = "nobody" if row is None else row[0]
        raise LedgerRefusedError(f"The ledger {path} is that of {whose}, not of {owner}; name another data folder.")
    old = f"; the next run brings it to {schema.version} and keeps a copy" if version < schema.version else ""
    return f"version {version}{old}"


_HEADER = ("application_id", "user_version")


def _told(error: LedgerRefusedError, read_in: Path, folder: Path) -> Finding:
    text = str(error).replace(str(read_in), str(folder))
    seen, _, remedy = text.rpartition("; ")
    return Finding("ledger", False, seen or text, f"{remedy[:1].upper()}{remedy[1:]}")


def files_ahead(folder: DataFolder, now_s: float) -> Finding:
    """Compare the clock with the times of what was written last: it must not have been set back since."""
    files = [path for part in (folder.ledgers, folder.traces) if part.is_dir() for path in part.rglob("*")]
    newest = max((path.stat().st_mtime for path in files if path.is_file()), default=now_s)
    ahead_s = newest - now_s
    seen = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if ahead_s > _STEP_S:
        seen = f"{seen}, {ahead_s:,.0f} s before the newest file in {folder.root} was written"
    return Finding("clock", ahead_s <= _STEP_S, seen, "Set the clock (NTP) before anything trades by it.")
