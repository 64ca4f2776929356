"""`main.py doctor`: checks what a run needs and says what to do about each finding. It changes nothing on the disk."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from commands.folder import DataFolder, settings_of
from config.settings import Settings
from domain.units import Cents
from storage.ledger_schema import DESK, SHARED, SHARED_OWNER
from storage.lost import SHARED_FILE, refuse_lost
from storage.sqlite_file import LedgerRefusedError, Schema, is_empty, peek

_MB = 1024 * 1024
_TIMEOUT_S = 2.0
_MULTIPLIER = 100
_STEP_S = 60.0  # files may bear a time this far ahead of ours before the clock is said to be wrong
_STA_UNSYNC = 0x40  # adjtimex(2): the kernel's clock follows nobody


@dataclass(frozen=True)
class Finding:
    """One check: `is_ok`, what was seen, and the remedy where it is not; a warning is not OK and harms no run."""

    check: str
    is_ok: bool
    seen: str
    remedy: str = ""
    is_warning: bool = False

    @property
    def is_fault(self) -> bool:
        """Return whether a run should not begin before this is mended."""
        return not self.is_ok and not self.is_warning


def act(arguments: Namespace) -> int:
    """Run all checks; 1 when one of them found a fault."""
    settings = settings_of(arguments)
    found = [*_always(settings), *(_real(settings) if settings.profile == "real" else ())]
    if arguments.json:
        print(orjson.dumps([asdict(finding) for finding in found], option=orjson.OPT_INDENT_2).decode())
    else:
        for finding in found:
            mark = "ok  " if finding.is_ok else "BAD " if finding.is_fault else "warn"
            print(f"{mark} {finding.check}: {finding.seen}")
            if not finding.is_ok:
                print(f"     {finding.remedy}")
    return 1 if any(finding.is_fault for finding in found) else 0


def _always(settings: Settings) -> list[Finding]:
    version = sys.version_info[:2]
    folder = DataFolder(settings.data_dir)
    return [
        Finding("settings", True, f"profile {settings.profile}, trading mode {settings.trading_mode}"),
        *_day_limit(settings),
        *_kill_inputs(settings),
        *_disaster_stop(settings),
        Finding("python", (3, 11) <= version < (3, 14), ".".join(map(str, version)), "Use Python 3.11, 3.12 or 3.13."),
        *_folder(folder, settings.warehouse.disk_free_min_mb),
        *_ledgers(folder, settings.desk),
        _files_ahead(folder, time.time()),
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


# -- the data folder ----------------------------------------------------------------------------


def _folder(folder: DataFolder, wanted_mb: int) -> Iterator[Finding]:
    root = folder.root
    above = next(path for path in (root, *root.absolute().parents) if path.exists())
    remedy = "Give another folder with --data, or mend its permissions."
    if not above.is_dir():
        yield Finding("data folder", False, f"{above} is no folder", remedy)
        return
    parts = (folder.ledgers, folder.warehouse, folder.traces, folder.run)
    shut = [path for path in (above, *parts) if path.exists() and not os.access(path, os.W_OK | os.X_OK)]
    if shut:
        yield Finding("data folder", False, f"{shut[0]} cannot be written", remedy)
    else:
        yield Finding("data folder", True, f"{root}" if root.exists() else f"{root} (the first run makes it)")
    free_mb = shutil.disk_usage(above).free // _MB
    yield Finding("disk", free_mb >= wanted_mb, f"{free_mb} MB free", f"Free the disk: {wanted_mb} MB are the least.")


def _ledgers(folder: DataFolder, desk: str) -> Iterator[Finding]:
    """Look at both ledgers: lost, emptied, damaged, another desk's, of a newer version."""
    names = ((SHARED_FILE, SHARED, SHARED_OWNER), (f"{desk}.db", DESK, desk))
    try:
        with _as_they_lie(folder) as ledgers:
            try:
                refuse_lost(ledgers, (desk,), folder.traces)
            except LedgerRefusedError as error:
                yield _told(error, ledgers, folder.ledgers)
                return
            for name, schema, owner in names:
                path = ledgers / name
                if not path.exists():
                    yield Finding("ledger", True, f"{folder.ledgers / name} (the first run makes it)")
                    continue
                try:
                    seen = f"{folder.ledgers / name}, {_sound(path, schema, owner)}"
                    yield Finding("ledger", True, seen)
                except LedgerRefusedError as error:
                    yield _told(error, ledgers, folder.ledgers)
    except OSError as error:
        remedy = "Mend the permissions of the ledgers, or give another folder with --data."
        yield Finding(
            "ledger", False, f"{folder.ledgers} cannot be read ({error.strerror or 'not every file'})", remedy
        )


@contextmanager
def _as_they_lie(folder: DataFolder) -> Iterator[Path]:
    """Give a folder in which the ledgers may be read: even a reader of SQLite writes files beside an idle one."""
    if folder.is_supervised() or not folder.ledgers.is_dir():
        yield folder.ledgers
        return
    with tempfile.TemporaryDirectory(prefix="zerohour-doctor-") as aside:
        copy = Path(aside) / folder.ledgers.name
        shutil.copytree(folder.ledgers, copy, ignore=shutil.ignore_patterns("*-shm", "*.tmp"))
        yield copy


def _sound(path: Path, schema: Schema, owner: str) -> str:
    """Return what is to be said of a ledger that can be used.

    Raises:
        LedgerRefusedError: it cannot; one sentence with the remedy.
    """
    if is_empty(path):
        raise LedgerRefusedError(f"The ledger {path} is empty, which no ledger is; restore it from a backup.")
    restore = "restore it from a backup"
    try:
        with closing(peek(path)) as db:
            application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in _HEADER)
            if application != schema.app_id:
                raise LedgerRefusedError(f"{path} is not a {schema.kind} ledger of Zerohour; {restore}.")
            if version > schema.version:
                raise LedgerRefusedError(
                    f"The ledger {path} has version {version}, this program knows up to {schema.version};"
                    " update the program."
                )
            verdict = " ".join(str(db.execute("PRAGMA quick_check(1)").fetchone()[0]).split())
            if verdict != "ok":
                raise LedgerRefusedError(f"The ledger {path} is damaged ({verdict}); {restore}.")
            row = db.execute("SELECT value FROM meta WHERE key = 'desk'").fetchone()
    except sqlite3.Error as error:
        raise LedgerRefusedError(f"The ledger {path} cannot be read ({error}); {restore}.") from None
    if row is None or row[0] != owner:
        whose = "nobody" if row is None else row[0]
        raise LedgerRefusedError(f"The ledger {path} is that of {whose}, not of {owner}; name another data folder.")
    old = f"; the next run brings it to {schema.version} and keeps a copy" if version < schema.version else ""
    return f"version {version}{old}"


_HEADER = ("application_id", "user_version")


def _told(error: LedgerRefusedError, read_in: Path, folder: Path) -> Finding:
    text = str(error).replace(str(read_in), str(folder))
    seen, _, remedy = text.rpartition("; ")
    return Finding("ledger", False, seen or text, f"{remedy[:1].upper()}{remedy[1:]}")


def _files_ahead(folder: DataFolder, now_s: float) -> Finding:
    """Compare the clock with the times of what was written last: it must not have been set back since."""
    files = [path for part in (folder.ledgers, folder.traces) if part.is_dir() for path in part.rglob("*")]
    newest = max((path.stat().st_mtime for path in files if path.is_file()), default=now_s)
    ahead_s = newest - now_s
    seen = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if ahead_s > _STEP_S:
        seen = f"{seen}, {ahead_s:,.0f} s before the newest file in {folder.root} was written"
    return Finding("clock", ahead_s <= _STEP_S, seen, "Set the clock (NTP) before anything trades by it.")


# -- what a real profile needs ------------------------------------------------------------------


def _real(settings: Settings) -> list[Finding]:
    found = []
    keys = settings.feed.keys if settings.feed.source in ("hubs", "rest") else ()
    for name, what in (*((key, "vendor key") for key in keys), (settings.broker.account_env, "account id")):
        is_needed = name in keys or settings.trading_mode == "live"
        is_set = bool(os.environ.get(name))
        found.append(
            Finding(what, is_set or not is_needed, "set" if is_set else "not set", f"Set {name} in the environment.")
        )
    found += _account(settings)
    if is_clock_led() is False:
        remedy = "Start a time service (chrony, systemd-timesyncd): 500 ms off the broker's clock ends entries."
        found.append(Finding("clock", False, "follows no time server", remedy, is_warning=True))
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
    if keys:
        found.append(_feed(settings.feed.negotiate_url))
    return found


def _account(settings: Settings) -> Iterator[Finding]:
    """Refuse an account of the other kind: a paper account of the broker begins with DU or DF."""
    account = os.environ.get(settings.broker.account_env, "")
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
