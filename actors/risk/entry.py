"""The entry pipeline: decide, ask, decide; one decision at a time, any number of attempts waiting for a reply.

`SignalRaised` begins an attempt. It passes the standing gates, asks `quotes` for contracts (and for a quote, where an
offered one is too old), sizes the first that passes, asks for a fresh quote, looks at everything once more, and asks
the ledger for the reservation; then its position takes over. Whatever refuses it on the way ends in `deny`. An attempt
that waits holds up no other: it counts as pending for the gates of all others.
Stages: `domain/risk/entry_stages.py`. Gates and their order: `domain/risk/gates/sequence.py`.
"""

from __future__ import annotations

from actors.risk.permit import permit_of
from actors.risk.state import RiskState, Timer
from domain.instants import MS, session_of
from domain.instruments import Contract, Quote
from domain.options.tick_rules import rule_of
from domain.orders.intent import Intent
from domain.orders.twap import plan_of
from domain.position import profiles
from domain.risk import attempt as attempts
from domain.risk import desk_view
from domain.risk.attempt import Approval, Attempt, Choice
from domain.risk.desk_view import Decision, Holding
from domain.risk.entry_stages import SILENCE, EntryEvent, EntryStage
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import DeskRules, Epochs, Finding, GatePhase, Sizing, Snapshot, Verdict, missing, refused
from domain.risk.reject import RejectCode
from domain.risk.sizing import entry_limit_ticks, size_of
from domain.signals.alert import AlertKey
from domain.units import Cents, Utc
from messages import entries, market, signals
from supervision.turn import Turn

# -- signals ------------------------------------------------------------------------------------


def on_signal(rules: DeskRules, turn: Turn[RiskState], message: signals.SignalRaised) -> None:
    """Begin an attempt, unless the signal's alert is under way already."""
    if message.intent.key not in alerts_in_hand(turn.state):
        deadline_utc = turn.now + rules.limits.intent_deadline_ms * MS
        begin(rules, turn, Attempt(intent=message.intent, deadline_utc=deadline_utc))


def alerts_in_hand(state: RiskState) -> tuple[AlertKey, ...]:
    """Return the alerts that are being attempted."""
    of_structures = tuple(attempt.intent.key for attempt in state.structures)
    return (*(attempt.intent.key for attempt in state.attempts), *of_structures)


def begin(rules: DeskRules, turn: Turn[RiskState], attempt: Attempt) -> None:
    """Ask the standing gates, then ask `quotes` for contracts; what has no rules is denied unasked."""
    intent = attempt.intent
    if intent.strategy not in rules.strategies or intent.ticker not in rules.tickers:
        no_rules = missing(f"no rules for strategy {intent.strategy} on {intent.ticker}")
        deny(turn, attempt.judged(Verdict(gates.SIGNAL_AGE, no_rules)))  # the first gate that needs them
        return
    snapshot = snapshot_of(rules, turn, attempt)
    attempt = attempt.judged(*gates.run(gates.in_phase(GatePhase.STANDING), intent, snapshot))
    if gates.first_reject(attempt.verdicts) is not None:
        deny(turn, attempt)
        return
    combo = gates.no_combo_orders(intent.plan)
    if combo is not None:
        deny(turn, attempt.judged(combo))
        return
    # A ticker without lines is quoted on demand: its contracts must be subscribed first.
    wait_ms = rules.limits.fresh_quote_wait_ms
    attempt = advance(turn, attempt, EntryEvent.ADMITTED, wait_ms)
    request = market.RequestContracts(
        request_id=attempt.request_id,
        reply_to=turn.name,
        ticker=intent.ticker,
        right=attempt.leg.right,
        expires_utc=attempt.wait_until(wait_ms, turn.now),
    )
    turn.tell("quotes", request)


def snapshot_of(rules: DeskRules, turn: Turn[RiskState], attempt: Attempt) -> Snapshot:
    """Return what the gates of an attempt look at now, the other attempts counted as pending."""
    own, state = attempt.intent.intent_id, turn.state
    beside = tuple(other.pending for other in state.attempts if other.intent.intent_id != own)
    beside = (*beside, *(other.pending for other in state.structures))
    return attempts.snapshot_of(rules, state.view, attempt.intent, turn.now, beside)


# -- replies ------------------------------------------------------------------------------------


def awaiting(state: RiskState, request_id: str, *stages: EntryStage) -> Attempt | None:
    """Return the attempt that waits for this reply; `None` where the reply is late."""
    return next((a for a in state.attempts if a.request_id == request_id and a.stage in stages), None)


def awaiting_reservation(state: RiskState, intent_id: str) -> Attempt | None:
    """Return the attempt that waits for the ledger's answer on this intent; `None` where the answer is late."""
    stage = EntryStage.AWAITS_RESERVATION
    return next((a for a in state.attempts if a.intent.intent_id == intent_id and a.stage is stage), None)


def on_contracts_offered(rules: DeskRules, turn: Turn[RiskState], message: market.ContractsOffered) -> None:
    """Try the candidates in order."""
    attempt = awaiting(turn.state, message.request_id, EntryStage.AWAITS_CONTRACTS)
    if attempt is None:
        return
    if message.is_none_today:
        deny(turn, attempt.judged(gates.no_contract(0, message.why or "", is_none_today=True)))
    else:
        candidates = message.quotes[: rules.limits.candidates_max]
        try_candidates(rules, turn, attempt.offered(candidates, message.spot), message.why or "")


def on_quote(rules: DeskRules, turn: Turn[RiskState], message: market.QuoteRead) -> None:
    """Take the quote that the decision or the submit waits for."""
    attempt = awaiting(turn.state, message.request_id, EntryStage.AWAITS_QUOTE, EntryStage.AWAITS_FRESH_QUOTE)
    if attempt is None:
        return
    attempt = attempt.seeing(message.spot)
    if attempt.choice is not None:
        submit(rules, turn, attempt, attempt.choice, message.quote)
    else:
        try_candidates(rules, turn, attempt.quoted(message.contract, message.quote), "", has_asked=True)


def on_quote_unavailable(rules: DeskRules, turn: Turn[RiskState], message: market.QuoteUnavailable) -> None:
    """Go on to the next candidate, or deny where the submit was waiting."""
    attempt = awaiting(turn.state, message.request_id, EntryStage.AWAITS_QUOTE, EntryStage.AWAITS_FRESH_QUOTE)
    if attempt is None:
        return
    age_ms = None if message.last is None else (turn.now - message.last.at_utc) / MS
    if attempt.choice is not None:
        limit_ms = rules.limits.fresh_quote_wait_ms
        stale = refused(RejectCode.STALE_QUOTE, age_ms, limit_ms, "ms", message.why)
        deny(turn, attempt.judged(Verdict(gates.FRESH_QUOTE, stale)))
    else:
        stale = refused(RejectCode.STALE_QUOTE, age_ms, rules.limits.quote_age_max_ms, "ms", message.why)
        try_candidates(rules, turn, attempt.passing_over(Verdict(gates.QUOTE_FRESH, stale)), message.why)


def on_reserved(rules: DeskRules, turn: Turn[RiskState], message: entries.EntryReserved) -> None:
    """Hand the intent on, unless what stood at the last look no longer stands."""
    attempt = awaiting_reservation(turn.state, message.intent_id)
    if attempt is None:
        return
    assert attempt.choice is not None  # both were set before the reservation was asked for
    assert attempt.approval is not None
    intent = attempt.intent
    snapshot = attempts.approved_snapshot(snapshot_of(rules, turn, attempt), attempt.approval.epochs)
    verdicts = gates.run(gates.HAND_OVER, intent, snapshot, "hand-over")
    if gates.first_reject(verdicts) is None:
        verdicts = gates.run(gates.in_phase(GatePhase.RESERVATION), intent, snapshot)
    reject = gates.first_reject(verdicts)
    if reject is None:
        hand_over(rules, turn, attempt, attempt.choice, attempt.approval)
    else:
        release(turn, attempt, reject.finding)
        deny(turn, attempt.judged(reject), is_recorded=True)


def on_refused(rules: DeskRules, turn: Turn[RiskState], message: entries.EntryRefused) -> None:
    """End the attempt with the ledger's answer (its gate row is written there)."""
    attempt = awaiting_reservation(turn.state, message.intent_id)
    if attempt is None:
        return
    deny(turn, attempt.judged(Verdict(gates.RESERVATION, message.finding)), is_recorded=True)


def on_silence(rules: DeskRules, turn: Turn[RiskState], stage_n: str) -> None:
    """Deny because a reply did not come; a reservation of unknown outcome is given up with a tombstone."""
    attempt = next((waiting for waiting in turn.state.attempts if str(waiting.stage_n) == stage_n), None)
    if attempt is None:
        return
    gate, code = SILENCE[attempt.stage]
    finding = attempts.no_reply(rules.limits, attempt, code, turn.now)
    if attempt.stage is EntryStage.AWAITS_RESERVATION:
        release(turn, attempt, finding)
    deny(turn, attempt.judged(Verdict(gate, finding)), EntryEvent.TIMED_OUT)


def on_alert_stale(turn: Turn[RiskState], alert_id: str) -> None:
    """Write the row of an alert whose attempt died with a predecessor, unless it has been decided since."""
    state, key = turn.state, AlertKey.parse(alert_id)
    if key in alerts_in_hand(state) or any(decision.key == key for decision in state.view.decisions.rows):
        return
    code = RejectCode.ATTEMPT_INTERRUPTED
    decision = Decision(key, key.source, code, turn.now)  # a strategy bears the name of its source
    state.view = desk_view.with_decision(state.view, decision)
    denial = entries.RecordDenial(
        key=key, strategy=decision.strategy, session=key.session, verdicts=(), code=code, decided_utc=turn.now
    )
    turn.tell("desk_ledger", denial)


def on_amended(turn: Turn[RiskState], message: entries.EntryAmended) -> None:
    """Take over that an accepted attempt came to nothing: an order that was never sent starts no cooldown."""
    turn.state.view = desk_view.amended(turn.state.view, message.key, message.code)


# -- the steps ----------------------------------------------------------------------------------


def try_candidates(
    rules: DeskRules, turn: Turn[RiskState], attempt: Attempt, why: str, has_asked: bool = False
) -> None:
    """Ask the gates of a contract for one candidate after the other; a stale quote is asked for once before it counts.

    `why` is what is said where none is left; `has_asked`: the first candidate's quote is the answer to such a question.
    """
    view, intent = turn.state.view, attempt.intent
    base = snapshot_of(rules, turn, attempt)
    while attempt.untried:
        contract, quote = attempt.untried[0]
        sizing = size_of(rules, view, contract, quote, intent.confidence, turn.now)
        snapshot = attempts.candidate_snapshot(base, attempt, contract, quote, sizing)
        verdicts = gates.run(gates.in_phase(GatePhase.CANDIDATE), intent, snapshot)
        reject = gates.first_reject(verdicts)
        if reject is None:
            choose(rules, turn, attempt.judged(*verdicts).seeing(snapshot.spot), snapshot, sizing)
            return
        if reject.finding.code is RejectCode.STALE_QUOTE and not has_asked:
            not_older_than = turn.now - rules.limits.quote_age_max_ms * MS
            wait_ms = rules.limits.quote_wait_ms
            ask_quote(turn, attempt, EntryEvent.QUOTE_NEEDED, contract, not_older_than, wait_ms)
            return
        attempt, has_asked = attempt.passing_over(*verdicts), False
        why = f"last: {reject.finding.code}"
    deny(turn, attempt.judged(gates.no_contract(attempt.tried, why)))


def choose(
    rules: DeskRules, turn: Turn[RiskState], attempt: Attempt, snapshot: Snapshot, sizing: Sizing | None
) -> None:
    """Ask the gates of the size, then ask for a fresh quote of the contract that is taken."""
    attempt = attempt.judged(*gates.run(gates.in_phase(GatePhase.SIZE), attempt.intent, snapshot))
    contract, quote = snapshot.contract, snapshot.quote
    if gates.first_reject(attempt.verdicts) is not None or sizing is None or contract is None or quote is None:
        deny(turn, attempt)
        return
    attempt = attempt.having_chosen(Choice(contract, quote, sizing.qty, turn.now))
    wait_ms = rules.limits.fresh_quote_wait_ms
    ask_quote(turn, attempt, EntryEvent.CONTRACT_CHOSEN, contract, turn.now, wait_ms)


def ask_quote(
    turn: Turn[RiskState], attempt: Attempt, event: EntryEvent, contract: Contract, newer_than_utc: Utc, wait_ms: int
) -> None:
    """Ask for a quote of a contract and wait for it."""
    attempt = advance(turn, attempt, event, wait_ms)
    request = market.RequestQuote(
        request_id=attempt.request_id,
        reply_to=turn.name,
        con_id=contract.con_id,
        newer_than_utc=newer_than_utc,
        expires_utc=attempt.wait_until(wait_ms, turn.now),
    )
    turn.tell("quotes", request)


def submit(rules: DeskRules, turn: Turn[RiskState], attempt: Attempt, choice: Choice, quote: Quote) -> None:
    """Ask the gates of the submit on the fresh quote, look at everything once more, then ask for the reservation."""
    view, intent = turn.state.view, attempt.intent
    snapshot = attempts.candidate_snapshot(snapshot_of(rules, turn, attempt), attempt, choice.contract, quote, None)
    snapshot = attempts.submit_snapshot(snapshot, choice)
    attempt = attempt.judged(*gates.run(gates.in_phase(GatePhase.SUBMIT), intent, snapshot))
    if gates.first_reject(attempt.verdicts) is not None:
        deny(turn, attempt)
        return
    attempt = attempt.judged(*gates.run(gates.LAST_LOOK, intent, snapshot, "last look"))
    if gates.first_reject(attempt.verdicts) is not None:
        deny(turn, attempt)
        return
    wait_ms = rules.limits.reservation_wait_ms
    prices = attempts.decision_prices(choice.quote, attempt.spot)
    rule = rule_of(choice.contract.trading_class)
    approval = Approval(
        prices=prices,
        limit_ticks=entry_limit_ticks(attempt.leg.side, quote, prices, rule),
        epochs=Epochs(view.kill_epoch, view.session_epoch),
        deadline_utc=turn.now + (wait_ms + rules.exits.entry_total_ms) * MS,
        twap=plan_of(rules.limits, choice.qty),
    )
    attempt = advance(turn, attempt.approved(approval), EntryEvent.QUOTE_PASSED, wait_ms)
    strategy = rules.strategies[intent.strategy]
    ref = attempts.reference_of(rules.desk, intent, attempt.leg, choice.contract)
    request = entries.ReserveEntry(
        intent=intent,
        session=view.session or session_of(turn.now),
        legs=(attempts.order_leg(ref, choice, approval),),
        verdicts=attempt.verdicts,
        limits=entries.ReservationLimits(
            positions_max=rules.limits.positions_max,
            positions_per_ticker_max=rules.limits.positions_per_ticker_max,
            trades_per_day_max=strategy.trades_per_day_max,
            one_position_only=strategy.one_position_only,
            forbid_reverse_without_flat=strategy.forbid_reverse_without_flat,
        ),
        deadline_utc=approval.deadline_utc,
        decided_utc=turn.now,
        expires_utc=attempt.wait_until(wait_ms, turn.now),
        first_qty=None if approval.twap is None else approval.twap.qty_until(1),
    )
    turn.tell("desk_ledger", request)


def hand_over(rules: DeskRules, turn: Turn[RiskState], attempt: Attempt, choice: Choice, approval: Approval) -> None:
    """Hand the reserved intent to its position; until the position reports, it counts at the most that it can cost."""
    intent, contract = attempt.intent, choice.contract
    ref = attempts.reference_of(rules.desk, intent, attempt.leg, contract)
    leg = attempts.order_leg(ref, choice, approval)
    cost_cents = Cents(choice.qty * approval.prices.ask_ticks * contract.multiplier)
    end(turn, attempt, EntryEvent.RESERVED, None)
    pending = Holding(
        ref=ref, qty=choice.qty, cost_cents=cost_cents, is_pending=True, unrealised_cents=Cents(0), marked_utc=turn.now
    )
    turn.state.view = desk_view.with_holding(turn.state.view, pending)
    opening = entries.OpenPosition(
        ref=ref,
        order_ref=leg.order_ref,
        qty=leg.qty if approval.twap is None else approval.twap.qty_until(1),
        limit_ticks=leg.limit_ticks,
        decision=approval.prices,
        permit=permit_of(rules, approval.epochs, turn.now),
        deadline_utc=approval.deadline_utc,
        twap=approval.twap,
        exits=profiles.names_of(turn.state.view.promoted),
    )
    turn.tell(f"position:{rules.desk}:{contract.con_id}", opening)
    turn.publish(entries.EntryHandedOver(key=intent.key, intent_id=intent.intent_id, leg=leg))


# -- stages and ends ----------------------------------------------------------------------------


def advance(turn: Turn[RiskState], attempt: Attempt, event: EntryEvent, wait_ms: int) -> Attempt:
    """Enter the stage that an event leads to: a new number, a new request id, the old timer off and a new one on."""
    state = turn.state
    disarm_stage(turn, attempt)
    state.stage_n += 1
    request_id = f"{attempt.intent.intent_id}#{state.incarnation}.{state.stage_n}"
    attempt = attempt.waiting(event, state.stage_n, request_id)
    turn.arm(Timer.STAGE, attempt.wait_until(wait_ms, turn.now), str(attempt.stage_n))
    own = attempt.intent.intent_id
    if any(other.intent.intent_id == own for other in state.attempts):
        state.attempts = tuple(attempt if other.intent.intent_id == own else other for other in state.attempts)
    else:
        state.attempts = (*state.attempts, attempt)
    return attempt


def disarm_stage(turn: Turn[RiskState], attempt: Attempt) -> None:
    """Disarm the timer of an attempt's stage; one that was just raised has none."""
    if attempt.stage is not EntryStage.RAISED:
        turn.disarm(Timer.STAGE, str(attempt.stage_n))


def deny(
    turn: Turn[RiskState], attempt: Attempt, event: EntryEvent = EntryEvent.DENIED, is_recorded: bool = False
) -> None:
    """End an attempt with its last verdict, a reject; `is_recorded` where the ledger has written the row itself.

    Raises:
        RuntimeError: the last verdict is no reject.
    """
    reject = reject_of(attempt.intent, attempt.verdicts)
    end(turn, attempt, event, reject.finding.code)
    tell_denial(turn, attempt.intent, attempt.verdicts, is_recorded=is_recorded)


def reject_of(intent: Intent, verdicts: tuple[Verdict, ...]) -> Verdict:
    """Return the reject that an attempt ends with.

    Raises:
        RuntimeError: there is none.
    """
    reject = gates.first_reject(verdicts)
    if reject is None or reject.finding.code is None:
        raise RuntimeError(f"{intent.intent_id} was denied without a reject")
    return reject


def tell_denial(turn: Turn[RiskState], intent: Intent, verdicts: tuple[Verdict, ...], *, is_recorded: bool) -> None:
    """Have a denial recorded, unless the ledger has done so itself, and publish it.

    Raises:
        RuntimeError: the verdicts have no reject.
    """
    reject = reject_of(intent, verdicts)
    code = reject.finding.code
    assert code is not None  # a reject has one
    if not is_recorded:
        denial = entries.RecordDenial(
            key=intent.key,
            strategy=intent.strategy,
            session=turn.state.view.session or session_of(turn.now),
            verdicts=verdicts,
            code=code,
            decided_utc=turn.now,
        )
        turn.tell("desk_ledger", denial)
    turn.publish(entries.EntryDenied(key=intent.key, code=code, verdict=reject))


def end(turn: Turn[RiskState], attempt: Attempt, event: EntryEvent, code: RejectCode | None) -> None:
    """Forget an attempt that reached its last stage, and remember its decision."""
    attempt.moved(event)
    disarm_stage(turn, attempt)
    own = attempt.intent.intent_id
    turn.state.attempts = tuple(other for other in turn.state.attempts if other.intent.intent_id != own)
    decision = Decision(attempt.intent.key, attempt.intent.strategy, code, turn.now)
    turn.state.view = desk_view.with_decision(turn.state.view, decision)


def release(turn: Turn[RiskState], attempt: Attempt, finding: Finding) -> None:
    """Release a reservation, made or not, before anything else is told of the attempt.

    Its request may still be on its way to the ledger: it finds a tombstone there and is refused.
    """
    reason = str(finding.code)
    turn.tell("desk_ledger", entries.ReleaseReservation(intent_id=attempt.intent.intent_id, reason=reason))
