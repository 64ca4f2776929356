"""The life cycle's table is total, and what it leaves out is left out on purpose."""

from __future__ import annotations

import itertools

import pytest

from domain.position.cycle import CYCLE, PositionEvent, PositionState, can_enter

PAIRS = list(itertools.product(PositionState, PositionEvent))


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_a_transition_or_ignored_with_a_reason_and_never_both(
    state: PositionState, event: PositionEvent
) -> None:
    assert CYCLE.changes(state, event) != ((state, event) in CYCLE.ignored)
    if CYCLE.changes(state, event):
        assert CYCLE.next(state, event) is CYCLE.transitions[state, event]
    else:
        assert len(CYCLE.ignored[state, event]) > 10
        assert CYCLE.next(state, event) is state


@pytest.mark.parametrize("state", PositionState)
def test_no_fill_is_ever_ignored(state: PositionState) -> None:
    assert CYCLE.changes(state, PositionEvent.OPENING_FILL)
    assert CYCLE.changes(state, PositionEvent.CLOSING_FILL)


@pytest.mark.parametrize("state", PositionState)
def test_only_flat_can_be_entered(state: PositionState) -> None:
    assert can_enter(state) is (state is PositionState.FLAT)


def test_flat_is_reached_by_the_brokers_agreement_or_by_an_entry_without_a_fill_alone() -> None:
    into_flat = {(s, e) for (s, e), to in CYCLE.transitions.items() if to is PositionState.FLAT}
    assert {e for _, e in into_flat} == {PositionEvent.BROKER_AGREED, PositionEvent.ENTRY_ENDED}
    assert {s for s, e in into_flat if e is PositionEvent.ENTRY_ENDED} == {PositionState.PENDING_ENTRY}
