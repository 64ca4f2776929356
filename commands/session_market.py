"""What kind of market the stored data of a session is from, as far as the run that stored it is on record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from commands.cli import CommandError
from commands.folder import DataFolder
from commands.lines import counted
from commands.traces import UNREADABLE, parsed, records
from domain.desks import DeskKind
from simulation.market.style import Kind, Nature
from storage.desk_kinds import kinds
from storage.sqlite_file import LedgerRefusedError

RECORDED_LIST: Final = "recorded.jsonl"  # in a folder of simulated days, a line a day
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _Listed(msgspec.Struct):
    """A line of the list of `simulate --record`."""

    session: date


class Market(msgspec.Struct, frozen=True):
    """A market in words; `is_real`: prices and levels are those of a market that people traded in."""

    name: str
    is_real: bool


SIMULATED = Market("simulated, made from a seed", False)  # of which kind is not on record
RECORDED_INDEX = Market("demo over a recorded index, levels made", False)
SERVERS = Market("simulated servers on this machine", False)
IMPORTED = Market("imported from files", False)  # whether people traded there is for the files to say
UNKNOWN = Market("unknown: no run of it is on record", False)


def market_of(folder: DataFolder, session: date) -> Market:
    """Return the market of a session, by its traces, else by the desks of the folder, else by what is stored."""
    if session in simulated_in(folder):
        return SIMULATED
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
    if known == {DeskKind.SIM}:
        return SIMULATED
    stored = [path.name for path in (folder.series / session.isoformat()).glob("*")]
    return IMPORTED if stored and all("-import-" in name for name in stored) else UNKNOWN


def simulated_in(folder: DataFolder) -> frozenset[date]:
    """Return the sessions that `simulate --record` has recorded into a folder; none where its list cannot be read."""
    try:
        whole = (folder.root / RECORDED_LIST).read_bytes()
        lines = whole[: whole.rfind(b"\n") + 1].splitlines()
        return frozenset(msgspec.json.decode(line, type=_Listed).session for line in lines)
    except (OSError, msgspec.DecodeError):
        return frozenset()


def told_of(folder: DataFolder, sessions: Iterable[date]) -> str:
    """Return in a sentence which markets some sessions are of, and what that means for a result."""
    found = Counter(market_of(folder, session) for session in sessions)
    names = "; ".join(f"{counted(n, 'session')} {market.name}" for market, n in found.items())
    beware = (
        "" if all(market.is_real for market in found) else " What is not recorded from the market proves no profit."
    )
    return f"Market: {names}.{beware}"


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
