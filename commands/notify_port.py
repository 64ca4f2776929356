"""What sends a running supervisor's lines for people beyond the console, and tells whether it is alive."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from commands.folder import DataFolder
from config.secrets import secret
from config.settings import Settings, SettingsError
from domain.desks import DeskKind
from gateways.notify.port import NotifyPort, Tell
from supervision.host import Host
from web.masking import masked_text

COMMAND: Final = (sys.executable, "-m", "commands.send")
_STUCK_TIMES: Final = 5  # of `supervision.stuck_after_ms`: the watchdog's last stage
_ROOT: Final = Path(__file__).resolve().parent.parent


def notify_port_of(
    settings: Settings, folder: DataFolder, kind: DeskKind, tell: Tell, is_alive: Callable[[], bool]
) -> NotifyPort | None:
    """Return the port of a supervisor, not started yet; `None` where nobody is to be told anything.

    A target without a usable address is an alarm and no refusal: an open position waits for nobody's webhook.
    """
    rules = settings.notify
    if not rules.targets and not is_set(rules.heartbeat_env):
        return None
    log = str(folder.run / "notify.log")
    return NotifyPort(
        rules, title_of(settings, kind), COMMAND, str(_ROOT), log, tell, is_alive,
        lambda text: masked_text(text) or "",
    )  # fmt: skip


def title_of(settings: Settings, kind: DeskKind) -> str:
    """Return the title of every message: whose money it is stands in it."""
    return f"Zerohour {settings.desk}" + ("" if settings.desk == kind else f" ({kind})")


def does_its_work(host: Host, names: Iterable[str], stuck_after_ms: int, now_ns: int) -> bool:
    """Return whether a supervisor goes on and none of these actors is down or stuck; `now_ns` of `perf_counter_ns`."""
    if host.ended is not None:
        return False
    for name in names:
        cell = host.cells.get(name)
        if cell is None or not cell.is_up:
            return False
        if cell.in_hand is not None and now_ns - cell.busy_since_ns > stuck_after_ms * _STUCK_TIMES * 1_000_000:
            return False
    return True


def is_set(variable: str) -> bool:
    """Return whether a secret is there and can be read."""
    try:
        return secret(variable) is not None
    except SettingsError:
        return False
