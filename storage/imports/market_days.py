"""Imported rows of the vendor's in the warehouse, beside live days: one sealed file a hub and shape, one swap a day.

Who imports holds the writer's lock. A file's rows are seen all or not at all: they are written under a name that no
manifest knows, synced, and put in force by one swap; what a crash leaves over is deleted by the next writer. A bucket
that is stored already, live or imported, stands: importing twice is importing once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import count
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from domain.options.profile import Row, Shape
from domain.units import Utc
from storage import bucket_file, manifest
from storage.aside import written_aside
from storage.bucket_columns import columns_of
from storage.manifest import IMPORT_STORE_N, Part
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader

Key = tuple[str, str, Utc]  # ticker, category, bucket


class Added(NamedTuple):
    """How many rows came to the warehouse, and how many were there already."""

    new_n: int
    known_n: int


class MarketDays:
    """The warehouse, held for an import; a context manager.

    Raises:
        WarehouseRefusedError: another process writes to it (a running supervisor), or it cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._warehouse = Warehouse(root)
        self._reader = WarehouseReader(root)

    def __enter__(self) -> Self:
        self._warehouse.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._warehouse.close()

    def findings(self) -> tuple[str, ...]:
        """Return what was found amiss when the warehouse was opened, in sentences."""
        return self._warehouse.take_findings()

    def add(self, session: date, rows: Iterable[tuple[Utc, Row]]) -> Added:
        """Put a session's rows in force, each behind its bucket; what is stored already is left out.

        Raises:
            OSError: nothing changed.
        """
        groups: defaultdict[tuple[str, Shape], list[tuple[Utc, Row]]] = defaultdict(list)
        for bucket_utc, row in rows:
            groups[row.hub, row.profile.shape].append((bucket_utc, row))
        known = self._known(
            session, {(row.profile.ticker, row.profile.category) for g in groups.values() for _, row in g}
        )
        fresh = {
            group: kept
            for group, found in groups.items()
            if (kept := [(b, r) for b, r in found if (r.profile.ticker, r.profile.category, b) not in known])
        }
        new_n = sum(len(found) for found in fresh.values())
        if new_n:
            self._put_in_force(session, fresh)
        return Added(new_n, sum(len(found) for found in groups.values()) - new_n)

    def _known(self, session: date, pairs: set[tuple[str, str]]) -> set[Key]:
        """Return which buckets of (ticker, category) pairs are stored."""
        found = self._reader.manifest(session)
        tickers, known = sorted({ticker for ticker, _ in pairs}), set[Key]()
        for shape in Shape:
            for path in self._reader.files(found, shape):
                table = pq.read_table(
                    path, columns=["ticker", "category", "bucket_utc"], filters=[("ticker", "in", tickers)],
                    partitioning=None,
                )  # fmt: skip
                known.update(
                    zip(*(table[name].to_pylist() for name in ("ticker", "category", "bucket_utc")), strict=True)
                )
        return known

    def _put_in_force(self, session: date, groups: dict[tuple[str, Shape], list[tuple[Utc, Row]]]) -> None:
        folder = manifest.folder_of(self._root, session)
        folder.mkdir(parents=True, exist_ok=True)
        made: list[Part] = []
        try:
            for (hub, shape), rows in sorted(groups.items()):
                name = _free_name(folder, hub, shape)
                _write(folder, name, shape, session, rows)
                buckets = [bucket_utc for bucket_utc, _ in rows]
                made.append(Part(name, hub, shape, min(buckets), max(buckets), len(rows), is_sealed=True))
            manifest.sync_folder(folder)
            self._warehouse.add_sealed(session, made)
        except OSError:
            for part in made:
                (folder / part.name).unlink(missing_ok=True)
            raise


def _free_name(folder: Path, hub: str, shape: Shape) -> str:
    names = (f"whole-{hub}-{shape.value}-{n}.parquet" for n in count(1))
    return next(name for name in names if not (folder / name).exists())


def _write(folder: Path, name: str, shape: Shape, session: date, rows: Sequence[tuple[Utc, Row]]) -> None:
    """Write one sorted file and sync it."""
    numbered = list(enumerate(row for _, row in rows))
    table = bucket_file.table_of(columns_of(shape, numbered, session, Utc(0), IMPORT_STORE_N))
    buckets = [bucket_utc for bucket_utc, _ in rows]
    for column, values in (("bucket_utc", buckets), ("bucket", [bucket_utc // 1_000 for bucket_utc in buckets])):
        at = table.schema.get_field_index(column)
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    table = table.sort_by([(key, "ascending") for key in bucket_file.SORT])
    options = bucket_file.write_options(shape, level=3)
    with written_aside(folder / name, is_durable=True) as aside:
        pq.write_table(table, aside, row_group_size=bucket_file.ROW_GROUP, **options)
