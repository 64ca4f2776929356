"""What a spread came to, from both its legs. Money in cents; the day's figures are the desk's, where it counts once."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain.position.cycle import ExitReason
from domain.units import Cents, Utc


class LegResult(msgspec.Struct, frozen=True):
    """One leg at its end, or so far; `realised_cents` is net of `fees_cents`."""

    realised_cents: Cents
    fees_cents: Cents


class SpreadResult(msgspec.Struct, frozen=True, kw_only=True):
    """One closed spread; `realised_cents` is net of `fees_cents`."""

    structure_id: str
    realised_cents: Cents
    fees_cents: Cents
    reason: ExitReason | None
    closed_utc: Utc


def result_of(structure_id: str, legs: Iterable[LegResult], reason: ExitReason | None, closed_utc: Utc) -> SpreadResult:
    """Return the result of a spread from those of its legs."""
    ended = tuple(legs)
    return SpreadResult(
        structure_id=structure_id,
        realised_cents=Cents(sum(leg.realised_cents for leg in ended)),
        fees_cents=Cents(sum(leg.fees_cents for leg in ended)),
        reason=reason,
        closed_utc=closed_utc,
    )
