"""The warehouse: rows come back bit for bit, gaps and counts are kept, files are merged without a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import BUCKET_NS
from domain.options.profile import SCALARS, Profile, Row, Rows
from messages import market
from storage import bucket_file, manifest
from storage.bucket_columns import columns_of, to_bytes
from storage.identities import violations_in
from storage.manifest import Gap
from storage.warehouse_reader import WarehouseReader
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import HUBS, assert_rows_back, metadata, opened, sealed, store, stored_day

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

    def draw(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.int32]]:
        size = shape[0] * shape[1]
        return np.array(data.draw(st.lists(ints, min_size=size, max_size=size)), np.int32).reshape(shape)

    profile = Profile(
        "ES_SPX", category, instant_utc, data.draw(ints),
        tuple(data.draw(ints) for _ in plain.scalars), draw((len(plain.strikes), 1))[:, 0],
        draw(plain.values.shape), draw(plain.priors.shape),
    )  # fmt: skip
    said = Row(profile, "hub", 3, instant_utc - 1, instant_utc, "rest", -4, 2**40)
    path = tmp_path_factory.mktemp("rows") / "x.parquet"
    columns = columns_of(profile.shape, [(7, said)], make.DAY, make.T0, 2)
    table = bucket_file.from_bytes(to_bytes(columns), profile.shape)
    assert table == bucket_file.table_of(columns)
    bucket_file.write_table(table, profile.shape, path)
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


def test_a_warehouse_that_shows_nothing_keeps_all_of_it_and_the_next_start_makes_the_files(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path, shows=False)
    assert list(tmp_path.rglob("*.parquet")) == []
    warehouse.close()
    opened(tmp_path).close()
    assert_rows_back(tmp_path)


def test_of_a_sealed_day_one_tickers_rows_are_read_alone(tmp_path: Path) -> None:
    warehouse = stored_day(tmp_path)
    sealed(warehouse)
    folder = manifest.folder_of(tmp_path, make.DAY)
    for part in manifest.load(tmp_path, make.DAY).parts:
        whole = bucket_file.read(folder / part.name, part.shape)
        for ticker in ("QQQ", "SPX", "NONE", "ZZZ"):
            of_ticker = whole.filter(pc.equal(whole["ticker"], ticker))
            assert bucket_file.read(folder / part.name, part.shape, ticker) == of_ticker


def test_a_reference_of_a_trace_is_resolved_to_the_same_rows(tmp_path: Path) -> None:
    stored_day(tmp_path, 1)
    reader = WarehouseReader(tmp_path)
    said = make.bucket(0, "classic", HUBS["classic"]).rows
    assert reader.resolve(said.ref) == said
    assert reader.resolve(f"classic/{make.T0}", said.content_hash) == said
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
    assert reader.resolve(f"classic/{make.T0}/late", other.rows.content_hash) == other.rows
    sealed(warehouse)
    assert reader.read_bucket(make.DAY, "classic", make.T0, other.rows.content_hash) == other.rows


def test_a_reader_of_past_days_reads_a_manifest_once_and_another_sees_what_comes(tmp_path: Path) -> None:
    past, present = WarehouseReader(tmp_path, is_past=True), WarehouseReader(tmp_path)
    warehouse, (hub, categories) = opened(tmp_path), next(iter(HUBS.items()))
    first, later = (make.bucket(n, hub, categories) for n in range(2))
    store(warehouse, first)
    assert past.read_bucket(make.DAY, hub, first.bucket_utc) == first.rows
    store(warehouse, later)
    assert past.read_bucket(make.DAY, hub, later.bucket_utc) is None
    assert present.read_bucket(make.DAY, hub, later.bucket_utc) == later.rows
    sealed(warehouse)
    assert past.read_bucket(make.DAY, hub, first.bucket_utc) == first.rows, "the file that it knew is gone"


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


def test_what_polling_brought_is_a_gap_with_its_cover_and_what_it_does_not_bring_is_said(tmp_path: Path) -> None:
    zero, full = ("SPX", "classic_gex_zero"), ("SPX", "classic_gex_full")
    other = ("QQQ", "classic_gex_zero")
    silent = msgspec.structs.replace(
        make.bucket(absent=(full, other)), covered=(zero,), not_polled=(other,), why_absent="no frames for 60 s"
    )
    store(opened(tmp_path), silent)
    at = make.T0, make.T0 + BUCKET_NS
    assert set(WarehouseReader(tmp_path).gaps(make.DAY)) == {
        Gap("classic", *full, *at, "no frames for 60 s"),
        Gap("classic", *other, *at, "not_polled"),
        Gap("classic", *zero, *at, "no frames for 60 s", "rest"),
    }


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

    def broken(by: int) -> dict[str, int]:
        rows = list(enumerate((row, changed(row, name, by), row)))
        return violations_in(columns_of(row.profile.shape, rows, make.DAY, make.T0, 0), row.profile.shape)

    assert broken(within) == {}
    assert broken(beyond) == {identity: 1}


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
