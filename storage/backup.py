"""Encrypted backups (age) of ledgers and sealed files, each file once; `storage/restore.py` is the way back.

A backup is an index, encrypted, that names every file with its size and the SHA-256 of its content; contents are
objects (`storage/backup_objects.py`) shared by all backups: what was sealed once is shipped once. Making one needs only
the public recipient. Every backup reads a share of the older objects back and ships again what was damaged there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pyrage

from domain.instants import from_datetime
from domain.units import Utc
from storage.backup_keys import BackupError
from storage.backup_objects import Objects
from storage.disk_space import as_os_error
from storage.manifest import FILE
from storage.sqlite_file import copy_to, peek, reading
from storage.targets import Target

INDEXES: Final = "backups"
VERSION: Final = 1
# What of the run folder tells a demo's market and broker where they stood; addresses and locks are of a process.
_RUN: Final = ("settings.json", "orders.jsonl", "book.json", "pace.json", "clock")
_TRIES: Final = 5


class BackedUpFile(msgspec.Struct, frozen=True):
    """One file, relative to the data folder."""

    name: str
    size: int
    sha256: str


class BackupIndex(msgspec.Struct, frozen=True):
    """What a backup holds; `made_utc` is the computer's clock."""

    version: int
    made_utc: Utc
    files: tuple[BackedUpFile, ...]


class Made(msgspec.Struct, frozen=True):
    """What a backup did.

    `shipped_n` of its `files_n` files were new there. Of the older objects `verified_n` were read back; `healed_n` were
    damaged and have been shipped again, `lost` are damaged and belong to older backups alone.
    """

    name: str
    files_n: int
    bytes_n: int
    shipped_n: int
    verified_n: int
    healed_n: int
    lost: tuple[str, ...]


def back_up(root: Path, target: Target, recipient: pyrage.x25519.Recipient, now_utc: Utc) -> Made:
    """Ship what of a data folder the target does not have yet, then an index of it all; beside a running supervisor.

    Raises:
        BackupError: there is nothing to back up, or a file changes faster than it can be read.
        TargetError: the target cannot be used.
        LedgerRefusedError: a ledger cannot be read.
        OSError: a file here cannot be read, or there is no room for a copy of it.
    """
    now = datetime.fromtimestamp(now_utc / 1e9, UTC)
    with tempfile.TemporaryDirectory(prefix="zerohour-backup-") as name:
        aside, objects = Path(name), Objects(target)
        files: list[BackedUpFile] = []
        shipped_n = verified_n = 0
        for relative, path in _sources(root, aside):
            if not files:  # an empty folder costs no reading
                verified_n = objects.verify(now.date())
            kept, was_shipped = _ship(relative, path, objects, recipient, aside)
            files.append(kept)
            shipped_n += was_shipped
        if not files:
            raise BackupError(f"There is nothing to back up in {root}; name the data folder with --data.")
        index = BackupIndex(VERSION, now_utc, tuple(files))
        made = f"{INDEXES}/{now:%Y%m%dT%H%M%SZ}.age"
        target.put_bytes(made, pyrage.encrypt(msgspec.json.encode(index), [recipient]))
    size, lost = sum(file.size for file in files), objects.lost()
    return Made(made, len(files), size, shipped_n, verified_n, len(objects.damaged) - len(lost), lost)


def _ship(
    relative: str, path: Path, objects: Objects, recipient: pyrage.x25519.Recipient, aside: Path
) -> tuple[BackedUpFile, bool]:
    copy, digest, size = aside / "plain", hashlib.sha256(), 0
    with path.open("rb") as source, copy.open("wb") as out:  # what is appended meanwhile belongs to the next backup
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            out.write(chunk)
            size += len(chunk)
    kept = BackedUpFile(relative, size, digest.hexdigest())
    if objects.has(kept.sha256):
        return kept, False
    try:
        pyrage.encrypt_file(str(copy), str(aside / "encrypted"), [recipient])
    except pyrage.EncryptError as error:
        raise as_os_error(error, aside) from None
    objects.put(kept.sha256, aside / "encrypted")
    return kept, True


def _sources(root: Path, aside: Path) -> Iterator[tuple[str, Path]]:
    """Yield what is backed up: the name in the data folder, and where its content can be read."""
    for path in sorted((root / "ledgers").glob("*.db")):
        with reading(path), closing(peek(path)) as db:
            copy_to(db, aside / path.name)  # one instant, what its write-ahead log holds included
        yield f"ledgers/{path.name}", aside / path.name
    for folder in sorted((root / "warehouse").glob("date=*")):
        yield from _steady(root, folder)
    for pattern in ("series/????-??-??/*", "aggregates/*.parquet", "traces/????-??-??/*.zst"):
        yield from ((path.relative_to(root).as_posix(), path) for path in sorted(root.glob(pattern)) if _is_kept(path))
    others = [root / "demo-day", root / "KILL", *(root / "run" / name for name in _RUN)]
    yield from ((path.relative_to(root).as_posix(), path) for path in others if path.is_file())


def _steady(root: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield a day's files as they are at one moment; what changes them meanwhile begins it again."""
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory(prefix="zerohour-day-") as name:
            copy = Path(name) / folder.name
            try:
                copy.mkdir()
                if (folder / FILE).exists():
                    shutil.copyfile(folder / FILE, copy / FILE)
                for path in sorted(folder.rglob("*")):
                    if path.is_file() and _is_kept(path) and path.name != FILE:
                        to = copy / path.relative_to(folder)
                        to.parent.mkdir(parents=True, exist_ok=True)
                        _linked(path, to)
            except FileNotFoundError:
                continue
            if _content(folder / FILE) != _content(copy / FILE):  # it names other files than those that were linked
                continue
            for path in sorted(copy.rglob("*")):
                if path.is_file():
                    yield f"warehouse/{folder.name}/{path.relative_to(copy).as_posix()}", path
            return
    raise BackupError(f"The files of {folder} change faster than they can be read; try again.")


def _linked(path: Path, to: Path) -> None:
    """Hold on to a file under another name, without a copy where the file system allows that."""
    try:
        os.link(path, to)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, to)


def _content(path: Path) -> bytes | None:
    """Return what a file holds; `None` where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is_kept(path: Path) -> bool:
    return path.is_file() and path.suffix != ".tmp"


def backups(target: Target) -> tuple[str, ...]:
    """Return the names of the backups of a target, oldest first.

    Raises:
        TargetError: the target cannot be used.
    """
    return tuple(name for name in target.names(INDEXES) if name.endswith(".age"))


def made_at(name: str) -> Utc:
    """Return when a backup was made, from its name."""
    stamp = name.rpartition("/")[2].removesuffix(".age")
    return from_datetime(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))
