"""The broker's chains as a source of gamma, against the simulated gateway over real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from datetime import time as clock_time
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from config.settings import load_settings
from config.tree import Gateway
from domain.instants import MINUTE, SECOND, at_exchange
from domain.instruments import DataType, Greeks, Quote
from domain.options.chain_files import NoChain
from domain.units import Ticks, Utc
from gateways.bucket_port import PortSetup
from gateways.chain.broker_chains import SPOT_AGE_NS_MAX, Band, BrokerChains, refusal_of
from gateways.chain.hub_port import ChainHubPort
from gateways.chain.sources import ChainNow
from gateways.ib.quotes_port import QuotesPort
from messages import market
from messages.base import Message
from simulation.gateway.faults import Fault, FaultKind
from simulation.market.market import Market
from tests.testkit.gateway_world import NOON
from tests.testkit.ibkr_world import World, gateway, rules

SESSION = date(2026, 11, 20)
WAIT_S = 240.0  # real; a quiet machine needs 40 for the longest of them
BAND = Band({"SPX": "SPXW", "QQQ": "QQQ"}, lines=8, strikes_around=4, expiries=2, age_max_ns=30 * MINUTE)
FEED = load_settings().feed.rules
PAUSE = threading.Event()


def options() -> Market:
    found = Market(7, SESSION, ("SPX", "QQQ"))
    found.step(NOON)
    return found


@contextmanager
def chains_of(
    world: World, band: Band = BAND, *, port: int = 0, kept: list[market.ChainRead] | None = None
) -> Iterator[BrokerChains]:
    kept = [] if kept is None else kept
    source = BrokerChains(
        "port:chains:paper",
        lambda tell: QuotesPort(
            "port:chains:paper", gateways=(Gateway("127.0.0.1", port or world.port),), client_id=13, rules=rules(),
            clock=world.clock, tell=tell,
        ),
        1, band, replace(FEED, retry_min_ms=100), world.clock.now_utc, kept.append,
    )  # fmt: skip
    source.start()
    try:
        yield source
    finally:
        source.close()


def until(
    source: BrokerChains, world: World, ticker: str, fits: Callable[[ChainNow | NoChain], bool]
) -> ChainNow | NoChain:
    """Wait until what is read of a ticker fits."""
    until_s = time.monotonic() + WAIT_S
    while not fits(found := source.read(ticker, world.clock.now_utc())):
        assert time.monotonic() < until_s, found
        PAUSE.wait(0.02)
    return found


def read(source: BrokerChains, world: World, ticker: str) -> ChainNow:
    found = until(source, world, ticker, lambda found: isinstance(found, ChainNow))
    assert isinstance(found, ChainNow)
    return found


def test_the_band_of_two_expiries_is_read_with_no_more_lines_than_it_may_have() -> None:
    with gateway(lines_max=BAND.lines, market=options()) as world, chains_of(world) as source:
        for ticker in BAND.classes:
            found = read(source, world, ticker)
            quotes, spot = found.quotes, world.market.spot(ticker).price_ticks / 100
            assert found.spot == pytest.approx(spot, rel=0.01)
            assert len(quotes.strikes) == 2 * 2 * 2 * BAND.strikes_around, "expiries, rights, sides of the money"
            assert len(set(quotes.expiry_utc.tolist())) == 2
            assert (np.unique(quotes.strikes) < found.spot).sum() == pytest.approx(BAND.strikes_around, abs=1)
            assert np.isfinite(quotes.iv).all() and (quotes.open_interest >= 0).all()
            of_market, ends = world.market.chain(ticker)
            told = {
                (strike, bool(call), int(end)): oi
                for strike, call, end, oi in zip(
                    of_market.ladder.strikes, of_market.ladder.is_call, ends, of_market.open_interest, strict=True
                )
            }
            for strike, call, end, oi in zip(
                quotes.strikes, quotes.is_call, quotes.expiry_utc, quotes.open_interest, strict=True
            ):
                assert oi == pytest.approx(told[strike, bool(call), int(end)], abs=1)


def test_a_hub_over_it_fills_a_bucket_with_the_classic_categories() -> None:
    told: list[Message] = []
    with gateway(market=options()) as world, chains_of(world, replace(BAND, lines=40)) as source:
        read(source, world, "SPX")
        now = Utc(NOON + 25 * SECOND)
        categories = ("classic_gex_full", "classic_gex_zero", "classic_gex_one")
        pairs = tuple(("SPX", category) for category in categories)
        port = ChainHubPort(PortSetup("chain", pairs, lambda _, message: told.append(message), lambda: now), source)
        port.start()
        port.post(market.DialHub(feed_epoch=1))
        until_s = time.monotonic() + WAIT_S
        while port.folder.waiting(NOON) < len(categories):
            assert time.monotonic() < until_s, told
            PAUSE.wait(0.02)
        port.post(market.SealBucket(bucket_utc=NOON))
        port.close()
    (sealed,) = (message for message in told if isinstance(message, market.BucketSealed))
    assert not sealed.absent
    by_category = {row.profile.category: row.profile for row in sealed.rows.rows}
    assert len(by_category["classic_gex_zero"].strikes) == 2 * BAND.strikes_around
    assert {row.mode for row in sealed.rows.rows} == {"chain"}


def test_bands_are_given_to_be_stored_now_and_then_with_all_their_expiries() -> None:
    kept: list[market.ChainRead] = []
    band = replace(BAND, lines=40, keep_every_ns=30 * MINUTE)
    with gateway(market=options()) as world, chains_of(world, band, kept=kept) as source:
        for ticker in BAND.classes:
            first = read(source, world, ticker).quotes.at_utc or 0
        until(source, world, ticker, lambda found: isinstance(found, ChainNow) and (found.quotes.at_utc or 0) > first)
    assert len(kept) == len(BAND.classes)
    assert {one.ticker for one in kept} == set(BAND.classes)
    for one in kept:
        assert len({contract.expiry for contract, _ in one.quotes}) == 2
        assert one.spot.ticker == one.ticker
        assert all(quote.greeks is not None and quote.open_interest is not None for _, quote in one.quotes)


def test_after_a_loss_it_dials_again_and_reads_on() -> None:
    with gateway(market=options()) as world, chains_of(world, replace(BAND, lines=40)) as source:
        first = read(source, world, "SPX").quotes.at_utc
        world.inject(Fault(kind=FaultKind.DROP_REFUSE, duration_s=0.3))
        assert first is not None
        until(source, world, "SPX", lambda found: isinstance(found, ChainNow) and (found.quotes.at_utc or 0) > first)


@pytest.mark.parametrize(
    ("faults", "lines_max", "said"),
    [
        ((Fault(kind=FaultKind.CLIENT_ID_IN_USE, duration_s=1e6),), 100, "client id 13 is in use"),
        ((Fault(kind=FaultKind.NOT_PERMITTED, duration_s=1e6, args={"of": "SPXW"}),), 100, "no option of class SPXW"),
        ((), 2, "feed.chain.lines"),
    ],
)
def test_why_there_is_no_chain_is_said(faults: tuple[Fault, ...], lines_max: int, said: str) -> None:
    with gateway(*faults, lines_max=lines_max, market=options()) as world, chains_of(world) as source:
        until(source, world, "SPX", lambda found: isinstance(found, NoChain) and said in found.why)


def test_a_gateway_that_is_not_there_is_said() -> None:
    with gateway(market=options()) as world, chains_of(world, port=1) as source:
        until(source, world, "SPX", lambda found: isinstance(found, NoChain) and "cannot be reached" in found.why)


def test_a_price_or_a_round_that_is_old_is_not_used() -> None:
    with gateway(market=options()) as world, chains_of(world, replace(BAND, lines=40, age_max_ns=3 * MINUTE)) as source:
        read(source, world, "SPX")
    now = world.clock.now_utc()
    silent, old = source.read("SPX", Utc(now + SPOT_AGE_NS_MAX + 5 * SECOND)), source.read("SPX", Utc(now + 5 * MINUTE))
    assert isinstance(silent, NoChain) and "tells no price" in silent.why
    assert isinstance(old, NoChain) and "feed.chain.age_max_ms" in old.why


@pytest.mark.parametrize(
    ("on", "clock", "is_wanted"),
    [
        (SESSION, clock_time(9, 14), False), (SESSION, clock_time(9, 15), True), (SESSION, clock_time(15, 59), True),
        (SESSION, clock_time(16), False), (date(2026, 11, 21), clock_time(12), False),
    ],
)  # fmt: skip
def test_contracts_are_asked_for_in_a_sessions_hours_and_just_before(
    on: date, clock: clock_time, is_wanted: bool
) -> None:
    no_port: Any = object()
    source = BrokerChains("port:chains:paper", lambda _: no_port, 1, BAND, FEED, lambda: at_exchange(on, clock), print)
    assert source._is_wanted() is is_wanted


def quotes_of(world: World, n: int, **changes: Any) -> tuple[tuple[Any, Quote], ...]:
    contract = world.call
    whole = Quote(
        con_id=contract.con_id, bid_ticks=500, ask_ticks=510, bid_size=1, ask_size=1, at_utc=NOON, open_interest=10,
        greeks=Greeks(0.2, 0.5, 0.1, 0.0, 0.1, Ticks(600_000), NOON),
    )  # fmt: skip
    return ((contract, structs.replace(whole, **changes)),) * n


def test_part_of_a_band_is_refused_with_how_many_of_how_many() -> None:
    with gateway() as world:
        assert refusal_of("SPX", 20, quotes_of(world, 18)) is None
        assert "only 17 of 20" in (refusal_of("SPX", 20, quotes_of(world, 17)) or "")
        without = quotes_of(world, 17) + quotes_of(world, 3, open_interest=None)
        assert "only 17 of 20" in (refusal_of("SPX", 20, without) or "")
        assert "quotes nothing" in (refusal_of("SPX", 20, ()) or "")


@pytest.mark.parametrize("kind", [DataType.FROZEN, DataType.DELAYED, DataType.DELAYED_FROZEN, DataType.UNKNOWN])
def test_quotes_of_a_band_that_are_not_live_are_refused_with_what_they_are(kind: DataType) -> None:
    with gateway() as world:
        told = quotes_of(world, 17) + quotes_of(world, 3, data_type=kind)
        why = refusal_of("SPX", 20, told) or ""
        assert f"3 {kind.name.lower().replace('_', ' ')}" in why and "not live" in why
        assert refusal_of("SPX", 20, quotes_of(world, 18) + quotes_of(world, 2, data_type=kind)) is None


def test_round_that_brings_a_part_leaves_the_whole_chain_in_its_place() -> None:
    kept: list[market.ChainRead] = []
    with gateway(market=options()) as world, chains_of(world, replace(BAND, lines=40), kept=kept) as source:
        first = read(source, world, "SPX").quotes.at_utc or 0
        world.inject(Fault(kind=FaultKind.DELAYED_DATA, duration_s=1e6))
        until(source, world, "SPX", lambda _: "not live" in source._whys.get("SPX", ""))
        stands_utc = source._chains["SPX"].at_utc or 0
        stored_n = sum(one.ticker == "SPX" for one in kept)
        source._whys.clear()
        until(source, world, "SPX", lambda _: "not live" in source._whys.get("SPX", ""))  # another round
        assert source._chains["SPX"].at_utc == stands_utc >= first
        assert sum(one.ticker == "SPX" for one in kept) == stored_n
        assert len(source._chains["SPX"].strikes) == 2 * 2 * 2 * BAND.strikes_around


def test_delayed_prices_are_not_used() -> None:
    late = Fault(kind=FaultKind.DELAYED_DATA, duration_s=1e6)
    with gateway(late, market=options()) as world, chains_of(world, replace(BAND, lines=40)) as source:
        until(source, world, "SPX", lambda found: isinstance(found, NoChain) and "not live" in found.why)
