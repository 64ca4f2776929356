"""What a damaged log held: taken over from its hot files where they are whole, a gap on record where nothing is left.

A hot file is written after its record is durable, so one whose bucket nobody knows belonged to a record that cannot be
read any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa

from domain.instants import BUCKET_NS
from domain.session import calendar
from domain.units import Utc
from storage import bucket_file, bucket_log, manifest
from storage.bucket_log import Scan
from storage.manifest import PARTS, Bucket, Gaps, HubCounts, Manifest, Part, Silence
from storage.plain_names import free_slot
from storage.rebuild import buckets_of, look

LOG_DAMAGED = "log damaged"

Pairs = tuple[tuple[str, str], ...]


class Recovered(msgspec.Struct, frozen=True):
    """The manifest with what was taken over and with the gaps of what was lost; `said`: the same in sentences."""

    manifest: Manifest
    said: tuple[str, ...] = ()


def recovered(folder: Path, base: Manifest, whole: Manifest) -> Recovered:
    """Return a day's manifest with what its damaged log does not give any more.

    Args:
        folder: the day's.
        base: the manifest, which names the first file of the log that it does not hold.
        whole: the same with all that the log gives.

    Raises:
        OSError: the folder cannot be read.
    """
    taken = _unnamed(folder, whole)
    scans = [(path, bucket_log.scan(path)) for _, path in manifest.logs_of(folder, base.log_n)]
    damaged = [(path, scan) for path, scan in scans if scan.damaged or scan.is_tail_damaged]
    if not taken and not damaged:
        return Recovered(base)
    buckets = buckets_of(folder, taken)
    for part in taken:
        bucket = next(b for b in buckets[part.hub] if (b.bucket_utc, b.store_n) == (part.first_utc, part.store_n))
        slot = free_slot((*whole.parts, *base.parts), part.hub, part.shape)
        shown = msgspec.structs.replace(part, slot=slot, content_hash=bucket.content_hash)
        base, whole = _with_part(base, shown, bucket), _with_part(whole, shown, bucket)
    lost = [hole for _, scan in damaged for hole in _holes(folder, whole, scan)]
    gaps = Gaps(base.gaps)
    for hub, bucket_utc, pairs in lost:
        gaps.add(hub, bucket_utc, Silence(pairs, LOG_DAMAGED))
    said = []
    if taken:
        rows_n = sum(part.rows for part in taken)
        said.append(
            f"{len(taken)} files with {rows_n} rows of {base.session} that the log does not name any more were taken"
            " over; look at the disk."
        )
    if lost:
        said.append(
            f"{len({(hub, utc) for hub, utc, _ in lost})} buckets of {base.session} are lost in the damaged log, on"
            f' record as gaps ("{LOG_DAMAGED}"); look at the disk.'
        )
    return Recovered(msgspec.structs.replace(base, gaps=gaps.all()), tuple(said))


def _unnamed(folder: Path, whole: Manifest) -> list[Part]:
    """Return the whole hot files of buckets that the manifest does not know."""
    named = whole.named()
    known = {(hub, b.bucket_utc, b.store_n) for hub, stored in whole.buckets.items() for b in stored}
    found = []
    for path in sorted((folder / PARTS).glob("hot-*.part")):
        name = f"{PARTS}/{path.name}"
        if name in named:
            continue
        try:
            part = look(path, name).part
            bucket_file.read(path, part.shape)  # to its end
        except (pa.ArrowException, OSError, ValueError, KeyError, IndexError):
            continue
        if (part.hub, part.first_utc, part.store_n) not in known:
            found.append(part)
    return found


def _with_part(found: Manifest, part: Part, bucket: Bucket) -> Manifest:
    stored = found.buckets.get(part.hub, ())
    buckets = found.buckets if bucket in stored else found.buckets | {part.hub: (*stored, bucket)}
    counts = found.hubs.get(part.hub, HubCounts())
    hubs = found.hubs | {part.hub: msgspec.structs.replace(counts, rows=counts.rows + part.rows)}
    return msgspec.structs.replace(found, parts=(*found.parts, part), buckets=buckets, hubs=hubs)


def _holes(folder: Path, whole: Manifest, scan: Scan) -> Iterator[tuple[str, Utc, Pairs]]:
    """Return the (hub, bucket, pairs) that lay in the damage of a file and are known from nowhere else."""
    close = calendar.day(whole.session)
    for hub, stored in whole.buckets.items():
        known = {bucket.bucket_utc for bucket in stored}
        for first_utc, until_utc in _spans(scan, hub, known):
            for at in range(first_utc, until_utc, BUCKET_NS):
                bucket_utc = Utc(at)
                if bucket_utc in known or (close is not None and bucket_utc >= close.close_utc):
                    continue
                pairs = expected_pairs(folder, whole, hub, Utc(bucket_utc - BUCKET_NS))
                missing = tuple(pair for pair in pairs if not _is_gap(whole, hub, pair, bucket_utc))
                if missing:
                    yield hub, bucket_utc, missing


def _spans(scan: Scan, hub: str, known: Iterable[Utc]) -> Iterator[tuple[Utc, Utc]]:
    """Return from which bucket to which (exclusive) each damage of a file may reach for a hub."""
    told = [(record.begin, entry.bucket_utc) for record in scan.records for entry in manifest.entries_of(record)
            if entry.hub == hub]  # fmt: skip
    ends = list(scan.damaged)
    if scan.is_tail_damaged:
        ends.append((scan.end, -1))
    for begin, until in ends:
        after = min((utc for at, utc in told if until >= 0 and at >= until), default=None)
        before = max((utc for at, utc in told if at < begin), default=None)
        if before is None:  # its first record: what was sealed before, or stands in an earlier file
            before = max((utc for utc in known if after is None or utc < after), default=None)
        if before is not None:
            yield Utc(before + BUCKET_NS), after if after is not None else Utc(before + 2 * BUCKET_NS)


def expected_pairs(folder: Path, whole: Manifest, hub: str, near_utc: Utc) -> Pairs:
    """Return the (ticker, category) pairs of a hub's stored bucket, the one nearest to an instant."""
    stored = whole.buckets.get(hub, ())
    if not stored:
        return ()
    nearest = min((bucket.bucket_utc for bucket in stored), key=lambda utc: abs(utc - near_utc))
    pairs: dict[tuple[str, str], None] = {}
    for part in whole.parts:
        if part.hub == hub and part.first_utc <= nearest <= part.last_utc and (folder / part.name).exists():
            table = bucket_file.read(folder / part.name, part.shape)
            rows = zip(*(table[name].to_pylist() for name in ("bucket_utc", "ticker", "category")), strict=True)
            pairs |= {(ticker, category): None for utc, ticker, category in rows if utc == nearest}
    silent = (g for g in whole.gaps if g.hub == hub and g.from_utc <= nearest < g.to_utc)
    return tuple(pairs | {(gap.ticker, gap.category): None for gap in silent})


def _is_gap(whole: Manifest, hub: str, pair: tuple[str, str], bucket_utc: Utc) -> bool:
    return any(
        (g.hub, g.ticker, g.category) == (hub, *pair) and g.from_utc <= bucket_utc < g.to_utc for g in whole.gaps
    )
