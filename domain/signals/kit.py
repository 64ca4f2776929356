"""What a file of one's own that adds alert kinds imports, and what is asked of the kinds in it.

Such a file holds a table `KINDS`: a name, and behind it the condition and its thresholds. A condition is asked about
one reading live and about whole sessions at once in columns, so it looks at each reading by itself (numpy's operations
on arrays do), and says 0 where anything is missing. Whatever it raises is a sentence with its file and line, never a
crash of the lane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

import numpy as np

from domain.features.context import CONTEXT
from domain.features.forces import INPUTS, Forces
from domain.market.derived import PLACES, REGIMES, Regime
from domain.signals.conditioned import ConditionEvaluator, conditioned, seen_of
from domain.signals.evaluator import Evaluated, EvaluatorState, Reading
from domain.signals.predicates import Condition, ConditionRules, Directions, Seen, fires
from domain.signals.registry import FEATURES

__all__ = ["REGIMES", "ConditionRules", "Directions", "Regime", "Seen", "fires"]  # what a file needs; the rest is ours

_TRIED: Final = (2, 32)  # series and readings of the trial that a condition is put to


class KindError(Exception):
    """A condition of one's own raised, or said what cannot be; one sentence with its file and line."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An alert kind of one's own: where it stands, its evaluator and its thresholds as the file has them."""

    name: str
    path: str
    evaluator: type[ConditionEvaluator]
    rules: ConditionRules


class OwnEvaluator(ConditionEvaluator):
    """Judges a condition of one's own; one that fails judges nothing, and says where it failed."""

    path: ClassVar[str]

    def direction(self, reading: Reading) -> int:
        """Return what the condition says of one reading; a person's code is given arrays, as in columns."""
        return int(type(self).condition(seen_of(reading), self.rules)[0, 0])

    def evaluate(self, state: EvaluatorState, reading: Reading) -> Evaluated[EvaluatorState]:
        """Judge one reading."""
        try:
            return super().evaluate(state, reading)
        except KindError as error:
            return Evaluated(state, why=str(error))


def own_kind(name: str, path: str, condition: Condition, rules: ConditionRules) -> Kind:
    """Return a kind of a file.

    Raises:
        KindError: the condition raises, looks beyond one reading, or finds something where everything is missing.
    """

    def guarded(seen: Seen, thresholds: Any) -> Directions:
        try:
            found = np.asarray(condition(seen, thresholds))
        except Exception as error:  # whatever a person's code raises
            raise KindError(f"{name} failed in {fault_of(error, path)}") from error
        if found.shape != seen.spot.shape:
            raise KindError(f"{name} in {path} gives {found.shape} directions for readings of {seen.spot.shape}.")
        if not np.isin(found, (-1, 0, 1)).all():
            raise KindError(f"{name} in {path} must give +1, −1 or 0 for each reading; end it with `fires`.")
        return found.astype(np.int8)

    guarded.__doc__ = condition.__doc__
    put_to_trial(name, path, guarded, rules)
    made = type(f"{name.title().replace('_', '')}Evaluator", (OwnEvaluator, conditioned(name, guarded, type(rules))), {
        "path": path,
    })  # fmt: skip
    return Kind(name, path, made, rules)


def put_to_trial(name: str, path: str, condition: Condition, rules: ConditionRules) -> None:
    """Put a condition to readings of which nothing is known, and to made-up ones, together and one by one.

    Raises:
        KindError: it raises, looks beyond one reading, or finds something where everything is missing.
    """
    if np.any(condition(_readings(np.full((_ROWS, 1, 1), np.nan)), rules)):
        raise KindError(f"{name} in {path} finds something where everything is missing; NaN must give 0.")
    shape = (_ROWS, *_TRIED)
    for scale in (0.1, 1.0, 30.0):
        values = scale * np.sin(1.7 * np.arange(math.prod(shape), dtype=np.float64) ** 1.3).reshape(shape)
        together = condition(_readings(values), rules)
        alone = [condition(_readings(values[:, at : at + 1, n : n + 1]), rules)[0, 0] for at, n in np.ndindex(*_TRIED)]
        if together.ravel().tolist() != alone:
            raise KindError(
                f"{name} in {path} judges a reading by other readings (in columns it finds others than live); use what"
                " works on each element by itself, no mean, shift or sort."
            )


_ROWS: Final = 1 + len(FEATURES) + len(CONTEXT) + 2 * len(INPUTS) + 1 + len(PLACES)


def _readings(values: np.ndarray[Any, np.dtype[np.float64]]) -> Seen:
    parts = np.split(values, np.cumsum([1, len(FEATURES), len(CONTEXT), len(INPUTS), len(INPUTS), 1]))
    spot, features, context, scores, confidences, alignment, derived = parts
    return Seen(6e5 + spot[0], features, context, Forces(scores, confidences, alignment[0]), derived)


def fault_of(error: BaseException, path: str) -> str:
    """Return where in a file something was raised, and what, for the end of a sentence."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    where = path if line is None else f"{path}, line {line}"
    return f"{where}: {type(error).__name__}: {' '.join(said.split()) or 'no word'}."


def odd_thresholds(rules: ConditionRules) -> list[str]:
    """Return the thresholds that are no finite numbers."""
    return [
        field.name
        for field in fields(rules)
        if not isinstance(value := getattr(rules, field.name), int | float) or not math.isfinite(value)
    ]


def table_of(told: object, path: str) -> Mapping[str, tuple[Condition, ConditionRules]]:
    """Return a file's table of kinds.

    Raises:
        KindError: it is none; one sentence.
    """
    form = 'KINDS = {"NAME": (condition, Rules(...))}'
    if not isinstance(told, Mapping) or not told:
        raise KindError(f"{path} has no table of alert kinds; end it with `{form}`.")
    for name, row in told.items():
        match row:
            case (condition, ConditionRules()) if callable(condition):
                pass
            case _:
                raise KindError(f"{path} must name {name!r} with its condition and its rules, as `{form}`.")
    return dict(told)
