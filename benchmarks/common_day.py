"""`python -m benchmarks.common_day --thr 1.25 [--json]`: the benchmark day that all engines run, through our desk.

The strategy is a lane; its orders pass the real gates, ledgers, order session and positions. The hash has the form of
`nt_bench.py` of the shared benchmark, so the trades can be compared with those of other engines one by one.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from config.settings import Settings
from domain.instants import session_of
from domain.instruments import Contract, Right, Side
from domain.limits import OverlayRow, StrategyRules, TickerRules
from domain.units import Cents, Qty, Ticks, Utc
from main import Port, Stores, assemble
from messages import positions
from messages.base import Event
from simulation.backtest.quote_lane import KIND, SOURCE, VERSION, LaneRules, QuoteLane
from simulation.backtest.quote_tape import Driver, Tape, TapeBroker, TapeOfQuotes, TapeQuotes
from simulation.broker.exchange import Exchange
from simulation.days.one_day import day_settings
from simulation.days.sweep import quick_folder
from simulation.days.world import NoWarehouse, trading_side
from simulation.market.market import Market
from storage.desk_ledger import DeskLedger
from storage.ledger_file import Together
from storage.promotions import promote
from storage.shared_ledger import SharedLedger, start_run
from supervision.collecting import collected_seldom
from supervision.spec import Tree
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.trace import SIMULATED, FileTrace, Header, NoTrace, Trace

GENERATOR: Final = Path(__file__).parents[2] / "shared" / "bench" / "gen_day.py"
BEFORE_NS: Final = 600 * 1_000_000_000
NAV_CENTS: Final = Cents(100_000_000_00)
PENNY_CLASS: Final = "SPY"  # the day's prices stand on a grid that SPXW has not above 3.00
NEVER_MS: Final = 86_400_000
FIRST_ID: Final = 1_000  # of the day's contracts, in the order of the file
FILLED: Final = 14  # the status of a filled order in the hash's form

Fill = tuple[Utc, int, Side, Ticks]  # instant, contract's id, side, price


class Meta(msgspec.Struct):
    """One contract of the day's file."""

    symbol: str
    right: str
    strike: float


class DayFile(msgspec.Struct):
    """What lies beside the columns."""

    open_ns: int
    close_ns: int
    inst: list[Meta]


class Result(msgspec.Struct, kw_only=True):
    """What a run came to; `pnl_usd` by the fills, what is still open at its cost."""

    threshold: float
    orders: int
    trades_hash: str
    pnl_usd: float
    wall_s: float
    cpu_s: float
    peak_mb: int
    messages: int
    woken: int
    quotes: int
    denied: dict[str, int]


def run(file: Path, threshold: float, record: Path | None = None) -> Result:
    """Run the day of a file (`.npz`, with its `.json` beside it); the time goes from the file to the last fill.

    With `record` every message is written to a trace there, which is none yet.
    """
    return traded(file, threshold, record)[0]


def traded(file: Path, threshold: float, record: Path | None = None) -> tuple[Result, list[Fill]]:
    """Run the day, and return its fills in order beside what it came to."""
    gc.freeze()  # the modules: no collection of the run's need look at them
    with collected_seldom():
        return _traded(file, threshold, record)


def _traded(file: Path, threshold: float, record: Path | None) -> tuple[Result, list[Fill]]:
    began, began_cpu = time.perf_counter(), time.process_time()
    rules = LaneRules(threshold)
    about = msgspec.json.decode(file.with_suffix(".json").read_bytes(), type=DayFile)
    tapes = _tapes(file, about, rules)
    settings = _settings(tapes)
    market = TapeOfQuotes(tapes, Utc(about.open_ns), Utc(about.close_ns))
    clock = VirtualClock(Utc(about.open_ns - BEFORE_NS))
    exchange = Exchange(market, cash_cents=NAV_CENTS, latency_ms=0)
    with tempfile.TemporaryDirectory(dir=quick_folder()) as name:
        ports: list[TapeQuotes] = []
        runtime = _runtime(settings, Path(name), clock, market, exchange, rules, ports, record)
        runtime.start_tree()
        runtime.run_until(Utc(about.open_ns))
        driver = Driver(runtime, market, ports[0], rules)
        driver.run()
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        denied: dict[str, int] = {}
        for cell in runtime.cells.values():
            state: Any = cell.state
            for code in getattr(state, "denied", ()) if cell.name.startswith("lane:") else ():
                denied[code] = denied.get(code, 0) + 1
        messages = runtime.steps
        runtime.close()
        if isinstance(runtime.trace, FileTrace):
            runtime.trace.close()
    rows = [(e.at_utc, e.order.con_id, e.order.side, e.price_ticks) for e, _ in exchange.executions()]
    named = [(at, about.inst[con_id - FIRST_ID].symbol, _side_n(side), price) for at, con_id, side, price in rows]
    result = Result(
        threshold=threshold, orders=len(rows), trades_hash=hash_of(named),
        pnl_usd=pnl_usd([(con_id, side is Side.BUY, price) for _, con_id, side, price in rows]),
        wall_s=round(wall_s, 3), cpu_s=round(cpu_s, 3),
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        messages=messages, woken=driver.woken, quotes=sum(len(tape.ts) for tape in tapes), denied=denied,
    )  # fmt: skip
    return result, rows


def _tapes(file: Path, about: DayFile, rules: LaneRules) -> list[Tape]:
    """Return the day by contract, one column in memory at a time."""
    session = session_of(Utc(about.open_ns))
    with np.load(file) as columns:
        inst = columns["inst"]
        order = np.argsort(inst, kind="stable")
        edges = np.searchsorted(inst[order], np.arange(len(about.inst) + 1))
        del inst
        ts, bid, ask, bid_size, ask_size = (columns[name][order] for name in ("ts", "bid", "ask", "bsz", "asz"))
    made = []
    for n, meta in enumerate(about.inst):
        part = slice(int(edges[n]), int(edges[n + 1]))
        right = Right(meta.right)
        contract = Contract(FIRST_ID + n, f"T{n}", PENNY_CLASS, session, Ticks(round(meta.strike * 100)), right)
        sizes = (bid_size[part], ask_size[part])
        made.append(Tape(contract, ts[part], order[part], bid[part], ask[part], sizes, rules))
    return made


def _settings(tapes: list[Tape]) -> Settings:
    """Return settings under which the desk refuses nothing that the rule wants, and exits nothing by itself.

    Every gate is asked all the same. A ticker for each contract: the rule looks at one contract at a time.
    """
    base = day_settings()
    tickers = [tape.contract.ticker for tape in tapes]
    ticker = TickerRules(
        trading_class=PENNY_CLASS, underlying_stop_ticks=None, underlying_stop_bps=None, progress_ticks=None,
        progress_bps=None, iv_size_ticks=None, iv_size_bps=None, max_hold_ms=NEVER_MS, size_cap=Qty(1),
        spread_cap_ticks=Ticks(10_000), premium_min_ticks=Ticks(1), premium_max_ticks=Ticks(1_000_000),
    )  # fmt: skip
    strategy = StrategyRules(
        plan="long_option", signal_age_max_ms=NEVER_MS, cooldown_ms=0, trades_per_day_max=1_000_000,
        one_position_only=False, long_only=True,
    )  # fmt: skip
    full = (OverlayRow(at_least=0.0, factor=1.0),)
    overlay = replace(base.entry.overlay, vix=full, realised=full, confidence=full)
    entry = replace(
        base.entry, daily_loss_nav=1.0, soft_stop_nav=1.0, auto_flatten_nav=1.0, loss_streak_max=1_000_000,
        losses_cut=1.0, positions_max=1_000, positions_per_ticker_max=1_000, premium_nav_per_underlying=1.0,
        premium_nav_total=1.0, risk_nav=1.0, notional_nav=1.0, delta_min=0.0, delta_max=1.0,
        account_age_max_ms=NEVER_MS, overlay=overlay, spread_share_max=1.0, spread_share_by_time=(),
    )  # fmt: skip
    exits = replace(
        base.exits, premium_stop=1.0, premium_backstop=1.0, iv_crush_premium=1.0, take_single=1_000.0,
        no_progress_ms=NEVER_MS, blind_resubscribe_ms=NEVER_MS, blind_exit_ms=NEVER_MS, blind_market_ms=NEVER_MS,
        blind_underlying_ms=NEVER_MS, slow_check_ms=NEVER_MS,
    )  # fmt: skip
    return base.model_copy(
        update={
            "tickers": tuple(tickers), "lanes": {SOURCE: tuple(tickers)}, "alerts": {SOURCE: ()},
            "ticker_rules": dict.fromkeys(tickers, ticker), "strategies": {SOURCE: strategy},
            "promoted": (f"{KIND}-{VERSION}",), "entry": entry, "exits": exits,
            "day": replace(base.day, entry_after_open_ms=0, entry_stop_ms=0, panic_ms=0, flatten_ms=0),
            "kill": replace(base.kill, unknown_input_ms=NEVER_MS),
            "connection": replace(base.connection, lines_max=10_000),
            "warehouse": replace(base.warehouse, quotes_every_ms=NEVER_MS, chain_every_ms=NEVER_MS),
        }
    )  # fmt: skip


def _runtime(
    settings: Settings, folder: Path, clock: VirtualClock, market: TapeOfQuotes, exchange: Exchange, rules: LaneRules,
    ports: list[TapeQuotes], record: Path | None,
) -> SteppedRuntime:  # fmt: skip
    desk = settings.desk
    run_n = start_run(folder, (desk,), clock.now_utc())
    promote(folder, settings.promoted, SOURCE, "settings", "the benchmark's rule", clock.now_utc())
    together = Together()
    stores = Stores(
        SharedLedger(folder, (desk,), is_durable=False, together=together),
        DeskLedger(folder, desk, run_n, is_durable=False, together=together), NoWarehouse(),
    )  # fmt: skip
    shown: Any = market
    trace: Trace = NoTrace(clock) if record is None else _recording(record, settings, clock, run_n)

    def make_ports(runtime: SteppedRuntime) -> Iterable[Port]:
        ports.append(TapeQuotes(f"quotes:{desk}", runtime, market))
        taken: Market = shown
        return TapeBroker(f"ibkr:{desk}", runtime, taken, exchange), ports[0]

    def make_runtime(tree: Tree) -> SteppedRuntime:
        return SteppedRuntime(_with_lanes(trading_side(tree), settings, market, rules), clock, run_n, trace)

    return assemble(settings, stores, make_runtime, make_ports).runtime


def _recording(file: Path, settings: Settings, clock: VirtualClock, run_n: int) -> FileTrace:
    """Return a trace that all messages are written to.

    Raises:
        FileExistsError: there is such a file.
    """
    header = Header(
        run_n=run_n, session=SIMULATED, started_utc=clock.now_utc(), rate=1.0, settings_digest=settings.digest(),
        code_version="", settings=msgspec.Raw(settings.to_json()),
    )  # fmt: skip
    return FileTrace(file, header, clock, is_buffered=True)


def _with_lanes(tree: Tree, settings: Settings, market: TapeOfQuotes, rules: LaneRules) -> Tree:
    """Return the tree with the rule's lanes in the place of those for alerts; they also hear of their fills."""
    of_ticker = {tape.contract.ticker: tape.contract for tape in market.tapes.values()}
    children = tuple(
        replace(child, make=partial(QuoteLane, child.name, settings, rules, of_ticker[child.name.split(":")[2]]))
        if child.name.startswith("lane:")
        else child
        for child in tree.children
    )
    fills = (*tree.subscribers[positions.FillBooked], "lane:{ref.key.source}:{ref.key.ticker}")
    subscribers: dict[type[Event], tuple[str, ...]] = {**tree.subscribers, positions.FillBooked: fills}
    return dataclasses.replace(tree, children=children, subscribers=subscribers)


def _side_n(side: Side) -> int:
    return 1 if side is Side.BUY else 2


def hash_of(rows: Iterable[tuple[int, str, int, int]]) -> str:
    """Return the hash of fills (instant in ns, symbol, 1 buy or 2 sell, price in cents) in the form of all engines."""
    digest = hashlib.sha256()
    for at_utc, symbol, side, price in rows:
        digest.update(f"{at_utc}{symbol}.CBOE{side}{FILLED}{price / 100}".encode())
    return digest.hexdigest()[:12]


def pnl_usd(rows: Iterable[tuple[int, bool, int]]) -> float:
    """Return what fills (contract, whether bought, price in cents) came to; what is still open counts at its cost."""
    total = 0
    cost: dict[int, int] = {}
    for contract, is_buy, price in rows:
        if is_buy:
            cost[contract] = price
        else:
            total += price - cost.pop(contract)
    return float(total)  # cents a share, times 100 shares a contract


def day_file(given: Path | None, folder: Path) -> Path:
    """Return the day's file: the one given, or the shared benchmark's, made here."""
    if given is not None:
        for path in (given, given.with_suffix(".json")):
            if not path.is_file():
                raise SystemExit(f"There is no {path}; --day wants the day's .npz with its .json beside it.")
        return given
    if not GENERATOR.exists():
        raise SystemExit(f"There is no {GENERATOR}; give the day's file with --day (its .json lies beside it).")
    subprocess.run([sys.executable, str(GENERATOR), "1000000", "40"], cwd=folder, check=True, capture_output=True)
    return folder / "day_1000000_40.npz"


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.common_day", description=__doc__)
    parser.add_argument("--thr", type=float, default=1.25, help="entry threshold: 1.25 (1,007 orders) or 1.04 (6,115)")
    parser.add_argument("--day", type=Path, metavar="FILE", help="the day's .npz (default: made as the others make it)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write every message to a new trace file")
    parser.add_argument("--json", action="store_true", help="for machines")
    arguments = parser.parse_args()
    if arguments.record is not None and arguments.record.exists():
        parser.error(f"{arguments.record} exists; name a file for the trace that does not")
    with tempfile.TemporaryDirectory() as name:
        result = run(day_file(arguments.day, Path(name)), arguments.thr, arguments.record)
    if arguments.json:
        print(orjson.dumps(msgspec.to_builtins(result)).decode())
    else:
        print(
            f"{result.orders:,} orders, hash {result.trades_hash}, P&L {result.pnl_usd:+,.0f} USD by the fills;"
            f" {result.wall_s:.2f} s from the file to the last fill ({result.cpu_s:.2f} s of CPU), {result.peak_mb} MB,"
            f" {result.messages:,} messages, {result.woken:,} of {result.quotes:,} quotes delivered"
        )
        if result.denied:
            print(f"Denied: {result.denied}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
