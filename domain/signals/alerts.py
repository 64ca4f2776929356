"""The alert kinds there are. A new kind is a condition (a row of `CONDITIONS`), or a module and its row here.

Its thresholds stand in the settings, one table a kind (`alert_rules`); further versions that run beside it as shadows
stand in `alert_trials`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from domain.signals.conditioned import conditioned
from domain.signals.evaluator import AlertRules, Evaluator
from domain.signals.gamma_flip import GAMMA_FLIP, FlipEvaluator
from domain.signals.predicates import CONDITIONS

# `Any`: each evaluator has rules and a state of its own, and only the evaluator looks into them.
EVALUATORS: Final[Mapping[str, type[Evaluator[Any, Any]]]] = {
    GAMMA_FLIP: FlipEvaluator,
    **{kind: conditioned(kind, condition, rules) for kind, (condition, rules) in CONDITIONS.items()},
}


def evaluators_of(
    kinds: Iterable[str],
    rules: Mapping[str, AlertRules],
    trials: Mapping[str, tuple[AlertRules, ...]],
    known: Mapping[str, type[Evaluator[Any, Any]]] = EVALUATORS,
) -> tuple[Evaluator[Any, Any], ...]:
    """Return the evaluators of a lane: of each kind the version of its rules, then those that are tried beside it.

    Raises:
        KeyError: no kind of the name.
    """
    return tuple(
        known[kind](version) for kind in kinds for version in (rules[kind], *trials.get(kind, ()))
    )  # fmt: skip
