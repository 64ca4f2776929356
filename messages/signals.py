"""Signals conversation: a reading's features become alerts, a recorded alert becomes a signal."""

from __future__ import annotations

import msgspec

from domain.features.evidence import Evidence
from domain.orders.intent import Intent
from domain.signals.alert import Alert
from domain.signals.evaluator import Reading
from domain.signals.features import Snapshot
from domain.signals.offer import Offer, OfferRefused
from domain.units import Ticks, Utc
from messages.base import Command, Event, Report


def _tag(name: str) -> str:
    return f"signals.{name}"


class Force(msgspec.Struct, frozen=True, kw_only=True):
    """One force: score in [-1, +1] and confidence in [0, 1]."""

    name: str
    score: float
    confidence: float


class FeaturesComputed(Event, frozen=True, kw_only=True, tag=_tag):
    """The 73 features of one ticker and bucket, rounded to 12 significant digits.

    `features` are in the registry's order, `None` = missing; `missing` names the categories that were silent;
    `alignment` is `None` where fewer than three forces have confidence >= 0.5. `spot` and `zero_gamma` are
    `None` when absent. `is_complete` says that every hub's marker was in before `close_by_utc`. `snapshot` is what the
    next readings look back on (`None`: told by a version that did not say). `evidence` are all 73 features and the
    forces made of them; lanes still read `features`, of which two groups are filled: no decision changes in passing.
    """

    ticker: str
    bucket_utc: Utc
    reading_n: int
    features: tuple[float | None, ...]
    missing: tuple[str, ...]
    forces: tuple[Force, ...]
    alignment: float | None
    spot: Ticks | None
    zero_gamma: Ticks | None
    is_complete: bool
    snapshot: Snapshot | None = None
    evidence: Evidence | None = None


class RequestReadings(Command, frozen=True, kw_only=True, tag=_tag):
    """Report what was stored of a ticker's readings today."""

    reply_to: str
    ticker: str


class ReadingsRead(Report, frozen=True, kw_only=True, tag=_tag):
    """The readings of the session that were stored before this run of the lane, ascending, at most a window of them."""

    ticker: str
    readings: tuple[Reading, ...]


class RecordAlert(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep this alert (its key is unique) before anybody acts on it, with what was seen when it was found."""

    reply_to: str
    alert: Alert
    features: tuple[float | None, ...]
    forces: tuple[Force, ...]
    alignment: float | None
    thresholds: tuple[tuple[str, float], ...]


class AlertRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """The alert is durable; `is_new` is False when it had been recorded before."""

    alert_id: str
    is_new: bool


class AlertRaised(Event, frozen=True, kw_only=True, tag=_tag):
    """This alert is on record (nobody follows its outcome yet)."""

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
    """This bucket was not evaluated for this kind, and why (also while arming, cooling down or locked out)."""

    source: str
    ticker: str
    kind: str
    bucket_utc: Utc
    why: str


class RecordPromotion(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep that alerts of this source, kind and version may trade from now on, or no longer."""

    command_id: str
    source: str
    kind: str
    version: int
    is_promoted: bool
    by: str
    reason: str
    at_utc: Utc


class PromotionRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """The promotion (or its withdrawal) is durable."""

    command_id: str


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
