"""The market-data port against the simulated gateway over real sockets."""

from __future__ import annotations

from datetime import date, time
from functools import partial

from domain.instants import at_exchange
from domain.instruments import DataType
from gateways.ib.quotes_port import QuotesPort
from messages import broker
from messages import market as m
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.ibkr_world import EPOCH, Mailbox, World, gateway, quotes_port

TODAY = date(2026, 11, 20)


def subscribe(port: QuotesPort, world: World) -> None:
    port.post(m.Subscribe(session_epoch=EPOCH, contracts=(world.call,)))


def of_call(world: World, bid: int | None) -> object:
    return lambda f: any(q.con_id == world.call.con_id and q.bid_ticks == bid for q in f.quotes)


def has_spot(ticker: str, quotes: m.QuotesArrived) -> bool:
    return any(spot.ticker == ticker for spot in quotes.spots)


def wait_bid(mailbox: Mailbox, world: World, bid: int | None) -> m.QuotesArrived:
    return mailbox.wait(m.QuotesArrived, of_call(world, bid))


def test_chain_is_the_brokers_own_of_one_class_and_expiry_with_its_hours() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        port.post(m.ListChain(session_epoch=EPOCH, ticker="SPX", trading_class="SPXW", expiry=TODAY))
        listed = mailbox.wait(m.ChainListed)
        wanted = [c for c in world.market.contracts("SPX") if c.expiry == TODAY]
        assert list(listed.contracts) == sorted(wanted)
        assert listed.underlying_con_id == world.market.underlying_con_id("SPX")
        assert listed.hours == ((at_exchange(TODAY, time(9, 30)), at_exchange(TODAY, time(16))),)


def test_day_without_an_expiry_is_an_empty_chain_not_a_failure() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        port.post(m.ListChain(session_epoch=EPOCH, ticker="NVDA", trading_class="NVDA", expiry=date(2026, 11, 19)))
        assert mailbox.wait(m.ChainListed).contracts == ()


def test_quotes_carry_sides_sizes_greeks_volume_data_type_and_the_instant_of_receipt() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        before = world.clock.now_utc()
        subscribe(port, world)
        (quote,) = wait_bid(mailbox, world, 500).quotes
        assert (quote.ask_ticks, quote.bid_size, quote.ask_size, quote.data_type) == (510, 10, 10, DataType.LIVE)
        assert (quote.volume, quote.open_interest) == (100, 2_500)
        assert before <= quote.at_utc <= world.clock.now_utc()
        assert quote.greeks is not None
        assert (quote.greeks.delta, quote.greeks.iv) == (0.52, 0.15)
        assert quote.greeks.underlying_ticks == 600_050


def test_the_open_interest_of_a_put_is_its_own_and_not_that_of_calls() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        put = world.market.contract(world.market.put)
        assert put is not None
        port.post(m.Subscribe(session_epoch=EPOCH, contracts=(put,)))
        told = mailbox.wait(m.QuotesArrived, lambda f: any(q.open_interest is not None for q in f.quotes))
        assert [q.open_interest for q in told.quotes] == [2_500]


def test_no_bid_is_zero_and_never_an_old_price() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        subscribe(port, world)
        wait_bid(mailbox, world, 500)
        world.do(lambda: world.market.set(world.market.call, 0, 510))
        assert wait_bid(mailbox, world, 0).quotes[0].ask_ticks == 510


def test_underlyings_are_spots_and_an_index_needs_no_bid() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, tickers=("SPX", "SPY", "VIX")))
        for ticker, price in (("SPX", 600_050), ("SPY", 60_000), ("VIX", 1_610)):
            fits = mailbox.wait(m.QuotesArrived, partial(has_spot, ticker))
            assert next(s for s in fits.spots if s.ticker == ticker).price_ticks == price


def test_watched_contract_is_told_before_the_slow_batch_is_due() -> None:
    with gateway() as world, quotes_port(world, quote_batch_ms=3_600_000, held_batch_ms=20) as (port, mailbox):
        port.post(m.WatchClosely(session_epoch=EPOCH, con_ids=(world.call.con_id,)))
        subscribe(port, world)
        wait_bid(mailbox, world, 500)
        for bid in (490, 480):
            world.do(partial(world.market.set, world.market.call, bid, 510))
            wait_bid(mailbox, world, bid)


def test_held_contract_waits_for_no_other_lines_batch() -> None:
    with gateway() as world, quotes_port(world, held_batch_ms=60_000) as (port, mailbox):
        port.post(m.WatchClosely(session_epoch=EPOCH, con_ids=(world.call.con_id,)))
        port.post(m.Subscribe(session_epoch=EPOCH, tickers=("SPY",)))
        mailbox.wait(m.QuotesArrived, partial(has_spot, "SPY"))  # the underlyings' next batch is due in a minute
        subscribe(port, world)
        wait_bid(mailbox, world, 500)


def test_a_price_that_moves_waits_for_no_batch_of_its_own_line() -> None:
    with gateway() as world, quotes_port(world, held_batch_ms=600_000) as (port, mailbox):
        port.post(m.WatchClosely(session_epoch=EPOCH, con_ids=(world.call.con_id,)))
        port.post(m.Subscribe(session_epoch=EPOCH, contracts=(world.call,), tickers=("SPX",)))
        wait_bid(mailbox, world, 500)
        mailbox.wait(m.QuotesArrived, partial(has_spot, "SPX"))  # each line's next batch is due in ten minutes
        world.do(partial(world.market.set, world.market.call, 300, 510))
        wait_bid(mailbox, world, 300)


def test_many_ticks_within_a_batch_become_one_quote() -> None:
    with gateway() as world, quotes_port(world, quote_batch_ms=2_000) as (port, mailbox):
        subscribe(port, world)
        wait_bid(mailbox, world, 500)
        before = len(mailbox.of(m.QuotesArrived))
        for bid in (490, 480, 470, 460):
            world.do(partial(world.market.set, world.market.call, bid, 510))
            world.do(world.server.match_soon)
        wait_bid(mailbox, world, 460)
        assert len(mailbox.of(m.QuotesArrived)) - before <= 2


def test_unsubscribed_contract_is_silent_and_can_be_subscribed_again() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        subscribe(port, world)
        wait_bid(mailbox, world, 500)
        port.post(m.Unsubscribe(session_epoch=EPOCH, con_ids=(world.call.con_id,)))
        subscribe(port, world)
        world.do(lambda: world.market.set(world.market.call, 470, 510))
        wait_bid(mailbox, world, 470)
        assert world.do(world.server.lines_used) == 1


def test_lines_beyond_the_brokers_limit_are_named() -> None:
    with gateway(lines_max=1) as world, quotes_port(world) as (port, mailbox):
        put = world.market.contract(world.market.put)
        assert put is not None
        port.post(m.Subscribe(session_epoch=EPOCH, contracts=(world.call, put)))
        refused = mailbox.wait(m.LinesRefused)
        assert (refused.con_ids, refused.vendor_code) == ((put.con_id,), 101)
        port.post(m.Subscribe(session_epoch=EPOCH, tickers=("SPX",)))
        assert "SPX" in mailbox.wait(broker.ErrorReported).text


def test_a_competing_session_is_told_with_its_remedy_and_the_data_come_back_after_it() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH, contracts=(world.call,), tickers=("SPX",)))
        wait_bid(mailbox, world, 500)
        world.inject(Fault(FaultKind.COMPETING_SESSION, duration_s=60))
        refused = mailbox.wait(m.LinesRefused)
        assert (refused.con_ids, refused.vendor_code) == ((world.call.con_id,), 10197)
        assert "log it out" in refused.remedy
        assert "log it out" in mailbox.wait(broker.ErrorReported, lambda e: e.vendor_code == 10197).text
        world.do(world.server.end_faults)
        world.do(lambda: world.market.set(world.call.con_id, 470, 480))
        wait_bid(mailbox, world, 470)


def test_delayed_data_is_marked_as_such() -> None:
    with gateway(Fault(FaultKind.DELAYED_DATA, duration_s=60)) as world, quotes_port(world) as (port, mailbox):
        subscribe(port, world)
        assert wait_bid(mailbox, world, 500).quotes[0].data_type is DataType.DELAYED


def test_1101_forgets_every_line_so_that_they_can_be_asked_for_again() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        subscribe(port, world)
        wait_bid(mailbox, world, 500)
        world.inject(Fault(FaultKind.LINK_LOST, duration_s=0.05, args={"data": "lost"}))
        assert mailbox.wait(broker.LinkRestored).data_lost
        world.do(lambda: world.market.set(world.market.call, 470, 510))
        subscribe(port, world)
        wait_bid(mailbox, world, 470)


def test_commands_of_an_older_session_are_dropped() -> None:
    with gateway() as world, quotes_port(world) as (port, mailbox):
        port.post(m.Subscribe(session_epoch=EPOCH - 1, contracts=(world.call,)))
        port.post(m.Subscribe(session_epoch=EPOCH, tickers=("SPX",)))
        mailbox.wait(m.QuotesArrived)
        assert world.do(world.server.lines_used) == 1
