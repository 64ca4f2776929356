"""Black–Scholes–Merton prices and greeks of European options, for arrays and single numbers alike.

Prices and strikes in USD, volatilities and rates per year, times in years of 365 days of 24 hours
(minutes over 525,600, so a 0DTE option has its time left to the minute). Formulas: Merton (1973), as
in Haug, *The Complete Guide to Option Pricing Formulas*, 2nd ed., chapters 1 and 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MINUTES_PER_YEAR = 525_600.0
HOURS_PER_YEAR = 8_760.0
DAYS_PER_YEAR = 365.0
VOL_MAX = 20.0  # 2,000 % a year: above it a price is noise, not a volatility

_erfc = np.frompyfunc(math.erfc, 1, 1)
_SQRT_HALF = math.sqrt(0.5)
_INV_SQRT_TWO_PI = 1.0 / math.sqrt(2.0 * math.pi)


class Shown(NamedTuple):
    """What a quote is made of, in the units of `Values`."""

    price: Floats
    delta: Floats
    gamma: Floats


class Values(NamedTuple):
    """Price and greeks of one long option per unit of underlying; single numbers give 0-d values.

    `price` USD; `delta` USD per USD; `gamma` delta per USD; `vega` USD per 1.00 of volatility;
    `theta` USD per year of calendar time; `vanna` delta per 1.00 of volatility; `charm` delta per year
    of calendar time passing.
    """

    price: Floats
    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats
    vanna: Floats
    charm: Floats


def years_of(minutes: Floats | float) -> Floats:
    """Return minutes as years of 525,600 minutes; negative minutes are none."""
    return np.maximum(np.asarray(minutes, np.float64), 0.0) / MINUTES_PER_YEAR


def normal_cdf(x: Floats | float) -> Floats:
    """Return the standard normal distribution function, to the last bits in both tails (C's `erfc`)."""
    return 0.5 * np.asarray(_erfc(np.asarray(x, np.float64) * -_SQRT_HALF), np.float64)


def normal_pdf(x: Floats | float) -> Floats:
    """Return the standard normal density."""
    y = np.asarray(x, np.float64)
    return np.asarray(np.exp(-0.5 * y * y) * _INV_SQRT_TWO_PI)


def values(
    spot: Floats | float,
    strike: Floats | float,
    years: Floats | float,
    iv: Floats | float,
    is_call: Bools | bool,
    *,
    rate: float = 0.0,
    dividend: float = 0.0,
) -> Values:
    """Return price and greeks; inputs broadcast.

    An option without time or without volatility is worth its intrinsic value: its delta is 1, 0 or −1
    and its other greeks are 0.
    """
    s, k, t, v, call = np.broadcast_arrays(
        np.asarray(spot, np.float64), np.asarray(strike, np.float64), np.asarray(years, np.float64),
        np.asarray(iv, np.float64), np.asarray(is_call, np.bool_),
    )  # fmt: skip
    sign = np.where(call, 1.0, -1.0)
    alive = (t > 0.0) & (v > 0.0)
    if not alive.all():
        t, v = np.where(alive, t, 1.0), np.where(alive, v, 1.0)
    root = np.sqrt(t)
    deviation = v * root
    d1 = (np.log(s / k) + (rate - dividend) * t) / deviation + 0.5 * deviation
    d2 = d1 - deviation
    carried, discounted = s * np.exp(-dividend * t), k * np.exp(-rate * t)
    n1, n2 = normal_cdf(sign * d1), normal_cdf(sign * d2)
    density = normal_pdf(d1) * np.exp(-dividend * t)
    share = n1 * np.exp(-dividend * t)
    drift = (2.0 * (rate - dividend) * t - d2 * deviation) / (2.0 * t * deviation)
    living = Values(
        price=sign * (carried * n1 - discounted * n2),
        delta=sign * share,
        gamma=density / (s * deviation),
        vega=s * density * root,
        theta=-s * density * v / (2.0 * root) + sign * (dividend * carried * n1 - rate * discounted * n2),
        vanna=-density * d2 / v,
        charm=sign * dividend * share - density * drift,
    )
    if alive.all():
        return living
    in_money = sign * (s - k) > 0.0
    intrinsic, ended = np.where(in_money, sign * (s - k), 0.0), np.where(in_money, sign, 0.0)
    none = np.zeros(s.shape)
    dead = (intrinsic, ended, none, none, none, none, none)
    return Values(*(np.where(alive, a, b) for a, b in zip(living, dead, strict=True)))


def shown(spot: Floats, strike: float, years: Floats, iv: Floats, is_call: bool) -> Shown:
    """Return price, delta and gamma of one contract along a path without rates, bit by bit as `values` does.

    `spot`, `years` and `iv` are (n,) arrays; it takes two fifths of the time.
    """
    sign = 1.0 if is_call else -1.0
    alive = (years > 0.0) & (iv > 0.0)
    is_all_alive = bool(alive.all())
    t, v = (years, iv) if is_all_alive else (np.where(alive, years, 1.0), np.where(alive, iv, 1.0))
    deviation = v * np.sqrt(t)
    d1 = np.log(spot / strike) / deviation + 0.5 * deviation
    n1, n2 = normal_cdf(sign * d1), normal_cdf(sign * (d1 - deviation))
    living = Shown(sign * (spot * n1 - strike * n2), sign * n1, normal_pdf(d1) / (spot * deviation))
    if is_all_alive:
        return living
    gain = sign * (spot - strike)
    in_money = gain > 0.0
    ended = (np.where(in_money, gain, 0.0), np.where(in_money, sign, 0.0), np.zeros(spot.shape))
    return Shown(*(np.where(alive, a, b) for a, b in zip(living, ended, strict=True)))


def gamma(spot: Floats | float, strike: Floats | float, years: Floats | float, iv: Floats | float) -> Floats:
    """Return gamma (delta per USD) without rates nor distribution function; 0 without time or volatility."""
    deviation = np.asarray(iv, np.float64) * np.sqrt(np.asarray(years, np.float64))
    alive = deviation > 0.0
    width = np.where(alive, deviation, 1.0)
    s = np.asarray(spot, np.float64)
    d1 = (np.log(s) - np.log(strike)) / width + 0.5 * width
    return np.asarray(np.where(alive, normal_pdf(d1) / (s * width), 0.0))


def implied_vols(
    price: Floats | float,
    spot: Floats | float,
    strike: Floats | float,
    years: Floats | float,
    is_call: Bools | bool,
    *,
    rate: float = 0.0,
    dividend: float = 0.0,
) -> Floats:
    """Return the volatilities per year at which the model gives these prices; NaN where none does.

    None does where the price is at or outside the no-arbitrage bounds, time has run out, or more than
    2,000 % a year would be needed. Newton's steps on vega, each kept inside a bracket that shrinks, and
    a bisection where one would leave it; where vega vanishes the volatility is as good as the price is.
    """
    p, s, k, t, call = np.broadcast_arrays(
        np.asarray(price, np.float64), np.asarray(spot, np.float64), np.asarray(strike, np.float64),
        np.asarray(years, np.float64), np.asarray(is_call, np.bool_),
    )  # fmt: skip
    low, high = np.zeros(p.shape), np.full(p.shape, VOL_MAX)
    time = np.where(t > 0.0, t, 1.0)
    carried, discounted = s * np.exp(-dividend * time), k * np.exp(-rate * time)
    floor = np.maximum(np.where(call, carried - discounted, discounted - carried), 0.0)
    top = values(s, k, time, VOL_MAX, call, rate=rate, dividend=dividend).price
    solvable = (t > 0.0) & (p > floor) & (p <= top)
    # Where price bends in volatility: from there Newton does not overshoot (Manaster and Koehler 1982).
    bend = np.sqrt(2.0 * np.abs(np.log(carried / discounted)) / time)
    guess = np.clip(bend, 0.05, 0.5 * VOL_MAX)
    for _ in range(80):
        now = values(s, k, time, guess, call, rate=rate, dividend=dividend)
        miss = now.price - p
        low, high = np.where(miss < 0.0, guess, low), np.where(miss < 0.0, high, guess)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = guess - miss / now.vega
        following = np.where((newton > low) & (newton < high), newton, 0.5 * (low + high))
        settled = np.abs(following - guess) <= 1e-13 * guess
        guess = following
        if bool((settled | ~solvable).all()):
            break
    return np.asarray(np.where(solvable, guess, np.nan))


# -- one option at a time: what a decision waits for, without the cost of arrays ------------------


class Value(NamedTuple):
    """Price and greeks of one long option, in the units of `Values`."""

    price: float
    delta: float
    gamma: float
    vega: float
    theta: float


def value(spot: float, strike: float, years: float, iv: float, is_call: bool) -> Value:
    """Return price and greeks of one option without rates, as `values` does, with plain numbers."""
    sign = 1.0 if is_call else -1.0
    deviation = iv * math.sqrt(years) if years > 0.0 < iv else 0.0
    if deviation <= 0.0:
        gain = sign * (spot - strike)
        return Value(gain, sign, 0.0, 0.0, 0.0) if gain > 0.0 else Value(0.0, 0.0, 0.0, 0.0, 0.0)
    root = math.sqrt(years)
    d1 = math.log(spot / strike) / deviation + 0.5 * deviation
    n1 = 0.5 * math.erfc(-sign * d1 * _SQRT_HALF)
    n2 = 0.5 * math.erfc(-sign * (d1 - deviation) * _SQRT_HALF)
    density = math.exp(-0.5 * d1 * d1) * _INV_SQRT_TWO_PI
    return Value(
        price=sign * (spot * n1 - strike * n2),
        delta=sign * n1,
        gamma=density / (spot * deviation),
        vega=spot * density * root,
        theta=-spot * density * iv / (2.0 * root),
    )


def implied_vol(price: float, spot: float, strike: float, years: float, is_call: bool) -> float | None:
    """Return one implied volatility per year, without rates; `None` where none gives the price.

    The steps of `implied_vols`, with plain numbers.
    """
    floor = max(spot - strike if is_call else strike - spot, 0.0)
    if not (years > 0.0 and spot > 0.0 and strike > 0.0 and price > floor):
        return None
    if price > value(spot, strike, years, VOL_MAX, is_call).price:
        return None
    sign, root, distance = (1.0 if is_call else -1.0), math.sqrt(years), math.log(spot / strike)
    low, high = 0.0, VOL_MAX
    guess = min(max(math.sqrt(2.0 * abs(distance) / years), 0.05), 0.5 * VOL_MAX)
    for _ in range(80):
        # price and vega as in `value`, bit by bit; what does not change with the volatility stands outside
        deviation = guess * root
        d1 = distance / deviation + 0.5 * deviation
        n1 = 0.5 * math.erfc(-sign * d1 * _SQRT_HALF)
        n2 = 0.5 * math.erfc(-sign * (d1 - deviation) * _SQRT_HALF)
        miss = sign * (spot * n1 - strike * n2) - price
        vega = spot * (math.exp(-0.5 * d1 * d1) * _INV_SQRT_TWO_PI) * root
        if miss < 0.0:
            low = guess
        else:
            high = guess
        newton = guess - miss / vega if vega > 0.0 else high
        following = newton if low < newton < high else 0.5 * (low + high)
        if abs(following - guess) <= 1e-13 * guess:
            return following
        guess = following
    return guess
