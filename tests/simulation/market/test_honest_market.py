"""The honest market: prices that lead nowhere, levels that wait for nobody, and feedback that can be switched off."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import MINUTE, MS, SECOND
from domain.instruments import OrderType, Side
from domain.options.black_scholes import Floats
from domain.units import Qty, Utc
from simulation.broker.exchange import Exchange
from simulation.broker.orders import Order
from simulation.days.one_day import day_settings
from simulation.days.tape import TapeMarket, market_for
from simulation.market import facts
from simulation.market.dealers import Stance
from simulation.market.from_settings import market_of, nature_of
from simulation.market.honest import Answer, honest_path
from simulation.market.market import CATEGORIES, Market
from simulation.market.path import PricePath, simulated_path
from simulation.market.style import ANCHORED, Kind, Nature
from tests.testkit.paths import ROOT

DAY = date(2026, 11, 19)
HONEST, IDLE = Nature(Kind.HONEST), Nature(Kind.HONEST, 0.0)
HOURS = (Market(0, DAY, ()).open_utc, Market(0, DAY, ()).close_utc)
DAYS = 200


def reading_of(market: Market, ticker: str) -> tuple[object, ...]:
    quotes = tuple(market.quote(c.con_id) for c in market.contracts(ticker))
    digests = tuple(market.profile(ticker, c).digest() for c in CATEGORIES)
    return (*(market.spot(t) for t in (*market.tickers, "VIX")), quotes, digests)


# -- the path -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def idle_paths() -> list[PricePath]:
    return [honest_path(seed, DAY, HOURS, 0.0) for seed in range(DAYS)]


def minutes_of(paths: list[PricePath], ticker: str) -> Floats:
    return np.array([np.log(p.spots[ticker][p.open_s : p.close_s + 1 : 60]) for p in paths])


@pytest.mark.slow
@pytest.mark.parametrize("ticker", ["SPX", "SPY", "QQQ", "NVDA"])
def test_without_feedback_moves_of_any_length_are_as_large_as_those_of_a_martingale(
    idle_paths: list[PricePath], ticker: str
) -> None:
    days = minutes_of(idle_paths, ticker)
    for minutes in (5, 30, 130):
        assert facts.variance_ratio(days, minutes) == pytest.approx(1.0, abs=0.1), minutes
    assert abs(facts.lag_one(days)) <= 0.03


def moves_after_crossings(paths: list[PricePath]) -> list[float]:
    """Return, of each day, the sum of 10 min moves beyond the level of open interest after spot crossed it (bps)."""
    found = []
    for path in paths:
        logs = np.log(path.spots["SPX"][path.open_s : path.close_s + 1 : 30] / path.anchors["SPX"])
        sides, after = np.sign(logs), 20
        crossed = np.flatnonzero(sides[1:] != sides[:-1]) + 1
        found.append(sum(sides[at] * (logs[at + after] - logs[at]) * 1e4 for at in crossed if at + after < len(logs)))
    return found


@pytest.mark.slow
def test_crossing_the_level_of_open_interest_says_nothing_about_the_move_after_it(idle_paths: list[PricePath]) -> None:
    anchored = [simulated_path(seed, DAY, *HOURS, None) for seed in range(60)]
    assert facts.t_of(moves_after_crossings(anchored)) > 4.0, "the anchored market leads across its level"
    assert abs(facts.t_of(moves_after_crossings(idle_paths))) < 2.0


@pytest.mark.slow
def test_without_feedback_the_straddle_is_worth_its_price(idle_paths: list[PricePath]) -> None:
    worth = []
    for path in idle_paths:
        market = Market(1, DAY, ("SPX",), path=path)
        market.step(market.open_utc + 30 * MINUTE)
        bought, spot = facts.nearest(facts.pairs_of(market), facts.spot_usd(market)), facts.spot_usd(market)
        market.step(market.close_utc)
        worth.append((abs(facts.spot_usd(market) - bought.strike_usd) - bought.mid_usd) / spot * 1e4)
    assert abs(facts.t_of(worth)) < 2.0


@pytest.mark.slow
def test_returns_have_the_tails_of_real_ones(idle_paths: list[PricePath]) -> None:
    assert facts.excess_kurtosis(minutes_of(idle_paths, "SPX")) == pytest.approx(1.9, abs=0.5)


def test_open_interest_was_not_built_around_the_days_first_price() -> None:
    away = [
        abs(np.log(p.spots["SPX"][p.open_s] / p.anchors["SPX"])) * 1e4
        for p in (honest_path(seed, DAY, HOURS, 0.0) for seed in range(12))
    ]
    assert np.mean(away) > 10.0


def test_an_honest_market_has_no_regimes() -> None:
    with pytest.raises(ValueError, match="no regimes"):
        Market(1, DAY, ("SPX",), "pin", nature=HONEST)


def test_shocks_are_the_same_at_every_factor() -> None:
    idle, fed = (honest_path(3, DAY, HOURS, factor) for factor in (0.0, 1.0))
    before = slice(0, idle.open_s)
    assert idle.spots["SPX"][before].tolist() == fed.spots["SPX"][before].tolist()
    calm, moved = (np.diff(np.log(p.spots["SPX"])) for p in (idle, fed))
    assert np.corrcoef(calm, moved)[0, 1] > 0.98
    assert idle.spots["SPX"][-1] != fed.spots["SPX"][-1]


# -- feedback -------------------------------------------------------------------------------------

LOW, STEP = 8.7, 1e-4


def answer(gamma: float, *, share: float = 0.5, factor: float = 1.0, vanna: float = 0.0) -> Answer:
    return Answer(Stance(LOW, STEP, [gamma] * 41, vanna, LOW + 30 * STEP), share, factor)


def test_hedges_go_with_a_move_where_dealers_are_short_gamma_and_against_it_where_they_are_long() -> None:
    assert answer(-1.0).at(LOW)[0] > 0.0 > answer(1.0).at(LOW)[0]
    assert answer(-1.0, factor=0.5).at(LOW)[0] == pytest.approx(0.5 * answer(-1.0).at(LOW)[0])


def test_prices_are_pulled_to_the_largest_strike_late_and_in_long_gamma_only() -> None:
    below, beyond = LOW + 10 * STEP, LOW + 39 * STEP
    assert answer(1.0, share=0.95).at(below)[1] > 0.0 > answer(1.0, share=0.95).at(beyond)[1]
    assert answer(1.0, share=0.99).at(below)[1] > answer(1.0, share=0.8).at(below)[1]
    assert answer(1.0, share=0.5).at(below)[1] == answer(-1.0, share=0.95).at(below)[1] == 0.0


def test_hedges_of_vanna_buy_when_volatility_falls() -> None:
    assert answer(0.0, vanna=1.0).vanna > 0.0 > answer(0.0, vanna=-1.0).vanna


@pytest.mark.slow
def test_feedback_widens_the_days_of_short_gamma_and_calms_those_of_long_gamma() -> None:
    widened: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(16):
        idle, fed = (Market(seed, DAY, ("SPX",), nature=Nature(Kind.HONEST, factor)) for factor in (0.0, 2.0))
        nets = []
        for minute in (30, 120, 240, 330):
            fed.step(fed.open_utc + minute * MINUTE)
            chain = fed.nearest_chain("SPX")
            signed = chain.gamma_usd * chain.open_interest
            nets.append(float((signed * chain.ladder.sign).sum() / signed.sum()))
        if abs(np.mean(nets)) > 0.1:
            five = [np.diff(np.log(m.path.spots["SPX"][m.path.open_s : m.path.close_s : 300])) for m in (idle, fed)]
            widened[bool(np.mean(nets) < 0.0)].append(float(np.log(five[1].std() / five[0].std())))
    assert np.mean(widened[True]) > 0.02 > -0.02 > np.mean(widened[False])


# -- determinism ----------------------------------------------------------------------------------


@settings(max_examples=5, deadline=None)
@given(
    pauses_ms=st.lists(st.integers(1, 40 * 60_000), max_size=10), reads=st.sets(st.integers(0, 9)),
    end_s=st.integers(1, 23_400),
)  # fmt: skip
def test_any_pattern_of_steps_and_reads_gives_the_state_of_one_jump(
    pauses_ms: list[int], reads: set[int], end_s: int
) -> None:
    jumped, walked = (Market(7, DAY, ("SPX",), nature=HONEST) for _ in range(2))
    end_utc = Utc(jumped.open_utc + end_s * SECOND)
    for n, pause_ms in enumerate(pauses_ms):
        walked.step(min(Utc(walked.now_utc + pause_ms * MS), end_utc))
        if n in reads:
            reading_of(walked, "SPX")
    walked.step(end_utc)
    jumped.step(end_utc)
    assert (reading_of(walked, "SPX") == reading_of(jumped, "SPX")) is True  # without the long text of a difference


@settings(max_examples=5, deadline=None)
@given(second=st.integers(0, 25_200), factor=st.floats(0.9, 1.1).filter(lambda f: abs(f - 1.0) > 1e-3))
def test_nothing_shown_depends_on_prices_to_come(second: int, factor: float) -> None:
    path = honest_path(7, DAY, HOURS, 1.0)
    is_later = np.arange(path.end_s + 1) > second
    other = replace(
        path,
        spots={ticker: np.where(is_later, usd * factor, usd) for ticker, usd in path.spots.items()},
        stress=np.where(is_later, 3.0, path.stress),
        variance_left=np.where(is_later, 0.5, path.variance_left),
    )
    told, unsuspecting = (Market(7, DAY, ("SPX",), path=p) for p in (path, other))
    for market in (told, unsuspecting):
        market.step(Utc(path.start_utc + second * SECOND))
    assert (reading_of(told, "SPX") == reading_of(unsuspecting, "SPX")) is True


READ_IN_ANOTHER_PROCESS = """
from datetime import date
from domain.instants import SECOND
from simulation.market.market import Market
from simulation.market.style import Kind, Nature
market = Market(7, date(2026, 11, 19), ("QQQ",), nature=Nature(Kind.HONEST))
market.step(market.open_utc + 5_000 * SECOND)
print([market.quote(c.con_id) for c in market.contracts("QQQ")], market.spot("SPX"))
"""


@pytest.mark.slow
def test_two_processes_agree() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", READ_IN_ANOTHER_PROCESS], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": str(n)},
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout
        for n in (1, 2)
    ]  # fmt: skip
    assert told[0] == told[1] and "Quote(" in told[0]


def test_a_tape_shows_the_quotes_of_its_market() -> None:
    tape, plain = TapeMarket(3, DAY, ("SPY",), nature=HONEST), Market(3, DAY, ("SPY",), nature=HONEST)
    near = [c for c in tape.contracts("SPY") if c.expiry == DAY][36:46]
    for second in range(tape.path.open_s, tape.path.close_s + 30, 2_999):
        for market in (tape, plain):
            market.step(tape.instant_of(second))
        for contract in near:
            mine, other = tape.quote(contract.con_id), plain.quote(contract.con_id)
            assert (mine.bid_ticks, mine.ask_ticks, mine.bid_size, mine.ask_size, mine.at_utc) == (
                other.bid_ticks, other.ask_ticks, other.bid_size, other.ask_size, other.at_utc,
            )  # fmt: skip


# -- liquidity ------------------------------------------------------------------------------------


def taken_in(nature: Nature, seconds: int) -> tuple[int, int]:
    """Return how much a large order takes of one contract in so many seconds, and the most that was shown at once."""
    market = Market(5, DAY, ("SPY",), nature=nature)
    exchange = Exchange(market, cash_cents=10**12, latency_ms=0)
    now = Utc(market.open_utc + 90 * MINUTE)
    market.step(now)
    spot = market.spot("SPY").price_ticks
    con_id = min(
        (c for c in market.contracts("SPY") if c.expiry == DAY), key=lambda c: abs(c.strike_ticks - spot)
    ).con_id
    shown = [market.quote(con_id).ask_size]
    exchange.place(Order(con_id, Side.BUY, Qty(100_000), OrderType.MARKET, 11, 1, order_ref="a"), now)
    for _ in range(seconds):
        now = Utc(now + SECOND)
        market.step(now)
        exchange.step(now)
        shown.append(market.quote(con_id).ask_size)
    return sum(execution.qty for execution, _ in exchange.executions()), max(shown)


def test_what_was_taken_is_not_there_again_a_second_later() -> None:
    honest, shown = taken_in(HONEST, 15)
    assert honest <= 2 * shown
    anchored, shown = taken_in(ANCHORED, 15)
    assert anchored > 2 * shown


# -- one place to choose --------------------------------------------------------------------------


def test_the_settings_choose_the_market_of_the_demo_of_stepped_and_of_simulated_days() -> None:
    settings = day_settings()
    chosen = settings.model_copy(update={"market": replace(settings.market, kind="honest", feedback=0.5)})
    assert nature_of(chosen) == Nature(Kind.HONEST, 0.5)
    seed, session = chosen.demo.seed, chosen.demo.session
    demo, tape = market_of(chosen), market_for(seed, session, ("SPX",), nature_of(chosen))
    alone: Any = Market(seed, session, ("SPX",), nature=Nature(Kind.HONEST, 0.5))
    for market in (demo, tape):
        assert market.path.spots["SPX"].tolist() == alone.path.spots["SPX"].tolist()
        assert "honest market, feedback 0.5" in market.provenance["everything"]
