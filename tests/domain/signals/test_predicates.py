"""Conditions of the prepared alert kinds: what fires, the nearest thing that does not, what is missing; and columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks.feature_sessions import HALF, session_of, silent, snapshots_of
from domain.features.context import CONTEXT
from domain.features.forces import INPUTS, Forces
from domain.features.frames import NO_WINDOW, appended, columns, live
from domain.instants import BUCKET_NS
from domain.signals.predicates import (
    CONDITIONS,
    CascadeRules,
    ConditionRules,
    LevelBreakRules,
    Seen,
    SqueezeRules,
    UnwindRules,
    seen_in,
    spaced,
)
from domain.signals.registry import FEATURES, INDEX

COMMON: dict[str, Any] = {
    "cooldown_ms": 900_000, "target_bps": 20.0, "stop_bps": 12.0, "horizon_ms": 1_800_000, "version": 1,
    "alignment_min": 0.4,
}  # fmt: skip
RULES: dict[str, ConditionRules] = {
    "CASCADE_WATCH": CascadeRules(**COMMON, gamma_max=-0.3, near_moves=0.5, pace_bps=6.0, flow_z_min=1.0),
    "CHARM_SQUEEZE": SqueezeRules(**COMMON, time_of_day_min=0.6, charm_min=0.02, shrink_max=0.7, near_moves=1.0),
    "STRUCTURE_BREAK": LevelBreakRules(**COMMON, beyond_bps=3.0, within_readings=4, flow_z_min=1.0),
    "VANNA_UNWIND": UnwindRules(**COMMON, iv_fall_min=0.03, vanna_min=0.3),
}
# What makes each kind fire downwards or upwards, as (values by name, direction).
FIRES: dict[str, tuple[dict[str, float], int]] = {
    "CASCADE_WATCH": ({
        "loc_zero_gamma_bps": -15.0, "gamma": -0.5, "loc_major_neg_vol_moves": 0.4, "price_return_5m_bps": -7.0,
        "price_return_15m_bps": -15.0, "flow_dex_5m_z": -1.5, "alignment": -0.5,
    }, -1),
    "CHARM_SQUEEZE": ({
        "price_time_of_day": 0.7, "loc_zero_gamma_bps": 10.0, "range_shrink_30m": 0.5, "loc_major_pos_vol_moves": -0.6,
        "greek_charm_near_left": 0.03, "alignment": 0.4,
    }, 1),
    "STRUCTURE_BREAK": ({
        "loc_major_pos_vol_bps": 3.5, "above_pos_age": 2.0, "loc_major_neg_vol_bps": 40.0, "below_neg_age": 0.0,
        "price_return_30m_bps": 0.0, "flow_dex_5m_z": 1.0, "alignment": 0.45,
    }, 1),
    "VANNA_UNWIND": ({
        "iv_change_15m": -0.05, "greek_vanna_zero": -0.4, "greek_vanna_near": -0.1, "alignment": 0.6,
    }, 1),
}  # fmt: skip
# One thing less, and there is no alert.
NEARLY: dict[str, dict[str, float]] = {
    "CASCADE_WATCH": {
        "loc_zero_gamma_bps": 1.0, "gamma": -0.2, "loc_major_neg_vol_moves": 0.6, "price_return_5m_bps": -5.0,
        "price_return_15m_bps": -22.0, "flow_dex_5m_z": 1.5, "alignment": -0.39,
    },
    "CHARM_SQUEEZE": {
        "price_time_of_day": 0.59, "loc_zero_gamma_bps": -1.0, "range_shrink_30m": 0.71,
        "loc_major_pos_vol_moves": -1.1, "greek_charm_near_left": -0.03, "alignment": -0.4,
    },
    "STRUCTURE_BREAK": {
        "loc_major_pos_vol_bps": 2.9, "above_pos_age": 5.0, "price_return_30m_bps": -0.01, "flow_dex_5m_z": 0.9,
        "alignment": 0.39,
    },
    "VANNA_UNWIND": {
        "iv_change_15m": -0.02, "greek_vanna_zero": -0.2, "greek_vanna_near": 0.1, "alignment": 0.3,
    },
}  # fmt: skip


def seen(known: Mapping[str, float]) -> Seen:
    features, context, scores = (np.full((n, 1, 1), np.nan) for n in (len(FEATURES), len(CONTEXT), len(INPUTS)))
    for name, value in known.items():
        if name in INDEX:
            features[INDEX[name]] = value
        elif name in CONTEXT:
            context[CONTEXT.index(name)] = value
        elif name in INPUTS:
            scores[list(INPUTS).index(name)] = value
    spot, alignment = (
        np.full((1, 1), known.get(name, default)) for name, default in (("spot", 6e5), ("alignment", math.nan))
    )
    return Seen(spot, features, context, Forces(scores, np.ones_like(scores), alignment))


def direction(kind: str, known: Mapping[str, float]) -> int:
    condition, _ = CONDITIONS[kind]
    return int(condition(seen(known), RULES[kind])[0, 0])


@pytest.mark.parametrize("kind", CONDITIONS)
def test_a_kind_fires_in_its_direction(kind: str) -> None:
    known, wanted = FIRES[kind]
    assert direction(kind, known) == wanted


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, changes in NEARLY.items() for name in changes])
def test_one_condition_less_is_no_alert(kind: str, name: str) -> None:
    assert direction(kind, {**FIRES[kind][0], name: NEARLY[kind][name]}) == 0


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, (known, _) in FIRES.items() for name in known])
def test_a_missing_input_is_no_alert(kind: str, name: str) -> None:
    known = {**FIRES[kind][0], name: math.nan}
    other_side = (kind, name) in {("STRUCTURE_BREAK", "loc_major_neg_vol_bps"), ("STRUCTURE_BREAK", "below_neg_age")}
    assert direction(kind, known) == (FIRES[kind][1] if other_side else 0)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_without_spot_there_is_no_alert(kind: str) -> None:
    assert direction(kind, {**FIRES[kind][0], "spot": math.nan}) == 0


def mirrored(known: Mapping[str, float]) -> dict[str, float]:
    """Return the same with up and down exchanged."""
    signed = ("price_return", "flow", "alignment", "greek")
    out = {name: -value if name.startswith(signed) else value for name, value in known.items()}
    for name in ("loc_major_neg_vol_moves", "loc_major_pos_vol_moves"):
        if name in out:
            out[name] = -out[name]
    if "above_pos_age" in known:
        out["loc_major_neg_vol_bps"], out["loc_major_pos_vol_bps"] = (
            -known["loc_major_pos_vol_bps"], -known["loc_major_neg_vol_bps"],
        )  # fmt: skip
        out["below_neg_age"], out["above_pos_age"] = known["above_pos_age"], known["below_neg_age"]
    return out


@pytest.mark.parametrize("kind", CONDITIONS)
def test_the_mirrored_market_is_the_mirrored_alert(kind: str) -> None:
    known, wanted = FIRES[kind]
    assert direction(kind, mirrored(known)) == -wanted


def test_a_break_against_the_30_min_trend_is_never_an_alert() -> None:
    known, _ = FIRES["STRUCTURE_BREAK"]
    for trend in (-0.001, -9.0, -80.0):
        assert direction("STRUCTURE_BREAK", {**known, "price_return_30m_bps": trend}) == 0
        assert direction("STRUCTURE_BREAK", {**mirrored(known), "price_return_30m_bps": -trend}) == 0


def test_beyond_both_levels_at_once_is_no_break() -> None:
    known, _ = FIRES["STRUCTURE_BREAK"]
    assert direction("STRUCTURE_BREAK", {**known, "loc_major_neg_vol_bps": -4.0, "below_neg_age": 1.0}) == 0


def test_alerts_keep_their_distance_and_series_know_nothing_of_each_other() -> None:
    directions = np.zeros((2, 100), np.int8)
    directions[0, [3, 4, 32, 33, 70]] = [1, -1, 1, 1, -1]
    directions[1, [5, 6]] = -1
    assert spaced(directions, RULES["VANNA_UNWIND"]) == ((0, 3, 1), (0, 33, 1), (0, 70, -1), (1, 5, -1))


# So loose that wandering numbers meet them.
FAR: dict[str, Any] = {**COMMON, "alignment_min": -1.0}
LOOSE: dict[str, ConditionRules] = {
    "CASCADE_WATCH": CascadeRules(**FAR, gamma_max=1.0, near_moves=9.0, pace_bps=1.0, flow_z_min=-9.0),
    "CHARM_SQUEEZE": SqueezeRules(**FAR, time_of_day_min=0.1, charm_min=0.0, shrink_max=3.0, near_moves=9.0),
    "STRUCTURE_BREAK": LevelBreakRules(**FAR, beyond_bps=1.0, within_readings=30, flow_z_min=-9.0),
    "VANNA_UNWIND": UnwindRules(**FAR, iv_fall_min=0.001, vanna_min=0.01),
}


@pytest.mark.slow
def test_live_and_columns_raise_the_same_alerts() -> None:
    days = (HALF, HALF)
    sessions = [silent(session_of(20 + n, HALF), 200, 201, 202, 333) for n in range(len(days))]
    together = seen_in(columns(sessions, days))
    fired: dict[str, list[tuple[int, int, int]]] = {kind: [] for kind in CONDITIONS}
    for series, day in enumerate(days):
        window, last_utc = NO_WINDOW, None
        for snapshot in snapshots_of(sessions[series], day):
            window, last_utc = appended(window, last_utc, snapshot), snapshot.bucket_utc
            seen_now, reading = seen_in(live(window, last_utc, day)), (last_utc - day.open_utc) // BUCKET_NS
            for kind, (condition, _) in CONDITIONS.items():
                way = int(condition(seen_now, LOOSE[kind]))
                before = [at for one, at, _ in fired[kind] if one == series]
                if way and (not before or reading - before[-1] >= 30):
                    fired[kind].append((series, reading, way))
    for kind, (condition, _) in CONDITIONS.items():
        assert spaced(condition(together, LOOSE[kind]), LOOSE[kind]) == tuple(fired[kind])
        assert len(fired[kind]) >= 3, kind
