"""What one reading says: its 73 features, the context beside them, five forces and their alignment, as values."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from domain.features.context import context_of
from domain.features.forces import INPUTS, Push, explained, forces_of
from domain.features.formulas import features_of, rounded
from domain.features.frames import Frames
from domain.features.measures import Floats
from domain.signals.registry import FEATURES


class Force(msgspec.Struct, frozen=True):
    """One force: `score` in [−1, +1] as it goes into the alignment (gamma's does not), `confidence` in [0, 1]."""

    name: str
    score: float
    confidence: float


class Evidence(msgspec.Struct, frozen=True):
    """What a reading says, `None` = missing: features in the registry's order, context in that of `CONTEXT`.

    `alignment` is `None` where fewer than three of the four directed forces have a confidence of at least 0.5.
    """

    features: tuple[float | None, ...]
    context: tuple[float | None, ...]
    forces: tuple[Force, ...]
    alignment: float | None

    @property
    def pushes(self) -> tuple[Push, ...]:
        """What each feature pushed, force by force, the strongest of each first."""
        return explained(_numbers(self.features), _numbers(self.context))


def said_of(frames: Frames) -> tuple[Floats, Floats]:
    """Return features and context of the readings evaluated, rounded together to 12 significant digits; NaN = missing.

    Returns:
        (73, series, evaluated) in the registry's order, and (4, …) in that of `CONTEXT`; live (73,) and (4,).
    """
    both = rounded(np.concatenate([features_of(frames), context_of(frames)]))
    return both[: len(FEATURES)], both[len(FEATURES) :]


def evidence_of(frames: Frames) -> Evidence:
    """Return what the newest reading says, live."""
    features, context = said_of(frames)
    forces = forces_of(features, context)
    scored = zip(INPUTS, forces.scores.tolist(), forces.confidences.tolist(), strict=True)
    (alignment,) = _values(forces.alignment[None])
    return Evidence(
        features=_values(features),
        context=_values(context),
        forces=tuple([Force(name, score, confidence) for name, score, confidence in scored]),
        alignment=alignment,
    )


def _values(numbers: Floats) -> tuple[float | None, ...]:
    return tuple([None if value != value else value for value in numbers.tolist()])  # noqa: PLR0124 - NaN is missing


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array(values, np.float64)  # `None` becomes NaN
