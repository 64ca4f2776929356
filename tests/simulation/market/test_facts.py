"""The stylised facts of the honest market, each beside the figure of real days; and that the measures measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from statistics import mean, median

import numpy as np
import pytest

from domain.instants import MINUTE, SECOND
from domain.units import Utc
from simulation.days.one_day import day_settings
from simulation.market import facts
from simulation.market.market import Market
from simulation.market.style import Kind, Nature
from simulation.market.survey import DayFigures, Fact, facts_of, measure_day, survey, worth_of

DAY = date(2026, 11, 20)
HONEST, IDLE = Nature(Kind.HONEST), Nature(Kind.HONEST, 0.0)


@pytest.fixture(scope="module")
def days() -> list[DayFigures]:
    settings = day_settings()
    return [measure_day(seed, DAY, HONEST, settings, with_alerts=False) for seed in range(8)]


def widths(days: list[DayFigures], n: int) -> float:
    return median(width for one in days for width in one.spreads[n])


Figure = Callable[[list[DayFigures]], float]
REAL: dict[str, tuple[str, Figure, float, float]] = {
    "expected move at 09:35": ("53 bps", lambda days: mean(d.expected_move_bps for d in days), 50.0, 56.0),
    "realised a day": ("48 bps", lambda days: facts.realised_bps(np.array([d.minutes for d in days])), 40.0, 56.0),
    "IV at 10:00 at a VIX of 16": ("0.186", lambda days: mean(d.iv for d in days), 0.176, 0.196),
    "smile at -2.9 sd": ("1.5", lambda days: mean(d.smile[0] for d in days), 1.4, 1.6),
    "smile at +1.5 sd": ("1.0", lambda days: mean(d.smile[1] for d in days), 0.95, 1.05),
    "call wing at +2.9 sd": ("1.2 to 1.4", lambda days: mean(d.smile[2] for d in days), 1.2, 1.4),
    "spread at 10 to 20 USD": ("0.40", lambda days: widths(days, 0), 0.30, 0.50),
    "spread at 20 to 40 USD": ("0.70 to 1.20", lambda days: widths(days, 1), 0.70, 1.20),
    "spread in the first 25 min": ("wider", lambda days: widths(days, 2) / widths(days, 0), 1.1, 2.0),
    "contracts of today's expiry": ("2.2 to 2.6 M", lambda days: mean(d.volume for d in days) / 1e6, 2.2, 2.6),
    "range of zero gamma": (
        "moves",
        lambda days: mean(max(d.levels_usd) - min(d.levels_usd) for d in days),
        5.0,
        100.0,
    ),
    "several crossings": ("at times", lambda days: mean(n > 1 for d in days for n in d.crossings), 0.005, 0.5),
    "spot on the wrong side": ("2 of 88", lambda days: mean(float(w) for d in days for w in d.wrong), 0.0, 0.06),
    "parity missed": ("within the spread", lambda days: mean(d.parity_missed for d in days), 0.0, 0.01),
    "sizes new each second": ("few", lambda days: mean(d.refilled for d in days), 0.0, 0.15),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_a_fact_of_real_days_holds(days: list[DayFigures], name: str) -> None:
    real, figure, low, high = REAL[name]
    assert low <= figure(days) <= high, f"{name}: real days have {real}"


def test_walks_with_and_without_memory_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    steps = rng.standard_normal((100, 390)) * 1e-4
    free = np.cumsum(steps, axis=1)
    trending = np.cumsum(steps + 0.5 * np.roll(steps, 1, axis=1), axis=1)
    reverting = 0.5 * steps
    assert facts.variance_ratio(free, 30) == pytest.approx(1.0, abs=0.1)
    assert abs(facts.lag_one(free)) < 0.02
    assert facts.variance_ratio(trending, 30) > 1.5 and facts.lag_one(trending) > 0.3
    assert facts.variance_ratio(reverting, 30) < 0.2 and facts.lag_one(reverting) < -0.4


def test_kurtosis_of_normal_returns_is_nothing_whatever_the_time_of_day_does() -> None:
    steps = np.random.default_rng(2).standard_normal((400, 390)) * np.linspace(3.0, 1.0, 390)
    assert facts.excess_kurtosis(np.cumsum(steps, axis=1)) == pytest.approx(0.0, abs=0.1)


def test_a_t_counts_days_and_not_what_happened_within_them() -> None:
    assert facts.t_of([1.0, 1.0, 1.0, 1.0]) == pytest.approx(2.0)
    assert facts.t_of([1.0, -1.0]) == facts.t_of([]) == 0.0


def test_what_is_not_judged_of_a_market_has_no_verdict() -> None:
    fact = Fact("t", "0", 5.0, -2.0, 2.0, needs=0.0)
    assert [fact.verdict(nature, 200) for nature in (HONEST, IDLE)] == ["-", "no"]
    assert [fact.verdict(IDLE, days) for days in (5, 199)] == ["-", "-"], "fewer days say too little"
    assert fact._replace(needs=None).verdict(HONEST, 200) == "no"


def test_parity_that_is_missed_is_seen() -> None:
    market = Market(5, DAY, ("SPX",), nature=HONEST)
    market.step(Utc(market.open_utc + 60 * MINUTE))
    pairs = facts.pairs_of(market)
    assert facts.parity_missed(market, pairs) < 0.02
    market.step(Utc(market.now_utc + 600 * SECOND))
    assert facts.parity_missed(market, pairs) > 0.5, "quotes of ten minutes ago are not of this instant"


@pytest.mark.slow
def test_a_survey_measures_each_day_alone_and_in_the_order_of_its_seeds(days: list[DayFigures]) -> None:
    settings = day_settings()
    honest = settings.model_copy(update={"market": replace(settings.market, kind="honest", feedback=1.0)})
    found = list(survey(honest, [(seed, DAY) for seed in (4, 2)], workers=2, with_alerts=False))
    assert found == [days[4], days[2]]
    assert {fact.verdict(HONEST, len(found)) for fact in facts_of(found)} == {"-"}


@pytest.mark.slow
def test_alerts_are_judged_by_where_spot_was_a_quarter_of_an_hour_later() -> None:
    settings = day_settings()
    seed = next(s for s in range(20) if _crosses(s))
    day = measure_day(seed, DAY, IDLE, settings, with_alerts=True)
    assert set(day.worth_bps) >= {"GAMMA_FLIP", "STRUCTURE_BREAK"}
    assert sum(len(found) for found in day.worth_bps.values()) == sum(one.alerts for one in worth_of([day]))
    assert day.worth_bps["GAMMA_FLIP"]


def _crosses(seed: int) -> bool:
    """Return whether spot stands on both sides of zero gamma in a day, far from it."""
    market = Market(seed, DAY, ("SPX",), nature=IDLE)
    sides = set()
    for minute in range(20, 380, 20):
        market.step(Utc(market.open_utc + minute * MINUTE))
        level, spot = facts.crossings_of(market).nearest_usd, facts.spot_usd(market)
        if level is not None and abs(spot / level - 1.0) > 2e-3:
            sides.add(spot > level)
    return len(sides) == 2
