# ruff: noqa: N802 - the names of the callbacks are ib_insync's
"""The market-data session's port: chains, subscriptions, and what ticks add up to, told in batches.

    quotes => port   Dial, CloseLink, ListChain, Subscribe, Unsubscribe, WatchClosely
    port => quotes   LinkUp, LinkFailed, LinkLost, LinkRestored, FarmNotice, ChainListed, ChainFailed, QuotesArrived,
                     LinesRefused, ErrorHeard

Ticks are folded here, below the trace: contracts watched closely and underlyings are told within `held_batch_ms`, all
others within `quote_batch_ms`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ib_insync.contract import Contract as IbContract
from ib_insync.contract import ContractDetails

from domain.instruments import Contract, Greeks, Quote, Right, Spot
from gateways.ib import translate as tr
from gateways.ib.codes import LINES_REFUSED, meaning_of
from gateways.ib.link import IbPort, RequestError, Session
from messages import market as m
from messages.base import Message
from messages.orders import ErrorHeard

LIVE = 1
BID_PRICE, ASK_PRICE, LAST_PRICE = {1, 66}, {2, 67}, {4, 68}
BID_SIZE, ASK_SIZE, VOLUME = {0, 69}, {3, 70}, {8, 74}
MODEL = {13, 83}
NO_LINE_LEFT = 101
NO_SECURITY = "200:"
_UNSET = 1e300


class Line:
    """What the ticks of one subscription add up to; `data_type` 0 means that the gateway has not said which."""

    __slots__ = (
        "ask", "ask_size", "at_utc", "bid", "bid_size", "con_id", "data_type", "greeks", "last", "request_id", "ticker",
        "volume",
    )  # fmt: skip

    def __init__(self, request_id: int, con_id: int, ticker: str) -> None:
        self.request_id = request_id
        self.con_id = con_id
        self.ticker = ticker  # of an underlying; empty for an option
        self.bid: int | None = None
        self.ask: int | None = None
        self.last: int | None = None
        self.bid_size = self.ask_size = 0
        self.volume: int | None = None
        self.greeks: Greeks | None = None
        self.data_type = 0
        self.at_utc = 0

    def quote(self) -> Quote:
        """Give the quote as it stands."""
        return Quote(
            self.con_id, self.bid, self.ask, self.bid_size, self.ask_size, self.at_utc, self.data_type, self.volume,
            self.greeks,
        )  # fmt: skip

    def spot(self) -> Spot | None:
        """Give the underlying's price: the last trade, or the mid before there is one; `None` without either."""
        if self.last is not None:
            return Spot(self.ticker, self.last, self.at_utc, self.data_type)
        if self.bid and self.ask is not None:
            return Spot(self.ticker, (self.bid + self.ask) // 2, self.at_utc, self.data_type)
        return None


class QuotesSession(Session):
    """The market-data session: its lines, and which of them have news."""

    def __init__(self, port: IbPort, epoch: int) -> None:
        super().__init__(port, epoch)
        self.lines: dict[int, Line] = {}
        self.by_con_id: dict[int, Line] = {}
        self.by_ticker: dict[str, Line] = {}
        self.watched: frozenset[int] = frozenset()
        self._news: dict[bool, dict[int, Line]] = {True: {}, False: {}}
        self._due: dict[bool, asyncio.TimerHandle | None] = {True: None, False: None}
        self._last_s: dict[bool, float] = {True: 0.0, False: 0.0}

    def data_lost(self) -> None:
        self.lines.clear()
        self.by_con_id.clear()
        self.by_ticker.clear()

    def request_error(self, request_id: int, code: int, text: str) -> None:
        line = self.lines.get(request_id)
        if line is None or code not in LINES_REFUSED | {200}:
            super().request_error(request_id, code, text)
            return
        if code in (NO_LINE_LEFT, 200):
            self.forget(line)
        if line.ticker:
            why = f"{line.ticker}: {text}"
            self.port.say(
                ErrorHeard(
                    session_epoch=self.epoch, order_ref=None, vendor_code=code, text=why, meaning=meaning_of(code)
                )
            )
            return
        self.port.say(m.LinesRefused(session_epoch=self.epoch, con_ids=(line.con_id,), vendor_code=code))

    # -- lines ----------------------------------------------------------------------------------

    def stream(self, contract: IbContract, con_id: int, ticker: str) -> None:
        """Subscribe to one instrument."""
        line = Line(self.request_id(), con_id, ticker)
        self.lines[line.request_id] = line
        if ticker:
            self.by_ticker[ticker] = line
        else:
            self.by_con_id[con_id] = line
        self.client.reqMktData(line.request_id, contract, "", False, False, [])

    def stop(self, line: Line) -> None:
        """End a subscription."""
        self.forget(line)
        self.client.cancelMktData(line.request_id)

    def forget(self, line: Line) -> None:
        """Drop a line and its news."""
        self.lines.pop(line.request_id, None)
        self.by_con_id.pop(line.con_id, None)
        self.by_ticker.pop(line.ticker, None)
        for news in self._news.values():
            news.pop(line.request_id, None)

    # -- ticks ----------------------------------------------------------------------------------

    def priceSizeTick(self, request_id: int, kind: int, price: float, size: float) -> None:
        """A price with its size; no bid comes as -1 or 0."""
        line = self.lines.get(request_id)
        if line is None or not self.is_current:
            return
        ticks = round(price * 100) if 0 < price < _UNSET else 0
        if kind in BID_PRICE:
            line.bid, line.bid_size = ticks, round(size)
        elif kind in ASK_PRICE:
            line.ask, line.ask_size = ticks or None, round(size)
        elif kind in LAST_PRICE and line.ticker and ticks:
            line.last = ticks
        else:
            return
        line.at_utc = self.port.clock.now_utc()
        self._mark(line)

    def tickSize(self, request_id: int, kind: int, size: float) -> None:
        """A size alone."""
        line = self.lines.get(request_id)
        if line is None or not self.is_current:
            return
        if kind in VOLUME:
            line.volume = round(size)
        elif kind in BID_SIZE | ASK_SIZE:
            if kind in BID_SIZE:
                line.bid_size = round(size)
            else:
                line.ask_size = round(size)
            line.at_utc = self.port.clock.now_utc()
        else:
            return
        self._mark(line)

    def tickOptionComputation(
        self, request_id: int, kind: int, _attributes: int, iv: float, delta: float, _price: float, _dividend: float,
        gamma: float, vega: float, theta: float, underlying: float,
    ) -> None:  # fmt: skip
        """Greeks; those of the model are kept, -1 and -2 (or a huge number) say "not computed"."""
        line = self.lines.get(request_id)
        if line is None or kind not in MODEL or not self.is_current:
            return
        if not 0 < iv < _UNSET or not -1 <= delta <= 1 or not all(-2 < x < _UNSET for x in (gamma, vega)):
            return
        spot_ticks = round(underlying * 100) if 0 < underlying < _UNSET else 0
        theta = theta if abs(theta) < _UNSET else 0.0
        line.greeks = Greeks(iv, delta, gamma, theta, vega, spot_ticks, self.port.clock.now_utc())
        self._mark(line)

    def marketDataType(self, request_id: int, data_type: int) -> None:
        """Which kind of data the gateway really sends on this line."""
        line = self.lines.get(request_id)
        if line is not None and self.is_current:
            line.data_type = data_type
            if line.at_utc:
                self._mark(line)

    def contractDetails(self, request_id: int, details: ContractDetails) -> None:
        """One contract of a chain."""
        self.add(request_id, details)

    def contractDetailsEnd(self, request_id: int) -> None:
        """No more contracts."""
        self.end(request_id)

    # -- batches --------------------------------------------------------------------------------

    def _mark(self, line: Line) -> None:
        is_close = bool(line.ticker) or line.con_id in self.watched
        self._news[is_close][line.request_id] = line
        if self._due[is_close] is not None:
            return
        rules = self.port.rules
        batch_s = self.port.seconds(rules.held_batch_ms if is_close else rules.quote_batch_ms)
        loop = self.port.loop
        # the first news after a pause goes out with what came in the same packet, later ones at the batch's pace
        due_s = max(loop.time(), self._last_s[is_close] + batch_s)
        self._due[is_close] = loop.call_at(due_s, self._flush, is_close)

    def _flush(self, is_close: bool) -> None:
        news, self._news[is_close] = self._news[is_close], {}
        self._due[is_close] = None
        self._last_s[is_close] = self.port.loop.time()
        if not news or not self.is_current:
            return
        lines = news.values()
        quotes = tuple(line.quote() for line in lines if not line.ticker and line.at_utc)
        spots = tuple(spot for line in lines if line.ticker and (spot := line.spot()) is not None)
        if quotes or spots:
            self.port.say(m.QuotesArrived(session_epoch=self.epoch, quotes=quotes, spots=spots))


class QuotesPort(IbPort):
    """`port:quotes:<desk>`: one market-data connection."""

    session_type = QuotesSession
    session: QuotesSession | None

    def opened(self, session: QuotesSession) -> None:
        session.client.reqMarketDataType(LIVE)

    def command(self, message: Message) -> None:
        session = self.session
        if session is None or not session.is_up or getattr(message, "session_epoch", None) != session.epoch:
            return  # the actor hears of the loss and asks again after the next dial
        try:
            self._serve(session, message)
        except ConnectionError as error:
            self.lost(session, str(error))

    def _serve(self, session: QuotesSession, message: Message) -> None:
        match message:
            case m.Subscribe():
                for ticker in message.tickers:
                    if ticker not in session.by_ticker:
                        session.stream(tr.ib_underlying(ticker), 0, ticker)
                for contract in message.contracts:
                    if contract.con_id not in session.by_con_id:
                        session.stream(tr.ib_option(contract), contract.con_id, "")
            case m.Unsubscribe():
                for con_id in message.con_ids:
                    line = session.by_con_id.get(con_id)
                    if line is not None:
                        session.stop(line)
            case m.WatchClosely():
                session.watched = frozenset(message.con_ids)
            case m.ListChain():
                self.spawn(self._list_chain(session, message))
            case _:
                super().command(message)

    async def _list_chain(self, session: QuotesSession, wish: m.ListChain) -> None:
        try:
            async with asyncio.timeout(self.seconds(self.rules.read_back_ms)):
                rows = [row for right in Right for row in await self._details(session, wish, right)]
        except TimeoutError:
            self._chain_failed(wish, "the gateway did not list it in time")
            return
        except (RequestError, ConnectionError) as error:
            self._chain_failed(wish, str(error))
            return
        chain = [(tr.contract_of(row.contract), row) for row in rows if row.contract is not None]
        today = [(c, row) for c, row in chain if _is_wanted(c, row, wish)]
        opens, closes, underlying = None, None, 0
        if today:
            row = today[0][1]
            opens, closes = tr.hours_of(row.liquidHours, row.timeZoneId, wish.expiry)
            underlying = row.underConId
        self.say(
            m.ChainListed(
                session_epoch=wish.session_epoch,
                ticker=wish.ticker,
                contracts=tuple(sorted(c for c, _ in today)),
                underlying_con_id=underlying,
                liquid_open_utc=opens,
                liquid_close_utc=closes,
            )
        )

    async def _details(self, session: QuotesSession, wish: m.ListChain, right: Right) -> list[Any]:
        request_id = session.request_id()
        wildcard = tr.ib_chain(wish.ticker, wish.trading_class, wish.expiry, right)
        try:
            rows: list[Any] = await session.ask(
                request_id, lambda: session.client.reqContractDetails(request_id, wildcard)
            )
        except RequestError as error:
            if str(error).startswith(NO_SECURITY):
                return []  # none expires that day
            raise
        return rows

    def _chain_failed(self, wish: m.ListChain, why: str) -> None:
        self.say(m.ChainFailed(session_epoch=wish.session_epoch, ticker=wish.ticker, why=why))


def _is_wanted(contract: Contract, row: ContractDetails, wish: m.ListChain) -> bool:
    """Tell whether the answer is what was asked for: class, real expiry and a standard deliverable."""
    real = row.realExpirationDate or f"{contract.expiry:%Y%m%d}"
    return (
        contract.trading_class == wish.trading_class and real == f"{wish.expiry:%Y%m%d}" and contract.multiplier == 100
    )
