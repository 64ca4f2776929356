"""The gateway's contract database: what reqContractDetails, reqSecDefOptParams and reqMarketRule answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Protocol

import msgspec

from domain.indices import INDICES
from domain.instants import exchange_clock, session_of
from domain.instruments import Contract
from domain.options.tick_rules import BOUNDARY_TICKS, INDEX_RULE, PENNY_AT_ALL_PRICES_RULE, PENNY_RULE, rule_of
from domain.orders.combo import COMBO_CON_ID
from simulation.broker.orders import Order
from simulation.broker.quoted import QuotedMarket
from simulation.gateway.wire.frames import encode, usd
from simulation.gateway.wire.requests import ContractQuery

NO_SECURITY = "No security definition has been found for the request"
OPTION_EXCHANGES = {True: ("SMART", "CBOE"), False: ("SMART", "AMEX", "CBOE", "PHLX")}
ORDER_TYPES = "ACTIVETIM,DAY,GTD,IOC,LMT,MKT,OCA,STP,STPLMT,WHATIF"
# IB's market rule ids are its own; these are ours, one for each rule of `domain.options.tick_rules`.
RULE_IDS = {PENNY_AT_ALL_PRICES_RULE: 26, PENNY_RULE: 32, INDEX_RULE: 239}
TICK_RULES: dict[int, tuple[tuple[int, int], ...]] = {
    number: ((0, rule.low_ticks), (BOUNDARY_TICKS, rule.high_ticks)) for rule, number in RULE_IDS.items()
}
STOCK_RULE = 26
INDICES_WITHOUT_OPTIONS = ("VIX",)  # the market quotes them beside its tickers
LONG_NAMES = {"SPX": "S&P 500 Stock Index", "VIX": "CBOE Volatility Index"}


class Underlying(msgspec.Struct, frozen=True):
    """An index or a stock that options are written on."""

    con_id: int
    ticker: str

    @property
    def sec_type(self) -> str:
        """IB's security type."""
        return "IND" if self.ticker in INDICES else "STK"

    @property
    def exchange(self) -> str:
        """The primary exchange."""
        if self.ticker in INDICES:
            return "CBOE"
        return "ARCA" if self.ticker in ("SPY", "IWM") else "NASDAQ"


Instrument = Contract | Underlying


class ListedMarket(QuotedMarket, Protocol):
    """What the catalogue needs of the simulated market beside quotes."""

    tickers: tuple[str, ...]

    def contracts(self, ticker: str) -> Iterable[Contract]:
        """Return the option contracts of a ticker."""

    def underlying_con_id(self, ticker: str) -> int:
        """Return the contract id of an underlying."""


class Catalogue:
    """Finds contracts: the chains are those of the market's present session, ids are known for good."""

    def __init__(self, market: ListedMarket) -> None:
        self._market = market
        tickers = dict.fromkeys((*market.tickers, *INDICES_WITHOUT_OPTIONS))
        self.underlyings = {t: Underlying(market.underlying_con_id(t), t) for t in tickers}
        self._by_con_id: dict[int, Instrument] = {u.con_id: u for u in self.underlyings.values()}
        self._chains: dict[str, dict[tuple[str, str], list[Contract]]] = {t: {} for t in tickers}
        self._open_utc = market.open_utc
        self._list()

    def follow(self) -> None:
        """List anew where the market has begun another session."""
        if self._market.open_utc != self._open_utc:
            self._open_utc = self._market.open_utc
            self._list()

    def _list(self) -> None:
        market = self._market
        for ticker in market.tickers:
            chain: dict[tuple[str, str], list[Contract]] = defaultdict(list)
            for contract in market.contracts(ticker):
                chain[f"{contract.expiry:%Y%m%d}", contract.right.value].append(contract)
                self._by_con_id[contract.con_id] = contract
            self._chains[ticker] = dict(chain)

    def order_fields(self, con_id: int) -> tuple[str, ...]:
        """Return the fields of a contract as replies about orders, executions and positions hold it.

        Raises:
            KeyError: the contract id is unknown.
        """
        return contract_fields(self._by_con_id[con_id], "SMART")

    def fields_of(self, order: Order) -> tuple[str, ...]:
        """Return the fields of what an order trades: a contract, or a combination of some.

        Raises:
            KeyError: a contract id is unknown.
        """
        if not order.legs:
            return self.order_fields(order.con_id)
        ticker = self._by_con_id[order.legs[0].con_id].ticker
        return (str(COMBO_CON_ID), ticker, "BAG", "", "0", "", "", "SMART", "USD", str(COMBO_CON_ID), "COMB")

    def are_options_of(self, ticker: str, con_ids: Iterable[int]) -> bool:
        """Return whether all of these are option contracts of one ticker."""
        found = [self._by_con_id.get(con_id) for con_id in con_ids]
        return all(isinstance(it, Contract) and it.ticker == ticker for it in found)

    def any_option(self) -> int:
        """Return the contract id of some option.

        Raises:
            LookupError: the market has none.
        """
        found = next((con_id for con_id, what in self._by_con_id.items() if isinstance(what, Contract)), None)
        if found is None:
            raise LookupError("the market lists no option")
        return found

    def find(self, query: ContractQuery) -> list[Instrument]:
        """Return what a request describes; empty fields match anything, an empty list means error 200."""
        if query.con_id:
            found = self._by_con_id.get(query.con_id)
            return [found] if found else []
        if query.local_symbol and not query.symbol:
            return [i for i in self._by_con_id.values() if local_symbol(i) == query.local_symbol]
        underlying = self.underlyings.get(query.symbol)
        if underlying is None or query.currency not in ("", "USD"):
            return []
        if query.sec_type == underlying.sec_type:
            return [underlying]
        if query.sec_type != "OPT":
            return []
        chain = self._chains[query.symbol]
        return [
            contract
            for (expiry, right), contracts in chain.items()
            if expiry.startswith(query.expiry[:8]) and query.right in ("", right)
            for contract in contracts
            if _matches(contract, query)
        ]

    def details(self, request_id: int, instrument: Instrument, exchange: str, version: int) -> bytes:
        """Write contractDetails (10) for server versions 157 to 178."""
        ticker = instrument.ticker
        is_index = ticker in INDICES
        head = [10, 8] if version < 164 else [10]
        zone, closing = ("US/Central", "15:00:00") if is_index else ("US/Eastern", "16:00:00")
        exchanges: tuple[str, ...]
        if isinstance(instrument, Contract):
            is_option, expiry = True, f"{instrument.expiry:%Y%m%d}"
            rule = RULE_IDS[rule_of(instrument.trading_class)]
            exchanges = OPTION_EXCHANGES[is_index]
        else:
            is_option, expiry = False, ""
            rule = STOCK_RULE
            exchanges = (instrument.exchange,) if is_index else ("SMART", instrument.exchange)
        c = contract_fields(instrument, exchange or exchanges[0])
        fields = [
            *head, request_id, c[1], c[2],
            f"{expiry} {closing} {zone}" if is_option else "",
            c[4], c[5], c[7], c[8], c[9],
            c[10] or ticker, c[10], c[0], usd(TICK_RULES[rule][0][1]),
        ]  # fmt: skip
        if version < 164:
            fields.append("")  # mdSizeMultiplier
        fields += [
            c[6], ORDER_TYPES, ",".join(exchanges), 1,
            self.underlyings[ticker].con_id if is_option else 0,
            LONG_NAMES.get(ticker, ticker), "" if is_option or not is_index else "CBOE",
            expiry[:6], "", "", "", zone, self._hours(is_index), self._hours(is_index), "", "", 0,
            1 if is_index else 2, ticker if is_option else "",
            self.underlyings[ticker].sec_type if is_option else "",
            ",".join([str(rule)] * len(exchanges)), expiry, "" if is_option or is_index else "COMMON",
        ]  # fmt: skip
        if version == 163:
            fields.append(1)
        elif version >= 164:
            fields += [1, 1, 1]
        return encode(*fields)

    def option_params(
        self, request_id: int, symbol: str, exchange: str, hidden: frozenset[str] = frozenset()
    ) -> list[bytes]:
        """Write securityDefinitionOptionParameter (75), one for each exchange and trading class that is not hidden."""
        underlying = self.underlyings.get(symbol)
        if underlying is None:
            return []
        rows: dict[tuple[str, int], tuple[set[str], set[int]]] = {}
        for (expiry, _), contracts in self._chains[symbol].items():
            for contract in (c for c in contracts if c.trading_class not in hidden):
                key = (contract.trading_class, contract.multiplier)
                expiries, strikes = rows.setdefault(key, (set(), set()))
                expiries.add(expiry)
                strikes.add(contract.strike_ticks)
        out = []
        for venue in OPTION_EXCHANGES[symbol in INDICES]:
            for (trading_class, multiplier), (expiries, strikes) in sorted(rows.items()):
                if exchange not in ("", venue):
                    continue
                head = (75, request_id, venue, underlying.con_id, trading_class, multiplier)
                prices = (strike / 100 for strike in sorted(strikes))
                out.append(encode(*head, len(expiries), *sorted(expiries), len(strikes), *prices))
        return out

    def _hours(self, is_index: bool) -> str:
        """Write the session as `20261120:0930-20261120:1600` in the contract's own zone."""
        opens, closes = self._market.open_utc, self._market.close_utc
        day = f"{session_of(opens):%Y%m%d}"
        shift = timedelta(hours=1).seconds * 1_000_000_000 if is_index else 0
        start, end = (exchange_clock(at - shift)[:5].replace(":", "") for at in (opens, closes))
        return f"{day}:{start}-{day}:{end}"


def market_rule(rule: int) -> bytes | None:
    """Write marketRule (93); `None` if there is no rule of this id."""
    bands = TICK_RULES.get(rule)
    if bands is None:
        return None
    return encode(93, rule, len(bands), *(usd(edge) for band in bands for edge in band))


def local_symbol(instrument: Instrument) -> str:
    """Return the exchange's symbol: of an option the OCC one, padded to 21 characters."""
    if isinstance(instrument, Underlying):
        return instrument.ticker
    strike = f"{instrument.strike_ticks * 10:08d}"
    return f"{instrument.trading_class:<6}{instrument.expiry:%y%m%d}{instrument.right.value}{strike}"


def contract_fields(instrument: Instrument, exchange: str) -> tuple[str, ...]:
    """Return the fields of contract11, the contract as order, execution and position replies hold it."""
    if isinstance(instrument, Underlying):
        symbol = instrument.ticker
        kind = "" if instrument.sec_type == "IND" else symbol
        return (str(instrument.con_id), symbol, instrument.sec_type, "", "0", "", "", exchange,
                "USD", symbol, kind)  # fmt: skip
    return (
        str(instrument.con_id), instrument.ticker, "OPT", f"{instrument.expiry:%Y%m%d}",
        repr(instrument.strike_ticks / 100), instrument.right.value, str(instrument.multiplier),
        exchange, "USD", local_symbol(instrument), instrument.trading_class,
    )  # fmt: skip


def _matches(contract: Contract, query: ContractQuery) -> bool:
    is_index = contract.ticker in INDICES
    return (
        query.strike_ticks in (None, contract.strike_ticks)
        and query.trading_class in ("", contract.trading_class)
        and query.multiplier in ("", str(contract.multiplier))
        and query.exchange in ("", *OPTION_EXCHANGES[is_index])
        and query.local_symbol in ("", local_symbol(contract))
    )
