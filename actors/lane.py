"""One lane: a source that watches a ticker for its alert kinds; its findings become recorded alerts, and signals.

Nothing is acted on that is not on record, but a reversal, which waits for none. On a crash: cooldowns and direction
come from the ledger, recorded alerts that nobody decided on are raised again while they are fresh, and the evaluators
look at the session's stored readings once more, in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.instants import BUCKET_NS
from domain.limits import StrategyRules
from domain.market.derived import Told, values_at
from domain.session.phases import EVALUATED, Phase
from domain.signals.alert import Alert, AlertKey
from domain.signals.alerts import evaluators_of
from domain.signals.evaluator import AlertTerms, Evaluator, EvaluatorState, reading_of
from domain.signals.offer import SOURCE as OUTSIDE
from domain.signals.offer import Offer, OfferRefused, Place, Refusal, alert_of, offer_of
from domain.signals.strategies import intent_of
from domain.units import Utc
from messages import entries, lifecycle, market, session, signals
from messages.restored import LaneRestored
from supervision.actor import Actor
from supervision.turn import Turn

OFFERS_KEPT: Final = 50
BUCKET_TAKEN: Final = Refusal(
    OfferRefused.BUCKET_TAKEN, "An offer of this kind was taken in these 30 s already; one of a bucket counts."
)
OWN_ID: Final = "give it an id of its own."
ID_REUSED: Final = Refusal(OfferRefused.ID_REUSED, f"This id names another offer already; {OWN_ID}")

Inbox = (
    lifecycle.Started
    | session.PhaseChanged
    | signals.FeaturesComputed
    | signals.ReadingsRead
    | signals.AlertRecorded
    | signals.PromotionChanged
    | market.ContextRead
    | entries.EntryDenied
    | entries.EntryHandedOver
    | signals.OfferSignal
)


class Offered(msgspec.Struct, frozen=True):
    """An offer from outside on its way to the ledger, or there: what was asked, by whom, and its alert."""

    offer_id: str
    offer: Offer
    reply_to: str
    alert: Alert
    is_recorded: bool = False


class LaneState(msgspec.Struct):
    """What the lane remembers.

    `watches` are the evaluators' states, in their order; `bucket_utc` is the last bucket judged; `pending` are alerts
    on their way to the ledger; `promoted` are `kind-version` names; `last_direction` is that of the last alert that
    was no shadow, `last_answer` what became of the last signal; `derived` are the derived series as they were told
    last, and before that. Of the lanes for signals from outside:
    `seen` is the newest reading, `offers` are the last that became alerts.
    """

    watches: tuple[EvaluatorState, ...]
    phase: Phase | None = None
    bucket_utc: Utc = Utc(0)
    pending: tuple[Alert, ...] = ()
    promoted: tuple[str, ...] = ()
    last_direction: int | None = None
    last_answer: str | None = None
    seen: signals.FeaturesComputed | None = None
    offers: tuple[Offered, ...] = ()
    derived: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Wiring:
    """What does not change: who the lane is, what it looks for, and what its strategy does about it.

    A source's strategy bears the source's name.
    """

    name: str
    source: str
    ticker: str
    evaluators: tuple[Evaluator[Any, Any], ...]
    strategy: StrategyRules
    kinds: Mapping[str, int]  # that may be offered from outside, with their versions


class LaneActor(Actor[LaneState, Inbox]):
    """The lane `lane:<source>:<ticker>`; knows no other lane."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        _, source, ticker = name.split(":")
        evaluators = evaluators_of(settings.alerts[source], settings.alert_rules, settings.alert_trials, settings.kinds)
        kinds = settings.outside.kinds if source == OUTSIDE else {}
        self._wiring = Wiring(name, source, ticker, evaluators, settings.strategies[source], kinds)

    def initial(self) -> LaneState:
        """Arm from nothing."""
        return LaneState(tuple(evaluator.initial(None) for evaluator in self._wiring.evaluators))

    def decide(self, turn: Turn[LaneState], message: Inbox) -> None:
        """Judge each reading once, and let nothing be acted on that is not on record."""
        match message:
            case lifecycle.Started():
                start(self._wiring, turn, message)
            case session.PhaseChanged():
                turn.state.phase = message.phase
            case signals.FeaturesComputed():
                on_features(self._wiring, turn, message)
            case signals.ReadingsRead():
                look_again(self._wiring, turn.state, message)
            case signals.AlertRecorded():
                answer_offer(self._wiring, turn, message)
                on_alert_recorded(self._wiring, turn, message.alert_id)
            case signals.PromotionChanged():
                on_promotion(self._wiring, turn, message)
            case market.ContextRead():
                turn.state.derived = (*turn.state.derived[-1:], Told(message.told_utc, message.derived))
            case entries.EntryDenied():
                turn.state.last_answer = f"{message.key.alert_id} {message.code}"
            case entries.EntryHandedOver():
                turn.state.last_answer = f"{message.key.alert_id} {message.leg.order_ref}"
            case signals.OfferSignal():
                on_offer(self._wiring, turn, message)
            case _:
                assert_never(message)


def start(lane: Wiring, turn: Turn[LaneState], started: lifecycle.Started) -> None:
    """Take up what the ledger knows, and raise again what is fresh and was never decided on."""
    turn.tell("session", session.RequestPhase(reply_to=turn.name))
    turn.tell("series", signals.RequestReadings(reply_to=turn.name, ticker=lane.ticker))
    known = started.restored
    if not isinstance(known, LaneRestored):
        return
    last_alerts = dict(known.last_alerts)
    state = turn.state
    state.watches = tuple(evaluator.initial(last_alerts.get(evaluator.version_name)) for evaluator in lane.evaluators)
    state.promoted = known.promoted
    state.last_direction = known.last_direction
    state.offers = tuple(
        Offered(offer_id, offer_of(alert), "", alert, is_recorded=True)
        for offer_id, alert in known.offers[-OFFERS_KEPT:]
    )
    for alert in known.unraised:
        if lane.kinds and not alert.is_shadow:
            reverse(lane, turn, alert)  # it waited for the record, whose answer the last incarnation did not hear
        turn.publish(signals.AlertRaised(alert=alert))
        raised = signals.SignalRaised(intent=intent_of(alert, lane.source, lane.strategy))
        if turn.now < raised.intent.expires_utc:
            turn.publish(raised)


def look_again(lane: Wiring, state: LaneState, read: signals.ReadingsRead) -> None:
    """Bring the evaluators to where the stored readings end; what they find is no news, cooldowns are the ledger's.

    Nothing is done where a reading has been judged already: it knows better than what was stored before.
    """
    if state.bucket_utc or not read.readings:
        return
    watches: list[EvaluatorState] = []
    for evaluator, watch in zip(lane.evaluators, state.watches, strict=True):
        seen = watch
        for reading in read.readings:
            seen = evaluator.evaluate(seen, reading).state
        watches.append(msgspec.structs.replace(seen, last_alert_utc=watch.last_alert_utc))
    state.watches = tuple(watches)
    state.bucket_utc = read.readings[-1].bucket_utc


def on_features(lane: Wiring, turn: Turn[LaneState], seen: signals.FeaturesComputed) -> None:
    """Judge a reading for every kind, while alerts are looked for; one that was judged before is no news."""
    state = turn.state
    if seen.bucket_utc <= state.bucket_utc:
        return
    state.bucket_utc = seen.bucket_utc
    if lane.kinds:
        state.seen = seen
    if state.phase not in EVALUATED:
        phase = "not known" if state.phase is None else state.phase.value
        for evaluator in lane.evaluators:
            publish_not_evaluated(lane, turn, evaluator, seen.bucket_utc, f"phase {phase}")
        return
    reading = reading_of(
        seen.bucket_utc, seen.spot, seen.zero_gamma, seen.features, seen.evidence, seen.snapshot,
        values_at(state.derived, Utc(seen.bucket_utc + BUCKET_NS)),
    )  # fmt: skip
    judgements = [
        (evaluator, evaluator.evaluate(watch, reading))
        for evaluator, watch in zip(lane.evaluators, state.watches, strict=True)
    ]
    state.watches = tuple(judged.state for _, judged in judgements)
    for evaluator, judged in judgements:
        if judged.terms is not None:
            record(lane, turn, evaluator, seen, judged.terms)
        elif judged.why is not None:
            publish_not_evaluated(lane, turn, evaluator, seen.bucket_utc, judged.why + _circumstances(seen))


def record(
    lane: Wiring, turn: Turn[LaneState], evaluator: Evaluator[Any, Any], seen: signals.FeaturesComputed,
    terms: AlertTerms,
) -> None:  # fmt: skip
    """Have what an evaluator has found recorded as an alert."""
    alert = Alert(
        key=AlertKey(lane.source, lane.ticker, evaluator.kind, evaluator.rules.version, seen.bucket_utc),
        direction=terms.direction,
        entry_ticks=terms.entry_ticks,
        target_ticks=terms.target_ticks,
        stop_ticks=terms.stop_ticks,
        horizon_ms=terms.horizon_ms,
        is_shadow=evaluator.version_name not in turn.state.promoted,
        raised_utc=turn.now,
    )
    record_alert(lane, turn, alert, seen, terms.thresholds)


def record_alert(
    lane: Wiring, turn: Turn[LaneState], alert: Alert, seen: signals.FeaturesComputed,
    thresholds: tuple[tuple[str, float], ...], offer_id: str | None = None,
) -> None:  # fmt: skip
    """Have an alert recorded with what was seen; an opposite one turns positions at once, without waiting for that.

    One that was offered waits: the ledger may refuse its id.
    """
    state = turn.state
    turn.tell(
        "ledger",
        signals.RecordAlert(
            reply_to=turn.name,
            alert=alert,
            thresholds=thresholds,
            offer_id=offer_id,
            **_evidence(seen),
        ),
    )
    state.pending = (*state.pending, alert)
    if offer_id is None:
        take_direction(lane, turn, alert)


def take_direction(lane: Wiring, turn: Turn[LaneState], alert: Alert) -> None:
    """Remember the direction of an alert that may trade, and turn the positions that were opened for the opposite."""
    if alert.is_shadow:
        return
    if turn.state.last_direction == -alert.direction:
        reverse(lane, turn, alert)
    turn.state.last_direction = alert.direction


def reverse(lane: Wiring, turn: Turn[LaneState], alert: Alert) -> None:
    """Have whatever this source opened for the opposite direction closed."""
    turn.publish(
        signals.ReversalRaised(
            source=lane.source, ticker=lane.ticker, direction=alert.direction, bucket_utc=alert.key.bucket_utc
        )
    )


def on_alert_recorded(lane: Wiring, turn: Turn[LaneState], alert_id: str) -> None:
    """Raise a recorded alert; one of an older incarnation is none of ours, the ledger gave it back to `start`."""
    recorded = [alert for alert in turn.state.pending if alert.key.alert_id == alert_id]
    turn.state.pending = tuple(alert for alert in turn.state.pending if alert.key.alert_id != alert_id)
    for alert in recorded:
        turn.publish(signals.SignalRaised(intent=intent_of(alert, lane.source, lane.strategy)))
        turn.publish(signals.AlertRaised(alert=alert))


def on_offer(lane: Wiring, turn: Turn[LaneState], asked: signals.OfferSignal) -> None:
    """Have a signal from outside recorded as an alert, or say why not; a repeated offer gets the same answer."""
    state = turn.state
    known = next((known for known in state.offers if known.offer_id == asked.offer_id), None)
    if known is not None and known.offer != asked.offer:
        deny(turn, asked, ID_REUSED)
        return
    if known is not None:
        if known.is_recorded:
            turn.report(asked.reply_to, taken(known))
        else:
            keep_offer(state, replace(known, reply_to=asked.reply_to))
        return
    if turn.now > asked.expires_utc:
        deny(turn, asked, Refusal(OfferRefused.EXPIRED, "The offer came after its expiry; offer it afresh."))
        return
    seen = state.seen
    found = alert_of(asked.offer, Place(
        ticker=lane.ticker, kinds=lane.kinds, phase=state.phase, spot=None if seen is None else seen.spot,
        seen_utc=None if seen is None else seen.bucket_utc, promoted=state.promoted, now=turn.now,
    ))  # fmt: skip
    if isinstance(found, Refusal):
        deny(turn, asked, found)
        return
    if any(other.alert.key == found.key for other in state.offers):
        deny(turn, asked, BUCKET_TAKEN)
        return
    assert seen is not None  # without a reading `alert_of` refuses
    keep_offer(state, Offered(asked.offer_id, asked.offer, asked.reply_to, found))
    record_alert(lane, turn, found, seen, (), asked.offer_id)


def answer_offer(lane: Wiring, turn: Turn[LaneState], recorded: signals.AlertRecorded) -> None:
    """Answer the offer that an alert came of; where the ledger had another of its bucket, or id, that one stands."""
    known = next((known for known in turn.state.offers if known.alert.key.alert_id == recorded.alert_id), None)
    if known is None or known.is_recorded:
        return
    if recorded.is_new or recorded.offered == recorded.alert_id:
        keep_offer(turn.state, replace(known, is_recorded=True))
        take_direction(lane, turn, known.alert)
        turn.report(known.reply_to, taken(known))
        return
    turn.state.offers = tuple(other for other in turn.state.offers if other != known)
    turn.state.pending = tuple(alert for alert in turn.state.pending if alert.key != known.alert.key)
    why = BUCKET_TAKEN
    if recorded.offered is not None:
        why = Refusal(OfferRefused.ID_REUSED, f"This id became the alert {recorded.offered} already; {OWN_ID}")
    turn.report(known.reply_to, signals.OfferDenied(offer_id=known.offer_id, code=why.code, detail=why.detail))


def deny(turn: Turn[LaneState], asked: signals.OfferSignal, refusal: Refusal) -> None:
    """Say why an offer became no alert."""
    denied = signals.OfferDenied(offer_id=asked.offer_id, code=refusal.code, detail=refusal.detail)
    turn.report(asked.reply_to, denied)


def taken(known: Offered) -> signals.OfferTaken:
    """Return what is answered to an offer that is on record."""
    alert = known.alert
    return signals.OfferTaken(offer_id=known.offer_id, alert_id=alert.key.alert_id, is_shadow=alert.is_shadow)


def keep_offer(state: LaneState, offered: Offered) -> None:
    """Remember an offer as the newest, in the place of what was known of it."""
    others = tuple(known for known in state.offers if known.offer_id != offered.offer_id)
    state.offers = (*others, offered)[-OFFERS_KEPT:]


def on_promotion(lane: Wiring, turn: Turn[LaneState], changed: signals.PromotionChanged) -> None:
    """Take over what of this source may trade from now on."""
    if changed.source != lane.source:
        return
    name = f"{changed.kind}-{changed.version}"
    others = tuple(known for known in turn.state.promoted if known != name)
    turn.state.promoted = (*others, name) if changed.is_promoted else others


def publish_not_evaluated(
    lane: Wiring, turn: Turn[LaneState], evaluator: Evaluator[Any, Any], bucket_utc: Utc, why: str
) -> None:
    """Put on record why a bucket showed no alert of a kind and version."""
    turn.publish(
        signals.NotEvaluated(
            source=lane.source, ticker=lane.ticker, kind=evaluator.kind, bucket_utc=bucket_utc, why=why,
            version=evaluator.rules.version,
        )
    )  # fmt: skip


def _evidence(seen: signals.FeaturesComputed) -> dict[str, Any]:
    """Return what is recorded of a reading with an alert; one told without evidence has what it says itself."""
    found = seen.evidence
    if found is None:
        return {"features": seen.features, "forces": seen.forces, "alignment": seen.alignment}
    forces = tuple(signals.Force(name=f.name, score=f.score, confidence=f.confidence) for f in found.forces)
    return {"features": found.features, "forces": forces, "alignment": found.alignment, "pushes": found.pushes}


def _circumstances(seen: signals.FeaturesComputed) -> str:
    silent = f" (silent: {', '.join(seen.missing)})" if seen.missing else ""
    return silent + ("" if seen.is_complete else " (not every hub's marker was in)")
