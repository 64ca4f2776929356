"""The manifest of one session: which files hold its rows, its gaps and its counts; swapped whole by rename.

A file that the manifest does not name does not exist for anybody. Readers read the manifest, never the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import msgspec

from domain.instants import BUCKET_NS
from domain.options.profile import Shape
from domain.units import Utc

FILE = "manifest.json"
SCHEMA = 1


class WarehouseRefusedError(Exception):
    """A warehouse that must not be used; the text is one sentence with the remedy."""


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One Parquet file, named relative to the session's folder.

    A hot file holds one stored bucket of one shape: `content_hash` is that of the bucket's rows, `store_n` counts
    stores of the same hub and bucket (a later one does not replace an earlier one).
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
    """Files replaced by seal number `seal_n`: deleted two seals later, when no reader can still want them."""

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
    schema: int = SCHEMA

    def named(self) -> set[str]:
        """Return every file name that start-up must leave alone."""
        return {part.name for part in self.parts} | {name for old in self.retired for name in old.names}


_DECODER = msgspec.json.Decoder(Manifest)
_ENCODER = msgspec.json.Encoder()


def folder_of(root: Path, session: date) -> Path:
    """Return the folder of a session's files."""
    return root / f"date={session.isoformat()}"


def sessions_in(root: Path) -> tuple[date, ...]:
    """Return the sessions that have a folder, ascending."""
    names = (entry.name.removeprefix("date=") for entry in root.glob("date=????-??-??"))
    return tuple(sorted(date.fromisoformat(name) for name in names))


def load(root: Path, session: date) -> Manifest:
    """Return a session's manifest; an empty one where there is none yet.

    Raises:
        WarehouseRefusedError: unreadable, or of a newer version.
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
    except msgspec.MsgspecError as error:
        raise WarehouseRefusedError(f"The manifest {path} cannot be read ({error}); restore it.") from error


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
