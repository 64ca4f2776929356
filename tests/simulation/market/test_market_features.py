"""The simulated market says enough for every feature: by mid-afternoon none of a whole ticker is missing."""

from __future__ import annotations

from datetime import date

import pytest

from domain.features.evidence import evidence_of
from domain.features.frames import live, packed
from domain.features.measures import with_measures
from domain.instants import BUCKET_NS, SECOND, at_exchange
from domain.options.profile import Row
from domain.session import calendar
from domain.signals.registry import FEATURES
from domain.signals.snapshot import reduced
from domain.units import Utc
from simulation.market.market import CATEGORIES, Market

SESSION = date(2026, 11, 20)
LOOKS_BACK = 130  # readings: the longest lag is an hour


@pytest.mark.slow
def test_at_three_in_the_afternoon_no_feature_is_missing() -> None:
    day = calendar.day(SESSION)
    assert day is not None
    market = Market(7, SESSION, snapshot_s=10)
    until_utc = at_exchange(SESSION, calendar.CLOSE) - 60 * 60 * SECOND
    snapshots = []
    for n in reversed(range(LOOKS_BACK)):
        bucket_utc = Utc(until_utc - (n + 1) * BUCKET_NS)
        market.step(Utc(bucket_utc + BUCKET_NS - SECOND))
        profiles = [market.profile("SPX", category) for category in CATEGORIES]
        rows = tuple(Row(profile, "hub", 1, bucket_utc, bucket_utc) for profile in profiles)
        snapshots.append(with_measures(reduced(bucket_utc, rows), rows, day))
    evidence = evidence_of(live(packed(snapshots), snapshots[-1].bucket_utc, day))
    assert [f.name for f, value in zip(FEATURES, evidence.features, strict=True) if value is None] == []
    assert {force.confidence for force in evidence.forces} == {1.0}
    assert evidence.alignment is not None
