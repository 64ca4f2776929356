"""Where a session's prices came from: a market of people's own, or a simulated one, recorded or synthetic per trade.

A trade of a demo day is *recorded* where each of its executions met a recorded quote of its contract; else it is
*synthetic*. What is recorded is read from the folder of the recorded day, named by the settings in the trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from commands.cli import CommandError
from commands.session_market import kind_of
from commands.traces import UNREADABLE, parsed, records
from domain.instruments import Contract
from domain.reports.trades import by_structure
from domain.units import Utc
from simulation.market.minute_bars import RecordedDay, RecordedError, load_recorded_day
from storage.queries import Found


class Origin(StrEnum):
    """What a trade's prices were; a real market's trades are neither recorded nor synthetic."""

    RECORDED = "recorded"
    SYNTHETIC = "synthetic"
    UNKNOWN = "not known"
    MARKET = "market"


class Source(msgspec.Struct, frozen=True):
    """The market of a session; `recorded` `None` in a demo is a synthetic one, unless it `is_lost`.

    `kind` of a synthetic one is `None` where the run is of before there were kinds.
    """

    is_known: bool = False
    is_demo: bool = False
    is_lost: bool = False
    recorded: RecordedDay | None = None
    kind: str | None = None

    def origin(self, trade: Found, executions: list[Found]) -> Origin:
        """Return what a trade's prices were, by its executions; one without any has none that are recorded."""
        if not self.is_known or self.is_lost:
            return Origin.UNKNOWN
        if not self.is_demo:
            return Origin.MARKET
        met = [row for row in executions if (row["intent_id"], row["con_id"]) == (trade["intent_id"], trade["con_id"])]
        if self.recorded is None or not met or trade["expiry"] is None:
            return Origin.SYNTHETIC
        named = {name: trade[name] for name in ("con_id", "ticker", "trading_class", "expiry", "strike_ticks", "right")}
        contract = msgspec.convert(named, Contract, strict=False)
        is_recorded = all(self.recorded.is_quoted(contract, Utc(row["at_utc"])) for row in met)
        return Origin.RECORDED if is_recorded else Origin.SYNTHETIC

    def origin_of(self, trade: Iterable[Found], executions: list[Found]) -> Origin:
        """Return what the prices of a trade were: those of its positions, where they are of one kind."""
        origins = {self.origin(row, executions) for row in trade}
        return origins.pop() if len(origins) == 1 else Origin.SYNTHETIC

    def told(self, totals: Mapping[str, Mapping[str, int]]) -> str:
        """Return which market it was, for people; only trades on recorded quotes make anything of it real."""
        if not self.is_known:
            return "unknown market"
        if not self.is_demo:
            return "the vendor's feed and the broker's market"
        if self.is_lost:
            return "recorded market whose folder is gone: what was recorded is not known; simulated money"
        if self.recorded is None:
            which = "simulated market" if self.kind is None else f"simulated {self.kind}"
            return f"{which}; simulated money, which means nothing about profit"
        met, n = totals.get(Origin.RECORDED, {}).get("n", 0), sum(row["n"] for row in totals.values())
        if not met:
            return "SPX by recorded minutes, every trade on synthetic quotes; simulated money"
        return f"SPX by recorded minutes, {met} of {n} trades on real quotes, the others synthetic; simulated money"


def source_of(paths: list[Path]) -> Source:
    """Return the market that a session was run on, from the settings in its newest trace (`paths`, newest first)."""
    try:
        header = parsed(next(iter(records(paths[0])), b"")) if paths else None
        settings = (header or {}).get("settings", {})
        profile = settings.get("profile")
        folder = settings["demo"]["market_folder"] if profile == "demo" else None
        kind = kind_of(settings) if profile == "demo" else None
    except (CommandError, *UNREADABLE):
        return Source()
    if profile is None:
        return Source()
    if not folder:
        return Source(is_known=True, is_demo=profile == "demo", kind=kind)
    try:
        return Source(is_known=True, is_demo=True, recorded=load_recorded_day(Path(folder)))
    except RecordedError:
        return Source(is_known=True, is_demo=True, is_lost=True)


def totals_by_origin(trades: list[Found], source: Source, executions: list[Found]) -> dict[str, dict[str, int]]:
    """Return trades, wins and the result by origin; a structure has that of its legs, where they have one."""
    totals: dict[str, dict[str, int]] = {}
    for legs in by_structure(trades):
        origin = source.origin_of(legs, executions).value
        cents = sum(row["realised_cents"] for row in legs)
        of_origin = totals.setdefault(origin, {"n": 0, "wins": 0, "realised_cents": 0})
        of_origin["n"] += 1
        of_origin["wins"] += cents > 0
        of_origin["realised_cents"] += cents
    return totals


def lines_by_origin(found: Mapping[str, Any]) -> list[str]:
    """Return a line for each origin of a simulated market's trades, in the report's columns; none for a real one."""
    return [
        f"  {origin}: {row['realised_cents'] / 100:+,.2f} USD, won {row['wins']} of {row['n']}"
        for origin, row in sorted(found["by_origin"].items())
        if origin != Origin.MARKET
    ]
