"""Ledger and broker that differ: what both hold can be closed, the rest is a dispute, and a short is bought back."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.instruments import OrderType, Side
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import broker, operator, orders, positions, risk
from tests.testkit.position_history import ENTRY, EXIT_1, EXIT_2, History, settings, tape


def killed(history: History) -> None:
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=2, reason="test", by="test"))


def quoted_for(history: History, seconds: int) -> None:
    """Time passes with a market that changes nothing."""
    for _ in range(seconds):
        history.wait(1000)
        history.quote(495, 505)


# -- a part closed by somebody else ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "kill", "close of the day"])
def test_a_part_closed_position_is_sold_as_far_as_the_broker_holds_it(how: str) -> None:
    history = History()
    history.hold(10)
    history.broker(9)
    if how == "stop":
        tape(history, [(320, 325), (320, 325)])
    elif how == "kill":
        killed(history)
    else:
        history.phase(Phase.FLATTEN)
    assert (history.last_order.order_ref, history.last_order.qty) == (EXIT_1, 9)
    assert history.last(orders.RecordExitIntent).qty == 9


def test_an_exit_denied_as_an_oversale_goes_for_what_the_broker_holds() -> None:
    history = History()
    history.hold(10)
    tape(history, [(320, 325), (320, 325)])
    assert history.last_order.qty == 10
    denied = broker.OrderDenied(order_ref=EXIT_1, code=RejectCode.EXIT_OVERSELL, why="broker holds 9", broker_qty=9)
    history.feed(denied)
    history.wait(2000)
    assert (history.last_order.order_ref, history.last_order.qty) == (EXIT_2, 9)


def test_a_difference_that_lasts_is_a_dispute_and_stands_in_no_ones_way() -> None:
    history = History()
    history.hold(10)
    history.mode(Mode.FULLY_LIVE)
    history.broker(9)
    history.wait(4999)
    assert history.all(positions.PositionDisputed) == []
    history.wait(1)
    disputed = history.last(positions.PositionDisputed)
    assert (disputed.ledger_qty, disputed.broker_qty) == (10, 9)
    assert history.last(risk.RaiseKill).level is KillLevel.NO_ENTRIES
    history.phase(Phase.FLATTEN)
    history.run_to_exit()
    history.fill(9, 400, EXIT_1)
    assert history.state.fills.held == 1
    assert len(history.all(orders.SubmitOrder)) == 2


def test_a_working_exit_is_cut_to_what_the_broker_holds_once_the_difference_lasts() -> None:
    history = History()
    history.hold(10)
    history.mode(Mode.FULLY_LIVE)
    tape(history, [(320, 325), (320, 325)])
    history.run_to_exit()
    history.broker(9)
    assert history.all(orders.CancelOrder) == []  # the fill of this very order may be on its way
    for _ in range(5):
        history.wait(1000)
        history.quote(320, 325)
    assert history.last(orders.CancelOrder).order_ref == EXIT_1
    history.ended(EXIT_1, 0, "Cancelled")
    assert (history.last_order.order_ref, history.last_order.qty) == (EXIT_2, 9)


def test_a_fill_still_on_its_way_from_the_ledger_is_no_reason_to_sell_less_or_cancel() -> None:
    history = History()
    history.hold(10)
    tape(history, [(320, 325), (320, 325)])
    history.run_to_exit()
    history.broker(6)
    history.fill(4, 320, EXIT_1)
    history.wait(2000)
    assert (history.last_change.order_type, history.last_change.qty) == (OrderType.MARKET, 10)
    assert history.all(orders.CancelOrder) == []


def test_what_the_broker_has_adopted_for_us_gets_its_exit_though_its_price_is_not_known() -> None:
    """Ledger 0, broker 2: the fill is made from the broker's position."""
    history = History()
    history.open(qty=2)
    history.ack()
    history.wait(8000)
    history.ended(ENTRY, 0, "Cancelled")
    assert history.cycle() is PositionState.FLAT
    history.fill(2, 0, is_price_known=False)
    history.broker(2)
    assert history.last(positions.FillBooked).price_ticks is None
    history.quote(495, 505)
    assert history.wanted_reason is ExitReason.BLIND  # no stop can guard what nobody knows the cost of
    assert (history.last_order.side, history.last_order.qty) == (Side.SELL, 2)


def test_adopted_contracts_have_their_stops_on_the_brokers_average_cost() -> None:
    history = History()
    history.open(qty=2)
    history.ack()
    history.fill(2, 500, is_price_known=False)
    history.broker(2)
    tape(history, [(495, 505)])
    assert history.cycle() is PositionState.OPEN
    tape(history, [(320, 325), (320, 325)])
    assert history.wanted_reason is ExitReason.PREMIUM_STOP


def test_a_flat_position_whose_broker_holds_something_is_a_dispute() -> None:
    history = History()
    history.hold(1)
    history.phase(Phase.PANIC)
    killed(history)
    history.run_to_exit()
    history.fill(1, 490, EXIT_1)
    history.broker(0)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT
    history.broker(2)
    history.wait(5000)
    disputed = history.last(positions.PositionDisputed)
    assert disputed.broker_qty == 2
    assert history.last(risk.RaiseKill).level is KillLevel.NO_ENTRIES


# -- closed by somebody else -----------------------------------------------------------------------


def test_a_position_closed_by_hand_ends_as_the_brokers_and_not_at_its_intrinsic_value() -> None:
    history = History()
    history.hold(2)
    history.mode(Mode.FULLY_LIVE)
    history.quote(480, 490)
    history.broker(0)
    quoted_for(history, 5)
    assert history.all(positions.PositionDisputed)
    history.broker(0)
    quoted_for(history, 29)
    assert history.all(positions.PositionClosed) == []
    history.wait(1000)
    history.broker(0)
    closed = history.last(positions.PositionClosed)
    assert (closed.end, closed.realised_cents) == (EndReason.BROKER_LIQUIDATION, 2 * (495 - 500) * 100)
    assert any("somebody else" in alarm.text for alarm in history.all(operator.Alarm))
    assert history.cycle() is PositionState.FLAT
    assert len(history.all(orders.SubmitOrder)) == 1


def test_a_zero_of_the_broker_that_is_not_read_again_ends_nothing() -> None:
    history = History()
    history.hold(2)
    history.mode(Mode.FULLY_LIVE)
    history.broker(0)
    quoted_for(history, 60)
    assert history.cycle() is PositionState.OPEN
    assert history.all(orders.RequestOrderState)  # it is asked for


def sold_by_others(history: History, total: int, price: int = 450) -> None:
    """The ledger has found an execution of somebody else that closed what is held."""
    history.feed(
        orders.FillRecorded(
            order_ref="broker:77", con_id=812, side=Side.SELL, exec_id=f"f{total}", revision=1, qty=1,
            price_ticks=price, at_utc=history.now, filled_qty_total=total, filled_cost_ticks_total=total * price,
        )
    )  # fmt: skip


def test_what_the_ledger_knows_to_be_sold_by_others_ends_the_position_at_its_price_and_fees() -> None:
    history = History()
    history.hold(2)
    history.mode(Mode.FULLY_LIVE)
    history.fee(130)
    sold_by_others(history, 2)
    history.feed(
        orders.CommissionRecorded(order_ref="broker:77", con_id=812, commission_cents_total=90, charged_qty_total=2)
    )
    history.broker(0)
    closed = history.last(positions.PositionClosed)
    assert (closed.end, closed.fees_cents) == (EndReason.BROKER_LIQUIDATION, 220)
    assert closed.realised_cents == 2 * (450 - 500) * 100 - 220


def test_a_working_exit_is_cut_when_others_have_sold_a_part() -> None:
    history = History()
    history.hold(2)
    tape(history, [(320, 325), (320, 325)])
    history.run_to_exit()
    sold_by_others(history, 1)
    assert history.last(orders.CancelOrder).order_ref == EXIT_1
    history.ended(EXIT_1, 0, "Cancelled")
    assert (history.last_order.order_ref, history.last_order.qty) == (EXIT_2, 1)
    history.run_to_exit(EXIT_2)
    history.fill(1, 320, EXIT_2)
    history.broker(0)
    history.wait(300)
    assert history.last(positions.PositionClosed).end is EndReason.CLOSED


# -- a short ---------------------------------------------------------------------------------------


def test_a_short_of_what_may_only_be_held_long_is_told_once_and_told_to_be_gone() -> None:
    history = History()
    history.hold(1)
    history.broker(-2)
    history.broker(-2)
    history.broker(1)
    assert [found.qty for found in history.all(positions.ShortFound)] == [-2, 0]
    assert len(history.all(orders.SubmitOrder)) == 1


def test_kill_level_two_buys_back_what_the_broker_holds_short() -> None:
    history = History()
    history.hold(2)
    tape(history, [(320, 325), (320, 325)])
    history.run_to_exit()
    history.fill(2, 320, EXIT_1)
    history.broker(-2)
    assert len(history.all(orders.SubmitOrder)) == 2
    killed(history)
    bought = history.last(orders.SubmitOrder)
    assert (bought.order.order_ref, bought.order.side, bought.order.qty) == (EXIT_2, Side.BUY, 2)
    assert (bought.order.order_type, bought.order.is_exit, bought.held_qty) == (OrderType.MARKET, True, 2)
    assert history.last(orders.RecordExitIntent).side is Side.BUY
    history.run_to_exit(EXIT_2)
    history.feed(fill_of_buy_back(history, 2))
    history.broker(0)
    history.wait(5000)
    assert len(history.all(orders.SubmitOrder)) == 3


def fill_of_buy_back(history: History, qty: int) -> orders.FillRecorded:
    return orders.FillRecorded(
        order_ref=EXIT_2, con_id=812, side=Side.BUY, exec_id="b1", revision=1, qty=qty, price_ticks=330,
        at_utc=history.now, filled_qty_total=qty, filled_cost_ticks_total=qty * 330,
    )  # fmt: skip


def test_a_short_found_at_level_two_while_flat_is_bought_back_and_the_result_has_it() -> None:
    history = History()
    history.hold(1)
    history.phase(Phase.FLATTEN)
    history.run_to_exit()
    history.fill(1, 400, EXIT_1)
    history.broker(0)
    history.wait(300)
    assert history.cycle() is PositionState.FLAT
    killed(history)
    history.fill(1, 400, EXIT_1)  # another execution of the same order: one too many was sold
    history.broker(-1)
    assert (history.last_order.side, history.last_order.qty) == (Side.BUY, 1)
    history.run_to_exit(EXIT_2)
    history.feed(fill_of_buy_back(history, 1))
    history.broker(0)
    history.wait(300)
    closed = history.last(positions.PositionClosed)
    assert (closed.is_correction, closed.realised_cents) == (True, (400 + 400 - 500 - 330) * 100)


@pytest.mark.parametrize("is_flat", [True, False])
def test_a_short_that_no_fill_explains_is_bought_back_too(is_flat: bool) -> None:
    history = History()
    history.hold(1)
    if is_flat:
        history.feed(positions.FlattenPosition(reason=ExitReason.OPERATOR))
        history.run_to_exit()
        history.fill(1, 490, EXIT_1)
        history.broker(0)
        history.wait(300)
        assert history.cycle() is PositionState.FLAT
    history.broker(-2)
    killed(history)
    bought = history.last_order
    assert (bought.side, bought.qty, bought.order_type) == (Side.BUY, 2, OrderType.MARKET)
    history.run_to_exit(bought.order_ref)
    history.feed(replace(fill_of_buy_back(history, 2), order_ref=bought.order_ref))
    sent = len(history.all(orders.SubmitOrder))
    history.wait(2000)
    assert len(history.all(orders.SubmitOrder)) == sent  # what was bought back is not sold again


def test_a_sell_that_works_is_cancelled_before_a_short_is_bought_back() -> None:
    history = History()
    history.hold(2)
    tape(history, [(320, 325), (320, 325)])
    history.run_to_exit()
    killed(history)
    history.broker(-1)
    assert history.last(orders.CancelOrder).order_ref == EXIT_1
    assert all(m.order.side is Side.SELL for m in history.all(orders.SubmitOrder) if m.order.is_exit)
    history.ended(EXIT_1, 0, "Cancelled")
    assert (history.last_order.side, history.last_order.qty) == (Side.BUY, 1)


def test_a_short_after_hours_is_not_bought_back() -> None:
    history = History()
    history.hold(1)
    history.phase(Phase.CLOSED)
    history.broker(-1)
    killed(history)
    assert len(history.all(orders.SubmitOrder)) == 1


def test_an_order_in_doubt_is_asked_about_again_and_again() -> None:
    history = History()
    history.open()
    history.order_sent()
    wait_ms = settings().connection.query_wait_ms
    history.wait(settings().exits.ack_wait_ms)
    for n in (1, 2, 3):
        assert len(history.all(orders.RequestOrderState)) == n
        history.wait(wait_ms)


def test_a_difference_is_no_dispute_while_the_link_is_down() -> None:
    history = History()
    history.hold(2)
    history.mode(Mode.FULLY_LIVE)
    history.broker(1)
    history.mode(Mode.DEGRADED)
    history.wait(settings().exits.agreement_ms + 1)
    assert history.all(positions.PositionDisputed) == []


def test_what_is_closed_is_no_dispute_while_its_entry_may_still_fill() -> None:
    history = History()
    history.mode(Mode.FULLY_LIVE)
    history.open(3)
    history.order_sent()
    history.ack()
    history.fill(2, 500)
    history.quote(495, 505)
    history.feed(positions.FlattenPosition(reason=ExitReason.KILL))
    history.wait(settings().exits.cancel_confirm_ms)
    history.run_to_exit()
    history.broker(1)  # read before the fill: it differs, and a wait begins
    history.wait(1)
    history.fill(2, 495, EXIT_1)
    history.ended(EXIT_1, 2)
    assert history.state.fills.held == 0
    assert history.state.orders.entry is not None
    assert history.state.agree_due_utc is not None
    history.wait(settings().exits.agreement_ms + 1)
    assert history.all(positions.PositionDisputed) == []
