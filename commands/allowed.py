"""What a start may do: the vendor's keys, the account, and whether live money is armed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from commands.cli import CommandError
from commands.folder import DataFolder
from commands.held import account_key as ledgers_key
from commands.readiness import armed
from commands.unattended import may_hold, real_desks
from config.desks import desk_names, is_simulated, kind_at, of_desk
from config.secrets import secret
from config.settings import Settings, SettingsError
from domain.alarm import Severity
from domain.desks import DeskKind
from domain.session.modes import account_key
from domain.units import Utc
from gateways.brokers import BrokerSetupError, row_of
from messages import operator
from storage.shared_ledger import bring_up
from storage.sqlite_file import LedgerRefusedError

DEMO_KEY = "gexbot_custom_demo"


class AllowedDesk(NamedTuple):
    """What a start may do with a desk beside that of `desk`: the settings as it sees them, its account, its arming.

    One that `is_left_out` has no session in this run.
    """

    settings: Settings
    kind: DeskKind
    account: str | None
    is_armed: bool
    told: tuple[operator.Alarm, ...]
    is_left_out: bool = False


class Allowed(NamedTuple):
    """What a start may do, with the secrets that it has; `key_names` are the variables of the keys that are there."""

    settings: Settings
    keys: tuple[str, ...]
    key_names: tuple[str, ...]
    account: str | None
    is_armed: bool
    told: tuple[operator.Alarm, ...]


def allowed_of(settings: Settings, folder: DataFolder, now_utc: Utc) -> Allowed:
    """Return what a start may do; what is held is never left alone because something else is missing.

    Raises:
        CommandError: a secret is missing, or live is not armed; with something held, the live account's number alone.
        SettingsError: the file of a secret cannot be read.
        LedgerRefusedError: a ledger cannot be used.
    """
    told: list[operator.Alarm] = []
    is_held = settings.profile == "real" and is_any_held(settings, folder)
    names = key_names_of(settings)
    try:
        keys = keys_of(settings)
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
    return Allowed(settings, keys, names, account, is_armed, tuple(told))


def check_new(settings: Settings, folder: DataFolder) -> None:
    """Refuse what a real desk lacks for its first start, while its data folder is not even made.

    Raises:
        CommandError: a secret is missing, or live is not armed.
        SettingsError: the file of a secret cannot be read.
    """
    if settings.profile == "demo" or folder.ledgers.exists():  # something may be held: `allowed_of` looks
        return
    keys_of(settings)
    if settings.trading_mode == "live":
        _is_armed(settings, secret(settings.broker.account_env), is_held=False)
    _check_login(settings)


def _check_login(settings: Settings) -> None:
    try:
        login = row_of(settings).login(settings)
    except BrokerSetupError as error:
        raise CommandError(str(error)) from None
    for name, what in login.items():
        _secret(name, f"the {what}")


def allowed_beside(
    settings: Settings, folder: DataFolder, account: str | None, now_utc: Utc
) -> tuple[AllowedDesk, ...]:
    """Return what a start may do with each desk beside that of `desk`, whose account is `account`; empty: none is.

    While another desk may hold something, one that cannot start is left out with an alarm.

    Raises:
        CommandError: a desk has no account, that of another one, or is live and not armed (with nothing held).
        SettingsError: the file of a secret cannot be read.
        LedgerRefusedError: a ledger cannot be used.
    """
    found: list[AllowedDesk] = []
    of_account = {account or _key_of_ledger(settings, folder): settings.desk}
    for name in settings.desks:
        try:
            found.append(_allowed_desk(settings, name, folder, of_account, now_utc))
        except (CommandError, SettingsError, LedgerRefusedError) as error:
            alarm = LeftOut(settings, folder, now_utc).add(name, error)
            own, kind = of_desk(settings, name), DeskKind(settings.desks[name].kind)
            found.append(AllowedDesk(own, kind, None, is_armed=False, told=(alarm,), is_left_out=True))
    return tuple(found)


def _key_of_ledger(settings: Settings, folder: DataFolder) -> str:
    """Return what tells the account of the first desk's ledger from others, which it trades where none is configured.

    Empty where that is not known, or cannot be read: this desk's own start says so.
    """
    with suppress(LedgerRefusedError):
        return ledgers_key(folder.ledgers, [settings.desk])
    return ""


def _allowed_desk(
    settings: Settings, name: str, folder: DataFolder, of_account: dict[str, str], now_utc: Utc
) -> AllowedDesk:
    own, kind = of_desk(settings, name), DeskKind(settings.desks[name].kind)
    bring_up(folder.ledgers, name)
    if kind is DeskKind.SIM:
        return AllowedDesk(own, kind, None, is_armed=False, told=())
    number = secret(own.broker.account_env)
    if number is None:
        raise CommandError(f"Desk {name} has no account: set {own.broker.account_env} to its number, then start.")
    other = of_account.get(account_key(number)) or of_account.setdefault(number, name)
    if other != name:
        raise CommandError(
            f"Desk {name} and desk {other} have one account: {own.broker.account_env} names the same; give each its"
            " own."
        )
    _check_login(own)
    is_armed, told = False, list[operator.Alarm]()
    if kind is DeskKind.LIVE:
        is_armed = _is_armed(own, number, is_held=is_any_held(settings, folder))
        if not is_armed:
            text = f"{_not_armed(own)} What is held is watched; nothing is opened."
            told.append(operator.Alarm(key="not_armed", severity=Severity.HIGH, text=text, at_utc=now_utc))
        own, of_live = armed(own, folder, now_utc)
        told += of_live
    return AllowedDesk(own, kind, number, is_armed, tuple(told))


def is_any_held(settings: Settings, folder: DataFolder, *, but: str = "") -> bool:
    """Return whether a desk of the process, but for one, holds or may hold something at a broker."""
    names = (name for name in desk_names(settings) if name != but and not is_simulated(settings, name))
    return any(may_hold(folder.ledgers, name) for name in names)


class LeftOut:
    """Leaves out desks that cannot start while another one may hold something; `told` are the alarms of it."""

    def __init__(self, settings: Settings, folder: DataFolder, now_utc: Utc) -> None:
        self._settings = settings
        self._folder = folder
        self._now_utc = now_utc
        self.told: list[operator.Alarm] = []

    def add(self, desk: str, error: Exception) -> operator.Alarm:
        """Leave a desk out.

        Raises:
            Exception: `error`, where it is the first desk, or no other one may hold anything.
        """
        if desk == self._settings.desk or not is_any_held(self._settings, self._folder, but=desk):
            raise error
        text = f"Desk {desk} has not started, and nobody watches it: {error} The others have: something is held."
        alarm = operator.Alarm(key=f"left_out:{desk}", severity=Severity.CRITICAL, text=text, at_utc=self._now_utc)
        self.told.append(alarm)
        return alarm


def left_alone(settings: Settings, folder: DataFolder, now_utc: Utc) -> tuple[operator.Alarm, ...]:
    """Return an alarm for each desk of the folder that may hold something and that the settings do not name.

    A simulated one holds nothing at a broker.
    """
    known = desk_names(settings)
    return tuple(
        operator.Alarm(
            key=f"desk_left:{desk}", severity=Severity.CRITICAL, at_utc=now_utc,
            text=f"Desk {desk} may hold something, and these settings do not name it: nobody watches it.",
        )
        for desk in real_desks(folder.ledgers)
        if desk not in known and may_hold(folder.ledgers, desk)
    )  # fmt: skip


def kind_of(settings: Settings) -> DeskKind:
    """Return whose money a run trades with: that of its first desk."""
    return kind_at(settings, settings.desk)


def keys_of(settings: Settings) -> tuple[str, ...]:
    """Return the vendor's keys that the source in use needs."""
    if settings.feed.source not in ("hubs", "rest", "provider"):
        return ()
    if settings.profile == "demo":
        return tuple(f"{DEMO_KEY}_{n}" for n in range(len(settings.feed.keys)))
    what = "the provider's key" if settings.feed.source == "provider" else "the vendor's key"
    return tuple(_secret(name, what) for name in key_names_of(settings))


def key_names_of(settings: Settings) -> tuple[str, ...]:
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
    what = f"Desk {settings.desk} is live" if settings.desk in settings.desks else "trading_mode is live"
    return f"{what}, but this run is not armed: set {settings.live_armed_env}=yes if you mean it."
