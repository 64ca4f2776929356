"""The warehouse at 39 tickers × 13 categories beside SQLite with JSON rows: appends, bytes, queries, seals."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import market_day as synthetic
from benchmarks.figures import SPREAD, Report, fsync_floor_ns, percentile, spread, work_folder
from domain.instants import BUCKET_NS
from domain.options.profile import Profile, Row, shape_of
from domain.units import Ticks, Utc
from messages import market
from storage import bucket_file, bucket_log, manifest
from storage.bucket_columns import columns_of
from storage.manifest import Part
from storage.views.database import Database
from storage.views.named import day_series, heatmap, last_bucket, month_aggregates
from storage.warehouse import Warehouse

APPENDS: Final = 60
INCUMBENT_BUCKETS: Final = 24
QUERIES: Final = 30
POLLS: Final = 20
MONTH_DAYS: Final = 22  # of 960 buckets × 39 tickers × 13 categories: 10.7 million rows
TICKER, CATEGORY = synthetic.TICKERS[0], "classic_gex_zero"
ROWS = synthetic.ROWS_A_BUCKET


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens the day and the month."""
    report = Report("warehouse", "The warehouse at full width", "python -m benchmarks warehouse")
    buckets_n = max(60, round(synthetic.BUCKETS * scale))
    days_n = max(1, round(MONTH_DAYS * scale))
    with work_folder() as folder:
        incumbent = Incumbent(folder / "incumbent.db")
        incumbent_took = _incumbent(incumbent, max(4, round(INCUMBENT_BUCKETS * scale)), buckets_n)
        root = folder / "data" / "warehouse"
        warehouse = Warehouse(root)
        warehouse.open()
        sealed_bytes = _sealed_day(warehouse, root, buckets_n)
        _appends(report, warehouse, root, max(12, round(APPENDS * scale)), buckets_n, incumbent_took)
        db = Database(folder / "data")
        _queries(report, db, incumbent, "beside the day's hot files")
        asked = _asked(db, incumbent)
        _polled(report, asked, warehouse, max(4, round(POLLS * scale)), buckets_n + max(12, round(APPENDS * scale)))
        _seals(report, warehouse, root)
        _queries(report, db, incumbent, "of the day sealed whole")
        _sizes(report, sealed_bytes / (ROWS * buckets_n), incumbent, buckets_n)
        warehouse.close()
        _month(report, folder / "month", days_n)
        incumbent.close()
    return report


# -- the incumbent's design --------------------------------------------------------------------------


class Incumbent:
    """One SQLite table of JSON rows with two indexes, WAL, synchronous=FULL; a transaction a bucket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows_n = 0
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE data (ts INTEGER, hub TEXT, ticker TEXT, category TEXT, body TEXT)")
        self._db.execute("CREATE INDEX by_group ON data (ticker, category, ts)")
        self._db.execute("CREATE INDEX by_time ON data (ts)")

    def store(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Store rows, each behind its bucket, in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT INTO data VALUES (?, ?, ?, ?, ?)",
            [(utc, r.hub, r.profile.ticker, r.profile.category, _json(r)) for utc, r in rows],
        )
        self._db.execute("COMMIT")
        self.rows_n += len(rows)

    def bytes_a_row(self) -> float:
        """Return the bytes of a row with its indexes."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.path.stat().st_size / self.rows_n

    def newest(self) -> list[Any]:
        """Return the newest bucket's rows."""
        found = self._db.execute("SELECT body FROM data WHERE ts = (SELECT max(ts) FROM data)")
        return [json.loads(body)["spot"] for (body,) in found]

    def bodies(self) -> list[Any]:
        """Return a day of one ticker and category."""
        found = self._db.execute(
            "SELECT body FROM data WHERE ticker = ? AND category = ? ORDER BY ts", (TICKER, CATEGORY)
        )
        return [json.loads(body) for (body,) in found]

    def close(self) -> None:
        """Release the file."""
        self._db.close()


def _json(row: Row) -> str:
    profile = row.profile
    strikes = [
        [strike / 100, *(value / 100 for value in values), [prior / 100 for prior in priors]]
        for strike, values, priors in zip(
            profile.strikes.tolist(), profile.values.tolist(), profile.priors.tolist(), strict=True
        )
    ]
    scalars = {str(k): value / 1000 for k, value in enumerate(profile.scalars)}
    return json.dumps({"timestamp": profile.source_utc, "ticker": profile.ticker, "spot": profile.spot / 100,
                       **scalars, "strikes": strikes})  # fmt: skip


def _incumbent(incumbent: Incumbent, buckets_n: int, day_n: int) -> list[int]:
    took = []
    batches = list(synthetic.batches(buckets_n, day_n))
    for batch in batches:
        rows = [(message.bucket_utc, row) for message in batch for row in message.rows.rows]
        began = time.perf_counter_ns()
        incumbent.store(rows)
        took.append(time.perf_counter_ns() - began)
    # One group's whole day, so that its series and heatmap are those of a day.
    found = synthetic.group(TICKER, CATEGORY, day_n)
    like = next(r for m in batches[0] for r in m.rows.rows if r.profile.category == CATEGORY)
    incumbent.store([(synthetic.FIRST_UTC + k, _row(like, found, k)) for k in range(day_n)])
    return took


def _row(like: Row, found: synthetic.Group, k: int) -> Row:
    old = like.profile
    profile = Profile(
        TICKER, CATEGORY, old.source_utc, Ticks(int(found.spots[k])), tuple(map(int, found.scalars[k])), found.strikes,
        found.values[k], found.priors[k],
    )  # fmt: skip
    return Row(profile, like.hub, 30, like.first_utc, like.last_utc)


# -- ours ----------------------------------------------------------------------------------------------


def _sealed_day(warehouse: Warehouse, root: Path, buckets_n: int) -> int:
    """Put a whole sealed day in force; return its bytes."""
    made = write_day(root, synthetic.SESSION, buckets_n, has_strikes=True)
    warehouse.add_sealed(synthetic.SESSION, made)
    folder = manifest.folder_of(root, synthetic.SESSION)
    return sum((folder / part.name).stat().st_size for part in made)


def write_day(root: Path, session: date, buckets_n: int, *, has_strikes: bool) -> list[Part]:
    """Write a sealed day of every hub, not in force yet; without strikes its lists are empty."""
    folder = manifest.folder_of(root, session)
    folder.mkdir(parents=True)
    made = []
    for hub in synthetic.HUBS:
        shape = shape_of(synthetic.HUBS[hub][0])
        name, rows_n = f"whole-{hub}-{shape.value}-1.parquet", 0
        options = bucket_file.write_options(shape, level=3)
        with pq.ParquetWriter(folder / name, bucket_file.schema_of(shape), **options) as writer:
            for table in synthetic.sealed_tables(hub, session, buckets_n, has_strikes=has_strikes):
                writer.write_table(table, bucket_file.ROW_GROUP)
                rows_n += table.num_rows
        first_utc = Utc(table["bucket_utc"][0].as_py())
        last_utc = Utc(first_utc + (buckets_n - 1) * BUCKET_NS)
        made.append(Part(name, hub, shape, first_utc, last_utc, rows_n, is_sealed=True))
    return made


def _appends(report: Report, warehouse: Warehouse, root: Path, n: int, first: int, incumbent_took: list[int]) -> None:
    """Store buckets of all hubs: the log, and the same rows as one Parquet file, each beside a plain write as large."""
    took, floors, shown, files_took, files_floors = [], [], [], [], []
    folder = manifest.folder_of(root, synthetic.SESSION)
    logged_n = 0
    for batch in synthetic.batches(n, first):
        for message in batch:
            warehouse.take(message)
        began = time.perf_counter_ns()
        outcomes = warehouse.flush()
        took.append(time.perf_counter_ns() - began)
        assert all(isinstance(outcome, market.BucketStored) for outcome in outcomes), outcomes
        began = time.perf_counter_ns()
        warehouse.show()
        shown.append(time.perf_counter_ns() - began)
        size = sum(path.stat().st_size for _, path in manifest.logs_of(folder)) - logged_n
        logged_n += size
        floors += fsync_floor_ns(root, size, 1)
        ns, bytes_n = _one_file(root, batch)
        files_took.append(ns)
        files_floors += fsync_floor_ns(root, bytes_n, 1)
    took, floors, files_took, files_floors = (x[2:] for x in (took, floors, files_took, files_floors))
    report.table(
        f"Append of a bucket of all hubs ({ROWS} rows) until it is durable, n = {len(took)}; a floor writes and fsyncs "
        "one new file of as many bytes. The warehouse appends to the log; `show` comes after everybody was told.",
        ["what", *SPREAD],
        [
            ["record of the log", *spread(took)],
            [f"its floor ({logged_n // n:,} bytes)", *spread(floors)],
            ["one Parquet file a bucket, not chosen", *spread(files_took)],
            [f"its floor ({bytes_n:,} bytes)", *spread(files_floors)],
            ["show: hot files and the newest bucket's entry", *spread(shown)],
            ["incumbent: JSON rows, one transaction", *spread(incumbent_took)],
        ],
    )
    p99 = percentile(took, 99) / 1e6
    times = percentile(took, 99) / percentile(floors, 99)
    report.aim(f"durable append of a {ROWS}-row bucket, p99 ms", "≤ 20", f"{p99:.1f}", p99 <= 20)
    report.aim(
        "that append beside the disk's floor (p50, p99)", "≤ 5 ×",
        f"{percentile(took, 50) / percentile(floors, 50):.1f} ×, {times:.1f} ×", times <= 5,
    )  # fmt: skip
    report.note(f"A row takes {logged_n / n / ROWS:,.0f} bytes in the log until it is sealed.")
    base = (folder / manifest.FILE).stat().st_size
    headers = sum(len(r.header) for _, path in manifest.logs_of(folder) for r in bucket_log.scan(path).records)
    report.note(f"The manifest is {base:,} bytes and not written by an append; a bucket adds {headers // n:,} bytes.")


def _one_file(root: Path, batch: tuple[market.StoreBucket, ...]) -> tuple[int, int]:
    """Write a bucket as one Parquet file of all shapes, synced with its folder; return how long, and its bytes."""
    path = root / "one.parquet"
    began = time.perf_counter_ns()
    tables = [
        bucket_file.table_of(columns_of(shape, rows, synthetic.SESSION, message.bucket_utc, 0))
        for message in batch
        for shape, rows in bucket_file.by_shape(message.rows.rows).items()
    ]
    whole = pa.concat_tables(tables, promote_options="default")
    names = [f.name for f in whole.schema if f.type == pa.int32()]
    lists = [f"{f.name}.list.element" for f in whole.schema if pa.types.is_list(f.type)]
    pq.write_table(
        whole, path, compression="zstd", compression_level=1, use_dictionary=["hub", "category", "ticker", "mode"],
        use_byte_stream_split=[*names, *lists], store_schema=False,
    )  # fmt: skip
    with path.open("rb") as file:
        os.fsync(file.fileno())
    manifest.sync_folder(root)
    ns = time.perf_counter_ns() - began
    size = path.stat().st_size
    path.unlink()
    return ns, size


class Query(NamedTuple):
    """A query, its limit in ms and the incumbent's way."""

    name: str
    limit_ms: float
    ours: Callable[[], object]
    theirs: Callable[[], object]


def _asked(db: Database, incumbent: Incumbent) -> tuple[Query, ...]:
    session = synthetic.SESSION
    return (
        Query("latest bucket of all tickers", 10, lambda: last_bucket(db), incumbent.newest),
        Query(
            "day series of one ticker", 6,
            lambda: day_series(db, TICKER, session, CATEGORY, ("zero_gamma", "sum_gex_vol")), incumbent.bodies,
        ),
        Query("heatmap of a day", 15, lambda: heatmap(db, TICKER, session, CATEGORY), incumbent.bodies),
    )  # fmt: skip


def _queries(report: Report, db: Database, incumbent: Incumbent, when: str) -> None:
    rows = []
    for query in _asked(db, incumbent):
        first, took = _timed(query.ours)
        theirs_first, theirs = _timed(query.theirs, 5)
        rows.append([query.name, f"{first / 1e6:.1f}", *spread(took), f"{theirs_first / 1e6:.1f}", *spread(theirs)[:1]])
        p50 = percentile(took, 50) / 1e6
        report.aim(f"{query.name}, {when}, ms", f"≤ {query.limit_ms:g}", f"{p50:.1f}", p50 <= query.limit_ms)
    report.table(
        f"Queries {when} ({len(db.warehouse.manifest(synthetic.SESSION).parts)} files).",
        ["query", "first ms", *SPREAD, "incumbent first ms", "incumbent p50 ms"], rows,
    )  # fmt: skip


def _polled(report: Report, asked: Sequence[Query], warehouse: Warehouse, n: int, first: int) -> None:
    """Ask once after each of some new buckets, as a screen does: what was kept of before has to be added to."""
    took: dict[str, list[int]] = {query.name: [] for query in asked}
    for batch in synthetic.batches(n, first):
        for message in batch:
            warehouse.take(message)
        warehouse.flush()
        warehouse.show()
        for query in asked:
            began = time.perf_counter_ns()
            query.ours()
            took[query.name].append(time.perf_counter_ns() - began)
    report.table(
        f"The same, asked once after each of {n} new buckets; whoever asks first of a bucket reads the manifest again.",
        ["query", *SPREAD], [[name, *spread(found)] for name, found in took.items()],
    )  # fmt: skip


def _timed(query: Callable[[], object], n: int = QUERIES) -> tuple[int, list[int]]:
    took = []
    for _ in range(n + 1):
        began = time.perf_counter_ns()
        query()
        took.append(time.perf_counter_ns() - began)
    return took[0], took[1:]


def _seals(report: Report, warehouse: Warehouse, root: Path) -> None:
    rows = []
    for name, session in (("half an hour's log", None), ("the whole day into one file a hub", synthetic.SESSION)):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        assert warehouse.start_seal(session)
        why = warehouse.wait_for_seal()
        assert why == "", why
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        rows.append([name, f"{time.perf_counter() - began:.1f}", f"{cpu_s:.1f}", f"{after.ru_maxrss / 1024:.0f}"])
    report.table(
        "Seals, in a child process; the memory is the most that any of them took so far.",
        ["what", "s", "cores × s", "MB"], rows,
    )  # fmt: skip
    peak_mb = after.ru_maxrss / 1024
    report.aim("memory of a seal and of a day's compaction, MB", "bounded (≤ 512)", f"{peak_mb:.0f}", peak_mb <= 512)


def _sizes(report: Report, ours: float, incumbent: Incumbent, buckets_n: int) -> None:
    theirs = incumbent.bytes_a_row()
    report.aim("bytes a row, sealed", "≤ 1,000", f"{ours:,.0f}", ours <= 1_000)
    report.aim("times smaller than the incumbent", "≥ 8", f"{theirs / ours:.1f} ({theirs:,.0f} B)", theirs >= 8 * ours)
    report.note(
        f"Ours is a day of {buckets_n * ROWS:,} rows, the incumbent holds {incumbent.rows_n:,} of the same rows (its "
        "bytes a row do not depend on how many; a queried group is there with its whole day)."
    )


def _month(report: Report, folder: Path, days_n: int) -> None:
    """A month of all scalars with empty lists: aggregates read no list."""
    root = folder / "warehouse"
    root.mkdir(parents=True)
    days = [synthetic.SESSION - timedelta(days=k) for k in range(days_n)]
    for session in days:
        made = write_day(root, session, synthetic.BUCKETS, has_strikes=False)
        manifest.swap(root, manifest.Manifest(session, tuple(made)), is_durable=False)
    db = Database(folder)
    rows_n = db.rows("SELECT count(*) AS n FROM rows")[0]["n"]
    first, took = _timed(lambda: month_aggregates(db, days[-1], days[0]), 7)
    read_n = db.rows("SELECT count(*) AS n FROM gex")[0]["n"]
    p50_s = percentile(took, 50) / 1e9
    report.aim(f"month aggregate over {rows_n / 1e6:.1f} M rows, s", "≤ 0.6", f"{p50_s:.2f}", p50_s <= 0.6)
    report.note(
        f"The month aggregate (first {first / 1e9:.2f} s) groups the {read_n:,} rows of the month that have a gamma "
        f"profile by day, ticker and category."
    )
