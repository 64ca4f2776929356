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


S, E = PositionState, PositionEvent
AFTER = {
    E.OPEN_REQUESTED: {S.FLAT: S.PENDING_ENTRY},
    E.OPENING_FILL: {
        S.FLAT: S.OPEN, S.PENDING_ENTRY: S.OPEN, S.OPEN: S.OPEN, S.PENDING_EXIT: S.PENDING_EXIT,
        S.SETTLING: S.SETTLING,
    },
    E.CLOSING_FILL: {
        S.FLAT: S.PENDING_EXIT, S.PENDING_ENTRY: S.PENDING_EXIT, S.OPEN: S.OPEN, S.PENDING_EXIT: S.PENDING_EXIT,
        S.SETTLING: S.SETTLING,
    },
    E.ENTRY_ENDED: {S.PENDING_ENTRY: S.FLAT},
    E.EXIT_WANTED: {S.OPEN: S.PENDING_EXIT, S.PENDING_EXIT: S.PENDING_EXIT},
    E.PART_TAKEN: {S.PENDING_EXIT: S.OPEN},
    E.SHORT_FOUND: dict.fromkeys((S.FLAT, S.OPEN, S.PENDING_EXIT), S.PENDING_EXIT),
    E.HELD_AFTER_ALL: {S.FLAT: S.OPEN},
    E.BROKER_AGREED: dict.fromkeys((S.OPEN, S.PENDING_EXIT, S.SETTLING), S.FLAT),
    E.SESSION_CLOSED: {S.OPEN: S.SETTLING, S.PENDING_EXIT: S.SETTLING},
}  # fmt: skip


@pytest.mark.parametrize("event", PositionEvent)
def test_where_each_event_leads_a_position(event: PositionEvent) -> None:
    led = {was: after for (was, happened), after in CYCLE.transitions.items() if happened is event}
    assert led == AFTER[event]
