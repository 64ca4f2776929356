"""`main.py logs`: the newest lines of the plain log, and with `-f` what comes after them."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.logbook import Entry, entries, tail
from domain.alarm import Severity

_LOOK_EVERY_S: Final = 0.5
_ORDER: Final = list(Severity)
_ALL: Final = 1_000_000


def act(arguments: Namespace) -> int:
    """Print the newest lines that are wanted; with -f until interrupted."""
    folder = DataFolder(settings_of(arguments).data_dir)
    path = folder.log
    if not path.exists() and not arguments.follow:
        raise CommandError(f"There is no log in {path.parent}: no supervisor ran on {folder.root} yet.", 1)
    at = path.stat().st_size if path.exists() else 0
    wanted = [entry for entry in tail(path, _ALL) if is_wanted(entry, arguments.level, arguments.topic)]
    for entry in wanted[-arguments.lines :]:
        print(entry)
    if arguments.follow:
        for entry in followed(path, at):
            if is_wanted(entry, arguments.level, arguments.topic):
                print(entry, flush=True)
    return 0


def is_wanted(entry: Entry, level: str, topics: list[str] | None) -> bool:
    """Return whether an entry is as urgent as a level and of one of the topics (`None`: of any)."""
    return _ORDER.index(entry.severity) >= _ORDER.index(Severity(level)) and (not topics or entry.topic in topics)


def followed(path: Path, at: int) -> Iterator[Entry]:
    """Yield what is written behind a place, for ever; a file that was rotated is gone on with from its beginning."""
    rest, inode = "", _inode(path)
    while True:
        now = _inode(path)
        if now != inode:  # rotated, or made at last
            at, inode, rest = 0, now, ""
        text = _text_from(path, at)
        at += len(text)
        *lines, rest = (rest + text.decode("utf-8", "replace")).split("\n")
        yield from entries(lines)
        time.sleep(_LOOK_EVERY_S)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _text_from(path: Path, at: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read()
    except OSError:
        return b""
