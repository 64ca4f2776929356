"""Alerts in columns are the list that a lane records, to the last field; nothing in them knows the future."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from benchmarks.feature_sessions import AT, FULL, HALF, session_of, silent, snapshots_of
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.signals.alerts import EVALUATORS, evaluators_of
from domain.signals.columns import Found, Lane, Memory, TickerDay, alerts_in, directions_in
from domain.signals.conditioned import ConditionEvaluator
from domain.signals.outcome import OutcomeState, begun, followed
from tests.domain.signals.test_predicates import FIRES, RULES, seen
from tests.testkit.lane_days import as_recorded, lived, readings_of, recorded

# So loose that wandering numbers meet them.
_LOOSE = {"alignment_min": 0.0, "cooldown_ms": 900_000}
SETTINGS = load_settings(profile="real", overrides={
    "lanes": {"gexwatch": ["SPX", "QQQ"], "advisor": ["SPX", "QQQ"]},
    "alert_rules": {
        "GAMMA_FLIP": {"cooldown_ms": 300_000, "hysteresis_bps": 1.0},
        "CASCADE_WATCH": {**_LOOSE, "gamma_max": 1.0, "near_moves": 9.0, "pace_bps": 1.0, "flow_z_min": 0.0},
        "CHARM_SQUEEZE": {
            **_LOOSE, "time_of_day_min": 0.1, "charm_min": 0.0, "shrink_max": 3.0, "near_moves": 9.0,
        },
        "STRUCTURE_BREAK": {**_LOOSE, "beyond_bps": 1.0, "within_readings": 30, "flow_z_min": 0.0},
        "VANNA_UNWIND": {**_LOOSE, "iv_fall_min": 0.001, "vanna_min": 0.01},
    },
})  # fmt: skip
PROMOTED = ("VANNA_UNWIND-1",)
THANKSGIVING_WEEK = [FULL, HALF]


def lane_of(source: str, wanted: Settings = SETTINGS) -> Lane:
    kinds = evaluators_of(wanted.alerts[source], wanted.alert_rules, wanted.alert_trials, wanted.kinds)
    return Lane(source, kinds, PROMOTED, wanted.day.bucket_grace_ms)


def wild_session(seed: int, day: TradingDay, gaps: list[int]) -> np.ndarray:
    """A session whose spot goes to and fro around its levels."""
    values = session_of(seed, day)
    spot = values[AT["spot"]]
    values[AT["zero_gamma"]] = np.rint(np.nanmean(spot) / 500) * 500
    values[AT["net_oi"]] = spot - values[AT["zero_gamma"]]
    return silent(values, *(gap for gap in gaps if gap < day.buckets))


@pytest.mark.slow
@settings(max_examples=3, deadline=None, phases=(Phase.explicit, Phase.generate))  # shrinking would take minutes
@given(st.integers(0, 999), st.lists(st.integers(2, 779), max_size=60), st.sampled_from([0, 40]))
def test_a_lane_and_its_columns_record_the_same_alerts_to_the_last_field(seed: int, gaps: list[int], run: int) -> None:
    gaps = [*gaps, *range(200, 200 + run)]  # a restart that took its time
    names = ("SPX", "QQQ")
    values = {(t, day): wild_session(seed + n, day, gaps) for day in THANKSGIVING_WEEK for n, t in enumerate(names)}
    readings = {(t, day): readings_of(t, day, snapshots_of(values[t, day], day)) for t, day in values}
    n = 0
    for source in ("gexwatch", "advisor"):
        lane, memory = lane_of(source), Memory()
        found = [
            one
            for day in THANKSGIVING_WEEK
            for one in alerts_in([TickerDay.of(t, day, values[t, day]) for t in names], lane, SETTINGS.day, memory)
        ]
        for ticker in names:
            told = lived(
                SETTINGS, f"lane:{source}:{ticker}", [(d, readings[ticker, d]) for d in THANKSGIVING_WEEK], PROMOTED
            )
            of_ticker = [one for one in found if one.alert.key.ticker == ticker]
            live_list = [recorded(record) for record in told]
            columnar = [as_recorded(one) for one in of_ticker]
            assert columnar == live_list
            n += len(live_list)
            for one in of_ticker:
                assert one.outcome == outcome_lived(one, values[ticker, day_of(one)], day_of(one))
    assert n >= 10


def day_of(one: Found) -> TradingDay:
    return next(day for day in THANKSGIVING_WEEK if day.session == one.alert.key.session)


def outcome_lived(one: Found, values: np.ndarray, day: TradingDay) -> object:
    outcome = begun(one.alert, day.close_utc)
    for n, spot in enumerate(values[AT["spot"]]):
        outcome = followed(outcome, day.open_utc + n * BUCKET_NS, None if np.isnan(spot) else int(spot))
    if outcome.state is OutcomeState.FOLLOWED:  # nothing came to its end
        outcome = followed(outcome, day.close_utc, None)
    return outcome


@settings(max_examples=13, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 999), st.integers(30, 779), st.sampled_from(["gexwatch", "advisor"]), st.booleans())
@example(7, 60, "gexwatch", True)
@example(7, 60, "advisor", True)
def test_a_cut_of_the_future_changes_no_alert_before_it(
    seed: int, cut: int, source: str, is_behind_an_alert: bool
) -> None:
    whole, lane = wild_session(seed, FULL, []), lane_of(source)
    if is_behind_an_alert:  # where a look at the next readings would show
        alerts = alerts_in([TickerDay.of("SPX", FULL, whole)], lane, SETTINGS.day, Memory())
        places = [(one.alert.key.bucket_utc - FULL.open_utc) // BUCKET_NS + 1 for one in alerts]
        cut = next((place for place in places if place > cut), cut)
    known = whole.copy()
    known[:, cut:] = np.nan
    other = whole.copy()
    other[:, cut:] = wild_session(seed + 1, FULL, [])[:, cut:]
    lists = []
    for values in (whole, known, other):
        found = alerts_in([TickerDay.of("SPX", FULL, values)], lane, SETTINGS.day, Memory())
        end_utc = FULL.open_utc + cut * BUCKET_NS
        lists.append([
            (as_recorded(one), one.outcome if one.outcome.end_utc <= end_utc else None)
            for one in found if one.alert.key.bucket_utc < end_utc
        ])  # fmt: skip
    assert lists[0] == lists[1] == lists[2]


def test_a_cooldown_goes_on_over_the_night() -> None:
    wanted = load_settings(profile="real", overrides={"alert_rules": {
        "VANNA_UNWIND": {"alignment_min": 0.0, "iv_fall_min": 0.001, "vanna_min": 0.01, "cooldown_ms": 86_400_000},
    }})  # fmt: skip
    lane = Lane("advisor", evaluators_of(["VANNA_UNWIND"], wanted.alert_rules, {}))
    monday, tuesday = (calendar.day(date(2026, 11, n)) for n in (23, 24))
    assert monday is not None
    assert tuesday is not None
    first = TickerDay.of("QQQ", monday, wild_session(40, monday, list(range(300))))
    second = TickerDay.of("QQQ", tuesday, wild_session(41, tuesday, []))
    memory = Memory()
    (of_monday,) = alerts_in([first], lane, wanted.day, memory)
    (of_tuesday,) = alerts_in([second], lane, wanted.day, memory)
    (alone,) = alerts_in([second], lane, wanted.day, Memory())
    day_ns = 86_400 * 10**9
    assert alone.alert.key.bucket_utc - of_monday.alert.key.bucket_utc < day_ns
    assert of_tuesday.alert.key.bucket_utc - of_monday.alert.key.bucket_utc >= day_ns


def flip_at(confirming: tuple[int, int], unread: list[int]) -> list[Found]:
    """Alerts of spot that crosses zero gamma in the first of two readings; what lies between them is silent."""
    values = np.full((len(AT), FULL.buckets), np.nan)
    first, last = confirming
    seen = [*range(20), first, *range(last, 100)]
    values[AT["zero_gamma"], seen], values[AT["spot"], :20], values[AT["spot"], seen[20:]] = 600_000, 599_000, 601_000
    values[AT["net_oi"], :20], values[AT["net_oi"], seen[20:]] = -1.0, 1.0
    is_read = np.arange(FULL.buckets) < 100
    is_read[unread] = False
    lane = Lane("gexwatch", evaluators_of(["GAMMA_FLIP"], load_settings(profile="real").alert_rules, {}))
    return list(alerts_in([TickerDay("SPX", FULL, values, is_read)], lane, SETTINGS.day, Memory()))


def test_a_bucket_without_a_reading_is_not_a_silent_reading() -> None:
    (apart,) = flip_at((20, 22), unread=[21])  # nobody judged it: the row of two goes on
    (broken,) = flip_at((20, 22), unread=[])  # it was silent: the row begins again
    assert apart.alert.key.bucket_utc == FULL.open_utc + 22 * BUCKET_NS
    assert broken.alert.key.bucket_utc == FULL.open_utc + 23 * BUCKET_NS


def test_a_missing_input_is_no_judgement_in_columns_either() -> None:
    known, way = FIRES["STRUCTURE_BREAK"]
    evaluator = EVALUATORS["STRUCTURE_BREAK"](RULES["STRUCTURE_BREAK"])
    assert isinstance(evaluator, ConditionEvaluator)
    assert directions_in(seen(known), evaluator)[0, 0] == way
    one_sided = seen({**known, "loc_major_neg_vol_bps": math.nan})  # a break upwards would not need it
    assert type(evaluator).condition(one_sided, evaluator.rules)[0, 0] == way
    assert directions_in(one_sided, evaluator)[0, 0] == 0


def test_alerts_are_looked_for_in_the_lanes_phases_alone() -> None:
    lane = lane_of("advisor")
    for day in (FULL, HALF):
        late_utc = day.close_utc - SETTINGS.day.entry_stop_ms * 10**6
        found = [
            one
            for seed in range(6)
            for one in alerts_in([TickerDay.of("QQQ", day, wild_session(seed, day, []))], lane, SETTINGS.day, Memory())
        ]
        assert found
        assert all(one.alert.key.bucket_utc + BUCKET_NS < late_utc for one in found)


def test_tickers_know_nothing_of_each_other() -> None:
    lane = lane_of("advisor")
    days = [TickerDay.of(t, FULL, wild_session(n, FULL, [])) for n, t in enumerate(("SPX", "QQQ", "IWM"))]
    together = alerts_in(days, lane, SETTINGS.day, Memory())
    alone = [one for day in days for one in alerts_in([day], lane, SETTINGS.day, Memory())]
    assert len(together) > 5
    assert sorted(together, key=lambda one: one.alert.key) == sorted(alone, key=lambda one: one.alert.key)
    assert list(together) == sorted(together, key=lambda one: one.alert.key.bucket_utc)
