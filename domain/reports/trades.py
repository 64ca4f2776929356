"""Closed positions as the trades that a person counts: the legs of a structure are one, and each says why it closed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from domain.instruments import Side
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


def signed_qty(position: Row) -> int:
    """Return how many contracts a position opened; below 0 where they were sold."""
    return Side(position["side"] or Side.BUY).sign * (position["opened_qty"] or 0)


def trade_of(legs: Sequence[Row]) -> Row:
    """Return the positions of one trade as one row, with `legs`: the positions themselves, the bought ones first.

    What they do not share is `None`, `qty` is signed, `exit_reasons` are those of all legs, each once; results and fees
    are summed, in cents.
    """
    ordered = sorted(({**leg, "qty": signed_qty(leg)} for leg in legs), key=lambda leg: leg["qty"] < 0)
    shared = {name: value if all(leg[name] == value for leg in ordered) else None for name, value in ordered[0].items()}
    return shared | {
        "realised_cents": sum(leg["realised_cents"] for leg in ordered),
        "fees_cents": sum(leg["fees_cents"] or 0 for leg in ordered),
        "opened_utc": min((leg["opened_utc"] for leg in ordered if leg["opened_utc"] is not None), default=None),
        "closed_utc": max(leg["closed_utc"] for leg in ordered),
        "exit_reasons": list(dict.fromkeys(
            reason for leg in ordered for reason in leg["exit_reasons"] or [leg["exit_reason"] or leg["end"]]
        )),
        "legs": ordered,
    }  # fmt: skip


def largest_fall(days: Iterable[tuple[Sequence[float], float | None]]) -> float:
    """Return the largest fall of P&L in a row of days, as a positive number.

    Args:
        days: of each, the results of its trades in the order of their ends, and the largest fall within it as the desk
            measured it, open positions marked (`None`: the day was not summed up, so the trades alone tell).

    Within a day it falls from the best since its start, over days from the best total of the days before; a day's start
    is such a best, too.
    """
    fall = total = 0.0
    best: float | None = None  # of the days before
    for results, marked in days:
        totals = list(accumulate(results, initial=0.0))
        within = max(high - low for high, low in zip(accumulate(totals, max), totals, strict=True))
        fall = max(fall, within if marked is None else marked)
        if best is not None:
            fall = max(fall, best - total - min(totals))
        best = max(best or 0.0, total + max(totals))
        total += totals[-1]
    return fall


def results_cents(trades: Iterable[Row]) -> list[int]:
    """Return the result of each trade in cents, net of fees."""
    return [sum(row["realised_cents"] for row in legs) for legs in by_structure(trades)]
