"""A live supervisor: stores, trace, threaded runtime, real ports, and the threads at its edges."""

from __future__ import annotations

import os
import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, assert_never

import msgspec

from commands.cli import VERSION, CommandError
from commands.control import ControlServer
from commands.folder import DataFolder
from config.settings import Gateway, Settings
from domain.instants import SECOND, session_of
from domain.risk.kill import KillLevel
from domain.units import Utc
from gateways.gexbot.hub_port import HubPort
from gateways.gexbot.negotiate import TOKEN_LIFE_S, AddressBook, FeedPort
from gateways.ib.link import IbPort
from gateways.ib.orders_port import OrdersPort
from gateways.ib.quotes_port import QuotesPort
from main import Stores, assemble
from messages import operator
from messages.base import Message
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger, promote, start_run
from storage.warehouse import Warehouse
from supervision.clock import MarketClock
from supervision.status import status
from supervision.threaded import LiveRuntime
from supervision.trace import FileTrace, Header
from supervision.watchdog import Watchdog

P = TypeVar("P", bound=IbPort)
RealPort = OrdersPort | QuotesPort | FeedPort | HubPort
COMMAND_LIFE_S = 5  # real seconds
DEMO_KEY = "gexbot_custom_demo"


@dataclass
class Supervisor:
    """A running supervisor and everything that must be closed with it."""

    runtime: LiveRuntime
    trace: FileTrace
    ports: tuple[RealPort, ...]
    watchdog: Watchdog
    control: ControlServer
    console: queue.SimpleQueue[operator.Announce]
    run_n: int
    stop_wanted: threading.Event

    def close(self) -> None:
        """Fence, close the ports, sync, and give the address back."""
        self.control.close()
        self.watchdog.close()
        self.runtime.stop()
        for port in self.ports:
            port.close()
        self.trace.close()


def start(
    settings: Settings,
    folder: DataFolder,
    clock: MarketClock,
    gateways: tuple[Gateway, ...],
    url: str,
    stop_wanted: threading.Event,
) -> Supervisor:
    """Start everything; the ledgers' and ports' troubles show as alarms, not here.

    Raises:
        CommandError: a ledger cannot be used, or a secret is missing.
    """
    key = DEMO_KEY if settings.profile == "demo" else _secret(settings.feed.key_env, "the vendor's key")
    account = os.environ.get(settings.broker.account_env) or None
    if settings.trading_mode == "live":
        _check_live(settings, account)
    try:
        run_n = start_run(folder.ledgers, (settings.desk,), clock.now_utc())
        if settings.promoted:
            _promote(settings, folder, clock)
    except Exception as error:
        raise CommandError(f"The ledger in {folder.ledgers} cannot be used: {error}", 3) from None
    session = session_of(clock.now_utc())
    trace = FileTrace(
        folder.traces / session.isoformat() / f"run-{run_n}.jsonl", _header(settings, clock, run_n), clock
    )
    stores = Stores(
        SharedLedger(folder.ledgers, (settings.desk,)),
        DeskLedger(folder.ledgers, settings.desk, run_n),
        Warehouse(folder.warehouse, free_min_mb=settings.warehouse.disk_free_min_mb),
    )
    console: queue.SimpleQueue[operator.Announce] = queue.SimpleQueue()
    assembled = assemble(
        settings,
        stores,
        lambda tree: LiveRuntime(
            tree, trace, clock, run_n, settings.supervision.sync_every_ms / 1000,
            settings.supervision.mailbox_soft_bound,
        ),
        lambda runtime: _ports(settings, runtime, clock, gateways, url, key, account),
        console.put,
        is_live_armed=settings.trading_mode == "live",
    )  # fmt: skip
    runtime, ports = assembled.runtime, assembled.ports
    for port in ports:
        port.start()
    control = ControlServer(folder.control, lambda request: answer(runtime, stop_wanted, request))
    watchdog = Watchdog(runtime, settings.supervision)
    runtime.start_tree()
    return Supervisor(runtime, trace, ports, watchdog, control, console, run_n, stop_wanted)


def _ports(
    settings: Settings, runtime: LiveRuntime, clock: MarketClock, gateways: tuple[Gateway, ...], url: str, key: str,
    account: str | None,
) -> list[RealPort]:  # fmt: skip
    desk, addresses = settings.desk, AddressBook()

    def teller(name: str) -> Callable[[str, Message], None]:
        return lambda to, message: runtime.post(to, message, name)

    def of_broker(kind: str, cls: type[P], client_id: int) -> P:
        name = f"port:{kind}:{desk}"
        return cls(
            name, gateways=gateways, client_id=client_id, rules=settings.connection, clock=clock, tell=teller(name),
            account=account,
        )  # fmt: skip

    orders = of_broker("ibkr", OrdersPort, settings.broker.client_ids.orders)
    runtime.on_latch = orders.refuse_entries
    quotes = of_broker("quotes", QuotesPort, settings.broker.client_ids.quotes)
    feed = FeedPort(
        url, key, book=addresses, tell=teller("port:feed"), now_utc=clock.now_utc,
        token_life_ns=round(TOKEN_LIFE_S * SECOND * settings.rate),
    )  # fmt: skip
    hubs = [
        HubPort(
            hub, [(ticker, category) for ticker in settings.tickers for category in categories], book=addresses,
            tell=teller(f"port:hub:{hub}"), now_utc=clock.now_utc,
            recovery_s=settings.feed.rules.recover_ms / 1000 / settings.rate,
            frame_bytes_max=settings.feed.rules.frame_bytes_max,
        )
        for hub, categories in settings.feed.hubs.items()
    ]  # fmt: skip
    return [orders, quotes, feed, *hubs]


def answer(runtime: LiveRuntime, stop_wanted: threading.Event, request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request of the control line."""
    match request.get("do"):
        case "status":
            seen: dict[str, Any] = msgspec.to_builtins(status(runtime))
            return seen
        case "stop":
            stop_wanted.set()
            return {"done": "the supervisor is stopping"}
        case "kill" | "resume" | "flatten":
            return _operate(runtime, request)
        case other:
            return {"error": f"{other!r} is no request"}


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

    do: Literal["kill", "resume", "flatten"]
    by: str
    reason: str
    level: KillLevel = KillLevel.FLATTEN
    expected_epoch: int | None = None
    command_id: str | None = None


def _operate(runtime: LiveRuntime, request: dict[str, Any]) -> dict[str, Any]:
    try:
        asked = msgspec.convert(request, OperatorRequest)
    except msgspec.ValidationError as error:
        return {"error": f"the request cannot be carried out: {error}"}
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
    return runtime.clock.now_utc() + round(COMMAND_LIFE_S * SECOND * runtime.clock.rate)


def _header(settings: Settings, clock: MarketClock, run_n: int) -> Header:
    now = clock.now_utc()
    return Header(
        run_n=run_n, session=session_of(now).isoformat(), started_utc=now, rate=clock.rate,
        settings_digest=settings.digest(), code_version=VERSION, settings=msgspec.Raw(settings.to_json()),
    )  # fmt: skip


def _promote(settings: Settings, folder: DataFolder, clock: MarketClock) -> None:
    by = "demo" if settings.profile == "demo" else "settings"
    for source in settings.lanes:
        promote(folder.ledgers, settings.promoted, source, by, "named in the settings", clock.now_utc())


def _secret(name: str, what: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise CommandError(f"The environment does not carry {what}: set {name}, then start again.")
    return value


def _check_live(settings: Settings, account: str | None) -> None:
    if os.environ.get(settings.live_armed_env) != "yes":
        raise CommandError(
            f"trading_mode is live, but this run is not armed: set {settings.live_armed_env}=yes if you mean it."
        )
    if account is None:
        raise CommandError(f"trading_mode is live, but no account is named: set {settings.broker.account_env}.")
