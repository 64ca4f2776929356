"""Promotions in the shared ledger: which kinds of alerts may trade; the newest word on each counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from domain.units import Utc
from storage import rows
from storage.ledger_schema import SHARED, SHARED_OWNER
from storage.lost import SHARED_FILE
from storage.sqlite_file import open_file, transaction

_BY_SETTINGS = ("settings", "demo")


def promote(folder: Path, kinds: Iterable[str], source: str, by: str, reason: str, at_utc: Utc) -> None:
    """Bring the audited promotions of a source in line with what the settings name, each as `KIND-version`.

    What is promoted stays as it is. What the settings (or the demo) promoted before and name no more is withdrawn; what
    a person promoted stays until a person withdraws it, and what a person withdrew stays withdrawn.

    Raises:
        LedgerRefusedError: the shared ledger cannot be used.
        ValueError: not of the form `KIND-version`.
    """
    named = {name: _kind_and_version(name) for name in kinds}
    db = open_file(folder / SHARED_FILE, SHARED, SHARED_OWNER)
    try:
        with transaction(db):
            last = {f"{row.kind}-{row.version}": row for row in _last_words(db, source)}
            for name, (kind, version) in named.items():
                known = last.get(name)
                if known is None or (not known.is_promoted and known.by in _BY_SETTINGS):
                    insert_promotion(db, source, kind, version, True, by, reason, at_utc)
            for name, known in last.items():
                if name not in named and known.is_promoted and known.by in _BY_SETTINGS:
                    why = "no longer named in the settings"
                    insert_promotion(db, source, known.kind, known.version, False, by, why, at_utc)
    finally:
        db.close()


def _kind_and_version(name: str) -> tuple[str, int]:
    kind, _, version = name.rpartition("-")
    return kind, int(version)


def insert_promotion(
    db: sqlite3.Connection, source: str, kind: str, version: int, is_promoted: bool, by: str, reason: str, at_utc: Utc,
    command_id: str | None = None,
) -> None:  # fmt: skip
    """Keep one word on a kind of alert; a command that comes again is no second word.

    It stands behind the last word on that kind, whatever the clock says: the newest one counts.
    """
    (last_utc,) = db.execute(
        "SELECT max(at_utc) FROM promotions WHERE (source, kind, version) = (?, ?, ?)", (source, kind, version)
    ).fetchone()
    rows.insert(
        db,
        "promotions",
        {
            "source": source,
            "kind": kind,
            "version": version,
            "is_promoted": is_promoted,
            "by": by,
            "reason": reason,
            "at_utc": at_utc if last_utc is None else max(at_utc, last_utc + 1),
            "command_id": command_id,
        },
        "ON CONFLICT DO NOTHING",  # the command came again
    )


def word_of_command(db: sqlite3.Connection, command_id: str) -> tuple[str, str, int, bool] | None:
    """Return what a command said: source, kind, version, whether they may trade; `None`: it is not on record."""
    found = db.execute(
        "SELECT source, kind, version, is_promoted FROM promotions WHERE command_id = ?", (command_id,)
    ).fetchone()
    return None if found is None else (*found[:3], bool(found[3]))


def free_id(db: sqlite3.Connection, command_id: str) -> str:
    """Return the id that a word is kept by: the command's, or `<id>#2` and on where it has one already."""
    names = (command_id if n == 1 else f"{command_id}#{n}" for n in count(1))
    return next(name for name in names if word_of_command(db, name) is None)


class _Promotion(rows.Row, frozen=True):
    """The newest word on a kind of alert of a source."""

    source: str
    kind: str
    version: int
    is_promoted: bool
    by: str


def _last_words(db: sqlite3.Connection, source: str | None) -> tuple[_Promotion, ...]:
    return rows.all_rows(
        db,
        _Promotion,
        f"SELECT {rows.columns_of(_Promotion)} FROM promotions p WHERE ifnull(:source, source) = source AND rowid = ("
        "SELECT rowid FROM promotions q WHERE (q.source, q.kind, q.version) = (p.source, p.kind, p.version)"
        " ORDER BY at_utc DESC, rowid DESC LIMIT 1) ORDER BY source, kind, version",
        {"source": source},
    )


def promoted_of(db: sqlite3.Connection, source: str) -> set[str]:
    """Return what is promoted of a source as `KIND-version`: the newest word on each counts."""
    return {f"{row.kind}-{row.version}" for row in _last_words(db, source) if row.is_promoted}


def is_promoted_now(db: sqlite3.Connection, source: str, kind: str, version: int) -> bool:
    """Return whether a kind of alert may trade: the newest word on it counts."""
    return f"{kind}-{version}" in promoted_of(db, source)


def promoted_now(db: sqlite3.Connection) -> tuple[tuple[str, str, int], ...]:
    """Return what may trade as (source, kind, version), ascending."""
    return tuple((row.source, row.kind, row.version) for row in _last_words(db, None) if row.is_promoted)
