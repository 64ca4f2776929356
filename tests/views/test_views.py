"""The views: their columns are those of the page, their rows are the facts, in dollars and on two clocks."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import msgspec
import pyarrow as pa
import pytest
from msgspec.structs import replace

from commands.folder import DataFolder
from commands.report import facts
from config.settings import load_settings
from domain.instants import to_datetime
from domain.options.profile import CLIPPED, SCALARS, Profile, Rows
from domain.signals.registry import FEATURES
from storage import manifest
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import start_run
from storage.sqlite_file import LedgerRefusedError
from storage.views import named
from storage.views.catalog import ALL, GROUPS, VIEWS
from storage.views.database import Database, QueryError
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit import ledger_asks as ask
from tests.testkit.paths import ROOT
from tests.testkit.warehouse_days import HUBS, damage_log, opened, sealed, store, stored_day

pytestmark = pytest.mark.slow


def one(db: Database, sql: str) -> object:
    (row,) = db.rows(sql)
    (value,) = row.values()
    return value


@pytest.mark.parametrize("name", VIEWS)
def test_a_views_columns_are_those_of_the_page(db: Database, tmp_path: Path, name: str) -> None:
    wanted = [column.name for column in VIEWS[name].columns]
    assert db.query(f"SELECT * FROM {name} LIMIT 1").column_names == wanted
    nothing = Database(tmp_path).query(f"SELECT * FROM {name}")
    assert nothing.column_names == wanted
    assert nothing.num_rows == (4 if name == "system_state" else 0)


def test_every_column_says_what_it_means_and_every_view_has_its_group() -> None:
    assert [f"{v.name}.{c.name}" for v in ALL for c in v.columns if not c.meaning] == []
    assert {view.group for view in ALL} == set(GROUPS)
    assert [c.name for v in ALL for c in v.columns if c.name.endswith("_utc") and c.unit != "UTC"] == []


def test_readings_are_those_of_the_report(db: Database, folder: Path) -> None:
    found = facts(load_settings(profile="demo"), DataFolder(folder), make.DAY)
    assert one(db, "SELECT count(*) FROM readings") == found["readings"]["computed"] > 700
    assert one(db, "SELECT count(DISTINCT ticker) FROM readings") == found["readings"]["tickers"]
    assert one(db, "SELECT count(*) FROM forces") == 5 * found["readings"]["computed"]


def test_rows_are_what_was_stored_and_what_a_plain_glob_reads(db: Database, folder: Path) -> None:
    stored_n = sum(part.rows for part in manifest.load(folder / "warehouse", make.DAY).parts)
    by_shape = "SELECT (SELECT count(*) FROM gex) + (SELECT count(*) FROM greeks) + (SELECT count(*) FROM orderflow)"
    glob = f"SELECT count(*) FROM read_parquet('{folder}/warehouse/date=*/*.parquet')"
    assert one(db, "SELECT count(*) FROM rows") == one(db, by_shape) == one(db, glob) == stored_n > 9_000


def test_one_select_joins_market_signals_and_trades(db: Database) -> None:
    rows = db.rows(
        "SELECT a.alert_id, a.entry, r.spot, g.zero_gamma, t.is_accepted, p.pnl, f.price FROM alerts a"
        " JOIN readings r USING (ticker, bucket_utc) JOIN gex g ON g.ticker = a.ticker AND g.bucket_utc = a.bucket_utc"
        " AND g.category = 'classic_gex_zero' JOIN attempts t USING (alert_id) JOIN positions p USING (alert_id)"
        " JOIN fills f USING (alert_id) WHERE NOT f.is_exit"
    )
    assert rows
    for row in rows:
        assert row["entry"] == row["spot"]
        assert row["is_accepted"]
        assert 0 < row["price"] < 100


def test_prices_are_dollars_and_instants_stand_on_both_clocks(db: Database, folder: Path) -> None:
    (trade,) = db.rows("SELECT * FROM fills ORDER BY at_utc LIMIT 1")
    ledger = LedgerReader(folder / "ledgers", "paper")
    first = ledger.executions(make.DAY)[0]
    assert trade["price"] == first["price_ticks"] / 100
    assert trade["fee"] == first["fee_cents"] / 100
    assert trade["slippage"] == pytest.approx(first["slippage_ticks"] / 100)
    at = to_datetime(first["at_utc"])
    assert trade["at_utc"].replace(tzinfo=UTC) == at
    assert trade["at_ny"].replace(tzinfo=ZoneInfo("America/New_York")) == at
    assert 5_000 < float(str(one(db, "SELECT avg(spot) FROM gex WHERE ticker = 'SPX'"))) < 7_000


def test_money_of_the_views_is_that_of_the_ledger(db: Database, folder: Path) -> None:
    trades = LedgerReader(folder / "ledgers", "paper").trades(make.DAY)
    assert trades
    cents = sum(row["realised_cents"] for row in trades)
    for sql in (
        "SELECT sum(pnl) FROM positions WHERE closed_utc IS NOT NULL",
        "SELECT sum(cash) - sum(fee) FROM fills JOIN positions USING (intent_id) WHERE closed_utc IS NOT NULL",
        "SELECT sum(final_pnl) FROM trades WHERE status = 'closed'",
        "SELECT sum(entry_credit - exit_debit - fees) FROM trades WHERE status = 'closed'",
    ):
        assert one(db, sql) == pytest.approx(cents / 100), sql


def test_every_gate_of_an_attempt_is_a_row_in_its_order(db: Database, folder: Path) -> None:
    attempts = LedgerReader(folder / "ledgers", "paper").attempts(make.DAY)
    for attempt in attempts:
        rows = db.rows(f"SELECT * FROM gates WHERE attempt_n = {attempt['n']} ORDER BY verdict_n")
        assert [row["gate"] for row in rows] == [verdict["gate"] for verdict in attempt["verdicts"]]
        assert [row["verdict_n"] for row in rows] == list(range(1, len(rows) + 1))
        assert [row["measured"] for row in rows] == [verdict["finding"]["measured"] for verdict in attempt["verdicts"]]


def test_features_have_their_names_and_an_alert_keeps_all_of_them(db: Database) -> None:
    (alert,) = db.rows("SELECT ticker, bucket_utc, features::DOUBLE[] AS told FROM alerts ORDER BY raised_utc LIMIT 1")
    (row,) = db.rows(
        f"SELECT * FROM features WHERE ticker = '{alert['ticker']}' AND bucket_utc = TIMESTAMP '{alert['bucket_utc']}'"
    )
    looked_at = {f.name: told for f, told in zip(FEATURES, alert["told"], strict=True) if told is not None}
    assert {name: row[name] for name in looked_at} == pytest.approx(looked_at, rel=1e-11)
    there = [feature.name for feature in FEATURES if row[feature.name] is not None]
    assert set(there) == set(looked_at)
    assert len(there) > 50


def test_an_outcome_stands_beside_its_alert_and_what_pushed_that(db: Database, folder: Path) -> None:
    recorded = {one.alert.key.alert_id: one for one in LedgerReader(folder / "ledgers", "paper").outcomes()}
    assert recorded
    for row in db.rows("SELECT o.*, a.pushes FROM outcomes o JOIN alerts a USING (alert_id)"):
        outcome = recorded[row["alert_id"]]
        assert (row["state"], row["first"]) == (outcome.state, outcome.first)
        assert (row["mfe_bps"], row["mae_stops"]) == (outcome.mfe_bps, outcome.mae_stops)
        assert {push[0] for push in msgspec.json.decode(row["pushes"])} >= {"gamma", "structure"}


def test_a_profile_has_a_row_a_strike_and_sums_to_the_rows_total(db: Database) -> None:
    worst = one(
        db,
        "SELECT max(abs(total - sum_gex_vol)) FROM (SELECT bucket_utc, sum(gex_vol) AS total FROM profile WHERE"
        " ticker = 'SPX' AND category = 'classic_gex_zero' GROUP BY 1) JOIN (SELECT bucket_utc, sum_gex_vol FROM gex"
        " WHERE ticker = 'SPX' AND category = 'classic_gex_zero') USING (bucket_utc)",
    )
    assert float(str(worst)) < 1


def test_a_minutes_bar_is_made_of_its_spots(db: Database) -> None:
    (bar,) = db.rows("SELECT * FROM bars WHERE ticker = 'SPX' AND minute_ny = TIMESTAMP '2026-11-20 10:15:00'")
    spots = [
        row["spot"]
        for row in db.rows(
            "SELECT spot FROM rows WHERE ticker = 'SPX' AND date_trunc('minute', last_ny) = TIMESTAMP"
            " '2026-11-20 10:15:00' ORDER BY last_utc"
        )
    ]
    assert (bar["open"], bar["close"]) == (spots[0], spots[-1])
    assert (bar["low"], bar["high"]) == (min(spots), max(spots))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM readigs", "There is no view readigs; did you mean readings?"),
        ("SELECT * FROM xyzzy", "There is no view xyzzy; there are: alert_log, alerts"),
        ("SELECT nope FROM readings", "not found"),
        ("SELECT * FROM read_parquet('/nowhere/*.parquet')", "No files found"),
        ("SELECT 1/'a' FROM", "error"),
        ("", ""),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(db: Database, sql: str, said: str) -> None:
    if not sql:
        assert db.query(sql).num_rows == 0
        return
    with pytest.raises(QueryError) as caught:
        db.query(sql)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_variable_of_the_program_is_no_table(db: Database) -> None:
    table = pa.table({"a": [1]})
    with pytest.raises(QueryError):
        db.query("SELECT * FROM table_of_mine")
    assert table.num_rows == 1


def test_a_clipped_value_is_null_and_its_neighbour_a_reading(tmp_path: Path) -> None:
    rows = []
    for ticker, sum_gex_vol, iv in (("SPX", CLIPPED, CLIPPED), ("SPY", -CLIPPED, 200), ("QQQ", CLIPPED - 1, 300)):
        for category in ("classic_gex_zero", "state_gamma_zero"):
            made = make.row(ticker, category).profile
            scalars = dict(zip(SCALARS[made.shape], made.scalars, strict=True))
            values = made.values.copy()
            if category == "classic_gex_zero":
                scalars["sum_gex_vol"] = sum_gex_vol
            else:
                values[:, 0] = iv
            changed = Profile(
                ticker, category, made.source_utc, made.spot, tuple(scalars.values()), made.strikes, values, made.priors
            )
            rows.append(replace(make.row(ticker, category), profile=changed))
    bucket = replace(make.bucket(), rows=Rows("clipped", tuple(rows)))
    warehouse = opened(tmp_path / "warehouse")
    store(warehouse, bucket)
    warehouse.close()
    db = Database(tmp_path)
    assert db.rows("SELECT ticker, sum_gex_vol FROM gex ORDER BY ticker") == [
        {"ticker": "QQQ", "sum_gex_vol": (CLIPPED - 1) / 1000}, {"ticker": "SPX", "sum_gex_vol": None},
        {"ticker": "SPY", "sum_gex_vol": None},
    ]  # fmt: skip
    found = db.rows("SELECT DISTINCT ticker, call_iv FROM profile WHERE category = 'state_gamma_zero' ORDER BY ticker")
    assert [row["call_iv"] for row in found] == [0.3, None, 0.2]
    (spx,) = named.heatmap(db, "SPX", make.DAY, "state_gamma_zero", "call_ivol").to_pylist()
    assert set(spx["values"]) == {None}
    series = WarehouseReader(tmp_path / "warehouse").series(make.DAY, "SPX", "classic_gex_zero", ["sum_gex_vol"])
    assert series["sum_gex_vol"].to_pylist() == [None]


def test_only_the_sessions_asked_for_are_in_view(folder: Path) -> None:
    other = Database(folder, [make.DAY.replace(day=19)])
    for name in ("rows", "readings", "trace", "gaps"):
        assert one(other, f"SELECT count(*) FROM {name}") == 0


def test_a_ledger_that_cannot_be_used_is_refused_and_the_market_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "ledgers").mkdir()
    (tmp_path / "ledgers" / "ledger.db").write_bytes(b"no database")
    stored_day(tmp_path / "warehouse", 1).close()
    db = Database(tmp_path)
    with pytest.raises(LedgerRefusedError):
        db.query("SELECT * FROM alerts")
    assert one(db, "SELECT count(*) FROM rows") == 8


def test_a_query_sees_what_the_desks_ledger_committed_just_now(tmp_path: Path) -> None:
    start_run(tmp_path / "ledgers", ("paper",), ask.T0)
    desk = DeskLedger(tmp_path / "ledgers", "paper", run_n=1)
    desk.open()
    db = Database(tmp_path)
    seen = []
    for n in (1, 2, 3):
        desk.apply(ask.reserve(n), ask.T0)
        seen.append(one(db, "SELECT count(*) FROM attempts"))
    assert seen == [1, 2, 3]


def test_a_trace_under_way_is_read_up_to_its_last_whole_line(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "traces" / "2026-11-20" / "run-1.jsonl").read_bytes()
    cuts = [len(whole) // 3, len(whole) // 2, len(whole)]
    path = tmp_path / "traces" / "2026-11-20" / "run-1.jsonl"
    path.parent.mkdir(parents=True)
    db = Database(tmp_path)
    for at in cuts:
        path.write_bytes(whole[:at])
        kept = whole[: whole.rfind(b"\n", 0, at) + 1]
        readings = {
            (line.split(b'"ticker":"')[1].split(b'"')[0], line.split(b'"bucket_utc":')[1].split(b",")[0])
            for line in kept.splitlines()
            if b'"type":"signals.FeaturesComputed"' in line
        }
        assert one(db, "SELECT count(*) FROM readings") == len(readings)
        assert one(db, "SELECT count(*) FROM trace") == kept.count(b'{"kind":"envelope"')


def test_a_sealed_trace_is_read_like_a_plain_one(folder: Path, tmp_path: Path, db: Database) -> None:
    from supervision.trace import seal  # noqa: PLC0415

    path = tmp_path / "traces" / "2026-11-20" / "run-1.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes((folder / "traces" / "2026-11-20" / "run-1.jsonl").read_bytes())
    sealed = Database(tmp_path)
    before = one(sealed, "SELECT count(*) FROM readings")
    seal(path)
    for name in ("readings", "trace"):
        assert one(sealed, f"SELECT count(*) FROM {name}") == one(db, f"SELECT count(*) FROM {name}")
    assert before == one(sealed, "SELECT count(*) FROM readings")


def test_a_cut_file_is_left_out_and_the_gap_is_told_once_the_writer_saw_it(tmp_path: Path) -> None:
    stored_day(tmp_path / "warehouse", 2).close()
    part = manifest.load(tmp_path / "warehouse", make.DAY).parts[0]
    damage_log(tmp_path / "warehouse", part)
    (manifest.folder_of(tmp_path / "warehouse", make.DAY) / part.name).write_bytes(b"")
    db = Database(tmp_path)
    assert one(db, "SELECT count(*) FROM rows") == 16 - part.rows
    opened(tmp_path / "warehouse").close()
    (gap,) = db.rows("SELECT * FROM gaps")
    assert (gap["hub"], gap["ticker"], gap["rows"], gap["buckets"]) == (part.hub, None, part.rows, 1)
    assert gap["why"].startswith("damaged")


def test_a_file_that_is_damaged_inside_is_left_out_and_named_and_the_others_answer(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path / "warehouse", 2)
    store(warehouse, make.bucket(3 * 24 * 120))  # Monday's
    sealed(warehouse, session=make.DAY)
    warehouse.close()
    (file,) = manifest.folder_of(tmp_path / "warehouse", make.DAY).glob("whole-classic-*")
    raw = bytearray(file.read_bytes())
    for at in range(100, len(raw) // 2, 97):
        raw[at] ^= 0x55
    file.write_bytes(raw)
    db = Database(tmp_path)
    found = db.rows("SELECT session, count(*) AS n, sum(spot) > 0 AS is_read FROM rows GROUP BY ALL ORDER BY 1")
    assert [(row["session"], row["n"]) for row in found] == [(make.DAY, 8), (date(2026, 11, 23), 4)]
    assert db.left_out is not None and file.name in db.left_out
    with pytest.raises(QueryError, match="There is no view rowz"):
        db.rows("SELECT * FROM rowz")


WRITER = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from storage.warehouse import Warehouse
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import HUBS
warehouse = Warehouse(Path({folder!r}))
warehouse.open()
for n in range(100_000):
    for hub, categories in HUBS.items():
        warehouse.take(make.bucket(n, hub, categories, strikes_n=3))
    warehouse.flush()
    warehouse.show()
    Path({said!r}).write_text(str(n))
    if n % 2 == 1:
        sys.stdin.readline()  # what goes on beside one query; a day of thousands of buckets would only be slow to read
    if n % 16 == 15:
        warehouse.start_seal()
    assert warehouse.poll_seal() in ("", None)
"""


def test_two_hundred_queries_beside_a_writer_never_fail_and_see_its_last_bucket(tmp_path: Path) -> None:
    said = tmp_path / "said"
    program = WRITER.format(root=str(ROOT), folder=str(tmp_path / "warehouse"), said=str(said))
    db = Database(tmp_path)
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdin is not None
            while not said.exists() or not said.read_text():
                assert writer.poll() is None
            for k in range(200):
                print(file=writer.stdin, flush=True)
                before = int(said.read_text() or -1)
                view = ("gex", "orderflow", "rows", "bars", "profile")[k % 5]
                column = "minute_utc" if view == "bars" else "bucket_utc"
                newest = one(db, f"SELECT max({column}) FROM {view}")
                wanted = make.T0 // 1000 + before * 30_000_000
                assert isinstance(newest, datetime)
                lag_s = wanted / 1e6 - newest.replace(tzinfo=UTC).timestamp()
                assert lag_s <= (60 if view == "bars" else 0), f"{view} is {lag_s} s behind"
                if k % 20 == 0:
                    assert db.warehouse.last_bucket(make.DAY).num_rows == 8
            assert manifest.load(tmp_path / "warehouse", make.DAY).seal_n >= 2, "files were sealed over meanwhile"
        finally:
            writer.kill()


def test_days_of_a_warehouse_are_one(tmp_path: Path) -> None:
    store(opened(tmp_path / "warehouse"), *(make.bucket(n, hub, c) for n in (0, 2_880 * 3) for hub, c in HUBS.items()))
    db = Database(tmp_path)
    assert len(db.sessions()) == 2
    assert one(db, "SELECT count(*) FROM rows") == 16
    assert one(db, "SELECT count(DISTINCT session) FROM rows") == 2
    assert duckdb.__version__ >= "2"
