"""Wash sales: a loss is put off as far as the same thing was bought within 30 days before or after its sale.

The loss that is disallowed is added to the basis of the replacement, whose holding period begins as many days earlier
as the sold contracts were held (26 U.S.C. 1091; 26 CFR 1.1091-1 and -2: replacements in the order of their purchase,
each contract once). What was bought by the order that bought what was sold is no replacement (Rev. Rul. 56-602), nor is
what had been sold by then. Which options are "substantially identical" the law leaves open: `Identical` is a choice.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, assert_never

from domain.tax.lots import Piece, Security, Trade, part
from domain.units import Cents, Qty

WINDOW: Final = timedelta(days=30)
_NOTHING: Final = Cents(0)


class Identical(StrEnum):
    """Which securities count as substantially identical."""

    CONTRACT = "contract"  # the same contract alone, as brokers report it
    RIGHT = "right"  # all calls of an underlying, and all its puts
    UNDERLYING = "underlying"  # everything on an underlying


def group_of(security: Security, identical: Identical) -> tuple[object, ...]:
    """Return what securities have in common that replace each other."""
    match identical:
        case Identical.CONTRACT:
            return (security,)
        case Identical.RIGHT:
            return security.underlying, security.right
        case Identical.UNDERLYING:
            return (security.underlying,)
        case _:
            assert_never(identical)


def is_within(sold: date, bought: date) -> bool:
    """Return whether a purchase is within 30 days before or after a sale."""
    return abs(sold - bought) <= WINDOW


@dataclass(slots=True, eq=False)
class Adjusted:
    """A piece with what wash sales did to it.

    `added_cents` was added to its basis for losses put off before, `disallowed_cents` of its own loss is put off,
    `held_before` is how long the contracts that it replaces were held; `is_done`: its closing has been looked at.
    """

    piece: Piece
    added_cents: Cents = _NOTHING
    disallowed_cents: Cents = _NOTHING
    held_before: timedelta = timedelta(0)
    is_replacement: bool = False
    is_done: bool = False
    replaced_by: list[str] = field(default_factory=list)

    @property
    def acquired(self) -> date:
        """The day from which its holding period counts."""
        return self.piece.opened_by.session - self.held_before

    @property
    def raw_cents(self) -> Cents:
        """Its gain with what was added to its basis, before its own loss is put off."""
        return Cents(self.piece.gain_cents - self.added_cents)

    @property
    def gain_cents(self) -> Cents:
        """Its gain as it counts."""
        return Cents(self.raw_cents + self.disallowed_cents)


def washed(pieces: Iterable[Piece], identical: Identical) -> list[Adjusted]:
    """Apply the rule to pieces of `matched`; closed ones come in the order of their closing, open ones last.

    A piece of which only a part replaces something comes as two. The sum of all gains and of what is added to what is
    still open is the sum of all raw gains.
    """
    groups: dict[tuple[object, ...], list[Adjusted]] = defaultdict(list)
    for piece in pieces:
        opened = piece.opened_by
        groups[(*group_of(opened.security, identical), opened.side)].append(Adjusted(piece))
    found = [adjusted for group in groups.values() for adjusted in _washed_group(group)]
    return sorted(found, key=_by_closing)


def _by_closing(adjusted: Adjusted) -> tuple[bool, int, str, int, str]:
    closed, opened = adjusted.piece.closed_by, adjusted.piece.opened_by
    when = (True, 0, "") if closed is None else (False, closed.at_utc, closed.trade_id)
    return *when, opened.at_utc, opened.trade_id


def _by_opening(adjusted: Adjusted) -> tuple[date, int, str, tuple[bool, int, str, int, str]]:
    opened = adjusted.piece.opened_by
    return opened.session, opened.at_utc, opened.trade_id, _by_closing(adjusted)


def _washed_group(group: list[Adjusted]) -> list[Adjusted]:
    to_close = sorted(group, key=_by_closing, reverse=True)  # the next one is the last
    bought = sorted(group, key=_by_opening)
    done: list[Adjusted] = []
    while to_close:
        sold = to_close.pop()
        sold.is_done = True
        done.append(sold)
        is_loss = sold.piece.closed_by is not None and sold.raw_cents < 0
        if is_loss and (cut := _put_off(sold, bought)) is not None:
            replacement, rest = cut
            to_close.insert(to_close.index(replacement), rest)
    return done


def _put_off(sold: Adjusted, bought: list[Adjusted]) -> tuple[Adjusted, Adjusted] | None:
    """Move a loss to its replacements, the first bought first; return the one that was cut with its rest."""
    closed = sold.piece.closed_by
    assert closed is not None
    unmatched, loss = sold.piece.qty, Cents(-sold.raw_cents)
    cut: tuple[Adjusted, Adjusted] | None = None
    for n in range(bisect_left(bought, closed.session - WINDOW, key=_opened_on), len(bought)):
        replacement = bought[n]
        if not unmatched or not is_within(closed.session, _opened_on(replacement)):
            break
        if not _replaces(replacement, sold, closed):
            continue
        taken = min(unmatched, replacement.piece.qty)
        if taken < replacement.piece.qty:
            cut = replacement, _split_off(replacement, taken)
        moved = part(loss, taken, unmatched)
        replacement.added_cents = moved
        replacement.held_before = closed.session - sold.acquired
        replacement.is_replacement = True
        sold.disallowed_cents = Cents(sold.disallowed_cents + moved)
        sold.replaced_by.append(replacement.piece.opened_by.trade_id)
        unmatched, loss = Qty(unmatched - taken), Cents(loss - moved)
    if cut is not None:
        bought.insert(bought.index(cut[0]) + 1, cut[1])
    return cut


def _opened_on(adjusted: Adjusted) -> date:
    return adjusted.piece.opened_by.session


def _replaces(other: Adjusted, sold: Adjusted, sale: Trade) -> bool:
    if other.is_done or other.is_replacement or other.piece.opened_by.order_key == sold.piece.opened_by.order_key:
        return False
    closed = other.piece.closed_by
    return closed is None or closed.order_key != sale.order_key  # what the same order sold is not kept


def _split_off(whole: Adjusted, qty: Qty) -> Adjusted:
    """Cut a piece down to `qty` and return the rest."""
    piece = whole.piece
    opened, closed = part(piece.open_cents, qty, piece.qty), part(piece.close_cents, qty, piece.qty)
    rest = Piece(
        piece.opened_by, piece.closed_by, Qty(piece.qty - qty), Cents(piece.open_cents - opened),
        Cents(piece.close_cents - closed),
    )  # fmt: skip
    whole.piece = Piece(piece.opened_by, piece.closed_by, qty, opened, closed)
    return Adjusted(rest)
