"""The report of a backtest: what was taken for granted, what came out, and why on some days nothing did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from statistics import median

from domain.instants import NEW_YORK, to_datetime
from domain.reports.model import Cell, Chart, Column, Form, Kind, Rate, Report, Section, Series, Table
from domain.risk.reject import RejectCode
from domain.units import Cents, Utc
from domain.wording import reason_text
from simulation.backtest.figures import RUIN_SHARE, YEAR_DAYS, Figures, falls, figures_of
from simulation.backtest.model import FillModel
from simulation.backtest.run import Day, hash_of

_NOTHING = Table((), ())
_EXTREMES = 10  # trades shown at each end where they are many
_SHOWN_MAX = 5  # sessions, files or buckets that are named
_OFTEN_MS = 5_000  # between two quotes of a contract


def report_of(
    first: date, last: date, desk: str, days: Sequence[Day], missing: Sequence[date], nav_cents: Cents,
    model: FillModel, market: str,
) -> Report:  # fmt: skip
    """Return the report of days in their order; of the `missing` sessions of the exchange nothing is stored.

    `market` says whose days these are.
    """
    counted = f"{len(days)} session{'s' * (len(days) != 1)}"
    span = f"{first}" if first == last else f"{first} to {last}"
    title = f"Backtest {span}: {counted}" + (f", {len(missing)} not stored" if missing else "")
    figures = figures_of(days, nav_cents)
    market += record_of(missing, ((day.session, day.lacking, day.damaged) for day in days))
    sections = (
        _result(figures, days, nav_cents, market), _assumptions(model), _equity(days, nav_cents),
        _fall(days, nav_cents), _exits(days), _hours(days), _trades(days), _idle(days), _refused(days),
        _sessions(days),
    )  # fmt: skip
    return Report(title, first, last, (f"{desk} (backtest)",), sections)


def _table(columns: Iterable[tuple[str, Kind]], rows: Iterable[tuple[Cell, ...]]) -> Table:
    return Table(tuple(Column(title, kind) for title, kind in columns), tuple(rows))


def _usd(cents: float | None) -> str:
    return "none" if cents is None else f"{cents / 100:+,.2f}"


def _result(figures: Figures, days: Sequence[Day], nav_cents: Cents, market: str) -> Section:
    ruin = "not told: fewer than 20 days" if figures.ruin is None else str(figures.ruin)
    nav = days[-1].nav_cents if days else nav_cents
    rows: list[tuple[Cell, ...]] = [
        ("trades won", str(figures.won)),
        ("net of fees", _usd(figures.pnl_cents)),
        ("fees", _usd(-figures.fees_cents)),
        ("mean win", _usd(figures.mean_win_cents)),
        ("mean loss", _usd(figures.mean_loss_cents)),
        ("largest loss", _usd(figures.largest_loss_cents)),
        ("largest fall of NAV, by days' ends", _usd(-figures.fall_cents)),
        ("NAV at the start and end", f"{nav_cents / 100:,.2f} to {nav / 100:,.2f}"),
        (f"years that lose {RUIN_SHARE:.0%} of NAV", ruin),
        ("hash of the run", hash_of(days)),
    ]
    says = market
    if figures.ruin is not None:
        says += (
            f" The risk of ruin draws years of {YEAR_DAYS} of these days with replacement, so it knows no worse day."
        )
    held = sum(day.held for day in days)
    broken = sorted({name for day in days for name in day.crashed})
    says += f" {held} positions were not closed." if held else ""
    unpriced = sum(day.unpriced for day in days)
    says += (
        f" {unpriced} positions expired after the recording ended: their trades are booked as worthless, NAV has what"
        " the last price on record settles at."
        if unpriced
        else ""
    )
    says += f" Crashed: {', '.join(broken)}." if broken else ""
    says += _sparse(days) + _killed(days)
    says += _apart(nav - nav_cents - figures.pnl_cents, is_explained=bool(held or unpriced))
    return Section("Result, USD", says.strip(), _table((("what", Kind.TEXT), ("value", Kind.TEXT)), rows))


def record_of(missing: Sequence[date], days: Iterable[tuple[date, Sequence[str], Sequence[str]]]) -> str:
    """Return in sentences what of a period is not on record; empty where all of it is.

    Args:
        missing: sessions of which nothing is stored.
        days: each session with what was not recorded of it, and what could not be read and so was left out.
    """
    said = f" Nothing is stored of {_some(missing)}." if missing else ""
    in_part, damaged = list[str](), list[str]()
    for session, lacking, left_out in days:
        in_part += [f"{session} ({_some(lacking)})"] if lacking else []
        damaged += [f"{session} ({_some(left_out)})"] if left_out else []
    said += f" Recorded in part, so traded in part: {_some(in_part)}." if in_part else ""
    return said + (f" Damaged and left out: {_some(damaged)}." if damaged else "")


def _some(what: Sequence[object]) -> str:
    """Return the first few of many, and how many more there are."""
    shown = ", ".join(map(str, what[:_SHOWN_MAX]))
    return shown + (f" and {len(what) - _SHOWN_MAX} more" if len(what) > _SHOWN_MAX else "")


def _apart(cents: int, *, is_explained: bool) -> str:
    """Return that NAV, which the exchange keeps, and the trades, which the ledger does, do not come to the same."""
    if not cents:
        return ""
    why = "that is what was not closed or had no price" if is_explained else "that is a fault, so believe neither"
    return f" NAV moved by {cents / 100:+,.2f} more than the trades add up to; {why}."


def _sparse(days: Sequence[Day]) -> str:
    """Return why entries met no fresh quote, with the remedy; empty where none was refused for that."""
    stale = [day for day in days if day.refused.get(RejectCode.STALE_QUOTE, 0)]
    if not stale:
        return ""
    n, apart_s = sum(day.refused[RejectCode.STALE_QUOTE] for day in stale), median(day.apart_s for day in stale)
    says = (
        f" {n} attempts met a quote that was too old: the quotes of a contract are {apart_s:g} s apart here (median)."
    )
    if apart_s * 1000 > _OFTEN_MS:
        says += f" Record days with `warehouse.chain_every_ms: {_OFTEN_MS}` to backtest them."
    return says


def _killed(days: Sequence[Day]) -> str:
    """Return which kill levels were raised and why; they stand to the end, as nobody lowers one in a backtest."""
    says = ""
    highest = 0
    for day in days:
        for level, reason in day.killed:
            says += f" Kill level {level} on {day.session}: {reason}." if level > highest else ""
            highest = max(highest, level)
    return says and (
        f"{says} Nobody lowers it in a backtest, so it refuses entries to the end; backtest the days after it by"
        " themselves. Where a held contract has no price any more, a wider band has to be recorded"
        " (connection.strikes_around_index)."
    )


def _assumptions(model: FillModel) -> Section:
    return Section("Taken for granted", " ".join(model.assumptions()), _NOTHING)


def _labels(days: Sequence[Day]) -> tuple[str, ...]:
    return ("start", *(f"{day.session:%m-%d}" for day in days))


def _equity(days: Sequence[Day], nav_cents: Cents) -> Section:
    """Return how NAV has moved since the start: a curve of NAV itself would be flat."""
    moved = (0.0, *((day.nav_cents - nav_cents) / 100 for day in days))
    chart = Chart(Form.LINES, _labels(days), (Series("NAV less its start", moved),), "USD") if any(moved) else None
    return Section("NAV less its start, by days' ends, USD", f"ends at {moved[-1]:+,.2f}", _NOTHING, chart)


def _fall(days: Sequence[Day], nav_cents: Cents) -> Section:
    values = (0.0, *(-fall / 100 or 0.0 for fall in falls(days, nav_cents)))
    chart = Chart(Form.LINES, _labels(days), (Series("fall", values),), "USD") if any(values) else None
    says = f"largest {min(values):,.2f}" if any(values) else "none"
    return Section("Fall from the highest NAV, USD", says, _NOTHING, chart)


def _exits(days: Sequence[Day]) -> Section:
    by_reason: dict[str, list[int]] = {}
    for trade in (trade for day in days for trade in day.trades):
        by_reason.setdefault(trade.reason, []).append(trade.pnl_cents)
    found = sorted(by_reason.items(), key=lambda pair: (-sum(pair[1]), pair[0]))
    rows: list[tuple[Cell, ...]] = [
        (reason_text(reason), Rate(sum(c > 0 for c in cents), len(cents)), sum(cents) / 100,
         sum(cents) / len(cents) / 100) for reason, cents in found
    ]  # fmt: skip
    columns = (("closed by", Kind.TEXT), ("won", Kind.RATE), ("net", Kind.MONEY), ("mean", Kind.MONEY))
    series = Series("net", tuple(sum(cents) / 100 for _, cents in found))
    chart = Chart(Form.BARS, tuple(reason_text(reason) for reason, _ in found), (series,), "USD") if found else None
    says = "a trade that left in parts stands under its last one" if found else "no trade was closed"
    return Section("P&L by exit, USD", says, _table(columns, rows), chart)


def _hours(days: Sequence[Day]) -> Section:
    by_hour: dict[int, list[int]] = {}
    for trade in (trade for day in days for trade in day.trades):
        by_hour.setdefault(_clock(trade.opened_utc).hour, []).append(trade.pnl_cents)
    hours = sorted(by_hour)
    rows: list[tuple[Cell, ...]] = [
        (f"{hour:02}:00", Rate(sum(c > 0 for c in by_hour[hour]), len(by_hour[hour])), sum(by_hour[hour]) / 100)
        for hour in hours
    ]
    series = Series("net", tuple(sum(by_hour[hour]) / 100 for hour in hours))
    chart = Chart(Form.BARS, tuple(f"{hour:02}:00" for hour in hours), (series,), "USD") if hours else None
    columns = (("entered from", Kind.TEXT), ("won", Kind.RATE), ("net", Kind.MONEY))
    says = "" if hours else "no trade was closed"
    return Section("P&L by hour of entry (New York), USD", says, _table(columns, rows), chart)


def _trades(days: Sequence[Day]) -> Section:
    """Return all trades as they were closed, or the worst and the best of them where they are many."""
    found = [trade for day in days for trade in day.trades]
    says = "" if found else "no trade was closed"
    if len(found) > 2 * _EXTREMES:
        found = sorted(found, key=lambda trade: trade.pnl_cents)
        found = [*found[:_EXTREMES], *found[-_EXTREMES:]]
        says = f"the {_EXTREMES} worst and the {_EXTREMES} best; --json has all"
    rows: list[tuple[Cell, ...]] = [
        (f"{_clock(trade.opened_utc):%m-%d %H:%M:%S}", f"{_clock(trade.closed_utc):%H:%M:%S}",
         f"{trade.qty} {trade.contract}", trade.pnl_cents / 100, trade.closed_by or reason_text(trade.reason))
        for trade in found
    ]  # fmt: skip
    columns = (
        ("opened", Kind.TEXT), ("closed", Kind.TEXT), ("what", Kind.TEXT), ("net", Kind.MONEY),
        ("closed by", Kind.TEXT),
    )  # fmt: skip
    return Section("Trades, USD", says, _table(columns, rows))


def _clock(at_utc: Utc) -> datetime:
    return to_datetime(at_utc).astimezone(NEW_YORK)


def _idle(days: Sequence[Day]) -> Section:
    idle = [(day.session.isoformat(), why) for day in days if (why := day.why_no_entry) is not None]
    says = f"{len(idle)} of {len(days)} sessions" if idle else "none"
    return Section("Days without an entry, and why", says, _table((("session", Kind.TEXT), ("why", Kind.TEXT)), idle))


def _refused(days: Sequence[Day]) -> Section:
    codes: Counter[str] = sum((Counter(day.refused) for day in days), Counter())
    counted = sorted(codes.items(), key=lambda pair: (-pair[1], pair[0]))
    unfilled = sum(day.unfilled for day in days)
    shadows = sum(day.shadows for day in days)
    says = f"{codes.total()} attempts were refused, {unfilled} passed and were not filled"
    says += f"; {shadows} shadow{'s' * (shadows != 1)} beside them (not traded until promoted)" if shadows else ""
    return Section("Refused by code", says, _table((("code", Kind.TEXT), ("attempts", Kind.COUNT)), counted))


def _sessions(days: Sequence[Day]) -> Section:
    columns = (
        ("session", Kind.TEXT), ("alerts", Kind.COUNT), ("trades", Kind.COUNT), ("net", Kind.MONEY),
        ("NAV", Kind.TEXT), ("rows", Kind.COUNT), ("quotes", Kind.COUNT), ("hash", Kind.TEXT),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (day.session.isoformat(), day.alerts, len(day.trades), sum(t.pnl_cents for t in day.trades) / 100,
         f"{day.nav_cents / 100:,.2f}", day.rows, day.quotes, day.digest) for day in days
    ]  # fmt: skip
    damaged = sum(len(day.damaged) for day in days)
    says = f"{damaged} damaged buckets and files were left out" if damaged else ""
    return Section("Sessions", says, _table(columns, rows))
