"""Which reading of a day came nearest to an alert without becoming one: for people, never for a decision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from domain.instants import MINUTE
from domain.signals.evaluator import Evaluator, Reading
from domain.units import Utc

LEAD_NS: Final = 5 * MINUTE  # readings this shortly before an alert led up to it, and are no misses


class Miss(msgspec.Struct, frozen=True):
    """A reading without an alert; where `distance_bps` is 0, only `why` stood in the way (`None`: nothing was said)."""

    reading: Reading
    distance_bps: float
    why: str | None


def nearest_miss(evaluator: Evaluator[Any, Any], readings: Iterable[Reading]) -> Miss | None:
    """Return the reading that came nearest, the first of equals; `None` where no distance is known.

    The evaluator begins unarmed, as at the start of a day; readings come in the order of their buckets.
    """
    state, last = evaluator.initial(None), Utc(0)
    misses: list[Miss] = []
    alerts: list[Utc] = []
    for reading in readings:
        if reading.bucket_utc <= last:
            continue
        last = reading.bucket_utc
        distance = evaluator.distance_bps(state, reading)
        judged = evaluator.evaluate(state, reading)
        state = judged.state
        if judged.terms is not None:
            alerts.append(reading.bucket_utc)
        elif distance is not None:
            misses.append(Miss(reading, distance, judged.why))
    real = (m for m in misses if not any(0 < alert - m.reading.bucket_utc <= LEAD_NS for alert in alerts))
    return min(real, key=lambda miss: miss.distance_bps, default=None)
