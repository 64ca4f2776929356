"""One attempt at opening a structure, as a value, and how the gates look at it.

Gates of the desk are asked once, those of an underlying once a leg; the first refusal decides, as for a single leg.
`actors/risk/structure_entry.py` moves it. Its sizes are fixed: what would cut a single leg's size refuses it.
"""

from __future__ import annotations

from enum import StrEnum
from math import gcd
from typing import Final

import msgspec
from msgspec.structs import replace

from domain.fsm import Machine
from domain.instants import MS
from domain.instruments import Contract, Quote, Side, Spot
from domain.orders.combo import ComboLeg
from domain.orders.intent import DecisionPrices, EntryPlan, Intent, PlannedLeg, PositionRef, leg_direction
from domain.orders.references import intent_id, position_id
from domain.risk import attempt as attempts
from domain.risk.desk_view import DeskView, Pending, broken_now, spot_of, unspent_cents
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import DeskRules, Epochs, Finding, Gate, Snapshot, Verdict, missing, passed, refused
from domain.risk.kill import VIX
from domain.risk.overlay import Minutes, overlay_of
from domain.risk.reject import RejectCode
from domain.risk.sizing import cuts_of
from domain.structure.credit import Terms, Unmet, ratio_of, terms_of, unmet_before_quotes, unmet_on_quotes
from domain.structure.rules import SpreadRules
from domain.units import Cents, Qty, Ticks, Utc

# These look at one underlying: they are asked for each leg.
PER_LEG: Final = frozenset({"session", "no_adding_to_a_loser", "no_reverse", "positions_of_ticker", gates.CONTRACT})
TERMS: Final = "size_and_money"  # the gate under whose name the structure's own conditions stand


class StructureStage(StrEnum):
    """Where an attempt at a structure stands; all but the first and the last two wait for replies."""

    RAISED = "RAISED"
    AWAITS_QUOTES = "AWAITS_QUOTES"
    AWAITS_WHAT_IF = "AWAITS_WHAT_IF"
    AWAITS_FRESH_QUOTES = "AWAITS_FRESH_QUOTES"
    AWAITS_RESERVATION = "AWAITS_RESERVATION"
    HANDED_OVER = "HANDED_OVER"
    DENIED = "DENIED"


class StructureEvent(StrEnum):
    """What moves it."""

    ADMITTED = "admitted"
    TERMS_PASSED = "terms_passed"
    MARGIN_PASSED = "margin_passed"
    LAST_LOOK_PASSED = "last_look_passed"
    RESERVED = "reserved"
    DENIED = "denied"


_S, _E = StructureStage, StructureEvent
_TRANSITIONS: dict[tuple[StructureStage, StructureEvent], StructureStage] = {
    (_S.RAISED, _E.ADMITTED): _S.AWAITS_QUOTES,
    (_S.AWAITS_QUOTES, _E.TERMS_PASSED): _S.AWAITS_WHAT_IF,
    (_S.AWAITS_WHAT_IF, _E.MARGIN_PASSED): _S.AWAITS_FRESH_QUOTES,
    (_S.AWAITS_FRESH_QUOTES, _E.LAST_LOOK_PASSED): _S.AWAITS_RESERVATION,
    (_S.AWAITS_RESERVATION, _E.RESERVED): _S.HANDED_OVER,
    **{(stage, _E.DENIED): _S.DENIED for stage in _S if stage not in (_S.HANDED_OVER, _S.DENIED)},
}
STAGES: Final = Machine("structure attempt", _TRANSITIONS, {})
QUOTING: Final = (StructureStage.AWAITS_QUOTES, StructureStage.AWAITS_FRESH_QUOTES)
# What the silence of each stage means: the gate it stands under, and the code.
SILENCE: Final = {
    StructureStage.AWAITS_QUOTES: (gates.QUOTE_FRESH, RejectCode.MISSING_INPUT),
    StructureStage.AWAITS_WHAT_IF: (TERMS, RejectCode.MISSING_INPUT),
    StructureStage.AWAITS_FRESH_QUOTES: (gates.FRESH_QUOTE, RejectCode.STALE_QUOTE),
    StructureStage.AWAITS_RESERVATION: (gates.RESERVATION, RejectCode.MISSING_INPUT),
}


class LegQuote(msgspec.Struct, frozen=True):
    """The contract of a leg with its quote and the price of its underlying."""

    contract: Contract
    quote: Quote
    spot: Spot | None


class StructureAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt; `seen` are the quotes of this look by leg, `decided` those of the first one.

    `margin_cents` is what the broker says the short leg needs more, `terms` are those of the newest look. `is_combo`:
    all legs go out as one order, which the broker is asked about.
    """

    intent: Intent
    deadline_utc: Utc
    stage: StructureStage = StructureStage.RAISED
    stage_n: int = 0
    request_id: str = ""
    verdicts: tuple[Verdict, ...] = ()
    seen: tuple[LegQuote | None, ...]
    decided: tuple[LegQuote, ...] = ()
    fresh_from_utc: Utc = Utc(0)
    terms: Terms | None = None
    margin_cents: Cents | None = None
    is_combo: bool = False
    epochs: Epochs = Epochs(0, 0)

    @property
    def legs(self) -> tuple[PlannedLeg, ...]:
        """The legs, each cover before its short."""
        return self.intent.plan.legs

    @property
    def looked(self) -> tuple[LegQuote, ...]:
        """The quotes of this look, once all are there; nothing before."""
        return tuple(leg for leg in self.seen if leg is not None) if None not in self.seen else ()

    @property
    def pending(self) -> Pending:
        """The attempt as the others count it; it costs its covers at the ask."""
        terms, intent = self.terms, self.intent
        cost = 0 if terms is None else self.legs[0].ratio * terms.covers_ask_ticks * 100
        is_sending = self.stage is StructureStage.AWAITS_RESERVATION
        return Pending(intent.source, intent.ticker, intent.strategy, intent.direction, Cents(cost), is_sending)

    def moved(self, event: StructureEvent) -> StructureAttempt:
        """Return the attempt in the stage that an event leads to."""
        return replace(self, stage=STAGES.next(self.stage, event))

    def judged(self, *verdicts: Verdict) -> StructureAttempt:
        """Return the attempt with further verdicts."""
        return replace(self, verdicts=(*self.verdicts, *verdicts))

    def quoted(self, n: int, leg: LegQuote) -> StructureAttempt:
        """Return the attempt with the quote of a leg."""
        return replace(self, seen=tuple(leg if at == n else old for at, old in enumerate(self.seen)))

    def wait_until(self, wait_ms: int, now: Utc) -> Utc:
        """Return until when a reply is waited for, never past the attempt's deadline."""
        return min(now + wait_ms * MS, self.deadline_utc)


# -- legs -------------------------------------------------------------------------------------------


def leg_intent(intent: Intent, leg: PlannedLeg) -> Intent:
    """Return the intent as the gates of a leg's underlying see it: its ticker, its direction, this leg alone."""
    assert leg.ticker is not None  # the legs of a structure are named
    direction = leg_direction(intent.direction, leg.side, leg.right)
    return replace(intent, key=replace(intent.key, ticker=leg.ticker), direction=direction, plan=EntryPlan((leg,)))


def reference_of(desk: str, intent: Intent, n: int, contract: Contract) -> PositionRef:
    """Return the name of the position that a leg opens: a stem of its own, under the structure's intent."""
    leg = intent.plan.legs[n]
    return PositionRef(
        position_id=position_id(desk, intent_id(intent.alert_id, intent.strategy, n)),
        intent_id=intent.intent_id,
        key=intent.key,
        strategy=intent.strategy,
        direction=leg_intent(intent, leg).direction,
        contract=contract,
        side=leg.side,
        structure_id=intent.intent_id,
    )


def prices_of(leg: LegQuote) -> DecisionPrices:
    """Return what a leg was decided on."""
    return attempts.decision_prices(leg.quote, leg.spot)


def combo_of(attempt: StructureAttempt) -> tuple[ComboLeg, ...]:
    """Return the legs of this look as one order has them, for each combination that is bought."""
    unit = gcd(*(leg.ratio for leg in attempt.legs))
    return tuple(
        ComboLeg(seen.contract, leg.side, leg.ratio // unit)
        for leg, seen in zip(attempt.legs, attempt.looked, strict=True)
    )  # fmt: skip


def combo_limit(attempt: StructureAttempt) -> Ticks:
    """Return the net price at which one combination is bought, by its legs' own limits; below zero where that pays."""
    priced = zip(attempt.legs, combo_of(attempt), attempt.looked, strict=True)
    return Ticks(sum(part.side.sign * part.ratio * limit_of(leg, seen.quote) for leg, part, seen in priced))


def limit_of(leg: PlannedLeg, quote: Quote) -> Ticks:
    """Return the limit of a leg's entry: the touch that fills at once, the ask of a purchase, the bid of a sale."""
    touch = quote.ask_ticks if leg.side is Side.BUY else quote.bid_ticks
    return touch or Ticks(0)


# -- gates ------------------------------------------------------------------------------------------


def run(
    asked: tuple[Gate, ...], rules: DeskRules, view: DeskView, attempt: StructureAttempt, now: Utc,
    beside: tuple[Pending, ...], note: str = "",
) -> tuple[Verdict, ...]:  # fmt: skip
    """Return the verdicts up to and including the first reject: gates of an underlying once a leg, the others once."""
    intent, found = attempt.intent, list[Verdict]()
    for gate in asked:
        for leg_n in range(len(attempt.legs)) if gate.name in PER_LEG else (None,):
            of_leg = attempt.legs[leg_n or 0]
            snapshot = snapshot_of(rules, view, attempt, leg_n or 0, now, beside)
            said = gate.check(leg_intent(intent, of_leg) if leg_n is not None else intent, snapshot)
            label = " ".join(word for word in (note, of_leg.ticker if leg_n is not None else None) if word)
            if said.code is not None and label:
                said = replace(said, looked_at=f"{label}: {said.looked_at}")
            found.append(Verdict(gate.name, said, label))
            if said.code is not None:
                return tuple(found)
    return tuple(found)


def run_leg(
    asked: tuple[Gate, ...], rules: DeskRules, view: DeskView, attempt: StructureAttempt, n: int, now: Utc,
    beside: tuple[Pending, ...],
) -> tuple[Verdict, ...]:  # fmt: skip
    """Return the verdicts of a contract's gates on one leg."""
    leg = attempt.legs[n]
    snapshot = snapshot_of(rules, view, attempt, n, now, beside)
    return gates.run(asked, leg_intent(attempt.intent, leg), snapshot, leg.ticker or "")


def snapshot_of(
    rules: DeskRules, view: DeskView, attempt: StructureAttempt, n: int, now: Utc, beside: tuple[Pending, ...]
) -> Snapshot:
    """Return what the gates look at for a leg; the price of its underlying is the newer of the desk's and its quote's.

    Until the quotes of a look are there its contract and quote are not known.
    """
    leg = attempt.legs[n]
    base = attempts.snapshot_of(rules, view, leg_intent(attempt.intent, leg), now, beside)
    base = replace(base, leg=leg, qty=Qty(leg.ratio))
    if not attempt.looked:
        return base
    seen = attempt.looked[n]
    spots = [spot for spot in (seen.spot, base.spot) if spot is not None]
    spot = max(spots, key=lambda one: one.at_utc, default=None)
    decided = attempt.decided[n].quote if attempt.decided else None
    return replace(
        base, contract=seen.contract, quote=seen.quote, spot=spot, decision=decided,
        fresh_from_utc=attempt.fresh_from_utc or None,
    )  # fmt: skip


# -- the structure's own conditions -------------------------------------------------------------------


def terms_of_look(view: DeskView, attempt: StructureAttempt, rules: SpreadRules) -> Terms | None:
    """Return the terms of this look's quotes; `None` where one cannot be told."""
    if not attempt.looked or view.session is None:
        return None
    ratio = _ratio(view, attempt)
    if ratio is None:
        return None
    cover, short, *further = ((leg.contract.strike_ticks, leg.quote) for leg in attempt.looked)
    return terms_of(view.session, ratio, cover, short, rules, *further)


def _ratio(view: DeskView, attempt: StructureAttempt) -> float | None:
    """Return the ratio of both underlyings; 1 where all legs have the same, `None` without a price of each."""
    spots = [spot_of(view, leg.ticker or "") for leg in attempt.legs]
    if attempt.looked:
        spots = [leg.spot or spot for leg, spot in zip(attempt.looked, spots, strict=True)]
    cover, short = spots[:2]
    if cover is not None and len({leg.ticker for leg in attempt.legs}) == 1:
        return 1.0
    return None if cover is None or short is None else ratio_of(cover.price_ticks, short.price_ticks)


def conditions(rules: DeskRules, view: DeskView, attempt: StructureAttempt, now: Utc, note: str = "") -> Verdict:
    """Return the verdict on window, dividend, ratio, credit, worst case, the strategy's day, and cuts of the size."""
    return Verdict(TERMS, _judge(rules, view, attempt, now), note)


def _judge(rules: DeskRules, view: DeskView, attempt: StructureAttempt, now: Utc) -> Finding:
    spread = rules.spread
    if spread is None or view.session is None:
        return missing("rules of the spread" if spread is None else "session")
    terms = attempt.terms
    unmet = unmet_before_quotes(view.session, view.open_utc, now, _ratio(view, attempt), spread, view.close_utc)
    unmet = unmet or unmet_on_quotes(terms, spread)
    if unmet is not None or terms is None:
        return _unmet(unmet)
    lost = sum(c.realised_cents for c in view.closed if c.strategy == attempt.intent.strategy)
    if lost <= -spread.max_daily_loss_cents:
        return refused(RejectCode.DAILY_LOSS, lost, -spread.max_daily_loss_cents, "cents", "closed spreads of today")
    cuts = cuts_of(view.stops.is_soft, view.closed.streak, rules.limits.losses_cut)
    if cuts < 1:
        return refused(RejectCode.BAD_SIZE, cuts, 1, "factor", "a cut refuses a structure, whose sizes are fixed")
    cover = attempt.legs[0].ticker or ""
    overlay = overlay_of(
        rules.limits.overlay, spot_of(view, VIX), view.minutes.get(cover, Minutes()), attempt.intent.confidence, now,
        broken_now(view, now),
    )  # fmt: skip
    if overlay.factor < 1:
        return refused(RejectCode.RISK_OVERLAY, overlay.factor, 1, "factor", overlay.why)
    credit, edge, gap = terms.credit_cents / 100, terms.edge_cents / 100, terms.gap_cents / 100
    return passed(
        terms.credit_cents, spread.min_entry_credit_cents, "cents", f"credit {credit:g}, edge {edge:g}, gap {gap:g} USD"
    )


def _unmet(unmet: Unmet | None) -> Finding:
    if unmet is None:
        return missing("terms of the spread")
    looked_at = f"{unmet.condition.value}: {unmet.looked_at}"
    return refused(RejectCode.STRUCTURE_TERMS, unmet.measured, unmet.limit, unmet.unit, looked_at)


def money(rules: DeskRules, view: DeskView, attempt: StructureAttempt, beside: tuple[Pending, ...]) -> Verdict:
    """Return the verdict on buying power: the margin of the short leg, the cover's cost and the fees together.

    Where all legs are one order, the broker's figure is that of all; at least what they can lose is set aside. What it
    says would become free pays for nothing.
    """
    funds, terms, margin = view.funds, attempt.terms, attempt.margin_cents
    if funds is None or terms is None or margin is None:
        return Verdict(TERMS, missing("margin of the short leg" if funds is not None else "account values"))
    cost = attempt.legs[0].ratio * terms.covers_ask_ticks * 100
    if attempt.is_combo:
        margin, cost = max(margin, terms.worst_cents), 0
    need = max(margin, 0) + cost + terms.fees_cents + sum(p.cost_cents for p in beside)
    need += unspent_cents(view)
    bound = rules.limits.cash_share_max * funds.available_cents
    looked_at = f"margin of the short leg {margin / 100:.2f} USD, cover and fees"
    if attempt.is_combo:
        legs = "both legs" if len(attempt.legs) == 2 else "all legs"
        looked_at = f"margin of {legs} as one order, or their worst loss, {margin / 100:.2f} USD, and fees"
    if need > bound:
        return Verdict(TERMS, refused(RejectCode.BUYING_POWER, need, bound, "cents", looked_at))
    return Verdict(TERMS, passed(need, bound, "cents", looked_at))
