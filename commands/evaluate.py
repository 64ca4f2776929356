"""`main.py evaluate NAME FROM TO`: what an alert kind would have found in stored sessions, and what became of it.

The kind is one that the settings know, or a file of one's own that no settings name yet. Nothing is traded, nothing is
stored. Each session is read, judged and let go, so that memory does not grow with the period.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from commands.cli import CommandError
from commands.evaluate_report import Evaluation, Wanted, evaluation_of
from commands.folder import DataFolder, settings_of
from commands.pages import tell, try_page
from commands.session_market import market_of
from config.alert_files import AlertFileError, own_kinds
from config.settings import Settings
from domain.session import calendar
from domain.signals.alerts import evaluators_of
from domain.signals.columns import Found, Lane, Memory, TickerDay, alerts_in
from domain.signals.evaluator import Evaluator
from domain.signals.kit import KindError
from storage.reading_columns import sessions_of, ticker_days
from storage.series_reader import SeriesReader
from storage.warehouse_reader import WarehouseReader

_ALERTS_SHOWN = 40


def act(arguments: Namespace) -> int:
    """Evaluate, and show it."""
    settings = settings_of(arguments)
    first, last = _date(arguments.first), _date(arguments.last)
    if last < first:
        raise CommandError(f"{last} is before {first}; give the earlier date first.")
    wanted = wanted_of(settings, arguments.name, arguments.ticker)
    try_page(arguments.html)
    found = evaluated(settings, DataFolder(settings.data_dir), wanted, first, last)
    report = evaluation_of(found, None if arguments.html or arguments.json else _ALERTS_SHOWN)
    tell(arguments, report, {"alerts": [_told(one) for one in found.alerts]} if arguments.json else {})
    return 0


def wanted_of(settings: Settings, name: str, tickers: Sequence[str] | None) -> Wanted:
    """Return what a call asks for.

    Raises:
        CommandError: no kind of the name, or a file that cannot be taken.
    """
    path, _, of_file = name.partition(":")
    if path.endswith(".py"):
        evaluator = _of_file(settings, Path(path).expanduser().resolve(), of_file)
    elif name in (known := _known(settings)):
        evaluator = known[name]
    else:
        raise CommandError(
            f"There is no alert kind {name}; there are: {', '.join(sorted(known))}, or give a Python file."
        )
    sources = [source for source, kinds in settings.alerts.items() if evaluator.kind in kinds]
    source = sources[0] if sources else "evaluation"
    watched = tuple(tickers or settings.lanes.get(source, ()) or settings.tickers)
    return Wanted(evaluator, source, watched)


def _known(settings: Settings) -> dict[str, Evaluator[Any, Any]]:
    """Return the evaluators by kind, and by kind and version where a kind is tried in several."""
    made = evaluators_of(settings.kinds, settings.alert_rules, settings.alert_trials, settings.kinds)
    found = {evaluator.kind: evaluator for evaluator in reversed(made)}
    return found | {one.version_name: one for one in made if settings.alert_trials.get(one.kind)}


def _of_file(settings: Settings, path: Path, name: str) -> Evaluator[Any, Any]:
    try:
        kinds = own_kinds([path], () if path in settings.alert_files else settings.kinds)
    except AlertFileError as error:
        raise CommandError(str(error)) from None
    if name and name not in kinds:
        raise CommandError(f"{path} has no kind {name}; it has: {', '.join(kinds)}.")
    if not name and len(kinds) > 1:
        raise CommandError(f"{path} has several kinds; name one, as {path.name}:{next(iter(kinds))}.")
    kind = kinds[name or next(iter(kinds))]
    return kind.evaluator(settings.alert_rules.get(kind.name, kind.rules))  # type: ignore[arg-type]


def evaluated(settings: Settings, folder: DataFolder, wanted: Wanted, first: date, last: date) -> Evaluation:
    """Evaluate session after session.

    Raises:
        CommandError: nothing is stored, or the kind fails on what is.
        WarehouseRefusedError: the warehouse cannot be used.
    """
    warehouse = WarehouseReader(folder.warehouse)
    known = sessions_of(SeriesReader(folder.series), warehouse, first, last)
    lane = Lane(wanted.source, (wanted.evaluator,), settings.promoted, settings.day.bucket_grace_ms)
    memory, alerts = Memory(), list[Found]()
    sessions, readings, made_n = list[date](), dict[str, int](), 0
    for session in known:
        day = calendar.day(session, settings.day.closed_dates)
        if day is None:
            continue
        days, made = ticker_days(SeriesReader(folder.series), warehouse, day, wanted.tickers)
        if not days:
            continue
        try:
            alerts += alerts_in(days, lane, settings.day, memory)
        except KindError as error:
            raise CommandError(str(error)) from None
        sessions.append(session)
        made_n += len(made)
        _count(readings, days)
    if not sessions:
        raise CommandError(_nothing(folder, wanted, first, last), 1)
    markets = {session: market_of(folder, session) for session in sessions}
    return Evaluation(wanted, first, last, tuple(alerts), tuple(sessions), readings, made_n, markets)


def _count(readings: dict[str, int], days: Sequence[TickerDay]) -> None:
    for one in days:
        readings[one.ticker] = readings.get(one.ticker, 0) + int(one.is_read.sum())


def _nothing(folder: DataFolder, wanted: Wanted, first: date, last: date) -> str:
    known = sessions_of(SeriesReader(folder.series), WarehouseReader(folder.warehouse), date.min, date.max)
    there = f"it holds {known[0]} to {known[-1]}" if known else "it holds no session"
    return (
        f"No readings of {', '.join(wanted.tickers)} from {first} to {last} in {folder.root}; {there}: choose other"
        " dates, --ticker or --data."
    )


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a date; write it as 2026-11-20.") from None


def _told(one: Found) -> dict[str, Any]:
    """Return an alert for machines: what is recorded of it, its id, and its outcome by name."""
    outcome = msgspec.to_builtins(one.outcome)
    del outcome["alert"]
    derived = {"first": one.outcome.first.value, "mfe_stops": one.outcome.mfe_stops, "mae_stops": one.outcome.mae_stops}
    told: dict[str, Any] = msgspec.to_builtins(one)
    return {"alert_id": one.alert.key.alert_id} | told | {"outcome": outcome | derived}
