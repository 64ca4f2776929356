"""A live supervisor: stores, trace, threaded runtime, real ports, and the threads at its edges."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from actors.ibkr.state import IBKRState
from actors.position.state import PositionData
from commands.allowed import allowed_of, kind_of
from commands.cli import VERSION, CommandError
from commands.control import ControlServer
from commands.dashboard import feed_or_alarm, open_at_last
from commands.folder import DataFolder
from commands.housekeeping import Housekeeper
from commands.key_locks import KeyLocks
from commands.notify_port import does_its_work, notify_port_of
from commands.requests import answer
from config.settings import Settings
from config.tree import Gateway
from domain.alarm import Severity
from domain.instants import MS, SECOND, at_exchange, session_of
from domain.risk.kill import KillLevel
from domain.session import calendar
from domain.signals import spread
from domain.signals.feed_rules import in_priority
from domain.signals.offer import SOURCE as OUTSIDE
from domain.units import Qty, Utc
from gateways.chain.broker_chains import Band, BrokerChains
from gateways.feeds import AnyPort, ports_of
from gateways.ib.link import IbPort
from gateways.ib.orders_port import OrdersPort
from gateways.ib.quotes_port import QuotesPort
from gateways.notify.port import NotifyPort
from main import Stores, assemble
from messages import operator, orders, risk
from messages.base import Message
from simulation.hubs.publisher import LAST_FROM_NS
from simulation.market.chain_source import MarketChains
from simulation.market.from_settings import market_of
from simulation.pace.buckets import Buckets, Hours
from simulation.pace.driver import PaceDriver
from simulation.pace.pacer import Outage, Pacer
from storage.desk_kinds import note_kind
from storage.desk_ledger import DeskLedger
from storage.market_context import StoredContext
from storage.promotions import promote
from storage.series import Series
from storage.shared_ledger import SharedLedger, start_run
from storage.warehouse import Warehouse
from supervision.clock import LedClock, MarketClock
from supervision.starvation import StarvationMeter
from supervision.threaded import LiveRuntime
from supervision.trace import FileTrace, Header
from supervision.unwritten import write_rest
from supervision.wall import STEP_NS, WallStep, WallWatcher
from supervision.watchdog import Watchdog
from web.feed import Feed

P = TypeVar("P", bound=IbPort)
_SEAL = "import os,sys,pathlib; os.nice(10); from supervision.trace import seal; seal(pathlib.Path(sys.argv[1]))"
WITHDRAW_S = 5.0  # real seconds for the broker to confirm that entries are cancelled
CALM_EVERY_S = 0.02
CALM_LOOKS = 3
DESK_AHEAD_PERCENT = 80  # of the shortest wait within the desk
OUTAGE_MARGIN_S = 10  # market seconds in which a link of the script is dialled again


class Timekeeper(Protocol):
    """What minds the market's clock beside the actors: the pacer of a demo, or the watch over the wall clock."""

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End."""


@dataclass
class Supervisor:
    """A running supervisor and everything that must be closed with it."""

    runtime: LiveRuntime
    trace: FileTrace
    ports: tuple[AnyPort, ...]
    watchdog: Watchdog
    control: ControlServer
    console: queue.SimpleQueue[operator.Announce]
    run_n: int
    stop_wanted: threading.Event
    timekeeper: Timekeeper
    desk: str
    key_locks: KeyLocks
    screen: Feed | None = None
    housekeeper: Housekeeper | None = None
    notify: NotifyPort | None = None
    is_closed: bool = False
    _closing: threading.Lock = field(default_factory=threading.Lock)

    def close(self, *, are_entries_withdrawn: bool = False) -> bool:
        """Withdraw the entries, fence, close the ports, sync, and give the address back.

        `are_entries_withdrawn`: somebody else takes them back. A second call waits for the first and does nothing.
        Returns whether no entry is under way any more, as far as the broker has confirmed it in time.
        """
        with self._closing:
            if self.is_closed:
                return True
            self.is_closed = True
            is_sure = are_entries_withdrawn or self._withdraw_entries()
            self.timekeeper.close()
            if self.screen is not None:
                self.screen.close(self.runtime.ended)
            self.control.close()
            self.watchdog.close()
            self.runtime.stop()
            if self.housekeeper is not None:
                self.housekeeper.close()
            if self.notify is not None:
                self.notify.close()
            for port in self.ports:
                port.close()
            self.trace.close()
            self.key_locks.release()
            return is_sure

    def _withdraw_entries(self) -> bool:
        """Cancel working entries, each terminal at the broker, and let the ledger take what comes of it."""
        for port in self.ports:
            if isinstance(port, OrdersPort):
                port.refuse_entries("the supervisor is stopping")
        asked = orders.WithdrawEntries(reply_to="edge:stop")
        is_sure = isinstance(
            self.runtime.ask("stop", f"ibkr:{self.desk}", asked, WITHDRAW_S), orders.EntriesWithdrawn
        )  # fmt: skip
        until_s, calm = time.monotonic() + WITHDRAW_S, 0
        while calm < CALM_LOOKS and time.monotonic() < until_s:  # its news passes through positions to the ledger
            time.sleep(CALM_EVERY_S)
            calm = calm + 1 if self._are_money_actors_idle() else 0
        return is_sure

    def _are_money_actors_idle(self) -> bool:
        names = (f"ibkr:{self.desk}", f"ledger:{self.desk}", *self._positions())
        return all(self.runtime.is_idle(name) or not self.runtime.cells[name].is_up for name in names)

    def _positions(self) -> list[str]:
        return [name for name in tuple(self.runtime.cells) if name.startswith(f"position:{self.desk}:")]

    def session_view(self) -> IBKRState | None:
        """Return what the order session knows of the broker; `None` where it does not stand, or has read nothing."""
        cell = self.runtime.cells.get(f"ibkr:{self.desk}")
        state = None if cell is None or not cell.is_up else cell.state
        return state if isinstance(state, IBKRState) and state.is_known and state.link.is_up else None

    def held_in_memory(self) -> dict[int, Qty]:
        """Return what the positions hold by their own states, signed, by contract id (a crashed one: what it knew)."""
        found: dict[int, Qty] = {}
        for name in self._positions():
            state = self.runtime.cells[name].state
            if isinstance(state, PositionData) and state.fills.held > 0:
                found[int(name.rpartition(":")[2])] = state.fills.signed_held
        return found


def start(
    settings: Settings,
    folder: DataFolder,
    clock: MarketClock,
    gateways: tuple[Gateway, ...],
    url: str,
    stop_wanted: threading.Event,
    rate: float = 1.0,
) -> Supervisor:
    """Start everything; the ledgers' and ports' troubles show as alarms, not here.

    `rate`: market seconds a real second while nothing is at stake, where this process leads the clock.

    Raises:
        CommandError: a ledger cannot be used, or a secret is missing (with something held: the account alone).
    """
    allowed, key_locks = allowed_of(settings, folder, clock.now_utc()), KeyLocks()
    settings, keys, account = allowed.settings, allowed.keys, allowed.account
    if settings.profile == "real":
        key_locks.take(dict(zip(allowed.key_names, keys, strict=False)))
    try:
        run_n = start_run(folder.ledgers, (settings.desk,), clock.now_utc(), traces=folder.traces)
        note_kind(folder.ledgers, settings.desk, kind_of(settings), clock.now_utc())
        _promote(settings, folder, clock)
    except Exception as error:
        raise CommandError(f"The ledger in {folder.ledgers} cannot be used: {error}", 3) from None
    screen, unseen = feed_or_alarm(settings, folder, run_n, account, clock.now_utc())
    path_of = partial(folder.trace, run_n=run_n)
    _write_what_was_left(folder)
    trace = FileTrace(
        path_of(session_of(clock.now_utc())), _header(settings, clock, run_n), clock, path_of, seal_beside,
        is_buffered=True, only_shown=("web",),
    )  # fmt: skip
    stores = Stores(
        SharedLedger(folder.ledgers, (settings.desk,)),
        DeskLedger(folder.ledgers, settings.desk, run_n, foreign_allowed=settings.broker.foreign_allowed),
        Warehouse(folder.warehouse, free_min_mb=settings.warehouse.disk_free_min_mb),
        Series(folder.series, run_n),
        screen,
        StoredContext(folder.warehouse, folder.series),
    )
    console: queue.SimpleQueue[operator.Announce] = queue.SimpleQueue()
    notify: NotifyPort | None = None
    whole: list[Callable[[str, Utc], None]] = []

    def show(line: operator.Announce) -> None:
        console.put(line)
        if notify is not None:
            notify.post(line)

    def note_whole(hub: str, bucket_utc: Utc) -> None:
        for note in whole:
            note(hub, bucket_utc)

    assembled = assemble(
        settings,
        stores,
        lambda tree: LiveRuntime(
            tree, trace, clock, run_n, settings.supervision.sync_every_ms / 1000,
            settings.supervision.mailbox_soft_bound,
        ),
        lambda runtime: _ports(settings, runtime, clock, gateways, url, keys, account, note_whole),
        show,
        is_live_armed=allowed.is_armed,
    )  # fmt: skip
    runtime, ports = assembled.runtime, assembled.ports
    timekeeper: Timekeeper
    if isinstance(clock, LedClock):
        timekeeper = driver = pace_driver(settings, clock, runtime, folder.pace, rate)
        whole.append(driver.note_whole)
    else:
        timekeeper = WallWatcher(clock, lambda step: tell_step(runtime, step))
    notify = notify_of(settings, folder, runtime)
    for port in ports:
        port.start()
    control = ControlServer(folder.control, lambda request: answer(runtime, stop_wanted, request, ports, settings))
    runtime.starvation = StarvationMeter(settings.supervision.watchdog_every_ms)
    watchdog = Watchdog(runtime, settings.supervision, meter=runtime.starvation)
    runtime.start_tree()
    for alarm in (*allowed.told, *unseen):
        runtime.publish(alarm, "port:start")
    timekeeper.start()
    housekeeper = Housekeeper(settings, folder, clock, lambda alarm: runtime.publish(alarm, "port:housekeeping"))
    housekeeper.start()
    if screen is not None:
        screen.on_open = lambda url: runtime.publish(open_at_last(settings, url, clock.now_utc()), "port:web")
        screen.start()
    if notify is not None:
        notify.start()
    return Supervisor(
        runtime, trace, ports, watchdog, control, console, run_n, stop_wanted, timekeeper, settings.desk, key_locks,
        screen, housekeeper, notify,
    )  # fmt: skip


def _write_what_was_left(folder: DataFolder) -> None:
    """Write to the traces of runs that were killed what they had not come to write."""
    for trace in folder.traces_newest_first():
        if trace.suffix != ".zst":
            with contextlib.suppress(OSError):  # it stays where it is, and is read there
                write_rest(trace)


def seal_beside(finished: Path) -> None:
    """Seal a finished segment in a process of its own: compressing holds the interpreter for too long.

    What cannot be sealed now stays plain, and is read all the same.
    """
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [sys.executable, "-c", _SEAL, str(finished)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd=Path(__file__).parent.parent, start_new_session=True,
        )  # fmt: skip


def pace_driver(
    settings: Settings, clock: LedClock, runtime: LiveRuntime, record: Path, rate: float
) -> PaceDriver:  # fmt: skip
    """Return what leads the clock of a simulated market by what the actors do; only a demo's market has a script."""
    demo, rules, hubs = settings.demo, settings.day, tuple(settings.feed.by_hub)

    def hours_of(session: date) -> Hours | None:
        day = calendar.day(session, rules.closed_dates)
        return None if day is None else (day.open_utc, day.close_utc)

    outages = [
        Outage(at_utc, Utc(at_utc + round((lasting_s + OUTAGE_MARGIN_S) * SECOND)), hub)
        for at_utc, lasting_s, hub in (
            (at_exchange(demo.session, demo.gateway_drop_at), demo.gateway_drop_s, None),
            (at_exchange(demo.session, demo.hub_drop_at), demo.hub_drop_s, demo.hub_dropped),
        )
        if lasting_s > 0 and settings.profile == "demo"
    ]
    buckets = Buckets(settings.tickers, rules.bucket_grace_ms * MS)
    chain = (
        *(f"hub:{hub}" for hub in hubs),
        *(f"reading:{ticker}" for ticker in settings.tickers),
        *(f"lane:{source}:{ticker}" for source, tickers in settings.lanes.items() for ticker in tickers),
        "warehouse",
    )
    desk = settings.desk
    held = f"position:{desk}:"

    def of_desk() -> tuple[str, ...]:
        positions = (name for name in runtime.cells if name.startswith(held))
        return (*positions, f"risk:{desk}", f"ibkr:{desk}", "operator", "kill", f"ledger:{desk}", "ledger")

    ahead_ns = settings.exits.record_wait_ms * MS * DESK_AHEAD_PERCENT // 100
    return PaceDriver(
        clock, runtime, Pacer(rate, hubs, buckets, hours_of, outages, ahead_ns), chain, of_desk, record
    )  # fmt: skip


def tell_step(runtime: LiveRuntime, step: WallStep) -> None:
    """Say that the wall clock was set, and stop entries: what of it is right, only the broker's time says."""
    offset_s = step.offset_ns / SECOND
    if abs(step.offset_ns) <= STEP_NS:
        text, severity = "The computer's clock agrees with the market clock again.", Severity.INFO
    else:
        side = "ahead of" if offset_s > 0 else "behind"
        text = (
            f"The computer's clock was set: it is {abs(offset_s):.1f} s {side} the market clock, which goes on as "
            "before. If the new time is right, start the supervisor anew when flat."
        )
        severity = Severity.HIGH
        raised = risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=f"clock step of {offset_s:+.1f} s", by="port:clock")
        runtime.post("kill", raised, "port:clock")
    runtime.publish(
        operator.Alarm(key="clock", severity=severity, text=text, at_utc=runtime.clock.now_utc()), "port:clock"
    )


def _ports(
    settings: Settings, runtime: LiveRuntime, clock: MarketClock, gateways: tuple[Gateway, ...], url: str,
    keys: tuple[str, ...], account: str | None, on_whole: Callable[[str, Utc], None],
) -> list[AnyPort]:  # fmt: skip
    desk = settings.desk

    def teller(name: str) -> Callable[[str, Message], None]:
        return lambda to, message: runtime.post(to, message, name)

    def of_broker(kind: str, cls: type[P], client_id: int) -> P:
        name = f"port:{kind}:{desk}"
        return cls(
            name, gateways=gateways, client_id=client_id, rules=settings.connection, clock=clock, tell=teller(name),
            account=account,
        )  # fmt: skip

    order_port = of_broker("ibkr", OrdersPort, settings.broker.client_ids.orders)
    runtime.on_latch = order_port.refuse_entries
    quotes = of_broker("quotes", QuotesPort, settings.broker.client_ids.quotes)
    is_asked = settings.feed.chain.origin == "broker"  # whatever the source: with another they are stored alone
    chains = _broker_chains(settings, runtime, gateways, clock, account) if is_asked else None
    feed = ports_of(
        settings, url=url, keys=keys, tell_as=teller, now_utc=clock.now_utc, on_whole=on_whole,
        whole_from_ns=LAST_FROM_NS, chains=chains or _chains(settings),
    )  # fmt: skip
    return [order_port, quotes, *((chains,) if chains is not None else ()), *feed]


def _broker_chains(
    settings: Settings, runtime: LiveRuntime, gateways: tuple[Gateway, ...], clock: MarketClock, account: str | None
) -> BrokerChains:
    """Return the source of the broker's chains, with a session of its own."""
    name, chain, rules = f"port:chains:{settings.desk}", settings.feed.chain, settings.ticker_rules
    band = Band(
        {t: rules[t].trading_class if t in rules else t for t in in_priority(settings.tickers)}, chain.lines,
        chain.strikes_around, chain.expiries, chain.age_max_ms * MS, settings.warehouse.chain_every_ms * MS,
        settings.day.closed_dates,
    )  # fmt: skip
    return BrokerChains(
        name,
        lambda tell: QuotesPort(
            name, gateways=gateways, client_id=settings.broker.client_ids.chains, rules=settings.connection,
            clock=clock, tell=tell, account=account,
        ),
        len(gateways), band, settings.feed.rules, clock.now_utc, lambda read: runtime.publish(read, name),
    )  # fmt: skip


def _chains(settings: Settings) -> MarketChains | None:
    """Return the simulated market's chains, where a demo takes them; `None`: those of the settings' folder."""
    is_simulated = settings.profile == "demo" and settings.feed.source == "chain" and settings.feed.chain.folder is None
    return MarketChains(market_of(settings)) if is_simulated else None


def _header(settings: Settings, clock: MarketClock, run_n: int) -> Header:
    now = clock.now_utc()
    return Header(
        run_n=run_n, session=session_of(now).isoformat(), started_utc=now,
        rate=settings.demo.rate if settings.profile == "demo" else 1.0,
        settings_digest=settings.digest(), code_version=VERSION, settings=msgspec.Raw(settings.to_json()),
    )  # fmt: skip


def notify_of(settings: Settings, folder: DataFolder, runtime: LiveRuntime) -> NotifyPort | None:
    """Return what sends lines for people beyond the console; `None` where nobody is to be told anything."""
    desk = settings.desk
    money = ("kill", f"risk:{desk}", f"ibkr:{desk}", f"ledger:{desk}", "session")

    def tell(what: str, severity: Severity, text: str) -> None:
        now = runtime.clock.now_utc()
        runtime.publish(operator.Alarm(key=f"notify:{what}", severity=severity, text=text, at_utc=now), "port:notify")

    def is_alive() -> bool:
        return does_its_work(runtime, money, settings.supervision.stuck_after_ms, time.perf_counter_ns())

    return notify_port_of(settings, folder, kind_of(settings), tell, is_alive)


def _promote(settings: Settings, folder: DataFolder, clock: MarketClock) -> None:
    by = "demo" if settings.profile == "demo" else "settings"
    sources = (*settings.lanes, *((spread.SOURCE,) if settings.spread.is_on else ()))
    for source in sources:  # strangers' kinds are a person's to promote, whatever they are called
        kinds = () if source == OUTSIDE else settings.promoted
        promote(folder.ledgers, kinds, source, by, "named in the settings", clock.now_utc())
