"""A restart in mid-window: what the store gives back is the window as if nothing had ended."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from actors.reading import ReadingActor
from benchmarks.feature_sessions import FULL, HALF, session_of, silent, snapshots_of
from domain.features.evidence import evidence_of, said_of
from domain.features.frames import Window, appended, columns, live, window_of
from domain.features.measures import Floats
from domain.instants import BUCKET_NS
from domain.session.calendar import TradingDay
from domain.units import Utc
from storage.series import Series, seal
from tests.testkit.lane_days import readings_of
from tests.testkit.probe import Probe
from tests.testkit.signal_histories import SETTINGS


def restarted(folder: Path, day: TradingDay, values: Floats, *, is_sealed: bool, cut: int) -> tuple[Window, int, Utc]:
    """Store a session until a crash in the middle of a line; return what a reading of a new process takes up."""
    series = Series(folder, 1, is_durable=False, seals=False)
    told = readings_of("SPX", day, snapshots_of(values, day))
    for reading in told:
        series.take(reading)
    assert series.flush() is None
    series.close()
    if is_sealed:
        seal(folder, day.session)
    elif cut:
        with (folder / day.session.isoformat() / "readings.jsonl").open("ab") as file:
            file.write(b'{"ticker":"SPX","bucket_utc":17951850'[:cut])
    now = Utc(told[-1].bucket_utc + 2 * BUCKET_NS)
    probe = Probe(ReadingActor("reading:SPX", SETTINGS), now)
    probe.start(Series(folder, 2, is_durable=False, seals=False).restored("SPX", day.session, now))
    return probe.state.window, probe.state.reading_n, probe.state.closed_utc


@pytest.mark.slow
@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(
    st.integers(0, 999), st.sampled_from([FULL, HALF]), st.integers(3, 410), st.lists(st.integers(1, 409), max_size=50),
    st.integers(0, 30), st.booleans(), st.integers(0, 37),
)  # fmt: skip
def test_the_window_comes_back_as_it_was_with_gaps_and_an_early_close(
    seed: int, day: TradingDay, at: int, gaps: list[int], down: int, is_sealed: bool, cut: int
) -> None:
    values = silent(session_of(seed, day), *gaps, *range(at, min(at + down, day.buckets - 1)))
    known = silent(values, *range(at, day.buckets))
    with tempfile.TemporaryDirectory() as folder:
        window, reading_n, closed_utc = restarted(Path(folder), day, known, is_sealed=is_sealed, cut=cut)
    before = snapshots_of(known, day)
    assert np.array_equal(window.values, window_of(before).values, equal_nan=True)
    assert (reading_n, closed_utc) == (len(before), before[-1].bucket_utc)
    # The first reading after the restart says what its session says in columns.
    after = next(one for one in snapshots_of(values, day) if one.bucket_utc > closed_utc)
    now = live(appended(window, closed_utc, after), after.bucket_utc, day)
    n = (after.bucket_utc - day.open_utc) // BUCKET_NS
    together = said_of(columns([values], [day]))[0][:, 0, n]
    assert np.array_equal(said_of(now)[0], together, equal_nan=True)
    assert evidence_of(now).features == tuple(None if np.isnan(value) else value for value in together.tolist())
