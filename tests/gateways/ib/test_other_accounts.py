"""A login with several accounts: the desk trades its own, and of the others nothing reaches it, kind by kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from config.tree import Gateway
from domain.orders.table import CodeMeaning
from domain.session.modes import account_key
from gateways.ib.library import Option
from gateways.ib.orders_port import OrdersPort
from messages import broker
from messages.base import Message
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.gateway_world import limit, new_client, until
from tests.testkit.ibkr_world import EPOCH, Mailbox, World, gateway, orders_port, place, rules

OURS, THEIRS, NOBODYS = "DU1234567", "DU7654321", "DU0000000"
ENTRY = "ZH-paper-a-e"
OUR_CLIENT_ID, A_CLIENT_ID = 11, 33


def traded_elsewhere(world: World, client_id: int = A_CLIENT_ID) -> None:
    """Have another program fill an order, cancel one and leave one working, all in the other account."""

    async def scenario() -> None:
        ib = new_client()
        await ib.connectAsync("127.0.0.1", world.port, clientId=client_id, timeout=30)
        wish = Option("SPX", "20261120", 6000.0, "C", "SMART", "100", "USD", tradingClass="SPXW")
        (contract,) = await ib.qualifyContractsAsync(wish)
        filled = ib.placeOrder(contract, limit("BUY", 1, 5.1, account=THEIRS))
        await until(ib, lambda: filled.isDone() and filled.fills[0].commissionReport.execId)
        working = [ib.placeOrder(contract, limit("BUY", 1, price, account=THEIRS)) for price in (4.0, 4.1)]
        await until(ib, lambda: all(t.orderStatus.status == "Submitted" for t in working))
        ib.cancelOrder(working[0].order)
        await until(ib, working[0].isDone)
        ib.disconnect()

    asyncio.run(scenario())


def read_back(port: OrdersPort, mailbox: Mailbox, read_n: int) -> broker.BrokerRead:
    port.post(broker.ReadBack(session_epoch=EPOCH, read_n=read_n))
    return mailbox.wait(broker.BrokerRead, lambda read: read.read_n == read_n)


@contextmanager
def desk(**more: Any) -> Iterator[tuple[World, OrdersPort, Mailbox]]:
    """Run a desk on the first account of a login with two."""
    with gateway(others=(THEIRS,)) as world, orders_port(world, **more) as (port, mailbox):
        yield world, port, mailbox


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.ib.link.FOREIGN_PAUSE_S", 0.0)


KINDS: tuple[type[Message], ...] = (
    broker.ExecutionReported, broker.CommissionReported, broker.OrderStatusReported, broker.PositionReported,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_happens_in_another_account_is_told_as_it_happens(kind: type[Message]) -> None:
    with desk() as (world, port, mailbox):
        traded_elsewhere(world)
        read_back(port, mailbox, 1)  # whatever was sent before has come by now
        assert mailbox.of(kind) == []
        told = mailbox.wait(broker.ErrorReported, lambda fact: "other accounts" in fact.text)
        assert told.meaning is CodeMeaning.INFORMATIONAL


@pytest.mark.parametrize("client_id", [OUR_CLIENT_ID, A_CLIENT_ID])
def test_nothing_of_another_account_is_read_back_even_where_our_client_id_made_it(client_id: int) -> None:
    with gateway(others=(THEIRS,)) as world:
        traded_elsewhere(world, client_id)
        with orders_port(world) as (port, mailbox):
            read = read_back(port, mailbox, 1)
            assert read.is_complete
            assert (read.orders, read.positions, read.executions) == ((), (), ())
            for kind in KINDS:
                assert mailbox.of(kind) == []
            assert mailbox.of(broker.PortFaulted) == []
            port.post(place(world))
            assert mailbox.wait(broker.ExecutionReported).execution.order_ref == ENTRY


def test_values_are_those_of_our_account_while_another_one_is_followed_and_trades() -> None:
    with desk() as (world, _, mailbox):
        own_cents = mailbox.wait(broker.AccountRead).nav_cents
        assert own_cents == world.exchange.account_values()["NetLiquidation"]
        traded_elsewhere(world)
        world.inject(Fault(FaultKind.OTHER_ACCOUNT, duration_s=60.0, args={"account": THEIRS}))
        mailbox.heard.clear()
        assert mailbox.wait(broker.AccountRead).nav_cents == own_cents


def test_the_account_that_is_configured_is_traded_though_it_is_not_the_first() -> None:
    with desk(account=THEIRS) as (world, port, mailbox):
        assert mailbox.wait(broker.LinkUp).account_matches
        port.post(place(world))
        fill = mailbox.wait(broker.ExecutionReported).execution
        assert fill.order_ref == ENTRY
        assert [p.qty for p in world.others[0].positions()] == [2]
        assert world.exchange.positions() == []
        assert mailbox.wait(broker.PositionReported).qty == 2


def test_the_account_of_the_ledger_is_traded_after_a_restart_though_it_is_not_the_first() -> None:
    with desk(account_key=account_key(THEIRS)) as (world, port, mailbox):
        link = mailbox.wait(broker.LinkUp)
        assert (link.account_matches, link.account_key) == (True, account_key(THEIRS))
        port.post(place(world))
        mailbox.wait(broker.ExecutionReported)
        assert [p.qty for p in world.others[0].positions()] == [2]


def test_a_login_without_the_account_of_the_ledger_is_not_taken_for_it() -> None:
    with desk(account_key=account_key(NOBODYS)) as (_, _, mailbox):
        link = mailbox.wait(broker.LinkUp)
        assert (link.account_matches, link.account_key) == (False, "")


def test_an_account_that_the_login_does_not_have_is_not_taken_for_another() -> None:
    with desk(account=NOBODYS) as (_, _, mailbox):
        assert not mailbox.wait(broker.LinkUp).account_matches


@contextmanager
def two_gateways(first: World, second: World) -> Iterator[tuple[OrdersPort, Mailbox]]:
    """Run a port without a configured account, connected to the first of two gateways and then to the second."""
    mailbox = Mailbox()
    port = OrdersPort(
        "port:ibkr:paper", gateways=(Gateway("127.0.0.1", first.port), Gateway("127.0.0.1", second.port)),
        client_id=OUR_CLIENT_ID, rules=rules(), clock=first.clock, tell=mailbox.tell,
    )  # fmt: skip
    port.start()
    try:
        port.post(broker.Dial(session_epoch=EPOCH, gateway_n=0))
        assert mailbox.wait(broker.LinkUp).account_matches
        port.post(broker.Dial(session_epoch=EPOCH + 1, gateway_n=1))
        yield port, mailbox
    finally:
        port.close()


@contextmanager
def login(account: str, *others: str) -> Iterator[World]:
    """Run a gateway whose login has these accounts."""
    world = World(account=account, others=others)
    try:
        yield world
    finally:
        world.close()


def test_another_paper_account_after_a_reconnect_is_not_taken_for_the_desks() -> None:
    with login(OURS) as first, login(THEIRS) as second, two_gateways(first, second) as (_, mailbox):
        link = mailbox.wait(broker.LinkUp, lambda up: up.session_epoch == EPOCH + 1)
        assert not link.account_matches


def test_the_desks_account_stays_its_own_though_a_later_login_lists_another_one_first() -> None:
    with login(OURS) as first, login(THEIRS, OURS) as second, two_gateways(first, second) as (port, mailbox):
        assert mailbox.wait(broker.LinkUp, lambda up: up.session_epoch == EPOCH + 1).account_matches
        assert port.account == OURS
