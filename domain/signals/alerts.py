"""The alert kinds there are. A new kind is a module with its evaluator, a row here, and its rules in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.signals.evaluator import Evaluator
from domain.signals.gamma_flip import GAMMA_FLIP, FlipEvaluator
from domain.signals.structure_break import STRUCTURE_BREAK, BreakEvaluator

# `Any`: each evaluator has rules and a state of its own, and only the evaluator looks into them.
EVALUATORS: Final[Mapping[str, type[Evaluator[Any, Any]]]] = {
    GAMMA_FLIP: FlipEvaluator,
    STRUCTURE_BREAK: BreakEvaluator,
}
