"""What the rows of a session add up to: pure functions over what the ledgers tell."""

from __future__ import annotations

from collections import Counter

from domain.reports.trades import results_cents
from domain.risk.reject import RejectCode
from storage.queries import Found


def figures_of(trades: list[Found], executions: list[Found]) -> dict[str, float]:
    """Count trades (a structure is one) and wins, and sum what entries paid beside the mid.

    `slippage_ticks` are over `slippage_n` contracts.
    """
    entries = [row for row in executions if row["slippage_ticks"] is not None]
    results = results_cents(trades)
    return {
        "n": len(results),
        "wins": sum(cents > 0 for cents in results),
        "slippage_n": sum(row["qty"] for row in entries),
        "slippage_ticks": sum(row["qty"] * row["slippage_ticks"] for row in entries),
    }


def refused_n(attempts: list[Found]) -> int:
    """Count the attempts that were refused; shadows are none, since nobody meant them to be traded."""
    return sum(row["code"] is not None and not row["is_shadow"] for row in attempts)


def counts_of(attempts: list[Found]) -> dict[str, int]:
    """Count attempts by the code that they ended with, most first: `accepted`, and shadows under that of the check."""
    counts = Counter(
        RejectCode.SHADOW_SIGNAL.value if row["is_shadow"] else row["code"] or row["amended_code"] or "accepted"
        for row in attempts
    )
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def approved_facts(attempts: list[Found], trades: list[Found], live: list[Found]) -> dict[str, int]:
    """Count what became of a session's approved attempts: `filled`, `working` (an entry order is out), `unfilled`."""
    approved, filled, working = fates(attempts, trades, live)
    return {"filled": len(filled), "working": len(working), "unfilled": len(approved - filled - working)}


def fates(attempts: list[Found], trades: list[Found], live: list[Found]) -> tuple[set[str], set[str], set[str]]:
    """Return the intents that were approved, those of them that filled, and those whose entry works."""
    approved = {row["intent_id"] for row in attempts if row["code"] is None and row["amended_code"] is None}
    bought = [row for row in trades if row["opened_qty"]] + [row for row in live if row["net_qty"]]
    filled = approved & {row["intent_id"] for row in bought}
    working = approved & {row["intent_id"] for row in live} - filled
    return approved, filled, working


def stage_of(day: Found | None, *, is_supervised: bool) -> str:
    """Return how far a day has come: `over` (its summary is written), `running` or `stopped`."""
    if day is not None and day["trades"] is not None:
        return "over"
    return "running" if is_supervised else "stopped"
