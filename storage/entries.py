"""What a bucket adds to the log: its entry, its parts and their rows; a row that no column can hold is left out."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from domain.instants import session_of
from domain.options.profile import IngestMode, Row, Rows
from messages import market
from storage import bucket_file, plain_names
from storage.bucket_columns import Columns, columns_of
from storage.identities import violations_in
from storage.manifest import PARTS, Bucket, Entry, HubCounts, Manifest, Part, Silence

NOT_POLLED: Final = "not_polled"
BY_REST: Final = "rest"
CANNOT_BE_STORED: Final = "cannot be stored"
UNENCODABLE: Final = (OverflowError, ValueError, TypeError)

Made = list[tuple[Part, Columns]]


class RefusedRow(msgspec.Struct, frozen=True):
    """A row that no column can hold, and why."""

    ticker: str
    category: str
    why: str


def entry_of(
    found: Manifest, entries: list[Entry], made: Made, message: market.StoreBucket, refused: tuple[RefusedRow, ...] = ()
) -> tuple[Entry | None, Made]:
    """Return what a bucket adds to the log, with its parts and their rows; `None` where exactly this was stored before.

    Args:
        found: what is stored.
        entries: what is about to be stored with it.
        made: the parts of `entries`.
        message: the bucket.
        refused: rows of it that are left out.

    Raises:
        UNENCODABLE: a row cannot be stored.
    """
    hub, counts, rows = message.hub, message.counts, message.rows
    stored = (*found.buckets.get(hub, ()), *(e.bucket for e in entries if e.hub == hub and e.bucket))
    same = [bucket for bucket in stored if bucket.bucket_utc == message.bucket_utc]
    if any(bucket.content_hash == rows.content_hash for bucket in same):
        return None, []
    store_n, violations, parts_made = len(same), Counter[str](), Made()
    for shape, numbered in bucket_file.by_shape(rows.rows).items():
        name = f"{PARTS}/hot-{hub}-{message.bucket_utc}-{store_n}-{shape.value}.part"
        slot = plain_names.free_slot((*found.parts, *(part for part, _ in (*made, *parts_made))), hub, shape)
        part = Part(
            name, hub, shape, message.bucket_utc, message.bucket_utc, len(numbered), store_n=store_n,
            content_hash=rows.content_hash, slot=slot, columns_n=bucket_file.COLUMNS,
        )  # fmt: skip
        columns = columns_of(shape, numbered, found.session, message.bucket_utc, store_n)
        violations += violations_in(columns, shape)
        parts_made.append((part, columns))
    added = HubCounts(
        rows=len(rows.rows),
        accepted=counts.accepted,
        repeated=counts.repeated,
        late=counts.late,
        refused=dict(counts.refused) | ({CANNOT_BE_STORED: len(refused)} if refused else {}),
        violations=dict(violations),
    )
    pairs = tuple(dict.fromkeys((row.ticker, row.category) for row in refused))
    silent = (*silent_of(message, is_stored=True), *((Silence(pairs, CANNOT_BE_STORED),) if pairs else ()))
    bucket = Bucket(message.bucket_utc, store_n, rows.content_hash)
    parts = tuple(part for part, _ in parts_made)
    modes, missed = (
        {(row.profile.ticker, row.profile.category): row.mode for row in rows.rows},
        missed_at(found, message),
    )
    filled = tuple(pair for pair, mode in modes.items() if mode is IngestMode.LATE or pair in missed)
    return Entry(hub, message.bucket_utc, bucket, added, silent, parts, filled), parts_made


def missed_at(found: Manifest, message: market.StoreBucket) -> frozenset[tuple[str, str]]:
    """Return the (ticker, category) pairs that are on record as missing in a bucket which is stored only now.

    A day that was ended by a clock that ran ahead has such gaps; so has a bucket that was given up.
    """
    at, hub = message.bucket_utc, message.hub
    gaps = (gap for gap in found.gaps if gap.from_utc <= at < gap.to_utc and gap.hub == hub and not gap.cover)
    return frozenset((gap.ticker, gap.category) for gap in gaps)


def without_unencodable(message: market.StoreBucket) -> tuple[market.StoreBucket, tuple[RefusedRow, ...]]:
    """Return a bucket without the rows that no column can hold, and those rows."""
    session = session_of(message.bucket_utc)
    kept: list[Row] = []
    refused: list[RefusedRow] = []
    for row in message.rows.rows:
        try:
            columns_of(row.profile.shape, [(0, row)], session, message.bucket_utc, 0)
        except UNENCODABLE as error:
            refused.append(RefusedRow(row.profile.ticker, row.profile.category, str(error)))
        else:
            kept.append(row)
    rows = Rows(message.rows.ref, tuple(kept))
    return msgspec.structs.replace(message, rows=rows), tuple(refused)


def refused_text(message: market.StoreBucket, refused: tuple[RefusedRow, ...]) -> str:
    """Return in one sentence which rows of a bucket were left out."""
    first = refused[0]
    return (
        f"{len(refused)} rows of {message.hub} cannot be stored ({first.ticker} {first.category}: {first.why}) and are"
        " on record as gaps, the others are stored; look at what the feed sends."
    )


def silent_of(message: market.StoreBucket, *, is_stored: bool) -> tuple[Silence, ...]:
    """Return the pairs of a bucket that the stream did not bring, by why; what REST brought is a gap with its cover."""
    not_polled = frozenset(message.not_polled)
    absent = tuple(pair for pair in message.absent if pair not in not_polled)
    found = (
        Silence(absent, message.why_absent),
        Silence(message.not_polled, NOT_POLLED),
        Silence(message.covered if is_stored else (), message.why_absent, BY_REST),
    )
    return tuple(silence for silence in found if silence.pairs)
