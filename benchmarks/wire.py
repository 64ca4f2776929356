"""The wire: an order's round trip through ib_insync against the simulated gateway, in another process."""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import time as clock_time
from typing import Any

import msgspec
from ib_insync import IB, LimitOrder

from benchmarks.children import Child
from benchmarks.figures import SPREAD, Report, ms, percentile, spread
from config.settings import load_settings
from domain.instants import at_exchange
from gateways.ib.translate import ib_option
from simulation.market.market import Market
from supervision.clock import MarketClock

ORDERS = 300
CONTRACTS = 30  # in turn: the exchange fills no more than a quote displays until the next one
PAUSE_S = 0.03  # 45 requests a second are ib_insync's own limit
FILL_S = 5.0
SLOW_NS = 100_000_000
# The prototype gateway's figures of the project's gateway specification, section 4 (another run, two idle cores).
SPEC = {"bytes": ("0.09", "0.14"), "ack": ("0.36", "0.78"), "fill": ("0.61", "1.12"), "fee": ("0.62", "1.13")}
NAMES = {
    "call": "the placeOrder call itself",
    "bytes": "placeOrder → bytes in the gateway's data_received",
    "ack": "placeOrder → Submitted",
    "fill": "placeOrder → Filled",
    "fee": "placeOrder → commission report",
}


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("wire", "Order round trip through ib_insync", "python -m benchmarks wire")
    took, unfilled = asyncio.run(_orders(max(10, round(ORDERS * scale))))
    report.table(
        f"Marketable limit orders of {CONTRACTS} contracts in turn, one after another, n = {len(took['call'])}; beside "
        "them the spec's figures for a prototype gateway without a matching engine (p50 / p99 ms).",
        ["what", *SPREAD, "spec p50 / p99"],
        [[NAMES[k], *spread(v), " / ".join(SPEC[k]) if k in SPEC else ""] for k, v in took.items()],
    )
    for key in ("ack", "fill"):
        report.aim(
            NAMES[key],
            "reported",
            f"p50 {ms(percentile(took[key], 50))} ms, p99 {ms(percentile(took[key], 99))} ms",
            None,
        )
    report.note(
        "The exchange's own latency (20 ms by default) is set to 0, so that what is measured is the wire and the code."
    )
    slow = sum(ns > SLOW_NS for ns in took["fill"])
    report.note(
        f"{slow} of {len(took['fill'])} fills took more than {SLOW_NS / 1e6:.0f} ms; they are in the table. (The "
        "exchange lets an order wait for the next quote where it has taken all that was displayed.)"
    )
    if unfilled:
        report.note(f"{unfilled} orders were not filled within {FILL_S:g} s and are left out.")
    return report


async def _orders(n: int) -> tuple[dict[str, list[int]], int]:
    demo = load_settings(profile="demo").demo
    clock = MarketClock.starting(at_exchange(demo.session, clock_time(11)), 1.0)
    child = Child(
        "gateway_child", msgspec.json.encode(clock.segment).decode(), "0", demo.session.isoformat(), str(demo.seed)
    )  # fmt: skip
    port = int(child.next()["port"])
    world = Market(demo.seed, demo.session)
    world.step(clock.now_utc())
    spot = world.spot("SPX").price_ticks
    today = [c for c in world.contracts("SPX") if c.expiry == demo.session and c.right == "C"]
    wanted = sorted(today, key=lambda c: abs(c.strike_ticks - spot))[:CONTRACTS]
    options = [ib_option(contract) for contract in wanted]
    took: dict[str, list[int]] = {name: [] for name in NAMES}
    make_ib: Any = IB  # ib_insync carries no types
    ib = make_ib()
    unfilled = 0
    try:
        await ib.connectAsync("127.0.0.1", port, clientId=31)
        gc.collect()
        gc.freeze()
        for i in range(n):
            contract = wanted[i % CONTRACTS]
            ask = world.quote(contract.con_id).ask_ticks or 100
            times = await _order(ib, options[i % CONTRACTS], "BUY" if i // CONTRACTS % 2 == 0 else "SELL", ask)
            arrived = await asyncio.to_thread(child.next)
            if times is None:
                unfilled += 1
                continue
            times["bytes"] = int(arrived["order_at_ns"])
            began = times.pop("began")
            for name in NAMES:
                took[name].append(times[name] - began)
            await asyncio.sleep(PAUSE_S)
    finally:
        ib.disconnect()
        child.close()
    return took, unfilled


async def _order(ib: IB, option: Any, action: str, ask_ticks: int) -> dict[str, int] | None:
    """Place one order far through the market; real instants of what was heard of it."""
    price = ask_ticks * 2 / 100 if action == "BUY" else 0.05
    order = LimitOrder(action, 1, round(price, 1) if action == "BUY" else price, orderRef="bench", tif="DAY")
    done = asyncio.Event()
    times = {"began": time.time_ns()}
    trade = ib.placeOrder(option, order)
    times["call"] = time.time_ns()

    def on_status(_trade: Any) -> None:
        now = time.time_ns()
        if trade.orderStatus.status in ("Submitted", "Filled"):
            times.setdefault("ack", now)
        if trade.orderStatus.status == "Filled":
            times.setdefault("fill", now)
            _end()

    def on_fee(*_: Any) -> None:
        times.setdefault("fee", time.time_ns())
        _end()

    def _end() -> None:
        if "fill" in times and "fee" in times:
            done.set()

    trade.statusEvent += on_status
    trade.commissionReportEvent += on_fee
    try:
        await asyncio.wait_for(done.wait(), FILL_S)
    except TimeoutError:
        ib.cancelOrder(order)
        return None
    return times
