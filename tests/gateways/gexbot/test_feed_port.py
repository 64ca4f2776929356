"""The feed's port: negotiates on command, leaves addresses in the book; and the chain to the simulated market."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from domain.instants import MINUTE, SECOND, bucket_of
from domain.units import Utc
from gateways.gexbot.negotiate import ANSWER_BYTES_MAX, AddressBook, FeedPort, Refusal, negotiate
from messages import market
from simulation.hubs.server import HubServer
from simulation.market.market import Market
from tests.testkit.hub_fakes import (
    KEY,
    WAIT_S,
    Client,
    FakeClock,
    FakeMarket,
    Listener,
    connected,
    groups_of,
    serving,
    until,
)

Answer = tuple[int, bytes]


class Scripted:
    """A vendor of one connection that says the same whatever it hears, and then waits for the client to end it."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(WAIT_S)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v2/negotiate"
        self.heard = b""
        self.is_closed_by_client = False
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with self._listening, connection:
            connection.settimeout(WAIT_S)
            try:
                while chunk := connection.recv(65536):
                    self.heard += chunk
                    if self.heard.endswith(b"}"):
                        connection.sendall(self._answer)
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.is_closed_by_client = True


@contextmanager
def scripted(answer: bytes) -> Iterator[Scripted]:
    vendor = Scripted(answer)
    vendor.thread.start()
    try:
        yield vendor
    finally:
        vendor.thread.join()


async def with_port(url: str, key: str, scene: Callable[[FeedPort, AddressBook, Listener], Awaitable[None]]) -> None:
    listener, book = Listener(), AddressBook()
    port = FeedPort(url, (key,), book=book, tell=listener.tell, now_utc=lambda: Utc(7 * SECOND), token_life_ns=SECOND)
    port.start()
    try:
        await scene(port, book, listener)
    finally:
        await asyncio.to_thread(port.close)


def test_addresses_stay_in_the_book_and_the_message_names_hubs_only() -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(), FakeClock())) as server:

            async def scene(port: FeedPort, book: AddressBook, listener: Listener) -> None:
                port.post(market.Negotiate(feed_epoch=3, groups=tuple(groups_of())))
                told = await listener.next(market.Negotiated)
                assert listener.to == ["feed"]
                assert told.hubs == ("classic", "orderflow", "state_gex", "state_greeks_one", "state_greeks_zero")
                assert (told.feed_epoch, told.token_until_utc) == (3, 8 * SECOND)
                assert "access_token" in (book.url(3, "classic") or "")
                assert "access_token" not in repr(told)
                assert book.url(2, "classic") is None
                assert book.url(3, "tarot") is None

            await with_port(server.negotiate_url, KEY, scene)

    asyncio.run(main())


def test_a_refusal_is_told_with_whether_asking_again_can_help() -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(), FakeClock())) as server:

            async def scene(port: FeedPort, book: AddressBook, listener: Listener) -> None:
                port.post(market.Negotiate(feed_epoch=1, groups=("SPX_classic_gex_zero",)))
                told = await listener.next(market.NegotiateFailed)
                assert told.is_final
                assert "SPX needs exactly one SPX_spot" in told.why

            await with_port(server.negotiate_url, KEY, scene)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "is_final", "part"),
    [
        ((429, b'{"error":"too many"}'), False, "too many"),
        ((500, b"<html>oops</html>"), False, "500"),
        ((403, b""), True, "no reason given"),
        ((200, b"{"), False, "without usable websocket_urls"),
        ((200, b'{"websocket_urls":{}}'), False, "without usable websocket_urls"),
        ((200, b'{"websocket_urls":{"v2_classic":"http://x"}}'), False, "without usable"),
        ((200, b'{"websocket_urls":["v2_classic"]}'), False, "without usable"),
    ],
)
def test_odd_answers_are_values(answer: Answer, is_final: bool, part: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        result = negotiate(f"http://127.0.0.1:{server.server_port}/v2/negotiate", KEY, ["SPX_spot"])
        server.shutdown()
        thread.join()
    assert isinstance(result, Refusal)
    assert result.is_final is is_final
    assert part in result.why


@pytest.mark.parametrize(
    ("url", "is_final"),
    [
        ("http://127.0.0.1:notaport/v2/negotiate", True),
        ("http://127.0.0.1:99999/v2/negotiate", True),
        ("http:///v2/negotiate", True),
        ("http://[::1/v2/negotiate", True),
        ("ftp://127.0.0.1/v2/negotiate", True),
        ("127.0.0.1/v2/negotiate", True),
        ("", True),
        ("http://no.such.host.invalid/v2/negotiate", False),
    ],
)
def test_addresses_that_lead_nowhere_are_values(url: str, is_final: bool) -> None:
    result = negotiate(url, KEY, ["SPX_spot"], timeout_s=5)
    assert isinstance(result, Refusal)
    assert result.is_final is is_final
    assert KEY not in result.why


@pytest.mark.parametrize("key", ["gexbot\ncustom", "gexbot_custom_€"])
def test_a_key_that_no_header_may_carry_is_a_final_refusal_without_the_key(key: str) -> None:
    result = negotiate("http://127.0.0.1:1/v2/negotiate", key, ["SPX_spot"])
    assert result == Refusal("the key holds characters that no header may carry", is_final=True)


@pytest.mark.parametrize(
    ("answer", "timeout_s", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 0.2, "timed out"),
        (b"", 0.2, "timed out"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2,3\r\n\r\n{}", 60.0,
            "Content-Length contained multiple unmatching values",
        ),
    ],
)  # fmt: skip
def test_a_vendor_that_falls_silent_or_talks_nonsense_is_worth_another_try(
    answer: bytes, timeout_s: float, reason: str
) -> None:
    with scripted(answer) as vendor:
        result = negotiate(vendor.url, KEY, ["SPX_spot"], timeout_s=timeout_s)
    assert isinstance(result, Refusal)
    assert not result.is_final
    assert f"could not be reached: {reason}" in result.why
    assert "object at" not in result.why


def test_a_vendor_is_asked_once_straight_and_every_answer_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (4 * ANSWER_BYTES_MAX)
    elsewhere = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    good = b'{"websocket_urls":{"v2_classic":"ws://127.0.0.1/x"}}'
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(good), good)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for answer, expected in (
        (endless, "without usable websocket_urls"),
        (elsewhere, "refused to negotiate with 307"),
        (whole, "{'classic': 'ws://127.0.0.1/x'}"),
    ):
        with scripted(answer) as vendor:
            result = negotiate(vendor.url, KEY, ["SPX_spot"])
        assert expected in (result.why if isinstance(result, Refusal) else str(result))
        assert vendor.is_closed_by_client
        head, _, body = vendor.heard.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v2/negotiate HTTP/1.1\r\n")
        assert f"Authorization: Bearer {KEY}".encode() in head
        assert body == b'{"groups":["SPX_spot"]}'
    assert KEY not in caplog.text


def test_the_simulated_market_arrives_at_a_port_value_by_value() -> None:
    async def main() -> None:
        real = Market(5, date(2026, 11, 20), ("SPX", "QQQ"))
        start_utc = real.open_utc + 45 * MINUTE
        clock = FakeClock(rate=1.0, start_utc=start_utc)
        async with serving(HubServer(real, clock, min_interval_real_ms=50)) as server:
            tickers, categories = ("SPX", "QQQ"), ("state_gamma_zero", "state_charm_zero")
            client = Client(
                server, hub="state_greeks_zero", now_utc=clock.now_utc, tickers=tickers, categories=categories
            )
            groups = groups_of(tickers, (*categories, "state_gex_zero"))
            client.groups = groups
            async with connected(client):
                await until(lambda: client.published_n() >= 12 and client.unacked_n() == 0)
                sealed = [await client.seal(bucket_of(start_utc) + n * 30 * SECOND) for n in range(2)]
            rows = [row for s in sealed for row in s.rows.rows]
            assert len(rows) == 4
            for row in rows:
                twin = Market(5, date(2026, 11, 20), ("SPX", "QQQ"))
                twin.step(row.profile.source_utc)
                expected = twin.profile(row.profile.ticker, row.profile.category)
                assert row.profile.digest() == expected.digest()

    asyncio.run(main())
