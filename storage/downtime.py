"""The time in which no supervisor ran, as gaps.

The first bucket of a hub after a start tells what lies before it; the close, what came after the last one.
"""

from __future__ import annotations

from pathlib import Path

from domain.instants import BUCKET_NS
from domain.market.silence import WhySilent
from domain.session import calendar
from domain.units import Utc
from messages import market
from storage.manifest import Entry, Manifest, Silence
from storage.recovery import expected_pairs


def downtime_before(found: Manifest, message: market.StoreBucket) -> Entry | None:
    """Return the gap between what was stored of a hub's session before and its first bucket after a start.

    `None` where nothing is missing, and where nothing was stored: what was never begun is not missing.
    """
    hub = message.hub
    from_utc = _known_until(found, hub) or message.bucket_utc
    buckets_n = (message.bucket_utc - from_utc) // BUCKET_NS
    if buckets_n <= 0:
        return None
    rows = ((row.profile.ticker, row.profile.category) for row in message.rows.rows)
    pairs = tuple(dict.fromkeys((*rows, *message.absent)))
    return Entry(hub, from_utc, silent=(Silence(pairs, WhySilent.SUPERVISOR_DOWN.value, buckets_n=buckets_n),))


def downtime_until_close(folder: Path, found: Manifest) -> list[Entry]:
    """Return the gaps between what is known of each hub of a day and its close; none of a hub that never began.

    Raises:
        OSError: the folder cannot be read.
    """
    day, entries = calendar.day(found.session), []
    for hub in found.buckets if day is not None else ():
        from_utc = _known_until(found, hub)
        buckets_n = 0 if from_utc is None or day is None else (day.close_utc - from_utc) // BUCKET_NS
        if from_utc is not None and buckets_n > 0:
            pairs = expected_pairs(folder, found, hub, Utc(from_utc - BUCKET_NS))
            silence = Silence(pairs, WhySilent.SUPERVISOR_DOWN.value, buckets_n=buckets_n)
            entries.append(Entry(hub, from_utc, silent=(silence,)))
    return entries


def _known_until(found: Manifest, hub: str) -> Utc | None:
    """Return up to when a hub's rows and gaps are known; `None` where nothing is."""
    known = [
        *(bucket.bucket_utc + BUCKET_NS for bucket in found.buckets.get(hub, ())),
        *(gap.to_utc for gap in found.gaps if gap.hub == hub),
    ]
    return Utc(max(known)) if known else None
