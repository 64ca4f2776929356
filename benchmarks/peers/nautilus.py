"""The day through NautilusTrader's backtest engine: risk engine on, one margin account, netting, no latency model."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import nautilus_trader
import numpy as np
import pandas as pd
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import AccountType, AssetClass, OmsType, OptionKind, OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import OptionContract
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import QuoteTickDataWrangler
from nautilus_trader.trading.strategy import Strategy

from benchmarks.peers.day import (
    BID_MIN_USD,
    BUY,
    CANCEL_NS,
    GAIN,
    HOLD_NS,
    LOSS,
    MEAN_SHARE,
    PAUSE_NS,
    SECOND,
    SELL,
    Day,
    Rows,
    read,
    tell,
)

VENUE = Venue("CBOE")


class Held:
    """What the rule knows of one contract."""

    __slots__ = ("contract", "entered", "entry", "mean", "order", "quiet", "sent")

    def __init__(self, contract: int) -> None:
        self.contract = contract
        self.mean = self.entry = 0.0
        self.entered = self.quiet = self.sent = 0
        self.order: Any = None


class Runaway(Strategy):  # type: ignore[misc]
    """The rule, one instance for all contracts."""

    def __init__(self, threshold: float, instruments: list[Any]) -> None:
        super().__init__(StrategyConfig(strategy_id="R-1"))
        self.threshold = threshold
        self.instruments = instruments
        self.held: dict[Any, Held] = {}
        self.rows: list[tuple[int, int, int, int]] = []

    def on_start(self) -> None:
        """Want every quote."""
        for n, instrument in enumerate(self.instruments):
            self.held[instrument.id] = Held(n)
            self.subscribe_quote_ticks(instrument.id)

    def on_quote_tick(self, tick: Any) -> None:
        """Look at a quote."""
        held, now = self.held[tick.instrument_id], tick.ts_event
        bid, ask = tick.bid_price.as_double(), tick.ask_price.as_double()
        mid = (bid + ask) * 0.5
        if held.mean == 0.0:
            held.mean = mid
        held.mean += MEAN_SHARE * (mid - held.mean)
        if held.order is not None:
            if now - held.sent > CANCEL_NS and not held.order.is_closed:
                held.sent = now
                self.cancel_order(held.order)
            return
        if held.entry == 0.0:
            if mid > self.threshold * held.mean and bid >= BID_MIN_USD and now > held.quiet:
                self._send(held, tick.instrument_id, OrderSide.BUY, tick.ask_price, now)
        elif bid >= GAIN * held.entry or bid <= LOSS * held.entry or now - held.entered > HOLD_NS:
            self._send(held, tick.instrument_id, OrderSide.SELL, tick.bid_price, now)

    def _send(self, held: Held, instrument_id: Any, side: Any, price: Any, now: int) -> None:
        held.sent = now
        held.order = self.order_factory.limit(
            instrument_id, side, Quantity.from_int(1), price, time_in_force=TimeInForce.DAY,
            reduce_only=side == OrderSide.SELL,
        )  # fmt: skip
        self.submit_order(held.order)

    def on_order_filled(self, event: Any) -> None:
        """Take note of a fill."""
        held, is_buy = self.held[event.instrument_id], event.order_side == OrderSide.BUY
        held.order, price = None, float(event.last_px)
        self.rows.append((event.ts_event, held.contract, BUY if is_buy else SELL, round(price * 100)))
        if is_buy:
            held.entry, held.entered = price, event.ts_event
        else:
            held.entry, held.quiet = 0.0, event.ts_event + PAUSE_NS

    def on_order_canceled(self, event: Any) -> None:
        """Be free for another order."""
        self.held[event.instrument_id].order = None

    def on_order_denied(self, event: Any) -> None:
        """Be free for another order."""
        self.held[event.instrument_id].order = None


def run(path: Path, threshold: float) -> tuple[Rows, dict[str, Any]]:
    """Return the fills, and what loading the quotes took of the time."""
    began = time.perf_counter()
    day, about = read(path)
    quiet = LoggingConfig(log_level="ERROR", bypass_logging=True)
    engine = BacktestEngine(
        BacktestEngineConfig(
            trader_id=TraderId("BT-1"), logging=quiet, run_analysis=False, risk_engine=RiskEngineConfig(bypass=False)
        )
    )
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USD)], base_currency=USD)
    instruments = [_instrument(meta, about) for meta in about["inst"]]
    for instrument in instruments:
        engine.add_instrument(instrument)
    ticks = [tick for n, instrument in enumerate(instruments) for tick in _ticks(day, n, instrument)]
    ticks.sort(key=lambda tick: tick.ts_init)
    engine.add_data(ticks, sort=True, validate=False)
    del ticks
    load_s = time.perf_counter() - began
    strategy = Runaway(threshold, instruments)
    engine.add_strategy(strategy)
    engine.run()
    rows = np.array(strategy.rows, np.int64).reshape(-1, 4)
    return rows, {"load_s": round(load_s, 3), "version": nautilus_trader.__version__}


def _instrument(meta: dict[str, Any], about: dict[str, Any]) -> Any:
    symbol, kind = Symbol(meta["symbol"]), OptionKind.CALL if meta["right"] == "C" else OptionKind.PUT
    activation, expiration = about["open_ns"] - 86_400 * SECOND, about["close_ns"] + 1
    return OptionContract(
        InstrumentId(symbol, VENUE), symbol, AssetClass.INDEX, USD, 2, Price.from_str("0.05"), Quantity.from_int(100),
        Quantity.from_int(1), "SPX", kind, Price.from_str(f"{meta['strike']:.2f}"), activation, expiration, 0, 0,
        margin_init=Decimal(0), margin_maint=Decimal(0),
    )  # fmt: skip


def _ticks(day: Day, contract: int, instrument: Any) -> Any:
    mine = day["inst"] == contract
    columns = {"bid_price": "bid", "ask_price": "ask", "bid_size": "bsz", "ask_size": "asz"}
    values = {name: day[column][mine].astype(float) for name, column in columns.items()}
    table = pd.DataFrame(values, index=pd.DatetimeIndex(pd.to_datetime(day["ts"][mine], utc=True)))
    return QuoteTickDataWrangler(instrument).process(table)


if __name__ == "__main__":
    tell("NautilusTrader", run, twice=False)
