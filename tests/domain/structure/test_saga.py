"""The life of a covered structure: its table pair by pair, and what holds after every step of any order of events."""

from __future__ import annotations

from itertools import product
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from domain.position.cycle import ExitReason
from domain.structure.saga import (
    OVER,
    SAGA,
    EntryPart,
    Leg,
    Saga,
    SagaEvent,
    SagaState,
    Wish,
    advance,
    cover_sent,
    is_to_free,
    is_to_leave,
    leaving,
    moved,
    short_sent,
    wishes,
)
from domain.units import Qty

S, E = SagaState, SagaEvent
RATIO: Final = 10
NEW: Final = Saga(cover=Leg(Qty(1)), short=Leg(Qty(10)), ratio=RATIO)


def bought(saga: Saga, qty: int = 1) -> Saga:
    """Return the structure once its cover's entry is over with this much filled."""
    cover = replace(saga.cover, held=Qty(qty), was_held=qty > 0, entry=EntryPart.OVER, is_flat=qty == 0)
    return advance(replace(saga, cover=cover))


def sold(saga: Saga, qty: int = 10, entry: EntryPart = EntryPart.OVER) -> Saga:
    """Return the structure once this much of its shorts is sold."""
    return advance(replace(saga, short=replace(saga.short, held=Qty(qty), was_held=qty > 0, entry=entry)))


def short_gone(saga: Saga) -> Saga:
    """Return the structure once its shorts' life is over."""
    short = replace(saga.short, held=Qty(0), entry=EntryPart.OVER, is_flat=True, is_leaving=False)
    return advance(replace(saga, short=short))


def cover_gone(saga: Saga) -> Saga:
    """Return the structure once its cover's life is over."""
    cover = replace(saga.cover, held=Qty(0), entry=EntryPart.OVER, is_flat=True, is_leaving=False)
    return advance(replace(saga, cover=cover))


def held() -> Saga:
    """Return a structure with both legs as they were wanted."""
    return sold(short_sent(bought(cover_sent(NEW))))


# -- the table --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "event"), list(product(S, E)), ids=lambda value: value.value)
def test_every_event_is_known_in_every_state(state: SagaState, event: SagaEvent) -> None:
    after = SAGA.next(state, event)
    assert (after is state) or SAGA.changes(state, event)
    if (state, event) in SAGA.ignored:
        assert SAGA.ignored[state, event]


def test_only_a_late_fill_leads_out_of_an_end() -> None:
    out = {(state, event) for (state, event), after in SAGA.transitions.items() if state in OVER}
    assert out == set(product(OVER, (E.SHORT_FOUND, E.COVER_FOUND)))


@pytest.mark.parametrize("state", [state for state in S if state not in OVER], ids=lambda state: state.value)
def test_every_live_state_can_come_to_an_end(state: SagaState) -> None:
    reached, known = {state}, set[SagaState]()
    while reached - known:
        known |= reached
        reached |= {after for (before, _), after in SAGA.transitions.items() if before in known}
    assert reached & OVER


def test_nothing_is_sold_in_a_state_that_comes_before_the_cover() -> None:
    selling = [before for (before, event), after in SAGA.transitions.items() if after is S.SELLING]
    assert selling == [S.BUYING_COVER]
    held_after = {before for (before, _), after in SAGA.transitions.items() if after is S.HELD}
    assert held_after == {S.SELLING, S.ENTERING}


def test_the_cover_is_let_go_only_from_states_without_a_short() -> None:
    before = {before for (before, _), after in SAGA.transitions.items() if after is S.RELEASING}
    assert before == {S.RESERVED, S.BUYING_COVER, S.BUYING_BACK, S.CLOSED, S.ABANDONED}
    assert SAGA.transitions[S.BUYING_BACK, E.SHORTS_GONE] is S.RELEASING


def test_a_short_is_bought_back_from_wherever_it_is_found() -> None:
    found = {state: SAGA.next(state, E.SHORT_FOUND) for state in S if SAGA.changes(state, E.SHORT_FOUND)}
    assert found == dict.fromkeys((S.RESERVED, S.BUYING_COVER, S.RELEASING, S.CLOSED, S.ABANDONED), S.BUYING_BACK)


def test_at_the_close_whatever_was_sent_settles_and_what_was_not_is_abandoned() -> None:
    closed = {state: SAGA.next(state, E.SESSION_CLOSED) for state in S if state not in OVER}
    assert closed == {**dict.fromkeys(closed, S.SETTLING), S.RESERVED: S.ABANDONED}


def test_an_entry_of_which_nothing_filled_is_abandoned() -> None:
    failed = {state: SAGA.next(state, E.COVER_FAILED) for state in S if SAGA.changes(state, E.COVER_FAILED)}
    before = (S.RESERVED, S.BUYING_COVER, S.ENTERING, S.BUYING_BACK, S.RELEASING, S.SETTLING)
    assert failed == dict.fromkeys(before, S.ABANDONED)


# -- the plain life -----------------------------------------------------------------------------------


def test_of_a_new_structure_nothing_was_sent_asked_or_held() -> None:
    def leg(qty: int) -> Leg:
        return Leg(
            Qty(qty), ordered=Qty(0), held=Qty(0), was_held=False, entry=EntryPart.UNSENT, is_flat=False,
            is_leaving=False, is_free=False, is_clear=False, is_joint=False,
        )  # fmt: skip

    assert Saga(
        cover=leg(1), short=leg(10), ratio=RATIO, state=S.RESERVED, reason=None, is_combo=False, has_asked=False,
        is_sent=False, further=(),
    ) == NEW  # fmt: skip


def test_the_cover_is_bought_before_anything_is_sold() -> None:
    assert wishes(NEW) == (Wish.OPEN_COVER,)
    buying = cover_sent(NEW)
    assert wishes(buying) == ()
    selling = bought(buying)
    assert selling.state is S.SELLING
    assert wishes(selling) == (Wish.OPEN_SHORT,)
    assert short_sent(selling).short.ordered == 10


def test_an_order_of_the_cover_that_works_is_waited_for() -> None:
    assert advance(cover_sent(NEW)).state is S.BUYING_COVER


@pytest.mark.parametrize(
    ("leg", "may_be"),
    [
        (Leg(Qty(1)), False),
        (Leg(Qty(1), held=Qty(1), is_flat=True), True),
        (Leg(Qty(1), entry=EntryPart.WORKING, is_flat=True), True),
        (Leg(Qty(1), ordered=Qty(1), entry=EntryPart.OVER), True),
        (Leg(Qty(1), ordered=Qty(1), entry=EntryPart.OVER, is_flat=True), False),
    ],
)
def test_a_leg_may_be_held_until_the_broker_agrees_that_it_is_gone(leg: Leg, may_be: bool) -> None:
    assert leg.may_be_held is may_be
    for is_told in (False, True):
        assert is_to_free(replace(leg, is_free=is_told)) is (may_be and not is_told)
        assert is_to_leave(replace(leg, is_leaving=is_told)) is (may_be and not is_told)


def test_a_held_structure_wants_nothing() -> None:
    assert held().state is S.HELD
    assert wishes(held()) == ()


@pytest.mark.parametrize("reason", [ExitReason.ASSIGNMENT_RISK, ExitReason.POSITION_LOSS, ExitReason.EOD])
def test_the_shorts_are_bought_back_before_the_cover_is_free(reason: ExitReason) -> None:
    out = leaving(held(), reason)
    assert (out.state, out.reason) == (S.BUYING_BACK, reason)
    assert wishes(out) == (Wish.CLOSE_SHORT,)
    out = advance(replace(out, short=replace(out.short, is_leaving=True, held=Qty(4))))
    assert wishes(out) == ()
    out = advance(replace(out, short=replace(out.short, held=Qty(0))))
    assert out.state is S.BUYING_BACK  # the broker has not agreed yet
    out = short_gone(out)
    assert out.state is S.RELEASING
    assert wishes(out) == (Wish.FREE_COVER, Wish.CLOSE_COVER)
    assert cover_gone(out).state is S.CLOSED


def test_shorts_that_are_clear_at_the_broker_let_the_cover_go_though_somebody_else_holds_the_contract() -> None:
    out = leaving(held(), ExitReason.EOD)
    gone = replace(out.short, held=Qty(0), is_leaving=True)
    assert advance(replace(out, short=gone)).state is S.BUYING_BACK
    out = advance(replace(out, short=replace(gone, is_clear=True)))
    assert (out.state, wishes(out)) == (S.RELEASING, (Wish.FREE_COVER, Wish.CLOSE_COVER))
    assert cover_gone(out).state is S.RELEASING  # the short leg is not flat: a person is asked for
    assert short_gone(cover_gone(out)).state is S.CLOSED


def test_shorts_of_which_more_was_bought_back_than_sold_let_the_cover_go_once_they_are_clear() -> None:
    out = leaving(held(), ExitReason.KILL)
    over = replace(out.short, held=Qty(-2), is_leaving=True)
    assert advance(replace(out, short=over)).state is S.BUYING_BACK
    out = advance(replace(out, short=replace(over, is_clear=True)))
    assert (out.state, wishes(out)) == (S.RELEASING, (Wish.FREE_COVER, Wish.CLOSE_COVER))
    assert cover_gone(out).state is S.RELEASING  # the short leg is in dispute: a person is asked for


def test_a_clear_word_does_not_outweigh_an_entry_that_works() -> None:
    out = leaving(sold(short_sent(bought(cover_sent(NEW))), 0, EntryPart.WORKING), ExitReason.EOD)
    out = replace(out, short=replace(out.short, is_clear=True))
    assert advance(out).state is S.BUYING_BACK


@pytest.mark.parametrize("qty", [1, 2])
def test_a_clear_word_does_not_outweigh_a_short_that_executions_say_is_held(qty: int) -> None:
    out = leaving(held(), ExitReason.EOD)
    out = replace(out, short=replace(out.short, held=Qty(qty), is_leaving=True, is_clear=True))
    assert advance(out).state is S.BUYING_BACK


def test_a_graver_reason_takes_the_place_of_a_lesser_one() -> None:
    out = leaving(leaving(held(), ExitReason.POSITION_LOSS), ExitReason.KILL)
    assert out.reason is ExitReason.KILL
    assert leaving(out, ExitReason.POSITION_LOSS).reason is ExitReason.KILL


def test_of_reasons_that_are_as_grave_the_first_stays() -> None:
    out = leaving(leaving(held(), ExitReason.POSITION_LOSS), ExitReason.ASSIGNMENT_RISK)
    assert out.reason is ExitReason.POSITION_LOSS


# -- what goes wrong ------------------------------------------------------------------------------------


def test_a_cover_that_does_not_fill_ends_it_before_a_short_exists() -> None:
    ended = bought(cover_sent(NEW), 0)
    assert (ended.state, ended.reason) == (S.ABANDONED, None)


def test_shorts_that_do_not_fill_in_time_are_unwound() -> None:
    out = short_gone(short_sent(bought(cover_sent(NEW))))
    assert (out.state, out.reason) == (S.RELEASING, ExitReason.UNWIND)
    assert wishes(out) == (Wish.FREE_COVER, Wish.CLOSE_COVER)


def test_shorts_that_fill_in_part_are_bought_back_before_the_cover_goes() -> None:
    out = sold(short_sent(bought(cover_sent(NEW))), 4)
    assert (out.state, out.reason) == (S.BUYING_BACK, ExitReason.UNWIND)
    assert wishes(out) == (Wish.CLOSE_SHORT,)


def test_a_working_entry_of_shorts_keeps_the_cover() -> None:
    out = leaving(sold(short_sent(bought(cover_sent(NEW))), 0, EntryPart.WORKING), ExitReason.KILL)
    assert out.state is S.BUYING_BACK  # it may still fill
    assert advance(out).state is S.BUYING_BACK
    assert wishes(out) == (Wish.CLOSE_SHORT,)


def test_half_a_cover_covers_half_the_shorts() -> None:
    two = Saga(cover=Leg(Qty(2)), short=Leg(Qty(20)), ratio=RATIO)
    assert bought(cover_sent(two), 1).sellable_qty == 10


def test_the_whole_cover_covers_all_that_the_plan_sells() -> None:
    two = Saga(cover=Leg(Qty(2)), short=Leg(Qty(20)), ratio=RATIO)
    assert short_sent(bought(cover_sent(two), 2)).short.ordered == 20
    single = Saga(cover=Leg(Qty(1)), short=Leg(Qty(1)), ratio=RATIO)
    assert wishes(bought(cover_sent(single))) == (Wish.OPEN_SHORT,)


def test_a_cover_that_may_be_sold_covers_nothing() -> None:
    selling = bought(cover_sent(NEW))
    free = replace(selling, cover=replace(selling.cover, is_free=True))
    assert (free.covered_qty, free.sellable_qty, wishes(free)) == (0, 0, ())
    assert advance(free).state is S.RELEASING


def test_a_cover_that_goes_while_its_shorts_are_on_sale_takes_them_off() -> None:
    selling = sold(short_sent(bought(cover_sent(NEW))), 0, EntryPart.WORKING)
    gone = cover_gone(selling)
    assert (gone.state, gone.reason, wishes(gone)) == (S.BUYING_BACK, ExitReason.UNWIND, (Wish.CLOSE_SHORT,))


def test_a_short_that_is_held_before_the_cover_is_bought_back() -> None:
    buying = cover_sent(NEW)
    late = advance(replace(buying, short=replace(buying.short, held=Qty(1), was_held=True)))
    assert (late.state, wishes(late)) == (S.BUYING_BACK, (Wish.CLOSE_SHORT,))


@pytest.mark.parametrize("leg", ["cover", "short"])
def test_a_leg_that_leaves_while_shorts_are_sold_ends_the_sale(leg: str) -> None:
    selling = sold(short_sent(bought(cover_sent(NEW))), 4, EntryPart.WORKING)
    out = advance(replace(selling, **{leg: replace(getattr(selling, leg), is_leaving=True)}))
    assert out.state is S.BUYING_BACK


@pytest.mark.parametrize(("left", "state"), [(2, S.HELD), (1, S.BUYING_BACK)])
def test_one_contract_less_of_the_cover_than_the_shorts_need_takes_them_home(left: int, state: SagaState) -> None:
    even = Saga(cover=Leg(Qty(2)), short=Leg(Qty(2)), ratio=1)
    whole = sold(short_sent(bought(cover_sent(even), 2)), 2)
    assert advance(replace(whole, cover=replace(whole.cover, held=Qty(left)))).state is state


def test_shorts_that_a_plan_wants_beyond_the_ratio_are_not_sold() -> None:
    greedy = Saga(cover=Leg(Qty(1)), short=Leg(Qty(15)), ratio=RATIO)
    assert bought(cover_sent(greedy)).sellable_qty == 10


def test_a_cover_too_small_for_one_short_is_unwound() -> None:
    odd = Saga(cover=Leg(Qty(3)), short=Leg(Qty(1)), ratio=RATIO)
    out = bought(cover_sent(odd), 1)
    assert (out.state, out.reason) == (S.RELEASING, ExitReason.UNWIND)  # no short was ever ordered


def test_a_cover_that_somebody_else_sold_brings_the_shorts_home() -> None:
    out = cover_gone(held())
    assert (out.state, out.uncovered_qty) == (S.BUYING_BACK, 10)
    assert wishes(out) == (Wish.CLOSE_SHORT,)
    assert short_gone(out).state is S.CLOSED


def test_a_leg_that_leaves_by_itself_takes_the_other_along() -> None:
    for leg in ("cover", "short"):
        saga = held()
        out = advance(replace(saga, **{leg: replace(getattr(saga, leg), is_leaving=True)}))
        assert out.state is S.BUYING_BACK


def test_a_short_reported_late_takes_the_cover_back() -> None:
    free = replace(short_gone(leaving(held(), ExitReason.EOD)), cover=replace(held().cover, is_free=True))
    late = advance(replace(free, short=replace(free.short, held=Qty(2), is_flat=False)))
    assert late.state is S.BUYING_BACK
    assert wishes(late) == (Wish.HOLD_COVER, Wish.CLOSE_SHORT)


def test_a_fill_after_the_end_is_closed() -> None:
    over = bought(cover_sent(NEW), 0)
    late = advance(replace(over, cover=replace(over.cover, held=Qty(1), was_held=True, is_flat=False)))
    assert (late.state, late.reason) == (S.RELEASING, ExitReason.UNWIND)


def test_where_nothing_ever_filled_there_is_no_result() -> None:
    """Of a structure that was started again before its entry came."""
    asked = replace(held(), cover=Leg(Qty(1), Qty(1), entry=EntryPart.WORKING))
    asked = replace(asked, short=Leg(Qty(10), Qty(10), entry=EntryPart.WORKING))
    out = cover_gone(leaving(asked, ExitReason.UNWIND))
    assert (out.state, short_gone(out).state) == (S.BUYING_BACK, S.ABANDONED)


def test_an_exit_before_the_cover_filled_ends_without_a_trade() -> None:
    out = leaving(cover_sent(NEW), ExitReason.KILL)
    assert wishes(out) == (Wish.FREE_COVER, Wish.CLOSE_COVER)
    assert cover_gone(out).state is S.ABANDONED


@pytest.mark.parametrize("saga", [held(), leaving(held(), ExitReason.EOD), bought(cover_sent(NEW))])
def test_what_is_held_at_the_close_settles_leg_by_leg(saga: Saga) -> None:
    settling = moved(saga, E.SESSION_CLOSED)
    assert (settling.state, wishes(settling)) == (S.SETTLING, ())
    assert leaving(settling, ExitReason.KILL) == settling
    assert cover_gone(short_gone(settling)).state is S.CLOSED


# -- any order of events --------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """A structure over a world that fills, refuses, times out and reports late; `world_*` is the broker's truth.

    Reports reach the structure only when a rule tells them, so its view is older than the truth by any number of steps.
    """

    @initialize(covers=st.integers(1, 3), per_cover=st.integers(1, 14))
    def reserve(self, covers: int, per_cover: int) -> None:
        self.saga = Saga(cover=Leg(Qty(covers)), short=Leg(Qty(covers * per_cover)), ratio=RATIO)
        self.cover_held = self.cover_working = self.short_held = self.short_working = 0
        self.is_cover_free = self.is_cover_leaving = self.is_short_leaving = False
        self.cover_sent = self.short_sent = False
        self.was_cover = self.was_short = False
        self.sold_cover_beside_short = False
        self.carry_out()

    def carry_out(self) -> None:
        """Let the world do what the structure wishes; what a leg is told reaches it at once, what it does is a rule."""
        for _ in range(5):
            wanted = wishes(self.saga)
            for wish in wanted:
                match wish:
                    case Wish.OPEN_COVER:
                        self.saga = cover_sent(self.saga)
                        self.cover_working, self.cover_sent = self.saga.cover.ordered, True
                    case Wish.OPEN_SHORT:
                        if not self.permitted:
                            self.saga = advance(leaving(self.saga, ExitReason.UNWIND))
                            break
                        self.saga = short_sent(self.saga)
                        self.short_working, self.short_sent = self.saga.short.ordered, True
                    case Wish.CLOSE_SHORT:
                        self.is_short_leaving, self.saga = True, self.told("short", is_leaving=True)
                    case Wish.HOLD_COVER:
                        self.is_cover_free, self.saga = False, self.told("cover", is_free=False)
                    case Wish.FREE_COVER:
                        self.is_cover_free, self.saga = True, self.told("cover", is_free=True)
                    case Wish.CLOSE_COVER:
                        self.is_cover_leaving, self.saga = True, self.told("cover", is_leaving=True)
            if not wanted:
                return

    permitted = True

    def told(self, leg: str, **changes: object) -> Saga:
        """Return the structure with changed facts of a leg."""
        return replace(self.saga, **{leg: replace(getattr(self.saga, leg), **changes)})

    # what the market and the broker do

    @precondition(lambda self: self.cover_working > 0)
    @rule(share=st.floats(0.01, 1))
    def cover_fills(self, share: float) -> None:
        qty = max(1, round(self.cover_working * share))
        self.cover_working -= qty
        self.cover_held, self.was_cover = self.cover_held + qty, True

    @precondition(lambda self: self.short_working > 0)
    @rule(share=st.floats(0.01, 1))
    def short_fills(self, share: float) -> None:
        qty = max(1, round(self.short_working * share))
        self.short_working -= qty
        self.short_held, self.was_short = self.short_held + qty, True

    @rule()
    def an_entry_ends(self) -> None:
        self.cover_working = 0
        if self.cover_sent:
            self.short_working = 0

    @precondition(lambda self: self.is_short_leaving)
    @rule(share=st.floats(0.01, 1))
    def short_is_bought_back(self, share: float) -> None:
        self.short_working = 0  # its entry is cancelled first, and that is confirmed
        self.short_held -= min(self.short_held, max(1, round(self.short_held * share)))

    @precondition(lambda self: self.is_cover_leaving and self.is_cover_free)
    @rule(share=st.floats(0.01, 1))
    def cover_is_sold(self, share: float) -> None:
        self.cover_working = 0
        if self.cover_held and (self.short_held or self.short_working):
            self.sold_cover_beside_short = True
        self.cover_held -= min(self.cover_held, max(1, round(self.cover_held * share)))

    @rule(reason=st.sampled_from([ExitReason.KILL, ExitReason.EOD, ExitReason.ASSIGNMENT_RISK, ExitReason.UNWIND]))
    def an_exit_is_wanted(self, reason: ExitReason) -> None:
        self.saga = advance(leaving(self.saga, reason))
        self.carry_out()

    @rule(permitted=st.booleans())
    def permits_come_or_not(self, permitted: bool) -> None:
        self.permitted = permitted

    @rule(leg=st.sampled_from(["cover", "short"]))
    def a_leg_leaves_by_itself(self, leg: str) -> None:
        if leg == "cover" and self.cover_sent:
            self.is_cover_leaving = True
        elif leg == "short" and self.short_sent:
            self.is_short_leaving = True

    @rule()
    def a_leg_is_started_again_and_has_forgotten_that_it_is_free(self) -> None:
        self.is_cover_free = False
        self.saga = self.told("cover", is_free=False)
        self.carry_out()

    # what is reported, whenever

    @precondition(lambda self: self.cover_sent)
    @rule()
    def the_cover_reports(self) -> None:
        is_over = self.cover_working == 0
        self.saga = advance(
            self.told(
                "cover", held=Qty(self.cover_held), was_held=self.was_cover,
                entry=EntryPart.OVER if is_over else EntryPart.WORKING, is_flat=is_over and self.cover_held == 0,
                is_leaving=self.is_cover_leaving and not (is_over and self.cover_held == 0),
            )
        )  # fmt: skip
        self.carry_out()

    @precondition(lambda self: self.short_sent)
    @rule()
    def the_short_reports(self) -> None:
        is_over = self.short_working == 0
        self.saga = advance(
            self.told(
                "short", held=Qty(self.short_held), was_held=self.was_short,
                entry=EntryPart.OVER if is_over else EntryPart.WORKING, is_flat=is_over and self.short_held == 0,
                is_leaving=self.is_short_leaving and not (is_over and self.short_held == 0),
            )
        )  # fmt: skip
        self.carry_out()

    # what always holds

    @invariant()
    def shorts_are_covered(self) -> None:
        assert self.short_held + self.short_working <= RATIO * self.cover_held

    @invariant()
    def the_cover_is_never_free_beside_a_short(self) -> None:
        assert not self.sold_cover_beside_short
        if self.is_cover_free and (self.cover_held or self.cover_working):
            assert self.short_held == self.short_working == 0

    @invariant()
    def nothing_is_sold_before_the_cover_is_bought(self) -> None:
        assert not self.short_sent or self.was_cover

    @invariant()
    def an_end_leaves_nothing_behind(self) -> None:
        if self.saga.is_over and not (self.saga.cover.held or self.saga.short.held):
            assert self.short_held == self.short_working == 0

    def teardown(self) -> None:
        """Let everything that was wanted happen: whatever went before, both legs come home."""
        if not hasattr(self, "saga"):
            return
        self.saga = advance(leaving(self.saga, ExitReason.EOD))
        self.carry_out()
        for _ in range(12):
            self.an_entry_ends()
            if self.is_short_leaving:
                self.short_is_bought_back(1.0)
            if self.is_cover_leaving and self.is_cover_free:
                self.cover_is_sold(1.0)
            if self.cover_sent:
                self.the_cover_reports()
            if self.short_sent:
                self.the_short_reports()
        assert self.saga.is_over
        assert (self.cover_held, self.short_held) == (0, 0)


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
