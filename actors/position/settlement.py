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
from domain.position.mark import intrinsic_ticks, last_closing_ticks


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
    is_sold = state.opened_ref().side is Side.SELL
    if state.settlement_ticks is None:
        return EndReason.EXPIRED_UNPRICED, _end_unpriced(turn, is_sold=is_sold)
    worth_ticks = intrinsic_ticks(contract, state.settlement_ticks)
    if not worth_ticks:
        return EndReason.EXPIRED, 0
    if contract.ticker in INDICES:
        return EndReason.SETTLED, worth_ticks * held
    into = "that were sold are assigned: they owe" if is_sold else "expired in the money and are exercised into"
    text = (
        f"{contract.label}: {held} {into} {held * contract.multiplier} shares of"
        f" {contract.ticker}; nothing is traded by itself: decide about the shares"
    )
    reports.alarm(turn, f"assigned:{contract.con_id}", Severity.CRITICAL, text)
    reports.raise_kill(turn, text)
    return EndReason.ASSIGNED, worth_ticks * held


def _end_unpriced(turn: PositionTurn, *, is_sold: bool) -> int:
    """Return what counts as the worth of what expired at a price that nobody knows (ticks × contracts).

    That is the worst for what was bought. What was sold may be owed: it counts at what closing it would have cost last.
    """
    state = turn.state
    contract, held = state.opened_ref().contract, state.fills.held
    price_ticks = last_closing_ticks(state.fills, state.watch) if is_sold else 0.0
    as_what = f"at {price_ticks / 100:.2f}, the last price known" if is_sold else "as worthless"
    delivered = " and the account: they may be assigned" if is_sold and contract.ticker not in INDICES else ""
    text = (
        f"{contract.label}: {held} expired and nobody knows the settlement price; booked {as_what}:"
        f" compare the broker's statement{delivered}"
    )
    reports.alarm(turn, f"unpriced:{contract.con_id}", Severity.CRITICAL, text)
    if delivered:
        reports.raise_kill(turn, text)
    return round(price_ticks * held)
