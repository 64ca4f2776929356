"""The measures of many readings on the grid of 30 s: one ticker's window live, many tickers × sessions in columns.

A formula is written once over `Frames`: `now` are the readings that are evaluated, `ago` the same ones so many readings
before. Live there is one of them with 239 before it, and what is said of it is a number; a session's columns are the
same with 239 empty readings in front, so that nothing crosses a night. A reading that is missing is a place of NaN,
never a place left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from domain.features.measures import MEASURES, Floats
from domain.instants import BUCKET_NS, MINUTE
from domain.session.calendar import TradingDay
from domain.signals.snapshot import WINDOW, Snapshot
from domain.units import Utc

Places = NDArray[np.intp]
A = TypeVar("A", Floats, Places)

BEFORE: Final = WINDOW - 1
PRICES: Final = (
    "spot", "zero_gamma", "major_pos_vol", "major_neg_vol", "major_pos_oi", "major_neg_oi", "long_gamma", "short_gamma",
    "iv",
)  # fmt: skip
COLUMNS: Final = (*PRICES, *MEASURES)
_AT: Final = {name: n for n, name in enumerate(COLUMNS)}
_NO_MEASURES: Final = (None,) * len(MEASURES)
_DIGIT_BITS: Final = 6
_DIGIT: Final = (1 << _DIGIT_BITS) - 1


@dataclass(frozen=True, eq=False, slots=True)
class Frames:
    """Measures of series (a ticker in a session each) over readings, and what the clock says of those evaluated.

    Live there is one series, of which the newest reading is evaluated: no axis stands for either, so that formulas
    compute with plain numbers, many times as fast as with arrays of one.

    Args:
        values: (measures, series, 239 + readings evaluated), live (measures, 240); NaN = missing, in the order of
            `COLUMNS`.
        elapsed: (series, evaluated) share of the session that is over at the end of the reading.
        minutes_left: (series, evaluated) from the end of the reading to the close.
    """

    values: Floats
    elapsed: Floats
    minutes_left: Floats

    @property
    def is_live(self) -> bool:
        """Whether there is one reading alone, without axes for series and readings evaluated."""
        return self.values.ndim == 2

    def column(self, name: str) -> Floats:
        """Return a measure of all readings, those before the evaluated ones too."""
        column: Floats = self.values[_AT[name]]
        return column

    def rows(self, names: Sequence[str]) -> Floats:
        """Return several measures, stacked in front."""
        stacked: Floats = self.values[[_AT[name] for name in names]]
        return stacked

    def evaluated(self, column: A) -> A:
        """Return the part of columns that is evaluated."""
        part: A = column[..., -1] if self.is_live else column[..., BEFORE:]
        return part

    def told(self, found: A) -> A:
        """Return what windows say, (…, evaluated), as it is said here: live without that axis."""
        told: A = found[..., 0] if self.is_live else found
        return told

    def now(self, name: str) -> Floats:
        """Return a measure of the readings evaluated."""
        return self.evaluated(self.column(name))

    def now_all(self) -> Floats:
        """Return all measures of the readings evaluated."""
        return self.evaluated(self.values)

    def ago(self, name: str, readings: int) -> Floats:
        """Return a measure so many readings before."""
        column = self.column(name)
        return self.told(column[..., BEFORE - readings : column.shape[-1] - readings])

    def earlier(self, at: Places, readings: Places) -> Floats:
        """Return the measures at these places of `COLUMNS`, each as it was so many readings before, stacked."""
        found: Floats
        if self.is_live:
            found = self.values[at, BEFORE - readings]
            return found
        places = np.arange(BEFORE, self.values.shape[-1]) - readings[:, None]
        found = self.values[at[:, None], :, places]
        return found.transpose(0, 2, 1)


def chosen(condition: NDArray[np.bool_], one: Floats, other: Floats | float = np.nan) -> Floats:
    """Return `one` where the condition holds, else `other`: `np.where`, but for plain numbers many times as fast."""
    if condition.ndim:
        return np.where(condition, one, other)
    return one if condition else np.float64(other)  # type: ignore[return-value]


def last_seen(conditions: NDArray[np.bool_]) -> Places:
    """Return at which place each condition was last true, seen from the readings evaluated; −1 where it never was."""
    places = conditions * np.arange(1, conditions.shape[-1] + 1)
    seen: Places
    if conditions.shape[-1] == WINDOW:
        seen = np.maximum.reduce(places, axis=-1, keepdims=True)
    else:
        seen = np.maximum.accumulate(places, axis=-1)[..., BEFORE:]
    return seen - 1


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


def window_alike(kinds: Places, readings: int, none: int) -> tuple[Places, Places]:
    """Return how many of the last so many readings are of the kind of the newest, and how many are of the kind `none`.

    `kinds`, whole numbers up to `none` (at most 9), begin with the `readings` − 1 before those evaluated (at most 63 in
    all). In columns the counts of all kinds are digits of one whole number, six bits each: one running sum counts them.
    """
    if kinds.shape[-1] == readings:
        both = kinds == kinds[..., -1:], kinds == none
        alike, absent = (np.add.reduce(one, axis=-1, keepdims=True, dtype=np.intp) for one in both)
        return alike, absent
    digit = _DIGIT_BITS * kinds
    so_far = np.zeros((*digit.shape[:-1], digit.shape[-1] + 1), np.int64)
    np.cumsum(1 << digit, axis=-1, out=so_far[..., 1:])
    counts = so_far[..., readings:] - so_far[..., :-readings]
    now = digit[..., readings - 1 :]
    return (counts >> now) & _DIGIT, (counts >> none * _DIGIT_BITS) & _DIGIT


# -- live ---------------------------------------------------------------------------------------


class Window:
    """The last 240 readings of a session: `values` (measures, 240), NaN = missing, the newest last; never changed."""

    __slots__ = ("values",)

    def __init__(self, values: Floats) -> None:
        values.setflags(write=False)
        self.values = values


NO_WINDOW: Final = Window(np.full((len(COLUMNS), WINDOW), np.nan))


def row_of(snapshot: Snapshot) -> Floats:
    """Return a snapshot's measures in the order of `COLUMNS`, NaN = missing."""
    prices = [getattr(snapshot, name) for name in PRICES]
    return np.array([*prices, *(snapshot.measures or _NO_MEASURES)], np.float64)  # `None` becomes NaN


def appended(window: Window, last_utc: Utc | None, snapshot: Snapshot) -> Window:
    """Return the window with one more snapshot behind that of `last_utc`, and empty readings for those between.

    Args:
        window: what is known of the session.
        last_utc: the bucket of its newest; `None`: there is none yet.
        snapshot: of a later bucket.
    """
    later = 1 if last_utc is None else min((snapshot.bucket_utc - last_utc) // BUCKET_NS, WINDOW)
    values = np.empty_like(window.values)
    values[:, :-later] = window.values[:, later:]
    values[:, -later:-1] = np.nan
    values[:, -1] = row_of(snapshot)
    return Window(values)


def window_of(snapshots: Sequence[Snapshot]) -> Window:
    """Return the window of one session's snapshots, ascending."""
    window, last_utc = NO_WINDOW, None
    for snapshot in snapshots:
        window, last_utc = appended(window, last_utc, snapshot), snapshot.bucket_utc
    return window


def live(window: Window, bucket_utc: Utc, day: TradingDay) -> Frames:
    """Return the frames of a window whose newest reading is the bucket's."""
    end_utc, open_utc, close_utc = bucket_utc + BUCKET_NS, day.open_utc, day.close_utc
    elapsed = (end_utc - open_utc) / (close_utc - open_utc)
    return Frames(window.values, np.array(elapsed), np.array((close_utc - end_utc) / MINUTE))


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
        out[:, (snapshot.bucket_utc - day.open_utc) // BUCKET_NS] = row_of(snapshot)
    return out
