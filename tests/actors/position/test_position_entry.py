"""The entry order: sent once, raised at most once, cancelled in time, never guessed about."""

from __future__ import annotations

from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.orders.intent import DecisionPrices
from domain.position.cycle import ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import broker, entries, market, orders, positions, risk, session
from tests.testkit.position_history import ENTRY, EXIT_1, NAME, REF, SPXW, History, pending_position


def test_entry_is_a_limit_with_the_permit_and_watches_the_contract() -> None:
    history = History()
    history.open(qty=2, limit=500)
    submit = history.last_order
    assert (submit.order_ref, submit.side, submit.qty) == (ENTRY, Side.BUY, 2)
    assert (submit.order_type, submit.limit_ticks, submit.is_exit) == (OrderType.LIMIT, 500, False)
    assert history.last(orders.SubmitOrder).permit is not None
    assert history.all(market.WatchContract, "quotes")[0].contract == SPXW
    assert history.cycle() is PositionState.PENDING_ENTRY


def test_fill_opens_with_cost_and_the_spot_of_the_fill() -> None:
    history = History()
    history.open()
    history.ack()
    history.quote(495, 505, spot=600_100)
    history.fill(2, 500)
    opened = history.last(positions.PositionOpened)
    assert (opened.qty, opened.cost_cents) == (2, 100_000)
    assert history.cycle() is PositionState.OPEN
    assert history.last(positions.RecordPosition).entry_spot_ticks == 600_100


def test_raise_after_the_first_wait_needs_a_permit_that_lives() -> None:
    history = History()
    history.open(limit=500, ask=520, permit_ms=5000)
    history.ack()
    history.wait(3900)
    history.quote(490, 530)
    history.wait(100)
    # mid 510 + 25 % of 40 = 520: at the decision's ask, not above
    assert history.last_change.limit_ticks == 520
    late = History()
    late.open(limit=500, ask=520, permit_ms=2000)
    late.ack()
    late.wait(3900)
    late.quote(490, 530)
    late.wait(100)
    assert late.all(orders.ModifyOrder) == []
    assert late.last(entries.RequestPermit).order_ref == ENTRY
    permit = late.permit(2000)
    late.feed(entries.PermitRenewed(order_ref="ZH-paper-ANOTHER-e", permit=permit))
    assert late.all(orders.ModifyOrder) == []
    late.feed(entries.PermitRenewed(order_ref=ENTRY, permit=permit))
    assert (late.last_change.limit_ticks, late.last(orders.ModifyOrder).permit) == (520, permit)


def test_a_refused_permit_leaves_the_entry_at_its_limit() -> None:
    history = History()
    history.open(limit=500, ask=520)
    history.ack()
    history.wait(3900)
    history.quote(490, 530)
    history.wait(100)
    history.feed(entries.PermitRefused(order_ref=ENTRY, why="kill_switch_l1"))
    assert history.all(orders.ModifyOrder) == []


def test_a_position_that_starts_asks_for_phase_kill_level_and_mode() -> None:
    history = History()
    history.restart(None)
    assert history.last(session.RequestPhase).reply_to == NAME
    assert history.all(session.RequestPhase, "session")
    assert history.all(risk.RequestKillLevel, "kill")
    assert history.all(session.RequestMode, "ibkr")


def test_raise_never_passes_the_decisions_ask() -> None:
    history = History()
    history.open(limit=500, ask=510, permit_ms=5000)
    history.ack()
    history.wait(3900)
    history.quote(540, 560)
    history.wait(100)
    assert history.last_change.limit_ticks == 510


def test_entry_is_cancelled_after_its_steps_and_abandoned_when_nothing_filled() -> None:
    history = History()
    history.open()
    history.ack()
    history.wait(8000)
    assert history.last(orders.CancelOrder).order_ref == ENTRY
    history.ended(ENTRY, 0, "Cancelled")
    assert history.cycle() is PositionState.FLAT
    assert history.all(positions.EntryAbandoned)[0].order_ref == ENTRY
    assert history.all(entries.ReleaseReservation, "desk_ledger")[0].intent_id == "intent-1"
    assert history.all(market.UnwatchContract, "quotes")
    assert len(history.all(orders.SubmitOrder)) == 1


def test_partial_entry_is_open_with_what_filled_and_the_rest_is_cancelled() -> None:
    history = History()
    history.open(qty=3)
    history.ack()
    history.fill(1, 500)
    assert history.cycle() is PositionState.OPEN
    history.wait(8000)
    assert history.all(orders.CancelOrder)
    history.ended(ENTRY, 1, "Cancelled")
    assert history.cycle() is PositionState.OPEN
    assert history.state.orders.entry is None
    assert history.last(positions.PositionChanged).qty == 1


def test_missing_acknowledgement_is_asked_about_and_never_sent_again() -> None:
    history = History()
    history.open()
    history.order_sent()
    history.wait(2000)
    assert history.last(orders.RequestOrderState).order_ref == ENTRY
    history.missing(ENTRY)
    assert history.cycle() is PositionState.PENDING_ENTRY
    history.wait(17_000)
    history.missing(ENTRY)  # 19 s: deadline 10 s and ten more have not passed
    assert history.cycle() is PositionState.PENDING_ENTRY
    history.wait(1500)
    history.missing(ENTRY)
    assert history.cycle() is PositionState.FLAT
    assert len(history.all(orders.SubmitOrder)) == 1


def test_denied_entry_gives_its_reservation_back() -> None:
    history = History()
    history.open()
    history.feed(broker.OrderDenied(order_ref=ENTRY, code=RejectCode.PERMIT_KILLED, why="kill epoch"))
    assert history.cycle() is PositionState.FLAT
    assert history.all(entries.ReleaseReservation)


def test_rejected_entry_gives_its_reservation_back() -> None:
    history = History()
    history.open()
    history.order_sent()
    history.feed(orders.OrderRejected(order_ref=ENTRY, vendor_code=201, text="margin"))
    assert history.cycle() is PositionState.FLAT


def test_intent_told_while_not_flat_is_given_back_and_the_holder_stays() -> None:
    history = History()
    history.hold()
    ref = replace(REF, position_id="ZH-paper-ZZZZZZZZZZZZ", intent_id="intent-2", strategy="advisor")
    other = entries.OpenPosition(
        ref=ref, order_ref="ZH-paper-ZZZZZZZZZZZZ-e", qty=1, limit_ticks=500,
        decision=DecisionPrices(495, 505, 600_000), deadline_utc=history.now + SECOND, permit=history.permit(1000),
    )  # fmt: skip
    history.feed(other)
    assert [m.ref.intent_id for m in history.all(positions.EntryAbandoned)] == ["intent-2"]
    assert history.cycle() is PositionState.OPEN
    assert len(history.all(orders.SubmitOrder)) == 1


def test_intent_told_twice_is_sent_once() -> None:
    history = History()
    history.open()
    history.open()
    assert len(history.all(orders.SubmitOrder)) == 1
    assert history.all(positions.EntryAbandoned) == []


def test_kill_raised_cancels_a_working_entry() -> None:
    history = History()
    history.open()
    history.ack()
    history.feed(risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=1, reason="test", by="test"))
    assert history.last(orders.CancelOrder).order_ref == ENTRY


def test_no_entry_starts_in_the_panic_window() -> None:
    history = History()
    history.phase(Phase.PANIC)
    history.open()
    assert history.all(orders.SubmitOrder) == []
    assert history.all(positions.EntryAbandoned)


def test_entry_found_working_after_a_lost_link_is_cancelled() -> None:
    history = History()
    history.open()
    history.ack()
    history.mode(Mode.DEGRADED)
    history.wait(6000)
    assert history.all(orders.CancelOrder) == []
    history.mode(Mode.WARMUP)
    history.reconciled(0)
    assert history.last(orders.RequestOrderState).order_ref == ENTRY
    history.found(ENTRY, working=True, filled=0)
    assert history.last(orders.CancelOrder).order_ref == ENTRY


def test_intent_whose_own_mail_made_the_actor_is_sent() -> None:
    """The ledger knows the reservation before the intent arrives, so a fresh actor starts from it."""
    history = History()
    history.restart(pending_position())
    history.open()
    assert len(history.all(orders.SubmitOrder)) == 1
    assert history.cycle() is PositionState.PENDING_ENTRY


def test_unverified_entry_found_working_is_cancelled_then_released() -> None:
    history = History()
    history.restart(pending_position())
    history.reconciled(0)
    assert history.last(orders.RequestOrderState).order_ref == ENTRY
    history.found(ENTRY, working=True, filled=0)
    assert history.last(orders.CancelOrder).order_ref == ENTRY
    history.ended(ENTRY, 0, "Cancelled")
    assert history.cycle() is PositionState.FLAT
    assert history.all(orders.SubmitOrder) == []


def test_unverified_entry_found_filled_opens() -> None:
    history = History()
    history.restart(pending_position())
    history.reconciled(2)
    history.found(ENTRY, working=False, filled=2)
    assert history.cycle() is PositionState.PENDING_ENTRY
    history.fill(2, 500)
    assert history.cycle() is PositionState.OPEN
    assert history.last(positions.PositionOpened).qty == 2


def test_unverified_entry_nowhere_is_released_after_deadline_and_wait_only() -> None:
    history = History()
    history.restart(pending_position())
    history.reconciled(0)
    history.missing(ENTRY)
    assert history.cycle() is PositionState.PENDING_ENTRY
    history.wait(20_001)
    assert history.last(orders.RequestOrderState).reply_to == NAME
    history.missing(ENTRY)
    assert history.cycle() is PositionState.FLAT
    assert history.all(orders.SubmitOrder) == []


def test_an_entry_that_sells_to_open_is_closed_by_a_buy_and_its_result_has_its_sign() -> None:
    history = History(replace(REF, side=Side.SELL, direction=-1))
    history.hold(2, 500)
    assert history.last_order.side is Side.SELL
    assert history.all(positions.PositionDisputed) == []
    history.feed(positions.FlattenPosition(reason=ExitReason.OPERATOR))
    assert history.last(orders.RecordExitIntent).side is Side.BUY
    assert (history.last_order.side, history.last_order.qty) == (Side.BUY, 2)
    history.run_to_exit()
    history.fill(2, 320, EXIT_1)
    history.fee(130)
    history.fee(130, EXIT_1)
    history.broker(0)
    assert history.last(positions.PositionClosed).realised_cents == 2 * (500 - 320) * 100 - 260
