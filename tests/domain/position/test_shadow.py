"""The shadow of another exit profile: its would-be exits on the same quotes, sold at the bid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from config.settings import load_settings
from domain.instants import MS, SECOND
from domain.instruments import Quote, Spot
from domain.position import exits
from domain.position.adaptive import Scales, profile_of
from domain.position.cycle import ExitReason
from domain.position.exits import HeldPosition, MarketWatch
from domain.position.profiles import Profile
from domain.position.shadow import Shadow, looked, result_ticks
from domain.units import Qty, Ticks, Utc

SETTINGS = load_settings(profile="real")
EXITS, SPX = SETTINGS.exits, SETTINGS.ticker_rules["SPX"]
T0 = Utc(1_000 * SECOND)
FIXED, TIGHT = Profile(EXITS, SPX), profile_of(EXITS, SPX, Scales(0.5, 0.5))
SPOT = 600_000


class Day:
    """One position, its market, and the shadow of a profile; a look every second."""

    def __init__(self, profile: Profile, qty: int = 1) -> None:
        self.profile, self.now = profile, T0
        self.held = HeldPosition(Qty(qty), 1_000.0, 1, Ticks(SPOT), None, T0, took_part=False)
        self.market = MarketWatch(T0)
        self.shadow = Shadow(MarketWatch(T0))

    def look(self, bid: int | None, ask: int = 1_000, spot: int = SPOT, *, opened: int | None = None) -> Shadow:
        self.now = Utc(self.now + SECOND)
        quote = Quote(
            7, None if bid is None else Ticks(bid), Ticks(max(ask, (bid or 0) + 2)), Qty(9), Qty(9), self.now
        )  # fmt: skip
        self.market = exits.with_market(self.market, quote, Spot("SPX", Ticks(spot), self.now), self.now, EXITS)
        self.shadow = self.step(self.held.qty if opened is None else opened)
        return self.shadow

    def step(self, opened: int) -> Shadow:
        return looked(
            self.shadow, self.market, self.held, Qty(opened), self.profile, self.now, is_slow_due=True
        )  # fmt: skip

    def sales(self) -> list[tuple[ExitReason, int, int]]:
        return [(sale.reason, sale.qty, sale.price_ticks) for sale in self.shadow.sales]


def test_a_stop_sells_all_at_the_bid_of_the_quote_that_confirms_it() -> None:
    day = Day(TIGHT, qty=2)
    day.look(820, 826)
    assert day.sales() == []
    day.look(810, 816)
    assert day.sales() == [(ExitReason.PREMIUM_STOP, 2, 810)]
    assert (day.shadow.left, day.shadow.took_part) == (0, False)
    for _ in range(3):
        day.look(300, 302)
    assert len(day.sales()) == 1, "what is sold is sold"


def test_the_fixed_profile_does_not_sell_there() -> None:
    day = Day(FIXED, qty=2)
    for _ in range(5):
        day.look(820, 826)
    assert day.sales() == []


def test_a_profit_takes_half_then_the_rest_with_the_stop_at_the_entry() -> None:
    day = Day(TIGHT, qty=3)
    day.look(1_250, 1_260)
    assert day.sales() == [(ExitReason.TAKE_PROFIT, 2, 1_250)]
    assert (day.shadow.left, day.shadow.took_part) == (1, True)
    day.look(990, 1_000)
    assert len(day.shadow.sales) == 1, "one quote below the entry confirms nothing"
    day.look(980, 990)
    assert day.sales()[1:] == [(ExitReason.PREMIUM_STOP, 1, 980)]
    assert day.shadow.took_part


@pytest.mark.parametrize(("qty", "sold"), [(2, 1), (3, 2), (4, 2)])
def test_half_is_rounded_up(qty: int, sold: int) -> None:
    day = Day(TIGHT, qty)
    day.look(1_250, 1_260)
    assert day.sales() == [(ExitReason.TAKE_PROFIT, sold, 1_250)]


def test_what_fills_later_is_followed_too() -> None:
    day = Day(FIXED, qty=4)
    day.look(990, 1_010, opened=1)
    assert (day.shadow.left, day.shadow.followed) == (1, 1)
    day.look(990, 1_010, opened=4)
    assert (day.shadow.left, day.shadow.followed) == (4, 4)


def test_an_exit_without_a_bid_waits_for_one() -> None:
    day = Day(TIGHT)
    day.look(990, 1_010)
    day.look(None, 1_010, SPOT - 600)
    assert day.sales() == []
    day.look(900, 910)
    assert day.sales() == [(ExitReason.UNDERLYING_STOP, 1, 900)], "it was wanted, though the price is back"


@pytest.mark.parametrize(("last", "price"), [(900, 810), (None, 0)])
def test_a_blind_exit_gets_the_last_bid_less_its_discount(last: int | None, price: int) -> None:
    day = Day(FIXED)
    if last is not None:
        day.look(last, 910)
    day.now = Utc(day.now + EXITS.blind_exit_ms * MS + 1)
    day.shadow = day.step(1)
    assert day.sales() == [(ExitReason.BLIND, 1, price)]


def test_the_slow_rules_look_when_they_are_due() -> None:
    day = Day(FIXED)
    day.look(990, 1_010)
    day.now = Utc(T0 + SPX.max_hold_ms * MS)
    quote = Quote(7, Ticks(990), Ticks(1_010), Qty(9), Qty(9), day.now)
    day.market = exits.with_market(day.market, quote, Spot("SPX", Ticks(SPOT), day.now), day.now, EXITS)
    unlooked = looked(day.shadow, day.market, day.held, Qty(1), FIXED, day.now, is_slow_due=False)
    assert unlooked.sales == ()
    assert [sale.reason for sale in day.step(1).sales] == [ExitReason.MAX_HOLD]


def test_the_result_is_what_it_sold_and_the_rest_at_the_positions_own_close() -> None:
    day = Day(TIGHT, qty=3)
    day.look(1_250, 1_260)
    assert result_ticks(day.shadow, 3_000, 700.5) == round(2 * 1_250 + 700.5) - 3_000
    assert result_ticks(replace(day.shadow, left=Qty(0)), 3_000, 9_999.0) == 2 * 1_250 - 3_000


@given(mids=st.lists(st.integers(300, 1_900), min_size=1, max_size=40), spots=st.lists(st.integers(-1_500, 1_500)))
def test_on_any_path_the_tighter_profile_of_one_contract_leaves_no_later(mids: list[int], spots: list[int]) -> None:
    fixed, tight = Day(FIXED), Day(TIGHT)
    for n, mid in enumerate(mids):
        moved = SPOT + (spots[n] if n < len(spots) else 0)
        for day in (fixed, tight):
            day.look(mid - 2, mid + 2, moved)
        assert tight.shadow.left <= fixed.shadow.left
