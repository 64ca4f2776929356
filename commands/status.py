"""`main.py status`: the actor tree of a running supervisor."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from typing import Any

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from commands.control import request
from commands.folder import DataFolder, settings_of
from domain.instants import exchange_clock


def act(arguments: Namespace) -> int:
    """Ask, print; with --watch until interrupted."""
    folder = DataFolder(settings_of(arguments).data_dir)
    if arguments.json:
        print(orjson.dumps(request(folder.control, {"do": "status"}), option=orjson.OPT_INDENT_2).decode())
        return 0
    console = Console(width=None if sys.stdout.isatty() else 140)
    if not arguments.watch:
        console.print(screen(request(folder.control, {"do": "status"})))
        return 0
    with Live(screen(request(folder.control, {"do": "status"})), console=console, screen=True) as live:
        while True:
            time.sleep(0.5)
            live.update(screen(request(folder.control, {"do": "status"})))


def screen(status: dict[str, Any]) -> Group:
    """Lay the status out as one screen."""
    table = Table(box=None, pad_edge=False)
    for title in ("actor", "up", "mail", "oldest", "handled", "crashes", "p50", "p99", "last"):
        table.add_column(title, justify="left" if title in ("actor", "last") else "right", no_wrap=True)
    for actor in status["actors"]:
        table.add_row(
            actor["name"], "yes" if actor["is_up"] else "NO", str(actor["depth"]), _ms(actor["oldest_ms"]),
            str(actor["handled"]), str(actor["crashes"]), _us(actor["p50_us"]), _us(actor["p99_us"]),
            actor["last_tag"] or "",
        )  # fmt: skip
    facts = "  ".join(f"{name}: {value}" for name, value in status["process"].items() if name != "at_utc")
    return Group(Text(f"{exchange_clock(status['process']['at_utc'])} New York  {facts}"), table)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"


def _us(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} us"
