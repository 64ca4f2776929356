"""One SQLite file of ours: opened durable, migrated, or refused in one sentence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from storage.faults import fault_of

BUSY_MS = 2_000
START_BUSY_MS = 20_000  # at a start nothing is held up by waiting for a backup or another start

Migration = Callable[[sqlite3.Connection], None]


class LedgerRefusedError(Exception):
    """A ledger that must not be used; the text is one sentence with the remedy."""


@dataclass(frozen=True)
class Schema:
    """A kind of ledger: `app_id` marks its files, `migrations[n]` takes a file from version n to n + 1."""

    kind: str
    app_id: int
    migrations: tuple[Migration, ...]

    @property
    def version(self) -> int:
        """The version that this program writes."""
        return len(self.migrations)


def script(text: str) -> Migration:
    """Return a migration that runs SQL statements."""
    statements = tuple(statements_of(text))

    def run(db: sqlite3.Connection) -> None:
        for statement in statements:
            db.execute(statement)

    return run


def open_file(
    path: Path, schema: Schema, desk: str, *, is_durable: bool = True, wait_ms: int = BUSY_MS
) -> sqlite3.Connection:
    """Open a ledger for its only writer, creating or migrating it first.

    A file of an older version is copied beside itself before it is migrated: `<file>.v<version>`.
    `is_durable=False` leaves out every fsync of the ledger: for simulated days that nobody resumes. Another program's
    lock is waited for `wait_ms` real milliseconds.

    Raises:
        LedgerRefusedError: unreadable, not ours, of a newer version, or another desk's.
    """
    db: sqlite3.Connection | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        db.execute(f"PRAGMA busy_timeout={wait_ms}")
        _check(db, path, schema, desk)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if is_durable else 'OFF'}")
        _migrate(db, path, schema, desk)
        return db
    except LedgerRefusedError:
        if db is not None:
            db.close()
        raise
    except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: damaged text that is no UTF-8
        if db is not None:
            db.close()
        raise LedgerRefusedError(_refusal(path, error)) from error


def _refusal(path: Path, error: Exception) -> str:
    """Return why a ledger cannot be opened, with the remedy: a full or locked disk leaves the file as it was."""
    fault = fault_of(path, error)
    return fault.text if fault is not None else f"The ledger {path} cannot be read ({error}); restore it from a backup."


def open_reader(path: Path, schema: Schema) -> sqlite3.Connection | None:
    """Open a ledger read-only beside its writer; `None` where there is no such file (or none with a schema) yet.

    Raises:
        LedgerRefusedError: locked, damaged, emptied, not ours, or of another version than this program reads.
    """
    try:
        if not path.exists():
            return None
        if is_empty(path):
            raise LedgerRefusedError(f"The ledger {path} is empty, which no ledger is; restore it from a backup.")
        db = peek(path)
    except (sqlite3.Error, OSError) as error:
        raise LedgerRefusedError(_refusal(path, error)) from error
    try:
        version = _pragma(db, "user_version")
        if version == 0:
            db.close()
            return None
        _check_header(db, path, schema)
        if version < schema.version:
            raise LedgerRefusedError(f"The ledger {path} has the old version {version}; start the supervisor once.")
        return db
    except (sqlite3.Error, UnicodeDecodeError) as error:
        db.close()
        raise LedgerRefusedError(_refusal(path, error)) from error
    except LedgerRefusedError:
        db.close()
        raise


def peek(path: Path) -> sqlite3.Connection:
    """Open a file read-only as it is, whatever it holds.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    return db


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Run a block that reads a ledger; what its file or a row in it makes go wrong is told in one sentence.

    Raises:
        LedgerRefusedError: the file cannot be read now, or holds what no program of ours has written.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LedgerRefusedError(_refusal(path, error)) from error
    except (msgspec.MsgspecError, ValueError) as error:  # ValueError: text that is no UTF-8
        raise LedgerRefusedError(
            f"The ledger {path} holds a row that cannot be read ({error}); restore it from a backup."
        ) from error


def is_empty(path: Path) -> bool:
    """Return whether a ledger's file is there and holds nothing, in its write-ahead log neither."""
    log = path.with_name(f"{path.name}-wal")
    return path.exists() and not path.stat().st_size and not (log.exists() and log.stat().st_size)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run a block as one write transaction; when the block is left, COMMIT has returned."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with suppress(sqlite3.Error):  # a disk that failed may fail this, too: the first error is the one to tell
                db.execute("ROLLBACK")
        raise


def statements_of(text: str) -> Iterator[str]:
    """Split a script into statements; triggers, which hold semicolons, stay whole."""
    part = ""
    for line in text.splitlines():
        part += line + "\n"
        if line.strip() and sqlite3.complete_statement(part):
            yield part
            part = ""


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _check_header(db: sqlite3.Connection, path: Path, schema: Schema) -> None:
    if _pragma(db, "application_id") != schema.app_id:
        raise LedgerRefusedError(f"{path} is not a {schema.kind} ledger of Zerohour; name another data folder.")
    version = _pragma(db, "user_version")
    if version > schema.version:
        raise LedgerRefusedError(
            f"The ledger {path} has version {version}, this program knows up to {schema.version}; update the program."
        )


def _check(db: sqlite3.Connection, path: Path, schema: Schema, desk: str) -> None:
    is_new = _pragma(db, "user_version") == 0 and _pragma(db, "schema_version") == 0
    if is_new:
        return
    _check_header(db, path, schema)
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        detail = " ".join(str(verdict).split())
        raise LedgerRefusedError(f"The ledger {path} is damaged ({detail}); restore it from a backup.")
    row = db.execute("SELECT value FROM meta WHERE key = 'desk'").fetchone()
    if row is None:
        raise LedgerRefusedError(f"The ledger {path} does not say whose it is; restore it from a backup.")
    (owner,) = row
    if owner != desk:
        raise LedgerRefusedError(f"The ledger {path} is that of {owner}, not of {desk}; name another data folder.")


def _migrate(db: sqlite3.Connection, path: Path, schema: Schema, desk: str) -> None:
    """Bring a file to this version in one transaction, so that a crash leaves the old file as it was.

    The version is looked at under the write lock, and the copy is made under it, too: of several programs that start
    at once one migrates, and no copy is of a file that has been migrated already.
    """
    if _pragma(db, "user_version") == schema.version:
        return
    with transaction(db):
        version = _pragma(db, "user_version")
        if version == schema.version:
            return
        if version > 0:
            with closing(sqlite3.connect(path)) as old:  # a backup cannot read through the connection that writes
                _keep_old(old, path.with_name(f"{path.name}.v{version}"))
        for migration in schema.migrations[version:]:
            migration(db)
        if version == 0:
            db.execute("INSERT INTO meta VALUES ('desk', ?)", (desk,))
        db.execute(f"PRAGMA application_id={schema.app_id}")
        db.execute(f"PRAGMA user_version={schema.version}")


def _keep_old(db: sqlite3.Connection, path: Path) -> None:
    """Copy a ledger aside, what its write-ahead log holds included; durable when this returns."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):  # of a program that was killed: the write lock is ours
        left.unlink(missing_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    copy_to(db, aside)
    aside.replace(path)
    sync(path.parent)


def copy_to(db: sqlite3.Connection, path: Path) -> None:
    """Write a durable copy of an open ledger to a new file."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as copy:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    sync(path)


def sync(path: Path) -> None:
    """Make a file, or what a folder lists, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
