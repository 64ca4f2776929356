"""The outcomes' actor: follows every recorded alert to its horizon and has recorded what became of it.

Spots come reading by reading. What is missed, by a restart or because an alert was recorded late, is made up for from
the stored readings; an alert of an earlier session is measured from them alone. Whoever hears nothing by a while after
the horizon has a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Final, assert_never

import msgspec

from config.settings import Settings
from domain.instants import BUCKET_NS, MINUTE
from domain.session import calendar
from domain.signals.alert import Alert, AlertKey
from domain.signals.outcome import Outcome, OutcomeState, begun, followed
from domain.units import Ticks, Utc
from messages import lifecycle, signals
from messages.restored import OutcomesRestored
from supervision.actor import Actor
from supervision.turn import Turn

OVERDUE_NS: Final = MINUTE  # after the horizon: the last reading is in long before

Inbox = (
    lifecycle.Started | lifecycle.TimerFired | signals.AlertRaised | signals.SpotRead | signals.SpotsRead
)  # fmt: skip


class Timer(StrEnum):
    """`OVERDUE`: an alert (its id is the subject) waits no longer for readings."""

    OVERDUE = "overdue"


class CatchUp(msgspec.Struct, frozen=True):
    """A ticker's session whose stored spots are asked for."""

    ticker: str
    session: date


class OutcomesState(msgspec.Struct):
    """The outcomes under way by ticker, each ticker's in the order of their alerts; the spots that are asked for, and
    those heard meanwhile."""

    by_ticker: Mapping[str, tuple[Outcome, ...]] = {}
    catching_up: tuple[CatchUp, ...] = ()
    heard: tuple[signals.SpotRead, ...] = ()

    @property
    def under_way(self) -> tuple[Outcome, ...]:
        """All outcomes under way."""
        return tuple(outcome for outcomes in self.by_ticker.values() for outcome in outcomes)


class OutcomesActor(Actor[OutcomesState, Inbox]):
    """Knows what every alert came to."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._closed_dates = settings.day.closed_dates

    def initial(self) -> OutcomesState:
        """Follow nothing."""
        return OutcomesState()

    def decide(self, turn: Turn[OutcomesState], message: Inbox) -> None:
        """Follow."""
        match message:
            case lifecycle.Started():
                if isinstance(message.restored, OutcomesRestored):
                    for alert in message.restored.alerts:
                        self._follow(turn, alert)
            case signals.AlertRaised():
                self._follow(turn, message.alert)
            case signals.SpotRead():
                hear(turn, message)
            case signals.SpotsRead():
                catch_up(turn, message)
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.OVERDUE:
                        give_up(turn, message.subject)
                    case never:
                        assert_never(never)
            case _:
                assert_never(message)

    def _follow(self, turn: Turn[OutcomesState], alert: Alert) -> None:
        """Begin an outcome; where readings have passed already, ask for them."""
        state, key = turn.state, alert.key
        known = state.by_ticker.get(key.ticker, ())
        if any(one.alert.key == key for one in known):
            return
        day = calendar.day(key.session, self._closed_dates)
        outcome = begun(alert, key.bucket_utc if day is None else day.close_utc)
        if outcome.state is not OutcomeState.FOLLOWED:
            record(turn, outcome)
            return
        state.by_ticker = {**state.by_ticker, key.ticker: (*known, outcome)}
        turn.arm(Timer.OVERDUE, max(outcome.end_utc, turn.now) + OVERDUE_NS, key.alert_id)
        asked = CatchUp(key.ticker, key.session)
        if turn.now >= outcome.seen_utc + BUCKET_NS and asked not in state.catching_up:
            state.catching_up = (*state.catching_up, asked)
            turn.tell("series", signals.RequestSpots(reply_to=turn.name, ticker=key.ticker, session=key.session))


def hear(turn: Turn[OutcomesState], read: signals.SpotRead) -> None:
    """Take a spot; while stored ones of its ticker are on their way it waits behind them."""
    state = turn.state
    if any(asked.ticker == read.ticker for asked in state.catching_up):
        state.heard = (*state.heard, read)
    else:
        see(turn, read.ticker, ((read.bucket_utc, read.spot),))


def catch_up(turn: Turn[OutcomesState], read: signals.SpotsRead) -> None:
    """Take the stored spots of a session, and behind the last ones that were asked for what was heard meanwhile."""
    state = turn.state
    state.catching_up = tuple(one for one in state.catching_up if one != CatchUp(read.ticker, read.session))
    see(turn, read.ticker, read.spots, read.session)
    if not any(one.ticker == read.ticker for one in state.catching_up):
        heard = tuple((spot.bucket_utc, spot.spot) for spot in state.heard if spot.ticker == read.ticker)
        state.heard = tuple(spot for spot in state.heard if spot.ticker != read.ticker)
        see(turn, read.ticker, heard)


def see(
    turn: Turn[OutcomesState], ticker: str, spots: tuple[tuple[Utc, Ticks | None], ...], session: date | None = None
) -> None:
    """Follow the outcomes of a ticker (and session) through spots, and have those recorded that are over."""
    known, outcomes = turn.state.by_ticker.get(ticker), list[Outcome]()
    if known is None:  # by far the most frequent
        return
    for outcome in known:
        after = outcome
        if session in (None, outcome.alert.key.session):
            for bucket_utc, spot in spots:
                after = followed(after, bucket_utc, spot)
        outcomes.append(after)
    settle(turn, ticker, outcomes)


def give_up(turn: Turn[OutcomesState], alert_id: str) -> None:
    """End an outcome whose last readings never came: one silent reading is bridged, more are a gap."""
    ticker = AlertKey.parse(alert_id).ticker
    settle(turn, ticker, [
        followed(outcome, Utc(outcome.end_utc - BUCKET_NS), None) if outcome.alert.key.alert_id == alert_id else outcome
        for outcome in turn.state.by_ticker.get(ticker, ())
    ])  # fmt: skip


def settle(turn: Turn[OutcomesState], ticker: str, outcomes: list[Outcome]) -> None:
    """Keep what is under way of a ticker, and have recorded what is over."""
    rest = tuple([one for one in outcomes if one.state is OutcomeState.FOLLOWED])
    others = turn.state.by_ticker
    turn.state.by_ticker = (
        {**others, ticker: rest} if rest else {other: known for other, known in others.items() if other != ticker}
    )
    for outcome in outcomes:
        if outcome.state is not OutcomeState.FOLLOWED:
            turn.disarm(Timer.OVERDUE, outcome.alert.key.alert_id)
            record(turn, outcome)


def record(turn: Turn[OutcomesState], outcome: Outcome) -> None:
    """Have an outcome recorded."""
    turn.tell("ledger", signals.RecordOutcome(outcome=outcome, at_utc=turn.now))
