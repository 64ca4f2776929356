"""Judges a simulated broker's journal beside a desk's ledger: pure, entry by entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec

from domain.instruments import Side
from domain.orders.references import is_exit_ref, position_of
from domain.units import Cents
from simulation.broker.kept import Entry
from simulation.broker.orders import TERMINAL


class Life(msgspec.Struct):
    """An order's life at the broker, in entries of the journal: from the first to the one that ended it."""

    order_ref: str
    perm_id: int
    con_id: int
    side: Side
    first: int
    last: int | None = None

    def overlaps(self, other: Life) -> bool:
        """Return whether both were live at one instant."""
        return _before(self.first, other.last) and _before(other.first, self.last)


class Verdict(msgspec.Struct):
    """What the broker's journal holds, and the counts of what must not be."""

    orders: int = 0
    executions: int = 0
    broker_cents: Cents = Cents(0)
    ledger_cents: Cents = Cents(0)
    lost: int = 0
    invented: int = 0
    doubled: int = 0
    misread: int = 0
    sent_twice: int = 0
    two_of_an_intent: int = 0
    two_exits: int = 0
    oversold: int = 0
    working_at_close: int = 0
    held_at_close: int = 0

    @property
    def faults(self) -> dict[str, int]:
        """Return every count that must be 0."""
        return {
            "executions lost": self.lost,
            "executions invented": self.invented,
            "executions doubled": self.doubled,
            "executions with another side, quantity, price or fee": self.misread,
            "orders sent twice": self.sent_twice,
            "two live orders of an intent": self.two_of_an_intent,
            "two live exits of a contract": self.two_exits,
            "short positions": self.oversold,
            "orders working at the close": self.working_at_close,
            "contracts held at the close": self.held_at_close,
            "cents between broker and ledger": abs(self.broker_cents - self.ledger_cents),
        }


def judge(
    entries: Sequence[Entry], executions: Sequence[Mapping[str, Any]], trades: Iterable[Mapping[str, Any]],
    start_cents: Cents,
) -> Verdict:  # fmt: skip
    """Return what is wrong between a journal that is whole and what the ledger's reader says of the same session."""
    lives = lives_of(entries)
    end = next((n for n, entry in enumerate(entries) if entry.held_at_close is not None), None)
    theirs = {e.exec_id.rpartition(".")[0]: (e, c) for entry in entries for e, c in entry.executions}
    ours = Counter(row["exec_id"] for row in executions)
    refs = Counter(life.order_ref for life in lives)
    settled = () if end is None else entries[end].held_at_close or ()
    return Verdict(
        orders=len(lives),
        executions=len(theirs),
        broker_cents=Cents((entries[-1].cash_cents if entries else start_cents) - start_cents),
        ledger_cents=Cents(sum(row["realised_cents"] or 0 for row in trades)),
        lost=len(theirs.keys() - ours.keys()),
        invented=len(ours.keys() - theirs.keys()),
        doubled=sum(n - 1 for n in ours.values()),
        misread=sum(_differs(row, theirs[row["exec_id"]]) for row in executions if row["exec_id"] in theirs),
        sent_twice=sum(n - 1 for n in refs.values()),
        two_of_an_intent=_overlaps(lives, lambda life: (position_of(life.order_ref), is_exit_ref(life.order_ref))),
        two_exits=_overlaps([life for life in lives if life.side is Side.SELL], lambda life: life.con_id),
        oversold=sum(position.qty < 0 for entry in entries for position in entry.positions),
        working_at_close=sum(life.last is None or life.last == end for life in lives),
        held_at_close=len(settled),
    )


def lives_of(entries: Sequence[Entry]) -> list[Life]:
    """Return every order that the broker took, by its first entry."""
    found: dict[tuple[int, int], Life] = {}
    for n, entry in enumerate(entries):
        for working in entry.orders:
            order = working.order
            life = found.setdefault(
                (order.client_id, order.order_id),
                Life(order.order_ref, order.perm_id, order.con_id, order.side, first=n),
            )
            if life.last is None and working.status in TERMINAL:
                life.last = n
    return list(found.values())


def _overlaps(lives: Iterable[Life], key: Callable[[Life], Hashable]) -> int:
    groups: dict[Hashable, list[Life]] = {}
    for life in lives:
        groups.setdefault(key(life), []).append(life)
    return sum(a.overlaps(b) for group in groups.values() for a, b in combinations(group, 2))


def _before(first: int, last: int | None) -> bool:
    return last is None or first < last


def _differs(row: Mapping[str, Any], theirs: tuple[Any, Any]) -> bool:
    execution, commission = theirs
    broker = execution.order.side.value, execution.qty, execution.price_ticks, commission.fee_cents
    return (row["side"], row["qty"], row["price_ticks"], row["fee_cents"]) != broker
