"""What a start may do: the vendor's keys, the account, and whether live money is armed."""

from __future__ import annotations

import os
from typing import NamedTuple

from commands.cli import CommandError
from commands.folder import DataFolder
from commands.readiness import armed
from commands.unattended import may_hold
from config.secrets import secret
from config.settings import Settings, SettingsError
from domain.alarm import Severity
from domain.desks import DeskKind
from domain.units import Utc
from messages import operator

DEMO_KEY = "gexbot_custom_demo"


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
    is_held = settings.profile == "real" and may_hold(folder.ledgers, settings.desk)
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


def kind_of(settings: Settings) -> DeskKind:
    """Return whose money a run trades with."""
    if settings.profile == "demo":
        return DeskKind.SIM
    return DeskKind.LIVE if settings.trading_mode == "live" else DeskKind.PAPER


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
    return f"trading_mode is live, but this run is not armed: set {settings.live_armed_env}=yes if you mean it."
