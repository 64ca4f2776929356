"""Model prices and greeks against 40-digit values, and volatilities recovered from prices."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.options import black_scholes
from tests.testkit.paths import DATA

REFERENCE = DATA / "bs_greeks_reference.json"
FIELDS = {
    "price": "price",
    "delta": "delta",
    "gamma": "gamma",
    "vega": "vega_per_1",
    "theta": "theta_per_year",
    "vanna": "vanna_dDelta_dSigma",
    "charm": "charm_dDelta_dt_per_year",
}


@pytest.fixture(scope="module")
def reference() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(REFERENCE.read_text(encoding="utf-8"))["rows"]
    return rows


def values_of(row: dict[str, Any]) -> black_scholes.Values:
    return black_scholes.values(
        row["S"], row["K"], row["T"], row["sigma"], row["cp"] == "c", rate=row["r"], dividend=row["q"]
    )


@pytest.mark.parametrize("field", FIELDS)
def test_every_value_agrees_with_the_reference(reference: list[dict[str, Any]], field: str) -> None:
    assert len(reference) == 360
    for row in reference:
        measured = float(getattr(values_of(row), field))
        assert measured == pytest.approx(row[FIELDS[field]], rel=1e-10, abs=1e-10), row


def test_arrays_give_what_single_numbers_give(reference: list[dict[str, Any]]) -> None:
    rows = [r for r in reference if r["r"] == 0.0 and r["q"] == 0.0]
    column = {k: np.array([r[k] for r in rows]) for k in ("S", "K", "T", "sigma")}
    is_call = np.array([r["cp"] == "c" for r in rows])
    together = black_scholes.values(column["S"], column["K"], column["T"], column["sigma"], is_call)
    for n, row in enumerate(rows):
        for one, many in zip(values_of(row), together, strict=True):
            assert float(one) == float(many[n])


@pytest.mark.parametrize("is_call", [True, False])
def test_what_a_quote_is_made_of_is_what_stands_among_the_values_to_the_last_bit(is_call: bool) -> None:
    draw = np.random.default_rng(7)
    n = 2_000
    spot = 6_000.0 * np.exp(draw.normal(0.0, 0.01, n))
    years = draw.choice((0.0, 1.0, 60.0, 3_600.0, 23_400.0), n) / (365.0 * 86_400.0)  # out of time among them
    iv = np.where(draw.random(n) < 0.05, 0.0, draw.uniform(0.05, 1.5, n))
    for strike in (5_900.0, 6_000.0, float(spot[3])):
        whole, alone = (of(spot, strike, years, iv, is_call) for of in (black_scholes.values, black_scholes.shown))
        for name in alone._fields:
            assert np.array_equal(getattr(alone, name), getattr(whole, name)), name


def test_gamma_alone_is_the_gamma_among_the_values(reference: list[dict[str, Any]]) -> None:
    for row in (r for r in reference if r["r"] == 0.0 and r["q"] == 0.0):
        alone = float(black_scholes.gamma(row["S"], row["K"], row["T"], row["sigma"]))
        assert alone == pytest.approx(row["gamma"], rel=1e-10, abs=1e-14)


def test_time_is_counted_to_the_minute(reference: list[dict[str, Any]]) -> None:
    for row in reference:
        assert float(black_scholes.years_of(row["minutes"])) == pytest.approx(row["T"], rel=1e-14)
    assert float(black_scholes.years_of(-3.0)) == 0.0


@pytest.mark.parametrize(
    ("x", "probability"),
    [(0.0, 0.5), (1.0, 0.841344746068543), (-8.0, 6.22096057427178e-16), (-37.0, 5.725571222524e-300)],
)
def test_distribution_function_is_exact_in_the_tail(x: float, probability: float) -> None:
    assert float(black_scholes.normal_cdf(x)) == pytest.approx(probability, rel=1e-12)


@given(
    moneyness=st.floats(0.97, 1.03),
    minutes=st.integers(1, 3_000),
    iv=st.floats(0.05, 3.0),
    is_call=st.booleans(),
)
def test_implied_volatility_reproduces_its_price(moneyness: float, minutes: int, iv: float, is_call: bool) -> None:
    years = float(black_scholes.years_of(minutes))
    paid = black_scholes.values(6_000.0, 6_000.0 * moneyness, years, iv, is_call)
    found = black_scholes.implied_vol(float(paid.price), 6_000.0, 6_000.0 * moneyness, years, is_call)
    if found is None:  # the price is its intrinsic value to the last bit
        assert float(paid.vega) < 1e-3
        return
    again = black_scholes.values(6_000.0, 6_000.0 * moneyness, years, found, is_call)
    assert float(again.price) == pytest.approx(float(paid.price), abs=1e-9)
    if float(paid.vega) > 1e-2:
        assert found == pytest.approx(iv, rel=1e-6)


@pytest.mark.parametrize("price", [0.0, -1.0, 49.99, 50.0, 6_050.0, math.nan])
def test_price_outside_the_bounds_has_no_volatility(price: float) -> None:
    assert black_scholes.implied_vol(price, 6_050.0, 6_000.0, 1e-3, True) is None


def test_expired_option_has_no_volatility() -> None:
    assert black_scholes.implied_vol(60.0, 6_050.0, 6_000.0, 0.0, True) is None


def test_expired_option_is_worth_its_intrinsic_value() -> None:
    strikes = np.array([5_950.0, 6_000.0, 6_050.0])
    call = black_scholes.values(6_000.0, strikes, 0.0, 0.2, True)
    put = black_scholes.values(6_000.0, strikes, 0.0, 0.2, False)
    assert call.price.tolist() == [50.0, 0.0, 0.0] and call.delta.tolist() == [1.0, 0.0, 0.0]
    assert put.price.tolist() == [0.0, 0.0, 50.0] and put.delta.tolist() == [0.0, 0.0, -1.0]
    assert not call.gamma.any() and not put.charm.any()


one_option = {
    "moneyness": st.floats(0.9, 1.1), "years": st.floats(1e-6, 0.01), "iv": st.floats(0.01, 5.0),
    "is_call": st.booleans(),
}  # fmt: skip


@given(**one_option)
def test_value_of_one_option_is_that_of_arrays(moneyness: float, years: float, iv: float, is_call: bool) -> None:
    one = black_scholes.value(6_000.0, 6_000.0 * moneyness, years, iv, is_call)
    wide = black_scholes.values(6_000.0, 6_000.0 * moneyness, years, iv, is_call)
    for field in one._fields:
        assert getattr(one, field) == pytest.approx(float(getattr(wide, field)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("years", "iv"), [(0.0, 0.2), (-1.0, 0.2), (0.01, 0.0)])
@pytest.mark.parametrize("is_call", [True, False])
def test_one_option_without_time_or_volatility_is_worth_its_intrinsic_value(
    years: float, iv: float, is_call: bool
) -> None:
    one = black_scholes.value(6_010.0, 6_000.0, years, iv, is_call)
    assert (one.price, one.delta, one.vega) == ((10.0, 1.0, 0.0) if is_call else (0.0, 0.0, 0.0))


@example(moneyness=1.0999999999999999, years=0.000364, iv=1.0, is_call=False, cents=0)
@given(**one_option, cents=st.integers(-3, 3))
def test_volatility_of_one_option_is_that_of_arrays(
    moneyness: float, years: float, iv: float, is_call: bool, cents: int
) -> None:
    strike = 6_000.0 * moneyness
    price = round(black_scholes.value(6_000.0, strike, years, iv, is_call).price, 2) + cents / 100
    one = black_scholes.implied_vol(price, 6_000.0, strike, years, is_call)
    wide = float(black_scholes.implied_vols(price, 6_000.0, strike, years, is_call))
    assert (one is None) is math.isnan(wide)
    if one is not None:
        again = black_scholes.value(6_000.0, strike, years, one, is_call).price
        assert again == pytest.approx(price, abs=1e-6)
        if price - max(6_000.0 - strike if is_call else strike - 6_000.0, 0.0) > 1e-6:  # else any low volatility fits
            assert one == pytest.approx(wide, rel=1e-6)
