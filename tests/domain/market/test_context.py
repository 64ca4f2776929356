"""Correlations, their breakdown, and the table of derived series."""

from __future__ import annotations

from datetime import date, time, timedelta

import numpy as np
import pytest

from config.settings import load_settings
from domain.instants import at_exchange
from domain.market.bars import Bars
from domain.market.correlation import (
    PAIRS,
    Baseline,
    Breakdown,
    baseline,
    breakdowns,
    correlation,
    rolling,
)
from domain.market.derived import TABLE, Regime, all_values
from domain.risk.overlay import Minutes, overlay_of
from domain.session.calendar import day
from domain.units import Utc
from tests.domain.market.test_bars import bars

RNG = np.random.default_rng(5)


def walk(n: int, shared: np.ndarray | None = None, weight: float = 1.0) -> list[int]:
    own = RNG.normal(0, 2e-4, n)
    steps = own if shared is None else weight * shared + 0.1 * own
    found: list[int] = np.rint(60_000 * np.exp(np.cumsum(steps))).astype(int).tolist()
    return found


def test_what_moves_together_correlates_and_a_mirror_does_the_opposite() -> None:
    shared = RNG.normal(0, 5e-4, 300)
    spy, qqq, vix = (bars(t, walk(300, shared, w)) for t, w in (("SPY", 1.0), ("QQQ", 1.2), ("VIX", -3.0)))
    assert correlation(spy, qqq) == pytest.approx(1.0, abs=0.02)
    assert correlation(spy, vix) == pytest.approx(-1.0, abs=0.02)
    assert abs(correlation(spy, bars("IWM", walk(300))) or 0.0) < 0.3
    assert correlation(spy, bars("QQQ", [60_000] * 300)) is None
    assert correlation(spy, bars("QQQ", walk(10))) is None
    over = rolling(spy, qqq, 60)
    assert np.isnan(over[:60]).all() and not np.isnan(over[60:]).any()
    assert over[-1] == pytest.approx(correlation(spy, qqq, 60))


def test_a_breakdown_is_a_fall_beyond_the_baselines_spread_and_nothing_else() -> None:
    usual = {pair: baseline([0.9 + 0.01 * (n % 3) for n in range(40)]) for pair in PAIRS}
    usual["SPY", "VIX"] = Baseline(-0.8, 0.05, 30)
    known = usual["SPY", "QQQ"]
    assert known is not None and known.sessions == 30
    calm = dict.fromkeys(PAIRS, 0.88) | {("SPY", "VIX"): -0.99}
    assert breakdowns(calm, usual) == ()
    broken = breakdowns(calm | {("SPY", "QQQ"): 0.3, ("SPY", "VIX"): -0.2}, usual)
    assert broken is not None
    assert [found.pair for found in broken] == [("SPY", "QQQ"), ("SPY", "VIX")]
    assert breakdowns(calm, {}) is None
    assert baseline([0.9] * 5) is None


def test_a_breakdown_cuts_the_size_and_not_being_told_says_so() -> None:
    rules = load_settings(profile="demo").entry.overlay
    now = Utc(0)
    untold = overlay_of(rules, None, Minutes(), None, now)
    usual = overlay_of(rules, None, Minutes(), None, now, ())
    broken = overlay_of(rules, None, Minutes(), None, now, (Breakdown(("SPY", "QQQ"), 0.3, 0.9),))
    assert untold.factor == usual.factor
    assert broken.factor == usual.factor * rules.breakdown
    assert "not told" in untold.why and "usual" in usual.why and "SPY/QQQ" in broken.why


def sessions(ticker: str, closes: list[list[int]]) -> Bars:
    """Return minute bars of consecutive sessions."""
    parts, when = [], date(2026, 11, 2)
    for told in closes:
        while day(when) is None:
            when += timedelta(days=1)
        parts.append(bars(ticker, told, begin_utc=at_exchange(when, time(9, 30))))
        when += timedelta(days=1)
    columns = ("begin_utc", "open", "high", "low", "close")
    begin_utc, opened, high, low, close = (np.concatenate([getattr(part, name) for part in parts]) for name in columns)
    return Bars(ticker, 1, begin_utc, opened, high, low, close)


def test_every_series_names_its_formula_and_is_missing_without_its_inputs() -> None:
    assert len({(series.symbol, series.name) for series in TABLE}) == len(TABLE)
    assert all(series.formula and series.inputs for series in TABLE)
    assert set(all_values({}).values()) == {None}


def test_the_series_say_what_their_formulas_say() -> None:
    quiet = [60_000 + n % 3 for n in range(60)]
    rise = [60_000 + 10 * n for n in range(60)]
    spy = sessions("SPY", [[*quiet] * 2 for _ in range(7)] + [[*quiet, *rise]])
    spx = sessions("SPX", [[600_000] * 120] * 8)
    found = all_values({"SPY": spy, "SPX": spx})
    assert found["SPY", "hourly_regime"] == Regime.TREND_UP
    assert found["SPY", "breakout_5d"] == 1.0
    assert found["SPY", "narrow_range_7d"] == 1.0
    assert found["SPY", "gap"] == pytest.approx(60_000 / 60_002 - 1)
    assert found["SPX", "spx_spy_ratio"] == pytest.approx(600_000 / 60_590)
    assert found["SPX", "breakout_5d"] == 0.0
    assert found["IWM", "iwm_spy_rotation"] is None
    iwm = sessions("IWM", [[20_000] * 120] * 8)
    rotated = all_values({"SPY": spy, "IWM": iwm})["IWM", "iwm_spy_rotation"]
    assert rotated == pytest.approx(0.0 - (60_590 / 60_290 - 1.0))
