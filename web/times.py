"""Instants as the API writes them: ISO 8601 on New York's clock, to the second."""

from __future__ import annotations

from domain.instants import NEW_YORK, to_datetime
from domain.units import Utc


def iso(at_utc: Utc | None) -> str | None:
    """Return an instant as `2026-11-20T09:46:00-05:00`; `None` stays."""
    return None if at_utc is None else iso_of(at_utc)


def iso_of(at_utc: Utc) -> str:
    """Return an instant as `2026-11-20T09:46:00-05:00`."""
    return to_datetime(at_utc).astimezone(NEW_YORK).isoformat(timespec="seconds")
