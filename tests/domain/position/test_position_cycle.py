"""The life cycle's table is total, and what it leaves out is left out on purpose."""

from __future__ import annotations

import itertools

import pytest

from domain.position.cycle import (
    IGNORED,
    TRANSITIONS,
    PositionEvent,
    PositionState,
    can_enter,
    next_state,
)

PAIRS = list(itertools.product(PositionState, PositionEvent))


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_a_transition_or_ignored_with_a_reason_and_never_both(state, event):
    assert ((state, event) in TRANSITIONS) != ((state, event) in IGNORED)
    if (state, event) in IGNORED:
        assert len(IGNORED[state, event]) > 10
        assert next_state(state, event) is state
    else:
        assert next_state(state, event) is TRANSITIONS[state, event]


@pytest.mark.parametrize("state", PositionState)
def test_no_fill_is_ever_ignored(state):
    assert (state, PositionEvent.BOUGHT) in TRANSITIONS
    assert (state, PositionEvent.SOLD) in TRANSITIONS


@pytest.mark.parametrize("state", PositionState)
def test_only_flat_can_be_entered(state):
    assert can_enter(state) is (state is PositionState.FLAT)


def test_flat_is_reached_by_the_brokers_agreement_or_by_an_entry_without_a_fill_alone():
    into_flat = {(s, e) for (s, e), to in TRANSITIONS.items() if to is PositionState.FLAT}
    assert {e for _, e in into_flat} == {PositionEvent.BROKER_AGREED, PositionEvent.ENTRY_ENDED}
    assert {s for s, e in into_flat if e is PositionEvent.ENTRY_ENDED} == {PositionState.PENDING_ENTRY}
