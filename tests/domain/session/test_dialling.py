"""The link of a broker session: dials, pauses, losses, and what a gateway says out of turn."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import load_settings
from domain.fsm import IllegalTransition
from domain.instants import MS, SECOND
from domain.session import dialling
from domain.session.dialling import LINKS, Link, LinkEvent, LinkState, first_epoch, gateway_of, redial_utc

RULES = load_settings(profile="real").connection
FAILOVER = RULES.gateway_failover_ms * MS
# Dialling is our own act, so it must not happen while a dial is under way or a link stands.
BUGS = {(state, LinkEvent.DIALLED) for state in (LinkState.DIALLING, LinkState.UP, LinkState.REFUSED)}


def link_in(state: LinkState) -> Link:
    return Link(state=state, session_epoch=9, dial_n=1, up_n=1, lost_utc=SECOND, due_utc=2 * SECOND)


def after(link: Link, event: LinkEvent, now: int = 5 * SECOND) -> Link | None:
    match event:
        case LinkEvent.DIALLED:
            return dialling.dial(link, RULES, 2, now)
        case LinkEvent.CONNECTED | LinkEvent.REFUSED:
            return dialling.connect(link, 1, is_right=event is LinkEvent.CONNECTED)
        case LinkEvent.FAILED:
            return dialling.fail(link, RULES, now)
        case LinkEvent.LOST | LinkEvent.CUT:
            return dialling.lose(link, RULES, 2, now, is_socket_up=event is LinkEvent.CUT, was_of_use=False)
        case LinkEvent.RESTORED:
            return dialling.restore(link)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(LinkState, LinkEvent)))
def test_every_pair_of_link_state_and_event_is_a_change_ignored_with_a_reason_or_a_bug(
    state: LinkState, event: LinkEvent
) -> None:
    assert LINKS.changes(state, event) + ((state, event) in LINKS.ignored) + ((state, event) in BUGS) == 1
    if (state, event) in BUGS:
        with pytest.raises(IllegalTransition):
            after(link_in(state), event)
        return
    link = after(link_in(state), event)
    assert (link is not None) is LINKS.changes(state, event)
    assert link is None or link.state is LINKS.transitions[state, event]


@given(st.lists(st.sampled_from([event for event in LinkEvent if event is not LinkEvent.DIALLED])))
def test_a_link_that_is_not_up_always_waits_for_something_and_in_the_end_is_dialled(events: list[LinkEvent]) -> None:
    link = dialling.dial(dialling.begin(1, 1, SECOND), RULES, 2, SECOND)
    for event in events:
        link = after(link, event) or link
        assert (link.due_utc is None) is (link.state in (LinkState.UP, LinkState.REFUSED))
    if link.due_utc is not None and link.state is not LinkState.DIALLING:
        link = dialling.end_wait(link, RULES, 2, link.due_utc) or link
        assert link.state is LinkState.DIALLING


def test_every_dial_has_a_new_epoch_and_an_unanswered_one_is_followed_by_a_pause() -> None:
    link = dialling.dial(dialling.begin(3, 1, 0), RULES, 1, 0)
    assert link.session_epoch == first_epoch(3, 1) + 1
    paused = dialling.end_wait(link, RULES, 1, 4 * SECOND)
    assert paused is not None
    assert (paused.state, paused.due_utc) == (LinkState.DOWN, 4 * SECOND + RULES.retry_fast_ms * MS)
    again = dialling.end_wait(paused, RULES, 1, 5 * SECOND)
    assert again is not None
    assert (again.state, again.session_epoch) == (LinkState.DIALLING, first_epoch(3, 1) + 2)


def test_link_that_stands_is_not_given_up_by_an_old_wait() -> None:
    assert dialling.end_wait(link_in(LinkState.UP), RULES, 2, 5 * SECOND) is None


@pytest.mark.parametrize("was_of_use", [True, False])
def test_outage_begins_with_the_loss_of_a_session_that_was_of_use(was_of_use: bool) -> None:
    lost = dialling.lose(link_in(LinkState.UP), RULES, 2, 5 * SECOND, was_of_use=was_of_use)
    assert lost is not None
    assert lost.lost_utc == (5 if was_of_use else 1) * SECOND


def test_gateway_that_cuts_its_own_link_has_the_failover_time_to_come_back() -> None:
    cut = dialling.lose(link_in(LinkState.UP), RULES, 2, 5 * SECOND, is_socket_up=True, was_of_use=True)
    assert cut is not None
    assert (cut.state, cut.due_utc) == (LinkState.CUT, 5 * SECOND + FAILOVER)
    back = dialling.restore(cut)
    assert back is not None
    assert (back.is_up, back.due_utc, back.session_epoch) == (True, None, 9)


def test_gateway_that_was_up_last_is_dialled_first_and_the_next_one_only_in_time_or_when_asked_for() -> None:
    link = link_in(LinkState.DOWN)
    assert dialling.dial(link, RULES, 2, 2 * SECOND).dial_n == 1
    assert dialling.dial(link, RULES, 2, SECOND + FAILOVER).dial_n == 0
    assert dialling.dial_next_gateway(link, RULES, 2, 2 * SECOND).dial_n == 0


def test_dials_are_fast_at_first_then_slow_and_a_client_id_in_use_has_its_own_pause() -> None:
    assert redial_utc(RULES, 0, 29 * SECOND, False) == 29 * SECOND + SECOND // 2
    assert redial_utc(RULES, 0, 30 * SECOND, False) == 35 * SECOND
    assert redial_utc(RULES, 0, SECOND, True) == SECOND + RULES.client_id_retry_ms * MS


def test_next_gateway_is_tried_after_the_failover_time_and_then_the_first_again() -> None:
    tried = [gateway_of(RULES, 0, at * SECOND, 0, 2) for at in (0, 29, 30, 59, 60)]
    assert tried == [0, 0, 1, 1, 0]
    assert gateway_of(RULES, 0, 10**15, 0, 1) == 0


def test_epochs_of_runs_and_incarnations_never_meet() -> None:
    assert first_epoch(3, 1) == 3 << 36
    assert first_epoch(3, 2) - first_epoch(3, 1) > 4_000_000
    assert first_epoch(4, 1) > first_epoch(3, 16_000)
