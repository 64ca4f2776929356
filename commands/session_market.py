"""What kind of market the stored data of a session is from, as far as the run that stored it is on record."""

from __future__ import annotations

from datetime import date
from typing import Any
from urllib.parse import urlsplit

import msgspec

from commands.cli import CommandError
from commands.folder import DataFolder
from commands.traces import UNREADABLE, parsed, records
from domain.desks import DeskKind
from storage.desk_kinds import kinds
from storage.sqlite_file import LedgerRefusedError

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Market(msgspec.Struct, frozen=True):
    """A market in words; `is_real`: prices and levels are those of a market that people traded in."""

    name: str
    is_real: bool


SIMULATED = Market("simulated, made from a seed", False)
RECORDED_INDEX = Market("demo over a recorded index, levels made", False)
SERVERS = Market("simulated servers on this machine", False)
UNKNOWN = Market("unknown: no run of it is on record", False)


def market_of(folder: DataFolder, session: date) -> Market:
    """Return the market of a session, by its traces, else by the desks of the folder."""
    for path in sorted((folder.traces / session.isoformat()).glob("run-*.jsonl*")):
        try:
            header = parsed(next(iter(records(path)), b"")) or {}
            return _of_settings(header["settings"])
        except (CommandError, *UNREADABLE):
            continue  # damaged, or of another version: another run may say
    try:
        known = set(kinds(folder.ledgers).values())
    except LedgerRefusedError:  # readings can be looked at without it
        return UNKNOWN
    return SIMULATED if known == {DeskKind.SIM} else UNKNOWN


def _of_settings(told: dict[str, Any]) -> Market:
    if told["profile"] == "demo":
        return SIMULATED if told["demo"].get("market_folder") is None else RECORDED_INDEX
    feed = told["feed"]
    url = {"provider": feed.get("provider", {}).get("rest_url", "")}.get(feed["source"], feed["negotiate_url"])
    if feed["source"] != "file" and urlsplit(url).hostname in _LOOPBACK:
        return SERVERS
    return Market(f"recorded from the market, by feed.source {feed['source']}", True)
