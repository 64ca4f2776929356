"""ib_insync or ib_async, unmodified, on the end of a pipe: `python client_ib.py LIBRARY`, no other room needed.

It carries out one command a line and writes one line for everything that it hears; what its decoder could not read, or
an exception of its own, is a line `trouble`.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from typing import Any

NAME = sys.argv[1]
LIBRARY: Any = importlib.import_module(NAME)
CLIENT_ID, TIMEOUT_S = 7, 3.0
WRITES_ON = "socket.send() raised exception."  # the event loop's, of a client that has not heard yet that it was cut
TOLD_BY_THE_GATEWAY = ("Error ", "Warning ", "Canceled order", "IBKR API validation warning")


def say(*words: object) -> None:
    """Write one line of what was heard."""
    print(*(str(word).replace("\n", " ") for word in words), flush=True)


class Troubles(logging.Handler):
    """Writes what the library could not do: exceptions, and what its decoder, wrapper or event loop complains of."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record that is a trouble; an error that the gateway sent is none."""
        error = record.exc_info[1] if record.exc_info else None
        text = record.getMessage()
        is_complaint = record.name == f"{NAME}.wrapper" and not text.startswith(TOLD_BY_THE_GATEWAY)
        if record.name == "asyncio" and text == WRITES_ON:
            return
        if error is not None or is_complaint or record.name in (f"{NAME}.decoder", "asyncio", "eventkit"):
            say("trouble", type(error).__name__ if error else "", error or text)


class Driver:
    """One connection at a time, one contract, one order."""

    def __init__(self) -> None:
        self.ib: Any = None
        self.contract: Any = None
        self.trade: Any = None

    async def connect(self, port: str) -> None:
        """Connect with a fresh client object."""
        self.ib = ib = LIBRARY.IB()
        ib.errorEvent += lambda request, code, text, *_: say("code", code)
        ib.disconnectedEvent += lambda: say("gone")
        ib.orderStatusEvent += lambda trade: say("status", trade.orderStatus.status)
        ib.execDetailsEvent += lambda trade, fill: say("execution", fill.execution.execId)
        ib.commissionReportEvent += lambda trade, fill, report: say("commission", report.execId)
        ib.pendingTickersEvent += self._ticks
        try:
            await ib.connectAsync("127.0.0.1", int(port), clientId=CLIENT_ID, timeout=TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            say("failed", type(error).__name__)
        else:
            say("connected")

    def _ticks(self, tickers: Any) -> None:
        for ticker in tickers:
            say("tick", ticker.marketDataType, ticker.bid)
            if ticker.halted > 0:
                say("halted")

    async def watch(self, expiry: str) -> None:
        """Find an option and subscribe to its quotes."""
        wish = LIBRARY.Option("SPX", expiry, 6000.0, "C", "SMART", "100", "USD", tradingClass="SPXW")
        found = [c for c in await self.ib.qualifyContractsAsync(wish) if c is not None]
        say("found", len(found))
        if found:
            (self.contract,) = found
            self.ib.reqMktData(self.contract, "", False, False)

    async def index(self) -> None:
        """Subscribe to an underlying."""
        (spx,) = await self.ib.qualifyContractsAsync(LIBRARY.Index("SPX", "CBOE", "USD"))
        self.ib.reqMktData(spx, "", False, False)

    async def place(self, qty: str, price: str) -> None:
        """Place a limit order to buy."""
        order = LIBRARY.LimitOrder("BUY", float(qty), float(price), tif="DAY", orderRef="mine")
        self.trade = self.ib.placeOrder(self.contract, order)

    async def change(self, price: str) -> None:
        """Change its price."""
        self.trade.order.lmtPrice = float(price)
        self.ib.placeOrder(self.trade.contract, self.trade.order)

    async def cancel(self) -> None:
        """Cancel it."""
        self.ib.cancelOrder(self.trade.order)

    async def flood(self, n: str) -> None:
        """Send requests faster than the library would."""
        self.ib.client.MaxRequests = 0
        for _ in range(int(n)):
            self.ib.client.reqIds(1)

    async def read(self) -> None:
        """Read orders, completed orders, positions and executions; `-` for a group that is not answered."""
        ib = self.ib
        groups = (
            ib.reqAllOpenOrdersAsync(), ib.reqCompletedOrdersAsync(False), ib.reqPositionsAsync(),
            ib.reqExecutionsAsync(),
        )  # fmt: skip
        told = await asyncio.gather(*(asyncio.wait_for(group, TIMEOUT_S) for group in groups), return_exceptions=True)
        say("read", *("-" if isinstance(rows, BaseException) else len(rows) for rows in told))

    async def time(self) -> None:
        """Ask the gateway's time."""
        try:
            await asyncio.wait_for(self.ib.reqCurrentTimeAsync(), TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            say("failed", type(error).__name__)
        else:
            say("time")

    async def leave(self) -> None:
        """Disconnect."""
        if self.ib is not None:
            self.ib.disconnect()
        say("left")


async def main() -> None:
    """Carry out commands until there are no more."""
    loop, reader, driver = asyncio.get_running_loop(), asyncio.StreamReader(), Driver()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    loop.set_exception_handler(lambda _, context: say("trouble", context.get("exception") or context.get("message")))
    while line := (await reader.readline()).decode().split():
        try:
            await getattr(driver, line[0])(*line[1:])
        except Exception as error:
            say("trouble", type(error).__name__, error)


logging.getLogger().addHandler(Troubles(logging.WARNING))
logging.lastResort = None
asyncio.run(main())
