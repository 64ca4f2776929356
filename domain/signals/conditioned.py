"""The live evaluator of every alert kind that is a condition over features, forces and context.

A condition is written once (`domain/signals/predicates.py`); here it is asked about one reading. Of two readings in
which it holds the later one is let go while the cooldown lasts, as `spaced` does in columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np
from msgspec.structs import replace

from domain.features.context import AGES, CONTEXT
from domain.features.forces import INPUTS, Forces
from domain.features.measures import Floats
from domain.market.derived import PLACES, numbers_of
from domain.signals.evaluator import AlertRules, Evaluated, Evaluator, EvaluatorState, Reading, alert_end
from domain.signals.predicates import Condition, ConditionRules, Seen
from domain.signals.registry import FEATURES, INDEX
from domain.units import Utc

_NO_CONTEXT = (None,) * len(CONTEXT)
_COMMON = frozenset(field.name for field in fields(AlertRules))


class ConditionEvaluator(Evaluator[ConditionRules, EvaluatorState]):
    """Judges a condition; an input that is missing is no judgement, and every kind asks for an alignment."""

    condition: ClassVar[Condition]

    def __init__(self, rules: ConditionRules) -> None:
        super().__init__(rules)
        self.inputs = inputs_of(type(self).condition, rules)
        self._of_features = _at([INDEX[name] for name in self.inputs if name in INDEX])
        self._of_context = _at([CONTEXT.index(name) for name in self.inputs if name in CONTEXT])
        self._is_derived = any(name in PLACES for name in self.inputs)
        own = (field.name for field in fields(rules) if field.name not in _COMMON)
        self.thresholds = tuple((name, float(getattr(rules, name))) for name in own)

    def initial(self, last_alert_utc: Utc | None) -> EvaluatorState:
        """Keep the cooldown; a condition knows nothing else of before."""
        return EvaluatorState(last_alert_utc=alert_end(last_alert_utc))

    def evaluate(self, state: EvaluatorState, reading: Reading) -> Evaluated[EvaluatorState]:
        """Judge one reading."""
        if reading.spot is None or not self._is_whole(reading):
            missing = self.missing(reading)
            if reading.spot is None or missing:
                return Evaluated(state, why=f"missing {', '.join(missing)}")
        state = replace(state, last_seen_utc=reading.bucket_utc)
        if reading.alignment is None or abs(reading.alignment) < self.rules.alignment_min:
            return Evaluated(state)
        direction = self.direction(reading)
        if not direction:
            return Evaluated(state)
        if self.is_cooling(state, reading):
            return Evaluated(state, why="cooldown: this one is let go")
        terms = self.terms(reading.spot, direction, self.thresholds)
        return Evaluated(replace(state, last_alert_utc=reading.end_utc), terms)

    def direction(self, reading: Reading) -> int:
        """Return what the condition says of one reading; plain numbers are many times as fast as arrays of one."""
        return int(type(self).condition(numbers_of_reading(reading), self.rules))

    def _is_whole(self, reading: Reading) -> bool:
        """Return whether all that is asked for is there for sure: what `missing` says, found out in less time."""
        features, context = reading.features, reading.context
        if (
            self._is_derived
            or reading.alignment is None
            or len(features) < len(FEATURES)
            or len(context) < len(CONTEXT)
        ):
            return False
        return None not in self._of_features(features) and None not in self._of_context(context)

    def missing(self, reading: Reading) -> list[str]:
        """Return what is asked for and is not there, by name."""
        missing = [] if reading.spot is not None else ["spot"]
        if reading.alignment is None:
            missing.append("alignment")
        for name in self.inputs:
            if name in PLACES:
                is_known = any(f"{symbol}.{series}" == name for symbol, series, _ in reading.derived)
            else:
                known: Sequence[float | None] = reading.features if name in INDEX else reading.context
                at = INDEX[name] if name in INDEX else CONTEXT.index(name)
                is_known = at < len(known) and known[at] is not None
            if not is_known:
                missing.append(name)
        return missing


def _at(places: Sequence[int]) -> Callable[[Sequence[float | None]], tuple[float | None, ...]]:
    """Return what takes the values at these places, as a tuple of one at least where there are any."""
    return itemgetter(*places, places[0]) if places else lambda _: ()


def conditioned(kind: str, condition: Condition, rules_type: type[ConditionRules]) -> type[ConditionEvaluator]:
    """Return the live evaluator of a kind."""
    what = {"kind": kind, "rules_type": rules_type, "condition": staticmethod(condition), "__doc__": condition.__doc__}
    return type(f"{kind.title().replace('_', '')}Evaluator", (ConditionEvaluator,), what)


def seen_of(reading: Reading) -> Seen:
    """Return what a condition looks at of one reading, as columns of length one."""
    return _seen(reading, (-1, 1, 1))


@lru_cache(maxsize=1)
def numbers_of_reading(reading: Reading) -> Seen:
    """Return what a condition looks at of one reading, without axes; the kinds of a lane share it."""
    return _seen(reading, (-1,))


def _seen(reading: Reading, shape: tuple[int, ...]) -> Seen:
    forces = {force.name: force for force in reading.forces}
    scores = [forces[name].score if name in forces else None for name in INPUTS]
    confidences = [forces[name].confidence if name in forces else None for name in INPUTS]
    context = reading.context or _NO_CONTEXT
    told = np.array((*reading.features, *context, *scores, *confidences, reading.alignment, reading.spot), np.float64)
    told = told.reshape(shape)  # what was `None` is NaN
    told.setflags(write=False)
    features_n, forces_at = len(reading.features), len(reading.features) + len(context)
    confidences_at = forces_at + len(INPUTS)
    return Seen(
        spot=told[-1],
        features=told[:features_n],
        context=told[features_n:forces_at],
        forces=Forces(told[forces_at:confidences_at], told[confidences_at:-2], told[-2]),
        derived=numbers_of(reading.derived).reshape(shape) if reading.derived else None,
    )


def _column(values: Sequence[float | None]) -> Floats:
    return np.array(values, np.float64).reshape(-1, 1, 1)  # `None` becomes NaN


class _Asking(Seen):
    """Notes which features and context a condition asks for; everything is missing."""

    asked: ClassVar[list[str]]

    def feature(self, name: str) -> Floats:
        self.asked.append(name)
        return super().feature(name)


def inputs_of(condition: Condition, rules: Any) -> tuple[str, ...]:
    """Return what a condition asks for, each once; an age is none: missing, it says that spot never was there."""
    names: list[str] = []
    asking = type("_Noting", (_Asking,), {"asked": names})
    nothing = Seen(
        _column((None,))[0], _column((None,) * len(FEATURES)), _column((None,) * len(CONTEXT)),
        Forces(_column((None,) * len(INPUTS)), _column((None,) * len(INPUTS)), _column((None,))[0]),
    )  # fmt: skip
    condition(asking(*nothing), rules)
    return tuple(dict.fromkeys(name for name in names if name not in AGES))
