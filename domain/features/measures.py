"""What one bucket's rows say, as numbers: the measures of which features are made, each of this bucket alone.

Lists along strikes are looked at here and nowhere else, so that a stored reading is enough to compute every feature
again. Sums and exposures are millions of USD as the vendor gives them; prices are ticks. What a row does not carry, or
what saturates on the wire, is missing (`None`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from domain.instants import MINUTE
from domain.options.profile import CLIPPED, SCALAR_AT, VALUE_COLUMNS, Ints, Profile, Row
from domain.session.calendar import TradingDay
from domain.signals.registry import FLOW, ZERO
from domain.signals.snapshot import IV_MAX, IV_SCALE, MINUTES_PER_YEAR, Snapshot
from domain.units import Ticks

Floats = NDArray[np.float64]

HUNDREDTHS: Final = 100.0
THOUSANDTHS: Final = 1_000.0
NEAR: Final = 0.0025  # of spot: what counts as near it
GREEKS: Final = ("delta_zero", "gamma_zero", "vanna_zero", "charm_zero", "gamma_one", "vanna_one", "charm_one")
NEAR_SPOT: Final = {"vanna_zero": "greek_vanna_near", "charm_zero": "charm_near"}
SUMS: Final = (
    "net_vol", "gross_vol", "call_vol", "put_vol", "net_oi", "gross_oi", "call_oi", "put_oi", "state_imbalance",
    "max_strike_5", "max_change_5",
)  # fmt: skip
SHAPES: Final = (
    "shape_centre_bps", "shape_spread_bps", "shape_skew", "shape_concentration", "shape_share_above",
    "shape_share_below", "shape_largest_wall", "shape_sign_changes", "shape_slope_at_spot", "shape_gap_up_bps",
    "shape_gap_down_bps",
)  # fmt: skip
EXPOSURES: Final = (
    *(f"greek_{name}" for name in GREEKS), "greek_delta_one", "greek_vanna_near", "charm_near", "greek_iv_skew",
)  # fmt: skip
FLOWS: Final = ("agg_dex", "zgr", "zcvr")
MEASURES: Final = (*SUMS, *SHAPES, *EXPOSURES, *FLOWS)

# Where a column stands in its shape; no name is in two.
_COLUMN_AT: Final = {name: n for names in VALUE_COLUMNS.values() for n, name in enumerate(names)}
_EXPOSED: Final = {f"state_{name}": name for name in GREEKS}
_WANTED: Final = tuple(
    (key, _COLUMN_AT[key[1]])
    for key in (
        (ZERO, "gex_vol"), (ZERO, "gex_oi"), ("state_gex_zero", "gex_vol"), *((name, "exposure") for name in _EXPOSED),
    )
)  # fmt: skip

Found = dict[str, float | None]

_total = np.add.reduce  # what ndarray.sum ends in, without its detour through Python


def with_measures(snapshot: Snapshot, rows: Iterable[Row], day: TradingDay) -> Snapshot:
    """Return a bucket's snapshot with the measures of its rows."""
    profiles = {row.profile.category: row.profile for row in rows}
    minutes_left = (day.close_utc - snapshot.end_utc) / MINUTE
    return replace(snapshot, measures=measured(profiles, snapshot.spot, snapshot.iv, minutes_left))


def measured(
    profiles: Mapping[str, Profile], spot: Ticks | None, iv: float | None, minutes_left: float
) -> tuple[float | None, ...]:
    """Return the measures of a bucket, in the order of `MEASURES`.

    Args:
        profiles: the bucket's profiles of one ticker, by category.
        spot: the price, in ticks.
        iv: volatility at the money per year.
        minutes_left: from the end of the bucket to the close.
    """
    found: Found = {}
    zero, flow, gamma = profiles.get(ZERO), profiles.get(FLOW), profiles.get("state_gamma_zero")
    columns = _columns(profiles)
    if zero is not None:
        found |= _sums(zero, columns)
        if spot is not None:
            found |= _shape(zero, columns.get((ZERO, "gex_vol")), float(spot))
    if (state := columns.get(("state_gex_zero", "gex_vol"))) is not None:
        found["state_imbalance"] = state.net_share
    found |= _exposures(profiles, columns, spot)
    if gamma is not None and spot is not None and iv is not None and minutes_left > 0.0:
        found["greek_iv_skew"] = _skew(gamma, float(spot), iv, minutes_left)
    if flow is not None:
        found |= _flow(flow)
    return tuple([found.get(name) for name in MEASURES])


def _scalar(profile: Profile, name: str, scale: float) -> float | None:
    value = profile.scalars[SCALAR_AT[name]]
    return None if abs(value) >= CLIPPED else value / scale


class _Column(msgspec.Struct, gc=False):
    """A column along strikes in its unit, its absolute values, and the sums of both."""

    values: Floats
    size: Floats
    net: float
    gross: float

    @property
    def net_share(self) -> float | None:
        """Σ ÷ Σ|·|; `None` where all are 0."""
        return self.net / self.gross if self.gross > 0.0 else None


_Columns = dict[tuple[str, str], _Column]


def _columns(profiles: Mapping[str, Profile]) -> _Columns:
    """Return the columns that are looked at, by category and name; none that is empty or saturates anywhere.

    Those of as many strikes are summed together: a bucket's have the same ones, and calls are what it costs.
    """
    by_length: dict[int, tuple[list[tuple[str, str]], list[Ints]]] = {}
    for key, at in _WANTED:
        profile = profiles.get(key[0])
        if profile is not None and (length := len(profile.strikes)):
            if length not in by_length:
                by_length[length] = [], []
            keys, parts = by_length[length]
            keys.append(key)
            parts.append(profile.values[:, at])
    found: _Columns = {}
    for keys, parts in by_length.values():
        values = np.array(parts) / HUNDREDTHS
        sizes = np.abs(values)
        nets, grosses = _totals(values), _totals(sizes)
        for key, column, size, net, gross in zip(keys, values, sizes, nets, grosses, strict=True):
            if gross < CLIPPED / HUNDREDTHS or size.max() < CLIPPED / HUNDREDTHS:
                found[key] = _Column(column, size, net, gross)
    return found


def _totals(rows: Floats) -> list[float]:
    totals: list[float] = _total(rows, axis=1).tolist()
    return totals


def _sums(zero: Profile, columns: _Columns) -> Found:
    found: Found = {}
    for kind in ("vol", "oi"):
        found[f"net_{kind}"] = _scalar(zero, f"sum_gex_{kind}", THOUSANDTHS)
        column = columns.get((ZERO, f"gex_{kind}"))
        if column is not None:
            net, gross = column.net, column.gross
            found |= {
                f"gross_{kind}": gross, f"call_{kind}": (gross + net) / 2.0, f"put_{kind}": (net - gross) / 2.0,
            }  # fmt: skip
    strike = zero.scalars[SCALAR_AT["max_strike_5"]]
    found["max_strike_5"] = float(strike) if strike else None
    found["max_change_5"] = _scalar(zero, "max_change_5", THOUSANDTHS)
    return found


def _shape(zero: Profile, found: _Column | None, spot: float) -> Found:
    if found is None or found.gross <= 0.0:
        return {}
    column, size, gross = found.values, found.size, found.gross
    share = size / gross
    away = (zero.strikes.astype(np.float64) - spot) / spot * 1e4  # bps of spot
    centre = float(_total(share * away))
    off = away - centre
    moments = np.empty((3, len(share)))
    squares = moments[0]
    np.multiply(share * off, off, out=squares)
    np.multiply(squares, off, out=moments[1])
    np.multiply(share, share, out=moments[2])
    variance, skew, concentration = _totals(moments)
    at_or_below, above = (int(at) for at in (away.searchsorted(0.0, "left"), away.searchsorted(0.0, "right")))
    signs = np.sign(column[column != 0.0])
    inside = 0 < above < len(column)
    return {
        "shape_centre_bps": centre,
        "shape_spread_bps": math.sqrt(variance),
        "shape_skew": skew / variance**1.5 if variance > 0.0 else None,
        "shape_concentration": concentration,
        "shape_share_above": float(_total(share[above:])),
        "shape_share_below": float(_total(share[:at_or_below])),
        "shape_largest_wall": float(share[share.argmax()]),
        "shape_sign_changes": float(np.count_nonzero(signs[1:] != signs[:-1])),
        "shape_slope_at_spot": float(column[above] - column[above - 1]) / gross if inside else None,
        "shape_gap_up_bps": _gap(size[above:], away[above:]),
        "shape_gap_down_bps": _gap(size[:at_or_below], -away[:at_or_below]),
    }


def _gap(size: Floats, away: Floats) -> float | None:
    """Return how far the largest of these walls is away; `None` where there is none."""
    if not len(size):
        return None
    at = int(size.argmax())
    return float(away[at]) if size[at] > 0.0 else None


def _exposures(profiles: Mapping[str, Profile], columns: _Columns, spot: Ticks | None) -> Found:
    found: Found = {}
    for category, name in _EXPOSED.items():
        column = columns.get((category, "exposure"))
        if column is not None:
            found[f"greek_{name}"] = column.net_share
            if name in NEAR_SPOT and spot is not None and column.gross > 0.0:
                found[NEAR_SPOT[name]] = _near(profiles[category], column, float(spot)) / column.gross
    flow = profiles.get(FLOW)
    if flow is not None:
        net, call, put = (_scalar(flow, f"one_net_{side}dex", HUNDREDTHS) for side in ("", "call_", "put_"))
        if net is not None and call is not None and put is not None and (call or put):
            found["greek_delta_one"] = net / (abs(call) + abs(put))
    return found


def _near(profile: Profile, column: _Column, spot: float) -> float:
    """Return the sum within 25 bps of spot, of the nearest strike at least."""
    away = np.abs(profile.strikes - spot)
    return float(_total(column.values[away <= max(NEAR * spot, float(away[away.argmin()]))]))


def _skew(gamma: Profile, spot: float, iv: float, minutes_left: float) -> float | None:
    """Return (put iv − call iv) ÷ iv at the strikes nearest to half an expected move below and above spot."""
    half = 0.5 * spot * iv * math.sqrt(minutes_left / MINUTES_PER_YEAR)
    strikes = gamma.strikes
    above, below = int(strikes.searchsorted(spot, "right")), int(strikes.searchsorted(spot, "left"))
    if not below or above == len(strikes):
        return None
    put = int(gamma.values[np.abs(strikes[:below] - (spot - half)).argmin(), _COLUMN_AT["put_ivol"]])
    call = int(gamma.values[above + np.abs(strikes[above:] - (spot + half)).argmin(), _COLUMN_AT["call_ivol"]])
    if not (0 < put <= IV_MAX * IV_SCALE and 0 < call <= IV_MAX * IV_SCALE):
        return None  # as at the money: saturated or absurd is no reading
    return (put - call) / IV_SCALE / iv


def _flow(flow: Profile) -> Found:
    return {name: _scalar(flow, name, HUNDREDTHS) for name in FLOWS}
