"""The judge of `kill_nine` names each thing that must not be, and nothing on a day that is right."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from actors.notifier import kill_text
from benchmarks.book_judge import Verdict, judge
from benchmarks.kill_nine import raised_levels
from domain.instruments import OrderType, Side
from domain.risk.kill import KillLevel
from domain.units import Cents, Qty, Ticks, Utc
from messages.risk import KillLowered, KillRaised
from simulation.broker.events import Commission, Execution
from simulation.broker.kept import Entry
from simulation.broker.orders import IBStatus, Order
from simulation.broker.portfolio import Position
from simulation.broker.working import Working

CON, START = 77, Cents(1_000_000)


def order(n: int, ref: str, side: Side, client: int = 11) -> Order:
    return Order(CON, side, Qty(2), OrderType.LIMIT, client, n, Ticks(100), order_ref=ref, perm_id=n)


def put(of: Order, status: IBStatus) -> Working:
    return Working(of, status, Utc(0), [], Utc(0))


def entry(*orders: Working, cash: int = START, held: Qty | None = None, **more: Any) -> Entry:
    positions = () if held is None else (Position(CON, held),)
    return Entry(Utc(0), Cents(cash), orders, positions=positions, **more)


def filled(of: Order, n: int) -> tuple[Execution, Commission]:
    execution = Execution(f"0001.{n:04}.01.01", of, Qty(2), Ticks(100), Qty(2), 200, Utc(0))
    return execution, Commission(execution.exec_id, of, Cents(130), None)


BUY, SELL = order(1, "ZH-paper-AAAA-e", Side.BUY), order(2, "ZH-paper-AAAA-x1", Side.SELL)
SELL_AGAIN = order(3, "ZH-paper-AAAA-x2", Side.SELL)
DAY = [
    entry(put(BUY, IBStatus.SUBMITTED)),
    entry(put(BUY, IBStatus.FILLED), cash=START - 20_130, held=Qty(2), executions=(filled(BUY, 1),)),
    entry(put(SELL, IBStatus.SUBMITTED), cash=START - 20_130),
    entry(put(SELL, IBStatus.FILLED), cash=START - 260, held=Qty(0), executions=(filled(SELL, 2),)),
    entry(cash=START - 260, held_at_close=()),
]
ROWS: list[dict[str, Any]] = [
    {"exec_id": f"0001.{n:04}.01", "side": side, "qty": 2, "price_ticks": 100, "fee_cents": 130}
    for n, side in ((1, "BUY"), (2, "SELL"))
]
TRADES = [{"realised_cents": -260}]


def found(entries: list[Entry], rows: list[dict[str, Any]], trades: list[dict[str, Any]]) -> dict[str, int]:
    return {name: n for name, n in judge(entries, rows, trades, START).faults.items() if n}


def test_a_day_that_is_right_has_no_fault() -> None:
    verdict = judge(DAY, ROWS, TRADES, START)
    assert (verdict.orders, verdict.executions, verdict.broker_cents) == (2, 2, -260)
    assert found(DAY, ROWS, TRADES) == {}
    assert not any(Verdict().faults.values())


def test_executions_that_the_ledger_lost_invented_doubled_or_misread_are_counted() -> None:
    assert found(DAY, ROWS[:1], TRADES) == {"executions lost": 1}
    assert found(DAY, [*ROWS, ROWS[0] | {"exec_id": "none"}], TRADES) == {"executions invented": 1}
    assert found(DAY, [*ROWS, ROWS[1]], TRADES) == {"executions doubled": 1}
    wrong = [ROWS[0], ROWS[1] | {"fee_cents": 129}]
    assert found(DAY, wrong, TRADES) == {"executions with another side, quantity, price or fee": 1}


def test_a_cent_between_broker_and_ledger_is_counted() -> None:
    assert found(DAY, ROWS, [{"realised_cents": -259}]) == {"cents between broker and ledger": 1}


def test_an_order_sent_twice_is_counted_also_where_it_never_filled() -> None:
    twin = replace(BUY, order_id=9, perm_id=9)
    after = [*DAY[:1], entry(put(twin, IBStatus.SUBMITTED)), entry(put(twin, IBStatus.CANCELLED)), *DAY[1:]]
    assert found(after, ROWS, TRADES) == {"orders sent twice": 1, "two live orders of an intent": 1}


def test_two_live_exits_are_counted_and_one_after_the_other_are_not() -> None:
    live, over = put(SELL_AGAIN, IBStatus.SUBMITTED), put(SELL_AGAIN, IBStatus.CANCELLED)
    both = [*DAY[:3], entry(live), entry(over), *DAY[3:]]
    assert found(both, ROWS, TRADES) == {"two live orders of an intent": 1, "two live exits of a contract": 1}
    before = [*DAY[:2], entry(live), entry(over), *DAY[2:]]
    assert found(before, ROWS, TRADES) == {}


def test_what_works_or_is_held_at_the_close_and_shorts_are_counted() -> None:
    late = order(4, "ZH-paper-BBBB-e", Side.BUY)
    works = [*DAY[:4], entry(put(late, IBStatus.SUBMITTED)), entry(put(late, IBStatus.CANCELLED), held_at_close=())]
    assert found([*works[:5], replace(works[5], cash_cents=Cents(START - 260))], ROWS, TRADES) == {
        "orders working at the close": 1
    }
    held = [*DAY[:4], replace(DAY[4], held_at_close=(Position(CON, Qty(2)),))]
    assert found(held, ROWS, TRADES) == {"contracts held at the close": 1}
    short = [*DAY[:4], entry(cash=START - 260, held=Qty(-1)), DAY[4]]
    assert found(short, ROWS, TRADES) == {"short positions": 1}


def test_a_level_that_a_restart_has_found_in_force_is_not_counted_as_raised() -> None:
    def line(level: KillLevel, *, is_restored: bool = False) -> str:
        raised = KillRaised(level=level, kill_epoch=2, reason="VIX is up", by="risk", is_restored=is_restored)
        return f"10:00:00 {kill_text(raised)}"

    first = line(KillLevel.NO_ENTRIES)
    lowered = KillLowered(level=KillLevel.RUNNING, kill_epoch=3, reason="over", by="cli")
    start = "Kill level 1 since 10:00:00 New York, by risk: VIX is up."
    printed = [first, line(KillLevel.NO_ENTRIES, is_restored=True), f"10:01:00 {kill_text(lowered)}", start]
    assert raised_levels(printed) == [first]
