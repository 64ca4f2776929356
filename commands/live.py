"""A live supervisor: stores, trace, threaded runtime, real ports, and the threads at its edges."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, assert_never

import msgspec

from actors.ibkr.state import IBKRState
from actors.kill import KillState
from actors.position.state import PositionData
from commands.cli import VERSION, CommandError
from commands.control import ControlServer
from commands.dashboard import feed_or_alarm
from commands.desk_facts import desk_facts
from commands.folder import DataFolder
from commands.housekeeping import Housekeeper
from commands.key_locks import KeyLocks
from commands.notify_port import does_its_work, notify_port_of
from commands.offers import offer
from commands.readiness import armed
from commands.unattended import may_hold
from config.secrets import secret
from config.settings import Settings, SettingsError
from config.tree import Gateway
from domain.alarm import Severity
from domain.desks import DeskKind
from domain.instants import MS, SECOND, at_exchange, session_of
from domain.risk.kill import KillLevel
from domain.session import calendar
from domain.signals.offer import SOURCE as OUTSIDE
from domain.units import Qty, Utc
from gateways.bucket_port import BucketPort
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
from storage.promotions import promote
from storage.series import Series
from storage.shared_ledger import SharedLedger, start_run
from storage.warehouse import Warehouse
from supervision.clock import LedClock, MarketClock
from supervision.status import process_status, status
from supervision.threaded import LiveRuntime
from supervision.trace import FileTrace, Header
from supervision.unwritten import write_rest
from supervision.wall import STEP_NS, WallStep, WallWatcher
from supervision.watchdog import Watchdog
from web.feed import Feed

P = TypeVar("P", bound=IbPort)
_SEAL = "import os,sys,pathlib; os.nice(10); from supervision.trace import seal; seal(pathlib.Path(sys.argv[1]))"
COMMAND_LIFE_S = 5  # real seconds
WITHDRAW_S = 2.0  # real seconds for the broker to confirm that entries are cancelled
CALM_EVERY_S = 0.02
CALM_LOOKS = 3
DESK_AHEAD_PERCENT = 80  # of the shortest wait within the desk
OUTAGE_MARGIN_S = 10  # market seconds in which a link of the script is dialled again
DEMO_KEY = "gexbot_custom_demo"


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
        """Return what the positions hold by their own states, by contract id; one that crashed says what it knew."""
        found: dict[int, Qty] = {}
        for name in self._positions():
            state = self.runtime.cells[name].state
            if isinstance(state, PositionData) and state.fills.held > 0:
                found[int(name.rpartition(":")[2])] = state.fills.held
        return found


class _Allowed(NamedTuple):
    """What a start may do, with the secrets that it has; `key_names` are the variables of the keys that are there."""

    settings: Settings
    keys: tuple[str, ...]
    key_names: tuple[str, ...]
    account: str | None
    is_armed: bool
    told: tuple[operator.Alarm, ...]


def _allowed(settings: Settings, folder: DataFolder, now_utc: Utc) -> _Allowed:
    """Return what a start may do; what is held is never left alone because something else is missing.

    Raises:
        CommandError: a secret is missing, or live is not armed; with something held, the live account's number alone.
        SettingsError: the file of a secret cannot be read.
        LedgerRefusedError: a ledger cannot be used.
    """
    told: list[operator.Alarm] = []
    is_held = settings.profile == "real" and may_hold(folder.ledgers, settings.desk)
    names = _key_names(settings)
    try:
        keys = _keys(settings)
    except (CommandError, SettingsError) as error:
        if not is_held:
            raise
        # What is held needs the broker alone: the vendor refuses these, as it would a key that has run out.
        keys, names = tuple(f"missing-{n}" for n, _ in enumerate(names)), ()
        text = f"There is no data of the vendor in this run: {error} What is held is watched; nothing is opened."
        told.append(operator.Alarm(key="vendor_key", severity=Severity.HIGH, text=text, at_utc=now_utc))
    account, is_armed = secret(settings.broker.account_env), False
    if settings.trading_mode == "live":
        is_armed = _is_armed(settings, account, is_held=is_held)
        if not is_armed:
            text = f"{_not_armed(settings)} What is held is watched; nothing is opened."
            told.append(operator.Alarm(key="not_armed", severity=Severity.HIGH, text=text, at_utc=now_utc))
        settings, of_live = armed(settings, folder, now_utc)
        told += of_live
    return _Allowed(settings, keys, names, account, is_armed, tuple(told))


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
    allowed, key_locks = _allowed(settings, folder, clock.now_utc()), KeyLocks()
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
        is_buffered=True,
    )  # fmt: skip
    stores = Stores(
        SharedLedger(folder.ledgers, (settings.desk,)),
        DeskLedger(folder.ledgers, settings.desk, run_n, foreign_allowed=settings.broker.foreign_allowed),
        Warehouse(folder.warehouse, free_min_mb=settings.warehouse.disk_free_min_mb),
        Series(folder.series, run_n),
        screen,
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
    watchdog = Watchdog(runtime, settings.supervision)
    runtime.start_tree()
    for alarm in (*allowed.told, *unseen):
        runtime.publish(alarm, "port:start")
    timekeeper.start()
    housekeeper = Housekeeper(settings, folder, clock, lambda alarm: runtime.publish(alarm, "port:housekeeping"))
    housekeeper.start()
    if screen is not None:
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
    feed = ports_of(
        settings, url=url, keys=keys, tell_as=teller, now_utc=clock.now_utc, on_whole=on_whole,
        whole_from_ns=LAST_FROM_NS, chains=_chains(settings),
    )  # fmt: skip
    return [order_port, quotes, *feed]


def _chains(settings: Settings) -> MarketChains | None:
    """Return the simulated market's chains, where a demo takes them; `None`: those of the settings' folder."""
    is_simulated = settings.profile == "demo" and settings.feed.source == "chain" and settings.feed.chain.folder is None
    return MarketChains(market_of(settings)) if is_simulated else None


def answer(
    runtime: LiveRuntime, stop_wanted: threading.Event, request: dict[str, Any], ports: Iterable[AnyPort] = (),
    settings: Settings | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Answer one request of the control line."""
    match request.get("do"):
        case "status":
            seen: dict[str, Any] = msgspec.to_builtins(status(runtime))
            now = runtime.clock.now_utc()
            hubs = [msgspec.to_builtins(port.status(now)) for port in ports if isinstance(port, BucketPort)]
            return seen | {"kill": _kill_in_force(runtime), "hubs": hubs}
        case "desk" if settings is not None:
            found = desk_facts(runtime, settings)
            process = msgspec.to_builtins(process_status(runtime))
            return {"process": process, "desk": None if found is None else msgspec.to_builtins(found)}
        case "stop":
            stop_wanted.set()
            return {"done": "the supervisor is stopping"}
        case "kill" | "resume" | "flatten" | "promote" | "demote":
            return _operate(runtime, request)
        case "signal":
            return offer(runtime, request, _expires_utc(runtime))
        case other:
            return {"error": f"{other!r} is no request"}


def _kill_in_force(runtime: LiveRuntime) -> dict[str, Any] | None:
    """Return the kill level in force as its actor knows it (before it is durable); `None` where that one is down."""
    cell = runtime.cells.get("kill")
    known = None if cell is None or not cell.is_up else cell.state
    if not isinstance(known, KillState):
        return None
    return {
        "level": int(known.level), "kill_epoch": known.in_force_epoch, "reason": known.reason, "by": known.by
    }  # fmt: skip


def raise_kill(runtime: LiveRuntime, level: KillLevel, reason: str, edge: str, command_id: str) -> None:
    """Raise the kill level from an edge that waits for no answer (a signal, the KILL file)."""
    address = f"edge:{edge}"
    runtime.sinks[address] = lambda _: None
    command = operator.Kill(
        command_id=command_id, reply_to=address, by=edge, reason=reason, level=level, expires_utc=_expires_utc(runtime)
    )
    runtime.post("operator", command, address)


class OperatorRequest(msgspec.Struct, frozen=True):
    """A person's command as it comes over the control line; `expected_epoch` is the kill epoch that he saw."""

    do: Literal["kill", "resume", "flatten", "promote", "demote"]
    by: str
    reason: str
    level: KillLevel = KillLevel.FLATTEN
    expected_epoch: int | None = None
    command_id: str | None = None
    source: str = ""
    kind: str = ""
    version: int = 0


def _operate(runtime: LiveRuntime, request: dict[str, Any]) -> dict[str, Any]:
    try:
        asked = msgspec.convert(request, OperatorRequest)
    except msgspec.ValidationError as error:
        return {"error": f"the request cannot be carried out: {error}"}
    if asked.do == "resume" and runtime.latched is not None:  # the ports would refuse what the gates let pass
        detail = f"Entries are latched off ({runtime.latched}); stop the supervisor and start it again, then resume."
        return {"denied": "latched", "detail": detail}
    if asked.do == "resume" and asked.expected_epoch is None:  # what was raised since he looked would be lowered unseen
        detail = "Name the kill epoch that you saw (expected_epoch); the status shows it as kill_epoch."
        return {"denied": "epoch_missing", "detail": detail}
    edge = f"cli:{secrets.token_hex(6)}"
    command_id, reply_to, by, reason = asked.command_id or edge, f"edge:{edge}", asked.by, asked.reason
    expires_utc = _expires_utc(runtime)
    command: operator.OperatorCommand
    match asked.do:
        case "kill":
            command = operator.Kill(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc,
                level=asked.level,
            )  # fmt: skip
        case "resume":
            command = operator.Resume(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc,
                level=asked.level, expected_epoch=asked.expected_epoch,
            )  # fmt: skip
        case "flatten":
            command = operator.Flatten(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc
            )
        case "promote" | "demote":
            kind = operator.Promote if asked.do == "promote" else operator.Demote
            command = kind(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc,
                source=asked.source, kind=asked.kind, version=asked.version,
            )  # fmt: skip
        case _:
            assert_never(asked.do)
    answered = runtime.ask(edge, "operator", command, timeout_s=4.0)
    match answered:
        case operator.CommandDone():
            return {"done": answered.detail}
        case operator.CommandDenied():
            return {"denied": answered.code, "detail": answered.detail}
        case None:
            return {"error": "no answer in time: the outcome is unknown, look at `main.py status`"}
        case _:
            return {"error": f"the operator failed: {answered}"}


def _expires_utc(runtime: LiveRuntime) -> Utc:
    """Return when a person's command is too old; he counts in real seconds, at whatever pace a demo runs."""
    return runtime.market_clock.in_real_s(COMMAND_LIFE_S)


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


def kind_of(settings: Settings) -> DeskKind:
    """Return whose money a run trades with."""
    if settings.profile == "demo":
        return DeskKind.SIM
    return DeskKind.LIVE if settings.trading_mode == "live" else DeskKind.PAPER


def _promote(settings: Settings, folder: DataFolder, clock: MarketClock) -> None:
    by = "demo" if settings.profile == "demo" else "settings"
    for source in settings.lanes:  # strangers' kinds are a person's to promote, whatever they are called
        kinds = () if source == OUTSIDE else settings.promoted
        promote(folder.ledgers, kinds, source, by, "named in the settings", clock.now_utc())


def _keys(settings: Settings) -> tuple[str, ...]:
    """Return the vendor's keys that the source in use needs."""
    if settings.feed.source not in ("hubs", "rest", "provider"):
        return ()
    if settings.profile == "demo":
        return tuple(f"{DEMO_KEY}_{n}" for n in range(len(settings.feed.keys)))
    what = "the provider's key" if settings.feed.source == "provider" else "the vendor's key"
    return tuple(_secret(name, what) for name in _key_names(settings))


def _key_names(settings: Settings) -> tuple[str, ...]:
    """Return the variables that carry the keys of the source in use."""
    return (settings.feed.provider.key_env,) if settings.feed.source == "provider" else settings.feed.keys


def _secret(name: str, what: str) -> str:
    value = secret(name)
    if value is None:
        raise CommandError(
            f"The environment does not carry {what}: set {name} (in .env, say, or name a file in {name}_FILE), then"
            " start again."
        )
    return value


def _is_armed(settings: Settings, account: str | None, *, is_held: bool) -> bool:
    """Return whether live money may be traded; a run that is not armed is for what is held alone.

    Raises:
        CommandError: it is not armed and nothing is held, or no account is named.
    """
    is_armed = os.environ.get(settings.live_armed_env) == "yes"
    if not is_armed and not is_held:
        raise CommandError(_not_armed(settings))
    if account is None:
        raise CommandError(f"trading_mode is live, but no account is named: set {settings.broker.account_env}.")
    return is_armed


def _not_armed(settings: Settings) -> str:
    return f"trading_mode is live, but this run is not armed: set {settings.live_armed_env}=yes if you mean it."
