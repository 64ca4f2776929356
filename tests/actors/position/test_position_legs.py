"""A position that is a leg of a structure: it opens and closes on its word, and what covers others is not sold."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from domain.instants import MINUTE, SECOND
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.tiers import Tier
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.position.exits import MarketWatch
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.units import Ticks, Utc
from messages import operator, orders, positions, restored, risk
from messages.restored import PositionRestored, Reservation
from tests.testkit.narrow import known
from tests.testkit.position_history import CLOSE, ENTRY, EXIT_1, REF, SESSION, History

COVER = replace(REF, structure_id="s1", strategy="spread")
SHORT = replace(COVER, side=Side.SELL, direction=-1)
SPY_CALL = Contract(812, "SPY", "SPY", SESSION, Ticks(60_000), Right.CALL)


def leg(history: History) -> positions.LegChanged:
    """Return what the leg said of itself last."""
    return history.last(positions.LegChanged)


def held(ref: object = COVER, qty: int = 1, price: int = 500) -> History:
    """Return a leg that is held."""
    history = History(COVER if ref is COVER else SHORT)
    history.hold(qty, price)
    return history


def flatten(history: History, reason: ExitReason = ExitReason.UNWIND) -> None:
    history.feed(positions.FlattenPosition(reason=reason))


def free(history: History, *, is_free: bool = True, structure_id: str = "s1") -> None:
    history.feed(positions.SetCover(structure_id=structure_id, is_free=is_free))


# -- a cover ------------------------------------------------------------------------------------------


def test_what_covers_is_not_sold_until_its_structure_says_so() -> None:
    history = held()
    flatten(history)
    history.wait(3_000)
    assert not history.all(orders.RecordExitIntent)
    assert (leg(history).exit_reason, leg(history).is_free) == (ExitReason.UNWIND, False)
    free(history)
    assert (history.last_order.side, history.last_order.qty) == (Side.SELL, 1)


@pytest.mark.parametrize("why", ["end of day", "kill"])
def test_neither_the_end_of_the_day_nor_a_kill_sells_it_before(why: str) -> None:
    history = held()
    if why == "kill":
        history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=4, reason="", by=""))
    else:
        history.phase(Phase.FLATTEN)
    assert not history.all(orders.RecordExitIntent)
    assert leg(history).exit_reason is (ExitReason.KILL if why == "kill" else ExitReason.EOD)
    history.wait(31_000)
    assert any("covers sold contracts" in alarm.text for alarm in history.all(operator.Alarm))
    free(history)
    assert history.last_order.order_type is OrderType.MARKET


def test_a_cover_that_is_taken_back_cancels_its_sale() -> None:
    history = held()
    free(history)
    history.quote(495, 505)
    flatten(history)
    history.order_sent(EXIT_1)
    history.ack(EXIT_1)
    free(history, is_free=False)
    assert history.last(orders.CancelOrder).order_ref == EXIT_1
    assert leg(history).is_free is False


def test_another_structures_word_frees_nothing() -> None:
    history = held()
    flatten(history)
    free(history, structure_id="s2")
    assert not history.all(orders.RecordExitIntent)


def test_a_plain_position_is_never_held_back() -> None:
    history = History()
    history.hold(1)
    flatten(history)
    assert history.all(orders.RecordExitIntent)
    assert not history.all(positions.LegChanged)


# -- no exits of its own -------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", [COVER, SHORT])
def test_a_leg_has_no_stop_no_target_and_no_clock_of_its_own(ref: object) -> None:
    history = held(ref, qty=2)
    for price in (100, 100, 900, 900):
        history.quote(price - 5, price + 5, spot=560_000)
        history.wait(1_000)
    history.wait(3_600_000)
    assert not history.all(orders.RecordExitIntent)
    assert history.cycle() is PositionState.OPEN


def test_an_entry_of_a_leg_waits_its_whole_deadline_at_the_price_it_has() -> None:
    history = History(SHORT)
    history.open(10, limit=500)
    history.order_sent()
    history.ack()
    history.quote(490, 505)
    history.wait(9_900)
    assert not history.all(orders.ModifyOrder)
    assert not history.all(orders.CancelOrder)
    history.wait(200)
    assert history.last(orders.CancelOrder).order_ref == ENTRY


# -- a short ------------------------------------------------------------------------------------------


def test_a_short_is_bought_back_at_the_ask_and_then_at_the_market() -> None:
    history = held(SHORT, qty=10)
    history.quote(520, 530)
    flatten(history)
    assert (history.last_order.side, history.last_order.qty, history.last_order.limit_ticks) == (Side.BUY, 10, 530)
    history.order_sent(EXIT_1)
    history.ack(EXIT_1)
    history.wait(2_100)
    assert history.last_change.order_type is OrderType.MARKET
    history.fill(10, 540, EXIT_1)
    history.ended(EXIT_1, 10)
    history.broker(0)
    history.wait(1_000)
    closed = history.last(positions.PositionClosed)
    assert closed.realised_cents == 10 * (500 - 540) * 100
    assert leg(history).is_flat


@pytest.mark.parametrize(("broker_qty", "is_clear"), [(1, True), (0, True), (-1, False)])
def test_a_short_is_clear_when_the_broker_says_so_after_its_last_fill(broker_qty: int, is_clear: bool) -> None:
    history = History(SHORT)
    history.open(10, limit=500)
    history.broker(0)
    history.order_sent()
    history.ack()
    history.wait(1)
    history.fill(10, 500)
    history.ended(ENTRY, 10)
    history.quote(520, 530)
    flatten(history)
    history.order_sent(EXIT_1)
    history.ack(EXIT_1)
    history.fill(10, 530, EXIT_1)
    history.ended(EXIT_1, 10)
    assert not leg(history).is_clear, "the broker's last word is older than the fills"
    history.broker(broker_qty)
    assert (leg(history).is_clear, leg(history).qty) == (is_clear, 0)
    if broker_qty:
        assert not leg(history).is_flat


def test_a_short_of_which_more_was_bought_back_than_sold_is_disputed_once_and_is_clear() -> None:
    history = held(SHORT, qty=10)
    history.quote(520, 530)
    flatten(history)
    history.order_sent(EXIT_1)
    history.ack(EXIT_1)
    history.fill(10, 530, EXIT_1)
    history.ended(EXIT_1, 10)
    history.fill(2, 530, "broker:7")  # somebody bought, too
    for _ in range(5):  # each read-back confirms what the executions say
        history.wait(1_000)
        history.broker(2)
    assert history.last(positions.PositionDisputed).why == "more was closed than held: -2"
    assert len(history.all(positions.PositionDisputed)) == len(history.all(risk.RaiseKill)) == 1
    assert (leg(history).qty, leg(history).is_clear, leg(history).missing_qty) == (-2, True, UNSET)


def test_a_working_limit_of_a_purchase_is_never_lowered() -> None:
    history = held(SHORT, qty=10)
    history.quote(520, 530)
    flatten(history, ExitReason.UNWIND)
    history.order_sent(EXIT_1)
    history.ack(EXIT_1)
    history.quote(480, 490)
    flatten(history, ExitReason.UNWIND)
    assert not [change for change in history.all(orders.ModifyOrder) if change.change.limit_ticks == 490]


def test_a_short_without_a_quote_goes_to_the_market_at_once() -> None:
    history = held(SHORT, qty=10)
    history.wait(6_000)
    flatten(history)
    assert history.last_order.order_type is OrderType.MARKET


def test_a_short_entry_that_is_given_up_says_so() -> None:
    history = History(SHORT)
    history.open(10)
    history.order_sent()
    history.ack()
    history.fill(4, 500)
    assert (leg(history).qty, leg(history).is_entry_over) == (4, False)
    flatten(history)
    assert history.last(orders.CancelOrder).order_ref == ENTRY
    history.ended(ENTRY, 4, "Cancelled")
    assert leg(history).is_entry_over
    assert (history.last_order.side, history.last_order.qty) == (Side.BUY, 4)


def test_an_entry_that_is_refused_at_once_is_told_as_flat() -> None:
    history = History(COVER)
    history.feed(risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="", by=""))
    history.open(1)
    assert (leg(history).is_flat, leg(history).is_entry_over, leg(history).qty) == (True, True, 0)


# -- asked, and started again --------------------------------------------------------------------------


def test_a_leg_that_is_asked_says_where_it_stands_and_an_unknown_one_is_flat() -> None:
    history = held()
    before = len(history.all(positions.LegChanged))
    history.feed(positions.RequestLeg(ref=COVER))
    assert (len(history.all(positions.LegChanged)) - before, leg(history).qty) == (1, 1)
    other = replace(COVER, position_id="ZH-paper-ZZZZZZZZZZZZ")
    history.feed(positions.RequestLeg(ref=other))
    assert (leg(history).ref, leg(history).is_flat) == (other, True)


def test_a_cover_that_is_started_again_is_held_back_until_it_is_told_once_more() -> None:
    history = held()
    free(history)
    reservation = Reservation(
        ref=COVER, order_ref=ENTRY, qty=1, limit_ticks=500, deadline_utc=history.now, is_open=True
    )
    fill = restored.OrderFill(
        order_ref=ENTRY, is_exit=False, side=Side.BUY, qty=1, cost_ticks=500, fees_cents=0, charged_qty=1,
        first_utc=history.now,
    )  # fmt: skip
    history.restart(
        PositionRestored(
            reservation=reservation, fills=(fill,), state=PositionState.OPEN, exit_reason=None, exit_kind=None,
            exit_n=0, exit_order_ref=None, tier=Tier.NONE, entry_spot_ticks=None, entry_iv=None, opened_utc=history.now,
            took_part=False,
        )
    )  # fmt: skip
    sold = len(history.all(orders.RecordExitIntent))
    flatten(history)
    assert len(history.all(orders.RecordExitIntent)) == sold
    assert known(leg(history)).is_free is False


# -- a leg that somebody else closed ------------------------------------------------------------------


def test_a_cover_that_the_broker_no_longer_holds_is_told_and_looked_into_after_five_seconds() -> None:
    history = held()
    history.broker(0)
    history.wait(4_900)
    assert leg(history).missing_qty is UNSET
    asked = len(history.all(orders.RequestOrderState))
    history.wait(200)
    assert (leg(history).qty, leg(history).missing_qty) == (1, 1)
    assert len(history.all(orders.RequestOrderState)) == asked + 1, "its execution is found, if there is one"
    history.broker(1)
    assert leg(history).missing_qty is UNSET


def test_a_plain_position_waits_before_it_asks_again() -> None:
    history = History()
    history.hold(1)
    history.broker(0)
    history.wait(5_100)
    assert not history.all(orders.RequestOrderState)


# -- a short whose end nobody told ---------------------------------------------------------------------


def gone(history: History) -> positions.PositionClosed:
    """Let the broker hold nothing of it any more, without an execution that would say why, until it is booked."""
    history.broker(0)
    history.wait(3_000)
    history.broker(0)
    history.wait(31_000)
    history.broker(0)
    history.wait(1_000)
    return history.last(positions.PositionClosed)


def test_a_short_that_somebody_else_closed_is_booked_at_its_ask_and_never_as_bought_back_for_nothing() -> None:
    history = held(SHORT, qty=10)
    history.quote(900, 930)
    closed = gone(history)
    assert (closed.end, closed.realised_cents) == (EndReason.BROKER_LIQUIDATION, 10 * (500 - 930) * 100)
    assert "last ask 9.30" in next(a.text for a in history.all(operator.Alarm) if a.key.startswith("gone:"))


def test_a_short_without_any_quote_that_somebody_else_closed_brings_no_profit() -> None:
    history = held(SHORT, qty=10)
    history.state.watch = MarketWatch(history.now)
    assert gone(history).realised_cents == 0


@pytest.mark.parametrize(("contract", "is_halted"), [(REF.contract, False), (SPY_CALL, True)])
@pytest.mark.parametrize("has_quote", [True, False])
def test_a_short_that_expired_at_an_unknown_price_is_not_booked_as_worthless(
    contract: Contract, *, is_halted: bool, has_quote: bool
) -> None:
    history = History(replace(SHORT, contract=contract))
    history.now = Utc(CLOSE - 46 * MINUTE)
    history.hold(10)
    history.advance(Utc(CLOSE - 5 * SECOND))
    history.quote(900, 930)
    history.state.watch = history.state.watch if has_quote else MarketWatch(history.now)
    history.state.watch = replace(history.state.watch, spot=None)
    history.advance(CLOSE)
    history.found(history.last_order.order_ref, working=False, filled=0)
    history.wait(1_000)
    levels = len(history.all(risk.RaiseKill))
    history.broker(0)
    closed = history.last(positions.PositionClosed)
    assert (closed.end, closed.realised_cents) == (
        EndReason.EXPIRED_UNPRICED, 10 * (500 - 930) * 100 if has_quote else 0
    )  # fmt: skip
    assert len(history.all(risk.RaiseKill)) - levels == is_halted
