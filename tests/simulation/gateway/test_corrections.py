"""An execution that the exchange corrects: the same id, the next revision."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from domain.instruments import OrderType, Side
from domain.units import Qty, Ticks
from simulation.broker.exchange import Exchange
from simulation.broker.kept import KeptExchange
from simulation.broker.orders import Order
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.gateway_world import CLOSE, NOON, FakeMarket, limit, until, world


def test_a_correction_comes_as_the_next_revision_and_the_book_holds_its_price() -> None:
    async def scenario() -> None:
        fault = Fault(FaultKind.EXECUTION_CORRECTED, args={"shift_ticks": 10}, duration_s=0.05)
        async with world(fault) as it:
            ib = await it.connect()
            trade = ib.placeOrder(await it.qualified(ib), limit("BUY", 1, 5.1))
            await until(ib, lambda: len(trade.fills) == 2 and trade.fills[1].commissionReport.execId)
            first, second = (fill.execution for fill in trade.fills)
            assert (first.price, second.price, second.shares) == (5.1, 5.2, 1.0)
            assert (first.execId[:-3], first.execId[-3:], second.execId[-3:]) == (second.execId[:-3], ".01", ".02")
            cost = 520 * 100 / 100 + trade.fills[1].commissionReport.commission
            await until(ib, lambda: ib.positions()[0].avgCost == pytest.approx(cost))
            again = await it.connect(8)
            assert sorted(f.execution.execId[-3:] for f in again.fills()) == [".01", ".02"]

    asyncio.run(scenario())


@pytest.mark.parametrize("is_closed", [False, True])
def test_cash_and_profit_are_those_of_a_fill_at_the_corrected_price(is_closed: bool) -> None:
    def traded(ask: int, shift: int) -> tuple[dict[str, int], int]:
        market = FakeMarket()
        market.set(market.call, 500, ask)
        exchange = Exchange(market, latency_ms=0)
        buy = Order(market.call, Side.BUY, Qty(1), OrderType.LIMIT, 1, 1, limit_ticks=Ticks(ask))
        bought = next(e for e in exchange.place(buy, NOON) if hasattr(e, "exec_id"))
        if is_closed:
            sell = Order(market.call, Side.SELL, Qty(1), OrderType.LIMIT, 1, 2, limit_ticks=Ticks(500))
            exchange.place(sell, NOON)
        if shift:
            exchange.correct(bought.exec_id, Ticks(shift), NOON)
        market.set(market.call, 500, 510)
        return dict(exchange.account_values()), exchange.position(market.call).cost_cents

    assert traded(510, 10) == traded(520, 0)


def test_a_correction_is_in_the_book_that_outlives_the_process(tmp_path: Path) -> None:
    market = FakeMarket()
    kept = KeptExchange(market, tmp_path / "orders.jsonl")
    kept.place(Order(market.call, Side.BUY, Qty(1), OrderType.LIMIT, 1, 1, limit_ticks=Ticks(510)), NOON)
    market.step(CLOSE - 1)
    kept.step(CLOSE - 1)
    ((execution, _),) = kept.executions()
    kept.correct(execution.exec_id, Ticks(10), CLOSE - 1)
    told, cash = kept.executions(), kept.account_values()["TotalCashValue"]
    kept.close()
    again = KeptExchange(market, tmp_path / "orders.jsonl")
    assert (again.executions(), again.account_values()["TotalCashValue"]) == (told, cash)
    state = again.state(1, 1)
    assert state is not None and state.cost_ticks == 520
    again.close()


def test_an_execution_that_is_unknown_is_not_corrected() -> None:
    assert Exchange(FakeMarket()).correct("00000001.00000001.01.01", Ticks(5), NOON) == []
