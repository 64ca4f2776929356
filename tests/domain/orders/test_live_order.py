"""A position's own order: every pair of stage and event is known, and nothing but recorded fills ends it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from msgspec.structs import replace

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
    is_resting_stop,
    modified,
    needs_change,
    not_less,
    settled,
    submitted,
    unsent,
    unwanted,
    with_change,
    written,
)
from domain.orders.order_pair import OrderPair, OrderRole
from domain.orders.tiers import Ticket, Tier
from domain.position.cycle import ExitReason
from domain.position.exits import WantedExit

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


S, E = LegStage, LegEvent
AFTER = {
    E.SUBMITTED: {S.RECORDING: S.SENT},
    E.ACKNOWLEDGED: {S.SENT: S.WORKING},
    E.CANCEL_SENT: {S.SENT: S.CANCELLING, S.WORKING: S.CANCELLING},
    E.DOUBTED: dict.fromkeys((S.RECORDING, S.SENT, S.WORKING, S.CANCELLING), S.UNKNOWN),
    E.FOUND_WORKING: dict.fromkeys((S.SENT, S.WORKING, S.CANCELLING, S.UNKNOWN), S.WORKING),
    E.SETTLED: dict.fromkeys((S.RECORDING, S.SENT, S.WORKING, S.CANCELLING, S.UNKNOWN), S.ENDED),
    E.DROPPED: {S.RECORDING: S.ENDED, S.SENT: S.ENDED},
}


@pytest.mark.parametrize("event", LegEvent)
def test_where_each_event_leads(event: LegEvent) -> None:
    led = {was: after for (was, happened), after in LEG_STAGES.transitions.items() if happened is event}
    assert led == AFTER.get(event, {})


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


# -- what may be at the broker ---------------------------------------------------------------------


def test_a_new_order_is_neither_ended_nor_changed_nor_wanted_away() -> None:
    new = LiveOrder(
        ref="ZH-paper-ABCDEFGHIJKL-x1", qty=3, tier=Tier.BID, order_type=None, limit_ticks=None, stage=LegStage.SENT,
        sent_utc=0, deadline_utc=0,
    )  # fmt: skip
    assert not (new.reached or new.cancel_wanted or new.is_ended_sure or new.is_buy_back)
    assert (new.change, new.change_qty, new.ended_qty, new.stop_ticks) == (None, 0, None, None)


@pytest.mark.parametrize(
    "heard", [written, acknowledged, lambda o: ended(o, 0), lambda o: found_working(o, 3, OrderType.LIMIT, 500)]
)
def test_any_news_of_the_broker_means_that_the_order_reached_it(heard: Callable[[LiveOrder], LiveOrder]) -> None:
    assert heard(order(reached=False)).reached
    assert not unsent(heard(order(reached=False))).reached


def test_an_order_is_looked_for_from_the_later_of_its_sending_and_its_deadline_on() -> None:
    late = replace(order(), sent_utc=20 * SECOND)  # sent after its deadline: a modification of an old exit
    assert not is_gone(late, 21 * SECOND - 1, 1000)
    assert is_gone(late, 21 * SECOND, 1000)


def test_an_order_found_working_forgets_what_was_believed_of_its_end_and_of_its_change() -> None:
    believed = with_change(ended(order(), 2, is_sure=True), Ticket(Tier.MARKET, OrderType.MARKET, None), 4)
    found = found_working(believed, 2, OrderType.LIMIT, 500)
    assert (found.ended_qty, found.is_ended_sure, found.change) == (None, False, None)
    assert (found.qty, found.stage) == (2, LegStage.WORKING)


@pytest.mark.parametrize(
    ("tier", "was", "found", "is_ours"),
    [
        (Tier.BID, (OrderType.LIMIT, 500), (OrderType.LIMIT, 500), True),
        (Tier.BID, (OrderType.LIMIT, 500), (OrderType.LIMIT, 501), False),
        (Tier.BID, (OrderType.LIMIT, 500), (OrderType.MARKET, None), False),
        (Tier.BID, (None, None), (OrderType.LIMIT, 500), True),  # after a restart nobody knows how it was priced
        (Tier.MARKET, (None, None), (OrderType.LIMIT, 500), False),  # but at the market it was no limit
        (Tier.MARKET, (None, None), (OrderType.STOP, None), False),
        (Tier.MARKET, (OrderType.MARKET, None), (OrderType.MARKET, None), True),
        (Tier.MARKET, (OrderType.MARKET, 500), (OrderType.MARKET, None), True),  # a market order has no price
    ],
)
def test_only_an_order_that_works_as_it_was_sent_keeps_its_tier(
    tier: Tier, was: tuple[OrderType | None, int | None], found: tuple[OrderType, int | None], is_ours: bool
) -> None:
    sent = replace(order(), tier=tier, order_type=was[0], limit_ticks=was[1])
    assert found_working(sent, 3, *found).tier is (tier if is_ours else Tier.NONE)


def test_an_end_that_a_status_named_is_believed_only_where_its_fills_are_recorded_to_the_last() -> None:
    assert not is_over(order(), 0)  # nobody named an end
    assert not is_over(ended(order(), 2), 1)
    assert not is_over(ended(order(), 2, is_sure=True), 1)
    assert is_over(ended(order(), 0), 0)


# -- changing it -----------------------------------------------------------------------------------


def working(tier: Tier = Tier.BID, reason: ExitReason | None = ExitReason.PREMIUM_STOP) -> LiveOrder:
    return replace(acknowledged(order()), tier=tier, reason=reason)


STOP = WantedExit(ExitReason.PREMIUM_STOP)


@pytest.mark.parametrize(
    ("exit_order", "wanted", "tier", "qty", "is_due"),
    [
        (working(), STOP, Tier.BID, 3, False),
        (working(), STOP, Tier.MARKET, 3, True),  # a higher tier
        (working(), STOP, Tier.MID, 3, False),  # never a lower one
        (working(), STOP, Tier.BID, 4, True),  # more contracts
        (working(), STOP, Tier.BID, 2, False),
        (working(), WantedExit(ExitReason.KILL), Tier.BID, 3, True),  # a graver reason
        (working(), WantedExit(ExitReason.TAKE_PROFIT), Tier.BID, 3, False),
        (working(), WantedExit(ExitReason.UNDERLYING_STOP), Tier.BID, 3, False),  # as grave as what it is priced for
        (working(reason=None), WantedExit(ExitReason.KILL), Tier.BID, 3, False),  # its price is not known to be lower
        (acknowledged(order(LegStage.CANCELLING)), STOP, Tier.MARKET, 4, False),
        (order(LegStage.SENT), STOP, Tier.MARKET, 4, False),
        (doubted(working()), STOP, Tier.MARKET, 4, False),
        (unwanted(working()), STOP, Tier.MARKET, 4, False),
        (with_change(working(), Ticket(Tier.MARKET, OrderType.MARKET, None), 3), STOP, Tier.MARKET, 4, False),
    ],
)
def test_an_exit_is_changed_upward_only_and_only_while_it_works_unchanged(
    exit_order: LiveOrder, wanted: WantedExit, tier: Tier, qty: int, is_due: bool
) -> None:
    assert needs_change(exit_order, wanted, tier, qty) is is_due


def test_an_exit_that_must_not_stand_at_the_market_is_changed_at_any_tier() -> None:
    assert needs_change(working(Tier.MARKET), STOP, Tier.BID, 3, is_barred=True)
    assert not needs_change(doubted(working(Tier.MARKET)), STOP, Tier.BID, 3, is_barred=True)


def test_a_change_of_an_exit_never_lowers_its_quantity_but_that_of_a_resting_stop() -> None:
    ticket = Ticket(Tier.BID, OrderType.LIMIT, 480)
    resting = replace(working(Tier.NONE), order_type=OrderType.STOP, limit_ticks=None)
    assert modified(with_change(working(), ticket, 2), ticket, STOP.reason, 1).qty == 3
    assert modified(with_change(working(), ticket, 4), ticket, STOP.reason, 1).qty == 4
    assert modified(with_change(resting, ticket, 2), ticket, STOP.reason, 1).qty == 2
    changed = modified(with_change(working(), ticket, 2), ticket, ExitReason.EOD, 7)
    assert (changed.tier, changed.order_type, changed.limit_ticks) == (Tier.BID, OrderType.LIMIT, 480)
    assert (changed.reason, changed.deadline_utc, changed.change) == (ExitReason.EOD, 7, None)


@pytest.mark.parametrize(
    ("order_type", "tier", "rests"),
    [
        (OrderType.STOP, Tier.NONE, True),
        (OrderType.STOP, Tier.MARKET, False),  # it was taken over by an exit
        (OrderType.LIMIT, Tier.NONE, False),
    ],
)
def test_a_resting_stop_is_one_that_no_exit_has_taken_over(order_type: OrderType, tier: Tier, rests: bool) -> None:
    assert is_resting_stop(replace(working(tier), order_type=order_type)) is rests


@pytest.mark.parametrize(
    ("works", "ticket", "wanted"),
    [
        ((OrderType.LIMIT, 500), Ticket(Tier.BID, OrderType.LIMIT, 490), 490),
        ((OrderType.LIMIT, 500), Ticket(Tier.BID, OrderType.LIMIT, 510), 500),  # a sale is never asked more for
        ((OrderType.LIMIT, 500), Ticket(Tier.MARKET, OrderType.MARKET, None), None),
        ((None, None), Ticket(Tier.BID, OrderType.LIMIT, 510), 510),
    ],
)
def test_a_change_is_at_least_as_hard_as_what_works(
    works: tuple[OrderType | None, int | None], ticket: Ticket, wanted: int | None
) -> None:
    now = replace(working(), order_type=works[0], limit_ticks=works[1])
    assert not_less(now, ticket) == replace(ticket, limit_ticks=wanted)


def test_a_market_order_is_never_undone() -> None:
    at_market = replace(working(Tier.NONE), order_type=OrderType.MARKET, limit_ticks=None)
    asked = Ticket(Tier.BID, OrderType.LIMIT, 490)
    assert not_less(at_market, asked) == Ticket(Tier.MARKET, OrderType.MARKET, None)
