"""What an evaluator is: a pure predicate over readings that says when something worth an alert has happened.

An evaluator takes its own small state and a reading, and returns the next state with the terms of an alert, or with
why there could be none. The lane that hosts it owns identifiers, records and everything after.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, NamedTuple, TypeVar

import msgspec

from domain.features.evidence import Evidence, Force
from domain.features.measures import MEASURES
from domain.instants import BUCKET_NS, MS, bucket_of
from domain.market.derived import Value
from domain.ranges import Bps, Count, DayMs, PauseMs
from domain.signals.registry import INDEX
from domain.signals.snapshot import Snapshot
from domain.units import Ticks, Utc


class Reading(msgspec.Struct, frozen=True):
    """What an evaluator sees of one bucket; `None` is missing.

    `net_gamma` is the sum over strikes at spot by open interest, as zero gamma is. `context`, `forces` and `alignment`
    are those of the evidence; a reading stored by a version that had none has neither. `derived` are the derived series
    that were told and valid when it ended.
    """

    bucket_utc: Utc
    features: tuple[float | None, ...]
    spot: Ticks | None
    zero_gamma: Ticks | None
    context: tuple[float | None, ...] = ()
    forces: tuple[Force, ...] = ()
    alignment: float | None = None
    net_gamma: float | None = None
    derived: tuple[Value, ...] = ()

    @property
    def end_utc(self) -> Utc:
        """The end of the bucket, from which cooldowns count."""
        return self.bucket_utc + BUCKET_NS

    def feature(self, name: str) -> float | None:
        """Return one feature by name."""
        return self.features[INDEX[name]]


_NET_GAMMA: Final = MEASURES.index("net_oi")


def reading_of(
    bucket_utc: Utc, spot: Ticks | None, zero_gamma: Ticks | None, features: tuple[float | None, ...],
    evidence: Evidence | None, snapshot: Snapshot | None, derived: tuple[Value, ...] = (),
) -> Reading:  # fmt: skip
    """Return a reading as evaluators see it; `features` count only where there is no evidence."""
    measures = None if snapshot is None else snapshot.measures
    net_gamma = None if measures is None else measures[_NET_GAMMA]
    if evidence is None:
        return Reading(bucket_utc, features, spot, zero_gamma, net_gamma=net_gamma, derived=derived)
    return Reading(
        bucket_utc, evidence.features, spot, zero_gamma, evidence.context, evidence.forces, evidence.alignment,
        net_gamma, derived,
    )  # fmt: skip


class AlertTerms(msgspec.Struct, frozen=True):
    """An alert in the making: direction and prices, and the thresholds in force by name."""

    direction: int
    entry_ticks: Ticks
    target_ticks: Ticks
    stop_ticks: Ticks
    horizon_ms: int
    thresholds: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class AlertRules:
    """Settings that every alert kind has; a kind's own come behind them."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    cooldown_ms: PauseMs
    target_bps: Bps
    stop_bps: Bps
    horizon_ms: DayMs
    version: Count


class EvaluatorState(msgspec.Struct, frozen=True, kw_only=True):
    """What every evaluator remembers; a kind's own state comes behind it.

    `last_alert_utc` is the end of the bucket of its last alert, `last_seen_utc` the start of the last bucket judged.
    """

    last_alert_utc: Utc | None = None
    last_seen_utc: Utc = Utc(0)


R = TypeVar("R", bound=AlertRules)
S = TypeVar("S", bound=EvaluatorState)


class Evaluated(NamedTuple, Generic[S]):
    """The next state, and an alert's terms, or why there could be none (both `None`: judged, nothing happened)."""

    state: S
    terms: AlertTerms | None = None
    why: str | None = None


class Evaluator(ABC, Generic[R, S]):
    """One alert kind under its rules."""

    kind: ClassVar[str]
    rules_type: ClassVar[type[AlertRules]]

    def __init__(self, rules: R) -> None:
        self.rules = rules

    @property
    def version_name(self) -> str:
        """Kind and version, as promotions name them."""
        return f"{self.kind}-{self.rules.version}"

    @abstractmethod
    def initial(self, last_alert_utc: Utc | None) -> S:
        """Return the state of a start; `last_alert_utc` is when the last alert of this kind was raised, if it was."""

    @abstractmethod
    def evaluate(self, state: S, reading: Reading) -> Evaluated[S]:
        """Judge one reading; readings come in the order of their buckets, not necessarily all of them."""

    def distance_bps(self, state: S, reading: Reading) -> float | None:
        """Return how far spot is from what the kind looks for, in bps of spot: 0 where it is there.

        `state` is the one before the reading. `None` where nothing can be said: an input is missing, the kind is not
        armed, or does not measure it. For people, never for a decision.
        """
        return None

    def is_after_gap(self, state: S, reading: Reading) -> bool:
        """Return whether nothing was judged for longer than the cooldown, a reading at least: what was seen is void."""
        return reading.bucket_utc - state.last_seen_utc > max(self.rules.cooldown_ms * MS, BUCKET_NS)

    def is_cooling(self, state: S, reading: Reading) -> bool:
        """Return whether the last alert is more recent than the cooldown."""
        last_utc = state.last_alert_utc
        return last_utc is not None and reading.end_utc < last_utc + self.rules.cooldown_ms * MS

    def terms(self, spot: Ticks, direction: int, thresholds: tuple[tuple[str, float], ...]) -> AlertTerms:
        """Return the terms of an alert at spot: target and stop by the rules, the cooldown behind the thresholds."""
        rules = self.rules
        return AlertTerms(
            direction=direction,
            entry_ticks=spot,
            target_ticks=Ticks(round(spot * (1.0 + direction * rules.target_bps / 1e4))),
            stop_ticks=Ticks(round(spot * (1.0 - direction * rules.stop_bps / 1e4))),
            horizon_ms=rules.horizon_ms,
            thresholds=(*thresholds, ("cooldown_ms", float(rules.cooldown_ms))),
        )


def alert_end(last_alert_utc: Utc | None) -> Utc | None:
    """Return the end of the bucket whose alert was raised at an instant (it is raised within the bucket after)."""
    return None if last_alert_utc is None else bucket_of(last_alert_utc)
