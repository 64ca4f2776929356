"""What kind of market the stored data of a session is from, as far as the run that stored it is on record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import msgspec

from commands.cli import CommandError
from commands.folder import DataFolder
from commands.traces import UNREADABLE, parsed, records
from domain.desks import DeskKind
from simulation.market.style import Kind, Nature
from storage.desk_kinds import kinds
from storage.sqlite_file import LedgerRefusedError

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Market(msgspec.Struct, frozen=True):
    """A market in words; `is_real`: prices and levels are those of a market that people traded in."""

    name: str
    is_real: bool


SIMULATED = Market("simulated, made from a seed", False)  # of which kind is not on record
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


def kind_of(told: Mapping[str, Any]) -> str | None:
    """Return the kind of a simulated market by a run's recorded settings; `None` where they are of before kinds."""
    drawn = told.get("market")
    return None if drawn is None else str(Nature(Kind(drawn["kind"]), drawn["feedback"]))


def _of_settings(told: dict[str, Any]) -> Market:
    if told["profile"] == "demo" and told["demo"].get("market_folder") is not None:
        return RECORDED_INDEX
    if told["profile"] == "demo":
        kind = kind_of(told)
        return SIMULATED if kind is None else Market(f"simulated {kind}", False)
    feed = told["feed"]
    url = {"provider": feed.get("provider", {}).get("rest_url", "")}.get(feed["source"], feed["negotiate_url"])
    if feed["source"] != "file" and urlsplit(url).hostname in _LOOPBACK:
        return SERVERS
    return Market(f"recorded from the market ({feed['source']})", True)
