"""A structure of two pairs, opened as one order: all legs take part, and it leaves side by side, the shorts first."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from domain.position.cycle import ExitReason
from domain.structure.saga import (
    EntryPart,
    Leg,
    Pair,
    Saga,
    SagaEvent,
    SagaState,
    Wish,
    advance,
    entry_asked,
    is_to_free,
    is_to_leave,
    leaving,
    leaving_as_one,
    moved,
    wishes,
    with_legs,
)
from domain.units import Qty

S = SagaState
CALL_COVER, CALL_SHORT, PUT_COVER, PUT_SHORT = ALL = range(4)
COVERS, SHORTS = (CALL_COVER, PUT_COVER), (CALL_SHORT, PUT_SHORT)
TWO: Final = Leg(Qty(2))
NEW: Final = Saga(cover=TWO, short=TWO, ratio=1, is_combo=True, further=(Pair(TWO, TWO),))


def told(saga: Saga, *which: int, **changes: Any) -> Saga:
    """Return the structure with changed facts of legs, brought to them."""
    legs = [replace(leg, **changes) if n in which else leg for n, leg in enumerate(saga.legs)]
    return advance(with_legs(saga, legs))


def sent(saga: Saga) -> Saga:
    return replace(told(saga, *ALL, is_joint=True), is_sent=True)


def over(saga: Saga, *held: int) -> Saga:
    """Return the structure once an entry for all is over, with so much held of each."""
    legs = [
        replace(
            leg, held=Qty(qty), was_held=qty > 0, entry=EntryPart.OVER, is_flat=qty == 0, is_joint=False
        ) for leg, qty in zip(saga.legs, held, strict=True)
    ]  # fmt: skip
    return advance(with_legs(saga, legs))


def held() -> Saga:
    return over(sent(entry_asked(NEW)), 2, 2, 2, 2)


def leaving_now() -> Saga:
    return sent(replace(leaving_as_one(held(), ExitReason.POSITION_LOSS), has_asked=True))


# -- in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ALL)
def test_the_order_is_sent_only_when_every_leg_takes_part(last: int) -> None:
    asked = entry_asked(NEW)
    others = told(asked, *(n for n in ALL if n != last), is_joint=True)
    assert wishes(others) == ()
    assert wishes(told(others, last, is_joint=True)) == (Wish.SEND_ENTRY,)


def test_a_whole_fill_is_held_and_none_ends_it() -> None:
    assert (held().state, wishes(held())) == (S.HELD, ())
    assert over(sent(entry_asked(NEW)), 0, 0, 0, 0).state is S.ABANDONED


@pytest.mark.parametrize("filled", [(1, 1, 1, 1), (2, 2, 2, 1), (2, 2, 1, 2), (0, 0, 2, 2), (2, 2, 0, 0), (2, 1, 2, 2)])
def test_a_part_is_closed_leg_by_leg_all_shorts_first(filled: tuple[int, ...]) -> None:
    out = over(sent(entry_asked(NEW)), *filled)
    assert (out.state, out.reason, wishes(out)) == (S.BUYING_BACK, ExitReason.UNWIND, (Wish.CLOSE_SHORT,))
    assert [is_to_leave(leg) for leg in out.shorts] == [filled[n] > 0 for n in SHORTS]


def test_where_it_cannot_be_one_order_nothing_is_opened() -> None:
    out = advance(replace(NEW, is_combo=False))
    assert (out.state, wishes(out)) == (S.ABANDONED, ())


@pytest.mark.parametrize("n", ALL)
def test_where_a_leg_does_not_take_part_the_others_are_given_up(n: int) -> None:
    out = told(
        told(entry_asked(NEW), *(m for m in ALL if m != n), is_joint=True), n, entry=EntryPart.OVER, is_flat=True
    )
    assert out.state in (S.BUYING_BACK, S.RELEASING)
    assert Wish.SEND_ENTRY not in wishes(out)
    assert over(out, 0, 0, 0, 0).state is S.ABANDONED


# -- out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", ALL)
@pytest.mark.parametrize("change", [{"is_leaving": True}, {"held": Qty(0), "is_flat": True}])
def test_a_leg_that_leaves_or_is_gone_takes_all_the_others_along(n: int, change: dict[str, Any]) -> None:
    out = told(held(), n, **change)
    assert out.state is S.BUYING_BACK
    assert [is_to_leave(leg) for m, leg in enumerate(out.legs) if m in SHORTS and m != n] == [True] * (
        2 - (n in SHORTS)
    )


def test_no_cover_is_free_while_a_short_of_the_other_pair_is_held() -> None:
    out = told(leaving(held(), ExitReason.KILL), *SHORTS, is_leaving=True)
    for gone, left in ((CALL_SHORT, PUT_SHORT), (PUT_SHORT, CALL_SHORT)):
        part = told(out, gone, held=Qty(0), is_flat=True)
        assert (part.state, wishes(part)) == (S.BUYING_BACK, ())
        done = told(part, left, held=Qty(0), is_flat=True)
        assert (done.state, wishes(done)) == (S.RELEASING, (Wish.FREE_COVER, Wish.CLOSE_COVER))
        assert [is_to_free(leg) for leg in done.covers] == [True, True]


@pytest.mark.parametrize("n", COVERS)
def test_one_free_cover_is_held_back_when_a_short_is_reported_late(n: int) -> None:
    freed = told(told(leaving(held(), ExitReason.KILL), *SHORTS, held=Qty(0), is_flat=True), n, is_free=True)
    late = told(freed, PUT_SHORT, held=Qty(1), is_flat=False)
    assert (late.state, wishes(late)) == (S.BUYING_BACK, (Wish.HOLD_COVER, Wish.CLOSE_SHORT))


@pytest.mark.parametrize("n", COVERS)
def test_a_cover_that_was_started_again_is_freed_though_the_other_is_free_already(n: int) -> None:
    done = told(told(leaving(held(), ExitReason.KILL), *SHORTS, held=Qty(0), is_flat=True), *COVERS, is_leaving=True)
    assert wishes(told(done, *COVERS, is_free=True)) == ()
    assert wishes(told(done, n, is_free=True)) == (Wish.FREE_COVER,)


@pytest.mark.parametrize("n", ALL)
def test_where_one_leg_alone_was_held_it_comes_to_a_close(n: int) -> None:
    """Something filled, so that there is a result."""
    out = over(sent(entry_asked(NEW)), *(2 if m == n else 0 for m in ALL))
    assert out.state is (S.BUYING_BACK if n in SHORTS else S.RELEASING)
    assert told(out, n, held=Qty(0), is_flat=True).state is S.CLOSED


def test_the_cover_of_one_pair_covers_none_of_the_other() -> None:
    out = told(held(), PUT_COVER, CALL_SHORT, held=Qty(0), is_flat=True)
    assert (out.uncovered_qty, out.state) == (2, S.BUYING_BACK)
    assert [pair.uncovered_qty(1) for pair in out.pairs] == [0, 2]


@pytest.mark.parametrize("n", ALL)
def test_an_exit_as_one_ends_it_once_every_leg_is_flat(n: int) -> None:
    out = told(leaving_now(), *ALL, held=Qty(0), is_joint=False)
    out = told(out, *(m for m in ALL if m != n), is_flat=True)
    assert out.state is S.LEAVING
    assert told(out, n, is_flat=True).state is S.CLOSED


@pytest.mark.parametrize("n", ALL)
def test_what_an_exit_as_one_leaves_of_any_leg_goes_leg_by_leg(n: int) -> None:
    out = told(leaving_now(), *(m for m in ALL if m != n), held=Qty(0), is_joint=False, is_flat=True)
    assert out.state is S.LEAVING  # this leg says the same in a moment
    out = told(out, n, is_joint=False)
    assert out.state in (S.BUYING_BACK, S.RELEASING)
    assert wishes(out)[-1] is (Wish.CLOSE_SHORT if n in SHORTS else Wish.CLOSE_COVER)


@pytest.mark.parametrize("n", ALL)
def test_what_is_not_whole_does_not_leave_as_one(n: int) -> None:
    legs = [replace(leg, held=Qty(1)) if m == n else leg for m, leg in enumerate(held().legs)]
    assert leaving_as_one(with_legs(held(), legs), ExitReason.POSITION_LOSS).state is S.BUYING_BACK


@pytest.mark.parametrize("n", ALL)
def test_what_is_held_at_the_close_settles_until_every_leg_is_over(n: int) -> None:
    out = moved(held(), SagaEvent.SESSION_CLOSED)
    out = told(out, *(m for m in ALL if m != n), held=Qty(0), is_flat=True)
    assert out.state is S.SETTLING
    assert told(out, n, held=Qty(0), is_flat=True).state is S.CLOSED


def test_a_part_of_a_cover_that_covers_all_that_was_sold_is_unwound_all_the_same() -> None:
    wide = Saga(cover=TWO, short=TWO, ratio=2, is_combo=True)
    out = over(sent(entry_asked(wide)), 1, 2)
    assert (out.state, out.uncovered_qty) == (S.BUYING_BACK, 0)


@pytest.mark.parametrize("n", ALL)
def test_a_fill_that_is_reported_after_the_end_is_closed_again(n: int) -> None:
    out = told(over(sent(entry_asked(NEW)), 0, 0, 0, 0), n, held=Qty(1), is_flat=False)
    assert out.state is (S.BUYING_BACK if n in SHORTS else S.RELEASING)


# -- any order of events ------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """One order of one pair or two, and orders of each leg, over a world that fills, refuses and reports late.

    The world keeps what the broker session keeps: no order of a leg works beside an exit for all, which is cancelled.
    """

    @initialize(qty=st.integers(1, 3), has_puts=st.booleans())
    def reserve(self, qty: int, has_puts: bool) -> None:
        leg = Leg(Qty(qty))
        self.saga = Saga(cover=leg, short=leg, ratio=1, is_combo=True, further=(Pair(leg, leg),) * has_puts)
        self.qty, self.n_legs = qty, len(self.saga.legs)
        self.held = [0] * self.n_legs
        self.was, self.leaves, self.joint, self.free = ([False] * self.n_legs for _ in range(4))
        self.entry = [EntryPart.UNSENT] * self.n_legs
        self.working, self.is_entry, self.sent_n, self.sold_beside_short = 0, True, 0, False
        self.carry_out()

    def carry_out(self) -> None:
        """Let the world do what the structure wishes."""
        for _ in range(6):
            wanted = wishes(self.saga)
            for wish in wanted:
                match wish:
                    case Wish.JOIN_ENTRY:
                        self.saga = entry_asked(self.saga)
                        self.entry, self.joint = [EntryPart.WORKING] * self.n_legs, [True] * self.n_legs
                    case Wish.SEND_ENTRY | Wish.SEND_EXIT:
                        self.saga = replace(self.saga, is_sent=True)
                        self.is_entry, self.sent_n = wish is Wish.SEND_ENTRY, self.sent_n + 1
                        if all(self.joint):
                            self.working = self.qty if self.is_entry else min(self.held)
                    case Wish.JOIN_EXIT:
                        self.saga = replace(self.saga, has_asked=True)
                        if not any(self.leaves):
                            self.joint = [True] * self.n_legs
                    case Wish.CLOSE_SHORT | Wish.CLOSE_COVER:
                        self.leave(SHORTS if wish is Wish.CLOSE_SHORT else COVERS)
                    case Wish.FREE_COVER | Wish.HOLD_COVER:
                        self.free = [n in COVERS and wish is Wish.FREE_COVER for n in range(self.n_legs)]
                        self.saga = told(self.saga, *COVERS, is_free=wish is Wish.FREE_COVER)
                    case _:
                        raise AssertionError(f"{wish} is no wish of one order")
            if not wanted:
                return

    def leave(self, side: tuple[int, ...]) -> None:
        legs = list(self.saga.legs)
        for n in side[: self.n_legs // 2]:
            if is_to_leave(legs[n]):
                self.leaves[n], legs[n] = True, replace(legs[n], is_leaving=True)
        self.saga = with_legs(self.saga, legs)

    @precondition(lambda self: self.working > 0)
    @rule(most=st.integers(1, 3))
    def the_order_fills(self, most: int) -> None:
        n = min(self.working, most)
        self.working -= n
        self.held = [qty + (n if self.is_entry else -n) for qty in self.held]
        self.was = [True] * self.n_legs
        if not self.working:
            self.the_order_ends()

    @rule()
    def the_order_ends(self) -> None:
        self.working, self.joint = 0, [False] * self.n_legs
        self.entry = [EntryPart.OVER if part is EntryPart.WORKING else part for part in self.entry]

    @rule(n=st.sampled_from(ALL))
    def a_leg_leaves_by_itself(self, n: int) -> None:
        if self.entry[n % self.n_legs] is not EntryPart.UNSENT:
            self.leaves[n % self.n_legs] = True

    @rule(n=st.sampled_from(SHORTS), most=st.integers(1, 3))
    def a_short_is_bought_back(self, n: int, most: int) -> None:
        n %= self.n_legs
        if self.leaves[n]:
            self.the_order_ends()  # the combination goes first
            self.held[n] -= min(self.held[n], most)

    @rule(n=st.sampled_from(COVERS), most=st.integers(1, 3))
    def a_cover_is_sold(self, n: int, most: int) -> None:
        n %= self.n_legs
        if self.leaves[n] and self.free[n]:
            self.the_order_ends()
            self.sold_beside_short |= self.held[n] > 0 and any(self.held[m] > 0 for m in SHORTS[: self.n_legs // 2])
            self.held[n] -= min(self.held[n], most)

    @rule(reason=st.sampled_from([ExitReason.KILL, ExitReason.TAKE_PROFIT, ExitReason.MAX_HOLD, ExitReason.UNWIND]))
    def an_exit_is_wanted(self, reason: ExitReason) -> None:
        self.saga = advance(leaving_as_one(self.saga, reason))
        self.carry_out()

    @rule(n=st.sampled_from(ALL))
    def a_leg_reports(self, n: int) -> None:
        n %= self.n_legs
        if self.entry[n] is EntryPart.UNSENT:
            return
        is_flat = self.held[n] == 0 and self.entry[n] is EntryPart.OVER and not self.joint[n]
        self.saga = told(
            self.saga, n, held=Qty(self.held[n]), was_held=self.was[n], entry=self.entry[n], is_flat=is_flat,
            is_leaving=self.leaves[n] and not is_flat, is_joint=self.joint[n],
        )  # fmt: skip
        self.carry_out()

    @invariant()
    def shorts_are_covered_by_their_own_pair(self) -> None:
        for cover, short in zip(self.held[::2], self.held[1::2], strict=True):
            assert short <= cover
        assert not self.sold_beside_short

    @invariant()
    def it_is_sent_once_each_way(self) -> None:
        assert self.sent_n <= 2

    def teardown(self) -> None:
        """Let everything that was wanted happen: whatever went before, all legs come home."""
        if not hasattr(self, "saga"):
            return
        self.saga = advance(leaving(self.saga, ExitReason.EOD))
        self.carry_out()
        for _ in range(12):
            self.the_order_ends()
            for n in SHORTS:
                self.a_short_is_bought_back(n, 3)
            for n in COVERS:
                self.a_cover_is_sold(n, 3)
            for n in ALL:
                self.a_leg_reports(n)
        assert self.saga.is_over
        assert set(self.held) == {0}


AnyOrder.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_no_more_of_a_leg_is_missing_at_the_broker_than_is_held_of_it() -> None:
    short = Leg(Qty(2), held=Qty(2))
    for held in (0, 1, 2):
        assert Pair(Leg(Qty(2), held=Qty(held), missing=Qty(held + 1)), short).bare_qty(1) == 2
    covered = Pair(Leg(Qty(2), held=Qty(2)), Leg(Qty(2), held=Qty(1), missing=Qty(3)))
    assert covered.bare_qty(1) == 0
