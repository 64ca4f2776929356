"""The simulated hub server as a client of the vendor would see it: negotiate's rules and the reliable subprotocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from domain.instants import MINUTE, SECOND
from gateways.gexbot.negotiate import Refusal, negotiate
from simulation.hubs import connections, faults
from simulation.hubs.server import HubServer
from tests.testkit.hub_fakes import (
    KEY,
    OPEN_UTC,
    WAIT_S,
    FakeClock,
    FakeMarket,
    groups_of,
    negotiated,
    serving,
    until,
)

HEADERS = {"Authorization": f"Bearer {KEY}", "User-Agent": "test"}


def play(scene: Callable[[HubServer, FakeMarket], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        fake = FakeMarket()
        clock = FakeClock(start_utc=options.pop("start_utc", OPEN_UTC))
        async with serving(HubServer(fake, clock, min_interval_real_ms=10, **options)) as server:
            await scene(server, fake)

    asyncio.run(main())


async def ask(
    server: HubServer, payload: object, *, method: str = "POST", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Send one HTTP request as it is and give status and JSON."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    lines = [f"{k}: {v}" for k, v in (HEADERS if headers is None else headers).items()]
    head = "\r\n".join([f"{method} /v2/negotiate HTTP/1.1", "Host: x", *lines, f"Content-Length: {len(body)}"])
    writer.write(head.encode() + b"\r\n\r\n" + body)
    async with asyncio.timeout(WAIT_S):
        answer = await reader.read()
    writer.close()
    head_bytes, _, rest = answer.partition(b"\r\n\r\n")
    return int(head_bytes.split(b" ")[1]), json.loads(rest)


@asynccontextmanager
async def dialled(url: str) -> AsyncIterator[ClientConnection]:
    async with connect(
        url, subprotocols=[Subprotocol(connections.SUBPROTOCOL)], compression=None, proxy=None, close_timeout=0.2
    ) as socket:
        yield socket


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(WAIT_S):
        heard: dict[str, Any] = json.loads(await socket.recv())
        return heard


async def hear_messages(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    heard = [await hear(socket) for _ in range(count)]
    assert all(message["type"] == "message" for message in heard)
    return heard


async def closed_with(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(WAIT_S):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code


def test_negotiate_gives_one_url_for_each_hub_that_is_needed() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        status, answer = await ask(server, {"groups": ["SPX_classic_gex_zero", "SPX_state_vanna_one", "SPX_spot"]})
        assert status == 200
        urls = answer["websocket_urls"]
        assert sorted(urls) == ["v2_classic", "v2_state_greeks_one"]
        assert urlsplit(urls["v2_classic"]).path == "/client/hubs/v2_classic"

    play(scene)


@pytest.mark.parametrize(
    ("groups", "status"),
    [
        (["SPX_classic_gex_zero"], 400),
        (["SPX_classic_gex_zero", "SPX_spot", "SPX_spot"], 400),
        (["SPX_classic_gex_zero", "SPX_spot", "QQQ_classic_gex_zero"], 400),
        (["SPX_tea_leaves", "SPX_spot"], 400),
        ([7], 400),
        ("SPX_spot", 400),
        ([f"T{n}_spot" for n in range(151)], 403),
        ([f"T{n}_spot" for n in range(150)], 200),
    ],
)
def test_negotiate_refuses_by_the_vendors_rules(groups: object, status: int) -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        got, answer = await ask(server, {"groups": groups})
        assert got == status, answer
        assert ("error" in answer) is (status != 200)

    play(scene)


def test_negotiate_refuses_requests_without_their_headers_or_body() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        body = {"groups": groups_of()}
        no_agent = {"Authorization": HEADERS["Authorization"]}
        assert (await ask(server, body, headers=no_agent))[0] == 400
        assert (await ask(server, body, headers={"User-Agent": "x"}))[0] == 401
        wrong = {"User-Agent": "x", "Authorization": "Bearer other"}
        assert (await ask(server, body, headers=wrong))[0] == 401
        assert (await ask(server, b"{"))[0] == 400
        assert (await ask(server, [1]))[0] == 400
        assert (await ask(server, body, method="DELETE"))[0] == 405

    play(scene)


def test_the_client_names_refusals_and_unreachable_hosts_in_one_sentence() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        refused = await asyncio.to_thread(negotiate, server.negotiate_url, "wrong", groups_of())
        assert isinstance(refused, Refusal)
        assert refused.is_final
        assert "401" in refused.why
        assert "wrong" not in refused.why
        odd = await asyncio.to_thread(negotiate, server.negotiate_url, "a\nsecret", groups_of())
        assert isinstance(odd, Refusal)
        assert "secret" not in odd.why
        url = server.negotiate_url
        await server.stop()
        gone = await asyncio.to_thread(negotiate, url, KEY, groups_of())
        assert isinstance(gone, Refusal)
        assert not gone.is_final
        assert "could not be reached" in gone.why

    play(scene, keys=frozenset({KEY}))


def test_sequence_ids_are_gapless_and_only_joined_groups_arrive() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        urls = await negotiated(server, ["SPX_classic_gex_zero", "SPX_state_gex_zero", "SPX_spot"])
        async with dialled(urls["classic"]) as socket:
            hello = await hear(socket)
            assert (hello["event"], bool(hello["reconnectionToken"])) == ("connected", True)
            heard = await hear_messages(socket, 12)
            assert [m["sequenceId"] for m in heard] == list(range(1, 13))
            assert {m["group"] for m in heard} == {"SPX_classic_gex_zero", "SPX_spot"}

    play(scene)


def test_a_spot_without_analytics_comes_on_the_first_hub() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        urls = await negotiated(server, ["SPX_state_gex_zero", "SPX_orderflow_orderflow", "SPX_spot", "QQQ_spot"])
        async with dialled(urls["state_gex"]) as socket, dialled(urls["orderflow"]) as other:
            for one, has_lone in ((socket, True), (other, False)):
                await hear(one)
                heard = await hear_messages(one, 9)
                assert ("QQQ_spot" in {m["group"] for m in heard}) is has_lone

    play(scene)


def test_recovery_redelivers_what_was_not_acknowledged() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url) as socket:
            hello = await hear(socket)
            first = await hear_messages(socket, 10)
            await socket.send('{"type":"sequenceAck","sequenceId":6}')
            (connection,) = server.registry.connections.values()
            await until(lambda: connection.unacked_n <= connection.sequence - 6)
            socket.transport.abort()
        query = f"awps_connection_id={hello['connectionId']}&awps_reconnection_token={hello['reconnectionToken']}"
        async with dialled(f"{url.split('?')[0]}?{query}") as socket:
            again = await hear(socket)
            assert again["connectionId"] == hello["connectionId"]
            heard = await hear_messages(socket, 20)
            assert [m["sequenceId"] for m in heard] == list(range(7, 27))
            assert heard[:4] == first[6:]

    play(scene)


def test_an_unknown_or_wrong_recovery_is_closed_with_1008() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url) as socket:
            hello = await hear(socket)
            for query in (
                "awps_connection_id=nobody&awps_reconnection_token=x",
                f"awps_connection_id={hello['connectionId']}&awps_reconnection_token=x",
            ):
                async with dialled(f"{url.split('?')[0]}?{query}") as other:
                    assert await closed_with(other) == 1008
            await hear_messages(socket, 3)

    play(scene)


def test_a_session_is_gone_after_the_recovery_window() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url) as socket:
            await hear(socket)
            socket.transport.abort()
        await until(lambda: not server.registry.connections)

    play(scene, recovery_s=0.05)


def test_a_thousand_unacknowledged_messages_end_the_session() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url) as socket:
            await hear(socket)
            (connection,) = server.registry.connections.values()
            for _ in range(connections.UNACKED_MAX - connection.unacked_n):
                connection.publish("SPX_spot", "")
            assert not connection.is_over_limit
            assert await closed_with(socket) == 1008
            assert not server.registry.connections

    play(scene)


def test_sixteen_megabytes_unacknowledged_are_over_the_limit() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        connection = connections.HubConnection(KEY, "v2_classic", frozenset())
        for _ in range(16):
            connection.publish("SPX_spot", "x" * (1024 * 1024 - 200))
        over = [connection.is_over_limit]
        connection.publish("SPX_spot", "x" * 10_000)
        over.append(connection.is_over_limit)
        connection.acknowledge(1)
        over.append(connection.is_over_limit)
        assert over == [False, True, False]

    play(scene)


def test_a_new_negotiate_kills_the_keys_connections_and_tokens() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url) as socket:
            await hear(socket)
            await negotiated(server)
            assert await closed_with(socket) == 1008
        with pytest.raises(InvalidStatus) as refused:
            async with dialled(url):
                pass
        assert refused.value.response.status_code == 401

    play(scene)


def test_a_token_expires_for_new_dials_and_leaves_the_open_connection() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url) as socket:
            await hear(socket)
            await until(lambda: server.registry.admit("v2_classic", url.split("=")[1]) is None)
            with pytest.raises(InvalidStatus) as refused:
                async with dialled(url):
                    pass
            assert refused.value.response.status_code == 401
            await hear_messages(socket, 5)

    play(scene, token_life_s=0.3)


def test_a_token_of_one_hub_opens_no_other() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        with pytest.raises(InvalidStatus):
            async with dialled(url.replace("v2_classic", "v2_orderflow")):
                pass

    play(scene)


def test_patch_replaces_memberships_and_the_wrong_hub_never_delivers() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url) as socket:
            await hear(socket)
            memberships = [
                {"hub": "v2_classic", "group": "QQQ_classic_gex_full"},
                {"hub": "v2_classic", "group": "QQQ_orderflow_orderflow"},
            ]
            status, answer = await ask(server, {"groups": memberships}, method="PATCH")
            assert (status, answer) == (200, {"updated_groups": 2, "hubs": {"v2_classic": 2}})
            at = fake.made_n
            (connection,) = server.registry.connections.values()
            before = connection.sequence
            await until(lambda: fake.made_n > at + 10)
            heard = await hear_messages(socket, before + 8)
            assert {m["group"] for m in heard[before:]} == {"QQQ_classic_gex_full"}

    play(scene)


def test_nothing_is_published_outside_session_hours() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url) as socket:
            await hear(socket)
            await socket.send('{"type":"ping"}')
            assert await hear(socket) == {"type": "pong"}
            assert not server.publisher.published

    play(scene, start_utc=OPEN_UTC - 30 * MINUTE)


def test_the_load_is_even_over_the_cadence() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url):
            published = server.publisher.published
            await until(lambda: len(published) == 9 and min(published.values()) >= 10)
            assert max(published.values()) - min(published.values()) <= 2

    play(scene)


def test_a_port_in_use_is_an_os_error_and_leaves_nothing_listening() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        second = HubServer(FakeMarket(), FakeClock(), port=server.port)
        with pytest.raises(OSError, match="address already in use"):
            await second.start()
        with pytest.raises(OSError, match=str(second.ws_port)):
            await asyncio.open_connection("127.0.0.1", second.ws_port)

    play(scene)


def test_faults_are_records_that_a_script_can_carry() -> None:
    script = [
        faults.DropHub(at_utc=5, hub="classic", outage_s=2.0),
        faults.SpoilFrames(group="SPX_spot", spoil=faults.Spoil.BOMB, count=2),
        faults.KillTokens(at_utc=7),
    ]
    text = msgspec.json.encode(script)
    assert msgspec.json.decode(text, type=list[faults.HubFault]) == script


def test_after_the_open_the_groups_are_spread_as_evenly_as_ever() -> None:
    async def scene(server: HubServer, fake: FakeMarket) -> None:
        url = (await negotiated(server))["classic"]
        async with dialled(url) as socket:
            await hear(socket)
            (connection,) = server.registry.connections.values()
            await hear_messages(socket, 1)
            assert connection.sequence <= 3  # of nine groups: no burst at the open

    play(scene, start_utc=OPEN_UTC - 10 * SECOND)


class SetClock:
    """The market's clock, where a test sets it."""

    def __init__(self, now: int) -> None:
        self.now = now

    def now_utc(self) -> int:
        return self.now


def paced(steps: list[int], interval_ms: int) -> list[tuple[str, int]]:
    """Return the groups published, with the market's instant (ns after the open), as the clock takes these steps."""
    groups = ["SPX_classic_gex_zero", "QQQ_classic_gex_zero", "SPX_state_gamma_zero"]
    fake, clock = FakeMarket(), SetClock(OPEN_UTC)
    published: list[tuple[str, int]] = []

    async def main() -> None:
        async with serving(HubServer(fake, clock, min_interval_real_ms=interval_ms)) as server:
            publisher = server.publisher
            publisher._listeners = {group: [] for group in groups}

            def publish(group: str, now_utc: int) -> None:
                published.append((group, clock.now - OPEN_UTC))

            publisher.publish = publish  # type: ignore[method-assign]
            publisher._last_phase_ns = {group: n * SECOND for n, group in enumerate(groups)}
            publisher._version = server.registry.version
            publisher._due = [(OPEN_UTC, group) for group in groups]
            for step in steps:
                clock.now += step
                before = len(published)
                for _ in range(4):  # the publisher looks at the clock every 5 ms
                    await asyncio.sleep(0.005)
                assert len(published) - before <= len(groups)

    asyncio.run(main())
    return published


def test_each_bucket_ends_with_a_frame_of_every_group_at_whatever_pace() -> None:
    fast = paced([19 * SECOND, 10 * SECOND, SECOND, 19 * SECOND, 10 * SECOND, SECOND], interval_ms=60_000)
    for bucket in (0, 1):
        ends = [group for group, at in fast if bucket * 30 + 20 <= at / SECOND < bucket * 30 + 30]
        assert sorted(ends) == ["QQQ_classic_gex_zero", "SPX_classic_gex_zero", "SPX_state_gamma_zero"]


def test_frames_before_the_last_of_a_bucket_are_spaced_in_real_and_in_market_time() -> None:
    assert len(paced([SECOND // 10] * 9, interval_ms=0)) == 3, "once a market second at most"
    assert len(paced([SECOND] * 6, interval_ms=60_000)) == 3, "and not before the interval of real time is over"
