"""Combinations as one order at every broker port: taken whole where the broker takes them, else refused."""

from __future__ import annotations

from typing import Any

from gateways.ib.orders_port import OrdersPort
from simulation.broker.exchange import Exchange
from simulation.inprocess.broker import InProcessBroker
from tests.gateways.test_broker_contract import VirtualTime
from tests.testkit.broker_combos import condor, walk_combos, walk_refused
from tests.testkit.broker_contract import Bench
from tests.testkit.gateway_world import FakeMarket
from tests.testkit.ibkr_world import Mailbox, gateway, make_port
from tests.testkit.tastytrade_world import make_port as make_rest_port
from tests.testkit.tastytrade_world import rest_broker


def test_ib_port_sends_several_legs_as_one_order_and_reads_them_back() -> None:
    with gateway() as world:
        heard = Mailbox()
        legs = condor(world.market)
        port: Any = make_port(OrdersPort, world, heard.tell)
        try:
            walk_combos(Bench(port, heard, world.clock.now_utc, world.call, 510, 450, 600), legs)
        finally:
            port.close()


def test_in_process_port_sends_several_legs_as_one_order_and_reads_them_back() -> None:
    market, time = FakeMarket(), VirtualTime()
    runtime: Any = time
    legs = condor(market)
    port = InProcessBroker("ibkr:paper", runtime, market, Exchange(market, latency_ms=1))
    contract = market.contract(market.call)
    assert contract is not None
    walk_combos(Bench(port, time, lambda: time.now, contract, 510, 450, 600), legs)


def test_port_of_a_broker_without_combinations_denies_them_and_sends_nothing() -> None:
    legs = condor(FakeMarket())
    with rest_broker() as world:
        heard = Mailbox()
        port = make_rest_port(world, heard)
        try:
            walk_refused(Bench(port, heard, world.clock.now_utc, world.call, 510, 450, 600), legs)
        finally:
            port.close()
