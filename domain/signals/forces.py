"""Five forces as alerts have recorded them so far; those of all features are in `domain/features/forces.py`.

A force's score is the mean of tanh(feature ÷ scale), each with the sign in which it presses spot, over the inputs that
are there; the confidence is their share. Scales are first settings, to be judged by outcomes. Gamma's sign says
damping (+) or amplifying (−) rather than a direction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from domain.signals.registry import INDEX

CONFIDENT: Final = 0.5
FORCES_MIN: Final = 3


class Input(NamedTuple):
    """One feature of a force: a value of `scale` presses with tanh(1); a negative scale turns the sign."""

    feature: str
    scale: float


class ForceScore(NamedTuple):
    """One force: `score` in [−1, +1], `confidence` in [0, 1]."""

    name: str
    score: float
    confidence: float


INPUTS: Final[Mapping[str, tuple[Input, ...]]] = {
    "gamma": (
        Input("loc_zero_gamma_bps", 20.0), Input("loc_zero_gamma_moves", 0.5),
        Input("mag_net_vol_z", 2.0), Input("mag_net_oi_z", 2.0),
    ),
    "charm": (
        Input("greek_charm_zero", 0.5), Input("greek_charm_one", 0.5), Input("greek_charm_near_left", 0.25),
    ),
    "vanna": (
        Input("greek_vanna_zero", 0.5), Input("greek_vanna_one", 0.5), Input("greek_vanna_near", 0.25),
    ),
    "flow": (
        Input("flow_dex_5m_z", 2.0), Input("flow_dex_15m_z", 2.0), Input("flow_gex_5m_z", 2.0),
        Input("flow_cvr_5m_z", 2.0),
    ),
    "structure": (
        Input("loc_major_pos_vol_moves", 0.5), Input("loc_major_neg_vol_moves", 0.5), Input("price_momentum", 1.0),
        Input("price_return_5m_bps", 10.0),
    ),
}  # fmt: skip
WEIGHTS: Final[Mapping[str, float]] = dict.fromkeys(INPUTS, 1.0)


def scores(features: Sequence[float | None]) -> tuple[ForceScore, ...]:
    """Return the five forces of a reading's features (in the registry's order); without inputs 0 with confidence 0."""
    return tuple(_score(name, inputs, features) for name, inputs in INPUTS.items())


def _score(name: str, inputs: Sequence[Input], features: Sequence[float | None]) -> ForceScore:
    present = [(features[INDEX[i.feature]], i.scale) for i in inputs]
    terms = [math.tanh(value / scale) for value, scale in present if value is not None]
    score = sum(terms) / len(terms) if terms else 0.0
    return ForceScore(name, float(f"{score:.12g}"), float(f"{len(terms) / len(inputs):.12g}"))


def alignment(forces: Sequence[ForceScore], weights: Mapping[str, float] = WEIGHTS) -> float | None:
    """Return the weighted mean of the confident forces' scores × the share of them that agree with its sign.

    `None` where fewer than three forces have a confidence of at least 0.5.
    """
    confident = [force for force in forces if force.confidence >= CONFIDENT]
    if len(confident) < FORCES_MIN:
        return None
    total = sum(weights[force.name] for force in confident)
    mean = sum(weights[force.name] * force.score for force in confident) / total
    agreeing = sum(1 for force in confident if force.score * mean > 0.0)
    return float(f"{mean * agreeing / len(confident):.12g}")
