"""The session: exchange calendar, phases of the day, and the clock of the 30 s buckets.

Hears Started, TimerFired, PhaseWanted. Says PhaseChanged, BucketDue, FlattenPosition. Its state is a function of the
calendar and the instant of `Started`, so nothing comes back from a ledger.
"""

from __future__ import annotations

from datetime import date, time

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.instants import BUCKET_NS, MS, at_exchange, bucket_of, session_of
from domain.position.cycle import ExitReason
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.session.phases import Phase
from messages import lifecycle, market, positions, session
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import CancelTimer, Effects, SetTimer, Tell

TOLD = (
    "risk", "ibkr", "quotes", "positions", "lanes", "readings", "hubs", "feed", "warehouse", "outcomes", "notifier",
    "web",
)  # fmt: skip
SEAL_GRACES = 4  # a seal waits for another process: this many least graces (and never less than the grace itself)


class SessionState(msgspec.Struct, frozen=True):
    """The date in New York, its hours (`None`: closed all day), the phase told last, the next bucket to be due."""

    session: date | None = None
    day: TradingDay | None = None
    phase: Phase | None = None
    next_bucket_utc: int = 0


class SessionActor(Actor[SessionState]):
    """Tells everybody what time of the trading day it is, and hubs and readings when a bucket is over."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._rules = settings.day
        self._grace_ns = max(self._rules.bucket_grace_ms, self._rules.bucket_grace_min_ms) * MS
        wait_ns = max(self._grace_ns, SEAL_GRACES * self._rules.bucket_grace_min_ms * MS)
        self._seal_wait_ns = min(wait_ns, BUCKET_NS)

    def initial(self) -> SessionState:
        """Know nothing before `Started`."""
        return SessionState()

    def decide(self, state: SessionState, message: Message, now: int) -> tuple[SessionState, Effects]:
        """Follow the calendar; every timer says only that it is worth looking at the clock."""
        match message:
            case lifecycle.Started():
                return self._turn_to(state, now)
            case lifecycle.TimerFired(key="phase"):
                return self._turn_to(state, now)
            case lifecycle.TimerFired(key="bucket"):
                return self._close_buckets(state, now)
            case session.PhaseWanted():
                return state, self._answer(state, message.reply_to, now)
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def _turn_to(self, state: SessionState, now: int) -> tuple[SessionState, Effects]:
        today = session_of(now)
        after, effects = (state, ()) if today == state.session else self._open_date(today, now)
        phase = calendar.phase_at(after.day, now, self._rules)
        effects += (SetTimer("phase", self._next_turn(after, today, now)),)
        if phase == state.phase and today == state.session:
            return after, effects
        after = replace(after, phase=phase)
        told = self._phase(after, now)
        effects += tuple(Tell(role, told) for role in TOLD)
        if phase is Phase.FLATTEN:
            effects += (Tell("positions", positions.FlattenPosition(reason=ExitReason.EOD)),)
        return after, effects

    def _open_date(self, today: date, now: int) -> tuple[SessionState, Effects]:
        """Begin a date: of its buckets those count that are not due yet."""
        day = calendar.day(today, self._rules.closed_dates)
        if day is None:
            return SessionState(session=today), (CancelTimer("bucket"),)
        not_due_utc = bucket_of(now - self._grace_ns)
        state = SessionState(session=today, day=day, next_bucket_utc=max(day.open_utc, not_due_utc))
        return state, self._bucket_timer(state)

    def _bucket_timer(self, state: SessionState) -> Effects:
        if state.day is None or state.next_bucket_utc >= state.day.close_utc:
            return (CancelTimer("bucket"),)
        return (SetTimer("bucket", self._due_utc(state.next_bucket_utc)),)

    def _due_utc(self, bucket_utc: int) -> int:
        return bucket_utc + BUCKET_NS + self._grace_ns

    def _next_turn(self, state: SessionState, today: date, now: int) -> int:
        starts = () if state.day is None else calendar.phase_starts(state.day, self._rules)
        ahead = [start_utc for start_utc, _ in starts if start_utc > now]
        return min([*ahead, calendar.next_midnight(today)])

    def _close_buckets(self, state: SessionState, now: int) -> tuple[SessionState, Effects]:
        """Tell every bucket that is due, also those that a late timer let pile up: each leaves rows or gaps."""
        effects: Effects = ()
        bucket_utc = state.next_bucket_utc
        while state.day is not None and bucket_utc < state.day.close_utc and self._due_utc(bucket_utc) <= now:
            due = market.BucketDue(bucket_utc=bucket_utc, close_by_utc=now + self._seal_wait_ns)
            effects += (Tell("hubs", due), Tell("readings", due))
            bucket_utc += BUCKET_NS
        after = replace(state, next_bucket_utc=bucket_utc)
        return after, effects + self._bucket_timer(after)

    def _answer(self, state: SessionState, reply_to: str, now: int) -> Effects:
        told: Effects = (Tell(reply_to, self._phase(state, now)),)
        if state.phase is Phase.FLATTEN and reply_to.startswith("position:"):
            told += (Tell(reply_to, positions.FlattenPosition(reason=ExitReason.EOD)),)
        return told

    def _phase(self, state: SessionState, now: int) -> session.PhaseChanged:
        if state.session is None or state.phase is None:
            raise TypeError(f"{self.name} was asked before it was started")
        midnight_utc = at_exchange(state.session, time())
        return session.PhaseChanged(
            phase=state.phase,
            session=state.session,
            open_utc=midnight_utc if state.day is None else state.day.open_utc,
            close_utc=midnight_utc if state.day is None else state.day.close_utc,
            at_utc=now,
        )
