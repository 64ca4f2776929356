"""A position's own order: every pair of stage and event is known, and nothing but recorded fills ends it."""

from __future__ import annotations

import itertools

import pytest

from domain.fsm import IllegalTransition
from domain.instants import SECOND
from domain.instruments import OrderType
from domain.orders.live_order import (
    LEG_STAGES,
    LegEvent,
    LegStage,
    LiveOrder,
    acknowledged,
    cancelling,
    doubted,
    dropped,
    ended,
    found_working,
    is_cancel_due,
    is_gone,
    is_over,
    settled,
    submitted,
    unwanted,
    written,
)
from domain.orders.order_pair import OrderPair, OrderRole
from domain.orders.tiers import Tier

# Pairs that no code path can bring about; one that happens all the same is a bug and is said so.
IMPOSSIBLE = {
    # the broker's news of an order that is only being recorded are of another one of its reference, and are asked about
    *((LegStage.RECORDING, event) for event in (LegEvent.WRITTEN, LegEvent.ACKNOWLEDGED, LegEvent.BROKER_ENDED,
                                                LegEvent.FOUND_WORKING)),
    # an order is handed over once
    *((stage, LegEvent.SUBMITTED) for stage in LegStage if stage is not LegStage.RECORDING),
    # what was seen at the broker did leave
    *((stage, LegEvent.DROPPED) for stage in (LegStage.WORKING, LegStage.CANCELLING, LegStage.UNKNOWN)),
    # the position has let go of it
    *((LegStage.ENDED, event) for event in LegEvent),
}  # fmt: skip


@pytest.mark.parametrize(("stage", "event"), list(itertools.product(LegStage, LegEvent)))
def test_every_pair_is_a_transition_ignored_with_a_reason_or_raises(stage: LegStage, event: LegEvent) -> None:
    if (stage, event) in IMPOSSIBLE:
        with pytest.raises(IllegalTransition, match=event.value):
            LEG_STAGES.next(stage, event)
    elif LEG_STAGES.changes(stage, event):
        assert LEG_STAGES.next(stage, event) is LEG_STAGES.transitions[stage, event]
    else:
        assert len(LEG_STAGES.ignored[stage, event]) > 10
        assert LEG_STAGES.next(stage, event) is stage


def order(stage: LegStage = LegStage.SENT, *, reached: bool = True) -> LiveOrder:
    return LiveOrder(
        ref="ZH-paper-ABCDEFGHIJKL-x1", qty=3, tier=Tier.BID, order_type=OrderType.LIMIT, limit_ticks=500, stage=stage,
        sent_utc=0, deadline_utc=10 * SECOND, reached=reached,
    )  # fmt: skip


def test_an_order_ends_only_when_its_fills_are_recorded() -> None:
    assert not is_over(order(), 2)
    assert is_over(order(), 3)
    by_status = ended(order(), 2)
    assert [is_over(by_status, filled) for filled in (1, 2)] == [False, True]
    assert by_status.stage is LegStage.SENT
    assert settled(by_status).stage is LegStage.ENDED


def test_more_fills_than_a_status_named_are_doubted_but_not_more_than_a_read_back_named() -> None:
    assert not is_over(ended(order(), 1), 2)
    assert is_over(ended(order(), 1, is_sure=True), 2)


def test_only_a_read_back_clears_a_doubt() -> None:
    in_doubt = doubted(acknowledged(order()))
    assert written(in_doubt).stage is LegStage.UNKNOWN
    assert acknowledged(in_doubt).stage is LegStage.UNKNOWN
    assert found_working(in_doubt, 3, OrderType.LIMIT, 500).stage is LegStage.WORKING


def test_a_read_back_at_a_price_that_is_not_ours_drops_the_tier() -> None:
    assert found_working(order(), 3, OrderType.LIMIT, 500).tier is Tier.BID
    assert found_working(order(), 3, OrderType.LIMIT, 490).tier is Tier.NONE


def test_a_cancel_is_sent_once_and_not_for_an_order_in_doubt() -> None:
    wanted = unwanted(order(), 5)
    assert is_cancel_due(wanted)
    sent = cancelling(wanted, 7)
    assert (sent.stage, sent.cancel_utc) == (LegStage.CANCELLING, 5)
    assert not is_cancel_due(sent)
    assert not is_cancel_due(doubted(wanted))
    assert not is_cancel_due(order())


def test_not_found_settles_an_order_that_never_reached_the_broker_or_is_long_past_its_deadline() -> None:
    assert is_gone(order(reached=False), 0, 1000)
    assert not is_gone(order(), 11 * SECOND - 1, 1000)
    assert is_gone(order(), 11 * SECOND, 1000)


def test_the_pair_finds_an_order_by_its_reference_once_it_may_be_at_the_broker() -> None:
    recording = order(LegStage.RECORDING, reached=False)
    pair = OrderPair().with_order(OrderRole.EXIT, recording)
    assert pair.of(OrderRole.EXIT) is recording
    assert pair.find(recording.ref) is None
    sent = submitted(recording, 2, 9)
    assert (sent.qty, sent.sent_utc) == (2, 9)
    assert pair.with_order(OrderRole.EXIT, sent).find(recording.ref) == (OrderRole.EXIT, sent)
    assert pair.with_order(OrderRole.EXIT, sent).find("another") is None


@pytest.mark.parametrize("role", OrderRole)
def test_an_order_that_has_ended_leaves_the_pair(role: OrderRole) -> None:
    pair = OrderPair(order(), order())
    left = pair.with_order(role, dropped(order()))
    assert [left.of(each) is None for each in OrderRole] == [each is role for each in OrderRole]
