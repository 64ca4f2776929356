"""Which one threshold kept a conditioned kind from an alert, and how little was lacking: for people, never a decision.

Of a condition over many inputs a distance of spot says nothing. What can be said: with this one threshold so much
looser, and all others as they are, this reading would have met the condition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.features.forces import Forces
from domain.market.derived import PLACES
from domain.ranges import Range
from domain.signals.conditioned import ConditionEvaluator, seen_of
from domain.signals.evaluator import Reading
from domain.signals.kit import KindError
from domain.signals.nearest_miss import LEAD_NS
from domain.signals.predicates import ConditionRules, Seen

_HALVINGS: Final = 64
_ANY: Final = Range(-1e6, 1e6)  # of a threshold of one's own that names no range
_Found = NDArray[np.bool_]


class NearThreshold(msgspec.Struct, frozen=True):
    """A reading in whose way one threshold alone stood.

    `limit` is what the settings say, `needed` the value nearest to it at which the condition is met.
    """

    reading: Reading
    name: str
    limit: float
    needed: float

    @property
    def share(self) -> float:
        """How far the threshold would have to be moved, as a share of it (of 1, where it is 0)."""
        return abs(self.needed - self.limit) / (abs(self.limit) or 1.0)


def nearest_threshold(evaluator: ConditionEvaluator, readings: Iterable[Reading]) -> NearThreshold | None:
    """Return what came nearest by `share`; `None` where no single threshold stood in the way of any reading.

    Readings come in the order of their buckets. What led up to one that met the condition is left out, as in
    `nearest_miss`, and so is a reading of which an input is missing. Of a condition of one's own that fails on any of
    them nothing can be said.
    """
    try:
        return _nearest_of_all(evaluator, readings)
    except KindError:
        return None


def _nearest_of_all(evaluator: ConditionEvaluator, readings: Iterable[Reading]) -> NearThreshold | None:
    whole = [reading for reading in readings if not evaluator.missing(reading)]
    if not whole:
        return None
    seen, rules = _together([seen_of(reading) for reading in whole]), evaluator.rules
    met = _met(evaluator, seen, rules)
    alerts = [whole[at].bucket_utc for at in np.flatnonzero(met)]
    candidates = np.array([not any(0 <= at - one.bucket_utc <= LEAD_NS for at in alerts) for one in whole])
    near = [
        found for name, range_ in _ranges(type(rules)).items() for end in (range_.least, range_.most)
        if (found := _nearest(evaluator, whole, seen, candidates, name, end)) is not None
    ]  # fmt: skip
    return min(near, key=lambda one: one.share, default=None)


def _nearest(
    evaluator: ConditionEvaluator, readings: list[Reading], seen: Seen, candidates: _Found, name: str, end: float
) -> NearThreshold | None:
    """Return the reading that a threshold moved towards one end of its range lets through first."""
    rules, limit = evaluator.rules, float(getattr(evaluator.rules, name))
    is_whole = isinstance(getattr(rules, name), int)

    def let_through(value: float) -> _Found:
        moved: Any = round(value) if is_whole else value
        return _met(evaluator, seen, type(rules)(**asdict(rules) | {name: moved})) & candidates

    if not let_through(end).any():
        return None
    refused, needed = limit, float(end)
    for _ in range(_HALVINGS):
        middle = (refused + needed) / 2.0
        if let_through(middle).any():
            needed = middle
        else:
            refused = middle
    first = int(np.flatnonzero(let_through(needed))[0])
    return NearThreshold(readings[first], name, limit, float(round(needed)) if is_whole else needed)


def _met(evaluator: ConditionEvaluator, seen: Seen, rules: Any) -> _Found:
    """Return by reading whether the condition is met; every kind asks for an alignment."""
    is_aligned = np.abs(seen.forces.alignment) >= rules.alignment_min
    met: _Found = np.asarray((type(evaluator).condition(seen, rules) != 0) & is_aligned)[0]
    return met


def _together(parts: list[Seen]) -> Seen:
    """Return many readings as columns of one series."""

    def join(arrays: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate(arrays, axis=-1)

    return Seen(
        join([one.spot for one in parts]), join([one.features for one in parts]), join([one.context for one in parts]),
        Forces(*(join([getattr(one.forces, name) for one in parts]) for name in Forces._fields)),
        _derived(parts),
    )  # fmt: skip


def _derived(parts: list[Seen]) -> NDArray[np.float64] | None:
    if all(one.derived is None for one in parts):
        return None
    none = np.full((len(PLACES), 1, 1), np.nan)
    return np.concatenate([none if one.derived is None else one.derived for one in parts], axis=-1)


def _ranges(rules_type: type[ConditionRules]) -> dict[str, Range]:
    """Return a kind's own thresholds with their ranges."""
    common = get_type_hints(ConditionRules).keys() - {"alignment_min"}
    own = {name: hint for name, hint in get_type_hints(rules_type, include_extras=True).items() if name not in common}
    return {
        name: next((mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Range)), _ANY)
        for name, hint in own.items()
    }
