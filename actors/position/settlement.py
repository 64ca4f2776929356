"""What became of a contract that expired while held: its own session's settlement price, and nothing later, says it."""

from __future__ import annotations

from actors.position import reports
from actors.position.state import PositionRules, PositionTurn
from domain.alarm import Severity
from domain.indices import INDICES
from domain.instants import MS
from domain.instruments import Side, Spot
from domain.position.cycle import EndReason, PositionState
from domain.position.day import settle_utc
from domain.position.mark import intrinsic_ticks


def note_underlying(rules: PositionRules, turn: PositionTurn, spot: Spot | None) -> None:
    """Keep the underlying's last price around the close: it stands in for the settlement price."""
    state, day = turn.state, turn.state.day
    if state.cycle is not PositionState.SETTLING or day is None or spot is None or state.settling_utc is None:
        return
    earliest_utc = state.settling_utc - rules.exits.blind_underlying_ms * MS
    if earliest_utc <= spot.at_utc <= settle_utc(day):
        state.settlement_ticks = spot.price_ticks


def is_settlement_due(turn: PositionTurn) -> bool:
    """Return whether what expired is booked without waiting for the broker's book to be emptied."""
    day = turn.state.day
    is_expiring = day is not None and turn.state.opened_ref().contract.expiry == day.session
    return day is not None and is_expiring and turn.now >= settle_utc(day)


def end_expired(turn: PositionTurn) -> tuple[EndReason, int]:
    """Return how what is still held ended, and its worth (ticks × contracts); what people must look at is said."""
    state = turn.state
    contract, held = state.opened_ref().contract, state.fills.held
    if state.settlement_ticks is None:
        text = (
            f"{contract.label}: {held} expired and nobody knows the settlement price; booked as worthless:"
            " compare the broker's statement"
        )
        reports.alarm(turn, f"unpriced:{contract.con_id}", Severity.CRITICAL, text)
        return EndReason.EXPIRED_UNPRICED, 0
    worth_ticks = intrinsic_ticks(contract, state.settlement_ticks)
    if not worth_ticks:
        return EndReason.EXPIRED, 0
    if contract.ticker in INDICES:
        return EndReason.SETTLED, worth_ticks * held
    is_sold = state.opened_ref().side is Side.SELL
    into = "that were sold are assigned: they owe" if is_sold else "expired in the money and are exercised into"
    text = (
        f"{contract.label}: {held} {into} {held * contract.multiplier} shares of"
        f" {contract.ticker}; nothing is traded by itself: decide about the shares"
    )
    reports.alarm(turn, f"assigned:{contract.con_id}", Severity.CRITICAL, text)
    reports.raise_kill(turn, text)
    return EndReason.ASSIGNED, worth_ticks * held
