"""The manifest of one session: which files hold its rows, its gaps and its counts; swapped whole by rename.

A file that the manifest does not name does not exist for anybody who reads by it. Who reads the folder instead sees the
same rows under plain names (`storage/plain_names.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path

import msgspec

from domain.instants import BUCKET_NS
from domain.options.profile import Shape
from domain.units import Utc

FILE = "manifest.json"
PARTS = "_parts"  # beside the plain names; a leading underscore hides it from what walks data folders
SCHEMA = 1
_FOLDER = re.compile(r"date=(\d{4}-\d{2}-\d{2})")


class WarehouseRefusedError(Exception):
    """A warehouse that must not be used; the text is one sentence with the remedy."""


class DamagedManifestError(WarehouseRefusedError):
    """A manifest that cannot be read; it can be made anew from the files."""


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One Parquet file, named relative to the session's folder.

    A hot file holds one stored bucket of one shape: `content_hash` is that of the bucket's rows, `store_n` counts
    stores of the same hub and bucket (a later one does not replace an earlier one). `slot` is the number of the plain
    name that shows it; `None` where its own name is plain.
    """

    name: str
    hub: str
    shape: Shape
    first_utc: Utc
    last_utc: Utc
    rows: int
    is_sealed: bool = False
    store_n: int = 0
    content_hash: str = ""
    slot: int | None = None


class Damaged(msgspec.Struct, frozen=True):
    """A file that could not be read any more, set aside under `_parts`: its rows are lost, and on record here."""

    part: Part
    why: str


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """One stored bucket of a hub with the hash of all its rows."""

    bucket_utc: Utc
    store_n: int
    content_hash: str


class Gap(msgspec.Struct, frozen=True, array_like=True):
    """An interval of whole buckets in which (hub, ticker, category) was expected and silent; `to_utc` is exclusive."""

    hub: str
    ticker: str
    category: str
    from_utc: Utc
    to_utc: Utc
    why: str


class HubCounts(msgspec.Struct, frozen=True):
    """What a hub's frames of the session came to; `violations` counts rows per identity that did not hold."""

    rows: int = 0
    accepted: int = 0
    repeated: int = 0
    late: int = 0
    refused: dict[str, int] = {}
    violations: dict[str, int] = {}


class Retired(msgspec.Struct, frozen=True):
    """Files that seal number `seal_n` replaced, in manifests of before version 0.3: they are deleted at the start."""

    seal_n: int
    names: tuple[str, ...]


class Manifest(msgspec.Struct, frozen=True):
    """Everything that is known of one session."""

    session: date
    parts: tuple[Part, ...] = ()
    buckets: dict[str, tuple[Bucket, ...]] = {}
    gaps: tuple[Gap, ...] = ()
    hubs: dict[str, HubCounts] = {}
    seal_n: int = 0
    retired: tuple[Retired, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    schema: int = SCHEMA

    def named(self) -> set[str]:
        """Return every file name that start-up must leave alone."""
        return {part.name for part in self.parts} | {lost.part.name for lost in self.damaged}

    @property
    def is_whole(self) -> bool:
        """Whether every hub and shape has one sealed file, as a finished day has."""
        groups = {(part.hub, part.shape) for part in self.parts}
        return len(groups) == len(self.parts) and all(part.is_sealed and part.slot is None for part in self.parts)


_DECODER = msgspec.json.Decoder(Manifest)
_ENCODER = msgspec.json.Encoder()


def folder_of(root: Path, session: date) -> Path:
    """Return the folder of a session's files."""
    return root / f"date={session.isoformat()}"


def sessions_in(root: Path) -> tuple[date, ...]:
    """Return the sessions that have a folder, ascending; a folder of another name is none of ours."""
    found = []
    for entry in root.iterdir() if root.is_dir() else ():
        named = _FOLDER.fullmatch(entry.name)
        if named is not None and entry.is_dir():
            with suppress(ValueError):  # no date of the calendar
                found.append(date.fromisoformat(named[1]))
    return tuple(sorted(found))


def stamp_of(root: Path, session: date) -> tuple[int, int, int] | None:
    """Return what changes with every swap of a session's manifest; `None` where there is none yet."""
    try:
        found = (folder_of(root, session) / FILE).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def load(root: Path, session: date) -> Manifest:
    """Return a session's manifest; an empty one where there is none yet.

    Raises:
        DamagedManifestError: it cannot be read.
        WarehouseRefusedError: it is of a newer version.
    """
    path = folder_of(root, session) / FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Manifest(session)
    try:
        version = msgspec.json.decode(raw, type=_Version).schema
        if version > SCHEMA:
            raise WarehouseRefusedError(
                f"The manifest {path} has version {version}, this program knows {SCHEMA}; update the program."
            )
        return _DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedManifestError(
            f"The manifest {path} cannot be read ({error}); start the supervisor once, which makes it anew."
        ) from error


class _Version(msgspec.Struct):
    schema: int


def swap(root: Path, manifest: Manifest, *, is_durable: bool = True) -> None:
    """Put a manifest in force: durable with everything it names when this returns.

    Raises:
        OSError: nothing changed.
    """
    folder = folder_of(root, manifest.session)
    aside = folder / f"{FILE}.tmp"
    with aside.open("wb") as file:
        file.write(_ENCODER.encode(manifest))
        file.flush()
        if is_durable:
            os.fsync(file.fileno())
    aside.replace(folder / FILE)
    if is_durable:
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def with_gaps(
    gaps: tuple[Gap, ...], hub: str, bucket_utc: Utc, absent: Iterable[tuple[str, str]], why: str
) -> tuple[Gap, ...]:
    """Return the gaps with one bucket's absent (ticker, category) pairs.

    An interval that ends there grows, one that holds it stays.
    """
    found = list(gaps)
    open_at = {(g.hub, g.ticker, g.category): k for k, g in enumerate(found)}  # the newest interval of each
    for ticker, category in absent:
        at = open_at.get((hub, ticker, category))
        last = found[at] if at is not None else None
        if at is not None and last is not None and last.from_utc <= bucket_utc < last.to_utc:
            continue
        if at is not None and last is not None and last.to_utc == bucket_utc and last.why == why:
            found[at] = msgspec.structs.replace(last, to_utc=bucket_utc + BUCKET_NS)
        else:
            found.append(Gap(hub, ticker, category, bucket_utc, bucket_utc + BUCKET_NS, why))
    return tuple(found)
