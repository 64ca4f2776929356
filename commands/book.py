"""The simulated broker's own book at C-10 and at the close, which its server leaves in the run folder of a demo day.

What the settlement empties minutes later says nothing of whether a desk was flat.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from domain.instants import MS
from domain.limits import DayRules
from domain.position.day import DayMark
from domain.units import Qty
from simulation.broker.exchange import Exchange
from simulation.broker.portfolio import Position
from supervision.clock import MarketClock

LOOK_EVERY_S: Final = 0.02


class Held(msgspec.Struct, frozen=True):
    """What was held of one contract; `qty` is signed."""

    con_id: int
    label: str
    qty: Qty


class Book(msgspec.Struct):
    """What the broker held, by `DayMark`; an instant that has not come, or was not seen, is missing."""

    held: dict[str, tuple[Held, ...]] = {}

    def save(self, path: Path) -> None:
        """Write it in one step."""
        aside = path.with_suffix(".tmp")
        aside.write_bytes(msgspec.json.encode(self))
        aside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Book:
        """Return a saved book; an empty one where there is none that can be read."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return cls()


async def keep_book(exchange: Exchange, clock: MarketClock, rules: DayRules, path: Path) -> None:
    """Write down what the exchange holds at C-10 and what its settlement finds at the close, then end.

    A server that starts after C-10 leaves that one as an earlier one of the day has it.
    """
    book, close_utc = Book.load(path), exchange.market.close_utc
    verify_utc = close_utc - rules.verify_flat_ms * MS
    if clock.now_utc() < verify_utc:
        while clock.now_utc() < verify_utc:
            await asyncio.sleep(min(LOOK_EVERY_S, clock.real_wait_s(verify_utc)))
        book.held[DayMark.VERIFY.value] = _held(exchange, exchange.positions())
        _save(book, path)
    while exchange.held_at_close is None:
        await asyncio.sleep(LOOK_EVERY_S)
    book.held[DayMark.CLOSE.value] = _held(exchange, exchange.held_at_close)
    _save(book, path)


def _save(book: Book, path: Path) -> None:
    with contextlib.suppress(OSError):  # a full disk costs the record, and the report says that it is missing
        book.save(path)


def _held(exchange: Exchange, positions: Sequence[Position]) -> tuple[Held, ...]:
    found = []
    for position in positions:
        contract = exchange.market.contract(position.con_id)
        found.append(Held(position.con_id, str(position.con_id) if contract is None else contract.label, position.qty))
    return tuple(found)
