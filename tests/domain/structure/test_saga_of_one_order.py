"""A structure whose legs go out as one order: both take part first, and what it leaves goes leg by leg."""

from __future__ import annotations

from typing import Final

import pytest
from msgspec.structs import replace

from domain.position.cycle import ExitReason
from domain.structure.saga import (
    AS_ONE,
    EntryPart,
    Leg,
    Saga,
    SagaEvent,
    SagaState,
    Wish,
    advance,
    entry_asked,
    leaving,
    leaving_as_one,
    moved,
    wishes,
)
from domain.units import Qty

S = SagaState
NEW: Final = Saga(cover=Leg(Qty(2)), short=Leg(Qty(2)), ratio=1, is_combo=True)


def told(saga: Saga, leg: str, **changes: object) -> Saga:
    """Return the structure with changed facts of a leg, brought to them."""
    return advance(replace(saga, **{leg: replace(getattr(saga, leg), **changes)}))


def joined(saga: Saga) -> Saga:
    """Return the structure once both legs take part in the order."""
    return told(told(saga, "cover", is_joint=True), "short", is_joint=True)


def sent(saga: Saga) -> Saga:
    return replace(joined(saga), is_sent=True)


def over(saga: Saga, cover: int, short: int) -> Saga:
    """Return the structure once an entry for both is over, with so much held of each."""
    for leg, qty in (("cover", cover), ("short", short)):
        saga = told(
            saga, leg, held=Qty(qty), was_held=qty > 0, entry=EntryPart.OVER, is_flat=qty == 0, is_joint=False
        )  # fmt: skip
    return saga


def held() -> Saga:
    return over(sent(entry_asked(NEW)), 2, 2)


def leaving_now() -> Saga:
    """Return a structure whose exit as one was sent."""
    return sent(replace(leaving_as_one(held(), ExitReason.POSITION_LOSS), has_asked=True))


# -- in ---------------------------------------------------------------------------------------------


def test_both_legs_are_asked_first_and_the_order_is_sent_when_both_take_part() -> None:
    assert wishes(NEW) == (Wish.JOIN_ENTRY,)
    asked = entry_asked(NEW)
    assert (asked.state, wishes(asked)) == (S.ENTERING, ())
    assert wishes(told(asked, "cover", is_joint=True)) == ()
    assert wishes(joined(asked)) == (Wish.SEND_ENTRY,)
    assert wishes(sent(asked)) == ()


def test_a_whole_fill_is_held_and_none_ends_it() -> None:
    assert (held().state, wishes(held())) == (S.HELD, ())
    none = over(sent(entry_asked(NEW)), 0, 0)
    assert (none.state, none.reason) == (S.ABANDONED, None)


@pytest.mark.parametrize(("cover", "short"), [(1, 1), (2, 1), (0, 2), (1, 2)])
def test_a_part_is_closed_leg_by_leg_the_shorts_first(cover: int, short: int) -> None:
    out = over(sent(entry_asked(NEW)), cover, short)
    assert (out.state, out.reason, wishes(out)) == (S.BUYING_BACK, ExitReason.UNWIND, (Wish.CLOSE_SHORT,))


def test_a_cover_without_shorts_is_sold() -> None:
    out = over(sent(entry_asked(NEW)), 2, 0)
    assert (out.state, wishes(out)) == (S.RELEASING, (Wish.FREE_COVER, Wish.CLOSE_COVER))


@pytest.mark.parametrize("leg", ["cover", "short"])
def test_where_a_leg_does_not_take_part_nothing_is_sent_and_the_other_is_given_up(leg: str) -> None:
    other = "short" if leg == "cover" else "cover"
    out = told(told(entry_asked(NEW), other, is_joint=True), leg, entry=EntryPart.OVER, is_flat=True)
    assert out.state in (S.BUYING_BACK, S.RELEASING)
    assert not {Wish.SEND_ENTRY, Wish.JOIN_ENTRY} & set(wishes(out))
    assert (Wish.CLOSE_SHORT if other == "short" else Wish.CLOSE_COVER) in wishes(out)
    assert told(out, other, entry=EntryPart.OVER, is_flat=True, is_joint=False).state is S.ABANDONED


def test_an_exit_that_is_wanted_meanwhile_takes_the_entry_back() -> None:
    out = leaving(sent(entry_asked(NEW)), ExitReason.KILL)
    assert (out.state, wishes(out)) == (S.BUYING_BACK, (Wish.CLOSE_SHORT,))
    assert over(out, 0, 0).state is S.ABANDONED


@pytest.mark.parametrize("leg", ["cover", "short"])
def test_a_leg_that_leaves_by_itself_takes_the_entry_back(leg: str) -> None:
    out = told(sent(entry_asked(NEW)), leg, is_leaving=True)
    assert (out.state, out.reason) == (S.BUYING_BACK, ExitReason.UNWIND)


def test_where_neither_leg_takes_part_it_ends_without_a_reason() -> None:
    asked = entry_asked(NEW)
    gone = replace(asked.cover, entry=EntryPart.OVER, is_flat=True)
    out = advance(replace(asked, cover=gone, short=gone))
    assert (out.state, out.reason) == (S.ABANDONED, None)


# -- out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", list(ExitReason))
def test_only_what_is_not_urgent_leaves_as_one(reason: ExitReason) -> None:
    out = leaving_as_one(held(), reason)
    assert out.state is (S.LEAVING if reason in AS_ONE else S.BUYING_BACK)
    assert out.reason is reason
    assert leaving_as_one(replace(held(), is_combo=False), reason).state is S.BUYING_BACK
    for leg in ("cover", "short"):  # what is not whole goes leg by leg, too
        part = replace(held(), **{leg: replace(getattr(held(), leg), held=Qty(1))})
        assert leaving_as_one(part, reason).state is S.BUYING_BACK
    assert not {ExitReason.KILL, ExitReason.EOD, ExitReason.OPERATOR, ExitReason.BLIND} & AS_ONE


def test_an_exit_as_one_asks_both_legs_and_is_sent_when_both_take_part() -> None:
    out = leaving_as_one(held(), ExitReason.POSITION_LOSS)
    assert wishes(out) == (Wish.JOIN_EXIT,)
    out = replace(out, has_asked=True)
    assert wishes(out) == ()
    assert wishes(joined(out)) == (Wish.SEND_EXIT,)
    assert wishes(leaving_now()) == ()


def test_a_whole_exit_ends_it_once_both_are_flat() -> None:
    out = leaving_now()
    for leg in ("cover", "short"):
        out = told(out, leg, held=Qty(0), is_joint=False)
    assert out.state is S.LEAVING  # the broker has not agreed yet
    out = told(out, "cover", is_flat=True)
    assert out.state is S.LEAVING
    assert told(out, "short", is_flat=True).state is S.CLOSED


@pytest.mark.parametrize(("cover", "short"), [(2, 2), (1, 1), (1, 0), (0, 1)])
def test_what_an_exit_leaves_goes_leg_by_leg(cover: int, short: int) -> None:
    out = leaving_now()
    out = told(out, "cover", held=Qty(cover), is_joint=False)
    assert out.state is S.LEAVING  # the other says the same in a moment
    out = told(out, "short", held=Qty(short), is_joint=False)
    assert (out.state, out.reason, wishes(out)) == (S.BUYING_BACK, ExitReason.POSITION_LOSS, (Wish.CLOSE_SHORT,))


def test_a_wait_that_is_over_goes_leg_by_leg() -> None:
    for out in (leaving_as_one(held(), ExitReason.POSITION_LOSS), leaving_now()):
        assert leaving(out, ExitReason.POSITION_LOSS).state is S.BUYING_BACK


@pytest.mark.parametrize("leg", ["cover", "short"])
def test_a_leg_that_leaves_by_itself_ends_the_exit_as_one(leg: str) -> None:
    assert told(leaving_now(), leg, is_leaving=True).state is S.BUYING_BACK


@pytest.mark.parametrize("saga", [entry_asked(NEW), leaving_now()])
def test_what_is_held_at_the_close_settles(saga: Saga) -> None:
    assert moved(saga, SagaEvent.SESSION_CLOSED).state is S.SETTLING
