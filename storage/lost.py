"""Lost ledgers: a file that is missing or empty although what is left in the data folder says that it was kept."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from storage.sqlite_file import LedgerRefusedError, is_empty, peek, reading

SHARED_FILE = "ledger.db"
RESTORING = ".restoring"  # in the data folder while a backup is brought back


def refuse_lost(folder: Path, desks: Iterable[str], traces: Path | None = None) -> None:
    """Refuse a data folder in which a ledger was lost or emptied; a folder that was never used has none yet.

    `traces` is the folder of the traces: a trace is written by a run, and a run begins with its ledgers.

    Raises:
        LedgerRefusedError: names the ledger, what says that it was kept, and what to do.
    """
    shared = folder / SHARED_FILE
    kept_desks = sorted(path for path in folder.glob("*.db") if path != shared and not _is_missing(path))
    if _is_missing(shared):
        proof = kept_desks[0] if kept_desks else _trace_in(traces) or _old_copy_of(shared) or _half_restored(folder)
        if proof is not None:
            raise LedgerRefusedError(_lost(shared, proof))
    for desk in desks:
        path = folder / f"{desk}.db"
        if _is_missing(path) and (proof := proof_of(folder, desk, traces)) is not None:
            raise LedgerRefusedError(_lost(path, proof))


def refuse_lost_desk(folder: Path, desk: str) -> None:
    """Refuse to answer for a desk whose ledger was lost: nothing on record is not the same as nothing held.

    Raises:
        LedgerRefusedError: names the ledger, what says that it was kept, and what to do.
    """
    path = folder / f"{desk}.db"
    if _is_missing(path) and (proof := proof_of(folder, desk, None)) is not None:
        raise LedgerRefusedError(_lost(path, proof))


def proof_of(folder: Path, desk: str, traces: Path | None) -> Path | None:
    """Return the file that says that a desk's ledger was kept here; `None` where nothing does."""
    copy = _old_copy_of(folder / f"{desk}.db")
    if copy is not None:
        return copy
    shared = folder / SHARED_FILE
    if not _is_missing(shared) and _says_kept(shared, desk):
        return shared
    return _trace_in(traces) if not list(folder.glob("*.db")) else None


def _says_kept(shared: Path, desk: str) -> bool:
    """Return whether the shared ledger knows of a desk; one of an older version, which named none, by its runs."""
    with reading(shared), closing(peek(shared)) as db:
        if int(db.execute("PRAGMA user_version").fetchone()[0]) == 0:
            return False
        if db.execute("SELECT 1 FROM meta WHERE key = ?", (f"desk:{desk}",)).fetchone() is not None:
            return True
        others = [path for path in shared.parent.glob("*.db") if path != shared and not _is_missing(path)]
        is_named = db.execute("SELECT 1 FROM meta WHERE key LIKE 'desk:%'").fetchone() is not None
        has_run = db.execute("SELECT 1 FROM runs").fetchone() is not None
        return not others and not is_named and has_run


def _is_missing(path: Path) -> bool:
    return not path.exists() or is_empty(path)


def _old_copy_of(path: Path) -> Path | None:
    return next(iter(sorted(path.parent.glob(f"{path.name}.v*"))), None)


def _half_restored(folder: Path) -> Path | None:
    aside = folder.parent / RESTORING
    return aside if aside.exists() else None


def _trace_in(traces: Path | None) -> Path | None:
    return None if traces is None else next(iter(sorted(traces.glob("*/run-*.jsonl*"))), None)


def _lost(path: Path, proof: Path) -> str:
    what = "is empty" if path.exists() else "is missing"
    return (
        f"The ledger {path} {what}, though {proof} says that it was kept here; "
        "restore it from a backup, or name another data folder to begin anew."
    )
