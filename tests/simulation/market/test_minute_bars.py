"""Recorded days: what is read is what was recorded, in the right hour; what cannot be is refused in one sentence."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import date, time
from pathlib import Path

import numpy as np
import pytest

from domain.instants import MINUTE, SECOND, at_exchange
from domain.instruments import Right
from domain.units import Ticks
from simulation.market.minute_bars import RecordedDay, RecordedError, load_recorded_day, parity_gaps_usd
from tests.testkit.paths import LEAN, needs_recorded_day

DAY = date(2021, 1, 4)
OPEN_UTC = at_exchange(DAY, time(9, 30))
INDEX_FILE, INDEX_CSV = "spx_20210104_trade.zip", "20210104_spx_minute_trade.csv"
QUOTE_FILE = "spxw_20210104_quote.zip"
CALL, PUT = (f"20210104_spxw_minute_quote_european_{right}_37000000_20210104.csv" for right in ("call", "put"))

INDEX_ROWS = ["30600000,3700.00,3702.00,3699.00,3701.00,59", "30660000,3701.50,3703.00,3698.00,3699.50,60"]
CALL_ROWS = [
    "34200000,80000,90000,70000,85000,7,82000,93000,74000,88000,9",
    "34260000,85000,85000,79000,79000,4,88000,88000,81000,81000,5",
]
PUT_ROWS = [
    "34200000,80000,90000,70000,75000,7,82000,93000,74000,78000,9",
    "34260000,75000,84000,75000,84000,4,78000,86000,78000,86000,5",
]


def zipped(file: Path, members: dict[str, list[str]]) -> None:
    with zipfile.ZipFile(file, "w") as packed:
        for name, rows in members.items():
            packed.writestr(name, "\n".join(rows))


def folder_of(
    tmp_path: Path,
    index: dict[str, list[str]] | None = None,
    quotes: dict[str, list[str]] | None = None,
) -> Path:
    """Write the folder of a two-minute day; parts of it may be given anew."""
    zipped(tmp_path / INDEX_FILE, index or {INDEX_CSV: INDEX_ROWS})
    zipped(tmp_path / QUOTE_FILE, quotes or {CALL: CALL_ROWS, PUT: PUT_ROWS})
    return tmp_path


def test_bars_are_read_in_their_units_and_instants(tmp_path: Path) -> None:
    day = load_recorded_day(folder_of(tmp_path))
    assert day.session == DAY
    assert day.index.begin_utc.tolist() == [OPEN_UTC, OPEN_UTC + MINUTE]
    assert day.index.close.tolist() == [3701.0, 3699.5]
    call = day.quotes[DAY, Ticks(370_000), Right.CALL]
    assert call.begin_utc.tolist() == day.index.begin_utc.tolist()
    assert (call.bid_open_ticks[0], call.ask_open_ticks[0]) == (800, 820)
    assert (call.bid_ticks.tolist(), call.ask_ticks.tolist()) == ([850, 790], [880, 810])
    assert (call.bid_size.tolist(), call.ask_size.tolist()) == ([7, 4], [9, 5])


def test_index_bars_without_a_count_are_read_as_well(tmp_path: Path) -> None:
    rows = [row.rsplit(",", 1)[0] for row in INDEX_ROWS]
    assert load_recorded_day(folder_of(tmp_path, {INDEX_CSV: rows})).index.close.tolist() == [3701.0, 3699.5]


def test_path_goes_through_open_extremes_and_close_of_each_minute(tmp_path: Path) -> None:
    usd = load_recorded_day(folder_of(tmp_path)).index_usd(OPEN_UTC - 30 * SECOND, 300)
    assert usd[:32].tolist() == [3700.0] * 32  # what came before is not recorded: the open stands
    up, down = usd[30:91], usd[90:151]
    assert (up[20], up[40], up[60]) == (3699.0, 3702.0, 3701.0)  # rose: low before high
    assert (down[1], down[20], down[40], down[60]) == (3701.5, 3703.0, 3698.0, 3699.5)  # fell: high before low
    assert (up.min(), up.max(), down.min(), down.max()) == (3699.0, 3702.0, 3698.0, 3703.0)
    assert set(usd[150:].tolist()) == {3699.5}


def test_gap_between_bars_is_not_bridged(tmp_path: Path) -> None:
    rows = [INDEX_ROWS[0], INDEX_ROWS[1].replace("30660000", "30900000")]
    usd = load_recorded_day(folder_of(tmp_path, {INDEX_CSV: rows})).index_usd(OPEN_UTC, 400)
    assert set(usd[60:301].tolist()) == {3701.0} and usd[360] == 3699.5


def edited(rows: list[str], at: int, old: str, new: str) -> list[str]:
    assert old in rows[at]
    return [row.replace(old, new) if n == at else row for n, row in enumerate(rows)]


def index_edit(at: int, old: str, new: str) -> Callable[[Path], Path]:
    return lambda p: folder_of(p, index={INDEX_CSV: edited(INDEX_ROWS, at, old, new)})


def call_edit(at: int, old: str, new: str) -> Callable[[Path], Path]:
    return lambda p: folder_of(p, quotes={CALL: edited(CALL_ROWS, at, old, new), PUT: PUT_ROWS})


def without(name: str) -> Callable[[Path], Path]:
    def make(p: Path) -> Path:
        (folder_of(p) / name).unlink()
        return p

    return make


def with_bytes(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(p: Path) -> Path:
        (folder_of(p) / name).write_bytes(data)
        return p

    return make


def with_second_day(p: Path) -> Path:
    zipped(folder_of(p) / "spx_20210105_trade.zip", {INDEX_CSV: INDEX_ROWS})
    return p


def with_other_day(p: Path) -> Path:
    (folder_of(p) / QUOTE_FILE).rename(p / "spxw_20210105_quote.zip")
    return p


def truncated_zip(p: Path) -> Path:
    file = folder_of(p) / QUOTE_FILE
    data = bytearray(file.read_bytes())
    data[70:110] = bytes(40)  # inside the first member: its checksum no longer holds
    file.write_bytes(bytes(data))
    return p


def bomb(p: Path) -> Path:
    with zipfile.ZipFile(folder_of(p) / INDEX_FILE, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(INDEX_CSV, b"0" * 5_000_000)
    return p


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: p / "nowhere", "There is no folder"),
        (without(INDEX_FILE), r"has no spx_<yyyymmdd>_trade\.zip"),
        (without(QUOTE_FILE), r"has no spxw_<yyyymmdd>_quote\.zip"),
        (with_second_day, "has 2 files spx_"),
        (with_other_day, "different days"),
        (with_bytes(INDEX_FILE, b"no zip at all"), "cannot be read as a zip"),
        (truncated_zip, "cannot be read as a zip"),
        (bomb, "unpacks to more than"),
        (lambda p: folder_of(p, index={"20210104_spy_minute_trade.csv": INDEX_ROWS}), "not an index's day"),
        (lambda p: folder_of(p, quotes={CALL.replace("spxw", "spy"): CALL_ROWS}), "is not a minute file of SPXW"),
        (lambda p: folder_of(p, index={INDEX_CSV: [""]}), "is empty"),
        (lambda p: folder_of(p, index={INDEX_CSV: CALL_ROWS}), "has 11 columns and not 5 or 6"),
        (lambda p: folder_of(p, quotes={CALL: INDEX_ROWS, PUT: PUT_ROWS}), "has 6 columns and not 11"),
        (index_edit(1, "30660000", "30600000"), "Line 2 of .* is not later"),
        (index_edit(1, "30660000", "30540000"), "Line 2 of .* is not later"),
        (index_edit(1, "30660000", "30660001"), "not whole minutes"),
        (index_edit(1, "30660000", "86400000"), "not whole minutes"),
        (index_edit(0, "30600000", "30630000"), "not whole minutes"),
        (index_edit(1, "3703.00", "much"), "no number"),
        (index_edit(1, "3703.00", "nan"), "negative or not finite"),
        (index_edit(1, "3703.00", "-3703.00"), "negative or not finite"),
        (index_edit(1, "3703.00", "3701.00"), "outside its low and high"),
        (lambda p: folder_of(p, index={INDEX_CSV: INDEX_ROWS[1:]}), "no bar at 9:30"),
        (call_edit(0, "85000", "85001"), "not whole cents"),
        (call_edit(0, "85000", "89000"), "crossed"),
        (lambda p: folder_of(p, quotes={CALL: CALL_ROWS}), "no strike with a call and a put"),
        (index_edit(0, "3700.00,3702.00,3699.00,3701.00", "3720.00,3722.00,3719.00,3721.00"), "do not belong together"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], Path], says: str
) -> None:
    folder = make(tmp_path)
    with pytest.raises(RecordedError, match=says) as refused:
        load_recorded_day(folder)
    text = str(refused.value)
    assert text.endswith(".") and "\n" not in text


@needs_recorded_day
def test_real_day_is_read_whole() -> None:
    day = load_recorded_day(LEAN)
    assert (day.session, len(day.index.begin_utc), len(day.quotes)) == (DAY, 411, 12)
    assert day.index.begin_utc[0] == OPEN_UTC and day.index.open[0] == 3764.61
    call = day.quotes[DAY, Ticks(370_000), Right.CALL]
    assert (call.begin_utc[0], call.bid_ticks[0], call.ask_ticks[0]) == (OPEN_UTC, 6_490, 6_790)
    assert len(day.quotes[DAY, Ticks(380_000), Right.CALL].begin_utc) == 155


@needs_recorded_day
def test_put_call_parity_holds_in_the_right_time_zones_only() -> None:
    day = load_recorded_day(LEAN)

    def miss_usd(shift_ms: int) -> float:
        return float(np.median(np.abs(parity_gaps_usd(day.index, day.quotes, DAY, shift_ms))))

    assert miss_usd(0) < 0.5
    assert all(miss_usd(hours * 3_600_000) > 10.0 for hours in (-2, -1, 1))


@needs_recorded_day
def test_index_recorded_in_the_quotes_time_zone_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(LEAN / INDEX_FILE) as packed:
        rows = packed.read(INDEX_CSV).decode().splitlines()
    early = [f"{int(ms) - 3_600_000},{rest}" for ms, rest in (row.split(",", 1) for row in rows)]
    (tmp_path / QUOTE_FILE).write_bytes((LEAN / QUOTE_FILE).read_bytes())
    zipped(tmp_path / INDEX_FILE, {INDEX_CSV: early})
    with pytest.raises(RecordedError, match="time zones"):
        load_recorded_day(tmp_path)


@needs_recorded_day
def test_real_path_meets_every_minute_close() -> None:
    day: RecordedDay = load_recorded_day(LEAN)
    usd = day.index_usd(OPEN_UTC, 23_401)
    closes = day.index.close[:390]
    assert usd[60::60].tolist() == closes.tolist()
    minutes = usd[1:].reshape(390, 60)
    assert (minutes.max(axis=1) <= day.index.high[:390]).all() and (minutes.min(axis=1) >= day.index.low[:390]).all()
    assert usd.min() == day.index.low[:390].min() and usd.max() == day.index.high[:390].max()
