"""`main.py doctor`: checks what a run needs and says what to do about each finding. It changes nothing on the disk."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

import orjson

from commands.cli import CommandError
from commands.doctor_folder import files_ahead, folder_findings, ledger_findings
from commands.doctor_gateway import gateway_findings
from commands.doctor_services import notify_findings, provider_findings
from commands.findings import Finding
from commands.folder import DataFolder, settings_of
from commands.key_locks import KeyLocks
from commands.lines import wrapped
from commands.shadows import promoted_of
from config.desks import desk_names, is_simulated, of_desk
from config.feeds import packing
from config.secrets import secret
from config.settings import Settings
from config.tree import Gateway
from domain.orders.capabilities import IB
from domain.structure.rules import COVER, SHORT
from domain.units import Cents, Utc
from gateways.brokers import BrokerSetupError, row_of
from gateways.gexbot.negotiate import Addresses, Refusal, negotiate, negotiate_legacy
from gateways.ib.checkup import Asked, look
from storage.queries import LedgerReader
from storage.sqlite_file import LedgerRefusedError

_MULTIPLIER: Final = 100
_STA_UNSYNC: Final = 0x40  # adjtimex(2): the kernel's clock follows nobody


def act(arguments: Namespace) -> int:
    """Run all checks; 1 when one of them found a fault."""
    settings = settings_of(arguments)
    found = _always(settings)
    if settings.profile == "real":
        found += _real(settings, tries_order=arguments.try_order)
    if arguments.json:
        print(orjson.dumps([asdict(finding) for finding in found], option=orjson.OPT_INDENT_2).decode())
    else:
        for finding in found:
            mark = "ok  " if finding.is_ok else "BAD " if finding.is_fault else "warn"
            print("\n".join(wrapped(f"{finding.check}: {finding.seen}", 5, first=mark)))
            if not finding.is_ok:
                print("\n".join(wrapped(f"-> {finding.remedy}", 5, first="     ")))
        print(f"\n{_verdict(found)}")
    return 1 if any(finding.is_fault for finding in found) else 0


def _verdict(found: list[Finding]) -> str:
    """Return all findings in a sentence."""
    faults = sum(finding.is_fault for finding in found)
    warnings = sum(not finding.is_ok for finding in found) - faults
    words = [f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((faults, "fault"), (warnings, "warning")) if n]
    if not words:
        return "Nothing is in the way."
    return f"{' and '.join(words)}{'; a run needs the faults mended' if faults else ', nothing that is in the way'}."


def _always(settings: Settings) -> list[Finding]:
    version = sys.version_info[:2]
    folder = DataFolder(settings.data_dir)
    return [
        Finding("settings", True, f"profile {settings.profile}, trading mode {settings.trading_mode}"),
        *_day_limit(settings),
        *_kill_inputs(settings),
        *_disaster_stop(settings),
        *_alert_files(settings),
        Finding("python", (3, 11) <= version < (3, 14), ".".join(map(str, version)), "Use Python 3.11, 3.12 or 3.13."),
        *folder_findings(folder, settings.warehouse.disk_free_min_mb),
        *dict.fromkeys(  # the shared ledger once, however many desks ask for it
            finding for desk in desk_names(settings) for finding in ledger_findings(folder, desk)
        ),
        files_ahead(folder, time.time()),
        *_web_port(settings, folder),
    ]


# -- settings -----------------------------------------------------------------------------------


def _day_limit(settings: Settings) -> Iterator[Finding]:
    """Warn where one stop of the smallest order, at the dearest premium allowed, takes a third of the day's loss."""
    entry, exits = settings.entry, settings.exits
    if (limit := entry.daily_loss_max_cents) is not None:
        watched = sorted({ticker for tickers in settings.lanes.values() for ticker in tickers})
        for ticker in watched:
            premium = settings.ticker_rules[ticker].premium_max_ticks * _MULTIPLIER
            if (loss := round(exits.premium_stop * premium)) * 3 >= limit:
                seen = f"one stop of one {ticker} contract may cost {_usd(loss)} of the day's {_usd(limit)}"
                remedy = f"Raise entry.daily_loss_max_cents, or lower ticker_rules.{ticker}.premium_max_ticks."
                yield Finding("daily loss limit", False, seen, remedy, is_warning=True)
    if (risk := entry.risk_nav / entry.risk_stop_multiple) * 3 >= entry.daily_loss_nav:
        seen = f"one stop may cost {risk:.2%} of NAV, the day ends at {entry.daily_loss_nav:.2%}"
        yield Finding(
            "daily loss limit", False, seen, "Lower entry.risk_nav, or raise entry.daily_loss_nav.", is_warning=True
        )


def _usd(cents: Cents | int) -> str:
    return f"{cents / 100:,.0f} USD"


def _kill_inputs(settings: Settings) -> Iterator[Finding]:
    for ticker in ("VIX", "SPX"):
        if ticker not in (*settings.spot_only, *settings.tickers):
            seen = f"nothing follows {ticker}, so its rule of the kill switch never fires"
            yield Finding("kill rules", False, seen, f"Add {ticker} to spot_only.", is_warning=True)


def _disaster_stop(settings: Settings) -> Iterator[Finding]:
    if settings.trading_mode == "live" and not settings.exits.disaster_stop:
        seen = "no stop rests at the broker, should this process die with a position open"
        yield Finding("disaster stop", False, seen, "Leave exits.disaster_stop out, or set it true.", is_warning=True)


def _alert_files(settings: Settings) -> Iterator[Finding]:
    """Name the alert kinds of one's own (files that do not load were refused with the settings)."""
    for name, kind in settings.own_kinds.items():
        version = f"{name}-{settings.alert_rules[name].version}"
        sources = [source for source, kinds in settings.alerts.items() if name in kinds]
        if not sources:
            remedy = f"Name {name} in the list of a source under alerts, or take the file out of alert_files."
            seen = f"{version} of {kind.path}, which no source looks for"
            yield Finding("alert files", False, seen, remedy, is_warning=True)
            continue
        use = "may trade" if version in settings.promoted else "a shadow"
        yield Finding("alert files", True, f"{version} of {kind.path}, looked for by {', '.join(sources)}, {use}")


def _promoted(settings: Settings) -> Iterator[Finding]:
    """Warn where nothing may trade, by the settings or by what was promoted since."""
    try:
        said = promoted_of(LedgerReader(DataFolder(settings.data_dir).ledgers, settings.desk))
    except LedgerRefusedError:
        return  # said of the ledger
    if not settings.promoted and not said:
        seen = "nothing may trade: every alert is a shadow, recorded and followed"
        remedy = "Once the desk runs: `main.py promote gexwatch GAMMA_FLIP-1 --reason ...` (docs/guides/shadows.md)."
        yield Finding("promoted", False, seen, remedy, is_warning=True)


# -- what a real profile needs ------------------------------------------------------------------


def _real(settings: Settings, *, tries_order: bool) -> list[Finding]:
    found = []
    is_vendors, is_providers = settings.feed.source in ("hubs", "rest"), settings.feed.source == "provider"
    keys = settings.feed.keys if is_vendors else (settings.feed.provider.key_env,) if is_providers else ()
    for name, what in (
        *((key, "provider key" if is_providers else "vendor key") for key in keys),
        (settings.broker.account_env, "account id"),
    ):
        is_needed = name in keys or settings.trading_mode == "live"
        is_set = secret(name) is not None
        remedy = f"Set {name} in the environment or in .env, or name a file that holds it in {name}_FILE."
        found.append(Finding(what, is_set or not is_needed, "set" if is_set else "not set", remedy))
    found += [*_account(settings), *_other_brokers(settings), *_promoted(settings)]
    if is_clock_led() is False:
        remedy = "Start a time service (chrony, systemd-timesyncd): 500 ms off the broker's clock ends entries."
        found.append(Finding("clock", False, "follows no time server", remedy, is_warning=True))
    for gateway in settings.broker.gateways:
        found += _gateway(settings, gateway, tries_order=tries_order)
    if is_vendors:
        found += list(_feed(settings))
    if is_providers:
        found += list(provider_findings(settings, Utc(time.time_ns())))
    return [*found, *notify_findings(settings)]


def _other_brokers(settings: Settings) -> Iterator[Finding]:
    """Look at what the orders of each desk need that go to a broker beside IB; nothing is asked of it."""
    for name in desk_names(settings):
        own = of_desk(settings, name)
        if own.broker.orders != IB and not is_simulated(settings, name):
            yield from _other_broker(own)


def _other_broker(own: Settings) -> Iterator[Finding]:
    orders = own.broker.orders
    try:
        row = row_of(own)
    except BrokerSetupError as error:
        why, _, remedy = str(error).partition(": ")
        yield Finding("orders", False, why, f"{remedy[:1].upper()}{remedy[1:]}")
        return
    for name, what in row.login(own).items():
        is_set = secret(name) is not None
        remedy = f"Set {name} in the environment or in .env, or name a file that holds it in {name}_FILE."
        yield Finding(what, is_set, "set" if is_set else "not set", remedy)
    kind = row.account_class(own)
    if kind is None:
        seen = f"{orders}, which says at the first dial whether its account is paper or live"
        yield Finding("orders", True, seen)
        return
    remedy = f"trading_mode is {own.trading_mode}: correct broker.{orders}.rest_url, or trading_mode."
    seen = f"{orders}, {kind} by its host; `flatten --direct` and the hard stop go there by REST alone"
    yield Finding("orders", kind.value == own.trading_mode, seen, remedy)


def _gateway(settings: Settings, gateway: Gateway, *, tries_order: bool) -> Iterator[Finding]:
    """Look at a gateway as the desk would connect to it; beside a running desk, through the id for emergencies."""
    wanted = settings.broker.paper_port if settings.trading_mode == "paper" else settings.broker.live_port
    remedy = f"A {settings.trading_mode} desk trades on port {wanted} only; entries on another are refused."
    yield Finding("gateway port", gateway.port == wanted, f"{gateway.port}", remedy)
    ids = settings.broker.client_ids
    chains = (ids.chains,) if settings.feed.chain.origin == "broker" else ()
    is_running = DataFolder(settings.data_dir).is_supervised()
    account = secret(settings.broker.account_env)
    spread = settings.spread
    pair = (COVER, SHORT) if spread.is_on else ()
    watched = sorted({ticker for tickers in settings.lanes.values() for ticker in tickers}.union(pair))
    asked = Asked(
        client_ids=(ids.direct,) if is_running else (ids.orders, ids.quotes, *chains),
        classes={ticker: settings.ticker_rules[ticker].trading_class for ticker in watched},
        account=account, tries_order=tries_order,
        sold=(SHORT, spread.spy_contracts_per_spread) if spread.is_on else None,
    )  # fmt: skip
    yield from gateway_findings(asyncio.run(look(gateway.host, gateway.port, asked)), settings, account)


def _account(settings: Settings) -> Iterator[Finding]:
    """Refuse an account of the other kind: a paper account of the broker begins with DU or DF."""
    account = secret(settings.broker.account_env) or ""
    is_paper = account.startswith(("DU", "DF"))
    if account and is_paper is not (settings.trading_mode == "paper"):
        seen = f"a {'paper' if is_paper else 'live'} account, though trading_mode is {settings.trading_mode}"
        yield Finding("account type", False, seen, f"Correct {settings.broker.account_env}, or trading_mode.")


class _Timex(ctypes.Structure):
    """The head of `struct timex`; the kernel writes 208 bytes."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 512),
    )  # fmt: skip


def is_clock_led() -> bool | None:
    """Return whether the system's clock follows a time server; `None` where the system does not say."""
    try:
        read = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):  # no Linux
        return None
    seen = _Timex()
    return None if read(ctypes.byref(seen)) < 0 else not seen.status & _STA_UNSYNC


def _feed(settings: Settings) -> Iterator[Finding]:
    """Ask the vendor for each key's hubs, unless a supervisor uses the key: a negotiate ends its sessions."""
    locks = KeyLocks()
    for name, groups in zip(settings.feed.keys, packing(settings).groups, strict=False):
        key = secret(name)
        if key is None:
            continue  # told already
        try:
            locks.take({name: key})
        except CommandError:
            yield Finding(
                "vendor feed", True, f"the key in {name} is in use by a running supervisor, so it is not tried"
            )
            continue
        is_legacy = settings.feed.protocol == "legacy"
        url = settings.feed.negotiate_url
        told = negotiate_legacy(url, key) if is_legacy else negotiate(url, key, groups)
        locks.release()
        yield _of_vendor(settings, name, told)


def _of_vendor(settings: Settings, name: str, told: dict[str, str] | Addresses | Refusal) -> Finding:
    """Judge the vendor's answer to one key."""
    if isinstance(told, Refusal):
        remedy = (
            f"Check the key in {name}, its subscription at the vendor, and feed.negotiate_url."
            if told.is_final else "Check the network and feed.negotiate_url, then try again."
        )  # fmt: skip
        return Finding("vendor feed", False, told.why, remedy)
    given = told if isinstance(told, dict) else told.urls
    lacking = sorted(set(settings.feed.by_hub) - set(given))
    if lacking:
        text = f"the key in {name} is given no {', '.join(lacking)}"
        remedy = "Subscribe to these at the vendor, or take them out of feed.hubs."
        return Finding("vendor feed", False, text, remedy)
    return Finding("vendor feed", True, f"gives {', '.join(sorted(given))} to the key in {name}")


# -- the dashboard ------------------------------------------------------------------------------


def _web_port(settings: Settings, folder: DataFolder) -> Iterator[Finding]:
    """Warn where the dashboard's port is taken: it is served on another then, where nobody looks for it."""
    if not settings.web.is_on or folder.is_supervised():
        return
    try:
        with socket.create_server((settings.web.host, settings.web.port)):
            return
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]  # the library adds the address
        seen = f"{settings.web.host}:{settings.web.port} cannot be taken ({why})"
        remedy = "Stop what uses it, or set web.port; `run` takes the next free one and prints it."
        yield Finding("dashboard", False, seen, remedy, is_warning=True)
