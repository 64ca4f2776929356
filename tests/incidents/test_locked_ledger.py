"""A desk's ledger locked by another program for 15 s with an order under way.

The ledger's actor crashed six times, the supervisor ended the process while the broker filled, and the report said that
nothing was held; the fill was adopted 67 minutes later.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.desk_ledger import DeskLedgerActor
from domain.instants import SECOND
from domain.instruments import Side
from domain.units import Utc
from messages import operator, orders, risk
from messages.base import Message
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from supervision.spec import ChildSpec, Policy
from supervision.stepped import SteppedRuntime
from tests.testkit import ledger_asks as ask
from tests.testkit.toys import Collector, stepped, toy_tree

POSITION = "position:paper:1"


@dataclass
class Desk:
    """A desk's ledger under the real supervisor, with everybody else it tells something."""

    runtime: SteppedRuntime
    heard: dict[str, list[Message]]
    alarms: list[operator.Alarm]
    folder: Path

    def tell(self, *messages: Message) -> None:
        for message in messages:
            self.runtime.post("ledger:paper", message, "test")
        self.runtime.run_until(self.runtime.clock.now_utc())

    def run_to_s(self, second: float) -> None:
        self.runtime.run_until(Utc(round(second * SECOND)))

    def fills(self) -> list[tuple[str, bool]]:
        return [(m.exec_id, m.is_durable) for m in self.heard[POSITION] if isinstance(m, orders.FillRecorded)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = DeskLedger(tmp_path, "paper", run_n=1)
    heard: dict[str, list[Message]] = {name: [] for name in (POSITION, "risk:paper", "ibkr:paper", "kill")}
    tree = toy_tree(
        ChildSpec(
            "ledger:paper", lambda: DeskLedgerActor("ledger:paper", store), policy=Policy(end_on_spent_budget=True)
        ),
        *(ChildSpec(name, functools.partial(Collector, name, kept)) for name, kept in heard.items()),
        log=[],
    )
    runtime = stepped(tree)
    yield Desk(runtime, heard, tree.heard["notifier"], tmp_path)
    store.close()


def test_the_process_goes_on_and_every_fill_reaches_its_position_and_is_recorded_once_in_order(desk: Desk) -> None:
    desk.tell(ask.reserve())
    other = sqlite3.connect(desk.folder / "paper.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sold = ask.execution(exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL)
    desk.tell(ask.execution(exec_id="e.1", qty=1))
    desk.run_to_s(5)
    desk.tell(ask.execution(exec_id="e.2", qty=1), ask.exit_intent(), sold, ask.execution(exec_id="e.1", qty=1))
    assert desk.fills() == [("e.1", False), ("e.2", False), ("x.1", False), ("e.1", False)]
    desk.run_to_s(15)
    assert [row["state"] for row in LedgerReader(desk.folder, "paper").held()] == ["PENDING_ENTRY"], "unknown, not none"
    other.execute("ROLLBACK")
    desk.run_to_s(18)
    assert desk.fills()[4:] == [("e.1", True), ("e.2", True), ("x.1", True), ("e.1", True)]
    assert other.execute("SELECT exec_id FROM executions ORDER BY rowid").fetchall() == [("e.1",), ("e.2",), ("x.1",)]
    assert desk.runtime.ended is None
    assert desk.runtime.cells["ledger:paper"].crashes == 0
    assert [type(message) for message in desk.heard["kill"]] == [risk.RaiseKill], "level 1, once"
    assert [alarm.key for alarm in desk.alarms] == ["outage:ledger:paper"] * 2, "that it began, and that it is over"
    other.close()


def test_a_short_lock_passes_without_a_word_to_people(desk: Desk) -> None:
    desk.tell(ask.reserve())
    other = sqlite3.connect(desk.folder / "paper.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    desk.tell(ask.execution())
    desk.run_to_s(1)
    other.execute("ROLLBACK")
    desk.run_to_s(3)
    other.close()
    assert desk.fills() == [("00e1.1", False), ("00e1.1", True)]
    assert desk.alarms == []
    assert desk.heard["kill"] == []


def test_messages_that_no_ledger_can_keep_never_spend_the_budget_of_the_process(desk: Desk) -> None:
    """Row 16 of the data cases: six crashes of the ledger on an exit's own record ended the process."""
    desk.tell(ask.reserve(), ask.execution())
    desk.tell(*(ask.exit_intent(9) for _ in range(20)))
    desk.tell(ask.execution(exec_id="late", qty=1))
    assert desk.runtime.ended is None
    assert desk.runtime.cells["ledger:paper"].crashes == 0
    assert desk.fills()[-1] == ("late", True)
    assert {alarm.key for alarm in desk.alarms} == {"set_aside:ledger:paper"}
