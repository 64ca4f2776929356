"""What a position says would wake it is enough: quotes inside the bounds change nothing."""

from __future__ import annotations

from copy import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position import PositionActor
from config.settings import load_settings
from domain.instants import MINUTE, SECOND
from domain.position.exits import Wakes
from tests.testkit.narrow import known
from tests.testkit.position_history import CLOSE, EXIT_1, NAME, T0, History, held_position


def bounds(history: History) -> Wakes | None:
    assert isinstance(history.actor, PositionActor)
    return history.actor.wakes_on(history.state)


def test_only_a_quietly_held_position_has_bounds() -> None:
    history = History()
    assert bounds(history) is None
    history.open()
    assert bounds(history) is None
    history.ack()
    history.quote(495, 505)
    history.fill(2, 500)
    wakes = known(bounds(history))
    assert (wakes.mid_at_most, wakes.mid_at_least, wakes.bid_at_most) == (400, 750, 250)
    assert (wakes.spot_at_most, wakes.spot_at_least) == (599_000, 600_500)
    assert wakes.at_utc == T0 + 8 * MINUTE


def test_the_day_and_an_unconfirmed_stop_bound_it_too() -> None:
    history = History()
    history.now = CLOSE - 46 * MINUTE
    history.hold(2)
    assert known(bounds(history)).at_utc == known(history.state.opened_utc) + 8 * MINUTE
    history.restart(held_position())
    history.now = CLOSE - 26 * MINUTE
    history.state.opened_utc = history.now
    history.quote(495, 505)
    assert known(bounds(history)).at_utc == CLOSE - 25 * MINUTE
    history.quote(320, 325)
    assert bounds(history) is None


def test_a_stop_that_rests_wakes_nobody_until_it_is_in_doubt() -> None:
    history = History()
    history.actor = PositionActor(NAME, load_settings(profile="real", overrides={"exits": {"disaster_stop": True}}))
    history.hold(2)
    assert bounds(history) is None
    history.run_to_exit()
    assert known(bounds(history)).mid_at_most == 400
    history.ended(EXIT_1, 0, "Cancelled")
    assert bounds(history) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(200, 900), st.integers(2, 60), st.integers(598_900, 600_600)), max_size=40))
def test_quotes_inside_the_bounds_wake_nothing(tape: list[tuple[int, int, int]]) -> None:
    history = History()
    history.hold(2)
    for bid, width, spot in tape:
        wakes = bounds(history)
        if wakes is None:
            return
        mid = bid + width / 2
        history.wait(1000)
        is_inside = (
            known(wakes.mid_at_most) < mid < known(wakes.mid_at_least)
            and bid > known(wakes.bid_at_most)
            and known(wakes.spot_at_most) < spot < known(wakes.spot_at_least)
            and history.now + SECOND < known(wakes.at_utc)
        )
        if not is_inside:
            continue
        before = copy(history.state)
        said = history.quote(bid, bid + width, spot)
        assert said.effects == []
        before.watch = history.state.watch
        assert history.state == before
        assert bounds(history) == wakes
