"""`main.py status`: the actor tree of a running supervisor."""

from __future__ import annotations

import sys
import textwrap
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
from commands.lines import WIDTH, in_lines
from domain.instants import exchange_clock

_WIDE = 110  # columns from which everything fits
_TITLES = ("actor", "up", "mail", "oldest", "handled", "crashes", "p50", "p99", "last")
_TITLES_NARROW = tuple(title for title in _TITLES if title not in ("p50", "last"))


def act(arguments: Namespace) -> int:
    """Ask, print; with --watch until interrupted."""
    folder = DataFolder(settings_of(arguments).data_dir)
    if arguments.json:
        print(orjson.dumps(request(folder.control, {"do": "status"}), option=orjson.OPT_INDENT_2).decode())
        return 0
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    if not arguments.watch:
        console.print(screen(request(folder.control, {"do": "status"}), console.width))
        return 0

    def now() -> Group:
        return screen(request(folder.control, {"do": "status"}), console.width, console.height)

    with Live(now(), console=console, screen=True) as live:
        while True:
            time.sleep(0.5)
            live.update(now())


def screen(status: dict[str, Any], width: int, height: int | None = None) -> Group:
    """Lay the status out as one screen of `width` columns; `height` is `None` where the rows may go on for ever."""
    head = [Text(line, no_wrap=True, overflow="ellipsis") for line in _head(status, width)]
    is_wide = width >= _WIDE
    actors = status["actors"]
    shown = actors
    notes = [] if is_wide else [f"(p50 and the last message from {_WIDE} columns on)"]
    if height is not None and len(head) + 1 + len(actors) + len(notes) > height:
        shown = actors[: max(0, height - len(head) - 2 - len(notes))]
        notes.insert(0, f"... and {len(actors) - len(shown)} more (enlarge the window)")
    table = Table(box=None, pad_edge=False)
    for title in _TITLES if is_wide else _TITLES_NARROW:
        is_name = title == "actor"  # where the width is short, names give way, never figures
        is_left = is_name or title == "last"
        table.add_column(title, justify="left" if is_left else "right", no_wrap=not is_name, overflow="ellipsis")
    for actor in shown:
        cells = _cells(actor)
        table.add_row(*(cells[title] for title in (_TITLES if is_wide else _TITLES_NARROW)))
    return Group(*head, table, *(Text(note) for note in notes))


def _cells(actor: dict[str, Any]) -> dict[str, str]:
    return {
        "actor": actor["name"], "up": "yes" if actor["is_up"] else "NO", "mail": str(actor["depth"]),
        "oldest": _ms(actor["oldest_ms"]), "handled": str(actor["handled"]), "crashes": str(actor["crashes"]),
        "p50": _us(actor["p50_us"]), "p99": _us(actor["p99_us"]), "last": actor["last_tag"] or "",
    }  # fmt: skip


def _head(status: dict[str, Any], width: int) -> list[str]:
    """Return the process in lines of at most `width` columns; what is wrong has a line of its own."""
    process, conflated = status["process"], sum(actor["conflated"] for actor in status["actors"])
    facts = (
        f"{exchange_clock(process['at_utc'])} New York", f"run {process['run_n']}", f"up {process['uptime_s']} s",
        f"{process['rss_mb']} MB", f"{process['threads']} threads", f"{process['dead_letters']} dead letters",
        f"trace {process['trace_bytes'] / 1e6:.1f} MB", f"{conflated} quotes conflated",
    )  # fmt: skip
    lines = in_lines(facts, width, ", ")
    lines += [line for hub in status.get("hubs", ()) for line in textwrap.wrap(_hub(hub, process["at_utc"]), width)]
    gateways = (f"{row['session']}: {row['text']}" for row in status.get("gateways", ()))
    lines += [line for text in gateways for line in textwrap.wrap(text, width)]
    kills = status.get("kills") or {}
    if len(kills) > 1:
        told = (f"{name}: {_level(row)}" for name, row in kills.items())
        lines += [line for text in told for line in textwrap.wrap(text, width)]
    for desk, why in (status.get("latched_desks") or {}).items():
        lines += textwrap.wrap(f"latched: desk {desk}: {why}", width)
    for name in ("latched", "ended", "trace_failed"):
        if process[name] is not None:
            lines += textwrap.wrap(f"{name}: {process[name]}", width)
    return lines


def _level(row: dict[str, Any] | None) -> str:
    """Return a desk's kill level, and why it stands."""
    if row is None:
        return "down, so its level is not known"
    return f"level {row['level']}" + (f", raised by {row['by']}: {row['reason']}" if row["level"] else "")


def _hub(hub: dict[str, Any], now_utc: int) -> str:
    """Return how a hub flows, in a line."""
    if hub["last_utc"] is None:
        return f"hub {hub['hub']}: nothing yet"
    age_s = max(0.0, (now_utc - hub["last_utc"]) / 1e9)
    conflated = sum(n for _, n in hub.get("conflated", ()))
    more = f", {conflated} conflated" if conflated else ""
    return f"hub {hub['hub']}: {hub['rate_per_s']:.1f} frames/s, last {age_s:.1f} s ago, lag {hub['lag_ms']} ms{more}"


def _ms(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.0f} s"


def _us(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f} us" if value < 1000 else f"{value / 1000:.1f} ms"
