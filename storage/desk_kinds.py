"""Whose money each desk of a data folder trades with, kept in the shared ledger at every start."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from domain.desks import DeskKind
from domain.units import Utc
from storage.ledger_schema import SHARED, SHARED_OWNER
from storage.lost import SHARED_FILE
from storage.sqlite_file import LedgerRefusedError, open_file, open_reader, reading, transaction

_KEY = "kind:"
_LIVE_SINCE = "live_since"


def note_kind(folder: Path, desk: str, kind: DeskKind, at_utc: Utc | None = None) -> None:
    """Keep the kind of a desk, and when the folder's first live desk was started, where `at_utc` tells.

    Raises:
        LedgerRefusedError: the ledger cannot be used, or holds this desk's trades with money of another kind: live
            money and other money in one ledger could never be told apart again.
    """
    with closing(open_file(folder / SHARED_FILE, SHARED, SHARED_OWNER)) as db, transaction(db):
        row = db.execute("SELECT value FROM meta WHERE key = ?", (_KEY + desk,)).fetchone()
        _refuse_other(folder, desk, None if row is None else DeskKind(row[0]), kind)
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_KEY + desk, kind.value))
        if kind is DeskKind.LIVE and at_utc is not None:
            db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING", (_LIVE_SINCE, str(at_utc)))


def refuse_other_money(folder: Path, desks: Mapping[str, DeskKind]) -> None:
    """Refuse what `note_kind` would refuse of these desks, before a start has made anything of any of them.

    Raises:
        LedgerRefusedError: the ledger holds a desk's trades with money of another kind.
    """
    known: dict[str, DeskKind] = {}
    with suppress(LedgerRefusedError):  # the start itself says what is wrong with it, or brings it up
        known = kinds(folder)
    for desk, kind in desks.items():
        _refuse_other(folder, desk, known.get(desk), kind)


def _refuse_other(folder: Path, desk: str, known: DeskKind | None, kind: DeskKind) -> None:
    if known is not None and known is not kind and DeskKind.LIVE in (known, kind):
        raise LedgerRefusedError(
            f"Desk {desk} in {folder} is a {known} desk, and this run would be {kind}: give it another name"
            " (`desk`) or another data folder."
        )


def live_since(folder: Path) -> Utc | None:
    """Return when a live desk was first started; `None` where none was, or before that was kept.

    Raises:
        LedgerRefusedError: the shared ledger cannot be used.
    """
    path = folder / SHARED_FILE
    db = open_reader(path, SHARED)
    if db is None:
        return None
    with closing(db), reading(path):
        row = db.execute("SELECT value FROM meta WHERE key = ?", (_LIVE_SINCE,)).fetchone()
        return None if row is None else Utc(int(row[0]))


def kinds(folder: Path) -> dict[str, DeskKind]:
    """Return the kind of each desk that has been started since kinds are kept; an older one is absent.

    Raises:
        LedgerRefusedError: the shared ledger cannot be used.
    """
    path = folder / SHARED_FILE
    db = open_reader(path, SHARED)
    if db is None:
        return {}
    with closing(db), reading(path):
        rows = db.execute("SELECT key, value FROM meta WHERE key GLOB ?", (f"{_KEY}*",)).fetchall()
        return {key.removeprefix(_KEY): DeskKind(value) for key, value in rows}
