"""The measures of many readings on the grid of 30 s: one ticker's window live, many tickers × sessions in columns.

A formula is written once over `Frames`: `now` are the readings that are evaluated, `ago` the same ones so many readings
before. Live there is one of them with 239 before it; a session's columns are the same with 239 empty readings in front,
so that nothing crosses a night. A reading that is missing is a place of NaN, never a place left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.features.measures import MEASURES, Floats
from domain.instants import BUCKET_NS, MINUTE
from domain.session.calendar import TradingDay
from domain.signals.snapshot import WINDOW, Snapshot
from domain.units import Utc

Places = NDArray[np.intp]

BEFORE: Final = WINDOW - 1
PRICES: Final = (
    "spot", "zero_gamma", "major_pos_vol", "major_neg_vol", "major_pos_oi", "major_neg_oi", "long_gamma", "short_gamma",
    "iv",
)  # fmt: skip
COLUMNS: Final = (*PRICES, *MEASURES)
_AT: Final = {name: n for n, name in enumerate(COLUMNS)}
_NO_MEASURES: Final = (None,) * len(MEASURES)
_ROW_BYTES: Final = 8 * len(COLUMNS)
_EMPTY_ROW: Final = np.full(len(COLUMNS), np.nan).tobytes()


@dataclass(frozen=True, eq=False, slots=True)
class Frames:
    """Measures of series (a ticker in a session each) over readings, and what the clock says of those evaluated.

    Args:
        values: (measures, series, 239 + readings evaluated), NaN = missing, in the order of `COLUMNS`.
        elapsed: (series, evaluated) share of the session that is over at the end of the reading.
        minutes_left: (series, evaluated) from the end of the reading to the close.
    """

    values: Floats
    elapsed: Floats
    minutes_left: Floats

    def column(self, name: str) -> Floats:
        """Return a measure of all readings, those before the evaluated ones too."""
        column: Floats = self.values[_AT[name]]
        return column

    def rows(self, names: Sequence[str]) -> Floats:
        """Return several measures, stacked in front."""
        stacked: Floats = self.values[[_AT[name] for name in names]]
        return stacked

    def now(self, name: str) -> Floats:
        """Return a measure of the readings evaluated."""
        return evaluated(self.column(name))

    def now_all(self) -> Floats:
        """Return all measures of the readings evaluated."""
        return evaluated(self.values)

    def ago(self, name: str, readings: int) -> Floats:
        """Return a measure so many readings before."""
        column = self.column(name)
        return column[..., BEFORE - readings : column.shape[-1] - readings]

    def earlier(self, at: Places, readings: Places) -> Floats:
        """Return the measures at these places of `COLUMNS`, each as it was so many readings before, stacked."""
        places = np.arange(BEFORE, self.values.shape[-1]) - readings[:, None]
        found: Floats = self.values[at[:, None], :, places]
        return found.transpose(0, 2, 1)


def evaluated(column: Floats) -> Floats:
    """Return the part of a column that is evaluated."""
    return column[..., BEFORE:]


def last_seen(conditions: NDArray[np.bool_]) -> Places:
    """Return at which place each condition was last true, seen from the readings evaluated; −240 where it never was."""
    places = np.arange(conditions.shape[-1])
    seen: Places = np.maximum.accumulate(np.where(conditions, places, -WINDOW), axis=-1)[..., BEFORE:]
    return seen


def window_sums(column: Floats, windows: Sequence[int], before: int = BEFORE) -> list[Floats]:
    """Return the sums over the last so many readings of those evaluated; NaN where one of them is missing.

    Each sum is made of its own terms, by doubling: a running sum would carry one wild value through the rest of the
    day. `before` are the readings of the column before those evaluated.
    """
    totals: list[Floats | None] = [None] * len(windows)
    power, width = column, 1
    while width <= max(windows):
        if width > 1:
            half = width // 2
            power = power[..., half:] + power[..., :-half]
        for n, readings in enumerate(windows):
            if readings & width:
                offset = readings & (width - 1)
                part = power[..., before - width + 1 - offset : power.shape[-1] - offset]
                total = totals[n]
                totals[n] = part if total is None else total + part
        width *= 2
    return [total for total in totals if total is not None]


def window_extremes(column: Floats, readings: int, before: int = BEFORE) -> tuple[Floats, Floats]:
    """Return the lowest and the highest of the last so many readings; missing ones are passed over.

    `before` are the readings of the column before those evaluated.
    """
    if column.shape[-1] == before + 1:
        window = column[..., before - readings + 1 :]
        return np.fmin.reduce(window, axis=-1, keepdims=True), np.fmax.reduce(window, axis=-1, keepdims=True)
    both = np.empty((2, *column.shape))
    both[0], both[1] = column, -column  # the highest is the lowest of the negative
    width = 1
    while 2 * width <= readings:
        both = np.fmin(both[..., width:], both[..., :-width])
        width *= 2
    newest = both[..., before - width + 1 :]
    low, high = np.fmin(newest, both[..., before - readings + 1 : both.shape[-1] - readings + width])
    return low, -high


# -- live ---------------------------------------------------------------------------------------


def row_of(snapshot: Snapshot) -> bytes:
    """Return a snapshot as a packed row."""
    measures = snapshot.measures or _NO_MEASURES
    cells = [getattr(snapshot, name) for name in PRICES]
    return np.array([np.nan if v is None else v for v in (*cells, *measures)], np.float64).tobytes()


def appended(rows: bytes, last_utc: Utc | None, snapshot: Snapshot) -> bytes:
    """Return the packed window with one more snapshot behind that of `last_utc`, and empty rows for those between."""
    between = 0 if last_utc is None else (snapshot.bucket_utc - last_utc) // BUCKET_NS - 1
    new = _EMPTY_ROW * min(between, WINDOW - 1) + row_of(snapshot)
    kept = memoryview(rows)[max(0, len(rows) + len(new) - WINDOW * _ROW_BYTES) :]
    return b"".join((kept, new))


def packed(window: Sequence[Snapshot]) -> bytes:
    """Return snapshots of one session, ascending, as a packed window."""
    rows, last_utc = b"", None
    for snapshot in window:
        rows, last_utc = appended(rows, last_utc, snapshot), snapshot.bucket_utc
    return rows


def live(rows: bytes, bucket_utc: Utc, day: TradingDay) -> Frames:
    """Return the frames of a packed window whose newest row is the bucket."""
    known = np.frombuffer(rows, np.float64).reshape(-1, len(COLUMNS))
    values = np.empty((len(COLUMNS), 1, WINDOW))
    values[:, 0, : WINDOW - len(known)] = np.nan
    values[:, 0, WINDOW - len(known) :] = known.T
    end_utc = bucket_utc + BUCKET_NS
    elapsed = (end_utc - day.open_utc) / (day.close_utc - day.open_utc)
    return Frames(values, np.array([[elapsed]]), np.array([[(day.close_utc - end_utc) / MINUTE]]))


# -- columns ------------------------------------------------------------------------------------


def columns(sessions: Sequence[Floats], days: Sequence[TradingDay]) -> Frames:
    """Return the frames of whole sessions, all evaluated.

    Args:
        sessions: per series (measures, readings of its session), NaN = missing; a half day is shorter.
        days: the session of each series.
    """
    length = max(session.shape[1] for session in sessions)
    values = np.full((len(COLUMNS), len(sessions), BEFORE + length), np.nan)
    ends = np.arange(1, length + 1, dtype=np.int64) * BUCKET_NS
    elapsed, left = np.empty((2, len(sessions), length))
    for n, (session, day) in enumerate(zip(sessions, days, strict=True)):
        values[:, n, BEFORE : BEFORE + session.shape[1]] = session
        elapsed[n] = ends / (day.close_utc - day.open_utc)
        left[n] = (day.close_utc - day.open_utc - ends) / MINUTE
    return Frames(values, elapsed, left)


def session_columns(snapshots: Sequence[Snapshot], day: TradingDay) -> Floats:
    """Return one session's snapshots as (measures, readings), on the grid of its buckets."""
    out = np.full((len(COLUMNS), day.buckets), np.nan)
    for snapshot in snapshots:
        out[:, (snapshot.bucket_utc - day.open_utc) // BUCKET_NS] = np.frombuffer(row_of(snapshot), np.float64)
    return out
