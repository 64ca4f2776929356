"""A clean stop with an entry at work, through the real port: the broker has cancelled it before the link is closed."""

from __future__ import annotations

import dataclasses
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.ibkr.state import IBKRState
from commands import live
from domain.instants import MINUTE, SECOND
from domain.instruments import OrderType, Side
from domain.orders.intent import Permit
from domain.orders.request import OrderRequest
from domain.session.modes import Mode
from gateways.ib.orders_port import OrdersPort
from main import Stores, build_tree
from messages import orders
from messages.base import Message
from simulation.gateway.faults import Fault, FaultKind
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from supervision.clock import MarketClock, Segment, real_ns
from supervision.spec import Tree
from supervision.threaded import LiveRuntime
from supervision.trace import NoTrace
from tests.testkit.ibkr_world import World, gateway, make_port, settings_for
from tests.testkit.supervisor_child import eventually

QUICK = {"warm_up_ms": 50, "retry_fast_ms": 20}
ORDER_SESSION, LEDGER = "ibkr:paper", "ledger:paper"


class Closes:
    """What a supervisor closes beside: nothing of it runs here."""

    def close(self) -> None:
        return

    release = close


class Desk:
    """The supervisor of an order session and its ledger, on their threads, with the real port."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        clock = MarketClock(Segment(real_ns(), world.clock.now_utc()))
        stores: Any = dataclasses.replace(
            Stores(*[None] * 3),
            desk_ledger=DeskLedger(folder, "paper", start_run(folder, ("paper",), clock.now_utc()), is_durable=False),
        )
        whole = build_tree(settings_for(world.port, **QUICK), stores, lambda: self.runtime.cells)
        kept = tuple(child for child in whole.children if child.name in ("supervisor", ORDER_SESSION, LEDGER))
        self.runtime = LiveRuntime(_only(whole, kept), NoTrace(clock), clock, 1)
        self.port: OrdersPort = make_port(
            OrdersPort, world, lambda to, message: self.runtime.post(to, message, "port:ibkr:paper"), **QUICK
        )
        self.heard: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.runtime.sinks |= {"port:ibkr:paper": self.port.post, "edge:owner": self.heard.put}
        self.runtime.start_tree()
        beside: dict[str, Any] = {
            field.name: Closes() for field in dataclasses.fields(live.Supervisor)
            if field.default is field.default_factory is dataclasses.MISSING
        }  # fmt: skip
        own: dict[str, Any] = {"runtime": self.runtime, "ports": (self.port,), "desk": "paper"}
        self.supervisor = live.Supervisor(**(beside | own))

    def live_with_an_entry(self) -> None:
        """Come live, and have an entry acknowledged whose limit nobody sells at."""
        eventually(lambda: self.state().mode is Mode.FULLY_LIVE)
        deadline_utc = self.world.clock.now_utc() + MINUTE
        order = OrderRequest(
            order_ref="ZH-paper-aaaaaaaaaaaa-e", contract=self.world.call, side=Side.BUY, qty=2,
            order_type=OrderType.LIMIT, limit_ticks=450, is_exit=False, deadline_utc=deadline_utc,
            good_till_utc=deadline_utc - deadline_utc % SECOND + SECOND,
        )  # fmt: skip
        permit = Permit(0, self.state().session_epoch, deadline_utc)
        self.runtime.post(
            ORDER_SESSION,
            orders.SubmitOrder(order=order, reply_to="edge:owner", permit=permit, held_qty=0),
            "edge:owner",
        )
        while not isinstance(self.heard.get(timeout=60.0), orders.OrderAcknowledged):
            pass
        assert len(self.at_work()) == 1

    def state(self) -> IBKRState:
        state = self.runtime.cells[ORDER_SESSION].state
        return state if isinstance(state, IBKRState) else IBKRState()

    def at_work(self) -> list[Any]:
        return list(self.world.do(self.world.exchange.open_orders))


def _only(whole: Tree, children: Any) -> Tree:
    """Return the tree with some of its children, heard by nobody else."""
    return dataclasses.replace(whole, children=children, subscribers={}, on_halt=lambda _: (), rosters=())


@contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    with gateway() as world:
        it = Desk(world, folder)
        try:
            yield it
        finally:
            it.runtime.stop()
            it.port.close()


def test_a_clean_stop_leaves_no_entry_at_work_at_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WITHDRAW_S", 60.0)
    with desk(tmp_path) as d:
        d.live_with_an_entry()
        assert d.supervisor.close()
        assert d.at_work() == []
        assert d.world.do(lambda: d.world.exchange.position(d.world.call.con_id).qty) == 0
        (gone,) = d.world.do(d.world.exchange.completed)
        assert gone.status == "Cancelled"


@pytest.mark.slow
def test_a_clean_stop_whose_cancel_the_broker_never_confirms_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "WITHDRAW_S", 0.5)
    with desk(tmp_path) as d:
        d.live_with_an_entry()
        d.world.inject(Fault(FaultKind.DROP_HALF_OPEN, duration_s=3_600.0))
        assert not d.supervisor.close()
        assert len(d.at_work()) == 1
