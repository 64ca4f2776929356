"""Clients of the simulated hubs that are broken or mean ill: each costs itself its session, and nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateways.gexbot.negotiate import Addresses, negotiate_legacy
from simulation.hubs import http
from simulation.hubs.connections import PENDING_MAX, SUBPROTOCOL, HubConnection
from simulation.hubs.server import HubServer
from tests.testkit.hub_fakes import KEY, WAIT_S, FakeClock, FakeMarket, negotiated, serving, until

GROUP = "SPX_classic_gex_zero"
REST = f"Host: x\r\nUser-Agent: t\r\nAuthorization: Bearer {KEY}\r\n"


def play(scene: Callable[[HubServer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(), FakeClock(), min_interval_real_ms=10)) as server:
            await scene(server)

    asyncio.run(main())


def dial(url: str) -> connect:
    return connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None, proxy=None, close_timeout=0.2)


async def sent(server: HubServer, raw: bytes) -> bytes:
    """Send bytes as a request and return the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(raw)
    async with asyncio.timeout(WAIT_S):
        answer = await reader.read()
    writer.close()
    return answer


def test_acknowledgements_out_of_order_beyond_the_last_and_of_nothing_forget_no_message() -> None:
    connection = HubConnection(KEY, "v2_classic", frozenset())
    for _ in range(10):
        connection.publish(GROUP, "")
    left = []
    for sequence in (5, 3, -1, 0, 5, 10**9):
        connection.acknowledge(sequence)
        left.append(connection.unacked_n)
    assert left == [5, 5, 5, 5, 5, 0]
    connection.publish(GROUP, "")
    assert connection.unacked_n == 1, "a message that came after a wild acknowledgement waits for its own"


@pytest.mark.parametrize(
    "odd",
    [
        '{"type":"sequenceAck"}', '{"type":"sequenceAck","sequenceId":"4"}', '{"type":"sequenceAck","sequenceId":1e99}',
        '{"type":"joinGroup","group":7,"ackId":1}', '{"type":"joinGroup","group":"' + "A" * 500_000 + '","ackId":1}',
        '{"type":["ping"]}', "[]", "7", "null", b'{"type":"nothing"}',
    ],
)  # fmt: skip
def test_a_message_that_is_none_is_ignored_and_frames_go_on(odd: str | bytes) -> None:
    async def scene(server: HubServer) -> None:
        async with dial((await negotiated(server))["classic"]) as socket:
            await socket.send(odd)
            await socket.send('{"type":"ping"}')
            kinds: set[str] = set()
            async with asyncio.timeout(WAIT_S):
                while not {"pong", "message"} <= kinds:
                    kinds.add(json.loads(await socket.recv())["type"])

    play(scene)


def test_a_group_joined_twice_is_a_duplicate_and_its_frames_come_once() -> None:
    async def scene(server: HubServer) -> None:
        found = await asyncio.to_thread(negotiate_legacy, server.negotiate_url, KEY)
        assert isinstance(found, Addresses)
        name = f"{found.prefix}_{GROUP}"
        async with dial(found.urls["classic"]) as socket:
            for ack_id in (1, 2, 3):
                await socket.send(json.dumps({"type": "joinGroup", "group": name, "ackId": ack_id}))
            acks: list[str | None] = []
            frames: list[str] = []
            async with asyncio.timeout(WAIT_S):
                while len(frames) < 5 or len(acks) < 3:
                    told = json.loads(await socket.recv())
                    if told["type"] == "ack":
                        acks.append(told.get("error", {}).get("name"))
                    elif told["type"] == "message":
                        frames.append(told["data"])
            assert acks == [None, "Duplicate", "Duplicate"]
            assert len(set(frames)) == len(frames)

    play(scene)


def test_a_client_that_asks_without_end_and_reads_nothing_loses_its_session_and_no_other() -> None:
    connection = HubConnection(KEY, "v2_classic", frozenset())
    connection.pending.extend(["{}"] * PENDING_MAX)
    limits = [connection.is_over_limit]
    connection.pending.append("{}")
    assert [*limits, connection.is_over_limit] == [False, True]

    async def scene(server: HubServer) -> None:
        async with dial((await negotiated(server))["classic"]) as greedy:
            await until(lambda: server.registry.connections)
            (held,) = server.registry.connections.values()
            held.pending.extend(["{}"] * (2 * PENDING_MAX))
            await greedy.send('{"type":"ping"}')
            async with asyncio.timeout(WAIT_S):
                with pytest.raises(ConnectionClosed):
                    while True:
                        await greedy.recv()
        assert not server.registry.connections

    play(scene)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET\r\n\r\n", 400), (b"\xff\xfe\r\n\r\n", 400), (b"GET /v2/x HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST /v2/negotiate HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v2/negotiate HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 400),
        (b"POST /v2/negotiate HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 400),
        (f"GET /v2/hist/SPX/classic/zero/2026-99-99 HTTP/1.1\r\n{REST}\r\n".encode(), 400),
        (f"GET /v2/{'Z' * 400}/classic/zero HTTP/1.1\r\n{REST}\r\n".encode(), 404),
        (f"GET /v2/../etc/passwd HTTP/1.1\r\n{REST}\r\n".encode(), 404),
        (f"GET /v2/files/..%2Fx HTTP/1.1\r\n{REST}\r\n".encode(), 404),
    ],
)  # fmt: skip
def test_a_request_that_is_none_is_answered_in_a_sentence(raw: bytes, status: int) -> None:
    async def scene(server: HubServer) -> None:
        answer = await sent(server, raw)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == str(status).encode()
        assert json.loads(body)["error"]

    play(scene)


def test_a_path_that_is_not_there_costs_no_memory_of_its_own() -> None:
    async def scene(server: HubServer) -> None:
        for n in range(20):
            await sent(server, f"GET /v2/NONE{n}/classic/zero HTTP/1.1\r\n{REST}\r\n".encode())
        assert not server.rest._asked

    play(scene)


def test_requests_that_never_end_leave_the_others_their_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(server: HubServer) -> None:
        slow = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(30)]
        for _, writer in slow:
            writer.write(b"POST /v2/negotiate HTTP/1.1\r\nContent-Length: 50\r\n\r\nx")
        assert "classic" in await negotiated(server)
        for _, writer in slow:
            writer.close()
        monkeypatch.setattr(http, "REQUEST_S_MAX", 0.05)
        assert await sent(server, b"POST /v2/negotiate HTTP/1.1\r\n") == b"", "hung up on"

    play(scene)
