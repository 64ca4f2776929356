"""A live supervisor: stores, trace, threaded runtime, real ports, and the threads at its edges."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from actors.ibkr.state import IBKRState
from actors.notifier import SHARED
from actors.position.state import PositionData
from commands.allowed import AllowedDesk, LeftOut, allowed_beside, allowed_of, kind_of, left_alone
from commands.cli import VERSION, CommandError
from commands.control import ControlServer
from commands.dashboard import feed_or_alarm, open_at_last
from commands.folder import DataFolder
from commands.held import account_key, contracts
from commands.housekeeping import Housekeeper
from commands.key_locks import KeyLocks
from commands.notify_port import does_its_work, notify_port_of
from commands.requests import answer
from config.desks import desk_names, quotes_of
from config.settings import Settings
from config.tree import Gateway
from domain.alarm import Severity
from domain.desks import DeskKind
from domain.instants import MS, SECOND, at_exchange, session_of
from domain.orders.capabilities import IB, BrokerCapability
from domain.risk.kill import KillLevel
from domain.session import calendar
from domain.signals import spread
from domain.signals.feed_rules import in_priority
from domain.signals.offer import SOURCE as OUTSIDE
from domain.units import Cents, Qty, Utc
from gateways.brokers import BrokerSetupError, OrderPort, OrderPortSetup, order_port
from gateways.chain.broker_chains import Band, BrokerChains
from gateways.contract_book import ContractBook
from gateways.feeds import AnyPort, ports_of
from gateways.ib.quotes_port import QuotesPort
from gateways.notify.port import NotifyPort
from main import Desk, Stores, assemble
from messages import operator, orders, risk
from messages.base import Message
from simulation.beside.heard_market import HeardMarket
from simulation.beside.orders_port import SimOrdersPort
from simulation.broker.kept import BookRefusedError
from simulation.hubs.publisher import LAST_FROM_NS
from simulation.market.chain_source import MarketChains
from simulation.market.from_settings import market_of
from simulation.pace.buckets import Buckets, Hours
from simulation.pace.driver import PaceDriver
from simulation.pace.pacer import Outage, Pacer
from storage.desk_kinds import note_kind, refuse_other_money
from storage.desk_ledger import DeskLedger
from storage.market_context import StoredContext
from storage.promotions import promote
from storage.series import Series
from storage.shared_ledger import SharedLedger, start_run
from storage.warehouse import Warehouse
from supervision.clock import LedClock, MarketClock
from supervision.collecting import IdleCollector
from supervision.starvation import StarvationMeter
from supervision.threaded import LiveRuntime
from supervision.trace import FileTrace, Header
from supervision.unwritten import write_rest
from supervision.wall import STEP_NS, WallStep, WallWatcher
from supervision.watchdog import Watchdog
from web.feed import Feed

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
    collector: IdleCollector | None = None
    beside: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
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
            if self.collector is not None:
                self.collector.close()
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
            if isinstance(port, OrderPort):
                port.refuse_entries("the supervisor is stopping")
        with ThreadPoolExecutor(len(self.desks)) as asking:  # each desk has the whole time
            is_sure = all(asking.map(self._withdraw_of, self.desks))
        until_s, calm = time.monotonic() + WITHDRAW_S, 0
        while calm < CALM_LOOKS and time.monotonic() < until_s:  # its news passes through positions to the ledger
            time.sleep(CALM_EVERY_S)
            calm = calm + 1 if self._are_money_actors_idle() else 0
        return is_sure

    @property
    def desks(self) -> tuple[str, ...]:
        """The desks of the process, that of `desk` first."""
        return self.desk, *self.beside

    def _withdraw_of(self, desk: str) -> bool:
        edge = "stop" if desk == self.desk else f"stop:{desk}"
        asked = orders.WithdrawEntries(reply_to=f"edge:{edge}")
        return isinstance(self.runtime.ask(edge, f"ibkr:{desk}", asked, WITHDRAW_S), orders.EntriesWithdrawn)

    def _are_money_actors_idle(self) -> bool:
        own = (f"{kind}:{desk}" for desk in self.desks for kind in ("ibkr", "ledger"))
        names = (*own, *(name for desk in self.desks for name in self._positions(desk)))
        return all(self.runtime.is_idle(name) or not self.runtime.cells[name].is_up for name in names)

    def _positions(self, desk: str) -> list[str]:
        return [name for name in tuple(self.runtime.cells) if name.startswith(f"position:{desk}:")]

    def session_view(self, desk: str = "") -> IBKRState | None:
        """Return what a desk's order session knows of the broker (empty: that of `desk`).

        `None`: it does not stand, or has read nothing.
        """
        cell = self.runtime.cells.get(f"ibkr:{desk or self.desk}")
        state = None if cell is None or not cell.is_up else cell.state
        return state if isinstance(state, IBKRState) and state.is_known and state.link.is_up else None

    def held_in_memory(self, desk: str) -> dict[int, Qty]:
        """Return what a desk's positions hold by their own states (a crashed one: what it knew).

        Signed, by contract id.
        """
        found: dict[int, Qty] = {}
        for name in self._positions(desk):
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
    beside = allowed_beside(settings, folder, allowed.account, clock.now_utc())
    settings, keys, account = allowed.settings, allowed.keys, allowed.account
    if settings.profile == "real":
        key_locks.take(dict(zip(allowed.key_names, keys, strict=False)))
    try:
        run_n = _begin_run(settings, beside, folder, clock)
    except Exception as error:
        raise CommandError(f"The ledger in {folder.ledgers} cannot be used: {error}", 3) from None
    screen, unseen = feed_or_alarm(
        settings, folder, run_n, account, clock.now_utc(), {desk.settings.desk: desk.account for desk in beside}
    )
    path_of = partial(folder.trace, run_n=run_n)
    _write_what_was_left(folder)
    trace = FileTrace(
        path_of(session_of(clock.now_utc())), _header(settings, clock, run_n), clock, path_of, seal_beside,
        is_buffered=True, only_shown=("web", *(f"web:{desk}" for desk in (*desk_names(settings), SHARED))),
    )  # fmt: skip
    stores = Stores(
        SharedLedger(folder.ledgers, desk_names(settings)),
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

    sessions = _sessions_of(settings, gateways, account, beside, folder)
    out = LeftOut(settings, folder, clock.now_utc())

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
        lambda runtime: _ports(settings, runtime, clock, url, keys, note_whole, sessions, out),
        show,
        is_live_armed=allowed.is_armed,
        beside=tuple(_desk_of(desk, folder, run_n) for desk in beside),
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
    left = left_alone(settings, folder, clock.now_utc())
    _tell_of_start(runtime, (*allowed.told, *unseen, *left, *out.told), beside)
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
        screen, housekeeper, notify, IdleCollector(runtime.is_at_rest).started(), tuple(settings.desks),
        frozenset(port.name.rpartition(":")[2] for port in ports if isinstance(port, NoSession)),
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
    names = desk_names(settings)
    held = tuple(f"position:{desk}:" for desk in names)
    kills = tuple(f"kill:{desk}" for desk in names) if settings.desks else ("kill",)
    sessions = tuple(f"{kind}:{desk}" for desk in names for kind in ("risk", "ibkr"))
    ledgers = tuple(f"ledger:{desk}" for desk in names)

    def of_desk() -> tuple[str, ...]:
        positions = (name for name in runtime.cells if name.startswith(held))
        return (*positions, *sessions, "operator", *kills, *ledgers, "ledger")

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


class DeskSessions(NamedTuple):
    """What a desk's sessions are made of: the settings as it sees them, its gateways, its account, its contracts.

    `book` is the file of a simulated desk's exchange, `None` of one with a broker; `account_key` is of the account that
    its ledger is of (empty: not known).
    """

    settings: Settings
    gateways: tuple[Gateway, ...]
    account: str | None
    contracts: ContractBook
    book: Path | None = None
    is_left_out: bool = False
    account_key: str = ""


class NoSession:
    """Stands for the sessions of a desk that cannot start: its actors hear nothing, and so open nothing."""

    capabilities: Final = frozenset[BrokerCapability]()

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self) -> None:
        """Do nothing: there is no thread."""

    def post(self, command: Any, /) -> None:
        """Take a command, which nobody carries out."""

    def refuse_entries(self, why: str) -> None:
        """Do nothing: every order is as good as refused."""

    def close(self) -> None:
        """Do nothing."""


def _tell_of_start(runtime: LiveRuntime, alarms: tuple[operator.Alarm, ...], beside: tuple[AllowedDesk, ...]) -> None:
    """Say what a start may not do, of each desk in its own name."""
    for alarm in alarms:
        runtime.publish(alarm, "port:start")
    for name, alarm in ((desk.settings.desk, alarm) for desk in beside for alarm in desk.told):
        runtime.publish(alarm, f"port:ibkr:{name}")


def _begin_run(settings: Settings, beside: tuple[AllowedDesk, ...], folder: DataFolder, clock: MarketClock) -> int:
    """Count the start, and keep whose money each desk trades with and what may trade; return the run's number."""
    now = clock.now_utc()
    known = {desk.settings.desk: desk.kind for desk in beside if not desk.is_left_out}
    kinds = {settings.desk: kind_of(settings), **known}
    refuse_other_money(folder.ledgers, kinds)
    run_n = start_run(folder.ledgers, tuple(kinds), now, traces=folder.traces)
    for desk, kind in kinds.items():
        note_kind(folder.ledgers, desk, kind, now)
    _promote(settings, folder, clock)
    return run_n


def _sessions_of(
    settings: Settings, gateways: tuple[Gateway, ...], account: str | None, beside: tuple[AllowedDesk, ...],
    folder: DataFolder,
) -> tuple[DeskSessions, ...]:  # fmt: skip
    def with_broker(own: Settings, gateways: tuple[Gateway, ...], account: str | None) -> DeskSessions:
        key = account_key(folder.ledgers, [own.desk])
        return DeskSessions(own, gateways, account, known_contracts(own, folder), account_key=key)

    of_first = with_broker(settings, gateways, account)
    known = {settings.desk: of_first}
    for desk in sorted(beside, key=lambda desk: desk.kind is DeskKind.SIM):  # those whose quotes others see come first
        name, own = desk.settings.desk, desk.settings
        if desk.is_left_out:
            known[name] = DeskSessions(own, own.broker.gateways, None, ContractBook(), is_left_out=True)
        elif desk.kind is DeskKind.SIM:
            source, contracts = known[quotes_of(settings, name)], contracts_of(own, folder)
            known[name] = DeskSessions(own, source.gateways, source.account, contracts, folder.sim_book(name))
        else:
            known[name] = with_broker(own, own.broker.gateways, desk.account)
    return tuple(known.values())


def _desk_of(desk: AllowedDesk, folder: DataFolder, run_n: int) -> Desk:
    name, allowed = desk.settings.desk, desk.settings.broker.foreign_allowed
    return Desk(desk.settings, DeskLedger(folder.ledgers, name, run_n, foreign_allowed=allowed), desk.is_armed)


def known_contracts(settings: Settings, folder: DataFolder) -> ContractBook:
    """Return the contracts that a desk ever reserved: what it holds has its ids before any chain is listed.

    IB has ids of its own, and needs none of them.
    """
    return ContractBook() if settings.broker.orders == IB else contracts_of(settings, folder)


def contracts_of(settings: Settings, folder: DataFolder) -> ContractBook:
    """Return the contracts that a desk ever reserved."""
    return ContractBook(contracts(folder.ledgers, [settings.desk]))


def _ports(
    settings: Settings, runtime: LiveRuntime, clock: MarketClock, url: str, keys: tuple[str, ...],
    on_whole: Callable[[str, Utc], None], sessions: tuple[DeskSessions, ...],
    out: LeftOut,
) -> list[AnyPort]:  # fmt: skip
    """Return the ports of every desk (the first of `sessions` is that of `desk`), and those of the feed."""
    of_first = sessions[0]
    ports = [port for of_desk in sessions for port in ports_or_none(of_desk, runtime, clock, out)]
    orders_ports = {port.name.rpartition(":")[2]: port for port in ports if isinstance(port, OrderPort)}

    def refuse_all(why: str) -> None:
        for port in orders_ports.values():
            port.refuse_entries(why)

    runtime.on_latch = refuse_all
    runtime.on_group_latch = lambda desk, why: orders_ports[desk].refuse_entries(why)
    is_asked = settings.feed.chain.origin == "broker"  # whatever the source: with another they are stored alone
    chains = _broker_chains(settings, runtime, of_first.gateways, clock, of_first.account) if is_asked else None
    feed = ports_of(
        settings, url=url, keys=keys, tell_as=partial(_teller, runtime, of_first.contracts), now_utc=clock.now_utc,
        on_whole=on_whole, whole_from_ns=LAST_FROM_NS, chains=chains or _chains(settings),
    )  # fmt: skip
    return [*ports, *((chains,) if chains is not None else ()), *feed]


def _teller(runtime: LiveRuntime, contracts: ContractBook, name: str) -> Callable[[str, Message], None]:
    def tell(to: str, message: Message) -> None:
        contracts.hear(message)  # of the quote session: a broker without contract ids is told whose they are
        runtime.post(to, message, name)

    return tell


def ports_or_none(of_desk: DeskSessions, runtime: LiveRuntime, clock: MarketClock, out: LeftOut) -> list[AnyPort]:
    """Return the ports of a desk, or those of a desk that is left out."""
    desk = of_desk.settings.desk
    if not of_desk.is_left_out:
        try:
            return _ports_of_desk(of_desk, runtime, clock)
        except CommandError as error:
            out.add(desk, error)
    return [NoSession(f"port:ibkr:{desk}"), NoSession(f"port:quotes:{desk}")]


def _ports_of_desk(of_desk: DeskSessions, runtime: LiveRuntime, clock: MarketClock) -> list[AnyPort]:
    settings, gateways, account, contracts, book, _, key = of_desk
    name, quotes = f"port:ibkr:{settings.desk}", f"port:quotes:{settings.desk}"
    teller = partial(_teller, runtime, contracts)
    heard = None if book is None else HeardMarket(
        clock.now_utc(), settings.day.closed_dates, contracts.all(), settings.desks[settings.desk].sim
    )  # fmt: skip

    def tell_quotes(to: str, message: Message) -> None:
        if heard is not None:
            heard.hear(message)
        teller(quotes)(to, message)

    try:
        if heard is None or book is None:
            setup = OrderPortSetup(name, settings, gateways, clock, teller(name), account, contracts, key)
            orders_port = order_port(setup)
        else:
            rules = settings.desks[settings.desk].sim
            orders_port = SimOrdersPort(
                name, clock, teller(name), heard, book, cash_cents=Cents(rules.nav_usd * 100),
                latency_ms=rules.latency_ms, port=settings.broker.paper_port,
            )  # fmt: skip
    except BrokerSetupError as error:
        raise CommandError(str(error), 3) from None
    except BookRefusedError as error:
        raise CommandError(f"{error}.", 3) from None
    quotes_port = QuotesPort(
        quotes, gateways=gateways, client_id=settings.broker.client_ids.quotes, rules=settings.connection, clock=clock,
        tell=tell_quotes, account=account,
    )  # fmt: skip
    return [orders_port, quotes_port]


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


def money_names(desks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the actors that handle orders and money, but for the positions, of a process with these desks."""
    kills = ("kill",) if len(desks) == 1 else tuple(f"kill:{desk}" for desk in desks)
    return (*kills, *(f"{kind}:{desk}" for desk in desks for kind in ("risk", "ibkr", "ledger")))


def notify_of(settings: Settings, folder: DataFolder, runtime: LiveRuntime) -> NotifyPort | None:
    """Return what sends lines for people beyond the console; `None` where nobody is to be told anything."""
    money = (*money_names(desk_names(settings)), "session")

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
