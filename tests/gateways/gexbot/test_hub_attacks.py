"""What a hub that is broken or means ill may send: it ends no port, hides no good frame, reaches nobody raw."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import orjson
import pytest
import zstandard
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from domain.instants import SECOND
from domain.units import Utc
from gateways.bucket_port import PortSetup
from gateways.gexbot.codec import (
    GROUP_CHARS_MAX,
    STRIKES_MAX,
    Refusal,
    Refused,
    decode_frame,
    encode_frame,
    parse_group,
    wrap,
)
from gateways.gexbot.hub_port import LEAP_MAX, SUBPROTOCOL, HubPort
from gateways.gexbot.negotiate import AddressBook, Addresses, _addresses
from gateways.gexbot.negotiate import Refusal as NoAddresses
from messages import market
from tests.testkit.hub_fakes import OPEN_UTC, Listener, make_profile, until

GROUP = "SPX_classic_gex_zero"
CONNECTED = {"type": "system", "event": "connected", "connectionId": "c", "reconnectionToken": "r"}
Script = Callable[[ServerConnection], Awaitable[None]]


def frame(sequence: object = 1, *, at_s: int = 12, mark: int = 1, **changed: Any) -> dict[str, Any]:
    """Return the envelope of a good frame, some of it changed."""
    data = encode_frame(make_profile(at_utc=OPEN_UTC + at_s * SECOND, mark=mark))
    told = {"sequenceId": sequence, "type": "message", "from": "group", "group": GROUP, "data": data}
    return told | {"dataType": "protobuf"} | changed


class Hub:
    """A hub on a free port that follows a script, and keeps what the client said."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.heard: list[dict[str, Any]] = []
        self.dialled_n = 0
        self.url = ""

    async def serve_client(self, socket: ServerConnection) -> None:
        self.dialled_n += 1
        hearing = asyncio.create_task(self._hear(socket))
        try:
            await self._script(socket)
        except ConnectionClosed:
            pass
        finally:
            hearing.cancel()

    async def _hear(self, socket: ServerConnection) -> None:
        try:
            async for text in socket:
                self.heard.append(orjson.loads(text))
        except ConnectionClosed:
            pass

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message.get("type") == kind]


@asynccontextmanager
async def hub_of(script: Script, refuse: Callable[..., Response | None] | None = None) -> AsyncIterator[Hub]:
    hub = Hub(script)
    async with serve(
        hub.serve_client, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], process_request=refuse,
        max_size=None, compression=None,
    ) as server:  # fmt: skip
        hub.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/client/hubs/classic?access_token=t0ken"
        yield hub


@asynccontextmanager
async def port_at(url: str, prefix: str | None = None, groups: tuple[str, ...] = ()) -> AsyncIterator[
    tuple[HubPort, Listener]
]:  # fmt: skip
    listener, book = Listener(), AddressBook()
    setup = PortSetup("classic", (("SPX", "classic_gex_zero"),), listener.tell, lambda: Utc(OPEN_UTC + 25 * SECOND))
    port = HubPort(setup, book=book, recovery_s=0.2)
    book.put(1, Addresses({"classic": url}, prefix), 0, groups)
    port.start()
    try:
        port.post(market.DialHub(feed_epoch=1))
        yield port, listener
    finally:
        await asyncio.to_thread(port.close)


async def sealed_by(port: HubPort, listener: Listener) -> market.BucketSealed:
    port.post(market.SealBucket(bucket_utc=OPEN_UTC))
    sealed: market.BucketSealed = await listener.next(market.BucketSealed)
    return sealed


async def say(socket: ServerConnection, *messages: object) -> None:
    for message in messages:
        await socket.send(message if isinstance(message, str | bytes) else orjson.dumps(message).decode())


def packed(payload: bytes, type_url: str = "proto.gex") -> str:
    return wrap(type_url, zstandard.compress(payload))


RANDOM = random.Random(7)
ODD: dict[str, Any] = {
    "no json": "{", "a list": "[1]", "a number": "5", "deep": "[" * 5_000, "bytes": b"\x00\xff\xfe",
    "no group": frame(group=None), "group is a list": frame(group=[GROUP]), "data is a number": frame(data=5),
    "endless group": frame(group="A" * 200_000 + "_spot"), "a group of another ticker": frame(group="XYZ_spot"),
    "data of other letters": frame(data="\u00e9" * 40), "data is empty": frame(data=""),
    "any is garbage": frame(data=base64.b64encode(RANDOM.randbytes(300)).decode()),
    "payload is garbage": frame(data=packed(RANDOM.randbytes(900))),
    "payload of no zstd": frame(data=wrap("proto.gex", RANDOM.randbytes(900))),
    "wrong type": frame(data=packed(b"\x08\x01", "proto.greek")),
    "strikes without number": frame(data=packed(b"\x08\x9e\xd0\xa5\xfb\x06" + b"\x5a\x00" * (STRIKES_MAX + 1))),
    "sequence is a text": frame("1"), "sequence is no integer": frame(1.5), "sequence is negative": frame(-4),
    "sequence beyond 64 bits": '{"sequenceId":' + "9" * 40 + "," + orjson.dumps(frame(data=5)).decode()[1:],
    "an event of no name": {"type": "system"}, "an ack of nothing": {"type": "ack"}, "type is a list": {"type": [1]},
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_a_message_that_is_none_costs_no_good_frame_and_no_session(odd: object) -> None:
    async def script(socket: ServerConnection) -> None:
        await say(socket, CONNECTED, odd, frame(5, mark=7))
        await socket.wait_closed()

    async def main() -> None:
        async with hub_of(script) as hub, port_at(hub.url) as (port, listener):
            await listener.next(market.HubUp)
            await until(lambda: {"type": "sequenceAck", "sequenceId": 5} in hub.heard)
            sealed = await sealed_by(port, listener)
            assert [row.profile.scalars[0] for row in sealed.rows.rows] == [7]
            assert hub.dialled_n == 1

    asyncio.run(main())


def test_a_frame_that_names_strikes_without_number_is_refused() -> None:
    head = b"\x08\x9e\xd0\xa5\xfb\x06\x12\x03SPX"
    for tag, group, kind in ((b"\x5a", GROUP, "proto.gex"), (b"\x52", "SPX_state_gamma_zero", "proto.greek")):
        refused = decode_frame(group, packed(head + tag + b"\x00" + (tag + b"\x00") * STRIKES_MAX, kind))
        assert isinstance(refused, Refused) and refused.code is Refusal.CORRUPT
        assert "more than any chain has" in refused.sentence
        assert not isinstance(decode_frame(group, packed(head + tag + b"\x00", kind)), Refused)


def test_a_group_name_longer_than_any_is_not_read() -> None:
    name = "A" * (GROUP_CHARS_MAX - len("_spot")) + "_spot"
    assert parse_group(name) is not None
    assert parse_group("A" + name) is None


def test_one_wild_sequence_id_makes_no_repeats_of_the_frames_behind_it() -> None:
    async def script(socket: ServerConnection) -> None:
        await say(socket, CONNECTED, frame(1), frame(10**15, mark=2), *[frame(n, mark=n) for n in range(2, 9)])
        await socket.wait_closed()

    async def main() -> None:
        async with hub_of(script) as hub, port_at(hub.url) as (port, listener):
            await listener.next(market.HubUp)
            await until(lambda: {"type": "sequenceAck", "sequenceId": 8} in hub.heard)
            sealed = await sealed_by(port, listener)
            assert (sealed.counts.accepted, sealed.counts.repeated) == (9, 0)
            assert [row.profile.scalars[0] for row in sealed.rows.rows] == [8]
            assert max(ack["sequenceId"] for ack in hub.said("sequenceAck")) == 8

    asyncio.run(main())


def test_sequence_ids_that_go_on_from_a_leap_are_believed() -> None:
    far = 3 * LEAP_MAX

    async def script(socket: ServerConnection) -> None:
        await say(socket, CONNECTED, frame(1), frame(far), frame(far + 1), frame(far + 1), frame(2))
        await say(socket, frame(far + 2, mark=9))
        await socket.wait_closed()

    async def main() -> None:
        async with hub_of(script) as hub, port_at(hub.url) as (port, listener):
            await listener.next(market.HubUp)
            await until(lambda: {"type": "sequenceAck", "sequenceId": far + 2} in hub.heard)
            sealed = await sealed_by(port, listener)
            assert (sealed.counts.accepted, sealed.counts.repeated) == (4, 2)

    asyncio.run(main())


def test_connected_said_again_on_one_socket_is_no_new_session_and_joins_nothing_twice() -> None:
    async def script(socket: ServerConnection) -> None:
        await say(socket, CONNECTED, CONNECTED, frame(1), CONNECTED | {"connectionId": "other"}, frame(1), frame(2))
        await socket.wait_closed()

    async def main() -> None:
        groups = (GROUP, "SPX_spot")
        async with hub_of(script) as hub, port_at(hub.url, "blue", groups) as (port, listener):
            await listener.next(market.HubUp)
            await until(lambda: {"type": "sequenceAck", "sequenceId": 2} in hub.heard)
            sealed = await sealed_by(port, listener)  # the next message: no second HubUp came before it
            assert (sealed.counts.accepted, sealed.counts.repeated) == (2, 1)
            assert [join["group"] for join in hub.said("joinGroup")] == [f"blue_{GROUP}"]

    asyncio.run(main())


def test_acknowledgements_of_joinings_in_any_order_and_form_join_a_group_at_most_twice() -> None:
    odd: list[dict[str, Any]] = [
        {"ackId": 99, "success": True}, {"ackId": 1, "success": False}, {"ackId": 1, "success": False, "error": "x"},
        {"ackId": 1, "success": False, "error": {"name": "\x1b[31mred\n"}},
        {"ackId": 1, "success": False, "error": {"name": "InternalServerError"}},
        {"ackId": 1, "success": False, "error": {"name": "InternalServerError"}},
        {"ackId": 10_001, "success": False, "error": {"name": "InternalServerError"}},
        {"ackId": "1", "success": False}, {"ackId": 1, "success": False, "error": {"name": "Duplicate"}},
    ]  # fmt: skip

    async def script(socket: ServerConnection) -> None:
        await say(socket, CONNECTED, *[{"type": "ack"} | ack for ack in odd], frame(1))
        await socket.wait_closed()

    async def main() -> None:
        async with hub_of(script) as hub, port_at(hub.url, "blue", (GROUP,)) as (port, listener):
            await listener.next(market.HubUp)
            await until(lambda: hub.said("sequenceAck"))
            sealed = await sealed_by(port, listener)
            assert dict(sealed.counts.refused) == {"join_other": 3, "join_internalservererror": 3}
            assert [join["ackId"] for join in hub.said("joinGroup")] == [1, 10_001]

    asyncio.run(main())


def test_a_farewell_reaches_people_without_control_characters_and_tokens() -> None:
    async def script(socket: ServerConnection) -> None:
        words = "bye\x1b[2J\r\n12:00:00 exit SOLD \u202eall access_token=s3cret"
        await say(socket, CONNECTED, {"type": "system", "event": "disconnected", "message": words})
        await socket.close(1008, "x")

    async def main() -> None:
        async with hub_of(script) as hub, port_at(hub.url) as (_, listener):
            await listener.next(market.HubUp)
            cause = (await listener.next(market.HubDown)).cause
            assert cause.isprintable()
            assert "s3cret" not in cause and "bye" in cause

    asyncio.run(main())


def test_a_hub_that_redirects_is_refused_and_the_other_host_never_dialled() -> None:
    async def script(socket: ServerConnection) -> None:
        await say(socket, CONNECTED)
        await socket.wait_closed()

    async def main() -> None:
        async with hub_of(script) as other:

            def redirect(_: ServerConnection, __: Request) -> Response:
                return Response(HTTPStatus.FOUND, "Found", Headers([("Location", other.url), ("Content-Length", "0")]))

            async with hub_of(script, redirect) as first, port_at(first.url) as (_, listener):
                down = await listener.next(market.HubDown)
                assert "refused the dial with 302" in down.cause
                assert other.dialled_n == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("is_secure", "scheme", "is_taken"), [(True, "wss", True), (True, "ws", False), (False, "ws", True)]
)
def test_a_negotiation_by_tls_names_no_hub_without(is_secure: bool, scheme: str, is_taken: bool) -> None:
    answer = orjson.dumps({"websocket_urls": {"v2_classic": f"{scheme}://h/x?access_token=a", "v2_b": "wss://h/y"}})
    found = _addresses("h", answer, is_secure=is_secure)
    assert isinstance(found, Addresses if is_taken else NoAddresses)
