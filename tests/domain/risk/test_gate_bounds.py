"""What the gates of a contract measure and against which limit, at the bounds of each."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from domain.instants import BUCKET_NS, MS, SECOND
from domain.orders.intent import EntryPlan, PlannedLeg
from domain.risk.desk_view import Funds, Ordered, Pending, still_ordered
from domain.risk.gates import quote as gates
from domain.risk.gates import sequence, standing
from domain.risk.gates.types import Finding, Sizing
from domain.risk.reject import RejectCode
from domain.units import Cents, Qty, Utc
from tests.testkit.desk_world import (
    BUCKET,
    CLOSE,
    FULL_SIZE,
    LONG_CALL,
    NAV,
    NOW,
    OPEN,
    SETTINGS,
    SHORT_CALL,
    alert,
    decided,
    holding,
    intent,
    quote,
    rules,
    snapshot,
)

SPX = SETTINGS.ticker_rules["SPX"]


def judged(gate: Any, **changes: Any) -> Finding:
    found: Finding = gate(intent(), snapshot(**changes))
    return found


def size(qty: int) -> dict[str, Any]:
    return {"qty": Qty(qty), "sizing": Sizing(Qty(qty), 9.0, 9.0, Qty(9), 1.0, FULL_SIZE)}


@pytest.mark.parametrize(
    ("seen", "looked_at"), [(None, "quote of"), (quote(ask=None), "ask of"), (quote(ask=0), "ask of")]
)
def test_a_quote_without_an_ask_is_missing_and_says_what_is(seen: Any, looked_at: str) -> None:
    found = judged(gates.quote_fresh, quote=seen)
    assert found.code is RejectCode.MISSING_INPUT
    assert (found.looked_at or "").startswith(looked_at)


@pytest.mark.parametrize(("bid", "code"), [(None, RejectCode.EMPTY_MARKET), (0, RejectCode.EMPTY_MARKET), (1, None)])
def test_a_bid_of_one_tick_is_a_bid(bid: int | None, code: RejectCode | None) -> None:
    found = judged(gates.bid_present, quote=quote(bid=bid))
    assert (found.code, found.measured, found.limit) == (code, bid, 0)


def test_a_market_that_is_not_crossed_is_at_least_0_wide() -> None:
    found = judged(gates.spread, quote=quote(bid=1_000, ask=990))
    assert (found.code, found.measured, found.limit) == (RejectCode.CROSSED_MARKET, -10, 0)


def test_a_spread_is_a_share_of_the_mid_even_of_the_smallest_market() -> None:
    found = judged(gates.spread, quote=quote(bid=0, ask=1))
    assert (found.code, found.measured) == (RejectCode.SPREAD_TOO_WIDE, 2.0)
    nothing = judged(gates.spread, quote=quote(bid=0, ask=0))
    assert nothing.measured == 0


@pytest.mark.parametrize(
    "changes", [{"leg": None}, {"quote": None}, {"quote": quote(bid=None)}, {"quote": quote(ask=None)}]
)
def test_money_needs_a_leg_and_both_sides_of_its_quote(changes: dict[str, Any]) -> None:
    found = judged(gates.size_and_money, **(size(1) | changes))
    assert (found.code, found.looked_at) == (RejectCode.MISSING_INPUT, "both sides of the quote")


def test_a_size_is_one_contract_at_least_and_the_cap_at_most() -> None:
    least, most = judged(gates.size_and_money, **size(0)), judged(gates.size_and_money, **size(SPX.size_cap + 1))
    assert (least.code, least.measured, least.limit) == (RejectCode.BAD_SIZE, 0, 1)
    assert (most.code, most.measured, most.limit) == (RejectCode.BAD_SIZE, SPX.size_cap + 1, SPX.size_cap)


def test_a_premium_out_of_bounds_is_told_as_the_mid() -> None:
    found = judged(gates.size_and_money, quote=quote(bid=100, ask=105), **size(1))
    assert (found.code, found.measured, found.limit) == (RejectCode.PREMIUM_BOUNDS, 102.5, SPX.premium_min_ticks)


def test_concentration_says_of_what() -> None:
    small = quote(bid=1_000, ask=1_030)
    for share, other, looked_at in ((1e-6, 1.0, "SPX"), (1.0, 1e-6, "all underlyings")):
        limits = dataclasses.replace(SETTINGS.entry, premium_nav_per_underlying=share, premium_nav_total=other)
        found = judged(gates.size_and_money, quote=small, rules=rules(limits=limits), **size(1))
        assert (found.code, found.looked_at) == (RejectCode.CONCENTRATION, looked_at)


def test_a_tick_of_before_the_wait_is_told_by_how_much() -> None:
    found = judged(gates.fresh_quote, quote=quote(at=NOW - 250 * MS), fresh_from_utc=NOW)
    assert (found.code, found.measured, found.limit) == (RejectCode.STALE_QUOTE, 250, 0)


@pytest.mark.parametrize(("leg", "drift"), [(LONG_CALL, 5.0), (SHORT_CALL, -5.0)])
def test_the_drift_of_the_mid_is_against_the_side_that_pays(leg: PlannedLeg, drift: float) -> None:
    found = judged(gates.fresh_quote, quote=quote(bid=1_005, ask=1_035), leg=leg)
    assert (found.code, found.measured) == (None, drift)


def test_a_plan_of_several_legs_is_told_with_their_number() -> None:
    verdict = sequence.no_combo_orders(EntryPlan((LONG_CALL, SHORT_CALL)))
    assert verdict is not None
    assert (verdict.finding.code, verdict.finding.measured, verdict.finding.limit) == (RejectCode.MISSING_INPUT, 2, 1)
    assert sequence.no_combo_orders(EntryPlan((LONG_CALL,))) is None


def test_level_0_is_the_limit_of_an_entry() -> None:
    found = judged(standing.kill_level)
    assert (found.code, found.measured, found.limit) == (None, 0, 0)


@pytest.mark.parametrize("side", ["before", "after"])
def test_an_hour_outside_the_window_is_told_by_how_far(side: str) -> None:
    first = OPEN + SETTINGS.day.entry_after_open_ms * MS
    last = CLOSE - SETTINGS.day.entry_stop_ms * MS
    now, measured = (first - 3 * SECOND, -3) if side == "before" else (last + 5 * SECOND, 5)
    found = judged(standing.session, now=now)
    assert (found.code, found.measured, found.limit) == (RejectCode.ENTRY_WINDOW, measured, 0)


def test_halts_that_a_restart_may_have_missed_are_told_with_the_time_left() -> None:
    found = judged(standing.session, halts_from_utc=NOW + 40 * MS)
    assert (found.code, found.measured) == (RejectCode.MISSING_INPUT, 40)


def test_another_order_that_is_being_sent_is_0_ms_ago() -> None:
    sending = Pending("gexwatch", "SPX", "gexwatch", 1, Cents(0), is_sending=True)
    found = judged(standing.cooldown, beside=(sending,))
    assert (found.code, found.measured) == (RejectCode.COOLDOWN, 0)


def test_an_alert_behind_a_later_one_is_told_by_how_much() -> None:
    later = decided(alert(BUCKET + 2 * BUCKET_NS))
    found = judged(standing.watermark, decisions=(later,))
    assert (found.code, found.measured, found.limit) == (RejectCode.DUPLICATE_ALERT, 60, 0)


def test_day_trades_are_told_against_the_one_that_an_entry_needs() -> None:
    found = judged(standing.trades_per_day, funds=Funds(NAV, NAV, 3, NOW))
    assert (found.code, found.measured, found.limit) == (None, 3, 1)


def test_the_worst_of_what_is_open_in_a_direction_counts() -> None:
    held = (holding("a", unrealised_cents=-5), holding("b", unrealised_cents=-900), holding("c", unrealised_cents=70))
    found = judged(standing.no_adding_to_a_loser, holdings=held)
    assert (found.code, found.measured, found.limit) == (RejectCode.ADD_TO_LOSER, -900, 0)


def test_nothing_against_the_direction_and_nothing_of_the_strategy_is_told_as_none_of_one() -> None:
    found = judged(standing.no_reverse)
    assert (found.code, found.measured, found.limit) == (None, 0, 0)
    found = judged(standing.one_position)
    assert (found.code, found.measured, found.limit) == (None, 0, 1)


@pytest.mark.parametrize(
    ("qty", "age_ns", "left"),
    [(2, 0, 3), (4, 0, 1), (5, 0, None), (9, 0, None), (1, 0, 3), (2, 9, 3), (2, 10, None), (2, 11, None)],
)
def test_what_a_slice_may_still_buy_falls_with_its_fills_alone_and_ends_with_its_time(
    qty: int, age_ns: int, left: int | None
) -> None:
    held = holding(qty=Qty(2), ordered=Ordered(Qty(3), Cents(100), Utc(NOW + 10)))
    found = still_ordered(held, Qty(qty), Utc(NOW + age_ns))
    assert (None if found is None else found.qty) == left
