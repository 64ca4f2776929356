"""A structure's actor by histories of messages: the cover first, the shorts within it, out in the other order."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.instants import MINUTE, SECOND
from domain.position.cycle import ExitReason
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.structure.saga import SagaState
from domain.units import Utc
from messages import entries, operator, positions, risk, structures
from tests.testkit.narrow import known
from tests.testkit.probe import Outbox
from tests.testkit.spread_world import CLOSE, COVER, COVER_ADDRESS, SHORT, SHORT_ADDRESS, STRUCTURE, SpreadTalk


def state(talk: SpreadTalk) -> SagaState:
    return known(talk.state.saga).state


def reason(outbox: Outbox, to: str) -> list[ExitReason]:
    return [told.reason for told in outbox.told(positions.FlattenPosition, to)]


# -- opening ------------------------------------------------------------------------------------------


def test_the_cover_is_opened_alone_and_the_shorts_ask_for_a_permit_of_their_own() -> None:
    talk = SpreadTalk()
    opened = talk.open()
    assert opened.recipients(entries.OpenPosition) == [COVER_ADDRESS]
    assert not talk.leg(COVER, 0, is_entry_over=False).messages
    filled = talk.leg(COVER, 1)
    assert [asked.order_ref for asked in filled.told(entries.RequestPermit, "risk")] == [SHORT.order.order_ref]
    assert not filled.told(entries.OpenPosition)
    sold = talk.permit_shorts().told(entries.OpenPosition, SHORT_ADDRESS)
    assert [(one.qty, one.limit_ticks, one.ref.side) for one in sold] == [(10, 250, SHORT.ref.side)]
    assert sold[0].deadline_utc == talk.now + 30 * SECOND
    talk.leg(SHORT, 10)
    assert state(talk) is SagaState.HELD


def test_a_permit_that_comes_twice_sells_once() -> None:
    talk = SpreadTalk()
    talk.open()
    talk.leg(COVER, 1)
    talk.permit_shorts()
    assert not talk.permit_shorts().told(entries.OpenPosition)
    assert not talk.open().told(entries.OpenPosition)


def test_a_refused_permit_sells_the_cover() -> None:
    talk = SpreadTalk()
    talk.open()
    talk.leg(COVER, 1)
    out = talk.feed(entries.PermitRefused(order_ref=SHORT.order.order_ref, why="kill_switch_l1"))
    assert [told.is_free for told in out.told(positions.SetCover, COVER_ADDRESS)] == [True]
    assert reason(out, COVER_ADDRESS) == [ExitReason.UNWIND]
    assert not talk.permit_shorts().told(entries.OpenPosition)


def test_a_cover_that_nobody_sold_us_ends_it() -> None:
    talk = SpreadTalk()
    talk.open()
    out = talk.leg(COVER, 0, is_flat=True)
    assert state(talk) is SagaState.ABANDONED
    assert not out.told(entries.RequestPermit)
    assert [given.ref for given in out.published(positions.EntryAbandoned)] == [SHORT.ref], "the cover says so itself"


def test_shorts_that_were_never_sent_are_given_back_once_when_the_cover_is_gone() -> None:
    talk = SpreadTalk()
    talk.open()
    talk.leg(COVER, 1)
    refused = talk.feed(entries.PermitRefused(order_ref=SHORT.order.order_ref, why="kill_switch_l1"))
    assert not refused.published(positions.EntryAbandoned), "the cover is held still"
    ends = [talk.leg(COVER, 0, is_flat=True) for _ in range(2)]
    assert [len(out.published(positions.EntryAbandoned)) for out in ends] == [1, 0]
    assert ends[0].published(positions.EntryAbandoned)[0].order_ref == SHORT.order.order_ref


def test_shorts_that_do_not_fill_in_thirty_seconds_are_unwound() -> None:
    talk = SpreadTalk()
    talk.open()
    talk.leg(COVER, 1)
    talk.permit_shorts()
    talk.leg(SHORT, 4, is_entry_over=False)
    assert not talk.wait(29.9).told(positions.FlattenPosition)
    out = talk.wait(0.2)
    assert reason(out, SHORT_ADDRESS) == [ExitReason.UNWIND]
    assert not out.told(positions.SetCover)
    talk.leg(SHORT, 4, is_leaving=True)
    assert state(talk) is SagaState.BUYING_BACK
    gone = talk.leg(SHORT, 0, is_flat=True)
    assert reason(gone, COVER_ADDRESS) == [ExitReason.UNWIND]
    talk.leg(COVER, 0, is_flat=True, is_free=True)
    assert state(talk) is SagaState.CLOSED


def test_a_permit_that_never_comes_is_unwound_too() -> None:
    talk = SpreadTalk()
    talk.open()
    talk.leg(COVER, 1)
    assert reason(talk.wait(31), COVER_ADDRESS) == [ExitReason.UNWIND]


# -- out ----------------------------------------------------------------------------------------------


def test_an_assignment_scare_closes_shorts_first() -> None:
    talk = SpreadTalk()
    talk.hold()
    assert not talk.spy(61_000).messages  # at the strike + 10: not above
    out = talk.spy(61_001)
    assert reason(out, SHORT_ADDRESS) == [ExitReason.ASSIGNMENT_RISK]
    assert not out.told(positions.SetCover)
    assert not reason(out, COVER_ADDRESS)
    gone = talk.leg(SHORT, 0, is_flat=True)
    assert [told.is_free for told in gone.told(positions.SetCover, COVER_ADDRESS)] == [True]
    assert reason(gone, COVER_ADDRESS) == [ExitReason.ASSIGNMENT_RISK]


def test_a_loss_of_both_legs_together_closes_and_that_of_one_alone_does_not() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.leg(COVER, 1, unrealised=60_000)
    assert not reason(talk.leg(SHORT, 10, unrealised=-109_999), SHORT_ADDRESS)
    assert reason(talk.leg(SHORT, 10, unrealised=-110_001), SHORT_ADDRESS) == [ExitReason.POSITION_LOSS]


def test_a_mark_that_is_not_known_yet_is_no_loss_of_the_structure() -> None:
    talk = SpreadTalk()
    talk.hold()
    assert not reason(talk.leg(SHORT, 10, unrealised=None), SHORT_ADDRESS)
    assert not reason(talk.leg(COVER, 1, unrealised=-80_000), SHORT_ADDRESS)


@pytest.mark.parametrize("unrealised", [None, 5_000])
def test_a_cover_without_a_price_for_a_minute_counts_as_worth_nothing_and_closes_both(unrealised: int | None) -> None:
    """Only SPX is silent: its last bid stands, or nothing; the sold calls are quoted all the time."""
    talk = SpreadTalk()
    talk.hold()
    talk.leg(COVER, 1, average=2_000, unrealised=5_000)
    began = talk.now
    talk.now = Utc(began + 60 * SECOND)
    age_ns = talk.now - began
    talk.leg(COVER, 1, average=2_000, unrealised=unrealised, age_ns=age_ns)
    assert not reason(talk.leg(SHORT, 10, average=250), SHORT_ADDRESS)
    talk.now = Utc(began + 61 * SECOND)
    out = talk.leg(SHORT, 10, average=250)
    assert reason(out, SHORT_ADDRESS) == [ExitReason.BLIND]
    assert not reason(out, COVER_ADDRESS)  # it goes when the sold ones are gone
    (alarm,) = [alarm for alarm in out.published(operator.Alarm) if alarm.key == "spread_blind"]
    assert COVER.ref.contract.label in alarm.text and SHORT.ref.contract.label not in alarm.text


def test_a_cover_that_cost_less_than_the_loss_allowed_may_be_silent() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.leg(COVER, 1, average=400)
    talk.now = Utc(talk.now + 61 * SECOND)
    assert not reason(talk.leg(SHORT, 10, average=250), SHORT_ADDRESS)


def test_a_short_without_a_price_for_a_minute_closes_both_whatever_it_was_worth() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.now = Utc(talk.now + 61 * SECOND)
    out = talk.leg(COVER, 1, average=2_000)
    assert reason(out, SHORT_ADDRESS) == [ExitReason.BLIND]


def test_marks_of_a_spread_grow_old_in_regular_hours_only() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.phase(Phase.CLOSED)
    talk.now = Utc(talk.now + 61 * SECOND)
    assert not reason(talk.leg(COVER, 1, average=2_000), SHORT_ADDRESS)


def test_a_leg_that_leaves_at_the_end_of_the_day_keeps_the_order_of_both() -> None:
    talk = SpreadTalk()
    talk.hold()
    out = talk.leg(COVER, 1, is_leaving=True)  # its own end of day; it is held back meanwhile
    assert known(talk.state.saga).state is SagaState.BUYING_BACK
    assert reason(out, SHORT_ADDRESS) == [ExitReason.EOD]
    talk.leg(SHORT, 10, is_leaving=True)
    gone = talk.leg(SHORT, 0, is_flat=True)
    assert gone.told(positions.SetCover, COVER_ADDRESS)


def test_a_leg_that_was_started_again_is_told_that_it_is_free_once_more() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.spy(62_000)
    talk.leg(SHORT, 0, is_flat=True)
    again = talk.leg(COVER, 1, is_leaving=True, is_free=False)
    assert [told.is_free for told in again.told(positions.SetCover, COVER_ADDRESS)] == [True]


def test_a_short_reported_late_takes_the_cover_back() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.spy(62_000)
    talk.leg(SHORT, 0, is_flat=True)
    talk.leg(COVER, 1, is_leaving=True, is_free=True)
    late = talk.leg(SHORT, 2)
    assert [told.is_free for told in late.told(positions.SetCover, COVER_ADDRESS)] == [False]
    assert reason(late, SHORT_ADDRESS) == [ExitReason.ASSIGNMENT_RISK]


def test_the_end_says_what_both_legs_came_to() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.spy(62_000)
    talk.leg(SHORT, 0, is_flat=True, average=250, realised=-30_000, fees=1_600)
    out = talk.leg(COVER, 0, is_flat=True, average=2_000, realised=45_000, fees=300)
    (closed,) = out.published(structures.StructureClosed)
    assert (closed.structure_id, closed.reason) == (STRUCTURE, ExitReason.ASSIGNMENT_RISK)
    assert (closed.realised_cents, closed.fees_cents) == (15_000, 1_900)
    assert (closed.cover_ticks, closed.short_ticks) == (2_000, 250)
    assert known(closed.terms).credit_cents == 48_300


# -- what must be said --------------------------------------------------------------------------------


def test_a_cover_that_the_broker_says_is_gone_leaves_its_shorts_uncovered_for_the_kill_switch_and_nothing_else() -> (
    None
):
    talk = SpreadTalk()
    talk.hold()
    out = talk.leg(COVER, 1, average=2_000, missing=1)
    assert [(found.con_id, found.qty) for found in out.published(positions.ShortFound)] == [(22, -10)]
    assert state(talk) is SagaState.HELD, "the broker's word alone may be a late one"
    assert [found.qty for found in talk.leg(COVER, 1, average=2_000).published(positions.ShortFound)] == [0]
    talk.leg(SHORT, 10, average=250, missing=10)
    assert not talk.leg(COVER, 1, average=2_000, missing=1).published(positions.ShortFound), "both are gone"


def test_an_uncovered_short_is_told_to_the_kill_switch_and_taken_back() -> None:
    talk = SpreadTalk()
    talk.hold()
    out = talk.leg(COVER, 0, is_flat=True)
    (found,) = out.published(positions.ShortFound)
    assert (found.con_id, found.qty) == (22, -10)
    assert reason(out, SHORT_ADDRESS) == [ExitReason.UNWIND]
    (gone,) = talk.leg(SHORT, 0, is_flat=True).published(positions.ShortFound)
    assert gone.qty == 0


def test_a_short_left_five_minutes_before_the_close_is_paged_and_halts_entries() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.leg(SHORT, 3, is_leaving=True)
    out = talk.advance(Utc(CLOSE - 5 * MINUTE))
    assert [raised.level for raised in out.told(risk.RaiseKill, "kill")] == [KillLevel.NO_ENTRIES]
    assert "still short" in out.published(operator.Alarm)[0].text


def test_what_is_held_at_the_close_settles_and_retires() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.phase(Phase.CLOSED)
    assert state(talk) is SagaState.SETTLING
    talk.leg(SHORT, 0, is_flat=True)
    assert talk.leg(COVER, 0, is_flat=True).is_retired


# -- started again ------------------------------------------------------------------------------------


def test_what_was_whole_is_held_on() -> None:
    talk = SpreadTalk()
    both = talk.known(
        talk.reservation(COVER, opened=1, held=1), talk.reservation(SHORT, opened=10, held=10)
    )  # fmt: skip
    assert not talk.restart(both).told(positions.FlattenPosition)
    assert state(talk) is SagaState.HELD
    assert reason(talk.spy(62_000), SHORT_ADDRESS) == [ExitReason.ASSIGNMENT_RISK]


def test_the_terms_survive_a_restart_and_stand_in_its_end() -> None:
    talk = SpreadTalk()
    talk.restart(talk.known(talk.reservation(COVER, opened=1, held=1), talk.reservation(SHORT, opened=10, held=10)))
    talk.spy(62_000)
    talk.leg(SHORT, 0, is_flat=True)
    (closed,) = talk.leg(COVER, 0, is_flat=True).published(structures.StructureClosed)
    assert known(closed.terms).credit_cents == 48_300


def test_half_a_structure_is_unwound_and_no_entry_is_sent_again() -> None:
    talk = SpreadTalk()
    out = talk.restart(talk.known(talk.reservation(COVER, opened=1, held=1), talk.reservation(SHORT)))
    assert reason(out, SHORT_ADDRESS) == [ExitReason.UNWIND]
    assert not out.told(entries.OpenPosition)
    gone = talk.leg(SHORT, 0, is_flat=True)
    assert reason(gone, COVER_ADDRESS) == [ExitReason.UNWIND]


def test_the_mail_that_made_the_actor_may_be_the_entry_itself() -> None:
    talk = SpreadTalk()
    assert not talk.restart(talk.known(talk.reservation(COVER), talk.reservation(SHORT))).told(
        positions.FlattenPosition
    )
    assert talk.open().recipients(entries.OpenPosition) == [COVER_ADDRESS]


def test_a_look_that_was_due_before_the_entry_came_unwinds_nothing_of_it() -> None:
    talk = started_anew()
    talk.open()
    talk.timers["restored", ""] = talk.now  # it is on its way already
    assert not talk.fire("restored").told(positions.FlattenPosition)
    assert known(talk.state.saga).reason is None


def test_reserved_legs_whose_entry_never_comes_are_given_up() -> None:
    talk = started_anew()
    out = talk.wait(6)
    assert reason(out, SHORT_ADDRESS) == [ExitReason.UNWIND]
    assert not out.told(entries.OpenPosition)
    assert {one.ref.position_id for one in talk.wait(10).told(positions.RequestLeg)} >= {COVER.ref.position_id}
    talk.leg(SHORT, 0, is_flat=True)
    talk.leg(COVER, 0, is_flat=True)
    assert state(talk) is SagaState.ABANDONED
    assert not talk.sent.published(structures.StructureClosed)


def started_anew(**run: bool) -> SpreadTalk:
    """Return one whose legs were reserved; of a fill the ledger knows nothing yet."""
    talk = SpreadTalk()
    talk.restart(talk.known(talk.reservation(COVER), talk.reservation(SHORT)), **run)
    talk.phase(Phase.ENTRY)
    return talk


@pytest.mark.parametrize("is_new_run", [False, True])
def test_whole_one_whose_fills_are_found_after_a_restart_is_held_on(is_new_run: bool) -> None:
    talk = started_anew(is_new_run=is_new_run)
    talk.wait(2)
    talk.leg(COVER, 1, average=2_000)
    talk.leg(SHORT, 10, average=250)
    assert not talk.wait(20).told(positions.FlattenPosition)
    assert state(talk) is SagaState.HELD
    assert reason(talk.spy(62_000), SHORT_ADDRESS) == [ExitReason.ASSIGNMENT_RISK]


def test_fills_are_waited_for_until_no_leg_can_find_any_more() -> None:
    talk = started_anew(is_new_run=True)
    for which in (COVER, SHORT):
        talk.leg(which, 0, is_entry_over=False)
    begun, last_call = talk.now, talk.timers["last_call", ""]
    asked = talk.wait(7)
    assert asked.recipients(positions.RequestLeg) == [COVER_ADDRESS, SHORT_ADDRESS]
    assert not asked.told(positions.FlattenPosition)
    assert talk.timers["restored", ""] == begun + 10 * SECOND, "it looks again"
    assert talk.timers["last_call", ""] == last_call
    talk.leg(COVER, 1, average=2_000)
    assert not talk.leg(SHORT, 10, average=250).told(positions.FlattenPosition)
    assert (state(talk), talk.timers.get(("restored", ""))) == (SagaState.HELD, None)


def test_what_was_found_of_one_leg_alone_is_unwound_as_soon_as_the_other_finds_nothing() -> None:
    talk = started_anew(is_new_run=True)
    talk.wait(7)
    talk.leg(COVER, 1, average=2_000)
    out = talk.leg(SHORT, 0)
    assert reason(out, SHORT_ADDRESS) == [ExitReason.UNWIND]


@pytest.mark.parametrize("qty", [1, 10])
def test_a_short_without_its_cover_waits_for_nobody(qty: int) -> None:
    talk = started_anew(is_new_run=True)
    talk.leg(COVER, 0, is_entry_over=False)
    talk.leg(SHORT, qty, average=250, is_entry_over=False)
    assert reason(talk.wait(6), SHORT_ADDRESS) == [ExitReason.UNWIND]


def test_a_leg_that_leaves_takes_along_one_that_waits_for_its_fills() -> None:
    talk = started_anew(is_new_run=True)
    out = talk.leg(COVER, 1, is_leaving=True, reason=ExitReason.KILL)
    assert reason(out, SHORT_ADDRESS) == [ExitReason.KILL]


def test_after_the_close_nothing_is_waited_for() -> None:
    talk = started_anew(is_new_run=True)
    talk.leg(COVER, 0, is_entry_over=False)
    talk.phase(Phase.CLOSED)
    talk.wait(6)
    assert state(talk) is SagaState.SETTLING


def test_a_leg_of_another_structure_is_none_of_ours() -> None:
    talk = SpreadTalk()
    talk.hold()
    before = talk.state
    stranger = replace(SHORT, ref=replace(SHORT.ref, structure_id="another/spread/0"))
    assert not talk.leg(stranger, 0, is_flat=True).messages
    assert talk.state == before
