"""The series' actor: keeps readings, quotes, chains, bars and modes as they pass, and gives readings back on a restart.

In hours it has worked out, now and then, what the stored minute bars say together; it publishes that and keeps it.

What is taken is written together by a timer that lies behind everything that waits in the mailbox already. The actor
keeps nothing of its own: what is in hand belongs to the store and survives an incarnation.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import assert_never

import msgspec

from domain.alarm import Severity
from domain.instants import MINUTE, SECOND, session_of
from domain.ports import ContextStore, SeriesStore
from domain.session import calendar
from domain.session.phases import Phase
from messages import lifecycle, market, operator, session, signals
from messages.restored import ReadingRestored
from supervision.actor import IoActor
from supervision.turn import Turn

Line = (
    signals.FeaturesComputed
    | market.QuotesSampled
    | market.ChainRead
    | market.BarsArrived
    | market.ContextRead
    | session.ModeChanged
)
Store = SeriesStore[Line, ReadingRestored]
Context = ContextStore[market.ContextRead]
Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | lifecycle.RequestState
    | signals.FeaturesComputed
    | signals.RequestReadings
    | signals.RequestSpots
    | market.QuotesSampled
    | market.ChainRead
    | market.BarsArrived
    | session.PhaseChanged
    | session.ModeChanged
)

_FLUSH_NS = SECOND // 4
_AGAIN_NS = 10 * SECOND
_SEAL_NS = 30 * SECOND  # after the close: the last readings are in by then
_POLL_NS = SECOND
CONTEXT_EVERY_NS = 15 * MINUTE


class Timer(StrEnum):
    """`FLUSH`: write what is in hand; `SEAL`: make Parquet of finished days; `POLL_SEAL`: look at it.

    `CONTEXT`: work out what minute bars say together; `POLL_CONTEXT`: look at it.
    """

    FLUSH = "flush"
    SEAL = "seal"
    POLL_SEAL = "poll_seal"
    CONTEXT = "context"
    POLL_CONTEXT = "poll_context"


class SeriesActor(IoActor[Inbox]):
    """Takes what is to be kept, writes it, and answers for the readings of today.

    Args:
        name: the address, `series`.
        store: the writer.
        context: works out what minute bars say together; `None`: nobody does.
    """

    def __init__(self, name: str, store: Store, context: Context | None = None) -> None:
        super().__init__(name)
        self._store = store
        self._context = context
        self._is_fault_told = False
        self._sealed_until: date | None = None

    def close(self) -> None:
        """Write what is in hand."""
        self._store.close()
        if self._context is not None:
            self._context.close()

    def handle(self, turn: Turn[None], message: Inbox) -> None:
        """Carry out one message."""
        match message:
            case lifecycle.Started():
                turn.arm(Timer.SEAL, turn.now + _SEAL_NS)
                for said in self._store.take_findings():
                    _alarm(turn, said, Severity.WARNING)
                if self._context is not None:
                    turn.arm(Timer.CONTEXT, turn.now + _SEAL_NS)
                if self._store.in_hand:
                    turn.arm(Timer.FLUSH, turn.now)
            case (
                signals.FeaturesComputed()
                | market.QuotesSampled()
                | market.ChainRead()
                | market.BarsArrived()
                | session.ModeChanged()
            ):
                self._keep(turn, message)
            case lifecycle.RequestState():
                _, _, ticker = message.name.partition(":")
                restored = self._store.restored(ticker, message.session, turn.now)
                answer = lifecycle.StateRead(name=message.name, restored=restored, read_n=message.read_n)
                turn.report(message.reply_to, answer)
            case signals.RequestReadings():
                known = self._store.readings(message.ticker, session_of(turn.now), turn.now)
                turn.report(message.reply_to, signals.ReadingsRead(ticker=message.ticker, readings=known))
            case signals.RequestSpots():
                spots = self._store.spots(message.ticker, message.session, turn.now)
                read = signals.SpotsRead(ticker=message.ticker, session=message.session, spots=spots)
                turn.report(message.reply_to, read)
            case session.PhaseChanged():
                if message.phase is Phase.CLOSED:
                    self._sealed_until = message.session
                    turn.arm(Timer.SEAL, turn.now + _SEAL_NS)
            case lifecycle.TimerFired():
                self._on_timer(turn, Timer(message.kind))
            case _:
                assert_never(message)

    def _on_timer(self, turn: Turn[None], timer: Timer) -> None:
        match timer:
            case Timer.FLUSH:
                self._flush(turn)
            case Timer.SEAL:
                self._flush(turn)
                until = self._sealed_until or session_of(turn.now) - timedelta(days=1)
                if self._store.start_seal(until):
                    turn.arm(Timer.POLL_SEAL, turn.now + _POLL_NS)
            case Timer.POLL_SEAL:
                self._poll_seal(turn)
            case Timer.CONTEXT | Timer.POLL_CONTEXT:
                if self._context is not None:
                    self._work_out(turn, self._context, is_due=timer is Timer.CONTEXT)
            case _:
                assert_never(timer)

    def _work_out(self, turn: Turn[None], context: Context, *, is_due: bool) -> None:
        """Begin, in hours, or look at what was begun; publish it where it says anything."""
        if is_due:
            turn.arm(Timer.CONTEXT, turn.now + CONTEXT_EVERY_NS)
            day = calendar.day(session_of(turn.now))
            is_open = day is not None and day.open_utc <= turn.now < day.close_utc
            if is_open and context.start(session_of(turn.now), turn.now):
                turn.arm(Timer.POLL_CONTEXT, turn.now + _POLL_NS)
            return
        found = context.poll()
        if found is None:
            turn.arm(Timer.POLL_CONTEXT, turn.now + _POLL_NS)
        elif isinstance(found, str):
            _alarm(turn, found, Severity.WARNING)
        elif found.broken is not None or found.derived:
            told = msgspec.structs.replace(found, told_utc=turn.now)
            turn.publish(told)
            if told.derived:
                self._keep(turn, told)

    def _keep(self, turn: Turn[None], message: Line) -> None:
        if not self._store.in_hand:
            turn.arm(Timer.FLUSH, turn.now + _FLUSH_NS)
        self._store.take(message)

    def _poll_seal(self, turn: Turn[None]) -> None:
        why = self._store.poll_seal()
        if why is None:
            turn.arm(Timer.POLL_SEAL, turn.now + _POLL_NS)
        elif why:
            _alarm(turn, why, Severity.WARNING)
        else:
            turn.arm(Timer.SEAL, turn.now)  # there may be another day

    def _flush(self, turn: Turn[None]) -> None:
        fault = self._store.flush()
        if fault is not None:
            turn.arm(Timer.FLUSH, turn.now + _AGAIN_NS)
            if not self._is_fault_told:
                _alarm(turn, fault, Severity.HIGH)
        elif self._is_fault_told:
            _alarm(turn, "Readings, quotes and chains are stored again.", Severity.INFO)
        self._is_fault_told = fault is not None


def _alarm(turn: Turn[None], text: str, severity: Severity) -> None:
    turn.publish(operator.Alarm(key="series", severity=severity, text=text, at_utc=turn.now))
