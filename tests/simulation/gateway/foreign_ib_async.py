"""An unmodified ib_async against a gateway: run as `python foreign_ib_async.py PORT`; exit code 0 if all held."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from ib_async import IB, ComboLeg, Contract, LimitOrder, Option, StopLimitOrder


async def until(ib: Any, condition: Callable[[], object]) -> None:
    """Wait until a condition holds, looked at whenever a packet was handled."""

    async def watch() -> None:
        while not condition():
            await ib.updateEvent

    await asyncio.wait_for(watch(), 60)


async def connect(port: int) -> Any:
    """Connect with client id 21; a group that does not synchronise is an error."""
    ib = IB()
    await ib.connectAsync("127.0.0.1", port, clientId=21, timeout=30, raiseSyncErrors=True)
    return ib


async def main(port: int) -> None:
    """Qualify, quote, fill, modify, cancel, reconnect, read back and modify what was read back."""
    ib = await connect(port)
    assert ib.client.serverVersion() == 178
    wish = Option("SPX", "20261120", 6000, "C", "SMART", "100", "USD", tradingClass="SPXW")
    (contract,) = await ib.qualifyContractsAsync(wish)
    ticker = ib.reqMktData(contract)
    await until(ib, lambda: ticker.modelGreeks)
    filled = ib.placeOrder(contract, LimitOrder("BUY", 1, ticker.ask, tif="DAY", orderRef="mine"))
    await until(ib, filled.isDone)
    assert filled.orderStatus.status == "Filled"
    order = LimitOrder("BUY", 1, 4.0, tif="DAY")
    trade = ib.placeOrder(contract, order)
    await until(ib, lambda: trade.orderStatus.status == "Submitted")
    order.lmtPrice = 4.2
    ib.placeOrder(contract, order)
    await until(ib, lambda: trade.log[-1].message == "Modified")
    ib.cancelOrder(order)
    await until(ib, trade.isDone)
    assert trade.orderStatus.status == "Cancelled"
    resting = ib.placeOrder(contract, LimitOrder("BUY", 1, 4.0, tif="DAY"))
    await until(ib, lambda: resting.orderStatus.status == "Submitted")
    ib.disconnect()
    again = await connect(port)
    (fill,) = again.fills()
    assert fill.execution.execId == filled.fills[0].execution.execId
    assert fill.commissionReport.commission > 0
    assert [p.position for p in again.positions()] == [1.0]
    (found,) = again.openTrades()
    assert found.order.permId == resting.order.permId
    found.order.lmtPrice = ticker.ask
    again.placeOrder(found.contract, found.order)
    await until(again, found.isDone)
    done = await again.reqCompletedOrdersAsync(False)
    assert [t.orderStatus.status for t in done] == ["Filled", "Cancelled", "Filled"]
    await links_and_legs(again, contract, ticker.ask)
    again.disconnect()


async def links_and_legs(ib: Any, call: Any, ask: float) -> None:
    """Send a bracket with a stop-limit, then a straddle as one order, and read both back."""
    first = ib.client.getReqId()
    children = {"parentId": first, "tif": "DAY"}
    entry = ib.placeOrder(call, LimitOrder("BUY", 1, 4.0, orderId=first, tif="DAY", transmit=False))
    target = ib.placeOrder(call, LimitOrder("SELL", 1, 9.0, orderId=first + 1, transmit=False, **children))
    stop = ib.placeOrder(call, StopLimitOrder("SELL", 1, 3.0, 3.2, orderId=first + 2, **children))
    await until(ib, lambda: entry.orderStatus.status == "Submitted" and stop.orderStatus.status == "PreSubmitted")
    found = {t.order.orderId: t.order for t in await ib.reqAllOpenOrdersAsync()}
    assert (found[first + 1].parentId, found[first + 2].orderType) == (first, "STP LMT")
    ib.cancelOrder(entry.order)
    await until(ib, lambda: target.isDone() and stop.isDone())
    (put,) = await ib.qualifyContractsAsync(Option("SPX", "20261120", 6000, "P", "SMART", tradingClass="SPXW"))
    legs = [ComboLeg(conId=leg.conId, ratio=1, action="BUY", exchange="SMART") for leg in (call, put)]
    straddle = Contract(symbol="SPX", secType="BAG", exchange="SMART", currency="USD", comboLegs=legs)
    resting = ib.placeOrder(straddle, LimitOrder("BUY", 1, 1.0, tif="DAY"))
    await until(ib, lambda: resting.orderStatus.status == "Submitted")
    (read,) = [t for t in await ib.reqAllOpenOrdersAsync() if t.order.orderId == resting.order.orderId]
    assert [leg.conId for leg in read.contract.comboLegs] == [call.conId, put.conId]
    resting.order.lmtPrice = ask + 9.0
    ib.placeOrder(straddle, resting.order)
    await until(ib, lambda: resting.isDone() and len(resting.fills) == 3)
    assert resting.filled() == 1.0
    assert len(await ib.reqCompletedOrdersAsync(False)) == 7


asyncio.run(main(int(sys.argv[1])))
