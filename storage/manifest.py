"""The manifest of one session: which files hold its rows, its gaps and its counts.

`manifest.json` says what there was at the last seal and is swapped whole by rename; what came since stands in the log
(`storage/bucket_log.py`), one entry per stored bucket of a hub, and `load` adds it. A file that neither names does not
exist for anybody who reads by them. Who reads the folder instead sees the same rows under plain names
(`storage/plain_names.py`).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path

import msgspec

from domain.instants import BUCKET_NS
from domain.options.profile import Shape
from domain.units import Utc
from storage import bucket_log
from storage.aside import written_aside
from storage.bucket_log import Record

FILE = "manifest.json"
LATE = "late"  # what covers a gap whose rows came after their bucket was closed
LATEST = "latest.arrow"  # each hub's newest bucket, an entry of its own
PARTS = "_parts"  # beside the plain names; a leading underscore hides it from what walks data folders
SCHEMA = 3  # 1: every bucket's files stood in manifest.json, there was no log; 2: its rows were Arrow streams
RELOADS = 20
IMPORT_STORE_N = -1  # of imported rows; below every live store of the same bucket, which counts where both are there
_LOG = re.compile(r"log-(\d{6})\.log")
_FOLDER = re.compile(r"date=(\d{4}-\d{2}-\d{2})")


class WarehouseRefusedError(Exception):
    """A warehouse that must not be used; the text is one sentence with the remedy."""


class DamagedManifestError(WarehouseRefusedError):
    """A manifest that cannot be read; it can be made anew from the files."""


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One Parquet file, named relative to the session's folder.

    A hot file holds one stored bucket of one hub and shape, made from the log for those who query: `content_hash` is
    that of the bucket's rows, `store_n` counts stores of the same hub and bucket (a later one does not replace an
    earlier one). `slot` is the number of the plain name that shows it; `None` where its own name is plain.
    `columns_n` is the version of the columns (`bucket_file.COLUMNS`).
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
    columns_n: int = 1


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
    """An interval of whole buckets in which (hub, ticker, category) was expected and silent; `to_utc` is exclusive.

    `cover` names what brought rows in its stead (`rest`, or `late`: they came after their bucket was closed); empty:
    there are none.
    """

    hub: str
    ticker: str
    category: str
    from_utc: Utc
    to_utc: Utc
    why: str
    cover: str = ""


class Silence(msgspec.Struct, frozen=True, array_like=True):
    """(ticker, category) pairs that were silent from a bucket on, why, what brought rows in their stead, how long."""

    pairs: tuple[tuple[str, str], ...]
    why: str
    cover: str = ""
    buckets_n: int = 1


class HubCounts(msgspec.Struct, frozen=True):
    """What a hub's frames of the session came to; `violations` counts rows per identity that did not hold."""

    rows: int = 0
    accepted: int = 0
    repeated: int = 0
    late: int = 0
    refused: dict[str, int] = {}
    violations: dict[str, int] = {}


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a record of the log adds to the manifest: one stored bucket of a hub, and the gaps that came with it.

    `counts` is what the bucket adds to the hub's; `bucket` is `None` for rows that could not be stored; `filled` are
    the (ticker, category) pairs whose rows came late. A record's bodies hold the rows of its entries' parts, in order.
    """

    hub: str
    bucket_utc: Utc
    bucket: Bucket | None = None
    counts: HubCounts | None = None
    silent: tuple[Silence, ...] = ()
    parts: tuple[Part, ...] = ()
    filled: tuple[tuple[str, str], ...] = ()


class LoggedPart(msgspec.Struct, frozen=True):
    """A hot part and the body of the log that holds its rows."""

    part: Part
    path: Path
    record: Record
    body_n: int


class Retired(msgspec.Struct, frozen=True):
    """Files that seal number `seal_n` replaced, in manifests of before version 0.3: they are deleted at the start."""

    seal_n: int
    names: tuple[str, ...]


class Manifest(msgspec.Struct, frozen=True):
    """Everything that is known of one session; `log_n` is the first file of the log that is not in it yet."""

    session: date
    parts: tuple[Part, ...] = ()
    buckets: dict[str, tuple[Bucket, ...]] = {}
    gaps: tuple[Gap, ...] = ()
    hubs: dict[str, HubCounts] = {}
    seal_n: int = 0
    retired: tuple[Retired, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    log_n: int = 0
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
_ENTRIES = msgspec.json.Decoder(tuple[Entry, ...])

Stamp = tuple[tuple[int, int, int], ...]


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


def stamp_of(root: Path, session: date) -> Stamp:
    """Return what changes whenever a session's manifest does, or what is shown of it; empty where there is none."""
    folder = folder_of(root, session)
    paths = (folder / FILE, *(path for _, path in logs_of(folder)[-1:]), folder / LATEST)
    return tuple(stamp for path in paths if (stamp := _stamp(path)) is not None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def logs_of(folder: Path, first_n: int = 0) -> list[tuple[int, Path]]:
    """Return the files of a session's log from number `first_n` on, ascending."""
    try:
        names = os.listdir(folder / PARTS)
    except (FileNotFoundError, NotADirectoryError):
        return []
    numbers = sorted(int(named[1]) for name in names if (named := _LOG.fullmatch(name)) is not None)
    return [(n, folder / PARTS / log_name(n)) for n in numbers if n >= first_n]


def log_name(n: int) -> str:
    """Return the name of a file of the log under `PARTS`."""
    return f"log-{n:06d}.log"


def load(root: Path, session: date, until_log_n: int | None = None, *, is_shown_only: bool = False) -> Manifest:
    """Return a session's manifest with what the log adds; an empty one where there is none yet.

    Args:
        root: the warehouse.
        session: the day.
        until_log_n: only what the log's files up to this number add.
        is_shown_only: leave out the newest records whose hot files are not there yet.

    Raises:
        DamagedManifestError: it cannot be read.
        WarehouseRefusedError: it is of a newer version.
    """
    folder = folder_of(root, session)
    for _ in range(RELOADS):
        stamp = _stamp(folder / FILE)
        base = load_base(root, session)
        try:
            records = [
                entries
                for n, path in logs_of(folder, base.log_n)
                if until_log_n is None or n <= until_log_n
                for entries in map(entries_of, bucket_log.scan(path).records)
            ]
        except FileNotFoundError:
            continue  # sealed over meanwhile
        while is_shown_only and records and not all((folder / p.name).exists() for e in records[-1] for p in e.parts):
            records.pop()
        if _stamp(folder / FILE) == stamp:
            return folded(base, (entry for entries in records for entry in entries))
    raise WarehouseRefusedError(f"The manifest {folder / FILE} changes faster than it can be read; try again.")


def with_log(folder: Path, base: Manifest) -> Manifest:
    """Return a manifest with all that the log adds to it.

    Raises:
        OSError: a file of the log cannot be read.
    """
    scans = (bucket_log.scan(path) for _, path in logs_of(folder, base.log_n))
    return folded(base, [entry for scan in scans for record in scan.records for entry in entries_of(record)])


def load_base(root: Path, session: date) -> Manifest:
    """Return what `manifest.json` says by itself; an empty manifest where there is none yet.

    Raises:
        as `load`.
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
        return msgspec.structs.replace(_DECODER.decode(raw), schema=SCHEMA)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedManifestError(
            f"The manifest {path} cannot be read ({error}); start the supervisor once, which makes it anew."
        ) from error


def version_of(root: Path, session: date) -> int | None:
    """Return the version that a session's `manifest.json` says; `None` where it says none."""
    try:
        return msgspec.json.decode((folder_of(root, session) / FILE).read_bytes(), type=_Version).schema
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """Return the header of a record."""
    return _ENCODER.encode(tuple(entries))


def entries_of(record: Record) -> tuple[Entry, ...]:
    """Return what a record's header adds to the manifest."""
    return _ENTRIES.decode(record.header)


def logged_parts(folder: Path, first_n: int, until_n: int | None = None) -> list[LoggedPart]:
    """Return the hot parts that a session's log holds, in order.

    Raises:
        OSError: a file of the log cannot be read.
    """
    found = []
    for n, path in logs_of(folder, first_n):
        if until_n is None or n <= until_n:
            for record in bucket_log.scan(path).records:
                parts = (part for entry in entries_of(record) for part in entry.parts)
                found += [LoggedPart(part, path, record, k) for k, part in enumerate(parts)]
    return found


def folded(base: Manifest, entries: Iterable[Entry]) -> Manifest:
    """Return the manifest with what entries of the log add; a part that was set aside as damaged stays out."""
    aside = {lost.part.name for lost in base.damaged}
    parts, gaps, hubs = list(base.parts), None, dict(base.hubs)
    buckets: defaultdict[str, list[Bucket]] = defaultdict(list)
    is_changed = False
    for entry in entries:
        is_changed = True
        parts += [part for part in entry.parts if damaged_name(part.name) not in aside]
        if entry.silent or entry.filled:  # most entries are of a whole bucket, and gaps can be many
            gaps = gaps or Gaps(base.gaps)
            for silence in entry.silent:
                gaps.add(entry.hub, entry.bucket_utc, silence)
            gaps.fill(entry.hub, entry.bucket_utc, entry.filled)
        if entry.bucket is not None:
            buckets[entry.hub].append(entry.bucket)
        if entry.counts is not None:
            hubs[entry.hub] = _sum(hubs.get(entry.hub, HubCounts()), entry.counts)
    if not is_changed:
        return base
    stored = base.buckets | {hub: (*base.buckets.get(hub, ()), *more) for hub, more in buckets.items()}
    found = base.gaps if gaps is None else gaps.all()
    return msgspec.structs.replace(base, parts=tuple(parts), buckets=stored, gaps=found, hubs=hubs)


def damaged_name(name: str) -> str:
    """Return the name under which a file that cannot be read is set aside."""
    return f"{PARTS}/damaged-{name.rpartition('/')[2]}"


def _sum(a: HubCounts, b: HubCounts) -> HubCounts:
    return HubCounts(
        rows=a.rows + b.rows, accepted=a.accepted + b.accepted, repeated=a.repeated + b.repeated, late=a.late + b.late,
        refused=_added(a.refused, b.refused), violations=_added(a.violations, b.violations),
    )  # fmt: skip


def _added(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted(a.keys() | b.keys())}


class _Version(msgspec.Struct):
    schema: int


def swap(root: Path, manifest: Manifest, *, is_durable: bool = True) -> None:
    """Put a manifest in force: durable with everything it names when this returns.

    Raises:
        OSError: nothing changed, or it is in force and may not be durable.
    """
    folder = folder_of(root, manifest.session)
    with written_aside(folder / FILE, is_durable=is_durable) as aside:
        aside.write_bytes(_ENCODER.encode(manifest))
    if is_durable:
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Gaps:
    """The gaps of a session, to which buckets are added; an interval that ends where one begins grows."""

    def __init__(self, gaps: Iterable[Gap] = ()) -> None:
        self._found: list[Gap] = []
        self._of_key: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)  # places in `_found`
        for gap in gaps:
            self._put(gap)

    def add(self, hub: str, bucket_utc: Utc, silence: Silence) -> None:
        """Add the (ticker, category) pairs silent from a bucket on; one that an interval holds already adds nothing."""
        why, cover, to_utc = silence.why, silence.cover, Utc(bucket_utc + silence.buckets_n * BUCKET_NS)
        for ticker, category in silence.pairs:
            of_key = self._of_key[hub, ticker, category]
            last = self._found[of_key[-1]] if of_key else None
            if last is not None and last.from_utc <= bucket_utc < last.to_utc:
                continue
            if last is not None and (last.to_utc, last.why, last.cover) == (bucket_utc, why, cover):
                self._found[of_key[-1]] = msgspec.structs.replace(last, to_utc=to_utc)
            else:
                self._put(Gap(hub, ticker, category, bucket_utc, to_utc, why, cover))

    def fill(self, hub: str, bucket_utc: Utc, pairs: Iterable[tuple[str, str]]) -> None:
        """Mark one bucket of the gaps of (ticker, category) pairs as covered by rows that came late."""
        end_utc = Utc(bucket_utc + BUCKET_NS)
        for key in ((hub, *pair) for pair in pairs):
            of_key = self._of_key[key]
            at = next((k for k in of_key if self._found[k].from_utc <= bucket_utc < self._found[k].to_utc), None)
            if at is None or self._found[at].cover:
                continue
            whole = self._found[at]
            spans = ((whole.from_utc, bucket_utc, ""), (bucket_utc, end_utc, LATE), (end_utc, whole.to_utc, ""))
            self._found[at], *more = (
                Gap(*key, from_utc, to_utc, whole.why, cover) for from_utc, to_utc, cover in spans if from_utc < to_utc
            )
            is_newest = of_key[-1] == at
            for gap in more:
                self._put(gap)
            if more and not is_newest:
                of_key.sort(key=lambda k: self._found[k].from_utc)

    def _put(self, gap: Gap) -> None:
        self._of_key[gap.hub, gap.ticker, gap.category].append(len(self._found))
        self._found.append(gap)

    def all(self) -> tuple[Gap, ...]:
        """Return all gaps in the order in which they began."""
        return tuple(sorted(self._found, key=lambda gap: gap.from_utc))
