"""Archive and retention: finished days are copied to a target, read back and compared; only then may they leave here.

A unit is what is kept equally long: the traces of a day, its quotes, its rows, its readings. In an archive it is its
files and, written last, `archive.json` with the size and the SHA-256 of each: a unit without it is not archived.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

import msgspec

from storage import manifest
from storage.manifest import WarehouseRefusedError
from storage.series_reader import LINES, sessions_in
from storage.series_rows import QUOTES, UNDERLYINGS
from storage.targets import Target, TargetError

INDEX = "archive.json"
_GONE = ".removing-"
_DERIVED = ("live-", "empty-")  # plain names of a day that is over; they go by themselves
_TICKS = (QUOTES, UNDERLYINGS)


class Tier(StrEnum):
    """How long something stays at full grain: as long as ticks, or as long as buckets."""

    TICKS = "ticks"
    BUCKETS = "buckets"


class Unit(msgspec.Struct, frozen=True):
    """A day's files of one kind: where they lie, and why they are not finished (`None`: they are)."""

    kind: str
    session: date
    tier: Tier
    folder: Path
    files: tuple[Path, ...]
    unfinished: str | None

    @property
    def name(self) -> str:
        """Where it stands in an archive."""
        return f"{self.kind}/{self.session}"


class ArchivedFile(msgspec.Struct, frozen=True):
    """One archived file, relative to its unit."""

    name: str
    size: int
    sha256: str


class ArchiveIndex(msgspec.Struct, frozen=True):
    """What an archived unit holds."""

    kind: str
    session: date
    files: tuple[ArchivedFile, ...]


class RetentionDays(msgspec.Struct, frozen=True):
    """After how many days a tier leaves this disk (once it is archived)."""

    ticks: int
    buckets: int

    def is_over(self, unit: Unit, today: date) -> bool:
        """Return whether a unit has been kept long enough."""
        days = self.ticks if unit.tier is Tier.TICKS else self.buckets
        return unit.session < today - timedelta(days=days)


def units(root: Path) -> tuple[Unit, ...]:
    """Return everything in a data folder that can be archived, oldest first."""
    found = [*_rows(root / "warehouse"), *_series(root / "series"), *_traces(root / "traces")]
    return tuple(sorted(found, key=lambda unit: (unit.session, unit.kind)))


def archive(unit: Unit, target: Target) -> ArchiveIndex:
    """Copy a finished unit, read every file back, and write its index last; what is there already is only read back.

    Raises:
        TargetError: the target cannot be used, or holds another unit of this name.
        OSError: a file here cannot be read.
    """
    files = tuple(
        ArchivedFile(path.relative_to(unit.folder).as_posix(), path.stat().st_size, _digest(path))
        for path in unit.files
    )
    index = ArchiveIndex(unit.kind, unit.session, files)
    known = indexed(target, unit.name)
    if known is not None and known != index:
        raise TargetError(
            f"{target.address} holds another {unit.name} than this disk does; archive to another target, and compare."
        )
    for path, file in zip(unit.files, files, strict=True):
        name = f"{unit.name}/{file.name}"
        if not target.has(name) or target.digest(name) != file.sha256:
            target.put(name, path)
    if known is None:
        target.put_bytes(f"{unit.name}/{INDEX}", msgspec.json.format(msgspec.json.encode(index)))
    return index


def indexed(target: Target, name: str) -> ArchiveIndex | None:
    """Return the index of an archived unit; `None` where it is not archived.

    Raises:
        TargetError: the target cannot be used.
    """
    if not target.has(f"{name}/{INDEX}"):
        return None
    try:
        return msgspec.json.decode(target.get(f"{name}/{INDEX}"), type=ArchiveIndex)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TargetError(f"{name}/{INDEX} in {target.address} cannot be read ({error}); move it away.") from None


def retire(unit: Unit, target: Target) -> None:
    """Archive a unit, then take it off this disk: nothing goes whose copy was not read back just now.

    Raises:
        TargetError, OSError: as `archive`; then nothing is gone.
    """
    index = archive(unit, target)
    if {file.name for file in index.files} != {path.relative_to(unit.folder).as_posix() for path in unit.files}:
        raise TargetError(f"{unit.name} has changed while it was archived; archive it again.")
    if unit.kind in ("warehouse", "traces"):  # in one step: half a day is never taken for a whole one
        gone = unit.folder.with_name(f"{_GONE}{unit.folder.name}")
        unit.folder.rename(gone)
        shutil.rmtree(gone)
    else:
        for path in unit.files:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # other kinds of the day are still there
            unit.folder.rmdir()


def clean(root: Path) -> None:
    """Delete what an earlier `retire` had taken away and not yet deleted."""
    for path in root.glob(f"*/{_GONE}*"):
        shutil.rmtree(path, ignore_errors=True)


def _rows(root: Path) -> Iterable[Unit]:
    for session in manifest.sessions_in(root):
        folder = manifest.folder_of(root, session)
        try:
            is_whole = manifest.load(root, session).is_whole
        except WarehouseRefusedError as error:  # one day's damage holds up no other
            unfinished: str | None = str(error)
        else:
            unfinished = None if is_whole else "not sealed whole: `main.py compact` does it"
        files = tuple(path for path in _files(folder) if not path.name.startswith(_DERIVED))
        yield Unit("warehouse", session, Tier.BUCKETS, folder, files, unfinished)


def _series(root: Path) -> Iterable[Unit]:
    for session in sessions_in(root):
        folder = root / session.isoformat()
        files = _files(folder)
        unfinished = "the day is not over" if any(path.suffix == LINES for path in files) else None
        ticks = tuple(path for path in files if path.name.startswith(_TICKS))
        rest = tuple(path for path in files if path not in ticks)
        if ticks:
            yield Unit("quotes", session, Tier.TICKS, folder, ticks, unfinished)
        if rest:
            yield Unit("series", session, Tier.BUCKETS, folder, rest, unfinished)


def _traces(root: Path) -> Iterable[Unit]:
    for session in sessions_in(root):
        files = _files(root / session.isoformat())
        unfinished = "a trace is still written" if any(path.suffix == LINES for path in files) else None
        if files:
            yield Unit("traces", session, Tier.TICKS, root / session.isoformat(), files, unfinished)


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp"))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
