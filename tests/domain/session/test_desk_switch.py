"""The switch of a strategy from a desk to another, as a table and as the rules of when it must not begin."""

from __future__ import annotations

import itertools

import pytest

from domain.session.desk_switch import SWITCHES, SwitchEvent, SwitchRefused, SwitchState, refusal_of, switched


@pytest.mark.parametrize(("state", "event"), list(itertools.product(SwitchState, SwitchEvent)))
def test_every_pair_is_a_change_or_ignored_with_a_reason(state: SwitchState, event: SwitchEvent) -> None:
    after = SWITCHES.transitions.get((state, event))
    assert (after is not None) != ((state, event) in SWITCHES.ignored)
    assert SWITCHES.next(state, event) is (state if after is None else after)


def test_nothing_is_done_that_was_not_flat_twice_and_recorded() -> None:
    path = [SwitchState.HOLDING]
    for event in (SwitchEvent.ALL_FLAT, SwitchEvent.ALL_FLAT, SwitchEvent.RECORDED):
        path.append(SWITCHES.next(path[-1], event))
    assert path == [SwitchState.HOLDING, SwitchState.RECONCILING, SwitchState.RECORDING, SwitchState.DONE]
    assert [state for (state, _), after in SWITCHES.transitions.items() if after is SwitchState.DONE] == [
        SwitchState.RECORDING
    ]


@pytest.mark.parametrize(
    ("origin", "to", "trades", "code"),
    [
        ("a", "b", None, SwitchRefused.UNKNOWN_STRATEGY),
        ("a", "c", ("a",), SwitchRefused.NOT_ALLOWED),
        ("a", "b", ("a", "b"), SwitchRefused.THERE_ALREADY),
        ("b", "a", (), SwitchRefused.NOT_THERE),
        ("", "b", ("a",), SwitchRefused.NOT_THERE),
        ("a", "b", ("a",), None),
        ("", "b", (), None),
    ],
)
def test_a_switch_begins_only_where_it_can_end(
    origin: str, to: str, trades: tuple[str, ...] | None, code: SwitchRefused | None
) -> None:
    refusal = refusal_of("gexwatch", origin, to, trades, ("a", "b"))
    assert (None if refusal is None else refusal.code) is code
    assert refusal is None or ("\n" not in refusal.detail and refusal.detail.endswith("."))


def test_of_several_desks_the_one_that_is_left_must_be_named() -> None:
    refusal = refusal_of("gexwatch", "", "real", ("paper", "model"), ("paper", "model", "real"))
    assert refusal is not None
    assert refusal.code is SwitchRefused.NOT_THERE
    assert refusal.detail == (
        "gexwatch trades at paper and model: name the one that real takes the place of, as `--from paper`."
    )


def test_the_new_desk_takes_the_place_of_the_old_one() -> None:
    assert switched(("a", "c"), "a", "b") == ("b", "c")
    assert switched((), "", "b") == ("b",)
