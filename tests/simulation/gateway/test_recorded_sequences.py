"""What real gateways were seen to send, as bytes on the wire: fill, part, cancel, rejection, the reset of the night."""

from __future__ import annotations

import asyncio

import pytest

from simulation.gateway.faults import Fault, FaultKind
from tests.simulation.gateway.raw_client import RawClient
from tests.simulation.gateway.test_wire import sent_by_ib_insync
from tests.testkit.gateway_world import World, limit, world

K = FaultKind


async def place(client: RawClient, price: float, qty: int = 1, order_id: int = 5) -> list[list[str]]:
    """Send a limit order for the SPXW 6000 call as a client library writes it; return what came at once."""
    fields = sent_by_ib_insync(limit("BUY", qty, price), 176)
    return await client.ask(*[fields[0], order_id, *fields[2:]])


async def until(client: RawClient, sign: str, count: int) -> list[list[str]]:
    """Return frames up to so many of one kind."""
    heard: list[list[str]] = []
    while sum(row[0] == sign for row in heard) < count:
        heard.append(await client.next())
    return heard


def story(rows: list[list[str]]) -> list[str]:
    """Executions, statuses with what is filled, and errors; openOrder goes with its status."""
    said = {
        "3": lambda row: f"{row[2]} f{row[3]}", "11": lambda row: f"exec {row[19]}",
        "4": lambda row: f"{row[3]} {row[4].splitlines()[0]}",
    }  # fmt: skip
    return [said[row[0]](row) for row in rows if row[0] in said]


def test_an_order_that_fills_is_submitted_executed_and_then_filled_twice() -> None:
    async def scenario() -> None:
        async with world() as it:
            client = await RawClient.connect(it.port)
            heard = await place(client, 5.1)
            heard += await until(client, "59", 1)
            assert story(heard) == ["Submitted f0", "exec 1", "Filled f1", "Filled f1"]
            client.close()

    asyncio.run(scenario())


def test_a_part_is_told_by_its_execution_and_the_state_twice() -> None:
    async def scenario() -> None:
        async with world(Fault(K.PARTIAL_FILLS, args={"pieces": [1, 1, 1]})) as it:
            client = await RawClient.connect(it.port)
            heard = await place(client, 5.1, qty=3)
            heard += await until(client, "59", 3)
            parts = [line for n in (1, 2) for line in ("exec 1", f"Submitted f{n}", f"Submitted f{n}")]
            assert story(heard) == ["Submitted f0", *parts, "exec 1", "Filled f3", "Filled f3"]
            client.close()

    asyncio.run(scenario())


def test_a_cancel_is_cancelled_and_then_202_without_a_reason() -> None:
    async def scenario() -> None:
        async with world() as it:
            client = await RawClient.connect(it.port)
            await place(client, 4.5)
            heard = await client.ask(4, 1, 5, "")
            assert story(heard) == ["Cancelled f0", "202 Order Canceled - reason:"]
            client.close()

    asyncio.run(scenario())


def test_a_rejection_is_inactive_201_inactive() -> None:
    async def scenario() -> None:
        async with world(Fault(K.ORDER_REJECTED, args={"text": "No trading permission."})) as it:
            client = await RawClient.connect(it.port)
            heard = await place(client, 5.1)
            reason = "201 Order rejected - reason:No trading permission."
            assert story(heard) == ["Inactive f0", reason, "Inactive f0"]
            client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("data", ["kept", "lost"])
def test_the_reset_of_the_night_is_many_1100_then_the_link_is_back_three_times(data: str) -> None:
    async def scenario() -> None:
        async with world() as it:
            client = await RawClient.connect(it.port)
            await place(client, 4.5)
            for fault in night(data):
                it.server.inject(fault)
            heard = await client.ask(61, 1)
            codes = [row[3] for row in heard if row[0] == "4"]
            assert codes == ["1100"] * 25 + ["2104", "2110", "2151"]
            again = await refused_and_back(it)
            it.market.set(it.market.call, 440, 450)
            while it.exchange.open_orders():
                assert await client.ask() == []
            it.server.end_faults()
            heard = await until(client, "4", 3)
            # what filled while the link was lost is never told, not even when it is back
            assert [row[3] for row in heard] == ["1101" if data == "lost" else "1102"] * 3
            assert {row[0] for row in heard} == {"4"}
            assert again == ("326", "1")
            client.close()

    asyncio.run(scenario())


def night(data: str) -> list[Fault]:
    """The reset as one script: the faults together that a recorded night shows one after the other."""
    notice = {"id": -1, "code": 2104, "text": "Market data farm connection is OK:usfarm"}
    broken = {"id": -1, "code": 2110, "text": "Connectivity between Trader Workstation and server is broken."}
    return [
        Fault(K.LINK_LOST, duration_s=3_600, args={"repeat_lost": 25, "repeat": 3, "data": data}),
        Fault(K.ERROR_SENT, args=notice),
        Fault(K.ERROR_SENT, args=broken),
        Fault(K.GROUP_ERROR, duration_s=3_600, args={"group": "positions"}),
        Fault(K.FIELD, duration_s=3_600, args={"field": "next_id.id", "value": "1"}),
    ]


async def refused_and_back(it: World) -> tuple[str, str]:
    """Return the code that the same client id gets, and the next order id that another one is given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
    twin = RawClient(reader, writer)
    twin.begin(9)
    await twin.next()
    refusal = await twin.next()
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
    other = RawClient(reader, writer)
    other.begin(10)
    ids = [await other.next() for _ in range(3)]
    twin.close()
    other.close()
    return refusal[3], next(row[2] for row in ids if row[0] == "9")
