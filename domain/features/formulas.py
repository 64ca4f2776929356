"""The formulas of the 73 features, each once, over `Frames`: the newest reading live, or whole sessions in columns.

Names, units and what missing inputs do stand in the registry. Only operations that treat each element by itself are
used (and sums by doubling), so that live and columns agree to the last bit. NaN is missing, and what is not finite is:
`rounded` says so of what was divided by nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from domain.features.frames import (
    BEFORE,
    COLUMNS,
    Frames,
    chosen,
    last_seen,
    window_alike,
    window_extremes,
    window_sums,
)
from domain.features.measures import MEASURES, Floats
from domain.features.order_statistics import robust_z
from domain.instants import BUCKET_NS, MINUTE
from domain.signals.registry import FEATURES, INDEX, LEVELS, LEVELS_IN_MOVES, MAGNITUDES, Z_READINGS, Z_READINGS_MIN
from domain.signals.snapshot import MINUTES_PER_YEAR, READINGS_PER_YEAR, WINDOW

PER_MINUTE: Final = MINUTE // BUCKET_NS
DIGITS: Final = 12
FLOWS: Final = (("dex", "agg_dex"), ("gex", "zgr"), ("cvr", "zcvr"))
FLOW_MINUTES: Final = (5, 15)
QUADRANT_READINGS: Final = 15 * PER_MINUTE
QUADRANT_MIN: Final = QUADRANT_READINGS // 2
DIVERGENCE_MAX: Final = 4.0
_NONE: Final = 4  # no quadrant
SCALED: Final = tuple(MAGNITUDES)
_Z_INPUTS_AT: Final = np.array([COLUMNS.index(name) for name in (*SCALED, *(level for _, level in FLOWS))])
_QUADRANT_AT: Final = np.array([COLUMNS.index(name) for name in ("agg_dex", "zcvr")])
_Z_TO: Final = np.array([
    INDEX[name]
    for name in (
        *(f"mag_{name}_z" for name in SCALED), *(f"flow_{name}_{m}m_z" for m in FLOW_MINUTES for name, _ in FLOWS),
    )
])  # fmt: skip
_SLOWEST: Final = WINDOW - Z_READINGS
_AS_MEASURED: Final = np.array([INDEX[name] for name in MEASURES if name in INDEX])
_MEASURED_AT: Final = np.array([n for n, name in enumerate(COLUMNS) if name in INDEX])
_POWER_MAX: Final = 22  # powers of ten up to here are exact
_SHIFT: Final = float(DIGITS - 1 + _POWER_MAX)
_UP: Final = np.array([float(f"1e{max(n, 0)}") for n in range(-_POWER_MAX, _POWER_MAX + 1)])
_DOWN: Final = _UP[::-1].copy()
RETURN_MINUTES: Final = (5, 15, 30, 60)
_SQUARES: Final = (15 * PER_MINUTE, 30 * PER_MINUTE)  # so many are summed


class Quotient(NamedTuple):
    """(of − less) ÷ by × times; `net_vol[5]` is that measure 5 min before."""

    of: str
    less: str
    by: str
    times: float = 1.0


_MADE: Final = ("move", "nothing", "one")  # beside the measures; `move` is the expected move until the close
QUOTIENTS: Final = {
    **{f"loc_{level}_bps": Quotient("spot", level, level, 1e4) for level in LEVELS},
    **{f"loc_{level}_moves": Quotient("spot", level, "move") for level in LEVELS_IN_MOVES},
    **{f"chg_net_{m}m": Quotient("net_vol", f"net_vol[{m}]", "gross_vol") for m in (1, 5, 10, 15, 30)},
    **{f"chg_zero_gamma_{m}m_bps": Quotient("zero_gamma", f"zero_gamma[{m}]", "spot", 1e4) for m in (5, 15, 30)},
    **{f"chg_major_{s}_15m_bps": Quotient(f"major_{s}_vol", f"major_{s}_vol[15]", "spot", 1e4) for s in ("pos", "neg")},
    "chg_max_strike_bps": Quotient("max_strike_5", "spot", "spot", 1e4),
    "chg_max_size": Quotient("max_change_5", "nothing", "gross_vol"),
    "flow_dex_15m": Quotient("agg_dex", "agg_dex[15]", "one"),
}
_RETURNED: Final = tuple(f"spot[{m}]" for m in RETURN_MINUTES)
_EARLIER: Final = tuple(dict.fromkeys((*(q.less for q in QUOTIENTS.values() if "[" in q.less), *_RETURNED)))
_KNOWN_AT: Final = {name: n for n, name in enumerate((*COLUMNS, *_EARLIER, *_MADE))}
_SPLIT: Final = [text.removesuffix("]").split("[") for text in _EARLIER]
_EARLIER_AT: Final = np.array([COLUMNS.index(name) for name, _ in _SPLIT])
_EARLIER_BY: Final = np.array([int(minutes) * PER_MINUTE for _, minutes in _SPLIT])
_OF, _LESS, _BY = (np.array([_KNOWN_AT[q[n]] for q in QUOTIENTS.values()]) for n in range(3))  # type: ignore[index]
_TIMES: Final = np.array([q.times for q in QUOTIENTS.values()])
_QUOTIENTS_TO: Final = np.array([INDEX[name] for name in QUOTIENTS])
_RETURNED_AT: Final = np.array([_KNOWN_AT[name] for name in _RETURNED])
_RETURNS_TO: Final = np.array([INDEX[f"price_return_{m}m_bps"] for m in RETURN_MINUTES])


def features_of(frames: Frames) -> Floats:
    """Return the features in the registry's order as they come out, not rounded (`said_of`) yet; NaN = missing.

    Returns:
        (73, series, evaluated), live (73,); not finite where something was divided by nothing.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        known = _known(frames)
        spot = known[_KNOWN_AT["spot"]]
        returns = np.log(spot / known[_RETURNED_AT])
        out = np.empty((len(FEATURES), *known.shape[1:]))
        out[_AS_MEASURED] = known[_MEASURED_AT]
        out[_QUOTIENTS_TO] = (((known[_OF] - known[_LESS]) / known[_BY]).T * _TIMES).T
        out[_Z_TO] = _scaled(frames)
        out[_RETURNS_TO] = returns * 1e4
        out[INDEX["chg_flip_age"]] = _flip_age(frames)
        out[INDEX["greek_charm_near_left"]] = known[_KNOWN_AT["charm_near"]] * (1.0 - frames.elapsed)
        out[INDEX["flow_quadrant"]] = _quadrant(frames)
        of_15m, of_30m = map(frames.told, window_sums(_squared_returns(frames), _SQUARES, max(_SQUARES) - 1))
        _, moved_15m, moved_30m, _ = returns  # by `RETURN_MINUTES`
        # Where nothing has moved both are 0, and 0 ÷ 0 is missing.
        out[INDEX["flow_divergence"]] = _divergence(out[INDEX["flow_dex_15m_z"]], moved_15m / np.sqrt(of_15m))
        out[INDEX["price_realised_vol_30m"]] = np.sqrt(of_30m / (30 * PER_MINUTE) * READINGS_PER_YEAR)
        out[INDEX["price_momentum"]] = moved_30m / np.sqrt(of_30m)
        low, high = map(frames.told, window_extremes(frames.column("spot"), WINDOW))
        out[INDEX["price_range_position"]] = (spot - low) / (high - low)
        out[INDEX["price_time_of_day"]] = frames.elapsed
        return out


def _known(frames: Frames) -> Floats:
    """Return what quotients are made of, (…, series, evaluated) by `_KNOWN_AT`: all together costs few calls live."""
    now = frames.now_all()
    known = np.empty((len(_KNOWN_AT), *now.shape[1:]))
    known[: len(COLUMNS)] = now
    known[len(COLUMNS) : -len(_MADE)] = frames.earlier(_EARLIER_AT, _EARLIER_BY)
    spot, iv = known[_KNOWN_AT["spot"]], known[_KNOWN_AT["iv"]]
    known[_KNOWN_AT["move"]] = spot * iv * np.sqrt(frames.minutes_left / MINUTES_PER_YEAR)  # 0 when none is left
    known[_KNOWN_AT["nothing"]], known[_KNOWN_AT["one"]] = 0.0, 1.0
    return known


def rounded(values: Floats) -> Floats:
    """Return values rounded to 12 significant digits, so that no last bit of a library's logarithm is ever seen.

    NaN where a value is not finite. A very small value (below 1e-11) keeps 22 decimals.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at = (_SHIFT - np.floor(np.log10(np.abs(values)))).astype(np.intp)
        up, down = _UP.take(at, mode="clip"), _DOWN.take(at, mode="clip")
        found = np.rint(values * up / down) / up * down
        return np.asarray(found - (found - found))  # takes 0 from what is finite, and makes NaN of what is not


def _scaled(frames: Frames) -> Floats:
    """Return all that is a z: magnitudes, and sums of flow as far back as a window has sums of 15 min."""
    inputs = frames.values.take(_Z_INPUTS_AT, axis=0)
    length, n = inputs.shape[-1], len(SCALED)
    flows = inputs[n:]
    series = np.empty((len(_Z_TO), *inputs.shape[1:-1], length - _SLOWEST))
    series[:n] = inputs[:n, ..., _SLOWEST:]
    for minutes in FLOW_MINUTES:
        before = flows[..., _SLOWEST - minutes * PER_MINUTE : length - minutes * PER_MINUTE]
        np.subtract(flows[..., _SLOWEST:], before, out=series[n : n + len(FLOWS)])
        n += len(FLOWS)
    z = robust_z(series.reshape(-1, series.shape[-1]), Z_READINGS, Z_READINGS_MIN)
    return frames.told(z.reshape(*series.shape[:-1], -1))


def _flip_age(frames: Frames) -> Floats:
    """Return the readings since spot was last on the other side ÷ 240; at zero gamma counts as above."""
    above = frames.column("spot") - frames.column("zero_gamma")
    was_above, was_below = map(frames.told, last_seen(np.array([above >= 0.0, above < 0.0])))
    now = frames.evaluated(above)
    age = frames.evaluated(np.arange(above.shape[-1])) - chosen(now >= 0.0, was_below, was_above)
    return chosen(now == now, np.minimum(age, WINDOW) / WINDOW)  # noqa: PLR0124 - NaN is missing


def _quadrant(frames: Frames) -> Floats:
    """Return the share of the present readings of 15 min whose signs of dex and convexity flow are those of now."""
    flows = frames.values[_QUADRANT_AT, ..., BEFORE - QUADRANT_READINGS :]
    dex, cvr = flows[..., 1:] - flows[..., :-1]
    quadrants = np.where(np.isnan(dex + cvr), _NONE, 2 * (dex >= 0.0) + (cvr >= 0.0))
    alike, absent = map(frames.told, window_alike(quadrants, QUADRANT_READINGS, _NONE))
    present = QUADRANT_READINGS - absent
    is_known = (frames.told(quadrants[..., QUADRANT_READINGS - 1 :]) != _NONE) & (present >= QUADRANT_MIN)
    return chosen(is_known, alike / present)


def _divergence(dex_z: Floats, moved: Floats) -> Floats:
    """Return z of the flow less the return of 15 min over the root of its squared returns, within ±4."""
    return np.minimum(np.maximum(dex_z - moved, -DIVERGENCE_MAX), DIVERGENCE_MAX)


def _squared_returns(frames: Frames) -> Floats:
    """Return the squared returns of 30 s, as many before the evaluated ones as are summed."""
    spot = frames.column("spot")[..., BEFORE - max(_SQUARES) :]
    returns = np.log(spot[..., 1:] / spot[..., :-1])
    return np.multiply(returns, returns)
