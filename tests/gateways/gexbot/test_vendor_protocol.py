"""The vendor's protocol: a client that is not ours, the older negotiation, PATCH, and hubs that end at once."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import urllib3
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from gateways.gexbot.codec import SpotPrice, decode_frame
from gateways.gexbot.hub_port import RECOVERY_PAUSE_S
from gateways.gexbot.negotiate import USER_AGENT, Addresses, hidden, negotiate_legacy
from messages import market
from simulation.hubs.faults import EndAtOnce
from simulation.hubs.server import HubServer
from tests.testkit.hub_fakes import (
    KEY,
    TICKERS,
    Client,
    FakeClock,
    FakeMarket,
    connected,
    groups_of,
    negotiated,
    serving,
    until,
)

HEADERS = {"Authorization": f"Bearer {KEY}", "User-Agent": USER_AGENT}
SUBPROTOCOL = Subprotocol("json.reliable.webpubsub.azure.v1")


async def next_up(client: Client) -> market.HubUp:
    """Wait for a session; that a negotiation has ended the one before may be told first."""
    while True:
        told = await client.listener.next(market.HubUp | market.HubDown)
        if isinstance(told, market.HubUp):
            return told


def has_published(server: HubServer, group: str) -> bool:
    return server.publisher.published[group] > 2


def test_a_bare_websocket_client_receives_frames_in_sequence_and_recovers_without_losing_one() -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(), FakeClock(), min_interval_real_ms=10)) as server:
            url = (await negotiated(server))["classic"]
            async with connect(url, subprotocols=[SUBPROTOCOL], proxy=None) as socket:
                hello = json.loads(await socket.recv())
                assert (hello["type"], hello["event"]) == ("system", "connected")
                seen: list[int] = []
                while len(seen) < 20:
                    message = json.loads(await socket.recv())
                    assert (message["type"], message["from"], message["dataType"]) == ("message", "group", "protobuf")
                    item = decode_frame(message["group"], message["data"])
                    assert isinstance(item, SpotPrice) or hasattr(item, "category"), item
                    seen.append(message["sequenceId"])
                    await socket.send(json.dumps({"type": "sequenceAck", "sequenceId": seen[-1]}))
                assert seen == list(range(1, 21))
                socket.transport.abort()
            who = f"awps_connection_id={hello['connectionId']}&awps_reconnection_token={hello['reconnectionToken']}"
            again = url.split("?")[0] + "?" + who
            async with connect(again, subprotocols=[SUBPROTOCOL], proxy=None) as socket:
                assert json.loads(await socket.recv())["connectionId"] == hello["connectionId"]
                ids = [json.loads(await socket.recv())["sequenceId"] for _ in range(5)]
                assert ids == list(range(ids[0], ids[0] + 5))
                assert ids[0] <= 21, "nothing between the two is missing"

    asyncio.run(main())


def test_the_older_negotiation_gives_a_colour_and_the_client_joins_under_it() -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(), FakeClock(), min_interval_real_ms=10)) as server:
            client = Client(server, now_utc=server._clock.now_utc)
            client.port.start()
            try:
                for epoch in (1, 2):  # the colour changes from one negotiation to the next
                    found = await asyncio.to_thread(negotiate_legacy, server.negotiate_url, KEY)
                    assert isinstance(found, Addresses)
                    assert found.prefix == ("blue" if epoch == 1 else "red")
                    client.book.put(epoch, found, groups=groups_of())
                    client.port.post(market.DialHub(feed_epoch=epoch))
                    up = await next_up(client)
                    assert up.feed_epoch == epoch
                    await until(partial(has_published, server, f"{found.prefix}_ES_SPX_classic_gex_zero"))
                joined = {g for c in server.registry.connections.values() for g in c.groups}
                assert joined == {f"red_{t}_classic_gex_{c}" for t in TICKERS for c in ("full", "zero")}
                sealed = await client.seal(server._clock.now_utc())
                assert not sealed.counts.refused
            finally:
                await asyncio.to_thread(client.port.close)

    asyncio.run(main())


def test_a_group_that_is_joined_already_is_joined_and_a_forbidden_one_is_counted() -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(), FakeClock(), min_interval_real_ms=10)) as server:
            client = Client(server, now_utc=server._clock.now_utc)
            client.port.start()
            try:
                found = await asyncio.to_thread(negotiate_legacy, server.negotiate_url, KEY)
                assert isinstance(found, Addresses)
                client.book.put(1, found, groups=["SPX_classic_gex_zero", "SPX_classic_gex_zero"])
                client.port.post(market.DialHub(feed_epoch=1))
                await next_up(client)
                await until(lambda: server.publisher.published["blue_SPX_classic_gex_zero"] > 2)
                sealed = await client.seal(server._clock.now_utc())
                assert not sealed.counts.refused
                v2 = await negotiated(server, ["SPX_classic_gex_zero", "SPX_spot"])
                client.book.put(2, Addresses(v2, prefix="blue"), groups=["SPX_classic_gex_zero"])
                client.port.post(market.DialHub(feed_epoch=2))  # where the server joins, the client may not
                await next_up(client)
                at = server.publisher.published["SPX_classic_gex_zero"]
                await until(lambda: server.publisher.published["SPX_classic_gex_zero"] > at + 2)
                sealed = await client.seal(server._clock.now_utc() + 60 * 10**9)
                assert dict(sealed.counts.refused)["join_forbidden"] == 1
            finally:
                await asyncio.to_thread(client.port.close)

    asyncio.run(main())


def test_memberships_are_replaced_on_living_connections_and_gone_after_a_fresh_one() -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(), FakeClock(), min_interval_real_ms=10)) as server:
            client = Client(server, now_utc=server._clock.now_utc)
            async with connected(client):
                patched = await asyncio.to_thread(
                    urllib3.request, "PATCH", server.negotiate_url, headers=HEADERS,
                    json={"groups": [{"hub": "v2_classic", "group": "QQQ_classic_gex_zero"}]},
                )  # fmt: skip
                assert patched.json()["updated_groups"] == 1
                at = server.publisher.published["QQQ_classic_gex_zero"]
                await until(lambda: server.publisher.published["QQQ_classic_gex_zero"] > at + 2)
                before = server.publisher.published["SPX_classic_gex_zero"]
                at = server.publisher.published["QQQ_classic_gex_zero"]
                await until(lambda: server.publisher.published["QQQ_classic_gex_zero"] > at + 5)
                assert server.publisher.published["SPX_classic_gex_zero"] == before
                await client.dial(feed_epoch=2)
                await next_up(client)
                await until(lambda: server.publisher.published["SPX_classic_gex_zero"] > before)

    asyncio.run(main())


def test_a_hub_that_says_connected_and_ends_is_told_as_a_session_that_delivered_nothing() -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(), FakeClock(), min_interval_real_ms=10)) as server:
            server.inject(EndAtOnce(hub="classic", count=1))
            client = Client(server, now_utc=server._clock.now_utc)
            async with connected(client):
                down = await client.listener.next(market.HubDown)
                assert not down.has_delivered
                assert "another client uses this key" in down.cause
                assert server.dialled["v2_classic"] == 1, f"the port itself waits ({RECOVERY_PAUSE_S} s and more)"

    asyncio.run(main())


def test_a_vendor_that_repeats_the_key_or_an_address_that_is_none_puts_no_secret_into_a_sentence() -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(), FakeClock())) as server:
            client = Client(server, now_utc=server._clock.now_utc)
            client.port.start()
            try:
                client.book.put(1, {"classic": "ws:///nowhere?access_token=SECRET"})
                client.port.post(market.DialHub(feed_epoch=1))
                down = await client.listener.next(market.HubDown)
                assert "SECRET" not in down.cause
            finally:
                await asyncio.to_thread(client.port.close)

    asyncio.run(main())
    assert "SECRET" not in hidden("bad key SECRET", "SECRET")
