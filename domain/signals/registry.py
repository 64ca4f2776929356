"""The 73 features of a reading: name, group, unit, inputs, window, formula, and what becomes of missing inputs.

The order is that of the `evidence` of every reading and of every stored alert: it never changes. Where the
project's signals page lists more candidates in a group than its count, the choice is made here. `spot` and levels are
those of the reading, `x[m]` is x of the reading m minutes before, `z` is robust: (x − median) ÷ (0.7413 × IQR) of the
last 210 readings, a quartile being the value of rank ⌊(n − 1) × share⌋ of those present.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from domain.instants import BUCKET_NS, MINUTE

ZERO: Final = "classic_gex_zero"
FLOW: Final = "orderflow_orderflow"
Z_READINGS: Final = 210  # of a z: live, a window of 240 has so many sums of 15 min
Z_READINGS_MIN: Final = 30  # fewer readings give no z


class Group(StrEnum):
    """What a feature is about."""

    LOCATION = "location"
    MAGNITUDE = "magnitude"
    CHANGE = "change"
    SHAPE = "shape"
    GREEKS = "greeks"
    FLOW = "flow"
    PRICE = "price"


class Feature(msgspec.Struct, frozen=True):
    """One feature; `inputs` are categories, `window_ns` is how far back it looks (0: this reading alone)."""

    name: str
    group: Group
    unit: str
    inputs: tuple[str, ...]
    window_ns: int
    formula: str
    missing: str = "missing when an input is"


GROUP_SIZES: Final = {
    Group.LOCATION: 12, Group.MAGNITUDE: 9, Group.CHANGE: 13, Group.SHAPE: 11, Group.GREEKS: 11, Group.FLOW: 9,
    Group.PRICE: 8,
}  # fmt: skip

LEVELS: Final = {
    "zero_gamma": (ZERO,),
    "major_pos_vol": (ZERO,),
    "major_neg_vol": (ZERO,),
    "major_pos_oi": (ZERO,),
    "major_neg_oi": (ZERO,),
    "long_gamma": ("state_gamma_zero",),
    "short_gamma": ("state_gamma_zero",),
}
LEVELS_IN_MOVES: Final = ("zero_gamma", "major_pos_vol", "major_neg_vol", "long_gamma", "short_gamma")
_NO_LEVEL = "missing without spot or where the vendor names no level"
_NO_MOVE = "missing without spot, level, volatility at the money or time left"


def _location() -> list[Feature]:
    in_bps = [
        Feature(f"loc_{level}_bps", Group.LOCATION, "bps", source, 0, f"(spot − {level}) ÷ {level} × 10⁴", _NO_LEVEL)
        for level, source in LEVELS.items()
    ]
    in_moves = [
        Feature(
            f"loc_{level}_moves", Group.LOCATION, "expected moves", (*LEVELS[level], "state_gamma_zero"), 0,
            f"(spot − {level}) ÷ (spot × iv at the money × √(minutes to the close ÷ 525,600))", _NO_MOVE,
        )
        for level in LEVELS_IN_MOVES
    ]  # fmt: skip
    return in_bps + in_moves


MAGNITUDES: Final = {
    "net_vol": "sum_gex_vol", "gross_vol": "Σ|gex_vol|", "net_oi": "sum_gex_oi", "gross_oi": "Σ|gex_oi|",
    "call_vol": "Σ of positive gex_vol", "put_vol": "Σ of negative gex_vol",
    "call_oi": "Σ of positive gex_oi", "put_oi": "Σ of negative gex_oi",
    "state_imbalance": "Σ state gex ÷ Σ|state gex|",
}  # fmt: skip


def _magnitude() -> list[Feature]:
    missing = (
        f"missing without the input, with fewer than {Z_READINGS_MIN} readings of it, or where its quartiles are equal"
    )
    window = Z_READINGS * BUCKET_NS
    return [
        Feature(
            f"mag_{name}_z", Group.MAGNITUDE, "z", ("state_gex_zero",) if name.startswith("state") else (ZERO,), window,
            f"z of {formula}", missing,
        )
        for name, formula in MAGNITUDES.items()
    ]  # fmt: skip


def _change() -> list[Feature]:
    missing = "missing when either reading or its input is"
    net = [
        Feature(
            f"chg_net_{m}m", Group.CHANGE, "share of gross", (ZERO,), m * MINUTE,
            f"(sum_gex_vol − sum_gex_vol[{m}]) ÷ Σ|gex_vol|", missing,
        )
        for m in (1, 5, 10, 15, 30)
    ]  # fmt: skip
    zero = [
        Feature(
            f"chg_zero_gamma_{m}m_bps", Group.CHANGE, "bps", (ZERO,), m * MINUTE,
            f"(zero_gamma − zero_gamma[{m}]) ÷ spot × 10⁴", missing,
        )
        for m in (5, 15, 30)
    ]  # fmt: skip
    majors = [
        Feature(
            f"chg_major_{side}_15m_bps", Group.CHANGE, "bps", (ZERO,), 15 * MINUTE,
            f"(major_{side}_vol − major_{side}_vol[15]) ÷ spot × 10⁴", missing,
        )
        for side in ("pos", "neg")
    ]  # fmt: skip
    return [
        *net,
        *zero,
        *majors,
        Feature("chg_max_strike_bps", Group.CHANGE, "bps", (ZERO,), 0, "(max_strike_5 − spot) ÷ spot × 10⁴"),
        Feature("chg_max_size", Group.CHANGE, "share of gross", (ZERO,), 0, "max_change_5 ÷ Σ|gex_vol|"),
        Feature(
            "chg_flip_age", Group.CHANGE, "share of the window", (ZERO,), 120 * MINUTE,
            "readings since spot was last on the other side of zero gamma ÷ 240, 1 when it never was; at it is above",
            "missing without spot or zero gamma; readings without them are passed over",
        ),
    ]  # fmt: skip


_SHAPES = (
    ("centre_bps", "bps", "(Σ strike × |gex_vol| ÷ Σ|gex_vol| − spot) ÷ spot × 10⁴"),
    ("spread_bps", "bps", "standard deviation of strike weighted by |gex_vol|, ÷ spot × 10⁴"),
    ("skew", "1", "third standardised moment of strike weighted by |gex_vol|"),
    ("concentration", "1", "Σ(|gex_vol| ÷ Σ|gex_vol|)²"),
    ("share_above", "share", "Σ|gex_vol| above spot ÷ Σ|gex_vol|"),
    ("share_below", "share", "Σ|gex_vol| below spot ÷ Σ|gex_vol|"),
    ("largest_wall", "share", "max|gex_vol| ÷ Σ|gex_vol|"),
    ("sign_changes", "count", "changes of sign along strikes with gex_vol ≠ 0"),
    ("slope_at_spot", "share per strike", "(gex_vol above − gex_vol below spot) ÷ Σ|gex_vol|, neighbouring strikes"),
    ("gap_up_bps", "bps", "distance to the largest |gex_vol| above spot, ÷ spot × 10⁴"),
    ("gap_down_bps", "bps", "distance to the largest |gex_vol| below spot, ÷ spot × 10⁴"),
)


def _shape() -> list[Feature]:
    return [Feature(f"shape_{name}", Group.SHAPE, unit, (ZERO,), 0, formula) for name, unit, formula in _SHAPES]


def _greeks() -> list[Feature]:
    share = "Σ exposure ÷ Σ|exposure|"
    out = []
    for expiry in ("zero", "one"):
        for greek in ("delta", "gamma", "vanna", "charm"):
            source, formula = (f"state_{greek}_{expiry}",), share
            if (greek, expiry) == ("delta", "one"):  # no category of its own; order flow carries it
                source, formula = (FLOW,), "one_net_dex ÷ (|one_net_call_dex| + |one_net_put_dex|)"
            out.append(Feature(f"greek_{greek}_{expiry}", Group.GREEKS, "share of gross", source, 0, formula))
    near = "Σ exposure within 25 bps of spot (at least the nearest strike) ÷ Σ|exposure|"
    smile = "(put iv − call iv) ÷ iv, at the strikes half an expected move below and above spot"
    return [
        *out,
        Feature("greek_vanna_near", Group.GREEKS, "share of gross", ("state_vanna_zero",), 0, near),
        Feature(
            "greek_charm_near_left", Group.GREEKS, "share of gross", ("state_charm_zero",), 0,
            f"{near} × share of the session left",
        ),
        Feature("greek_iv_skew", Group.GREEKS, "1", ("state_gamma_zero",), 0, smile),
    ]  # fmt: skip


def _flow() -> list[Feature]:
    missing = f"missing when a reading of the sum is, with fewer than {Z_READINGS_MIN} sums, or with equal quartiles"
    sums = [
        Feature(
            f"flow_{name}_{m}m_z", Group.FLOW, "z", (FLOW,), 120 * MINUTE, f"z of {level} − {level}[{m}]", missing
        )
        for name, level in (("dex", "agg_dex"), ("gex", "zgr"), ("cvr", "zcvr"))
        for m in (5, 15)
    ]  # fmt: skip
    return [
        *sums,
        Feature("flow_dex_15m", Group.FLOW, "million USD", (FLOW,), 15 * MINUTE, "agg_dex − agg_dex[15]"),
        Feature(
            "flow_quadrant", Group.FLOW, "share of the window", (FLOW,), 15 * MINUTE,
            "share of the readings of 15 min in which agg_dex and zcvr moved the ways that they moved now",
            "missing without the flow of now, or with fewer than 15 of the 30",
        ),
        Feature(
            "flow_divergence", Group.FLOW, "1", (FLOW, ZERO), 15 * MINUTE,
            "flow_dex_15m_z − ln(spot ÷ spot[15]) ÷ √(Σ of squared log returns over 30 s in 15 min), within ±4",
        ),
    ]  # fmt: skip


def _price() -> list[Feature]:
    any_row = ("any",)
    moves = [
        Feature(
            f"price_return_{m}m_bps", Group.PRICE, "bps", any_row, m * MINUTE, f"ln(spot ÷ spot[{m}]) × 10⁴",
            "missing when either spot is",
        )
        for m in (5, 15, 30, 60)
    ]  # fmt: skip
    return [
        *moves,
        Feature(
            "price_realised_vol_30m", Group.PRICE, "per year", any_row, 30 * MINUTE,
            "√(mean of squared log returns over 30 s × 98,280 × 2), of regular hours",
            "missing when any of the 61 spots is",
        ),
        Feature(
            "price_range_position", Group.PRICE, "share", any_row, 120 * MINUTE, "(spot − low) ÷ (high − low)",
            "missing without spot or where high = low; readings without spot are passed over",
        ),
        Feature(
            "price_momentum", Group.PRICE, "deviations", any_row, 30 * MINUTE,
            "ln(spot ÷ spot[30]) ÷ √(Σ of squared log returns over 30 s in 30 min)",
            "missing when any of the 61 spots is",
        ),
        Feature(
            "price_time_of_day", Group.PRICE, "share", (), 0, "(end of the bucket − open) ÷ (close − open)",
            "never missing",
        ),
    ]  # fmt: skip


FEATURES: Final[tuple[Feature, ...]] = (
    *_location(), *_magnitude(), *_change(), *_shape(), *_greeks(), *_flow(), *_price(),
)  # fmt: skip
INDEX: Final = {feature.name: n for n, feature in enumerate(FEATURES)}
