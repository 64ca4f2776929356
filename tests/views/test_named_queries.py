"""The queries with a name: what they return, against the views and against sums by hand."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import msgspec
import pytest

from domain.signals.rates import rates_by_version
from storage.gap_totals import totals_of
from storage.queries import LedgerReader
from storage.views import named
from storage.views.database import Database, QueryError
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import HUBS, opened, sealed, store, stored_day

pytestmark = pytest.mark.slow


def wilson(wins: int, n: int) -> tuple[float | None, float | None]:
    """Wilson's interval by the formula of the textbook; of nothing there is none."""
    if n == 0:
        return None, None
    z, p = named.Z95, wins / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def test_a_days_series_is_that_of_the_view(db: Database) -> None:
    series = named.day_series(db, "SPX", make.DAY, "classic_gex_zero", ("zero_gamma", "sum_gex_vol")).to_pylist()
    assert series == db.rows(
        "SELECT bucket_utc, bucket_ny, spot, zero_gamma, sum_gex_vol FROM gex WHERE ticker = 'SPX'"
        " AND category = 'classic_gex_zero' ORDER BY bucket_utc"
    )
    assert len(series) > 200


@pytest.mark.parametrize("values", [("nope",), ("zero_gamma", "call_ivol")])
def test_a_series_of_what_there_is_not_is_refused(db: Database, values: tuple[str, ...]) -> None:
    with pytest.raises(QueryError, match="has no"):
        named.day_series(db, "SPX", make.DAY, "classic_gex_zero", values)
    with pytest.raises(QueryError, match="unknown category"):
        named.day_series(db, "SPX", make.DAY, "classic_nope", ())
    with pytest.raises(QueryError, match="has no"):
        named.heatmap(db, "SPX", make.DAY, "orderflow_orderflow")


def test_a_bucket_that_was_stored_again_counts_once_in_a_series(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path / "warehouse", 3)
    store(warehouse, make.bucket(1, "classic", HUBS["classic"], seed=5))
    db = Database(tmp_path)
    for is_sealed in (False, True):
        if is_sealed:
            sealed(warehouse, session=make.DAY)
        series = named.day_series(db, "SPX", make.DAY, "classic_gex_zero", ("sum_gex_oi",)).to_pylist()
        again = make.row("SPX", "classic_gex_zero", make.T0 + 30_000_000_000, seed=5)
        assert [row["bucket_utc"].second for row in series] == [0, 30, 0]
        assert series[1]["sum_gex_oi"] == again.profile.scalar("sum_gex_oi") / 1000
        assert len(named.heatmap(db, "SPX", make.DAY, "classic_gex_zero")) == 3


def test_the_newest_bucket_is_read_without_the_views(tmp_path: Path) -> None:
    warehouse = opened(tmp_path / "warehouse")
    for n in range(3):
        store(warehouse, *(make.bucket(n, hub, c) for hub, c in HUBS.items()))
    store(warehouse, make.bucket(3, "orderflow", HUBS["orderflow"]))
    db = Database(tmp_path)
    found = named.last_bucket(db).to_pylist()
    newest = {(row["hub"], row["bucket_utc"].second) for row in found}
    assert newest == {("classic", 0), ("state_greeks_zero", 0), ("orderflow", 30)}
    assert len(found) == 8
    gex = next(row for row in found if row["ticker"] == "QQQ" and row["category"] == "classic_gex_zero")
    told = make.row("QQQ", "classic_gex_zero", make.T0 + 60_000_000_000).profile
    assert (gex["spot"], gex["net_gamma"]) == (6000.0, told.scalar("sum_gex_vol") / 1000)
    assert named.last_bucket(Database(tmp_path / "none")).num_rows == 0


def test_a_heatmap_has_the_strikes_of_the_profile(db: Database) -> None:
    heat = named.heatmap(db, "SPX", make.DAY, "classic_gex_zero")
    first = heat.slice(0, 1).to_pylist()[0]
    rows = db.rows(
        "SELECT strike, gex_vol FROM profile WHERE ticker = 'SPX' AND category = 'classic_gex_zero' AND bucket_utc ="
        " (SELECT min(bucket_utc) FROM gex WHERE ticker = 'SPX' AND category = 'classic_gex_zero') ORDER BY strike"
    )
    assert first["strikes"] == [row["strike"] for row in rows]
    assert first["values"] == [row["gex_vol"] for row in rows]


def test_a_months_aggregates_count_every_row(db: Database) -> None:
    found = named.month_aggregates(db, date(2026, 11, 1), date(2026, 11, 30)).to_pylist()
    assert sum(row["rows"] for row in found) == db.rows("SELECT count(*) AS n FROM gex")[0]["n"]
    assert named.month_aggregates(db, date(2026, 10, 1), date(2026, 10, 31)).num_rows == 0


def test_what_became_of_an_alert_is_what_its_spots_say(db: Database) -> None:
    outcomes = named.alert_outcomes(db).to_pylist()
    assert {row["outcome"] for row in outcomes} & {"target", "stop", "neither"}
    for row in outcomes:
        (alert,) = db.rows(f"SELECT * FROM alerts WHERE alert_id = '{row['alert_id']}'")
        found = db.rows(
            f"SELECT DISTINCT bucket_utc, spot FROM rows WHERE ticker = '{alert['ticker']}' AND category ="
            f" 'classic_gex_zero' AND bucket_utc > TIMESTAMP '{alert['bucket_utc']}' AND bucket_utc <= TIMESTAMP"
            f" '{alert['bucket_utc']}' + INTERVAL {int(alert['horizon_s'])} SECOND ORDER BY bucket_utc"
        )
        spots = [one["spot"] for one in found if one["spot"] is not None]
        up = alert["direction"]
        hit = next((n for n, spot in enumerate(spots) if (spot - alert["target"]) * up >= 0), math.inf)
        stopped = next((n for n, spot in enumerate(spots) if (alert["stop"] - spot) * up >= 0), math.inf)
        if row["is_win"] is not None:
            assert row["is_win"] == (hit < stopped)
            assert row["outcome"] == ("target" if hit < stopped else "stop" if stopped < hit else "neither")
            best = max(0.0, *((spot - alert["entry"]) * up for spot in spots))
            assert row["best_move"] == pytest.approx(best, abs=1e-6)
        else:
            assert row["outcome"] in {"under way", "not measured", "target", "stop"}


def test_a_win_is_the_same_to_notebook_page_and_promotion(db: Database) -> None:
    recorded = LedgerReader(db.folder / "ledgers", "paper").outcomes()
    rates = rates_by_version(recorded)
    assert recorded
    found = {
        (row["source"], row["kind"], row["version"], row["is_shadow"]): row
        for row in named.alert_performance(db).to_pylist()
    }
    for version, rate in rates.items():
        row = found[version]
        if row["alerts"] == rate.n + rate.unresolved:  # nothing of it is under way
            assert (row["n"], row["wins"], row["losses"]) == (rate.n, rate.wins, rate.losses)
            assert (row["rate"], row["rate_low"], row["rate_high"]) == (rate.rate, rate.lower, rate.upper)


def test_rates_have_their_n_and_wilsons_interval(db: Database) -> None:
    for query in (named.alert_performance, named.fill_rate_by_time, named.pnl):
        rows = query(db).to_pylist()
        assert rows
        for row in rows:
            wins = row.get("wins", row.get("filled"))
            assert row["rate"] == (wins / row["n"] if row["n"] else None)
            assert (row["rate_low"], row["rate_high"]) == pytest.approx(wilson(wins, row["n"]))


def test_attempts_add_up_over_their_ends_and_over_the_day(db: Database) -> None:
    (counted,) = db.rows("SELECT count(*) AS n, count(*) FILTER (is_accepted) AS accepted FROM attempts")
    by_code = named.fill_rate_by_code(db).to_pylist()
    assert sum(row["attempts"] for row in by_code) == counted["n"]
    by_time = named.fill_rate_by_time(db).to_pylist()
    assert sum(row["n"] for row in by_time) == counted["accepted"]
    assert sum(row["attempts"] for row in by_time) == counted["n"]


def test_slippage_profit_and_latency_are_those_of_the_trades(db: Database) -> None:
    assert sum(row["n"] for row in named.slippage(db).to_pylist()) == len(
        db.rows("SELECT * FROM fills WHERE slippage IS NOT NULL")
    )
    (total,) = db.rows("SELECT sum(pnl) AS pnl FROM positions WHERE closed_utc IS NOT NULL AND qty > 0")
    rows = named.pnl(db).to_pylist()
    assert sum(row["pnl"] for row in rows) == pytest.approx(total["pnl"])
    assert {row["week"] for row in rows} == {date(2026, 11, 16)}
    for row in named.latency(db).to_pylist():
        assert 0 < row["alert_ms"] <= row["decided_ms"] <= row["order_ms"] < 60_000


def test_a_gap_report_has_the_share_that_is_missing(tmp_path: Path) -> None:
    warehouse = opened(tmp_path / "warehouse")
    silent = (("SPX", "classic_gex_zero"),)
    store(warehouse, *(make.bucket(n, absent=silent if n in (1, 2) else ()) for n in range(4)))
    (row,) = named.gap_report(Database(tmp_path)).to_pylist()
    assert (row["hub"], row["why"], row["stored"], row["missing"]) == ("classic", "silent", 14, 2)
    assert (row["share_missing"], row["intervals"], row["longest_min"]) == (2 / 16, 1, 1.0)


def test_what_rest_covered_is_not_missing_in_the_view_the_report_and_the_totals(tmp_path: Path) -> None:
    warehouse = opened(tmp_path / "warehouse")
    zero, full = ("SPX", "classic_gex_zero"), ("QQQ", "classic_gex_full")
    covered = msgspec.structs.replace(make.bucket(1), covered=(zero, full))
    absent = make.bucket(2, absent=(zero, full))
    not_polled = msgspec.structs.replace(make.bucket(3, absent=(zero, full)), not_polled=(full,))
    store(warehouse, make.bucket(0), covered, absent, not_polled)
    db = Database(tmp_path)
    found = {
        (row["why"], row["cover"]): (row["missing"], row["covered"], row["not_polled"], row["share_missing"])
        for row in named.gap_report(db).to_pylist()
    }
    assert found == {
        ("silent", ""): (3, 0, 0, 3 / 15), ("silent", "rest"): (0, 2, 0, 0.0), ("not_polled", ""): (0, 0, 1, 1 / 13),
    }  # fmt: skip
    totals = totals_of([db.warehouse.manifest(make.DAY)])
    assert (totals.missing_n, totals.covered_n, totals.not_polled_n, totals.absent_n) == (3, 2, 1, 4)
    assert totals.by_cause == {"classic: silent": 3, "classic: not_polled": 1}
    assert totals.text() == "3 rows missing, 2 covered, 1 not polled"
    (sums,) = db.rows("SELECT sum(rows)::INT AS absent, sum(of_rows)::INT AS all_rows FROM gaps")
    assert sums == {"absent": 4, "all_rows": 6}
