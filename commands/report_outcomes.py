"""What became of a session's alerts, for its report: a line each source, kind and version, every rate with its n."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import msgspec

from domain.signals.rates import Rate, rates_by_version
from storage.queries import LedgerReader


def outcome_facts(ledger: LedgerReader, session: date) -> list[dict[str, Any]]:
    """Return the rates of the session's alerts by source, kind, version and whether they were shadows.

    `alerts` counts all of them; those without an outcome on record are under way (`followed`).
    """
    counts = Counter(
        (row["source"], row["kind"], row["version"], bool(row["is_shadow"])) for row in ledger.alerts(session)
    )
    rates = rates_by_version(ledger.outcomes(session))
    found = []
    for name in sorted(counts):
        rate = rates.get(name)
        told = {} if rate is None else msgspec.to_builtins(rate)
        over = 0 if rate is None else rate.n + rate.unresolved
        source, kind, version, is_shadow = name
        of_alerts = {"source": source, "kind": kind, "version": version, "is_shadow": is_shadow, "alerts": counts[name]}
        found.append(of_alerts | told | {"followed": counts[name] - over})
    return found


def outcome_lines(found: list[dict[str, Any]]) -> list[str]:
    """Return the lines for people."""
    lines = []
    for row in found:
        what = "shadow" if row["is_shadow"] else "alert"
        parts = [f"{row['alerts']} {what}{'s' * (row['alerts'] != 1)}"]
        if row.get("n"):
            rate = msgspec.convert({name: row[name] for name in Rate.__struct_fields__}, Rate)
            parts.append(f"target first {rate.wins} of {rate.n} ({rate.lower:.2f}–{rate.upper:.2f})")
        parts += [f"{row['unresolved']} unmeasured"] if row.get("unresolved") else []
        parts += [f"{row['followed']} under way"] if row["followed"] else []
        lines.append(f"  {row['source']} {row['kind']}-{row['version']}: {', '.join(parts)}")
    return lines
