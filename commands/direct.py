"""`main.py flatten --direct`: closes what is ours with the supervisor dead, through a link of its own."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import psutil

from commands.cli import CommandError
from commands.control import request
from commands.emergency import keep_level
from commands.folder import Control, DataFolder, at_desk
from commands.held import account_key, booked, contracts, desks_at, holdings, owned
from config.desks import desk_names, is_simulated, of_desk
from config.secrets import secret
from config.settings import Settings, SettingsError
from config.tree import Gateway
from domain.orders.capabilities import IB
from domain.units import Qty
from gateways.brokers import BrokerSetupError, DirectSetup, direct_way
from gateways.contract_book import ContractBook
from gateways.direct import DirectError, Outcome
from gateways.direct import flatten as flatten_at
from storage.queries import LedgerReader
from storage.sqlite_file import LedgerRefusedError
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
    accounts, failures = _accounts_of(_wanted(arguments, settings), gateways, settings, folder)
    if not accounts:
        raise CommandError(" ".join(map(str, failures)), 3)
    for failure in failures:
        print(failure)
    for account in accounts:
        for desk in account.desks:
            for holding in holdings(LedgerReader(folder.ledgers, desk)):
                print(f"{desk}: {holding.sentence}")
    if not any(account.ours for account in accounts):
        print("The ledgers hold nothing: only working orders of ours are cancelled.")
    _confirm(arguments)
    if folder.is_supervised():
        _push_aside(folder)
    # The file is the whole process's: where one of several desks was flattened, the others keep what they hold.
    level = 1 if settings.desks and arguments.desk is not None else 2
    if keep_level(folder.kill_file, level):
        what = (
            f"the next start comes up at kill level {level} (no entries){', at every desk' if settings.desks else ''}"
        )
        print(f"Left {folder.kill_file} with {level} in it: {what}.")
    else:
        print(f"{folder.kill_file} cannot be written: the next start may trade. Do not start it before that is mended.")
    with _running(clock):
        for account in accounts:
            try:
                outcome = _flatten_one(account, folder, clock)
            except (DirectError, BrokerSetupError, LedgerRefusedError, SettingsError) as error:
                failures.append(_not_flattened(account.title, error))
                continue
            if not outcome.is_flat:
                text = f"{account.title}NOT FLAT: close what is left by the broker's own screen."
                failures.append(CommandError(text, 1))
    if failures:
        raise CommandError(" ".join(str(failure) for failure in failures), failures[0].code)
    print("Flat; the ledger learns of it with the next start.")
    print(f"To trade again: remove {folder.kill_file}, start the supervisor, `main.py resume --reason ...`.")
    return 0


class _Account(NamedTuple):
    """One desk's account: its settings, its gateways, the desks of the folder that trade in it, what of it is ours."""

    settings: Settings
    gateways: tuple[Gateway, ...]
    desks: list[str]
    ours: dict[int, Qty]
    title: str


def _wanted(arguments: Namespace, settings: Settings) -> list[Settings]:
    """Return the desks that are to be flattened, each as it sees the settings; one that has no broker is none."""
    if arguments.desk is not None:
        if is_simulated(settings, at_desk(settings, arguments.desk).desk):
            raise CommandError(f"Desk {arguments.desk} has no broker: nothing of it is held anywhere.")
        return [at_desk(settings, arguments.desk)]
    return [of_desk(settings, name) for name in desk_names(settings) if not is_simulated(settings, name)]


def _account_of(desk: Settings, of_first: tuple[Gateway, ...], settings: Settings, folder: DataFolder) -> _Account:
    known = desks_at(folder.ledgers, desk)
    gateways = of_first if desk.desk == settings.desk else desk.broker.gateways
    return _Account(desk, gateways, known, owned(folder.ledgers, known), _title_of(desk, settings))


def _accounts_of(
    wanted: list[Settings], of_first: tuple[Gateway, ...], settings: Settings, folder: DataFolder
) -> tuple[list[_Account], list[CommandError]]:
    """Return the accounts, and why others are none: a ledger that cannot be used keeps no other account open.

    Raises:
        LedgerRefusedError: the only account has a ledger that cannot be used.
    """
    accounts: list[_Account] = []
    failures: list[CommandError] = []
    for desk in wanted:
        try:
            accounts.append(_account_of(desk, of_first, settings, folder))
        except LedgerRefusedError as error:
            if len(wanted) == 1:
                raise
            failures.append(_not_flattened(_title_of(desk, settings), error))
    return accounts, failures


def _title_of(desk: Settings, settings: Settings) -> str:
    return f"Desk {desk.desk}: " if settings.desks else ""


def _not_flattened(title: str, error: Exception) -> CommandError:
    return CommandError(f"{title}Not flattened: {str(error).removesuffix('.')}.", 3)


def _flatten_one(account: _Account, folder: DataFolder, clock: MarketClock) -> Outcome:
    settings = account.settings
    known = () if settings.broker.orders == IB else contracts(folder.ledgers, account.desks)
    setup = DirectSetup(
        settings, account.gateways, clock, secret(settings.broker.account_env), ContractBook(known),
        account_key(folder.ledgers, [settings.desk, *account.desks]),
    )  # fmt: skip
    way = direct_way(setup)
    return flatten_at(
        way, account.ours, booked=booked(folder.ledgers, account.desks), clock=clock,
        say=lambda text: print(f"  {account.title}{text}", flush=True),
    )  # fmt: skip


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
