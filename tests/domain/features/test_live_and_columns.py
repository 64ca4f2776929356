"""One definition, two speeds: the newest reading of a window and whole sessions in columns say the same, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.feature_sessions import AT, FULL, HALF, session_of, silent, snapshots_of
from domain.features.evidence import evidence_of, said_of
from domain.features.forces import forces_of
from domain.features.frames import (
    BEFORE,
    COLUMNS,
    NO_WINDOW,
    Frames,
    appended,
    columns,
    live,
    session_columns,
    window_of,
)
from domain.features.measures import Floats
from domain.instants import BUCKET_NS
from domain.session.calendar import TradingDay
from domain.signals.registry import FEATURES, INDEX
from domain.signals.snapshot import WINDOW, Snapshot
from domain.units import Utc


def all_of(frames: Frames) -> Floats:
    """Return features, context, scores, confidences and alignment, one below the other."""
    features, context = said_of(frames)
    forces = forces_of(features, context)
    return np.concatenate([features, context, forces.scores, forces.confidences, forces.alignment[None]])


def live_at(snapshots: tuple[Snapshot, ...], day: TradingDay, reading: int) -> Floats:
    """Return what the window says live that has come to `reading`, one snapshot after the other."""
    bucket_utc = Utc(day.open_utc + reading * BUCKET_NS)
    window, last_utc = NO_WINDOW, None
    for snapshot in snapshots:
        if bucket_utc - 250 * BUCKET_NS <= snapshot.bucket_utc <= bucket_utc:
            window, last_utc = appended(window, last_utc, snapshot), snapshot.bucket_utc
    assert last_utc == bucket_utc
    return all_of(live(window, bucket_utc, day))


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.0, 0.004, 0.1]), st.lists(st.integers(1, 418), max_size=40), st.data())
def test_live_and_columns_say_the_same_with_gaps_and_early_closes(
    seed: int, missing: float, gaps: list[int], data: st.DataObject
) -> None:
    days = (FULL, HALF, FULL)
    sessions = [silent(session_of(seed + n, day, missing), *gaps) for n, day in enumerate(days)]
    together = all_of(columns(sessions, days))
    for n, day in enumerate(days):
        snapshots = snapshots_of(sessions[n], day)
        present = [at for at in range(day.buckets) if at not in gaps]
        for reading in {0, present[-1], *data.draw(st.lists(st.sampled_from(present), min_size=3, max_size=3))}:
            assert np.array_equal(live_at(snapshots, day, reading), together[:, n, reading], equal_nan=True)


def test_a_restart_in_mid_window_changes_nothing() -> None:
    values = silent(session_of(5), 300, 301, 350)
    known = snapshots_of(values)[:400]
    window = window_of(known[-WINDOW:])  # what comes back of the store
    assert np.array_equal(window.values, window_of(known).values, equal_nan=True)
    together = all_of(columns([values], [FULL]))
    reading = (known[-1].bucket_utc - FULL.open_utc) // BUCKET_NS
    assert np.array_equal(all_of(live(window, known[-1].bucket_utc, FULL)), together[:, 0, reading], equal_nan=True)


def test_nothing_crosses_a_night() -> None:
    one, other = session_of(1), session_of(2)
    alone = all_of(columns([other], [FULL]))
    assert np.array_equal(all_of(columns([one, other], [FULL, FULL]))[:, 1], alone[:, 0], equal_nan=True)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 779))
def test_a_cut_of_the_future_changes_nothing_before_it(seed: int, cut: int) -> None:
    values = session_of(seed)
    whole, known = all_of(columns([values], [FULL])), values.copy()
    known[:, cut:] = np.nan
    assert np.array_equal(all_of(columns([known], [FULL]))[..., :cut], whole[..., :cut], equal_nan=True)


def test_what_is_older_than_the_window_says_nothing() -> None:
    values = session_of(8)
    forgotten = values.copy()
    forgotten[:, : 500 - BEFORE] = np.nan
    one, other = (all_of(columns([v], [FULL]))[:, 0, 500] for v in (values, forgotten))
    assert np.array_equal(one, other, equal_nan=True)


def test_with_every_measure_there_every_feature_is_there_an_hour_after_the_open() -> None:
    found, _ = said_of(columns([session_of(4, missing=0.0, wild=0)], [FULL]))
    absent = [f.name for f in FEATURES if np.isnan(found[INDEX[f.name], 0, 120:779]).mean() > 0.05]
    assert absent == []


def test_evidence_is_the_newest_reading_with_none_for_what_is_missing() -> None:
    values = silent(session_of(6), 100)
    snapshots = snapshots_of(values)[:300]
    evidence = evidence_of(live(window_of(snapshots), snapshots[-1].bucket_utc, FULL))
    reading = (snapshots[-1].bucket_utc - FULL.open_utc) // BUCKET_NS
    column = all_of(columns([values], [FULL]))[:, 0, reading]
    told = [*evidence.features, *evidence.context, *(f.score for f in evidence.forces)]
    assert [None if np.isnan(value) else value for value in column[: len(told)]] == told
    assert evidence.alignment == column[-1] or (evidence.alignment is None and np.isnan(column[-1]))


def test_snapshots_lie_on_the_grid_of_their_buckets() -> None:
    values = silent(session_of(7, HALF), 3, 4, 100)
    back = session_columns(snapshots_of(values, HALF), HALF)
    assert back.shape == (len(COLUMNS), HALF.buckets)
    assert np.array_equal(back, values, equal_nan=True)
    assert np.isnan(back[AT["spot"], [3, 4, 100]]).all()
