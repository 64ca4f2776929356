"""The adaptive exit profile of a position: a shadow beside the fixed one, and in force where it is promoted."""

from __future__ import annotations

from datetime import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from actors.position import PositionActor
from config.settings import load_settings
from domain.instants import MINUTE, SECOND, at_exchange
from domain.orders.intent import DecisionPrices
from domain.position.adaptive import Scales
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.session.phases import Phase
from domain.units import Qty, Ticks, Utc
from messages import entries, positions
from messages.positions import ExitsTightened, ShadowClosed
from messages.restored import Tightened
from tests.actors.position.test_position_legs import COVER
from tests.testkit.position_history import CLOSE, EXIT_1, NAME, REF, SESSION, History, flatten, held_position, settings
from tests.testkit.probe import Outbox

ON = load_settings(profile="real", overrides={"exits": {"adaptive": {"is_on": True}}})
SPOT = 600_000


class Adaptive(History):
    """A position whose settings have the profile on; promoted, it leaves by it."""

    def __init__(self, *, is_promoted: bool = False, ref: Any = REF, version: int = 1, is_on: bool = True) -> None:
        super().__init__(ref)
        self.actor = PositionActor(NAME, ON if is_on else settings())
        self.exits = (f"ADAPTIVE-{version}",) if is_promoted else ()

    def open(self, qty: int = 2, limit: int = 500, ask: int = 505, permit_ms: int = 2000) -> Outbox:
        return self.feed(
            entries.OpenPosition(
                ref=self.ref, order_ref=f"{self.ref.position_id}-e", qty=Qty(qty), limit_ticks=Ticks(limit),
                decision=DecisionPrices(Ticks(490), Ticks(ask), Ticks(SPOT)), permit=self.permit(permit_ms),
                deadline_utc=Utc(self.now + 10 * SECOND), exits=self.exits,
            )
        )  # fmt: skip

    def minute(self, spot: int) -> None:
        """Let a minute pass with a quote every four seconds."""
        for _ in range(15):
            self.wait(4_000)
            self.quote(495, 505, spot)

    def scales(self) -> list[tuple[float, float]]:
        return [(told.stop_scale, told.take_scale) for told in self.all(ExitsTightened)]


def closed(h: Adaptive, price: int = 480, qty: int = 2) -> None:
    """Have the position closed by a person, at a price."""
    flatten(h)
    h.fill(qty, price, EXIT_1)
    h.ended(EXIT_1, qty)
    h.broker(0)
    h.wait(2_000)


def told(effects: Outbox) -> list[Any]:
    """Return what was sent out, but for what the profile tells of itself."""
    kinds = (ExitsTightened, ShadowClosed)
    return [
        effect for effect in effects.effects if not isinstance(getattr(effect, "event", None), kinds)
    ]  # fmt: skip


# -- a shadow -----------------------------------------------------------------------------------------


def test_the_first_look_tells_the_scales_of_the_entry_and_each_change_is_told_once() -> None:
    h = Adaptive()
    h.hold(2)
    h.quote(495, 505)
    (first,) = h.all(ExitsTightened)
    assert (first.version, first.stop_scale, first.take_scale, first.is_in_force) == (1, 1.0, 1.0, False)
    assert first.left_ms == (at_exchange(SESSION, time(15, 45)) - first.at_utc) // 1_000_000
    h.wait(60_000)
    assert len(h.all(ExitsTightened)) == 1


def test_the_slow_look_tightens_without_a_quote_and_no_quote_does() -> None:
    h = Adaptive()
    h.now = at_exchange(SESSION, time(15, 14, 57))
    h.hold(2)
    h.quote(495, 505)
    assert [stop for stop, _ in h.scales()] == [0.75]
    h.now = at_exchange(SESSION, time(15, 15, 1))
    h.quote(495, 505)
    assert [stop for stop, _ in h.scales()] == [0.75]
    h.wait(3_000)
    assert [stop for stop, _ in h.scales()] == [0.75, 0.6]


def test_a_shadow_sends_nothing_and_is_sold_at_the_bid_where_the_tighter_stop_is_reached() -> None:
    h = Adaptive()
    h.now = at_exchange(SESSION, time(15, 10))  # 35 minutes are left: 0.75 of the stop, 0.6 of the profit
    h.hold(2)
    for _ in range(3):
        h.quote(360, 366)  # 0.27 below the fill
        h.wait(300)
    assert h.state.shadow is not None
    assert [(sale.reason, sale.qty, sale.price_ticks) for sale in h.state.shadow.sales] == [
        (ExitReason.PREMIUM_STOP, 2, 360)
    ]
    assert h.cycle() is PositionState.OPEN
    closed(h, price=480)
    (found,) = h.all(ShadowClosed)
    assert (found.fixed_cents, found.shadow_cents) == (-4_000, -28_000)
    assert (found.fixed_reason, found.left, found.version) == (ExitReason.OPERATOR, 0, 1)
    assert h.last(positions.PositionClosed).realised_cents == -4_000


def test_what_the_shadow_has_left_goes_with_the_position_at_its_price() -> None:
    h = Adaptive()
    h.hold(2)
    h.quote(495, 505)
    closed(h, price=520)
    (found,) = h.all(ShadowClosed)
    assert (found.fixed_cents, found.shadow_cents, found.sales, found.left) == (4_000, 4_000, (), 2)


@pytest.mark.parametrize("spot", [601_000, None])
def test_what_expires_goes_with_the_shadow_at_its_settlement_and_unpriced_it_is_compared_with_nothing(
    spot: int | None,
) -> None:
    h = Adaptive()
    h.hold(2)
    h.quote(495, 505)
    h.now = Utc(CLOSE - SECOND)
    h.phase(Phase.CLOSED)
    h.advance(CLOSE)
    if spot is not None:
        h.quote(995, 1_005, spot)
    h.advance(Utc(CLOSE + 5 * MINUTE))
    (closed,) = h.all(positions.PositionClosed)
    found = h.all(ShadowClosed)
    if spot is None:
        assert (closed.end, found) == (EndReason.EXPIRED_UNPRICED, [])
    else:
        assert closed.end is EndReason.SETTLED
        assert [(one.fixed_cents, one.shadow_cents, one.left) for one in found] == [(100_000, 100_000, 2)]


def test_both_results_are_before_fees() -> None:
    h = Adaptive()
    h.hold(2)
    h.quote(495, 505)
    h.fee(130)
    closed(h, price=520)
    assert h.last(positions.PositionClosed).realised_cents == 3_870
    (found,) = h.all(ShadowClosed)
    assert (found.fixed_cents, found.shadow_cents) == (4_000, 4_000)


def test_a_result_that_is_an_estimate_is_compared_with_nothing() -> None:
    h = Adaptive()
    h.hold(2)
    h.quote(495, 505)
    for ms in (1_000, 31_000, 31_000):
        h.wait(ms)
        h.broker(0)
    assert h.last(positions.PositionClosed).end is EndReason.BROKER_LIQUIDATION
    assert h.all(ShadowClosed) == []


def test_a_second_life_begins_with_scales_of_one_and_a_shadow_of_its_own() -> None:
    h = Adaptive()
    h.now = at_exchange(SESSION, time(15, 0))
    h.hold(2)
    h.quote(495, 505)
    closed(h)
    assert h.state.shadow is None
    h.ref = replace(REF, intent_id="intent-2", position_id="ZH-paper-BBBBBBBBBBBB")
    h.now = at_exchange(SESSION, time(15, 5))
    h.open()
    assert h.state.scales.stop == 1.0
    assert not h.state.has_told_scales


def assert_decides_as_without(shadowed: History, steps: list[tuple[int, int, int]], start: int) -> None:
    """Hold two from `start` min on beside a plain position; a step is mid, the underlying's move and seconds before."""
    plain = History()
    for h in (plain, shadowed):
        h.now = Utc(h.now + start * MINUTE)
        h.hold(2)
    for mid, moved, seconds in steps:
        sent = [Outbox(h.wait(seconds * 1_000).effects + h.quote(mid - 3, mid + 3, SPOT + moved).effects)
                for h in (plain, shadowed)]  # fmt: skip
        assert told(sent[0]) == told(sent[1])


@given(
    steps=st.lists(st.tuples(st.integers(300, 800), st.integers(-900, 900), st.integers(1, 200)), max_size=25),
    start=st.integers(0, 280),
)
@hypothesis_settings(deadline=None, max_examples=40)
def test_with_a_shadow_a_position_decides_as_without(steps: list[tuple[int, int, int]], start: int) -> None:
    assert_decides_as_without(Adaptive(), steps, start)


# -- in force -----------------------------------------------------------------------------------------


def test_a_promoted_profile_rules_the_exits_of_a_position_and_follows_no_shadow() -> None:
    h = Adaptive(is_promoted=True)
    h.now = at_exchange(SESSION, time(15, 10))
    h.hold(2)
    for _ in range(3):
        h.quote(360, 366)
        h.wait(300)
    assert h.wanted_reason is ExitReason.PREMIUM_STOP
    assert h.all(ExitsTightened)[0].is_in_force
    h.fill(2, 360, EXIT_1)
    h.ended(EXIT_1, 2)
    h.broker(0)
    h.wait(2_000)
    assert h.cycle() is PositionState.FLAT
    assert h.all(ShadowClosed) == []


def test_the_underlyings_stop_is_scaled_too() -> None:
    h = Adaptive(is_promoted=True)
    h.now = at_exchange(SESSION, time(15, 10))
    h.hold(2)
    h.quote(495, 505, SPOT - 740)
    assert h.wanted_reason is None
    h.quote(495, 505, SPOT - 750)  # 0.75 of ten points
    assert h.wanted_reason is ExitReason.UNDERLYING_STOP


def test_a_profit_is_taken_sooner_towards_the_close() -> None:
    h = Adaptive(is_promoted=True)
    h.now = at_exchange(SESSION, time(15, 10))
    h.hold(2)
    h.quote(625, 635)  # 0.26; with 35 minutes left half is sold at 0.55 of 0.50
    assert h.wanted_reason is None
    h.quote(635, 645)
    assert h.wanted_reason is ExitReason.TAKE_PROFIT


def test_volatility_tightens_and_what_was_tightened_stays_so_when_it_calms_down() -> None:
    h = Adaptive(is_promoted=True)
    h.hold(2)
    for minute in range(6):
        h.minute(SPOT + (700 if minute % 2 else -700))  # to and fro by 0.23 % a minute
    told = h.scales()
    assert told[-1] == (0.75, 1.0)
    h.minute(SPOT)
    h.minute(SPOT)
    assert h.wanted_reason is None
    assert h.scales() == told


@pytest.mark.parametrize(("is_promoted", "version"), [(False, 1), (True, 2)])
def test_what_is_not_promoted_in_this_version_rules_nothing(is_promoted: bool, version: int) -> None:
    h = Adaptive(is_promoted=is_promoted, version=version)
    h.now = at_exchange(SESSION, time(15, 10))
    h.hold(2)
    for _ in range(3):
        h.quote(360, 366)
        h.wait(300)
    assert h.wanted_reason is None


def test_a_restart_brings_back_what_was_tightened() -> None:
    h = Adaptive()
    known = Tightened(version=1, stop_scale=0.5, take_scale=0.9, is_in_force=True)
    h.restart(replace(held_position(), tightened=known))
    h.reconciled(2)
    for _ in range(3):
        h.quote(400, 410)  # 0.19 below the fill: half of the fixed stop is 0.175
        h.wait(300)
    assert h.wanted_reason is ExitReason.PREMIUM_STOP
    assert h.scales() == [(0.5, 0.9)]


@pytest.mark.parametrize(
    "known",
    [UNSET, Tightened(version=1, stop_scale=0.5, take_scale=0.9, is_in_force=False)],
)  # fmt: skip
def test_a_restart_follows_no_shadow_and_puts_nothing_in_force_by_itself(known: Tightened | UnsetType) -> None:
    h = Adaptive()
    h.restart(replace(held_position(), tightened=known))
    h.reconciled(2)
    for _ in range(3):
        h.quote(400, 410)
        h.wait(300)
    assert h.wanted_reason is None
    assert (h.state.shadow, h.scales()) == (None, [])


@pytest.mark.parametrize(("is_on", "version"), [(True, 2), (False, 1)])
def test_another_version_or_a_profile_that_is_switched_off_loosens_no_stop_that_was_tightened(
    is_on: bool, version: int
) -> None:
    h = Adaptive(is_on=is_on)
    h.now = at_exchange(SESSION, time(15, 10))  # where a profile in force would tighten further
    h.restart(
        replace(held_position(), tightened=Tightened(version=version, stop_scale=0.9, take_scale=0.9, is_in_force=True))
    )
    h.reconciled(2)
    assert isinstance(h.actor, PositionActor)
    assert h.actor.wakes_on(h.state) is None
    for _ in range(3):
        h.quote(335, 341)  # 0.324 below the fill: more than 0.9 of the fixed stop, and less than all of it
        h.wait(300)
    assert h.wanted_reason is ExitReason.PREMIUM_STOP
    assert h.state.scales == Scales(0.9, 0.9)
    assert h.scales() == [], "of a version that was not promoted for it nothing is told"


def test_a_leg_of_a_structure_has_no_profile_of_its_own() -> None:
    h = Adaptive(ref=COVER)
    h.hold(2)
    h.quote(495, 505)
    assert (h.state.shadow, h.scales()) == (None, [])


def test_a_position_under_the_profile_wants_every_quote() -> None:
    h = Adaptive()
    h.hold(2)
    h.quote(495, 505)
    assert isinstance(h.actor, PositionActor)
    assert h.actor.wakes_on(h.state) is None


@given(
    steps=st.lists(st.tuples(st.integers(-900, 900), st.integers(1, 600)), min_size=1, max_size=30),
    start=st.integers(0, 280),
)
@hypothesis_settings(deadline=None, max_examples=40)
def test_over_any_path_the_scales_of_a_life_only_ever_fall(steps: list[tuple[int, int]], start: int) -> None:
    h = Adaptive(is_promoted=True)
    h.now = Utc(h.now + start * MINUTE)
    h.hold(2)
    for moved, seconds in steps:
        if h.cycle() is not PositionState.OPEN:
            break
        h.wait(seconds * 1_000)
        h.quote(495, 505, SPOT + moved)
    assert all(b[0] <= a[0] and b[1] <= a[1] and a != b for a, b in pairwise(h.scales()))
