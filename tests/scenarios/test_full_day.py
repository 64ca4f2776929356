"""The market side in processes of its own, through faults and kills: a row expected is stored or a gap on record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time

import pytest

from benchmarks.full_day import Day, Sums, play
from benchmarks.market_day import HUBS
from domain.instants import BUCKET_NS

pytestmark = pytest.mark.slow
TICKERS_N = 3
CATEGORIES_N = sum(len(categories) for categories in HUBS.values())


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Day, Sums]]:
    """The last 16 minutes of a session, which hold everything that a whole day does."""
    day = Day(tmp_path_factory.mktemp("day"), TICKERS_N, time(15, 44), rate=120.0, seal_every_ms=120_000)
    try:
        yield day, play(day, at_s=(20, 40, 690, 750))
    finally:
        day.close()


def test_every_row_is_stored_or_a_gap_after_a_dead_hub_a_freeze_dead_tokens_and_three_kills(
    played: tuple[Day, Sums],
) -> None:
    _, sums = played
    assert sums.runs == 4, "killed in an append, a seal and a compaction"
    assert (sums.buckets, sums.expected) == (32, 32 * TICKERS_N * CATEGORIES_N)
    assert (sums.unknown, sums.doubled) == (0, 0)
    late_n = sums.both - sums.covered
    assert sums.stored + sums.missing - late_n == sums.expected


def test_what_was_taken_away_is_on_record_with_its_cause_and_what_covered_it(played: tuple[Day, Sums]) -> None:
    day, sums = played
    gaps = [gap for gap in day.reader().gaps(day.session) if gap.hub == "orderflow" and gap.why == "disconnected"]
    by_ticker = {t: sum((g.to_utc - g.from_utc) // BUCKET_NS for g in gaps if g.ticker == t) for t in day.tickers}
    assert min(by_ticker.values()) >= 19, "ten minutes"
    assert sums.by_rest > 0
    assert {gap.cover for gap in gaps} >= {"rest"}
