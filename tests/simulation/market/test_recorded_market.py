"""The simulated market along a recorded day: what is real is shown as it was, the rest fits it and says what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import load_settings
from domain.instants import MINUTE, MS, SECOND, at_exchange
from domain.instruments import Quote, Right
from domain.session.calendar import EARLY_CLOSE, OPEN
from domain.units import Ticks
from simulation.market.market import CATEGORIES, Market
from simulation.market.minute_bars import IndexBars, QuoteBars, RecordedDay, load_recorded_day
from simulation.market.tickers import option_con_id
from tests.testkit.paths import LEAN, ROOT, needs_recorded_day

DAY, NEXT = date(2021, 1, 4), date(2021, 1, 6)
C3700, P3700, C3800, P3800 = (
    option_con_id("SPX", DAY, strike, right) for strike in (370_000, 380_000) for right in (Right.CALL, Right.PUT)
)

pytestmark = needs_recorded_day


@cache
def recorded() -> RecordedDay:
    return load_recorded_day(LEAN)


def market_at(
    minute: float, seed: int = 7, day: RecordedDay | None = None, tickers: tuple[str, ...] = ("SPX",)
) -> Market:
    market = Market.from_recorded(day or recorded(), seed, tickers)
    market.step(market.open_utc + int(minute * 60) * SECOND)
    return market


def sides(quote: Quote) -> tuple[int | None, int | None, int, int]:
    return quote.bid_ticks, quote.ask_ticks, quote.bid_size, quote.ask_size


def reading_of(market: Market) -> tuple[object, ...]:
    quotes = tuple(market.quote(c.con_id) for c in market.contracts("SPX"))
    digests = tuple(market.profile("SPX", c).digest() for c in CATEGORIES)
    return (*(market.spot(t) for t in ("SPX", "VIX")), quotes, digests)


def test_index_is_at_the_recorded_close_at_every_minutes_end() -> None:
    market, bars = market_at(0), recorded().index
    assert market.session == DAY and market.spot("SPX").price_ticks == 376_461
    for minute, close in enumerate(bars.close[:390].tolist(), 1):
        market.step(market.open_utc + minute * MINUTE)
        assert market.spot("SPX").price_ticks == round(close * 100)


def test_options_settle_to_the_official_close_that_was_published_after_the_session() -> None:
    market = market_at(390)
    assert market.spot("SPX").price_ticks == 370_138
    assert market.settlement_ticks("SPX") == 370_065
    day = recorded()
    in_session = day.index.begin_utc < market.close_utc
    ended = replace(day, index=IndexBars(**{name: column[in_session] for name, column in vars(day.index).items()}))
    assert market_at(390, day=ended).settlement_ticks("SPX") == 370_138


def test_recorded_contracts_show_the_last_closed_bar_and_nothing_later() -> None:
    market = market_at(0)
    bars = {
        con_id: recorded().quotes[DAY, Ticks(strike), right]
        for con_id, strike, right in (
            (C3700, 370_000, Right.CALL), (P3700, 370_000, Right.PUT), (P3800, 380_000, Right.PUT),
        )
    }  # fmt: skip
    for con_id, bar in bars.items():
        shown = market.quote(con_id)
        assert (shown.bid_ticks, shown.ask_ticks) == (bar.bid_open_ticks[0], bar.ask_open_ticks[0])
    for minute in range(1, 390):
        for second in (5, 59):
            market.step(market.open_utc + minute * MINUTE + second * SECOND)
            for con_id, bar in bars.items():
                n = minute - 1
                expected = (bar.bid_ticks[n], bar.ask_ticks[n], bar.bid_size[n], bar.ask_size[n])
                assert sides(market.quote(con_id)) == expected
                assert market.is_recorded(con_id)


def test_a_recorded_quote_carries_the_instant_of_its_record() -> None:
    market = market_at(0)
    assert market.quote(C3700).at_utc == market.open_utc
    for minute, second in ((1, 0), (1, 20), (1, 59), (2, 1), (180, 30)):
        market.step(market.open_utc + minute * MINUTE + second * SECOND)
        assert market.quote(C3700).at_utc == market.open_utc + minute * MINUTE
    market.step(market.open_utc + 194 * MINUTE)
    assert market.quote(C3800).at_utc == market.open_utc + 186 * MINUTE, "the last bar ended eight minutes ago"


def day_spot(market: Market, at_utc: int) -> float:
    return float(market.path.spots["SPX"][(at_utc - market.path.start_utc) // SECOND])


def recorded_at(con_id: int, minute: int) -> int:
    """Return the bid of a contract's bar that closed at a minute."""
    bars = recorded().quotes[DAY, Ticks(370_000), Right.CALL if con_id == C3700 else Right.PUT]
    return int(bars.bid_ticks[minute - 1])


@pytest.mark.slow
def test_following_the_index_since_the_record_earns_nothing_on_quotes_that_are_fresh_enough_to_trade() -> None:
    # Bought at the recorded ask, sold at the next record's bid. Stamped with the running second, the ask of a minute
    # ago could be bought at its end, and earned money after the spread.
    market, earned_usd = market_at(0), dict[int, list[float]]()
    age_max_ns = load_settings().entry.quote_age_max_ms * MS
    for minute in range(1, 385):
        for second in (3, 55):
            begin_utc = market.open_utc + minute * MINUTE
            before, after = (day_spot(market, at_utc) for at_utc in (begin_utc, begin_utc + second * SECOND))
            market.step(max(market.now_utc, begin_utc + second * SECOND))
            quote = market.quote(C3700 if after > before else P3700)
            if market.now_utc - quote.at_utc > age_max_ns:
                continue  # the gate refuses it
            bid_ticks = recorded_at(quote.con_id, minute + 1)
            assert quote.ask_ticks is not None
            earned_usd.setdefault(second, []).append((bid_ticks - quote.ask_ticks) / 100)
    assert len(earned_usd[3]) > 300
    assert all(np.mean(each) < -0.1 for each in earned_usd.values())


def test_an_index_that_was_not_recorded_for_a_while_is_as_old_as_its_last_price() -> None:
    day = recorded()
    open_utc = day.hours.open_utc
    kept = (day.index.begin_utc < open_utc + 60 * MINUTE) | (day.index.begin_utc >= open_utc + 90 * MINUTE)
    holed = IndexBars(**{name: column[kept] for name, column in vars(day.index).items()})
    market = market_at(59.5, day=replace(day, index=holed))
    assert market.spot("SPX").at_utc == market.now_utc
    for minute in (60, 61, 89.5):
        market.step(open_utc + int(minute * 60) * SECOND)
        assert market.spot("SPX").at_utc == open_utc + 60 * MINUTE
    assert market.spot("VIX").at_utc == market.now_utc, "what is drawn goes on"
    market.step(open_utc + 90 * MINUTE + SECOND)
    assert market.spot("SPX").at_utc == market.now_utc
    assert "30 min from 10:30:00" in market.provenance["left out"]


def test_quote_stands_through_a_short_gap_and_is_synthetic_once_the_record_has_ended() -> None:
    # The 3800 call's bars end with that of 12:34, when it was worth 0.05.
    market = market_at(185 + 9.9)
    assert sides(market.quote(C3800))[:2] == (5, 5) and market.is_recorded(C3800)
    market.step(market.open_utc + 196 * MINUTE)
    assert not market.is_recorded(C3800)
    bid, ask = sides(market.quote(C3800))[:2]
    assert ask is not None and bid is not None and bid < ask


def test_expired_recorded_options_are_quoted_at_their_intrinsic_value() -> None:
    market = market_at(391)
    assert not market.is_recorded(C3700)
    assert abs((market.quote(C3700).mid_x2 or 0) / 2 - 138) < 15


def test_next_expiry_is_the_recorded_one_and_shows_its_quotes() -> None:
    market = market_at(100.5)
    assert {c.expiry for c in market.contracts("SPX")} == {DAY, NEXT}
    con_id = option_con_id("SPX", NEXT, 370_000, Right.PUT)
    bar = recorded().quotes[NEXT, Ticks(370_000), Right.PUT]
    assert sides(market.quote(con_id))[:2] == (bar.bid_ticks[99], bar.ask_ticks[99]) and market.is_recorded(con_id)


def test_chain_is_centred_on_the_days_open_and_spans_its_path() -> None:
    market = market_at(0)
    strikes = sorted({c.strike_ticks for c in market.contracts("SPX")})
    assert (strikes[0], strikes[40], strikes[-1]) == (356_500, 376_500, 396_500)


@pytest.mark.parametrize("expiry", [DAY, NEXT])
@pytest.mark.parametrize("right", [Right.CALL, Right.PUT])
def test_neighbours_of_recorded_contracts_are_priced_around_them(expiry: date, right: Right) -> None:
    market, misses, spreads = market_at(1), list[float](), list[float]()
    ids = [option_con_id("SPX", expiry, strike, right) for strike in (369_500, 370_000, 370_500)]
    for minute in range(1, 385, 3):
        market.step(market.open_utc + minute * MINUTE)  # the instant at which the last bar closed
        quotes = [market.quote(con_id) for con_id in ids]
        below, here, above = (((q.bid_ticks or 0) + (q.ask_ticks or 0)) / 2 for q in quotes)
        misses.append(abs(here - (below + above) / 2))
        spreads.append((quotes[1].ask_ticks or 0) - (quotes[1].bid_ticks or 0))
    assert np.median(misses) < np.median(spreads), "an unseen strike is off by more than the real spread"


def test_level_of_volatility_is_kept_while_no_quote_is_recorded() -> None:
    day, open_utc = recorded(), market_at(0).open_utc
    lost = open_utc + 100 * MINUTE, open_utc + 130 * MINUTE

    def kept(bars: QuoteBars) -> QuoteBars:
        is_kept = (bars.begin_utc < lost[0]) | (bars.begin_utc >= lost[1])
        return QuoteBars(**{name: column[is_kept] for name, column in vars(bars).items()})

    holed = market_at(0, day=replace(day, quotes={key: kept(bars) for key, bars in day.quotes.items()}))
    whole = market_at(0)
    assert holed.path.iv_fits is not None and whole.path.iv_fits is not None
    begin, end = 1_800 + 6_000, 1_800 + 7_800  # seconds of the grid; the bar that begins at `end` closes at + 60
    for fits in zip(holed.path.iv_fits, whole.path.iv_fits, strict=True):
        for ours, theirs in ((fits[0].level, fits[1].level), (fits[0].tilt, fits[1].tilt)):
            assert set(ours[begin : end + 60].tolist()) == {theirs[begin]}
            assert ours[end + 60] == theirs[end + 60] != theirs[begin]


def test_greeks_of_the_chain_carry_the_volatility_that_the_recorded_mids_imply() -> None:
    market = market_at(300)
    call, put = market.quote(C3700), market.quote(P3700)
    assert call.greeks is not None and put.greeks is not None
    # By hand: a straddle at the money is worth about 0.8 sigma S sqrt(t); 90 minutes were left, the index at 3696.
    straddle_usd = ((call.mid_x2 or 0) + (put.mid_x2 or 0)) / 200
    by_hand = straddle_usd / (0.8 * market.spot("SPX").price_ticks / 100) / (90 / 525_600) ** 0.5
    assert call.greeks.iv == pytest.approx(by_hand, rel=0.15)


def test_market_says_what_is_recorded_and_what_is_synthetic() -> None:
    market = market_at(60, tickers=("SPX", "SPY"))
    assert "recorded" in market.provenance["SPX"] and "SPXW 20210104 3700C" in market.provenance["bid, ask and sizes"]
    assert "synthetic" in market.provenance["everything else"]
    real = {c.label for t in ("SPX", "SPY") for c in market.contracts(t) if market.is_recorded(c.con_id)}
    expiries, strikes = ("20210104", "20210106"), ("3700", "3800")
    assert real == {f"SPXW {e} {k}{right}" for e in expiries for k in strikes for right in "CP"}
    assert [market.is_recorded(market.underlying_con_id(t)) for t in ("SPX", "SPY", "VIX")] == [True, False, False]
    drawn = Market(7, DAY, ("SPX",))
    assert list(drawn.provenance) == ["everything"] and "synthetic" in drawn.provenance["everything"]
    assert not any(drawn.is_recorded(c.con_id) for c in drawn.contracts("SPX"))
    assert not drawn.is_recorded(drawn.underlying_con_id("SPX"))
    with pytest.raises(KeyError):
        market.is_recorded(42)


def test_other_tickers_are_scaled_to_the_day() -> None:
    market, drawn = market_at(0, tickers=("SPX", "QQQ", "NVDA")), Market(7, DAY, ("SPX", "QQQ", "NVDA"))
    drawn.step(drawn.open_utc)
    level = market.spot("SPX").price_ticks / 600_000
    for ticker in ("QQQ", "NVDA"):
        assert market.spot(ticker).price_ticks == pytest.approx(drawn.spot(ticker).price_ticks * level, rel=0.06)
        strikes = sorted({c.strike_ticks for c in market.contracts(ticker)})
        assert strikes[0] < market.spot(ticker).price_ticks < strikes[-1]
    # The VIX closed at 26.97 on that day, and opened at 23.04.
    assert 18 < market.spot("VIX").price_ticks / 100 < 30


def test_etf_and_others_move_with_the_real_index() -> None:
    market = market_at(0, tickers=("SPX", "SPY", "QQQ"))
    before = {t: market.spot(t).price_ticks for t in ("SPX", "SPY", "QQQ", "VIX")}
    market.step(market.open_utc + 180 * MINUTE)
    run = {t: market.spot(t).price_ticks / p - 1.0 for t, p in before.items()}
    assert run["SPX"] < -0.015 and run["SPY"] == pytest.approx(run["SPX"], abs=0.001)
    assert run["QQQ"] < -0.01 and run["VIX"] > 0.05


def cut(day: RecordedDay, utc: int) -> RecordedDay:
    """Forget every bar that has not closed by an instant."""

    def kept(bars: IndexBars | QuoteBars) -> dict[str, np.ndarray]:
        is_known = bars.begin_utc + MINUTE <= utc
        return {name: column[is_known] for name, column in vars(bars).items()}

    quotes = {key: QuoteBars(**kept(bars)) for key, bars in day.quotes.items()}
    return replace(day, index=IndexBars(**kept(day.index)), quotes=quotes)


@settings(max_examples=6, deadline=None)
@given(minute=st.integers(2, 389), before_s=st.integers(0, 59))
def test_a_day_cut_off_after_an_instant_gives_the_same_state_at_it(minute: int, before_s: int) -> None:
    whole = market_at(minute - before_s / 60)
    short = market_at(minute - before_s / 60, day=cut(recorded(), whole.open_utc + minute * MINUTE))
    assert (reading_of(whole) == reading_of(short)) is True  # without the long text of a difference


def test_a_bar_that_is_cut_off_does_change_what_comes_after() -> None:
    day = recorded()
    open_utc = market_at(0).open_utc
    whole, short = market_at(121), market_at(121, day=cut(day, open_utc + 120 * MINUTE))
    assert whole.spot("SPX") != short.spot("SPX") and whole.quote(C3700) != short.quote(C3700)


def test_steps_do_not_matter_and_seeds_change_the_synthetic_part_only() -> None:
    jumped, walked, other = market_at(200), market_at(3.4), market_at(200, seed=8)
    for minute in (3.5, 77.7, 199):
        walked.step(walked.open_utc + int(minute * 60) * SECOND)
        reading_of(walked)
    walked.step(jumped.now_utc)
    assert reading_of(walked) == reading_of(jumped)
    assert other.spot("SPX") == jumped.spot("SPX") and sides(other.quote(C3700)) == sides(jumped.quote(C3700))
    assert other.spot("VIX") != jumped.spot("VIX")
    assert other.profile("SPX", "classic_gex_zero").digest() != jumped.profile("SPX", "classic_gex_zero").digest()


def test_quotes_keep_falling_strikes_in_order_within_a_spread() -> None:
    for minute in (30, 150, 300, 380):
        market = market_at(minute)
        rows = [(c, market.quote(c.con_id)) for c in market.contracts("SPX") if c.expiry == DAY]
        for right, sign in ((Right.CALL, -1), (Right.PUT, 1)):
            quotes = [q for c, q in rows if c.right is right]
            for before, after in pairwise(quotes if right is Right.PUT else quotes[::-1]):
                # No riskless vertical: a nearer strike's ask is never under a farther one's bid.
                assert (after.ask_ticks or 0) >= (before.bid_ticks or 0), (minute, sign)


READ_IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from domain.instants import SECOND
from simulation.market.market import Market
from simulation.market.minute_bars import load_recorded_day
market = Market.from_recorded(load_recorded_day(Path(sys.argv[1])), 7, ("SPX", "QQQ"))
market.step(market.open_utc + 5_000 * SECOND)
quotes = [market.quote(c.con_id) for t in market.tickers for c in market.contracts(t)]
print(repr(quotes), market.profile("QQQ", "orderflow_orderflow").digest().hex())
"""


def test_two_processes_agree() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", READ_IN_ANOTHER_PROCESS, str(LEAN)],
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


def test_hours_of_a_recorded_day_and_its_expiries_follow_the_calendar() -> None:
    # The half day after Thanksgiving: its index ends at 13:00, and what is published later is its official close.
    day = recorded()
    half, monday = date(2020, 11, 27), date(2020, 11, 30)
    shift_ns = at_exchange(half, OPEN) - at_exchange(DAY, OPEN)
    index = replace(day.index, begin_utc=day.index.begin_utc + shift_ns)
    market = Market.from_recorded(RecordedDay(half, index, {}), 7, ("SPX",))
    assert market.close_utc == at_exchange(half, EARLY_CLOSE)
    assert {c.expiry for c in market.contracts("SPX")} == {half, monday}
    before_holiday = date(2021, 1, 15)
    monday_closed = replace(day.index, begin_utc=day.index.begin_utc + 11 * 86_400 * SECOND)
    market = Market.from_recorded(RecordedDay(before_holiday, monday_closed, {}), 7, ("SPX",))
    assert {c.expiry for c in market.contracts("SPX")} == {before_holiday, date(2021, 1, 19)}


def test_stress_of_the_real_day_is_measured_between_its_closes() -> None:
    path = market_at(0).path
    # The day fell by 2.7 % where the simulated ones move by 0.8 %: mostly above normal, and not the floor of 0.5.
    assert np.median(path.stress[path.open_s + 300 : path.close_s]) > 0.8
