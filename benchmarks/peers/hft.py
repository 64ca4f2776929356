"""The day through hftbacktest: forty assets in one run, a book each, limit orders at the touch, no latency.

Quotes become depth events before the clock runs (`convert_s`). Prices are read as `tick / 20`: times 0.05 they differ
in their last bits, and trades with them.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    FILLED,
    GTC,
    LIMIT,
    LOCAL_EVENT,
    SELL_EVENT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from numba import njit

from benchmarks.peers.day import (
    BID_MIN_USD,
    BUY,
    GAIN,
    HOLD_NS,
    LOSS,
    MEAN_SHARE,
    PAUSE_NS,
    SELL,
    Day,
    Rows,
    read,
    tell,
)

TICK_USD = 0.05


def run(path: Path, threshold: float) -> tuple[Rows, dict[str, Any]]:
    """Return the fills, and what the conversion took."""
    day, about = read(path)
    began, began_cpu = time.perf_counter(), time.process_time()
    events = [_events(day, k) for k in range(len(about["inst"]))]  # kept here: an asset looks into them, and owns none
    assets = [_asset(of_contract) for of_contract in events]
    convert_s, convert_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    backtest = ROIVectorMarketDepthBacktest(assets)
    rows = np.empty((len(day["ts"]), 4), np.int64)
    n = _loop(backtest, day["ts"], day["inst"], threshold, rows)
    backtest.close()
    return rows[:n].copy(), {
        "left_out_s": round(convert_s, 4), "left_out_cpu_s": round(convert_cpu_s, 4), "version": version("hftbacktest"),
    }  # fmt: skip


def _asset(events: Any) -> Any:
    return (
        BacktestAsset()
        .data([events])
        .linear_asset(100.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(TICK_USD)
        .lot_size(1.0)
        .roi_lb(0.0)
        .roi_ub(200.0)
        .last_trades_capacity(0)
    )


def _events(day: Day, contract: int) -> Any:
    """Return a contract's quotes as depth events: the level that was the touch is cleared, the new one is set."""
    mine = day["inst"] == contract
    ts, n = day["ts"][mine], int(mine.sum())
    made = np.zeros((n, 4), event_dtype)
    wanted = np.ones((n, 4), bool)
    for at, (price, size, side) in enumerate((("bid", "bsz", BUY_EVENT), ("ask", "asz", SELL_EVENT))):
        now, before = day[price][mine], np.roll(day[price][mine], 1)
        wanted[:, at] = now != before
        wanted[0, at] = False
        for column, prices, sizes in ((at, before, 0.0), (2 + at, now, day[size][mine])):
            made["px"][:, column], made["qty"][:, column] = prices, sizes
            made["ev"][:, column] = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT | side
    made["exch_ts"][:] = made["local_ts"][:] = ts[:, None]
    return made[wanted]


@njit  # type: ignore[untyped-decorator]
def _loop(backtest: Any, ts: Any, inst: Any, threshold: float, rows: Any) -> int:
    contracts = backtest.num_assets
    mean, entry = np.zeros(contracts), np.zeros(contracts)
    entered, quiet = np.zeros(contracts, np.int64), np.zeros(contracts, np.int64)
    n, order_id, before = 0, 0, ts[0]  # its clock begins at the first event
    for i in range(len(ts)):
        k, now = inst[i], ts[i]
        backtest.elapse(now - before)
        before = now
        depth = backtest.depth(k)
        bid, ask = depth.best_bid_tick / 20.0, depth.best_ask_tick / 20.0
        mid = (bid + ask) * 0.5
        if mean[k] == 0.0:
            mean[k] = mid
        mean[k] += MEAN_SHARE * (mid - mean[k])
        side = 0
        if entry[k] == 0.0:
            if mid > threshold * mean[k] and bid >= BID_MIN_USD and now > quiet[k]:
                side = BUY
        elif bid >= GAIN * entry[k] or bid <= LOSS * entry[k] or now - entered[k] > HOLD_NS:
            side = SELL
        if side == 0:
            continue
        order_id += 1
        if side == BUY:
            backtest.submit_buy_order(k, order_id, ask, 1.0, GTC, LIMIT, True)
        else:
            backtest.submit_sell_order(k, order_id, bid, 1.0, GTC, LIMIT, True)
        order = backtest.orders(k).get(order_id)
        if order.status != FILLED:
            continue
        cents = order.exec_price_tick * 5
        rows[n, 0], rows[n, 1], rows[n, 2], rows[n, 3] = now, k, side, cents
        n += 1
        if side == BUY:
            entry[k], entered[k] = cents / 100.0, now
        else:
            entry[k], quiet[k] = 0.0, now + PAUSE_NS
        backtest.clear_inactive_orders(k)
    return n


if __name__ == "__main__":
    tell("hftbacktest", run, twice=True)
