"""The gates of an entry's further slices: those of the desk, then the quote, size and money, and the desk once more.

A check begins with the position's question, asks for a fresh quote, and ends with the answer. One that gets no answer
is forgotten with the position's next question: the position waits for no more than a moment. What a slice costs is
judged beside what is held and pending, and counts with its position from then on until it has filled, the next one is
asked for, or its order cannot live any more; the rest of the entry is nobody's until it is asked for.
"""

from __future__ import annotations

from msgspec.structs import replace

from actors.risk.permit import permit_of
from actors.risk.state import RiskState, SliceCheck
from domain.instants import MS
from domain.instruments import Quote, Spot
from domain.options.fees import round_trip_cents
from domain.options.tick_rules import rule_of
from domain.orders.intent import DecisionPrices, Intent
from domain.risk import attempt as attempts
from domain.risk import desk_view
from domain.risk.desk_view import Ordered, holding_of
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import DeskRules, Epochs, GatePhase, Snapshot, Verdict, missing, refused
from domain.risk.reject import RejectCode
from domain.risk.sizing import entry_limit_ticks, size_of
from domain.units import Cents, Qty, Utc
from messages import entries, market
from supervision.turn import Turn


def on_slice_requested(rules: DeskRules, turn: Turn[RiskState], message: entries.RequestSlice) -> None:
    """Ask the gates of the desk, then ask for a fresh quote; refuse what the desk does not hold."""
    state, ref = turn.state, message.ref
    state.view = desk_view.with_ordered(state.view, ref.position_id, None)  # asked for once the one before is over
    holding = holding_of(state.view, ref.position_id)
    if holding is None or holding.is_pending or holding.ref.is_leg:
        _refuse(turn, message, Verdict("kill_level", missing("no such position is held")))
        return
    if (reject := _desk_reject(rules, turn, message)) is not None:
        _refuse(turn, message, reject)
        return
    state.stage_n += 1
    request_id = f"{message.order_ref}#{state.incarnation}.{state.stage_n}"
    others = tuple(check for check in state.slices if check.question.ref.position_id != ref.position_id)
    state.slices = (*others, SliceCheck(message, request_id, turn.now))
    request = market.RequestQuote(
        request_id=request_id, reply_to=turn.name, con_id=ref.contract.con_id, newer_than_utc=turn.now,
        expires_utc=turn.now + rules.limits.fresh_quote_wait_ms * MS,
    )  # fmt: skip
    turn.tell("quotes", request)


def on_quote(rules: DeskRules, turn: Turn[RiskState], message: market.QuoteRead) -> None:
    """Judge the slice on its fresh quote and look at the desk once more."""
    check = _taken(turn, message.request_id)
    if check is None:
        return
    question = check.question
    reject = _quote_reject(rules, turn, check, message.quote, message.spot) or _desk_reject(rules, turn, question)
    if reject is not None:
        _refuse(turn, question, reject)
        return
    ref, view = question.ref, turn.state.view
    limit = entry_limit_ticks(ref.side, message.quote, question.decision, rule_of(ref.contract.trading_class))
    permit = permit_of(rules, Epochs(view.kill_epoch, view.session_epoch), turn.now)
    answer = entries.SliceAllowed(order_ref=question.order_ref, limit_ticks=limit, permit=permit)
    turn.report(question.reply_to, answer)
    until_utc = Utc(turn.now + 2 * rules.exits.entry_total_ms * MS)  # its life, and as long for its way there and back
    ordered = Ordered(question.qty, Cents(limit * ref.contract.multiplier), until_utc)
    turn.state.view = desk_view.with_ordered(view, ref.position_id, ordered)


def on_quote_unavailable(turn: Turn[RiskState], message: market.QuoteUnavailable) -> None:
    """Refuse the slice: nobody quotes it now."""
    check = _taken(turn, message.request_id)
    if check is not None:
        stale = refused(RejectCode.STALE_QUOTE, looked_at=message.why)
        _refuse(turn, check.question, Verdict(gates.FRESH_QUOTE, stale))


def _taken(turn: Turn[RiskState], request_id: str) -> SliceCheck | None:
    """Return the check that waits for this reply and forget it; `None` where the reply is late."""
    state = turn.state
    found = next((check for check in state.slices if check.request_id == request_id), None)
    if found is not None:
        state.slices = tuple(check for check in state.slices if check is not found)
    return found


def _desk_reject(rules: DeskRules, turn: Turn[RiskState], question: entries.RequestSlice) -> Verdict | None:
    intent = attempts.intent_behind(question.ref, turn.now)
    return gates.first_reject(gates.run(gates.SLICE, intent, _snapshot(rules, turn, intent), "slice"))


def _quote_reject(
    rules: DeskRules, turn: Turn[RiskState], check: SliceCheck, quote: Quote, spot: Spot | None
) -> Verdict | None:
    question, view = check.question, turn.state.view
    contract = question.ref.contract
    intent = attempts.intent_behind(question.ref, turn.now)
    base = _snapshot(rules, turn, intent)
    fees = Cents(0)
    if view.session is not None and quote.ask_ticks is not None:
        fees = round_trip_cents(view.session, contract.trading_class, question.qty, quote.ask_ticks)
    snapshot = replace(
        base, leg=intent.plan.legs[0], contract=contract, quote=quote, spot=spot or base.spot, qty=question.qty,
        fees_cents=fees, decision=_decided(question.decision, quote), fresh_from_utc=check.asked_utc,
        sizing=size_of(rules, view, contract, quote, intent.confidence, turn.now),
    )  # fmt: skip
    asked = (*gates.in_phase(GatePhase.CANDIDATE)[1:], *gates.in_phase(GatePhase.SIZE))
    verdicts = gates.run((*asked, *gates.in_phase(GatePhase.SUBMIT)), intent, snapshot, "slice")
    return gates.first_reject(verdicts)


def _decided(prices: DecisionPrices, quote: Quote) -> Quote:
    """Return the quote on which the entry was decided, as far as it was kept."""
    return Quote(quote.con_id, prices.bid_ticks, prices.ask_ticks, Qty(0), Qty(0), quote.at_utc)


def _snapshot(rules: DeskRules, turn: Turn[RiskState], intent: Intent) -> Snapshot:
    state = turn.state
    beside = (*(attempt.pending for attempt in state.attempts), *(attempt.pending for attempt in state.structures))
    return attempts.snapshot_of(rules, state.view, intent, turn.now, beside)


def _refuse(turn: Turn[RiskState], question: entries.RequestSlice, verdict: Verdict) -> None:
    """Answer with the verdict; only what its quote was refused for may be otherwise at the next slice."""
    is_final = verdict.gate not in gates.SLICE_QUOTE
    turn.report(
        question.reply_to, entries.SliceRefused(order_ref=question.order_ref, verdict=verdict, is_final=is_final)
    )
