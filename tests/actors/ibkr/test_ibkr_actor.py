"""The broker session's actor, fed with histories of messages: modes, reconciliation, permits, and every order fault."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from config.settings import Gateway
from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.orders.table import CodeMeaning, Stage
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from messages import orders as m
from messages import positions, risk
from messages import session as s
from messages.lifecycle import IbkrRestored
from messages.operator import Alarm
from tests.testkit.ibkr_history import CALL, ENTRY, EXIT, NOON, OWNER, History, broker_fill, broker_order
from tests.testkit.ibkr_world import SETTINGS

REFUSED, REJECTED, UNKNOWN = CodeMeaning.ORDER_REFUSED, CodeMeaning.ORDER_REJECTED, CodeMeaning.ORDER_UNKNOWN


def messages(told: list[Any], kind: type) -> list[Any]:
    return [t.message for t in told if isinstance(t.message, kind)]


# -- modes and reconciliation -------------------------------------------------------------------


def test_first_session_reads_back_reconciles_warms_up_and_goes_live() -> None:
    h = History().start(run_n=5)
    dial = h.told(s.Dial, "port:ibkr:paper")[0]
    assert (dial.session_epoch, dial.gateway_n) == ((5 << 20) + 1, 0)
    h.up()
    assert h.told(s.AccountChecked, "risk")
    assert h.told(s.ReadBack)[0].session_epoch == dial.session_epoch
    h.broker_read(held={7: 2})
    assert h.told(s.Reconcile, "desk_ledger")
    assert h.state.mode is Mode.DATA_ONLY
    h.reconciled()
    assert h.state.mode is Mode.WARMUP
    for role in ("positions", "risk"):
        assert h.told(s.ReconcileFinished, role)[0].positions == ((7, 2),)
    h.sleep(59.9)
    assert h.state.mode is Mode.WARMUP
    h.sleep(0.2)
    assert h.state.mode is Mode.FULLY_LIVE
    modes = [message.mode for message in h.told(s.ModeChanged, "risk")]
    assert modes == [Mode.DATA_ONLY, Mode.WARMUP, Mode.FULLY_LIVE]
    assert [message.mode_n for message in h.told(s.ModeChanged, "web")] == [0, 1, 2]


@pytest.mark.parametrize(
    "wrong", [{"port": 4001}, {"account_class": "live"}, {"account_class": "unknown"}, {"account_matches": False}]
)
def test_wrong_account_or_port_stays_halts_and_reads_nothing(wrong: dict[str, Any]) -> None:
    h = History().start()
    h.up(**wrong)
    assert h.told(s.AccountChecked, "risk")
    assert h.told(risk.RaiseKill, "kill")[0].level == 1
    assert not h.told(s.ReadBack)
    assert h.state.mode is Mode.DATA_ONLY


def test_loss_in_warm_up_degrades_and_the_old_stability_clock_is_void() -> None:
    h = History().start()
    h.up()
    h.read()
    h.sleep(50)
    h.feed(s.LinkLost(session_epoch=h.epoch, cause="closed"))
    assert h.state.mode is Mode.DEGRADED
    h.sleep(0.6)
    h.up()
    h.read()
    assert h.state.mode is Mode.WARMUP
    h.sleep(30)
    assert h.state.mode is Mode.WARMUP


def test_farm_notice_restarts_the_clock_in_warm_up_and_changes_nothing_live() -> None:
    h = History().start()
    h.up()
    h.read()
    h.sleep(50)
    h.feed(s.FarmNotice(session_epoch=h.epoch, vendor_code=2103, text="broken"))
    h.sleep(50)
    assert h.state.mode is Mode.WARMUP
    h.sleep(11)
    h.feed(s.FarmNotice(session_epoch=h.epoch, vendor_code=2103, text="broken"))
    assert h.state.mode is Mode.FULLY_LIVE


def test_dials_for_ever_fast_then_slow_each_with_a_new_epoch() -> None:
    h = History().start()
    dials: list[int] = []
    for _ in range(100):
        dials.append(h.now)
        h.feed(s.LinkFailed(session_epoch=h.epoch, why="refused"))
        before = h.epoch
        while h.epoch == before:
            h.sleep(0.1)
    gaps = [(b - a) / SECOND for a, b in itertools.pairwise(dials)]
    assert max(gaps[:40]) < 0.7
    assert min(gaps[-10:]) > 4.9
    assert h.epoch == (1 << 20) + 101


def test_a_port_that_never_answers_a_dial_is_dialled_again() -> None:
    h = History().start()
    h.sleep(5)
    assert h.epoch > (1 << 20) + 1


def test_next_gateway_is_dialled_after_the_failover_time() -> None:
    broker = dataclasses.replace(SETTINGS.broker, gateways=(Gateway("a", 4002), Gateway("b", 4002)))
    h = History(SETTINGS.model_copy(update={"broker": broker})).start()
    while h.now < NOON + 40 * SECOND:
        h.feed(s.LinkFailed(session_epoch=h.epoch, why="refused"))
        h.sleep(0.6)
    assert {d.gateway_n for d in h.told(s.Dial)[:10]} == {0}
    assert h.told(s.Dial)[-1].gateway_n == 1


def test_lost_while_reading_never_reaches_warm_up_and_late_answers_are_void() -> None:
    h = History().start()
    h.up()
    old = h.epoch
    h.feed(s.LinkLost(session_epoch=old, cause="closed"))
    h.feed(s.BrokerRead(session_epoch=old, read_n=1, orders=(), executions=(), positions=(), read_utc=h.now))
    h.feed(s.Reconciled(session_epoch=old, adopted_fills=0, cancel_refs=(), foreign_positions=(), foreign_orders=(),
                        unverified=(), mismatches=()))  # fmt: skip
    assert h.state.mode is Mode.DATA_ONLY
    assert not h.told(s.ReconcileFinished)


@pytest.mark.parametrize("is_answered", [True, False])
def test_failed_or_unanswered_read_back_is_a_loss_and_dials_again(is_answered: bool) -> None:
    h = History().start()
    h.up()
    if is_answered:
        h.feed(s.BrokerReadFailed(session_epoch=h.epoch, read_n=1, why="stalled"))
    h.sleep(25)
    assert h.epoch > (1 << 20) + 1


def test_server_link_lost_waits_on_the_same_socket_and_is_reconciled_again_after_1102() -> None:
    h = History().live()
    epoch = h.epoch
    h.feed(s.LinkLost(session_epoch=epoch, cause="1100", is_socket_up=True))
    h.feed(s.LinkLost(session_epoch=epoch, cause="1100", is_socket_up=True))
    assert h.state.mode is Mode.DEGRADED
    h.sleep(10)
    assert not h.told(s.Dial)
    for _ in range(3):
        h.feed(s.LinkRestored(session_epoch=epoch, data_lost=False))
    assert h.state.mode is Mode.DEGRADED
    h.read()
    assert h.state.mode is Mode.WARMUP
    assert h.epoch == epoch


def test_server_link_that_stays_lost_is_dialled_anew_after_the_failover_time() -> None:
    h = History().live()
    h.feed(s.LinkLost(session_epoch=h.epoch, cause="1100", is_socket_up=True))
    h.sleep(31)
    assert len(h.told(s.Dial)) == 1


def test_1102_out_of_the_blue_degrades_until_everything_is_read_again() -> None:
    h = History().live()
    h.feed(s.LinkRestored(session_epoch=h.epoch, data_lost=False))
    assert h.state.mode is Mode.DEGRADED
    h.read()
    assert h.state.mode is Mode.WARMUP


def test_unwanted_orders_are_cancelled_and_foreign_ones_halt_once() -> None:
    h = History().start()
    h.up()
    h.broker_read(broker_order("ZH-paper-old-e"))
    h.reconciled(cancel_refs=("ZH-paper-old-e",), foreign_orders=("perm:5",))
    assert [w.order_ref for w in h.told(m.WithdrawOrder)] == ["ZH-paper-old-e"]
    assert h.told(risk.RaiseKill)[0].level == 1
    assert "perm:5" in h.told(Alarm)[0].text
    h.query("ZH-paper-other-e")
    h.broker_read()
    h.reconciled(foreign_orders=("perm:5",))
    assert len(h.told(risk.RaiseKill)) == 1


# -- permits, refusals --------------------------------------------------------------------------


def permit(**more: int) -> m.Permit:
    return m.Permit(**({"kill_epoch": 0, "session_epoch": (1 << 20) + 1, "expires_utc": 1 << 62} | more))


@pytest.mark.parametrize(
    ("prepare", "change", "code"),
    [
        (lambda h: None, {"permit": None}, RejectCode.PERMIT_EXPIRED),
        (lambda h: None, {"deadline_utc": 0}, RejectCode.DEADLINE_PASSED),
        (lambda h: None, {"permit": permit(session_epoch=1)}, RejectCode.PERMIT_SESSION),
        (lambda h: h.raise_kill(1), {}, RejectCode.PERMIT_KILLED),
        (lambda h: h.feed(risk.KillLowered(level=0, kill_epoch=2, reason="", by="")),
         {"permit": permit(kill_epoch=1)}, RejectCode.PERMIT_KILLED),
        (lambda h: h.feed(s.LinkLost(session_epoch=h.epoch, cause="x")), {}, RejectCode.MODE_DEGRADED),
        (lambda h: h.working(), {}, RejectCode.DUPLICATE_REF),
    ],
)  # fmt: skip
def test_entry_is_refused_with_its_code(prepare: Any, change: dict[str, Any], code: RejectCode) -> None:
    h = History().live()
    prepare(h)
    told = h.submit(**change)
    (denied,) = messages(told, m.OrderDenied)
    assert denied.code is code
    assert not messages(told, m.PlaceOrder)


def test_entry_in_warm_up_is_refused_and_an_exit_is_sent() -> None:
    h = History().start()
    h.up()
    h.read(held={7: 2})
    assert messages(h.submit(), m.OrderDenied)[0].code is RejectCode.MODE_WARMUP
    assert messages(h.submit_exit(), m.PlaceOrder)[0].is_exit


def test_exit_without_a_session_is_held_and_its_ref_can_be_used_afterwards() -> None:
    h = History().live({7: 2})
    h.feed(s.LinkLost(session_epoch=h.epoch, cause="x"))
    told = h.submit_exit()
    assert messages(told, positions.ExitHeld)[0].mode == "DEGRADED"
    h.sleep(0.6)
    h.up()
    h.read(held={7: 2})
    assert messages(h.submit_exit(), m.PlaceOrder)


def test_refs_of_earlier_runs_are_never_sent_again() -> None:
    h = History().start(IbkrRestored(orders=((ENTRY, 7, False, 2),), run_n=1))
    h.up()
    h.read()
    h.sleep(61)
    assert messages(h.submit(), m.OrderDenied)[0].code is RejectCode.DUPLICATE_REF


@pytest.mark.parametrize(("held", "broker", "qty"), [(2, 1, 2), (1, 2, 2), (2, 0, 1)])
def test_more_than_ledger_and_broker_both_hold_is_never_sold(held: int, broker: int, qty: int) -> None:
    h = History().live({7: broker} if broker else None)
    told = h.submit_exit(qty=qty, held=held)
    assert messages(told, m.OrderDenied)[0].code is RejectCode.EXIT_OVERSELL
    assert messages(told, s.ReadBack)
    assert not messages(told, m.PlaceOrder)


def test_second_exit_order_of_a_contract_is_refused_while_the_first_works() -> None:
    h = History().live({7: 4}).working(EXIT)
    told = h.submit_exit("ZH-paper-aaaaaaaaaaaa-x2", qty=1, held=4)
    assert messages(told, m.OrderDenied)[0].code is RejectCode.EXIT_OVERSELL


# -- orders -------------------------------------------------------------------------------------


def test_fill_reaches_the_position_only_through_the_ledger() -> None:
    h = History().live()
    h.submit()
    h.sent()
    assert h.told(m.OrderSent, OWNER)
    h.status(ENTRY, "working")
    assert h.told(m.OrderAcknowledged, OWNER)[0].perm_id == 900
    assert h.told(m.RecordOrderIds, "desk_ledger")[0].perm_id == 900
    told = h.fill(ENTRY, 2)
    assert messages(told, m.RecordExecution)[0].qty == 2
    assert {t.to for t in told} == {"desk_ledger", OWNER}
    assert not any(isinstance(t.message, m.FillRecorded) for t in told)
    assert h.told(m.OrderClosed, OWNER)[0].filled_qty_total == 2


def test_status_before_execution_and_repeated_statuses_close_the_order_once() -> None:
    h = History().live().working()
    h.status(ENTRY, "filled", filled_qty=2, remaining_qty=0)
    h.status(ENTRY, "filled", filled_qty=0, remaining_qty=0)
    h.fill(ENTRY, 2)
    assert [c.filled_qty_total for c in h.told(m.OrderClosed)] == [2]
    assert len(h.told(m.RecordExecution)) == 1


def test_late_working_status_after_the_end_changes_nothing() -> None:
    h = History().live().working()
    h.fill(ENTRY, 2)
    assert not h.status(ENTRY, "working")
    assert h.order(ENTRY).stage is Stage.ENDED


def test_partial_fill_then_cancel_closes_with_what_filled() -> None:
    h = History().live().working()
    h.fill(ENTRY, 1)
    h.cancel()
    assert h.told(m.WithdrawOrder)
    h.status(ENTRY, "cancelled", filled_qty=1)
    assert h.told(m.OrderClosed)[0].filled_qty_total == 1


def test_phantom_104_is_unknown_until_the_read_back_shows_the_fill() -> None:
    h = History().live().working()
    told = h.error(ENTRY, 104, UNKNOWN)
    assert messages(told, s.ReadBack)
    assert not h.told(m.OrderClosed)
    assert h.order(ENTRY).stage is Stage.IN_DOUBT
    h.read(broker_order(ENTRY, is_working=False, status="filled", filled_qty=2), executions=[broker_fill(ENTRY, 2)])
    assert h.told(m.OrderClosed)[0].filled_qty_total == 2


def test_104_and_then_the_execution_alone_ends_the_order_filled() -> None:
    h = History().live().working()
    h.error(ENTRY, 104, UNKNOWN)
    h.fill(ENTRY, 2)
    assert [c.filled_qty_total for c in h.told(m.OrderClosed)] == [2]


@pytest.mark.parametrize("code", [104, 105, 161, 201, 321, 10147, 10148, 31337])
def test_any_code_on_a_working_order_leaves_it_working_if_the_broker_says_so(code: int) -> None:
    meaning = {201: REJECTED, 321: REFUSED}.get(code, UNKNOWN)
    h = History().live().working()
    h.error(ENTRY, code, meaning)
    h.read(broker_order(ENTRY))
    assert h.order(ENTRY).stage is Stage.WORKING
    assert h.told(m.ModifyRefused, OWNER)[0].vendor_code == code
    assert not h.told(m.OrderClosed)
    assert not h.told(m.OrderRejected)


@pytest.mark.parametrize("meaning", [CodeMeaning.INFORMATIONAL, CodeMeaning.DATA])
def test_notices_on_an_order_change_nothing(meaning: CodeMeaning) -> None:
    h = History().live().working()
    assert not h.error(ENTRY, 10349, meaning)
    assert h.order(ENTRY).stage is Stage.WORKING


def test_201_with_inactive_on_a_new_order_is_a_rejection() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.status(ENTRY, "inactive")
    h.error(ENTRY, 201, REJECTED, "no margin")
    h.status(ENTRY, "inactive")
    (rejected,) = h.told(m.OrderRejected, OWNER)
    assert (rejected.vendor_code, rejected.text) == (201, "no margin")


def test_201_before_inactive_is_a_rejection_too() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.error(ENTRY, 201, REJECTED)
    assert not h.told(m.OrderRejected)
    h.status(ENTRY, "inactive")
    assert len(h.told(m.OrderRejected)) == 1


def test_110_on_a_new_order_is_a_rejection_at_once() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.error(ENTRY, 110, REFUSED)
    assert h.told(m.OrderRejected)[0].vendor_code == 110


def test_202_alone_is_settled_by_the_read_back() -> None:
    h = History().live().working()
    h.error(ENTRY, 202, CodeMeaning.ORDER_CANCELLED)
    assert not h.told(m.OrderClosed)
    h.read(broker_order(ENTRY, is_working=False, status="cancelled", filled_qty=1), executions=[broker_fill(ENTRY, 1)])
    assert h.told(m.OrderClosed)[0].filled_qty_total == 1


def test_oversell_ambiguous_cancel_of_an_exit_holds_the_next_exit_until_read_back() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.cancel(EXIT)
    h.error(EXIT, 10148, UNKNOWN, "cannot be cancelled, state: Filled")
    held = h.submit_exit("ZH-paper-aaaaaaaaaaaa-x2")
    assert messages(held, positions.ExitHeld)[0].mode == "in_doubt"
    sold = broker_fill(EXIT, 2, side=Side.SELL)
    h.read(broker_order(EXIT, side=Side.SELL, is_working=False, status="filled", filled_qty=2), executions=[sold])
    assert messages(h.submit_exit("ZH-paper-aaaaaaaaaaaa-x2"), m.OrderDenied)[0].code is RejectCode.EXIT_OVERSELL


def test_sold_contracts_are_not_sold_again_before_the_broker_says_its_position() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.fill(EXIT, 2, side=Side.SELL)
    assert messages(h.submit_exit("ZH-paper-aaaaaaaaaaaa-x2"), m.OrderDenied)


def test_flat_by_executions_is_agreed_by_a_read_back_if_no_position_message_comes() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.fill(EXIT, 2, side=Side.SELL)
    assert messages(h.sleep(2.1), s.ReadBack)
    told = h.read()
    assert messages(told, positions.BrokerPositionRead)[0].qty == 0


def test_position_message_agrees_at_once_and_saves_the_read_back() -> None:
    h = History().live({7: 2}).working(EXIT)
    h.fill(EXIT, 2, side=Side.SELL)
    assert messages(h.holds(0), positions.BrokerPositionRead)[0].qty == 0
    assert not messages(h.sleep(5), s.ReadBack)


def test_exit_is_modified_to_market_and_acknowledged_with_its_new_type() -> None:
    h = History().live({7: 2}).working(EXIT)
    (amend,) = messages(h.modify(EXIT, order_type=OrderType.MARKET, limit_ticks=None), m.AmendOrder)
    assert amend.order_type is OrderType.MARKET
    told = h.status(EXIT, "working", order_type=OrderType.MARKET, limit_ticks=None)
    assert messages(told, m.OrderAcknowledged)[0].order_type is OrderType.MARKET


def test_raising_an_entry_needs_a_permit_and_lowering_does_not() -> None:
    h = History().live().working()
    assert messages(h.modify(limit_ticks=520), m.ModifyRefused)[0].text == RejectCode.PERMIT_EXPIRED.value
    assert messages(h.modify(limit_ticks=480), m.AmendOrder)
    permit = m.Permit(kill_epoch=0, session_epoch=h.epoch, expires_utc=h.now + SECOND)
    assert messages(h.modify(limit_ticks=520, permit=permit), m.AmendOrder)


def test_change_that_the_port_denies_is_refused_and_the_order_stands() -> None:
    h = History().live().working()
    h.feed(m.OrderDenied(order_ref=ENTRY, code=RejectCode.DEADLINE_PASSED, why="late"))
    assert h.told(m.ModifyRefused)
    assert not h.told(m.OrderDenied)
    assert h.order(ENTRY).stage is Stage.WORKING


def test_new_order_that_the_port_denies_is_over() -> None:
    h = History().live()
    h.submit()
    h.feed(m.OrderDenied(order_ref=ENTRY, code=RejectCode.PERMIT_KILLED, why="killed"))
    assert h.told(m.OrderDenied, OWNER)
    assert h.order(ENTRY).stage is Stage.ENDED


def test_query_is_answered_by_a_read_back_that_began_after_it() -> None:
    h = History().live()
    h.query("ZH-paper-bbbbbbbbbbbb-e")
    h.submit()
    h.query()
    h.read()
    assert not [t for t in h.said if isinstance(t.message, m.OrderNotFound) and t.message.order_ref == ENTRY]
    h.read(broker_order(ENTRY))
    (found,) = h.told(m.OrderFound, OWNER)
    assert (found.order_ref, found.is_working, found.perm_id) == (ENTRY, True, 900)


def test_query_while_down_is_answered_after_the_next_dial() -> None:
    h = History().live().working()
    h.feed(s.LinkLost(session_epoch=h.epoch, cause="x"))
    h.query()
    h.sleep(0.6)
    h.up()
    h.read(broker_order(ENTRY, is_working=False, status="filled", filled_qty=2), executions=[broker_fill(ENTRY, 2)])
    assert h.told(m.OrderFound)[0].filled_qty == 2
    assert h.told(m.OrderClosed)[0].filled_qty_total == 2


def test_an_order_that_is_nowhere_is_given_up_only_after_the_abandon_wait() -> None:
    h = History().live({7: 2})
    h.submit_exit()
    h.sent(EXIT)
    h.feed(s.LinkLost(session_epoch=h.epoch, cause="x"))
    h.sleep(0.6)
    h.up()
    h.read(held={7: 2})
    assert h.order(EXIT).stage is Stage.IN_DOUBT
    assert messages(h.submit_exit("ZH-paper-aaaaaaaaaaaa-x2"), positions.ExitHeld)
    assert messages(h.sleep(10), s.ReadBack)
    h.read(held={7: 2})
    assert h.told(m.OrderNotFound, OWNER)
    assert messages(h.submit_exit("ZH-paper-aaaaaaaaaaaa-x3"), m.PlaceOrder)


def test_late_fill_of_an_order_that_was_given_up_is_recorded_and_told() -> None:
    h = History().live()
    h.submit()
    h.sent()
    h.sleep(11)
    h.query()
    h.read()
    assert h.order(ENTRY).stage is Stage.MISSING
    h.fill(ENTRY, 2)
    assert h.told(m.RecordExecution)
    assert h.told(m.OrderClosed)[0].filled_qty_total == 2


def test_execution_that_is_not_ours_is_read_back_and_not_recorded() -> None:
    h = History().live()
    told = h.fill("", 1)
    assert messages(told, s.ReadBack)
    assert not messages(told, m.RecordExecution)


def test_second_perm_id_for_one_ref_is_a_doubt() -> None:
    h = History().live().working()
    assert messages(h.status(ENTRY, "working", perm_id=901), s.ReadBack)
    assert h.order(ENTRY).stage is Stage.IN_DOUBT


def test_unacknowledged_inactive_order_is_looked_into() -> None:
    h = History().live().working()
    h.status(ENTRY, "inactive")
    assert messages(h.sleep(2.1), s.ReadBack)


# -- kill ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 2])
def test_kill_latches_the_port_first_and_cancels_entries_but_not_exits(level: int) -> None:
    h = History().live({7: 4}).working()
    h.submit_exit(qty=1, held=2)
    told = h.raise_kill(level)
    assert isinstance(told[0].message, risk.LatchKill)
    assert [w.order_ref for w in messages(told, m.WithdrawOrder)] == [ENTRY]


def test_kill_while_down_cancels_the_entry_when_the_broker_is_back() -> None:
    h = History().live().working()
    h.feed(s.LinkLost(session_epoch=h.epoch, cause="x"))
    assert not messages(h.raise_kill(1), m.WithdrawOrder)
    h.sleep(0.6)
    latch = messages(h.up(), risk.LatchKill)
    assert latch[0].level == 1
    told = h.read(broker_order(ENTRY))
    assert [w.order_ref for w in messages(told, m.WithdrawOrder)] == [ENTRY]


def test_what_if_is_answered_honestly() -> None:
    h = History().live()
    wish = m.RequestWhatIf(request_id="r", reply_to="risk:paper", contract=CALL, side=broker_order("x").side, qty=1,
                           limit_ticks=1, expires_utc=h.now)  # fmt: skip
    assert messages(h.feed(wish), m.WhatIfFailed)


def test_unknown_message_is_a_bug() -> None:
    with pytest.raises(TypeError):
        History().feed(m.WhatIfFailed(request_id="r", why=""))


def test_doubt_that_came_during_a_read_back_is_not_cleared_by_it() -> None:
    h = History().live().working()
    h.query("ZH-paper-bbbbbbbbbbbb-e")
    h.error(ENTRY, 104, UNKNOWN)
    h.read(broker_order(ENTRY))
    assert h.order(ENTRY).stage is Stage.IN_DOUBT
    h.read(broker_order(ENTRY, is_working=False, status="filled", filled_qty=2), executions=[broker_fill(ENTRY, 2)])
    assert h.told(m.OrderClosed)[0].filled_qty_total == 2


def test_restored_entry_that_nobody_wants_is_cancelled_at_the_first_reconciliation_only() -> None:
    h = History().start(IbkrRestored(orders=((ENTRY, 7, False, 2),), run_n=1))
    h.up()
    h.broker_read(broker_order(ENTRY))
    assert messages(h.reconciled(cancel_refs=(ENTRY,)), m.WithdrawOrder)
    h.query()
    h.broker_read(broker_order(ENTRY))
    assert not messages(h.reconciled(cancel_refs=(ENTRY,)), m.WithdrawOrder)


def test_correction_of_an_execution_is_recorded_and_counts_once() -> None:
    h = History().live().working()
    h.fill(ENTRY, 1)
    told = h.fill(ENTRY, 1, revision=2)
    assert messages(told, m.RecordExecution)[0].revision == 2
    assert h.order(ENTRY).filled_qty == 1
