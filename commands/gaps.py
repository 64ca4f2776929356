"""`main.py gaps [SESSION]`: what was expected and is not stored, by hub and cause, and what covered it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from commands.cli import CommandError
from commands.lines import wrapped
from commands.sql import existing
from commands.tables import print_json
from storage.gap_totals import totals_of
from storage.manifest import Manifest, WarehouseRefusedError
from storage.views.database import Database
from storage.views.named import gap_report

_ROWS_MAX: Final = 500
_CAUSE_MAX: Final = 16
_SESSIONS_MAX: Final = 5


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
    """Show the gaps and their totals; 1 when rows are missing or were not polled."""
    session = session_in(arguments.session)
    db = Database(existing(arguments), None if session is None else (session,))
    stored = sorted({*db.warehouse.sessions(), *db.series.sessions()})
    if session is not None and session not in stored:
        raise CommandError(f"Nothing is stored of {session}.", 1)
    try:
        found = gap_report(db)
        kept = [db.warehouse.manifest(day) for day in (stored if session is None else (session,))]
        totals = totals_of(kept)
    except WarehouseRefusedError as error:
        raise CommandError(str(error), 3) from None
    if arguments.json:
        print_json(found)
    else:
        lines = [*screen(found.to_pylist()), "", f"In all: {totals.text()}."] if found.num_rows else []
        if not lines and any(map(is_judged, kept)):
            lines = ["No gaps: every group that was expected was stored."]
        lines += unjudged([day.session for day in kept if not is_judged(day)])
        print("\n".join(lines or ["No gaps: nothing is stored yet."]))
    return 1 if totals.absent_n else 0


def is_judged(day: Manifest) -> bool:
    """Return whether a desk has recorded hubs of a session: only then was anything expected of it."""
    return bool(day.buckets or day.gaps or day.damaged)


def unjudged(sessions: Sequence[date]) -> list[str]:
    """Return what is said of sessions of which no desk has recorded hubs."""
    if not sessions:
        return []
    named = ", ".join(map(str, sessions[:_SESSIONS_MAX]))
    more = f" and {len(sessions) - _SESSIONS_MAX} more" if len(sessions) > _SESSIONS_MAX else ""
    return wrapped(
        f"Not judged: {named}{more}. No desk has recorded hubs there (imported days have what their files had), so"
        " nothing was expected."
    )


def screen(rows: list[dict[str, Any]]) -> list[str]:
    """Lay a gap report out in lines of at most 80 columns, day by day; counts are rows, times New York's."""
    lines: list[str] = []
    day: date | None = None
    for row in rows[:_ROWS_MAX]:
        if row["session"] != day:
            day = row["session"]
            lines += ["" for _ in lines[:1]]
            lines += [
                f"{day}, rows by hub and cause",
                f" {'hub':<17} {'cause':<{_CAUSE_MAX}} {'cover':<5} {'missing':>7} {'covered':>7} {'unpolled':>8}"
                " first longest",
            ]
        why = row["why"] if len(row["why"]) <= _CAUSE_MAX else f"{row['why'][: _CAUSE_MAX - 1]}…"
        lines.append(
            f" {row['hub']:<17} {why:<{_CAUSE_MAX}} {row['cover'] or '-':<5} {row['missing']:>7,} {row['covered']:>7,}"
            f" {row['not_polled']:>8,} {row['first_ny']:%H:%M} {row['longest_min']:>5g}m"
        )
    if len(rows) > _ROWS_MAX:
        lines.append(f"  and {len(rows) - _ROWS_MAX} more; --json has them all")
    return lines
