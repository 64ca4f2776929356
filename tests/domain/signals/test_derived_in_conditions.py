"""Conditions over derived series: live and in columns they see the same, and what was not told is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_in
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from benchmarks.feature_sessions import FULL, session_of, snapshots_of
from commands.new_alert import TEMPLATE
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, MINUTE, SECOND
from domain.market.derived import Told, Value
from domain.signals.alerts import evaluators_of
from domain.signals.columns import Lane, Memory, TickerDay, alerts_in
from domain.signals.conditioned import ConditionEvaluator, conditioned
from domain.signals.kit import REGIMES, ConditionRules, Directions, KindError, Regime, Seen, fires, own_kind
from domain.signals.nearest_threshold import nearest_threshold
from domain.units import Utc
from messages import market
from tests.domain.signals.test_conditioned import reading
from tests.testkit.lane_days import as_recorded, lived, readings_of, recorded

BASE = {"cooldown_ms": 60_000, "target_bps": 20.0, "stop_bps": 12.0, "horizon_ms": 1_800_000, "version": 1}


@dataclass(frozen=True, slots=True)
class Rules(ConditionRules):
    gap_min: float


RULES = Rules(**BASE, alignment_min=0.0, gap_min=0.005)


def condition(seen: Seen, rules: Rules) -> Directions:
    """Go with the gap, in a trend."""
    gap, regime = seen.feature("SPY.gap"), seen.feature("SPY.hourly_regime")
    return fires(seen, (np.abs(gap) >= rules.gap_min) & (regime == REGIMES[Regime.TREND_UP]), np.sign(gap))


def evaluator() -> ConditionEvaluator:
    return conditioned("GAPPED", condition, Rules)(RULES)


def seen_with(*derived: Value) -> object:
    made = evaluator()
    judged = made.evaluate(made.initial(None), replace(reading(0, {"alignment": 0.5}), derived=derived))
    return judged.why if judged.terms is None else judged.terms.direction


def test_a_condition_asks_for_a_derived_series_by_its_symbol_and_name() -> None:
    assert evaluator().inputs == ("SPY.gap", "SPY.hourly_regime")
    assert seen_with(("SPY", "gap", -0.01), ("SPY", "hourly_regime", "trend_up")) == -1
    assert seen_with(("SPY", "gap", -0.01), ("SPY", "hourly_regime", "quiet")) is None
    assert seen_with(("QQQ", "gap", 0.01), ("SPY", "hourly_regime", "trend_up")) == "missing SPY.gap"
    assert seen_with() == "missing SPY.gap, SPY.hourly_regime"


def test_what_was_nearest_to_an_alert_is_found_over_derived_series_too() -> None:
    told: tuple[Value, ...] = (("SPY", "gap", 0.004), ("SPY", "hourly_regime", "trend_up"))
    near = nearest_threshold(evaluator(), [
        reading(0, {"alignment": 0.5}), replace(reading(1, {"alignment": 0.5}), derived=told),
    ])  # fmt: skip
    assert near is not None
    assert (near.name, round(near.needed, 6), near.reading.derived) == ("gap_min", 0.004, told)


def test_a_kind_of_ones_own_that_looks_beyond_one_reading_of_a_derived_series_is_refused() -> None:
    def wandering(seen: Seen, rules: Rules) -> Directions:
        gap = seen.feature("SPY.gap")
        return fires(seen, np.roll(gap, 1, axis=-1) > 0.0, np.ones_like(gap))

    own_kind("GAPPED", "mine.py", condition, RULES)
    with pytest.raises(KindError, match="judges a reading by other readings"):
        own_kind("GAPPED", "mine.py", wandering, RULES)


# -- live and in columns ------------------------------------------------------------------------

SOURCE = TEMPLATE.format(name="GAPPED").replace(
    'momentum = seen.feature("price_momentum")', 'momentum = 200.0 * seen.feature("SPY.gap")'
)


def settings_of(folder: Path) -> Settings:
    (folder / "gapped.py").write_text(SOURCE, encoding="utf-8")
    config = folder / "mine.yaml"
    config.write_text(
        "alert_files: [gapped.py]\nalerts: {advisor: [GAPPED]}\nalert_rules: {GAPPED: {alignment_min: 0.0}}\n",
        encoding="utf-8",
    )
    return load_settings(config, "real", overrides={"lanes": {"advisor": ["QQQ"]}})


def tellings(gaps: Sequence[tuple[int, int, float]]) -> list[market.ContextRead]:
    """Return what is told: of each gap its bucket, how long after that bucket's begin, and its value."""
    instants = sorted((FULL.open_utc + n * BUCKET_NS + after_s * SECOND, gap) for n, after_s, gap in gaps)
    return [
        market.ContextRead(
            at_utc=Utc(at_utc - SECOND), session=FULL.session, broken=None, derived=(("SPY", "gap", gap),),
            told_utc=Utc(at_utc),
        )
        for at_utc, gap in instants
    ]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(st.lists(
    st.tuples(st.integers(10, 700), st.sampled_from([0, 1, 29, 30, 31]), st.sampled_from([-0.01, 0.0, 0.01])),
    min_size=3, max_size=12,
))  # fmt: skip
def test_lanes_hear_derived_series_and_record_what_the_columns_find(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[tuple[int, int, float]]
) -> None:
    wanted = settings_of(tmp_path_factory.mktemp("kind"))
    values, told = session_of(7, FULL), tellings([*gaps, (40, 0, 0.01)])
    readings = readings_of("QQQ", FULL, snapshots_of(values, FULL))
    live = lived(wanted, "lane:advisor:QQQ", [(FULL, readings)], told=told)
    kinds = evaluators_of(wanted.alerts["advisor"], wanted.alert_rules, {}, wanted.kinds)
    day = replace_in(TickerDay.of("QQQ", FULL, values), told=tuple(Told(one.told_utc, one.derived) for one in told))
    lane = Lane("advisor", kinds, (), wanted.day.bucket_grace_ms)
    found = alerts_in([day], lane, wanted.day, Memory())
    assert [as_recorded(one) for one in found] == [recorded(one) for one in live]
    assert live
    valid_ns = 31 * MINUTE
    for record in live:
        end_utc = record.alert.key.bucket_utc + BUCKET_NS
        assert any(0 <= end_utc - one.told_utc <= valid_ns for one in told)
