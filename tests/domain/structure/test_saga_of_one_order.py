"""A structure whose legs go out as one order: both take part first, and what it leaves goes leg by leg."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
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


# -- any order of events ------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """One order, and orders of each leg, over a world that fills, refuses, cancels and reports late.

    The world keeps what the broker session keeps: no order of a leg works beside an exit for both, which is cancelled.
    """

    @initialize(qty=st.integers(1, 3))
    def reserve(self, qty: int) -> None:
        self.saga = Saga(cover=Leg(Qty(qty)), short=Leg(Qty(qty)), ratio=1, is_combo=True)
        self.qty, self.held = qty, {"cover": 0, "short": 0}
        self.was = {"cover": False, "short": False}
        self.entry = {"cover": EntryPart.UNSENT, "short": EntryPart.UNSENT}
        self.joint = {"cover": False, "short": False}
        self.leaves = {"cover": False, "short": False}
        self.is_free, self.working, self.is_entry, self.sent_n = False, 0, True, 0
        self.sold_beside_short = False
        self.carry_out()

    def carry_out(self) -> None:
        """Let the world do what the structure wishes."""
        for _ in range(6):
            wanted = wishes(self.saga)
            for wish in wanted:
                match wish:
                    case Wish.JOIN_ENTRY:
                        self.saga = entry_asked(self.saga)
                        self.entry = dict.fromkeys(self.entry, EntryPart.WORKING)
                        self.joint = dict.fromkeys(self.joint, True)
                    case Wish.SEND_ENTRY | Wish.SEND_EXIT:
                        self.saga = replace(self.saga, is_sent=True)
                        self.is_entry, self.sent_n = wish is Wish.SEND_ENTRY, self.sent_n + 1
                        if all(self.joint.values()):
                            self.working = self.qty if self.is_entry else min(self.held.values())
                    case Wish.JOIN_EXIT:
                        self.saga = replace(self.saga, has_asked=True)
                        if not any(self.leaves.values()):
                            self.joint = dict.fromkeys(self.joint, True)
                    case Wish.CLOSE_SHORT:
                        self.leave("short")
                    case Wish.CLOSE_COVER:
                        self.leave("cover")
                    case Wish.FREE_COVER | Wish.HOLD_COVER:
                        self.is_free = wish is Wish.FREE_COVER
                        self.saga = told(self.saga, "cover", is_free=self.is_free)
                    case _:
                        raise AssertionError(f"{wish} is no wish of one order")
            if not wanted:
                return

    def leave(self, leg: str) -> None:
        self.leaves[leg] = True
        self.saga = replace(self.saga, **{leg: replace(getattr(self.saga, leg), is_leaving=True)})

    @precondition(lambda self: self.working > 0)
    @rule(most=st.integers(1, 3))
    def the_order_fills(self, most: int) -> None:
        n = min(self.working, most)
        self.working -= n
        for leg in self.held:
            self.held[leg] += n if self.is_entry else -n
            self.was[leg] = True
        if not self.working:
            self.the_order_ends()

    @rule()
    def the_order_ends(self) -> None:
        self.working, self.joint = 0, dict.fromkeys(self.joint, False)
        self.entry = {leg: EntryPart.OVER if part is EntryPart.WORKING else part for leg, part in self.entry.items()}

    @rule(leg=st.sampled_from(["cover", "short"]), reason=st.sampled_from([ExitReason.KILL, ExitReason.EOD]))
    def a_leg_leaves_by_itself(self, leg: str, reason: ExitReason) -> None:
        if self.entry[leg] is not EntryPart.UNSENT:
            self.leaves[leg] = True

    @precondition(lambda self: self.leaves["short"])
    @rule(most=st.integers(1, 3))
    def the_short_is_bought_back(self, most: int) -> None:
        self.the_order_ends()  # the combination goes first
        self.held["short"] -= min(self.held["short"], most)

    @precondition(lambda self: self.leaves["cover"] and self.is_free)
    @rule(most=st.integers(1, 3))
    def the_cover_is_sold(self, most: int) -> None:
        self.the_order_ends()
        self.sold_beside_short |= self.held["cover"] > 0 and self.held["short"] > 0
        self.held["cover"] -= min(self.held["cover"], most)

    @rule(reason=st.sampled_from([ExitReason.KILL, ExitReason.POSITION_LOSS, ExitReason.UNWIND]))
    def an_exit_is_wanted(self, reason: ExitReason) -> None:
        self.saga = advance(leaving_as_one(self.saga, reason))
        self.carry_out()

    @rule(leg=st.sampled_from(["cover", "short"]))
    def a_leg_reports(self, leg: str) -> None:
        if self.entry[leg] is EntryPart.UNSENT:
            return
        is_flat = self.held[leg] == 0 and self.entry[leg] is EntryPart.OVER and not self.joint[leg]
        self.saga = told(
            self.saga, leg, held=Qty(self.held[leg]), was_held=self.was[leg], entry=self.entry[leg], is_flat=is_flat,
            is_leaving=self.leaves[leg] and not is_flat, is_joint=self.joint[leg],
        )  # fmt: skip
        self.carry_out()

    @invariant()
    def shorts_are_covered(self) -> None:
        assert self.held["short"] <= self.held["cover"]
        assert not self.sold_beside_short

    @invariant()
    def it_is_sent_once_each_way(self) -> None:
        assert self.sent_n <= 2

    def teardown(self) -> None:
        """Let everything that was wanted happen: whatever went before, both legs come home."""
        if not hasattr(self, "saga"):
            return
        self.saga = advance(leaving(self.saga, ExitReason.EOD))
        self.carry_out()
        for _ in range(12):
            self.the_order_ends()
            if self.leaves["short"]:
                self.the_short_is_bought_back(3)
            if self.leaves["cover"] and self.is_free:
                self.the_cover_is_sold(3)
            for leg in self.held:
                self.a_leg_reports(leg)
        assert self.saga.is_over
        assert set(self.held.values()) == {0}


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
