"""The derived series as they were told in a session: what its readings saw, for whoever judges them again."""

from __future__ import annotations

from datetime import date

from domain.market.derived import Told, Value
from domain.units import Utc
from storage.series_reader import SeriesReader
from storage.series_rows import DERIVED


def derived_told(reader: SeriesReader, session: date) -> tuple[Told, ...]:
    """Return what was told in a session, ascending; empty where nothing was."""
    found: dict[Utc, list[Value]] = {}
    for row in reader.day(DERIVED, session).to_pylist():
        value = row["value"] if row["text"] is None else row["text"]
        found.setdefault(Utc(row["told_utc"]), []).append((row["symbol"], row["name"], value))
    return tuple(Told(told_utc, tuple(found[told_utc])) for told_utc in sorted(found))
