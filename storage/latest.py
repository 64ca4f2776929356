"""Each hub's newest bucket in units, an entry of its own: one small file a day, replaced whole after each store.

It is derived: who reads it compares its buckets with the manifest's, and reads the files where they differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from domain.options.profile import Shape
from storage.aside import written_aside
from storage.manifest import LATEST, Part
from storage.scales import in_units

LAST_BUCKET = pa.schema([
    ("bucket_utc", pa.timestamp("us")), ("hub", pa.string()), ("ticker", pa.string()), ("category", pa.string()),
    ("spot", pa.float64()), ("zero_gamma", pa.float64()), ("net_gamma", pa.float64()),
])  # fmt: skip
LEVELS = ("zero_gamma", "sum_gex_vol")
ORDER = [("hub", "ascending"), ("ticker", "ascending"), ("category", "ascending")]


def columns_needed(shape: Shape) -> list[str]:
    """Return the columns of a file that `in_view` needs."""
    return ["bucket", "hub", "ticker", "category", "bucket_utc", "spot", *(LEVELS if shape is Shape.GEX else ())]


def in_view(table: pa.Table) -> pa.Table:
    """Return a file's rows as `LAST_BUCKET`; levels that their shape has not are null."""
    missing = pa.nulls(table.num_rows, pa.float64())
    levels = [in_units(table[name], name) if name in table.column_names else missing for name in LEVELS]
    names = ("bucket", "hub", "ticker", "category")
    return pa.table([*(table[name] for name in names), in_units(table["spot"], "spot"), *levels], schema=LAST_BUCKET)


def write(folder: Path, stored: Iterable[tuple[Part, pa.Table]]) -> None:
    """Put the newest buckets of a day in force, those of hubs that stored nothing now as they were.

    Raises:
        OSError: the folder cannot be written.
    """
    found = read(folder) or LAST_BUCKET.empty_table()
    for part, rows in stored:
        mine = pc.equal(found["hub"], part.hub)
        newest = pc.max(found["bucket_utc"].filter(mine)).value
        bucket_us = part.last_utc // 1_000
        if newest is None or newest < bucket_us:
            found = found.filter(pc.invert(mine))
        if newest is None or newest <= bucket_us:
            found = pa.concat_tables([found, in_view(rows)])
    with (
        written_aside(folder / LATEST) as aside, aside.open("wb") as file,
        pa.ipc.new_stream(file, LAST_BUCKET) as writer,
    ):  # fmt: skip
        writer.write_table(found.combine_chunks().sort_by(ORDER))


def read(folder: Path) -> pa.Table | None:
    """Return the entry; `None` where there is none that can be read."""
    try:
        found = pa.ipc.open_stream((folder / LATEST).read_bytes()).read_all()
    except (OSError, pa.ArrowException):
        return None
    return found if found.schema.equals(LAST_BUCKET) else None
