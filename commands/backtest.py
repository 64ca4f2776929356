"""`main.py backtest FROM TO`: recorded or imported days traded by the same actors, with the settings of the desk."""

from __future__ import annotations

import shutil
import sys
import tempfile
from argparse import Namespace
from datetime import date, timedelta
from pathlib import Path

import msgspec
import orjson
from rich.console import Console

from commands.backtest_report import report_of
from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.report_html import page_of
from commands.report_period import text_of
from config.settings import Settings
from domain.session import calendar
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.recorded import sessions_of
from simulation.backtest.run import Backtest, Day, hash_of
from simulation.days.sweep import quick_folder
from storage.queries import LedgerReader

_WIDTH = 80


def act(arguments: Namespace) -> int:
    """Trade the days and report; 1 when an actor crashed or a position was left.

    Raises:
        CommandError: a date or a number cannot be, or nothing of these days is stored.
    """
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    first, last = _date(arguments.first), _date(arguments.last)
    model, nav_cents = _model(arguments), Cents(arguments.nav * 100 if arguments.nav else settings.demo.nav_usd * 100)
    sessions = _sessions(folder, first, last, settings)
    promotions = _promotions(folder, settings, arguments.promote)
    days: list[Day] = []
    with tempfile.TemporaryDirectory(dir=quick_folder()) as ledgers, Console(stderr=True).status("starting") as shown:
        run = Backtest(settings, folder.series, folder.warehouse, promotions, model, nav_cents, Path(ledgers))
        for session in sessions:
            shown.update(f"{session}, {len(days)} of {len(sessions)} done")
            days += run.days((session,))
    missing = sum(calendar.day(day, settings.day.closed_dates) is not None for day in _dates(first, last)) - len(days)
    report = report_of(first, last, settings.desk, days, missing, nav_cents, model)
    if arguments.html is not None:
        _write(arguments.html, page_of(report))
    if arguments.json:
        found = {
            "hash": hash_of(days),
            "model": model,
            "assumptions": model.assumptions(),
            "days": days,
            "report": report,
        }
        print(orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2).decode())
    elif arguments.html is None:
        width = shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH
        print("\n".join(text_of(report, max(width, _WIDTH))))
    return 1 if any(day.crashed or day.held for day in days) else 0


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a date; write it as 2026-11-20.") from None


def _dates(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _model(arguments: Namespace) -> FillModel:
    given = {"latency_ms": arguments.latency, "crossing": arguments.crossing}
    if arguments.stale is not None:
        given["stale_ms"] = round(arguments.stale * 1000)
    try:
        return FillModel(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise CommandError(f"These fills cannot be modelled: {error}.") from None


def _sessions(folder: DataFolder, first: date, last: date, settings: Settings) -> tuple[date, ...]:
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


def _promotions(folder: DataFolder, settings: Settings, named: list[str] | None) -> dict[str, tuple[str, ...]]:
    """Return what may trade by source: what is named, else what the folder's ledger says, else what the settings do."""
    known = {f"{kind}-{rules.version}" for kind, rules in settings.alert_rules.items()}
    unknown = sorted(set(named or ()) - known)
    if unknown:
        raise CommandError(f"{unknown[0]} is no alert of these settings; give one of {', '.join(sorted(known))}.")
    said = LedgerReader(folder.ledgers, settings.desk).promotions() if named is None else []
    if not said:
        wanted = settings.promoted if named is None else tuple(named)
        return {source: tuple(wanted) for source in settings.lanes}
    newest = {(row["source"], f"{row['kind']}-{row['version']}"): bool(row["is_promoted"]) for row in said}
    return {
        source: tuple(sorted(name for (of, name), may_trade in newest.items() if of == source and may_trade))
        for source in settings.lanes
    }


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}); name another file.", 3) from None
    print(f"Written: {path.resolve()}", file=sys.stderr)
