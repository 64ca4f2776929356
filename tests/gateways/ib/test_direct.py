"""The flatten that needs no actor, against the simulated gateway."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from config.tree import Gateway
from domain.instants import MINUTE, at_exchange
from domain.instruments import Side
from domain.orders.table import OrderStatus
from domain.session.modes import account_key
from domain.units import Qty
from gateways import direct
from gateways.direct import DirectError, Outcome
from gateways.direct import flatten as flatten_at
from gateways.ib.direct import ib_way
from gateways.ib.orders_port import OrdersPort
from messages import broker
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.gateway_world import SESSION
from tests.testkit.ibkr_world import Mailbox, RealClock, World, gateway, orders_port, place, rules

DIRECT_ID = 90
PATIENT_S = 5.0


def flatten(world: World, owned: dict[int, int], wait_s: float = PATIENT_S, **more: Any) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    found: dict[int, Any] = dict(owned)
    way = way_of(world, (Gateway("127.0.0.1", world.port),))._replace(wait_s=wait_s)
    return flatten_at(way, found, clock=world.clock, say=said.append, **more), said


def way_of(world: World, gateways: tuple[Gateway, ...], account: str | None = None, key: str = "") -> direct.Way:
    fast = rules(heartbeat_every_ms=100)
    return ib_way(gateways, DIRECT_ID, account, rules=fast, clock=world.clock, account_key=key)._replace(
        wait_s=PATIENT_S
    )


@contextmanager
def held(world: World, qty: int = 2) -> Iterator[tuple[OrdersPort, Mailbox]]:
    """A desk that has bought calls and then lost its supervisor; its orders stay at the broker."""
    with orders_port(world) as (port, mailbox):
        port.post(place(world, qty=qty))
        mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        yield port, mailbox


def is_filled(order_ref: str, fact: broker.OrderStatusReported) -> bool:
    return fact.status is OrderStatus.FILLED and fact.order_ref == order_ref


def position(world: World) -> int:
    return int(world.do(lambda: world.exchange.position(world.call.con_id).qty))


def test_what_our_ledgers_own_is_sold_at_market_once_however_often_it_runs() -> None:
    with gateway() as world:
        with held(world):
            pass
        outcome, said = flatten(world, {world.call.con_id: 2})
        assert outcome == Outcome({world.call.con_id: Qty(2)}, {}, ())
        assert outcome.is_flat
        assert position(world) == 0
        assert any("sold 2 at 5.00" in line for line in said), said
        again, said = flatten(world, {world.call.con_id: 2})
        assert (again.sold, again.is_flat, position(world)) == ({}, True, 0)
        assert any("nothing of ours" in line for line in said)


@pytest.mark.parametrize(("owned", "left"), [(1, 1), (5, 0), (0, 2)])
def test_never_more_is_sold_than_the_ledgers_own_and_the_broker_holds(owned: int, left: int) -> None:
    with gateway() as world:
        with held(world):
            pass
        for _ in range(2):  # what is not ours is still there after a second run
            flatten(world, {world.call.con_id: owned})
            assert position(world) == left


def test_what_our_ledgers_sold_to_open_is_bought_back_once_and_no_more_than_they_sold() -> None:
    with gateway() as world:
        rich = 1_000_000_000  # what the margin of short calls asks for
        world.do(lambda: setattr(world.exchange._account.portfolio, "cash_cents", rich))
        with orders_port(world) as (port, mailbox):
            port.post(place(world, qty=3, side=Side.SELL, limit_ticks=400))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        assert position(world) == -3
        outcome, said = flatten(world, {world.call.con_id: -2})
        assert (outcome.is_flat, position(world)) == (True, -1)
        assert outcome.bought == {world.call.con_id: Qty(2)}
        assert any("bought back 2 at 5.10" in line for line in said), said
        again, said = flatten(world, {world.call.con_id: -2})
        assert (again.left, position(world)) == ({world.call.con_id: Qty(-1)}, -1), "whose that is, a person must say"
        assert any("-1 at the broker beyond what an earlier flatten closed" in line for line in said)


def test_what_was_bought_again_is_left_to_a_person_also_where_something_else_is_sold() -> None:
    with gateway() as world:
        other = world.market.contract(world.market.put)
        with held(world):
            pass
        owned = {world.call.con_id: 2, other.con_id: 2}
        assert flatten(world, owned)[0].is_flat
        with orders_port(world) as (port, mailbox):
            for n, contract in enumerate((world.call, other)):
                port.post(place(world, f"ZH-paper-again{n}-e", contract=contract))
            for ref in ("ZH-paper-again0-e", "ZH-paper-again1-e"):
                mailbox.wait(broker.OrderStatusReported, partial(is_filled, ref))
        outcome, _ = flatten(world, owned)
        assert (outcome.sold, outcome.left) == ({other.con_id: 2}, {world.call.con_id: 2})
        assert not outcome.is_flat


def test_what_was_bought_again_after_a_direct_flatten_is_sold_by_the_next_one() -> None:
    with gateway() as world:
        owned = {world.call.con_id: 2}
        with held(world):
            pass
        assert flatten(world, owned)[0].is_flat
        booked = {execution.exec_id.rpartition(".")[0] for execution, _ in world.do(world.exchange.executions)}
        with orders_port(world) as (port, mailbox):
            port.post(place(world, "ZH-paper-second-e", qty=2))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        unknown, _ = flatten(world, owned)
        assert (unknown.is_flat, position(world)) == (False, 2), "while the ledgers know nothing of the first one"
        outcome, _ = flatten(world, owned, booked=booked)
        assert (outcome.sold, outcome.is_flat, position(world)) == (owned, True, 0)


def test_what_covers_is_kept_while_a_short_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with gateway() as world:
        put = world.market.contract(world.market.put)
        short = next(iter(world.market.contracts("SPY")))
        assert short.right is world.call.right
        world.market.set(short.con_id, 50, 51)
        world.do(lambda: setattr(world.exchange._account.portfolio, "cash_cents", 1_000_000_000))
        with held(world) as (port, mailbox):
            port.post(place(world, "ZH-paper-put-e", contract=put))
            port.post(place(world, "ZH-paper-short-e", contract=short, side=Side.SELL, qty=1, limit_ticks=40))
            for ref in ("ZH-paper-put-e", "ZH-paper-short-e"):
                mailbox.wait(broker.OrderStatusReported, partial(is_filled, ref))
        monkeypatch.setattr(direct, "_buy_back", lambda *_: {short.con_id: Qty(-1)})
        outcome, said = flatten(world, {world.call.con_id: 2, put.con_id: 2, short.con_id: -1})
        assert outcome.sold == {put.con_id: 2}, "a put covers no call"
        assert (outcome.left, position(world)) == ({world.call.con_id: 2, short.con_id: -1}, 2)
        assert any(f"what may cover them is kept ({world.call.label})" in line for line in said)


def test_what_stands_in_no_ledger_is_left_alone() -> None:
    with gateway() as world:
        with held(world):
            pass
        outcome, _ = flatten(world, {})
        assert (outcome.sold, position(world)) == ({}, 2)


def test_orders_of_the_desk_are_ended_by_the_global_cancel_before_anything_is_sold() -> None:
    with gateway() as world:
        with held(world) as (port, mailbox):
            port.post(place(world, "ZH-paper-a-x1", side=Side.SELL, limit_ticks=900, is_exit=True))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-a-x1" and f.perm_id > 0)
        outcome, said = flatten(world, {world.call.con_id: 2})
        assert outcome.is_flat
        assert position(world) == 0
        assert world.do(world.exchange.open_orders) == []
        assert any("cancelling 1 orders" in line for line in said)


def test_nothing_is_sold_beside_an_order_that_would_not_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    with gateway() as world:
        with held(world) as (port, mailbox):
            port.post(place(world, "ZH-paper-a-x1", side=Side.SELL, limit_ticks=900, is_exit=True))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-a-x1" and f.perm_id > 0)
        monkeypatch.setattr(world.exchange, "cancel_all", lambda _: [])
        outcome, said = flatten(world, {world.call.con_id: 2}, wait_s=0.1)
        assert (outcome.sold, outcome.working, outcome.is_flat) == ({}, ("ZH-paper-a-x1",), False)
        assert position(world) == 2
        assert any("could sell twice" in line for line in said)


@pytest.mark.parametrize("clock", [time(9, 29), time(16, 1)])
def test_outside_regular_hours_by_the_brokers_clock_orders_are_cancelled_and_nothing_is_sold(clock: time) -> None:
    with gateway() as world:
        with held(world) as (port, mailbox):
            port.post(place(world, "ZH-paper-b-e", limit_ticks=450))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-b-e" and f.perm_id > 0)
        at_s = at_exchange(SESSION, clock) // 1_000_000_000
        world.inject(Fault(FaultKind.FIELD, duration_s=60, args={"field": "time.seconds", "value": str(at_s)}))
        outcome, said = flatten(world, {world.call.con_id: 2})
        assert (outcome.left, outcome.is_flat) == ({world.call.con_id: 2}, False)
        assert "regular hours" in outcome.why
        assert world.do(world.exchange.open_orders) == []
        assert position(world) == 2
        assert any("nothing is sold" in line for line in said)


def test_a_refusal_of_the_broker_is_told_in_its_words_and_what_is_left_is_named() -> None:
    with gateway(Fault(FaultKind.ORDER_REJECTED, after_n=1, args={"text": "margin"})) as world:
        with held(world):
            pass
        outcome, said = flatten(world, {world.call.con_id: 2}, wait_s=0.3)
        assert (outcome.left, outcome.is_flat) == ({world.call.con_id: 2}, False)
        assert any("margin" in line for line in said)
        assert any("2 still held" in line for line in said)


def test_no_gateway_is_one_sentence_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody: Any = SimpleNamespace(port=taken.getsockname()[1], clock=RealClock())
        with pytest.raises(DirectError, match=r"no gateway answers .* by hand"):
            flatten(nobody, {})


def test_another_account_than_the_configured_one_is_left_alone() -> None:
    with gateway() as world, pytest.raises(DirectError, match="not the configured one"):
        way = way_of(world, (Gateway("127.0.0.1", world.port),), "DU0000001")
        flatten_at(way, {}, clock=world.clock, say=lambda _: None)


def test_another_account_than_that_of_the_ledgers_is_left_alone() -> None:
    with gateway() as world, pytest.raises(DirectError, match="not that of our ledgers"):
        way = way_of(world, (Gateway("127.0.0.1", world.port),), key=account_key("DU0000001"))
        flatten_at(way, {}, clock=world.clock, say=lambda _: None)


def test_orders_that_cannot_be_read_end_it_with_a_reason_instead_of_an_empty_answer() -> None:
    with gateway(Fault(FaultKind.READ_ONLY, duration_s=60)) as world, pytest.raises(DirectError, match="Read-Only"):
        flatten(world, {world.call.con_id: 2})


def test_a_gateway_that_is_not_the_first_is_found() -> None:
    with socket.socket() as taken, gateway() as world:
        taken.bind(("127.0.0.1", 0))
        with held(world):
            pass
        addresses = (Gateway("127.0.0.1", taken.getsockname()[1]), Gateway("127.0.0.1", world.port))
        way, owned = way_of(world, addresses), {world.call.con_id: Qty(2)}
        outcome = flatten_at(way, owned, clock=world.clock, say=lambda _: None)
        assert outcome.is_flat
        assert world.clock.now_utc() < at_exchange(SESSION, time(12)) + MINUTE
