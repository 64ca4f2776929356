"""An alert as the ledger keeps it, for people: what was found, which feature pushed which force, what it came to.

For an alert whose trace is gone; a trace tells more (`main.py why`).
"""

from __future__ import annotations

from typing import Any, Final

from commands.lines import wrapped
from domain.instants import exchange_clock
from domain.reports.alerts import found_text
from domain.signals.alert import AlertKey
from domain.signals.outcome import First, Outcome, OutcomeState
from domain.wording import number_text
from storage.queries import Found, LedgerReader

_INDENT: Final = 36  # of what pushed


def alert_lines(ledger: LedgerReader, ref: str) -> list[str] | None:
    """Return what the ledger knows of an alert; `None` where it is no alert id, or none on record.

    Raises:
        LedgerRefusedError: the ledger cannot be read.
    """
    try:
        session = AlertKey.parse(ref).session
    except ValueError:
        return None
    row = next((row for row in ledger.alerts(session) if row["alert_id"] == ref), None)
    if row is None:
        return None
    outcome = next((one for one in ledger.outcomes(session) if one.alert.key.alert_id == ref), None)
    return [_found(row), *push_lines(row), _thresholds(row), _outcome(outcome)]


def push_lines(row: Found) -> list[str]:
    """Return a line a force, and the alignment; what pushed is left out where it was recorded by an older version."""
    lines: list[str] = []
    pushes: list[list[Any]] = row["pushes"] or []
    for force in row["forces"]:
        told = [push for push in pushes if push[0] == force["name"]]
        text = ", ".join(f"{name} {number_text(value)} {push:+.2f}" for _, name, value, push in told)
        head = f"    {force['name']:<10}{force['score']:+.2f}  sure {force['confidence']:.2f}"
        lines += wrapped(text or "–", _INDENT, first=f"{head:<{_INDENT - 1}} ")
    alignment = "not defined" if row["alignment"] is None else f"{row['alignment']:+.2f}"
    return [*lines, f"    alignment {alignment}"]


def _found(row: Found) -> str:
    what = "a shadow" if row["is_shadow"] else "may trade"
    at = exchange_clock(row["raised_utc"])
    return f"{at}  {found_text(row, has_levels=True)}, {what}"


def _thresholds(row: Found) -> str:
    return f"    thresholds {', '.join(f'{name} {number_text(value)}' for name, value in row['thresholds'])}"


def _outcome(outcome: Outcome | None) -> str:
    if outcome is None:
        return "    outcome: not over, or not on record"
    if outcome.state is OutcomeState.UNRESOLVED:
        return "    outcome: not measured (a gap)"
    reached_ms = {First.TARGET: outcome.target_ms, First.STOP: outcome.stop_ms, First.NEITHER: None}[outcome.first]
    when = "" if reached_ms is None else f" after {reached_ms / 60_000:g} min"
    return (
        f"    outcome: {outcome.first.value}{when}; with it {outcome.mfe_bps:.1f} bps ({outcome.mfe_stops:.1f} stops),"
        f" against it {outcome.mae_bps:.1f} bps ({outcome.mae_stops:.1f} stops)"
    )
