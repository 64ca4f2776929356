"""The REST of the simulated provider: snapshots of option chains in pages, and minute aggregates of the day so far."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from domain.indices import INDICES
from domain.instants import MINUTE, MS, SECOND
from domain.instruments import Right
from domain.options import black_scholes
from domain.ports import Clock
from domain.units import Utc
from simulation.hubs.http import Answer
from simulation.market.market import Market
from simulation.market_data.faults import ProviderFaults

PAGE_ROWS_MAX: Final = 250
_CHAIN: Final = re.compile(r"/v3/snapshot/options/([A-Z:]{1,12})")
_MINUTES: Final = re.compile(r"/v2/aggs/ticker/([A-Z:]{1,12})/range/1/minute/[0-9-]{10}/[0-9-]{10}")


class RestDesk:
    """Answers the REST paths.

    Args:
        market: what is told; it is stepped to the clock first.
        clock: the market's time.
        key: the one key that is known; `None` lets any in.
        faults: what goes wrong.
        url: gives the address that it is reached by.
    """

    def __init__(
        self, market: Market, clock: Clock, key: str | None, faults: ProviderFaults, url: Callable[[], str]
    ) -> None:
        self._market = market
        self._clock = clock
        self._key = key
        self._faults = faults
        self._url = url
        self.asked: list[str] = []

    def answer(self, address: str, authorization: str) -> Answer:
        """Answer one request by the provider's rules; `asked` keeps its address."""
        self.asked.append(address)
        scheme, _, key = authorization.partition(" ")
        if scheme != "Bearer" or not key or self._key not in (None, key):
            return _error(401, "Unknown API Key")
        if self._faults.statuses:
            status, retry_after_s = self._faults.statuses.pop(0)
            headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
            return Answer(status, {"status": "ERROR", "error": "refused"}, headers)
        parts = urlsplit(address)
        path, query = unquote(parts.path), {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self._market.step(max(self._clock.now_utc(), self._market.now_utc))
        chain, minutes = _CHAIN.fullmatch(path), _MINUTES.fullmatch(path)
        try:
            if chain is not None:
                return self._chain(chain[1], query)
            if minutes is not None:
                return self._minutes(minutes[1])
        except (KeyError, ValueError):
            return _error(404, f"there is nothing at {path}")
        return _error(404, f"there is nothing at {path}")

    def _chain(self, symbol: str, query: dict[str, str]) -> Answer:
        """Answer one page of a chain; the cursor is how many contracts came before it."""
        rows = self._contracts(symbol, query)
        begin, n = int(query.get("cursor", "0")), min(int(query.get("limit", "10")), PAGE_ROWS_MAX)
        page: dict[str, Any] = {"status": "OK", "request_id": "simulated", "results": rows[begin : begin + n]}
        if begin + n < len(rows):
            kept = "&".join(f"{k}={quote(v)}" for k, v in query.items() if k != "cursor")
            own = f"{self._url()}/v3/snapshot/options/{symbol}?{kept}&cursor={begin + n}"
            page["next_url"] = self._faults.foreign_page or own
        return Answer(200, page)

    def _contracts(self, symbol: str, query: dict[str, str]) -> list[dict[str, Any]]:
        market, ticker = self._market, symbol.removeprefix("I:")
        chain, _ = market.chain(ticker)
        gamma = black_scholes.gamma(chain.spot, chain.ladder.strikes, chain.years, chain.iv)
        first = date.fromisoformat(query.get("expiration_date.gte", "1970-01-01"))
        last = date.fromisoformat(query.get("expiration_date.lte", "9999-12-31"))
        underlying: dict[str, Any] = {"ticker": symbol, "timeframe": "REAL-TIME"}
        if not self._faults.has_no_prices:
            underlying |= {
                "value" if ticker in INDICES else "price": market.spot(ticker).price_ticks / 100,
                "last_updated": market.now_utc,
            }
        return [
            {
                "details": {
                    "contract_type": "call" if contract.right is Right.CALL else "put",
                    "exercise_style": "european" if ticker in INDICES else "american",
                    "expiration_date": contract.expiry.isoformat(), "shares_per_contract": 100,
                    "strike_price": contract.strike_ticks / 100,
                    "ticker": f"O:{contract.trading_class}{contract.expiry:%y%m%d}{contract.right.value}"
                    f"{contract.strike_ticks * 10:08d}",
                },
                "greeks": {"gamma": float(gamma[n])},
                "implied_volatility": float(chain.iv[n]), "open_interest": int(chain.open_interest[n]),
                "day": {"volume": int(chain.volume[n])}, "underlying_asset": underlying,
            }
            for n, contract in enumerate(market.contracts(ticker))
            if first <= contract.expiry <= last
        ]  # fmt: skip

    def _minutes(self, symbol: str) -> Answer:
        """Answer the minutes of the day that are over."""
        market, ticker = self._market, symbol.removeprefix("I:")
        begins = range(market.open_utc, market.now_utc // MINUTE * MINUTE, MINUTE)
        return Answer(200, {
            "status": "OK", "ticker": symbol, "adjusted": True,
            "results": [self._minute(ticker, Utc(begin_utc)) for begin_utc in begins],
        })  # fmt: skip

    def _minute(self, ticker: str, begin_utc: Utc) -> dict[str, Any]:
        path = self._market.path
        begin = (begin_utc - path.start_utc) // SECOND
        prices = [round(float(price), 2) for price in path.spots[ticker][begin : begin + 60]]
        bar = {"t": begin_utc // MS, "o": prices[0], "h": max(prices), "l": min(prices), "c": prices[-1]}
        return bar if ticker in INDICES else bar | {"v": 6_000}


def _error(status: int, sentence: str) -> Answer:
    return Answer(status, {"status": "ERROR", "error": sentence})
