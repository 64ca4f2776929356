"""`main.py gaps [SESSION]`: what was expected and is not stored, by hub and cause."""

from __future__ import annotations

from argparse import Namespace
from datetime import date

from commands.cli import CommandError
from commands.sql import existing
from commands.tables import print_json, print_table
from storage.manifest import WarehouseRefusedError
from storage.views.database import Database
from storage.views.named import gap_report

_ROWS_MAX = 500


def session_in(text: str | None) -> date | None:
    """Read a session of a call.

    Raises:
        CommandError: it is no date.
    """
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a date; write it as 2026-11-20.") from None


def act(arguments: Namespace) -> int:
    """Show the gaps; 1 when there are some."""
    session = session_in(arguments.session)
    db = Database(existing(arguments), None if session is None else (session,))
    if session is not None and session not in db.sessions():
        raise CommandError(f"Nothing is stored of {session}.", 1)
    try:
        found = gap_report(db)
    except WarehouseRefusedError as error:
        raise CommandError(str(error), 3) from None
    if arguments.json:
        print_json(found)
    elif found.num_rows:
        print_table(found, _ROWS_MAX)
    else:
        print("No gaps: every group that was expected was stored.")
    return 1 if found.num_rows else 0
