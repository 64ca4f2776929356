"""Why an attempt was refused, for people: where no contract passed, that is the refusal of the nearest one."""

from __future__ import annotations

from typing import Any

from domain.risk.reject import RejectCode
from domain.wording import measure_text

Row = dict[str, Any]  # of the gate log, as its reader gives it


def nearest_refusal(row: Row) -> Row | None:
    """Return the finding that refused the first candidate, the nearest to the delta that was wanted.

    `None` where no contract was tried, or the refusal is another one than that none passed.
    """
    if row["code"] != RejectCode.NO_CONTRACT:
        return None
    findings = (verdict["finding"] for verdict in row["verdicts"][:-1])
    return next((finding for finding in findings if finding.get("code")), None)


def code_text(row: Row) -> str | None:
    """Return the code that an attempt ended with, as `no_contract: illiquid`; `None` where it was approved."""
    code: str | None = row["amended_code"] or row["code"]
    nearest = nearest_refusal(row)
    return code if nearest is None else f"{code}: {nearest['code']}"


def refused_measure(row: Row) -> str:
    """Return what decided a refusal against its limit, in a trader's units; empty where nothing was measured."""
    nearest = nearest_refusal(row)
    if nearest is None:
        return measure_text(row["measured"], row["limit_value"], row["unit"], row["looked_at"])
    measure = measure_text(nearest.get("measured"), nearest.get("limit"), nearest.get("unit", ""))
    about = ", ".join(part for part in (measure, nearest.get("looked_at", "")) if part)
    tried = int(row["measured"] or 0)
    others = f"; {tried} contracts tried, none passed" if tried > 1 else ""
    return f"{about}{others}"
