"""Encrypted backups (age) of ledgers and sealed files, each file once, and the way back to a data folder.

A backup is an index, encrypted, that names every file with its size and the SHA-256 of its content; contents are
objects named by that hash, encrypted, and shared by all backups: what was sealed once is shipped once. Making one needs
only the public recipient, bringing one back the identity, which comes from the environment or from a file that the
environment names, and from nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyrage

from domain.instants import from_datetime
from domain.units import Utc
from storage.ledger_schema import SHARED, SHARED_OWNER
from storage.lost import SHARED_FILE
from storage.sqlite_file import copy_to, open_file, peek, reading, sync, transaction
from storage.targets import Target, TargetError

IDENTITY_ENV, RECIPIENT_ENV = "ZEROHOUR_BACKUP_IDENTITY", "ZEROHOUR_BACKUP_RECIPIENT"
_INDEXES, _OBJECTS = "backups", "objects"
_VERSION = 1
# What of the run folder tells a demo's market and broker where they stood; addresses and locks are of a process.
_RUN = ("settings.json", "orders.jsonl", "book.json", "pace.json", "clock")
_TRIES = 5


class BackupError(Exception):
    """A backup that cannot be made or brought back; the text is one sentence with the remedy."""


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
    """What a backup did: its name, all its files, and how many of them had to be shipped."""

    name: str
    files_n: int
    bytes_n: int
    shipped_n: int


# -- keys -------------------------------------------------------------------------------------------


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return a secret from the variable `name`, or from the file that `<name>_FILE` names; `None` where neither is set.

    Raises:
        BackupError: the file cannot be read.
    """
    value, path = environment.get(name), environment.get(f"{name}_FILE")
    if value:
        return value.strip()
    if not path:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{name}_FILE names {path}, which cannot be read ({error}); mend it.") from None
    return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), None)


def identity_of(environment: Mapping[str, str] = os.environ) -> pyrage.x25519.Identity:
    """Return the identity that opens backups.

    Raises:
        BackupError: the environment carries none, or no valid one.
    """
    text = secret(IDENTITY_ENV, environment)
    if text is None:
        raise BackupError(
            f"The environment does not carry the identity of the backups: set {IDENTITY_ENV}, or {IDENTITY_ENV}_FILE"
            " to a file that holds it (AGE-SECRET-KEY-1…)."
        )
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise BackupError(f"{IDENTITY_ENV} is no age identity (AGE-SECRET-KEY-1…); look at it.") from None


def recipient_of(environment: Mapping[str, str] = os.environ) -> pyrage.x25519.Recipient:
    """Return whom backups are encrypted to: the recipient of the environment, else that of its identity.

    Raises:
        BackupError: the environment carries neither, or no valid one.
    """
    text = secret(RECIPIENT_ENV, environment)
    if text is None:
        if secret(IDENTITY_ENV, environment) is None:
            raise BackupError(
                f"Backups are encrypted, and nobody is named who could open them: set {RECIPIENT_ENV} to the public"
                " key (age1…); `main.py backup --new-key FILE` makes a pair."
            )
        return identity_of(environment).to_public()
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise BackupError(f"{RECIPIENT_ENV} is no age recipient (age1…); look at it.") from None


def new_key(path: Path) -> str:
    """Write a new identity to a file that only its owner can read, and return its public recipient.

    Raises:
        BackupError: the file is there already, or cannot be written.
    """
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(f"# public key: {recipient}\n{identity}\n")
    except OSError as error:
        raise BackupError(f"{path} cannot be written ({error.strerror}); name a new file.") from None
    return recipient


# -- making -----------------------------------------------------------------------------------------


def back_up(root: Path, target: Target, recipient: pyrage.x25519.Recipient, now_utc: Utc) -> Made:
    """Ship what of a data folder the target does not have yet, then an index of it all; beside a running supervisor.

    Raises:
        BackupError: there is nothing to back up, or a file changes faster than it can be read.
        TargetError: the target cannot be used.
        LedgerRefusedError: a ledger cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="zerohour-backup-") as name:
        aside = Path(name)
        files, shipped_n = [], 0
        for relative, path in _sources(root, aside):
            kept, was_shipped = _ship(relative, path, target, recipient, aside)
            files.append(kept)
            shipped_n += was_shipped
        if not files:
            raise BackupError(f"There is nothing to back up in {root}; name the data folder with --data.")
        index = BackupIndex(_VERSION, now_utc, tuple(files))
        stamp = datetime.fromtimestamp(now_utc / 1e9, UTC).strftime("%Y%m%dT%H%M%SZ")
        made = f"{_INDEXES}/{stamp}.age"
        target.put_bytes(made, pyrage.encrypt(msgspec.json.encode(index), [recipient]))
    return Made(made, len(files), sum(file.size for file in files), shipped_n)


def _ship(
    relative: str, path: Path, target: Target, recipient: pyrage.x25519.Recipient, aside: Path
) -> tuple[BackedUpFile, bool]:
    copy, digest, size = aside / "plain", hashlib.sha256(), 0
    with path.open("rb") as source, copy.open("wb") as out:  # what is appended meanwhile belongs to the next backup
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            out.write(chunk)
            size += len(chunk)
    kept = BackedUpFile(relative, size, digest.hexdigest())
    name = _object(kept.sha256)
    if target.has(name):
        return kept, False
    pyrage.encrypt_file(str(copy), str(aside / "encrypted"), [recipient])
    target.put(name, aside / "encrypted")
    return kept, True


def _object(sha256: str) -> str:
    return f"{_OBJECTS}/{sha256[:2]}/{sha256}.age"


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
    """Yield a day's files as they are at one moment, the manifest first: a file that goes meanwhile begins it again."""
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory(prefix="zerohour-day-") as name:
            copy = Path(name) / folder.name
            try:
                copy.mkdir()
                if (folder / "manifest.json").exists():
                    shutil.copyfile(folder / "manifest.json", copy / "manifest.json")
                for path in sorted(folder.rglob("*")):
                    if path.is_file() and _is_kept(path) and path.name != "manifest.json":
                        to = copy / path.relative_to(folder)
                        to.parent.mkdir(parents=True, exist_ok=True)
                        _linked(path, to)
            except FileNotFoundError:
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


def _is_kept(path: Path) -> bool:
    return path.is_file() and path.suffix != ".tmp"


# -- the way back -----------------------------------------------------------------------------------


def backups(target: Target) -> tuple[str, ...]:
    """Return the names of the backups of a target, oldest first.

    Raises:
        TargetError: the target cannot be used.
    """
    return tuple(name for name in target.names(_INDEXES) if name.endswith(".age"))


def made_at(name: str) -> Utc:
    """Return when a backup was made, from its name."""
    stamp = name.rpartition("/")[2].removesuffix(".age")
    return from_datetime(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))


def restore(
    target: Target,
    identity: pyrage.x25519.Identity,
    root: Path,
    wanted: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> BackupIndex:
    """Bring a backup back to a data folder that is not there or empty: whole, or not at all.

    The restored ledger says kill level 1: it may be older than what the broker knows, and only a person who has seen
    both lets entries go on.

    Args:
        target: where the backups are.
        identity: what opens them.
        root: the data folder.
        wanted: the name of one; `None`: the newest.
        say: takes a line for people now and then.

    Raises:
        BackupError: the folder is not empty, there is no such backup, or a file of it is damaged.
        TargetError: the target cannot be used.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise BackupError(f"{root} is not empty, and nothing is written over; move it away or name another --data.")
    names = backups(target)
    name = next(
        (n for n in reversed(names) if wanted is None or n.rpartition("/")[2].removesuffix(".age") == wanted), ""
    )
    if not name:
        what = "no backup" if wanted is None else f"no backup {wanted}"
        raise BackupError(f"There is {what} in {target.address}; there are {len(names)}.")
    index = _decoded(target.get(name), identity, name)
    aside = root.with_name(f"{root.name}.restoring")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for n, file in enumerate(index.files, 1):
        _bring(target, identity, file, aside)
        if n % 200 == 0:
            say(f"{n} of {len(index.files)} files are back.")
    _stop_entries(aside, name)
    if root.exists():
        root.rmdir()
    aside.replace(root)
    sync(root.parent)
    return index


def _decoded(data: bytes, identity: pyrage.x25519.Identity, name: str) -> BackupIndex:
    try:
        index = msgspec.json.decode(pyrage.decrypt(data, [identity]), type=BackupIndex)
    except pyrage.DecryptError:
        raise BackupError(f"{name} is not for this identity, or is damaged; look at {IDENTITY_ENV}.") from None
    except msgspec.MsgspecError as error:
        raise BackupError(f"{name} cannot be read ({error}); take an older one with --backup.") from None
    if index.version > _VERSION:
        raise BackupError(f"{name} has version {index.version}, this program knows {_VERSION}; update the program.")
    return index


def _bring(target: Target, identity: pyrage.x25519.Identity, file: BackedUpFile, aside: Path) -> None:
    path = aside / file.name
    if not path.resolve().is_relative_to(aside.resolve()):
        raise BackupError(f"The backup names {file.name}, which lies outside the data folder; it is not ours.")
    path.parent.mkdir(parents=True, exist_ok=True)
    encrypted = aside / ".object"
    try:
        target.fetch(_object(file.sha256), encrypted)
        pyrage.decrypt_file(str(encrypted), str(path), [identity])
    except (pyrage.DecryptError, TargetError, OSError) as error:  # OSError: cut, or no room here; it says which
        raise BackupError(f"{file.name} cannot be brought back ({error}); take an older one with --backup.") from None
    finally:
        encrypted.unlink(missing_ok=True)
    with path.open("rb") as restored:
        if hashlib.file_digest(restored, "sha256").hexdigest() != file.sha256:
            raise BackupError(f"{file.name} is damaged in {target.address}; take an older one with --backup.")
    sync(path)


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
