"""What risk is told of the market beside its prices: liquid hours, halts, and correlations that break down."""

from __future__ import annotations

from typing import assert_never

from actors.risk.state import RiskState
from domain.alarm import Severity
from domain.instants import exchange_clock, session_of
from domain.risk import desk_view
from domain.risk.desk_view import Halt, Hours
from messages import market, operator
from supervision.turn import Turn


def hear(turn: Turn[RiskState], message: market.HoursRead | market.HaltChanged | market.ContextRead) -> None:
    """Take what is told of the market into account."""
    match message:
        case market.HoursRead():
            on_hours(turn, message)
        case market.HaltChanged():
            on_halt(turn, message)
        case market.ContextRead():
            on_context(turn, message)
        case _:
            assert_never(message)


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
    """Keep that trading was halted or resumed; that it goes on resumes nothing where no halt is known."""
    known = turn.state.view.halts.get(message.ticker)
    if message.is_told_again and (known is None or not known.is_halted):
        return
    halt = Halt(message.is_halted, message.at_utc)
    turn.state.view = desk_view.with_halt(turn.state.view, message.ticker, halt)


def on_context(turn: Turn[RiskState], message: market.ContextRead) -> None:
    """Keep which pairs have left their baseline: sizes are cut meanwhile."""
    turn.state.view = desk_view.with_broken(turn.state.view, message.broken, message.at_utc)
