"""The benchmarks do what they say they time; no figure is looked at."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import chain, exit_path, features, ingest, lateness, order_path, reconcile, stepped, wire
from benchmarks.feed_load import FeedLoad
from benchmarks.figures import Report
from benchmarks.hops import hop_floor_ns
from benchmarks.memory import read_process
from benchmarks.rig import Rig


@pytest.fixture(scope="module", autouse=True)
def _patience() -> Iterator[None]:
    """Let a trial take what a busy machine needs: here none is timed, and none may be lost."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (order_path, exit_path):
            patch.setattr(module, "TRIAL_S", 120.0)
        yield


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("rig"), rejects=10)
    for ticker in made.settings.tickers:
        order_path.close_one(made, ticker, order_path.DOWN)  # the first reading only finds its side
    yield made
    made.close()


def test_a_report_names_every_aim_and_shows_every_cell() -> None:
    report = Report("x", "A title", "python -m benchmarks x")
    report.aim("this", "≤ 1", "2", False)
    report.aim("that", "≤ 1", "1", True)
    report.table("A caption", ["a", "b"], [[1, "two"]])
    report.note("A sentence.")
    text = report.markdown()
    assert "| this | ≤ 1 | 2 | **no** |" in text
    assert "| that | ≤ 1 | 1 | yes |" in text
    assert "| 1 | two |" in text
    assert "- A sentence." in text


def test_every_lane_decides_on_every_reading_of_a_calm_round(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lateness, "ROUND_BUCKETS", 2)
    found = lateness.Lateness()
    lateness._round(rig, found, has_outage=False)
    assert found.due == 2 * 16
    assert len(found.since_end_ns) == found.due


def test_the_single_loop_decides_on_the_same_readings(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lateness, "ROUND_BUCKETS", 2)
    found = lateness.Lateness()
    lateness.SingleLoop(rig).run(found, has_outage=False)
    assert len(found.since_end_ns) == found.due == 2 * 16


@pytest.mark.parametrize("scenario", ["one", "eight", "stored"])
def test_a_closing_bucket_sends_an_order_whose_segments_add_up(rig: Rig, scenario: str) -> None:
    measured = order_path.Measured()
    order_path._trial(rig, scenario, rig.settings.tickers[0], measured)
    if scenario == "one":  # the others keep step
        for ticker in rig.settings.tickers[1:]:
            order_path.close_one(rig, ticker, order_path.DOWN)
            order_path.close_one(rig, ticker, order_path.DOWN)
    assert not measured.lost
    (way,) = order_path._paths(rig, rig.trace.path, measured)[scenario]
    assert sum(way.segments) == way.total
    assert way.net == way.total - way.tick - way.commits - way.trace_sync
    assert way.commits > 0
    assert way.trace_sync > 0
    assert all(segment >= 0 for segment in way.segments)


def test_a_trial_whose_order_was_never_placed_counts_as_lost(rig: Rig) -> None:
    measured = order_path.Measured(trials=[order_path.Trial("one", "SPX", 1, 0, 0)])
    assert order_path._paths(rig, rig.trace.path, measured)["one"] == []
    assert measured.lost == {"one": ["one SPX: the order that arrived was another bucket's"]}


def test_no_other_kind_of_alert_trades_before_the_flip_that_is_timed(rig: Rig) -> None:
    lanes = [cell.state for name, cell in rig.runtime.cells.items() if name.startswith("lane:")]
    assert {kind for lane in lanes for kind in lane.promoted} == {"GAMMA_FLIP-1"}


@pytest.fixture(scope="module")
def exit_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("exits"), has_quotes_port=True, gateway="exits_child")
    exit_path.start(made, 1_000)
    yield made
    made.close()


def test_a_crossed_stop_sends_an_exit_whose_parts_add_up(exit_rig: Rig) -> None:
    measured = exit_path.Measured()
    exit_path.trial(exit_rig, "SPY", 1_000, measured)
    assert not measured.lost
    (way,) = exit_path._parts(exit_rig, exit_rig.trace.path, measured)[1_000]
    (one,) = measured.exits[1_000]
    assert sum(way) == one.arrived_ns - one.crossed_ns
    assert all(part > 0 for part in way)


def test_a_reconciliation_after_an_outage_is_timed_with_the_orders_that_are_left(exit_rig: Rig) -> None:
    before = len(reconcile.reconciliations(exit_rig.trace.path))
    assert reconcile.leave_and_drop(exit_rig, 3) == 3
    took = reconcile.reconciliations(exit_rig.trace.path)
    assert len(took) == before + 1
    assert took[-1] > 0


def test_frames_of_the_child_are_folded_and_sealed() -> None:
    with FeedLoad() as load:
        load.rate(2_000)
        while len(load.timed()[0]) < 2 * load.groups:
            load.report()  # a round trip to the child: the frames go on meanwhile
        load.rate(0)
        rows = load.seal().rows
        assert rows == load.groups


def test_a_close_at_full_width_times_the_tickers_that_are_waited_for_and_all() -> None:
    with FeedLoad(("SPX", "T00", "T01"), first=("SPX",)) as load:
        load.rate(2_000)
        while len(load.timed()[0]) < 2 * load.groups:
            load.report()
        load.rate(0)
        closing = load.seal()
        assert closing.rows == load.groups == 3 * 13
        assert 0 < closing.first_s < closing.all_s


def test_batches_are_stored_and_weighed(tmp_path: Path) -> None:
    report = Report("x", "x", "x")
    ingest._batches(report, tmp_path, 2)
    assert "n = 10;" in report.sections[0][0]
    weighed = next(aim for aim in report.aims if aim.what == "bytes a row")
    assert not weighed.measured.startswith("0 ")
    assert "failed" not in weighed.measured


def test_the_stepped_runtime_is_timed_with_and_without_a_trace() -> None:
    report = Report("x", "x", "x")
    stepped._messages(report, 50)
    assert [row[0].partition(",")[0] for row in report.sections[0][2]] == [
        "floor: a bare queue loop: pop", "stepped runtime", "stepped runtime",
    ]  # fmt: skip


def test_orders_make_their_round_trip() -> None:
    took, unfilled = asyncio.run(wire._orders(3))
    assert len(took["fill"]) + unfilled == 3
    assert took["fill"]
    assert all(0 < sent < filled for sent, filled in zip(took["bytes"], took["fill"], strict=True))


def test_hops_and_memory_are_read() -> None:
    assert all(ns > 0 for ns in hop_floor_ns(40))
    assert 0 < read_process(os.getpid()).pss <= read_process(os.getpid()).rss * 1.05


def test_chain_gamma_and_history_import_are_both_timed() -> None:
    report = chain.run(0.01)
    assert [aim.what.split()[0] for aim in report.aims] == ["gamma", "history"]


def test_a_reading_and_a_session_of_features_are_timed() -> None:
    report = Report("x", "x", "x")
    features._measure_live(report, 2)
    assert [row[0] for row in report.sections[0][2]] == ["one reading", "8 together"]
    _, cpu_s, memory_mb, alerts_n = features._one_session(0)
    assert cpu_s > 0.0
    assert memory_mb > 0.0
    assert alerts_n > 0
