"""What became of an alert: followed reading by reading to its horizon, or read from a session's columns.

Moves are in bps of the entry, positive in the alert's direction. What is seen is spot at the end of each reading. The
horizon ends at the close at the latest. One silent reading is bridged; two in a row are a gap, and an outcome with a
gap is unresolved and counts in no rate.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from domain.features.measures import Floats
from domain.instants import BUCKET_NS, MINUTE, MS
from domain.signals.alert import Alert
from domain.units import Ticks, Utc

GAP_READINGS: Final = 2
PATH_MINUTES: Final = (1, 5, 15, 30, 60)
_PATH_NS = tuple(minutes * MINUTE for minutes in PATH_MINUTES)


class OutcomeState(StrEnum):
    """Where the following of an alert is."""

    FOLLOWED = "followed"  # the horizon is not over
    RESOLVED = "resolved"  # measured to its horizon
    UNRESOLVED = "unresolved"  # a gap hid what happened


class First(StrEnum):
    """What was reached first."""

    TARGET = "target"
    STOP = "stop"
    NEITHER = "neither"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an alert's outcome; a value that survives a restart.

    `end_utc` is the end of the last reading that counts. `mfe_bps` and `mae_bps` are the farthest moves with and
    against the alert (0 at least). `target_ms` and `stop_ms` are the times to each, `None` where it was not reached.
    `path_bps` are the moves at 1, 5, 15, 30 and 60 min, `None` beyond the horizon or in a silent reading.
    """

    alert: Alert
    end_utc: Utc
    seen_utc: Utc
    state: OutcomeState = OutcomeState.FOLLOWED
    mfe_bps: float = 0.0
    mae_bps: float = 0.0
    target_ms: int | None = None
    stop_ms: int | None = None
    path_bps: tuple[float | None, ...] = (None,) * len(PATH_MINUTES)

    @property
    def first(self) -> First:
        """What was reached first; spot is seen once a reading, so it cannot be both."""
        if self.target_ms is None and self.stop_ms is None:
            return First.NEITHER
        target, stop = (float("inf") if ms is None else ms for ms in (self.target_ms, self.stop_ms))
        return First.TARGET if target < stop else First.STOP

    @property
    def stop_bps(self) -> float:
        """The stop's distance from the entry (a tick at least)."""
        away = max(abs(self.alert.stop_ticks - self.alert.entry_ticks), 1)
        return away / self.alert.entry_ticks * 1e4

    @property
    def mfe_stops(self) -> float:
        """The farthest move with the alert, in units of the stop."""
        return self.mfe_bps / self.stop_bps

    @property
    def mae_stops(self) -> float:
        """The farthest move against the alert, in units of the stop."""
        return self.mae_bps / self.stop_bps


def begun(alert: Alert, close_utc: Utc) -> Outcome:
    """Return the outcome of an alert of which nothing has been seen; it counts from the end of the alert's bucket."""
    from_utc = alert.key.bucket_utc + BUCKET_NS
    horizon_utc = from_utc + alert.horizon_ms * MS // BUCKET_NS * BUCKET_NS
    end_utc = min(horizon_utc, close_utc)
    state = (
        OutcomeState.FOLLOWED if end_utc > from_utc else OutcomeState.UNRESOLVED
    )  # an alert at the close has no time left
    return Outcome(alert=alert, end_utc=end_utc, seen_utc=from_utc, state=state)


def followed(outcome: Outcome, bucket_utc: Utc, spot: Ticks | None) -> Outcome:
    """Return the outcome after one more reading; `spot` is `None` where the reading was silent.

    Readings come in the order of their buckets; those that never come are silent ones.
    """
    at_utc = min(bucket_utc + BUCKET_NS, outcome.end_utc)
    if outcome.state is not OutcomeState.FOLLOWED or at_utc <= outcome.seen_utc:
        return outcome
    is_seen = spot is not None and bucket_utc + BUCKET_NS <= outcome.end_utc
    silent = (at_utc - outcome.seen_utc) // BUCKET_NS - is_seen
    if silent >= GAP_READINGS:
        return replace(outcome, state=OutcomeState.UNRESOLVED)
    if is_seen and spot is not None:
        outcome = _moved(outcome, at_utc, spot)
    return replace(outcome, state=OutcomeState.RESOLVED) if at_utc == outcome.end_utc else outcome


def _moved(outcome: Outcome, at_utc: Utc, spot: Ticks) -> Outcome:
    alert = outcome.alert
    since_ns = at_utc - (alert.key.bucket_utc + BUCKET_NS)
    move = alert.direction * (spot - alert.entry_ticks) / alert.entry_ticks * 1e4
    is_target = alert.direction * (spot - alert.target_ticks) >= 0
    is_stop = alert.direction * (spot - alert.stop_ticks) <= 0
    path = outcome.path_bps
    if since_ns in _PATH_NS:
        at = _PATH_NS.index(since_ns)
        path = (*path[:at], move, *path[at + 1 :])
    return replace(
        outcome,
        seen_utc=at_utc,
        mfe_bps=max(outcome.mfe_bps, move),
        mae_bps=max(outcome.mae_bps, -move),
        target_ms=since_ns // MS if is_target and outcome.target_ms is None else outcome.target_ms,
        stop_ms=since_ns // MS if is_stop and outcome.stop_ms is None else outcome.stop_ms,
        path_bps=path,
    )


def outcome_in(alert: Alert, spots: Floats, open_utc: Utc, close_utc: Utc) -> Outcome:
    """Return the outcome of an alert in a session's column of spots (ticks, NaN = silent), as if it had been followed.

    A session that is not over leaves the outcome `FOLLOWED`.
    """
    nothing = begun(alert, close_utc)
    from_n = (nothing.seen_utc - open_utc) // BUCKET_NS  # the first reading after the alert's
    known = spots[from_n : (nothing.end_utc - open_utc) // BUCKET_NS]
    if nothing.state is not OutcomeState.FOLLOWED or not len(known):
        return nothing
    is_seen = ~np.isnan(known)
    places = np.flatnonzero(is_seen)
    is_whole = from_n + len(known) == (nothing.end_utc - open_utc) // BUCKET_NS
    edges = np.concatenate([[-1], places, [len(known)]])
    gaps = np.flatnonzero(np.diff(edges) > GAP_READINGS)
    if len(gaps):
        places = places[: gaps[0]]
    moves = alert.direction * (known[places] - alert.entry_ticks) / alert.entry_ticks * 1e4
    times = (places.astype(np.int64) + 1) * (BUCKET_NS // MS)
    at_path = {int(ms): float(move) for ms, move in zip(times, moves, strict=True)}
    is_target = alert.direction * (known[places] - alert.target_ticks) >= 0
    is_stop = alert.direction * (known[places] - alert.stop_ticks) <= 0
    return replace(
        nothing,
        state=OutcomeState.UNRESOLVED if len(gaps) else OutcomeState.RESOLVED if is_whole else OutcomeState.FOLLOWED,
        seen_utc=nothing.seen_utc + (int(places[-1]) + 1) * BUCKET_NS if len(places) else nothing.seen_utc,
        mfe_bps=float(max(moves.max(initial=0.0), 0.0)),
        mae_bps=float(max((-moves).max(initial=0.0), 0.0)),
        target_ms=_first_ms(times, is_target),
        stop_ms=_first_ms(times, is_stop),
        path_bps=tuple(at_path.get(minutes * MINUTE // MS) for minutes in PATH_MINUTES),
    )


def _first_ms(times: NDArray[np.int64], is_reached: NDArray[np.bool_]) -> int | None:
    return int(times[int(is_reached.argmax())]) if is_reached.any() else None
