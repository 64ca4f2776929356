"""A provider in place of the vendor, over real sockets: a bucket of its chains and prices, its bars, and its faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import time as wall
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from actors.hub import HubActor
from actors.reading import ReadingActor
from config.settings import load_settings
from domain.instants import BUCKET_NS, MINUTE, MS, SECOND, at_exchange
from domain.market.bars import MinuteBar
from domain.options.chain_rows import CATEGORIES, classic_profiles
from domain.options.profile import IngestMode
from gateways.chain.sources import ChainNow
from gateways.gexbot.rest import NoAnswer
from gateways.market_data.rest import ProviderClient
from gateways.market_data.stream import Stream
from messages import market, signals
from simulation.market.chain_source import MarketChains
from simulation.market.market import Market
from tests.testkit.probe import Probe
from tests.testkit.provider_world import FIRST, KEY, SESSION, World

OPEN_UTC = at_exchange(SESSION, wall(9, 30))


def test_a_bucket_holds_the_classic_categories_of_the_providers_chain() -> None:
    with World() as world:
        sealed = world.bucket()
    assert {row.profile.category for row in sealed.rows.rows} == set(CATEGORIES)
    assert {row.mode for row in sealed.rows.rows} == {IngestMode.CHAIN}
    assert not sealed.absent


def test_its_gamma_is_that_of_the_same_chain_taken_from_the_market_itself() -> None:
    with World() as world:
        sealed = world.bucket()
    at_utc = FIRST + 22 * SECOND
    chain = MarketChains(Market(7, SESSION, ("SPX", "SPY"))).read("SPX", at_utc)
    assert isinstance(chain, ChainNow)
    wanted = classic_profiles("SPX", chain.quotes, chain.spot, at_utc)
    for row in sealed.rows.rows:
        found = wanted[row.profile.category]
        assert isinstance(found, tuple)
        profile = found[0]
        np.testing.assert_array_equal(row.profile.strikes, profile.strikes)
        for name in ("major_pos_oi", "major_neg_oi"):
            assert row.profile.scalar(name) == profile.scalar(name)
        assert row.profile.scalar("sum_gex_oi") == pytest.approx(profile.scalar("sum_gex_oi"), rel=0.05)


def test_readings_are_complete_and_bars_reach_the_series_without_any_vendor() -> None:
    with World() as world:
        hub = Probe(HubActor("hub:provider", world.settings), FIRST)
        reading = Probe(ReadingActor("reading:SPX", world.settings), FIRST)
        hub.start()
        reading.start()
        due = market.BucketDue(bucket_utc=FIRST, close_by_utc=FIRST + BUCKET_NS + 4 * SECOND)
        hub.feed(due)
        reading.feed(due)
        out = hub.feed(world.bucket())
        seen = [
            computed
            for event in (*out.published(market.RowsArrived), *out.published(market.HubClosed))
            for computed in reading.feed(event).published(signals.FeaturesComputed)
        ]
        bars = [bar for event in out.published(market.BarsArrived) for bar in event.bars]
        n = 1
        while not bars:  # today's bars are asked for beside the first bucket
            bars = list(world.bucket(n).bars)
            n += 1
    assert [(computed.ticker, computed.is_complete) for computed in seen] == [("SPX", True)]
    assert seen[0].spot and seen[0].zero_gamma
    assert bars


def test_todays_bars_are_asked_for_once_a_stream_flows_and_an_index_has_no_volume() -> None:
    with World() as world:
        found: dict[tuple[str, int], MinuteBar] = {}
        n = 0
        while len(found) < 3 * 30:
            found |= {(bar.ticker, bar.begin_utc): bar for bar in world.bucket(n).bars}
            n += 1
            assert n < 200
    begins = {begin_utc for ticker, begin_utc in found if ticker == "SPX"}
    assert begins >= set(range(OPEN_UTC, FIRST, MINUTE))
    assert {bar.volume is None for bar in found.values() if bar.ticker in ("SPX", "VIX")} == {True}
    assert {bar.volume for bar in found.values() if bar.ticker == "SPY"} == {6_000}
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in found.values())


def test_the_spot_is_the_streams_where_the_chain_comes_without_one() -> None:
    with World(starts=False) as world:
        world.server.faults.has_no_prices = True
        world.start()
        sealed = world.bucket()
    simulated = Market(7, SESSION, ("SPX", "SPY"))
    simulated.step(FIRST + 22 * SECOND)
    assert {row.profile.spot for row in sealed.rows.rows} <= {
        simulated.spot("SPX").price_ticks + near for near in range(-300, 301)
    }


def test_without_streams_the_price_that_comes_with_the_chain_is_used() -> None:
    with World(starts=False) as world:
        world.server.faults.refuses_keys = True
        world.clock.utc = FIRST + 20 * SECOND
        world.start()
        world.until(lambda: sum("auth_failed" in note for note in world.port.notes()) == 2)
        sealed = world.bucket()
        notes = sealed.notes
    assert not sealed.absent
    assert any("stream of indices delivers nothing: it refused (auth_failed" in note for note in notes)


def test_a_key_that_is_refused_by_all_gives_reasons_with_remedies_and_stands_in_none_of_them() -> None:
    wrong = "another-key-that-nobody-may-see"
    with World(key=wrong) as world:
        end = world.end_for("does not know the key")
        world.until(lambda: any("auth_failed" in note for note in world.port.notes()))
        sealed = world.seal()
        told = msgspec.json.encode((end, sealed.notes, sealed.counts))
    assert sealed.absent == tuple(("SPX", category) for category in CATEGORIES)
    assert dict(sealed.counts.refused)["rest_401"] == 1  # asked once, not again and again
    assert "feed.provider.key_env" in end.cause
    assert wrong.encode() not in told and KEY.encode() not in told


def pauses_of(world: World, n: int, take: Callable[..., Any] = lambda *_: None) -> list[float]:
    """Let a stream hold n sessions; return how long it waited after each."""
    pauses: list[float] = []

    async def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == n:
            await asyncio.Event().wait()

    rules = load_settings(profile="demo").feed.rules
    stream = Stream(
        f"{world.server.stream_url}/stocks", KEY, ("A.SPY",), take, rules, silence_s=0.2,
        is_expected=lambda: True, wait=wait,
    )  # fmt: skip
    running = asyncio.run_coroutine_threadsafe(stream.run(), world.loop)
    world.until(lambda: len(pauses) == n)
    running.cancel()
    return pauses


def test_a_key_in_use_elsewhere_is_said_and_not_dialled_again_for_as_long_as_an_open_breaker() -> None:
    with World(starts=False) as world:
        world.server.faults.is_full = True
        assert pauses_of(world, 2) == [300.0, 300.0]
        world.start()
        world.bucket()
        world.until(lambda: any("close the other program" in note for note in world.port.notes()))


def test_a_session_that_delivers_nothing_is_a_failure_whatever_its_handshake() -> None:
    with World(starts=False, silent_after_ms=400) as world:
        world.server.faults.is_silent = True
        assert pauses_of(world, 6) == [2.0, 4.0, 8.0, 16.0, 300.0, 300.0]


def test_a_session_that_delivered_is_followed_by_another_at_once_but_not_in_a_loop() -> None:
    with World(starts=False) as world:
        pauses = pauses_of(world, 4, take=lambda *_: world.loop.create_task(world.server.drop()))
    assert all(0.0 < pause <= 0.5 for pause in pauses)


def test_half_a_message_and_an_event_of_no_known_kind_cost_nothing_but_themselves() -> None:
    with World() as world:
        world.bucket()
        world.do(world.server.tell_raw('[{"ev":"V","T":"I:SPX","val":60'))
        world.do(world.server.tell("SPX", {"ev": "LULD", "T": "SPX"}, {"ev": "V", "T": "I:SPX", "val": "much", "t": 1}))
        refused = dict(world.bucket(1).counts.refused)
        for n in range(2, 5):
            refused |= dict(world.bucket(n).counts.refused)
        assert world.server.authenticated_n == 2  # one session each, of which none ended
    assert {"no_events", "unknown_event", "bad_event"} <= refused.keys()


@pytest.mark.slow
def test_a_stream_that_falls_silent_is_dialled_anew_until_it_delivers() -> None:
    with World(silent_after_ms=400) as world:
        world.bucket()
        world.until(lambda: world.port.notes() == ())
        before = world.server.authenticated_n
        world.server.faults.is_silent = True
        status = '[{"ev":"status","status":"success","message":"still here"}]'
        world.until(  # words alone are no prices
            lambda: (
                world.do(world.server.tell_raw(status)) is None
                and any("told no price for 0.4 s" in note for note in world.port.notes())
            )
        )
        world.server.faults.is_silent = False
        world.until(lambda: world.port.notes() == ())
        assert world.server.authenticated_n > before


def test_a_stream_that_drops_comes_back() -> None:
    with World() as world:
        world.bucket()
        world.until(lambda: world.port.notes() == ())
        world.do(world.server.drop())
        world.until(lambda: world.server.authenticated_n == 4 and world.port.notes() == ())


def test_a_server_that_never_answers_the_key_is_given_up_and_dialled_again() -> None:
    with World(starts=False) as world:
        world.server.faults.is_mute = True
        stream = Stream(
            f"{world.server.stream_url}/stocks", KEY, ("A.SPY",), lambda *_: None, world.settings.feed.rules,
            silence_s=1.0, is_expected=lambda: True, handshake_s=0.1,
        )  # fmt: skip
        running = asyncio.run_coroutine_threadsafe(stream.run(), world.loop)
        world.until(lambda: stream.dialled_n >= 2)
        running.cancel()
    assert stream.why == "it did not answer within 0.1 s"


def test_a_rate_that_is_limited_is_waited_out_and_the_chain_comes() -> None:
    with World(starts=False) as world:
        world.server.faults.statuses += [(429, 0), (503, 0)]
        world.start()
        assert not world.bucket().absent
        assert not world.server.faults.statuses


def test_all_requests_wait_as_long_as_a_limited_rate_says() -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    with World(starts=False) as world:
        world.server.faults.statuses += [(429, 7)]
        client = ProviderClient(world.server.rest_url, KEY, concurrency=1, wait=wait)
        bars = world.do(client.minute_bars("SPY", SESSION, SESSION))
        client.close()
        asked = world.server.rest.asked
    assert [round(seconds) for seconds in waited] == [7]
    assert len(asked) == 2 and not isinstance(bars, NoAnswer)
    assert not any(KEY in address for address in asked)


def test_the_first_tickers_of_the_settings_are_asked_first_whatever_the_order_of_the_tickers() -> None:
    with World(tickers=("SPY", "SPX"), first=["SPX"], concurrency=1) as world:
        world.bucket()
        chains = [address for address in world.server.rest.asked if "/snapshot/" in address]
    assert "/I:SPX?" in chains[0] and any("/SPY?" in address for address in chains)


def test_an_endless_chain_of_pages_is_given_up() -> None:
    with World(starts=False) as world:
        first = f"{world.server.rest_url}/v3/snapshot/options/I:SPX?limit=1"
        world.server.faults.foreign_page = first
        client = ProviderClient(world.server.rest_url, KEY, concurrency=1)
        found = world.do(client.chain("SPX", SESSION, SESSION + timedelta(days=9)))
        client.close()
    assert found == NoAnswer("rest_endless")


def test_repeated_and_reordered_events_change_no_price() -> None:
    with World(starts=False) as world:
        world.server.faults.is_silent = True
        world.server.faults.has_no_prices = True
        world.start()
        world.until(lambda: world.server.authenticated_n == 2)
        now_ms = (FIRST + 22 * SECOND) // MS
        newest = {"ev": "V", "T": "I:SPX", "val": 6_012.34, "t": now_ms - 1_000}
        older = {"ev": "V", "T": "I:SPX", "val": 5_900.0, "t": now_ms - 9_000}
        ahead = {"ev": "V", "T": "I:SPX", "val": 5_000.0, "t": now_ms + 600_000}
        world.clock.utc = FIRST + 22 * SECOND
        world.until(lambda: _is_told(world, newest))
        world.do(world.server.tell("SPX", newest, older, newest))
        world.do(world.server.tell("SPX", older, ahead))
        sealed = world.bucket()
        refused = dict(sealed.counts.refused)
        world.until(lambda: dict(world.port.status(world.clock.utc).conflated).get("SPX", 0) >= 3)
    assert {row.profile.spot for row in sealed.rows.rows} == {601_234}
    assert set(refused) <= {"time_ahead"}


def _is_told(world: World, event: dict[str, object]) -> bool:
    """Send an event; return whether somebody has subscribed to it by now."""
    return world.do(world.server.tell("SPX", event)) > 0


def test_delayed_prices_name_no_spot_and_the_reason_says_so() -> None:
    with World(starts=False) as world:
        world.server.faults.is_silent = True
        world.server.faults.has_no_prices = True
        world.start()
        world.clock.utc = FIRST + 22 * SECOND
        delayed_ms = (world.clock.utc - 15 * MINUTE) // MS
        world.until(lambda: _is_told(world, {"ev": "V", "T": "I:SPX", "val": 6_000.0, "t": delayed_ms}))
        end = world.end_for("no price younger than 900 s")
    assert "feed.provider.spot_age_max_ms" in end.cause


def test_a_page_on_another_host_is_not_followed_and_the_key_does_not_go_there() -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65_536))
        writer.close()

    with World(starts=False) as world:
        stranger = world.do(asyncio.start_server(listen, "127.0.0.1", 0))
        port = stranger.sockets[0].getsockname()[1]
        world.server.faults.foreign_page = f"http://127.0.0.1:{port}/v3/snapshot/options/I:SPX?cursor=250"
        world.start()
        world.end_for("another host")
        world.do(_closed(stranger))
    assert heard == []


async def _closed(server: asyncio.Server) -> None:
    server.close()


def test_a_burst_gives_way_to_the_newest_price_and_is_counted_for_people() -> None:
    with World() as world:
        world.bucket()
        now_ms = world.clock.utc // MS
        burst = [{"ev": "V", "T": "I:VIX", "val": 18.0 + n / 100, "t": now_ms + n} for n in range(200)]
        world.do(world.server.tell("VIX", *burst))
        world.until(lambda: dict(world.port.status(world.clock.utc).conflated).get("VIX", 0) >= 199)
