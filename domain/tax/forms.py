"""A year's Form 8949 and Form 6781 from trades.

Form 8949 takes what is not under section 1256, with wash sales in its adjustment column. Form 6781 takes section 1256
contracts: marked to market at the end of a year, 60 % long-term and 40 % short-term whatever the holding period, and no
wash sales (26 U.S.C. 1256(a), (f)(5)).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

import msgspec

from domain.position.cycle import EndReason
from domain.tax.lots import Piece, Security, Trade, matched
from domain.tax.rules import TaxRules
from domain.tax.wash import Adjusted, washed
from domain.units import Cents, Qty

WASH_CODE: Final = "W"
EXERCISED: Final = EndReason.ASSIGNED.value

Marks = Mapping[tuple[int, Security], Cents]  # of a year's last session: what one contract was worth then


class Row8949(msgspec.Struct, frozen=True, kw_only=True):
    """One line of Form 8949 by its columns (a) to (h); `how` is `Expired` where nothing was sold."""

    description: str
    acquired: date
    sold: date
    proceeds_cents: Cents
    basis_cents: Cents
    code: str
    adjustment_cents: Cents
    gain_cents: Cents
    is_long_term: bool
    how: str = ""
    account: str = ""


class Totals(msgspec.Struct, frozen=True):
    """Sums of columns (d), (e), (g) and (h)."""

    rows: int = 0
    proceeds_cents: Cents = Cents(0)
    basis_cents: Cents = Cents(0)
    adjustment_cents: Cents = Cents(0)
    gain_cents: Cents = Cents(0)


class Row6781(msgspec.Struct, frozen=True):
    """One line of Form 6781, part I: the year's gain or loss of a contract; `is_marked`: open at the year's end."""

    description: str
    qty: Qty
    opened: date
    closed: date
    gain_cents: Cents
    is_marked: bool = False
    account: str = ""


class Form6781(msgspec.Struct, frozen=True):
    """Part I: its rows, line 7 (their sum), line 8 (40 %, short-term) and line 9 (60 %, long-term)."""

    rows: tuple[Row6781, ...]
    net_cents: Cents
    short_term_cents: Cents
    long_term_cents: Cents


class Deferred(msgspec.Struct, frozen=True):
    """A loss that waits in the basis of what is still open, and since when."""

    security: Security
    qty: Qty
    cents: Cents
    acquired: date


class TaxYear(msgspec.Struct, frozen=True):
    """Everything of one year.

    `unmarked` are the section 1256 contracts that were open at a year's end, each with the year, whose value then is
    not known: while there are any, `form_6781` is not whole. `exercised` became shares: no sale of this form.
    """

    year: int
    form_8949: tuple[Row8949, ...]
    short_term: Totals
    long_term: Totals
    form_6781: Form6781
    deferred: tuple[Deferred, ...]
    unmarked: tuple[tuple[int, Security], ...]
    exercised: tuple[Piece, ...]

    @property
    def disallowed_cents(self) -> Cents:
        """The losses of the year that wash sales put off."""
        return Cents(self.short_term.adjustment_cents + self.long_term.adjustment_cents)

    @property
    def net_cents(self) -> Cents:
        """Gain of both forms."""
        return Cents(self.short_term.gain_cents + self.long_term.gain_cents + self.form_6781.net_cents)


def tax_year(
    trades: Iterable[Trade], year: int, rules: TaxRules, marks: Marks | None = None, *, today: date | None = None
) -> TaxYear:
    """Return a year's forms from all trades before, in and after it (a January purchase can put off a December loss).

    `marks` holds what a contract was worth at a year's end, in cents, for section 1256 contracts that were open then.
    `today` (`None`: the year is over) says whether the year's end has come.
    """
    pieces = matched(trades)
    exercised, sold = [p for p in pieces if is_exercised(p)], [p for p in pieces if not is_exercised(p)]
    ordinary = washed((p for p in sold if not rules.is_section_1256(p.opened_by.security)), rules.identical)
    rows = tuple(row_8949(one) for one in ordinary if _closed_in(one.piece, year))
    marked, unmarked = _rows_6781(
        (p for p in sold if rules.is_section_1256(p.opened_by.security)), year, marks or {}, today
    )
    return TaxYear(
        year=year,
        form_8949=rows,
        short_term=totals(row for row in rows if not row.is_long_term),
        long_term=totals(row for row in rows if row.is_long_term),
        form_6781=form_6781(marked),
        deferred=tuple(
            Deferred(one.piece.opened_by.security, one.piece.qty, one.added_cents, one.acquired)
            for one in ordinary
            if one.added_cents and one.piece.opened_by.session.year <= year and not _is_closed_by(one.piece, year)
        ),
        unmarked=unmarked,
        exercised=tuple(piece for piece in exercised if _closed_in(piece, year)),
    )


def is_exercised(piece: Piece) -> bool:
    """Return whether it became shares, into whose basis its cost goes: no sale."""
    return piece.closed_by is not None and piece.closed_by.how == EXERCISED


def _closed_in(piece: Piece, year: int) -> bool:
    return piece.closed_by is not None and piece.closed_by.session.year == year


def _is_closed_by(piece: Piece, year: int) -> bool:
    return piece.closed_by is not None and piece.closed_by.session.year <= year


# -- Form 8949 ----------------------------------------------------------------------------------


def row_8949(adjusted: Adjusted) -> Row8949:
    """Return the line of a closed piece. What was sold first (a written option) was acquired when it was closed."""
    piece = adjusted.piece
    closed = piece.closed_by
    assert closed is not None
    security = piece.opened_by.security
    if piece.is_long:
        proceeds, cost, acquired, sold = piece.close_cents, -piece.open_cents, adjusted.acquired, closed.session
    else:
        proceeds, cost, acquired, sold = piece.open_cents, -piece.close_cents, closed.session, piece.opened_by.session
    return Row8949(
        description=f"{piece.qty} {security.label}",
        acquired=acquired,
        sold=sold,
        proceeds_cents=Cents(proceeds),
        basis_cents=Cents(cost + adjusted.added_cents),
        code=WASH_CODE if adjusted.disallowed_cents else "",
        adjustment_cents=adjusted.disallowed_cents,
        gain_cents=adjusted.gain_cents,
        is_long_term=piece.is_long and is_long_term(adjusted.acquired, closed.session),
        how="Expired" if closed.how.startswith("expired") else "",
        account=piece.opened_by.account,
    )


def is_long_term(acquired: date, sold: date) -> bool:
    """Return whether more than a year lies between the day after the purchase and the sale."""
    try:
        anniversary = acquired.replace(year=acquired.year + 1)
    except ValueError:  # 29 February
        anniversary = date(acquired.year + 1, 3, 1)
    return sold > anniversary


def totals(rows: Iterable[Row8949]) -> Totals:
    """Return the sums of lines."""
    found = tuple(rows)
    return Totals(
        rows=len(found),
        proceeds_cents=Cents(sum(row.proceeds_cents for row in found)),
        basis_cents=Cents(sum(row.basis_cents for row in found)),
        adjustment_cents=Cents(sum(row.adjustment_cents for row in found)),
        gain_cents=Cents(sum(row.gain_cents for row in found)),
    )


# -- Form 6781 ----------------------------------------------------------------------------------


def form_6781(rows: Iterable[Row6781]) -> Form6781:
    """Return part I of lines; what 40 % leaves over in rounding goes to the 60 %."""
    found = tuple(rows)
    net = sum(row.gain_cents for row in found)
    short_term = round(net * 40 / 100)
    return Form6781(found, Cents(net), Cents(short_term), Cents(net - short_term))


def _rows_6781(
    pieces: Iterable[Piece], year: int, marks: Marks, today: date | None
) -> tuple[list[Row6781], tuple[tuple[int, Security], ...]]:
    """Return the year's lines, and the marks that are needed and absent."""
    last = date(year, 12, 31)
    is_over = today is None or today > last
    rows: list[Row6781] = []
    unmarked: set[tuple[int, Security]] = set()
    for piece in pieces:
        opened, closed, security = piece.opened_by, piece.closed_by, piece.opened_by.security
        is_before = opened.session.year < year
        is_marked = closed is None or closed.session.year > year
        if opened.session.year > year or (closed is not None and closed.session.year < year):
            continue
        if closed is None and not is_over:
            continue  # open in a year that goes on
        needed = {(year - 1, security)} if is_before else set()
        needed |= {(year, security)} if is_marked else set()
        if absent := needed - marks.keys():
            unmarked |= absent
            continue
        qty = piece.qty if piece.is_long else -piece.qty
        begin = -marks[year - 1, security] * qty if is_before else piece.open_cents
        end = marks[year, security] * qty if is_marked else piece.close_cents
        ended = last if closed is None or is_marked else closed.session
        gain = Cents(begin + end)
        rows.append(Row6781(security.label, piece.qty, opened.session, ended, gain, is_marked, opened.account))
    return rows, tuple(sorted(unmarked))
