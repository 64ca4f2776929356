"""The simulated market: deterministic however it is stepped, plausible, on the tick rules."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import MINUTE, MS, SECOND, exchange_clock
from domain.instruments import Quote, Right
from domain.options.profile import Profile
from domain.options.tick_rules import is_on_tick, rule_of
from simulation.market.market import CATEGORIES, DEFAULT_TICKERS, REGIMES, Market
from simulation.market.path import path_around
from simulation.market.tickers import option_con_id
from tests.testkit.paths import ROOT

DAY = date(2026, 11, 19)
HOUR = 60 * MINUTE


def reading_of(market: Market, ticker: str = "QQQ") -> tuple[object, ...]:
    """Read everything of one ticker at the market's instant."""
    quotes = tuple(market.quote(c.con_id) for c in market.contracts(ticker))
    digests = tuple(market.profile(ticker, c).digest() for c in (*CATEGORIES, "state_gex_full"))
    return (*(market.spot(t) for t in (*market.tickers, "VIX")), quotes, digests)


@settings(max_examples=6, deadline=None)
@given(
    pauses_ms=st.lists(st.integers(1, 40 * 60_000), max_size=12),
    reads=st.sets(st.integers(0, 11)),
    end_s=st.integers(1, 23_400),
)
def test_any_pattern_of_steps_and_reads_gives_the_state_of_one_jump(
    pauses_ms: list[int], reads: set[int], end_s: int
) -> None:
    jumped, walked = (Market(7, DAY, ("SPX", "QQQ")) for _ in range(2))
    end_utc = jumped.open_utc + end_s * SECOND
    for n, pause_ms in enumerate(pauses_ms):
        walked.step(min(walked.now_utc + pause_ms * MS, end_utc))
        if n in reads:
            reading_of(walked)
    walked.step(end_utc)
    jumped.step(end_utc)
    assert reading_of(walked) == reading_of(jumped)


def test_every_second_read_gives_the_state_of_one_jump() -> None:
    jumped, walked = (Market(3, DAY, ("SPX",)) for _ in range(2))
    walked.step(walked.open_utc + HOUR)
    for _ in range(130):
        walked.step(walked.now_utc + SECOND)
        reading_of(walked, "SPX")
    jumped.step(walked.now_utc)
    assert reading_of(walked, "SPX") == reading_of(jumped, "SPX")


READ_IN_ANOTHER_PROCESS = """
from datetime import date
from domain.instants import SECOND
from simulation.market.market import Market
market = Market(7, date(2026, 11, 19), ("QQQ",))
market.step(market.open_utc + 5_000 * SECOND)
quotes = [market.quote(c.con_id) for c in market.contracts("QQQ")]
print(repr(quotes), market.profile("QQQ", "orderflow_orderflow").digest().hex())
"""


def test_two_processes_agree() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", READ_IN_ANOTHER_PROCESS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(n)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for n in (1, 2)
    ]
    assert told[0] == told[1] and "Quote(" in told[0]


def test_ticker_does_not_depend_on_which_others_are_simulated() -> None:
    alone, among = Market(7, DAY, ("QQQ",)), Market(7, DAY)
    for market in (alone, among):
        market.step(market.open_utc + HOUR)
    assert alone.profile("QQQ", "classic_gex_zero").digest() == among.profile("QQQ", "classic_gex_zero").digest()


@pytest.mark.parametrize(("seed", "session"), [(8, DAY), (7, date(2026, 11, 18))])
def test_other_seeds_and_other_days_differ(seed: int, session: date) -> None:
    ours, other = Market(7, DAY, ("SPX",)), Market(seed, session, ("SPX",))
    for market in (ours, other):
        market.step(market.open_utc + HOUR)
    assert ours.spot("SPX").price_ticks != other.spot("SPX").price_ticks
    assert ours.profile("SPX", "classic_gex_zero").scalars != other.profile("SPX", "classic_gex_zero").scalars


@settings(max_examples=8, deadline=None)
@given(second=st.integers(0, 25_200), factor=st.floats(0.9, 1.1).filter(lambda f: abs(f - 1.0) > 1e-3))
def test_nothing_shown_depends_on_prices_to_come(second: int, factor: float) -> None:
    path = Market(7, DAY, ("SPX",)).path
    is_later = np.arange(path.end_s + 1) > second
    other = replace(
        path,
        spots={ticker: np.where(is_later, prices * factor, prices) for ticker, prices in path.spots.items()},
        stress=np.where(is_later, 3.0, path.stress),
    )
    told, unsuspecting = (Market(7, DAY, ("SPX", "QQQ"), path=p) for p in (path, other))
    for market in (told, unsuspecting):
        market.step(path.start_utc + second * SECOND)
    assert (reading_of(told) == reading_of(unsuspecting)) is True  # without the long text of a difference
    for market in (told, unsuspecting):
        market.step(path.start_utc + (second + 90) * SECOND)
    assert told.spot("QQQ") != unsuspecting.spot("QQQ")


def test_what_was_read_at_an_instant_is_what_a_market_never_stepped_past_it_says() -> None:
    went_on, stopped = Market(7, DAY, ("QQQ",)), Market(7, DAY, ("QQQ",))

    def read(market: Market) -> tuple[list[Quote], list[Profile]]:
        contracts = market.contracts("QQQ")
        return [market.quote(c.con_id) for c in contracts], [market.profile("QQQ", c) for c in CATEGORIES]

    for market in (went_on, stopped):
        market.step(market.open_utc + HOUR + 29 * SECOND)
    quotes, profiles = read(went_on)
    for minutes in (1, 7, 300):
        went_on.step(went_on.now_utc + minutes * MINUTE)
        read(went_on)
    assert quotes == read(stopped)[0]
    assert [p.digest() for p in profiles] == [p.digest() for p in read(stopped)[1]]


def test_clock_never_goes_back() -> None:
    market = Market(1, DAY, ("SPX",))
    market.step(market.open_utc)
    with pytest.raises(ValueError, match="cannot go back"):
        market.step(market.open_utc - 1)


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"tickers": ("GME",)}, {"regime": "panic"}])
def test_impossible_markets_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|unknown"):
        Market(**{"seed": 1, "session": DAY, **arguments})


@pytest.mark.parametrize("regime", REGIMES)
def test_regime_can_be_held_all_day(regime: str) -> None:
    assert {s.regime for s in Market(1, DAY, ("SPX",), regime).path.regimes} == {regime}


def test_session_has_exchange_hours_and_half_days_close_early() -> None:
    full, half = Market(1, DAY, ("SPX",)), Market(1, DAY, ("SPX",), is_half_day=True)
    assert (exchange_clock(full.open_utc), exchange_clock(full.close_utc)) == ("09:30:00", "16:00:00")
    assert exchange_clock(half.close_utc) == "13:00:00"
    half.step(half.close_utc)
    assert half.settlement_ticks("SPX") == half.spot("SPX").price_ticks


def test_chain_lists_today_and_the_next_weekday() -> None:
    market = Market(1, date(2026, 11, 20))
    for ticker in DEFAULT_TICKERS:
        contracts = market.contracts(ticker)
        assert {c.expiry for c in contracts} == {date(2026, 11, 20), date(2026, 11, 23)}
        assert {c.trading_class for c in contracts} == {"SPXW" if ticker == "SPX" else ticker}
        assert len(contracts) == 4 * 81
        assert all(market.contract(c.con_id) is c for c in contracts)


def test_contract_ids_are_distinct_and_a_function_of_the_contract() -> None:
    days = [Market(seed, date(2026, 11, day)) for seed, day in ((1, 16), (2, 17), (1, 18))]
    listed = {c for m in days for t in m.tickers for c in m.contracts(t)}
    ids = {c.con_id for c in listed} | {days[0].underlying_con_id(t) for t in (*DEFAULT_TICKERS, "VIX")}
    assert len(ids) == len(listed) + len(DEFAULT_TICKERS) + 1
    assert all(0 < i < 1 << 31 for i in ids)
    day = (date(2026, 11, 20) - date(2015, 1, 1)).days
    by_hand = 1 * 2**27 + day * 2**14 + 600_000 // 500 * 2 + 1
    assert option_con_id("SPX", date(2026, 11, 20), 600_000, Right.CALL) == by_hand == 205_343_073


def test_unknown_ids_are_no_contracts() -> None:
    market = Market(1, DAY, ("SPX",))
    spy = Market(1, DAY, ("SPY",)).contracts("SPY")[0].con_id
    assert market.contract(spy) is None and market.contract(42) is None
    assert market.contract(market.underlying_con_id("SPX")) is None
    with pytest.raises(KeyError):
        market.quote(42)


@pytest.mark.parametrize("ticker", DEFAULT_TICKERS)
def test_quotes_are_on_the_tick_rules_and_never_locked(ticker: str) -> None:
    market = Market(5, DAY, (ticker,))
    rule = rule_of("SPXW" if ticker == "SPX" else ticker)
    for minute in (0, 45, 200, 385, 389):
        market.step(market.open_utc + minute * MINUTE + 17 * SECOND)
        for contract in market.contracts(ticker):
            quote = market.quote(contract.con_id)
            assert quote.bid_ticks is not None and quote.ask_ticks is not None and quote.greeks is not None
            assert quote.bid_ticks == 0 or is_on_tick(rule, quote.bid_ticks)
            assert is_on_tick(rule, quote.ask_ticks) and quote.ask_ticks > quote.bid_ticks
            assert (quote.bid_size == 0) == (quote.bid_ticks == 0) and quote.ask_size > 0
            assert 0 <= market.now_utc - quote.at_utc < 3 * SECOND
            assert quote.greeks.iv > 0.0 and abs(quote.greeks.delta) <= 1.0


def test_near_the_money_quotes_are_tight_and_wings_may_have_no_bid() -> None:
    market = Market(5, DAY)
    market.step(market.open_utc + 3 * HOUR)
    for ticker in market.tickers:
        quotes = [market.quote(c.con_id) for c in market.contracts(ticker) if c.expiry == DAY]
        near = [q for q in quotes if q.greeks and 0.35 <= abs(q.greeks.delta) <= 0.65]
        assert near
        for q in near:
            assert q.mid_x2 is not None and q.ask_ticks is not None and q.bid_ticks is not None
            assert (q.ask_ticks - q.bid_ticks) / (q.mid_x2 / 2) < 0.15
        assert any(q.bid_ticks == 0 for q in quotes)


def test_calls_cost_less_the_higher_their_strike_and_puts_more() -> None:
    market = Market(2, DAY, ("SPX",))
    for minute in (1, 200, 380):
        market.step(market.open_utc + minute * MINUTE)
        rows = [(c, market.quote(c.con_id)) for c in market.contracts("SPX") if c.expiry == DAY]
        for right, sign in ((Right.CALL, -1), (Right.PUT, 1)):
            asks = [q.ask_ticks or 0 for c, q in rows if c.right is right]
            assert all(sign * (after - before) >= -20 for before, after in pairwise(asks))


def test_expired_options_are_quoted_at_their_intrinsic_value() -> None:
    market = Market(2, DAY, ("SPY",))
    market.step(market.close_utc + MINUTE)
    settled = market.settlement_ticks("SPY")
    for c in market.contracts("SPY")[:162]:
        owed = max(0, (settled - c.strike_ticks) * (1 if c.right is Right.CALL else -1))
        quote = market.quote(c.con_id)
        assert (quote.bid_ticks or 0) <= owed + 3 and (quote.ask_ticks or 0) >= owed - 3


def test_settlement_is_not_told_before_the_close() -> None:
    market = Market(2, DAY, ("SPX",))
    market.step(market.close_utc - 1)
    with pytest.raises(ValueError, match="before the close"):
        market.settlement_ticks("SPX")


def test_underlyings_are_quoted_and_indices_have_no_sides() -> None:
    market = Market(2, DAY)
    market.step(market.open_utc)
    spy, vix = (market.quote(market.underlying_con_id(t)) for t in ("SPY", "VIX"))
    assert spy.mid_x2 == 2 * market.spot("SPY").price_ticks
    assert vix.bid_ticks is None and vix.ask_ticks is None
    assert 1_000 < market.spot("VIX").price_ticks < 3_000


def test_etf_follows_its_index_and_the_vix_moves_against_it() -> None:
    market = Market(4, DAY, ("SPX", "SPY"))
    spx, spy, vix = list[int](), list[int](), list[int]()
    for minute in range(390):
        market.step(market.open_utc + minute * MINUTE)
        for series, ticker in ((spx, "SPX"), (spy, "SPY"), (vix, "VIX")):
            series.append(market.spot(ticker).price_ticks)
    assert all(9.99 < a / b < 10.02 for a, b in zip(spx, spy, strict=True))
    assert len({round(a / b, 5) for a, b in zip(spx, spy, strict=True)}) > 20
    low, high = spx.index(min(spx)), spx.index(max(spx))
    assert vix[low] > vix[high]


def test_drawn_path_can_be_replaced() -> None:
    drawn = Market(4, DAY, ("SPX",))
    spx = drawn.path.spots["SPX"][::-1] / 2.0
    path = path_around(4, DAY, (drawn.open_utc, drawn.close_utc), spx, float(spx[0]))
    market = Market(4, DAY, ("SPX", "QQQ"), path=path)
    market.step(market.open_utc + HOUR)
    assert market.spot("SPX").price_ticks == round(spx[1_800 + 3_600] * 100)
    assert reading_of(market) and market.path.regimes == ()
    with pytest.raises(ValueError, match="the grid"):
        path_around(4, DAY, (drawn.open_utc, drawn.close_utc), spx[:-1], 3_000.0)


def test_stress_of_a_path_known_by_the_minute_is_that_of_the_same_path_known_by_the_second() -> None:
    drawn = Market(4, DAY, ("SPX",), "trend")
    spx, seconds = drawn.path.spots["SPX"], np.arange(drawn.path.end_s + 1)
    by_minute = np.interp(seconds, seconds[::60], spx[::60])
    hours = drawn.open_utc, drawn.close_utc
    session = slice(drawn.path.open_s + 300, drawn.path.close_s)
    seen, blind = (
        path_around(4, DAY, hours, by_minute, float(spx[0]), sampled_s=n).stress[session].mean() for n in (60, 1)
    )
    assert seen == pytest.approx(drawn.path.stress[session].mean(), rel=0.15)
    assert blind < 0.75 * seen
