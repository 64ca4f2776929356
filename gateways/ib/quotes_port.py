# ruff: noqa: N802 - the names of the callbacks are the library's
"""The market-data session's port: chains, subscriptions, and what ticks add up to, told in batches.

Ticks are folded here, below the trace: contracts watched closely and underlyings are told within `held_batch_ms`, all
others within `quote_batch_ms`. While a contract is watched closely, each of these lines has that pace for itself, and a
price that moves is told at once: the tick that crosses a stop waits for no batch, be it another line's or its own.
"""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Final, assert_never

from domain.instruments import Contract, DataType, Greeks, Quote, Right, Spot
from domain.units import Qty, Ticks, Utc
from gateways.closed import WHY
from gateways.ib import translate as tr
from gateways.ib.answers import Answers, RequestError
from gateways.ib.codes import LINES_REFUSED, NO_LINE_LEFT, NO_SECURITY, data_type_of, remedy_of
from gateways.ib.decoding import CONTRACT_DETAILS, UnreadableError
from gateways.ib.library import Contract as IbContract
from gateways.ib.library import ContractDetails
from gateways.ib.link import IbPort, Session
from gateways.ib.told_pace import ToldPace
from gateways.ib.wire import hours_of
from messages import broker
from messages import market as m

# IB's tick types; the second of each pair is that of delayed data
BID_PRICE, ASK_PRICE, LAST_PRICE = frozenset({1, 66}), frozenset({2, 67}), frozenset({4, 68})
BID_SIZE, ASK_SIZE, VOLUME = frozenset({0, 69}), frozenset({3, 70}), frozenset({8, 74})
MODEL: Final = frozenset({13, 83})
OPEN_INTEREST: Final = {Right.CALL: 27, Right.PUT: 28}  # of a call's line the one of puts says nothing
OPTION_GENERIC_TICKS: Final = "101"  # asks for the open interest
DELAYED: Final = frozenset({66, 67, 68, 69, 70, 74, 83})
HALTED: Final = 49
NOT_HALTED, HALTS = 0.0, frozenset({1.0, 2.0})  # general, for volatility; -1 says that nobody knows
AGREE_SHARE: Final = 0.01  # two prints further apart are not of the same market
MID_SHARE: Final = 0.002  # a print further from the middle of the market is not of it

SubscriptionCommand = m.ListChain | m.Subscribe | m.Unsubscribe | m.WatchClosely
QuotesCommand = broker.LinkCommand | SubscriptionCommand


class Line:
    """What the ticks of one subscription add up to; `is_halted` is `None` while the broker has not said."""

    __slots__ = (
        "ask", "ask_size", "at_utc", "bid", "bid_size", "con_id", "data_type", "greeks", "is_halted", "last",
        "open_interest", "pace", "request_id", "right", "ticker", "told_prices", "unconfirmed", "volume",
    )  # fmt: skip

    def __init__(self, request_id: int, con_id: int, ticker: str, right: Right | None) -> None:
        self.request_id = request_id
        self.con_id = con_id
        self.ticker = ticker  # of an underlying; empty for an option
        self.right = right  # of an option
        self.bid: Ticks | None = None
        self.ask: Ticks | None = None
        self.last: Ticks | None = None
        self.unconfirmed: Ticks | None = None
        self.bid_size = self.ask_size = Qty(0)
        self.volume: int | None = None
        self.open_interest: int | None = None
        self.greeks: Greeks | None = None
        self.is_halted: bool | None = None
        self.data_type = DataType.UNKNOWN
        self.at_utc = Utc(0)
        self.pace = ToldPace()
        self.told_prices: tuple[Ticks | None, ...] = ()

    @property
    def mid(self) -> Ticks | None:
        """The middle of a two-sided market; `None` where there is none."""
        return (self.bid + self.ask) // 2 if self.bid and self.ask and self.bid <= self.ask else None

    def take_last(self, ticks: Ticks) -> None:
        """Take a print; the first may be yesterday's close, so it waits for a second, or for a market, that agrees."""
        if self.last is not None or (self.unconfirmed is not None and agree(ticks, self.unconfirmed, AGREE_SHARE)):
            self.last = ticks
        else:
            self.unconfirmed = ticks

    def confirm(self) -> None:
        """Believe the first print where the market that has become two-sided agrees with it."""
        first, mid = self.unconfirmed, self.mid
        if self.last is None and first is not None and mid is not None and agree(first, mid, MID_SHARE):
            self.last = first

    @property
    def prices(self) -> tuple[Ticks | None, ...]:
        """What exits look at: bid and ask of an option, the price of an underlying."""
        return (self.last if self.last is not None else self.mid,) if self.ticker else (self.bid, self.ask)

    def quote(self) -> Quote:
        """Return the quote as it stands."""
        return Quote(
            self.con_id, self.bid, self.ask, self.bid_size, self.ask_size, self.at_utc, self.data_type, self.volume,
            self.greeks, self.open_interest,
        )  # fmt: skip

    def spot(self) -> Spot | None:
        """Return the underlying's price: the last trade, or the mid before there is one; `None` without either."""
        (price,) = self.prices
        return None if price is None else Spot(self.ticker, price, self.at_utc, self.data_type)


def agree(one: Ticks, other: Ticks, share: float) -> bool:
    """Return whether two prices are no further apart than a share of the larger."""
    return abs(one - other) <= share * max(one, other)


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
        self._details = self.expecting(Answers[ContractDetails](port.loop, "contract details"))

    def on_data_lost(self) -> None:
        self.lines.clear()
        self.by_con_id.clear()
        self.by_ticker.clear()

    def on_error(self, request_id: int, code: int, text: str) -> None:
        line = self.lines.get(request_id)
        if line is None or code not in LINES_REFUSED | {NO_SECURITY}:
            super().on_error(request_id, code, text)
            return
        if code in (NO_LINE_LEFT, NO_SECURITY):
            self.forget(line)
        if line.ticker:
            remedy = remedy_of(code)
            self.report_error(None, code, f"{line.ticker}: {text}" + (f" - {remedy}" if remedy else ""))
        else:
            self.port.report(
                m.LinesRefused(
                    session_epoch=self.epoch, con_ids=(line.con_id,), vendor_code=code, remedy=remedy_of(code)
                )
            )

    # -- lines ----------------------------------------------------------------------------------

    def stream_option(self, contract: Contract) -> None:
        """Subscribe to one option, its open interest too."""
        line = self.by_con_id[contract.con_id] = Line(self.request_id(), contract.con_id, "", contract.right)
        self._stream(line, tr.ib_option(contract), OPTION_GENERIC_TICKS)

    def stream_underlying(self, ticker: str) -> None:
        """Subscribe to one underlying."""
        line = self.by_ticker[ticker] = Line(self.request_id(), 0, ticker, None)
        self._stream(line, tr.ib_underlying(ticker), "")

    def _stream(self, line: Line, contract: IbContract, generic_ticks: str) -> None:
        self.lines[line.request_id] = line
        self.client.reqMktData(line.request_id, contract, generic_ticks, False, False, [])

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

    def priceSizeTick(self, request_id: int, kind: int, price: float | None, size: float | None) -> None:
        """A price with its size; no bid comes as -1 or 0, and what cannot be read is not known any more."""
        line = self.lines.get(request_id)
        if line is None or not self.is_current:
            return
        ticks = None if price is None else Ticks(round(price * 100)) if price > 0 else Ticks(0)
        if kind in BID_PRICE:
            line.bid, line.bid_size = ticks, _size_of(size)
        elif kind in ASK_PRICE:
            line.ask, line.ask_size = ticks or None, _size_of(size)
        elif kind in LAST_PRICE and line.ticker and ticks:
            line.take_last(ticks)
        else:
            return
        line.confirm()
        self._note_delay(line, kind)
        line.at_utc = self.port.clock.now_utc()
        self._mark(line)

    def tickSize(self, request_id: int | None, kind: int | None, size: float | None) -> None:
        """A size alone."""
        line = self.lines.get(request_id or 0)
        if line is None or not self.is_current or kind is None:
            return
        if kind in VOLUME:
            line.volume = _count_of(size)
        elif line.right is not None and kind == OPEN_INTEREST[line.right]:
            line.open_interest = _count_of(size)
        elif kind in BID_SIZE | ASK_SIZE:
            if kind in BID_SIZE:
                line.bid_size = _size_of(size)
            else:
                line.ask_size = _size_of(size)
            line.at_utc = self.port.clock.now_utc()
        else:
            return
        self._note_delay(line, kind)
        self._mark(line)

    def tickGeneric(self, request_id: int | None, kind: int | None, value: float | None) -> None:
        """A value of another kind; the one that matters says that trading is halted, or goes on."""
        line = self.lines.get(request_id or 0)
        if line is None or kind != HALTED or not self.is_current or value is None:
            return
        if value not in HALTS and value != NOT_HALTED:
            return
        is_halted = value in HALTS
        if is_halted is not line.is_halted:
            line.is_halted = is_halted
            self.port.report(
                m.HaltHeard(session_epoch=self.epoch, con_id=line.con_id, ticker=line.ticker, is_halted=is_halted)
            )

    def tickOptionComputation(
        self, request_id: int, kind: int, _attributes: int, iv: float | None, delta: float | None, _price: float | None,
        _dividend: float | None, gamma: float | None, vega: float | None, theta: float | None,
        underlying: float | None,
    ) -> None:  # fmt: skip
        """Greeks; those of the model are kept, -1 and -2 say "not computed"."""
        line = self.lines.get(request_id)
        if line is None or kind not in MODEL or not self.is_current:
            return
        if iv is None or delta is None or gamma is None or vega is None:
            return
        if iv <= 0 or not -1 <= delta <= 1 or gamma <= -2 or vega <= -2:
            return
        spot_ticks = Ticks(round(underlying * 100)) if underlying is not None and underlying > 0 else Ticks(0)
        line.greeks = Greeks(iv, delta, gamma, theta or 0.0, vega, spot_ticks, self.port.clock.now_utc())
        self._note_delay(line, kind)
        self._mark(line)

    def marketDataType(self, request_id: int | None, data_type: int | None) -> None:
        """Which kind of data the gateway really sends on this line."""
        line = self.lines.get(request_id or 0)
        if line is not None and self.is_current:
            line.data_type = DataType.UNKNOWN if data_type is None else data_type_of(data_type)
            if line.at_utc:
                self._mark(line)

    def _note_delay(self, line: Line, kind: int) -> None:
        """A tick of delayed data says so by its type, whatever was announced."""
        if kind in DELAYED and line.data_type in (DataType.LIVE, DataType.UNKNOWN):
            line.data_type = DataType.DELAYED

    def unreadable(self, message_id: int, why: str) -> None:
        """A contract that cannot be read makes its chain fail: it must not be shorter in silence."""
        if message_id != CONTRACT_DETAILS or not self._details.fail_all(f"a contract cannot be read: {why}"):
            super().unreadable(message_id, why)

    def contractDetails(self, request_id: int, details: ContractDetails) -> None:
        """One contract of a chain."""
        self._details.add(details, request_id)

    def contractDetailsEnd(self, request_id: int | None) -> None:
        """No more contracts."""
        self._details.end(request_id)

    async def list_contracts(self, wildcard: IbContract) -> list[ContractDetails]:
        """Return the contracts that fit; none where the broker knows no such security.

        Raises:
            RequestError: the gateway answered with another error, or the connection was lost.
        """
        request_id = self.request_id()
        try:
            return await self.ask(
                self._details, lambda: self.client.reqContractDetails(request_id, wildcard), request_id
            )
        except RequestError as error:
            if str(error).startswith(f"{NO_SECURITY}:"):
                return []  # none expires that day
            raise

    # -- batches --------------------------------------------------------------------------------

    def _mark(self, line: Line) -> None:
        is_close = bool(line.ticker) or line.con_id in self.watched
        self._news[is_close][line.request_id] = line
        has_own_pace = is_close and bool(self.watched)
        due = self._due[is_close]
        if due is not None and not has_own_pace:
            return
        batch_s, loop = self._batch_s(is_close), self.port.loop
        own_s = line.pace.due_s(batch_s, is_moved=line.prices != line.told_prices)
        # the first news after a pause goes out with what came in the same packet, later ones at the batch's pace
        due_s = max(loop.time(), own_s if has_own_pace else self._last_s[is_close] + batch_s)
        if due is not None:
            if due.when() <= due_s:
                return
            due.cancel()
        self._due[is_close] = loop.call_at(due_s, self._flush, is_close)

    def _batch_s(self, is_close: bool) -> float:
        rules = self.port.rules
        return self.port.seconds(rules.held_batch_ms if is_close else rules.quote_batch_ms)

    def _flush(self, is_close: bool) -> None:
        news, self._news[is_close] = self._news[is_close], {}
        self._due[is_close] = None
        now_s, batch_s = self.port.loop.time(), self._batch_s(is_close)
        self._last_s[is_close] = now_s
        for line in news.values():
            line.pace.tell(now_s, batch_s, is_moved=line.prices != line.told_prices)
            line.told_prices = line.prices
        if not news or not self.is_current:
            return
        lines = news.values()
        quotes = tuple(line.quote() for line in lines if not line.ticker and line.at_utc)
        spots = tuple(spot for line in lines if line.ticker and (spot := line.spot()) is not None)
        if quotes or spots:
            self.port.report(m.QuotesArrived(session_epoch=self.epoch, quotes=quotes, spots=spots))


class QuotesPort(IbPort):
    """`port:quotes:<desk>`: one market-data connection."""

    session: QuotesSession | None
    is_order_path = False

    def post(self, command: QuotesCommand) -> None:
        """Take a command; never blocks. After `close` it is refused."""
        self.take_soon(self._take, command)

    def refuse(self, command: QuotesCommand) -> None:
        """Answer what is waited for; subscriptions are asked for again after the next dial."""
        if isinstance(command, broker.Dial):
            self.report(broker.LinkFailed(session_epoch=command.session_epoch, why=WHY))
        elif isinstance(command, m.ListChain):
            self._chain_failed(command, WHY)

    def _take(self, command: QuotesCommand) -> None:
        if isinstance(command, broker.Dial | broker.CloseLink):
            self.command_link(command)
            return
        session = self.session
        if session is None or not session.is_up or command.session_epoch != session.epoch:
            return  # the actor hears of the loss and asks again after the next dial
        try:
            self._serve(session, command)
        except ConnectionError as error:
            self.lost(session, str(error))

    def new_session(self, epoch: int) -> QuotesSession:
        return QuotesSession(self, epoch)

    def on_open(self) -> None:
        if self.session is not None:
            self.session.client.reqMarketDataType(DataType.LIVE.value)

    def _serve(self, session: QuotesSession, command: SubscriptionCommand) -> None:
        match command:
            case m.Subscribe():
                for ticker in command.tickers:
                    if ticker not in session.by_ticker:
                        session.stream_underlying(ticker)
                for contract in command.contracts:
                    if contract.con_id not in session.by_con_id:
                        session.stream_option(contract)
            case m.Unsubscribe():
                for con_id in command.con_ids:
                    line = session.by_con_id.get(con_id)
                    if line is not None:
                        session.stop(line)
                for ticker in command.tickers:
                    line = session.by_ticker.get(ticker)
                    if line is not None:
                        session.stop(line)
            case m.WatchClosely():
                session.watched = frozenset(command.con_ids)
            case m.ListChain():
                self.spawn(
                    f"listing the chain of {command.ticker}",
                    lambda: self._list_chain(session, command),
                    on_death=lambda why: self._chain_failed(command, why),
                )
            case _:
                assert_never(command)

    async def _list_chain(self, session: QuotesSession, wanted: m.ListChain) -> None:
        rows: list[ContractDetails] = []
        try:
            async with asyncio.timeout(self.seconds(self.rules.read_back_ms)):
                for right in Right:
                    wildcard = tr.ib_chain(wanted.ticker, wanted.trading_class, wanted.expiry, right)
                    rows += await session.list_contracts(wildcard)
        except TimeoutError:
            self._chain_failed(wanted, "the gateway did not list it in time")
            return
        except (RequestError, ConnectionError) as error:
            self._chain_failed(wanted, str(error))
            return
        try:
            chain = [(tr.contract_of(row.contract), row) for row in rows if row.contract is not None]
        except UnreadableError as error:
            self._chain_failed(wanted, f"a contract cannot be read: {error}")
            return
        odd = next((contract for contract, _ in chain if contract.expiry == tr.NO_EXPIRY), None)
        if odd is not None:
            self._chain_failed(wanted, f"expiry or right of contract {odd.con_id} cannot be read")
            return
        today = [(contract, row) for contract, row in chain if _is_wanted(contract, row, wanted)]
        self.report(
            m.ChainListed(
                session_epoch=wanted.session_epoch,
                ticker=wanted.ticker,
                contracts=tuple(sorted(contract for contract, _ in today)),
                underlying_con_id=next((row.underConId for _, row in today if row.underConId > 0), 0),
                hours=_hours_of([row for _, row in today], wanted.expiry),
            )
        )

    def _chain_failed(self, wanted: m.ListChain, why: str) -> None:
        self.report(m.ChainFailed(session_epoch=wanted.session_epoch, ticker=wanted.ticker, why=why))


def _is_wanted(contract: Contract, row: ContractDetails, wanted: m.ListChain) -> bool:
    """Return whether the answer is what was asked for: class, real expiry and a standard deliverable."""
    real = row.realExpirationDate or f"{contract.expiry:%Y%m%d}"
    return (
        contract.trading_class == wanted.trading_class
        and real == f"{wanted.expiry:%Y%m%d}"
        and contract.multiplier == 100
    )


def _hours_of(rows: list[ContractDetails], session: date) -> tuple[tuple[Utc, Utc], ...] | None:
    """Return the liquid hours that the first contract tells which tells any; `None` where none does."""
    told = (hours_of(row.liquidHours, row.timeZoneId, session) for row in rows)
    return next((hours for hours in told if hours is not None), None)


def _count_of(size: float | None) -> int | None:
    """Return a number of contracts traded or open; `None` where it is not known."""
    return None if size is None or size < 0 else round(size)


def _size_of(size: float | None) -> Qty:
    """Return a displayed size; 0 where it is not known."""
    return max(Qty(0), tr.qty_of(size) or Qty(0))
