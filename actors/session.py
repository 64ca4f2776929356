"""The session: exchange calendar, phases of the day, and the clock of the 30 s buckets.

Its state is a function of the calendar and the instant of `Started`, so nothing comes back from a ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from enum import StrEnum
from typing import assert_never

import msgspec

from config.settings import Settings
from domain.instants import BUCKET_NS, MS, at_exchange, bucket_of, session_of
from domain.limits import DayRules
from domain.position.cycle import ExitReason
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.session.phases import Phase
from domain.units import Utc
from messages import lifecycle, market, positions, session
from supervision.actor import Actor
from supervision.turn import Turn

Inbox = lifecycle.Started | lifecycle.TimerFired | session.RequestPhase


class Timer(StrEnum):
    """`PHASE`: the next phase or date may have begun; `BUCKET`: a bucket may be due."""

    PHASE = "phase"
    BUCKET = "bucket"


class SessionState(msgspec.Struct):
    """The date in New York, its hours (`None`: closed all day), the phase published last, the next bucket to be due."""

    session: date | None = None
    day: TradingDay | None = None
    phase: Phase | None = None
    next_bucket_utc: Utc = Utc(0)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What does not change: the shape of the day, and how long a bucket waits for frames, and for its seal."""

    rules: DayRules
    grace_ns: int

    def due_utc(self, bucket_utc: Utc) -> Utc:
        """Return the instant at which a bucket is over."""
        return bucket_utc + BUCKET_NS + self.grace_ns


class SessionActor(Actor[SessionState, Inbox]):
    """Publishes what time of the trading day it is, and when a bucket is over."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._wiring = Wiring(settings.day, settings.day.bucket_grace_ms * MS)

    def initial(self) -> SessionState:
        """Know nothing before `Started`."""
        return SessionState()

    def decide(self, turn: Turn[SessionState], message: Inbox) -> None:
        """Follow the calendar; every timer says only that it is worth looking at the clock."""
        match message:
            case lifecycle.Started():
                # What was due when this actor crashed still is; what ended before the process began is nobody's.
                seen_from_utc = turn.now - self._wiring.grace_ns if message.incarnation > 1 else turn.now
                look_at_clock(self._wiring, turn, Utc(seen_from_utc))
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.PHASE:
                        look_at_clock(self._wiring, turn)
                    case Timer.BUCKET:
                        close_buckets(self._wiring, turn)
                    case never:
                        assert_never(never)
            case session.RequestPhase():
                answer(turn, message.reply_to)
            case _:
                assert_never(message)


def look_at_clock(wiring: Wiring, turn: Turn[SessionState], seen_from_utc: Utc | None = None) -> None:
    """Publish the phase where it or the date has changed, and flatten where the flatten time has come.

    `seen_from_utc`: since when buckets count; `None`: since now.
    """
    state, today = turn.state, session_of(turn.now)
    is_new_date = today != state.session
    if is_new_date:
        open_date(wiring, turn, today, turn.now if seen_from_utc is None else seen_from_utc)
    phase = calendar.phase_at(state.day, turn.now, wiring.rules)
    turn.arm(Timer.PHASE, next_change(wiring, state, today, turn.now))
    if phase == state.phase and not is_new_date:
        return
    state.phase = phase
    turn.publish(phase_message(turn))
    if phase is Phase.FLATTEN:
        turn.tell("positions", positions.FlattenPosition(reason=ExitReason.EOD))


def open_date(wiring: Wiring, turn: Turn[SessionState], today: date, seen_from_utc: Utc) -> None:
    """Begin a date: of its buckets those count that were not over at an instant."""
    state = turn.state
    state.session = today
    state.day = calendar.day(today, wiring.rules.closed_dates)
    state.phase = None
    state.next_bucket_utc = Utc(0) if state.day is None else max(state.day.open_utc, bucket_of(seen_from_utc))
    arm_bucket(wiring, turn)


def arm_bucket(wiring: Wiring, turn: Turn[SessionState]) -> None:
    """Wake up when the next bucket of the session is due, if there is one."""
    state = turn.state
    if state.day is None or state.next_bucket_utc >= state.day.close_utc:
        turn.disarm(Timer.BUCKET)
    else:
        turn.arm(Timer.BUCKET, wiring.due_utc(state.next_bucket_utc))


def next_change(wiring: Wiring, state: SessionState, today: date, now: Utc) -> Utc:
    """Return the instant of the next phase, or of the next date."""
    starts = () if state.day is None else calendar.phase_starts(state.day, wiring.rules)
    ahead = [start_utc for start_utc, _ in starts if start_utc > now]
    return min([*ahead, calendar.next_midnight(today)])


def close_buckets(wiring: Wiring, turn: Turn[SessionState]) -> None:
    """Publish every bucket that is due, also those that a late timer let pile up: each leaves rows or gaps."""
    state, bucket_utc = turn.state, turn.state.next_bucket_utc
    while state.day is not None and bucket_utc < state.day.close_utc and wiring.due_utc(bucket_utc) <= turn.now:
        turn.publish(market.BucketDue(bucket_utc=bucket_utc, close_by_utc=turn.now + wiring.grace_ns))
        bucket_utc += BUCKET_NS
    state.next_bucket_utc = bucket_utc
    arm_bucket(wiring, turn)


def answer(turn: Turn[SessionState], reply_to: str) -> None:
    """Report the phase in force; a position that starts after the flatten time is told to flatten as well."""
    turn.report(reply_to, phase_message(turn))
    if turn.state.phase is Phase.FLATTEN and reply_to.startswith("position:"):
        turn.tell(reply_to, positions.FlattenPosition(reason=ExitReason.EOD))


def phase_message(turn: Turn[SessionState]) -> session.PhaseChanged:
    """Return the phase in force.

    Raises:
        TypeError: nothing is known before `Started`.
    """
    state = turn.state
    if state.session is None or state.phase is None:
        raise TypeError(f"{turn.name} was asked before it was started")
    midnight_utc = at_exchange(state.session, time())
    return session.PhaseChanged(
        phase=state.phase,
        session=state.session,
        open_utc=midnight_utc if state.day is None else state.day.open_utc,
        close_utc=midnight_utc if state.day is None else state.day.close_utc,
        at_utc=turn.now,
    )
