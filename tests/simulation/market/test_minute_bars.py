"""Recorded days: what is read is what was recorded, in the right hour; what cannot be is refused in one sentence."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date, time
from pathlib import Path

import numpy as np
import pytest

from domain.instants import MINUTE, SECOND, at_exchange
from domain.instruments import Right
from domain.units import Ticks
from simulation.market.minute_bars import (
    IndexBars,
    RecordedDay,
    RecordedError,
    load_recorded_day,
    parity_gaps_usd,
)
from simulation.market.minute_files import CROSSED, SETTLED_EARLY, WILD
from tests.testkit.paths import LEAN, needs_recorded_day

DAY, NEXT = date(2021, 1, 4), date(2021, 1, 6)
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
JUMPS = [f"{30600000 + n * 60000},{usd},{usd},{usd},{usd},60" for n, usd in enumerate([3700, *[4000] * 6, 3700])]


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


def test_path_reaches_the_close_of_each_minute_and_stands_before_the_first_and_after_the_last(tmp_path: Path) -> None:
    usd = load_recorded_day(folder_of(tmp_path)).index_usd(OPEN_UTC - 30 * SECOND, 300)
    assert usd[:31].tolist() == [3700.0] * 31  # what came before is not recorded: the open stands
    assert (usd[90], usd[150]) == (3701.0, 3699.5)
    assert len(set(usd[30:151].tolist())) > 100, "a path inside a minute moves"
    assert set(usd[150:].tolist()) == {3699.5}


def test_path_of_a_seed_is_the_same_from_any_second_of_the_grid_on_and_another_seed_has_another(tmp_path: Path) -> None:
    day = load_recorded_day(folder_of(tmp_path))
    long, short, other = (day.index_usd(OPEN_UTC, size, seed) for size, seed in ((500, 3), (100, 3), (100, 4)))
    assert long[:100].tolist() == short.tolist() != other.tolist()
    assert short[60] == other[60]
    assert day.index_usd(OPEN_UTC - 45 * SECOND, 145, 3)[45:].tolist() == short.tolist()


def test_gap_between_bars_is_not_bridged(tmp_path: Path) -> None:
    rows = [INDEX_ROWS[0], INDEX_ROWS[1].replace("30660000", "30900000")]
    usd = load_recorded_day(folder_of(tmp_path, {INDEX_CSV: rows})).index_usd(OPEN_UTC, 400)
    assert set(usd[60:301].tolist()) == {3701.0} and usd[360] == 3699.5


def walk_day(seed: int) -> RecordedDay:
    """Make a day of bars from a walk of one price a second: volatility that clusters, fat tails, busy first minutes."""
    draw = np.random.default_rng(seed)
    share = np.arange(23_400) / 23_400
    shape = 0.6 + 2.4 * np.exp(-share / 0.07)
    clusters = np.repeat(np.exp(0.05 * np.cumsum(draw.standard_normal(390))), 60)
    moves = draw.standard_t(5, 23_400) * np.sqrt(shape * clusters) * 4e-5
    usd = 3_700.0 * np.exp(np.concatenate([[0.0], np.cumsum(moves)]))
    seconds = np.stack([usd[n * 60 : n * 60 + 61] for n in range(390)])
    opened, close = seconds[:, 1], seconds[:, 60]
    bars = IndexBars(OPEN_UTC + np.arange(390) * MINUTE, opened, seconds.max(axis=1), seconds.min(axis=1), close)
    return RecordedDay(DAY, bars, {})


def halves(usd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the moves of the first and of the second half of each minute."""
    log = np.log(usd)
    return log[30::60][:390] - log[:-1:60], log[60::60] - log[30::60][:390]


def test_half_minutes_of_recorded_days_do_not_foretell_each_other() -> None:
    # A straight line to the close gave 0.69: the first half minute told where the minute ended.
    moves = [halves(walk_day(seed).index_usd(OPEN_UTC, 23_401, seed)) for seed in range(40)]
    first, second = (np.concatenate(half) for half in zip(*moves, strict=True))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
    assert 0.8 < first.std() / second.std() < 1.25


@needs_recorded_day
def test_half_minutes_of_the_real_day_do_not_foretell_each_other() -> None:
    day = load_recorded_day(LEAN)
    found = [np.corrcoef(*halves(day.index_usd(OPEN_UTC, 23_401, seed)))[0, 1] for seed in range(20)]
    assert abs(float(np.mean(found))) < 0.1


def test_how_much_a_minute_moves_inside_is_known_from_closed_bars_only() -> None:
    calm = walk_day(1)
    wild = replace(calm.index, close=np.append(calm.index.close[:-1], calm.index.close[-1] * 1.03))
    before, after = (day.index_usd(OPEN_UTC, 23_401, 5) for day in (calm, replace(calm, index=wild)))
    assert before[:23_341].tolist() == after[:23_341].tolist()
    inside = np.arange(1, 61) / 60.0
    straight = (
        bars.close[-2] * (1.0 - inside) + bars.close[-1] * inside for bars in (calm.index, wild)
    )  # fmt: skip
    noise = [usd[23_341:] - line for usd, line in zip((before, after), straight, strict=True)]
    assert noise[0] == pytest.approx(noise[1], abs=1e-6)


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


def quotes_alone_without_the_open(p: Path) -> Path:
    (folder_of(p, quotes={CALL: CALL_ROWS[1:], PUT: PUT_ROWS}) / INDEX_FILE).unlink()
    return p


def on_a_holiday(p: Path) -> Path:
    folder_of(p)
    for name in (INDEX_FILE, QUOTE_FILE):
        (p / name).rename(p / name.replace("20210104", "20210101"))
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
        (lambda p: p, r"no recorded day: neither spx_<yyyymmdd>_trade\.zip nor"),
        (with_second_day, "has 2 files of index bars"),
        (on_a_holiday, "no session of the exchange .New Year"),
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
        (lambda p: folder_of(p, quotes={CALL: CALL_ROWS}), "no strike with a call and a put"),
        (quotes_alone_without_the_open, "no index at 9:30"),
        (lambda p: folder_of(p, index={INDEX_CSV: JUMPS}), "6 index bars more than 5 %"),
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


def test_a_side_without_a_quote_is_a_bid_of_nothing_and_a_crossed_bar_is_left_out_and_counted(tmp_path: Path) -> None:
    calls = ["34200000,,,,,,82000,93000,74000,88000,9", CALL_ROWS[1]]
    puts = [PUT_ROWS[0].replace("75000,7", "79000,7"), PUT_ROWS[1], "34320000,75000,75000,75000,75000,1,,,,,"]
    day = load_recorded_day(folder_of(tmp_path, quotes={CALL: calls, PUT: puts}))
    call, put = (day.quotes[DAY, Ticks(370_000), right] for right in (Right.CALL, Right.PUT))
    assert (call.bid_ticks.tolist(), call.bid_size.tolist(), call.ask_ticks.tolist()) == ([0, 790], [0, 4], [880, 810])
    assert put.begin_utc.tolist() == [OPEN_UTC + MINUTE], "crossed first, without an ask at last"
    assert day.left_out == {CROSSED: 2} and f"2 {CROSSED} left out" in day.told()


def test_an_impossible_price_of_the_index_is_left_out_and_counted(tmp_path: Path) -> None:
    slip = INDEX_ROWS[1].replace("3703.00", "4150.00").replace("3699.50", "4100.00")
    rows = [INDEX_ROWS[0], slip, INDEX_ROWS[1].replace("30660000", "30720000")]
    day = load_recorded_day(folder_of(tmp_path, {INDEX_CSV: rows}))
    assert day.index.close.tolist() == [3701.0, 3699.5] and day.left_out == {WILD: 1}
    assert day.index_usd(OPEN_UTC, 23_400).max() < 3_720


def test_a_wild_high_inside_a_bar_never_shows(tmp_path: Path) -> None:
    rows = [INDEX_ROWS[0], INDEX_ROWS[1].replace("3703.00", "4103.00")]
    assert load_recorded_day(folder_of(tmp_path, {INDEX_CSV: rows})).index_usd(OPEN_UTC, 23_400).max() < 3_720


def test_stretches_without_bars_are_told_with_their_length(tmp_path: Path) -> None:
    rows = [INDEX_ROWS[0], INDEX_ROWS[1].replace("30660000", "32460000")]
    day = load_recorded_day(folder_of(tmp_path, {INDEX_CSV: rows}))
    assert [minutes for _, minutes in day.holes] == [30, 358]
    assert "no index bars for 30 min from 09:31:00, 358 min from 10:02:00" in day.told()


def test_a_bar_after_the_close_is_the_official_close(tmp_path: Path) -> None:
    late = INDEX_ROWS[1].replace("30660000", "54000000").replace("3699.50", "3700.25")
    assert load_recorded_day(folder_of(tmp_path, {INDEX_CSV: [*INDEX_ROWS, late]})).official_close_usd == 3700.25
    assert load_recorded_day(folder_of(tmp_path)).official_close_usd is None


def test_files_under_leans_own_names_are_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / INDEX_FILE).rename(folder / "20210104_trade.zip")
    (folder / QUOTE_FILE).rename(folder / "20210104_quote_european.zip")
    (folder / "20210104_trade_european.zip").write_bytes(b"trades of options, which nobody reads")
    assert len(load_recorded_day(folder).quotes) == 2


def test_a_day_without_quotes_is_followed_and_one_that_settles_at_the_open_is_left_out(tmp_path: Path) -> None:
    monthly = {name.replace("spxw", "spx"): rows for name, rows in ((CALL, CALL_ROWS), (PUT, PUT_ROWS))}
    day = load_recorded_day(folder_of(tmp_path, quotes=monthly))
    assert day.quotes == {} and day.left_out == {SETTLED_EARLY: 2}
    (tmp_path / QUOTE_FILE).unlink()
    assert load_recorded_day(tmp_path).quotes == {}


def test_a_day_that_no_option_expires_on_is_tied_to_the_index_by_the_next_expiry(tmp_path: Path) -> None:
    later = {
        name.replace("_20210104.csv", "_20210106.csv"): rows for name, rows in ((CALL, CALL_ROWS), (PUT, PUT_ROWS))
    }
    assert {expiry for expiry, _, _ in load_recorded_day(folder_of(tmp_path, quotes=later)).quotes} == {NEXT}
    off = {name: rows.replace("3700.00,3702.00,3699.00,3701.00", "3720.00,3722.00,3719.00,3721.00")
           for name, rows in ((0, INDEX_ROWS[0]), (1, INDEX_ROWS[1]))}  # fmt: skip
    with pytest.raises(RecordedError, match="do not belong together"):
        load_recorded_day(folder_of(tmp_path, {INDEX_CSV: list(off.values())}, later))


def test_an_index_that_is_not_recorded_is_what_the_quotes_imply(tmp_path: Path) -> None:
    day = load_recorded_day(without(INDEX_FILE)(tmp_path))
    assert day.is_index_implied and day.index.begin_utc.tolist() == [OPEN_UTC, OPEN_UTC + MINUTE]
    # 3700 + (8.65 - 7.65) at the first minute's end, 3700 + (8.00 - 8.50) at the second's.
    assert day.index.close.tolist() == [3701.0, 3699.5] and day.index.open[0] == 3700.0


@needs_recorded_day
def test_the_real_index_is_implied_to_within_a_dollar(tmp_path: Path) -> None:
    real = load_recorded_day(LEAN).index
    (tmp_path / QUOTE_FILE).write_bytes((LEAN / QUOTE_FILE).read_bytes())
    implied = load_recorded_day(tmp_path).index
    shared, of_real, of_implied = np.intersect1d(real.begin_utc, implied.begin_utc, return_indices=True)
    assert len(shared) == 390
    assert np.median(np.abs(real.close[of_real] - implied.close[of_implied])) < 1.0


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
def test_real_path_meets_every_minute_close_and_stays_near_the_days_range() -> None:
    day: RecordedDay = load_recorded_day(LEAN)
    usd = day.index_usd(OPEN_UTC, 23_401)
    assert usd[60::60].tolist() == day.index.close[:390].tolist()
    assert day.index.low[:390].min() - 5 < usd.min() and usd.max() < day.index.high[:390].max() + 5
    assert (day.official_close_usd, day.told()) == (3700.65, "")
