"""`main.py flatten --direct`: closes what is ours with the supervisor dead, through a client id of its own."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psutil

from commands.cli import CommandError
from commands.control import request
from commands.emergency import keep_level
from commands.folder import Control, DataFolder
from commands.held import booked, desks_of, holdings, owned
from config.secrets import secret
from config.settings import Settings
from config.tree import Gateway
from gateways.ib.direct import DirectError, flatten_direct
from storage.queries import LedgerReader
from supervision.clock import FOREVER, RATE_ALONE, ClockFileError, LedClock, MarketClock

STOP_WAIT_S = 15.0  # for a supervisor that is alive to end in peace, when it is pushed aside


def flatten(arguments: Namespace, settings: Settings, folder: DataFolder) -> int:
    """Show what is ours, ask, cancel and sell; 0 when nothing of ours is left.

    Raises:
        CommandError: a supervisor is alive, nobody confirms, or the broker cannot be reached.
    """
    if folder.is_supervised() and not arguments.force:
        raise CommandError(
            f"A supervisor runs on {folder.root}: use `main.py flatten --reason ...`; --force stops it first, for one"
            " that no longer reacts.",
            3,
        )
    gateways, clock = _broker_of(settings, folder)
    desks = desks_of(folder.ledgers)
    ours = owned(folder.ledgers, desks)
    for desk in desks:
        for holding in holdings(LedgerReader(folder.ledgers, desk)):
            print(f"{desk}: {holding.sentence}")
    if not ours:
        print("The ledgers hold nothing: only working orders of ours are cancelled.")
    _confirm(arguments)
    if folder.is_supervised():
        _push_aside(folder)
    if keep_level(folder.kill_file, 2):
        print(f"Left {folder.kill_file} with 2 in it: the next start comes up at kill level 2 (no entries).")
    else:
        print(f"{folder.kill_file} cannot be written: the next start may trade. Do not start it before that is mended.")
    try:
        with _running(clock):
            outcome = flatten_direct(
                gateways, settings.broker.client_ids.direct, secret(settings.broker.account_env), ours,
                booked=booked(folder.ledgers, desks), rules=settings.connection, clock=clock,
                say=lambda text: print(f"  {text}", flush=True),
            )  # fmt: skip
    except DirectError as error:
        raise CommandError(f"Not flattened: {error}.", 3) from None
    if not outcome.is_flat:
        raise CommandError("NOT FLAT: close what is left by the broker's own screen.", 1)
    print("Flat; the ledger learns of it with the next start.")
    print(f"To trade again: remove {folder.kill_file}, start the supervisor, `main.py resume --reason ...`.")
    return 0


def _broker_of(settings: Settings, folder: DataFolder) -> tuple[tuple[Gateway, ...], MarketClock]:
    if settings.profile != "demo":
        return settings.broker.gateways, MarketClock.real()
    gateway = folder.sim("gateway")
    if gateway is None:
        raise CommandError(f"No demo day is under way in {folder.root}: there is no broker to flatten at.", 3)
    try:
        return (Gateway("127.0.0.1", gateway.port),), LedClock.resume(folder.clock)
    except (OSError, ClockFileError) as error:
        raise CommandError(f"The demo's clock cannot be read ({error}); `main.py sim stop` ends the day.", 3) from None


@contextmanager
def _running(clock: MarketClock) -> Iterator[None]:
    """Have the market of a demo go on meanwhile: one that stands fills nothing. Afterwards it is as it was before."""
    if not isinstance(clock, LedClock):
        yield
        return
    is_standing = clock.segment.lease_ns == FOREVER and clock.now_utc() >= clock.segment.horizon_utc
    clock.follow(1.0)
    try:
        yield
    finally:
        if is_standing:
            clock.follow(1.0, clock.now_utc())
        else:  # of a supervisor that was killed, at the pace at which a market goes on alone
            clock.follow(RATE_ALONE)


def _confirm(arguments: Namespace) -> None:
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("Nobody is there to confirm: add --yes.")
    if input("Cancel all orders of the account and sell this at market? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was done.", 1)


def _push_aside(folder: DataFolder) -> None:
    """End a supervisor: asked first, killed after a while, so that nobody else sells meanwhile."""
    pid = msgspec.json.decode(folder.control.read_bytes(), type=Control).pid
    print(f"Stopping the supervisor (pid {pid}) ...", flush=True)
    try:
        request(folder.control, {"do": "stop"}, timeout_s=2.0)
    except CommandError as error:
        print(f"  {error}")
    until_s = time.monotonic() + STOP_WAIT_S
    while folder.is_supervised():
        if time.monotonic() >= until_s:
            print("  It does not end: killed.")
            psutil.Process(pid).kill()
            psutil.Process(pid).wait(5)
            return
        time.sleep(0.1)
