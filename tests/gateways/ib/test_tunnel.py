"""A gateway on another machine, behind a tunnel that speaks TLS: both ends of it as the deployment guide has them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateways.ib.orders_port import OrdersPort
from messages import broker
from tests.testkit.certificates import certificate_in
from tests.testkit.ibkr_world import EPOCH, Mailbox, World, gateway, make_port, orders_port, place

Files = tuple[str, str]  # a certificate and its key


def pinned(own: Files, other: Files, *, is_server: bool) -> ssl.SSLContext:
    """Return what one end trusts: this very certificate of the other end, in TLS 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(*own)
    context.load_verify_locations(other[0])
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = False  # the certificate itself is what is known
    return context


class End:
    """One end of a tunnel: listens on loopback and passes on what comes, in TLS on one side of it."""

    def __init__(
        self, to_port: int, *, listens: ssl.SSLContext | None = None, dials: ssl.SSLContext | None = None
    ) -> None:
        self._to_port, self._listens, self._dials = to_port, listens, dials
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.port = 0
        self.passed = bytearray()  # as it stands on the wire between the two ends

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port, ssl=self._listens)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and everything that goes through."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self._to_port, ssl=self._dials)
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(onward)
        await asyncio.gather(self._copy(reader, onward), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                self.passed += data
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


class Tunnel:
    """A desk's end, a wire that can be listened to, and the gateway's end, in a thread of their own."""

    def __init__(self, world: World, desk: Files, trusted_desk: Files, box: Files) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.far = self._start(End(world.port, listens=pinned(box, trusted_desk, is_server=True)))
        self.wire = self._start(End(self.far.port))
        self.near = self._start(End(self.wire.port, dials=pinned(desk, box, is_server=False)))

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def _start(self, end: End) -> End:
        asyncio.run_coroutine_threadsafe(end.start(), self.loop).result(60)
        return end

    def restart(self) -> None:
        """Bring the wire back."""
        self._start(self.wire)

    def cut(self) -> None:
        """Take the wire down."""
        asyncio.run_coroutine_threadsafe(self.wire.stop(), self.loop).result(60)

    def close(self) -> None:
        async def all_of_it() -> None:
            for end in (self.near, self.wire, self.far):
                await end.stop()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run_coroutine_threadsafe(all_of_it(), self.loop).result(60)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Files]:
    made = {}
    for name in ("desk", "gateway", "stranger"):
        (tmp_path / name).mkdir()
        made[name] = certificate_in(tmp_path / name)
    return made


@contextmanager
def tunnel(world: World, files: dict[str, Files], desk: str = "desk") -> Iterator[Tunnel]:
    it = Tunnel(world, files[desk], files["desk"], files["gateway"])
    try:
        yield it
    finally:
        it.close()


def test_orders_and_fills_go_through_and_nothing_of_them_can_be_read_on_the_way(
    certificates: dict[str, Files],
) -> None:
    with (
        gateway() as world,
        tunnel(world, certificates) as through,
        orders_port(world, at_port=through.near.port) as (port, mailbox),
    ):
        port.post(place(world))
        assert mailbox.wait(broker.ExecutionReported).execution.order_ref == "ZH-paper-a-e"
        plain, wire = bytes(through.near.passed), bytes(through.wire.passed)
        assert b"ZH-paper-a-e" in plain
        assert world.exchange.account.encode() in plain
        assert wire
        assert b"ZH-paper-a-e" not in wire
        assert world.exchange.account.encode() not in wire


def test_a_tunnel_that_breaks_is_a_lost_link_and_is_dialled_again_through_the_same_address(
    certificates: dict[str, Files],
) -> None:
    with (
        gateway() as world,
        tunnel(world, certificates) as through,
        orders_port(world, at_port=through.near.port) as (port, mailbox),
    ):
        through.cut()
        mailbox.wait(broker.LinkLost, lambda lost: not lost.is_socket_up)
        port.post(broker.Dial(session_epoch=EPOCH + 1, gateway_n=0))
        mailbox.wait(broker.LinkFailed)
        through.restart()
        port.post(broker.Dial(session_epoch=EPOCH + 2, gateway_n=0))
        mailbox.wait(broker.LinkUp, lambda up: up.session_epoch == EPOCH + 2)


def test_a_certificate_that_is_not_the_pinned_one_reaches_no_gateway(certificates: dict[str, Files]) -> None:
    mailbox = Mailbox()
    with gateway() as world, tunnel(world, certificates, desk="stranger") as through:
        port = make_port(OrdersPort, world, mailbox.tell, port=through.near.port)
        try:
            port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
            mailbox.wait(broker.LinkFailed)
            assert mailbox.of(broker.LinkUp) == []
        finally:
            port.close()
