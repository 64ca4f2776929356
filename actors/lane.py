"""One lane: a source that watches a ticker with one evaluator and turns its findings into recorded alerts and signals.

Hears Started, FeaturesComputed, AlertRecorded, PhaseChanged, EntryDenied, EntryHandedOver. Says RecordAlert to the
ledger; once recorded SignalRaised to risk (shadows too: gate 4 refuses and logs) and AlertRaised to outcomes;
ReversalRaised to positions; NotEvaluated to the journal. On a crash: cooldown and direction come from the ledger,
recorded alerts that nobody decided on are raised again while they are fresh, and the evaluator arms anew in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.identifiers import alert_id
from domain.instants import BUCKET_NS, MS, session_of
from domain.instruments import Right
from domain.session.phases import EVALUATED, Phase
from domain.signals.alerts import BreakEvaluator, BreakState, Evaluator, Finding, FlipEvaluator, FlipState, Reading
from messages import lifecycle, orders, session, signals
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import Effects, Tell

EVALUATORS: Final[Mapping[str, Callable[[Settings], Evaluator]]] = {
    "gexwatch": lambda settings: FlipEvaluator(settings.flip),
    "advisor": lambda settings: BreakEvaluator(settings.breaks),
}


class LaneState(msgspec.Struct, frozen=True):
    """The evaluator's state, alerts on their way to the ledger, and what others said last (`None`: nothing yet)."""

    watch: FlipState | BreakState
    phase: Phase | None = None
    bucket_utc: int = 0
    pending: tuple[signals.RecordAlert, ...] = ()
    promoted: tuple[str, ...] = ()
    last_direction: int | None = None
    last_answer: str | None = None


class LaneActor(Actor[LaneState]):
    """The lane `lane:<source>:<ticker>`; knows no other lane."""

    def __init__(self, name: str, settings: Settings, evaluator: Evaluator | None = None) -> None:
        super().__init__(name)
        _, self._source, self._ticker = name.split(":")
        self._evaluator = evaluator or EVALUATORS[self._source](settings)
        self._age_ns = settings.strategies[self._source].signal_age_max_ms * MS
        self._version_name = f"{self._evaluator.kind}-{self._evaluator.version}"

    def initial(self) -> LaneState:
        """Arm from nothing."""
        return LaneState(watch=self._evaluator.initial(None))

    def decide(self, state: LaneState, message: Message, now: int) -> tuple[LaneState, Effects]:
        """Evaluate each reading once, and let nothing be acted on that is not on record."""
        match message:
            case lifecycle.Started():
                return self._start(state, message, now)
            case signals.FeaturesComputed():
                return self._evaluate(state, message, now)
            case signals.AlertRecorded():
                return self._recorded(state, message.alert_id)
            case session.PhaseChanged():
                return replace(state, phase=message.phase), ()
            case orders.EntryDenied():
                return replace(state, last_answer=f"{message.alert_id} {message.code}"), ()
            case orders.EntryHandedOver():
                return replace(state, last_answer=f"{message.alert_id} {message.order_ref}"), ()
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def _start(self, state: LaneState, started: lifecycle.Started, now: int) -> tuple[LaneState, Effects]:
        effects: Effects = (Tell("session", session.PhaseWanted(reply_to=self.name)),)
        known = started.restored
        if not isinstance(known, lifecycle.LaneRestored):
            return state, effects
        after = replace(
            state,
            watch=self._evaluator.initial(known.last_alert_utc),
            promoted=known.promoted,
            last_direction=known.last_direction,
        )
        fresh = [alert for alert in known.unraised if now < self._expires_utc(alert.bucket_utc)]
        return after, effects + tuple(Tell("risk", self._signal(alert)) for alert in fresh)

    def _evaluate(self, state: LaneState, seen: signals.FeaturesComputed, now: int) -> tuple[LaneState, Effects]:
        if seen.bucket_utc <= state.bucket_utc:
            return state, ()
        state = replace(state, bucket_utc=seen.bucket_utc)
        if state.phase not in EVALUATED:
            phase = "not known" if state.phase is None else state.phase.value
            return state, self._not_evaluated(seen, f"phase {phase}")
        reading = Reading(seen.bucket_utc, seen.features, seen.spot, seen.zero_gamma)
        evaluated = self._evaluator.evaluate(state.watch, reading)
        state = replace(state, watch=evaluated.state)
        if evaluated.finding is not None:
            return self._record(state, seen, evaluated.finding, now)
        if evaluated.why is None:
            return state, ()
        silent = f" (silent: {', '.join(seen.missing)})" if seen.missing else ""
        unready = "" if seen.is_complete else " (not every hub's marker was in)"
        return state, self._not_evaluated(seen, evaluated.why + silent + unready)

    def _not_evaluated(self, seen: signals.FeaturesComputed, why: str) -> Effects:
        refusal = signals.NotEvaluated(source=self._source, ticker=self._ticker, bucket_utc=seen.bucket_utc, why=why)
        return (Tell("journal", refusal),)

    def _record(
        self, state: LaneState, seen: signals.FeaturesComputed, finding: Finding, now: int
    ) -> tuple[LaneState, Effects]:
        today, evaluator = session_of(seen.bucket_utc), self._evaluator
        record = signals.RecordAlert(
            alert_id=alert_id(today, self._source, self._ticker, seen.bucket_utc, evaluator.kind, evaluator.version),
            reply_to=self.name,
            session=today,
            source=self._source,
            ticker=self._ticker,
            kind=evaluator.kind,
            version=evaluator.version,
            bucket_utc=seen.bucket_utc,
            direction=finding.direction,
            entry_ticks=finding.entry_ticks,
            target_ticks=finding.target_ticks,
            stop_ticks=finding.stop_ticks,
            horizon_ms=finding.horizon_ms,
            features=seen.features,
            forces=seen.forces,
            alignment=seen.alignment,
            thresholds=finding.thresholds,
            is_shadow=self._version_name not in state.promoted,
            raised_utc=now,
        )
        effects: Effects = (Tell("ledger", record),)
        if not record.is_shadow and state.last_direction == -finding.direction:
            effects += (self._reversal(record),)
        after = replace(state, pending=(*state.pending, record), last_direction=finding.direction)
        return after, effects

    def _reversal(self, record: signals.RecordAlert) -> Tell:
        """Point the other way at once: an exit waits for no record."""
        reversal = signals.ReversalRaised(
            source=self._source, ticker=self._ticker, direction=record.direction, bucket_utc=record.bucket_utc
        )
        return Tell("positions", reversal)

    def _recorded(self, state: LaneState, recorded: str) -> tuple[LaneState, Effects]:
        record = next((r for r in state.pending if r.alert_id == recorded), None)
        if record is None:
            return state, ()  # recorded for an older incarnation: raised from what the ledger gave back
        after = replace(state, pending=tuple(r for r in state.pending if r is not record))
        raised = signals.AlertRaised(
            alert_id=record.alert_id,
            ticker=record.ticker,
            direction=record.direction,
            entry_ticks=record.entry_ticks,
            target_ticks=record.target_ticks,
            stop_ticks=record.stop_ticks,
            horizon_ms=record.horizon_ms,
            raised_utc=record.raised_utc,
            is_shadow=record.is_shadow,
        )
        return after, (Tell("risk", self._signal(record)), Tell("outcomes", raised), Tell("web", raised))

    def _signal(self, alert: signals.RecordAlert | lifecycle.UnraisedAlert) -> signals.SignalRaised:
        return signals.SignalRaised(
            signal_id=alert.alert_id,
            alert_id=alert.alert_id,
            source=self._source,
            strategy=self._source,
            ticker=self._ticker,
            kind=alert.kind,
            version=alert.version,
            direction=alert.direction,
            right=Right.CALL if alert.direction > 0 else Right.PUT,
            bucket_utc=alert.bucket_utc,
            is_shadow=alert.is_shadow,
            raised_utc=alert.raised_utc,
            expires_utc=self._expires_utc(alert.bucket_utc),
        )

    def _expires_utc(self, bucket_utc: int) -> int:
        return bucket_utc + BUCKET_NS + self._age_ns
