"""The row of a structure in a desk's ledger: written with the reservation of its legs, kept up as its actor moves."""

from __future__ import annotations

import sqlite3

import msgspec

from domain.structure.credit import Terms
from domain.structure.saga import SagaState
from domain.units import Utc
from messages import entries, structures
from storage import rows

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Terms).decode


def insert(db: sqlite3.Connection, attempt: entries.ReserveEntry, desk: str, now: Utc) -> None:
    """Write the row of a structure whose legs are being reserved; nothing of an attempt at anything else.

    `cover_ref` and `short_ref` are those of its first pair; the reservations of its id are all its legs.
    """
    if len(attempt.legs) == 1:
        return
    (cover, short), terms = attempt.legs[:2], attempt.terms
    rows.insert(
        db,
        "structures",
        {
            "structure_id": attempt.intent.intent_id,
            "desk": desk,
            "alert_id": attempt.intent.alert_id,
            "strategy": attempt.intent.strategy,
            "ticker": attempt.intent.key.ticker,
            "session": attempt.session.isoformat(),
            "cover_ref": cover.order_ref,
            "short_ref": short.order_ref,
            "terms": None if terms is None else _ENCODE(terms).decode(),
            "credit_cents": None if terms is None else terms.credit_cents,
            "gap_cents": None if terms is None else terms.gap_cents,
            "state": SagaState.RESERVED.value,
            "reserved_utc": now,
            "changed_utc": now,
        },
    )


def release(db: sqlite3.Connection, structure_id: str, now: Utc) -> None:
    """End a structure whose reservation was given back before its actor had it."""
    db.execute(
        "UPDATE structures SET state = ?, closed_utc = ?, changed_utc = ? WHERE structure_id = ? AND state = ?",
        (SagaState.ABANDONED.value, now, now, structure_id, SagaState.RESERVED.value),
    )


def change(db: sqlite3.Connection, event: structures.StructureChanged) -> None:
    """Keep where a structure stands and why it leaves; one that leaves its end is open again."""
    is_over = event.state in (SagaState.CLOSED, SagaState.ABANDONED)
    db.execute(
        "UPDATE structures SET state = ?, exit_reason = ?, closed_utc = iif(?, ifnull(closed_utc, ?), NULL),"
        " changed_utc = ? WHERE structure_id = ?",
        (event.state.value, event.reason, is_over, event.at_utc, event.at_utc, event.structure_id),
    )


def close(db: sqlite3.Connection, event: structures.StructureClosed) -> None:
    """Keep what a structure came to: both fills, the result net of fees."""
    db.execute(
        "UPDATE structures SET exit_reason = ?, cover_ticks = ?, short_ticks = ?, realised_cents = ?, fees_cents = ?,"
        " closed_utc = ?, changed_utc = ? WHERE structure_id = ?",
        (
            event.reason, event.cover_ticks, event.short_ticks, event.realised_cents, event.fees_cents,
            event.closed_utc, event.closed_utc, event.structure_id,
        ),
    )  # fmt: skip


def terms_of(db: sqlite3.Connection, structure_id: str) -> tuple[Terms | None, bool]:
    """Return the terms on which a structure was opened, and whether those on record cannot be read.

    `None` where they were not kept, or cannot be read. They are told of its end and steer nothing: damaged ones do not
    keep its actor, which watches the legs, away.
    """
    row = db.execute("SELECT CAST(terms AS BLOB) FROM structures WHERE structure_id = ?", (structure_id,)).fetchone()
    if row is None or row[0] is None:
        return None, False
    try:
        return _DECODE(row[0]), False
    except (msgspec.MsgspecError, ValueError):
        return None, True
