"""The feed's port: negotiates on command, leaves addresses in the book; and the chain to the simulated market."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from domain.instants import MINUTE, SECOND, bucket_of
from gateways.gexbot.negotiate import AddressBook, FeedPort, Refusal, negotiate
from messages import market
from simulation.hubs.server import HubServer
from simulation.market.market import Market
from tests.testkit.hub_fakes import KEY, Client, FakeClock, FakeMarket, Listener, connected, groups_of, serving, until

Answer = tuple[int, bytes]


async def with_port(url: str, key: str, scene: Callable[[FeedPort, AddressBook, Listener], Awaitable[None]]) -> None:
    listener, book = Listener(), AddressBook()
    port = FeedPort(url, key, book=book, tell=listener.tell, now_utc=lambda: 7 * SECOND, token_life_ns=SECOND)
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


def test_addresses_that_are_no_urls_are_values() -> None:
    for url in ("http://127.0.0.1:notaport/v2/negotiate", "http://no.such.host.invalid/v2/negotiate"):
        result = negotiate(url, KEY, ["SPX_spot"], timeout_s=5)
        assert isinstance(result, Refusal)
        assert KEY not in result.why


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
