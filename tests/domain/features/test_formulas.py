"""Each formula against a plain one, written as the registry says it, value by value."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from benchmarks.feature_sessions import AT, FULL, session_of
from domain.features.context import CONTEXT
from domain.features.evidence import said_of
from domain.features.formulas import rounded
from domain.features.frames import columns
from domain.features.measures import Floats
from domain.signals.registry import FEATURES, INDEX

VALUES = session_of(11)
FRAMES = columns([VALUES], [FULL])
FOUND, BESIDE = (said[:, 0] for said in said_of(FRAMES))
READINGS = [0, 1, 5, 29, 30, 31, 45, 61, 130, 238, 239, 240, 333, 500, 641, 779]
NAN = math.nan


def at(name: str, reading: int) -> float:
    return float(VALUES[AT[name], reading]) if reading >= 0 else NAN


def of_window(name: str, reading: int, readings: int = 240) -> list[float]:
    return [at(name, n) for n in range(max(reading - readings + 1, 0), reading + 1)]


def over(a: float, b: float) -> float:
    return a / b if b else NAN


def z(values: list[float]) -> float:
    present = [value for value in values if not math.isnan(value)]
    if len(present) < 30 or math.isnan(values[-1]):
        return NAN
    low, median, high = np.quantile(present, [0.25, 0.5, 0.75], method="lower")
    return over(values[-1] - median, 0.7413 * (high - low))


def moved(name: str, reading: int, minutes: int) -> float:
    return at(name, reading) - at(name, reading - 2 * minutes)


def sums(name: str, reading: int, minutes: int) -> list[float]:
    return [moved(name, n, minutes) for n in range(max(reading - 209, 0), reading + 1)]


def returned(reading: int, readings: int) -> float:
    return math.log(at("spot", reading) / at("spot", reading - readings))


def squares(reading: int, readings: int) -> float:
    return sum(returned(n, 1) ** 2 for n in range(reading - readings + 1, reading + 1))


def move_left(reading: int) -> float:
    left = 390.0 - (reading + 1) / 2
    return at("spot", reading) * at("iv", reading) * math.sqrt(left / 525_600) if left > 0 else NAN


def flip_age(reading: int) -> float:
    sides = [at("spot", n) - at("zero_gamma", n) for n in range(max(reading - 239, 0), reading + 1)]
    if math.isnan(sides[-1]):
        return NAN
    for age, side in enumerate(reversed(sides)):
        if not math.isnan(side) and (side >= 0) != (sides[-1] >= 0):
            return age / 240
    return 1.0


def quadrant(reading: int) -> float:
    def way(n: int) -> tuple[bool, bool] | None:
        dex, cvr = (at(name, n) - at(name, n - 1) for name in ("agg_dex", "zcvr"))
        return None if math.isnan(dex + cvr) else (dex >= 0, cvr >= 0)

    ways = [way(n) for n in range(reading - 29, reading + 1)]
    present = [one for one in ways if one is not None]
    return ways.count(ways[-1]) / len(present) if ways[-1] is not None and len(present) >= 15 else NAN


def range_position(reading: int) -> float:
    spots = [spot for spot in of_window("spot", reading) if not math.isnan(spot)]
    return over(at("spot", reading) - min(spots), max(spots) - min(spots))


LEVELS = ("zero_gamma", "major_pos_vol", "major_neg_vol", "major_pos_oi", "major_neg_oi", "long_gamma", "short_gamma")
SCALED = (
    "net_vol", "gross_vol", "net_oi", "gross_oi", "call_vol", "put_vol", "call_oi", "put_oi", "state_imbalance",
)  # fmt: skip


def loc_bps(level: str, n: int) -> float:
    return (at("spot", n) - at(level, n)) / at(level, n) * 1e4


def loc_moves(level: str, n: int) -> float:
    return (at("spot", n) - at(level, n)) / move_left(n)


def of_spot(level: str, minutes: int, n: int) -> float:
    return moved(level, n, minutes) / at("spot", n) * 1e4


def divergence(n: int) -> float:
    return float(np.clip(z(sums("agg_dex", n, 15)) - returned(n, 30) / math.sqrt(squares(n, 30)), -4, 4))


PLAIN: dict[str, Callable[[int], float]] = {
    **{f"loc_{level}_bps": partial(loc_bps, level) for level in LEVELS},
    **{f"loc_{level}_moves": partial(loc_moves, level) for level in LEVELS},
    **{f"mag_{name}_z": partial(lambda name, n: z(of_window(name, n, 210)), name) for name in SCALED},
    **{
        f"chg_net_{m}m": partial(lambda m, n: moved("net_vol", n, m) / at("gross_vol", n), m)
        for m in (1, 5, 10, 15, 30)
    },
    **{f"chg_zero_gamma_{m}m_bps": partial(of_spot, "zero_gamma", m) for m in (5, 15, 30)},
    "chg_major_pos_15m_bps": partial(of_spot, "major_pos_vol", 15),
    "chg_major_neg_15m_bps": partial(of_spot, "major_neg_vol", 15),
    "chg_max_strike_bps": lambda n: (at("max_strike_5", n) - at("spot", n)) / at("spot", n) * 1e4,
    "chg_max_size": lambda n: at("max_change_5", n) / at("gross_vol", n),
    "chg_flip_age": flip_age,
    "greek_charm_near_left": lambda n: at("charm_near", n) * (1 - (n + 1) / 780),
    **{
        f"flow_{name}_{m}m_z": partial(lambda level, m, n: z(sums(level, n, m)), level, m)
        for name, level in (("dex", "agg_dex"), ("gex", "zgr"), ("cvr", "zcvr"))
        for m in (5, 15)
    },
    "flow_dex_15m": lambda n: moved("agg_dex", n, 15),
    "flow_quadrant": quadrant,
    "flow_divergence": divergence,
    **{f"price_return_{m}m_bps": partial(lambda m, n: returned(n, 2 * m) * 1e4, m) for m in (5, 15, 30, 60)},
    "price_realised_vol_30m": lambda n: math.sqrt(squares(n, 60) / 60 * 196_560),
    "price_range_position": range_position,
    "price_momentum": lambda n: returned(n, 60) / math.sqrt(squares(n, 60)),
    "price_time_of_day": lambda n: (n + 1) / 780,
}


@pytest.mark.parametrize("name", [feature.name for feature in FEATURES])
def test_a_feature_is_what_its_formula_says(name: str) -> None:
    plain = PLAIN.get(name, partial(at, name))  # the others are measured as they are
    wanted = [plain(reading) for reading in READINGS]
    assert FOUND[INDEX[name], READINGS] == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True)
    assert np.isfinite(wanted).sum() >= 5


def range_shrink(reading: int) -> float:
    def width(to: int) -> float:
        spots = [spot for spot in of_window("spot", to, 60) if not math.isnan(spot)] if to >= 0 else []
        return max(spots) - min(spots) if spots else NAN

    return over(width(reading), width(reading - 60))


def age(level: str, reading: int, sign: int) -> float:
    standing = at(level, reading)
    for back in range(min(reading, 239) + 1):
        if at(level, reading - back) != standing:
            return NAN
        if sign * (at("spot", reading - back) - standing) <= 0:
            return float(back)
    return NAN


BY_CONTEXT: dict[str, Callable[[int], float]] = {
    "iv_change_15m": lambda n: math.log(at("iv", n) / at("iv", n - 30)),
    "range_shrink_30m": range_shrink,
    "above_pos_age": lambda n: age("major_pos_vol", n, 1),
    "below_neg_age": lambda n: age("major_neg_vol", n, -1),
}


@pytest.mark.parametrize("name", CONTEXT)
def test_what_stands_beside_the_features_is_what_its_formula_says(name: str) -> None:
    readings = range(0, 780, 7)
    wanted = [BY_CONTEXT[name](reading) for reading in readings]
    assert BESIDE[CONTEXT.index(name), ::7] == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True)
    assert np.isfinite(wanted).sum() >= 20


def test_spot_at_a_level_is_on_its_near_side() -> None:
    values = session_of(14, missing=0.0, wild=0)
    values[AT["major_pos_vol"]] = values[AT["major_neg_vol"]] = 600_000.0
    values[AT["spot"]] = 600_600.0
    values[AT["spot"], 300] = 600_000.0
    values[AT["spot"], 301:] = 600_600.0
    values[AT["spot"], 310:] = 599_400.0
    above, below = said_of(columns([values], [FULL]))[1][2:, 0]
    assert (above[300], above[303]) == (0.0, 3.0)
    assert np.isnan(above[299])
    assert below[313] == 4.0


def test_a_level_that_jumps_over_spot_begins_anew() -> None:
    values = session_of(12, missing=0.0, wild=0)
    values[AT["spot"]] = 600_000.0
    values[AT["major_pos_vol"], :300] = 601_000.0
    values[AT["major_pos_vol"], 300:] = 599_000.0
    found = said_of(columns([values], [FULL]))[1][CONTEXT.index("above_pos_age"), 0]
    assert found[299] == 0.0
    assert np.isnan(found[300:]).all()


def test_spot_at_zero_gamma_is_above_it() -> None:
    values = session_of(13, missing=0.0, wild=0)
    values[AT["spot"]] = 600_000.0
    values[AT["zero_gamma"]] = 601_000.0
    values[AT["zero_gamma"], 90:100] = 599_000.0
    values[AT["zero_gamma"], 100] = 600_000.0
    age = said_of(columns([values], [FULL]))[0][INDEX["chg_flip_age"], 0]
    assert [age[95] * 240, age[100] * 240, age[103] * 240] == pytest.approx([6, 11, 3])
    assert (age[50], age[400]) == (1.0, 1.0)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.5, 123_456.789, 1e-9, 9.99999999999e20, 0.1 + 0.2, -1e-11, 2e13, 1e25])
def test_rounding_keeps_12_significant_digits(value: float) -> None:
    found = rounded(np.array([value, -value]))
    assert found.tolist() == [float(f"{value:.12g}"), float(f"{-value:.12g}")]


def test_rounding_agrees_with_text_on_values_of_every_size() -> None:
    rng = np.random.default_rng(0)
    values: Floats = rng.normal(size=4_000) * 10.0 ** rng.integers(-6, 20, 4_000)
    by_text = np.array([float(f"{value:.12g}") for value in values])
    assert np.allclose(rounded(values), by_text, rtol=1.1e-11, atol=0.0)
    assert (rounded(values) == by_text).mean() > 0.999


def test_what_is_not_finite_is_missing() -> None:
    assert np.isnan(rounded(np.array([np.inf, -np.inf, np.nan]))).all()
