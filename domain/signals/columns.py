"""Alerts and outcomes over whole sessions in columns: the list that lanes record live, to the last field.

A kind that is a condition is asked about all readings at once; one with a memory of its own judges them one after the
other. Both use the lane's own evaluators, so there is no second definition of anything. What a lane does not look at
(readings beyond the phases in which it looks for alerts, buckets of which there was no reading) is left out here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.features.evidence import Evidence, Force
from domain.features.forces import INPUTS, Push
from domain.features.frames import COLUMNS, columns
from domain.features.measures import Floats
from domain.instants import BUCKET_NS, MS
from domain.limits import DayRules
from domain.market.derived import TABLE, Told, numbers_of, values_at
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.session.phases import EVALUATED
from domain.signals.alert import Alert, AlertKey
from domain.signals.conditioned import ConditionEvaluator
from domain.signals.evaluator import AlertTerms, Evaluator, Reading
from domain.signals.outcome import Outcome, outcome_in
from domain.signals.predicates import Seen, seen_in
from domain.units import Ticks, Utc

_AT = {name: n for n, name in enumerate(COLUMNS)}


@dataclass(frozen=True, eq=False, slots=True)
class TickerDay:
    """One ticker's session: measures (columns, readings), NaN = missing, and of which buckets there was a reading.

    `told` are the derived series as they were told in it, ascending.
    """

    ticker: str
    day: TradingDay
    values: Floats
    is_read: NDArray[np.bool_]
    told: tuple[Told, ...] = ()

    @classmethod
    def of(cls, ticker: str, day: TradingDay, values: Floats) -> TickerDay:
        """Return a session in which every bucket of which anything is known had a reading."""
        return cls(ticker, day, values, np.asarray((~np.isnan(values)).any(axis=0)))

    def end_of(self, at: int) -> Utc:
        """Return when a bucket of the session ends."""
        return Utc(self.day.open_utc + (at + 1) * BUCKET_NS)


@dataclass(frozen=True, slots=True)
class Lane:
    """What a source looks for, and which of it may trade (`kind-version`); `raised_ms` after a bucket it is found."""

    source: str
    evaluators: tuple[Evaluator[Any, Any], ...]
    promoted: tuple[str, ...] = ()
    raised_ms: int = 0


@dataclass(slots=True)
class Memory:
    """What goes on from one session to the next: the end of the bucket of each ticker's and version's last alert."""

    last_utc: dict[tuple[str, str], Utc] = field(default_factory=dict)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as it is recorded, with what became of it."""

    alert: Alert
    features: tuple[float | None, ...]
    forces: tuple[Force, ...]
    alignment: float | None
    thresholds: tuple[tuple[str, float], ...]
    pushes: tuple[Push, ...]
    outcome: Outcome


def alerts_in(days: Sequence[TickerDay], lane: Lane, rules: DayRules, memory: Memory) -> tuple[Found, ...]:
    """Return the alerts of a lane's evaluators, in the order of buckets, tickers and evaluators; `memory` goes on.

    Args:
        days: tickers of one session.
        lane: who looks, and for what.
        rules: the phases of the day.
        memory: what is known of earlier sessions.
    """
    seen = seen_in(columns([one.values for one in days], [one.day for one in days]))
    seen = seen._replace(derived=_derived(days, seen.spot.shape[-1]))
    is_judged = np.zeros(seen.spot.shape, np.bool_)
    for series, one in enumerate(days):
        is_judged[series, : one.day.buckets] = one.is_read & in_phase(one.day, rules)
    found: list[tuple[int, int, int, Found]] = []
    for place, evaluator in enumerate(lane.evaluators):
        version = evaluator.version_name
        for series, at, terms in _terms(seen, is_judged, days, evaluator, memory):
            one = days[series]
            memory.last_utc[one.ticker, version] = one.end_of(at)
            found.append((at, series, place, _found(seen, series, at, one, lane, evaluator, terms)))
    return tuple(one for *_, one in sorted(found, key=lambda entry: entry[:3]))


def _derived(days: Sequence[TickerDay], readings_n: int) -> Floats | None:
    """Return (derived series, series, readings) of what was told; `None` where nothing was."""
    if not any(one.told for one in days):
        return None
    found = np.full((len(TABLE), len(days), readings_n), np.nan)
    for series, one in enumerate(days):
        for at in range(one.day.buckets if one.told else 0):
            found[:, series, at] = numbers_of(values_at(one.told, one.end_of(at)))
    return found


def in_phase(day: TradingDay, rules: DayRules) -> NDArray[np.bool_]:
    """Return of each bucket whether alerts are looked for when it has ended."""
    starts = calendar.phase_starts(day, rules)
    ends = day.open_utc + np.arange(1, day.buckets + 1) * BUCKET_NS
    phases = np.searchsorted([start_utc for start_utc, _ in starts], ends, "right") - 1
    return np.array([phase in EVALUATED for _, phase in starts])[phases]


def directions_in(seen: Seen, evaluator: ConditionEvaluator) -> NDArray[np.int8]:
    """Return the directions of a condition where it is judged: no input is missing, and the forces are aligned."""
    rules = evaluator.rules
    is_whole = ~np.isnan(seen.spot) & (np.abs(seen.forces.alignment) >= rules.alignment_min)
    for name in evaluator.inputs:
        is_whole &= ~np.isnan(seen.feature(name))
    directions = np.asarray(type(evaluator).condition(seen, rules))
    return np.where(is_whole, directions, 0).astype(np.int8)


def _terms(
    seen: Seen, is_judged: NDArray[np.bool_], days: Sequence[TickerDay], evaluator: Evaluator[Any, Any], memory: Memory
) -> Iterator[tuple[int, int, AlertTerms]]:
    """Yield (series, reading, terms) of an evaluator's alerts."""
    version = evaluator.version_name
    if isinstance(evaluator, ConditionEvaluator):
        directions = np.where(is_judged, directions_in(seen, evaluator), 0)
        pause = -(-evaluator.rules.cooldown_ms * MS // BUCKET_NS)
        for series, one in enumerate(days):
            last_utc = memory.last_utc.get((one.ticker, version))
            until_utc = 0 if last_utc is None else last_utc + evaluator.rules.cooldown_ms * MS
            since = -(-(until_utc - one.day.open_utc) // BUCKET_NS) - 1  # the first that ends with the cooldown
            for at in _spaced(np.flatnonzero(directions[series]), max(pause, 1), since):
                spot = Ticks(int(seen.spot[series, at]))
                terms = evaluator.terms(spot, int(directions[series, at]), evaluator.thresholds)
                yield series, at, terms
        return
    for series, one in enumerate(days):
        state = evaluator.initial(memory.last_utc.get((one.ticker, version)))
        for at, reading in readings_in(seen, series, one, np.flatnonzero(is_judged[series])):
            judged = evaluator.evaluate(state, reading)
            state = judged.state
            if judged.terms is not None:
                yield series, at, judged.terms


def _spaced(places: NDArray[np.intp], pause: int, since: int) -> Iterator[int]:
    """Yield the places from `since` on that are at least `pause` from the one before."""
    n = int(np.searchsorted(places, since))
    while n < len(places):
        at = int(places[n])
        yield at
        n = int(np.searchsorted(places, at + pause))


def readings_in(
    seen: Seen, series: int, one: TickerDay, wanted: NDArray[np.intp]
) -> Iterator[tuple[int, Reading]]:  # fmt: skip
    """Yield the readings of these places as evaluators see them live."""
    features, context = _rows(seen.features[:, series, wanted]), _rows(seen.context[:, series, wanted])
    scores, confidences = (
        part[:, series, wanted].T.tolist() for part in (seen.forces.scores, seen.forces.confidences)
    )  # fmt: skip
    alignments = _rows(seen.forces.alignment[series, wanted][None])
    prices = _rows(one.values[[_AT[name] for name in ("spot", "zero_gamma", "net_oi")]][:, wanted])
    for n, at in enumerate(wanted.tolist()):
        spot, zero, net_gamma = prices[n]
        yield at, Reading(
            Utc(one.day.open_utc + at * BUCKET_NS), features[n], None if spot is None else Ticks(int(spot)),
            None if zero is None else Ticks(int(zero)), context[n], _forces(scores[n], confidences[n]),
            alignments[n][0], net_gamma, values_at(one.told, one.end_of(at)),
        )  # fmt: skip


def _found(
    seen: Seen, series: int, at: int, one: TickerDay, lane: Lane, evaluator: Evaluator[Any, Any], terms: AlertTerms
) -> Found:
    bucket_utc = Utc(one.day.open_utc + at * BUCKET_NS)
    alert = Alert(
        key=AlertKey(lane.source, one.ticker, evaluator.kind, evaluator.rules.version, bucket_utc),
        direction=terms.direction, entry_ticks=terms.entry_ticks, target_ticks=terms.target_ticks,
        stop_ticks=terms.stop_ticks, horizon_ms=terms.horizon_ms,
        is_shadow=evaluator.version_name not in lane.promoted,
        raised_utc=Utc(bucket_utc + BUCKET_NS + lane.raised_ms * MS),
    )  # fmt: skip
    ((features,), (context,)) = (_rows(part[:, series, [at]]) for part in (seen.features, seen.context))
    scores, confidences = (part[:, series, at].tolist() for part in (seen.forces.scores, seen.forces.confidences))
    ((alignment,),) = _rows(seen.forces.alignment[series, [at]][None])
    evidence = Evidence(features, context, _forces(scores, confidences), alignment)
    return Found(
        alert=alert, features=features, forces=evidence.forces, alignment=alignment, thresholds=terms.thresholds,
        pushes=evidence.pushes,
        outcome=outcome_in(alert, one.values[_AT["spot"]], one.day.open_utc, one.day.close_utc),
    )  # fmt: skip


def _forces(scores: Sequence[float], confidences: Sequence[float]) -> tuple[Force, ...]:
    return tuple(Force(*force) for force in zip(INPUTS, scores, confidences, strict=True))


def _rows(values: Floats) -> list[tuple[float | None, ...]]:
    """Return (names, readings) reading by reading, `None` where missing."""
    told = values.astype(object)
    told[np.isnan(values)] = None
    return [tuple(row) for row in told.T.tolist()]
