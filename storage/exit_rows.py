"""The other exit profile in a desk's ledger: how it tightened each position, and what its shadow would have made."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from domain.instants import session_of
from domain.signals.rates import ShareRate, share_of
from messages import positions
from messages.restored import Tightened
from storage import rows
from storage.ledger_schema import DESK
from storage.sqlite_file import open_reader, reading


class _Change(rows.Row, frozen=True):
    kind: str
    version: int
    stop_scale: float
    take_scale: float
    is_in_force: bool


def record_change(db: sqlite3.Connection, event: positions.ExitsTightened) -> None:
    """Keep the scales of a position's exits from an instant on; a repeat changes nothing."""
    rows.insert(
        db,
        "exit_changes",
        {
            "position_id": event.ref.position_id, "kind": event.kind, "version": event.version, "at_utc": event.at_utc,
            "stop_scale": event.stop_scale, "take_scale": event.take_scale, "realised": event.realised,
            "left_ms": event.left_ms, "is_in_force": event.is_in_force,
        },
        "ON CONFLICT DO NOTHING",
    )  # fmt: skip


def record_shadow(db: sqlite3.Connection, event: positions.ShadowClosed, desk: str) -> None:
    """Keep what the shadow of a closed position came to; a repeat changes nothing."""
    rows.insert(
        db,
        "shadow_exits",
        {
            "position_id": event.ref.position_id, "kind": event.kind, "version": event.version, "desk": desk,
            "session": session_of(event.at_utc).isoformat(), "ticker": event.ref.contract.ticker,
            "fixed_cents": event.fixed_cents, "shadow_cents": event.shadow_cents,
            "fixed_reason": event.fixed_reason and event.fixed_reason.value,
            "shadow_reason": event.sales[-1].reason.value if event.sales else None,
            "sales": msgspec.json.encode(event.sales).decode(), "left_qty": event.left,
            "stop_scale": event.stop_scale, "take_scale": event.take_scale, "at_utc": event.at_utc,
        },
        "ON CONFLICT DO NOTHING",
    )  # fmt: skip


def tightened_of(db: sqlite3.Connection, position_id: str) -> Tightened | None:
    """Return the tightest scales of a position under the profile that it began with last; `None`: it had none."""
    found = rows.first_row(
        db, _Change,
        "SELECT kind, version, min(stop_scale), min(take_scale), max(is_in_force) FROM exit_changes"
        " WHERE position_id = ? GROUP BY kind, version ORDER BY max(n) DESC LIMIT 1",
        (position_id,),
    )  # fmt: skip
    if found is None:
        return None
    return Tightened(
        kind=found.kind,
        version=found.version,
        stop_scale=found.stop_scale,
        take_scale=found.take_scale,
        is_in_force=found.is_in_force,
    )


def proof_of(folder: Path, desks: tuple[str, ...], kind: str, version: int) -> ShareRate:
    """Return in how many of the positions that it left by itself a profile would have made more, over all desks.

    A desk whose ledger is not there has shown nothing.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    better = n = 0
    for desk in desks:
        path = folder / f"{desk}.db"
        with reading(path):
            db = open_reader(path, DESK)
            if db is None:
                continue
            try:
                found = db.execute(
                    "SELECT ifnull(sum(shadow_cents > fixed_cents), 0), count(*) FROM shadow_exits"
                    " WHERE (kind, version) = (?, ?) AND shadow_reason IS NOT NULL",
                    (kind, version),
                ).fetchone()
            finally:
                db.close()
        better, n = better + int(found[0]), n + int(found[1])
    return share_of(better, n)
