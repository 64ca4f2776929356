"""Five forces from features, and their alignment; what each input pushed can be told afterwards.

An input presses spot with tanh(value ÷ scale), up where positive; some count only as far as a *carrier* goes with them
(vanna presses when volatility moves, convexity in the direction of the delta that is traded). A force's score is the
mean over the inputs that are there, its confidence their share. **Gamma has no direction**: its score says damping (+)
or amplifying (−), and it scales the four others by 1 − ½ × score × confidence before they are aligned. The contract
averages gamma with them; that would let a calm regime vote for a rise. Scales are first settings, to be judged by
outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from domain.features.context import CONTEXT
from domain.features.formulas import rounded
from domain.features.frames import chosen
from domain.features.measures import Floats
from domain.signals.registry import INDEX

CONFIDENT: Final = 0.5
FORCES_MIN: Final = 3
GAMMA_SCALES: Final = 0.5  # by how much of themselves the others shrink or grow at most
IV_MOVE: Final = 0.03  # a relative change of volatility in 15 min that counts as one
DEX_Z: Final = 2.0


class Input(NamedTuple):
    """One input: at `scale` it presses with tanh(1), down for a negative scale; `carrier` names what it goes with."""

    name: str
    scale: float
    carrier: str | None = None


class Push(NamedTuple):
    """How far one feature pushed one force, beside its value; the pushes of a force add up to its score."""

    force: str
    name: str
    value: float
    push: float


class Forces(NamedTuple):
    """Scores and confidences (5, series, evaluated) in the order of `INPUTS`, and the alignment (series, evaluated).

    Live there are no axes for series and readings. The scores of the four directions are scaled by gamma. An alignment
    is NaN where fewer than three of them are confident.
    """

    scores: Floats
    confidences: Floats
    alignment: Floats


GAMMA: Final = "gamma"
INPUTS: Final[Mapping[str, tuple[Input, ...]]] = {
    GAMMA: (
        Input("loc_zero_gamma_bps", 20.0), Input("loc_zero_gamma_moves", 0.5),
        Input("mag_net_vol_z", 2.0), Input("mag_net_oi_z", 2.0),
    ),
    "charm": (
        Input("greek_charm_zero", 0.5, "time"), Input("greek_charm_one", 0.5, "time"),
        Input("greek_charm_near_left", 0.1),
    ),
    "vanna": (
        Input("greek_vanna_zero", 0.5, "iv"), Input("greek_vanna_one", 0.5, "iv"),
        Input("greek_vanna_near", 0.25, "iv"),
    ),
    "flow": (
        Input("flow_dex_5m_z", DEX_Z), Input("flow_dex_15m_z", DEX_Z), Input("flow_gex_5m_z", -2.0, "dex"),
        Input("flow_cvr_5m_z", 2.0, "dex"),
    ),
    "structure": (
        Input("loc_major_pos_vol_moves", 0.5), Input("loc_major_neg_vol_moves", 0.5), Input("price_momentum", 1.0),
        Input("price_return_5m_bps", 10.0),
    ),
}  # fmt: skip
DIRECTED: Final = tuple(name for name in INPUTS if name != GAMMA)
WEIGHTS: Final[Mapping[str, float]] = dict.fromkeys(DIRECTED, 1.0)
CARRIERS: Final = {
    "time": "share of the session that is over",
    "iv": f"tanh(ln(iv ÷ iv[15]) ÷ {IV_MOVE})",
    "dex": f"tanh(flow_dex_5m_z ÷ {DEX_Z:g})",
}
_WIDEST: Final = max(map(len, INPUTS.values()))
# Inputs by place and force; a force with fewer has places that never count.
_PLACES: Final = [[inputs[n] if n < len(inputs) else None for inputs in INPUTS.values()] for n in range(_WIDEST)]
_ROWS: Final = np.array([[0 if one is None else INDEX[one.name] for one in row] for row in _PLACES])
_SCALES: Final = np.array([[np.nan if one is None else one.scale for one in row] for row in _PLACES])
_CARRIER_AT: Final = {None: 0} | {carrier: 1 + n for n, carrier in enumerate(CARRIERS)}  # 0: goes by itself
_CARRIED: Final = np.array([[_CARRIER_AT[None if one is None else one.carrier] for one in row] for row in _PLACES])
_SIZES: Final = np.array([len(inputs) for inputs in INPUTS.values()], np.float64)


def forces_of(features: Floats, context: Floats, weights: Mapping[str, float] = WEIGHTS) -> Forces:
    """Return forces and alignment of features (73, series, evaluated) and their context; live without those axes."""
    terms = _terms(features, context)
    is_there = terms == terms  # noqa: PLR0124 - NaN is missing
    present = _sum(is_there.astype(np.float64))
    scores = _sum(np.where(is_there, terms, 0.0)) / np.maximum(present, 1.0)
    confidences = (present.T / _SIZES).T
    scores[1:] *= _gamma_factor(scores[0], confidences[0])
    np.minimum(np.maximum(scores, -1.0), 1.0, out=scores)
    out = np.empty((2 * len(scores) + 1, *scores.shape[1:]))
    out[: len(scores)], out[len(scores) : -1] = scores, confidences
    out[-1] = alignment_of(scores, confidences, weights)
    out = rounded(out)
    n = len(INPUTS)
    return Forces(out[:n], out[n : 2 * n], out[2 * n])


def _terms(features: Floats, context: Floats) -> Floats:
    """Return what each input presses, (places, forces, series, evaluated); NaN = missing."""
    terms = np.tanh((features[_ROWS].T / _SCALES.T).T)
    carriers = np.empty((1 + len(CARRIERS), *features.shape[1:]))
    carriers[0] = 1.0  # what goes by itself
    carriers[_CARRIER_AT["time"]] = features[INDEX["price_time_of_day"]]
    carriers[_CARRIER_AT["iv"]] = np.tanh(context[CONTEXT.index("iv_change_15m")] / IV_MOVE)
    carriers[_CARRIER_AT["dex"]] = np.tanh(features[INDEX["flow_dex_5m_z"]] / DEX_Z)
    return np.asarray(terms * carriers[_CARRIED])


def _gamma_factor(score: Floats, confidence: Floats) -> Floats:
    return 1.0 - GAMMA_SCALES * score * confidence


def alignment_of(scores: Floats, confidences: Floats, weights: Mapping[str, float]) -> Floats:
    """Return the weighted mean of the directed forces' scores × the share of them that agree with its sign.

    Only forces with a confidence of at least 0.5 count; NaN where fewer than three of the four have it. Gamma, which
    comes first in both arrays, is not among them.
    """
    counted = (confidences[1:] >= CONFIDENT).astype(np.float64)
    weighing = (counted.T * np.array([weights[name] for name in DIRECTED])).T
    confident, weight = _sum(counted), _sum(weighing)
    mean = _sum(weighing * scores[1:]) / chosen(weight > 0.0, weight)
    agreeing = _sum(counted * (scores[1:] * mean > 0.0))
    return chosen(confident >= FORCES_MIN, mean * agreeing / np.maximum(confident, 1.0))


def _sum(parts: Floats) -> Floats:
    """Return the sum over the first axis, one after the other: numpy's may depend on how many readings there are."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return np.asarray(total)


def explained(features: Floats, context: Floats) -> tuple[Push, ...]:
    """Return what every present input of one reading pushed, force by force, the strongest of each first.

    Args:
        features: (73,) of one reading, NaN = missing.
        context: (4,) of the same reading.
    """
    terms: list[list[float]] = _terms(features, context).T.tolist()
    values: list[float] = features.tolist()
    found: list[Push] = []
    factor = 1.0
    for (force, inputs), of_force in zip(INPUTS.items(), terms, strict=True):
        present = [(one.name, term) for one, term in zip(inputs, of_force, strict=False) if not math.isnan(term)]
        pushes = [Push(force, name, values[INDEX[name]], term / len(present) * factor) for name, term in present]
        if force == GAMMA:
            factor = 1.0 - GAMMA_SCALES * sum(push.push for push in pushes) * len(present) / len(inputs)
        found += sorted(pushes, key=lambda push: -abs(push.push))
    return tuple(found)
