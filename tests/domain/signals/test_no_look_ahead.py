"""No look-ahead: a future that is cut off, or replaced by another, changes nothing that was known before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.feature_sessions import AT, HALF, session_of, silent
from domain.features.frames import columns
from domain.instants import BUCKET_NS
from domain.signals.alert import Alert, AlertKey
from domain.signals.outcome import OutcomeState, outcome_in
from domain.signals.predicates import CONDITIONS, seen_in
from domain.units import Ticks, Utc
from tests.domain.signals.test_predicates import LOOSE

SESSION = silent(session_of(31, HALF), 100, 101, 260)
LENGTH = SESSION.shape[1]
WHOLE = seen_in(columns([SESSION], [HALF]))
OTHER = session_of(32, HALF)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(1, LENGTH - 1), st.booleans())
def test_what_comes_after_an_instant_changes_nothing_before_it(cut: int, is_replaced: bool) -> None:
    after = OTHER[:, cut:] if is_replaced else np.full_like(OTHER[:, cut:], np.nan)
    seen = seen_in(columns([np.concatenate([SESSION[:, :cut], after], axis=1)], [HALF]))
    for part, wanted in (
        (seen.features, WHOLE.features), (seen.context, WHOLE.context), (seen.forces.scores, WHOLE.forces.scores),
        (seen.forces.confidences, WHOLE.forces.confidences), (seen.forces.alignment, WHOLE.forces.alignment),
    ):  # fmt: skip
        np.testing.assert_array_equal(part[..., :cut], wanted[..., :cut])
    for kind, (condition, _) in CONDITIONS.items():
        found, known = condition(seen, LOOSE[kind]), condition(WHOLE, LOOSE[kind])
        np.testing.assert_array_equal(found[..., :cut], known[..., :cut])
        assert np.count_nonzero(known) > 0


@given(st.integers(0, LENGTH - 2), st.integers(1, 60), st.integers(1, LENGTH))
def test_an_outcome_that_is_over_is_not_changed_by_what_comes_later(at: int, horizon: int, cut: int) -> None:
    spots = SESSION[AT["spot"]]
    entry = Ticks(600_000 if np.isnan(spots[at]) else int(spots[at]))
    alert = Alert(
        key=AlertKey("advisor", "SPX", "VANNA_UNWIND", 1, Utc(HALF.open_utc + at * BUCKET_NS)), direction=1,
        entry_ticks=entry, target_ticks=Ticks(round(entry * 1.001)), stop_ticks=Ticks(round(entry * 0.999)),
        horizon_ms=horizon * 30_000, is_shadow=True, raised_utc=Utc(HALF.open_utc),
    )  # fmt: skip
    whole = outcome_in(alert, spots, HALF.open_utc, HALF.close_utc)
    early = outcome_in(alert, spots[:cut], HALF.open_utc, HALF.close_utc)
    if early.state is OutcomeState.FOLLOWED:
        assert early.mfe_bps <= whole.mfe_bps
        assert early.mae_bps <= whole.mae_bps
        assert [a for a, b in zip(early.path_bps, whole.path_bps, strict=True) if a not in (None, b)] == []
    else:
        assert early == whole
