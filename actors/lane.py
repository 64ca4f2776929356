"""One lane: a source that watches a ticker for its alert kinds; its findings become recorded alerts, and signals.

Nothing is acted on that is not on record, but a reversal, which waits for none. On a crash: cooldowns and direction
come from the ledger, recorded alerts that nobody decided on are raised again while they are fresh, and the evaluators
look at the session's stored readings once more, in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_never

import msgspec

from config.settings import Settings
from domain.limits import StrategyRules
from domain.session.phases import EVALUATED, Phase
from domain.signals.alert import Alert, AlertKey
from domain.signals.alerts import EVALUATORS
from domain.signals.evaluator import AlertTerms, Evaluator, EvaluatorState, Reading
from domain.signals.strategies import intent_of
from domain.units import Utc
from messages import entries, lifecycle, session, signals
from messages.restored import LaneRestored
from supervision.actor import Actor
from supervision.turn import Turn

Inbox = (
    lifecycle.Started
    | session.PhaseChanged
    | signals.FeaturesComputed
    | signals.ReadingsRead
    | signals.AlertRecorded
    | signals.PromotionChanged
    | entries.EntryDenied
    | entries.EntryHandedOver
)


class LaneState(msgspec.Struct):
    """What the lane remembers.

    `watches` are the evaluators' states, in their order; `bucket_utc` is the last bucket judged; `pending` are alerts
    on their way to the ledger; `promoted` are `kind-version` names; `last_answer` is what became of the last signal.
    """

    watches: tuple[EvaluatorState, ...]
    phase: Phase | None = None
    bucket_utc: Utc = Utc(0)
    pending: tuple[Alert, ...] = ()
    promoted: tuple[str, ...] = ()
    last_direction: int | None = None
    last_answer: str | None = None


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


class LaneActor(Actor[LaneState, Inbox]):
    """The lane `lane:<source>:<ticker>`; knows no other lane."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        _, source, ticker = name.split(":")
        evaluators = tuple(EVALUATORS[kind](settings.alert_rules[kind]) for kind in settings.alerts[source])
        self._wiring = Wiring(name, source, ticker, evaluators, settings.strategies[source])

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
                on_alert_recorded(self._wiring, turn, message.alert_id)
            case signals.PromotionChanged():
                on_promotion(self._wiring, turn, message)
            case entries.EntryDenied():
                turn.state.last_answer = f"{message.key.alert_id} {message.code}"
            case entries.EntryHandedOver():
                turn.state.last_answer = f"{message.key.alert_id} {message.leg.order_ref}"
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
    state.watches = tuple(evaluator.initial(last_alerts.get(evaluator.kind)) for evaluator in lane.evaluators)
    state.promoted = known.promoted
    state.last_direction = known.last_direction
    for alert in known.unraised:
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
    if state.phase not in EVALUATED:
        phase = "not known" if state.phase is None else state.phase.value
        for evaluator in lane.evaluators:
            publish_not_evaluated(lane, turn, evaluator.kind, seen.bucket_utc, f"phase {phase}")
        return
    reading = Reading(seen.bucket_utc, seen.features, seen.spot, seen.zero_gamma)
    judgements = [
        (evaluator, evaluator.evaluate(watch, reading))
        for evaluator, watch in zip(lane.evaluators, state.watches, strict=True)
    ]
    state.watches = tuple(judged.state for _, judged in judgements)
    for evaluator, judged in judgements:
        if judged.terms is not None:
            record(lane, turn, evaluator, seen, judged.terms)
        elif judged.why is not None:
            publish_not_evaluated(lane, turn, evaluator.kind, seen.bucket_utc, judged.why + _circumstances(seen))


def record(
    lane: Wiring, turn: Turn[LaneState], evaluator: Evaluator[Any, Any], seen: signals.FeaturesComputed,
    terms: AlertTerms,
) -> None:  # fmt: skip
    """Have an alert recorded with what was seen; an opposite one turns positions at once, without waiting for that."""
    state = turn.state
    alert = Alert(
        key=AlertKey(lane.source, lane.ticker, evaluator.kind, evaluator.rules.version, seen.bucket_utc),
        direction=terms.direction,
        entry_ticks=terms.entry_ticks,
        target_ticks=terms.target_ticks,
        stop_ticks=terms.stop_ticks,
        horizon_ms=terms.horizon_ms,
        is_shadow=evaluator.version_name not in state.promoted,
        raised_utc=turn.now,
    )
    turn.tell(
        "ledger",
        signals.RecordAlert(
            reply_to=turn.name,
            alert=alert,
            features=seen.features,
            forces=seen.forces,
            alignment=seen.alignment,
            thresholds=terms.thresholds,
        ),
    )
    if not alert.is_shadow and state.last_direction == -alert.direction:
        turn.publish(
            signals.ReversalRaised(
                source=lane.source, ticker=lane.ticker, direction=alert.direction, bucket_utc=seen.bucket_utc
            )
        )
    state.pending = (*state.pending, alert)
    state.last_direction = alert.direction


def on_alert_recorded(lane: Wiring, turn: Turn[LaneState], alert_id: str) -> None:
    """Raise a recorded alert; one of an older incarnation is none of ours, the ledger gave it back to `start`."""
    recorded = [alert for alert in turn.state.pending if alert.key.alert_id == alert_id]
    turn.state.pending = tuple(alert for alert in turn.state.pending if alert.key.alert_id != alert_id)
    for alert in recorded:
        turn.publish(signals.SignalRaised(intent=intent_of(alert, lane.source, lane.strategy)))
        turn.publish(signals.AlertRaised(alert=alert))


def on_promotion(lane: Wiring, turn: Turn[LaneState], changed: signals.PromotionChanged) -> None:
    """Take over what of this source may trade from now on."""
    if changed.source != lane.source:
        return
    name = f"{changed.kind}-{changed.version}"
    others = tuple(known for known in turn.state.promoted if known != name)
    turn.state.promoted = (*others, name) if changed.is_promoted else others


def publish_not_evaluated(lane: Wiring, turn: Turn[LaneState], kind: str, bucket_utc: Utc, why: str) -> None:
    """Put on record why a bucket showed no alert of a kind."""
    turn.publish(
        signals.NotEvaluated(source=lane.source, ticker=lane.ticker, kind=kind, bucket_utc=bucket_utc, why=why)
    )


def _circumstances(seen: signals.FeaturesComputed) -> str:
    silent = f" (silent: {', '.join(seen.missing)})" if seen.missing else ""
    return silent + ("" if seen.is_complete else " (not every hub's marker was in)")
