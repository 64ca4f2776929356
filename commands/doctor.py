"""`main.py doctor`: checks what a run needs and says what to do about each finding."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from argparse import Namespace
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import orjson

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from config.settings import Settings

_MB = 1024 * 1024
_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Finding:
    """One check: `is_ok`, what was seen, and the remedy where it is not."""

    check: str
    is_ok: bool
    seen: str
    remedy: str = ""


def act(arguments: Namespace) -> int:
    """Run all checks; 1 when one of them found something."""
    settings = settings_of(arguments)
    found = [*_always(settings), *(_real(settings) if settings.profile == "real" else ())]
    if arguments.json:
        print(orjson.dumps([asdict(finding) for finding in found], option=orjson.OPT_INDENT_2).decode())
    else:
        for finding in found:
            print(f"{'ok  ' if finding.is_ok else 'BAD '} {finding.check}: {finding.seen}")
            if not finding.is_ok:
                print(f"     {finding.remedy}")
    return 0 if all(finding.is_ok for finding in found) else 1


def _always(settings: Settings) -> list[Finding]:
    version = sys.version_info[:2]
    found = [
        Finding("settings", True, f"profile {settings.profile}, trading mode {settings.trading_mode}"),
        Finding("python", (3, 11) <= version < (3, 14), ".".join(map(str, version)), "Use Python 3.11, 3.12 or 3.13."),
    ]
    folder = DataFolder(settings.data_dir)
    try:
        folder.make()
        found.append(Finding("data folder", True, str(settings.data_dir)))
    except CommandError as error:
        return [*found, Finding("data folder", False, str(error), "Give another folder with --data.")]
    free_mb = shutil.disk_usage(settings.data_dir).free // _MB
    wanted_mb = settings.warehouse.disk_free_min_mb
    found.append(
        Finding("disk", free_mb >= wanted_mb, f"{free_mb} MB free", f"Free the disk: {wanted_mb} MB are the least.")
    )
    return found


def _real(settings: Settings) -> list[Finding]:
    found = []
    for name, what in ((settings.feed.key_env, "vendor key"), (settings.broker.account_env, "account id")):
        is_needed = name == settings.feed.key_env or settings.trading_mode == "live"
        is_set = bool(os.environ.get(name))
        found.append(
            Finding(what, is_set or not is_needed, "set" if is_set else "not set", f"Set {name} in the environment.")
        )
    for gateway in settings.broker.gateways:
        remedy = "Start IB Gateway, allow API connections, and check host and port under broker.gateways."
        found.append(_reach("IB Gateway", gateway.host, gateway.port, remedy))
        wanted = settings.broker.paper_port if settings.trading_mode == "paper" else settings.broker.live_port
        found.append(
            Finding(
                "gateway port", gateway.port == wanted, f"{gateway.port}",
                f"A {settings.trading_mode} desk trades on port {wanted} only; entries on another are refused.",
            )
        )  # fmt: skip
    found.append(_feed(settings.feed.negotiate_url))
    return found


def _feed(address: str) -> Finding:
    try:
        url = urlsplit(address)
        port = url.port or (443 if url.scheme == "https" else 80)
    except ValueError as error:
        return Finding("vendor feed", False, f"{address} is no address ({error})", "Correct feed.negotiate_url.")
    if url.scheme not in ("http", "https") or not url.hostname:
        return Finding("vendor feed", False, f"{address} is no address of a web server", "Correct feed.negotiate_url.")
    return _reach("vendor feed", url.hostname, port, "Check the network and feed.negotiate_url.")


def _reach(what: str, host: str, port: int, remedy: str) -> Finding:
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S):
            return Finding(what, True, f"{host}:{port} answers")
    except OSError as error:
        return Finding(what, False, f"{host}:{port} cannot be reached ({error})", remedy)
