"""What the gateway can be made to send that no client expects: garbled fields, groups that fail, other hands, halts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from domain.instruments import OrderType, Side
from domain.units import Cents, Qty, Ticks
from simulation.broker.events import Commission, Execution
from simulation.broker.orders import IBStatus, Order, OrderState
from simulation.broker.portfolio import Position
from simulation.gateway.contracts import Catalogue
from simulation.gateway.faults import Fault, FaultKind
from simulation.gateway.fields import FIELDS
from simulation.gateway.garble import Garbler
from simulation.gateway.wire import account, orders
from simulation.gateway.wire.frames import Framer, encode, fields_of
from tests.testkit.gateway_world import NOON, SESSION, FakeMarket, limit, until, world

MARK = "garbled"
MARKET = FakeMarket(NOON)
CATALOGUE = Catalogue(MARKET)
CONTRACT = CATALOGUE.order_fields(MARKET.call)
ORDER = Order(
    con_id=MARKET.call, side=Side.BUY, qty=Qty(3), type=OrderType.LIMIT, client_id=7, order_id=12, perm_id=345,
    limit_ticks=Ticks(510), account="DU1", order_ref="ZH-test",
)  # fmt: skip
DONE = OrderState(ORDER, IBStatus.FILLED, Qty(3), 1_530, Ticks(510), NOON)
EXECUTION = Execution("0a.0b.01.01", ORDER, Qty(3), Ticks(510), Qty(3), 1_530, NOON)
# What stands in each field before it is garbled, at every server version.
STANDS: dict[str, str] = {
    "status.status": "Filled", "status.filled": "3", "status.remaining": "0", "status.perm_id": "345",
    "status.client_id": "7", "open.order_id": "12", "open.con_id": CONTRACT[0], "open.strike": "6000.0",
    "open.quantity": "3", "open.limit": "5.1", "open.account": "DU1", "open.client_id": "7",
    "open.perm_id": "345", "open.legs": "0", "open.conditions": "0", "completed.con_id": CONTRACT[0],
    "completed.quantity": "3", "completed.account": "DU1", "completed.perm_id": "345",
    "completed.filled": "3", "completed.legs": "0", "execution.con_id": CONTRACT[0],
    "execution.expiry": CONTRACT[3], "execution.strike": "6000.0", "execution.right": "C",
    "execution.id": "0a.0b.01.01", "execution.time": "20261120 12:00:00 US/Eastern",
    "execution.account": "DU1", "execution.side": "BOT", "execution.shares": "3",
    "execution.price": "5.1", "execution.perm_id": "345", "execution.client_id": "7",
    "execution.liquidation": "0", "execution.cumulative": "3", "execution.average": "5.1",
    "execution.ev_multiplier": "", "commission.value": "1.3", "commission.currency": "USD", "position.account": "DU1",
    "position.con_id": CONTRACT[0], "position.expiry": CONTRACT[3], "position.strike": "6000.0",
    "position.quantity": "3", "position.average": "510.0",
    "details.expiry": f"{SESSION:%Y%m%d} 15:00:00 US/Central",
    "details.con_id": CONTRACT[0], "details.multiplier": "100", "details.zone": "US/Central",
    "details.trading_hours": "20261120:0830-20261120:1500", "details.liquid_hours": "20261120:0830-20261120:1500",
    "details.identifiers": "0", "account.value": "1000.0", "account.currency": "USD",
    "account.account": "DU1",
}  # fmt: skip


def frames(version: int) -> list[bytes]:
    (instrument,) = [c for c in MARKET.contracts("SPX") if c.con_id == MARKET.call]
    return [
        orders.order_status(DONE),
        orders.open_order(DONE, CONTRACT, version),
        orders.completed_order(DONE, CONTRACT, version),
        orders.exec_details(-1, EXECUTION, CONTRACT, version),
        orders.commission_report(Commission("0a.0b.01.01", ORDER, Cents(130), None)),
        account.position_row(Position(MARKET.call, Qty(3), Cents(153_000)), CONTRACT, "DU1"),
        account.account_updates({"NetLiquidation": Cents(100_000)}, "DU1")[-1],
        CATALOGUE.details(1, instrument, "SMART", version),
    ]


def split(rows: list[bytes]) -> list[list[str]]:
    return [fields_of(payload) for payload in Framer().feed(b"".join(rows))]


def field_fault(name: str, **more: Any) -> Fault:
    return Fault(FaultKind.FIELD, duration_s=60, args={"field": name, "value": MARK, **more})


@pytest.mark.parametrize("version", [157, 163, 164, 176, 178])
@pytest.mark.parametrize("name", STANDS)
def test_named_field_and_no_other_is_garbled_at_every_server_version(name: str, version: int) -> None:
    garbler = Garbler()
    garbler.begin(field_fault(name))
    plain, sent = split(frames(version)), split(garbler.rewrite(frames(version), version))
    changed = [
        (a, b) for before, after in zip(plain, sent, strict=True) for a, b in zip(before, after, strict=True) if a != b
    ]
    assert changed == [(STANDS[name], MARK)]


def test_every_field_that_can_be_named_is_of_a_message_that_exists() -> None:
    assert {number for number, _ in FIELDS.values()} == {1, 2, 3, 5, 6, 9, 10, 11, 21, 49, 59, 61, 101}


def test_message_ends_before_a_field_that_is_cut_and_only_where_it_holds_the_field_asked_for() -> None:
    garbler = Garbler()
    garbler.begin(field_fault("account.value", cut=True, where="AvailableFunds"))
    rows = [encode(6, 2, tag, "1.0", "USD", "DU1") for tag in ("NetLiquidation", "AvailableFunds")]
    assert split(garbler.rewrite(rows, 176)) == [
        ["6", "2", "NetLiquidation", "1.0", "USD", "DU1"],
        ["6", "2", "AvailableFunds"],
    ]


def test_field_or_group_that_has_no_name_is_refused_when_the_record_is_made() -> None:
    with pytest.raises(ValueError, match="one of"):
        field_fault("execution.colour")
    with pytest.raises(ValueError, match="one of"):
        Fault(FaultKind.GROUP_ERROR, args={"group": "balances"})


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ({"form": "%Y%m%d-%H:%M:%S", "zone": "UTC"}, "20261120-17:00:00"),
        ({"form": "%Y%m%d %H:%M:%S JST", "zone": "Asia/Tokyo"}, "20261121 02:00:00 JST"),
        ({"form": "%Y%m%d %H:%M:%S JST", "shift_s": 60}, "20261120 12:01:00 JST"),
        ({}, ""),
    ],
)
def test_time_of_executions_is_written_in_the_form_asked_for(args: dict[str, Any], text: str) -> None:
    garbler = Garbler()
    garbler.begin(Fault(FaultKind.EXECUTION_TIME, duration_s=60, args=args))
    ((row),) = split(garbler.rewrite([orders.exec_details(-1, EXECUTION, CONTRACT, 176)], 176))
    assert row[15] == text


def test_garbling_ends_with_its_fault() -> None:
    garbler, fault = Garbler(), field_fault("status.status")
    garbler.begin(fault)
    assert garbler
    garbler.end(fault)
    assert not garbler


def codes(ib: Any) -> list[tuple[int, int]]:
    heard: list[tuple[int, int]] = []
    ib.errorEvent += lambda request, code, *_: heard.append((request, code))
    return heard


def test_read_only_gateway_answers_requests_about_orders_with_321_and_refuses_orders() -> None:
    async def run() -> None:
        async with world() as it:
            ib = await it.connect()
            contract = await it.qualified(ib)
            heard = codes(ib)
            it.server.inject(Fault(FaultKind.READ_ONLY, duration_s=60))
            await asyncio.sleep(0)
            ib.client.reqAllOpenOrders()
            ib.client.reqCompletedOrders(False)
            trade = ib.placeOrder(contract, limit("BUY", 1, 4.5))
            await until(ib, lambda: len(heard) == 3)
            assert heard == [(-1, 321), (-1, 321), (trade.order.orderId, 321)]
            assert it.exchange.open_orders() == []

    asyncio.run(run())


def test_group_that_fails_is_answered_with_its_code_and_a_silent_one_not_at_all() -> None:
    async def run() -> None:
        async with world() as it:
            ib = await it.connect()
            heard = codes(ib)
            it.server.inject(Fault(FaultKind.GROUP_ERROR, duration_s=60, args={"group": "completed", "code": 322}))
            it.server.inject(Fault(FaultKind.GROUP_ERROR, duration_s=60, args={"group": "orders", "silent": True}))
            await asyncio.sleep(0)
            ib.client.reqAllOpenOrders()
            ib.client.reqCompletedOrders(False)
            await ib.reqCurrentTimeAsync()
            assert heard == [(-1, 322)]

    asyncio.run(run())


def test_other_hands_show_among_orders_executions_positions_and_values_and_never_at_the_exchange() -> None:
    async def run() -> None:
        async with world() as it:
            ib = await it.connect()
            it.server.inject(Fault(FaultKind.OTHER_ACCOUNT, duration_s=60))
            it.server.inject(
                Fault(FaultKind.FOREIGN_ORDERS, duration_s=60, args={"count": 2, "order_id": 2_147_483_647})
            )
            await until(ib, lambda: any(f.execution.acctNumber == "DU7654321" for f in ib.fills()))
            positions = await ib.reqPositionsAsync()
            assert [(p.account, p.position) for p in positions] == [("DU7654321", 3.0)]
            trades = await ib.reqAllOpenOrdersAsync()
            assert sorted(t.order.orderId for t in trades) == [0, 2_147_483_647, 2_147_483_647]
            assert it.exchange.open_orders() == []

    asyncio.run(run())


def test_executions_that_are_missing_happen_and_are_never_told() -> None:
    async def run() -> None:
        async with world(Fault(FaultKind.EXECUTIONS_MISSING, duration_s=60)) as it:
            ib = await it.connect()
            trade = ib.placeOrder(await it.qualified(ib), limit("BUY", 2, 5.1))
            await until(ib, lambda: trade.orderStatus.status == "Filled")
            assert await ib.reqExecutionsAsync() == []
            assert it.exchange.position(it.market.call).qty == 2

    asyncio.run(run())


def test_halt_is_told_on_the_lines_of_the_underlying_and_ends() -> None:
    async def run() -> None:
        async with world() as it:
            ib = await it.connect()
            ticker = ib.reqMktData(await it.qualified(ib))
            await until(ib, lambda: ticker.bid == 5.0)
            it.server.inject(Fault(FaultKind.HALTED, duration_s=0.1, args={"ticker": "SPX"}))
            await until(ib, lambda: ticker.halted == 1.0)
            await until(ib, lambda: ticker.halted == 0.0)

    asyncio.run(run())
