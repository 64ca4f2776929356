"""A chain in place of the vendor: its gamma as rows of the hub `chain`, through the same path to a lane."""

from __future__ import annotations

import gzip
import os
import queue
import threading
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path

import numpy as np
import pytest

from actors.hub import HubActor
from actors.lane import LaneActor
from actors.reading import ReadingActor
from config.settings import load_settings
from domain.instants import BUCKET_NS, MINUTE, SECOND, at_exchange
from domain.options.chain_files import NoChain
from domain.options.chain_rows import CATEGORIES, classic_profiles
from domain.options.profile import IngestMode, Profile
from domain.session.phases import Phase
from domain.units import Utc
from gateways.bucket_port import PortSetup
from gateways.chain.hub_port import ChainHubPort
from gateways.chain.sources import ChainNow, FolderSource
from main import SUBSCRIBERS, routes
from messages import market, session, signals
from messages.base import Message
from simulation.market.chain_source import MarketChains
from simulation.market.market import Market
from supervision.subscriptions import Subscriptions
from tests.testkit.chains import AT, small_csv
from tests.testkit.probe import Probe

SESSION = date(2026, 11, 20)
FIRST = at_exchange(SESSION, time(10, 0))
SETTINGS = load_settings(profile="demo", overrides={"feed": {"source": "chain"}}).model_copy(
    update={"tickers": ("SPX",), "lanes": {"gexwatch": ("SPX",)}}
)


@pytest.fixture(scope="module")
def simulated() -> Market:
    return Market(7, SESSION, ("SPX",))


class Rig:
    """A port over a source, its clock, and what it told."""

    def __init__(self, source: MarketChains | FolderSource) -> None:
        self.now = Utc(FIRST)
        self.told: queue.Queue[Message] = queue.Queue()
        self.whole = threading.Event()
        setup = PortSetup(
            "chain", tuple(("SPX", category) for category in CATEGORIES), lambda _, message: self.told.put(message),
            lambda: self.now, on_whole=lambda *_: self.whole.set(), whole_from_ns=20 * SECOND,
        )  # fmt: skip
        self.port = ChainHubPort(setup, source)
        self.port.start()
        self.port.post(market.DialHub(feed_epoch=1))
        assert isinstance(self.hear(), market.HubUp)

    def hear(self) -> Message:
        return self.told.get(timeout=60)

    def bucket(self, n: int) -> market.BucketSealed:
        """Let the clock reach the end of the n-th bucket, wait until it is whole, and have it sealed."""
        bucket_utc = Utc(FIRST + n * BUCKET_NS)
        self.whole.clear()
        self.now = Utc(bucket_utc + 22 * SECOND)
        assert self.whole.wait(60)
        self.port.post(market.SealBucket(bucket_utc=bucket_utc))
        sealed = self.hear()
        assert isinstance(sealed, market.BucketSealed)
        return sealed


@pytest.fixture
def rig(simulated: Market) -> Iterator[Rig]:
    made = Rig(MarketChains(Market(simulated.seed, SESSION, ("SPX",))))
    yield made
    made.port.close()


def test_every_bucket_holds_the_three_classic_categories_and_they_reach_a_lane(rig: Rig) -> None:
    hub = Probe(HubActor("hub:chain", SETTINGS), FIRST)
    reading = Probe(ReadingActor("reading:SPX", SETTINGS), FIRST)
    hub.start()
    reading.start()
    listeners = Subscriptions(SUBSCRIBERS, routes(SETTINGS, tuple))
    seen: list[signals.FeaturesComputed] = []
    for n in range(2):
        due = market.BucketDue(bucket_utc=FIRST + n * BUCKET_NS, close_by_utc=FIRST + (n + 1) * BUCKET_NS + 4 * SECOND)
        hub.feed(due)
        reading.feed(due)
        sealed = rig.bucket(n)
        assert {row.profile.category for row in sealed.rows.rows} == set(CATEGORIES)
        assert {row.mode for row in sealed.rows.rows} == {IngestMode.CHAIN}
        assert sealed.absent == ()
        out = hub.feed(sealed)
        assert out.told(market.StoreBucket, "warehouse")
        for event in (*out.published(market.RowsArrived), *out.published(market.HubClosed)):
            seen += reading.feed(event).published(signals.FeaturesComputed)
    assert [event.is_complete for event in seen] == [True, True]
    assert all(event.spot and event.zero_gamma for event in seen)
    assert "lane:gexwatch:SPX" in listeners.addresses("reading:SPX", seen[0], ())
    lane = Probe(LaneActor("lane:gexwatch:SPX", SETTINGS), FIRST)
    lane.start()
    lane.feed(session.PhaseChanged(phase=Phase.ENTRY, session=SESSION, open_utc=FIRST, close_utc=FIRST, at_utc=FIRST))
    for computed in seen:
        lane.feed(computed)
    assert lane.state.bucket_utc == seen[-1].bucket_utc


def test_levels_are_those_of_the_vendor_on_the_same_market(simulated: Market) -> None:
    chains = MarketChains(simulated)
    chain = chains.read("SPX", Utc(FIRST))
    assert isinstance(chain, ChainNow)
    for category, found in classic_profiles("SPX", chain.quotes, chain.spot, Utc(FIRST)).items():
        assert isinstance(found, tuple)
        ours, vendors = found[0], simulated.profile("SPX", category)
        assert ours.spot == vendors.spot
        for name in ("major_pos_oi", "major_neg_oi", "major_pos_vol", "major_neg_vol"):
            assert ours.scalar(name) == vendors.scalar(name), (category, name)
        assert ours.scalar("sum_gex_oi") == pytest.approx(vendors.scalar("sum_gex_oi"), rel=0.02)
        if vendors.scalar("zero_gamma"):
            assert ours.scalar("zero_gamma") == pytest.approx(vendors.scalar("zero_gamma"), rel=1e-3)
        np.testing.assert_array_equal(ours.strikes, vendors.strikes)


def test_priors_and_largest_change_are_taken_against_what_was_computed_before(simulated: Market) -> None:
    chains = MarketChains(Market(simulated.seed, SESSION, ("SPX",)))
    then, now = chains.read("SPX", Utc(FIRST)), chains.read("SPX", Utc(FIRST + MINUTE))
    assert isinstance(then, ChainNow) and isinstance(now, ChainNow)
    before = classic_profiles("SPX", then.quotes, then.spot, Utc(FIRST))["classic_gex_zero"]
    assert isinstance(before, tuple)
    earlier = {"classic_gex_zero": {1: before[1]}}
    after = classic_profiles("SPX", now.quotes, now.spot, Utc(FIRST + MINUTE), earlier)["classic_gex_zero"]
    assert isinstance(after, tuple)
    profile: Profile = after[0]
    np.testing.assert_array_equal(profile.priors[:, 0], before[0].column("gex_vol"))
    assert not profile.priors[:, 1:].any()
    change = profile.column("gex_vol").astype(int) - profile.priors[:, 0]
    assert profile.scalar("max_change_1") == 10 * change[np.argmax(np.abs(change))]


def test_a_folder_gives_the_newest_file_of_a_ticker_while_it_is_fresh(tmp_path: Path) -> None:
    source = FolderSource(tmp_path, age_max_ns=20 * MINUTE)
    assert isinstance(source.read("SPX", AT), NoChain)
    (tmp_path / "SPX.csv").write_text(small_csv(), "utf-8")
    found = source.read("SPX", Utc(AT + 15 * MINUTE))
    assert isinstance(found, ChainNow)
    assert found.spot == 4677.03
    stale = source.read("SPX", Utc(AT + 25 * MINUTE))
    assert isinstance(stale, NoChain) and "25 min ago" in stale.why
    newer = tmp_path / "SPX.csv.gz"
    newer.write_bytes(gzip.compress(small_csv("January 7, 2022, 3:30 PM EST").encode()))
    os.utime(newer, (2_000_000_000, 2_000_000_000))
    again = source.read("SPX", Utc(AT + 25 * MINUTE))
    assert isinstance(again, ChainNow) and again.quotes.at_utc == AT + 19 * MINUTE
    newer.write_bytes(b"\x1f\x8b cut")
    assert isinstance(source.read("SPX", Utc(AT + 25 * MINUTE)), NoChain)


def test_a_source_without_any_chain_ends_the_session_with_its_reason(tmp_path: Path) -> None:
    rig = Rig(FolderSource(tmp_path, age_max_ns=MINUTE))
    try:
        rig.now = Utc(FIRST + 22 * SECOND)
        down = rig.hear()
        assert isinstance(down, market.HubDown)
        assert "has no chain SPX.csv" in down.cause and down.can_reuse
    finally:
        rig.port.close()
