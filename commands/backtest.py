"""`main.py backtest FROM TO`: recorded or imported days traded by the same actors, with the settings of the desk."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import msgspec
import orjson

from commands.backtest_parity import lines_of as parity_lines_of
from commands.backtest_parity import parity_of
from commands.backtest_parity import report_of as parity_report_of
from commands.backtest_report import report_of
from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.interrupted import kept
from commands.lines import counted
from commands.pages import WIDTH, tell, try_page, write_page
from commands.progress import Progress
from commands.report_html import page_of
from commands.session_market import told_of
from config.settings import Settings
from domain.position.profiles import SOURCE, other_of
from domain.session import calendar
from domain.signals import spread
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.recorded import sessions_of
from simulation.backtest.run import Backtest, Day, Promotions, hash_of
from simulation.days.sweep import quick_folder
from storage.queries import LedgerReader

AGAIN = "Nothing is kept of it: the same command begins again."


def act(arguments: Namespace) -> int:
    """Trade the days and report; 1 when an actor crashed or a position was left.

    Raises:
        CommandError: a date or a number cannot be, or nothing of these days is stored.
    """
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    first, last = day_of(arguments.first), day_of(arguments.last)
    model, nav_cents = model_of(arguments), nav_of(arguments, settings)
    sessions = sessions_between(folder, first, last, settings)
    promotions = promotions_of(folder, settings, arguments.promote)
    try_page(arguments.html)
    if arguments.parity:
        return _parity(arguments, settings, folder, sessions, promotions, model)
    with kept(AGAIN), tempfile.TemporaryDirectory(dir=quick_folder()) as ledgers:
        days = traded(settings, folder, sessions, promotions, model, nav_cents, Path(ledgers))
    missing = missing_of(first, last, settings, sessions)
    market = told_of(folder, sessions)
    report = report_of(first, last, settings.desk, days, missing, nav_cents, model, market)
    tell(
        arguments, report,
        {"hash": hash_of(days), "model": model, "assumptions": model.assumptions(), "days": days},
    )  # fmt: skip
    return 1 if any(day.crashed or day.held for day in days) else 0


def traded(
    settings: Settings, folder: DataFolder, sessions: Sequence[date], promotions: Promotions, model: FillModel,
    nav_cents: Cents, ledgers: Path,
) -> list[Day]:  # fmt: skip
    """Trade sessions one after the other, with ledgers in an empty folder; how far it is goes to the terminal."""
    days: list[Day] = []
    run = Backtest(settings, folder.series, folder.warehouse, promotions, model, nav_cents, ledgers)
    with Progress() as shown:
        for n, session in enumerate(sessions, 1):
            shown.at(f"{session}, {n - 1} of {len(sessions)} done")
            found = tuple(run.days((session,)))
            days += found
            shown.line(f"{session}: {_came_to(found)} ({n} of {counted(len(sessions), 'session')})")
    return days


def _came_to(days: Sequence[Day]) -> str:
    cents = [trade.pnl_cents for day in days for trade in day.trades]
    return f"{sum(cents) / 100:+,.2f} USD net" if cents else "nothing was traded"


def _parity(
    arguments: Namespace, settings: Settings, folder: DataFolder, sessions: tuple[date, ...],
    promotions: Promotions, model: FillModel,
) -> int:  # fmt: skip
    """Compare one day with what ran then; 1 when a difference has no cause in the records."""
    if len(sessions) > 1:
        raise CommandError("--parity compares one day; give the same date twice.")
    with kept(AGAIN):
        parity = parity_of(settings, folder, sessions[0], promotions, model, arguments.nav)
    if arguments.html is not None:
        write_page(arguments.html, page_of(parity_report_of(parity, settings.desk)))
    if arguments.json:
        print(orjson.dumps(msgspec.to_builtins(parity), option=orjson.OPT_INDENT_2).decode())
    elif arguments.html is None:
        print("\n".join(parity_lines_of(parity, WIDTH)))
    return 1 if parity.unexplained else 0


def day_of(text: str) -> date:
    """Return a date as people write it.

    Raises:
        CommandError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a date; write it as 2026-11-20.") from None


def missing_of(first: date, last: date, settings: Settings, stored: Sequence[date]) -> tuple[date, ...]:
    """Return the sessions of the exchange of which nothing is stored."""
    dates = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return tuple(day for day in dates if day not in stored and calendar.day(day, settings.day.closed_dates) is not None)


def nav_of(arguments: Namespace, settings: Settings) -> Cents:
    """Return the cash at the start."""
    return Cents((arguments.nav or settings.demo.nav_usd) * 100)


def model_of(arguments: Namespace) -> FillModel:
    """Return how orders fill.

    Raises:
        CommandError: they would fill better than the touch, or before they were sent.
    """
    given = {"latency_ms": arguments.latency, "crossing": arguments.crossing}
    try:
        if arguments.stale is not None:
            given["stale_ms"] = round(arguments.stale * 1000)
        return FillModel(**{name: value for name, value in given.items() if value is not None})
    except (ValueError, OverflowError) as error:
        raise CommandError(f"These fills cannot be modelled: {error}.") from None


def sessions_between(folder: DataFolder, first: date, last: date, settings: Settings) -> tuple[date, ...]:
    """Return the sessions of which anything is stored, ascending.

    Raises:
        CommandError: there is none.
    """
    if first > last:
        raise CommandError(f"{first} lies after {last}; give the earlier date first.")
    found = sessions_of(folder.series, folder.warehouse, first, last)
    sessions = tuple(day for day in found if calendar.day(day, settings.day.closed_dates) is not None)
    if not sessions:
        raise CommandError(
            f"Nothing from {first} to {last} is stored in {folder.root}; name another folder with --data, or import"
            " days (`main.py import`).", 1,
        )  # fmt: skip
    return sessions


def promotions_of(folder: DataFolder, settings: Settings, named: list[str] | None) -> dict[str, tuple[str, ...]]:
    """Return what may trade by source: what is named, else what the folder's ledger says, else what the settings do.

    The spread is a source, too, and exit profiles are: what is promoted of them rules exits.

    Raises:
        CommandError: a name is no alert and no exit profile of the settings.
    """
    alerts = {f"{kind}-{rules.version}" for kind, rules in settings.alert_rules.items()}
    lanes, other = tuple(settings.lanes), other_of(settings.exits)
    if settings.spread.is_on:
        lanes, alerts = (*lanes, spread.SOURCE), {*alerts, f"{spread.kind_of(settings.spread)}-{spread.VERSION}"}
    exits = set[str]() if other is None else {other.name}
    unknown = sorted(set(named or ()) - alerts - exits)
    if unknown:
        known = ", ".join(sorted(alerts | exits))
        raise CommandError(f"{unknown[0]} is no alert of these settings; give one of {known}.")
    said = LedgerReader(folder.ledgers, settings.desk).promotions() if named is None else []
    if not said:
        wanted = settings.promoted if named is None else tuple(named)
        found = dict.fromkeys(lanes, tuple(name for name in wanted if name not in exits))
        return found | {SOURCE: tuple(name for name in wanted if name in exits)}
    newest = {(row["source"], f"{row['kind']}-{row['version']}"): bool(row["is_promoted"]) for row in said}
    return {
        source: tuple(sorted(name for (of, name), may_trade in newest.items() if of == source and may_trade))
        for source in (*lanes, SOURCE)
    }
