"""One SQLite file of ours: opened durable, migrated, or refused in one sentence."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

BUSY_MS = 2_000

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


def open_file(path: Path, schema: Schema, desk: str, *, is_durable: bool = True) -> sqlite3.Connection:
    """Open a ledger for its only writer, creating or migrating it first.

    A file of an older version is copied beside itself before it is migrated: `<file>.v<version>`.
    `is_durable=False` leaves out every fsync of the ledger: for simulated days that nobody resumes.

    Raises:
        LedgerRefusedError: unreadable, not ours, of a newer version, or another desk's.
    """
    db: sqlite3.Connection | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        _check(db, path, schema, desk)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if is_durable else 'OFF'}")
        _migrate(db, path, schema, desk)
        return db
    except LedgerRefusedError:
        if db is not None:
            db.close()
        raise
    except (sqlite3.Error, OSError) as error:
        if db is not None:
            db.close()
        raise LedgerRefusedError(_refusal(path, error)) from error


def _refusal(path: Path, error: Exception) -> str:
    """Return why a ledger cannot be opened, with the remedy: a full or read-only disk leaves the file as it was."""
    text = str(error)
    if "full" in text or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return f"The disk is full: {path} cannot be written and is as it was; free some space and start again."
    if "readonly" in text or isinstance(error, OSError):
        return f"The ledger {path} cannot be written ({text}) and is as it was; mend the permissions of its folder."
    return f"The ledger {path} cannot be read ({text}); restore it from a backup."


def open_reader(path: Path, schema: Schema) -> sqlite3.Connection | None:
    """Open a ledger read-only beside its writer; `None` where there is no such file (or none with a schema) yet.

    Raises:
        LedgerRefusedError: unreadable, not ours, or of another version than this program reads.
    """
    if not path.exists():
        return None
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise LedgerRefusedError(f"The ledger {path} cannot be read ({error}).") from error
    try:
        db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        version = _pragma(db, "user_version")
        if version == 0:
            db.close()
            return None
        _check_header(db, path, schema)
        if version < schema.version:
            raise LedgerRefusedError(f"The ledger {path} has the old version {version}; start the supervisor once.")
        return db
    except sqlite3.Error as error:
        db.close()
        raise LedgerRefusedError(f"The ledger {path} cannot be read ({error}); restore it from a backup.") from error
    except LedgerRefusedError:
        db.close()
        raise


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run a block as one write transaction; when the block is left, COMMIT has returned."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
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
    """Bring a file to this version in one transaction, so that a crash leaves the old file as it was."""
    version = _pragma(db, "user_version")
    if version == schema.version:
        return
    if version > 0:
        _back_up(db, path.with_name(f"{path.name}.v{version}"))
    with transaction(db):
        version = _pragma(db, "user_version")  # again, under the lock
        for migration in schema.migrations[version:]:
            migration(db)
        if version == 0:
            db.execute("INSERT INTO meta VALUES ('desk', ?)", (desk,))
        db.execute(f"PRAGMA application_id={schema.app_id}")
        db.execute(f"PRAGMA user_version={schema.version}")


def _back_up(db: sqlite3.Connection, path: Path) -> None:
    """Copy a ledger, what its write-ahead log holds included; durable when this returns."""
    aside = path.with_name(f"{path.name}.tmp")
    aside.unlink(missing_ok=True)
    with closing(sqlite3.connect(aside)) as copy:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    _sync(aside)
    aside.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
