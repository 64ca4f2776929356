"""Memberships that follow the date, over real sockets: no session ends, and what is refused leaves them as they are."""

from __future__ import annotations

import asyncio
from datetime import date, time, timedelta

import pytest
from msgspec.structs import replace

from domain.instants import at_exchange
from domain.signals.feed_rules import expiry_on, memberships, packed
from domain.units import Utc
from gateways.gexbot import codec
from gateways.gexbot.folding import BucketFolder
from gateways.gexbot.negotiate import AddressBook, FeedPort
from gateways.gexbot.rest import is_polled
from messages import market
from simulation.hubs.faults import RefusePatch
from simulation.hubs.server import HubServer
from tests.testkit.hub_fakes import (
    KEY,
    Client,
    FakeClock,
    FakeMarket,
    Listener,
    connected,
    make_profile,
    serving,
    until,
)

HUBS = {"classic": ("classic_gex_zero",), "state_greeks": ("state_gamma_today",)}
TICKERS = ("SPX", "QQQ")
FRIDAY = date(2026, 11, 20)
GROUPS = tuple(f"{ticker}_{category}" for ticker in TICKERS for own in HUBS.values() for category in own) + tuple(
    f"{ticker}_spot" for ticker in TICKERS
)


class TwoSessions(FakeMarket):
    """A market that is open on the date of its clock, whatever that is."""

    def turn_to(self, session: date) -> None:
        """Begin another session."""
        self.open_utc, self.close_utc = at_exchange(session, time(9, 31)), at_exchange(session, time(16))


class StandingClock(FakeClock):
    """A clock that can be put to another date."""

    def put(self, at_utc: int) -> None:
        with self._lock:
            self._now_utc = at_utc


async def asked(server: HubServer, command: market.PatchMemberships) -> market.MembershipsPatched | market.PatchFailed:
    listener = Listener()
    port = FeedPort(server.negotiate_url, (KEY,), book=AddressBook(), tell=listener.tell, now_utc=lambda: Utc(0))
    port.start()
    try:
        port.post(command)
        told: market.MembershipsPatched | market.PatchFailed = await listener.next(
            market.MembershipsPatched | market.PatchFailed
        )
    finally:
        await asyncio.to_thread(port.close)
    return told


def of(expiry: date) -> market.PatchMemberships:
    return market.PatchMemberships(feed_epoch=1, memberships=memberships(GROUPS, HUBS, expiry, 150))


def dated(expiry: date) -> str:
    return f"SPX_state_gamma_{expiry:%Y%m%d}"


def test_over_a_night_todays_groups_follow_on_the_session_that_stands() -> None:
    async def main() -> None:
        fake, clock = TwoSessions(TICKERS), StandingClock()
        friday = date(2026, 11, 20)
        async with serving(HubServer(fake, clock, min_interval_real_ms=10)) as server:
            client = Client(
                server, hub="state_greeks", now_utc=clock.now_utc, tickers=TICKERS, categories=("state_gamma_today",)
            )
            client.groups = [group.replace("today", f"{friday:%Y%m%d}") for group in GROUPS]
            async with connected(client):
                published = server.publisher.published
                await until(lambda: published[dated(friday)] > 2)
                await client.drained(fake)
                await client.seal_all(clock.now_utc())
                (connection,) = server.registry.connections.values()
                monday = expiry_on(friday + timedelta(days=1))
                fake.turn_to(monday)
                clock.put(at_exchange(monday, time(8)))
                told = await asked(server, of(monday))
                assert isinstance(told, market.MembershipsPatched)
                assert told.updated_n == 4, "two groups and two spots on the one hub that is dialled"
                short = await asked(server, replace(of(monday), standing_n=5))
                assert isinstance(short, market.PatchFailed)
                assert (short.why, short.is_final) == ("the vendor changed 4 of 5 groups", False)
                before = published[dated(friday)]
                clock.put(at_exchange(monday, time(9, 40)))
                await until(lambda: published[dated(monday)] > 2)
                assert published[dated(friday)] == before
                assert list(server.registry.connections.values()) == [connection]
                sealed = await client.seal(at_exchange(monday, time(9, 40)))
                assert {row.profile.category for row in sealed.rows.rows} == {"state_gamma_today"}
                assert not sealed.absent
                assert "unknown_group" not in dict(sealed.counts.refused)

    asyncio.run(main())


def test_categories_that_are_joined_and_left_on_a_session_that_stands_come_and_go_with_their_buckets() -> None:
    async def main() -> None:
        fake, clock = FakeMarket(TICKERS), FakeClock()
        async with serving(HubServer(fake, clock, min_interval_real_ms=10)) as server:
            before = {"classic": ("classic_gex_zero", "classic_gex_full")}
            after = {"classic": ("classic_gex_zero", "classic_gex_one")}
            client = Client(server, now_utc=clock.now_utc, tickers=TICKERS, categories=before["classic"])
            client.groups = list(packed(TICKERS, (), before, 150).groups[0])
            async with connected(client):
                (connection,) = server.registry.connections.values()
                published = server.publisher.published
                await until(lambda: published["SPX_classic_gex_full"] > 2)

                def expect(*categories: str) -> None:
                    expected = tuple((ticker, category) for ticker in TICKERS for category in categories)
                    client.port.post(market.FollowCategories(expected=expected))

                expect(*before["classic"], "classic_gex_one")
                groups = packed(TICKERS, (), after, 150).groups[0]
                patch = market.PatchMemberships(feed_epoch=1, memberships=memberships(groups, after, FRIDAY, 150))
                told = await asked(server, patch)
                assert isinstance(told, market.MembershipsPatched)
                expect(*after["classic"])
                left = published["SPX_classic_gex_full"]
                await until(lambda: published["SPX_classic_gex_one"] > 2)
                await client.drained(fake)
                sealed = await client.seal_all(clock.now_utc())
                assert published["SPX_classic_gex_full"] == left
                assert list(server.registry.connections.values()) == [connection], "nobody has dialled"
                rows = {row.profile.category for bucket in sealed for row in bucket.rows.rows}
                assert rows == set(after["classic"])
                assert not {category for bucket in sealed for _, category in bucket.absent} & {"classic_gex_full"}
                assert not any("unknown_group" in dict(bucket.counts.refused) for bucket in sealed)

    asyncio.run(main())


@pytest.mark.parametrize(("status", "is_final"), [(403, True), (400, True), (503, False), (429, False)])
def test_a_change_that_is_refused_says_why_without_the_key_and_leaves_the_memberships(
    status: int, is_final: bool
) -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(TICKERS), FakeClock(), min_interval_real_ms=10)) as server:
            client = Client(server, now_utc=FakeClock().now_utc, tickers=TICKERS, categories=("classic_gex_zero",))
            client.groups = [group for group in GROUPS if "today" not in group]
            async with connected(client):
                (connection,) = server.registry.connections.values()
                before = connection.groups
                server.inject(RefusePatch(status=status))
                told = await asked(server, of(date(2026, 11, 23)))
                assert isinstance(told, market.PatchFailed)
                assert told.is_final is is_final
                assert f"refused to change memberships with {status}" in told.why
                assert KEY not in told.why
                assert connection.groups == before

    asyncio.run(main())


def test_more_memberships_than_a_key_has_are_refused_for_good() -> None:
    async def main() -> None:
        async with serving(HubServer(FakeMarket(TICKERS), FakeClock())) as server:
            many = tuple(("classic", f"T{n}_spot") for n in range(151))
            told = await asked(server, market.PatchMemberships(feed_epoch=1, memberships=many))
            assert isinstance(told, market.PatchFailed)
            assert told.is_final
            assert "151" in told.why

    asyncio.run(main())


def test_a_frame_of_another_expiry_is_none_of_todays() -> None:
    folder = BucketFolder("state_greeks", [("SPX", "state_gamma_today")])
    at_utc = at_exchange(date(2026, 11, 20), time(10))
    data = codec.encode_frame(make_profile("SPX", "state_gamma_zero", at_utc))
    assert folder.fold("SPX_state_gamma_20261119", data, at_utc, 1) is not None
    assert folder.fold("SPX_state_gamma_20261120", data, at_utc, 2) is None
    assert folder.fold("SPX_state_gamma_20261123", data, at_utc, 3) is not None


def test_todays_expiry_has_no_rest() -> None:
    assert is_polled("state_gamma_zero")
    assert not is_polled("state_gamma_today")
    assert not is_polled("state_vanna_one")
