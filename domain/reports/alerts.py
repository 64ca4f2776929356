"""An alert on record as people read it: which way from which price, of a spread its terms."""

from __future__ import annotations

from typing import Any, Final

from domain.signals.alert import UP
from domain.signals.spread import SOURCE
from domain.wording import usd_text

Row = dict[str, Any]  # of the alerts, as their reader gives it; or an alert of a trace with its key's `source`
# The strikes that are recorded with a spread's alert: of the bought and of the sold leg, as calls and as puts.
_LEGS: Final = (
    (("cover_strike", "spx_strike"), "call", "bought"),
    (("short_strike", "spy_strike"), "call", "sold"),
    (("cover_put_strike",), "put", "bought"),
    (("short_put_strike",), "put", "sold"),
)


def found_text(row: Row, *, has_levels: bool = False) -> str:
    """Return what an alert found, as `up at 6000.00`; `has_levels`: with target and stop, where it has them.

    A spread has no way and no levels that anything leaves at: it says its credit and its strikes instead, as they were
    recorded with it (in USD).
    """
    at = f"{row['entry_ticks'] / 100:.2f}"
    if row["source"] == SOURCE:
        return f"SPX at {at}{_terms(dict(row['thresholds'] or ()))}"
    levels = "".join(
        f", {name} {row[field] / 100:.2f}"
        for name, field in (("target", "target_ticks"), ("stop", "stop_ticks"))
        if has_levels and row.get(field) is not None
    )
    return f"{'up' if row['direction'] == UP else 'down'} at {at}{levels}"


def _terms(recorded: dict[str, float]) -> str:
    parts = []
    if "credit" in recorded:
        parts.append(f"credit {usd_text(recorded['credit'] * 100)} net of fees")
    if "edge" in recorded:
        parts.append(f"edge {usd_text(recorded['edge'] * 100)}")
    for names, right, done in _LEGS:
        strike = next((recorded[name] for name in names if name in recorded), None)
        if strike is not None:
            parts.append(f"{right} {strike:g} {done}")
    return "".join(f", {part}" for part in parts)
