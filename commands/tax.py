"""`main.py tax YEAR`: Form 8949 with wash sales and Form 6781 from the ledgers of desks that trade live money."""

from __future__ import annotations

import csv
import re
import sys
import textwrap
import time
from argparse import Namespace
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

import msgspec
import orjson

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.held import desks_of
from config.settings import Settings
from domain.desks import DeskKind
from domain.instants import session_of
from domain.tax.choices import Reading, Window, open_windows, readings
from domain.tax.forms import Row8949, TaxYear, Totals, tax_year
from domain.tax.lots import Security
from domain.units import Cents, Utc
from storage.desk_kinds import kinds
from storage.tax_trades import TaxTrades, tax_trades
from storage.views.database import Database, QueryError

NO_ADVICE: Final = "No tax advice: compare it with your broker's 1099-B."
_MARK = re.compile(r"(?:(?P<year>\d{4}):)?(?P<contract>.+)=(?P<price>\d+(?:\.\d+)?)")
_MULTIPLIER: Final = 100
_COLUMNS: Final = (
    "form", "part", "description", "acquired", "sold", "proceeds", "basis", "code", "adjustment", "gain", "desk", "note"
)  # fmt: skip


def act(arguments: Namespace) -> int:
    """Show a year's forms; with `--what-if` the year under other readings, and what a purchase now would put off."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    desks = chosen_desks(folder, arguments.desk or ())
    today = _today(arguments.today)
    if arguments.year > today.year:
        raise CommandError(f"{arguments.year} has not begun; the newest year is {today.year}.")
    try:
        found = tax_trades(Database(folder.root, ()), desks)
    except QueryError as error:
        raise CommandError(str(error), 3) from None
    marks = _marks(arguments.mark or (), arguments.year, {trade.security for trade in found.trades})
    year = tax_year(found.trades, arguments.year, settings.tax, marks, today=today)
    if year.unmarked:
        raise CommandError(_unmarked(year), 1)
    if arguments.csv:
        _print_csv(year)
        return 0
    others = readings(found.trades, arguments.year, settings.tax, marks, today=today) if arguments.what_if else ()
    windows = open_windows(found.trades, settings.tax, today) if arguments.what_if else ()
    if arguments.json:
        print(orjson.dumps(_plain(year, found, desks, others, windows), option=orjson.OPT_INDENT_2).decode())
        return 0
    lines = _lines(year, found, desks, settings, arguments.rows)
    print("\n".join([*lines, *(_what_if(others, windows, settings) if arguments.what_if else ())]))
    return 0


def chosen_desks(folder: DataFolder, named: Iterable[str]) -> list[str]:
    """Return the desks whose trades count: those with live money, or the ones that were named.

    Raises:
        CommandError: there is none.
        LedgerRefusedError: the shared ledger cannot be used.
    """
    known, kind_of = desks_of(folder.ledgers), kinds(folder.ledgers)
    if wanted := list(dict.fromkeys(named)):
        if absent := [desk for desk in wanted if desk not in known]:
            raise CommandError(
                f"There is no desk {absent[0]} in {folder.root}; there are: {', '.join(known) or 'none'}."
            )
        return wanted
    if live := [desk for desk in known if kind_of.get(desk) is DeskKind.LIVE]:
        return live
    said = ", ".join(f"{desk} ({kind_of.get(desk, 'not told')})" for desk in known) or "there is none"
    raise CommandError(
        f"No desk of {folder.root} trades live money: {said}; name one with --desk to see its year all the same.", 1
    )


def _today(text: str | None) -> date:
    return session_of(Utc(time.time_ns())) if text is None else date.fromisoformat(text)


def _marks(given: Iterable[str], year: int, known: set[Security]) -> dict[tuple[int, Security], Cents]:
    by_label = {security.label: security for security in known}
    found: dict[tuple[int, Security], Cents] = {}
    for text in given:
        match = _MARK.fullmatch(text)
        security = None if match is None else by_label.get(match["contract"].strip())
        if match is None or security is None:
            raise CommandError(
                f"--mark {text!r} names no contract that was traded with its price at the year's end; write it as"
                " 'SPXW 20270115 6000C=12.50', or with its year as '2026:SPXW 20270115 6000C=12.50'."
            )
        found[int(match["year"] or year), security] = Cents(round(float(match["price"]) * 100 * _MULTIPLIER))
    return found


def _unmarked(year: TaxYear) -> str:
    (of_year, security), *more = year.unmarked
    others = f" (and {len(more)} more)" if more else ""
    return (
        f"Form 6781 asks what {security.label}{others} was worth at the end of {of_year}, when it was open; add"
        f" --mark '{of_year}:{security.label}=PRICE'."
    )


# -- for people ---------------------------------------------------------------------------------


def _lines(year: TaxYear, found: TaxTrades, desks: list[str], settings: Settings, rows_max: int) -> list[str]:
    form = year.form_6781
    return [
        f"Tax year {year.year}, desk{'s' * (len(desks) > 1)} {', '.join(desks)}: net {_usd(year.net_cents, '+')} USD",
        NO_ADVICE,
        *(_form_8949("short-term", year.short_term, [r for r in year.form_8949 if not r.is_long_term], rows_max)),
        *(_form_8949("long-term", year.long_term, [r for r in year.form_8949 if r.is_long_term], rows_max)),
        "",
        f"Form 6781, part I, section 1256 contracts ({len(form.rows)} rows)",
        f"  {'line 7, net':<32}{_usd(form.net_cents, '+'):>16}",
        f"  {'line 8, short-term (40 %)':<32}{_usd(form.short_term_cents, '+'):>16}",
        f"  {'line 9, long-term (60 %)':<32}{_usd(form.long_term_cents, '+'):>16}",
        *_months(year),
        "",
        *_notes(year, found, settings),
    ]


def _form_8949(part: str, sums: Totals, rows: list[Row8949], rows_max: int) -> list[str]:
    if not rows:
        return [] if part == "long-term" else ["", "Form 8949: no rows."]
    head = f"{'description':<23}{'acquired':<11}{'sold':<10}{'proceeds':>11}{'basis':>11}"
    shown = rows[-rows_max:] if rows_max else []
    return [
        "",
        f"Form 8949, {part} ({sums.rows} rows" + (f", the last {len(shown)}" if len(shown) < sums.rows else "") + ")",
        *([f"{head}{'gain':>11}"] if shown else []),
        *(
            f"{row.description:<22.22} {row.acquired} {row.sold}{_usd(row.proceeds_cents):>11}"
            f"{_usd(row.basis_cents):>11}{_usd(row.gain_cents, '+'):>11}{' ' + row.code if row.code else ''}"
            for row in shown
        ),
        f"{'total':<44}{_usd(sums.proceeds_cents):>11}{_usd(sums.basis_cents):>11}{_usd(sums.gain_cents, '+'):>11}",
        f"  wash sales (code W, column g): {_usd(sums.adjustment_cents)} USD of losses put off",
    ]


def _months(year: TaxYear) -> list[str]:
    """Return what each month added, with the running total."""
    of_month: dict[int, list[int]] = {}
    for row in year.form_8949:
        closed = max(row.acquired, row.sold)
        of_month.setdefault(closed.month, [0, 0])[0] += row.gain_cents
    for index_row in year.form_6781.rows:
        of_month.setdefault(index_row.closed.month, [0, 0])[1] += index_row.gain_cents
    if not of_month:
        return []
    lines = ["", "By month", f"  {'':<10}{'Form 8949':>14}{'Form 6781':>14}{'running total':>16}"]
    running = 0
    for month, (ordinary, index) in sorted(of_month.items()):
        running += ordinary + index
        lines.append(
            f"  {year.year}-{month:02}   {_usd(Cents(ordinary), '+'):>14}{_usd(Cents(index), '+'):>14}"
            f"{_usd(Cents(running), '+'):>16}"
        )
    return lines


def _notes(year: TaxYear, found: TaxTrades, settings: Settings) -> list[str]:
    """Return what a person must know of the figures."""
    notes = [
        f"Options on {', '.join(settings.tax.index_etfs)} are taken as equity options (settings: tax).",
        *(
            f"A loss of {_usd(waiting.cents)} USD waits in the basis of {waiting.qty} {waiting.security.label}, open at"
            " the year's end."
            for waiting in year.deferred
        ),
        *(
            f"{piece.qty} {piece.opened_by.security.label} became shares: {_usd(Cents(abs(piece.open_cents)))} USD"
            " belong to the shares' basis, no row here."
            for piece in year.exercised
        ),
    ]
    if found.unpriced:
        notes.append(
            "Booked without a settlement price (what was bought as worthless, what was sold at its last price):"
            f" {', '.join(found.unpriced)}."
        )
    if found.closed_by_others:
        notes.append(
            f"Closed by somebody else, taken at what the ledger booked: {', '.join(found.closed_by_others)}; compare"
            " your broker's price."
        )
    if found.adopted:
        notes.append(f"{found.adopted} fills were taken from what the broker held: compare their prices.")
    if found.estimated_fees:
        notes.append(f"{found.estimated_fees} fills have no commission report; their fees are estimated.")
    if found.others:
        notes.append(f"{found.others} executions are not of our orders: left out, though they may make wash sales.")
    return [line for note in notes for line in textwrap.wrap(f"Note: {note}", 80, subsequent_indent="  ")]


def _what_if(others: tuple[Reading, ...], windows: tuple[Window, ...], settings: Settings) -> list[str]:
    lines = ["", "What if: the year under other readings (* in force; settings: tax)"]
    for other in others:
        lines += textwrap.wrap(f"{'*' if other.is_in_force else ' '} {other.words}", 80, subsequent_indent="  ")
        lines.append(
            f"    net {_usd(other.net_cents, '+')}, put off {_usd(other.disallowed_cents)},"
            f" Form 6781 {_usd(other.section_1256_cents, '+')}"
        )
    lines += ["", "What if the like is bought now: losses that would be put off"]
    lines += [
        f"  until {window.until}  {_usd(window.cents):>10} USD  {window.security.label} (sold {window.sold})"
        for window in windows
    ] or [f"  none within {settings.tax.identical} and 30 days"]
    return lines


def _usd(cents: Cents, sign: str = "") -> str:
    return f"{cents / 100:{sign},.2f}"


# -- for machines -------------------------------------------------------------------------------


def _print_csv(year: TaxYear) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in year.form_8949:
        writer.writerow((
            "8949", "II" if row.is_long_term else "I", row.description, row.acquired, row.sold,
            *(f"{cents / 100:.2f}" for cents in (row.proceeds_cents, row.basis_cents)), row.code,
            f"{row.adjustment_cents / 100:.2f}", f"{row.gain_cents / 100:.2f}", row.account, row.how,
        ))  # fmt: skip
    for marked in year.form_6781.rows:
        note = "marked to market" if marked.is_marked else ""
        writer.writerow((
            "6781", "I", f"{marked.qty} {marked.description}", marked.opened, marked.closed, "", "", "", "",
            f"{marked.gain_cents / 100:.2f}", marked.account, note,
        ))  # fmt: skip


def _plain(
    year: TaxYear, found: TaxTrades, desks: list[str], others: tuple[Reading, ...], windows: tuple[Window, ...]
) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(year)
    facts["exercised"] = [f"{piece.qty} {piece.opened_by.security.label}" for piece in year.exercised]
    names = ("estimated_fees", "others", "adopted", "unpriced", "closed_by_others")
    of_trades = {name: getattr(found, name) for name in names}
    return {"desks": desks, "no_advice": NO_ADVICE, **facts, **of_trades} | (
        {"readings": msgspec.to_builtins(others), "windows": msgspec.to_builtins(windows)} if others else {}
    )
