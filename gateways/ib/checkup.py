"""A look at a gateway from the outside, for `main.py doctor`: connect as the desk would, ask, and leave.

It trades nothing. `look` says what was seen; what of it is a fault, the command judges. The one thing near an order is
IB's *what if*, which asks for the margin of an order that is never sent; it is asked only where a person wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from typing import Any, Final, TypeVar

import msgspec

from domain.instruments import OrderType, Right, Side
from domain.units import Qty, Ticks
from gateways.ib import library
from gateways.ib.codes import CLIENT_ID_IN_USE
from gateways.ib.translate import ib_chain, ib_order_of, ib_underlying
from gateways.ib.wire import number_of, unreached

T = TypeVar("T")

STEP_S: Final = 4.0  # real: for each answer
LINE_S: Final = 2.0  # real: for a subscription to be refused, or to say of what kind its data are
READ_ONLY: Final = 321
OTHER_PORTS: Final = (4002, 4001, 7497, 7496)
_REFUSED: Final = frozenset({100, 110, 200, 201, 203, 321, 354, 10089, 10090, 10167, 10168, 10186, 10197, 10275, 10329})
_VALUES: Final = frozenset({"NetLiquidation", "AvailableFunds", "BuyingPower"})


class Notice(msgspec.Struct, frozen=True):
    """What the broker said with a code."""

    code: int
    text: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The market data of one subscription: IB's kind (1 live), `None` where it said none; or why there are none."""

    of: str
    data_type: int | None = None
    refusal: Notice | None = None


class Listed(msgspec.Struct, frozen=True):
    """The option classes that the broker lists for an underlying; `is_known`: it knows the underlying at all."""

    ticker: str
    is_known: bool
    classes: tuple[str, ...] = ()


class TriedOrder(msgspec.Struct, frozen=True):
    """What the broker says to an order that it is only asked about."""

    of: str
    refusal: Notice | None = None
    warning: str = ""


class TriedSale(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker says to a sale of calls that nothing covers for it; `margin_usd` is `None` where it told none."""

    of: str
    qty: Qty
    refusal: Notice | None = None
    margin_usd: float | None = None


class Seen(msgspec.Struct, kw_only=True):
    """What a gateway showed; everything after `is_spoken` is empty where it is False.

    `ahead_s` is the broker's clock before ours (it tells whole seconds), `values` the account's by tag, each with its
    currency.
    """

    host: str
    port: int
    is_reached: bool = False
    is_spoken: bool = False
    why: str = ""
    other_ports: tuple[int, ...] = ()
    ids_in_use: tuple[int, ...] = ()
    accounts: tuple[str, ...] = ()
    ahead_s: float | None = None
    values: dict[str, tuple[float, str]] = {}
    is_read_only: bool = False
    listed: tuple[Listed, ...] = ()
    lines: tuple[Line, ...] = ()
    tried: TriedOrder | None = None
    sale: TriedSale | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What to look at: the first client id that gets in asks; option classes by ticker; the account, if one is set.

    `sold` names a ticker and how many calls of it would be sold uncovered; `None`: none are.
    """

    client_ids: tuple[int, ...]
    classes: dict[str, str]
    account: str | None = None
    tries_order: bool = False
    sold: tuple[str, Qty] | None = None


async def look(host: str, port: int, asked: Asked, now_s: Callable[[], float] = time.time) -> Seen:
    """Connect, ask and disconnect; what does not answer within its time is missing in what was seen.

    `now_s` is our own clock, which the broker's is compared with.
    """
    seen = Seen(host=host, port=port)
    try:
        await _reach(host, port)
    except OSError as error:
        seen.why = unreached(error)
        seen.other_ports = tuple([other for other in OTHER_PORTS if other != port and await _answers(host, other)])
        return seen
    seen.is_reached = True
    in_use = []
    with _quiet():
        for n, client_id in enumerate(asked.client_ids):
            ib: Any = library.IB()
            said = _Said(ib)
            try:
                await ib.client.connectAsync(host, port, client_id, STEP_S)
                seen.is_spoken = True
                if n == 0 or not seen.accounts:
                    await _ask(ib, said, seen, asked, now_s)
            except (OSError, TimeoutError) as error:
                if said.has(CLIENT_ID_IN_USE):
                    seen.is_spoken = True
                    in_use.append(client_id)
                elif not seen.why:
                    seen.why = str(error)
            finally:
                ib.disconnect()
    seen.ids_in_use = tuple(in_use)
    return seen


class _Said:
    """What came with a code, by request."""

    def __init__(self, ib: Any) -> None:
        self.notices: list[tuple[int, Notice]] = []
        ib.errorEvent += self._take

    def _take(self, request: int, code: int, text: str, _: object) -> None:
        self.notices.append((request, Notice(code, text)))

    def has(self, code: int) -> bool:
        return any(notice.code == code for _, notice in self.notices)

    def refusal(self, request: int) -> Notice | None:
        return next((n for of, n in self.notices if of == request and n.code in _REFUSED), None)


async def _reach(host: str, port: int) -> None:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), LINE_S)
    except TimeoutError:
        raise OSError("no answer in time") from None
    writer.close()


async def _answers(host: str, port: int) -> bool:
    try:
        await _reach(host, port)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's own log off the screen: what matters of it is in what was seen."""
    logger = logging.getLogger(library.NAME)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


async def _within(answer: Awaitable[T]) -> T | None:
    """Return an answer; `None` where it does not come in time, or the connection ends."""
    try:
        return await asyncio.wait_for(answer, STEP_S)
    except (TimeoutError, ConnectionError):
        return None


async def _ask(ib: Any, said: _Said, seen: Seen, asked: Asked, now_s: Callable[[], float]) -> None:
    seen.accounts = tuple(ib.client.getAccounts())
    told = await _within(ib.reqCurrentTimeAsync())
    if told is not None:
        seen.ahead_s = told.timestamp() - now_s()
    account = asked.account if asked.account in seen.accounts else next(iter(seen.accounts), "")
    if account:
        await _within(ib.reqAccountUpdatesAsync(account))
        seen.values = {
            row.tag: (float(row.value), row.currency) for row in ib.accountValues(account) if row.tag in _VALUES
        }
    await _within(ib.reqAllOpenOrdersAsync())
    seen.is_read_only = said.has(READ_ONLY)
    for ticker, trading_class in asked.classes.items():
        option = await _look_at_market(ib, said, seen, ticker, trading_class)
        if asked.tries_order and account and option is not None and seen.tried is None:
            seen.tried = await _try_order(ib, said, option, account)
        if asked.tries_order and account and option is not None and asked.sold is not None and asked.sold[0] == ticker:
            seen.sale = await _try_sale(ib, said, option, asked.sold[1], account)


async def _look_at_market(ib: Any, said: _Said, seen: Seen, ticker: str, trading_class: str) -> Any:
    """See what is listed of a ticker and what data come; return one option of the class, `None` where there is none."""
    underlying = await _first(ib, ib_underlying(ticker))
    if underlying is None:
        seen.listed = (*seen.listed, Listed(ticker, False))
        return None
    chains = await _within(ib.reqSecDefOptParamsAsync(ticker, "", underlying.secType, underlying.conId)) or []
    seen.listed = (*seen.listed, Listed(ticker, True, tuple(sorted({chain.tradingClass for chain in chains}))))
    line, price = await _line(ib, said, ticker, underlying)
    seen.lines = (*seen.lines, line)
    chain = next((c for c in chains if c.tradingClass == trading_class and c.expirations and c.strikes), None)
    if chain is None:
        return None
    strikes = sorted(chain.strikes)
    strike = (
        strikes[len(strikes) // 2] if price is None or price <= 0 else min(strikes, key=lambda each: abs(each - price))
    )
    wanted = ib_chain(ticker, trading_class, date.fromisoformat(min(chain.expirations)), Right.CALL)
    wanted.strike = strike
    option = await _first(ib, wanted)
    if option is not None:
        line, _ = await _line(ib, said, f"options of {trading_class}", option)
        seen.lines = (*seen.lines, line)
    return option


async def _first(ib: Any, contract: object) -> Any:
    rows = await _within(ib.reqContractDetailsAsync(contract))
    return rows[0].contract if rows else None


async def _line(ib: Any, said: _Said, of: str, contract: object) -> tuple[Line, float | None]:
    """Subscribe for a moment; return how the data come, and a price where there is one."""
    ticker = ib.reqMktData(contract, "", False, False)
    request = ib.wrapper.ticker2ReqId["mktData"][ticker]
    until_s = time.monotonic() + LINE_S
    while time.monotonic() < until_s and said.refusal(request) is None and _price(ticker) is None:
        await asyncio.sleep(0.02)
    ib.cancelMktData(contract)
    price = _price(ticker)
    data_type = None if price is None else ticker.marketDataType
    return Line(of=of, data_type=data_type, refusal=said.refusal(request)), price


def _price(ticker: Any) -> float | None:
    return next((p for p in (ticker.last, ticker.bid, ticker.ask, ticker.close) if not math.isnan(p)), None)


async def _try_order(ib: Any, said: _Said, option: Any, account: str) -> TriedOrder:
    """Ask what an order for one contract would need; IB sends none that is marked so, and this would hardly fill."""
    state, refusal = await _what_if(ib, said, option, Side.BUY, Qty(1), Ticks(5), account)
    return TriedOrder(option.tradingClass, refusal, str(getattr(state, "warningText", "") or "").strip())


async def _try_sale(ib: Any, said: _Said, option: Any, qty: Qty, account: str) -> TriedSale:
    """Ask what so many calls, sold uncovered, would block."""
    state, refusal = await _what_if(ib, said, option, Side.SELL, qty, Ticks(5_000), account)
    margin_usd = number_of(str(getattr(state, "initMarginChange", "")))
    return TriedSale(of=option.tradingClass, qty=qty, refusal=refusal, margin_usd=margin_usd)


async def _what_if(
    ib: Any, said: _Said, option: Any, side: Side, qty: Qty, limit_ticks: Ticks, account: str
) -> tuple[Any, Notice | None]:
    order = ib_order_of("ZH-doctor-what-if", side, qty, OrderType.LIMIT, limit_ticks, None, account)
    first = len(said.notices)
    state = await _within(ib.whatIfOrderAsync(option, order))  # which marks it as a question
    return state, next((notice for _, notice in said.notices[first:] if notice.code in _REFUSED), None)
