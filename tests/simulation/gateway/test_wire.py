"""Framing, numbers, the fields of placeOrder, and what garbage does to the server."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ib_insync import LimitOrder, Option, Order, StopOrder, TagValue
from ib_insync.client import Client

from domain.instruments import OrderType, Side
from simulation.broker.orders import IBStatus, OrderState
from simulation.broker.orders import Order as BrokerOrder
from simulation.gateway.wire import orders
from simulation.gateway.wire.frames import (
    Framer,
    WireError,
    client_versions,
    encode,
    fields_of,
    frame,
    instant_of,
    int_of,
    ticks_of,
    usd,
    wire_time,
)
from simulation.gateway.wire.requests import BadOrderError, read_place_order
from tests.testkit.gateway_world import NOON, new_client, until, world


@given(payloads=st.lists(st.binary(max_size=40), max_size=8), cuts=st.lists(st.integers(1, 20)))
def test_frames_survive_any_cut_of_the_stream(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(p) for p in payloads)
    framer, got, at = Framer(), [], 0
    for cut in [*cuts, len(stream)]:
        got += list(framer.feed(stream[at : at + cut]))
        at += cut
    assert got == payloads


def test_oversized_frame_is_refused() -> None:
    with pytest.raises(WireError, match="bytes"):
        list(Framer().feed(struct.pack(">I", 1 << 30)))


@given(fields=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9), min_size=1))
def test_fields_round_trip(fields: list[str]) -> None:
    (payload,) = Framer().feed(encode(*fields))
    assert fields_of(payload) == fields


@given(ticks=st.integers(1, 10_000_000))
def test_prices_round_trip(ticks: int) -> None:
    assert ticks_of(usd(ticks)) == ticks


@pytest.mark.parametrize("field", ["", "0", "0.0", "1.7976931348623157E308"])
def test_no_price_is_none(field: str) -> None:
    assert ticks_of(field) is None


@pytest.mark.parametrize("field", ["1.234", "nan", "Infinity", "x"])
def test_bad_price_is_refused(field: str) -> None:
    with pytest.raises(WireError):
        ticks_of(field)


def test_numbers_and_instants() -> None:
    assert int_of("2.0") == 2
    assert int_of("2147483647") == 0
    with pytest.raises(WireError):
        int_of("2.5")
    assert instant_of(wire_time(NOON)) == NOON
    assert instant_of("20261120-17:00:00") == NOON
    with pytest.raises(WireError):
        instant_of("tomorrow")


@pytest.mark.parametrize(
    ("hello", "versions"), [("v157..176", (157, 176)), ("v100..157 +PACEAPI", (100, 157)), ("v178", (178, 178))]
)
def test_offered_versions(hello: str, versions: tuple[int, int]) -> None:
    assert client_versions(hello) == versions


def test_no_version_is_refused() -> None:
    with pytest.raises(WireError, match="offers no versions"):
        client_versions("hello")


def sent_by_ib_insync(order: Order, version: int) -> list[str]:
    """Return the fields that ib_insync's client writes for an order."""
    sent: list[str] = []
    make: Any = Client
    client = make(new_client().wrapper)
    client.connState = Client.CONNECTED
    client._serverVersion = version
    client.sendMsg = sent.append
    contract = Option("SPX", "20261120", 6000, "C", "SMART", "100", "USD", tradingClass="SPXW")
    client.placeOrder(5, contract, order)
    return fields_of(sent[0].encode())


@pytest.mark.parametrize(("version", "count"), [(157, 110), (163, 113), (176, 115)])
def test_place_order_is_read_from_what_a_client_writes(version: int, count: int) -> None:
    order = LimitOrder("BUY", 3, 18.1, tif="DAY", orderRef="ref", account="DU1")
    fields = sent_by_ib_insync(order, version)
    assert len(fields) == count
    request = read_place_order(fields, version)
    assert (request.side, request.qty, request.type) == (Side.BUY, 3, OrderType.LIMIT)
    assert (request.limit_ticks, request.stop_ticks, request.order_ref) == (1_810, None, "ref")
    assert request.contract.strike_ticks == 600_000
    assert request.is_transmitted
    assert not request.is_what_if


@pytest.mark.parametrize(
    "more",
    [
        {"deltaNeutralOrderType": "None"},
        {"scalePriceIncrement": 0.5},
        {"hedgeType": "D", "hedgeParam": "1"},
        {"algoStrategy": "Adaptive", "algoParams": [TagValue("adaptivePriority", "Normal")]},
        {"goodTillDate": "20261120 15:00:00 US/Eastern", "tif": "GTD"},
    ],
)
def test_what_if_is_found_behind_every_optional_group(more: dict[str, Any]) -> None:
    values = {"tif": "DAY", **more, "whatIf": True}
    request = read_place_order(sent_by_ib_insync(StopOrder("SELL", 1, 2.5, **values), 176), 176)
    assert request.is_what_if
    assert (request.type, request.stop_ticks) == (OrderType.STOP, 250)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (Order(action="BUY", totalQuantity=1, orderType="TRAIL"), 201),
        (LimitOrder("BUY", 0.5, 1.0), 201),
        (LimitOrder("BUY", 1, 1.001), 110),
        (LimitOrder("BUY", 1, 1.0, tif="OPG"), 201),
        (LimitOrder("BUY", 1, 1.0, tif="GTD", goodTillDate="soon"), 391),
    ],
)
def test_order_that_is_not_simulated_has_a_code(order: Order, code: int) -> None:
    with pytest.raises(BadOrderError) as refusal:
        read_place_order(sent_by_ib_insync(order, 176), 176)
    assert (refusal.value.order_id, refusal.value.code) == (5, code)


@pytest.mark.parametrize(
    ("version", "open_n", "completed_n"), [(157, 128, 96), (163, 131, 96), (176, 136, 101), (178, 135, 100)]
)
def test_order_messages_have_as_many_fields_as_clients_of_that_version_read(
    version: int, open_n: int, completed_n: int
) -> None:
    order = BrokerOrder(1, Side.BUY, 1, OrderType.LIMIT, 7, 1, limit_ticks=500)
    state = OrderState(order, IBStatus.SUBMITTED, 0, 0, 0, NOON)
    contract = ("",) * 11
    for written, count in (
        (orders.open_order(state, contract, version), open_n),
        (orders.completed_order(state, contract, version), completed_n),
    ):
        assert written[4:].count(b"\0") == count


@settings(max_examples=8, deadline=None)
@given(
    garbage=st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=60),
            st.lists(st.sampled_from(["1", "3", "9", "76", "", "x", "-1", "1e99"]), max_size=9).map(
                lambda fields: encode(*fields)
            ),
        ),
        min_size=1,
        max_size=5,
    ),
    is_greeted=st.booleans(),
)
def test_garbage_costs_its_sender_the_connection_and_nobody_else(garbage: list[bytes], is_greeted: bool) -> None:
    async def scenario() -> None:
        async with world() as it:
            ib = await it.connect(1)
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            if is_greeted:
                writer.write(b"API\0" + frame(b"v157..176") + encode(71, 2, 9, ""))
            writer.write(b"".join(garbage))
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 60)
            writer.close()
            ticker = ib.reqMktData(await it.qualified(ib), "", False, False)
            await until(ib, lambda: ticker.bid == 5.0)

    asyncio.run(scenario())
