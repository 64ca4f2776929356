"""`main.py simulate`: whole days on the stepped runtime and the in-process exchange, invariants checked."""

from __future__ import annotations

import gc
import hashlib
import tempfile
import time as real_time
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import time
from pathlib import Path

import orjson
from rich.console import Console

from commands.cli import CommandError
from commands.folder import settings_of
from commands.sim import market_of
from config.settings import Settings, scaled
from domain.instants import MINUTE, MS, SECOND, at_exchange, exchange_clock
from main import Stores, build_tree
from simulation.broker.exchange import Exchange
from simulation.inprocess.broker import BrokerPort
from simulation.inprocess.market import FeedPort, HubPort, QuotesPort
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger, promote, start_run
from storage.warehouse import Warehouse
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.trace import MemoryTrace, Trace

_SHOWN_EVERY_NS = 10 * MINUTE


@dataclass
class SteppedDay:
    """One simulated day: its runtime, its broker's truth, and where its ledgers lie."""

    runtime: SteppedRuntime
    exchange: Exchange
    settings: Settings
    folder: Path
    ports: dict[str, BrokerPort | QuotesPort | FeedPort | HubPort]
    end_utc: int

    @property
    def trace_hash(self) -> str:
        """Hash the whole trace (blake2b, hexadecimal)."""
        digest = hashlib.blake2b(digest_size=16)
        for line in getattr(self.runtime.trace, "lines", ()):
            digest.update(line)
        return digest.hexdigest()

    def run(self, until_utc: int | None = None) -> None:
        """Run to an instant, or to the end of the day."""
        self.runtime.run_until(until_utc or self.end_utc)


def stepped_day(
    settings: Settings, folder: Path, *, trace: Trace | None = None, shuffle_seed: int | None = None,
    clock: VirtualClock | None = None,
) -> SteppedDay:  # fmt: skip
    """Put a day together from the settings' demo section (seed, session, NAV); nothing has run yet."""
    demo = settings.demo
    clock = clock or start_of(settings)
    world = market_of(settings)
    ledgers = folder / "ledgers"
    ledgers.mkdir(parents=True, exist_ok=True)
    run_n = start_run(ledgers, clock.now_utc())
    for source in settings.lanes:
        promote(ledgers, settings.promoted, source, "demo", "named in the settings", clock.now_utc())
    stores = Stores(
        SharedLedger(ledgers, (settings.desk,), is_durable=False),
        DeskLedger(ledgers, settings.desk, run_n, is_durable=False),
        Warehouse(folder / "warehouse", is_durable=False, seals=False),
    )
    tree = build_tree(settings, stores, lambda: runtime.cells)
    runtime = SteppedRuntime(tree, clock, run_n, trace or MemoryTrace(clock), shuffle_seed)
    exchange = Exchange(world, cash_cents=demo.nav_usd * 100)
    desk = settings.desk
    ports: dict[str, BrokerPort | QuotesPort | FeedPort | HubPort] = {
        "ibkr": BrokerPort(f"ibkr:{desk}", runtime, world, exchange),
        "quotes": QuotesPort(f"quotes:{desk}", runtime, world),
        "feed": FeedPort("feed", runtime, world, tuple(settings.feed.hubs)),
    }
    for hub, categories in settings.feed.hubs.items():
        keys = tuple((ticker, category) for ticker in settings.tickers for category in categories)
        ports[hub] = HubPort(f"hub:{hub}", runtime, world, keys)
    runtime.sinks["port:console"] = lambda _: None
    _add_outages(settings, runtime, ports)
    runtime.start_tree()
    end_utc = world.close_utc + settings.day.settlement_ms * MS + 60 * SECOND
    return SteppedDay(runtime, exchange, settings, folder, ports, end_utc)


def start_of(settings: Settings) -> VirtualClock:
    """Give a virtual clock that stands at the demo day's start."""
    return VirtualClock(at_exchange(settings.demo.session, settings.demo.start_clock))


def _add_outages(
    settings: Settings, runtime: SteppedRuntime, ports: dict[str, BrokerPort | QuotesPort | FeedPort | HubPort]
) -> None:
    demo = settings.demo

    def drop(names: Iterable[str], clock: time, real_s: float) -> None:
        lasting_ns = round(real_s * demo.rate * SECOND)

        def now() -> None:
            for name in names:
                ports[name].drop(lasting_ns)

        runtime.call_at(at_exchange(demo.session, clock), now)

    drop(("ibkr", "quotes"), demo.gateway_drop_at, demo.gateway_drop_s)
    drop((demo.hub_dropped,), demo.hub_drop_at, demo.hub_drop_s)


def act(arguments: Namespace) -> int:
    """Run the days one after another; the first broken invariant ends it with the command that repeats it."""
    rows = []
    for seed in range(arguments.seed, arguments.seed + arguments.days):
        began = real_time.perf_counter()
        settings = settings_of(arguments, profile="demo", demo__seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            day = stepped_day(settings, Path(folder))
            _run_with_progress(day, seed)
            broken = invariants(day)
            row = {
                "seed": seed, "messages": day.runtime.steps, "seconds": round(real_time.perf_counter() - began, 2),
                "trace": day.trace_hash, "executions": len(day.exchange.executions()), "broken": broken,
            }  # fmt: skip
            day.runtime.close()
        del day
        gc.collect()  # a day is a knot of references; the next one needs the room
        rows.append(row)
        print(orjson.dumps(row).decode() if arguments.json else _line(row), flush=True)
        if broken:
            raise CommandError(
                f"Seed {seed} broke: {'; '.join(broken)}. Repeat it: main.py simulate --seed {seed} --days 1", 1
            )
    return 0


def _run_with_progress(day: SteppedDay, seed: int) -> None:
    """Run the day, showing the market's clock where somebody looks on."""
    with Console(stderr=True).status("") as shown:
        while day.runtime.clock.now_utc() < day.end_utc:
            shown.update(f"seed {seed}: {exchange_clock(day.runtime.clock.now_utc())}")
            day.run(min(day.end_utc, day.runtime.clock.now_utc() + _SHOWN_EVERY_NS))


def _line(row: dict[str, object]) -> str:
    shown = "  ".join(f"{name} {value}" for name, value in row.items() if name != "broken")
    return f"{shown}  {'BROKEN' if row['broken'] else 'no invariant broken'}"


def invariants(day: SteppedDay) -> list[str]:
    """Name what must never be true at the end of a day and is."""
    found = []
    held = [p for p in day.exchange.positions() if p.qty]
    if held:
        found.append(f"{len(held)} positions are held after the close")
    if any(state.order.order_ref == "" for state in day.exchange.completed()):
        found.append("an order without a ref")
    refs = [s.order.order_ref for s in day.exchange.completed()]
    if len(refs) != len(set(refs)):
        found.append("an order ref was used twice")
    if day.runtime.dead_letters:
        found.append(f"{day.runtime.dead_letters} dead letters")
    crashed = [cell.name for cell in day.runtime.cells.values() if cell.crashes]
    if crashed:
        found.append(f"crashed: {', '.join(crashed)}")
    return found


def real_time_settings(settings: Settings) -> Settings:
    """Give settings for a stepped day at rate 1 (transport durations unscaled)."""
    return scaled(settings, 1.0)
