"""Signals conversation: a reading's features become alerts, a recorded alert becomes a signal."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

import msgspec

from domain.features.evidence import Evidence
from domain.features.forces import Push
from domain.orders.intent import Intent
from domain.signals.alert import Alert
from domain.signals.evaluator import Reading
from domain.signals.offer import Offer, OfferRefused
from domain.signals.outcome import Outcome
from domain.signals.rates import PromotionRefused
from domain.signals.snapshot import Snapshot
from domain.units import Ticks, Utc
from messages.base import Command, Event, Report


def _tag(name: str) -> str:
    return f"signals.{name}"


class Force(msgspec.Struct, frozen=True, kw_only=True):
    """One force: score in [-1, +1] and confidence in [0, 1]."""

    name: str
    score: float
    confidence: float


class FeaturesComputed(Event, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """The 73 features of one ticker and bucket, rounded to 12 significant digits.

    `missing` names the categories that were silent. `spot` and `zero_gamma` are `None` when absent. `is_complete` says
    that every hub's marker was in before `close_by_utc`. `snapshot` is what the next readings look back on (`None`:
    told by a version that did not say). `evidence` are the features in the registry's order, the forces made of them
    and their alignment: what lanes decide on. A trace of before has none, and then `features`, `forces` and
    `alignment` count, which are told no more.
    """

    ticker: str
    bucket_utc: Utc
    reading_n: int
    missing: tuple[str, ...]
    spot: Ticks | None
    zero_gamma: Ticks | None
    is_complete: bool
    snapshot: Snapshot | None = None
    evidence: Evidence | None = None
    features: tuple[float | None, ...] = ()
    forces: tuple[Force, ...] = ()
    alignment: float | None = None


class SpotRead(Event, frozen=True, kw_only=True, tag=_tag):
    """Spot at the end of a bucket, `None` where the reading had none: what outcomes of alerts are followed by."""

    ticker: str
    bucket_utc: Utc
    spot: Ticks | None


class RequestSpots(Command, frozen=True, kw_only=True, tag=_tag):
    """Report the spots that were stored of a ticker's readings of a session."""

    reply_to: str
    ticker: str
    session: date


class SpotsRead(Report, frozen=True, kw_only=True, tag=_tag):
    """The spots of a session as (bucket, ticks or `None`), ascending, as far as they are stored."""

    ticker: str
    session: date
    spots: tuple[tuple[Utc, Ticks | None], ...]


class RecordOutcome(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep what became of an alert; the first word on an alert stands."""

    outcome: Outcome
    at_utc: Utc


class RequestReadings(Command, frozen=True, kw_only=True, tag=_tag):
    """Report what was stored of a ticker's readings today."""

    reply_to: str
    ticker: str


class ReadingsRead(Report, frozen=True, kw_only=True, tag=_tag):
    """The readings of the session that were stored before this run of the lane, ascending, at most a window of them."""

    ticker: str
    readings: tuple[Reading, ...]


class RecordAlert(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep this alert (its key is unique) before anybody acts on it, with what was seen when it was found.

    `pushes` say which feature pushed which force how far; `offer_id` is that of the offer it came of, unique for the
    alert's source and ticker (`None`: it came of none).
    """

    GOES_FIRST: ClassVar[bool] = True
    reply_to: str
    alert: Alert
    features: tuple[float | None, ...]
    forces: tuple[Force, ...]
    alignment: float | None
    thresholds: tuple[tuple[str, float], ...]
    pushes: tuple[Push, ...] = ()
    offer_id: str | None = None


class AlertRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """The alert is durable; `is_new` is False when it had been recorded before, or another one of its offer.

    `offered` is the alert that stands on record of its offer then; `None`: there is none, or it came of none.
    """

    alert_id: str
    is_new: bool
    offered: str | None = None


class AlertRaised(Event, frozen=True, kw_only=True, tag=_tag):
    """This alert is on record; its outcome is followed from now on."""

    alert: Alert


class SignalRaised(Event, frozen=True, kw_only=True, tag=_tag):
    """Trade this recorded alert, if every gate lets it (shadows are refused by their gate, and logged)."""

    intent: Intent


class ReversalRaised(Event, frozen=True, kw_only=True, tag=_tag):
    """The source that opened `ticker` now points the other way."""

    source: str
    ticker: str
    direction: int
    bucket_utc: Utc


class NotEvaluated(Event, frozen=True, kw_only=True, tag=_tag):
    """This bucket was not evaluated for this kind and version, and why (also while arming or cooling down).

    `version` is 0 where a trace of before did not say.
    """

    source: str
    ticker: str
    kind: str
    bucket_utc: Utc
    why: str
    version: int = 0


class RecordPromotion(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep that alerts of this source, kind and version may trade from now on, or no longer.

    A promotion is refused with fewer resolved outcomes than `outcomes_min`, or a lower bound of the win rate that is
    not above `rate_floor`; with `outcomes_min` 0 none are asked for.
    """

    command_id: str
    source: str
    kind: str
    version: int
    is_promoted: bool
    by: str
    reason: str
    at_utc: Utc
    outcomes_min: int = 0
    rate_floor: float = 0.0


class PromotionRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """The promotion (or its withdrawal) is durable, also if it came before under this id and still holds.

    `refused` says why nothing was recorded instead, `why` the same of its outcomes in a sentence.
    """

    command_id: str
    refused: PromotionRefused | None = None
    why: str = ""


class PromotionChanged(Event, frozen=True, kw_only=True, tag=_tag):
    """In force now."""

    source: str
    kind: str
    version: int
    is_promoted: bool
    by: str


class OfferSignal(Command, frozen=True, kw_only=True, tag=_tag):
    """Take a signal of a program from outside as an alert; repeated with the same `offer_id` it gets the old answer."""

    reply_to: str
    offer_id: str
    offer: Offer
    expires_utc: Utc


class OfferTaken(Report, frozen=True, kw_only=True, tag=_tag):
    """The offer is an alert on record; a shadow is never traded."""

    offer_id: str
    alert_id: str
    is_shadow: bool


class OfferDenied(Report, frozen=True, kw_only=True, tag=_tag):
    """The offer became no alert, and why."""

    offer_id: str
    code: OfferRefused
    detail: str
