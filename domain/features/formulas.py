"""The formulas of the 73 features, each once, over `Frames`: the newest reading live, or whole sessions in columns.

Names, units and what missing inputs do stand in the registry. Only operations that treat each element by itself are
used (and sums by doubling), so that live and columns agree to the last bit. NaN is missing, and what is not finite is.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from domain.features.frames import BEFORE, COLUMNS, Frames, evaluated, window_extremes, window_sum
from domain.features.measures import MEASURES, Floats
from domain.features.order_statistics import robust_z
from domain.instants import BUCKET_NS, MINUTE
from domain.signals.features import MINUTES_PER_YEAR, READINGS_PER_YEAR, WINDOW
from domain.signals.registry import FEATURES, INDEX, LEVELS, LEVELS_IN_MOVES, MAGNITUDES, Z_READINGS, Z_READINGS_MIN

Found = dict[str, Floats]

PER_MINUTE: Final = MINUTE // BUCKET_NS
DIGITS: Final = 12
FLOWS: Final = (("dex", "agg_dex"), ("gex", "zgr"), ("cvr", "zcvr"))
FLOW_MINUTES: Final = (5, 15)
QUADRANT_READINGS: Final = 15 * PER_MINUTE
QUADRANT_MIN: Final = QUADRANT_READINGS // 2
DIVERGENCE_MAX: Final = 4.0
_NONE: Final = 4  # no quadrant
_QUADRANTS: Final = np.arange(_NONE + 1).reshape(-1, 1, 1)
_LEVELS: Final = tuple(LEVELS)
_LEVELS_AT: Final = np.array([COLUMNS.index(level) for level in _LEVELS])
_IN_MOVES: Final = np.array([_LEVELS.index(level) for level in LEVELS_IN_MOVES])
SCALED: Final = tuple(MAGNITUDES)
_Z_NAMES: Final = (
    *(f"mag_{name}_z" for name in SCALED), *(f"flow_{name}_{m}m_z" for m in FLOW_MINUTES for name, _ in FLOWS),
)  # fmt: skip
_SLOWEST: Final = WINDOW - Z_READINGS
_AS_MEASURED: Final = np.array([INDEX[name] for name in MEASURES if name in INDEX])
_MEASURED_AT: Final = np.array([n for n, name in enumerate(COLUMNS) if name in INDEX])
_POWER_MAX: Final = 22  # powers of ten up to here are exact
_UP: Final = np.array([float(f"1e{max(n, 0)}") for n in range(-_POWER_MAX, _POWER_MAX + 1)])
_DOWN: Final = _UP[::-1].copy()


def features_of(frames: Frames) -> Floats:
    """Return (73, series, evaluated) in the registry's order, rounded to 12 significant digits; NaN = missing."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        squares = _squared_returns(frames)
        z = _scaled(frames)
        found = _location(frames) | z | _change(frames) | _greeks(frames) | _flow(frames) | _price(frames, squares)
        found["flow_divergence"] = _divergence(frames, z["flow_dex_15m_z"], squares)
        out = np.empty((len(FEATURES), *frames.elapsed.shape))
        out[_AS_MEASURED] = frames.now_all()[_MEASURED_AT]
        for name, values in found.items():
            out[INDEX[name]] = values
        return rounded(out)


def rounded(values: Floats) -> Floats:
    """Return values rounded to 12 significant digits, so that no last bit of a library's logarithm is ever seen.

    NaN where a value is not finite. A very small value (below 1e-11) keeps 22 decimals.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        digits = DIGITS - 1 - np.floor(np.log10(np.abs(values)))
        at = (np.minimum(np.maximum(digits, -_POWER_MAX), _POWER_MAX) + _POWER_MAX).astype(np.intp)
        up, down = _UP.take(at, mode="clip"), _DOWN.take(at, mode="clip")
        found = np.rint(values * up / down) / up * down
        return np.where(np.isfinite(found), found, np.nan)


def _location(frames: Frames) -> Found:
    spot = frames.now("spot")
    left = np.where(frames.minutes_left > 0.0, frames.minutes_left, np.nan)
    move = spot * frames.now("iv") * np.sqrt(left / MINUTES_PER_YEAR)
    levels = frames.now_all()[_LEVELS_AT]
    away = spot - levels
    in_moves = away[_IN_MOVES] / move
    return {
        **{f"loc_{level}_bps": found for level, found in zip(_LEVELS, away / levels * 1e4, strict=True)},
        **{f"loc_{level}_moves": found for level, found in zip(LEVELS_IN_MOVES, in_moves, strict=True)},
    }


def _scaled(frames: Frames) -> Found:
    """Return all that is a z: magnitudes, and sums of flow as far back as a window has sums of 15 min."""
    levels, flows = frames.rows(SCALED)[..., _SLOWEST:], frames.rows([level for _, level in FLOWS])
    sums = [flows[..., _SLOWEST:] - _before(flows, m * PER_MINUTE) for m in FLOW_MINUTES]
    series = np.concatenate([levels, *sums])
    z = robust_z(series.reshape(-1, series.shape[-1]), Z_READINGS, Z_READINGS_MIN)
    z = z.reshape(*series.shape[:-1], -1)
    return dict(zip(_Z_NAMES, z, strict=True))


def _change(frames: Frames) -> Found:
    spot, gross = frames.now("spot"), frames.now("gross_vol")
    gross = np.where(gross > 0.0, gross, np.nan)

    def moved(name: str, minutes: int) -> Floats:
        return frames.now(name) - frames.ago(name, minutes * PER_MINUTE)

    return {
        **{f"chg_net_{m}m": moved("net_vol", m) / gross for m in (1, 5, 10, 15, 30)},
        **{f"chg_zero_gamma_{m}m_bps": moved("zero_gamma", m) / spot * 1e4 for m in (5, 15, 30)},
        **{f"chg_major_{s}_15m_bps": moved(f"major_{s}_vol", 15) / spot * 1e4 for s in ("pos", "neg")},
        "chg_max_strike_bps": (frames.now("max_strike_5") - spot) / spot * 1e4,
        "chg_max_size": frames.now("max_change_5") / gross,
        "chg_flip_age": _flip_age(frames),
    }


def _flip_age(frames: Frames) -> Floats:
    """Return the readings since spot was last on the other side ÷ 240; at zero gamma counts as above."""
    above = frames.column("spot") - frames.column("zero_gamma")
    places = np.arange(above.shape[-1])
    was_above = np.maximum.accumulate(np.where(above >= 0.0, places, -WINDOW), axis=-1)
    was_below = np.maximum.accumulate(np.where(above < 0.0, places, -WINDOW), axis=-1)
    now = evaluated(above)
    age = places[BEFORE:] - np.where(now >= 0.0, evaluated(was_below), evaluated(was_above))
    return np.where(np.isnan(now), np.nan, np.minimum(age, WINDOW) / WINDOW)


def _greeks(frames: Frames) -> Found:
    return {"greek_charm_near_left": frames.now("charm_near") * (1.0 - frames.elapsed)}


def _flow(frames: Frames) -> Found:
    dex = frames.now("agg_dex") - frames.ago("agg_dex", 15 * PER_MINUTE)
    return {"flow_dex_15m": dex, "flow_quadrant": _quadrant(frames)}


def _before(column: Floats, readings: int) -> Floats:
    """Return a column so many readings before, for every reading of which 15 min before are on the grid."""
    return column[..., _SLOWEST - readings : column.shape[-1] - readings]


def _quadrant(frames: Frames) -> Floats:
    """Return the share of the present readings of 15 min whose signs of dex and convexity flow are those of now."""
    flows = frames.rows(("agg_dex", "zcvr"))
    dex, cvr = flows[..., 1:] - flows[..., :-1]
    quadrant = np.full(flows.shape[1:], _NONE, np.intp)  # the first reading has none before it
    quadrant[..., 1:] = np.where(np.isnan(dex + cvr), _NONE, 2 * (dex >= 0.0) + (cvr >= 0.0))
    counts = window_sum((quadrant == _QUADRANTS).astype(np.float64), QUADRANT_READINGS)
    present = QUADRANT_READINGS - counts[_NONE]
    now = quadrant[..., BEFORE:]
    same = counts[now, np.arange(now.shape[0])[:, None], np.arange(now.shape[1])]
    return np.where((now != _NONE) & (present >= QUADRANT_MIN), same / present, np.nan)


def _divergence(frames: Frames, dex_z: Floats, squares: Floats) -> Floats:
    """Return z of the flow less the return of 15 min over the root of its squared returns, within ±4."""
    readings = 15 * PER_MINUTE
    moved = np.log(frames.now("spot") / frames.ago("spot", readings))
    size = np.sqrt(window_sum(squares, readings))
    apart = dex_z - moved / np.where(size > 0.0, size, np.nan)
    return np.minimum(np.maximum(apart, -DIVERGENCE_MAX), DIVERGENCE_MAX)


def _squared_returns(frames: Frames) -> Floats:
    spot = frames.column("spot")
    out = np.full(spot.shape, np.nan)
    returns = np.log(spot[..., 1:] / spot[..., :-1])
    np.multiply(returns, returns, out=out[..., 1:])
    return out


def _price(frames: Frames, squares: Floats) -> Found:
    spot = frames.now("spot")
    moved = {m: np.log(spot / frames.ago("spot", m * PER_MINUTE)) for m in (5, 15, 30, 60)}
    readings = 30 * PER_MINUTE
    total = window_sum(squares, readings)
    low, high = window_extremes(frames.column("spot"), WINDOW)
    return {
        **{f"price_return_{m}m_bps": found * 1e4 for m, found in moved.items()},
        "price_realised_vol_30m": np.sqrt(total / readings * READINGS_PER_YEAR),
        "price_range_position": (spot - low) / np.where(high > low, high - low, np.nan),
        "price_momentum": moved[30] / np.sqrt(np.where(total > 0.0, total, np.nan)),
        "price_time_of_day": frames.elapsed,
    }
