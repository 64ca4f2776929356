"""What is read of a stored day: files that cannot be read are named, and prices go on where recording ended."""

from __future__ import annotations

import errno
from datetime import date
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from domain.instants import MINUTE
from domain.instruments import DataType, OrderType
from domain.units import Ticks, Utc
from simulation.backtest.market import RecordedMarket
from simulation.backtest.recorded import load
from storage.series_reader import parsed, sessions_in
from storage.series_rows import BARS, KINDS, QUOTES, UNDERLYINGS, BarLine, Line, QuoteLine, SpotLine
from tests.simulation.backtest.test_backtest_exchange import fills, order
from tests.testkit.recorded_days import CALL, SESSION, at, hours

CLOSE_S = 23_400


def quote(second: int, data_type: int = 1, ticked_s: int | None = None) -> QuoteLine:
    return QuoteLine(
        at_utc=at(second), con_id=CALL.con_id, ticker="SPX", trading_class="SPXW", expiry=SESSION.isoformat(),
        strike=CALL.strike_ticks, right="C", bid=Ticks(100), ask=Ticks(110), bid_size=1, ask_size=1,
        quote_utc=at(second if ticked_s is None else ticked_s), data_type=data_type, volume=None,
        open_interest=None, iv=None, delta=None, gamma=None, theta=None, vega=None, spot=None,
    )  # fmt: skip


def spot(second: int, price: int, data_type: int = 1) -> SpotLine:
    return SpotLine(at_utc=at(second), ticker="SPX", price=Ticks(price), tick_utc=at(second), data_type=data_type)


def bar(second: int, close: int) -> BarLine:
    """Return the bar of the minute that ends at a second."""
    price = Ticks(close)
    return BarLine(
        ticker="SPX", begin_utc=Utc(at(second) - MINUTE), open=price, high=price, low=price, close=price, volume=None,
        source="bars", at_utc=at(second),
    )  # fmt: skip


def write(series: Path, kind: str, *lines: Line) -> Path:
    """Write lines of a kind as a running desk does."""
    path = series / SESSION.isoformat() / f"{kind}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def settled(series: Path) -> int:
    market = RecordedMarket(load(series, SESSION), hours(), 10_000)
    market.step(hours().close_utc)
    return market.settlement_ticks("SPX")


@pytest.mark.parametrize("cut", [0, 9, -9])
def test_a_file_that_cannot_be_read_is_named_and_the_others_count(tmp_path: Path, cut: int) -> None:
    write(tmp_path, UNDERLYINGS, spot(1, 600_000))
    lines = write(tmp_path, QUOTES, quote(1))
    sealed = lines.with_suffix(".parquet")
    pq.write_table(parsed(lines.read_bytes(), KINDS[QUOTES]), sealed)
    lines.unlink()
    assert load(tmp_path, SESSION).damaged == ()
    sealed.write_bytes(sealed.read_bytes()[:cut])
    day = load(tmp_path, SESSION)
    assert (day.contracts, list(day.prices)) == ((), ["SPX"])
    (damaged,) = day.damaged
    assert damaged.startswith("quotes.parquet cannot be read (")


def test_a_file_in_the_place_of_a_days_folder_is_no_day_and_holds_up_none(tmp_path: Path) -> None:
    write(tmp_path, UNDERLYINGS, spot(1, 600_000))
    (tmp_path / "2026-11-27").write_text("a file", "utf-8")
    assert sessions_in(tmp_path) == (SESSION,)
    assert load(tmp_path, date(2026, 11, 27)).prices == {}  # its rows of the hubs may be there


def test_a_file_that_may_not_be_read_is_named_by_whoever_ends_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = write(tmp_path, QUOTES, quote(1)).with_suffix(".parquet")
    sealed.touch()

    def barred(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Failed to open local file")  # as Arrow says it: without the name of it

    monkeypatch.setattr(pq, "ParquetFile", barred)
    with pytest.raises(PermissionError) as ended:
        load(tmp_path, SESSION)
    assert (ended.value.filename, ended.value.strerror) == (str(sealed), "Permission denied")


def test_a_day_whose_prices_end_at_noon_settles_at_the_bar_of_the_close(tmp_path: Path) -> None:
    write(tmp_path, UNDERLYINGS, spot(1, 600_000), spot(9_000, 610_000))
    assert settled(tmp_path) == 610_000
    write(tmp_path, BARS, bar(60, 1), bar(9_060, 2), bar(9_120, 611_000), bar(CLOSE_S, 620_000), bar(CLOSE_S + 60, 3))
    assert settled(tmp_path) == 620_000
    instants, prices = load(tmp_path, SESSION).prices["SPX"]
    assert instants == sorted(instants)
    assert prices == [600_000, 610_000, 611_000, 620_000, 3]


def test_of_a_day_whose_prices_were_recorded_to_its_close_no_bar_counts(tmp_path: Path) -> None:
    write(tmp_path, UNDERLYINGS, spot(1, 600_000), spot(CLOSE_S - 5, 610_000))
    write(tmp_path, BARS, bar(60, 1), bar(CLOSE_S, 620_000))
    assert load(tmp_path, SESSION).prices["SPX"][1] == [600_000, 610_000]
    assert settled(tmp_path) == 610_000


@pytest.mark.parametrize("data_type", [0, 2, 3, 4, 7])
def test_what_was_delayed_is_shown_as_such_fills_nothing_and_is_no_price(tmp_path: Path, data_type: int) -> None:
    write(tmp_path, QUOTES, quote(1, data_type), quote(5))
    write(tmp_path, UNDERLYINGS, spot(1, 600_000), spot(2, 700_000, data_type))
    market = RecordedMarket(load(tmp_path, SESSION), hours(), 10_000)
    market.step(at(3))
    shown, price = market.quote(CALL.con_id), market.price("SPX")
    assert shown is not None
    assert price is not None
    assert (shown.data_type, price.price_ticks) == (DataType(data_type) if data_type < 5 else DataType.UNKNOWN, 600_000)
    assert fills(market, order(limit=None, kind=OrderType.MARKET), range(3, 9)) == [(5, 110)]


def test_a_tick_that_claims_to_be_later_than_its_look_does_not_stand_longer(tmp_path: Path) -> None:
    write(tmp_path, QUOTES, quote(1, ticked_s=3_600))
    write(tmp_path, UNDERLYINGS, spot(1, 600_000))
    market = RecordedMarket(load(tmp_path, SESSION), hours(), 10_000)
    assert fills(market, order(limit=None, kind=OrderType.MARKET), range(60, 90)) == []
