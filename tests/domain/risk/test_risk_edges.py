"""What risk knows and counts, at its edges: one cent, one trade, one decision more or less."""

from __future__ import annotations

import dataclasses
from datetime import time
from typing import cast

import pytest
from msgspec.structs import replace

from domain.instants import MS, SECOND
from domain.instruments import DataType, Side
from domain.market.correlation import Breakdown
from domain.options.fees import round_trip_cents
from domain.orders.intent import PlannedLeg
from domain.risk import desk_view, kill, kill_watch
from domain.risk.attempt import intent_behind
from domain.risk.day import DayStops, summarise
from domain.risk.desk_view import DeskView, Funds, Halt
from domain.risk.gates import quote as gates
from domain.risk.gates import sequence, standing
from domain.risk.gates.types import Sizing
from domain.risk.kill import KillLevel, KillWatch
from domain.risk.kill_watch import Norm, Watch
from domain.risk.overlay import Minutes, Overlay, overlay_of
from domain.risk.reject import RejectCode
from domain.risk.sizing import size_entry, size_of
from domain.session.phases import Phase
from domain.units import Qty
from tests.testkit.desk_world import (
    BUCKET,
    CALL,
    CLOSE,
    DAY,
    FULL_SIZE,
    LONG_CALL,
    NAV,
    NOW,
    OPEN,
    OTHER_CALL,
    SETTINGS,
    SHORT_CALL,
    alert,
    decided,
    holding,
    intent,
    lost,
    quote,
    ref,
    rules,
    snapshot,
    view,
)
from tests.testkit.narrow import known

AGE = 60 * SECOND
FIRST, SECOND_ALERT = alert(kind="A1"), alert(kind="A2")


# -- the day ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cents", "wins", "losses"), [(1, 1, 0), (0, 0, 0), (-1, 0, 1)])
def test_one_cent_makes_a_win_or_a_loss(cents: int, wins: int, losses: int) -> None:
    row = summarise((lost(1, cents),), DayStops())
    assert (row.wins, row.losses) == (wins, losses)


def test_trades_of_a_strategy_are_what_it_holds_and_what_it_has_closed() -> None:
    seen = view(holdings=(holding("a"), holding("b"), holding("c", strategy="gexwatch")), closed=(lost(1),))
    assert desk_view.trades_today(seen, "other") == 3
    assert desk_view.trades_today(seen, "gexwatch") == 1


def test_short_without_a_mark_costs_its_premium_where_the_start_nav_is_not_known() -> None:
    sold = holding(unrealised_cents=0, marked_utc=0, ref=replace(ref(), side=Side.SELL))
    assert desk_view.day_pnl(view(holdings=(sold,), start_nav_cents=None), NOW, AGE).cents == -sold.cost_cents


def test_desk_that_was_told_nothing_knows_of_no_hours_session_halt_or_promotion() -> None:
    """Only the gates that ask for what is missing refuse then; a number that nobody told must not pass for one."""
    nothing = DeskView()
    assert (nothing.open_utc, nothing.close_utc, nothing.session_epoch, nothing.halts_from_utc) == (0, 0, 0, 0)
    found = standing.shadow_check(intent(), snapshot(view=nothing))
    assert found.code is RejectCode.MISSING_INPUT
    assert holding("a").fees_cents == 0


# -- decisions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, *RejectCode])
def test_order_was_sent_where_the_broker_itself_refused_it_or_knew_its_ref(code: RejectCode | None) -> None:
    is_sent = code in {None, RejectCode.BROKER_REJECTED, RejectCode.DUPLICATE_REF}
    assert bool(view(decisions=[decided(FIRST, code)]).decisions.sent_utc) is is_sent


def test_attempt_that_came_to_nothing_changes_its_own_row_alone() -> None:
    rows = (
        decided(FIRST, None), decided(SECOND_ALERT, None), decided(alert(kind="A3"), RejectCode.COOLDOWN),
        decided(FIRST, RejectCode.MAX_TRADES),
    )  # fmt: skip
    after = desk_view.amended(view(decisions=rows), FIRST, RejectCode.PERMIT_KILLED)
    codes = [row.code for row in after.decisions.rows]
    assert codes == [RejectCode.PERMIT_KILLED, None, RejectCode.COOLDOWN, RejectCode.MAX_TRADES]


def test_last_order_of_a_source_is_its_latest() -> None:
    rows = [decided(alert(BUCKET, kind=f"A{n}"), None, NOW - n * SECOND) for n in (3, 1, 2)]
    assert desk_view.last_sent_utc(view(decisions=rows), "gexwatch", "SPX") == NOW - SECOND


def test_intent_behind_a_position_is_the_one_that_opened_it() -> None:
    behind = intent_behind(ref(), NOW)
    assert not behind.is_shadow
    assert (behind.intent_id, behind.key, behind.direction) == (ref().intent_id, alert(), 1)
    assert behind.raised_utc == behind.expires_utc == NOW


# -- gates --------------------------------------------------------------------------------------


def test_gate_of_a_quote_names_the_contract_where_there_is_one() -> None:
    assert gates.bid_present(intent(), snapshot(quote=quote())).looked_at == CALL.label
    assert gates.bid_present(intent(), snapshot(quote=quote(), contract=None)).looked_at == ""


def test_ask_of_one_tick_is_an_ask() -> None:
    assert gates.quote_fresh(intent(), snapshot(quote=quote(bid=None, ask=1))).code is None


def test_delayed_quote_is_told_against_a_live_one() -> None:
    found = gates.quote_fresh(intent(), snapshot(quote=quote(kind=DataType.DELAYED)))
    assert (found.code, found.measured, found.limit) == (RejectCode.DELAYED_DATA, DataType.DELAYED, DataType.LIVE)


@pytest.mark.parametrize(
    ("leg", "ask_size", "bid_size", "shown"),
    [(LONG_CALL, 1, 20, 1), (SHORT_CALL, 20, 1, 1), (None, 1, 20, 1), (LONG_CALL, 20, 1, None)],
)
def test_size_is_compared_with_what_is_quoted_on_the_side_that_it_takes(
    leg: PlannedLeg | None, ask_size: int, bid_size: int, shown: int | None
) -> None:
    limits = dataclasses.replace(
        SETTINGS.entry, liquidity=dataclasses.replace(SETTINGS.entry.liquidity, display_share_max=0.5)
    )
    seen = replace(quote(), ask_size=ask_size, bid_size=bid_size)
    found = gates.spread(intent(), snapshot(quote=seen, leg=leg, qty=2, rules=rules(limits=limits)))
    assert (found.code is RejectCode.ILLIQUID) is (shown is not None)
    if shown is not None:
        assert (found.measured, found.limit) == (2, 0.5 * shown)


def test_overlay_that_allows_nothing_is_told_against_nothing() -> None:
    none = Sizing(1, 9.0, 9.0, 9, 1.0, Overlay(0.0, "VIX 80"))
    found = gates.size_and_money(intent(), snapshot(sizing=none))
    assert (found.code, found.measured, found.limit) == (RejectCode.RISK_OVERLAY, 0, 0)


def test_drift_from_a_decision_without_a_mid_is_not_known() -> None:
    found = gates.fresh_quote(intent(), snapshot(decision=quote(bid=None)))
    assert (found.code, found.looked_at) == (RejectCode.MISSING_INPUT, "mid of the fresh or the decision quote")


@pytest.mark.parametrize(("bid", "ask", "increment"), [(280, 300, 5), (300, 320, 10)])
def test_drift_is_allowed_in_increments_of_the_mid_that_was_decided_on(bid: int, ask: int, increment: int) -> None:
    limits = dataclasses.replace(SETTINGS.entry, drift_share_max=0.0)
    seen = quote(bid=bid, ask=ask)
    found = gates.fresh_quote(intent(), snapshot(quote=seen, decision=seen, rules=rules(limits=limits)))
    assert (found.code, found.limit) == (None, SETTINGS.entry.drift_min_increments * increment)


def test_contracts_that_were_tried_are_told_against_the_one_that_is_needed() -> None:
    finding = sequence.no_contract(0, "none offered").finding
    assert (finding.code, finding.measured, finding.limit) == (RejectCode.NO_CONTRACT, 0, 1)


def test_kill_level_is_told_against_level_0() -> None:
    found = standing.kill_level(intent(), snapshot(kill_level=KillLevel.FLATTEN))
    assert (found.code, found.measured, found.limit) == (RejectCode.KILL_SWITCH_L2, 2, 0)


@pytest.mark.parametrize(("now", "code"), [(OPEN - 1, RejectCode.SESSION_CLOSED), (OPEN, RejectCode.ENTRY_WINDOW)])
def test_session_begins_with_the_instant_of_its_open(now: int, code: RejectCode) -> None:
    assert standing.session(intent(), snapshot(now=now)).code is code


def test_first_instant_of_the_window_in_another_phase_is_told_from_the_windows_end() -> None:
    first = OPEN + SETTINGS.day.entry_after_open_ms * MS
    last = CLOSE - SETTINGS.day.entry_stop_ms * MS
    found = standing.session(intent(), snapshot(now=first, phase=Phase.LATE))
    assert (found.code, found.measured) == (RejectCode.ENTRY_WINDOW, (first - last) / SECOND)


def test_time_since_a_resume_is_told_in_milliseconds() -> None:
    found = standing.session(intent(), snapshot(halts={"SPX": Halt(False, NOW - 250 * MS)}))
    assert (found.code, found.measured) == (RejectCode.HALTED, 250)


def test_loss_of_the_day_is_told_as_measured_where_every_mark_is_known() -> None:
    held = holding(unrealised_cents=-NAV, marked_utc=NOW, cost_cents=NAV)
    found = standing.daily_loss(intent(), snapshot(holdings=(held,)))
    assert (found.code, found.looked_at) == (RejectCode.DAILY_LOSS, "day P&L")
    assert found.measured is not None
    assert found.measured <= -NAV


@pytest.mark.parametrize("stops", [DayStops(), DayStops(is_hard=True)])
def test_worst_case_of_what_has_no_mark_refuses_and_is_told_as_no_measurement(stops: DayStops) -> None:
    held = holding(unrealised_cents=-NAV, marked_utc=0, cost_cents=NAV, realised_cents=-123_00)
    found = standing.daily_loss(intent(), snapshot(holdings=(held,), stops=stops))
    assert (found.code, found.measured) == (RejectCode.DAILY_LOSS, None)
    if not stops.is_hard:
        assert found.looked_at == (
            f"day P&L at its worst case (-123.00 USD are known), without a mark: {OTHER_CALL.label}"
        )


@pytest.mark.parametrize(
    ("left", "code"),
    [(0, RejectCode.DAY_TRADES), (1, None), (-1, None), (float("nan"), RejectCode.DAY_TRADES)],
)
def test_one_day_trade_is_enough_and_no_number_is_none(left: float, code: RejectCode | None) -> None:
    found = standing.trades_per_day(intent(), snapshot(funds=Funds(NAV, NAV, cast("int", left), NOW)))
    assert (found.code, found.limit) == (code, 1)


def test_position_that_stands_against_it_is_named_first_and_told_against_none() -> None:
    against = holding("a", direction=-1), holding("b", CALL, direction=-1)
    found = standing.no_reverse(intent(), snapshot(holdings=against))
    assert (found.code, found.measured, found.limit) == (RejectCode.REVERSE_WITHOUT_FLAT, 2, 0)
    assert found.looked_at == OTHER_CALL.label


def test_gain_in_the_direction_is_told_against_nothing() -> None:
    found = standing.no_adding_to_a_loser(intent(), snapshot(holdings=(holding(unrealised_cents=70),)))
    assert (found.code, found.measured, found.limit) == (None, 70, 0)


def test_second_position_of_a_strategy_is_told_against_the_one_it_may_have() -> None:
    one = dataclasses.replace(SETTINGS.strategies["gexwatch"], one_position_only=True)
    held = (holding(strategy="gexwatch"),)
    found = standing.one_position(intent(), snapshot(strategy=one, holdings=held))
    assert (found.code, found.measured, found.limit) == (RejectCode.ONE_POSITION_ONLY, 1, 1)


# -- the kill level, the overlay and the size ---------------------------------------------------


def test_lost_sessions_and_shorts_are_told_in_minutes_and_contracts() -> None:
    watch, reason = KillWatch(), None
    for _ in range(SETTINGS.kill.disconnects_max):
        watch, reason = kill.watch_loss(watch, SETTINGS.kill, NOW)
    assert reason == "3 broker sessions lost within 30 min"
    short = kill_watch.on_short(Watch(), 812, Qty(-2), 0)
    overdue = kill_watch.short_overdue(short, 812, SETTINGS.kill, NOW)
    assert known(overdue).reason == "2 of contract 812 are short at the broker and not covered"


@pytest.mark.parametrize(
    ("medians", "norm"),
    [
        ((1, 2, 4, 8, 16), 4),
        ((1, 2, 4, 8, 16, 32), 6),
        ((1, 2, 4, 8, 16, 32, 64), 8),
        ((1, 2, 4, 8, 16, 32, 64, 128), 12),
    ],
)
def test_norm_of_a_slot_is_the_median_of_its_sessions(medians: tuple[int, ...], norm: float) -> None:
    seen = tuple(Norm(f"2026-11-{day:02d}", 600, median) for day, median in enumerate(medians, start=1))
    assert kill_watch.norm_of(seen, 600, {time(9, 30): 0.1}) == norm


def test_row_of_the_table_begins_at_its_own_minute() -> None:
    table = {time(8): 0.2, time(9, 30): 0.1}
    assert [kill_watch.norm_of((), slot, table) for slot in (540, 565, 570)] == [0.2, 0.2, 0.1]


def test_overlay_says_whether_correlations_broke_down_and_whose_first() -> None:
    broken = tuple(Breakdown(pair, 0.9, 0.1) for pair in (("SPY", "QQQ"), ("SPY", "IWM")))
    said = [overlay_of(SETTINGS.entry.overlay, None, Minutes(), None, NOW, told).why for told in (None, (), broken)]
    assert ["correlations not told" in said[0], "correlations usual" in said[1]] == [True, True]
    assert "correlations SPY/QQQ" in said[2]


def test_premium_bounds_the_size_where_the_stop_gives_up_little() -> None:
    sizing = size_entry(NAV, 1_030, 100, 0.01, 0, 99, 1.0, FULL_SIZE, SETTINGS.entry)
    assert sizing.by_premium == pytest.approx(SETTINGS.entry.notional_nav * NAV / 103_000)
    assert sizing.qty == int(sizing.by_premium)


def test_risk_of_a_contract_is_its_stop_and_the_fees_of_its_round_trip() -> None:
    sizing = known(size_of(rules(), view(), CALL, quote(), None, NOW))
    fees_cents = round_trip_cents(DAY, "SPXW", Qty(1), 1_030)
    stop_cents = SETTINGS.entry.risk_stop_multiple * SETTINGS.exits.premium_stop * 103_000
    assert sizing.by_risk == pytest.approx(SETTINGS.entry.risk_nav * NAV / (stop_cents + fees_cents))


def test_what_was_booked_as_closed_and_is_held_again_counts_once() -> None:
    """An estimated result of a position that was held after all was doubled by its mark: a hard stop for nothing."""
    again = holding("a", unrealised_cents=-5_000)
    booked = replace(lost(1, -100_000), position_id=again.ref.position_id)
    seen = desk_view.with_holding(view(closed=(booked, lost(2))), again)
    assert tuple(seen.closed) == (lost(2),)
    counted_once = view(holdings=(again,), closed=(lost(2),))
    assert desk_view.day_pnl(seen, NOW, AGE) == desk_view.day_pnl(counted_once, NOW, AGE)
    ended = desk_view.with_closed(seen, replace(booked, realised_cents=-3_000), is_correction=True)
    assert [one.realised_cents for one in ended.closed] == [-100, -3_000]
