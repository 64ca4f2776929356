"""What the provider's messages say, read one by one: events, contracts, symbols, and what waits under load."""

from __future__ import annotations

import asyncio
import math
from datetime import date
from datetime import time as wall
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import MINUTE, MS, at_exchange
from domain.market.bars import MinuteBar
from domain.options.chain_files import NoChain
from domain.units import Ticks, Utc
from gateways.chain.sources import ChainNow
from gateways.gexbot.rest import NoAnswer
from gateways.market_data.chains import ChainPoller, ChainStore, Snapshot, snapshot_of
from gateways.market_data.events import PriceTold, Status, decode
from gateways.market_data.pending import BARS_MAX, Pending
from gateways.market_data.symbols import Cluster, cluster_of, symbol_of, ticker_of
from tests.testkit.provider_world import FIRST, SESSION, raws

AT_MS = FIRST // MS
TICKERS = ("NVDA", "IWM", "SPY", "TSLA", "QQQ")


def contract(**changed: Any) -> dict[str, Any]:
    details = {
        "contract_type": "call", "expiration_date": SESSION.isoformat(), "strike_price": 600.0,
        "ticker": "O:SPY261120C00600000", "shares_per_contract": 100,
    }  # fmt: skip
    details |= {name: changed.pop(name) for name in tuple(changed) if name in details}
    told = {
        "details": details, "implied_volatility": 0.2, "open_interest": 10, "greeks": {"delta": 0.5, "gamma": 0.02},
        "day": {"volume": 3}, "last_quote": {"bid": 1.0, "ask": 1.1},
        "underlying_asset": {"ticker": "SPY", "price": 601.0, "last_updated": FIRST},
    }  # fmt: skip
    return told | changed


def told_of(*events: dict[str, Any]) -> tuple[list[Any], dict[str, int]]:
    found, refused = decode(msgspec.json.encode(events))
    return found, dict(refused)


def test_each_kind_of_event_names_a_price_a_bar_or_the_session() -> None:
    found, refused = told_of(
        {"ev": "status", "status": "auth_success", "message": "authenticated"},
        {"ev": "T", "sym": "SPY", "x": 4, "i": "1", "p": 600.5, "s": 100, "c": [12], "t": AT_MS},
        {"ev": "Q", "sym": "SPY", "bx": 1, "bp": 600.4, "bs": 2, "ax": 2, "ap": 600.6, "as": 1, "t": AT_MS},
        {"ev": "V", "T": "I:SPX", "val": 6005.25, "t": AT_MS},
        {"ev": "A", "sym": "QQQ", "v": 5, "o": 1, "h": 1, "l": 1, "c": 520.25, "s": AT_MS - 1000, "e": AT_MS},
        {"ev": "AM", "sym": "IWM", "v": 900, "o": 220.0, "h": 221.0, "l": 219.5, "c": 220.5, "s": AT_MS},
    )
    assert not refused
    assert found == [
        Status("auth_success", "authenticated"), PriceTold("SPY", FIRST, Ticks(60_050)),
        PriceTold("SPY", FIRST, Ticks(60_050)), PriceTold("SPX", FIRST, Ticks(600_525)),
        PriceTold("QQQ", FIRST, Ticks(52_025)),
        MinuteBar(
            ticker="IWM", begin_utc=FIRST, open=Ticks(22_000), high=Ticks(22_100), low=Ticks(21_950),
            close=Ticks(22_050), volume=900,
        ),
    ]  # fmt: skip


def test_an_index_has_no_volume_whatever_its_bar_says() -> None:
    (bar,), _ = told_of({"ev": "AM", "sym": "I:VIX", "v": 7, "o": 18, "h": 19, "l": 17, "c": 18, "s": AT_MS})
    assert bar.volume is None


def test_numbers_that_cannot_be_are_left_out_and_the_rest_of_the_message_is_used() -> None:
    good = {"ev": "T", "sym": "SPY", "p": 600.5, "t": AT_MS}
    bad: tuple[dict[str, Any], ...] = (
        {"p": 0.0}, {"p": -5.0}, {"p": 1e12}, {"t": 0}, {"t": 10**17},
        {"ev": "AM", "o": 1.0, "h": 0.5, "l": 0.4, "c": 0.45, "s": AT_MS},
        {"ev": "AM", "o": 1.0, "h": 1.0, "l": 1.0, "c": 1.0, "s": AT_MS + 1},
        {"ev": "AM", "o": 1.0, "h": 1.0, "l": 1.0, "c": 1.0, "s": AT_MS, "v": -1},
    )  # fmt: skip
    for changed in bad:
        found, refused = told_of(good | changed, good)
        assert [event.price for event in found] == [60_050], changed
        assert refused == {"implausible_event": 1}, changed
    for bid, ask in ((600.6, 600.4), (0.0, 600.4), (1.0, 600.0)):  # markets that name no price, and no fault
        assert told_of({"ev": "Q", "sym": "SPY", "bp": bid, "ap": ask, "t": AT_MS}) == ([], {})
    found, refused = decode(b'[{"ev":"T","sym":"SPY","p":null,"t":1},{"ev":"FMV"},{"ev":3},7,{"ev":"T","sym":"SPY"}]')
    assert (found, dict(refused)) == ([], {"bad_event": 2, "unknown_event": 3})


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_bytes_break_the_reading_of_a_message(data: bytes) -> None:
    found, refused = decode(data)
    assert found == [] or not refused.get("no_events")


@given(st.floats(), st.integers())
def test_a_price_that_is_used_is_finite_and_has_an_instant(usd: float, at_ms: int) -> None:
    data = f'[{{"ev":"T","sym":"SPY","p":{usd if math.isfinite(usd) else "1e400"},"t":{at_ms}}}]'.encode()
    for event in decode(data)[0]:
        assert isinstance(event, PriceTold) and event.price > 0 and event.at_utc > 0


def test_symbols_go_both_ways_and_name_their_stream() -> None:
    for ticker, symbol, cluster in (
        ("SPX", "I:SPX", Cluster.INDICES), ("VIX", "I:VIX", Cluster.INDICES), ("SPY", "SPY", Cluster.STOCKS),
    ):  # fmt: skip
        assert (symbol_of(ticker), ticker_of(symbol), cluster_of(ticker)) == (symbol, ticker, cluster)


@given(st.lists(st.tuples(st.sampled_from(TICKERS), st.integers(1, 50)), max_size=80), st.integers(1, 5))
def test_under_load_the_first_tickers_come_first_and_each_with_its_newest_price(
    told: list[tuple[str, int]], at_once: int
) -> None:
    pending = Pending(("SPY", "QQQ", "IWM"))
    for n, (ticker, at_utc) in enumerate(told):
        pending.put(PriceTold(ticker, Utc(at_utc), Ticks(n + 1)))
    taken: list[PriceTold] = []
    while pending:
        piece = pending.take(at_once)
        assert 0 < len(piece) <= at_once
        taken += (event for event in piece if isinstance(event, PriceTold))
    newest = {ticker: max(at for name, at in told if name == ticker) for ticker, _ in told}
    assert {event.ticker: event.at_utc for event in taken} == newest
    order = [event.ticker for event in taken]
    first = [ticker for ticker in ("SPY", "QQQ", "IWM") if ticker in newest]
    assert order[: len(first)] == first
    assert sum(pending.conflated.values()) == len(told) - len(taken)


def test_minutes_never_give_way_to_one_another_and_wait_up_to_a_bound() -> None:
    pending = Pending(())
    price = dict.fromkeys(("open", "high", "low", "close"), Ticks(100))
    for n in range(BARS_MAX + 2):
        pending.put(MinuteBar(ticker="SPY", begin_utc=Utc((n + 1) * MINUTE), **price))
    pending.put(MinuteBar(ticker="SPY", begin_utc=Utc(5 * MINUTE), **price | {"close": Ticks(99)}))
    taken = pending.take(1)
    assert len(taken) == BARS_MAX and pending.dropped == {"SPY": 2}
    assert [bar.begin_utc for bar in taken if isinstance(bar, MinuteBar)][:2] == [3 * MINUTE, 4 * MINUTE]
    assert isinstance(taken[2], MinuteBar) and taken[2].close == 99


def test_a_contract_keeps_what_the_provider_told_of_it() -> None:
    found = snapshot_of("SPY", raws(contract(), contract(contract_type="put", strike_price=590.0)), FIRST)
    assert isinstance(found, Snapshot)
    quotes = found.quotes
    assert (quotes.symbol, quotes.strikes.tolist(), quotes.is_call.tolist()) == ("SPY", [600.0, 590.0], [True, False])
    assert quotes.expiry_utc.tolist() == [at_exchange(SESSION, wall(16))] * 2
    assert (quotes.iv[0], quotes.open_interest[0], quotes.volume[0], quotes.bid[0], quotes.ask[0]) == (
        0.2,
        10,
        3,
        1,
        1.1,
    )
    assert quotes.delta is not None and quotes.gamma is not None
    assert (quotes.delta[0], quotes.gamma[0]) == (0.5, 0.02)
    assert found.price == PriceTold("SPY", FIRST, Ticks(60_100))


def test_contracts_of_other_shares_and_unreadable_ones_are_counted_and_left_out() -> None:
    found = snapshot_of(
        "SPY",
        raws(contract(), contract(shares_per_contract=10), contract(contract_type="other"), {"details": {}}, {}),
        FIRST,
    )
    assert isinstance(found, Snapshot)
    assert (len(found.quotes.strikes), found.quotes.unreadable_n) == (1, 4)


def test_a_chain_of_another_underlying_or_of_nothing_is_refused() -> None:
    other = snapshot_of("QQQ", raws(contract()), FIRST)
    assert isinstance(other, NoChain) and "contracts of SPY for QQQ" in other.why
    nothing = snapshot_of("QQQ", [], FIRST)
    assert isinstance(nothing, NoChain) and "includes options" in nothing.why


def test_a_wild_price_is_believed_only_once_a_later_bucket_says_the_same() -> None:
    store = ChainStore(10 * MINUTE, MINUTE)
    found = snapshot_of("SPY", raws(contract()), FIRST)
    assert isinstance(found, Snapshot)
    store.keep("SPY", found, FIRST)
    assert isinstance(store.read("SPY", FIRST), ChainNow)
    assert store.keep_price(PriceTold("SPY", Utc(FIRST + 1), Ticks(40_000)))
    wild = store.read("SPY", Utc(FIRST + MINUTE // 2))
    assert isinstance(wild, NoChain) and "more than 15%" in wild.why
    assert isinstance(store.read("SPY", Utc(FIRST + MINUTE)), ChainNow)


def test_a_chain_that_has_grown_old_is_not_used() -> None:
    store = ChainStore(MINUTE, 60 * MINUTE)
    found = snapshot_of("SPY", raws(contract()), FIRST)
    assert isinstance(found, Snapshot)
    store.keep("SPY", found, FIRST)
    assert isinstance(store.read("SPY", Utc(FIRST + MINUTE)), ChainNow)
    assert isinstance(store.read("SPY", Utc(FIRST + MINUTE + 1)), NoChain)


def test_a_price_of_the_future_that_comes_with_a_chain_does_not_outlast_the_true_ones() -> None:
    store = ChainStore(10 * MINUTE, MINUTE)
    late = {"ticker": "SPY", "price": 700.0, "last_updated": FIRST + 60 * MINUTE}
    found = snapshot_of("SPY", raws(contract(underlying_asset=late)), FIRST)
    assert isinstance(found, Snapshot)
    store.keep("SPY", found, FIRST)
    assert store.keep_price(PriceTold("SPY", FIRST, Ticks(60_100)))
    now = store.read("SPY", FIRST)
    assert isinstance(now, ChainNow) and now.spot == 601.0


class OneByOne:
    """A provider that notes which chain it is asked for, and has none."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def chain(self, ticker: str, first: date, last: date) -> list[msgspec.Raw] | NoAnswer:
        self.asked.append(f"{ticker} {(last - first).days}")
        await asyncio.sleep(0)
        return NoAnswer("rest_503")


def test_chains_are_asked_for_in_order_and_one_that_fails_does_not_hold_up_the_others() -> None:
    client, store = OneByOne(), ChainStore(MINUTE, MINUTE)
    refused: list[str] = []
    tickers = ("SPY", "QQQ", "NVDA")

    async def ask() -> None:
        poller = ChainPoller(
            client, tickers, store, lambda: FIRST, every_ns=MINUTE, days=9, at_once=1, on_refused=refused.append
        )  # fmt: skip
        running = asyncio.create_task(poller.run())
        async with asyncio.timeout(20):
            while len(refused) < len(tickers):
                await asyncio.sleep(0)
        running.cancel()

    asyncio.run(ask())
    assert client.asked == ["SPY 9", "QQQ 9", "NVDA 9"]  # the clock stands: none is due again
    assert refused == ["rest_503"] * 3
    found = store.read("QQQ", FIRST)
    assert isinstance(found, NoChain) and "check the network and feed.provider.rest_url" in found.why
