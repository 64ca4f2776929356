"""What `risk` says about an attempt, in the words of the conversations. Used by `actors/risk/entry.py` alone."""

from __future__ import annotations

from datetime import date

from actors.risk.state import Attempt
from domain.identifiers import entry_ref, intent_id
from domain.instruments import Contract, Quote, Spot
from domain.limits import EntryLimits, StrategyRules
from domain.risk.desk_view import Decision, Holding
from domain.risk.gates.types import Intent, Verdict
from domain.risk.reject import RejectCode
from messages import orders, signals


def intent_of(m: signals.SignalRaised) -> Intent:
    """Make the intent of a signal: one long leg."""
    return Intent(
        intent_id=intent_id(m.alert_id, m.strategy),
        signal_id=m.signal_id,
        alert_id=m.alert_id,
        source=m.source,
        strategy=m.strategy,
        ticker=m.ticker,
        kind=m.kind,
        version=m.version,
        direction=m.direction,
        right=m.right,
        bucket_utc=m.bucket_utc,
        is_shadow=m.is_shadow,
        raised_utc=m.raised_utc,
        expires_utc=m.expires_utc,
    )


def decision_of(intent: Intent, code: RejectCode | None, now: int) -> Decision:
    """Make the row of the read model: `code` is `None` where an order was handed on."""
    return Decision(
        source=intent.source,
        strategy=intent.strategy,
        ticker=intent.ticker,
        kind=intent.kind,
        version=intent.version,
        bucket_utc=intent.bucket_utc,
        alert_id=intent.alert_id,
        code=None if code is None else code.value,
        decided_utc=now,
    )


def verdict(v: Verdict) -> orders.Verdict:
    """Put a verdict into the words of the conversation."""
    found = v.found
    return orders.Verdict(
        gate=v.gate,
        name=v.name,
        outcome=found.outcome.value,
        code=found.code,
        measured=found.measured,
        limit=found.limit,
        unit=found.unit,
        looked_at=found.looked_at,
    )


def denial(
    decision: Decision, signal_id: str, session: date, code: RejectCode, verdicts: tuple[Verdict, ...]
) -> orders.RecordDenial:
    """Ask for the gate row of a refused attempt."""
    return orders.RecordDenial(
        signal_id=signal_id,
        alert_id=decision.alert_id,
        source=decision.source,
        strategy=decision.strategy,
        ticker=decision.ticker,
        kind=decision.kind,
        version=decision.version,
        bucket_utc=decision.bucket_utc,
        session=session,
        verdicts=tuple(verdict(v) for v in verdicts),
        code=code,
        decided_utc=decision.decided_utc,
    )


def denied(intent: Intent, reject: Verdict, code: RejectCode) -> orders.EntryDenied:
    """Tell the lane that its signal was refused."""
    return orders.EntryDenied(
        signal_id=intent.signal_id,
        alert_id=intent.alert_id,
        ticker=intent.ticker,
        code=code,
        gate=reject.gate,
        measured=reject.found.measured,
        limit=reject.found.limit,
        unit=reject.found.unit,
        looked_at=reject.found.looked_at,
    )


def reserve(
    attempt: Attempt,
    contract: Contract,
    desk: str,
    session: date,
    limits: EntryLimits,
    strategy: StrategyRules,
    now: int,
    expires_utc: int,
) -> orders.ReserveEntry:
    """Ask for the reservation, with the limits that its transaction checks again."""
    intent = attempt.intent
    leg = orders.Leg(
        contract=contract,
        side=intent.side,
        qty=attempt.qty,
        limit_ticks=attempt.limit_ticks,
        order_ref=entry_ref(desk, intent.intent_id),
        decision_bid_ticks=None if attempt.decision is None else attempt.decision.bid_ticks,
        decision_ask_ticks=None if attempt.decision is None else attempt.decision.ask_ticks,
    )
    return orders.ReserveEntry(
        intent_id=intent.intent_id,
        signal_id=intent.signal_id,
        alert_id=intent.alert_id,
        source=intent.source,
        strategy=intent.strategy,
        ticker=intent.ticker,
        kind=intent.kind,
        version=intent.version,
        direction=intent.direction,
        bucket_utc=intent.bucket_utc,
        session=session,
        legs=(leg,),
        verdicts=tuple(verdict(v) for v in attempt.verdicts),
        max_positions=limits.positions_max,
        per_ticker=limits.positions_per_ticker_max,
        max_trades=strategy.trades_per_day_max,
        one_position_only=strategy.one_position_only,
        deadline_utc=attempt.order_deadline_utc,
        decided_utc=now,
        expires_utc=expires_utc,
    )


def opening(
    attempt: Attempt, contract: Contract, decision: Quote, spot: Spot, desk: str, permit: orders.Permit
) -> orders.OpenPosition:
    """Hand the reserved intent to its position."""
    intent = attempt.intent
    return orders.OpenPosition(
        intent_id=intent.intent_id,
        signal_id=intent.signal_id,
        source=intent.source,
        strategy=intent.strategy,
        direction=intent.direction,
        contract=contract,
        order_ref=entry_ref(desk, intent.intent_id),
        qty=attempt.qty,
        limit_ticks=attempt.limit_ticks,
        decision_bid_ticks=decision.bid_ticks or 0,
        decision_ask_ticks=decision.ask_ticks or 0,
        decision_spot_ticks=spot.price_ticks,
        permit=permit,
        deadline_utc=attempt.order_deadline_utc,
    )


def pending(attempt: Attempt, contract: Contract, ask_ticks: int, now: int) -> Holding:
    """Make the holding of an entry on its way, at the most that it can cost."""
    intent = attempt.intent
    return Holding(
        intent_id=intent.intent_id,
        contract=contract,
        source=intent.source,
        strategy=intent.strategy,
        direction=intent.direction,
        qty=attempt.qty,
        cost_cents=attempt.qty * ask_ticks * contract.multiplier,
        is_pending=True,
        unrealised_cents=0,
        at_utc=now,
    )
