"""What risk is told of trading itself: liquid hours, halts, and which alerts may trade."""

from __future__ import annotations

from actors.risk.state import RiskState
from domain.alarm import Severity
from domain.instants import exchange_clock, session_of
from domain.risk import desk_view
from domain.risk.desk_view import Halt, Hours
from messages import market, operator, signals
from supervision.turn import Turn


def on_hours(turn: Turn[RiskState], message: market.HoursRead) -> None:
    """Keep the liquid hours; that the broker closes before the calendar does is said, once a session and ticker."""
    state = turn.state
    hours, known = Hours(message.session, message.hours), state.view.hours.get(message.ticker)
    state.view = desk_view.with_hours(state.view, message.ticker, hours)
    view = state.view
    if hours == known or view.session != message.session or not view.close_utc:
        return
    # A list that was read the day before says nothing of today.
    close_utc = max((closes for _, closes in message.hours or () if session_of(closes) == view.session), default=None)
    if close_utc is None:
        return
    if close_utc < view.close_utc:
        text = (
            f"The broker closes {message.ticker} at {exchange_clock(close_utc)}, the calendar at"
            f" {exchange_clock(view.close_utc)}: no entries; close what is held by hand before the earlier one."
        )
        turn.publish(operator.Alarm(key=f"hours:{message.ticker}", severity=Severity.HIGH, text=text, at_utc=turn.now))


def on_halt(turn: Turn[RiskState], message: market.HaltChanged) -> None:
    """Keep that trading was halted or resumed."""
    halt = Halt(message.is_halted, message.at_utc)
    turn.state.view = desk_view.with_halt(turn.state.view, message.ticker, halt)


def on_promotion(turn: Turn[RiskState], message: signals.PromotionChanged) -> None:
    """Let a kind of alert trade from now on, or no longer: what is under way is asked again at its last look."""
    promotion = (message.source, message.kind, message.version)
    turn.state.view = desk_view.with_promotion(turn.state.view, promotion, message.is_promoted)
