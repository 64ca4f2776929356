"""`main.py readiness`: what the paper desks of a data folder have shown, against the minima for live; and live's start.

Live is not armed below the minima without a reason, which the trace and the log keep; the first live sessions trade
little, whatever the strategies allow.
"""

from __future__ import annotations

import os
from argparse import Namespace
from datetime import date
from typing import Final

import msgspec
import orjson

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.logbook import everything
from commands.unattended import may_hold
from config.settings import Settings
from domain.alarm import Severity
from domain.desks import DeskKind
from domain.instants import exchange_clock, session_of
from domain.readiness import Measure, PaperRecord, is_ramping, measures, ramped
from domain.reports.trades import results_cents
from domain.risk.kill import KillLevel
from domain.signals.rates import wilson
from domain.units import Utc
from messages.operator import Alarm
from storage.desk_kinds import kinds, live_since
from storage.queries import LedgerReader
from storage.sqlite_file import LedgerRefusedError

_STOPPING: Final = frozenset({"kill", "flatten"})


def act(arguments: Namespace) -> int:
    """Print the figures; 1 where live is not to be armed yet."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    record = record_of(folder)
    found = measures(record, settings.readiness)
    is_ready = all(measure.is_met for measure in found)
    done = live_sessions(folder, settings.desk) if settings.trading_mode == "live" else None
    if arguments.json:
        plain = {"is_ready": is_ready, "record": msgspec.to_builtins(record), "live_sessions": done}
        plain["measures"] = [msgspec.to_builtins(measure) | {"is_met": measure.is_met} for measure in found]
        print(orjson.dumps(plain, option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(lines_of(record, found, settings, done)))
    return 0 if is_ready else 1


def record_of(folder: DataFolder) -> PaperRecord:
    """Return what the paper desks of a data folder have shown before its first live start, where there was one.

    What comes after it is no more asked: kill levels, commands and the log are then those of live desks, too.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    desks = [desk for desk, kind in kinds(folder.ledgers).items() if kind is DeskKind.PAPER]
    until_utc = live_since(folder.ledgers)
    day, clock = (None, "") if until_utc is None else (session_of(until_utc), exchange_clock(until_utc))

    def is_before(at_utc: int) -> bool:
        return until_utc is None or at_utc < until_utc

    readers = [LedgerReader(folder.ledgers, desk) for desk in desks]
    over = [
        (reader, session) for reader in readers for session in reader.sessions()
        if (day is None or session <= day) and _is_over(reader, session)
    ]  # fmt: skip
    results = [
        cents for reader, session in over
        for cents in results_cents(row for row in reader.trades(session) if is_before(row["closed_utc"]))
    ]  # fmt: skip
    shared = readers[0] if readers else None
    kills = [] if shared is None else [row for row in shared.kills() if is_before(row["at_utc"])]
    commands = [] if shared is None else [row for row in shared.commands() if is_before(row["at_utc"])]
    return PaperRecord(
        sessions=len({session for _, session in over}), trades=len(results), wins=sum(cents > 0 for cents in results),
        interventions=sum(row["name"] in _STOPPING for row in commands),
        level_1=sum(row["level"] == KillLevel.NO_ENTRIES for row in kills),
        level_2=sum(row["level"] == KillLevel.FLATTEN for row in kills),
        errors=sum(
            entry.severity is Severity.CRITICAL
            for entry in everything(folder.log)
            if day is None or (entry.date, entry.clock) < (day.isoformat(), clock)
        ),
    )  # fmt: skip


def _is_over(reader: LedgerReader, session: date) -> bool:
    row = reader.day(session)
    return row is not None and row["trades"] is not None


def live_sessions(folder: DataFolder, desk: str) -> int:
    """Return how many sessions a desk has played to their end."""
    reader = LedgerReader(folder.ledgers, desk)
    return sum(_is_over(reader, session) for session in reader.sessions())


def lines_of(record: PaperRecord, found: tuple[Measure, ...], settings: Settings, done: int | None) -> list[str]:
    """Return the figures for people."""
    lines = [f"{'':<18} {'shown':>8} {'wanted':>12}"]
    for measure in found:
        wanted = f"{'at least' if measure.is_least else 'at most'} {measure.bound}"
        mark = "" if measure.is_met else "  NOT MET"
        lines.append(f"{measure.what:<18} {measure.value:>8} {wanted:>12}{mark}")
    if record.trades:
        lower, upper = wilson(record.wins, record.trades)
        rate = f"{record.wins / record.trades:.0%}, 95 % between {lower:.0%} and {upper:.0%} (n = {record.trades})"
        lines += ["", f"Won {record.wins} of {record.trades}: {rate}"]
    rules = settings.readiness
    cap = f"{rules.ramp_trades_max} trade{'s' * (rules.ramp_trades_max != 1)} a day and strategy"
    lines += ["", f"In its first {rules.ramp_sessions} sessions a live desk makes at most {cap}."]
    if done is not None:
        lines.append(f"Live sessions so far: {done}.")
    missing = [measure for measure in found if not measure.is_met]
    if missing:
        lines.append(f"Not ready for live: {', '.join(measure.what for measure in missing)}.")
    else:
        lines.append("Ready for live.")
    return lines


def armed(settings: Settings, folder: DataFolder, now_utc: Utc) -> tuple[Settings, list[Alarm]]:
    """Return the settings of a live start, capped in its first sessions, and what is to be put on record about it.

    The minima are asked once: a desk that was live before, or may hold something, is told and not refused.

    Raises:
        CommandError: the minima are not met and no reason is given.
        LedgerRefusedError: a ledger cannot be used; where the minima were asked before, this desk's or the shared one.
    """
    told = []
    was_live = kinds(folder.ledgers).get(settings.desk) is DeskKind.LIVE or may_hold(folder.ledgers, settings.desk)
    if text := _shortfall(settings, folder, was_live=was_live):
        told.append(Alarm(key="readiness", severity=Severity.HIGH, text=text, at_utc=now_utc))
    done = live_sessions(folder, settings.desk)
    if is_ramping(done, settings.readiness):
        rules = settings.readiness
        settings = settings.model_copy(update={"strategies": ramped(settings.strategies, rules)})
        text = (
            f"Live session {done + 1} of the first {rules.ramp_sessions}: at most {rules.ramp_trades_max} trades a day"
            " and strategy"
        )
        told.append(Alarm(key="ramp", severity=Severity.INFO, text=text, at_utc=now_utc))
    return settings, told


def _shortfall(settings: Settings, folder: DataFolder, *, was_live: bool) -> str:
    """Return what is to be put on record of minima that are not met, or cannot be looked at; empty where they are.

    Raises:
        CommandError: they are not met, no reason is given, and this is the first live start.
        LedgerRefusedError: a ledger cannot be used, and this is the first live start.
    """
    try:
        record = record_of(folder)
    except LedgerRefusedError as error:
        if not was_live:
            raise
        return f"What paper has shown cannot be read again ({error}); an earlier start was allowed, so this one is."
    missing = [measure for measure in measures(record, settings.readiness) if not measure.is_met]
    if not missing:
        return ""
    name = f"{settings.live_armed_env}_REASON"
    reason = " ".join(os.environ.get(name, "").split())
    short = ", ".join(f"{measure.what} {measure.value} of {measure.bound}" for measure in missing)
    if reason:
        return f"Live below its minima ({short}), because: {reason}"
    if was_live:
        return f"Live below its minima ({short}); an earlier start was allowed, so this one is."
    raise CommandError(
        f"Live is not armed: {short} (`main.py readiness`). Trade on paper until they are met, or say in {name} why it"
        " is done all the same."
    )
