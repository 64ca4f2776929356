"""The broker session's actor, fed with histories of messages: modes, reconciliation, permits, and every order fault."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from config.tree import Gateway
from domain.alarm import Severity
from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.orders.intent import Permit
from domain.orders.table import CodeMeaning, OrderStage, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.dialling import first_epoch
from domain.session.modes import AccountClass, Mode
from messages import broker, market, orders, positions, risk, session
from messages.operator import Alarm
from messages.restored import IbkrRestored, OwnOrder
from supervision.effects import Tell
from tests.testkit.ibkr_history import (
    ENTRY,
    EXIT,
    EXIT_2,
    NOON,
    OWNER,
    PORT,
    History,
    broker_fill,
    broker_order,
    ended_order,
)
from tests.testkit.ibkr_world import SETTINGS

REFUSED, REJECTED, UNKNOWN = CodeMeaning.ORDER_REFUSED, CodeMeaning.ORDER_REJECTED, CodeMeaning.ORDER_UNKNOWN
TWO_GATEWAYS = SETTINGS.model_copy(
    update={"broker": dataclasses.replace(SETTINGS.broker, gateways=(Gateway("a", 4002), Gateway("b", 4002)))}
)
OWN_ENTRY = IbkrRestored(orders=(OwnOrder(order_ref=ENTRY, con_id=7, is_exit=False, side=Side.BUY, qty=2),))


# -- modes and reconciliation -------------------------------------------------------------------


def test_first_session_reads_back_reconciles_warms_up_and_goes_live() -> None:
    h = History().start(run_n=5)
    dial = h.told(broker.Dial, PORT)[0]
    assert (dial.session_epoch, dial.gateway_n) == (first_epoch(5, 1) + 1, 0)
    h.up()
    assert h.published(session.AccountChecked)
    assert h.told(broker.ReadBack)[0].session_epoch == dial.session_epoch
    h.broker_read(held={7: 2})
    assert h.told(session.Reconcile, "desk_ledger")
    assert h.mode() is Mode.DATA_ONLY
    h.reconciled()
    assert h.mode() is Mode.WARMUP
    assert [finished.positions for finished in h.published(session.ReconcileFinished)] == [((7, 2),)]
    h.sleep(59.9)
    assert h.mode() is Mode.WARMUP
    h.sleep(0.2)
    assert h.mode() is Mode.FULLY_LIVE
    changes = [(message.mode, message.mode_n) for message in h.published(session.ModeChanged)]
    assert changes == [(Mode.DATA_ONLY, 0), (Mode.WARMUP, 1), (Mode.FULLY_LIVE, 2)]


def test_only_a_links_first_reconciliation_is_published() -> None:
    h = History().live()
    h.feed(session.RequestReconcile(why="test"))
    h.read()
    assert not h.published(session.ReconcileFinished)
    h.lost()
    h.back()
    h.read()
    assert len(h.published(session.ReconcileFinished)) == 1


def test_a_desk_that_stands_down_reconciles_and_warms_up_anew_while_exits_go_on() -> None:
    h = History().live({7: 2})
    h.feed(session.RequestReconcile(why="gexwatch is being switched", stands_down=True))
    assert h.mode() is Mode.DATA_ONLY
    assert h.submit().told(broker.OrderDenied), "no entry leaves"
    assert h.submit_exit().told(broker.PlaceOrder), "the link stands, and what is held is known"
    h.read(held={7: 2})
    assert h.mode() is Mode.WARMUP
    assert [finished.is_complete for finished in h.published(session.ReconcileFinished)] == [True]
    h.sleep(60.1)
    assert h.mode() is Mode.FULLY_LIVE


def test_positions_hear_that_exits_go_on_while_a_desk_stands_down_until_its_link_is_lost() -> None:
    h = History().live({7: 2})
    h.feed(session.RequestReconcile(why="gexwatch is being switched", stands_down=True))
    assert h.feed(session.RequestMode(reply_to=OWNER)).told(session.ModeChanged)[0].allows_exits, "to a newcomer, too"
    h.lost()
    changes = [(change.mode, change.allows_exits) for change in h.published(session.ModeChanged)]
    assert changes == [(Mode.DATA_ONLY, True), (Mode.DATA_ONLY, False)]
    h.back()
    assert not h.feed(session.RequestMode(reply_to=OWNER)).told(session.ModeChanged)[0].allows_exits
    h.read(held={7: 2})
    assert h.mode() is Mode.WARMUP


@pytest.mark.parametrize("with_account", [True, False])
def test_whoever_starts_is_told_the_mode_and_the_account_only_where_asked_for(with_account: bool) -> None:
    h = History().live({7: 2})
    h.feed(
        broker.AccountRead(session_epoch=h.epoch, nav_cents=1, available_cents=1, buying_power_cents=1,
                           day_trades_remaining=None, read_utc=h.now)
    )  # fmt: skip
    told = h.feed(session.RequestMode(reply_to=OWNER, with_account=with_account))
    assert [change.mode for change in told.told(session.ModeChanged, OWNER)] == [Mode.FULLY_LIVE]
    assert told.told(session.ReconcileFinished, OWNER)[0].positions == ((7, 2),)
    facts = told.told(session.AccountChecked, OWNER), told.told(broker.AccountRead, OWNER)
    assert [len(fact) for fact in facts] == [with_account, with_account]


def test_mode_before_a_reconciliation_says_nothing_of_broker_truth() -> None:
    h = History().start()
    told = h.feed(session.RequestMode(reply_to=OWNER))
    assert [type(message) for message in told.messages] == [session.ModeChanged]


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 4001},
        {"account_class": AccountClass.LIVE},
        {"account_class": AccountClass.UNKNOWN},
        {"account_matches": False},
    ],
)
def test_wrong_account_or_port_stays_halts_and_reads_nothing(wrong: dict[str, Any]) -> None:
    h = History().start()
    h.up(**wrong)
    assert h.published(session.AccountChecked)
    assert h.told(risk.RaiseKill, "kill")[0].level is KillLevel.NO_ENTRIES
    assert h.published(Alarm)[0].severity is Severity.CRITICAL
    assert not h.told(broker.ReadBack)
    assert h.mode() is Mode.DATA_ONLY


def test_loss_in_warm_up_degrades_and_the_old_stability_clock_is_void() -> None:
    h = History().start()
    h.up()
    h.read()
    h.sleep(50)
    h.lost()
    assert h.mode() is Mode.DEGRADED
    h.back()
    h.read()
    assert h.mode() is Mode.WARMUP
    h.sleep(30)
    assert h.mode() is Mode.WARMUP


def test_broken_farm_restarts_the_clock_in_warm_up_and_changes_nothing_live() -> None:
    h = History().start()
    h.up()
    h.read()
    h.sleep(50)
    h.feed(broker.FarmNotice(session_epoch=h.epoch, vendor_code=2103, text="broken", is_broken=True))
    h.sleep(50)
    assert h.mode() is Mode.WARMUP
    h.sleep(11)
    h.feed(broker.FarmNotice(session_epoch=h.epoch, vendor_code=2103, text="broken", is_broken=True))
    assert h.mode() is Mode.FULLY_LIVE


def test_farm_that_is_back_or_idle_never_restarts_the_clock() -> None:
    h = History().start()
    h.up()
    h.read()
    for _ in range(6):
        h.sleep(9)
        h.feed(broker.FarmNotice(session_epoch=h.epoch, vendor_code=2104, text="OK"))
    h.sleep(6.1)
    assert h.mode() is Mode.FULLY_LIVE


def test_dials_for_ever_fast_then_slow_each_with_a_new_epoch() -> None:
    h = History().start()
    dials: list[int] = []
    for _ in range(100):
        dials.append(h.now)
        h.failed()
        before = h.epoch
        while h.epoch == before:
            h.sleep(0.1)
    gaps = [(b - a) / SECOND for a, b in itertools.pairwise(dials)]
    assert max(gaps[:40]) < 0.7
    assert min(gaps[-10:]) > 4.9
    assert h.epoch == first_epoch(1, 1) + 101


def test_a_port_that_never_answers_a_dial_is_dialled_again() -> None:
    h = History().start()
    h.sleep(5)
    assert h.epoch > first_epoch(1, 1) + 1


def test_next_gateway_is_dialled_after_the_failover_time() -> None:
    h = History(TWO_GATEWAYS).start()
    while h.now < NOON + 40 * SECOND:
        h.failed()
        h.sleep(0.6)
    assert {d.gateway_n for d in h.told(broker.Dial)[:10]} == {0}
    assert h.told(broker.Dial)[-1].gateway_n == 1


def test_lost_while_reading_never_reaches_warm_up_and_late_answers_are_void() -> None:
    h = History().start()
    h.up()
    old = h.epoch
    h.feed(broker.LinkLost(session_epoch=old, cause="closed"))
    h.feed(broker.BrokerRead(session_epoch=old, read_n=1, orders=(), executions=(), positions=(), read_utc=h.now))
    h.reconciled(session_epoch=old)
    assert h.mode() is Mode.DATA_ONLY
    assert not h.published(session.ReconcileFinished)


@pytest.mark.parametrize("is_answered", [True, False])
def test_failed_or_unanswered_read_back_is_a_loss_and_dials_again(is_answered: bool) -> None:
    h = History().start()
    h.up()
    if is_answered:
        h.feed(broker.BrokerReadFailed(session_epoch=h.epoch, read_n=1, why="stalled"))
    h.sleep(25)
    assert h.epoch > first_epoch(1, 1) + 1


def test_server_link_lost_waits_on_the_same_socket_and_is_reconciled_again_after_1102() -> None:
    h = History().live()
    epoch = h.epoch
    h.lost("1100", is_socket_up=True)
    h.lost("1100", is_socket_up=True)
    assert h.mode() is Mode.DEGRADED
    h.sleep(10)
    assert not h.told(broker.Dial)
    for _ in range(3):
        h.feed(broker.LinkRestored(session_epoch=epoch, data_lost=False))
    assert h.mode() is Mode.DEGRADED
    h.read()
    assert h.mode() is Mode.WARMUP
    assert h.epoch == epoch


def test_server_link_that_stays_lost_is_left_for_another_gateway_after_the_failover_time() -> None:
    h = History(TWO_GATEWAYS).live()
    h.lost("1100", is_socket_up=True)
    h.sleep(31)
    assert [dial.gateway_n for dial in h.told(broker.Dial)] == [1]


def test_only_gateway_keeps_its_socket_through_an_outage_of_hours_and_is_read_back_on_it() -> None:
    h = History().live()
    epoch = h.epoch
    h.lost("1100", is_socket_up=True)
    h.sleep(3 * 3600)
    assert not h.told(broker.Dial)
    assert not h.told(broker.CloseLink)
    h.feed(broker.LinkRestored(session_epoch=epoch, data_lost=False))
    h.read()
    assert h.mode() is Mode.WARMUP


def test_1102_in_warm_up_holds_exits_until_everything_is_read_again() -> None:
    h = History().start()
    h.up()
    h.read(held={7: 2})
    h.feed(broker.LinkRestored(session_epoch=h.epoch, data_lost=False))
    assert h.mode() is Mode.DEGRADED
    assert h.submit_exit().told(orders.ExitHeld)
    h.read(held={7: 2})
    assert h.mode() is Mode.WARMUP
    assert h.submit_exit(EXIT_2).told(broker.PlaceOrder)


def test_1102_out_of_the_blue_degrades_until_everything_is_read_again() -> None:
    h = History().live()
    h.feed(broker.LinkRestored(session_epoch=h.epoch, data_lost=False))
    assert h.mode() is Mode.DEGRADED
    h.read()
    assert h.mode() is Mode.WARMUP


def test_unwanted_orders_are_cancelled_and_foreign_ones_halt_once() -> None:
    h = History().start()
    h.up()
    h.broker_read(broker_order("ZH-paper-old-e"))
    h.reconciled(cancel_refs=("ZH-paper-old-e",), foreign_orders=("perm:5",))
    assert [w.order_ref for w in h.told(broker.WithdrawOrder)] == ["ZH-paper-old-e"]
    assert h.told(risk.RaiseKill)[0].level == 1
    assert "perm:5" in h.published(Alarm)[0].text
    h.query("ZH-paper-other-e")
    h.broker_read()
    h.reconciled(foreign_orders=("perm:5",))
    assert len(h.told(risk.RaiseKill)) == 1


# -- permits, refusals --------------------------------------------------------------------------


def permit(**more: int) -> Permit:
    return Permit(**({"kill_epoch": 0, "session_epoch": first_epoch(1, 1) + 1, "expires_utc": 1 << 62} | more))


@pytest.mark.parametrize(
    ("prepare", "change", "code"),
    [
        (lambda h: None, {"permit": None}, RejectCode.PERMIT_EXPIRED),
        (lambda h: None, {"deadline_utc": 0}, RejectCode.DEADLINE_PASSED),
        (lambda h: None, {"permit": permit(session_epoch=1)}, RejectCode.PERMIT_SESSION),
        (lambda h: h.raise_kill(KillLevel.NO_ENTRIES), {}, RejectCode.PERMIT_KILLED),
        (lambda h: h.feed(risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=2, reason="", by="")),
         {"permit": permit(kill_epoch=1)}, RejectCode.PERMIT_KILLED),
        (lambda h: h.lost(), {}, RejectCode.MODE_DEGRADED),
        (lambda h: h.working(), {}, RejectCode.DUPLICATE_REF),
    ],
)  # fmt: skip
def test_entry_is_refused_with_its_code(prepare: Any, change: dict[str, Any], code: RejectCode) -> None:
    h = History().live()
    prepare(h)
    told = h.submit(**change)
    (denied,) = told.told(broker.OrderDenied)
    assert denied.code is code
    assert not told.told(broker.PlaceOrder)


def test_entry_in_warm_up_is_refused_and_an_exit_is_sent() -> None:
    h = History().start()
    h.up()
    h.read(held={7: 2})
    assert h.submit().told(broker.OrderDenied)[0].code is RejectCode.MODE_WARMUP
    assert h.submit_exit().told(broker.PlaceOrder)[0].order.is_exit


def test_exit_without_a_session_is_held_and_its_ref_can_be_used_afterwards() -> None:
    h = History().live({7: 2})
    h.lost()
    told = h.submit_exit()
    assert told.told(orders.ExitHeld)[0].mode is Mode.DEGRADED
    h.back()
    h.read(held={7: 2})
    assert h.submit_exit().told(broker.PlaceOrder)


def test_refs_of_earlier_runs_are_never_sent_again() -> None:
    h = History().start(OWN_ENTRY)
    h.up()
    h.read()
    h.sleep(61)
    assert h.submit().told(broker.OrderDenied)[0].code is RejectCode.DUPLICATE_REF


@pytest.mark.parametrize(("held", "held_there", "qty"), [(2, 1, 2), (1, 2, 2), (2, 0, 1)])
def test_more_than_ledger_and_broker_both_hold_is_never_sold(held: int, held_there: int, qty: int) -> None:
    h = History().live({7: held_there} if held_there else None)
    told = h.submit_exit(qty=qty, held=held)
    assert told.told(broker.OrderDenied)[0].code is RejectCode.EXIT_OVERSELL
    assert told.told(broker.ReadBack)
    assert not told.told(broker.PlaceOrder)


def test_second_exit_order_of_a_contract_is_refused_while_the_first_works() -> None:
    h = History().live({7: 4}).working(EXIT)
    told = h.submit_exit(EXIT_2, qty=1, held=4)
    assert told.told(broker.OrderDenied)[0].code is RejectCode.EXIT_OVERSELL


# -- orders -------------------------------------------------------------------------------------


def test_the_ledger_hears_of_each_limit_that_the_broker_confirms_once() -> None:
    h = History().live({7: 2})
    h.submit_exit(EXIT)
    h.sent(EXIT)
    told = [
        (ids.limit_ticks, ids.status, ids.by)
        for limit in (500, 500, 480, 480, None)
        for ids in h.status(
            EXIT, OrderStatus.WORKING, limit_ticks=limit,
            order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        ).told(orders.RecordOrderIds, "desk_ledger")
    ]  # fmt: skip
    assert told == [(500, "working", "broker"), (480, "working", "broker")]


def test_fill_reaches_the_position_only_through_the_ledger() -> None:
    h = History().live()
    h.submit()
    h.sent()
    assert h.told(broker.OrderSent, OWNER)
    h.status(ENTRY, OrderStatus.WORKING)
    assert h.told(orders.OrderAcknowledged, OWNER)[0].perm_id == 900
    assert h.told(orders.RecordOrderIds, "desk_ledger")[0].perm_id == 900
    told = h.fill(ENTRY, 2)
    assert told.told(orders.RecordExecution)[0].execution.qty == 2
    assert {effect.to for effect in told.effects if isinstance(effect, Tell)} == {"desk_ledger", OWNER}
    assert not told.told(orders.FillRecorded)
    assert h.told(orders.OrderClosed, OWNER)[0].filled_qty_total == 2


def test_status_before_execution_and_repeated_statuses_close_the_order_once() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.FILLED, filled_qty=2, remaining_qty=0)
    h.status(ENTRY, OrderStatus.FILLED, filled_qty=0, remaining_qty=0)
    h.fill(ENTRY, 2)
    assert [c.filled_qty_total for c in h.told(orders.OrderClosed)] == [2]
    assert len(h.told(orders.RecordExecution)) == 1


def test_late_working_status_after_the_end_changes_nothing() -> None:
    h = History().live().working()
    h.fill(ENTRY, 2)
    assert not h.status(ENTRY, OrderStatus.WORKING).messages
    assert h.order(ENTRY).stage is OrderStage.ENDED


def test_partial_fill_then_cancel_closes_with_what_filled() -> None:
    h = History().live().working()
    h.fill(ENTRY, 1)
    h.cancel()
    assert h.told(broker.WithdrawOrder)
    h.status(ENTRY, OrderStatus.CANCELLED, filled_qty=1)
    assert h.told(orders.OrderClosed)[0].filled_qty_total == 1


def test_phantom_104_is_unknown_until_the_read_back_shows_the_fill() -> None:
    h = History().live().working()
    told = h.error(ENTRY, 104, UNKNOWN)
    assert told.told(broker.ReadBack)
    assert not h.told(orders.OrderClosed)
    assert h.order(ENTRY).stage is OrderStage.IN_DOUBT
    h.read(ended_order(ENTRY, OrderStatus.FILLED, 2), executions=[broker_fill(ENTRY, 2)])
    assert h.told(orders.OrderClosed)[0].filled_qty_total == 2


def test_104_and_then_the_execution_alone_ends_the_order_filled() -> None:
    h = History().live().working()
    h.error(ENTRY, 104, UNKNOWN)
    h.fill(ENTRY, 2)
    assert [c.filled_qty_total for c in h.told(orders.OrderClosed)] == [2]


@pytest.mark.parametrize("code", [104, 105, 161, 201, 321, 10147, 10148, 31337])
def test_any_code_on_a_working_order_leaves_it_working_if_the_broker_says_so(code: int) -> None:
    meaning = {201: REJECTED, 321: REFUSED}.get(code, UNKNOWN)
    h = History().live().working()
    h.error(ENTRY, code, meaning)
    h.read(broker_order(ENTRY))
    assert h.order(ENTRY).stage is OrderStage.WORKING
    for kind in (orders.ModifyRefused, orders.OrderClosed, orders.OrderRejected):
        assert not h.told(kind)


@pytest.mark.parametrize("code", [104, 105, 201, 321, 31337])
def test_code_after_a_change_that_the_broker_has_not_made_is_its_refusal(code: int) -> None:
    meaning = {201: REJECTED, 321: REFUSED}.get(code, UNKNOWN)
    h = History().live({7: 2}).working(EXIT)
    h.modify(EXIT, limit_ticks=480)
    h.error(EXIT, code, meaning, "no")
    h.read(broker_order(EXIT, side=Side.SELL))
    assert h.order(EXIT).stage is OrderStage.WORKING
    assert [(r.vendor_code, r.text) for r in h.told(orders.ModifyRefused, OWNER)] == [(code, "no")]
    assert [(r.is_exit, r.vendor_code, r.text) for r in h.published(orders.BrokerRefused)] == [(True, code, "no")]
    h.query(EXIT)
    h.read(broker_order(EXIT, side=Side.SELL))
    assert len(h.told(orders.ModifyRefused)) == 1


def test_code_after_a_change_that_the_broker_has_made_is_no_refusal() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.modify(EXIT, limit_ticks=480)
    h.error(EXIT, 31337, UNKNOWN)
    h.read(broker_order(EXIT, side=Side.SELL, limit_ticks=480))
    assert not h.told(orders.ModifyRefused)
    assert h.order(EXIT).change is None


@pytest.mark.parametrize("meaning", [CodeMeaning.INFORMATIONAL, CodeMeaning.DATA])
def test_notices_on_an_order_change_nothing(meaning: CodeMeaning) -> None:
    h = History().live().working()
    assert not h.error(ENTRY, 10349, meaning).messages
    assert h.order(ENTRY).stage is OrderStage.WORKING


def test_201_with_inactive_on_a_new_order_is_a_rejection() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.status(ENTRY, OrderStatus.INACTIVE)
    h.error(ENTRY, 201, REJECTED, "no margin")
    h.status(ENTRY, OrderStatus.INACTIVE)
    (rejected,) = h.told(orders.OrderRejected, OWNER)
    assert (rejected.vendor_code, rejected.text) == (201, "no margin")


def test_201_before_inactive_is_a_rejection_too() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.error(ENTRY, 201, REJECTED)
    assert not h.told(orders.OrderRejected)
    h.status(ENTRY, OrderStatus.INACTIVE)
    assert len(h.told(orders.OrderRejected)) == 1


def test_110_on_a_new_order_is_a_rejection_at_once() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.error(ENTRY, 110, REFUSED)
    assert h.told(orders.OrderRejected)[0].vendor_code == 110


def test_202_alone_is_settled_by_the_read_back() -> None:
    h = History().live().working()
    h.error(ENTRY, 202, CodeMeaning.ORDER_CANCELLED)
    assert not h.told(orders.OrderClosed)
    assert [row.errors for row in h.state.health] == [0], "a cancelled order is no fault of the gateway"
    h.read(ended_order(ENTRY, OrderStatus.CANCELLED, 1), executions=[broker_fill(ENTRY, 1)])
    assert h.told(orders.OrderClosed)[0].filled_qty_total == 1


def test_oversell_ambiguous_cancel_of_an_exit_holds_the_next_exit_until_read_back() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.cancel(EXIT)
    h.error(EXIT, 10148, UNKNOWN, "cannot be cancelled, state: Filled")
    held = h.submit_exit(EXIT_2)
    assert held.told(orders.ExitHeld)[0].mode is Mode.FULLY_LIVE
    sold = broker_fill(EXIT, 2, side=Side.SELL)
    h.read(ended_order(EXIT, OrderStatus.FILLED, 2, side=Side.SELL), executions=[sold])
    assert h.submit_exit(EXIT_2).told(broker.OrderDenied)[0].code is RejectCode.EXIT_OVERSELL


def test_sold_contracts_are_not_sold_again_before_the_broker_says_its_position() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.fill(EXIT, 2, side=Side.SELL)
    assert h.submit_exit(EXIT_2).told(broker.OrderDenied)


def test_flat_by_executions_is_agreed_by_a_read_back_if_no_position_message_comes() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.fill(EXIT, 2, side=Side.SELL)
    assert h.sleep(2.1).told(broker.ReadBack)
    told = h.read()
    assert told.told(positions.BrokerPositionRead)[0].qty == 0


def test_position_message_agrees_at_once_and_saves_the_read_back() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.fill(EXIT, 2, side=Side.SELL)
    assert h.holds(0).told(positions.BrokerPositionRead)[0].qty == 0
    assert not h.sleep(5).told(broker.ReadBack)


def test_exit_is_modified_to_market_and_acknowledged_with_its_new_type() -> None:
    h = History().live({7: 2}).working(EXIT)
    (amend,) = h.modify(EXIT, order_type=OrderType.MARKET, limit_ticks=None).told(broker.AmendOrder)
    assert amend.change.order_type is OrderType.MARKET
    told = h.status(EXIT, OrderStatus.WORKING, order_type=OrderType.MARKET, limit_ticks=None)
    assert told.told(orders.OrderAcknowledged)[0].order_type is OrderType.MARKET


def test_raising_an_entry_needs_a_permit_and_lowering_does_not() -> None:
    h = History().live().working()
    assert h.modify(limit_ticks=520).told(orders.ModifyRefused)[0].text == RejectCode.PERMIT_EXPIRED.value
    assert h.modify(limit_ticks=480).told(broker.AmendOrder)
    permit = Permit(0, h.epoch, h.now + SECOND)
    assert h.modify(limit_ticks=520, permit=permit).told(broker.AmendOrder)


def test_change_that_the_port_denies_is_refused_and_the_order_stands() -> None:
    h = History().live().working()
    h.feed(broker.OrderDenied(order_ref=ENTRY, code=RejectCode.DEADLINE_PASSED, why="late"))
    assert h.told(orders.ModifyRefused)
    assert not h.told(broker.OrderDenied)
    assert h.order(ENTRY).stage is OrderStage.WORKING


def test_new_order_that_the_port_denies_is_over() -> None:
    h = History().live()
    h.submit()
    h.feed(broker.OrderDenied(order_ref=ENTRY, code=RejectCode.PERMIT_KILLED, why="killed"))
    assert h.told(broker.OrderDenied, OWNER)
    assert h.order(ENTRY).stage is OrderStage.ENDED


def test_query_is_answered_by_a_read_back_that_began_after_it() -> None:
    h = History().live()
    h.query("ZH-paper-bbbbbbbbbbbb-e")
    h.submit()
    h.query()
    h.read()
    assert ENTRY not in {answer.order_ref for answer in h.told(orders.OrderNotFound)}
    h.read(broker_order(ENTRY))
    (found,) = h.told(orders.OrderFound, OWNER)
    assert (found.order_ref, found.is_working, found.perm_id) == (ENTRY, True, 900)


def test_query_while_down_is_answered_after_the_next_dial() -> None:
    h = History().live().working()
    h.lost()
    h.query()
    h.back()
    h.read(ended_order(ENTRY, OrderStatus.FILLED, 2), executions=[broker_fill(ENTRY, 2)])
    assert h.told(orders.OrderFound)[0].filled_qty == 2
    assert h.told(orders.OrderClosed)[0].filled_qty_total == 2


def test_an_order_that_is_nowhere_is_given_up_only_after_the_abandon_wait() -> None:
    h = History().live({7: 2})
    h.submit_exit()
    h.sent(EXIT)
    h.lost()
    h.back()
    h.read(held={7: 2})
    assert h.order(EXIT).stage is OrderStage.IN_DOUBT
    assert h.submit_exit(EXIT_2).told(orders.ExitHeld)
    assert h.sleep(10).told(broker.ReadBack)
    h.read(held={7: 2})
    assert h.told(orders.OrderNotFound, OWNER)
    assert h.submit_exit("ZH-paper-aaaaaaaaaaaa-x3").told(broker.PlaceOrder)


def test_late_fill_of_an_order_that_was_given_up_is_recorded_and_told() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.sleep(11)
    h.query()
    h.read()
    assert h.order(ENTRY).stage is OrderStage.MISSING
    h.fill(ENTRY, 2)
    assert h.told(orders.RecordExecution)
    assert h.told(orders.OrderClosed)[0].filled_qty_total == 2


def test_execution_that_is_not_ours_is_read_back_and_not_recorded() -> None:
    h = History().live()
    told = h.fill("", 1)
    assert told.told(broker.ReadBack)
    assert not told.told(orders.RecordExecution)


def test_second_perm_id_for_one_ref_is_a_doubt() -> None:
    h = History().live().working()
    assert h.status(ENTRY, OrderStatus.WORKING, perm_id=901).told(broker.ReadBack)
    assert h.order(ENTRY).stage is OrderStage.IN_DOUBT


def test_unacknowledged_inactive_order_is_looked_into() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.INACTIVE)
    assert not h.sleep(1.9).told(broker.ReadBack)
    assert h.sleep(0.2).told(broker.ReadBack)


# -- kill ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [KillLevel.NO_ENTRIES, KillLevel.FLATTEN])
def test_kill_latches_the_port_first_and_cancels_entries_but_not_exits(level: KillLevel) -> None:
    h = History().live({7: 4}).working()
    h.submit_exit(qty=1, held=2)
    told = h.raise_kill(level)
    assert isinstance(told.messages[0], broker.LatchKill)
    assert [w.order_ref for w in told.told(broker.WithdrawOrder)] == [ENTRY]


def test_kill_while_down_cancels_the_entry_when_the_broker_is_back() -> None:
    h = History().live().working()
    h.lost()
    assert not h.raise_kill(KillLevel.NO_ENTRIES).told(broker.WithdrawOrder)
    h.sleep(0.6)
    latch = h.up().told(broker.LatchKill)
    assert latch[0].level is KillLevel.NO_ENTRIES
    told = h.read(broker_order(ENTRY))
    assert [w.order_ref for w in told.told(broker.WithdrawOrder)] == [ENTRY]


def test_flatten_without_a_link_dials_the_next_gateway_at_once() -> None:
    h = History(TWO_GATEWAYS).live()
    h.lost()
    told = h.raise_kill(KillLevel.FLATTEN)
    assert [dial.gateway_n for dial in told.told(broker.Dial, PORT)] == [1]
    assert not h.raise_kill(KillLevel.FLATTEN, epoch=2).told(broker.Dial)


def test_message_that_is_not_in_the_inbox_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        History().feed(market.BucketDue(bucket_utc=0, close_by_utc=0))


def test_doubt_that_came_during_a_read_back_is_not_cleared_by_it() -> None:
    h = History().live().working()
    h.query("ZH-paper-bbbbbbbbbbbb-e")
    h.error(ENTRY, 104, UNKNOWN)
    h.read(broker_order(ENTRY))
    assert h.order(ENTRY).stage is OrderStage.IN_DOUBT
    h.read(ended_order(ENTRY, OrderStatus.FILLED, 2), executions=[broker_fill(ENTRY, 2)])
    assert h.told(orders.OrderClosed)[0].filled_qty_total == 2


def test_only_the_first_reconciliation_of_a_link_cancels_what_the_ledger_does_not_want() -> None:
    h = History().start(OWN_ENTRY)
    h.up()
    h.read(broker_order(ENTRY))
    h.query()
    h.broker_read(broker_order(ENTRY))
    assert not h.reconciled(cancel_refs=(ENTRY,)).told(broker.WithdrawOrder)


def test_order_that_still_works_after_its_cancel_is_cancelled_again() -> None:
    h = History().start(OWN_ENTRY)
    h.up()
    h.broker_read(broker_order(ENTRY))
    assert h.reconciled(cancel_refs=(ENTRY,)).told(broker.WithdrawOrder)
    h.query()
    assert len(h.read(broker_order(ENTRY)).told(broker.WithdrawOrder)) == 1
    h.query()
    assert not h.read(ended_order(ENTRY, OrderStatus.CANCELLED, 0)).told(broker.WithdrawOrder)


def test_correction_of_an_execution_is_recorded_and_counts_once() -> None:
    h = History().live().working()
    h.fill(ENTRY, 1)
    told = h.fill(ENTRY, 1, revision=2)
    assert told.told(orders.RecordExecution)[0].execution.revision == 2
    assert h.order(ENTRY).filled_qty == 1
