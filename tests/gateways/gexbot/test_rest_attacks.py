"""What a REST peer that is broken or means ill may answer: each ends in time and within bounds."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date

import orjson
import pytest

from domain.instants import SECOND
from domain.options.profile import Profile
from domain.units import Utc
from gateways.bucket_port import PortSetup
from gateways.gexbot import rest
from gateways.gexbot.codec import Refused
from gateways.gexbot.history import HistoryError
from gateways.gexbot.negotiate import Refusal, negotiate
from gateways.gexbot.rest import ANSWER_BYTES_MAX, NoAnswer, RestClient, RestPoller, retry_after_s
from gateways.gexbot.rest_port import RestPort
from messages import market
from simulation.hubs.rest import json_of
from tests.testkit.hub_fakes import KEY, OPEN_UTC, Listener, make_profile, until

GOOD = orjson.dumps(json_of(make_profile()))
HTML = b"<!doctype html><title>Sign in</title>"
Script = Callable[[socket.socket], None]


class Peer:
    """A server on a free port that answers each connection by a script, and keeps what it was asked."""

    def __init__(self, script: Script) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked: list[bytes] = []
        self.over = threading.Event()
        self._script = script
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        with link:
            asked = b""
            while b"\r\n\r\n" not in asked:
                piece = link.recv(65_536)
                if not piece:
                    return
                asked += piece
            self.asked.append(asked)
            with suppress(OSError):  # the client has hung up
                self._script(link)

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def peer(script: Script) -> Iterator[Peer]:
    made = Peer(script)
    try:
        yield made
    finally:
        made.close()


def says(status: int, body: bytes = b"", **headers: str) -> Script:
    """Return a script that answers whole."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda link: link.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def fetch(at: Peer, timeout_s: float = 10.0) -> Profile | Refused | NoAnswer:
    client = RestClient(at.url(), KEY, concurrency=1, timeout_s=timeout_s)
    try:
        return client.fetch("SPX", "classic_gex_zero")
    finally:
        client.close()


def test_a_whole_answer_is_read() -> None:
    with peer(says(200, GOOD)) as good:
        assert isinstance(fetch(good), Profile)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 X\r\nX-Pad: ", b"HTTP/1.1 200 X\r\nContent-Length: 999999\r\n\r\n"])
def test_an_answer_of_a_byte_now_and_then_holds_a_thread_no_longer_than_a_whole_one_may(head: bytes) -> None:
    def drip(link: socket.socket) -> None:
        link.sendall(head)
        while not slow.over.wait(0.05):  # each byte lies well within the socket's timeout
            link.sendall(b"x")

    with peer(drip) as slow:
        assert fetch(slow, timeout_s=0.5) == NoAnswer("rest_unreachable")
        assert isinstance(negotiate(slow.url("/negotiate"), KEY, [], timeout_s=0.5), Refusal)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_so_the_key_goes_to_no_other_host(status: int) -> None:
    with peer(says(200, GOOD)) as other, peer(says(status, Location=other.url("/x"))) as first:
        assert fetch(first) == NoAnswer(f"rest_{status}")
        refusal = negotiate(first.url("/negotiate"), KEY, [])
        assert isinstance(refusal, Refusal)
        assert other.asked == []


def test_the_address_of_a_history_file_gets_no_key_and_its_redirect_is_refused() -> None:
    with peer(says(302, Location="http://127.0.0.1:9/")) as file:
        with peer(says(200, orjson.dumps({"url": file.url("/day")}))) as first:
            client = RestClient(first.url(), KEY, concurrency=1)
            with pytest.raises(HistoryError, match="302"):
                list(client.history("SPX", "classic_gex_zero", date(2026, 11, 20)))
            client.close()
        assert KEY.encode() in first.asked[0]
        assert KEY.encode() not in file.asked[0]


def test_a_history_file_beyond_any_day_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "HISTORY_BYTES_MAX", 10_000)
    with peer(says(200, b" " * 10_001)) as file, peer(says(200, orjson.dumps({"url": file.url("/day")}))) as first:
        client = RestClient(first.url(), KEY, concurrency=1)
        with pytest.raises(HistoryError, match="larger than any day"):
            list(client.history("SPX", "classic_gex_zero", date(2026, 11, 20)))
        client.close()


def test_a_gzip_bomb_is_refused_at_the_bound_of_any_answer() -> None:
    bomb = gzip.compress(b" " * (4 * ANSWER_BYTES_MAX), 9)
    with peer(says(200, bomb, Content_Encoding="gzip")) as bad:
        assert fetch(bad) == NoAnswer("rest_too_large")


def test_an_answer_that_never_ends_is_given_up_at_its_bound() -> None:
    def flood(link: socket.socket) -> None:
        link.sendall(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n")
        while True:
            link.sendall(b" " * 1_000_000)

    with peer(flood) as bad:
        assert fetch(bad) == NoAnswer("rest_too_large")


@pytest.mark.parametrize("script", [lambda link: None, lambda link: link.sendall(b"\x00\xff" * 40), says(99999)])
def test_what_is_no_http_is_no_answer(script: Script) -> None:
    with peer(script) as bad:
        answer = fetch(bad, timeout_s=1.0)
        assert isinstance(answer, NoAnswer) and not answer.is_final


@pytest.mark.parametrize(
    ("told", "wait_s"),
    [
        ("", 0.0), ("3", 3.0), ("1000000000", 120.0), ("9" * 5_000, 120.0), ("-5", 0.0), ("soon", 0.0),
        ("Fri, 20 Nov 2026 15:00:07 GMT", 7.0), ("Fri, 20 Nov 2026 14:00:00 GMT", 0.0),
        ("Fri, 20 Nov 2099 15:00:00 GMT", 120.0), ("Fri, 99 Nov 2026 15:00:00 GMT", 0.0), ("\u0663", 0.0),
    ],
)  # fmt: skip
def test_a_retry_after_is_a_number_or_a_date_and_never_longer_than_two_minutes(told: str, wait_s: float) -> None:
    assert retry_after_s(told, "Fri, 20 Nov 2026 15:00:00 GMT") == wait_s


def test_a_date_to_wait_until_counts_from_the_answers_own_date() -> None:
    dates = {"Retry_After": "Fri, 20 Nov 2026 15:00:07 GMT", "Date": "Fri, 20 Nov 2026 15:00:00 GMT"}
    with peer(says(429, **dates)) as busy:
        assert fetch(busy) == NoAnswer("rest_429", wait_s=7.0)
    assert retry_after_s(dates["Retry_After"], "") == 0.0


class Polled:
    """A poller over scripted answers, its two clocks moved by the test."""

    def __init__(self, answers: list[Profile | Refused | NoAnswer]) -> None:
        self.left = answers
        self.now_s = 0.0
        self.asked_s: list[float] = []
        self.poller = RestPoller(
            _Scripted(self),
            lambda: Utc(OPEN_UTC), lambda _: None, lambda: self.now_s,
        )  # fmt: skip


class _Scripted:
    """A client whose answers come from a list; the last one stays."""

    executor = None

    def __init__(self, polled: Polled) -> None:
        self._polled = polled

    def fetch(self, ticker: str, category: str) -> Profile | Refused | NoAnswer:
        self._polled.asked_s.append(self._polled.now_s)
        left = self._polled.left
        return left.pop(0) if len(left) > 1 else left[0]


async def asks(polled: Polled, until_s: int) -> list[float]:
    """Let the real clock pass second by second; return when it was asked."""
    polled.poller.want([("SPX", "classic_gex_zero")])
    running = asyncio.create_task(polled.poller.run())
    (slot,) = polled.poller._slots.values()
    try:
        for second in range(until_s):
            polled.now_s = float(second)
            await until(lambda: not slot.is_asked and not polled.poller._is_due(slot, Utc(OPEN_UTC)))
    finally:
        running.cancel()
    return polled.asked_s


@pytest.mark.parametrize("refusal", [NoAnswer("rest_429"), NoAnswer("rest_unreachable"), "html"])
def test_what_fails_again_and_again_is_asked_ever_more_rarely(refusal: NoAnswer | str) -> None:
    with peer(says(200, HTML)) as captive:
        answer = fetch(captive) if refusal == "html" else refusal
    assert not isinstance(answer, Profile | str)
    assert asyncio.run(asks(Polled([answer]), 50)) == [0, 1, 3, 7, 15, 31, 47]


def test_after_a_good_answer_failures_count_afresh() -> None:
    fail = NoAnswer("rest_500")
    polled = Polled([fail, fail, make_profile(), fail])
    asyncio.run(asks(polled, 30))
    assert polled.asked_s == [0, 1, 3]


def test_an_html_page_with_200_is_no_profile_and_does_not_put_the_hub_up() -> None:
    async def main() -> None:
        with peer(says(200, HTML)) as captive:
            listener, pairs = Listener(), (("SPX", "classic_gex_zero"),)
            client = RestClient(captive.url(), KEY, concurrency=1)
            port = RestPort(PortSetup("rest", pairs, listener.tell, lambda: Utc(OPEN_UTC + 25 * SECOND)), client)
            port.start()
            try:
                port.post(market.DialHub(feed_epoch=1))
                await until(lambda: len(captive.asked) >= 2)
                port.post(market.SealBucket(bucket_utc=OPEN_UTC))
                sealed = await listener.next(market.BucketSealed)  # and no HubUp before it
            finally:
                await asyncio.to_thread(port.close)
        assert dict(sealed.counts.refused)["rest_corrupt"] >= 1
        assert sealed.absent == pairs

    asyncio.run(main())
