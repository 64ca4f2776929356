"""Signals conversation: a reading's features become alerts, a recorded alert becomes a signal.

reading -> lane:*, outcomes   FeaturesComputed
lane    -> ledger             RecordAlert              ledger -> lane  AlertRecorded
lane    -> risk               SignalRaised             lane -> outcomes  AlertRaised
risk    -> lane               orders.EntryDenied | orders.EntryHandedOver
"""

from __future__ import annotations

from datetime import date

from domain.instruments import Right
from messages.base import Message


class _Signals(Message, frozen=True, kw_only=True, tag=lambda name: f"signals.{name}"):
    """Base of this conversation."""


class Force(Message, frozen=True, kw_only=True, tag="signals.Force"):
    """One force: score in [-1, +1] and confidence in [0, 1]."""

    name: str
    score: float
    confidence: float


class FeaturesComputed(_Signals, frozen=True, kw_only=True):
    """reading -> lanes, outcomes: the 73 features of one ticker and bucket, rounded to 12 significant digits.

    `features` are in the registry's order, `None` = missing; `missing` names the categories that were silent;
    `alignment` is `None` where fewer than three forces have confidence >= 0.5. `spot` and `zero_gamma` are wire
    hundredths, `None` when absent. `is_complete` says that every hub's marker was in before `close_by_utc`.
    """

    ticker: str
    bucket_utc: int
    reading_n: int
    features: tuple[float | None, ...]
    missing: tuple[str, ...]
    forces: tuple[Force, ...]
    alignment: float | None
    spot: int | None
    zero_gamma: int | None
    is_complete: bool


class RecordAlert(_Signals, frozen=True, kw_only=True):
    """lane -> ledger: keep this alert (UNIQUE `alert_id`) before anybody acts on it; prices in ticks."""

    alert_id: str
    reply_to: str
    session: date
    source: str
    ticker: str
    kind: str
    version: int
    bucket_utc: int
    direction: int
    entry_ticks: int
    target_ticks: int
    stop_ticks: int
    horizon_ms: int
    features: tuple[float | None, ...]
    forces: tuple[Force, ...]
    alignment: float | None
    thresholds: tuple[tuple[str, float], ...]
    is_shadow: bool
    raised_utc: int


class AlertRecorded(_Signals, frozen=True, kw_only=True):
    """ledger -> lane: the alert is durable; `is_new` is False when it had been recorded before."""

    alert_id: str
    is_new: bool


class AlertRaised(_Signals, frozen=True, kw_only=True):
    """lane -> outcomes, web: follow this alert to its horizon."""

    alert_id: str
    ticker: str
    direction: int
    entry_ticks: int
    target_ticks: int
    stop_ticks: int
    horizon_ms: int
    raised_utc: int
    is_shadow: bool


class SignalRaised(_Signals, frozen=True, kw_only=True):
    """lane -> risk: trade this alert, if every gate lets it; age counts from the bucket's end."""

    signal_id: str
    alert_id: str
    source: str
    strategy: str
    ticker: str
    kind: str
    version: int
    direction: int
    right: Right
    bucket_utc: int
    is_shadow: bool
    raised_utc: int
    expires_utc: int


class ReversalRaised(_Signals, frozen=True, kw_only=True):
    """lane -> positions: the source that opened `ticker` now points the other way."""

    source: str
    ticker: str
    direction: int
    bucket_utc: int


class NotEvaluated(_Signals, frozen=True, kw_only=True):
    """lane -> journal: this bucket was not evaluated, and why (also while arming, cooling down or locked out)."""

    source: str
    ticker: str
    bucket_utc: int
    why: str
