"""`main.py report day|week|month`: what a period brought, desk by desk, in the terminal or as one page (`--html`)."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.held import desks_of
from commands.report_html import page_of
from commands.report_origin import source_of, totals_by_origin
from domain.desks import DeskKind
from domain.reports.model import (
    Cell,
    Chart,
    Column,
    Form,
    Kind,
    Rate,
    Report,
    Section,
    Series,
    Table,
    clock_text,
    lines_of,
)
from domain.reports.period import Period, Span, period_of
from domain.wording import reason_text
from storage.desk_kinds import kinds
from storage.queries import LedgerReader
from storage.views.database import Database, QueryError
from storage.views.periods import Found, PeriodQueries
from web.masking import masked

_WIDTH: Final = 80
_STEPS: Final = {"alert": "alert found", "decided": "gates decided", "ordered": "order recorded"}
_LEVELS: Final = {0: "0 running", 1: "1 no entries", 2: "2 flatten"}


def is_wanted(arguments: Namespace) -> bool:
    """Return whether a call of `report` asks for a period or a page."""
    return arguments.session in tuple(Span) or arguments.html is not None


def act(arguments: Namespace) -> int:
    """Show what a period brought, or write it as a page."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    span, wanted = Span.DAY, arguments.session
    if wanted in tuple(Span):
        span, wanted = Span(wanted), arguments.on
    period = period_of(span, _session(wanted, folder))
    try:
        report = report_of(folder, period)
    except QueryError as error:
        raise CommandError(str(error), 3) from None
    report = msgspec.json.decode(masked(msgspec.json.encode(report)), type=Report)  # reasons and words of brokers
    if arguments.json:
        print(orjson.dumps(msgspec.to_builtins(report), option=orjson.OPT_INDENT_2).decode())
    elif arguments.html is not None:
        _write(arguments.html, page_of(report))
    else:
        width = shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH
        print("\n".join(text_of(report, max(width, _WIDTH))))
    return 0


def _session(text: str | None, folder: DataFolder) -> date:
    if text is not None:
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise CommandError(f"{text!r} is not a date; write it as 2026-11-20.") from None
    known = [day for desk in desks_of(folder.ledgers) for day in LedgerReader(folder.ledgers, desk).sessions()]
    if not known:
        raise CommandError(f"There is nothing to report in {folder.root}: no session was run there yet.", 1)
    return max(known)


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}); name another file.", 3) from None
    print(f"Written: {path.resolve()}")


def text_of(report: Report, width: int) -> list[str]:
    """Return a report as lines of a terminal."""
    lines = [report.title, f"Desks: {', '.join(report.desks) or 'none'}"]
    for section in report.sections:
        lines += ["", *lines_of(section, width)]
    return lines


# -- what is told -------------------------------------------------------------------------------


def report_of(folder: DataFolder, period: Period) -> Report:
    """Collect a period's report.

    Raises:
        QueryError: a file cannot be read.
        LedgerRefusedError: a ledger cannot be used.
        WarehouseRefusedError: the warehouse cannot be used.
    """
    days = PeriodQueries(Database(folder.root, ()), period.first, period.last).sessions()
    sessions = [row["session"] for row in days]
    ask = PeriodQueries(Database(folder.root, sessions, is_of_one_instant=True), period.first, period.last)
    kind_of = kinds(folder.ledgers)
    desks = sorted({row["desk"] for row in (*ask.money(), *ask.attempts())}, key=lambda desk: _rank(kind_of, desk))
    sections = (
        _money(ask.money(), kind_of, ask.unfinished()), *_origins(folder, sessions, desks), _curve(ask.curve()),
        _reasons(ask.by_reason()), _fill_rate(ask.fills_by_time()), _slippage(ask.slippage()),
        _rejects(ask.rejects(), ask.attempts()), _spread(ask.spread_rejects()), _latency(ask.latency()),
        _gaps(ask.gaps()), _people(ask.kills(), ask.interventions(), ask.incidents()),
    )  # fmt: skip
    title = f"{period.title}: {len(sessions)} session{'s' * (len(sessions) != 1)}"
    named = tuple(f"{desk} ({_money_of(kind_of, desk)})" for desk in desks)
    return Report(title, period.first, period.last, named, sections)


def _rank(kind_of: dict[str, DeskKind], desk: str) -> tuple[int, str]:
    """Return the place of a desk: live money first, then paper, then simulated, then what is not told."""
    kind = kind_of.get(desk)
    return (len(DeskKind) if kind is None else tuple(DeskKind).index(kind)), desk


def _money_of(kind_of: dict[str, DeskKind], desk: str) -> str:
    kind = kind_of.get(desk)
    return "kind not told" if kind is None else f"{kind} money"


def _table(columns: Iterable[tuple[str, Kind]], rows: Iterable[tuple[Cell, ...]]) -> Table:
    return Table(tuple(Column(title, kind) for title, kind in columns), tuple(rows))


def _money(rows: Found, kind_of: dict[str, DeskKind], unfinished: Found) -> Section:
    columns = (
        ("desk", Kind.TEXT), ("days", Kind.COUNT), ("trades", Kind.COUNT), ("won", Kind.RATE), ("net", Kind.MONEY),
        ("fees", Kind.MONEY), ("worst", Kind.MONEY), ("fall", Kind.MONEY),
    )  # fmt: skip
    ranked = sorted(rows, key=lambda row: _rank(kind_of, row["desk"]))
    says = (
        "net of fees; fall: the largest of a day's P&L, what was open included, or of the total over days"
        if rows
        else "no trade was closed"
    )
    if unfinished:
        days: dict[date, list[str]] = {}
        for row in unfinished:
            days.setdefault(row["session"], []).append(row["desk"])
        named = ", ".join(f"{day} ({', '.join(desks)})" for day, desks in days.items())
        says += f"; not summed up, so not over or cut short: {named}; what is open is not in it"
    return Section(
        "Money by desk, USD" if rows else "Money by desk",
        says,
        _table(columns, (
            (row["desk"], row["sessions"], row["n"], Rate(row["wins"], row["n"]), row["pnl"], -row["fees"] or 0.0,
             row["worst"], -row["drawdown"] or 0.0) for row in ranked
        )),
    )  # fmt: skip


def _origins(folder: DataFolder, sessions: list[date], desks: list[str]) -> list[Section]:
    """Return what trades on recorded and on synthetic quotes came to; nothing where no market was simulated."""
    sums: dict[tuple[str, str], list[int]] = {}
    for session in sessions:
        source = source_of([path for path in folder.traces_newest_first() if path.parent.name == session.isoformat()])
        if not source.is_demo:
            continue
        for desk in desks:
            ledger = LedgerReader(folder.ledgers, desk)
            trades, executions = ledger.trades(session), ledger.executions(session)
            for origin, row in totals_by_origin(trades, source, executions).items():
                total = sums.setdefault((desk, origin), [0, 0, 0])
                sums[desk, origin] = [a + b for a, b in zip(total, row.values(), strict=True)]
    columns = (("desk", Kind.TEXT), ("quotes", Kind.TEXT), ("won", Kind.RATE), ("net", Kind.MONEY))
    rows = [(desk, origin, Rate(wins, n), cents / 100) for (desk, origin), (n, wins, cents) in sorted(sums.items())]
    if not rows:
        return []
    says = "what trades on synthetic quotes come to means nothing about profit"
    return [Section("Recorded and synthetic quotes, USD", says, _table(columns, rows))]


def _curve(rows: Found) -> Section:
    """Return the running totals; a desk keeps its total where another one closes."""
    moments = sorted({row["moment"] for row in rows})
    by_desk: dict[str, dict[Any, float]] = {}
    for row in rows:
        by_desk.setdefault(row["desk"], {})[row["moment"]] = row["total"]
    series = []
    for desk, totals in sorted(by_desk.items()):
        values: list[float | None] = []
        for moment in moments:
            values.append(totals.get(moment, values[-1] if values else None))
        series.append(Series(desk, tuple(values)))
    ends = (f"{one.name} {one.values[-1]:+,.2f}" for one in series if one.values[-1] is not None)
    chart = Chart(Form.LINES, tuple(map(clock_text, moments)), tuple(series), "USD") if rows else None
    return Section("Running total, USD", ", ".join(ends) or "nothing was closed", Table((), ()), chart)


def _reasons(rows: Found) -> Section:
    columns = (
        ("desk", Kind.TEXT), ("strategy", Kind.TEXT), ("closed by", Kind.TEXT), ("won", Kind.RATE),
        ("net", Kind.MONEY), ("mean", Kind.MONEY),
    )  # fmt: skip
    sums: dict[str, dict[str, float]] = {}
    for row in rows:
        of_desk = sums.setdefault(row["desk"], {})
        of_desk[row["reason"]] = of_desk.get(row["reason"], 0.0) + row["pnl"]
    reasons = sorted({row["reason"] for row in rows})
    series = tuple(Series(desk, tuple(found.get(reason) for reason in reasons)) for desk, found in sorted(sums.items()))
    chart = Chart(Form.BARS, tuple(map(reason_text, reasons)), series, "USD")
    return Section(
        "P&L by strategy and exit reason, USD", "" if rows else "no trade was closed",
        _table(columns, (
            (row["desk"], row["strategy"], reason_text(row["reason"]), Rate(row["wins"], row["n"]), row["pnl"],
             row["mean"]) for row in rows
        )), chart if rows else None,
    )  # fmt: skip


def _fill_rate(rows: Found) -> Section:
    columns = (("desk", Kind.TEXT), ("strategy", Kind.TEXT), ("from", Kind.TEXT), ("filled", Kind.RATE))
    return Section(
        "Fill rate by time of day",
        f"filled of what the gates let pass: {_by_desk(rows, 'filled', 'n')}" if rows else "no attempt was accepted",
        _table(columns, (
            (row["desk"], row["strategy"], clock_text(row["half_hour"]), Rate(row["filled"], row["n"]))
            for row in rows
        )), _rate_chart(rows, lambda row: Rate(row["filled"], row["n"])),
    )  # fmt: skip


def _by_desk(rows: Found, hits: str, n: str) -> str:
    """Return a share of each desk, for a sentence: desks with different money are never one figure."""
    sums: dict[str, Rate] = {}
    for row in rows:
        before = sums.get(row["desk"], Rate(0, 0))
        sums[row["desk"]] = Rate(before.hits + row[hits], before.n + row[n])
    return ", ".join(f"{desk} {rate}" for desk, rate in sorted(sums.items()))


def _rate_chart(rows: Found, rate_of: Callable[[dict[str, Any]], Rate]) -> Chart | None:
    """Return the shares by half hour of each desk, all its strategies together, with their bounds."""
    times = sorted({row["half_hour"] for row in rows})
    sums: dict[str, dict[Any, Rate]] = {}
    for row in rows:
        of_desk, rate = sums.setdefault(row["desk"], {}), rate_of(row)
        before = of_desk.get(row["half_hour"], Rate(0, 0))
        of_desk[row["half_hour"]] = Rate(before.hits + rate.hits, before.n + rate.n)
    if not rows:
        return None
    series = []
    for desk, found in sorted(sums.items()):
        rates = [found.get(moment, Rate(0, 0)) for moment in times]
        series.append(Series(
            desk, tuple(None if rate.share is None else rate.share * 100 for rate in rates),
            tuple(None if rate.bounds is None else (rate.bounds[0] * 100, rate.bounds[1] * 100) for rate in rates),
        ))  # fmt: skip
    return Chart(Form.BARS, tuple(map(clock_text, times)), tuple(series), "%")


def _slippage(rows: Found) -> Section:
    columns = (
        ("desk", Kind.TEXT), ("strategy", Kind.TEXT), ("ticker", Kind.TEXT), ("fills", Kind.COUNT),
        ("mean", Kind.USD), ("median", Kind.USD), ("worst", Kind.USD), ("of mid", Kind.PERCENT), ("cost", Kind.MONEY),
    )  # fmt: skip
    return Section(
        "Slippage of entries against the mid, USD per unit",
        "positive: against us; cost of all contracts in USD" if rows else "no entry was filled",
        _table(columns, (
            (row["desk"], row["strategy"], row["ticker"], row["n"], row["mean"], row["median"], row["worst"],
             row["percent"], row["cost"]) for row in rows
        )),
    )  # fmt: skip


def _rejects(rows: Found, attempts: Found) -> Section:
    columns = (("desk", Kind.TEXT), ("code", Kind.TEXT), ("of all", Kind.RATE), ("most at", Kind.TEXT))
    asked = {row["desk"]: row["n"] for row in attempts}
    refused = [row | {"refused": row["n"] - row["accepted"]} for row in attempts]
    by_code: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_code.setdefault((row["desk"], row["code"]), []).append(row)
    counted = sorted(by_code.items(), key=lambda one: (one[0][0], -sum(row["n"] for row in one[1]), one[0][1]))
    times = sorted({row["half_hour"] for row in rows})
    heat = tuple(
        Series(f"{desk} {code}" if len(asked) > 1 else code, tuple(
            float(sum(row["n"] for row in found if row["half_hour"] == moment)) for moment in times
        )) for (desk, code), found in counted
    )  # fmt: skip
    return Section(
        "Refused by code and half hour",
        f"refused: {_by_desk(refused, 'refused', 'n')}{_shadows(attempts)}" if attempts else "nothing was attempted",
        _table(columns, (
            (desk, code, Rate(sum(row["n"] for row in found), asked.get(desk, 0)),
             clock_text(max(found, key=lambda row: row["n"])["half_hour"])) for (desk, code), found in counted
        )), Chart(Form.HEAT, tuple(map(clock_text, times)), heat) if rows else None,
    )  # fmt: skip


def _shadows(attempts: Found) -> str:
    """Return how many shadows each desk saw; they are no attempts, as none may trade before its kind is promoted."""
    told = ", ".join(f"{row['desk']} {row['shadows']}" for row in attempts if row["shadows"])
    return f"; shadows beside them: {told}" if told else ""


def _spread(rows: Found) -> Section:
    columns = (("desk", Kind.TEXT), ("from", Kind.TEXT), ("refused", Kind.COUNT), ("false", Kind.RATE))
    is_judged = any(row["judged"] for row in rows)
    return Section(
        "Spread gate: refusals that were false",
        f"of those whose alert can be judged, it won after all: {_by_desk(rows, 'false', 'judged')}" if rows
        else "the spread gate refused nothing",
        _table(columns, (
            (row["desk"], clock_text(row["half_hour"]), row["n"], Rate(row["false"], row["judged"])) for row in rows
        )), _rate_chart(rows, lambda row: Rate(row["false"], row["judged"])) if is_judged else None,
    )  # fmt: skip


def _latency(rows: Found) -> Section:
    columns = (
        ("desk", Kind.TEXT), ("until", Kind.TEXT), ("n", Kind.COUNT), ("median", Kind.MS), ("p99", Kind.MS),
        ("worst", Kind.MS),
    )  # fmt: skip
    return Section(
        "Latency from the bucket's close, ms", "" if rows else "no attempt was accepted",
        _table(columns, (
            (row["desk"], _STEPS[row["step"]], row["n"], row["p50"], row["p99"], row["worst"]) for row in rows
        )),
    )  # fmt: skip


def _gaps(rows: Found) -> Section:
    columns = (
        ("hub", Kind.TEXT), ("cause", Kind.TEXT), ("intervals", Kind.COUNT), ("missing", Kind.COUNT),
        ("covered", Kind.COUNT), ("not polled", Kind.COUNT), ("longest, min", Kind.COUNT),
    )  # fmt: skip
    absent = sum(row["missing"] + row["not_polled"] for row in rows)
    return Section(
        "Gaps in the market data, rows", f"{absent:,} rows are not there" if rows else "none",
        _table(columns, (
            (row["hub"], row["why"], row["intervals"], row["missing"], row["covered"], row["not_polled"],
             row["longest_min"]) for row in rows
        )),
    )  # fmt: skip


def _people(kills: Found, commands: Found, incidents: Found) -> Section:
    columns = (("what", Kind.TEXT), ("by", Kind.TEXT), ("times", Kind.COUNT), ("last reason", Kind.TEXT))
    (counts,) = incidents
    says = (
        f"interventions: {sum(row['n'] for row in commands)}; starts of the supervisor: {counts['starts']};"
        f" orders refused: {counts['refused']}; days locked: {counts['locked']}"
    )
    rows = [(f"kill level {_LEVELS.get(row['level'], row['level'])}", row["by"], row["n"], row["reason"])
            for row in kills]  # fmt: skip
    rows += [(f"command {row['name']}", row["by"], row["n"], row["reason"]) for row in commands]
    return Section("Kill switch and interventions", says, _table(columns, rows))
