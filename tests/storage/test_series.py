"""Series: a line counts once it is whole, comes back after any end of its writer, and is read once at every step."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, time
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from domain.features.evidence import Evidence, Force
from domain.features.measures import MEASURES
from domain.instants import BUCKET_NS, at_exchange
from domain.instruments import Contract, Greeks, Quote, Right, Spot
from domain.market.bars import MinuteBar
from domain.signals.registry import FEATURES
from domain.signals.snapshot import WINDOW, Snapshot
from domain.units import Ticks, Utc
from messages import market, signals
from storage.series import Series, seal
from storage.series_reader import SeriesReader, with_evidence
from storage.series_rows import CHAINS, KINDS, QUOTES, READINGS, UNDERLYINGS
from storage.views.database import DAILY, Database

DAY, LATER_DAY = date(2026, 11, 20), date(2026, 11, 23)
OPEN = at_exchange(DAY, time(9, 30))
LATER = Utc(OPEN + 2_000 * BUCKET_NS)
CONTRACT = Contract(7, "SPX", "SPXW", DAY, Ticks(600_000), Right.CALL)


def reading(n: int, ticker: str = "SPX") -> signals.FeaturesComputed:
    bucket_utc, spot = Utc(OPEN + n * BUCKET_NS), Ticks(600_000 + n)
    return signals.FeaturesComputed(
        ticker=ticker, bucket_utc=bucket_utc, reading_n=n + 1, features=(0.25, *[None] * (len(FEATURES) - 1)),
        missing=("classic_gex_full",), forces=(signals.Force(name="gamma", score=-0.5, confidence=1.0),),
        alignment=None, spot=spot, zero_gamma=None, is_complete=True, snapshot=Snapshot(bucket_utc, spot, iv=0.2),
    )  # fmt: skip


def bars_told(n: int, close: int, *tickers: str) -> market.BarsArrived:
    price = {"open": Ticks(600_000), "high": Ticks(600_500), "low": Ticks(599_000), "close": Ticks(close)}
    bars = tuple(
        MinuteBar(ticker=ticker, begin_utc=OPEN, **price, volume=None if ticker == "SPX" else 900) for ticker in tickers
    )
    return market.BarsArrived(hub="provider", at_utc=Utc(OPEN + n * BUCKET_NS), bars=bars)


def quoted(n: int) -> market.QuotesSampled:
    at_utc = Utc(OPEN + n * BUCKET_NS)
    greeks = Greeks(0.2, 0.5, 0.001, -1.0, 0.3, Ticks(600_000), at_utc)
    quote = Quote(7, Ticks(500 + n), Ticks(510 + n), 3, 4, at_utc, volume=9, greeks=greeks, open_interest=11)
    return market.QuotesSampled(
        at_utc=at_utc, quotes=((CONTRACT, quote),), spots=(Spot("SPX", Ticks(600_000), at_utc),)
    )


def stored(root: Path, *messages: signals.FeaturesComputed | market.QuotesSampled, run_n: int = 1) -> Series:
    series = Series(root, run_n)
    for message in messages:
        series.take(message)
    assert series.flush() is None
    assert series.in_hand == 0
    return series


def buckets(root: Path) -> list[int]:
    """Return the numbers of the buckets of which SPX has a reading, in the order of the store."""
    table = SeriesReader(root).day(READINGS, DAY)
    return [(bucket_utc - OPEN) // BUCKET_NS for bucket_utc in table["bucket_utc"].to_pylist()]


def test_the_window_of_each_ticker_comes_back_after_the_writer_has_ended(tmp_path: Path) -> None:
    stored(tmp_path, *(reading(n, ticker) for n in range(WINDOW + 5) for ticker in ("SPX", "NDX")))

    again = Series(tmp_path, 2)
    restored = again.restored("NDX", DAY, LATER)
    assert restored is not None
    assert restored.reading_n == WINDOW + 5
    assert restored.window == tuple(reading(n).snapshot for n in range(5, WINDOW + 5))
    seen = again.readings("SPX", DAY, LATER)
    assert [r.bucket_utc for r in seen] == [s.bucket_utc for s in restored.window]
    assert (seen[0].features, seen[0].spot) == (reading(5).features, reading(5).spot)
    assert again.restored("RUT", DAY, LATER) is None


def test_what_is_in_hand_comes_back_and_what_lies_ahead_does_not(tmp_path: Path) -> None:
    series = stored(tmp_path, reading(0))
    series.take(reading(1))
    series.take(reading(2))
    restored = series.restored("SPX", DAY, Utc(OPEN + 2 * BUCKET_NS))
    assert restored is not None
    assert [s.bucket_utc for s in restored.window] == [OPEN, OPEN + BUCKET_NS]
    series.take(reading(3))
    known = series.restored("SPX", DAY, LATER)
    assert known is not None and len(known.window) == 4


@pytest.mark.parametrize("kept", [1, 40, 400])
def test_a_line_that_a_crash_cut_is_cut_off_and_all_others_stay(tmp_path: Path, kept: int) -> None:
    stored(tmp_path, reading(0), reading(1))
    path = tmp_path / DAY.isoformat() / "readings.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])
    assert buckets(tmp_path) == [0, 1]

    stored(tmp_path, reading(2), run_n=2)
    assert buckets(tmp_path) == [0, 1, 2]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_damaged_line_holds_up_no_other(tmp_path: Path) -> None:
    stored(tmp_path, *(reading(n) for n in range(3)))
    path = tmp_path / DAY.isoformat() / "readings.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((lines[0], b"\xff\x00" + lines[1][2:], lines[2])))
    assert buckets(tmp_path) == [0, 2]
    restored = Series(tmp_path, 2).restored("SPX", DAY, LATER)
    assert restored is not None and len(restored.window) == 2


def test_a_disk_that_refuses_loses_nothing_until_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day = tmp_path / DAY.isoformat()
    day.write_text("a file where the folder should be")
    series = Series(tmp_path, 1)
    series.take(reading(0))
    fault = series.flush()
    assert fault is not None and "free or repair the disk: 1 lines wait" in fault
    monkeypatch.setattr("storage.series.WAITING_MAX", 3)
    for n in range(1, 5):
        series.take(reading(n))
    assert (series.in_hand, series.lost_n) == (3, 2)
    assert "2 are lost" in str(series.flush())

    day.unlink()
    assert series.flush() is None
    assert buckets(tmp_path) == [2, 3, 4]


def test_a_sealed_day_is_read_once_at_every_step_and_goes_on(tmp_path: Path) -> None:
    stored(tmp_path, reading(0), reading(1), quoted(0), quoted(1))
    lines = (tmp_path / DAY.isoformat() / "readings.jsonl").read_bytes()
    seal(tmp_path, DAY)
    assert sorted(path.name for path in (tmp_path / DAY.isoformat()).iterdir()) == [
        "quotes.parquet", "readings.parquet", "underlyings.parquet"
    ]  # fmt: skip
    assert buckets(tmp_path) == [0, 1]
    # A crash between the new file's name and the end of the lines leaves both.
    (tmp_path / DAY.isoformat() / "readings.jsonl").write_bytes(lines)
    assert buckets(tmp_path) == [0, 1]

    again = stored(tmp_path, reading(2), run_n=2)
    assert buckets(tmp_path) == [0, 1, 2]
    restored = again.restored("SPX", DAY, LATER)
    assert restored is not None and restored.window[0].iv == 0.2 and len(restored.window) == 3
    seal(tmp_path, DAY)
    assert buckets(tmp_path) == [0, 1, 2]
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_child_seals_and_lines_of_its_day_wait_meanwhile(tmp_path: Path) -> None:
    series = stored(tmp_path, reading(0))
    assert not series.start_seal(date(2026, 11, 19))
    assert series.start_seal(DAY)
    series.take(reading(1))
    assert series.flush() is None
    assert series.in_hand == 1
    assert series._child is not None
    series._child._process.wait(300)
    assert series.poll_seal() == ""
    assert series.flush() is None
    assert (series.in_hand, buckets(tmp_path)) == (0, [0, 1])


def test_lines_of_other_versions_are_read_by_the_names_of_their_columns(tmp_path: Path) -> None:
    stored(tmp_path, quoted(0))
    path = tmp_path / DAY.isoformat() / "quotes.jsonl"
    line = json.loads(path.read_text())
    del line["open_interest"]
    line |= {"new_column": {"a": 1}, "at_utc": line["at_utc"] + 1}
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    assert SeriesReader(tmp_path).day(QUOTES, DAY)["open_interest"].to_pylist() == [11, None]


def test_every_kind_keeps_what_its_message_said(tmp_path: Path) -> None:
    spot = Spot("SPX", Ticks(600_100), OPEN)
    quote = Quote(7, None, Ticks(0), 0, 0, OPEN)
    series = stored(tmp_path, quoted(3))
    series.take(market.ChainRead(ticker="SPX", at_utc=OPEN, spot=spot, quotes=((CONTRACT, quote),)))
    assert series.flush() is None
    reader = SeriesReader(tmp_path)
    (told,) = reader.day(QUOTES, DAY).to_pylist()
    assert (told["bid"], told["ask"], told["iv"], told["open_interest"], told["expiry"]) == (
        503, 513, 0.2, 11, "2026-11-20"
    )  # fmt: skip
    (band,) = reader.day(CHAINS, DAY).to_pylist()
    assert (band["bid"], band["ask"], band["iv"], band["spot"]) == (None, 0, None, 600_100)
    (price,) = reader.day(UNDERLYINGS, DAY).to_pylist()
    assert price == {"at_utc": OPEN + 3 * BUCKET_NS, "ticker": "SPX", "price": 600_000,
                     "tick_utc": OPEN + 3 * BUCKET_NS, "data_type": 1, "mode": "live"}  # fmt: skip
    for kind, how in KINDS.items():
        assert tuple(how.schema.names) == how.line.__struct_fields__, kind


def full_reading(n: int) -> signals.FeaturesComputed:
    """A reading with measures and evidence, numbers that need all their digits and some that are missing."""
    base = reading(n)
    assert base.snapshot is not None
    measures = tuple(None if k % 7 == n % 7 else (k + 1) / 3 for k in range(len(MEASURES)))
    features = tuple(None if k % 5 == 0 else k / 7 for k in range(len(FEATURES)))
    evidence = Evidence(features, (0.1, None, 3.0, None), (Force("gamma", 1 / 3, 0.25), Force("charm", 0.0, 0.0)), None)
    return replace(base, snapshot=replace(base.snapshot, measures=measures), evidence=evidence)


def test_measures_come_back_to_the_last_bit_from_lines_and_from_a_sealed_day(tmp_path: Path) -> None:
    told = [full_reading(n) for n in range(3)]
    stored(tmp_path, *told)
    for again in (Series(tmp_path, 2), Series(tmp_path, 3)):
        restored = again.restored("SPX", DAY, LATER)
        assert restored is not None
        assert restored.window == tuple(one.snapshot for one in told)
        seal(tmp_path, DAY)
    table = SeriesReader(tmp_path).day(READINGS, DAY)
    assert [msgspec.convert(row, Evidence) for row in table["evidence"].to_pylist()] == [one.evidence for one in told]
    shown = with_evidence(table)
    assert shown["features"].to_pylist()[0] == list(told[0].evidence.features if told[0].evidence else ())
    assert [force["name"] for force in shown["forces"].to_pylist()[0]] == ["gamma", "charm"]


def test_a_day_sealed_before_there_were_measures_still_comes_back(tmp_path: Path) -> None:
    stored(tmp_path, reading(0), reading(1))
    seal(tmp_path, DAY)
    path = tmp_path / DAY.isoformat() / "readings.parquet"
    table = pq.read_table(path).drop_columns(["evidence"])
    snapshots = [{k: v for k, v in row.items() if k != "measures"} for row in table["snapshot"].to_pylist()]
    older = table.set_column(table.column_names.index("snapshot"), "snapshot", pa.array(snapshots))
    pq.write_table(older, path)
    restored = Series(tmp_path, 2).restored("SPX", DAY, LATER)
    assert restored is not None
    assert restored.window == (reading(0).snapshot, reading(1).snapshot)
    known = SeriesReader(tmp_path).day(READINGS, DAY)
    assert with_evidence(known)["features"].to_pylist() == known["features"].to_pylist()


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_minute_that_is_told_again_is_read_as_it_was_told_last(tmp_path: Path, is_sealed: bool) -> None:
    series = Series(tmp_path / "series", 1)
    for message in (bars_told(2, 600_100, "SPX", "SPY"), bars_told(4, 600_200, "SPX")):
        series.take(message)
    series.close()
    if is_sealed:
        seal(tmp_path / "series", DAY)
    found = Database(tmp_path).query("SELECT ticker, close, volume, ticks, source FROM bars ORDER BY ticker")
    assert found.to_pylist() == [
        {"ticker": "SPX", "close": 6002.0, "volume": None, "ticks": None, "source": "provider"},
        {"ticker": "SPY", "close": 6001.0, "volume": 900, "ticks": None, "source": "provider"},
    ]


# -- files that cannot be read ------------------------------------------------------------------


def sealed_days(root: Path) -> Path:
    """Seal two days of readings and return the file of the earlier one."""
    for day in (DAY, LATER_DAY):
        one = reading(0)
        stored(root / "series", msgspec.structs.replace(one, bucket_utc=at_exchange(day, time(9, 30))))
        seal(root / "series", day)
    return root / "series" / DAY.isoformat() / f"{READINGS}.parquet"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def spoil(path: Path) -> None:
    """Change bytes inside a file; both ends stay."""
    raw = bytearray(path.read_bytes())
    raw[4 : len(raw) // 2] = bytes(len(raw) // 2 - 4)
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", [cut, spoil])
def test_a_damaged_day_holds_up_no_query_of_the_others_and_is_named(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(sealed_days(tmp_path))
    db = Database(tmp_path)
    assert db.rows("SELECT session FROM readings") == [{"session": LATER_DAY}]
    assert db.left_out is not None
    assert f"series/{DAY}/readings.parquet" in db.left_out


def test_a_cut_file_is_set_aside_at_the_next_start_and_said_once(tmp_path: Path) -> None:
    path = sealed_days(tmp_path)
    cut(path)
    damaged = path.read_bytes()
    (said,) = Series(tmp_path / "series", 2).take_findings()
    assert f"{DAY}/readings.parquet" in said and "backup" in said
    assert path.with_name("damaged-readings.parquet").read_bytes() == damaged
    assert Series(tmp_path / "series", 3).take_findings() == ()
    assert Database(tmp_path).rows("SELECT session FROM readings") == [{"session": LATER_DAY}]


@pytest.mark.parametrize("damage", [cut, spoil])
def test_a_window_whose_file_is_damaged_does_not_come_back_and_stops_nothing(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(sealed_days(tmp_path))
    series = Series(tmp_path / "series", 2)
    assert series.restored("SPX", DAY, LATER) is None
    assert series.readings("SPX", DAY, LATER) == ()
    assert series.spots("SPX", DAY, LATER) == ()


def test_a_seal_does_not_write_over_what_it_cannot_read(tmp_path: Path) -> None:
    path = sealed_days(tmp_path)
    spoil(path)
    damaged = path.read_bytes()
    stored(tmp_path / "series", reading(1))
    with pytest.raises(SystemExit, match=r"readings\.parquet cannot be read: take it from a backup"):
        seal(tmp_path / "series", DAY)
    assert path.read_bytes() == damaged
    assert path.with_suffix(".jsonl").exists()


def test_an_aggregate_that_cannot_be_read_holds_up_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "aggregates"
    folder.mkdir()
    rows = [{"session": LATER_DAY, "ticker": "SPX", "category": "classic_gex_zero", "rows": 780}]
    pq.write_table(pa.Table.from_pylist(rows, schema=DAILY), folder / f"{LATER_DAY}.parquet")
    (folder / f"{DAY}.parquet").write_bytes(b"PAR1 and no more")
    db = Database(tmp_path)
    assert db.rows("SELECT session, rows FROM daily") == [{"session": LATER_DAY, "rows": 780}]
    assert db.left_out is not None
    assert f"aggregates/{DAY}.parquet" in db.left_out
