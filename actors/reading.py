"""One ticker's reading: joins what the hubs hold of a bucket, once per bucket, and computes features and forces.

Hears Started, TimerFired, BucketDue, RowsArrived, HubClosed. Says FeaturesComputed to the ticker's lanes and outcomes.
A bucket closes when every hub's marker is in, or at `close_by_utc`; buckets close in their order. On a crash the window
is lost: features that look back are missing until it has filled again.
"""

from __future__ import annotations

from datetime import date

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.instants import session_of
from domain.options.profile import Row
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.signals import features, forces
from domain.signals.features import Snapshot
from messages import lifecycle, market, session, signals
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import CancelTimer, Effects, SetTimer, Tell


class OpenBucket(msgspec.Struct, frozen=True):
    """A bucket that is being joined; `is_due` once the session has told it (then a timer runs)."""

    bucket_utc: int
    rows: tuple[Row, ...] = ()
    closed_hubs: tuple[str, ...] = ()
    is_due: bool = False
    is_over: bool = False


class ReadingState(msgspec.Struct, frozen=True):
    """Buckets being joined, ascending; the session's window of snapshots, newest last."""

    open: tuple[OpenBucket, ...] = ()
    closed_utc: int = 0
    session: date | None = None
    day: TradingDay | None = None
    reading_n: int = 0
    window: tuple[Snapshot, ...] = ()


class ReadingActor(Actor[ReadingState]):
    """Gives exactly one `FeaturesComputed` per bucket, whatever the order in which hubs and session speak."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._ticker = name.partition(":")[2]
        self._closed_dates = settings.day.closed_dates
        self._hubs = frozenset(settings.feed.hubs)
        self._categories = tuple(category for wanted in settings.feed.hubs.values() for category in wanted)

    def initial(self) -> ReadingState:
        """Have no window."""
        return ReadingState()

    def decide(self, state: ReadingState, message: Message, now: int) -> tuple[ReadingState, Effects]:
        """Join, and close what can be closed."""
        match message:
            case market.RowsArrived():
                return self._join(state, message.bucket_utc, rows=message.rows.rows)
            case market.HubClosed():
                return self._join(state, message.bucket_utc, closed_hubs=(message.hub,))
            case market.BucketDue():
                return self._due(state, message)
            case lifecycle.TimerFired():
                return self._time_is_up(state, int(message.key.partition(":")[2]))
            case lifecycle.Started() | session.PhaseChanged():
                return state, ()  # hours come from the calendar, buckets from the session
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def _join(
        self, state: ReadingState, bucket_utc: int, rows: tuple[Row, ...] = (), closed_hubs: tuple[str, ...] = ()
    ) -> tuple[ReadingState, Effects]:
        if bucket_utc <= state.closed_utc:
            return state, ()  # late: stored by the warehouse, used by nobody
        bucket = _find(state, bucket_utc)
        joined = replace(bucket, rows=bucket.rows + rows, closed_hubs=bucket.closed_hubs + closed_hubs)
        return self._close_ready(_put(state, joined))

    def _due(self, state: ReadingState, due: market.BucketDue) -> tuple[ReadingState, Effects]:
        if due.bucket_utc <= state.closed_utc:
            return state, ()
        waiting = _put(state, replace(_find(state, due.bucket_utc), is_due=True))
        return waiting, (SetTimer(f"close:{due.bucket_utc}", due.close_by_utc),)

    def _time_is_up(self, state: ReadingState, bucket_utc: int) -> tuple[ReadingState, Effects]:
        over = tuple(replace(b, is_over=True) if b.bucket_utc <= bucket_utc else b for b in state.open)
        return self._close_ready(replace(state, open=over))

    def _close_ready(self, state: ReadingState) -> tuple[ReadingState, Effects]:
        effects: Effects = ()
        while state.open and (state.open[0].is_over or self._is_complete(state.open[0])):
            bucket = state.open[0]
            if bucket.is_due and not bucket.is_over:
                effects += (CancelTimer(f"close:{bucket.bucket_utc}"),)
            state, computed = self._close(state, bucket)
            effects += computed
        return state, effects

    def _is_complete(self, bucket: OpenBucket) -> bool:
        return self._hubs.issubset(bucket.closed_hubs)

    def _close(self, state: ReadingState, bucket: OpenBucket) -> tuple[ReadingState, Effects]:
        state = self._in_session(state, bucket.bucket_utc)
        state = replace(state, open=state.open[1:], closed_utc=bucket.bucket_utc)
        day = state.day
        if day is None:
            return state, ()  # the calendar knows no such session: no reading of it
        snapshot = features.reduced(bucket.bucket_utc, bucket.rows)
        window = features.appended(state.window, snapshot)
        state = replace(state, window=window, reading_n=state.reading_n + 1)
        values = features.compute(window, day)
        scores = forces.scores(values)
        delivered = {row.profile.category for row in bucket.rows}
        computed = signals.FeaturesComputed(
            ticker=self._ticker,
            bucket_utc=bucket.bucket_utc,
            reading_n=state.reading_n,
            features=values,
            missing=tuple(category for category in self._categories if category not in delivered),
            forces=tuple(signals.Force(name=f.name, score=f.score, confidence=f.confidence) for f in scores),
            alignment=forces.alignment(scores),
            spot=snapshot.spot,
            zero_gamma=snapshot.zero_gamma,
            is_complete=self._is_complete(bucket),
        )
        return state, (Tell(f"lanes:{self._ticker}", computed), Tell("outcomes", computed))

    def _in_session(self, state: ReadingState, bucket_utc: int) -> ReadingState:
        """Begin a fresh window with a new session."""
        today = session_of(bucket_utc)
        if today == state.session:
            return state
        day = calendar.day(today, self._closed_dates)
        return replace(state, session=today, day=day, reading_n=0, window=())


def _find(state: ReadingState, bucket_utc: int) -> OpenBucket:
    return next((b for b in state.open if b.bucket_utc == bucket_utc), OpenBucket(bucket_utc))


def _put(state: ReadingState, bucket: OpenBucket) -> ReadingState:
    others = [b for b in state.open if b.bucket_utc != bucket.bucket_utc]
    return replace(state, open=tuple(sorted((*others, bucket), key=lambda b: b.bucket_utc)))
