"""IB's own old client, unmodified, on the end of a pipe: `python client_ibapi.py`, no other room needed.

The same commands and the same lines as `client_ib`; a code below 600 that the library gives itself is a line `trouble`,
as is an exception in one of its threads.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.wrapper import EWrapper

CLIENT_ID, TIMEOUT_S = 7, 3.0
NOT_CONNECTED = (502, 504)
HALTED = 49  # a kind of tick
DETAILS_ID = 100  # the request for the contract's details
OWN_CODES = range(501, 600)


def say(*words: object) -> None:
    """Write one line of what was heard, at once: two threads have things to say."""
    sys.stdout.write(" ".join(str(word).replace("\n", " ") for word in words) + "\n")
    sys.stdout.flush()


class App(EWrapper, EClient):  # type: ignore[misc]
    """Writes what it hears, and counts the rows of what it reads."""

    def __init__(self) -> None:
        EClient.__init__(self, self)
        self._changed = threading.Condition()
        self.is_leaving = False
        self.next_id = 0
        self.contract: Any = None
        self.rows: dict[str, int] = {}
        self.ended: set[str] = set()
        for group in ("openOrder", "completedOrder", "position", "execDetails"):
            setattr(self, group, self._counter(group, getattr(self, group)))
        ends = ("openOrderEnd", "completedOrdersEnd", "positionEnd", "execDetailsEnd", "contractDetailsEnd")
        for end in (*ends, "currentTime", "nextValidId"):
            setattr(self, end, self._ender(end, getattr(self, end)))

    def _counter(self, group: str, then: Callable[..., None]) -> Callable[..., None]:
        def heard(*args: Any) -> None:
            if group != "execDetails" or args[0] >= 0:  # else it is told as it happens
                self.rows[group] = self.rows.get(group, 0) + 1
            then(*args)

        return heard

    def _ender(self, end: str, then: Callable[..., None]) -> Callable[..., None]:
        def heard(*args: Any) -> None:
            then(*args)
            with self._changed:
                self.ended.add(end)
                self._changed.notify_all()

        return heard

    def until(self, end: str) -> bool:
        """Wait for the end of an answer; False where it does not come."""
        with self._changed:
            return self._changed.wait_for(lambda: end in self.ended, TIMEOUT_S)

    def error(self, reqId: int, errorCode: int, errorString: str) -> None:  # noqa: N803 - as the library calls it
        if errorCode in OWN_CODES and errorCode not in NOT_CONNECTED:
            say("trouble", errorCode, errorString)
        elif errorCode not in NOT_CONNECTED:
            say("code", errorCode)
        if reqId == DETAILS_ID:  # what the gateway says by itself ends no answer
            with self._changed:
                self.ended.add("contractDetailsEnd")
                self._changed.notify_all()

    def nextValidId(self, orderId: int) -> None:  # noqa: N802, N803 - as the library calls it
        self.next_id = orderId

    def connectionClosed(self) -> None:  # noqa: N802 - as the library calls it
        if not self.is_leaving:
            say("gone")

    def contractDetails(self, reqId: int, contractDetails: Any) -> None:  # noqa: N802, N803 - as the library calls it
        self.contract = contractDetails.contract

    def orderStatus(self, orderId: int, status: str, *_: Any) -> None:  # noqa: N802, N803 - as the library calls it
        say("status", status)

    def execDetails(self, reqId: int, contract: Any, execution: Any) -> None:  # noqa: N802, N803 - as the library does
        if reqId < 0:
            say("execution", execution.execId)

    def commissionReport(self, commissionReport: Any) -> None:  # noqa: N802, N803 - as the library calls it
        say("commission", commissionReport.execId)

    def marketDataType(self, reqId: int, marketDataType: int) -> None:  # noqa: N802, N803 - as the library calls it
        self.rows["kind"] = marketDataType

    def tickPrice(self, reqId: int, tickType: int, price: float, attrib: Any) -> None:  # noqa: N802, N803 - see above
        say("tick", self.rows.get("kind", 1), price)

    def tickGeneric(self, reqId: int, tickType: int, value: float) -> None:  # noqa: N802, N803 - see above
        if tickType == HALTED and value > 0:
            say("halted")


class Driver:
    """One connection at a time, one contract, one order."""

    def __init__(self) -> None:
        self.app: Any = None
        self.order: Any = None
        self.order_id = 0

    def connect(self, port: str) -> None:
        """Connect with a fresh client object; a gateway that never answers is waited for in a thread."""
        app = self.app = App()

        def dial() -> None:
            app.connect("127.0.0.1", int(port), CLIENT_ID)
            if app.isConnected():
                threading.Thread(target=app.run, daemon=True).start()
            is_up = app.isConnected() and app.until("nextValidId")
            say("connected" if is_up else "failed")

        threading.Thread(target=dial, daemon=True).start()

    def watch(self, expiry: str) -> None:
        """Find an option and subscribe to its quotes."""
        app, wish = self.app, Contract()
        wish.symbol, wish.secType, wish.lastTradeDateOrContractMonth = "SPX", "OPT", expiry
        wish.strike, wish.right, wish.exchange, wish.tradingClass = 6000, "C", "SMART", "SPXW"
        app.ended.discard("contractDetailsEnd")
        app.contract = None
        app.reqContractDetails(DETAILS_ID, wish)
        app.until("contractDetailsEnd")
        say("found", int(app.contract is not None))
        if app.contract is not None:
            app.reqMktData(101, app.contract, "", False, False, [])

    def index(self) -> None:
        """Subscribe to an underlying."""
        spx = Contract()
        spx.symbol, spx.secType, spx.exchange, spx.currency = "SPX", "IND", "CBOE", "USD"
        self.app.reqMktData(102, spx, "", False, False, [])

    def place(self, qty: str, price: str) -> None:
        """Place a limit order to buy."""
        it = self.order = Order()
        it.action, it.totalQuantity, it.orderType, it.lmtPrice, it.tif = "BUY", float(qty), "LMT", float(price), "DAY"
        it.eTradeOnly = it.firmQuoteOnly = False
        it.orderRef = "mine"
        self.order_id = self.app.next_id
        self.app.next_id += 1
        self.app.placeOrder(self.order_id, self.app.contract, it)

    def change(self, price: str) -> None:
        """Change its price."""
        self.order.lmtPrice = float(price)
        self.app.placeOrder(self.order_id, self.app.contract, self.order)

    def cancel(self) -> None:
        """Cancel it."""
        self.app.cancelOrder(self.order_id)

    def flood(self, n: str) -> None:
        """Send requests faster than the gateway takes them."""
        for _ in range(int(n)):
            self.app.reqIds(1)

    def read(self) -> None:
        """Read orders, completed orders, positions and executions; `-` for a group that is not answered."""
        app = self.app
        app.rows.clear()
        app.ended.clear()
        app.reqAllOpenOrders()
        app.reqCompletedOrders(False)
        app.reqPositions()
        app.reqExecutions(5, ExecutionFilter())
        groups = (
            ("openOrderEnd", "openOrder"), ("completedOrdersEnd", "completedOrder"), ("positionEnd", "position"),
            ("execDetailsEnd", "execDetails"),
        )  # fmt: skip
        say("read", *(app.rows.get(group, 0) if app.until(end) else "-" for end, group in groups))

    def time(self) -> None:
        """Ask the gateway's time."""
        self.app.ended.discard("currentTime")
        self.app.reqCurrentTime()
        say("time" if self.app.until("currentTime") else "failed")

    def leave(self) -> None:
        """Disconnect; what its threads say of their socket from now on is the library's own affair."""
        if self.app is not None:
            self.app.is_leaving = True
            self.app.disconnect()
        say("left")


class Troubles(logging.Handler):
    """Writes the exceptions that the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record that is a trouble."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and driver.app is not None and driver.app.isConnected() and not driver.app.is_leaving:
            say("trouble", type(error).__name__, error)


def in_thread(args: threading.ExceptHookArgs) -> None:
    """Write an exception that ended a thread, but for those of a socket that is gone."""
    if not isinstance(args.exc_value, OSError):
        say("trouble", args.exc_type.__name__, args.exc_value)


driver = Driver()
threading.excepthook = in_thread
logging.getLogger().addHandler(Troubles(logging.WARNING))
logging.lastResort = None
for line in sys.stdin:
    try:
        getattr(driver, line.split()[0])(*line.split()[1:])
    except Exception as error:  # what a command ends with is a line like everything else
        say("trouble", type(error).__name__, error)
