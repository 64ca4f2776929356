"""Learned exit levels of a position: a shadow beside the fixed ones, and in force where they are promoted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.position import PositionActor
from config.settings import Settings, load_settings
from domain.position.cycle import ExitReason, PositionState
from messages.positions import ExitsTightened, ShadowClosed
from messages.restored import Tightened
from tests.actors.position.test_position_adaptive import SPOT, Adaptive, assert_decides_as_without, closed
from tests.testkit.position_history import NAME, held_position, settings

HOLD_MS = 120_000


def learned(version: int = 3) -> Settings:
    """Return settings with levels lower than the fixed ones."""
    levels = {"version": version, "take": 0.2, "hold_ms": HOLD_MS}
    return load_settings(profile="real", overrides={"exits": {"learned": levels}})


class Learned(Adaptive):
    """A position whose settings have learned levels; promoted, it leaves by them."""

    def __init__(self, *, is_promoted: bool = False, version: int = 3, rules: Settings | None = None) -> None:
        super().__init__()
        self.actor = PositionActor(NAME, learned() if rules is None else rules)
        self.exits = (f"EXITS-{version}",) if is_promoted else ()


def test_a_shadow_takes_the_learned_profit_and_the_position_stays_and_both_are_told() -> None:
    h = Learned()
    h.hold(2)
    for _ in range(2):  # half at the learned gain, and the rest with the next look
        h.quote(600, 604)
    assert h.cycle() is PositionState.OPEN
    assert h.wanted_reason is None
    closed(h, price=480)
    (begun,), (found,) = h.all(ExitsTightened), h.all(ShadowClosed)
    assert (begun.kind, begun.version, begun.is_in_force, begun.stop_scale) == ("EXITS", 3, False, 1.0)
    assert (found.kind, found.version, found.fixed_cents, found.shadow_cents) == ("EXITS", 3, -4_000, 20_000)
    assert [sale.reason for sale in found.sales] == [ExitReason.TAKE_PROFIT] * 2


@pytest.mark.parametrize("qty", [1, 2])
def test_promoted_levels_take_the_profit_at_any_quantity_and_follow_no_shadow(qty: int) -> None:
    h = Learned(is_promoted=True)
    h.hold(qty)
    h.quote(595, 602)
    before = h.wanted_reason
    h.quote(598, 604)
    assert (before, h.wanted_reason) == (None, ExitReason.TAKE_PROFIT)
    assert h.state.shadow is None
    assert [event.is_in_force for event in h.all(ExitsTightened)] == [True]


def test_promoted_levels_end_the_hold_and_leave_every_stop_as_it_was() -> None:
    h = Learned(is_promoted=True)
    h.hold(2)
    h.minute(SPOT)
    before = h.wanted_reason
    h.minute(SPOT)
    h.minute(SPOT)
    assert (before, h.wanted_reason) == (None, ExitReason.MAX_HOLD)
    stopped = Learned(is_promoted=True)
    stopped.hold(2)
    for bid, reason in ((335, None), (315, ExitReason.PREMIUM_STOP)):  # the fixed stop: 0.35 below the fill
        for _ in range(3):
            stopped.quote(bid, bid + 6)
            stopped.wait(300)
        assert stopped.wanted_reason is reason


@pytest.mark.parametrize(("is_promoted", "version"), [(False, 3), (True, 2)])
def test_levels_that_are_not_promoted_in_this_version_rule_nothing(is_promoted: bool, version: int) -> None:
    h = Learned(is_promoted=is_promoted, version=version)
    h.hold(2)
    h.quote(620, 626)
    assert h.wanted_reason is None


KNOWN = Tightened(version=3, stop_scale=1.0, take_scale=1.0, is_in_force=True, kind="EXITS")


@pytest.mark.parametrize(
    ("rules", "known", "is_taken"),
    [
        (learned(), KNOWN, True),
        (learned(), replace(KNOWN, is_in_force=False), False),
        (learned(version=4), KNOWN, False),
        (settings(), KNOWN, False),
    ],
    ids=["in force", "a shadow", "another version", "gone"],
)
def test_a_restart_goes_on_by_the_levels_in_force_and_by_the_fixed_ones_where_they_are_gone(
    rules: Settings, known: Tightened, is_taken: bool
) -> None:
    h = Learned(rules=rules)
    h.restart(replace(held_position(), tightened=known))
    h.reconciled(2)
    h.quote(620, 626)
    assert (h.wanted_reason is ExitReason.TAKE_PROFIT) is is_taken
    assert h.state.shadow is None


def test_what_the_adaptive_profile_tightened_stays_so_beside_learned_levels() -> None:
    h = Learned()
    h.restart(replace(held_position(), tightened=replace(KNOWN, kind="ADAPTIVE", stop_scale=0.5)))
    h.reconciled(2)
    for _ in range(3):
        h.quote(400, 410)
        h.wait(300)
    assert h.wanted_reason is ExitReason.PREMIUM_STOP


@given(
    steps=st.lists(st.tuples(st.integers(300, 1_200), st.integers(-900, 900), st.integers(1, 200)), max_size=25),
    start=st.integers(0, 280),
)
@hypothesis_settings(deadline=None, max_examples=40)
def test_with_a_shadow_of_learned_levels_a_position_decides_as_without(
    steps: list[tuple[int, int, int]], start: int
) -> None:
    assert_decides_as_without(Learned(), steps, start)
