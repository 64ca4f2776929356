"""Ways in which a real IB Gateway surprised people: each case through the real ports, against a gateway that sends it.

The rows are those of the project's list of cases (`cases/broker.md`); under each stand variants of the same kind.
"""

from __future__ import annotations

import queue
import re
from collections.abc import Callable
from datetime import date, time
from functools import partial
from typing import Any

import pytest

from domain.instants import MINUTE, SECOND, at_exchange
from domain.instruments import DataType, OrderType, Side
from domain.orders.table import CodeMeaning, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from gateways.ib.orders_port import OrdersPort
from gateways.ib.orders_session import OrdersSession
from gateways.ib.quotes_port import QuotesPort
from messages import broker
from messages import market as m
from messages.broker import QTY_UNKNOWN, ReadGroup
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.gateway_world import SPOTS
from tests.testkit.ibkr_world import EPOCH, Mailbox, World, amend, gateway, make_port, orders_port, place, quotes_port

TODAY = date(2026, 11, 20)
LASTING_S = 3_600.0
A_SILENCE_MS = 5_000
ENTRY, EXIT = "ZH-paper-a-e", "ZH-paper-a-x1"


def field(name: str, value: str, **more: Any) -> Fault:
    """A message in which one field reads otherwise, for the rest of the test."""
    return Fault(FaultKind.FIELD, duration_s=LASTING_S, args={"field": name, "value": value, **more})


def lasting(kind: FaultKind, **args: Any) -> Fault:
    return Fault(kind, duration_s=LASTING_S, args=args)


def read_back(port: OrdersPort, mailbox: Mailbox, read_n: int = 1) -> broker.BrokerRead:
    port.post(broker.ReadBack(session_epoch=EPOCH, read_n=read_n))
    return mailbox.wait(broker.BrokerRead, lambda r: r.read_n == read_n)


def why_failed(read: broker.BrokerRead) -> dict[ReadGroup, str]:
    return {failure.group: failure.why for failure in read.failed}


def filled(world: World, port: OrdersPort, mailbox: Mailbox) -> broker.Execution:
    """Buy two calls and return what the port said of it."""
    port.post(place(world))
    return mailbox.wait(broker.ExecutionReported).execution


# -- 1: a request that is answered with an error ends with the broker's words -------------------


def test_case_1_read_only_gateway_fails_the_groups_at_once_with_its_words_and_leaves_the_positions_readable() -> None:
    with gateway() as world, orders_port(world, read_back_ms=30_000) as (port, mailbox):
        filled(world, port, mailbox)
        mailbox.wait(broker.PositionReported)
        world.inject(lasting(FaultKind.READ_ONLY))
        read = read_back(port, mailbox)
        why = why_failed(read)
        assert set(why) == {ReadGroup.ORDERS, ReadGroup.COMPLETED}
        assert "321" in why[ReadGroup.ORDERS]
        assert "Read-Only" in why[ReadGroup.ORDERS]
        assert not read.allows_exits
        assert [p.qty for p in read.positions] == [2]
        assert len(read.executions) == 1
        port.post(place(world, EXIT, side=Side.SELL, is_exit=True))
        refused = mailbox.wait(broker.ErrorReported, lambda e: e.order_ref == EXIT)
        assert (refused.vendor_code, refused.meaning) == (321, CodeMeaning.ORDER_REFUSED)
        assert "Read-Only" in refused.text


@pytest.mark.parametrize(
    ("group", "failed"),
    [
        ("orders", ReadGroup.ORDERS),
        ("completed", ReadGroup.COMPLETED),
        ("positions", ReadGroup.POSITIONS),
        ("executions", ReadGroup.EXECUTIONS),
    ],
)
@pytest.mark.parametrize("how", [{}, {"silent": True}])
def test_case_1_each_group_of_a_read_back_fails_by_itself(group: str, failed: ReadGroup, how: dict[str, Any]) -> None:
    wait_ms = A_SILENCE_MS if how else 60_000  # the other three answer in time, however busy the machine
    with gateway() as world, orders_port(world, read_back_ms=wait_ms) as (port, mailbox):
        world.inject(lasting(FaultKind.GROUP_ERROR, group=group, **how))
        read = read_back(port, mailbox)
        assert set(why_failed(read)) == {failed}
        assert ("no answer" in why_failed(read)[failed]) is bool(how)
        assert read.allows_exits is (failed in (ReadGroup.COMPLETED, ReadGroup.EXECUTIONS))
        assert not read.is_complete


def test_case_1_history_that_is_missing_leaves_exits_possible() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        world.inject(lasting(FaultKind.GROUP_ERROR, group="completed"))
        world.inject(lasting(FaultKind.GROUP_ERROR, group="executions"))
        read = read_back(port, mailbox)
        assert read.allows_exits
        assert [p.qty for p in read.positions] == [2]


def test_case_1_a_read_back_of_which_nothing_comes_says_why_for_every_group() -> None:
    with gateway() as world, orders_port(world, read_back_ms=300) as (port, mailbox):
        for group in ("orders", "completed", "positions", "executions"):
            world.inject(lasting(FaultKind.GROUP_ERROR, group=group, silent=True))
        port.post(broker.ReadBack(session_epoch=EPOCH, read_n=1))
        failed = mailbox.wait(broker.BrokerReadFailed)
        assert failed.why.count("no answer") == 4


def test_case_1_a_notice_without_an_id_ends_no_request() -> None:
    with gateway() as world, orders_port(world, read_back_ms=A_SILENCE_MS) as (port, mailbox):
        world.inject(lasting(FaultKind.GROUP_ERROR, group="orders", silent=True))
        port.post(broker.ReadBack(session_epoch=EPOCH, read_n=1))
        world.inject(Fault(FaultKind.ERROR_SENT, args={"id": -1, "code": 2174, "text": "a warning about time zones"}))
        read = mailbox.wait(broker.BrokerRead, lambda r: r.read_n == 1)
        assert "no answer" in why_failed(read)[ReadGroup.ORDERS]


# -- 2 and 3: instants -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "is_uncertain"),
    [
        ({"form": "%Y%m%d %H:%M:%S JST"}, True),
        ({"form": "%Y%m%d %H:%M:%S JST", "zone": "Asia/Tokyo"}, True),
        ({"form": "%Y%m%d %H:%M:%S IST", "zone": "Asia/Kolkata"}, True),
        ({"form": "%Y%m%d %H:%M:%S MET", "zone": "Europe/Berlin"}, True),
        ({"form": "%Y%m%d %H:%M:%S EST5EDT"}, False),
        ({"form": "%Y%m%d %H:%M:%S Europe/Berlin", "zone": "Europe/Berlin"}, False),
        ({"form": "%Y%m%d-%H:%M:%S", "zone": "UTC"}, False),
        ({"form": "%Y%m%d-%H:%M:%S", "zone": "UTC", "shift_s": 3600}, True),
        ({"form": "%Y%m%d %H:%M:%S US/Eastern", "shift_s": 18_000}, True),
        ({"form": "%Y%m%d  %H:%M:%S"}, True),
        ({"form": "never"}, True),
        ({"form": ""}, True),
    ],
)
def test_cases_2_and_3_no_execution_is_lost_for_its_time_and_none_is_of_the_future(
    args: dict[str, Any], is_uncertain: bool
) -> None:
    with gateway(lasting(FaultKind.EXECUTION_TIME, **args)) as world, orders_port(world) as (port, mailbox):
        before = world.clock.now_utc()
        execution = filled(world, port, mailbox)
        assert (execution.qty, execution.price_ticks, execution.is_time_uncertain) == (2, 510, is_uncertain)
        assert before - SECOND <= execution.at_utc <= world.clock.now_utc()
        (again,) = read_back(port, mailbox).executions
        assert (again.exec_id, again.qty) == (execution.exec_id, 2)
        assert again.at_utc <= world.clock.now_utc()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("execution.strike", "NaN"), ("execution.expiry", ""), ("execution.right", "?"), ("execution.perm_id", "x"),
        ("execution.liquidation", "NaN"), ("execution.cumulative", "1.7014118346046923E38"),
        ("execution.average", ""), ("execution.ev_multiplier", "1.7976931348623157E308"),
        ("execution.con_id", "2147483647"), ("execution.side", ""), ("execution.client_id", "2147483647"),
    ],
)  # fmt: skip
def test_case_2_a_side_field_that_cannot_be_read_never_costs_the_execution(name: str, value: str) -> None:
    with gateway(field(name, value)) as world, orders_port(world) as (port, mailbox):
        execution = filled(world, port, mailbox)
        assert (execution.order_ref, execution.qty, execution.side) == (ENTRY, 2, Side.BUY)
        assert (execution.con_id, execution.price_ticks) == (world.call.con_id, 510)
        assert len(read_back(port, mailbox).executions) == 1


def test_case_2_an_execution_that_ends_early_is_still_one() -> None:
    with gateway(field("execution.liquidation", "", cut=True)) as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        execution = mailbox.wait(broker.ExecutionReported).execution
        assert (execution.qty, execution.price_ticks, execution.con_id) == (2, 510, world.call.con_id)


@pytest.mark.parametrize("name", ["execution.shares", "execution.id"])
def test_case_2_an_execution_without_its_main_facts_is_a_fault_that_is_told_and_its_group_fails(name: str) -> None:
    with gateway(field(name, "")) as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        fault = mailbox.wait(broker.PortFaulted)
        assert fault.is_order_path
        assert "execution" in fault.what
        assert "DU1234567" not in repr(fault)
        read = read_back(port, mailbox)
        assert set(why_failed(read)) == {ReadGroup.EXECUTIONS}
        assert read.allows_exits
        assert [p.qty for p in read.positions] == [2]


def test_execution_that_is_never_told_leaves_the_filled_order_and_the_position_in_the_read_back() -> None:
    with gateway(lasting(FaultKind.EXECUTIONS_MISSING)) as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        read = read_back(port, mailbox)
        assert read.is_complete
        assert read.executions == ()
        assert [(o.status, o.filled_qty) for o in read.orders] == [(OrderStatus.FILLED, 2)]
        assert [p.qty for p in read.positions] == [2]


# -- 4: chains and hours -----------------------------------------------------------------------


def list_chain(port: QuotesPort) -> None:
    port.post(m.ListChain(session_epoch=EPOCH, ticker="SPX", trading_class="SPXW", expiry=TODAY))


REGULAR = (at_exchange(TODAY, time(9, 30)), at_exchange(TODAY, time(16)))
CURB = (at_exchange(TODAY, time(2)), at_exchange(TODAY, time(10, 15)))


@pytest.mark.parametrize(
    ("name", "text", "hours"),
    [
        ("details.liquid_hours", "20261120:0830-1500", (REGULAR,)),
        ("details.liquid_hours", "20261120:0100-20261120:0915;20261120:0830-20261120:1500", (CURB, REGULAR)),
        ("details.liquid_hours", "20261120:CLOSED", ()),
        ("details.liquid_hours", "", None),
        ("details.liquid_hours", "20261120:odd", None),
        ("details.zone", "", None),
        ("details.zone", "JST", None),
        ("details.identifiers", "NaN", (REGULAR,)),
    ],
)
def test_case_4_the_chain_is_listed_whatever_its_hours_look_like(
    name: str, text: str, hours: tuple[tuple[int, int], ...] | None
) -> None:
    with gateway(field(name, text)) as world, quotes_port(world) as (port, mailbox):
        list_chain(port)
        listed = mailbox.wait(m.ChainListed)
        assert listed.contracts
        assert listed.hours == hours
        assert not mailbox.of(broker.PortFaulted)


@pytest.mark.parametrize("how", [{"value": "NaN"}, {"value": "", "cut": True}])
def test_case_4_a_contract_that_cannot_be_read_makes_the_listing_fail_with_a_reason(how: dict[str, Any]) -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        world.inject(field("details.con_id", **how))
        list_chain(port)
        assert "cannot be read" in mailbox.wait(m.ChainFailed).why


def test_case_4_a_contract_without_a_readable_expiry_is_not_left_out_in_silence() -> None:
    with gateway(field("details.expiry", "soon")) as world, quotes_port(world) as (port, mailbox):
        list_chain(port)
        assert "expiry" in mailbox.wait(m.ChainFailed).why


def test_case_4_a_listing_that_dies_is_told_and_can_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise KeyError("US/Atlantis")

    with gateway() as world, quotes_port(world) as (port, mailbox):
        with monkeypatch.context() as patch:
            patch.setattr("gateways.ib.quotes_port._is_wanted", broken)
            list_chain(port)
            assert "Atlantis" in mailbox.wait(m.ChainFailed).why
            fault = mailbox.wait(broker.PortFaulted)
            assert ("SPX" in fault.what, fault.is_order_path) == (True, False)
        list_chain(port)
        mailbox.wait(m.ChainListed)


# -- 5: order ids ------------------------------------------------------------------------------


def test_case_5_a_foreign_open_order_does_not_move_our_counter_and_the_exit_goes_out() -> None:
    stranger = lasting(FaultKind.FOREIGN_ORDERS, order_id=2_147_483_647, client_id=0, perm_id=77)
    with gateway() as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        entry_id = mailbox.of(broker.OrderSent)[0].order_id
        world.inject(stranger)
        assert [o.perm_id for o in read_back(port, mailbox).orders if o.order_ref == ""] == [77]
        port.post(place(world, EXIT, side=Side.SELL, limit_ticks=500, is_exit=True))
        sent = mailbox.wait(broker.OrderSent, lambda f: f.order_ref == EXIT)
        assert entry_id < sent.order_id < 1_000
        mailbox.wait(broker.ExecutionReported, lambda e: e.execution.order_ref == EXIT)


def test_case_5_orders_of_our_own_client_id_do_move_it() -> None:
    own = lasting(FaultKind.FOREIGN_ORDERS, order_id=5_000, client_id=11, perm_id=77)
    with gateway(own) as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        assert mailbox.wait(broker.OrderSent).order_id == 5_001


@pytest.mark.parametrize("next_id", ["2147483647", "9223372036854775807"])
def test_case_5_without_an_id_that_the_broker_takes_nothing_is_written_and_the_reason_is_told(next_id: str) -> None:
    with gateway(field("next_id.id", next_id)) as world, orders_port(world, is_dialled=False) as (port, mailbox):
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        mailbox.wait(broker.LinkUp)
        port.post(place(world))
        denied = mailbox.wait(broker.OrderDenied)
        assert denied.code is RejectCode.NOT_CONNECTED
        assert "reset the API order ids" in denied.why
        assert not mailbox.of(broker.OrderSent)
        port.post(broker.ReadBack(session_epoch=EPOCH, read_n=1))
        assert "order ids" in mailbox.wait(broker.BrokerReadFailed).why


@pytest.mark.parametrize("next_id", ["0", "-5"])
def test_case_5_ids_begin_with_1_whatever_the_gateway_says(next_id: str) -> None:
    with gateway(field("next_id.id", next_id)) as world, orders_port(world) as (port, mailbox):
        port.post(place(world))
        assert mailbox.wait(broker.OrderSent).order_id >= 1


@pytest.mark.parametrize("code", [320, 321, 31_337])
def test_case_5_an_error_that_names_no_order_doubts_what_was_just_written(code: int) -> None:
    fault = Fault(FaultKind.ORDER_ERROR, args={"id": -1, "code": code, "text": "Error reading request."})
    with gateway(fault) as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        error = mailbox.wait(broker.ErrorReported, lambda e: e.order_ref == ENTRY)
        assert (error.vendor_code, error.meaning) == (code, CodeMeaning.ORDER_UNKNOWN)


def test_case_5_an_error_that_names_no_order_leaves_an_acknowledged_one_alone() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        world.inject(Fault(FaultKind.ERROR_SENT, args={"id": -1, "code": 320, "text": "Error reading request."}))
        assert mailbox.wait(broker.ErrorReported, lambda e: e.vendor_code == 320).order_ref is None


# -- 6: accounts -------------------------------------------------------------------------------


def test_case_6_whatever_names_another_account_is_dropped_at_the_door_and_told_once() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        own_nav = mailbox.wait(broker.AccountRead).nav_cents
        world.inject(lasting(FaultKind.OTHER_ACCOUNT))
        read = read_back(port, mailbox)
        assert read.is_complete
        assert {e.order_ref for e in read.executions} == {ENTRY}
        assert [p.qty for p in read.positions] == [2]
        assert {o.order_ref for o in read.orders} == {ENTRY}
        told = mailbox.wait(broker.ErrorReported, lambda e: "other accounts" in e.text)
        assert told.meaning is CodeMeaning.INFORMATIONAL
        read_back(port, mailbox, 2)
        assert {e.execution.order_ref for e in mailbox.of(broker.ExecutionReported)} == {ENTRY}
        assert {p.qty for p in mailbox.of(broker.PositionReported)} == {2}
        assert all(a.nav_cents > own_nav // 2 for a in mailbox.of(broker.AccountRead))
        assert len([e for e in mailbox.of(broker.ErrorReported) if "other accounts" in e.text]) == 1


# -- 7: sentinels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["1.7014118346046923E38", "1.7976931348623157E308", "2147483647", "NaN", "inf", "-inf", ""]
)
def test_case_7_an_unset_filled_quantity_is_unknown_and_not_a_fill(text: str) -> None:
    with gateway(field("completed.filled", text)) as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        port.post(broker.WithdrawOrder(order_ref=ENTRY, session_epoch=EPOCH))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.CANCELLED)
        (order,) = read_back(port, mailbox).orders
        assert (order.status, order.filled_qty, order.qty) == (OrderStatus.CANCELLED, 0, 2)


@pytest.mark.parametrize(
    ("name", "group"), [("completed.con_id", ReadGroup.COMPLETED), ("completed.legs", ReadGroup.COMPLETED)]
)
def test_case_7_a_completed_order_that_cannot_be_read_makes_its_group_incomplete(name: str, group: ReadGroup) -> None:
    with gateway(field(name, "NaN")) as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        read = read_back(port, mailbox)
        assert set(why_failed(read)) == {group}
        assert read.allows_exits


@pytest.mark.parametrize("name", ["open.conditions", "open.legs"])
def test_case_7_an_open_order_whose_tail_cannot_be_read_stands_as_working(name: str) -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        world.inject(field(name, "NaN"))
        (order,) = read_back(port, mailbox).orders
        assert (order.order_ref, order.is_working, order.qty, order.limit_ticks) == (ENTRY, True, 2, 450)


@pytest.mark.parametrize("status", ["PendingReplace", "", "submitted "])
def test_an_open_order_whose_status_nobody_knows_works(status: str) -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        world.inject(field("open.status", status))
        (order,) = read_back(port, mailbox).orders
        assert (order.order_ref, order.is_working, order.status) == (ENTRY, True, OrderStatus.UNKNOWN)


@pytest.mark.parametrize(
    ("name", "value", "qty"),
    [("open.quantity", "NaN", 2), ("open.strike", "1.7976931348623157E308", 2), ("open.limit", "", 2)],
)
def test_case_7_numbers_of_our_own_open_order_that_cannot_be_read_are_those_that_we_sent(
    name: str, value: str, qty: int
) -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        world.inject(field(name, value))
        read = read_back(port, mailbox)
        assert [(o.order_ref, o.is_working, o.qty) for o in read.orders] == [(ENTRY, True, qty)]
        assert not read.failed


@pytest.mark.parametrize(
    ("name", "value", "con_id_is_known", "qty"),
    [
        ("open.quantity", "NaN", True, QTY_UNKNOWN),  # by an amount of money: IB tells no quantity
        ("open.con_id", "0", False, 3),  # a combination has no contract of its own
    ],
)
def test_a_foreign_open_order_without_its_main_facts_is_told_and_holds_up_no_exit(
    name: str, value: str, *, con_id_is_known: bool, qty: int
) -> None:
    with gateway(lasting(FaultKind.FOREIGN_ORDERS, perm_id=7)) as world, orders_port(world) as (port, mailbox):
        world.inject(field(name, value))
        read = read_back(port, mailbox)
        assert [(o.perm_id, o.con_id > 0, o.qty, o.is_working) for o in read.orders] == [
            (7, con_id_is_known, qty, True)
        ]
        assert read.is_complete
        assert read.allows_exits


@pytest.mark.parametrize("name", ["open.quantity", "open.con_id"])
def test_an_open_order_of_ours_from_before_without_its_main_facts_makes_the_orders_incomplete(name: str) -> None:
    strange = lasting(FaultKind.FOREIGN_ORDERS, perm_id=7, ref=EXIT, client_id=9)
    with gateway(strange) as world, orders_port(world) as (port, mailbox):
        world.inject(field(name, "NaN"))
        assert set(why_failed(read_back(port, mailbox))) == {ReadGroup.ORDERS}


def of_a_person(world: World, port: OrdersPort, mailbox: Mailbox) -> None:
    """Have an order of ours filled, and one of a person."""
    filled(world, port, mailbox)
    port.post(place(world, "a-person"))
    mailbox.wait(broker.ExecutionReported, lambda e: e.execution.order_ref == "a-person")


def test_a_part_of_a_share_that_a_person_traded_is_an_execution_like_any_other() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        of_a_person(world, port, mailbox)
        world.inject(field("execution.shares", "0.37", where="a-person"))
        read = read_back(port, mailbox)
        assert {e.order_ref: e.qty for e in read.executions} == {ENTRY: 2, "a-person": 1}
        assert read.is_complete


@pytest.mark.parametrize("name", ["execution.shares", "execution.con_id"])
def test_an_execution_that_cannot_be_read_costs_no_other_one(name: str) -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        of_a_person(world, port, mailbox)
        assert port.session is not None
        port.session.by_ref.clear()  # a later session has sent neither
        world.inject(field(name, "NaN", where="a-person"))
        read = read_back(port, mailbox)
        assert [e.order_ref for e in read.executions] == [ENTRY]
        assert set(why_failed(read)) == {ReadGroup.EXECUTIONS}


@pytest.mark.parametrize(("value", "qty"), [("0.4", 1), ("-0.4", -1), ("1.6", 2)])
def test_a_part_of_a_share_that_a_person_holds_is_a_position(value: str, qty: int) -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        mailbox.wait(broker.PositionReported)
        world.inject(field("position.quantity", value))
        assert [p.qty for p in read_back(port, mailbox).positions] == [qty]


@pytest.mark.parametrize("name", ["position.quantity", "position.con_id"])
def test_case_7_a_position_that_cannot_be_read_is_a_failed_group_and_never_absent(name: str) -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        mailbox.wait(broker.PositionReported)
        world.inject(field(name, "NaN"))
        read = read_back(port, mailbox)
        assert set(why_failed(read)) == {ReadGroup.POSITIONS}
        assert not read.allows_exits


def test_shares_whose_number_cannot_be_read_are_a_strangers_holding_and_hold_up_no_exit() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        mailbox.wait(broker.PositionReported)
        world.inject(field("position.quantity", "NaN"))
        world.inject(field("position.security", "STK"))
        read = read_back(port, mailbox)
        assert [(p.contract.trading_class, p.qty) for p in read.positions] == [("STK", QTY_UNKNOWN)]
        assert not read.failed


def test_a_position_of_another_account_that_cannot_be_read_is_nothing_to_us() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        mailbox.wait(broker.PositionReported)
        world.inject(field("position.quantity", "NaN"))
        world.inject(field("position.account", "DU0000000"))
        assert not read_back(port, mailbox).failed


@pytest.mark.parametrize(
    ("name", "value"), [("position.expiry", ""), ("position.strike", "NaN"), ("position.average", "")]
)
def test_case_7_a_side_field_of_a_position_costs_nothing(name: str, value: str) -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        mailbox.wait(broker.PositionReported)
        world.inject(field(name, value))
        read = read_back(port, mailbox)
        assert [(p.contract.con_id, p.qty) for p in read.positions] == [(world.call.con_id, 2)]
        assert not read.failed


@pytest.mark.parametrize("name", ["status.filled", "status.remaining", "status.perm_id"])
def test_case_7_a_status_with_a_number_that_cannot_be_read_is_still_a_status(name: str) -> None:
    with gateway(field(name, "1.7976931348623157E308")) as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.raw.startswith("orderStatus Submitted"))
        port.post(broker.WithdrawOrder(order_ref=ENTRY, session_epoch=EPOCH))
        ended = mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.CANCELLED)
        assert ended.filled_qty == 0


def test_case_7_a_fee_that_is_not_known_yet_is_no_fee() -> None:
    with gateway(field("commission.value", "1.7976931348623157E308")) as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        assert not mailbox.of(broker.CommissionReported)
        assert not mailbox.of(broker.PortFaulted)


def test_a_fee_in_another_currency_is_not_known_and_keeps_its_words() -> None:
    with gateway(field("commission.currency", "EUR")) as world, orders_port(world) as (port, mailbox):
        filled(world, port, mailbox)
        fee = mailbox.wait(broker.CommissionReported)
        assert fee.commission_cents is None
        assert re.fullmatch(r"commission=\d+\.\d+ EUR", fee.raw)


# -- 8 and 9: the account's values -------------------------------------------------------------


def test_case_8_account_in_another_currency_is_told_with_what_came_and_what_is_wanted() -> None:
    with gateway(field("account.currency", "EUR")) as world, orders_port(world) as (_, mailbox):
        told = mailbox.wait(broker.AccountUnreadable)
        assert "NetLiquidation in EUR only" in told.why
        assert "USD" in told.why
        assert not mailbox.of(broker.AccountRead)


@pytest.mark.parametrize("value", ["NaN", "", "1.7976931348623157E308", "x"])
def test_case_8_account_values_that_cannot_be_read_are_told(value: str) -> None:
    with (
        gateway(field("account.value", value, where="AvailableFunds")) as world,
        orders_port(world) as (_, mailbox),
    ):
        assert "AvailableFunds that cannot be read" in mailbox.wait(broker.AccountUnreadable).why
        assert not mailbox.of(broker.AccountRead)


def test_case_9_zeros_at_the_start_are_no_values() -> None:
    zeros = field("account.value", "0.00", where="USD")
    with gateway(zeros) as world, orders_port(world, read_back_ms=300) as (_, mailbox):
        assert "not yet known" in mailbox.wait(broker.AccountUnreadable).why
        world.do(world.server.end_faults)
        assert mailbox.wait(broker.AccountRead).nav_cents == 10_000_000


def test_case_9_zeros_that_are_soon_replaced_are_not_worth_a_word() -> None:
    zeros = Fault(FaultKind.FIELD, duration_s=1.0, args={"field": "account.value", "value": "0.00", "where": "USD"})
    with gateway(zeros) as world, orders_port(world) as (_, mailbox):
        assert mailbox.wait(broker.AccountRead).nav_cents == 10_000_000
        assert not mailbox.of(broker.AccountUnreadable)


@pytest.mark.parametrize(("value", "left"), [("-1", -1), ("3", 3), ("0", 0), ("", None), ("2147483647", None)])
def test_case_9_day_trades_are_as_the_broker_says_and_unlimited_is_negative(value: str, left: int | None) -> None:
    fault = field("account.value", value, where="DayTradesRemaining")
    with gateway(fault) as world, orders_port(world) as (_, mailbox):
        assert mailbox.wait(broker.AccountRead).day_trades_remaining == left


# -- 10: perm id 0 -----------------------------------------------------------------------------


def test_case_10_two_open_orders_with_perm_id_0_both_stand() -> None:
    twins = lasting(FaultKind.FOREIGN_ORDERS, perm_id=0, count=2, order_id=4)
    with gateway(twins) as world, orders_port(world) as (port, mailbox):
        orders = read_back(port, mailbox).orders
        assert [(o.perm_id, o.is_working, o.qty) for o in orders] == [(0, True, 3), (0, True, 3)]


def test_case_10_the_same_perm_id_twice_is_one_order() -> None:
    twins = lasting(FaultKind.FOREIGN_ORDERS, perm_id=5, count=2, order_id=4)
    with gateway(twins) as world, orders_port(world) as (port, mailbox):
        assert len(read_back(port, mailbox).orders) == 1


# -- 11 and 12: ticks --------------------------------------------------------------------------


def quote_of(world: World, mailbox: Mailbox, fits: Callable[[Any], bool]) -> Any:
    def found(batch: m.QuotesArrived) -> Any:
        return next((q for q in batch.quotes if q.con_id == world.call.con_id and fits(q)), None)

    return found(mailbox.wait(m.QuotesArrived, lambda batch: found(batch) is not None))


@pytest.mark.parametrize("size", ["NaN", "1.7014118346046923E38", "", "x", "-5"])
def test_case_11_a_tick_whose_size_cannot_be_read_keeps_its_price(size: str) -> None:
    with gateway(field("tick.size", size)) as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, contracts=(world.call,)))
        quote = quote_of(world, mailbox, lambda q: q.bid_ticks == 500)
        assert (quote.ask_ticks, quote.bid_size) == (510, 0)
        world.do(lambda: world.market.set(world.market.call, 470, 510))
        quote_of(world, mailbox, lambda q: q.bid_ticks == 470)
        assert not mailbox.of(broker.PortFaulted)


@pytest.mark.parametrize("price", ["NaN", "", "1.7976931348623157E308"])
def test_case_11_a_price_that_cannot_be_read_is_unknown_and_the_old_one_does_not_stand(price: str) -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, contracts=(world.call,)))
        quote_of(world, mailbox, lambda q: q.bid_ticks == 500)
        world.inject(field("tick.price", price))
        world.do(lambda: world.market.set(world.market.call, 470, 510))
        quote_of(world, mailbox, lambda q: q.bid_ticks is None)


def test_case_11_greeks_that_cannot_be_read_do_not_cost_the_quote() -> None:
    with gateway(field("greeks.delta", "NaN")) as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, contracts=(world.call,)))
        assert quote_of(world, mailbox, lambda q: q.bid_ticks == 500).greeks is None


def spots(mailbox: Mailbox, ticker: str) -> list[int]:
    return [s.price_ticks for batch in mailbox.of(m.QuotesArrived) for s in batch.spots if s.ticker == ticker]


def test_case_12_the_first_print_of_an_index_is_not_believed_before_a_second_agrees() -> None:
    yesterday = SPOTS["SPX"] * 95 // 100
    with gateway(lasting(FaultKind.FIRST_PRINT, ticks=yesterday)) as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, tickers=("SPX",)))
        mailbox.wait(m.QuotesArrived, lambda batch: bool(batch.spots))
        assert yesterday not in spots(mailbox, "SPX")
        assert spots(mailbox, "SPX")[0] == SPOTS["SPX"]


def test_case_12_the_first_print_of_a_stock_gives_way_to_a_two_sided_market_that_disagrees() -> None:
    yesterday = SPOTS["SPY"] * 95 // 100
    with gateway(lasting(FaultKind.FIRST_PRINT, ticks=yesterday)) as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, tickers=("SPY",)))
        mailbox.wait(m.QuotesArrived, lambda batch: bool(batch.spots))
        assert set(spots(mailbox, "SPY")) == {SPOTS["SPY"]}


@pytest.mark.parametrize(
    ("kind", "data_type"), [(2, DataType.FROZEN), (3, DataType.DELAYED), (4, DataType.DELAYED_FROZEN)]
)
def test_quotes_carry_that_they_are_frozen_or_delayed(kind: int, data_type: DataType) -> None:
    with gateway(lasting(FaultKind.DELAYED_DATA, type=kind)) as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, contracts=(world.call,)))
        assert quote_of(world, mailbox, lambda q: q.bid_ticks == 500).data_type is data_type


def test_halts_are_heard_of_the_contract_and_of_the_underlying_and_their_end_too() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, contracts=(world.call,), tickers=("SPX",)))
        quote_of(world, mailbox, lambda q: q.bid_ticks == 500)
        world.inject(Fault(FaultKind.HALTED, duration_s=0.2, args={"ticker": "SPX"}))
        for con_id, ticker in ((world.call.con_id, ""), (0, "SPX")):
            for is_halted in (True, False):
                mailbox.wait(m.HaltHeard, partial(is_halt, con_id, ticker, is_halted))


def is_halt(con_id: int, ticker: str, is_halted: bool, heard: m.HaltHeard) -> bool:
    return (heard.con_id, heard.ticker, heard.is_halted) == (con_id, ticker, is_halted)


def test_dead_line_of_an_underlying_can_be_asked_for_anew() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, tickers=("SPY",)))
        mailbox.wait(m.QuotesArrived, lambda batch: bool(batch.spots))
        port.post(m.Unsubscribe(session_epoch=EPOCH, tickers=("SPY",)))
        port.post(m.Subscribe(session_epoch=EPOCH, tickers=("SPY",)))
        world.do(lambda: world.market.spots.update(SPY=61_000))
        mailbox.wait(m.QuotesArrived, lambda batch: any(s.price_ticks == 61_000 for s in batch.spots))
        assert world.do(world.server.lines_used) == 1


# -- the kinds behind them ---------------------------------------------------------------------


def test_code_that_is_in_no_table_changes_nothing_by_itself() -> None:
    notice = Fault(FaultKind.ORDER_NOTICE, args={"code": 31_337, "text": "?"})
    with gateway(notice) as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        error = mailbox.wait(broker.ErrorReported, lambda e: e.vendor_code == 31_337)
        assert error.meaning is CodeMeaning.ORDER_UNKNOWN
        (order,) = read_back(port, mailbox).orders
        assert (order.is_working, order.limit_ticks) == (True, 450)


def test_task_that_dies_is_told_and_the_account_is_followed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    died: list[int] = []
    whole = OrdersSession.account_overdue

    def once(session: OrdersSession) -> None:
        died.append(1)
        if len(died) == 1:
            raise RuntimeError("boom")
        whole(session)

    monkeypatch.setattr(OrdersSession, "account_overdue", once)
    with gateway() as world, orders_port(world, read_back_ms=200) as (_, mailbox):
        fault = mailbox.wait(broker.PortFaulted)
        assert (fault.what, fault.why, fault.is_order_path) == ("following the account", "RuntimeError: boom", True)
        reads = len(mailbox.of(broker.AccountRead))
        mailbox.wait(broker.AccountRead, lambda _: len(mailbox.heard) > 0 and len(died) > 1)
        assert len(mailbox.of(broker.AccountRead)) >= reads


def test_heartbeat_that_dies_ends_the_link_instead_of_leaving_it_unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dead(_: object) -> None:
        raise RuntimeError("boom")

    with gateway() as world, orders_port(world, is_dialled=False) as (port, mailbox):
        monkeypatch.setattr(OrdersSession, "ask_time", dead)
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        assert mailbox.wait(broker.PortFaulted).what == "the heartbeat"
        assert "boom" in mailbox.wait(broker.LinkLost).cause


def test_command_that_breaks_the_port_is_told_and_the_next_one_is_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        with monkeypatch.context() as patch:
            patch.setattr("gateways.ib.translate.ib_option", lambda _: 1 / 0)
            port.post(place(world))
            assert "PlaceOrder" in mailbox.wait(broker.PortFaulted).what
        port.post(place(world, "ZH-paper-b-e"))
        mailbox.wait(broker.ExecutionReported)


def test_read_back_that_dies_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dead(*_: object) -> None:
        raise RuntimeError("boom")

    with gateway() as world, orders_port(world) as (port, mailbox):
        with monkeypatch.context() as patch:
            patch.setattr(OrdersSession, "read_all", dead)
            port.post(broker.ReadBack(session_epoch=EPOCH, read_n=1))
            assert "boom" in mailbox.wait(broker.BrokerReadFailed).why
        assert mailbox.of(broker.PortFaulted)[0].is_order_path
        assert read_back(port, mailbox, 2).is_complete


def test_dial_of_a_gateway_that_is_not_configured_fails_in_one_sentence() -> None:
    with gateway() as world, orders_port(world, is_dialled=False) as (port, mailbox):
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=7))
        assert mailbox.wait(broker.LinkFailed).why == "there is no gateway 7"


def test_frame_that_is_no_message_is_told_and_the_next_ones_are_read() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        odd = b"\x00\x00\x00\x02x\x00" + b"\x00\x00\x00\x01\x00"
        (client,) = world.do(world.server._clients.admitted)
        world.do(lambda: client.send(odd))
        assert mailbox.wait(broker.PortFaulted).is_order_path
        assert read_back(port, mailbox).is_complete


# -- orders ------------------------------------------------------------------------------------


def test_entry_is_good_till_its_instant_at_the_venue_itself_and_a_change_keeps_that() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        till = world.clock.now_utc() + 2 * SECOND
        port.post(place(world, limit_ticks=450, good_till_utc=till))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        port.post(amend(world, limit_ticks=440))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.limit_ticks == 440)
        (state,) = world.do(world.exchange.open_orders)
        assert state.order.tif == "GTD"
        assert till <= state.order.good_till_utc < till + SECOND
        mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.CANCELLED)
        assert world.clock.now_utc() >= till


def test_order_whose_good_till_has_passed_never_leaves() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, good_till_utc=world.clock.now_utc() - 1))
        assert mailbox.wait(broker.OrderDenied).code is RejectCode.DEADLINE_PASSED


def test_order_without_a_good_till_is_a_day_order() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        (state,) = world.do(world.exchange.open_orders)
        assert (state.order.tif, state.order.good_till_utc) == ("DAY", None)


def test_order_that_could_not_be_built_can_be_sent_again_under_its_reference() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=None))
        assert mailbox.wait(broker.OrderDenied).code is RejectCode.MISSING_INPUT
        port.post(place(world))
        mailbox.wait(broker.ExecutionReported)


def test_global_cancel_ends_every_order_whoever_placed_it() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        other = Mailbox()
        stranger: OrdersPort = make_port(OrdersPort, world, other.tell, client_id=33)
        try:
            stranger.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
            other.wait(broker.LinkUp)
            stranger.post(place(world, EXIT, limit_ticks=450))
            other.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
            port.post(place(world, limit_ticks=440))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
            found = {o.order_ref: o.is_of_other_client for o in read_back(port, mailbox).orders}
            assert found == {ENTRY: False, EXIT: True}
            port.post(amend(world, EXIT, limit_ticks=460))
            assert "another client id" in mailbox.wait(broker.OrderDenied, lambda d: d.order_ref == EXIT).why
            port.post(broker.WithdrawOrder(order_ref=EXIT, session_epoch=EPOCH))
            assert "another client id" in mailbox.wait(broker.ErrorReported, lambda e: e.order_ref == EXIT).text
            port.post(broker.CancelEverything(session_epoch=EPOCH))
            for box, ref in ((mailbox, ENTRY), (other, EXIT)):
                box.wait(broker.OrderStatusReported, partial(is_cancelled, ref))
            assert not any(o.is_working for o in read_back(port, mailbox, 2).orders)
        finally:
            stranger.close()


def is_cancelled(ref: str, fact: broker.OrderStatusReported) -> bool:
    return (fact.order_ref, fact.status) == (ref, OrderStatus.CANCELLED)


def test_cancels_while_the_gateway_has_lost_its_link_are_answered() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        world.inject(lasting(FaultKind.LINK_LOST))
        mailbox.wait(broker.LinkLost)
        port.post(broker.WithdrawOrder(order_ref=ENTRY, session_epoch=EPOCH))
        answer = mailbox.wait(broker.ErrorReported, lambda e: e.order_ref == ENTRY)
        assert answer.meaning is CodeMeaning.ORDER_UNKNOWN
        port.post(broker.CancelEverything(session_epoch=EPOCH))
        assert mailbox.wait(broker.ErrorReported, lambda e: "everything" in e.text).meaning is CodeMeaning.LINK


def test_socket_that_answers_while_1100_stands_is_kept() -> None:
    with gateway() as world, orders_port(world, heartbeat_every_ms=50, heartbeat_max_ms=2_000) as (_, mailbox):
        world.inject(Fault(FaultKind.LINK_LOST, duration_s=2.5, args={"repeat_lost": 25}))
        mailbox.wait(broker.LinkRestored)
        assert all(lost.is_socket_up for lost in mailbox.of(broker.LinkLost))
        assert len(mailbox.of(broker.LinkLost)) == 25


def test_kill_latch_of_an_older_epoch_lowers_nothing_for_a_change_either() -> None:
    with gateway() as world, orders_port(world) as (port, mailbox):
        port.post(place(world, limit_ticks=450))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.perm_id > 0)
        port.post(broker.LatchKill(level=KillLevel.NO_ENTRIES, kill_epoch=5))
        port.post(broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=4))
        port.post(amend(world, limit_ticks=510, order_type=OrderType.LIMIT))
        assert mailbox.wait(broker.OrderDenied).code is RejectCode.PERMIT_KILLED


# -- the clock ---------------------------------------------------------------------------------


def test_heartbeat_measures_how_far_the_brokers_clock_is_from_ours() -> None:
    with gateway() as world, orders_port(world, heartbeat_every_ms=100) as (_, mailbox):
        close = mailbox.wait(broker.ClockRead, lambda c: c.most_ms - c.least_ms < 300 and c.round_trip_ms < 200)
        assert close.least_ms <= 0 <= close.most_ms


def test_brokers_clock_that_is_ahead_of_ours_shows_as_such() -> None:
    at = at_exchange(TODAY, time(12)) + 60 * MINUTE
    with gateway(field("time.seconds", str(at // SECOND))) as world, orders_port(world) as (_, mailbox):
        read = mailbox.wait(broker.ClockRead)
        assert read.least_ms > 3_500_000


def test_time_that_cannot_be_read_says_nothing_of_the_clock_and_keeps_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    heard = OrdersSession.currentTime

    def current_time(session: OrdersSession, epoch_s: int | None) -> None:
        heard(session, epoch_s)
        answers.put(epoch_s)

    monkeypatch.setattr(OrdersSession, "currentTime", current_time)
    fault = field("time.seconds", "NaN")
    with gateway(fault) as world, orders_port(world, heartbeat_every_ms=50) as (port, mailbox):
        assert [answers.get(timeout=60) for _ in range(3)] == [None] * 3
        assert read_back(port, mailbox).is_complete
        assert not mailbox.of(broker.ClockRead)
        assert not mailbox.of(broker.LinkLost)
