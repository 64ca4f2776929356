"""What became of a session's alerts and shadows of exits, for its report: a line each, every rate with its n."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import msgspec

from domain.position.profiles import Other
from domain.signals.rates import Rate, rates_by_version, share_of
from domain.wording import usd_text
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


def exit_facts(ledger: LedgerReader, session: date) -> list[dict[str, Any]]:
    """Return what the shadows of exit profiles would have made of the session's positions, by profile; no fees."""
    of_profile: dict[Other, list[dict[str, Any]]] = {}
    for row in ledger.shadow_exits(session):
        of_profile.setdefault(Other(row["kind"], row["version"]), []).append(row)
    found = []
    for profile, rows in sorted(of_profile.items()):
        own = [row for row in rows if row["shadow_reason"] is not None]
        share = share_of(sum(row["shadow_cents"] > row["fixed_cents"] for row in own), len(own))
        sums = {name: sum(row[name] for row in rows) for name in ("fixed_cents", "shadow_cents")}
        found.append({"profile": profile.name, "positions": len(rows), **msgspec.to_builtins(share), **sums})
    return found


def exit_lines(found: list[dict[str, Any]]) -> list[str]:
    """Return the lines for people."""
    lines = []
    for row in found:
        made = f"{usd_text(row['shadow_cents'])} at the bid where {usd_text(row['fixed_cents'])} was made, before fees"
        share = f"more in {row['wins']} of {row['n']} ({row['lower']:.2f}–{row['upper']:.2f})" if row["n"] else ""
        parts = [f"{row['positions']} position{'s' * (row['positions'] != 1)}", made, *filter(None, (share,))]
        lines.append(f"  {row['profile']} would have: {', '.join(parts)}")
    return lines
