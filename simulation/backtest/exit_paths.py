"""The paths of a desk's closed positions, from its ledger and the recorded quotes of their contracts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

import numpy as np

from domain.instants import MINUTE, MS
from domain.position.cycle import ExitReason
from domain.position.exit_paths import ExitPath
from simulation.backtest.recorded import Column, RecordedDay
from storage.queries import Found

FOLLOWED_NS: Final = 60 * MINUTE  # after the entry
# What other levels change. Any other exit ends the path where it ended the position.
_OF_LEVELS: Final = frozenset({ExitReason.TAKE_PROFIT.value, ExitReason.MAX_HOLD.value})
_CENTS_A_TICK: Final = 100  # of one contract: 1/100 USD a share, a hundred shares


def paths_of(day: RecordedDay, trades: Iterable[Found], executions: Iterable[Found]) -> tuple[list[ExitPath], int]:
    """Return the paths of a session's closed long positions by closing, and of how many there is no quote.

    `trades` and `executions` are the ledger's of that session.
    """
    bought = _bought(executions)
    found, missing = [], 0
    for row in trades:
        paid = bought.get(row["order_ref"])
        if paid is None:
            continue  # not opened by a purchase of ours: never filled, a spread's sold leg, or adopted
        column = day.columns.get(row["con_id"])
        path = None if column is None else _path(day.session, row, paid, column)
        if path is None:
            missing += 1
        else:
            found.append(path)
    return found, missing


def _bought(executions: Iterable[Found]) -> dict[str, tuple[int, int]]:
    """Return by entry order what was bought: contracts, and the sum of their prices in ticks."""
    found: dict[str, tuple[int, int]] = {}
    for row in executions:
        if row["side"] == "BUY" and row["is_exit"] == 0:
            qty, ticks = found.get(row["order_ref"], (0, 0))
            found[row["order_ref"]] = (qty + row["qty"], ticks + row["qty"] * row["price_ticks"])
    return found


def _path(session: date, row: Found, paid: tuple[int, int], column: Column) -> ExitPath | None:
    qty, ticks = paid
    average, cost_cents = ticks / qty, ticks * _CENTS_A_TICK
    opened, closed = row["opened_utc"], row["closed_utc"]
    is_free = row["exit_reason"] in _OF_LEVELS
    end = opened + FOLLOWED_NS if is_free else min(closed, opened + FOLLOWED_NS)
    looks = [
        ((at - opened) // MS, (bid + ask) / 2 / average - 1, bid / average - 1)
        for at, bid, ask in zip(column.at_utc, column.bid, column.ask, strict=True)
        if opened < at <= end and 0 < bid < ask
    ]
    if not is_free and closed <= opened + FOLLOWED_NS:
        gain = (row["realised_cents"] + row["fees_cents"]) / cost_cents
        looks.append(((closed - opened) // MS, gain, gain))
    if not looks:
        return None
    at_ms, mid, bid = zip(*looks, strict=True)
    return ExitPath(
        session=session, ticker=row["ticker"], cost_cents=cost_cents, at_ms=np.array(at_ms, np.int64),
        mid=np.array(mid, np.float64), bid=np.array(bid, np.float64),
    )  # fmt: skip
