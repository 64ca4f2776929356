"""Polling that stands in for a silent hub, REST as the only source, the vendor's refusals, and days that are over."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from pathlib import Path

import orjson
import pytest

from domain.instants import BUCKET_NS, SECOND
from domain.options.profile import IngestMode, Profile
from domain.units import Utc
from gateways.bucket_port import PortSetup
from gateways.gexbot.codec import Refused, encode_frame
from gateways.gexbot.file_port import FilePort
from gateways.gexbot.folding import BucketFolder
from gateways.gexbot.history import HistoryError
from gateways.gexbot.hub_port import Cover, HubPort
from gateways.gexbot.negotiate import AddressBook
from gateways.gexbot.rest import LOOK_S, NoAnswer, RestClient, RestPoller, base_of, path_of
from gateways.gexbot.rest_json import profile_of
from gateways.gexbot.rest_port import RestPort
from messages import market
from simulation.hubs.faults import RefuseRest
from simulation.hubs.rest import json_of
from simulation.hubs.server import HubServer
from tests.testkit.hub_fakes import (
    CATEGORIES,
    KEY,
    OPEN_UTC,
    TICKERS,
    FakeMarket,
    Listener,
    make_profile,
    negotiated,
    serving,
    until,
)

PAIRS = tuple((ticker, category) for ticker in TICKERS for category in ("classic_gex_zero", "state_vanna_one"))
DAY = date(2026, 11, 20)


class StandingClock:
    """The market's clock, moved by the test."""

    def __init__(self) -> None:
        self.at = OPEN_UTC

    def now_utc(self) -> Utc:
        return self.at

    def moves(self) -> bool:
        """Move on a little; a publisher waits for the market's time."""
        self.at = Utc(self.at + SECOND // 20)
        return True


Scene = Callable[[HubServer, StandingClock], Awaitable[None]]


def play(scene: Scene) -> None:
    async def main() -> None:
        clock = StandingClock()
        async with serving(HubServer(FakeMarket(), clock, min_interval_real_ms=10)) as server:
            await scene(server, clock)

    asyncio.run(main())


def has_heard(heard: list[Profile | Refused | NoAnswer], answers: int) -> bool:
    return len(heard) >= answers


def client_of(server: HubServer, key: str = KEY) -> RestClient:
    return RestClient(base_of(server.negotiate_url), key, concurrency=4)


def ask(client: RestClient, ticker: str = "SPX", category: str = "classic_gex_zero") -> asyncio.Future[object]:
    return asyncio.get_running_loop().run_in_executor(client.executor, client.fetch, ticker, category)


@pytest.mark.parametrize("category", CATEGORIES)
def test_what_rest_tells_is_to_the_last_digit_what_the_stream_tells(category: str) -> None:
    profile = make_profile(category=category, mark=-37)
    told = profile_of("SPX", category, json_of(profile))
    assert isinstance(told, Profile)
    assert told.digest() == profile.digest()


@pytest.mark.parametrize(
    ("category", "path"),
    [
        ("classic_gex_full", "/ES_SPX/classic/full"),
        ("state_gex_zero", "/ES_SPX/state/gex_zero"),
        ("state_charm_one", "/ES_SPX/state/charm_one"),
        ("orderflow_orderflow", "/ES_SPX/orderflow/orderflow"),
    ],
)
def test_paths_are_the_vendors(category: str, path: str) -> None:
    assert path_of("ES_SPX", category) == path


def test_a_second_request_within_the_second_is_refused_by_the_server_with_the_time_to_wait() -> None:
    async def scene(server: HubServer, _: StandingClock) -> None:
        client, real_s = client_of(server), [0.0]
        server.rest.now_s = lambda: real_s[0]
        assert isinstance(await ask(client), Profile)
        assert await ask(client) == NoAnswer("rest_429", wait_s=1.0)
        real_s[0] = 1.0
        assert isinstance(await ask(client), Profile), "a real second passes, though the market stands still"
        real_s[0] = 1.9
        assert await ask(client) == NoAnswer("rest_429", wait_s=1.0)
        assert isinstance(await ask(client, "QQQ"), Profile), "the rate is a ticker's and category's own"
        client.close()

    play(scene)


@pytest.mark.parametrize(("status", "is_final"), [(401, True), (403, True), (500, False)])
def test_refusals_are_counted_by_status_and_those_of_the_key_are_final(status: int, is_final: bool) -> None:
    async def scene(server: HubServer, _: StandingClock) -> None:
        server.inject(RefuseRest(status=status, path="/SPX"))
        client = client_of(server)
        assert await ask(client) == NoAnswer(f"rest_{status}", is_final=is_final)
        client.close()

    play(scene)


def test_the_poller_asks_each_slot_once_a_bucket_keeps_the_rate_and_waits_out_a_429() -> None:
    async def scene(server: HubServer, clock: StandingClock) -> None:
        heard: list[Profile | Refused | NoAnswer] = []
        client = client_of(server)
        poller = RestPoller(client, clock.now_utc, heard.append, now_s=lambda: 0.0)
        server.rest.now_s = lambda: 0.0
        poller.want([("SPX", "classic_gex_zero"), ("QQQ", "classic_gex_zero"), ("QQQ", "state_gamma_zero")])
        server.inject(RefuseRest(status=429, path="/QQQ/classic", retry_after_s=3))
        server.inject(RefuseRest(status=403, path="/QQQ/state"))
        polling = asyncio.create_task(poller.run())
        await until(lambda: len(heard) == 3)
        assert sorted(a.code for a in heard if isinstance(a, NoAnswer)) == ["rest_403", "rest_429"]
        for at_s, answers in ((2, 3), (4, 4), (19, 4), (21, 6), (25, 6), (31, 6), (51, 8)):
            clock.at = Utc(OPEN_UTC + at_s * SECOND)
            await until(partial(has_heard, heard, answers))
            for _ in range(3):  # looks of the poller in which nothing is due
                await asyncio.sleep(LOOK_S)
            assert len(heard) == answers, at_s
        polling.cancel()
        client.close()
        assert server.rest.refused_n == 2, "what the tier does not have is not asked for again, and the rate was kept"

    play(scene)


def test_an_ask_that_failed_is_made_again_after_a_real_pause_while_the_market_waits_for_its_rows() -> None:
    async def scene(server: HubServer, clock: StandingClock) -> None:
        heard: list[Profile | Refused | NoAnswer] = []
        client, real_s = client_of(server), [100.0]
        server.inject(RefuseRest(status=503, path="/SPX", count=2))
        poller = RestPoller(client, clock.now_utc, heard.append, now_s=lambda: real_s[0])
        poller.want([("SPX", "classic_gex_zero"), ("QQQ", "classic_gex_zero")])
        polling = asyncio.create_task(poller.run())
        try:
            await until(lambda: len(heard) == 2)
            for at_s, answers in ((100.9, 2), (101.1, 3), (102.9, 3), (103.2, 4), (200.0, 4)):
                real_s[0] = at_s
                await until(partial(has_heard, heard, answers))
                for _ in range(3):
                    await asyncio.sleep(LOOK_S)
                assert len(heard) == answers, at_s
        finally:
            polling.cancel()
            client.close()
        assert [type(answer) for answer in heard[-2:]] == [NoAnswer, Profile]

    play(scene)


def test_a_silent_hub_is_covered_by_polling_and_handed_back_when_frames_flow() -> None:
    async def scene(server: HubServer, clock: StandingClock) -> None:
        listener, book = Listener(), AddressBook()
        client = client_of(server)
        setup = PortSetup("classic", PAIRS, listener.tell, clock.now_utc)
        port = HubPort(setup, book=book, cover=Cover(client, (TICKERS,), after_s=0.2))
        port.start()
        try:
            assert (await listener.next(market.HubQuiet)).since_utc == OPEN_UTC
            port.post(market.CoverHub(is_wanted=True))
            await until(lambda: port.folder.waiting(OPEN_UTC) == 3)
            clock.at = Utc(OPEN_UTC + 25 * SECOND)
            await until(lambda: server.rest.answered_n >= 6)
            port.post(market.SealBucket(bucket_utc=OPEN_UTC))
            sealed = await listener.next(market.BucketSealed)
            assert {(row.mode, row.hub) for row in sealed.rows.rows} == {(IngestMode.REST, "classic")}
            assert sealed.covered == tuple((t, "classic_gex_zero") for t in ("SPX", "QQQ", "ES_SPX"))
            assert sealed.not_polled == sealed.absent
            assert {category for _, category in sealed.absent} == {"state_vanna_one"}
            assert sealed.counts.accepted == 0, "the hub itself is still silent"
            book.put(1, {"classic": (await negotiated(server))["classic"]})
            clock.at = Utc(OPEN_UTC + 35 * SECOND)
            port.post(market.DialHub(feed_epoch=1))
            await listener.next(market.HubUp)
            await until(lambda: clock.moves() and port.folder.frames(OPEN_UTC + BUCKET_NS) >= 3)
            await listener.next(market.HubFlows)
            port.post(market.CoverHub(is_wanted=False))
            port.post(market.SealBucket(bucket_utc=Utc(OPEN_UTC + BUCKET_NS)))
            sealed = await listener.next(market.BucketSealed)
            assert {row.mode for row in sealed.rows.rows} == {IngestMode.LIVE}
            assert sealed.covered == sealed.not_polled == ()
        finally:
            await asyncio.to_thread(port.close)
            client.close()

    play(scene)


def test_live_wins_over_what_was_polled_in_the_same_bucket() -> None:
    folder = BucketFolder("classic", [("SPX", "classic_gex_zero")])
    at = Utc(OPEN_UTC + 12 * SECOND)
    folder.fold("SPX_classic_gex_zero", encode_frame(make_profile(at_utc=at, mark=1)), at, 1)
    folder.keep(make_profile(at_utc=at + 9 * SECOND, mark=2), Utc(at + 9 * SECOND), is_cover=True)
    sealed = folder.seal(OPEN_UTC)
    (row,) = sealed.rows.rows
    assert (row.mode, row.profile.scalars[0], row.frames) == (IngestMode.LIVE, 1, 1)
    assert sealed.covered == ()


def test_rest_alone_delivers_every_category_of_every_ticker_each_bucket() -> None:
    async def scene(server: HubServer, clock: StandingClock) -> None:
        listener = Listener()
        pairs = tuple((t, c) for t in TICKERS for c in CATEGORIES)
        port = RestPort(PortSetup("rest", pairs, listener.tell, clock.now_utc), client_of(server))
        port.start()
        try:
            port.post(market.DialHub(feed_epoch=1))
            await listener.next(market.HubUp)
            await until(lambda: port.folder.frames(OPEN_UTC) == len(pairs))
            clock.at = Utc(OPEN_UTC + 25 * SECOND)
            await until(lambda: port.folder.frames(OPEN_UTC) == 2 * len(pairs))
            port.post(market.SealBucket(bucket_utc=OPEN_UTC))
            sealed = await listener.next(market.BucketSealed)
            assert sealed.absent == ()
            assert {row.mode for row in sealed.rows.rows} == {IngestMode.REST}
            assert sealed.counts.accepted == 2 * len(pairs), "at once, and for the last word of the bucket"
            assert set(listener.to) == {"hub:rest"}
            assert server.rest.refused_n == 0, "the rate was kept"
        finally:
            await asyncio.to_thread(port.close)

    play(scene)


def test_rest_alone_with_a_key_that_is_not_known_is_down_and_says_so() -> None:
    async def scene(server: HubServer, clock: StandingClock) -> None:
        listener = Listener()
        port = RestPort(PortSetup("rest", PAIRS, listener.tell, clock.now_utc), client_of(server, "nobody"))
        port.start()
        try:
            port.post(market.DialHub(feed_epoch=1))
            down = await listener.next(market.HubDown)
            assert "401" in down.cause
            assert not down.has_delivered
        finally:
            await asyncio.to_thread(port.close)

    play(scene)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_day_that_is_over_comes_by_the_address_that_the_vendor_names_without_the_key(zipped: bool) -> None:
    async def scene(server: HubServer, _: StandingClock) -> None:
        day = [make_profile(at_utc=OPEN_UTC + n * BUCKET_NS, mark=n) for n in range(5)]
        server.rest.put_day("SPX", "classic_gex_zero", DAY, day, zipped=zipped)
        client = client_of(server)

        def fetch(day_of: date) -> list[bytes]:
            return [profile.digest() for profile in client.history("SPX", "classic_gex_zero", day_of)]

        assert await asyncio.to_thread(fetch, DAY) == [profile.digest() for profile in day]
        with pytest.raises(HistoryError, match="no history of SPX"):
            await asyncio.to_thread(fetch, date(2026, 11, 19))
        client.close()

    play(scene)


def test_history_files_are_played_as_the_clock_passes_them_the_last_of_each_bucket(tmp_path: Path) -> None:
    for category in ("classic_gex_zero", "state_vanna_one"):
        day = [make_profile(category=category, at_utc=OPEN_UTC + n * 10 * SECOND, mark=n) for n in range(9)]
        name = tmp_path / f"2026-11-20_SPX_{category}.json.gz"
        name.write_bytes(gzip.compress(orjson.dumps([json_of(profile) for profile in day])))
    yesterday = json_of(make_profile(ticker="QQQ", at_utc=OPEN_UTC - 86_400 * SECOND))
    (tmp_path / "2026-11-19_QQQ_classic_gex_zero.json").write_bytes(orjson.dumps([yesterday]))
    (tmp_path / "notes.json").write_text("{")

    async def main() -> None:
        clock, listener = StandingClock(), Listener()
        port = FilePort(PortSetup("file", PAIRS, listener.tell, clock.now_utc), tmp_path)
        port.start()
        try:
            port.post(market.DialHub(feed_epoch=1))
            clock.at = Utc(OPEN_UTC + 29 * SECOND)
            await listener.next(market.HubUp)
            await until(lambda: port.folder.frames(OPEN_UTC) == 2)
            assert port.folder.frames(OPEN_UTC + BUCKET_NS) == 0, "what is to come is not told before its time"
            port.post(market.SealBucket(bucket_utc=OPEN_UTC))
            sealed = await listener.next(market.BucketSealed)
            assert {(r.mode, r.profile.ticker, r.profile.scalars[0]) for r in sealed.rows.rows} == {
                ("import", "SPX", 2)
            }
        finally:
            await asyncio.to_thread(port.close)

    asyncio.run(main())


def test_a_folder_without_todays_history_is_a_hub_that_is_down_and_says_what_to_set(tmp_path: Path) -> None:
    async def main() -> None:
        listener = Listener()
        port = FilePort(PortSetup("file", PAIRS, listener.tell, StandingClock().now_utc), tmp_path)
        port.start()
        try:
            port.post(market.DialHub(feed_epoch=1))
            assert "set feed.folder" in (await listener.next(market.HubDown)).cause
        finally:
            await asyncio.to_thread(port.close)

    asyncio.run(main())
