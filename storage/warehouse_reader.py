"""Reading the warehouse from any process beside its writer: files by manifest, rows bit for bit, SQL views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from domain.instants import BUCKET_NS, session_of, to_datetime
from domain.options.profile import SCALARS, VALUE_COLUMNS, Row, Rows, Shape, shape_of
from domain.session.calendar import TradingDay
from domain.units import Utc
from storage import bucket_file, latest, manifest
from storage.bucket_columns import list_columns
from storage.delivered import Delivered, delivered
from storage.latest import LAST_BUCKET
from storage.manifest import IMPORT_STORE_N, Bucket, Gap, Manifest, Part
from storage.scales import in_units, sql_in_units
from storage.ticker_columns import TickerColumns, in_new_york, in_order, lists_in_units, where

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

RETRIES = 5
START_UTC = Utc(0)
KEPT_ROWS_MAX = 50_000
KEPT_FILES_MAX = 16  # of a day of one ticker, imported a category a file, all
KNOWN_FILES_MAX = 20_000

VIEWS = {Shape.GEX: "gex", Shape.GREEK: "greeks", Shape.ORDERFLOW: "orderflow"}


class DamagedBucketError(Exception):
    """A bucket whose rows do not have the hash that they were stored with; one sentence."""


class WarehouseReader:
    """Read-only access to a warehouse folder.

    Args:
        root: the folder.
        is_past: a session's manifest is read once: of one that is being written, what comes later is not seen.
    """

    def __init__(self, root: Path, *, is_past: bool = False) -> None:
        self._root = root
        self._is_past = is_past
        self._kept: dict[tuple[date, str], tuple[bucket_file.Decoded, dict[tuple[Utc, int], list[int]]]] = {}
        self._manifests: dict[date, tuple[manifest.Stamp, Manifest]] = {}
        self._stored: tuple[Manifest, dict[tuple[str, Utc], list[Bucket]]] | None = None
        self._imports: dict[tuple[date, str], frozenset[Utc]] = {}
        self._whole: set[Path] = set()
        self.damaged: set[Path] = set()  # inside; left out of `files` once somebody has stumbled over them
        self._files: dict[tuple[date, Shape], tuple[Manifest, list[tuple[Part, Path]]]] = {}
        self._columns = TickerColumns()

    def sessions(self) -> tuple[date, ...]:
        """Return the sessions that there are, ascending."""
        return manifest.sessions_in(self._root)

    def manifest(self, session: date) -> Manifest:
        """Return a session's manifest, empty where nothing was stored; a bucket is in it once its files are there.

        Raises:
            WarehouseRefusedError: unreadable or of a newer version.
        """
        known = self._manifests.get(session)
        if known is not None and self._is_past:
            return known[1]
        stamp = manifest.stamp_of(self._root, session)
        if known is not None and stamp and known[0] == stamp:
            return known[1]
        found = manifest.load(self._root, session, is_shown_only=True)
        if stamp:
            self._manifests[session] = stamp, found
        return found

    def gaps(self, session: date) -> tuple[Gap, ...]:
        """Return the session's gaps: intervals in which a group was expected and silent."""
        return self.manifest(session).gaps

    def delivered(self, day: TradingDay, tickers: Sequence[str], by_hub: Mapping[str, Sequence[str]]) -> Delivered:
        """Return of which buckets there are rows of these tickers and of each hub's categories.

        Raises:
            WarehouseRefusedError: the manifest is unreadable or of a newer version.
        """
        return delivered(self._root, self.manifest(day.session), day, tickers, by_hub)

    def read_bucket(self, session: date, hub: str, bucket_utc: Utc, content_hash: str | None = None) -> Rows | None:
        """Return a stored bucket; `None` where there is none (with `content_hash`: none with that hash).

        Raises:
            DamagedBucketError: what is stored is not what was written.
        """
        return self._retried(session, lambda found: self._bucket(found, hub, bucket_utc, content_hash))

    def imported_rows(self, session: date, hub: str, bucket_utc: Utc) -> tuple[Row, ...]:
        """Return what was imported of a bucket, which `read_bucket` knows nothing of; empty where nothing was.

        Raises:
            DamagedBucketError: it cannot be read.
        """
        return self._retried(session, lambda found: self._imported(found, hub, bucket_utc))

    def _imported(self, found: Manifest, hub: str, bucket_utc: Utc) -> tuple[Row, ...]:
        rows: list[Row] = []
        for part in found.parts:
            if not part.is_sealed or part.hub != hub or not part.first_utc <= bucket_utc <= part.last_utc:
                continue
            key = found.session, part.name
            try:
                if key not in self._imports:
                    path = manifest.folder_of(self._root, found.session) / part.name
                    stored = pq.ParquetFile(path).read(columns=["bucket_utc", "store_n"], use_threads=False)
                    of_imports = stored.filter(pc.equal(stored["store_n"], IMPORT_STORE_N))
                    self._imports[key] = frozenset(of_imports["bucket_utc"].to_pylist())
                if bucket_utc in self._imports[key]:
                    numbered = self._rows_in(found.session, part, Bucket(bucket_utc, IMPORT_STORE_N, ""))
                    rows += (row for _, row in sorted(numbered, key=lambda pair: pair[0]))
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, FileNotFoundError):
                    raise
                raise DamagedBucketError(f"Bucket {hub}/{bucket_utc} lies in {part.name}: {error}.") from None
        return tuple(rows)

    def resolve(self, ref: str, content_hash: str | None = None) -> Rows | None:
        """Return rows by their reference in a trace: `[<session>/]<hub>/<bucket_utc>[/<ticker> | /late]`.

        `None` where nothing of that reference (and hash) was stored.

        Raises:
            ValueError: no such form.
            DamagedBucketError: what is stored is not what was written.
        """
        words = ref.split("/")
        if words[0].count("-") == 2:
            del words[0]  # the session follows from the bucket
        if len(words) not in (2, 3):
            raise ValueError(f"{ref!r} is no reference of the form session/hub/bucket[/ticker]")
        hub, bucket_utc = words[0], Utc(words[1])
        session = session_of(bucket_utc)
        if words[2:] in ([], ["late"]):
            return self.read_bucket(session, hub, bucket_utc, content_hash)
        for bucket in self.manifest(session).buckets.get(hub, ()):
            if bucket.bucket_utc == bucket_utc:
                whole = self.read_bucket(session, hub, bucket_utc, bucket.content_hash)
                rows = whole.of(words[2]) if whole is not None else None
                if rows is not None and content_hash in (None, rows.content_hash):
                    return rows
        return None

    def last_rows(
        self, session: date, ticker: str, until_utc: Utc, buckets_n: int = 240
    ) -> tuple[tuple[Utc, tuple[Row, ...]], ...]:
        """Return a ticker's rows of the last buckets before `until_utc`, ascending: what a reading restarts from."""
        return self._retried(session, lambda found: self._last_rows(found, ticker, until_utc, buckets_n))

    def _last_rows(
        self, found: Manifest, ticker: str, until_utc: Utc, buckets_n: int
    ) -> tuple[tuple[Utc, tuple[Row, ...]], ...]:
        known = {b.bucket_utc for stored in found.buckets.values() for b in stored if b.bucket_utc < until_utc}
        wanted = sorted(known)[-buckets_n:]
        if not wanted:
            return ()
        by_bucket: dict[Utc, list[Row]] = {bucket_utc: [] for bucket_utc in wanted}
        for part in found.parts:
            if part.last_utc >= wanted[0] and part.first_utc < until_utc:
                table = self._table(found.session, part, ticker, wanted[0], until_utc)
                for bucket_utc, (_, row) in zip(
                    table["bucket_utc"].to_pylist(), bucket_file.rows_of(table, part.shape), strict=True
                ):
                    by_bucket[bucket_utc].append(row)
        return tuple((bucket_utc, tuple(rows)) for bucket_utc, rows in by_bucket.items())

    def last_bucket(self, session: date | None) -> pa.Table:
        """Return the rows of each hub's newest bucket in units, as fast on a long day as at its start.

        `session` is the day to look at; `None` gives the empty table.
        """
        if session is None:
            return LAST_BUCKET.empty_table()
        return self._retried(session, self._last_bucket)

    def series(self, session: date, ticker: str, category: str, scalars: Iterable[str]) -> pa.Table:
        """Return a day of one ticker and category in units, by bucket: `bucket_utc`, `bucket_ny`, `spot`, the scalars.

        Of a bucket that was stored more than once, the last store counts.
        """
        return self._retried(session, lambda found: self._series(found, ticker, category, tuple(scalars)))

    def _series(self, found: Manifest, ticker: str, category: str, scalars: tuple[str, ...]) -> pa.Table:
        names = ["bucket", "store_n", "ticker", "category", "spot", *scalars]
        table = self._of_ticker(found, ticker, category, names, START_UTC)
        columns = {
            "bucket_utc": table["bucket"],
            "bucket_ny": in_new_york(table["bucket"], found.session),
            "spot": in_units(table["spot"], "spot"),
        }
        return pa.table(columns | {name: in_units(table[name], name) for name in scalars})

    def heatmap(self, session: date, ticker: str, category: str, column: str) -> pa.Table:
        """Return a day's profiles of one ticker and category in units, by bucket.

        The columns: `bucket_utc`, `bucket_ny`, `spot`, lists `strikes` and `values`. Of a bucket that was stored more
        than once, the last store counts.
        """
        found = self._retried(session, lambda known: self._profiles(known, ticker, category, column, START_UTC, ()))
        bucket = pc.divide(found["bucket_utc"], 1_000).cast(pa.timestamp("us"))
        names = {"strikes": "strikes", "values": column}
        return pa.table({
            "bucket_utc": bucket, "bucket_ny": in_new_york(bucket, session), "spot": in_units(found["spot"], "spot"),
            **{name: lists_in_units(found[of], of) for name, of in names.items()},
        })  # fmt: skip

    def profiles(self, session: date, ticker: str, category: str, column: str, since_utc: Utc = START_UTC) -> pa.Table:
        """Return a day's profiles of one ticker and category, ascending, in wire integers.

        The columns: `bucket_utc` (ns), `spot`, the scalars of the category's shape, `strikes`, `column` (both lists).
        Buckets before `since_utc` are left out; of one that was stored more than once, the last store counts.
        """
        scalars = SCALARS[shape_of(category)]
        return self._retried(session, lambda found: self._profiles(found, ticker, category, column, since_utc, scalars))

    def _profiles(
        self, found: Manifest, ticker: str, category: str, column: str, since_utc: Utc, scalars: tuple[str, ...]
    ) -> pa.Table:
        names = ["bucket_utc", "store_n", "ticker", "category", "spot", *scalars, "strikes", column]
        table = self._of_ticker(found, ticker, category, names, since_utc)
        return table.filter(pc.greater_equal(table["bucket_utc"], since_utc)) if since_utc > START_UTC else table

    def _of_ticker(self, found: Manifest, ticker: str, category: str, names: list[str], since_utc: Utc) -> pa.Table:
        """Return a day of one ticker and category, ascending by the first of `names`; files before `since_utc` not.

        Of a bucket that was stored more than once, the last store counts.
        """
        paths: dict[bool, list[Path]] = {True: [], False: []}
        for part, path in self._whole_files(found, shape_of(category)):
            if part.last_utc >= since_utc:
                paths[part.is_sealed].append(path)
        table = in_order(self._columns.read(paths[True], paths[False], ticker, category, names), names[0], "store_n")
        buckets = table[names[0]].to_numpy()
        return where(table, np.append(buckets[1:] != buckets[:-1], True) if len(buckets) else np.empty(0, np.bool_))

    def _last_bucket(self, found: Manifest) -> pa.Table:
        newest: dict[str, Utc] = {}
        for part in found.parts:
            newest[part.hub] = max(newest.get(part.hub, part.last_utc), part.last_utc)
        folder = manifest.folder_of(self._root, found.session)
        entry = latest.read(folder)
        if entry is not None and _buckets_of(entry) == {(hub, utc // 1_000) for hub, utc in newest.items()}:
            return entry
        pieces = [
            _latest(folder / part.name, part, newest[part.hub])
            for part in found.parts
            if part.last_utc == newest[part.hub]
        ]
        return pa.concat_tables([LAST_BUCKET.empty_table(), *pieces]).sort_by(latest.ORDER)

    def _bucket(self, found: Manifest, hub: str, bucket_utc: Utc, content_hash: str | None) -> Rows | None:
        buckets = self._buckets_by_place(found).get((hub, bucket_utc), ())
        stored = next((b for b in buckets if content_hash in (None, b.content_hash)), None)
        if stored is None:
            return None
        numbered: list[tuple[int, Row]] = []
        for part in found.parts:
            is_other = not part.is_sealed and part.store_n != stored.store_n
            if part.hub == hub and part.first_utc <= bucket_utc <= part.last_utc and not is_other:
                try:
                    numbered += self._rows_in(found.session, part, stored)
                except (pa.ArrowException, OSError) as error:
                    if isinstance(error, FileNotFoundError):
                        raise
                    raise DamagedBucketError(f"Bucket {hub}/{bucket_utc} lies in {part.name}: {error}.") from None
        rows = tuple(row for _, row in sorted(numbered, key=lambda pair: pair[0]))
        rebuilt = Rows(f"{session_of(bucket_utc)}/{hub}/{bucket_utc}", rows)
        if rebuilt.content_hash != stored.content_hash:
            raise DamagedBucketError(f"Bucket {rebuilt.ref} does not have the hash that it was stored with.")
        return rebuilt

    def _buckets_by_place(self, found: Manifest) -> dict[tuple[str, Utc], list[Bucket]]:
        """Return a manifest's buckets by hub and instant, as often as each was stored; kept for the newest manifest."""
        if self._stored is None or self._stored[0] is not found:
            places: dict[tuple[str, Utc], list[Bucket]] = {}
            for hub, buckets in found.buckets.items():
                for bucket in buckets:
                    places.setdefault((hub, bucket.bucket_utc), []).append(bucket)
            self._stored = found, places
        return self._stored[1]

    def _table(self, session: date, part: Part, ticker: str, first_utc: Utc, until_utc: Utc) -> pa.Table:
        """Return a file's rows of a ticker from one instant until before another; none of what cannot be read."""
        path = manifest.folder_of(self._root, session) / part.name
        try:
            table = bucket_file.read(path, part.shape, ticker)
        except pa.ArrowInvalid:
            return bucket_file.schema_of(part.shape).empty_table()
        at = table["bucket_utc"]
        is_within = pc.and_(pc.greater_equal(at, first_utc), pc.less(at, until_utc))
        return table.filter(pc.and_(pc.equal(table["ticker"], ticker), is_within))

    def _rows_in(self, session: date, part: Part, stored: Bucket) -> list[tuple[int, Row]]:
        """Return a stored bucket's rows in a file, each with its number in the bucket.

        A sealed file of moderate size is kept with an index: a replay asks it for one bucket after the other, and
        opening it costs a hundred times the answer.
        """
        known = self._kept.get((session, part.name)) if part.is_sealed else None
        if known is not None:
            return known[0].rows(known[1].get((stored.bucket_utc, stored.store_n), ()))
        path = manifest.folder_of(self._root, session) / part.name
        if not part.is_sealed:
            return bucket_file.rows_of(pq.ParquetFile(path).read(use_threads=False), part.shape)
        if part.rows > KEPT_ROWS_MAX:
            its_own = [("bucket_utc", "=", stored.bucket_utc), ("store_n", "=", stored.store_n)]
            return bucket_file.rows_of(pq.read_table(path, filters=its_own, partitioning=None), part.shape)
        decoded = bucket_file.Decoded(pq.ParquetFile(path).read(use_threads=False), part.shape)
        known = self._kept[session, part.name] = decoded, decoded.places()
        while len(self._kept) > KEPT_FILES_MAX:
            del self._kept[next(iter(self._kept))]
        return known[0].rows(known[1].get((stored.bucket_utc, stored.store_n), ()))

    def _retried(self, session: date, read: Callable[[Manifest], T]) -> T:
        """Read by the manifest; a file that was sealed over meanwhile is found under the next manifest."""
        for _ in range(RETRIES):
            try:
                return read(self.manifest(session))
            except FileNotFoundError:
                self._manifests.pop(session, None)
        raise FileNotFoundError(f"the files of {session} change faster than they can be read")

    def files(self, found: Manifest, shape: Shape) -> list[Path]:
        """Return a session's files of one shape; one that was cut is left out (the writer will say so).

        Raises:
            FileNotFoundError: sealed over meanwhile, the next manifest knows better.
        """
        return [path for _, path in self._whole_files(found, shape)]

    def _whole_files(self, found: Manifest, shape: Shape) -> list[tuple[Part, Path]]:
        """Return `files` with what the manifest says of them; kept as long as the manifest is the same."""
        known = self._files.get((found.session, shape))
        if known is not None and known[0] is found:
            return known[1]
        folder = manifest.folder_of(self._root, found.session)
        named = [(part, folder / part.name) for part in found.parts if part.shape is shape]
        if len(self._whole) > KNOWN_FILES_MAX:
            self._whole.clear()
        for _, path in named:
            if path not in self._whole and bucket_file.is_whole_file(path):
                self._whole.add(path)
        whole = [(part, path) for part, path in named if path in self._whole and path not in self.damaged]
        if len(whole) == len(named):
            self._files[found.session, shape] = found, whole
        return whole

    def leave_out_damaged(self, paths: Iterable[Path]) -> bool:
        """Read files to their end, leave those out that cannot be, and return whether there were any."""
        known_n = len(self.damaged)
        for path in paths:
            try:
                with pq.ParquetFile(path) as file:
                    for _ in file.iter_batches(bucket_file.ROW_GROUP):
                        pass
            except FileNotFoundError:
                continue  # sealed over meanwhile
            except (pa.ArrowException, OSError, ValueError):
                self.damaged.add(path)
        self._files.clear()
        return len(self.damaged) > known_n

    def views(self, sessions: Iterable[date]) -> duckdb.DuckDBPyConnection:
        """Return an in-memory DuckDB with views `gex`, `greeks`, `orderflow` (scaled to units) and a table `gaps`.

        Times are UTC without a zone. `store_n` above 0 is a bucket that was stored again (rows that came late).
        The file list is that of now; make a new one to see later buckets.
        """
        import duckdb  # noqa: PLC0415 - 40 MB that only analysis needs, never the trading process

        db = duckdb.connect()
        found = [self.manifest(session) for session in sessions]
        for shape, view in VIEWS.items():
            paths = [str(path) for m in found for path in self.files(m, shape)]
            source = f"read_parquet({paths!r})"
            if not paths:
                db.register(f"no_{view}", bucket_file.schema_of(shape).empty_table())
                source = f"no_{view}"
            db.execute(f"CREATE VIEW {view} AS SELECT {', '.join(_scaled(shape))} FROM {source}")
        db.execute(
            "CREATE TABLE gaps (session DATE, hub TEXT, ticker TEXT, category TEXT, from_utc TIMESTAMP,"
            " to_utc TIMESTAMP, buckets BIGINT, why TEXT, cover TEXT)"
        )
        rows = [(m.session, *_gap_row(gap)) for m in found for gap in m.gaps]
        if rows:
            db.executemany("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return db


def _buckets_of(entry: pa.Table) -> set[tuple[str, int]]:
    """Return the hubs of an entry, each with its bucket in µs."""
    buckets = entry.group_by("hub").aggregate([("bucket_utc", "max")])
    return set(zip(buckets["hub"].to_pylist(), buckets["bucket_utc_max"].cast(pa.int64()).to_pylist(), strict=True))


def _latest(path: Path, part: Part, bucket_utc: Utc) -> pa.Table:
    """Read one bucket of a file as `LAST_BUCKET`; none where the file cannot be read."""
    try:
        table = pq.ParquetFile(path).read(columns=latest.columns_needed(part.shape), use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        return LAST_BUCKET.empty_table()
    return latest.in_view(table.filter(pc.equal(table["bucket_utc"], bucket_utc)))


def _naive(instant_utc: Utc) -> datetime:
    return to_datetime(instant_utc).replace(tzinfo=None)


def _gap_row(gap: Gap) -> tuple[Any, ...]:
    buckets = (gap.to_utc - gap.from_utc) // BUCKET_NS
    return (gap.hub, gap.ticker, gap.category, _naive(gap.from_utc), _naive(gap.to_utc), buckets, gap.why, gap.cover)


def _scaled(shape: Shape) -> list[str]:
    """Return the select list that turns wire integers into units."""
    plain = (
        "instant", "bucket", "session", "hub", "category", "ticker", "mode", "latency_ms", "sequence", "frames",
        "store_n", "row_n",
    )  # fmt: skip
    scalars = [f"{sql_in_units(name, name)} AS {name}" for name in ("spot", *SCALARS[shape])]
    lists = [
        f"list_transform({name}, lambda x: {sql_in_units('x', name)}) AS {name}"
        for name in (list_columns(shape) if VALUE_COLUMNS[shape] else ())
    ]
    return [*plain, *scalars, *lists]
