"""The warehouse: rows come back bit for bit, and a crash at any point loses nothing that was acknowledged."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bucket_rows as make
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import BUCKET_NS
from domain.profile import SCALARS, Profile, Row, Rows
from messages import market
from storage import bucket_file, manifest
from storage.identities import violations_of
from storage.manifest import Gap, WarehouseRefusedError
from storage.seal import seal
from storage.warehouse import Warehouse
from storage.warehouse_reader import DamagedBucketError, WarehouseReader

ROOT = Path(__file__).parents[2]
HUBS = {
    "classic": ("classic_gex_zero", "classic_gex_full"),
    "state_greeks_zero": ("state_gamma_zero",),
    "orderflow": ("orderflow_orderflow",),
}


def opened(root: Path) -> Warehouse:
    warehouse = Warehouse(root)
    warehouse.open()
    return warehouse


def store(warehouse: Warehouse, *buckets: market.StoreBucket) -> tuple[object, ...]:
    for bucket in buckets:
        warehouse.take(bucket)
    return warehouse.flush()


def stored_day(root: Path, buckets_n: int = 4) -> Warehouse:
    warehouse = opened(root)
    for n in range(buckets_n):
        outcomes = store(warehouse, *(make.bucket(n, hub, categories) for hub, categories in HUBS.items()))
        assert all(isinstance(outcome, market.BucketStored) for outcome in outcomes)
    return warehouse


def sealed(warehouse: Warehouse, **options: object) -> None:
    assert warehouse.start_seal(**options)  # type: ignore[arg-type]
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


ints = st.integers(-(2**31), 2**31 - 1)


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(), category=st.sampled_from(["classic_gex_full", "state_charm_one", "orderflow_orderflow"]),
    n=st.integers(0, 5), instant_utc=st.integers(0, 2**62),
)  # fmt: skip
def test_any_wire_integers_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, category: str, n: int, instant_utc: int
) -> None:
    plain = make.row(category=category, strikes_n=n).profile
    draw = lambda shape: np.array(  # noqa: E731
        data.draw(st.lists(ints, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])), np.int32
    ).reshape(shape)
    profile = Profile(
        "ES_SPX", category, instant_utc, data.draw(ints),
        tuple(data.draw(ints) for _ in plain.scalars), draw((len(plain.strikes), 1))[:, 0],
        draw(plain.values.shape), draw(plain.priors.shape),
    )  # fmt: skip
    said = Row(profile, "hub", 3, instant_utc - 1, instant_utc, "rest", -4, 2**40)
    path = tmp_path_factory.mktemp("rows") / "x.parquet"
    table = bucket_file.table_of(profile.shape, [(7, said)], make.DAY, make.T0, 2)
    bucket_file.write_table(table, profile.shape, path, {})
    import pyarrow.parquet as pq  # noqa: PLC0415

    ((number, found),) = bucket_file.rows_of(pq.read_table(path), profile.shape)
    assert number == 7
    assert found.profile.digest() == profile.digest()
    assert metadata(found) == metadata(said)


def test_a_stored_bucket_comes_back_as_it_was_before_and_after_sealing(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path)
    assert_rows_back(tmp_path)
    sealed(warehouse)
    assert_rows_back(tmp_path)
    store(warehouse, *(make.bucket(4, hub, categories) for hub, categories in HUBS.items()))
    sealed(warehouse, session=make.DAY)
    assert_rows_back(tmp_path, 5)
    parts = manifest.load(tmp_path, make.DAY).parts
    assert [(part.hub, part.is_sealed) for part in parts] == [(hub, True) for hub in sorted(HUBS)]


def test_a_reference_of_a_trace_is_resolved_to_the_same_rows(tmp_path: Path) -> None:
    stored_day(tmp_path, 1)
    reader = WarehouseReader(tmp_path)
    said = make.bucket(0, "classic", HUBS["classic"]).rows
    assert reader.resolve(said.ref) == said
    part = said.of("QQQ")
    assert reader.resolve(part.ref, part.content_hash) == part
    assert reader.resolve(part.ref, "0" * 32) is None
    assert reader.resolve(f"{make.DAY}/classic/{make.T0 - BUCKET_NS}") is None
    with pytest.raises(ValueError, match="no reference"):
        reader.resolve("classic")


def test_a_bucket_told_twice_is_stored_once_and_another_one_of_its_time_beside_it(tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    first, other = make.bucket(absent=(("SPX", "classic_gex_full"),)), make.bucket(seed=1)
    store(warehouse, first)
    assert store(warehouse, first) == (
        market.BucketStored(hub="classic", bucket_utc=first.bucket_utc, content_hash=first.rows.content_hash),
    )
    store(warehouse, other)
    found = manifest.load(tmp_path, make.DAY)
    assert len(found.parts) == 2
    reader = WarehouseReader(tmp_path)
    assert reader.read_bucket(make.DAY, "classic", make.T0) == first.rows, "the first one is what was acted on"
    assert reader.read_bucket(make.DAY, "classic", make.T0, other.rows.content_hash) == other.rows
    sealed(warehouse)
    assert reader.read_bucket(make.DAY, "classic", make.T0, other.rows.content_hash) == other.rows


def test_a_hub_of_mixed_categories_keeps_the_order_of_its_rows(tmp_path: Path) -> None:
    said = make.bucket(0, "rest", ("orderflow_orderflow", "classic_gex_zero", "state_gamma_zero"))
    store(opened(tmp_path), said)
    assert WarehouseReader(tmp_path).read_bucket(make.DAY, "rest", make.T0) == said.rows


def test_consecutive_silent_buckets_are_one_gap_and_another_reason_is_another(tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    silent = (("SPX", "classic_gex_zero"),)
    for n in (0, 1, 1, 2, 4):
        store(warehouse, make.bucket(n, absent=silent))
    store(warehouse, msgspec.structs.replace(make.bucket(5, absent=silent), why_absent="link down"))
    at = [make.T0 + n * BUCKET_NS for n in range(7)]
    assert WarehouseReader(tmp_path).gaps(make.DAY) == (
        Gap("classic", "SPX", "classic_gex_zero", at[0], at[3], "silent"),
        Gap("classic", "SPX", "classic_gex_zero", at[4], at[5], "silent"),
        Gap("classic", "SPX", "classic_gex_zero", at[5], at[6], "link down"),
    )


def test_a_wholly_silent_bucket_is_stored_as_gaps(tmp_path: Path) -> None:
    pairs = tuple((ticker, "classic_gex_zero") for ticker in ("SPX", "QQQ"))
    (outcome,) = store(opened(tmp_path), make.bucket(0, "classic", ("classic_gex_zero",), absent=pairs))
    assert isinstance(outcome, market.BucketStored)
    assert len(WarehouseReader(tmp_path).gaps(make.DAY)) == 2
    rows = WarehouseReader(tmp_path).read_bucket(make.DAY, "classic", make.T0)
    assert rows is not None
    assert rows.rows == ()


def changed(row: Row, name: str, by: int) -> Row:
    """The same row with one scalar off by `by`."""
    old = row.profile
    at = SCALARS[old.shape].index(name)
    scalars = (*old.scalars[:at], old.scalars[at] + by, *old.scalars[at + 1 :])
    profile = Profile(old.ticker, old.category, old.source_utc, old.spot, scalars, old.strikes, old.values, old.priors)
    return msgspec.structs.replace(row, profile=profile)


@pytest.mark.parametrize(
    ("category", "name", "within", "beyond", "identity"),
    [
        ("classic_gex_full", "sum_gex_vol", 105, 106, "gex_vol"),
        ("classic_gex_full", "sum_gex_oi", -105, -106, "gex_oi"),
        ("orderflow_orderflow", "agg_dex", 1, 2, "agg_dex"),
        ("orderflow_orderflow", "one_net_put_dex", -1, -2, "one_net_dex"),
    ],
)
def test_an_identity_may_be_off_by_rounding_only(
    category: str, name: str, within: int, beyond: int, identity: str
) -> None:
    row = make.row(category=category, strikes_n=20)
    assert violations_of([row, changed(row, name, within)]) == {}
    assert violations_of([row, changed(row, name, beyond)]) == {identity: 1}


def test_frames_and_broken_identities_are_counted_and_the_rows_kept(tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    odd = (changed(make.row(), "sum_gex_vol", 9_999), changed(make.row(category="orderflow_orderflow"), "net_dex", 9))
    store(warehouse, make.bucket(), msgspec.structs.replace(make.bucket(1), rows=Rows("x", odd)))
    counts = manifest.load(tmp_path, make.DAY).hubs["classic"]
    assert (counts.rows, counts.accepted, counts.late, counts.refused) == (6, 160, 2, {"bad_zstd": 4})
    assert counts.violations == {"gex_vol": 1, "net_dex": 1}


def test_a_ticker_gets_its_last_buckets_back_from_hot_and_sealed_files(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 3)
    sealed(warehouse)
    for n in (3, 4):
        store(warehouse, *(make.bucket(n, hub, categories) for hub, categories in HUBS.items()))
    reader = WarehouseReader(tmp_path)
    found = reader.last_rows(make.DAY, "SPX", make.T0 + 5 * BUCKET_NS, buckets_n=3)
    assert [bucket_utc for bucket_utc, _ in found] == [make.T0 + n * BUCKET_NS for n in (2, 3, 4)]
    for bucket_utc, rows in found:
        assert {row.profile.category for row in rows} == {c for categories in HUBS.values() for c in categories}
        assert all(row.profile.ticker == "SPX" and row.first_utc > bucket_utc for row in rows)
    assert [b for b, _ in reader.last_rows(make.DAY, "SPX", make.T0 + BUCKET_NS)] == [make.T0]


def test_views_scale_wire_integers_to_units(tmp_path: Path) -> None:
    stored_day(tmp_path, 2)
    db = WarehouseReader(tmp_path).views([make.DAY])
    row = make.row("SPX", "classic_gex_zero")
    spot, total, strikes, by_volume = db.execute(
        "SELECT spot, sum_gex_vol, strikes, gex_vol FROM gex WHERE ticker = 'SPX' AND category = 'classic_gex_zero'"
        " ORDER BY bucket LIMIT 1"
    ).fetchone()  # type: ignore[misc]
    assert (spot, total) == (6000.0, row.profile.scalar("sum_gex_vol") / 1000)
    assert strikes == [strike / 100 for strike in row.profile.strikes]
    assert abs(sum(by_volume) - total) < 0.01
    assert db.execute("SELECT count(*), count(DISTINCT bucket) FROM orderflow").fetchone() == (4, 2)
    greek = make.row("QQQ", "state_gamma_zero", hub="state_greeks_zero")
    (vols,) = db.execute("SELECT call_ivol FROM greeks WHERE ticker = 'QQQ' ORDER BY bucket LIMIT 1").fetchone()  # type: ignore[misc]
    assert vols == [vol / 1000 for vol in greek.profile.column("call_ivol")]


def test_views_of_an_empty_warehouse_are_empty(tmp_path: Path) -> None:
    db = WarehouseReader(tmp_path).views([make.DAY])
    for name in ("gex", "greeks", "orderflow", "gaps"):
        assert db.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,)


# -- what goes wrong ----------------------------------------------------------------------------


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    first = opened(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom storage.warehouse import Warehouse\n"
        f"Warehouse(Path({str(tmp_path)!r})).open()"
    )
    second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "Another process writes to the warehouse" in second.stderr
    assert isinstance(store(first, make.bucket())[0], market.BucketStored)
    first.close()
    opened(tmp_path).close()


def test_start_up_deletes_what_no_manifest_names(tmp_path: Path) -> None:
    stored_day(tmp_path, 1).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    strays = [folder / name for name in ("hot-classic-1-0-gex.parquet", "hot-x.parquet.tmp", "sealed-x.parquet.tmp")]
    for path in strays:
        path.write_bytes(b"half")
    opened(tmp_path).close()
    assert not any(path.exists() for path in strays)
    assert_rows_back(tmp_path, 1)


def test_sealed_files_without_a_manifest_are_not_deleted(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)
    sealed(warehouse)
    warehouse.close()
    (manifest.folder_of(tmp_path, make.DAY) / manifest.FILE).unlink()
    before = sorted(manifest.folder_of(tmp_path, make.DAY).iterdir())
    with pytest.raises(WarehouseRefusedError, match="no manifest"):
        opened(tmp_path)
    assert sorted(manifest.folder_of(tmp_path, make.DAY).iterdir()) == before


@pytest.mark.parametrize("text", ["{", '{"session":"2026-11-20","schema":9}', "[]"])
def test_a_manifest_that_cannot_be_read_is_refused_with_everything_kept(tmp_path: Path, text: str) -> None:
    stored_day(tmp_path, 1).close()
    folder = manifest.folder_of(tmp_path, make.DAY)
    (folder / manifest.FILE).write_text(text)
    before = sorted(folder.iterdir())
    with pytest.raises(WarehouseRefusedError):
        opened(tmp_path)
    assert sorted(folder.iterdir()) == before


def test_damaged_values_are_never_given_out(tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    store(warehouse, make.bucket(0, seed=1))
    (mine,) = manifest.load(tmp_path, make.DAY).parts
    other = opened(tmp_path / "other")
    store(other, make.bucket(0, seed=2))
    stolen = manifest.folder_of(tmp_path / "other", make.DAY) / mine.name
    (manifest.folder_of(tmp_path, make.DAY) / mine.name).write_bytes(stolen.read_bytes())
    with pytest.raises(DamagedBucketError):
        WarehouseReader(tmp_path).read_bucket(make.DAY, "classic", make.T0)


class Crash(BaseException):
    """The process dies here."""


def failing(at: int, error: Callable[[], BaseException], patch: pytest.MonkeyPatch) -> list[int]:
    """Make the `at`-th of the calls that change the disk fail."""
    calls = [0]

    def wrap(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            calls[0] += 1
            if calls[0] == at:
                raise error()
            return real(*arguments, **options)

        return call

    patch.setattr(os, "fsync", wrap(os.fsync))
    patch.setattr(Path, "replace", wrap(Path.replace))
    patch.setattr(bucket_file, "write_table", wrap(bucket_file.write_table))
    return calls


CHANGES_N = 9  # two files (write, sync, rename each) and the manifest (sync, rename, sync of the folder)


@pytest.mark.parametrize("at", range(1, CHANGES_N + 1))
def test_a_crash_at_any_point_of_a_store_leaves_the_old_state_or_the_new_one(tmp_path: Path, at: int) -> None:
    warehouse = stored_day(tmp_path, 2)
    fresh = [make.bucket(2, hub, HUBS[hub]) for hub in ("classic", "orderflow")]
    with pytest.MonkeyPatch.context() as patch:
        failing(at, Crash, patch)
        with pytest.raises(Crash):
            store(warehouse, *fresh)
    warehouse.close()
    again = opened(tmp_path)
    assert_rows_back(tmp_path, 2)
    found = manifest.load(tmp_path, make.DAY)
    on_disk = {path.name for path in manifest.folder_of(tmp_path, make.DAY).iterdir()}
    assert on_disk == {part.name for part in found.parts} | {manifest.FILE}
    assert len(found.parts) == (8 if at == CHANGES_N else 6)
    assert all(isinstance(o, market.BucketStored) for o in store(again, *fresh))
    assert len(manifest.load(tmp_path, make.DAY).parts) == 8


@pytest.mark.parametrize("at", range(1, CHANGES_N + 1))
def test_a_full_disk_gives_the_bucket_up_in_a_sentence_and_the_next_one_is_stored(tmp_path: Path, at: int) -> None:
    warehouse = stored_day(tmp_path, 2)
    fresh = [make.bucket(2, hub, HUBS[hub]) for hub in ("classic", "orderflow")]
    with pytest.MonkeyPatch.context() as patch:
        failing(at, lambda: OSError(errno.ENOSPC, "No space left on device"), patch)
        outcomes = store(warehouse, *fresh)
    for outcome in outcomes:
        assert isinstance(outcome, market.BucketNotStored)
        assert "No space left" in outcome.why
    assert warehouse.rows_not_stored_n == 6
    assert warehouse.in_hand == 0
    assert all(isinstance(o, market.BucketStored) for o in store(warehouse, make.bucket(3)))
    assert_rows_back(tmp_path, 2)
    on_disk = {path.name for path in manifest.folder_of(tmp_path, make.DAY).iterdir()}
    assert on_disk == {part.name for part in manifest.load(tmp_path, make.DAY).parts} | {manifest.FILE}


def test_replaced_files_stay_for_two_seals_and_a_reader_with_an_old_manifest_finds_them(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)
    old = [manifest.folder_of(tmp_path, make.DAY) / part.name for part in manifest.load(tmp_path, make.DAY).parts]
    for n in (2, 4, 6):
        assert all(path.exists() for path in old)
        sealed(warehouse)
        store(warehouse, *(make.bucket(k, hub, c) for k in (n, n + 1) for hub, c in HUBS.items()))
    assert not any(path.exists() for path in old)
    assert_rows_back(tmp_path, 8)


def test_a_reader_whose_file_vanished_reads_the_next_manifest(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)
    before = manifest.load(tmp_path, make.DAY)
    sealed(warehouse)
    for part in before.parts:
        (manifest.folder_of(tmp_path, make.DAY) / part.name).unlink()

    class Late(WarehouseReader):
        reads = 0

        def manifest(self, session: object) -> manifest.Manifest:  # type: ignore[override]
            self.reads += 1
            return before if self.reads == 1 else manifest.load(tmp_path, make.DAY)

    reader = Late(tmp_path)
    assert reader.read_bucket(make.DAY, "classic", make.T0) == make.bucket().rows
    assert reader.reads == 2


def test_a_seal_that_fails_leaves_the_hot_files_in_force(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, 2)
    part = manifest.load(tmp_path, make.DAY).parts[0]
    path = manifest.folder_of(tmp_path, make.DAY) / part.name
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert warehouse.start_seal()
    child = warehouse._child
    assert child is not None
    child._process.wait(timeout=60)
    why = warehouse.poll_seal()
    assert why is not None
    assert "the hot files stay" in why
    path.write_bytes(whole)
    assert_rows_back(tmp_path, 2)


def test_a_seal_without_its_writer_changes_nothing_that_anybody_sees(tmp_path: Path) -> None:
    stored_day(tmp_path, 2).close()
    seal(tmp_path, make.DAY, is_whole=False)
    assert not any(part.is_sealed for part in manifest.load(tmp_path, make.DAY).parts)
    opened(tmp_path).close()
    assert_rows_back(tmp_path, 2)
    assert not list(manifest.folder_of(tmp_path, make.DAY).glob("sealed-*"))


KILLED = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
import bucket_rows as make
from storage.warehouse import Warehouse
warehouse = Warehouse(Path({folder!r}))
warehouse.open()
n = {first}
while True:
    warehouse.take(make.bucket(n))
    warehouse.flush()
    print(n, flush=True)
    if n % 5 == 4:
        warehouse.start_seal()
    warehouse.poll_seal()
    n += 1
"""


def test_no_acknowledged_bucket_is_lost_by_kill_9(tmp_path: Path) -> None:
    random.seed(9)
    said: set[int] = set()
    for _ in range(6):
        program = KILLED.format(
            root=str(ROOT), tests=str(Path(__file__).parent), folder=str(tmp_path), first=max(said, default=-1) + 1
        )
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(random.randint(3, 12)):
            said.add(int(child.stdout.readline()))
        os.kill(child.pid, signal.SIGKILL)
        rest, _ = child.communicate(timeout=60)
        said.update(int(line) for line in rest.split())
    opened(tmp_path).close()
    reader = WarehouseReader(tmp_path)
    for n in said:
        assert reader.read_bucket(make.DAY, "classic", make.T0 + n * BUCKET_NS) == make.bucket(n).rows
    (rows_n, distinct_n) = (
        reader.views([make.DAY])
        .execute("SELECT count(*), count(DISTINCT (ticker, category, bucket)) FROM gex")
        .fetchone()
    )  # type: ignore[misc]
    assert rows_n == distinct_n >= 4 * len(said)
