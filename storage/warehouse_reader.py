"""Reading the warehouse from any process beside its writer: files by manifest, rows bit for bit, SQL views."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from domain.instants import BUCKET_NS, session_of, to_datetime
from domain.options.profile import SCALARS, VALUE_COLUMNS, Row, Rows, Shape
from domain.units import Utc
from storage import bucket_file, manifest
from storage.manifest import Gap, Manifest, Part

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")
Condition = tuple[str, str, Any]

RETRIES = 5
KEPT_ROWS_MAX = 50_000
KEPT_FILES_MAX = 8
_COMPARE = {"=": pc.equal, ">=": pc.greater_equal, "<": pc.less}

# Wire integers that are not hundredths (`gexbot.md` §3).
_THOUSANDTHS = {"sum_gex_vol", "sum_gex_oi", "delta_risk_reversal", "call_ivol", "put_ivol"} | {
    f"max_change_{n}" for n in (0, 1, 5, 10, 15, 30)
}
VIEWS = {Shape.GEX: "gex", Shape.GREEK: "greeks", Shape.ORDERFLOW: "orderflow"}


class DamagedBucketError(Exception):
    """A bucket whose rows do not have the hash that they were stored with; one sentence."""


class WarehouseReader:
    """Read-only access to a warehouse folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept: dict[Path, pa.Table] = {}

    def sessions(self) -> tuple[date, ...]:
        """Return the sessions that there are, ascending."""
        return manifest.sessions_in(self._root)

    def manifest(self, session: date) -> Manifest:
        """Return a session's manifest, empty where nothing was stored.

        Raises:
            WarehouseRefusedError: unreadable or of a newer version.
        """
        return manifest.load(self._root, session)

    def gaps(self, session: date) -> tuple[Gap, ...]:
        """Return the session's gaps: intervals in which a group was expected and silent."""
        return self.manifest(session).gaps

    def read_bucket(self, session: date, hub: str, bucket_utc: Utc, content_hash: str | None = None) -> Rows | None:
        """Return a stored bucket; `None` where there is none (with `content_hash`: none with that hash).

        Raises:
            DamagedBucketError: what is stored is not what was written.
        """
        return self._retried(session, lambda found: self._bucket(found, hub, bucket_utc, content_hash))

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
        where: list[Condition] = [
            ("ticker", "=", ticker),
            ("bucket_utc", ">=", wanted[0]),
            ("bucket_utc", "<", until_utc),
        ]
        by_bucket: dict[Utc, list[Row]] = {bucket_utc: [] for bucket_utc in wanted}
        for part in found.parts:
            if part.last_utc >= wanted[0] and part.first_utc < until_utc:
                table = self._table(found.session, part, where)
                for bucket_utc, (_, row) in zip(
                    table["bucket_utc"].to_pylist(), bucket_file.rows_of(table, part.shape), strict=True
                ):
                    by_bucket[bucket_utc].append(row)
        return tuple((bucket_utc, tuple(rows)) for bucket_utc, rows in by_bucket.items())

    def _bucket(self, found: Manifest, hub: str, bucket_utc: Utc, content_hash: str | None) -> Rows | None:
        stored = next(
            (
                b
                for b in found.buckets.get(hub, ())
                if b.bucket_utc == bucket_utc and content_hash in (None, b.content_hash)
            ),
            None,
        )
        if stored is None:
            return None
        where: list[Condition] = [("bucket_utc", "=", bucket_utc), ("store_n", "=", stored.store_n)]
        numbered: list[tuple[int, Row]] = []
        for part in found.parts:
            is_other = not part.is_sealed and part.store_n != stored.store_n
            if part.hub == hub and part.first_utc <= bucket_utc <= part.last_utc and not is_other:
                numbered += bucket_file.rows_of(self._table(found.session, part, where), part.shape)
        rows = tuple(row for _, row in sorted(numbered, key=lambda pair: pair[0]))
        rebuilt = Rows(f"{session_of(bucket_utc)}/{hub}/{bucket_utc}", rows)
        if rebuilt.content_hash != stored.content_hash:
            raise DamagedBucketError(f"Bucket {rebuilt.ref} does not have the hash that it was stored with.")
        return rebuilt

    def _table(self, session: date, part: Part, where: list[Condition]) -> pa.Table:
        """Read the rows of a file that meet all conditions.

        A sealed file of moderate size is kept: a replay asks it for one bucket after the other, and opening it costs
        a hundred times the answer.
        """
        path = manifest.folder_of(self._root, session) / part.name
        if part.rows > KEPT_ROWS_MAX:
            return pq.read_table(path, filters=where)
        table = self._kept.get(path)
        if table is None:
            table = pq.ParquetFile(path).read(use_threads=False)
            if part.is_sealed:
                self._kept[path] = table
                while len(self._kept) > KEPT_FILES_MAX:
                    del self._kept[next(iter(self._kept))]
        meets = [_COMPARE[how](table[name], value) for name, how, value in where]
        return table.filter(functools.reduce(pc.and_, meets))

    def _retried(self, session: date, read: Callable[[Manifest], T]) -> T:
        """Read by the manifest; a file that was sealed over meanwhile is found under the next manifest."""
        for _ in range(RETRIES):
            try:
                return read(self.manifest(session))
            except FileNotFoundError:
                continue
        raise FileNotFoundError(f"the files of {session} change faster than they can be read")

    def views(self, sessions: Iterable[date]) -> duckdb.DuckDBPyConnection:
        """Return an in-memory DuckDB with views `gex`, `greeks`, `orderflow` (scaled to units) and a table `gaps`.

        Times are UTC without a zone. `store_n` above 0 is a bucket that was stored again (rows that came late).
        The file list is that of now; make a new one to see later buckets.
        """
        import duckdb  # noqa: PLC0415 - 40 MB that only analysis needs, never the trading process

        db = duckdb.connect()
        found = [self.manifest(session) for session in sessions]
        for shape, view in VIEWS.items():
            paths = [
                str(manifest.folder_of(self._root, m.session) / part.name)
                for m in found
                for part in m.parts
                if part.shape is shape
            ]
            source = f"read_parquet({paths!r})"
            if not paths:
                db.register(f"no_{view}", bucket_file.schema_of(shape).empty_table())
                source = f"no_{view}"
            db.execute(f"CREATE VIEW {view} AS SELECT {', '.join(_scaled(shape))} FROM {source}")
        db.execute(
            "CREATE TABLE gaps (session DATE, hub TEXT, ticker TEXT, category TEXT, from_utc TIMESTAMP,"
            " to_utc TIMESTAMP, buckets BIGINT, why TEXT)"
        )
        rows = [(m.session, *_gap_row(gap)) for m in found for gap in m.gaps]
        if rows:
            db.executemany("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return db


def _naive(instant_utc: Utc) -> datetime:
    return to_datetime(instant_utc).replace(tzinfo=None)


def _gap_row(gap: Gap) -> tuple[Any, ...]:
    buckets = (gap.to_utc - gap.from_utc) // BUCKET_NS
    return (gap.hub, gap.ticker, gap.category, _naive(gap.from_utc), _naive(gap.to_utc), buckets, gap.why)


def _scaled(shape: Shape) -> list[str]:
    """Return the select list that turns wire integers into units."""
    plain = (
        "instant", "bucket", "session", "hub", "category", "ticker", "mode", "latency_ms", "sequence", "frames",
        "store_n", "row_n",
    )  # fmt: skip
    scalars = [f"{name} / {_scale(name)} AS {name}" for name in ("spot", *SCALARS[shape])]
    lists = [
        f"list_transform({name}, lambda x: x / {_scale(name)}) AS {name}"
        for name in (bucket_file.list_columns(shape) if VALUE_COLUMNS[shape] else ())
    ]
    return [*plain, *scalars, *lists]


def _scale(name: str) -> str:
    return "1000.0" if name in _THOUSANDTHS else "100.0"
