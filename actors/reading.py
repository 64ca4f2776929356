"""One ticker's reading: joins what the hubs hold of a bucket, once per bucket, and computes features and forces.

A bucket closes when every hub's marker is in, or at its deadline; buckets close in their order. At a start the window
comes back from what was stored of the session; buckets that were missed meanwhile are missing in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import assert_never

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.features import frames
from domain.features.evidence import evidence_of
from domain.features.measures import with_measures
from domain.instants import session_of
from domain.options.profile import Row
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.signals.snapshot import reduced
from domain.units import Utc
from messages import lifecycle, market, signals
from messages.restored import ReadingRestored
from supervision.actor import Actor
from supervision.turn import Turn

Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | market.BucketDue
    | market.RowsArrived
    | market.HubClosed
    | market.MembershipsChanged
)


class Timer(StrEnum):
    """`CLOSE`: a bucket (its start is the subject) waits no longer."""

    CLOSE = "close"


class OpenBucket(msgspec.Struct, frozen=True):
    """A bucket that is being joined; `is_due` once the session has told it (then a timer runs)."""

    bucket_utc: Utc
    rows: tuple[Row, ...] = ()
    closed_hubs: tuple[str, ...] = ()
    is_due: bool = False
    is_over: bool = False

    def with_rows(self, rows: tuple[Row, ...]) -> OpenBucket:
        """Return the bucket with more rows."""
        return replace(self, rows=self.rows + rows)

    def with_hub(self, hub: str) -> OpenBucket:
        """Return the bucket with a hub that sends nothing more of it."""
        return replace(self, closed_hubs=(*self.closed_hubs, hub))


class ReadingState(msgspec.Struct):
    """Buckets being joined, ascending; the session's `window` (`domain/features/frames`), its newest of `last_utc`.

    `categories` are what a whole bucket holds since that was changed in this run, `None`: it was not.
    """

    open: tuple[OpenBucket, ...] = ()
    closed_utc: Utc = Utc(0)
    session: date | None = None
    day: TradingDay | None = None
    reading_n: int = 0
    last_utc: Utc | None = None
    window: frames.Window = frames.NO_WINDOW
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Wiring:
    """What does not change: the ticker, the hubs that must close a bucket, the categories that a whole one holds."""

    ticker: str
    hubs: frozenset[str]
    categories: tuple[str, ...]
    closed_dates: tuple[date, ...]

    def is_complete(self, bucket: OpenBucket) -> bool:
        """Return whether every hub's marker is in."""
        return self.hubs.issubset(bucket.closed_hubs)


class ReadingActor(Actor[ReadingState, Inbox]):
    """Publishes exactly one `FeaturesComputed` per bucket, whatever the order in which hubs and session report."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._wiring = Wiring(
            ticker=name.partition(":")[2],
            hubs=frozenset(settings.feed.by_hub),
            categories=tuple(category for wanted in settings.feed.by_hub.values() for category in wanted),
            closed_dates=settings.day.closed_dates,
        )

    def initial(self) -> ReadingState:
        """Have no window."""
        return ReadingState()

    def decide(self, turn: Turn[ReadingState], message: Inbox) -> None:
        """Join, and close what can be closed."""
        match message:
            case market.RowsArrived():
                on_rows(self._wiring, turn, message)
            case market.HubClosed():
                if _is_open(turn, message.bucket_utc):
                    join(self._wiring, turn, _find(turn, message.bucket_utc).with_hub(message.hub))
            case market.BucketDue():
                on_due(turn, message)
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.CLOSE:
                        on_deadline(self._wiring, turn, Utc(int(message.subject)))
                    case never:
                        assert_never(never)
            case market.MembershipsChanged():
                turn.state.categories = tuple(category for wanted in message.hubs.values() for category in wanted)
            case lifecycle.Started():
                take_up(self._wiring, turn.state, message)
            case _:
                assert_never(message)


def take_up(reading: Wiring, state: ReadingState, started: lifecycle.Started) -> None:
    """Go on behind the last reading that was stored; hours come from the calendar, buckets from the session."""
    known = started.restored
    if not isinstance(known, ReadingRestored):
        return
    begin_session(reading, state, known.session)
    state.window = frames.window_of(known.window)
    state.reading_n = known.reading_n
    state.last_utc = state.closed_utc = known.window[-1].bucket_utc


def on_rows(reading: Wiring, turn: Turn[ReadingState], arrived: market.RowsArrived) -> None:
    """Take a hub's rows of a bucket; those of a hub that has told all of it already are the same ones again."""
    if not _is_open(turn, arrived.bucket_utc):
        return
    bucket = _find(turn, arrived.bucket_utc)
    if arrived.hub not in bucket.closed_hubs:
        bucket = bucket.with_rows(arrived.rows.rows)
        join(reading, turn, bucket.with_hub(arrived.hub) if arrived.is_all else bucket)


def join(reading: Wiring, turn: Turn[ReadingState], bucket: OpenBucket) -> None:
    """Keep what has come of a bucket, and close what is whole."""
    _put(turn, bucket)
    close_ready(reading, turn)


def on_due(turn: Turn[ReadingState], due: market.BucketDue) -> None:
    """Wait for a bucket's rows until its deadline."""
    if _is_open(turn, due.bucket_utc):
        _put(turn, replace(_find(turn, due.bucket_utc), is_due=True))
        turn.arm(Timer.CLOSE, due.close_by_utc, str(due.bucket_utc))


def on_deadline(reading: Wiring, turn: Turn[ReadingState], bucket_utc: Utc) -> None:
    """Close a bucket and those before it with what has come."""
    turn.state.open = tuple(replace(b, is_over=True) if b.bucket_utc <= bucket_utc else b for b in turn.state.open)
    close_ready(reading, turn)


def close_ready(reading: Wiring, turn: Turn[ReadingState]) -> None:
    """Close the oldest buckets as long as they are whole or over."""
    while turn.state.open and (turn.state.open[0].is_over or reading.is_complete(turn.state.open[0])):
        bucket = turn.state.open[0]
        if bucket.is_due and not bucket.is_over:
            turn.disarm(Timer.CLOSE, str(bucket.bucket_utc))
        close(reading, turn, bucket)


def close(reading: Wiring, turn: Turn[ReadingState], bucket: OpenBucket) -> None:
    """Compute the reading of a bucket; a session that the calendar does not know has none."""
    state = turn.state
    begin_session(reading, state, session_of(bucket.bucket_utc))
    state.open = state.open[1:]
    state.closed_utc = bucket.bucket_utc
    if state.day is None:
        return
    snapshot = with_measures(reduced(bucket.bucket_utc, bucket.rows), bucket.rows, state.day)
    state.window = frames.appended(state.window, state.last_utc, snapshot)
    state.last_utc = bucket.bucket_utc
    state.reading_n += 1
    evidence = evidence_of(frames.live(state.window, bucket.bucket_utc, state.day))
    delivered = {row.profile.category for row in bucket.rows}
    wanted = reading.categories if state.categories is None else state.categories
    turn.publish(
        signals.FeaturesComputed(
            ticker=reading.ticker,
            bucket_utc=bucket.bucket_utc,
            reading_n=state.reading_n,
            missing=tuple(category for category in wanted if category not in delivered),
            spot=snapshot.spot,
            zero_gamma=snapshot.zero_gamma,
            is_complete=reading.is_complete(bucket),
            snapshot=snapshot,
            evidence=evidence,
        )
    )
    turn.publish(signals.SpotRead(ticker=reading.ticker, bucket_utc=bucket.bucket_utc, spot=snapshot.spot))


def begin_session(reading: Wiring, state: ReadingState, today: date) -> None:
    """Begin a fresh window with a new session."""
    if today == state.session:
        return
    state.session = today
    state.day = calendar.day(today, reading.closed_dates)
    state.reading_n = 0
    state.last_utc = None
    state.window = frames.NO_WINDOW


def _is_open(turn: Turn[ReadingState], bucket_utc: Utc) -> bool:
    """Return whether a bucket has not been closed; what comes later is stored by the warehouse and used by nobody."""
    return bucket_utc > turn.state.closed_utc


def _find(turn: Turn[ReadingState], bucket_utc: Utc) -> OpenBucket:
    return next((b for b in turn.state.open if b.bucket_utc == bucket_utc), OpenBucket(bucket_utc))


def _put(turn: Turn[ReadingState], bucket: OpenBucket) -> None:
    others = [b for b in turn.state.open if b.bucket_utc != bucket.bucket_utc]
    turn.state.open = tuple(sorted((*others, bucket), key=lambda b: b.bucket_utc))
