"""The entry pipeline of a structure: all legs quoted, judged and reserved at once, then handed to its own actor.

As for a single leg: decide, ask, decide; an attempt that waits holds up no other. The broker is asked what the short
leg would need before anything is bought. Stages and judgements: `domain/risk/structure_attempt.py`.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from actors.risk.entry import reject_of, tell_denial
from actors.risk.permit import permit_of
from actors.risk.state import RiskState, Timer
from domain.instants import MS, session_of
from domain.instruments import OrderType, Side
from domain.orders.combo import combo_contract
from domain.orders.intent import Intent, OrderLeg
from domain.orders.references import entry_ref, structure_key
from domain.orders.request import OrderRequest
from domain.risk import desk_view
from domain.risk import structure_attempt as attempts
from domain.risk.attempt import ledger_slow, too_late
from domain.risk.desk_view import Decision, Holding, Pending
from domain.risk.entry_stages import EntryStage
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import DeskRules, Epochs, Finding, Gate, GatePhase, Verdict, refused
from domain.risk.reject import RejectCode
from domain.risk.structure_attempt import LegQuote, StructureAttempt, StructureEvent, StructureStage
from domain.units import Cents, Qty, Utc
from messages import entries, market, orders, signals, structures
from messages.structures import ReservedLeg
from supervision.turn import Turn

PAIRED: Final = (2, 4)  # how many legs a structure has


def is_structure(rules: DeskRules, intent: Intent) -> bool:
    """Return whether an intent is for a structure that this desk trades: pairs of legs, each with an underlying."""
    legs = intent.plan.legs
    return rules.spread is not None and len(legs) in PAIRED and all(leg.ticker in rules.tickers for leg in legs)


def on_signal(rules: DeskRules, turn: Turn[RiskState], message: signals.SignalRaised) -> None:
    """Begin an attempt, unless the signal's alert is under way already."""
    state, intent = turn.state, message.intent
    if any(attempt.intent.key == intent.key for attempt in state.structures):
        return
    deadline_utc = turn.now + (rules.limits.intent_deadline_ms + _what_if_ms(rules)) * MS
    attempt = StructureAttempt(
        intent=intent, deadline_utc=deadline_utc, seen=_unseen(intent), is_combo=_is_combo(rules, intent)
    )  # fmt: skip
    attempt = attempt.judged(*_run(rules, turn, attempt, gates.in_phase(GatePhase.STANDING)))
    if gates.first_reject(attempt.verdicts) is None:
        attempt = attempt.judged(*_as_one_or_not(attempt))
    if gates.first_reject(attempt.verdicts) is not None:
        deny(turn, attempt)
        return
    not_older_utc = Utc(turn.now - rules.limits.quote_age_max_ms * MS)
    _ask_quotes(rules, turn, attempt, StructureEvent.ADMITTED, not_older_utc)


def _is_combo(rules: DeskRules, intent: Intent) -> bool:
    """Return whether all legs go out as one order: of one underlying, where the broker takes that."""
    return rules.takes_combos and len({leg.ticker for leg in intent.plan.legs}) == 1


def _as_one_or_not(attempt: StructureAttempt) -> tuple[Verdict, ...]:
    """Return the refusal of more than two legs where they cannot be one order: they are not opened one by one."""
    refusal = None if attempt.is_combo or len(attempt.legs) == 2 else gates.no_combo_orders(attempt.intent.plan)
    return () if refusal is None else (refusal,)


def _unseen(intent: Intent) -> tuple[None, ...]:
    return (None,) * len(intent.plan.legs)


def _what_if_ms(rules: DeskRules) -> int:
    return 0 if rules.spread is None else rules.spread.what_if_wait_ms


def _beside(state: RiskState, attempt: StructureAttempt) -> tuple[Pending, ...]:
    others = (other.pending for other in state.structures if other.intent.intent_id != attempt.intent.intent_id)
    return (*(other.pending for other in state.attempts), *others)


def _run(
    rules: DeskRules, turn: Turn[RiskState], attempt: StructureAttempt, asked: tuple[Gate, ...], note: str = ""
) -> tuple[Verdict, ...]:
    return attempts.run(asked, rules, turn.state.view, attempt, turn.now, _beside(turn.state, attempt), note)


# -- replies ----------------------------------------------------------------------------------------


def _awaiting(state: RiskState, request_id: str, *stages: StructureStage) -> StructureAttempt | None:
    return next((a for a in state.structures if a.request_id == request_id and a.stage in stages), None)


def on_quote(rules: DeskRules, turn: Turn[RiskState], message: market.QuoteRead) -> None:
    """Take the quote of a leg; with all of them, look."""
    request_id, _, n = message.request_id.rpartition("/")
    attempt = _awaiting(turn.state, request_id, *attempts.QUOTING)
    if attempt is None or not n.isdecimal():
        return
    attempt = attempt.quoted(int(n), LegQuote(message.contract, message.quote, message.spot))
    _keep(turn, attempt)
    if attempt.looked:
        _look(rules, turn, attempt)


def on_quote_unavailable(rules: DeskRules, turn: Turn[RiskState], message: market.QuoteUnavailable) -> None:
    """Deny: a structure has no other contracts to try."""
    attempt = _awaiting(turn.state, message.request_id.rpartition("/")[0], *attempts.QUOTING)
    if attempt is not None:
        gate, code = attempts.SILENCE[attempt.stage]
        deny(turn, attempt.judged(Verdict(gate, refused(code, looked_at=message.why))))


def on_margin(rules: DeskRules, turn: Turn[RiskState], message: orders.WhatIfRead) -> None:
    """Take what the broker says the short leg needs; ask for fresh quotes where the account carries it."""
    attempt = _awaiting(turn.state, message.request_id, StructureStage.AWAITS_WHAT_IF)
    if attempt is None:
        return
    if message.init_margin_change_cents is None:
        no_answer = refused(RejectCode.MISSING_INPUT, looked_at=f"margin of the short leg: {message.why}")
        deny(turn, attempt.judged(Verdict(attempts.TERMS, no_answer)))
        return
    attempt = replace(attempt, margin_cents=message.init_margin_change_cents)
    attempt = attempt.judged(attempts.money(rules, turn.state.view, attempt, _beside(turn.state, attempt)))
    if gates.first_reject(attempt.verdicts) is not None:
        deny(turn, attempt)
        return
    attempt = replace(attempt, decided=attempt.looked, seen=_unseen(attempt.intent), fresh_from_utc=turn.now)
    _ask_quotes(rules, turn, attempt, StructureEvent.MARGIN_PASSED, turn.now)


def on_reserved(rules: DeskRules, turn: Turn[RiskState], intent_id: str) -> None:
    """Hand the reserved legs on, unless what stood at the last look no longer stands."""
    attempt = _awaiting_reservation(turn.state, intent_id)
    if attempt is None:
        return
    view = turn.state.view
    verdicts = _run(rules, turn, attempt, gates.HAND_OVER, "hand-over")
    if gates.first_reject(verdicts) is None and Epochs(view.kill_epoch, view.session_epoch) != attempt.epochs:
        changed = refused(RejectCode.PERMIT_KILLED, looked_at="an epoch changed since the last look")
        verdicts = (Verdict(gates.RESERVATION, changed),)
    reject = gates.first_reject(verdicts)
    if reject is None:
        _hand_over(rules, turn, attempt)
        return
    _release(turn, attempt, reject.finding)
    deny(turn, attempt.judged(reject), is_recorded=True)


def on_refused(turn: Turn[RiskState], message: entries.EntryRefused) -> None:
    """End the attempt with the ledger's answer (its gate row is written there)."""
    attempt = _awaiting_reservation(turn.state, message.intent_id)
    if attempt is not None:
        deny(turn, attempt.judged(Verdict(gates.RESERVATION, message.finding)), is_recorded=True)


def _awaiting_reservation(state: RiskState, intent_id: str) -> StructureAttempt | None:
    stage = StructureStage.AWAITS_RESERVATION
    return next((a for a in state.structures if a.intent.intent_id == intent_id and a.stage is stage), None)


def on_silence(rules: DeskRules, turn: Turn[RiskState], stage_n: str) -> None:
    """Deny because a reply did not come; a reservation of unknown outcome is given up with a tombstone."""
    attempt = next((waiting for waiting in turn.state.structures if str(waiting.stage_n) == stage_n), None)
    if attempt is None:
        return
    gate, code = attempts.SILENCE[attempt.stage]
    finding = refused(code, looked_at=f"no reply in {attempt.stage.value}")
    if attempt.stage is StructureStage.AWAITS_RESERVATION:
        finding = ledger_slow(rules.limits, code)
    if turn.now >= attempt.deadline_utc:
        finding = too_late(rules.limits, attempt.deadline_utc, turn.now, EntryStage.AWAITS_QUOTE)
    if attempt.stage is StructureStage.AWAITS_RESERVATION:
        _release(turn, attempt, finding)
    deny(turn, attempt.judged(Verdict(gate, finding)))


# -- the steps --------------------------------------------------------------------------------------


def _ask_quotes(
    rules: DeskRules, turn: Turn[RiskState], attempt: StructureAttempt, event: StructureEvent, newer_than_utc: Utc
) -> None:
    """Ask for a quote of each leg's strike."""
    wait_ms = rules.limits.fresh_quote_wait_ms
    attempt = _advance(turn, attempt, event, wait_ms)
    for n, leg in enumerate(attempt.legs):
        assert leg.ticker is not None
        assert leg.strike_ticks is not None
        request = market.RequestStrike(
            request_id=f"{attempt.request_id}/{n}",
            reply_to=turn.name,
            ticker=leg.ticker,
            right=leg.right,
            strike_ticks=leg.strike_ticks,
            newer_than_utc=newer_than_utc,
            expires_utc=attempt.wait_until(wait_ms, turn.now),
        )
        turn.tell("quotes", request)


def _look(rules: DeskRules, turn: Turn[RiskState], attempt: StructureAttempt) -> None:
    """Judge the quotes and the terms that they make."""
    state, is_last = turn.state, attempt.stage is StructureStage.AWAITS_FRESH_QUOTES
    assert rules.spread is not None  # only then an attempt begins
    asked = gates.in_phase(GatePhase.SUBMIT if is_last else GatePhase.CANDIDATE)
    beside = _beside(state, attempt)
    for n in range(len(attempt.legs)):
        attempt = attempt.judged(*attempts.run_leg(asked, rules, state.view, attempt, n, turn.now, beside))
        if gates.first_reject(attempt.verdicts) is not None:
            deny(turn, attempt)
            return
    attempt = replace(attempt, terms=attempts.terms_of_look(state.view, attempt, rules.spread))
    note = "last look" if is_last else ""
    attempt = attempt.judged(attempts.conditions(rules, state.view, attempt, turn.now, note))
    if gates.first_reject(attempt.verdicts) is not None:
        deny(turn, attempt)
    elif is_last:
        _reserve(rules, turn, attempt)
    else:
        _ask_margin(rules, turn, attempt)


def _ask_margin(rules: DeskRules, turn: Turn[RiskState], attempt: StructureAttempt) -> None:
    """Ask the broker what the short leg would need, before anything is bought; or all, where they are one order."""
    wait_ms = _what_if_ms(rules)
    attempt = _advance(turn, attempt, StructureEvent.TERMS_PASSED, wait_ms)
    if attempt.is_combo:
        _ask_margin_of_all(rules, turn, attempt)
        return
    _, leg = attempt.legs
    _, seen = attempt.looked
    ref = attempts.reference_of(rules.desk, attempt.intent, 1, seen.contract)
    asked = OrderRequest(
        order_ref=entry_ref(ref.position_id), contract=seen.contract, side=leg.side, qty=Qty(leg.ratio),
        order_type=OrderType.LIMIT, limit_ticks=attempts.limit_of(leg, seen.quote), is_exit=False,
        deadline_utc=attempt.deadline_utc,
    )  # fmt: skip
    turn.tell("ibkr", orders.RequestWhatIf(request_id=attempt.request_id, reply_to=turn.name, order=asked))


def _ask_margin_of_all(rules: DeskRules, turn: Turn[RiskState], attempt: StructureAttempt) -> None:
    legs, limit_ticks = attempts.combo_of(attempt), attempts.combo_limit(attempt)
    cover = attempts.reference_of(rules.desk, attempt.intent, 0, attempt.looked[0].contract)
    asked = OrderRequest(
        order_ref=entry_ref(cover.position_id), contract=combo_contract(legs), side=Side.BUY,
        qty=Qty(attempt.legs[0].ratio // legs[0].ratio), order_type=OrderType.LIMIT, limit_ticks=limit_ticks,
        is_exit=False, deadline_utc=attempt.deadline_utc,
    )  # fmt: skip
    request = orders.RequestWhatIf(request_id=attempt.request_id, reply_to=turn.name, order=asked, legs=legs)
    turn.tell("ibkr", request)


def _reserve(rules: DeskRules, turn: Turn[RiskState], attempt: StructureAttempt) -> None:
    """Look at the desk once more, then ask for all reservations in one transaction."""
    attempt = attempt.judged(*_run(rules, turn, attempt, gates.LAST_LOOK, "last look"))
    if gates.first_reject(attempt.verdicts) is not None:
        deny(turn, attempt)
        return
    view, wait_ms = turn.state.view, rules.limits.reservation_wait_ms
    attempt = replace(attempt, epochs=Epochs(view.kill_epoch, view.session_epoch))
    attempt = _advance(turn, attempt, StructureEvent.LAST_LOOK_PASSED, wait_ms)
    strategy = rules.strategies[attempt.intent.strategy]
    request = entries.ReserveEntry(
        intent=attempt.intent,
        session=view.session or session_of(turn.now),
        legs=tuple(leg.order for leg in _reserved_legs(rules, attempt)),
        verdicts=attempt.verdicts,
        limits=entries.ReservationLimits(
            positions_max=rules.limits.positions_max,
            positions_per_ticker_max=rules.limits.positions_per_ticker_max,
            trades_per_day_max=strategy.trades_per_day_max,
            one_position_only=strategy.one_position_only,
            forbid_reverse_without_flat=strategy.forbid_reverse_without_flat,
        ),
        deadline_utc=_entry_deadline_utc(rules, attempt),
        decided_utc=turn.now,
        expires_utc=attempt.wait_until(wait_ms, turn.now),
        terms=attempt.terms,
        is_combo=attempt.is_combo,
    )
    turn.tell("desk_ledger", request)


def _entry_deadline_utc(rules: DeskRules, attempt: StructureAttempt) -> Utc:
    assert rules.spread is not None
    return Utc(attempt.deadline_utc + rules.spread.leg_timeout_ms * MS)


def _reserved_legs(rules: DeskRules, attempt: StructureAttempt) -> tuple[ReservedLeg, ...]:
    return tuple(_reserved(rules, attempt, n, seen) for n, seen in enumerate(attempt.looked))


def _reserved(rules: DeskRules, attempt: StructureAttempt, n: int, seen: LegQuote) -> ReservedLeg:
    leg, ref = attempt.legs[n], attempts.reference_of(rules.desk, attempt.intent, n, seen.contract)
    order = OrderLeg(
        contract=seen.contract, side=leg.side, qty=Qty(leg.ratio), limit_ticks=attempts.limit_of(leg, seen.quote),
        order_ref=entry_ref(ref.position_id), decision=attempts.prices_of(seen),
    )  # fmt: skip
    return ReservedLeg(ref, order)


def _hand_over(rules: DeskRules, turn: Turn[RiskState], attempt: StructureAttempt) -> None:
    """Hand all legs to the structure's actor; until their positions report, they count as pending."""
    intent, terms = attempt.intent, attempt.terms
    assert terms is not None  # the conditions passed on them
    legs = _reserved_legs(rules, attempt)
    _end(turn, attempt, StructureEvent.RESERVED, None)
    for leg in legs:
        cost = leg.order.qty * leg.order.limit_ticks * leg.order.contract.multiplier
        pending = Holding(
            ref=leg.ref, qty=leg.order.qty, cost_cents=Cents(cost), is_pending=True, unrealised_cents=Cents(0),
            marked_utc=turn.now,
        )  # fmt: skip
        turn.state.view = desk_view.with_holding(turn.state.view, pending)
    cover, short, *further = legs
    opening = structures.OpenStructure(
        structure_id=intent.intent_id,
        cover=cover,
        short=short,
        ratio=intent.plan.cover_ratio,
        terms=terms,
        permit=permit_of(rules, attempt.epochs, turn.now),
        deadline_utc=_entry_deadline_utc(rules, attempt),
        is_combo=attempt.is_combo,
        further=tuple(further),
    )
    turn.tell(f"structure:{rules.desk}:{structure_key(cover.order.order_ref)}", opening)
    for leg in legs:
        turn.publish(entries.EntryHandedOver(key=intent.key, intent_id=intent.intent_id, leg=leg.order))


# -- stages and ends ----------------------------------------------------------------------------------


def _advance(turn: Turn[RiskState], attempt: StructureAttempt, event: StructureEvent, wait_ms: int) -> StructureAttempt:
    """Enter the stage that an event leads to: a new number, a new request id, the old timer off and a new one on."""
    state = turn.state
    _disarm(turn, attempt)
    state.stage_n += 1
    request_id = f"{attempt.intent.intent_id}#{state.incarnation}.{state.stage_n}"
    attempt = replace(attempt.moved(event), stage_n=state.stage_n, request_id=request_id)
    turn.arm(Timer.STAGE, attempt.wait_until(wait_ms, turn.now), str(attempt.stage_n))
    _keep(turn, attempt)
    return attempt


def _keep(turn: Turn[RiskState], attempt: StructureAttempt) -> None:
    others = (other for other in turn.state.structures if other.intent.intent_id != attempt.intent.intent_id)
    turn.state.structures = (*others, attempt)


def _disarm(turn: Turn[RiskState], attempt: StructureAttempt) -> None:
    if attempt.stage is not StructureStage.RAISED:
        turn.disarm(Timer.STAGE, str(attempt.stage_n))


def deny(turn: Turn[RiskState], attempt: StructureAttempt, is_recorded: bool = False) -> None:
    """End an attempt with its last verdict, a reject; `is_recorded` where the ledger has written the row itself.

    Raises:
        RuntimeError: the last verdict is no reject.
    """
    reject = reject_of(attempt.intent, attempt.verdicts)
    _end(turn, attempt, StructureEvent.DENIED, reject.finding.code)
    tell_denial(turn, attempt.intent, attempt.verdicts, is_recorded=is_recorded)


def _end(turn: Turn[RiskState], attempt: StructureAttempt, event: StructureEvent, code: RejectCode | None) -> None:
    attempt.moved(event)
    _disarm(turn, attempt)
    own = attempt.intent.intent_id
    turn.state.structures = tuple(other for other in turn.state.structures if other.intent.intent_id != own)
    decision = Decision(attempt.intent.key, attempt.intent.strategy, code, turn.now)
    turn.state.view = desk_view.with_decision(turn.state.view, decision)


def _release(turn: Turn[RiskState], attempt: StructureAttempt, finding: Finding) -> None:
    release = entries.ReleaseReservation(intent_id=attempt.intent.intent_id, reason=str(finding.code))
    turn.tell("desk_ledger", release)
