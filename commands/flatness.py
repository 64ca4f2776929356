"""Whether a day was flat, by the broker: what it held 10 min before the close, and at the close before it settled.

Our own ledger cannot say it (a build whose exits fail believes what it likes), nor the book after the settlement, which
empties it. A demo is judged by the simulated broker's own book, a real day by what the broker told the order session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any, Final

import msgspec

from commands.book import Book, Held
from commands.held import contract_of
from domain.instants import exchange_clock
from domain.position.day import DayMark
from messages.positions import HoldingsChecked
from storage.queries import Found

MARKS: Final = {DayMark.VERIFY: "10 min before the close", DayMark.CLOSE: "at the close"}


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker held at an instant; `is_known` is False where it could not be read."""

    mark: DayMark
    is_known: bool
    held: tuple[Held, ...]
    by: str

    @property
    def sentence(self) -> str:
        """Return it for people."""
        when = MARKS[self.mark]
        if not self.is_known:
            return f"{when}: not known, the broker could not be read"
        if not self.held:
            return f"{when}: the broker held nothing ({self.by})"
        return f"{when}: NOT FLAT, the broker held {', '.join(f'{h.qty} {h.label}' for h in self.held)} ({self.by})"


def looks_of_book(book: Book) -> list[Look]:
    """Return what a simulated broker wrote down; everything in its account is the demo's."""
    return [
        Look(mark=mark, is_known=True, held=book.held[mark.value], by="its own book")
        for mark in MARKS
        if mark.value in book.held
    ]


def looks_of_trace(
    messages: Iterable[dict[str, Any]], session: date, contracts: Mapping[int, Found]
) -> list[Look]:  # fmt: skip
    """Return what the broker told the order session, from `positions.HoldingsChecked`; the last word of each counts.

    `contracts` are ours; what else the account holds is not the desk's.
    """
    found: dict[DayMark, Look] = {}
    for message in messages:
        try:
            checked = msgspec.convert(message, HoldingsChecked)
        except msgspec.ValidationError:
            continue  # damaged: the look is missing then, and that is said
        if checked.session != session or checked.mark not in MARKS:
            continue
        ours = [(con_id, qty) for con_id, qty in checked.positions if con_id in contracts]
        held = tuple(Held(con_id, contract_of(contracts[con_id]), qty) for con_id, qty in ours)
        by = f"its word of {exchange_clock(checked.read_utc)} New York, and what it told since"
        found[checked.mark] = Look(mark=checked.mark, is_known=checked.is_known, held=held, by=by)
    return [found[mark] for mark in MARKS if mark in found]


def was_flat(looks: Collection[Look], *, had_positions: bool) -> bool | None:
    """Return whether the broker found the day flat at both instants; `None` where that is not known.

    A day without a position of ours needs no look at the close.
    """
    if any(look.held for look in looks):
        return False
    known = {look.mark for look in looks if look.is_known}
    return True if DayMark.CLOSE in known or not had_positions else None
