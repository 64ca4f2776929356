"""Faults of the disk and the file, told apart from bugs: what may pass is waited for and never costs a message."""

from __future__ import annotations

import errno
import sqlite3
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec


class FaultKind(StrEnum):
    """What is the matter with a ledger's file."""

    LOCKED = "locked"  # another program is writing; it passes by itself
    FULL = "full"
    DISK = "disk"  # reading or writing failed
    DAMAGED = "damaged"
    GONE = "gone"  # removed, or another file stands in its place


class Fault(msgspec.Struct, frozen=True):
    """Why a ledger cannot be written for now; `text` is one sentence with the remedy."""

    kind: FaultKind
    text: str


class FileGoneError(OSError):
    """The ledger's file was removed or replaced under the running process."""


_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DISK: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOLFS,
    }
)  # fmt: skip


def fault_of(path: Path, error: BaseException) -> Fault | None:
    """Return what the disk or the file did; `None` where the error is a bug of the program."""
    kind = _kind_of(error)
    return None if kind is None else Fault(kind, _sentence(path, kind, error))


def _kind_of(error: BaseException) -> FaultKind | None:
    if isinstance(error, FileGoneError):
        return FaultKind.GONE
    if isinstance(error, OSError):
        return FaultKind.FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else FaultKind.DISK
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.Error) or code is None:
        return None  # of our own making: not what SQLite found
    primary = code & 0xFF  # an extended code says more in its higher bytes
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return FaultKind.GONE
    if primary in _LOCKED:
        return FaultKind.LOCKED
    if primary == sqlite3.SQLITE_FULL:
        return FaultKind.FULL
    if primary in _DAMAGED:
        return FaultKind.DAMAGED
    return FaultKind.DISK if primary in _DISK else None


def _sentence(path: Path, kind: FaultKind, error: BaseException) -> str:
    match kind:
        case FaultKind.LOCKED:
            return f"The ledger {path} is locked by another program; end what writes to it."
        case FaultKind.FULL:
            return f"The disk is full: {path} cannot be written and is as it was; free some space."
        case FaultKind.DISK:
            return f"The ledger {path} cannot be written ({error}); mend the disk or the permissions of its folder."
        case FaultKind.DAMAGED:
            return f"The ledger {path} is damaged ({error}); restore it from a backup."
        case FaultKind.GONE:
            return f"The ledger {path} was removed or replaced while it was in use; put the old file back."
