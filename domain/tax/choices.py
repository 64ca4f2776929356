"""What depends on how the law is read, and what a purchase would do to losses of the last 30 days.

The note before an entry is a note and no gate: nothing is refused for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

import msgspec

from domain.tax.forms import Marks, is_exercised, tax_year
from domain.tax.lots import Security, Trade, matched
from domain.tax.rules import TaxRules
from domain.tax.wash import WINDOW, Identical, group_of, washed
from domain.units import Cents


class Reading(msgspec.Struct, frozen=True):
    """A year under another reading of the law: what it is, and what the year comes to."""

    words: str
    net_cents: Cents
    disallowed_cents: Cents
    section_1256_cents: Cents
    is_in_force: bool


_WORDS: Final = {
    Identical.CONTRACT: "only the same contract is substantially identical",
    Identical.RIGHT: "all calls, and all puts, of an underlying are",
    Identical.UNDERLYING: "everything on an underlying is",
}


def readings(
    trades: Iterable[Trade], year: int, rules: TaxRules, marks: Marks | None = None, *, today: date | None = None
) -> tuple[Reading, ...]:
    """Return the year under each choice of what is identical, and with ETF options as section 1256 contracts."""
    given = tuple(trades)
    more = tuple(name for name in rules.index_etfs if name not in rules.section_1256)
    tried = [(_WORDS[identical], TaxRules(rules.section_1256, rules.index_etfs, identical)) for identical in Identical]
    if more:
        words = f"options on {', '.join(more)} fall under section 1256"
        tried.append((words, TaxRules((*rules.section_1256, *more), rules.index_etfs, rules.identical)))
    found = []
    for words, other in tried:
        so = tax_year(given, year, other, marks, today=today)
        found.append(
            Reading(words, so.net_cents, so.disallowed_cents, so.form_6781.net_cents, is_in_force=other == rules)
        )
    return tuple(found)


class Window(msgspec.Struct, frozen=True):
    """A loss whose 30 days are not over: buying the like until `until` would put off `cents` of it."""

    security: Security
    sold: date
    until: date
    cents: Cents


def open_windows(trades: Iterable[Trade], rules: TaxRules, today: date) -> tuple[Window, ...]:
    """Return the losses of the last 30 days as far as nothing has put them off yet, oldest first."""
    sold = (piece for piece in matched(trades) if not is_exercised(piece))
    ordinary = (piece for piece in sold if not rules.is_section_1256(piece.opened_by.security))
    found = []
    for one in washed(ordinary, rules.identical):
        closed = one.piece.closed_by
        if closed is None or one.gain_cents >= 0 or today - closed.session > WINDOW:
            continue
        found.append(Window(
            one.piece.opened_by.security, closed.session, closed.session + WINDOW, Cents(-one.gain_cents)
        ))  # fmt: skip
    return tuple(found)


def wash_note(windows: Iterable[Window], wanted: Security, on: date, rules: TaxRules) -> str | None:
    """Return one sentence where a purchase on a day would put off losses of the 30 days before; `None`: it does not."""
    if rules.is_section_1256(wanted):
        return None
    group = group_of(wanted, rules.identical)
    struck = [
        window
        for window in windows
        if group_of(window.security, rules.identical) == group and window.sold <= on <= window.until
    ]
    if not struck:
        return None
    total, last = sum(window.cents for window in struck), max(window.until for window in struck)
    losses = "a loss" if len(struck) == 1 else f"{len(struck)} losses"
    return (
        f"Wash sale: this purchase puts off {losses} of up to {total / 100:,.2f} USD on {wanted.underlying}"
        f" (30 days, until {last})."
    )
