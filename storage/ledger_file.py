"""A ledger's file under a store: one writer, and what goes on while the file cannot be written.

During an outage (another program's lock, a full disk, a file that is gone) messages wait in order, and a copy in memory
of what was durable before answers them, so that fills reach their positions and exits go on. When the file is back, all
that waited is recorded, in order and once; what could not be promised meanwhile is told then.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from domain.ports import Outage, SetAside
from domain.units import Utc
from messages.lifecycle import RequestState
from storage.faults import Fault, FaultKind, FileGoneError, fault_of
from storage.sqlite_file import LedgerRefusedError, Schema, copy_to, open_file, sync, transaction

In = TypeVar("In")
Fact = TypeVar("Fact")

# How long the one writer waits for another program's lock: as long as a fill may wait for its record.
WRITER_BUSY_MS = 200
TOGETHER_MAX = 512  # messages of one transaction, where they share any: written once more should one of them fail

_Identity = tuple[int, int]


class Together:
    """The ledgers of one stepped run, each of whose transactions holds many messages (`TOGETHER_MAX` at most).

    What they answer is not on disk yet; a run that nobody resumes does not need it there. Whoever reads a file beside
    its writer has all of them committed first.
    """

    def __init__(self) -> None:
        self._commits: list[Callable[[], None]] = []

    def join(self, commit: Callable[[], None]) -> None:
        """Take a ledger in; `commit` ends its transaction."""
        self._commits.append(commit)

    def commit(self) -> None:
        """Commit what every ledger was told so far."""
        for commit in self._commits:
            commit()


class _Waiting(msgspec.Struct, Generic[In], frozen=True):
    """A message that is not durable yet, when it came, and whether the copy in memory answered it."""

    message: In
    at_utc: Utc
    is_answered: bool


class LedgerFile(ABC, Generic[In, Fact]):
    """The `LedgerStore` over one file; the kinds of ledger say what a message does.

    Args:
        path: the file.
        schema: its kind.
        owner: whose it is; a file of another owner is refused.
        is_durable: False leaves out every fsync (simulated days that nobody resumes).
        together: the ledgers of its stepped run; `None`: each message is a transaction of its own.
    """

    def __init__(
        self, path: Path, schema: Schema, owner: str, *, is_durable: bool, together: Together | None = None
    ) -> None:
        self._path = path
        self._schema = schema
        self._owner = owner
        self._is_durable = is_durable
        self._open_db: sqlite3.Connection | None = None
        self._identity: _Identity | None = None  # of the file that was opened first: it stays the same one
        self._outage: Outage | None = None
        self.first_outage: Outage | None = None  # whose end is no excuse where a run must be repeatable
        self._waiting: deque[_Waiting[In]] = deque()
        self._copy: sqlite3.Connection | None = None
        self._set_aside: list[SetAside] = []
        self._untold: list[tuple[In, Fact]] = []  # recorded while nobody was there to tell it
        self._together = together
        self._uncommitted: list[_Waiting[In]] = []  # what the open transaction holds
        if together is not None:
            together.join(self.commit)

    # -- what a kind of ledger adds -------------------------------------------------------------

    _looks_beside: tuple[type, ...] = (RequestState,)  # messages for which other files may be read

    @abstractmethod
    def _answer(self, db: sqlite3.Connection, question: RequestState) -> tuple[Fact, ...]:
        """Answer a question."""

    @abstractmethod
    def _written(self, db: sqlite3.Connection, message: In, now: Utc) -> tuple[Fact, ...]:
        """Write one message inside the caller's transaction."""

    @abstractmethod
    def _provisional(self, fact: Fact) -> Fact | None:
        """Return what may be told of a fact that is not durable yet; `None` where that is nothing."""

    def _refused_apart(self, message: In, why: str) -> tuple[tuple[In, ...], tuple[Fact, ...]]:
        """Return what waits in a message's place during an outage, and what is told of it at once."""
        return (message,), ()

    # -- opening --------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file, creating or migrating it; during an outage everything stays as it is.

        Raises:
            LedgerRefusedError: unreadable, of a newer version, or another owner's.
        """
        self.commit()
        if self._outage is not None:
            return
        self._release()
        is_known = self._identity is not None
        try:
            self._check_file()
            self._connect()
        except (LedgerRefusedError, OSError) as error:
            fault = fault_of(self._path, error.__cause__ or error)
            if fault is None or not (is_known or fault.kind is FaultKind.LOCKED):
                raise  # nothing has stood on it in this process yet: a person looks first
            self._begin_outage(fault, Utc(0))

    def close(self) -> None:
        """Release the file; what waits is recorded first where that can be done now, and is kept otherwise."""
        self.commit()
        if self._outage is not None:
            self._untold += self._recover(self._outage.since_utc)
        if self._outage is None:
            self._release()

    @property
    def outage(self) -> Outage | None:
        """Why the file cannot be written now; `None` while it can."""
        return self._outage

    def take_set_aside(self) -> tuple[SetAside, ...]:
        """Return the messages that no ledger could keep, once; of them nothing happened."""
        if not self._set_aside:
            return ()
        taken = tuple(self._set_aside)
        self._set_aside.clear()
        return taken

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open_db is None:
            raise RuntimeError("the ledger is not open")
        return self._open_db

    def _connect(self) -> None:
        db = open_file(self._path, self._schema, self._owner, is_durable=self._is_durable)
        self._open_db, self._identity = db, _identity_of(self._path)
        self._wait_for_locks(WRITER_BUSY_MS)

    def _wait_for_locks(self, for_ms: int) -> None:
        if self._open_db is not None:
            self._open_db.execute(f"PRAGMA busy_timeout={for_ms}")

    def _release(self) -> None:
        if self._open_db is not None:
            self._open_db.close()
            self._open_db = None

    # -- messages -------------------------------------------------------------------------------

    def apply(self, message: In, now: Utc) -> tuple[Fact, ...]:
        """Carry out one message in one transaction; return the facts to be told, in order.

        A message that cannot be kept though the file is well is set aside: it would fail again.
        """
        if self._together is not None:
            if isinstance(message, self._looks_beside):
                self._together.commit()
            elif len(self._uncommitted) >= TOGETHER_MAX:
                self.commit()
        if self._outage is not None:
            return self._apart(message, now)
        try:
            return self._carry_out(self._db, message, now)
        except (sqlite3.Error, OSError) as error:
            fault = fault_of(self._path, error)
            if fault is None:
                self._put_aside(message, error)
                return ()
            self._begin_outage(fault, now)
            return self._apart(message, now)
        except Exception as error:
            self._put_aside(message, error)
            return ()

    def retry(self, now: Utc) -> tuple[tuple[In, Fact], ...]:
        """Try to record what waits, in order; return what can be told now, each with its message."""
        untold, self._untold = tuple(self._untold), []
        return untold if self._outage is None else (*untold, *self._recover(now))

    def _carry_out(self, db: sqlite3.Connection, message: In, now: Utc) -> tuple[Fact, ...]:
        if isinstance(message, RequestState):
            return self._answer(db, message)
        if db is not self._open_db:
            with transaction(db):
                return self._written(db, message, now)
        if self._together is not None:
            return self._written_together(db, message, now)
        self._check_file()
        with transaction(db):
            return self._written(db, message, now)

    def _written_together(self, db: sqlite3.Connection, message: In, now: Utc) -> tuple[Fact, ...]:
        """Write one message in the transaction of many, which its failure must not cost the others."""
        if not self._uncommitted:
            self._check_file()
            db.execute("BEGIN IMMEDIATE")
        try:
            facts = self._written(db, message, now)
        except BaseException:
            self._write_anew(db)
            raise
        self._uncommitted.append(_Waiting(message, now, True))
        return facts

    def _write_anew(self, db: sqlite3.Connection) -> None:
        """Write what was not committed once more, each message by itself; what cannot be written waits."""
        earlier, self._uncommitted = self._uncommitted, []
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
            while earlier:
                with transaction(db):
                    self._written(db, earlier[0].message, earlier[0].at_utc)
                del earlier[0]
        except (sqlite3.Error, OSError):
            self._waiting.extend(earlier)
            raise

    def commit(self) -> None:
        """End the transaction that messages share; what the file does not take waits, as in any outage."""
        if not self._uncommitted:
            return
        now = self._uncommitted[0].at_utc
        try:
            self._db.execute("COMMIT")
            self._uncommitted.clear()
        except sqlite3.Error as error:
            with suppress(sqlite3.Error, OSError):
                self._write_anew(self._db)
            if self._waiting:
                self._begin_outage(fault_of(self._path, error) or Fault(FaultKind.DISK, str(error)), now)

    def _check_file(self) -> None:
        """Refuse to write into a file that nobody will open again."""
        if self._identity is not None and _identity_of(self._path) != self._identity:
            raise FileGoneError(f"{self._path} was removed or replaced")

    def _put_aside(self, message: In, error: BaseException) -> None:
        self._set_aside.append(SetAside(type(message).__name__, f"{type(error).__name__}: {error}"))

    # -- an outage ------------------------------------------------------------------------------

    def _begin_outage(self, fault: Fault, now: Utc) -> None:
        self._outage = Outage(fault.text, fault.kind is FaultKind.LOCKED, now, 0, 0)
        self.first_outage = self.first_outage or self._outage
        self._wait_for_locks(0)  # from now on the messages wait, not the actor
        self._make_copy()

    def _make_copy(self) -> None:
        """Copy into memory what is durable and apply what waits; without a copy nothing is answered."""
        if self._copy is not None or self._open_db is None:
            return
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            self._open_db.backup(copy)
            for item in self._waiting:
                self._carry_out(copy, item.message, item.at_utc)
        except (sqlite3.Error, OSError):
            copy.close()
            return
        self._copy = copy

    def _apart(self, message: In, now: Utc) -> tuple[Fact, ...]:
        """Answer from the copy in memory and let the message wait."""
        assert self._outage is not None
        messages, facts = self._refused_apart(message, self._outage.why)
        found = list(facts)
        for part in messages:
            found += self._answered_apart(part, now)
        self._outage = msgspec.structs.replace(self._outage, waiting_n=len(self._waiting))
        return tuple(found)

    def _answered_apart(self, message: In, now: Utc) -> list[Fact]:
        if self._copy is None:
            self._waiting.append(_Waiting(message, now, False))
            return []
        try:
            facts = self._carry_out(self._copy, message, now)
        except Exception as error:  # it would fail in the file too
            self._put_aside(message, error)
            return []
        if not isinstance(message, RequestState):
            self._waiting.append(_Waiting(message, now, True))
            return [told for fact in facts if (told := self._provisional(fact)) is not None]
        return list(facts)

    def _recover(self, now: Utc) -> tuple[tuple[In, Fact], ...]:
        told: list[tuple[In, Fact]] = []
        try:
            self._mend()
            while self._waiting:
                item = self._waiting[0]
                try:
                    facts = self._carry_out(self._db, item.message, item.at_utc)
                except Exception as error:
                    if fault_of(self._path, error) is not None:
                        raise
                    self._put_aside(item.message, error)
                    facts = ()
                self._waiting.popleft()
                told += [
                    (item.message, fact)
                    for fact in facts
                    if not item.is_answered or self._provisional(fact) != fact
                ]  # fmt: skip
        except (sqlite3.Error, OSError, LedgerRefusedError) as error:
            self._still_out(fault_of(self._path, error.__cause__ or error) or Fault(FaultKind.DISK, str(error)))
            return tuple(told)
        self._outage = None
        self._wait_for_locks(WRITER_BUSY_MS)
        if self._copy is not None:
            self._copy.close()
            self._copy = None
        return tuple(told)

    def _still_out(self, fault: Fault) -> None:
        assert self._outage is not None
        self._outage = Outage(
            fault.text, fault.kind is FaultKind.LOCKED, self._outage.since_utc, self._outage.tries + 1,
            len(self._waiting),
        )  # fmt: skip
        self._make_copy()

    def _mend(self) -> None:
        """Make the file usable again, as far as that is ours to do.

        Raises:
            sqlite3.Error, OSError, LedgerRefusedError: it is not usable yet.
        """
        if self._open_db is None:
            self._check_file()
            self._connect()
            return
        if self._open_db.in_transaction:
            self._open_db.execute("ROLLBACK")
        if not self._path.exists():
            self._put_back(self._open_db)
        self._check_file()
        with transaction(self._open_db):  # whether it can be written at all, before anything is told
            self._open_db.execute("UPDATE meta SET value = value WHERE key = 'desk'")

    def _put_back(self, db: sqlite3.Connection) -> None:
        """Write the ledger, which lives on in our hands alone, to its place again; never over another file."""
        aside = self._path.with_name(f"{self._path.name}.back.{os.getpid()}")
        copy_to(db, aside)
        for suffix in ("-wal", "-shm"):  # of the file that is gone: nothing in them belongs to the copy
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        try:
            os.link(aside, self._path)
        finally:
            aside.unlink()
        sync(self._path.parent)
        with closing(db):
            self._open_db = None
        self._connect()


def _identity_of(path: Path) -> _Identity | None:
    """Return which file stands at a path; `None` for none, or one that was emptied."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None
