"""IB's own old client against a gateway: run as `python foreign_ibapi.py PORT`; exit code 0 if all held."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from ibapi.client import EClient
from ibapi.contract import ComboLeg, Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.wrapper import EWrapper

HEARD = [
    "nextValidId",
    "managedAccounts",
    "error",
    "contractDetails",
    "contractDetailsEnd",
    "tickPrice",
    "marketRule",
    "tickOptionComputation",
    "openOrder",
    "orderStatus",
    "execDetails",
    "execDetailsEnd",
    "commissionReport",
    "position",
    "positionEnd",
    "completedOrder",
    "completedOrdersEnd",
    "accountDownloadEnd",
    "accountSummaryEnd",
    "securityDefinitionOptionParameterEnd",
    "currentTime",
]


class App(EWrapper, EClient):  # type: ignore[misc]
    """Collects what it hears."""

    def __init__(self, port: int) -> None:
        EClient.__init__(self, self)
        self._changed = threading.Condition()
        self.heard: dict[str, list[tuple[Any, ...]]] = {name: [] for name in HEARD}
        for name in HEARD:
            setattr(self, name, self._listener(name))
        self.connect("127.0.0.1", port, 31)
        threading.Thread(target=self.run, daemon=True).start()
        self.until(lambda: self.heard["nextValidId"])

    def _listener(self, name: str) -> Callable[..., None]:
        def listen(*args: Any) -> None:
            with self._changed:
                self.heard[name].append(args)
                self._changed.notify_all()

        return listen

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition on what was heard holds."""
        with self._changed:
            assert self._changed.wait_for(condition, 60), {k: v for k, v in self.heard.items() if v}

    def statuses(self, order_id: int) -> list[str]:
        """Return the statuses of an order in the order in which they came."""
        return [args[1] for args in self.heard["orderStatus"] if args[0] == order_id]

    def leave(self) -> None:
        """Disconnect and wait until the reader has let go of the socket."""
        reader = self.reader
        self.disconnect()
        reader.join()


def order(price: float) -> Any:
    """Build a DAY limit order to buy one."""
    it = Order()
    it.action, it.totalQuantity, it.orderType, it.lmtPrice, it.tif = "BUY", 1, "LMT", price, "DAY"
    it.eTradeOnly = it.firmQuoteOnly = False
    return it


def links_and_legs(app: App, contract: Any) -> None:
    """Send a bracket and a straddle as one order, and hear of both."""
    first = app.heard["nextValidId"][-1][0]
    entry, target = order(3.9), order(9.0)
    entry.transmit, target.action, target.parentId = False, "SELL", first
    app.placeOrder(first, contract, entry)
    app.placeOrder(first + 1, contract, target)
    app.until(lambda: app.statuses(first) == ["Submitted"] and app.statuses(first + 1) == ["PreSubmitted"])
    assert app.heard["openOrder"][-1][2].parentId == first
    app.cancelOrder(first)
    app.until(lambda: app.statuses(first + 1)[-1:] == ["Cancelled"])
    wish = Contract()
    wish.symbol, wish.secType, wish.lastTradeDateOrContractMonth = "SPX", "OPT", "20261120"
    wish.strike, wish.right, wish.exchange, wish.tradingClass = 6000, "P", "SMART", "SPXW"
    app.reqContractDetails(200, wish)
    app.until(lambda: app.heard["contractDetailsEnd"])
    straddle = Contract()
    straddle.symbol, straddle.secType, straddle.exchange, straddle.currency = "SPX", "BAG", "SMART", "USD"
    straddle.comboLegs = []
    for con_id in (contract.conId, app.heard["contractDetails"][0][1].contract.conId):
        leg = ComboLeg()
        leg.conId, leg.ratio, leg.action, leg.exchange = con_id, 1, "BUY", "SMART"
        straddle.comboLegs.append(leg)
    app.placeOrder(first + 2, straddle, order(20.0))
    app.until(lambda: "Filled" in app.statuses(first + 2))
    opened = [args for args in app.heard["openOrder"] if args[0] == first + 2]
    assert [leg.conId for leg in opened[0][1].comboLegs] == [leg.conId for leg in straddle.comboLegs]
    app.until(lambda: sum(e.orderId == first + 2 for _, _, e in app.heard["execDetails"]) == 3)


def main(port: int) -> None:
    """Qualify, quote, fill, modify, cancel, reconnect and read back."""
    app = App(port)
    assert app.serverVersion() == 157
    wish = Contract()
    wish.symbol, wish.secType, wish.lastTradeDateOrContractMonth = "SPX", "OPT", "20261120"
    wish.strike, wish.right, wish.exchange, wish.currency = 6000, "C", "SMART", "USD"
    wish.tradingClass = "SPXW"
    app.reqContractDetails(100, wish)
    app.until(lambda: app.heard["contractDetailsEnd"])
    ((_, details),) = app.heard["contractDetails"]
    assert details.realExpirationDate == "20261120"
    contract = details.contract
    app.reqMktData(101, contract, "", False, False, [])
    app.until(lambda: app.heard["tickOptionComputation"])
    ask = next(args[2] for args in app.heard["tickPrice"] if args[1] == 2)
    app.reqSecDefOptParams(102, "SPX", "", "IND", details.underConId)
    app.reqMarketRule(int(details.marketRuleIds.split(",")[0]))
    app.reqCurrentTime()
    app.reqAccountUpdates(True, "DU1234567")
    app.reqAccountSummary(103, "All", "NetLiquidation")
    for name in ("securityDefinitionOptionParameterEnd", "marketRule", "currentTime"):
        app.until(lambda name=name: app.heard[name])  # type: ignore[misc]
    app.until(lambda: app.heard["accountDownloadEnd"] and app.heard["accountSummaryEnd"])
    first = app.heard["nextValidId"][0][0]
    app.placeOrder(first, contract, order(ask))
    app.until(lambda: app.heard["commissionReport"] and "Filled" in app.statuses(first))
    app.placeOrder(first + 1, contract, order(4.0))
    app.until(lambda: app.statuses(first + 1) == ["Submitted"])
    app.placeOrder(first + 1, contract, order(4.1))
    app.until(lambda: app.statuses(first + 1) == ["Submitted"] * 2)
    assert app.heard["openOrder"][-1][2].lmtPrice == 4.1
    app.cancelOrder(first + 1)
    app.until(lambda: app.statuses(first + 1)[-1:] == ["Cancelled"])
    app.leave()
    again = App(port)
    again.reqExecutions(5, ExecutionFilter())
    again.reqCompletedOrders(False)
    again.reqPositions()
    again.until(lambda: again.heard["execDetailsEnd"] and again.heard["completedOrdersEnd"])
    again.until(lambda: again.heard["positionEnd"])
    mine = [e for _, _, e in again.heard["execDetails"] if e.clientId == 31]
    assert [e.execId for e in mine] == [app.heard["execDetails"][0][2].execId]
    assert again.heard["position"][0][2] >= 1
    assert {state.status for *_, state in again.heard["completedOrder"]} == {"Filled", "Cancelled"}
    links_and_legs(again, contract)
    again.leave()


main(int(sys.argv[1]))
