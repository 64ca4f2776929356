"""What one reading says: its 73 features, the context beside them, five forces and their alignment, as values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from domain.features.context import context_of
from domain.features.forces import INPUTS, Push, explained, forces_of
from domain.features.formulas import features_of
from domain.features.frames import Frames
from domain.features.measures import Floats


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


def evidence_of(frames: Frames) -> Evidence:
    """Return what the newest reading of one series says."""
    features, context = features_of(frames), context_of(frames)
    forces = forces_of(features, context)
    scored = zip(INPUTS, forces.scores[:, 0, -1].tolist(), forces.confidences[:, 0, -1].tolist(), strict=True)
    return Evidence(
        features=_values(features[:, 0, -1]),
        context=_values(context[:, 0, -1]),
        forces=tuple(Force(name, score, confidence) for name, score, confidence in scored),
        alignment=_values(forces.alignment[0, -1:])[0],
    )


def _values(numbers: Floats) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else value for value in numbers.tolist())


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float64)
