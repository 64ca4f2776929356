"""A real hub port beside a real server on loopback: drops, recovery, expiry, refusals, what a bucket holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from domain.instants import BUCKET_NS, SECOND
from gateways.bucket_port import PortSetup
from gateways.gexbot.hub_port import HubPort
from gateways.gexbot.negotiate import AddressBook
from messages import market
from simulation.hubs.faults import (
    DisconnectHub,
    DropHub,
    ForgetConnections,
    HubFault,
    KillTokens,
    Redeliver,
    SilenceGroup,
    Spoil,
    SpoilFrames,
)
from simulation.hubs.server import HubServer
from tests.testkit.hub_fakes import (
    OPEN_UTC,
    Client,
    FakeClock,
    FakeMarket,
    Listener,
    connected,
    serving,
    until,
)

Scene = Callable[[HubServer, Client, FakeMarket, FakeClock], Awaitable[None]]


def play(
    scene: Scene, *, fills_spot: bool = True, recovery_s: float = 30.0, faults: tuple[HubFault, ...] = (),
    first: tuple[str, ...] = (),
) -> None:  # fmt: skip
    async def main() -> None:
        fake, clock = FakeMarket(), FakeClock()
        server = HubServer(
            fake,
            clock,
            min_interval_real_ms=10,
            fills_spot=fills_spot,
            faults=faults,
            recovery_s=recovery_s,
        )
        async with serving(server):
            client = Client(server, now_utc=clock.now_utc, recovery_s=recovery_s, first=first)
            async with connected(client):
                await scene(server, client, fake, clock)

    asyncio.run(main())


def frames_of(sealed: list[market.BucketSealed]) -> int:
    return sum(row.frames for s in sealed for row in s.rows.rows)


def refused_of(sealed: list[market.BucketSealed]) -> Counter[str]:
    return sum((Counter(dict(s.counts.refused)) for s in sealed), Counter())


def analytics_published(server: HubServer) -> int:
    return sum(n for group, n in server.publisher.published.items() if "classic" in group)


def test_every_frame_published_is_folded_once() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        await until(lambda: client.published_n() > 200)
        await client.drained(fake)
        sealed = await client.seal_all(clock.now_utc())
        assert frames_of(sealed) == analytics_published(server) == sum(s.counts.accepted for s in sealed)
        assert not refused_of(sealed)
        assert sum(s.counts.repeated + s.counts.late for s in sealed) == 0
        assert set(client.listener.to) == {"hub:classic"}
        row = sealed[0].rows.rows[0]
        assert (row.profile.ticker, row.hub, row.mode) == ("SPX", "classic", "live")
        assert OPEN_UTC <= row.first_utc <= row.last_utc < OPEN_UTC + BUCKET_NS

    play(scene)


def test_tickers_that_are_waited_for_are_told_before_the_bucket_which_has_them_too() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        await until(lambda: clock.now_utc() > OPEN_UTC + 3 * BUCKET_NS)
        await client.drained(fake)
        buckets = [OPEN_UTC + n * BUCKET_NS for n in range(3)]
        for bucket_utc in buckets:  # the second and third come while the one before is still in hand
            client.port.post(market.SealBucket(bucket_utc=bucket_utc))
        found = []
        for bucket_utc in buckets:
            early = [await client.listener.next(market.TickerSealed) for _ in range(2)]
            whole = await client.listener.next(market.BucketSealed)
            assert [(e.ticker, e.bucket_utc) for e in early] == [("QQQ", bucket_utc), ("SPX", bucket_utc)]
            assert [e.rows for e in early] == [whole.rows.of("QQQ"), whole.rows.of("SPX")]
            assert all(e.rows.rows for e in early)
            found.append(whole)
        assert {row.profile.ticker for row in found[0].rows.rows} == set(fake.tickers)
        assert frames_of(found) == sum(s.counts.accepted for s in found)

    play(scene, first=("QQQ", "SPX"))


def test_what_is_in_hand_when_the_port_is_closed_is_told() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        del server, clock
        await client.drained(fake)
        client.port.post(market.SealBucket(bucket_utc=OPEN_UTC))
        await client.listener.next(market.TickerSealed)
        await asyncio.to_thread(client.port.close)
        assert await client.listener.next(market.BucketSealed)

    play(scene, first=("SPX",))


def test_a_drop_with_recovery_loses_and_doubles_no_frame() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        for _ in range(3):
            at = client.published_n()
            await until(partial(client.has_published, at + 30))
            server.inject(DropHub(hub="v2_classic", outage_s=0.2))
            up = await client.listener.next(market.HubUp)
            assert up.recovered
        await client.drained(fake)
        sealed = await client.seal_all(clock.now_utc())
        assert frames_of(sealed) == analytics_published(server)
        assert not refused_of(sealed)
        assert len(server.registry.connections) == 1

    play(scene)


def test_a_forgotten_session_is_told_and_the_url_is_reused() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        await until(lambda: client.published_n() > 10)
        server.inject(ForgetConnections(hub="classic"))
        down = await client.listener.next(market.HubDown)
        assert down.can_reuse
        client.port.post(market.DialHub(feed_epoch=1))
        up = await client.listener.next(market.HubUp)
        assert not up.recovered
        await client.drained(fake)  # sequence ids start afresh and are acknowledged again
        assert server.registry.negotiated_n == 1

    play(scene)


def test_an_orderly_disconnect_is_told_with_its_reason() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        server.inject(DisconnectHub(hub="v2_classic"))
        down = await client.listener.next(market.HubDown)
        assert "the service closes this connection" in down.cause
        assert down.can_reuse

    play(scene)


def test_an_expired_token_leaves_the_connection_but_asks_for_a_new_negotiate_after_a_loss() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        server.inject(KillTokens())
        at = client.published_n()
        await until(lambda: client.published_n() > at + 10)
        server.inject(ForgetConnections(hub="v2_classic"))
        assert (await client.listener.next(market.HubDown)).can_reuse
        client.port.post(market.DialHub(feed_epoch=1))
        down = await client.listener.next(market.HubDown)
        assert not down.can_reuse
        assert "401" in down.cause
        await client.dial(feed_epoch=2)
        up = await client.listener.next(market.HubUp)
        assert (up.feed_epoch, up.recovered) == (2, False)
        client.port.post(market.DialHub(feed_epoch=1))  # of an epoch whose addresses are gone
        down = await client.listener.next(market.HubDown)
        assert (down.feed_epoch, down.can_reuse) == (1, False)

    play(scene)


def test_recovery_is_given_up_after_its_window() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        server.inject(DropHub(hub="v2_classic", outage_s=60))
        down = await client.listener.next(market.HubDown)
        assert down.can_reuse
        assert "503" in down.cause

    play(scene, recovery_s=0.3)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (Spoil.BASE64, "corrupt"),
        (Spoil.TRUNCATED, "corrupt"),
        (Spoil.BOMB, "bomb"),
        (Spoil.TYPE_URL, "unknown_type"),
        (Spoil.GROUP, "unknown_group"),
        (Spoil.TIME_BACKWARDS, "time_backwards"),
        (Spoil.NOT_JSON, "corrupt"),
    ],
)
def test_a_spoilt_frame_is_counted_by_code_and_the_feed_goes_on(spoil: Spoil, code: str) -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        group = "SPX_classic_gex_zero"
        await until(lambda: server.publisher.published[group] > 2)
        server.inject(SpoilFrames(group=group, spoil=spoil, count=3))
        at = server.publisher.published[group]
        await until(lambda: server.publisher.published[group] > at + 6)
        await client.drained(fake)
        sealed = await client.seal_all(clock.now_utc())
        assert refused_of(sealed) == {code: 3}
        assert frames_of(sealed) == analytics_published(server) - 3

    play(scene)


def test_a_redelivered_sequence_is_counted_and_not_folded() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        await until(lambda: client.published_n() > 40)
        server.inject(Redeliver(hub="v2_classic", count=20))
        at = client.published_n()
        await until(lambda: client.published_n() > at + 20)
        await client.drained(fake)
        sealed = await client.seal_all(clock.now_utc())
        assert sum(s.counts.repeated for s in sealed) == 20
        assert frames_of(sealed) == analytics_published(server)

    play(scene)


def test_a_silent_group_is_absent_and_says_so() -> None:
    silence = SilenceGroup(at_utc=OPEN_UTC, group="QQQ_classic_gex_full", silence_s=3600)

    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        await until(lambda: clock.now_utc() > OPEN_UTC + 2 * BUCKET_NS + 2 * SECOND)
        await client.seal(OPEN_UTC)
        sealed = await client.seal(OPEN_UTC + BUCKET_NS)
        assert sealed.absent == (("QQQ", "classic_gex_full"),)
        assert sealed.why_absent == "silent"

    play(scene, faults=(silence,))


def test_a_bucket_sealed_while_the_hub_is_down_says_disconnected() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        server.inject(ForgetConnections(hub="v2_classic"))
        await client.listener.next(market.HubDown)
        sealed = await client.seal(OPEN_UTC + 100 * BUCKET_NS)
        assert len(sealed.absent) == 6
        assert sealed.why_absent == "disconnected"

    play(scene)


def test_a_bucket_that_began_before_the_port_did_says_that_the_supervisor_was_down() -> None:
    async def main() -> None:
        listener, pairs = Listener(), (("SPX", "classic_gex_zero"),)
        port = HubPort(PortSetup("classic", pairs, listener.tell, lambda: OPEN_UTC + 5 * SECOND), book=AddressBook())
        port.start()
        try:
            whys = []
            for bucket_utc in (OPEN_UTC, OPEN_UTC + BUCKET_NS):
                port.post(market.SealBucket(bucket_utc=bucket_utc))
                whys.append((await listener.next(market.BucketSealed)).why_absent)
        finally:
            await asyncio.to_thread(port.close)
        assert whys == ["supervisor down", "disconnected"]

    asyncio.run(main())


def test_spots_fill_rows_that_came_without_one() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        await until(lambda: server.publisher.published["ES_SPX_spot"] > 3)
        await client.drained(fake)
        rows = [row for s in await client.seal_all(clock.now_utc()) for row in s.rows.rows]
        assert rows
        for row in rows:
            at_s = (row.profile.source_utc - OPEN_UTC) // SECOND
            assert abs(row.profile.spot - 600_000 - at_s) <= 3

    play(scene, fills_spot=False)


def test_sequences_are_acknowledged_while_frames_flow() -> None:
    async def scene(server: HubServer, client: Client, fake: FakeMarket, clock: FakeClock) -> None:
        while client.published_n() < 600:
            await until(partial(client.has_published, client.published_n() + 50))
            await until(lambda: client.unacked_n() < 100)

    play(scene)
