"""A day's readings in columns are those of its published profiles, to the last bit."""

from __future__ import annotations

from collections import Counter
from datetime import date

import numpy as np
import pytest

from domain.features.frames import session_columns
from domain.features.measures import with_measures
from domain.instants import BUCKET_NS, MINUTE
from domain.options.profile import Row
from domain.session import calendar
from domain.signals.snapshot import reduced
from domain.units import Utc
from simulation.market import profiles
from simulation.market.market import Market
from simulation.market.readings import readings_of
from simulation.market.style import ANCHORED, Kind, Nature

HALF_DAY = date(2026, 11, 27)
LOOKED_AT = (
    "classic_gex_zero", "state_gex_zero", "state_gamma_zero", "state_vanna_zero", "state_charm_zero",
    "state_vanna_one", "state_charm_one", "orderflow_orderflow",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nature", "ticker"), [(Nature(Kind.HONEST, 0.0), "SPX"), (Nature(Kind.HONEST), "SPX"), (ANCHORED, "NVDA")]
)
def test_a_day_in_columns_says_what_its_published_profiles_say(nature: Nature, ticker: str) -> None:
    day = calendar.day(HALF_DAY)
    assert day is not None and day.is_half
    market = Market(7, HALF_DAY, (ticker,), snapshot_s=30, nature=nature)
    snapshots = []
    for n in range(day.buckets):
        bucket_utc = Utc(day.open_utc + n * BUCKET_NS)
        market.step(Utc(bucket_utc + BUCKET_NS - 1))
        rows = [Row(market.profile(ticker, name), "hub", 1, bucket_utc, bucket_utc) for name in LOOKED_AT]
        snapshots.append(with_measures(reduced(bucket_utc, rows), rows, day))
    published = session_columns(snapshots, day)
    at_once = readings_of(*Market(7, HALF_DAY, (ticker,), nature=nature).made_of(ticker), day)
    np.testing.assert_array_equal(at_once, published, strict=True)
    assert np.isfinite(at_once).any(axis=1).sum() > 30


def test_a_minute_is_computed_once_though_priors_come_back_to_it_for_half_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed = Counter[int]()
    make = profiles._Instant.__init__

    def counted(self: profiles._Instant, *arguments: object) -> None:
        make(self, *arguments)
        computed[self.second] += 1

    monkeypatch.setattr(profiles._Instant, "__init__", counted)
    market = Market(3, HALF_DAY, ("SPX",))
    for minute in range(45):
        market.step(Utc(market.open_utc + minute * MINUTE))
        market.profile("SPX", "classic_gex_zero")
    assert set(computed.values()) == {1}
