"""A warehouse in a test's folder: stored days, seals, and the check that every row comes back."""

from __future__ import annotations

from pathlib import Path

from domain.options.profile import Row
from messages import market
from storage import manifest
from storage.manifest import Part
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make

HUBS = {
    "classic": ("classic_gex_zero", "classic_gex_full"),
    "state_greeks_zero": ("state_gamma_zero",),
    "orderflow": ("orderflow_orderflow",),
}


def opened(root: Path, *, shows: bool = True) -> Warehouse:
    warehouse = Warehouse(root, shows=shows)
    warehouse.open()
    return warehouse


def store(warehouse: Warehouse, *buckets: market.StoreBucket) -> tuple[object, ...]:
    for bucket in buckets:
        warehouse.take(bucket)
    outcomes = warehouse.flush()
    warehouse.show()
    return outcomes


def stored_day(root: Path, buckets_n: int = 4, *, shows: bool = True) -> Warehouse:
    warehouse = opened(root, shows=shows)
    for n in range(buckets_n):
        outcomes = store(warehouse, *(make.bucket(n, hub, categories) for hub, categories in HUBS.items()))
        assert all(isinstance(outcome, market.BucketStored) for outcome in outcomes)
    return warehouse


def sealed(warehouse: Warehouse, **options: object) -> None:
    assert warehouse.start_seal(**options)
    child = warehouse._child
    assert child is not None
    child._process.wait(timeout=60)
    assert warehouse.poll_seal() == ""


def assert_rows_back(root: Path, buckets_n: int = 4) -> None:
    reader = WarehouseReader(root)
    for n in range(buckets_n):
        for hub, categories in HUBS.items():
            said = make.bucket(n, hub, categories)
            found = reader.read_bucket(make.DAY, hub, said.bucket_utc)
            assert found is not None
            assert found == said.rows
            assert [metadata(row) for row in found.rows] == [metadata(row) for row in said.rows.rows]


def metadata(row: Row) -> tuple[object, ...]:
    return (row.hub, row.frames, row.first_utc, row.last_utc, row.mode, row.latency_ms, row.sequence)


def damage_log(root: Path, part: Part) -> None:
    """Change a byte of what the log holds of a part."""
    (logged,) = (one for one in manifest.logged_parts(manifest.folder_of(root, make.DAY), 0) if one.part == part)
    offset, length, _ = logged.record.bodies[logged.body_n]
    raw = bytearray(logged.path.read_bytes())
    raw[offset + length // 2] ^= 0xFF
    logged.path.write_bytes(raw)
