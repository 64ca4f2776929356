"""The way back from an encrypted backup to a data folder.

Ledgers come back whole, or nothing does. A market file that is damaged in the target holds up nothing: it is named, and
what it held is gone. A restore that fails leaves nothing behind.

Files come to `.restoring` in the data folder, so that the folder may be a mount or a link, and what lies beside it is
left alone. From there they move in, the ledgers last: while that folder is there, nobody starts without them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import msgspec
import pyrage

from storage.backup import VERSION, BackedUpFile, BackupIndex, backups, made_at
from storage.backup_keys import IDENTITY_ENV, BackupError
from storage.backup_objects import candidates
from storage.disk_space import as_os_error, disk_text, is_full
from storage.ledger_schema import SHARED, SHARED_OWNER
from storage.lost import RESTORING, SHARED_FILE
from storage.sqlite_file import open_file, sync, transaction
from storage.targets import Target, TargetError

# What may lie in a data folder that is empty: what a restore that was killed left, and what a new disk has.
_NOT_OURS: Final = (RESTORING, "lost+found")


class Restored(msgspec.Struct, frozen=True):
    """What came back, and the files that did not: (name, why)."""

    index: BackupIndex
    lost: tuple[tuple[str, str], ...]


class _NotThereError(Exception):
    """A file that the target does not give back; why."""


def restore(
    target: Target,
    identity: pyrage.x25519.Identity,
    root: Path,
    wanted: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Bring a backup back to a data folder that is not there or empty: all ledgers, or nothing.

    The restored ledger says kill level 1: it may be older than what the broker knows, and only a person who has seen
    both lets entries go on.

    Args:
        target: where the backups are.
        identity: what opens them.
        root: the data folder.
        wanted: the name of one; `None`: the newest.
        say: takes a line for people now and then.

    Raises:
        BackupError: the folder is not empty, there is no such backup, a ledger of it is damaged, or there is no room.
        TargetError: the target cannot be used.
        LedgerRefusedError: the ledger is of a newer program.
        OSError: the data folder cannot be written.
    """
    shown, root = root, root.resolve()
    is_new = not root.exists()
    aside = root / RESTORING
    if not is_new and (not root.is_dir() or any(path.name not in _NOT_OURS for path in root.iterdir())):
        raise BackupError(f"{shown} is not empty, and nothing is written over; move it away or name another --data.")
    moved: list[Path] = []
    try:
        _prepare(aside)
        name = _named(target, wanted)
        index = _decoded(target.get(name), identity, name)
        _check_room(aside, index)
        lost = []
        for n, file in enumerate(index.files, 1):
            try:
                _bring(target, identity, file, aside)
            except _NotThereError as error:
                if not target.has(name):  # not this file alone
                    raise TargetError(f"{target.address} went away meanwhile; look at it, then again.") from None
                if _is_needed(file):
                    text = f"{file.name} cannot be brought back ({error}); take an older one with --backup."
                    raise BackupError(text) from None
                (aside / file.name).unlink(missing_ok=True)
                lost.append((file.name, str(error)))
            if n % 200 == 0:
                say(f"{n} of {len(index.files)} files are back.")
        _stop_entries(aside, name)
        for path in sorted(aside.iterdir(), key=lambda path: (path.name == "ledgers", path.name)):
            to = root / path.name
            if to.exists():
                raise BackupError(
                    f"{to} came meanwhile, and nothing is written over; stop what runs there, then again."
                )
            moved.append(path.rename(to))
        sync(root)
        shutil.rmtree(aside, ignore_errors=True)  # empty; the ledgers are in, so nothing may fail from here on
        if is_new:
            with suppress(OSError):
                sync(root.parent)
    except BaseException as error:  # what is decrypted never stays behind
        _take_away((*reversed(moved), aside))
        if is_new:
            with suppress(OSError):
                root.rmdir()
        if isinstance(error, OSError) and is_full(error):
            raise BackupError(disk_text(error, root)) from None
        raise
    return Restored(index, tuple(lost))


def _prepare(aside: Path) -> None:
    """Make the folder that files come to, and see that what is in it can move to the one above.

    Raises:
        BackupError: it cannot; the text says why.
        OSError: the disk is full.
    """
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        probe = aside / ".probe"
        probe.mkdir()
        probe.rename(aside.parent / probe.name).rmdir()
    except OSError as error:
        if is_full(error):
            raise
        raise BackupError(
            f"{aside.parent} cannot be written ({error.strerror}), and nothing was fetched; look at its permissions, or"
            " name another folder with --data."
        ) from None


def _take_away(paths: Iterable[Path]) -> None:
    """Delete what a restore that failed has brought."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _named(target: Target, wanted: str | None) -> str:
    names = backups(target)
    for name in reversed(names):
        if wanted in (None, name.rpartition("/")[2].removesuffix(".age")):
            return name
    what = "no backup" if wanted is None else f"no backup {wanted}"
    raise BackupError(f"There is {what} in {target.address}; there are {len(names)}.")


def _decoded(data: bytes, identity: pyrage.x25519.Identity, name: str) -> BackupIndex:
    try:
        index = msgspec.json.decode(pyrage.decrypt(data, [identity]), type=BackupIndex)
    except pyrage.DecryptError:
        raise BackupError(
            f"{name} is not for this identity, or is damaged; look at {IDENTITY_ENV}, or take an older one with"
            " --backup."
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"{name} cannot be read ({error}); take an older one with --backup.") from None
    if index.version > VERSION:
        raise BackupError(f"{name} has version {index.version}, this program knows {VERSION}; update the program.")
    return index


def _check_room(aside: Path, index: BackupIndex) -> None:
    sizes = [file.size for file in index.files]
    needed, free = sum(sizes) + max(sizes, default=0), shutil.disk_usage(aside).free
    if needed > free:
        raise BackupError(
            f"The backup needs {needed / 1e6:.0f} MB, and {aside.parent} has {free / 1e6:.0f} MB free; free some space,"
            " or name another folder with --data."
        )


def _is_needed(file: BackedUpFile) -> bool:
    """Return whether a folder without this file must not be traded on."""
    return file.name.startswith("ledgers/") or file.name == "KILL"


def _bring(target: Target, identity: pyrage.x25519.Identity, file: BackedUpFile, aside: Path) -> None:
    path = aside / file.name
    if not path.resolve().is_relative_to(aside.resolve()):
        raise BackupError(f"The backup names {file.name}, which lies outside the data folder; it is not ours.")
    path.parent.mkdir(parents=True, exist_ok=True)
    why = "it is missing"
    for name in candidates(target, file.sha256):
        try:
            _fetch(target, name, identity, path, aside / ".object")
        except (pyrage.DecryptError, TargetError) as error:
            why = str(error)
            continue
        with path.open("rb") as restored:
            if hashlib.file_digest(restored, "sha256").hexdigest() == file.sha256:
                sync(path)
                return
        why = "it is damaged there"
    raise _NotThereError(f"{target.address}: {why}")


def _fetch(target: Target, name: str, identity: pyrage.x25519.Identity, path: Path, encrypted: Path) -> None:
    """Bring one object here.

    Raises:
        pyrage.DecryptError, TargetError: it is damaged, or cannot be read.
        OSError: there is no room here.
    """
    try:
        target.fetch(name, encrypted)
        pyrage.decrypt_file(str(encrypted), str(path), [identity])
    except OSError as error:
        if error.errno is None:  # of the library: an object that was cut, or our own disk
            error = as_os_error(error, path) if "os error" in str(error) else error
        if error.errno is None:
            raise TargetError(f"it is cut or damaged ({error})") from None
        raise error from None
    finally:
        encrypted.unlink(missing_ok=True)


def _stop_entries(root: Path, name: str) -> None:
    """Have the restored ledger say kill level 1 at least; a folder without a shared ledger starts at level 1 anyway."""
    path = root / "ledgers" / SHARED_FILE
    if not path.exists():
        return
    with closing(open_file(path, SHARED, SHARED_OWNER)) as db, transaction(db):
        level, epoch = db.execute(
            "SELECT coalesce((SELECT level FROM kill ORDER BY kill_epoch DESC LIMIT 1), 0),"
            " coalesce(max(kill_epoch), 0) FROM kill"
        ).fetchone()
        reason = f"restored from {name}: compare report with the broker, then resume"
        db.execute(
            "INSERT INTO kill (kill_epoch, level, reason, by, at_utc) VALUES (?, ?, ?, 'restore', ?)",
            (epoch + 1, max(1, level), reason, made_at(name)),
        )
