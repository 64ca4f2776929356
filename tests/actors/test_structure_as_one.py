"""A structure's actor where both legs are one order at the broker: in as one, out as one while nothing is urgent."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.combo import COMBO_CON_ID, ComboLeg
from domain.orders.references import exit_ref
from domain.position.cycle import ExitReason
from domain.session.phases import Phase
from domain.structure.saga import SagaState
from domain.units import Qty, Ticks
from messages import entries, orders, positions, structures
from messages.structures import ReservedLeg
from tests.testkit.narrow import known
from tests.testkit.probe import Outbox
from tests.testkit.spread_world import DAY, SPX_CALL, STRUCTURE, TERMS, SpreadTalk, leg

SOLD = Contract(33, "SPX", "SPXW", DAY, Ticks(599_000), Right.CALL)
COVER = leg(0, SPX_CALL, Side.BUY, 2, 2_000)
SHORT = leg(1, SOLD, Side.SELL, 2, 2_600)
AT = {COVER.ref.position_id: "position:paper:11", SHORT.ref.position_id: "position:paper:33"}
BOTH = sorted(AT.values())
LEGS = (ComboLeg(SPX_CALL, Side.BUY), ComboLeg(SOLD, Side.SELL))


class Talk(SpreadTalk):
    """One structure whose legs go out as one; the tests play both positions."""

    def open_as_one(self) -> Outbox:
        return self.feed(
            structures.OpenStructure(
                structure_id=STRUCTURE, cover=COVER, short=SHORT, ratio=1, terms=TERMS, permit=self.permit(),
                deadline_utc=self.now + 30 * 10**9, is_combo=True,
            )
        )  # fmt: skip

    def joins(self, which: ReservedLeg, qty: int, ref: str, ticks: int | None, *, is_entry_over: bool) -> Outbox:
        """Let a leg say that it takes part in an order for both, at its touch (`None`: it has no price)."""
        return self.feed(
            positions.LegChanged(
                ref=which.ref, qty=Qty(qty), average_ticks=None, is_entry_over=is_entry_over, is_flat=False,
                exit_reason=None, is_free=False, realised_cents=0, fees_cents=0, unrealised_cents=0, at_utc=self.now,
                mark_utc=self.now, joint_ref=ref, joint_ticks=UNSET if ticks is None else Ticks(ticks),
            )
        )  # fmt: skip

    def join_entry(self) -> Outbox:
        self.joins(COVER, 0, COVER.order.order_ref, 2_000, is_entry_over=False)
        return self.joins(SHORT, 0, SHORT.order.order_ref, 2_600, is_entry_over=False)

    def join_exit(self, cover: int = 1_900, short: int = 2_702) -> Outbox:
        self.joins(COVER, 2, exit_ref(COVER.ref.position_id, 1), cover, is_entry_over=True)
        return self.joins(SHORT, 2, exit_ref(SHORT.ref.position_id, 1), short, is_entry_over=True)

    def hold_as_one(self) -> None:
        self.open_as_one()
        self.join_entry()
        self.leg(COVER, 2, average=2_000)
        self.leg(SHORT, 2, average=2_600)

    def lose(self) -> Outbox:
        """Let the marks of both legs lose more than a spread may."""
        self.leg(COVER, 2, average=2_000, unrealised=-10_000)
        return self.leg(SHORT, 2, average=2_600, unrealised=-60_000)


def state(talk: Talk) -> SagaState:
    return known(talk.state.saga).state


def flattened(outbox: Outbox) -> list[str]:
    return outbox.recipients(positions.FlattenPosition)


# -- in -----------------------------------------------------------------------------------------------


def test_both_legs_are_opened_without_an_order_and_one_goes_out_when_both_take_part() -> None:
    talk = Talk()
    asked = talk.open_as_one()
    assert sorted(asked.recipients(entries.OpenPosition)) == BOTH
    assert all(one.is_joint for one in asked.told(entries.OpenPosition))
    assert not asked.told(orders.SubmitOrder)
    assert not talk.joins(COVER, 0, COVER.order.order_ref, 2_000, is_entry_over=False).told(orders.SubmitOrder)
    (sent,) = talk.join_entry().told(orders.SubmitOrder, "ibkr")
    order = sent.order
    assert (order.order_ref, order.contract.con_id, order.side, order.qty) == (
        COVER.order.order_ref, COMBO_CON_ID, Side.BUY, 2,
    )  # fmt: skip
    assert (order.order_type, order.limit_ticks, order.is_exit) == (OrderType.LIMIT, -600, False)
    assert sent.permit is not None
    assert known(order.good_till_utc) >= order.deadline_utc
    assert [(part.order_ref, part.owner, part.leg) for part in sent.parts] == [
        (which.order.order_ref, AT[which.ref.position_id], one) for which, one in zip((COVER, SHORT), LEGS, strict=True)
    ]
    assert not talk.join_entry().told(orders.SubmitOrder), "an entry is sent once"


def test_a_leg_that_refuses_leaves_nothing_sent_and_the_other_given_up() -> None:
    talk = Talk()
    talk.open_as_one()
    talk.leg(SHORT, 0, is_flat=True)
    out = talk.joins(COVER, 0, COVER.order.order_ref, 2_000, is_entry_over=False)
    assert not out.told(orders.SubmitOrder)
    assert set(talk.sent.recipients(positions.FlattenPosition)) == {AT[COVER.ref.position_id]}
    talk.leg(COVER, 0, is_flat=True)
    assert state(talk) is SagaState.ABANDONED


def test_a_whole_fill_is_held_and_a_part_is_closed_leg_by_leg() -> None:
    talk = Talk()
    talk.hold_as_one()
    assert state(talk) is SagaState.HELD
    part = Talk()
    part.open_as_one()
    part.join_entry()
    part.leg(COVER, 1, average=2_000)
    out = part.leg(SHORT, 1, average=2_600)
    assert (state(part), flattened(out)) == (SagaState.BUYING_BACK, [AT[SHORT.ref.position_id]])
    assert flattened(part.leg(SHORT, 0, is_flat=True)) == [AT[COVER.ref.position_id]]


def test_an_order_that_does_not_fill_in_its_time_is_unwound() -> None:
    talk = Talk()
    talk.open_as_one()
    talk.join_entry()
    out = talk.wait(31)
    assert flattened(out) == [AT[SHORT.ref.position_id]]
    assert {told.reason for told in out.told(positions.FlattenPosition)} == {ExitReason.UNWIND}


# -- out ----------------------------------------------------------------------------------------------


def test_a_loss_leaves_as_one_order_at_the_touch() -> None:
    talk = Talk()
    talk.hold_as_one()
    out = talk.lose()
    assert state(talk) is SagaState.LEAVING
    assert sorted(out.recipients(positions.JoinExit)) == BOTH
    combo_ref = exit_ref(COVER.ref.position_id, 1)
    assert {(ask.qty, ask.exit_n, ask.combo_ref) for ask in out.told(positions.JoinExit)} == {(2, 1, combo_ref)}
    assert not flattened(out)
    (sent,) = talk.join_exit().told(orders.SubmitOrder, "ibkr")
    order = sent.order
    assert (order.order_ref, order.side, order.qty, order.is_exit, order.good_till_utc) == (
        combo_ref, Side.SELL, 2, True, None,
    )  # fmt: skip
    assert order.deadline_utc > talk.now
    assert order.limit_ticks == -805  # 19.00 less 27.02, on the grid of combinations of an index, toward the fill
    assert [(part.held_qty, part.leg) for part in sent.parts] == [(2, one) for one in LEGS]
    for which in (COVER, SHORT):
        talk.leg(which, 0, is_flat=True)
    assert state(talk) is SagaState.CLOSED
    assert talk.sent.published(structures.StructureClosed)[-1].reason is ExitReason.POSITION_LOSS


def test_where_it_does_not_fill_the_short_is_bought_back_first() -> None:
    talk = Talk()
    talk.hold_as_one()
    talk.lose()
    talk.join_exit()
    out = talk.wait(2.1)
    assert (state(talk), flattened(out)) == (SagaState.BUYING_BACK, [AT[SHORT.ref.position_id]])
    assert not out.told(positions.SetCover)


@pytest.mark.parametrize("unpriced", [COVER, SHORT])
def test_a_leg_that_takes_part_without_a_price_sends_nothing_and_both_go_one_by_one(unpriced: ReservedLeg) -> None:
    talk = Talk()
    talk.hold_as_one()
    talk.lose()
    for which in (COVER, SHORT):
        ticks = None if which is unpriced else 1_900
        talk.joins(which, 2, exit_ref(which.ref.position_id, 1), ticks, is_entry_over=True)
    assert not talk.sent.told(orders.SubmitOrder)[1:]
    assert flattened(talk.wait(2.1)) == [AT[SHORT.ref.position_id]]


def test_a_leg_that_does_not_take_part_sends_both_one_by_one() -> None:
    talk = Talk()
    talk.hold_as_one()
    talk.lose()
    talk.joins(COVER, 2, exit_ref(COVER.ref.position_id, 1), 1_900, is_entry_over=True)
    assert not talk.sent.told(orders.SubmitOrder)[1:]
    out = talk.wait(2.1)
    assert flattened(out) == [AT[SHORT.ref.position_id]]
    assert not talk.join_exit().told(orders.SubmitOrder), "it goes leg by leg from here on"


@pytest.mark.parametrize("reason", [ExitReason.KILL, ExitReason.EOD, ExitReason.OPERATOR])
def test_what_is_urgent_never_waits_for_one_order(reason: ExitReason) -> None:
    for is_under_way in (False, True):
        talk = Talk()
        talk.hold_as_one()
        if is_under_way:
            talk.lose()
            talk.join_exit()
        sent = len(talk.sent.told(orders.SubmitOrder))
        talk.leg(COVER, 2, is_leaving=True, reason=reason)
        assert state(talk) is SagaState.BUYING_BACK
        assert talk.sent.recipients(positions.FlattenPosition) == [AT[SHORT.ref.position_id]]
        assert len(talk.sent.told(orders.SubmitOrder)) == sent


@pytest.mark.parametrize("phase", [Phase.PANIC, Phase.FLATTEN, None])
def test_in_the_days_last_minutes_and_at_an_unknown_hour_both_leave_one_by_one(phase: Phase | None) -> None:
    talk = Talk()
    talk.hold_as_one()
    talk.state.phase = phase
    assert not talk.lose().told(positions.JoinExit)
    assert state(talk) is SagaState.BUYING_BACK


def test_an_index_above_the_sold_strike_is_no_danger_of_assignment() -> None:
    talk = Talk()
    talk.hold_as_one()
    talk.spy(900_000)
    assert state(talk) is SagaState.HELD


def test_after_a_restart_what_is_held_leaves_leg_by_leg() -> None:
    talk = Talk()
    known_legs = (talk.reservation(COVER, opened=2, held=2), talk.reservation(SHORT, opened=2, held=2))
    talk.restart(replace(talk.known(*known_legs), ratio=1))
    talk.phase(Phase.ENTRY)
    out = talk.lose()
    assert not out.told(positions.JoinExit)
    assert flattened(out) == [AT[SHORT.ref.position_id]]
