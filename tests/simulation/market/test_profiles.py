"""The identities that hold in the vendor's data hold in the simulated market's profiles."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import MINUTE, SECOND
from domain.options.profile import PRIORS, VALUE_COLUMNS, Profile, Shape
from simulation.market.market import CATEGORIES, Market
from simulation.market.profiles import SATURATION, to_wire

DAY = date(2026, 11, 19)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1_000), second=st.integers(0, 23_399), ticker=st.sampled_from(["SPX", "QQQ", "NVDA"]))
def test_identities_hold_at_any_instant_of_any_day(seed: int, second: int, ticker: str) -> None:
    market = Market(seed, DAY, (ticker,))
    market.step(market.open_utc + second * SECOND)
    at = {c: market.profile(ticker, c) for c in (*CATEGORIES, "state_gex_full")}
    for category, profile in at.items():
        assert profile.category == category and profile.ticker == ticker
        assert profile.source_utc == market.now_utc and profile.spot == market.spot(ticker).price_ticks
        if profile.shape is Shape.GEX:
            assert profile.scalar("sum_gex_vol") == 10 * int(profile.column("gex_vol").sum())
            assert profile.scalar("sum_gex_oi") == 10 * int(profile.column("gex_oi").sum())
            check_majors(profile, "gex_vol", "major_pos_vol", "major_neg_vol")
            check_majors(profile, "gex_oi", "major_pos_oi", "major_neg_oi")
    flow = at["orderflow_orderflow"]
    for prefix in ("", "one_"):
        for kind in ("agg", "net"):
            parts = flow.scalar(f"{prefix}{kind}_call_dex") + flow.scalar(f"{prefix}{kind}_put_dex")
            assert flow.scalar(f"{prefix}{kind}_dex") == parts
    for part, z in (("zero", "z"), ("one", "o")):
        greek, gex = at[f"state_gamma_{part}"], at[f"state_gex_{part}"]
        assert flow.scalar(f"{z}_mlgamma") == greek.scalar("major_long_gamma")
        assert flow.scalar(f"{z}_msgamma") == greek.scalar("major_short_gamma")
        assert flow.scalar(f"{part}_mcall") == gex.scalar("major_pos_vol")
        assert flow.scalar(f"{part}_mput") == gex.scalar("major_neg_vol")
        assert 10 * flow.scalar(f"{z}gr") == gex.scalar("sum_gex_vol")
        assert flow.scalar(f"{z}cvr") == int(greek.column("exposure").sum())
        check_majors(greek, "exposure", "major_long_gamma", "major_short_gamma")


def check_majors(profile: Profile, column: str, positive: str, negative: str) -> None:
    """The majors are the strikes of the extremes, 0 where there is none on that side."""
    values = profile.column(column)
    for sign, name in ((1, positive), (-1, negative)):
        at = int(np.argmax(sign * values))
        assert profile.scalar(name) == (profile.strikes[at] if sign * values[at] > 0 else 0)


@pytest.mark.parametrize("snapshot_s", [1, 5, 30])
def test_flows_are_first_differences_between_snapshots(snapshot_s: int) -> None:
    market = Market(11, DAY, ("SPX",), snapshot_s=snapshot_s)
    market.step(market.open_utc + 50 * SECOND)
    before = market.profile("SPX", "orderflow_orderflow")
    moved = 0
    for _ in range(30):
        market.step(before.source_utc + snapshot_s * SECOND)
        now = market.profile("SPX", "orderflow_orderflow")
        assert now.source_utc == before.source_utc + snapshot_s * SECOND
        for prefix, z in (("", "z"), ("one_", "o")):
            for name, of in (("dexoflow", f"{prefix}agg_dex"), ("gexoflow", f"{z}gr"), ("cvroflow", f"{z}cvr")):
                assert now.scalar(prefix + name) == now.scalar(of) - before.scalar(of)
                moved += now.scalar(prefix + name) != 0
        before = now
    assert moved > 90


def test_state_package_has_neither_flip_nor_open_interest() -> None:
    market = Market(11, DAY, ("SPX",))
    market.step(market.open_utc + 90 * MINUTE)
    for part in ("zero", "one", "full"):
        profile = market.profile("SPX", f"state_gex_{part}")
        for name in ("zero_gamma", "major_pos_oi", "major_neg_oi", "sum_gex_oi", "delta_risk_reversal"):
            assert profile.scalar(name) == 0
        assert not profile.column("gex_oi").any() and profile.column("gex_vol").any()


def test_full_is_the_sum_of_both_expiries() -> None:
    market = Market(11, DAY, ("SPX",))
    market.step(market.open_utc + 90 * MINUTE)
    full, zero, one = (market.profile("SPX", f"classic_gex_{p}").column("gex_oi") for p in ("full", "zero", "one"))
    assert np.abs(full - zero - one).max() <= 1


@pytest.mark.parametrize("category", [c for c in CATEGORIES if c != "orderflow_orderflow"])
def test_priors_are_what_was_published_then(category: str) -> None:
    market, past = Market(11, DAY, ("QQQ",)), {}
    lags = (1, 5, 10, 15, 30)
    for minute in sorted({60 - lag for lag in lags}):
        market.step(market.open_utc + minute * MINUTE)
        past[60 - minute] = market.profile("QQQ", category)
    market.step(market.open_utc + 60 * MINUTE + 20 * SECOND)
    now = market.profile("QQQ", category)
    column = VALUE_COLUMNS[now.shape][0] if now.shape is Shape.GEX else "exposure"
    assert now.priors.shape == (len(now.strikes), PRIORS[now.shape])
    for n, lag in enumerate(lags[: PRIORS[now.shape]]):
        assert now.priors[:, n].tolist() == past[lag].column(column).tolist()
    if now.shape is Shape.GEX:
        for lag in lags:
            change = now.column("gex_vol").astype(np.int64) - past[lag].column("gex_vol")
            largest = int(np.argmax(np.abs(change)))
            assert now.scalar(f"max_strike_{lag}") == now.strikes[largest]
            assert now.scalar(f"max_change_{lag}") == 10 * int(change[largest])


def test_before_the_open_there_is_open_interest_and_no_volume() -> None:
    market = Market(11, DAY, ("SPX",))
    profile = market.profile("SPX", "classic_gex_zero")
    assert profile.scalar("sum_gex_vol") == 0 and profile.scalar("sum_gex_oi") != 0 and profile.scalar("zero_gamma")


def test_after_the_close_profiles_stand_still() -> None:
    market = Market(11, DAY, ("SPX",))
    market.step(market.close_utc)
    at_close = market.profile("SPX", "classic_gex_zero")
    market.step(market.close_utc + 5 * MINUTE)
    assert market.profile("SPX", "classic_gex_zero").digest() == at_close.digest()
    assert at_close.source_utc == market.close_utc - SECOND


@pytest.mark.parametrize("category", ["classic_gex_two", "state_gamma_full", "state_color_zero", "orderbook"])
def test_unknown_categories_are_refused(category: str) -> None:
    with pytest.raises(ValueError, match="category"):
        Market(1, DAY, ("SPX",)).profile("SPX", category)


def test_values_beyond_the_wire_saturate_on_both_sides() -> None:
    assert to_wire(np.array([1e15, -1e15, 1.5e4, 0.0])).tolist() == [SATURATION, -SATURATION, 2, 0]


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("ticker", ["SPX", "QQQ"])
def test_a_default_day_crosses_its_flip_a_handful_of_times(seed: int, ticker: str) -> None:
    market = Market(seed, date(2026, 11, 20), (ticker,), snapshot_s=60)
    crossings = side = 0
    for minute in range(1, 390):
        market.step(market.open_utc + minute * MINUTE)
        profile = market.profile(ticker, "classic_gex_zero")
        bps = (profile.spot / profile.scalar("zero_gamma") - 1.0) * 1e4
        now = int(np.sign(bps)) if abs(bps) > 5.0 else side
        crossings += side not in (0, now)
        side = now
    assert 3 <= crossings <= 12
