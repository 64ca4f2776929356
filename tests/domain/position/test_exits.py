"""The exits' rules at their very bounds: what is met counts as met, and a time that is reached as reached."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from domain.instants import MS, SECOND
from domain.instruments import Greeks, Quote, Spot
from domain.orders.tiers import Tier
from domain.position.cycle import ExitKind, ExitReason
from domain.position.exits import (
    HeldPosition,
    MarketWatch,
    WantedExit,
    is_more,
    is_resubscribe_due,
    observe,
    pick_blind,
    pick_hard,
    pick_slow,
    raised,
    size_ticks,
    tradable_quote,
    wakes_of,
    with_market,
    without_breaches,
)
from tests.testkit.narrow import known
from tests.testkit.position_history import T0, settings

RULES = settings().exits
SPX = settings().ticker_rules["SPX"]
HELD = HeldPosition(
    qty=2, average_ticks=500.0, direction=1, entry_spot_ticks=600_000, entry_iv=0.20, opened_utc=T0, took_part=False
)


def quote(bid: int, ask: int, at: int, iv: float | None = None) -> Quote:
    greeks = None if iv is None else Greeks(iv, 0.5, 0.01, -1.0, 0.1, 600_000, at)
    return Quote(812, bid, ask, 10, 10, at, greeks=greeks)


def seen(bid: int, ask: int, at: int, spot: int = 600_000, iv: float | None = None) -> MarketWatch:
    return with_market(MarketWatch(T0), quote(bid, ask, at, iv), Spot("SPX", spot, at), at, RULES)


def slow(watch: MarketWatch, now: int, held: HeldPosition = HELD) -> ExitReason | None:
    wanted = pick_slow(watch, held, now, RULES, SPX)
    return None if wanted is None else wanted.reason


def hard(bid: int, ask: int, spot: int = 600_000, held: HeldPosition = HELD) -> WantedExit | None:
    watch = seen(bid, ask, T0, spot)
    watch = observe(watch, held, T0, RULES, SPX)
    later = T0 + RULES.confirm_gap_ms * MS
    watch = with_market(watch, quote(bid, ask, later), Spot("SPX", spot, later), later, RULES)
    return pick_hard(observe(watch, held, later, RULES, SPX), held, later, RULES, SPX)


@pytest.mark.parametrize(
    ("bid", "ask", "is_stopped"),
    [
        (320, 330, True), (320, 332, False),  # mid 325 is 35 % below 500
        (250, 500, True), (251, 500, False),  # bid 250 is 50 % below
    ],
)  # fmt: skip
def test_premium_stop_and_backstop_at_their_bounds(bid: int, ask: int, is_stopped: bool) -> None:
    wanted = hard(bid, ask)
    assert (wanted is not None and wanted.reason is ExitReason.PREMIUM_STOP) is is_stopped


@pytest.mark.parametrize(
    ("qty", "took_part", "mid", "kind"),
    [
        (1, False, 800, ExitKind.FULL), (1, False, 799, None), (2, False, 750, ExitKind.TAKE_PART),
        (2, False, 749, None), (1, True, 1000, ExitKind.FULL), (1, True, 999, None),
    ],
)  # fmt: skip
def test_takes_at_their_bounds(qty: int, took_part: bool, mid: int, kind: ExitKind | None) -> None:
    wanted = hard(mid - 5, mid + 5, held=replace(HELD, qty=qty, took_part=took_part))
    assert (None if wanted is None else wanted.kind) is kind
    assert wanted is None or wanted.reason is ExitReason.TAKE_PROFIT


@pytest.mark.parametrize(("spot", "is_stopped"), [(599_000, True), (599_001, False)])
def test_underlying_stop_at_its_bound_in_both_directions(spot: int, is_stopped: bool) -> None:
    for direction in (1, -1):
        wanted = hard(495, 505, 600_000 + direction * (spot - 600_000), replace(HELD, direction=direction))
        assert (wanted is not None and wanted.reason is ExitReason.UNDERLYING_STOP) is is_stopped


def test_max_hold_when_it_is_reached() -> None:
    due = T0 + SPX.max_hold_ms * MS
    took = replace(HELD, took_part=True)  # no progress is not looked at any more
    assert slow(seen(495, 505, due - 1), due - 1, took) is None
    assert slow(seen(495, 505, due), due, took) is ExitReason.MAX_HOLD


def test_no_progress_when_its_time_is_reached_and_from_a_checkpoint_that_is_met() -> None:
    due = T0 + RULES.no_progress_ms * MS
    assert slow(seen(495, 505, due - 1), due - 1) is None
    assert slow(seen(495, 505, due), due) is ExitReason.NO_PROGRESS
    moved = observe(seen(495, 505, T0 + SECOND, 600_500), HELD, T0 + SECOND, RULES, SPX)
    assert (moved.checkpoint_ticks, moved.checkpoint_utc) == (500, T0 + SECOND)
    short = observe(seen(495, 505, T0 + SECOND, 600_499), HELD, T0 + SECOND, RULES, SPX)
    assert (short.checkpoint_ticks, short.checkpoint_utc) == (0, T0)


@pytest.mark.parametrize(("past_ms", "floor"), [(20_000, None), (60_000, Tier.BID)])
def test_the_blind_clock_at_its_bounds(past_ms: int, floor: Tier | None) -> None:
    now = T0 + past_ms * MS
    watch = MarketWatch(T0, spot=Spot("SPX", 600_000, now))
    at, after = pick_blind(watch, now, RULES), pick_blind(watch, now + 1, RULES)
    assert (None if at is None else at.floor) is floor
    assert after is not None
    assert after.floor is (Tier.BID if floor is None else Tier.MARKET)


def test_a_blind_position_whose_underlying_is_dark_too_goes_to_the_market() -> None:
    now = T0 + 20_001 * MS
    at = now - RULES.blind_underlying_ms * MS
    for spot, floor in ((Spot("SPX", 1, at), Tier.BID), (Spot("SPX", 1, at - 1), Tier.MARKET), (None, Tier.MARKET)):
        assert pick_blind(MarketWatch(T0, spot=spot), now, RULES) == WantedExit(ExitReason.BLIND, floor=floor)


def test_a_quote_is_asked_for_anew_and_traded_on_no_more_after_five_seconds() -> None:
    now = T0 + RULES.blind_resubscribe_ms * MS
    watch = seen(495, 505, T0)
    assert not is_resubscribe_due(watch, now, RULES)
    assert tradable_quote(watch, now, RULES) is not None
    assert is_resubscribe_due(watch, now + 1, RULES)
    assert tradable_quote(watch, now + 1, RULES) is None


ARMED = T0 + RULES.iv_crush_arm_ms * MS


@pytest.mark.parametrize(
    ("mid", "spot", "iv", "at", "held", "is_crushed"),
    [
        (400, 600_000, 0.18, ARMED, HELD, True),
        (400, 600_000, 0.18, ARMED - 1, HELD, False),
        (401, 600_000, 0.18, ARMED, HELD, False),
        (400, 600_199, 0.18, ARMED, HELD, True),
        (400, 600_200, 0.18, ARMED, HELD, False),
        (400, 599_800, 0.18, ARMED, HELD, False),
        (400, 600_000, 0.181, ARMED, HELD, False),
        (400, 600_000, None, ARMED, HELD, True),  # where IV is not known, premium and underlying decide
        (400, 600_000, 0.20, ARMED, replace(HELD, entry_iv=None), True),
        (400, 600_000, 0.18, ARMED, replace(HELD, entry_spot_ticks=None), False),
    ],
)
def test_iv_crush_at_its_bounds(
    mid: int, spot: int, iv: float | None, at: int, held: HeldPosition, is_crushed: bool
) -> None:
    found = slow(seen(mid - 5, mid + 5, at, spot, iv), at, held)
    assert (found is ExitReason.IV_CRUSH) is is_crushed


def test_iv_crush_needs_an_underlying_that_is_seen_and_a_size() -> None:
    watch = replace(seen(395, 405, ARMED), spot=Spot("SPX", 600_000, ARMED - RULES.blind_underlying_ms * MS - 1))
    assert slow(watch, ARMED) is None
    sizeless = dataclasses.replace(SPX, iv_size_ticks=None, iv_size_bps=None)
    assert pick_slow(seen(395, 405, ARMED), HELD, ARMED, RULES, sizeless) is None


def test_sizes_are_the_tickers_own_or_a_share_of_the_underlying() -> None:
    assert size_ticks(1000, None, 600_000) == 1000.0
    assert size_ticks(None, 40, 20_000) == pytest.approx(80.0)
    assert size_ticks(None, None, 20_000) is None


@pytest.mark.parametrize(("back_ns", "bid"), [(SECOND, 495), (SECOND + 1, 320), (1, 495)])
def test_what_is_older_by_a_second_was_overtaken_and_what_is_older_still_is_a_clock_that_stepped(
    back_ns: int, bid: int
) -> None:
    now = T0 + 10 * SECOND
    watch = with_market(seen(495, 505, now), quote(320, 325, now - back_ns), None, now, RULES)
    assert watch.quote is not None
    assert watch.quote.bid_ticks == bid


def test_an_equal_severity_does_not_take_over_and_a_higher_tier_of_the_same_reason_does() -> None:
    stop = WantedExit(ExitReason.PREMIUM_STOP)
    assert not is_more(WantedExit(ExitReason.UNDERLYING_STOP, floor=Tier.MARKET), stop)
    assert is_more(WantedExit(ExitReason.PREMIUM_STOP, floor=Tier.MARKET), stop)
    assert is_more(WantedExit(ExitReason.EOD), stop)
    assert not is_more(WantedExit(ExitReason.MAX_HOLD), stop)
    assert is_more(WantedExit(ExitReason.TAKE_PROFIT), None)


def test_the_rest_of_a_part_that_was_taken_is_stopped_at_its_entry() -> None:
    rest = replace(HELD, qty=1, took_part=True)
    assert hard(495, 505, held=rest) == WantedExit(ExitReason.PREMIUM_STOP)
    assert hard(496, 506, held=rest) is None


def test_what_cost_one_tick_has_its_stop_and_what_cost_nobody_knows_what_is_closed() -> None:
    cheap = replace(HELD, qty=1, average_ticks=1.0, took_part=True)
    assert hard(1, 1, held=cheap) == WantedExit(ExitReason.PREMIUM_STOP)
    assert hard(495, 505, held=replace(HELD, average_ticks=0.0)) == WantedExit(ExitReason.BLIND)


def test_a_stop_that_moved_begins_its_run_anew() -> None:
    watch = seen(320, 330, T0)
    for at in (T0, T0 + RULES.confirm_gap_ms * MS):
        watch = observe(with_market(watch, quote(200, 330, at), None, at, RULES), HELD, at, RULES, SPX)
    assert (watch.mid_confirmed, watch.bid_confirmed) == (True, True)
    moved = without_breaches(watch)
    assert (moved.mid_confirmed, moved.bid_confirmed, moved.mid_breach_utc, moved.bid_breach_utc) == (
        False, False, None, None,
    )  # fmt: skip


def test_the_blind_clock_counts_from_the_last_tradable_quote_and_from_a_stepped_clock_afresh() -> None:
    assert with_market(MarketWatch(T0), quote(495, 505, T0 - 1), None, T0, RULES).seen_utc == T0
    assert with_market(MarketWatch(T0), quote(495, 505, T0 + 1), None, T0 + 1, RULES).seen_utc == T0 + 1
    assert with_market(MarketWatch(T0 + SECOND), quote(495, 505, T0 - 1), None, T0, RULES).seen_utc == T0 - 1


def test_the_same_exit_again_is_no_more_and_a_tier_once_reached_is_never_given_back() -> None:
    at_bid = WantedExit(ExitReason.PREMIUM_STOP, floor=Tier.BID)
    assert not is_more(at_bid, at_bid)
    assert raised(WantedExit(ExitReason.EOD), at_bid) == WantedExit(ExitReason.EOD, floor=Tier.BID)
    assert raised(WantedExit(ExitReason.EOD, floor=Tier.MARKET), at_bid).floor is Tier.MARKET
    assert raised(at_bid, None) == at_bid


@pytest.mark.parametrize(("average", "has_bounds"), [(0.0, False), (1.0, True), (500.0, True)])
def test_what_cost_nobody_knows_what_has_no_bounds_within_which_quotes_change_nothing(
    average: float, has_bounds: bool
) -> None:
    bounds = wakes_of(seen(495, 505, T0), replace(HELD, average_ticks=average), RULES, SPX, None)
    assert (bounds is not None) is has_bounds


@pytest.mark.parametrize(
    ("qty", "took_part", "gain"), [(1, False, RULES.take_single), (2, False, RULES.take_first), (1, True, 1.0)]
)
def test_the_upper_bound_of_the_mid_is_the_gain_at_which_it_is_taken(qty: int, took_part: bool, gain: float) -> None:
    bounds = wakes_of(seen(495, 505, T0), replace(HELD, qty=qty, took_part=took_part), RULES, SPX, None)
    assert known(bounds).mid_at_least == pytest.approx(500 * (1 + gain))
