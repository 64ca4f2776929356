"""The time in which no supervisor ran: one gap from the last bucket before to the first one after, with its cause."""

from __future__ import annotations

from pathlib import Path

from domain.instants import BUCKET_NS
from storage.manifest import Gap
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import opened, sealed, store

PAIRS = [(ticker, category) for ticker in ("SPX", "QQQ") for category in ("classic_gex_zero", "classic_gex_full")]


def gaps(root: Path) -> list[Gap]:
    return sorted(WarehouseReader(root).gaps(make.DAY), key=lambda gap: (gap.from_utc, gap.ticker, gap.category))


def down(from_n: int, to_n: int) -> list[Gap]:
    span = make.T0 + from_n * BUCKET_NS, make.T0 + to_n * BUCKET_NS
    return [Gap("classic", *pair, *span, "supervisor down") for pair in sorted(PAIRS)]


def test_a_start_after_a_crash_records_from_when_to_when_the_supervisor_was_down(tmp_path: Path) -> None:
    killed = opened(tmp_path)
    store(killed, make.bucket(0), make.bucket(1))
    killed.close()
    started = opened(tmp_path)
    store(started, make.bucket(12), make.bucket(13))
    store(started, make.bucket(14))
    assert gaps(tmp_path) == down(2, 12)
    sealed(started, session=make.DAY)
    assert gaps(tmp_path) == down(2, 12)


def test_what_is_silent_in_the_first_bucket_was_expected_before_it_too(tmp_path: Path) -> None:
    killed = opened(tmp_path)
    store(killed, make.bucket(0))
    killed.close()
    store(opened(tmp_path), make.bucket(4, absent=(("QQQ", "classic_gex_full"),)))
    assert gaps(tmp_path)[:4] == down(1, 4)
    assert [gap.why for gap in gaps(tmp_path)[4:]] == ["silent"]


def test_a_first_start_in_mid_session_a_quick_restart_and_a_hole_while_running_record_no_downtime(
    tmp_path: Path,
) -> None:
    first = opened(tmp_path)
    store(first, make.bucket(50))
    first.close()
    again = opened(tmp_path)
    store(again, make.bucket(51))
    again.open()  # a new incarnation of its actor in the same process
    store(again, make.bucket(53))
    assert gaps(tmp_path) == []


def test_downtime_is_counted_from_buckets_that_had_no_row_as_well(tmp_path: Path) -> None:
    killed = opened(tmp_path)
    store(killed, make.bucket(0), make.bucket(1, absent=tuple(PAIRS)))
    killed.close()
    store(opened(tmp_path), make.bucket(3))
    assert [(gap.from_utc, gap.why) for gap in gaps(tmp_path) if gap.ticker == "SPX"] == [
        (make.T0 + BUCKET_NS, "silent"), (make.T0 + BUCKET_NS, "silent"),
        (make.T0 + 2 * BUCKET_NS, "supervisor down"), (make.T0 + 2 * BUCKET_NS, "supervisor down"),
    ]  # fmt: skip
