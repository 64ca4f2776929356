"""A simulated week of a holiday: the lanes' actors live, and the alerts of what was stored in columns, are one list."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from actors.reading import ReadingActor, ReadingState
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS
from domain.options.profile import Row, Rows
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.signals.alerts import evaluators_of
from domain.signals.columns import Found, Lane, Memory, alerts_in
from domain.units import Utc
from messages import market, signals
from simulation.market.from_settings import nature_of
from simulation.market.market import Market
from storage.reading_columns import stored_days
from storage.series import Series, seal
from storage.series_reader import SeriesReader
from tests.testkit.lane_days import as_recorded, lived, recorded
from tests.testkit.probe import Probe

pytestmark = pytest.mark.slow

MONDAY = date(2026, 11, 23)  # Thursday is a holiday, Friday a half day
TICKER = "SPX"
SILENT = range(300, 320)  # a hub that is silent for ten minutes
DOWN = range(200, 212)  # nobody ran
# So loose that a week has alerts of several kinds.
SETTINGS = load_settings(profile="real", overrides={
    "lanes": {"gexwatch": [TICKER], "advisor": [TICKER]},
    "alert_rules": {
        "GAMMA_FLIP": {"hysteresis_bps": 2.0},
        "CASCADE_WATCH": {
            "alignment_min": 0.05, "gamma_max": 0.5, "near_moves": 3.0, "pace_bps": 2.0, "flow_z_min": 0.0,
        },
        "CHARM_SQUEEZE": {"alignment_min": 0.05, "charm_min": 0.0, "shrink_max": 1.5, "near_moves": 3.0},
        "STRUCTURE_BREAK": {"alignment_min": 0.05, "beyond_bps": 1.0, "within_readings": 10, "flow_z_min": 0.0},
        "VANNA_UNWIND": {"alignment_min": 0.05, "iv_fall_min": 0.005, "vanna_min": 0.05},
    },
})  # fmt: skip


def readings_of_day(day: TradingDay, seed: int, series: Series, folder: Path) -> list[signals.FeaturesComputed]:
    """Return a session's readings as their actor publishes them; it is started again in the middle of the day."""
    simulated = Market(seed, day.session, (TICKER,), snapshot_s=30, nature=nature_of(SETTINGS))
    actor: Probe[ReadingState] = Probe(ReadingActor(f"reading:{TICKER}", SETTINGS), day.open_utc)
    actor.start()
    out: list[signals.FeaturesComputed] = []
    for n in range(day.buckets):
        bucket_utc = Utc(day.open_utc + n * BUCKET_NS)
        end_utc = Utc(bucket_utc + BUCKET_NS)
        simulated.step(Utc(end_utc - 1))
        if n == DOWN.stop:
            assert series.flush() is None
            actor = Probe(ReadingActor(f"reading:{TICKER}", SETTINGS), bucket_utc)
            actor.start(Series(folder, 2, is_durable=False, seals=False).restored(TICKER, day.session, bucket_utc))
        if n in DOWN:
            continue
        for hub, categories in SETTINGS.feed.by_hub.items():
            if not (hub == "orderflow" and n in SILENT):
                rows = tuple(Row(simulated.profile(TICKER, c), hub, 1, bucket_utc, bucket_utc) for c in categories)
                told = Rows(f"{hub}/{bucket_utc}", rows)
                actor.feed(market.RowsArrived(hub=hub, ticker=TICKER, bucket_utc=bucket_utc, rows=told), end_utc)
            published = actor.feed(market.HubClosed(hub=hub, bucket_utc=bucket_utc, absent=()), end_utc)
            for reading in published.published(signals.FeaturesComputed):
                series.take(reading)
                out.append(reading)
    assert series.flush() is None
    return out


def lane_of(source: str, wanted: Settings) -> Lane:
    kinds = evaluators_of(wanted.alerts[source], wanted.alert_rules, wanted.alert_trials, wanted.kinds)
    return Lane(source, kinds, (), wanted.day.bucket_grace_ms)


def test_a_week_in_columns_is_the_week_as_the_lanes_have_recorded_it(tmp_path: Path) -> None:
    series = Series(tmp_path, 1, is_durable=False, seals=False)
    week: list[tuple[TradingDay, list[signals.FeaturesComputed]]] = []
    for n in range(5):
        day = calendar.day(MONDAY + timedelta(days=n))
        if day is not None:
            week.append((day, readings_of_day(day, 100 + n, series, tmp_path)))
    series.close()
    assert [day.session.day for day, _ in week] == [23, 24, 25, 27]
    assert [len(readings) for _, readings in week] == [day.buckets - len(DOWN) for day, _ in week]
    seal(tmp_path, week[0][0].session)  # one day as it is kept, the others as they were written
    kinds: set[str] = set()
    for source in ("gexwatch", "advisor"):
        told = [recorded(record) for record in lived(SETTINGS, f"lane:{source}:{TICKER}", week)]
        memory, found = Memory(), list[Found]()
        for day, _ in week:
            days = list(stored_days(SeriesReader(tmp_path), day).values())
            found += alerts_in(days, lane_of(source, SETTINGS), SETTINGS.day, memory)
        assert [as_recorded(one) for one in found] == told
        kinds |= {one.alert.key.kind for one in found}
    assert len(kinds) >= 4, kinds
