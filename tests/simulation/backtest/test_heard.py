"""A backtest that hears what was heard: the same messages at the same instants, rows from the warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from domain.instruments import OrderType, Quote, Side, Spot
from domain.options.profile import Row, Rows
from domain.units import Cents, Qty, Ticks, Utc
from messages import broker, market
from messages.base import Message
from messages.envelope import Envelope, encode
from simulation.backtest.heard import Heard, HeardHub, HeardQuotes, Hearing, heard_in
from simulation.backtest.model import FillModel
from simulation.backtest.ports import RecordedRows
from simulation.backtest.recorded_fills import Fill, Filled, RecordedFillsBroker, RecordedFillsExchange
from simulation.broker.orders import Order
from simulation.inprocess.port import LINK_NS
from storage.warehouse_reader import WarehouseReader
from supervision.spec import Tree
from supervision.stepped import SteppedRuntime, VirtualClock
from tests.testkit.bucket_rows import row
from tests.testkit.recorded_days import CALL, SESSION, at, market_of

QUOTES, HUB = "quotes:paper", "hub:classic"


def tick(contract_id: int, seconds: float, bid: int = 100) -> Quote:
    return Quote(contract_id, Ticks(bid), Ticks(bid + 10), Qty(1), Qty(1), at(seconds))


def arrived(seconds: float, *quotes: Quote, spots: Sequence[Spot] = ()) -> Heard:
    return at(seconds), QUOTES, market.QuotesArrived(session_epoch=77, quotes=quotes, spots=tuple(spots))


def listed(seconds: float) -> Heard:
    return (
        at(seconds), QUOTES,
        market.ChainListed(session_epoch=77, ticker="SPX", contracts=(CALL,), underlying_con_id=1, hours=None),
    )  # fmt: skip


class World:
    """A runtime without actors, whose posts are kept with their instants."""

    def __init__(self, heard: Sequence[Heard]) -> None:
        clock = VirtualClock(at(0))
        tree = Tree((), (), lambda _, role: (role,), {}, lambda _: ())
        self.runtime = SteppedRuntime(tree, clock)
        self.told: list[tuple[Utc, Any]] = []
        for owner in (QUOTES, HUB):
            self.listen(owner)
        self.hearing = Hearing(self.runtime, heard)

    def listen(self, owner: str) -> None:
        """Keep what is told to an owner."""
        self.runtime.sinks[owner] = lambda message: self.told.append((self.runtime.clock.now_utc(), message))

    def quotes(self) -> HeardQuotes:
        return HeardQuotes(QUOTES, self.runtime, market_of([]), self.hearing)

    def run(self, until: float) -> list[tuple[Utc, Any]]:
        before = len(self.told)
        self.runtime.run_until(at(until))
        return self.told[before:]


def test_what_is_subscribed_is_told_as_it_was_heard_at_the_same_instants() -> None:
    world = World([
        listed(1), arrived(2.25, tick(7, 2.2), tick(8, 2.2)), arrived(3, tick(8, 3)), arrived(4.5, tick(7, 4.4, 90)),
    ])  # fmt: skip
    port = world.quotes()
    port.post(broker.Dial(session_epoch=5, gateway_n=0))
    port.post(market.ListChain(session_epoch=5, ticker="SPX", trading_class="SPXW", expiry=SESSION))
    port.post(market.Subscribe(session_epoch=5, contracts=(CALL,)))
    (link_utc, link), (listed_utc, chain), *ticks = world.run(10)
    assert isinstance(link, broker.LinkUp)
    assert link_utc == at(0) + LINK_NS
    assert (listed_utc, chain.contracts, chain.session_epoch) == (at(1), (CALL,), 5)
    heard = [(when, told.quotes) for when, told in ticks]
    assert heard == [(at(2.25), (tick(7, 2.2),)), (at(4.5), (tick(7, 4.4, 90),))]
    assert {told.session_epoch for _, told in ticks} == {5}


def test_a_chain_that_was_heard_before_it_is_asked_for_is_told_then_and_once() -> None:
    world = World([listed(1), listed(2), listed(5)])
    port = world.quotes()
    port.post(broker.Dial(session_epoch=5, gateway_n=0))
    world.run(3)
    port.post(market.ListChain(session_epoch=5, ticker="SPX", trading_class="SPXW", expiry=SESSION))
    assert [type(told) for _, told in world.run(9)] == [market.ChainListed]


def test_prices_are_told_of_the_underlyings_that_are_subscribed_to() -> None:
    spots = tuple(Spot(ticker, Ticks(1), at(1)) for ticker in ("SPX", "VIX"))
    world = World([arrived(1, tick(8, 1), spots=spots), arrived(2, tick(8, 2))])
    port = world.quotes()
    port.post(broker.Dial(session_epoch=5, gateway_n=0))
    port.post(market.Subscribe(session_epoch=5, tickers=("VIX",)))
    _, (_, told) = world.run(9)
    assert (told.quotes, told.spots) == ((), (spots[1],))


class OneBucket(msgspec.Struct):
    """A warehouse that has the same rows of each bucket; also what it found of one."""

    rows: tuple[Row, ...]

    def read_bucket(self, *_: object) -> OneBucket:
        return self

    def imported_rows(self, *_: object) -> tuple[Row, ...]:
        return ()


def test_a_bucket_is_sealed_when_it_was_with_the_rows_that_were_there_then() -> None:
    categories = ("classic_gex_full", "classic_gex_zero")
    keys = tuple(("SPX", category) for category in categories)
    rows = tuple(row(*key, at(0)) for key in keys)
    sealed = market.BucketSealed(
        hub="classic", bucket_utc=at(0), rows=Rows("classic/0", ()), absent=keys[1:],
        counts=market.FrameCounts(accepted=1), why_absent="late",
    )  # fmt: skip
    world = World([(at(32.5), HUB, sealed)])
    reader = cast(WarehouseReader, OneBucket(rows))
    stored = RecordedRows(reader, SESSION, "classic", ["SPX"], categories)
    hub = HeardHub(HUB, world.runtime, market_of([]), stored).listen(world.hearing)
    hub.post(market.SealBucket(bucket_utc=at(0)))
    assert world.run(32) == []
    ((when, told),) = world.run(40)
    assert (when, told.rows.rows, told.absent) == (at(32.5), rows[:1], sealed.absent)


def envelope(seq: int, to: str, message: Message) -> bytes:
    record = Envelope(
        seq=seq, at_utc=at(seq), to=to, incarnation=1, inbox_n=seq, sender="port", message_id=f"1/port/{seq}",
        cause_seq=0, sent_utc=at(seq), message=msgspec.Raw(encode(message)),
    )  # fmt: skip
    return msgspec.json.encode(record) + b"\n"


def test_traces_are_read_in_their_order_and_a_torn_record_is_passed_over(tmp_path: Path) -> None:
    first, second = tmp_path / "run-1.jsonl", tmp_path / "run-2.jsonl"
    ticks = [arrived(n, tick(7, n))[2] for n in (1, 2, 3)]
    other = market.SpotsChanged(spots=())
    torn = envelope(4, QUOTES, ticks[2])[:-9]
    first.write_bytes(envelope(1, QUOTES, ticks[0]) + envelope(2, "risk:paper", other) + torn)
    second.write_bytes(envelope(3, QUOTES, ticks[1]))
    assert list(heard_in((first, second))) == [(at(1), QUOTES, ticks[0]), (at(3), QUOTES, ticks[1])]


def test_a_recorded_fill_comes_at_its_instant_between_the_steps_and_no_change_of_the_order_delays_it() -> None:
    recorded, world = market_of([(0, 100, 110)]), World([])
    fills = {"O": Filled(CALL.con_id, Side.BUY, (Fill(at(3.25), Qty(1), Ticks(107)),))}
    exchange = RecordedFillsExchange(recorded, Cents(10**9), FillModel(), fills)
    port = RecordedFillsBroker("ibkr:paper", world.runtime, recorded, exchange)
    world.listen("ibkr:paper")
    port.post(broker.Dial(session_epoch=5, gateway_n=0))
    world.run(1)
    order = Order(
        con_id=CALL.con_id, side=Side.BUY, qty=Qty(1), type=OrderType.LIMIT, client_id=11, order_id=1,
        limit_ticks=Ticks(105), order_ref="O",
    )  # fmt: skip
    exchange.place(order, at(1))
    world.run(3.2)
    assert exchange.modify(msgspec.structs.replace(order, limit_ticks=Ticks(110)), at(3.2))
    told = world.run(10)
    assert [when for when, message in told if isinstance(message, broker.ExecutionReported)] == [at(3.25)]
