"""Exits that the broker refuses, and whoever holds something and cannot close it: no silence, no storm."""

from __future__ import annotations

import pytest

from domain.alarm import Severity
from domain.instruments import OrderType
from domain.orders.live_order import LegStage
from domain.orders.tiers import Tier
from domain.position.cycle import ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import broker, entries, market, operator, orders, positions, risk, signals
from tests.testkit.position_history import EXIT_1, EXIT_2, STEM, T0, History, held_position, settings, tape


def selling(qty: int = 2) -> History:
    """A position whose premium stop has just been sent."""
    history = History()
    history.hold(qty)
    tape(history, [(320, 325), (320, 325)])
    return history


def refuse(history: History, words: str = "Order rejected - reason: no margin") -> None:
    """The exit order that was sent last is rejected, and the read-back finds nothing of it."""
    ref = history.last_order.order_ref
    history.order_sent(ref)
    history.feed(orders.OrderRejected(order_ref=ref, vendor_code=201, text=words))
    history.found(ref, working=False, filled=0)


def pages(history: History, about: str) -> list[operator.Alarm]:
    return [alarm for alarm in history.all(operator.Alarm) if alarm.key.startswith(about)]


def halts(history: History) -> list[risk.RaiseKill]:
    return [kill for kill in history.all(risk.RaiseKill) if "cannot be closed" in kill.reason]


def quoted_for(history: History, ms: int, bid: int = 320) -> None:
    for _ in range(ms // 500):
        history.wait(500)
        history.quote(bid, bid + 5)


def test_refused_exits_back_off_and_an_agreeing_read_back_does_not_void_it() -> None:
    history = selling()
    refuse(history)
    history.broker(2)
    assert len(history.all(orders.SubmitOrder)) == 2
    for _ in range(90):
        quoted_for(history, 500)
        history.broker(2)
        if history.state.orders.exit is not None and history.state.orders.exit.stage is LegStage.SENT:
            refuse(history)
            history.broker(2)
    assert len(history.all(orders.SubmitOrder)) <= 7  # in 45 s: after 2, 4, 8, 16 and 16 s


def test_three_refusals_are_an_alarm_with_the_brokers_words_and_level_one_and_every_further_one_is_a_page() -> None:
    history = selling()
    for n in range(1, 6):
        refuse(history, f"words {n}")
        assert [f"words {n} (201)" in p.text for p in pages(history, "refused:")] == [False] * (n - 3) + [True] * (
            n >= 3
        )
        assert len([kill for kill in history.all(risk.RaiseKill, "kill") if "refused its exit" in kill.reason]) == (
            n >= 3
        )
        quoted_for(history, 17_000)
    assert history.last(risk.RaiseKill).level is KillLevel.NO_ENTRIES
    assert {page.severity for page in pages(history, "refused:")} == {Severity.CRITICAL}


def test_what_was_refused_is_not_tried_again_as_it_was() -> None:
    history = selling()
    tried = []
    for _ in range(4):
        tried.append((history.last_order.order_type, history.last_order.limit_ticks))
        refuse(history)
        quoted_for(history, 17_000)
    assert [order_type for order_type, _ in tried] == [
        OrderType.LIMIT, OrderType.MARKET, OrderType.LIMIT, OrderType.MARKET,
    ]  # fmt: skip
    assert tried[2][1] == 285  # 320 less 10 %: it would fill as the market order would


def test_a_refusal_told_twice_counts_once() -> None:
    history = selling()
    history.order_sent(EXIT_1)
    rejected = orders.OrderRejected(order_ref=EXIT_1, vendor_code=201, text="no")
    history.feed(rejected)
    history.feed(rejected)
    assert history.state.refusals == 1


def test_a_limit_in_place_of_a_refused_market_order_follows_the_market_down() -> None:
    history = selling()
    refuse(history)
    quoted_for(history, 2000)
    refuse(history)
    quoted_for(history, 4000)
    ref = history.last_order.order_ref
    assert history.last_order.limit_ticks == 285
    history.run_to_exit(ref)
    quoted_for(history, 5000, bid=200)
    assert history.last(orders.RequestOrderState).order_ref == ref
    history.found(ref, working=True, filled=0, order_type=OrderType.LIMIT, limit=285)
    assert (history.last_change.order_type, history.last_change.limit_ticks) == (OrderType.LIMIT, 180)


def test_a_fill_forgets_the_refusals() -> None:
    history = selling()
    refuse(history)
    quoted_for(history, 2500)
    history.run_to_exit(EXIT_2)
    history.fill(1, 320, EXIT_2)
    assert (history.state.refusals, history.state.refused_type) == (0, None)


def test_refused_changes_are_replaced_at_once_the_first_time_and_then_in_measure() -> None:
    history = selling()
    for n in range(1, 4):
        ref = f"{STEM}-x{n}"
        assert history.last_order.order_ref == ref
        history.run_to_exit(ref)
        history.feed(positions.FlattenPosition(reason=ExitReason.KILL))
        history.feed(orders.ModifyRefused(order_ref=ref, vendor_code=10148, text="cannot be changed"))
        history.ended(ref, 0, "Cancelled")
        sent = len(history.all(orders.SubmitOrder))
        assert sent == (3 if n == 1 else n + 1)
        quoted_for(history, 8500)
    assert pages(history, "refused:")


# -- held back, in doubt ---------------------------------------------------------------------------


def test_an_exit_held_back_after_a_refusal_is_sent_once_the_pauses_are_over() -> None:
    history = selling()
    refuse(history)
    quoted_for(history, 2000)
    assert history.last_order.order_ref == EXIT_2
    history.feed(orders.ExitHeld(order_ref=EXIT_2, mode=Mode.WARMUP, allows_exits=True))
    assert history.state.is_link_up is None
    quoted_for(history, 1500)
    assert history.last_order.order_ref == EXIT_2
    quoted_for(history, 500)
    assert history.last_order.order_ref == f"{STEM}-x3"


def test_an_exit_held_back_on_a_dead_link_waits_for_the_reconciliation() -> None:
    history = selling()
    history.feed(orders.ExitHeld(order_ref=EXIT_1, mode=Mode.DEGRADED))
    quoted_for(history, 10_000)
    assert history.last_order.order_ref == EXIT_1
    history.reconciled(2)
    assert history.last_order.order_ref == EXIT_2


def test_a_reconciliation_does_not_shorten_the_pause_after_a_refusal() -> None:
    history = selling()
    refuse(history)
    history.reconciled(2)
    assert history.last_order.order_ref == EXIT_1
    quoted_for(history, 2000)
    assert history.last_order.order_ref == EXIT_2


@pytest.mark.parametrize("change", ["tier", "growth"])
def test_an_exit_in_doubt_is_neither_changed_nor_grown_before_it_is_found(change: str) -> None:
    history = History()
    history.hold(3)
    tape(history, [(745, 755)])
    history.run_to_exit()
    history.ended(EXIT_1, 0, "Cancelled")  # nobody asked for it: the broker is asked
    assert history.last(orders.RequestOrderState).order_ref == EXIT_1
    if change == "tier":
        history.phase(Phase.PANIC)
    else:
        history.feed(positions.FlattenPosition(reason=ExitReason.KILL))
    assert history.all(orders.ModifyOrder) == []
    assert len(history.all(orders.SubmitOrder)) == 2
    history.found(EXIT_1, working=True, filled=0, qty=2, order_type=OrderType.LIMIT, limit=750)
    expected = (OrderType.MARKET, 2 if change == "tier" else 3)
    assert (history.last_change.order_type, history.last_change.qty) == expected


def test_never_more_is_sent_than_is_held_when_it_is_sent() -> None:
    history = History()
    history.hold(2)
    history.records_exits = False
    tape(history, [(320, 325), (320, 325)])
    history.fill(1, 330, f"{STEM}-x0")  # a late fill of an earlier exit, while the intent is being recorded
    history.feed(orders.ExitIntentRecorded(order_ref=EXIT_1, tier=Tier.BID))
    assert (history.last_order.order_ref, history.last_order.qty) == (EXIT_1, 1)


def test_nothing_is_sent_when_nothing_is_held_any_more_at_the_broker() -> None:
    history = History()
    history.hold(2)
    history.records_exits = False
    tape(history, [(320, 325), (320, 325)])
    history.broker(0)
    history.feed(orders.ExitIntentRecorded(order_ref=EXIT_1, tier=Tier.BID))
    assert len(history.all(orders.SubmitOrder)) == 1
    assert history.state.orders.exit is None


def test_a_read_back_of_before_an_order_was_sent_does_not_end_it() -> None:
    history = selling()
    history.run_to_exit()
    before = history.now - 10_000_000_000
    stale = orders.OrderFound(
        order_ref=EXIT_1, perm_id=9, is_working=False, filled_qty=0, qty=2, order_type=None, limit_ticks=None,
        status="Cancelled", read_back_utc=before,
    )  # fmt: skip
    history.feed(stale)
    assert history.state.orders.exit is not None
    history.wait(2000)
    assert len(history.all(orders.SubmitOrder)) == 2


# -- whoever holds and cannot close, pages ---------------------------------------------------------


def stuck_link(history: History) -> None:
    history.mode(Mode.DEGRADED)


def stuck_unreconciled(history: History) -> None:
    history.mode(Mode.DATA_ONLY)


def stuck_read_only(history: History) -> None:
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    refuse(history, "The API interface is currently in Read-Only mode.")


def stuck_halted(history: History) -> None:
    history.feed(market.HaltChanged(ticker="SPX", is_halted=True, at_utc=history.now))
    history.feed(positions.FlattenPosition(reason=ExitReason.KILL))


def stuck_unquoted(history: History) -> None:
    history.wait(6000)
    history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=T0))


def stuck_in_doubt(history: History) -> None:
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    history.order_sent(EXIT_1)


def stuck_unfilled(history: History) -> None:
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    history.run_to_exit()


def stuck_disputed(history: History) -> None:
    history.broker(0)
    history.feed(positions.FlattenPosition(reason=ExitReason.KILL))


def stuck_denied(history: History) -> None:
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    history.feed(broker.OrderDenied(order_ref=EXIT_1, code=RejectCode.NOT_CONNECTED, why="the port has no socket"))


STUCK = {
    "the link is down": (stuck_link, "mode DEGRADED"),
    "it is not reconciled": (stuck_unreconciled, "mode DATA_ONLY"),
    "the gateway is read-only": (stuck_read_only, "Read-Only"),
    "trading is halted": (stuck_halted, "halted"),
    "the order is in doubt": (stuck_in_doubt, "nobody knows what became of order"),
    "the order does not fill": (stuck_unfilled, "does not fill"),
    "the broker holds nothing": (stuck_disputed, "the broker 0"),
    "the port denies it": (stuck_denied, "not_connected: the port has no socket"),
}


def stay(history: History, why: str, ms: int) -> None:
    """Let time pass; an order that does not fill is found working whenever it is asked for."""
    until = history.now + ms * 1_000_000
    while history.now < until:
        history.wait(100)
        exit_ = history.state.orders.exit
        if exit_ is not None and exit_.stage is LegStage.UNKNOWN and why == "the order does not fill":
            history.found(EXIT_1, working=True, filled=0, order_type=OrderType.MARKET)


@pytest.mark.parametrize("why", STUCK)
def test_whoever_holds_and_cannot_close_pages_with_the_reason_every_thirty_seconds(why: str) -> None:
    stick, words = STUCK[why]
    history = History()
    history.hold(2)
    history.mode(Mode.FULLY_LIVE)
    stick(history)
    stay(history, why, 29_900)
    assert pages(history, "stuck:") == []
    history.wait(100)
    page = pages(history, "stuck:")[0]
    assert words in page.text
    assert "+2" in page.text
    assert page.severity is Severity.CRITICAL
    history.wait(29_900)
    assert len(pages(history, "stuck:")) == 1
    history.wait(200)
    assert len(pages(history, "stuck:")) == 2


def test_an_exit_that_fills_stops_the_clock_of_what_cannot_be_closed() -> None:
    history = History()
    history.hold(2)
    history.mode(Mode.FULLY_LIVE)
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    history.run_to_exit()
    assert ("stuck", "") in history.timers
    history.broker(0)  # the broker is faster than the ledger
    history.fill(2, 510, EXIT_1)
    assert ("stuck", "") not in history.timers


@pytest.mark.parametrize("why", STUCK)
def test_whoever_holds_and_cannot_close_raises_level_one_once_and_overrules_nobody_who_lowers_it(why: str) -> None:
    stick, words = STUCK[why]
    history = History()
    history.hold(2)
    history.mode(Mode.FULLY_LIVE)
    stick(history)
    stay(history, why, 35_000)
    history.feed(risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=3, reason="known", by="ann"))
    stay(history, why, 30_000)
    assert len(pages(history, "stuck:")) == 2
    (halt,) = halts(history)
    assert (halt.level, halt.by) == (KillLevel.NO_ENTRIES, "position:paper:812")
    assert words in halt.reason


def test_what_can_close_again_and_then_cannot_raises_level_one_anew() -> None:
    history = History()
    history.hold(2)
    history.mode(Mode.FULLY_LIVE)
    for n in (1, 2):
        history.mode(Mode.DEGRADED)
        quoted_for(history, 29_500, bid=495)
        assert len(halts(history)) == n - 1
        quoted_for(history, 500, bid=495)
        assert len(halts(history)) == n
        history.mode(Mode.WARMUP)


def test_a_position_without_a_quote_pages_when_its_exit_waits_for_one() -> None:
    history = History()
    history.hold(2)
    stuck_unquoted(history)
    assert history.cycle() is PositionState.PENDING_EXIT
    assert len(history.all(orders.SubmitOrder)) == 1
    history.wait(30_000)
    assert pages(history, "stuck:")


def test_level_two_that_is_not_carried_out_pages_with_the_open_quantity() -> None:
    history = History()
    history.hold(3)
    history.mode(Mode.DEGRADED)
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=2, reason="test", by="test"))
    history.wait(90_000)
    found = pages(history, "stuck:")
    assert len(found) == 3
    assert "kill level 2" in found[0].text
    assert "+3" in found[0].text


def test_a_position_that_is_open_and_could_close_pages_nobody() -> None:
    history = History()
    history.hold(2)
    history.mode(Mode.FULLY_LIVE)
    quoted_for(history, 60_000, bid=495)
    assert history.all(operator.Alarm) == []


def test_a_fill_on_the_way_out_starts_the_clock_again() -> None:
    history = History()
    history.hold(2)
    stuck_unfilled(history)
    history.wait(20_000)
    history.fill(1, 400, EXIT_1)
    history.wait(20_000)
    assert pages(history, "stuck:") == []
    history.wait(10_000)
    assert pages(history, "stuck:")


@pytest.mark.parametrize("mode", [Mode.DATA_ONLY, Mode.DEGRADED, None])
def test_a_position_restored_without_a_live_link_pages(mode: Mode | None) -> None:
    history = History()
    history.restart(held_position())
    if mode is not None:
        history.mode(mode)
    for _ in range(30):
        history.wait(1000)
        history.quote(495, 505)
    page = pages(history, "stuck:")[0]
    assert ("not said yet" if mode is None else mode.value) in page.text


def test_a_permit_is_over_at_its_expiry_and_a_new_one_is_asked_for() -> None:
    step_ms = settings().exits.entry_step_ms
    for permit_ms, asked in ((step_ms, 1), (step_ms + 1, 0)):
        history = History()
        history.open(limit=480, ask=520, permit_ms=permit_ms)
        history.order_sent()
        history.ack()
        history.quote(480, 520)
        history.wait(step_ms)
        assert len(history.all(entries.RequestPermit)) == asked
        assert len(history.all(orders.ModifyOrder)) == 1 - asked


def test_a_change_of_an_exit_has_as_long_as_a_lost_order_is_waited_for() -> None:
    history = selling()
    history.run_to_exit()
    history.feed(positions.FlattenPosition(reason=ExitReason.KILL))
    change = history.last_change
    assert change.deadline_utc == history.now + settings().connection.abandon_wait_ms * 1_000_000


def test_an_exit_that_is_held_back_under_another_reference_leaves_the_present_one_alone() -> None:
    history = selling()
    before = history.state.orders
    history.feed(orders.ExitHeld(order_ref=EXIT_2, mode=Mode.WARMUP, allows_exits=True))
    assert history.state.orders == before
    assert "WARMUP" in history.state.trouble
