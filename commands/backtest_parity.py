"""`main.py backtest DAY DAY --parity`: a day that was traded beside its backtest with the recorded fills."""

from __future__ import annotations

import tempfile
import textwrap
from collections import Counter
from datetime import date
from pathlib import Path

from msgspec.structs import replace

from commands.cli import CommandError
from commands.folder import DataFolder
from config.settings import Settings
from domain.instants import exchange_clock
from domain.reports.model import Cell, Column, Kind, Report, Section, Table
from domain.session import calendar
from domain.units import Cents, Utc
from simulation.backtest.heard import heard_in
from simulation.backtest.model import FillModel
from simulation.backtest.parity import Parity, Records, compare, items_of
from simulation.backtest.ports import DamagedBucket
from simulation.backtest.recorded import RecordedDay, load
from simulation.backtest.recorded_fills import fills_of
from simulation.backtest.run import Backtest, Promotions
from simulation.backtest.traced import with_traced
from simulation.days.sweep import quick_folder
from storage.queries import LedgerReader
from storage.series_reader import SeriesReader
from storage.series_rows import READINGS

_INDENT = " " * 11


def parity_of(
    settings: Settings, folder: DataFolder, session: date, promotions: Promotions, model: FillModel,
    nav_usd: int | None,
) -> Parity:  # fmt: skip
    """Backtest a day with the fills and the cash of then (`nav_usd`: with this cash), and compare.

    Raises:
        CommandError: no run of the desk is on record of that day.
    """
    then = LedgerReader(folder.ledgers, settings.desk)
    row = then.day(session)
    items = items_of(then, session)
    if row is None and not items:
        raise CommandError(
            f"Desk {settings.desk} did not run on {session} in {folder.root}, so there is nothing to compare with;"
            " leave out --parity.", 1,
        )  # fmt: skip
    started = Cents((row or {}).get("start_nav_cents") or settings.demo.nav_usd * 100)
    nav_cents = started if nav_usd is None else Cents(nav_usd * 100)
    traces = folder.traces_of(session)
    recorded = with_traced(load(folder.series, session), traces)
    with tempfile.TemporaryDirectory(dir=quick_folder()) as name:
        run = Backtest(
            settings, folder.series, folder.warehouse, promotions, model, nav_cents, Path(name),
            fills_of(then, session), lambda _, __: recorded, heard_in(traces) if traces else None,
        )  # fmt: skip
        (day,) = run.days((session,))
        here = items_of(LedgerReader(Path(name), settings.desk), session)
    records = _records(settings, folder, recorded, then, day.damaged_buckets)
    return compare(session, items, here, replace(records, is_heard=bool(traces)))


def _records(
    settings: Settings, folder: DataFolder, recorded: RecordedDay, then: LedgerReader,
    damaged: tuple[DamagedBucket, ...],
) -> Records:  # fmt: skip
    session = recorded.session
    rows = SeriesReader(folder.series).day(READINGS, session).select(["ticker", "bucket_utc", "is_complete", "missing"])
    hours = calendar.day(session, settings.day.closed_dates)
    assert hours is not None  # it was backtested
    said = (row["at_utc"] for row in then.promotions())
    return Records(
        readings={
            (row["ticker"], row["bucket_utc"]): () if row["is_complete"] else tuple(row["missing"])
            for row in rows.to_pylist()
        },
        recorded=recorded, last_utc=Utc(max((at for at, _, _ in recorded.looks()), default=0)),
        promoted_utc=tuple(Utc(at) for at in said if hours.open_utc < at <= hours.close_utc),
        foreign=sum(bool(row["is_foreign"]) for row in then.executions(session)), damaged=damaged,
    )  # fmt: skip


def lines_of(parity: Parity, width: int) -> list[str]:
    """Return the comparison as lines of a terminal."""
    different = Counter(one.what.value for one in parity.differences)
    lines = [f"Parity of {parity.session} with its backtest, filled as the orders were filled then;"]
    lines += [_heard(parity), ""]
    lines += [f"  {what:<6}{same:>5} the same{different[what]:>5} different" for what, same in parity.same.items()]
    lines += ["", _verdict(parity)]
    for one in parity.differences:
        told = f"then {one.then or 'nothing'}; here {one.here or 'nothing'}. {one.cause or 'UNEXPLAINED'}"
        lines += ["", f"  {exchange_clock(one.at_utc)} {one.what} {one.key}"]
        lines += textwrap.wrap(told, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return lines


def _heard(parity: Parity) -> str:
    if parity.is_heard:
        return "it heard of the market what the desk heard, at the same instants (by its trace)."
    return "it heard of the market the samples that are stored: no trace of that day is here."


def _verdict(parity: Parity) -> str:
    n, unexplained = len(parity.differences), len(parity.unexplained)
    if not n:
        return "Everything is the same."
    named = "1 difference" if n == 1 else f"{n} differences"
    if not unexplained:
        return f"{named}, each with its cause."
    return f"{named}, {unexplained} of them without a cause in the records."


def report_of(parity: Parity, desk: str) -> Report:
    """Return the comparison as a report."""
    counts: list[tuple[Cell, ...]] = [
        (what, same, sum(one.what == what for one in parity.differences)) for what, same in parity.same.items()
    ]
    rows: list[tuple[Cell, ...]] = [
        (exchange_clock(one.at_utc), one.what.value, one.key, one.then or "nothing", one.here or "nothing",
         one.cause or "UNEXPLAINED") for one in parity.differences
    ]  # fmt: skip
    counted = (Column("what"), Column("the same", Kind.COUNT), Column("different", Kind.COUNT))
    columns = tuple(map(Column, ("at", "what", "of", "then", "here", "cause")))
    sections = (
        Section(
            "Then and here",
            f"filled as the orders were filled then, an order that is not on record by the model; {_heard(parity)}",
            Table(counted, tuple(counts)),
        ),
        Section("Differences, and why", _verdict(parity), Table(columns, tuple(rows))),
    )  # fmt: skip
    title = f"Parity of {parity.session} with its backtest"
    return Report(title, parity.session, parity.session, (f"{desk} (backtest)",), sections)
