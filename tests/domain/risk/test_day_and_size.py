"""The day's money, the size and the limit of an entry, fees, and the automatic kill: figures worked by hand."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instants import MINUTE, SECOND
from domain.instruments import Contract, DataType, Right, Side, Spot
from domain.options.fees import commission_cents, order_fee_cents, round_trip_cents
from domain.options.tick_rules import INDEX_RULE
from domain.orders.intent import DecisionPrices
from domain.risk import kill
from domain.risk.day import Closed, DayStops, evaluate, hard_limit_cents, is_worth_a_record, loss_streak, summarise
from domain.risk.desk_view import (
    BROKEN_AGE_NS,
    DayPnl,
    DeskView,
    Holding,
    broken_now,
    day_pnl,
    in_phase,
    premium_cents,
    with_holding,
)
from domain.risk.kill import KillLevel, KillWatch, LoweringRefused
from domain.risk.overlay import Overlay
from domain.risk.sizing import cuts_of, entry_limit_ticks, size_entry, size_of
from domain.session.phases import Phase
from domain.units import Cents, Ticks, Utc
from tests.testkit.desk_world import (
    CALL,
    CLOSE,
    DAY,
    FULL_SIZE,
    NAV,
    NOW,
    SETTINGS,
    holding,
    lost,
    quote,
    ref,
    rules,
    view,
)
from tests.testkit.narrow import known

LIMITS = SETTINGS.entry


# -- sizing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "cap", "cuts", "qty"),
    [
        # 0.5 % of 300,000 = 1,500; 1.5 x 35 % x 10.30 x 100 = 540.75, and 3.10 of fees: 2.76.
        (1_030, 10, 1.0, 2),
        (1_030, 10, 0.5, 1),
        (1_030, 10, 0.25, 0),
        (1_030, 1, 1.0, 1),
        # 2 % of 300,000 = 6,000 buys nine at 6.00, the risk bound only four: 1,500 / 318.10.
        (600, 99, 1.0, 4),
        # 1,500 / (1.5 x 35 % x 80 + 3.10) = 33.3.
        (80, 99, 1.0, 33),
    ],
)
def test_the_size_is_the_smallest_bound_after_cuts(ask: int, cap: int, cuts: float, qty: int) -> None:
    assert size_entry(NAV, ask, 100, 0.35, 310, cap, cuts, FULL_SIZE, LIMITS).qty == qty


def test_a_bound_that_is_whole_but_for_float_dust_keeps_its_whole_number() -> None:
    # NAV is chosen so that the risk bound is exactly whole; 1.5 x 0.55 in floats is a hair too much.
    nav = 3 * (1_650 + 310) * 200
    sizing = size_entry(nav, 20, 100, 0.55, 310, 99, 1.0, FULL_SIZE, dataclasses.replace(LIMITS, notional_nav=1.0))
    assert sizing.by_risk < 3
    assert sizing.qty == 3


def test_the_size_never_passes_a_bound() -> None:
    @given(st.integers(1, 10**9), st.integers(5, 10**4), st.integers(0, 2_000), st.integers(0, 20))
    def check(nav: int, ask: int, fees: int, cap: int) -> None:
        sizing = size_entry(nav, ask, 100, 0.35, fees, cap, 1.0, FULL_SIZE, LIMITS)
        premium = ask * 100
        assert 0 <= sizing.qty <= cap
        assert sizing.qty * premium <= LIMITS.notional_nav * nav + 1e-3
        assert sizing.qty * (1.5 * 0.35 * premium + fees) <= LIMITS.risk_nav * nav + 1e-3

    check()


def test_each_cut_halves() -> None:
    assert [cuts_of(*c, 0.4) for c in ((False, 1), (True, 0), (False, 2), (True, 2))] == [1.0, 0.5, 0.4, 0.2]


def test_the_size_is_that_of_the_quote_in_hand_and_unknown_without_account_session_or_ask() -> None:
    assert known(size_of(rules(), view(), CALL, quote(), None, NOW)).qty == 2
    assert known(size_of(rules(), view(closed=(lost(1), lost(2))), CALL, quote(), None, NOW)).qty == 1
    uncut = replace(rules(), limits=dataclasses.replace(LIMITS, losses_cut=1.0))
    assert known(size_of(uncut, view(closed=(lost(1), lost(2))), CALL, quote(), None, NOW)).qty == 2
    for seen, offered in ((view(funds=None), quote()), (view(session=None), quote()), (view(), quote(ask=None))):
        assert size_of(rules(), seen, CALL, offered, None, NOW) is None


@pytest.mark.parametrize(
    ("side", "bid", "ask", "limit"),
    [
        # Decided on 10.00 at 10.30; the fresh mid rounds away from the fill, 10 ticks from 3.00 on.
        (Side.BUY, 1_005, 1_035, 1_020),
        (Side.BUY, 1_012, 1_040, 1_020),
        (Side.BUY, 1_040, 1_080, 1_030),  # the market ran away: never above the decision's ask
        (Side.SELL, 1_005, 1_035, 1_020),
        (Side.SELL, 1_004, 1_034, 1_020),
        (Side.SELL, 950, 990, 1_000),  # never below the decision's bid
    ],
)
def test_the_limit_is_the_fresh_mid_and_never_worse_than_what_was_decided(
    side: Side, bid: int, ask: int, limit: int
) -> None:
    assert entry_limit_ticks(side, quote(bid=bid, ask=ask), DecisionPrices(1_000, 1_030), INDEX_RULE) == limit


@pytest.mark.parametrize("nav", [float("nan"), float("inf"), -NAV])
def test_a_bound_that_is_no_number_or_below_nothing_sizes_nothing(nav: float) -> None:
    assert size_entry(cast("int", nav), 1_030, 100, 0.35, 310, 10, 1.0, FULL_SIZE, LIMITS).qty == 0


def test_the_overlay_multiplies_the_size_and_is_said() -> None:
    sizing = size_entry(NAV, 600, 100, 0.35, 310, 99, 1.0, Overlay(0.5, "VIX 31"), LIMITS)
    assert sizing.qty == 2  # of 4.7
    assert sizing.reason.endswith("times 1 for losses and 0.5 for the market (VIX 31)")


# -- the day ------------------------------------------------------------------------------------


def test_the_hard_limit_is_the_nearer_of_share_and_money() -> None:
    assert hard_limit_cents(NAV, LIMITS) == -600_000
    assert hard_limit_cents(NAV, dataclasses.replace(LIMITS, daily_loss_max_cents=100_000)) == -100_000


def test_the_hard_stop_needs_two_evaluations_five_seconds_apart() -> None:
    # seconds, P&L in cents -> breach running, latched
    ledger = [
        (0, -599_999, False, False),
        (1, -600_000, True, False),
        (5, -700_000, True, False),
        (5.5, -599_999, False, False),  # above the limit between: the count starts anew
        (7, -600_000, True, False),
        (11.999, -600_000, True, False),
        (12, -600_000, True, True),
        (20, +50_000, False, True),  # latched: nothing opens the day again
    ]
    stops = DayStops()
    for at_s, pnl, breached, latched in ledger:
        stops = evaluate(stops, pnl, NAV, LIMITS, NOW + int(at_s * SECOND))
        assert (stops.breach_utc is not None, stops.is_hard) == (breached, latched), at_s


def test_the_soft_stop_latches_at_once_and_drawdown_is_from_the_best() -> None:
    stops = DayStops()
    for pnl in (40_000, -449_999):
        stops = evaluate(stops, pnl, NAV, LIMITS, NOW)
    assert not stops.is_soft
    stops = evaluate(evaluate(stops, -450_000, NAV, LIMITS, NOW), 10_000, NAV, LIMITS, NOW)
    assert (stops.is_soft, stops.drawdown_cents, stops.peak_cents) == (True, 490_000, 40_000)


def test_a_streak_is_counted_by_close_time_and_ends_at_a_trade_that_did_not_lose() -> None:
    assert loss_streak(()) == 0
    assert loss_streak((lost(2), lost(1, 50), lost(3))) == 2
    assert loss_streak((lost(1), lost(2), lost(3, 0))) == 0
    assert loss_streak((lost(1, 0), lost(2, -1))) == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-2, 1)), max_size=8))
def test_a_streak_is_what_a_sort_by_close_time_ends_with(told: list[tuple[int, int]]) -> None:
    closed = tuple(replace(lost(n, cents), closed_utc=NOW + at) for n, (at, cents) in enumerate(told))
    newest_first = sorted(closed, key=lambda c: (c.closed_utc, c.position_id), reverse=True)
    first = next((n for n, c in enumerate(newest_first) if c.realised_cents >= 0), len(closed))
    assert loss_streak(closed) == first


def test_day_pnl_is_realised_and_unrealised_less_the_fees_of_leaving() -> None:
    open_ = holding(unrealised_cents=5_000, realised_cents=700)
    fee = order_fee_cents(DAY, "SPXW", 1, 1_050, is_sale=True)
    assert day_pnl(view(closed=(lost(1, -300),), holdings=(open_,)), NOW, AGE).cents == -300 + 700 + 5_000 - fee
    pending = holding("p", is_pending=True, unrealised_cents=0, marked_utc=0)
    assert day_pnl(view(holdings=(pending,)), NOW, AGE).cents == 0
    assert premium_cents(view(holdings=(open_, pending)), "SPX") == 200_000


AGE = 60 * SECOND


def test_a_holding_without_a_mark_for_a_minute_counts_as_worth_nothing() -> None:
    fresh = holding("a", unrealised_cents=5_000)
    fee = order_fee_cents(DAY, "SPXW", 1, 1_050, is_sale=True)
    # of when the last mark is, mark, pending -> P&L without the other holding's, unmarked, worst
    cases: tuple[tuple[int, int | None, bool, int, int, int], ...] = (
        (NOW - AGE, 5_000, False, 5_000 - fee, 0, 0),
        (NOW - AGE - 1, 5_000, False, -100_000, 1, 1),
        (NOW - AGE, None, False, -order_fee_cents(DAY, "SPXW", 1, 1_000, is_sale=True), 1, 0),
        (NOW - AGE - 1, None, False, -100_000, 1, 1),
        (NOW - AGE - 1, None, True, -100_000, 1, 1),  # reserved before a restart, and nobody says what became of it
        (NOW - AGE - 1, 0, True, 0, 0, 0),
    )
    for at, mark, is_pending, cents, unmarked, worst in cases:
        held = holding("b", unrealised_cents=mark, marked_utc=at, is_pending=is_pending)
        pnl = day_pnl(view(holdings=(fresh, held)), NOW, AGE)
        assert (pnl.cents, len(pnl.unmarked), len(pnl.worst)) == (5_000 - fee + cents, unmarked, worst), (at, mark)
        assert pnl.known_cents == 5_000 - fee + (0 if unmarked else cents), "what is not known is left out"


def test_what_is_sold_and_not_agreed_on_yet_needs_no_mark() -> None:
    """The last fill has closed it, and the broker's word is waited for, however long that takes."""
    sold = holding(qty=0, unrealised_cents=0, marked_utc=0, realised_cents=-4_000)
    assert day_pnl(view(holdings=(sold,)), NOW, AGE) == DayPnl(-4_000, -4_000)
    assert not sold.needs_mark


def test_nothing_bounds_a_short_without_a_mark() -> None:
    sold = holding(unrealised_cents=0, marked_utc=0, ref=replace(ref(), side=Side.SELL))
    assert day_pnl(view(holdings=(sold,)), NOW, AGE).cents == -NAV


def leg(
    contract: Contract, side: Side, qty: int, cost_cents: int, structure_id: str = "spread", **changes: Any
) -> Holding:
    """Return a leg of a structure that nobody has marked for longer than the desk bears."""
    named = replace(ref(f"{contract.con_id}", contract), side=side, structure_id=structure_id)
    blind = {"unrealised_cents": 0, "marked_utc": 0} | changes
    return holding(ref=named, qty=qty, cost_cents=cost_cents, **blind)


SOLD_CALL = Contract(901, "SPX", "SPXW", DAY, Ticks(600_000), Right.CALL)
COVER_CALL = replace(SOLD_CALL, con_id=902, strike_ticks=Ticks(600_500))
SOLD_PUT = Contract(903, "SPX", "SPXW", DAY, Ticks(599_000), Right.PUT)
COVER_PUT = replace(SOLD_PUT, con_id=904, strike_ticks=Ticks(598_000))
# Two verticals, sold at 3.00 and covered at 1.00: 2 x (5.00 - 2.00) x 100.
VERTICAL = (leg(COVER_CALL, Side.BUY, 2, 20_000), leg(SOLD_CALL, Side.SELL, 2, 60_000))
PUTS = (leg(COVER_PUT, Side.BUY, 2, 10_000), leg(SOLD_PUT, Side.SELL, 2, 30_000))


def test_a_covered_vertical_without_quotes_counts_at_its_width_less_its_credit() -> None:
    assert day_pnl(view(holdings=VERTICAL), NOW, AGE).cents == -60_000
    assert day_pnl(view(holdings=VERTICAL[::-1]), NOW, AGE).worst == VERTICAL[::-1]
    # Ten points of the puts less all that was brought in: it ends on one side only.
    assert day_pnl(view(holdings=(*VERTICAL, *PUTS)), NOW, AGE).cents == -200_000 + 40_000 + 20_000
    debit = tuple(replace(h, ref=replace(h.ref, side=h.ref.side.opposite)) for h in VERTICAL)
    assert day_pnl(view(holdings=debit), NOW, AGE).cents == -40_000


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("mark", [-90_000, 0, 10_000])
def test_one_leg_of_a_covered_vertical_without_a_quote_counts_no_less_than_the_bound(n: int, mark: int) -> None:
    legs = list(VERTICAL)
    legs[n] = replace(legs[n], unrealised_cents=Cents(mark), marked_utc=NOW, realised_cents=Cents(-500))
    other = holding("plain", unrealised_cents=0, marked_utc=0)
    pnl = day_pnl(view(holdings=(*legs, other)), NOW, AGE)
    assert pnl.cents == -60_000 - 500 - other.cost_cents
    assert pnl.worst == (legs[1 - n], other)


@pytest.mark.parametrize(
    "legs",
    [
        (replace(VERTICAL[0], qty=1, cost_cents=Cents(10_000)), VERTICAL[1]),
        (replace(VERTICAL[0], is_pending=True, unrealised_cents=None), VERTICAL[1]),
        (leg(COVER_CALL, Side.BUY, 2, 20_000, "another"), VERTICAL[1]),
        (leg(replace(COVER_CALL, ticker="SPY"), Side.BUY, 2, 20_000), VERTICAL[1]),
        (leg(replace(COVER_CALL, expiry=date(2026, 12, 18)), Side.BUY, 2, 20_000), VERTICAL[1]),
        (leg(COVER_PUT, Side.BUY, 2, 20_000), VERTICAL[1]),
        (leg(COVER_CALL, Side.BUY, 2, 20_000), PUTS[1]),
        (leg(COVER_CALL, Side.BUY, 1, 10_000), leg(SOLD_PUT, Side.SELL, 1, 15_000)),
        (VERTICAL[1],),
    ],
    ids=["in part", "pending", "another's", "underlying", "expiry", "right", "right of puts", "one put", "gone"],
)
def test_nothing_bounds_a_sold_leg_whose_cover_is_not_held(legs: tuple[Holding, ...]) -> None:
    cost = sum(h.cost_cents for h in legs if h.ref.side is Side.BUY)
    assert day_pnl(view(holdings=legs), NOW, AGE).cents == -NAV - cost


def test_premium_of_a_structure_is_what_it_cost_with_the_underlying_of_what_it_bought() -> None:
    debit = tuple(replace(h, ref=replace(h.ref, side=h.ref.side.opposite)) for h in VERTICAL)
    fund = leg(replace(SOLD_CALL, con_id=905, ticker="SPY"), Side.SELL, 10, 15_000)
    spread = (VERTICAL[0], fund)  # 200 USD of SPX, for which SPY brought 150
    plain = holding("plain")
    cases = ((VERTICAL, 0, 0), (debit, 40_000, 0), (spread, 5_000, 0), ((plain, *debit), 140_000, 0), ((fund,), 0, 0))
    for legs, of_index, of_fund in cases:
        held = view(holdings=legs)
        assert [premium_cents(held, ticker) for ticker in ("SPX", "SPY", None)] == [of_index, of_fund, of_index], legs
    two = tuple(replace(h, ref=replace(h.ref, structure_id="another")) for h in VERTICAL)
    assert premium_cents(view(holdings=(*debit, *two))) == 40_000, "what one brought in pays for no other"


def test_leaving_a_short_costs_the_fees_of_what_it_is_worth_now() -> None:
    for gain, now_ticks in ((0, 300), (25_000, 50), (-25_000, 550)):
        short = leg(SOLD_CALL, Side.SELL, 1, 30_000, unrealised_cents=gain, marked_utc=NOW)
        fee = order_fee_cents(DAY, "SPXW", 1, now_ticks, is_sale=True)
        assert day_pnl(view(holdings=(short,)), NOW, AGE).cents == gain - fee


def test_correlations_are_told_for_an_hour() -> None:
    told = view(broken=(), broken_utc=NOW - BROKEN_AGE_NS)
    assert broken_now(told, NOW) == ()
    assert broken_now(told, NOW + 1) is None


def test_marks_grow_old_in_regular_hours_only() -> None:
    held = holding(unrealised_cents=5_000, marked_utc=0)
    for closed in (view(phase=Phase.CLOSED, holdings=(held,)), view(phase=Phase.FLATTEN, holdings=(held,))):
        assert day_pnl(closed, CLOSE, AGE).worst == ()
    assert day_pnl(view(phase=None, holdings=(held,)), NOW, AGE).worst == (held,)
    assert day_pnl(view(phase=Phase.FLATTEN, holdings=(held,)), CLOSE - 1, AGE).worst == (held,)


def test_a_worst_case_latches_the_stop_and_moves_neither_best_nor_drawdown() -> None:
    stops = evaluate(DayStops(), 40_000, NAV, LIMITS, NOW)
    stops = evaluate(stops, -NAV, NAV, LIMITS, NOW + SECOND, is_marked=False)
    stops = evaluate(stops, -NAV, NAV, LIMITS, NOW + 6 * SECOND, is_marked=False)
    assert (stops.is_hard, stops.peak_cents, stops.drawdown_cents) == (True, 40_000, 0)


def test_a_limit_or_a_loss_that_is_no_number_is_a_breach() -> None:
    broken = dataclasses.replace(LIMITS, daily_loss_nav=float("nan"))
    assert evaluate(DayStops(), 0, NAV, broken, NOW).breach_utc == NOW
    assert evaluate(DayStops(), cast("int", float("nan")), NAV, LIMITS, NOW).breach_utc == NOW


@pytest.mark.parametrize(
    ("stops", "is_worth_it"),
    [
        (DayStops(is_hard=True), True),
        (DayStops(is_soft=True), True),
        (DayStops(breach_utc=NOW), True),
        (DayStops(peak_cents=NAV // 2_000), True),
        (DayStops(drawdown_cents=NAV // 2_000), True),
        (DayStops(peak_cents=NAV // 2_000 - 1, drawdown_cents=NAV // 2_000 - 1), False),
    ],
)
def test_stops_are_recorded_when_a_latch_a_breach_or_a_step_has_changed(stops: DayStops, is_worth_it: bool) -> None:
    assert is_worth_a_record(DayStops(), stops, NAV) is is_worth_it
    assert not is_worth_a_record(stops, stops, NAV)


def test_the_days_row_counts_a_zero_as_neither_win_nor_loss() -> None:
    row = summarise((lost(1, -5), lost(2, 0), lost(3, 9)), DayStops(drawdown_cents=7))
    assert (row.trades, row.wins, row.losses, row.realised_cents, row.fees_cents, row.drawdown_cents) == (
        3,
        1,
        1,
        4,
        30,
        7,
    )


# -- fees ---------------------------------------------------------------------------------------

PUBLISHED = [
    (0, ((1, 2.0, 1.0), (2, 5.0, 1.3), (3, 0.075, 1.5), (5, 0.03, 1.25))),
    (10_001, ((1, 2.0, 1.0), (2, 5.0, 1.0), (3, 0.075, 1.5), (5, 0.03, 1.25))),
    (50_001, ((1, 2.0, 1.0), (2, 5.0, 1.0), (5, 2.0, 1.25))),
    (100_001, ((1, 2.0, 1.0), (5, 5.0, 1.0), (7, 2.0, 1.05))),
]


@pytest.mark.parametrize(("volume", "cases"), PUBLISHED)
def test_the_brokers_published_cases_come_out_to_the_cent(
    volume: int, cases: tuple[tuple[int, float, float], ...]
) -> None:
    for qty, premium, usd in cases:
        assert commission_cents(DAY, qty, premium * 100, volume) == round(usd * 100), (qty, premium)


def test_the_older_rate_holds_on_older_days() -> None:
    cases = ((1, 2, 1.0), (2, 5, 1.4), (3, 0.075, 1.5), (5, 0.03, 1.25))
    assert [commission_cents(date(2019, 6, 3), q, p * 100) for q, p, _ in cases] == [round(u * 100) for *_, u in cases]


def test_fees_of_an_index_order_are_commission_exchange_and_clearing() -> None:
    # 1.00 minimum; 0.45 + 0.02685 + 0.02 = 0.49685, rounded up; a sale adds 0.00279 and 0.000008 of 1,000 USD.
    assert order_fee_cents(DAY, "SPXW", 1, 1_000, is_sale=False) == 150
    assert order_fee_cents(DAY, "SPXW", 1, 1_000, is_sale=True) == 151
    assert order_fee_cents(DAY, "SPXW", 1, 99, is_sale=False) == 141
    assert order_fee_cents(DAY, "QQQ", 10, 100, is_sale=False) == 697
    assert order_fee_cents(DAY, "QQQ", 0, 100, is_sale=False) == 0
    assert round_trip_cents(DAY, "SPXW", 1, 1_000) == 301


# -- the automatic kill -------------------------------------------------------------------------


def prices(*points: tuple[float, str, int]) -> list[str | None]:
    """Tell prices one by one as (seconds, ticker, ticks); return the reasons."""
    watch, reasons = KillWatch(), []
    for at_s, ticker, ticks in points:
        watch, reason = kill.watch_spots(watch, (Spot(ticker, ticks, NOW + int(at_s * SECOND)),), SETTINGS.kill)
        reasons.append(reason)
    return reasons


def test_vix_ten_percent_up_within_five_minutes_raises_and_not_after_them() -> None:
    assert prices((0, "VIX", 2_000), (300, "VIX", 2_199), (300, "VIX", 2_200))[1:] == [
        None,
        "VIX rose from 20.00 to 22.00 within 5 min",
    ]
    assert prices((0, "VIX", 2_000), (300.001, "VIX", 2_200)) == [None, None]
    assert prices((0, "VIX", 2_200), (1, "VIX", 1_900)) == [None, None]


def test_spx_half_a_percent_either_way_within_a_minute_raises() -> None:
    assert prices((0, "SPX", 600_000), (60, "SPX", 603_000)) == [None, None]
    assert prices((0, "SPX", 600_000), (60, "SPX", 603_001))[1] is not None
    assert prices((0, "SPX", 600_000), (59, "SPX", 596_999))[1] is not None
    assert prices((0, "SPX", 600_000), (60.001, "SPX", 610_000)) == [None, None]
    assert prices((0, "QQQ", 600_000), (1, "QQQ", 700_000)) == [None, None]


def test_a_crash_inside_a_second_is_seen_though_samples_are_a_second_apart() -> None:
    assert prices((0, "SPX", 600_000), (0.2, "SPX", 596_000))[1] is not None


def test_a_low_between_two_samples_of_a_second_counts() -> None:
    assert prices((0, "VIX", 2_000), (0.1, "VIX", 1_990), (0.2, "VIX", 2_000), (200, "VIX", 2_188)) == [None] * 4
    assert prices((0, "VIX", 2_000), (0.1, "VIX", 1_990), (0.2, "VIX", 2_000), (200, "VIX", 2_189))[3] is not None


TICKS = st.lists(st.tuples(st.integers(0, 40), st.integers(595_000, 605_000)), max_size=60)


@given(TICKS)
def test_the_window_of_the_extremes_is_that_of_all_its_prices(ticks: list[tuple[int, int]]) -> None:
    watch, at_s, told = KillWatch(), 0, []
    for later_s, price in ticks:
        at_s += later_s
        told.append((at_s, price))
        watch, reason = kill.watch_spots(watch, (Spot("SPX", price, NOW + at_s * SECOND),), SETTINGS.kill)
        window = [p for at, p in told if at >= at_s - 60]
        assert (watch.spx_low.price, watch.spx_high.price) == (min(window), max(window))
        assert (reason is not None) == any(abs(price - p) > p * 0.005 + 1e-9 for p in window)


def test_delayed_prices_raise_nothing() -> None:
    watch, _ = kill.watch_spots(KillWatch(), (Spot("VIX", 2_000, NOW),), SETTINGS.kill)
    delayed = Spot("VIX", 3_000, NOW + SECOND, DataType.DELAYED)
    assert kill.watch_spots(watch, (delayed,), SETTINGS.kill)[1] is None


def test_three_lost_sessions_within_half_an_hour_raise() -> None:
    watch = KillWatch()
    for at, wanted in ((0, False), (10, False), (30, False), (39, True)):  # the first is 30 min old at the third
        watch, reason = kill.watch_loss(watch, SETTINGS.kill, NOW + at * MINUTE)
        assert (reason is not None) == wanted, at


def test_levels_never_fall_by_a_raise_and_fall_only_for_a_person_with_a_reason() -> None:
    assert [[kill.raised(level, wanted) for wanted in KillLevel] for level in KillLevel] == [
        [0, 1, 2],
        [1, 1, 2],
        [2, 2, 2],
    ]
    not_lower, changed = LoweringRefused.NOT_LOWER, LoweringRefused.EPOCH_CHANGED
    # level, wanted, expected epoch (3 is in force) -> refusal
    ledger = {
        (0, 0, None): not_lower, (0, 1, None): not_lower, (1, 1, None): not_lower, (1, 2, None): not_lower,
        (1, 0, None): None, (2, 0, None): None, (2, 1, None): None, (2, 1, 3): None, (2, 1, 2): changed,
        (2, 2, 3): not_lower,
    }  # fmt: skip
    for (level, wanted, expected), why in ledger.items():
        refused = kill.lowering_refused(KillLevel(level), KillLevel(wanted), 3, expected, "ann", "checked")
        assert refused is why, (level, wanted, expected)
    for by, reason in (("ann", " "), ("", "checked")):
        refused = kill.lowering_refused(KillLevel.NO_ENTRIES, KillLevel.RUNNING, 3, None, by, reason)
        assert refused is LoweringRefused.REASON_MISSING


def test_the_legs_of_a_structure_are_one_trade_one_win_and_one_loss() -> None:
    legs = tuple(
        Closed(f"p{n}", "spread", Cents(cents), Cents(10), Utc(n), "s1") for n, cents in ((1, -60_000), (2, 70_000))
    )  # fmt: skip
    lost = Closed("p3", "gexwatch", Cents(-1), Cents(5), Utc(3))
    found = summarise((*legs, lost), DayStops())
    assert (found.trades, found.wins, found.losses, found.realised_cents, found.fees_cents) == (2, 1, 1, 9_999, 25)
    assert loss_streak((*legs, lost)) == 1
    assert loss_streak(legs[:1]) == 1


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9), st.integers(0, 30), st.one_of(st.none(), st.integers(-50_000, 50_000)), st.booleans()
        ),
        max_size=12,
    )
)
def test_what_holdings_add_to_the_day_is_the_same_kept_with_each_holding_or_worked_out_anew_also_on_another_day(
    told: list[tuple[int, int, int | None, bool]],
) -> None:
    kept = view()
    for n, qty, mark_cents, is_pending in told:
        held = holding(f"p{n}", qty=qty, cost_cents=qty * 120_000, unrealised_cents=mark_cents, is_pending=is_pending)
        kept = with_holding(kept, held)
    assert _results(kept) == _results(_without_nets(kept))
    assert all(held.net_cents is not None for held in kept.holdings)
    # Before 2020 a contract above 10.00 cost more.
    earlier = in_phase(kept, date(2019, 11, 20), Phase.ENTRY, kept.open_utc, kept.close_utc)
    assert _results(earlier) == _results(_without_nets(earlier))


def _without_nets(kept: DeskView) -> DeskView:
    return replace(kept, holdings=tuple(replace(held, net_cents=None) for held in kept.holdings))


def _results(kept: DeskView) -> tuple[int, int]:
    pnl = day_pnl(kept, NOW, 60 * SECOND)
    return pnl.cents, pnl.known_cents
