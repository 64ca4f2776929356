"""The wash-sale note on an entry, from the ledgers of desks that trade live money."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from commands.folder import DataFolder
from commands.held import desks_of
from config.settings import Settings
from domain.desks import DeskKind
from domain.instants import session_of
from domain.instruments import Contract
from domain.tax.choices import open_windows, wash_note
from domain.tax.lots import Security, security_of
from domain.units import Utc
from storage.desk_kinds import kinds
from storage.sqlite_file import LedgerRefusedError
from storage.tax_trades import tax_trades
from storage.views.database import Database, QueryError


def note_on_entry(settings: Settings, security: Security, at_utc: Utc) -> str | None:
    """Return one sentence where a purchase at an instant put off losses of the 30 days before; `None`: it did not.

    Losses of paper and simulated money count for nothing; nor does a purchase by a desk without live money.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
        QueryError: likewise.
    """
    folder = DataFolder(settings.data_dir)
    kind_of = kinds(folder.ledgers)
    if settings.tax.is_section_1256(security) or kind_of.get(settings.desk) is not DeskKind.LIVE:
        return None
    live = [desk for desk in desks_of(folder.ledgers) if kind_of.get(desk) is DeskKind.LIVE]
    before = [trade for trade in tax_trades(Database(folder.root, ()), live).trades if trade.at_utc < at_utc]
    session = session_of(at_utc)
    return wash_note(open_windows(before, settings.tax, session), security, session, settings.tax)


def note_on_chain(settings: Settings, chain: Iterable[dict[str, Any]]) -> str | None:
    """Return the note on the entry of a chain of the trace; `None` also where the ledgers cannot say."""
    for record in chain:
        if record["message"]["type"] == "entries.ReserveEntry":
            try:
                contract = msgspec.convert(record["message"]["legs"][0]["contract"], Contract)
                return note_on_entry(settings, security_of(contract), Utc(record["at_utc"]))
            except (LedgerRefusedError, QueryError, msgspec.ValidationError, LookupError):
                return None
    return None
