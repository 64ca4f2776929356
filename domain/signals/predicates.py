"""The conditions of the advisor's alert kinds, over features, forces and context: one reading or whole sessions alike.

Each returns the direction of an alert (+1, −1) or 0, by element; with a missing input there is no alert. All four ask
for an alignment in the alert's direction. Live a lane asks them about each reading (`domain/signals/conditioned.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.features.context import CONTEXT
from domain.features.evidence import said_of
from domain.features.forces import INPUTS, Forces, forces_of
from domain.features.frames import Frames
from domain.features.measures import Floats
from domain.instants import BUCKET_NS, MS
from domain.market.derived import PLACES
from domain.ranges import Bps, Count, Deviations, Moves, Score, Share, SignedScore
from domain.signals.evaluator import AlertRules
from domain.signals.registry import INDEX

Directions = NDArray[np.int8]

_FORCES: Final = {name: n for n, name in enumerate(INPUTS)}


class Seen(NamedTuple):
    """What a condition looks at: (…, series, evaluated) arrays, NaN = missing; `spot` in ticks.

    `derived` are the derived series in the order of their table; `None`: none of them was told.
    """

    spot: Floats
    features: Floats
    context: Floats
    forces: Forces
    derived: Floats | None = None

    def feature(self, name: str) -> Floats:
        """Return one feature, one of the context, or a derived series as `SYMBOL.name`."""
        found: Floats
        if name in INDEX:
            found = self.features[INDEX[name]]
        elif name in PLACES:
            found = np.full_like(self.spot, np.nan) if self.derived is None else self.derived[PLACES[name]]
        else:
            found = self.context[CONTEXT.index(name)]
        return found

    def score(self, force: str) -> Floats:
        """Return one force."""
        score: Floats = self.forces.scores[_FORCES[force]]
        return score

    def is_aligned(self, direction: Floats, least: float) -> NDArray[np.bool_]:
        """Return whether the alignment goes so far in a direction."""
        return np.asarray(direction * self.forces.alignment >= least)


def seen_in(frames: Frames) -> Seen:
    """Return what conditions look at, of all readings evaluated."""
    features, context = said_of(frames)
    return Seen(frames.now("spot"), features, context, forces_of(features, context))


@dataclass(frozen=True, slots=True)
class ConditionRules(AlertRules):
    """What every kind asks for."""

    alignment_min: SignedScore


@dataclass(frozen=True, slots=True)
class CascadeRules(ConditionRules):
    """How negative gamma is, how near the level, how fast the price, how strong the flow."""

    gamma_max: SignedScore
    near_moves: Moves
    pace_bps: Bps
    flow_z_min: Deviations


@dataclass(frozen=True, slots=True)
class SqueezeRules(ConditionRules):
    """From which share of the session on, how much charm near spot, how much smaller the range, how near the level."""

    time_of_day_min: Score
    charm_min: Score
    shrink_max: Moves
    near_moves: Moves


@dataclass(frozen=True, slots=True)
class LevelBreakRules(ConditionRules):
    """How far beyond the level, within how many readings of the near side, with how strong a flow."""

    beyond_bps: Bps
    within_readings: Count
    flow_z_min: Deviations


@dataclass(frozen=True, slots=True)
class UnwindRules(ConditionRules):
    """How fast volatility falls (relative, in 15 min), and how one-sided vanna is."""

    iv_fall_min: Share
    vanna_min: Score


def cascade_watch(seen: Seen, rules: CascadeRules) -> Directions:
    """Judge `CASCADE_WATCH`: negative gamma, spot accelerating toward the major negative level, flow going with it."""
    away = seen.feature("loc_major_neg_vol_moves")
    toward = -np.sign(away)
    pace = toward * seen.feature("price_return_5m_bps")
    return fires(
        seen,
        (seen.feature("loc_zero_gamma_bps") < 0.0)
        & (seen.score("gamma") <= rules.gamma_max)
        & (np.abs(away) <= rules.near_moves)
        & (pace >= rules.pace_bps)
        & (3.0 * pace >= toward * seen.feature("price_return_15m_bps"))  # faster than the two 5 min before it
        & (toward * seen.feature("flow_dex_5m_z") >= rules.flow_z_min)
        & seen.is_aligned(toward, rules.alignment_min),
        toward,
    )


def charm_squeeze(seen: Seen, rules: SqueezeRules) -> Directions:
    """Judge `CHARM_SQUEEZE`: late, positive gamma, range shrinking, charm near spot pressing to the positive major."""
    away = seen.feature("loc_major_pos_vol_moves")
    toward = -np.sign(away)
    return fires(
        seen,
        (seen.feature("price_time_of_day") >= rules.time_of_day_min)
        & (seen.feature("loc_zero_gamma_bps") > 0.0)
        & (seen.feature("range_shrink_30m") <= rules.shrink_max)
        & (np.abs(away) <= rules.near_moves)
        & (toward * seen.feature("greek_charm_near_left") >= rules.charm_min)
        & seen.is_aligned(toward, rules.alignment_min),
        toward,
    )


def structure_break(seen: Seen, rules: LevelBreakRules) -> Directions:
    """Judge `STRUCTURE_BREAK`: spot went beyond a major level with flow, never against the 30 min trend."""
    up = _is_beyond(seen.feature("loc_major_pos_vol_bps"), seen.feature("above_pos_age"), rules)
    down = _is_beyond(-seen.feature("loc_major_neg_vol_bps"), seen.feature("below_neg_age"), rules)
    direction = np.where(up, 1.0, -1.0)
    return fires(
        seen,
        (up != down)
        & (direction * seen.feature("price_return_30m_bps") >= 0.0)
        & (direction * seen.feature("flow_dex_5m_z") >= rules.flow_z_min)
        & seen.is_aligned(direction, rules.alignment_min),
        direction,
    )


def _is_beyond(away_bps: Floats, age: Floats, rules: LevelBreakRules) -> NDArray[np.bool_]:
    return np.asarray((away_bps >= rules.beyond_bps) & (age <= rules.within_readings))


def vanna_unwind(seen: Seen, rules: UnwindRules) -> Directions:
    """Judge `VANNA_UNWIND`: volatility falls fast while vanna lies on one side; hedges are taken off the other way."""
    vanna = seen.feature("greek_vanna_zero")
    direction = -np.sign(vanna)
    return fires(
        seen,
        (seen.feature("iv_change_15m") <= -rules.iv_fall_min)
        & (np.abs(vanna) >= rules.vanna_min)
        & (vanna * seen.feature("greek_vanna_near") > 0.0)
        & seen.is_aligned(direction, rules.alignment_min),
        direction,
    )


def fires(seen: Seen, is_met: NDArray[np.bool_], direction: Floats) -> Directions:
    """Return the direction where a condition is met; without spot there is nothing to enter at."""
    return np.where(is_met & ~np.isnan(seen.spot), direction, 0.0).astype(np.int8)


# `Any`: each kind has rules of its own, and only its condition looks into them.
Condition = Callable[[Seen, Any], Directions]
CONDITIONS: Final[Mapping[str, tuple[Condition, type[ConditionRules]]]] = {
    "CASCADE_WATCH": (cascade_watch, CascadeRules),
    "CHARM_SQUEEZE": (charm_squeeze, SqueezeRules),
    "STRUCTURE_BREAK": (structure_break, LevelBreakRules),
    "VANNA_UNWIND": (vanna_unwind, UnwindRules),
}


def spaced(directions: Directions, rules: AlertRules) -> tuple[tuple[int, int, int], ...]:
    """Return (series, reading, direction) of the alerts that the cooldown leaves, by series and reading."""
    pause, found = rules.cooldown_ms * MS, list[tuple[int, int, int]]()
    last: tuple[int, int] | None = None
    for series, at in zip(*(places.tolist() for places in np.nonzero(directions)), strict=True):
        if last is None or last[0] != series or (at - last[1]) * BUCKET_NS >= pause:
            found.append((series, at, int(directions[series, at])))
            last = series, at
    return tuple(found)
