"""What a position says would wake it is enough: quotes inside the bounds change nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position import PositionActor
from domain.instants import MINUTE, SECOND
from domain.position.cycle import PositionState
from domain.position.exits import Wakes
from tests.testkit.narrow import known
from tests.testkit.position_history import T0, History


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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(300, 900), st.integers(2, 60), st.integers(598_900, 600_600)), max_size=40))
def test_quotes_inside_the_bounds_wake_nothing(tape: list[tuple[int, int, int]]) -> None:
    history = History()
    history.hold(2)
    for bid, width, spot in tape:
        wakes = known(bounds(history))
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
        history.quote(bid, bid + width, spot)
        assert history.cycle() is PositionState.OPEN
        assert bounds(history) == wakes
