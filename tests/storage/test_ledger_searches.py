"""What an order waits for looks a ledger's rows up: a desk that has traded for years is as quick as a new one."""

from __future__ import annotations

from domain.instruments import Side
from domain.units import Utc
from messages.ledgers import DeskInput
from storage.desk_ledger import DeskLedger
from tests.testkit import ledger_asks as ask

LATER = Utc(ask.T0 + 1)
ONE_LIFE: tuple[DeskInput, ...] = (
    ask.reserve(1), ask.execution(1), ask.commission(), ask.position(1), ask.exit_intent(1),
    ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL), ask.commission("x.1"), ask.closed(1),
    ask.commission("x.1", cents=140),
)  # fmt: skip
# What is no table, and those that are live at once, of which there are few and which have an index of their own.
GONE_THROUGH = ("SCAN (subquery", "SCAN late", "SCAN CONSTANT ROW", "SCAN reservations USING INDEX one_live_holder")


def _said(ledger: DeskLedger, message: DeskInput) -> list[str]:
    said: list[str] = []
    ledger._db.set_trace_callback(said.append)
    ledger.apply(message, ask.T0)
    ledger._db.set_trace_callback(None)
    return [sql.lstrip() for sql in said]


def test_a_fill_is_looked_up_in_three_statements_and_its_fee_writes_nothing_into_a_held_position(
    ledger: DeskLedger,
) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    fill = _said(ledger, ask.execution(1))
    assert sum(sql.startswith("SELECT") for sql in fill) <= 3, "what is known, the order's totals, what is held"
    ledger.apply(ask.position(1), ask.T0)
    fee = _said(ledger, ask.commission())
    assert sum(sql.startswith("SELECT") for sql in fee) <= 2
    assert not any(sql.startswith("UPDATE positions") for sql in fee)


def test_no_message_of_a_positions_life_goes_through_a_whole_table(ledger: DeskLedger) -> None:
    said: list[str] = []
    ledger._db.set_trace_callback(said.append)
    for message in ONE_LIFE:
        ledger.apply(message, ask.T0)
    ledger._db.set_trace_callback(None)
    asked = [sql for sql in said if sql.startswith(("SELECT", "UPDATE", "\nSELECT"))]
    assert len(asked) > len(ONE_LIFE)
    for sql in asked:
        plan = [str(row[3]) for row in ledger._db.execute(f"EXPLAIN QUERY PLAN {sql}")]
        scans = [step for step in plan if step.startswith("SCAN") and not step.startswith(GONE_THROUGH)]
        assert scans == [], sql


def test_an_exit_is_that_of_its_own_position_where_another_intent_holds_the_contract_by_now(ledger: DeskLedger) -> None:
    for message in (ask.reserve(1), ask.execution(1), ask.position(1), ask.closed(1)):
        ledger.apply(message, ask.T0)
    ledger.apply(ask.reserve(2, con_id=1), LATER)
    ledger.apply(ask.exit_intent(1), LATER)
    rows = ledger._db.execute("SELECT intent_id FROM orders WHERE is_exit").fetchall()
    assert rows == [("i1",)]


def test_an_exit_of_a_position_without_a_row_is_that_of_the_contracts_holder(ledger: DeskLedger) -> None:
    for message in (ask.reserve(1), ask.execution(1), ask.closed(1), ask.reserve(2, con_id=1)):
        ledger.apply(message, ask.T0)
    ledger.apply(ask.exit_intent(2, con_id=1, order_ref=ask.ref(2, "x1")), LATER)
    rows = ledger._db.execute("SELECT intent_id FROM orders WHERE is_exit").fetchall()
    assert rows == [("i2",)]
