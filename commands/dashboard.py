"""The dashboard beside a running supervisor: where it listens, and how its process is started."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path

import msgspec

from commands.cli import CommandError
from commands.folder import DataFolder
from config.settings import Settings
from web.feed import Feed, is_loopback, listen, token_beyond_loopback
from web.link import Hello
from web.masking import masked_text

TOKEN_MIN = 16
PORTS_TRIED = 100
COMMAND = (sys.executable, "-m", "commands.serve")


def feed_of(settings: Settings, folder: DataFolder, run_n: int, account: str | None) -> Feed | None:
    """Return the screen of a supervisor, not started yet; `None` where the dashboard is switched off.

    Raises:
        CommandError: it cannot listen where the settings say, or other machines could reach it without a token.
    """
    web = settings.web
    if not web.is_on:
        return None
    token = token_beyond_loopback(web.host, web.token_env)
    if not is_loopback(web.host) and len(token or "") < TOKEN_MIN:
        raise CommandError(
            f"web.host is {web.host}, which other machines reach: set {web.token_env} in the environment to a token of"
            f" at least {TOKEN_MIN} characters, or take 127.0.0.1."
        )
    listener = _listener("web", web.host, web.port, tries=PORTS_TRIED)
    public = _listener("web.public", web.public.host, web.public.port) if web.public.is_on else None
    hello = Hello(
        settings=msgspec.Raw(settings.to_json()), data_dir=str(folder.root.resolve()), token=secrets.token_urlsafe(24),
        run_n=run_n, account=masked_text(account),
    )  # fmt: skip
    root, log = Path(__file__).resolve().parent.parent, folder.run / "dashboard.log"
    return Feed(listener, COMMAND, hello, str(root), os.fspath(log), public)


def _listener(section: str, host: str, port: int, tries: int = 1) -> socket.socket:
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
