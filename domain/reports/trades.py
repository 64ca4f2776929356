"""Closed positions as the trades that a person counts: the legs of a structure are one, and each says why it closed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from domain.wording import reasons_text

Row = dict[str, Any]  # of a ledger, as its reader gives it


def exit_reasons(executions: Iterable[Row], trade: Row) -> list[str]:
    """Return why the parts of a closed position were closed, in the order of their fills, each once."""
    of_trade = (row for row in executions if (row["intent_id"], row["con_id"]) == (trade["intent_id"], trade["con_id"]))
    return list(dict.fromkeys(row["exit_reason"] for row in of_trade if row["is_exit"] and row["exit_reason"]))


def closing_text(trade: Row, reasons: Sequence[str]) -> str:
    """Return why a position was closed, in words: `reasons` of its parts, else its own, else how it ended."""
    return reasons_text(reasons or [trade["exit_reason"] or trade["end"]])


def by_structure(trades: Iterable[Row]) -> list[list[Row]]:
    """Return the positions of each trade, in the order of their first legs; what was never filled is none."""
    found: dict[str, list[Row]] = {}
    for row in trades:
        if row["opened_qty"]:
            found.setdefault(row["structure_id"] or row["position_id"], []).append(row)
    return list(found.values())


def results_cents(trades: Iterable[Row]) -> list[int]:
    """Return the result of each trade in cents, net of fees."""
    return [sum(row["realised_cents"] for row in legs) for legs in by_structure(trades)]
