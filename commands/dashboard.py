"""The dashboard beside a running supervisor: where it listens, and how its process is started."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from commands.cli import CommandError
from commands.folder import DataFolder
from config.secrets import secret
from config.settings import Settings, SettingsError
from config.tree import Web
from domain.alarm import Severity
from domain.signals.offer import SOURCE as OUTSIDE
from domain.units import Utc
from messages.operator import Alarm
from web.feed import AGAIN_S, Doors, Feed, is_loopback, listen, token_beyond_loopback
from web.guard import networks
from web.link import Hello
from web.masking import masked_text

TOKEN_MIN = 16
PORTS_TRIED = 100
COMMAND = (sys.executable, "-m", "commands.serve")


Accounts = Mapping[str, str | None]  # of the desks beside the first, by desk


def feed_of(
    settings: Settings, folder: DataFolder, run_n: int, account: str | None, accounts: Accounts | None = None
) -> Feed | None:
    """Return the screen of a supervisor, not started yet; `None` where the dashboard is switched off.

    Raises:
        CommandError: it cannot listen where the settings say, or other machines could reach it without a token.
    """
    return _feed(doors_of(settings), settings, folder, run_n, account, accounts) if settings.web.is_on else None


def doors_of(settings: Settings) -> Doors:
    """Return the listening sockets of the dashboard.

    Raises:
        CommandError: it cannot listen where the settings say, or other machines could reach it without a token.
    """
    web = settings.web
    token = token_beyond_loopback(web.host, web.token_env)
    is_open = not is_loopback(web.host)
    if is_open and len(token or "") < TOKEN_MIN:
        raise CommandError(
            f"web.host is {web.host}, which other machines reach: set {web.token_env} in the environment to a token of"
            f" at least {TOKEN_MIN} characters, or take 127.0.0.1."
        )
    if is_open and not web.allowed_from:
        raise CommandError(
            f"web.host is {web.host}, which other machines reach: name those that may ask in web.allowed_from, as"
            " [192.168.1.0/24], or take 127.0.0.1."
        )
    check_reach(web)
    if settings.lanes.get(OUTSIDE) and len(secret(settings.outside.token_env) or "") < TOKEN_MIN:
        raise CommandError(
            f"lanes.{OUTSIDE} takes signals from outside: set {settings.outside.token_env} in the environment to a"
            f" token of at least {TOKEN_MIN} characters, or take the lane out."
        )
    listener = listener_of("web", web.host, web.port, tries=PORTS_TRIED)
    try:
        public = listener_of("web.public", web.public.host, web.public.port) if web.public.is_on else None
    except CommandError:
        listener.close()
        raise
    return Doors(listener, public)


def _feed(
    doors: Doors | Callable[[], Doors], settings: Settings, folder: DataFolder, run_n: int, account: str | None,
    accounts: Accounts | None,
) -> Feed:  # fmt: skip
    web = settings.web
    hello = Hello(
        settings=msgspec.Raw(settings.to_json()), data_dir=str(folder.root.resolve()), token=secrets.token_urlsafe(24),
        run_n=run_n, account=masked_text(account),
        accounts={desk: masked_text(number) for desk, number in (accounts or {}).items()},
    )  # fmt: skip
    root, log = Path(__file__).resolve().parent.parent, folder.run / "dashboard.log"
    scheme = "https" if not is_loopback(web.host) and web.tls.certificate is not None else "http"
    return Feed(doors, COMMAND, hello, str(root), os.fspath(log), scheme)


def feed_or_alarm(
    settings: Settings, folder: DataFolder, run_n: int, account: str | None, now_utc: Utc,
    accounts: Accounts | None = None,
) -> tuple[Feed | None, list[Alarm]]:  # fmt: skip
    """Return the screen as `feed_of` does; a real desk's goes on trying to listen, and an alarm says why it must.

    Looking on is not trading: nothing waits for it.

    Raises:
        CommandError: a demo's cannot listen, or other machines could reach it without a token.
        SettingsError: a demo's token cannot be read.
    """
    try:
        return feed_of(settings, folder, run_n, account, accounts), []
    except (CommandError, SettingsError) as error:
        if settings.profile == "demo":
            raise
        text = f"There is no dashboard yet: {error} Trading goes on; it is tried again every {AGAIN_S:.0f} s."
        told = Alarm(key="dashboard", severity=Severity.HIGH, text=text, at_utc=now_utc)
        return _feed(partial(doors_of, settings), settings, folder, run_n, account, accounts), [told]


def open_at_last(settings: Settings, url: str, now_utc: Utc) -> Alarm:
    """Return what is told when a dashboard that could not listen at first does."""
    return Alarm(key="dashboard:open", severity=Severity.INFO, text=line_of(settings, url) + ".", at_utc=now_utc)


def check_reach(web: Web) -> None:
    """Let a set-up pass whose lists of networks can be read, and that speaks TLS with whoever is on other machines.

    Raises:
        CommandError: it may not be served so.
    """
    try:
        networks((*web.allowed_from, *web.public.allowed_from))
    except ValueError as error:
        raise CommandError(f"web.allowed_from: {error}; write addresses or networks, as 192.168.1.0/24.") from None
    is_open = not is_loopback(web.host) or (web.public.is_on and not is_loopback(web.public.host))
    files = (web.tls.certificate, web.tls.key)
    if is_open and files == (None, None):
        if not web.allows_plain_http:
            raise CommandError(
                "Other machines reach the dashboard, and web.tls names no certificate: name PEM files, take 127.0.0.1"
                " with a tunnel, or set web.allows_plain_http where something in front speaks TLS."
            )
        return
    for name, file in zip(("certificate", "key"), files, strict=True):
        if is_open and (file is None or not Path(file).is_absolute() or not Path(file).is_file()):
            raise CommandError(f"web.tls.{name}: {file or 'nothing'} is no file; name a PEM file by its whole path.")


def listener_of(section: str, host: str, port: int, tries: int = 1) -> socket.socket:
    """Return a listening socket for a section of the settings.

    Raises:
        CommandError: it cannot listen there.
    """
    try:
        return listen(host, port, tries)
    except OSError as error:
        raise CommandError(
            f"The dashboard cannot listen on {host}:{port} ({error.strerror}); change {section}.host or {section}.port,"
            f" or set {section}.is_on to false."
        ) from None


def line_of(settings: Settings, url: str) -> str:
    """Return the line that tells people where to look."""
    is_moved = not url.endswith(f":{settings.web.port}")
    return f"Dashboard: {url}" + (f" (port {settings.web.port} is taken)" if is_moved else "")
