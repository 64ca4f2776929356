"""Minute bars from whatever is stored, the longer ones made of them, and correlations against their baseline."""

from __future__ import annotations

from datetime import date, time, timedelta
from pathlib import Path

import numpy as np
import pytest

from domain.instants import MINUTE, SECOND, at_exchange
from domain.instruments import DataType, Spot
from domain.market.bars import Bars, MinuteBar, derived
from domain.session.modes import Mode
from domain.units import Ticks, Utc
from messages import market, session
from storage.minute_bars import TICKERS, correlated, joined_sessions, minute_bars
from storage.series import Series, seal
from storage.series_reader import SeriesReader
from storage.views.database import Database
from storage.views.named import correlations
from storage.warehouse_reader import WarehouseReader
from tests.testkit import web_desk as desk
from web.context import MarketContext
from web.history import breaks_of

DAY = date(2026, 11, 20)
MINUTES = 130
FUNDS = ("SPY", "QQQ", "IWM")


def walk(rng: np.random.Generator) -> np.ndarray:
    return np.cumsum(rng.integers(-30, 31, MINUTES))


def told(day: date, moves: dict[str, np.ndarray]) -> market.BarsArrived:
    """Bars of a session from 8:50 on (40 minutes before the opening), one a minute."""
    first = at_exchange(day, time(8, 50))
    bars = []
    for ticker, move in moves.items():
        before = 50_000
        for n, step in enumerate(move):
            close = 50_000 + int(step)
            bars.append(MinuteBar(
                ticker=ticker, begin_utc=Utc(first + n * MINUTE), open=Ticks(before), close=Ticks(close),
                high=Ticks(max(before, close) + n % 7), low=Ticks(min(before, close) - n % 5),
                volume=None if ticker in ("SPX", "VIX") else 100 + n,
            ))  # fmt: skip
            before = close
    return market.BarsArrived(hub="provider", at_utc=Utc(first + MINUTES * MINUTE), bars=tuple(bars))


def weekdays(n: int) -> list[date]:
    days = [DAY - timedelta(days=k) for k in range(2 * n)]
    return sorted(day for day in days if day.weekday() < 5)[-n:]


def write_sessions(root: Path, n: int) -> list[date]:
    """Sessions in which the funds go together and the VIX against them, but for the last: QQQ goes its own way."""
    rng, series, days = np.random.default_rng(7), Series(root / "series", 1), weekdays(n)
    for day in days:
        market_ = walk(rng)
        near = {ticker: market_ + rng.integers(-3, 4, MINUTES) for ticker in FUNDS}
        if day == days[-1]:
            near["QQQ"] = walk(rng)
        series.take(told(day, near | {"VIX": -market_}))
    series.close()
    return days


@pytest.mark.parametrize(("view", "minutes"), [("bars_5m", 5), ("bars_1h", 60)])
@pytest.mark.parametrize("is_sealed", [False, True])
def test_longer_bars_are_those_that_the_rules_derive(
    tmp_path: Path, view: str, minutes: int, *, is_sealed: bool
) -> None:
    (day,) = write_sessions(tmp_path, 1)
    if is_sealed:
        seal(tmp_path / "series", day)
    bars = minute_bars(WarehouseReader(tmp_path / "warehouse"), SeriesReader(tmp_path / "series"), day, ("SPY",))["SPY"]
    wanted = derived(bars, minutes)
    found = Database(tmp_path).query(
        "SELECT epoch_ns(begin_utc) AS begin, round(open * 100)::BIGINT AS open, round(high * 100)::BIGINT AS high,"
        " round(low * 100)::BIGINT AS low, round(close * 100)::BIGINT AS close, volume, strftime(begin_ny, '%H:%M') AS"
        f" at FROM {view} WHERE ticker = 'SPY' ORDER BY begin"
    )
    for name in ("open", "high", "low", "close"):
        assert found[name].to_pylist() == getattr(wanted, name).tolist()
    assert found["begin"].to_pylist() == wanted.begin_utc.tolist()
    assert sum(found["volume"].to_pylist()) == sum(100 + n for n in range(MINUTES))
    assert "09:30" in found["at"].to_pylist()  # counted from the opening, before it too
    assert Database(tmp_path).query(f"SELECT volume FROM {view} WHERE ticker = 'VIX'")["volume"].null_count > 0


def test_bars_are_made_of_spots_where_nobody_told_one_and_of_the_brokers_prices_where_there_are_no_rows(
    tmp_path: Path,
) -> None:
    desk.write_market(tmp_path, 0, 9)
    series = Series(tmp_path / "series", 1)
    for n in range(10):
        at_utc = Utc(desk.OPEN + n * 20 * SECOND)
        spot = Spot("VIX", Ticks(1_600 + n), at_utc, DataType.LIVE)
        series.take(market.QuotesSampled(at_utc=at_utc, quotes=(), spots=(spot,)))
    series.close()
    found = minute_bars(WarehouseReader(tmp_path / "warehouse"), SeriesReader(tmp_path / "series"), desk.DAY, TICKERS)
    assert {ticker: len(bars) for ticker, bars in found.items()} == {"SPX": 5, "QQQ": 5, "VIX": 4}
    assert found["SPX"].close.tolist() == [desk.spot_at(n) for n in (1, 3, 5, 7, 9)]
    assert (found["VIX"].open.tolist(), found["VIX"].close.tolist()) == (
        [1600, 1603, 1606, 1609],
        [1602, 1605, 1608, 1609],
    )


def test_a_pair_that_leaves_its_baseline_is_broken_and_few_sessions_are_no_baseline(tmp_path: Path) -> None:
    days = write_sessions(tmp_path, 14)
    found = {(row["first"], row["second"]): row for row in correlations(Database(tmp_path)).to_pylist()}
    assert {pair for pair, row in found.items() if row["is_broken"]} == {("SPY", "QQQ"), ("QQQ", "IWM"), ("QQQ", "VIX")}
    assert found["SPY", "IWM"]["correlation"] > 0.9
    assert found["SPY", "VIX"]["usual"] < -0.9
    assert found["SPY", "QQQ"]["sessions"] == 13
    reader = SeriesReader(tmp_path / "series")
    few = {day: minute_bars(WarehouseReader(tmp_path / "warehouse"), reader, day, TICKERS) for day in days[-5:]}
    assert all(one.usual is None and not one.is_broken for one in correlated(few, days[-1]))
    assert correlations(Database(tmp_path / "empty")).num_rows == 0


def test_the_context_of_the_page_tells_pairs_and_derived_series(tmp_path: Path) -> None:
    days = write_sessions(tmp_path, 12)
    context = MarketContext(tmp_path / "series")
    for _ in range(2):  # from the files, and from what is kept
        told_ = context.read(WarehouseReader(tmp_path / "warehouse"), days[-1])
        assert told_.sessions_before == 11
        assert {one.pair for one in told_.correlations if one.is_broken} == {"SPY/QQQ", "QQQ/IWM", "QQQ/VIX"}
        values = {(one.symbol, one.name): one.value for one in told_.derived}
        assert isinstance(values["SPY", "gap"], float)
        assert isinstance(values["IWM", "iwm_spy_rotation"], float)
        assert values["QQQ", "qqq_against_sector"] is None  # nothing is stored of XLK


def test_joined_sessions_ascend() -> None:
    def one(n: int) -> Bars:
        at = np.array([n], np.int64)
        return Bars("SPY", 1, at, at, at, at, at, at)

    later, earlier = date(2026, 11, 20), date(2026, 11, 19)
    assert joined_sessions({later: {"SPY": one(2)}, earlier: {"SPY": one(1)}})["SPY"].begin_utc.tolist() == [1, 2]


def test_losses_of_the_order_session_are_on_record_with_how_long_they_lasted(tmp_path: Path) -> None:
    modes = (
        (Mode.WARMUP, 1), (Mode.FULLY_LIVE, 61), (Mode.DEGRADED, 100), (Mode.WARMUP, 112), (Mode.FULLY_LIVE, 172),
        (Mode.DEGRADED, 500),
    )  # fmt: skip
    for run_n in (1, 2):
        series = Series(tmp_path / "series", run_n)
        for n, (mode, second) in enumerate(modes):
            at_utc = Utc(desk.OPEN + (second + 1_000 * run_n) * SECOND)
            series.take(session.ModeChanged(mode=mode, mode_n=n, session_epoch=1, cause="socket closed", at_utc=at_utc))
        series.close()
    seal(tmp_path / "series", desk.DAY)
    breaks = breaks_of(SeriesReader(tmp_path / "series"))
    assert [one.lasted_s for one in breaks] == [None, 12.0, None, 12.0]
    assert (breaks[1].cause, breaks[1].at[11:19]) == ("socket closed", "10:05:00")
    found = Database(tmp_path).query("SELECT mode, count(*) AS n FROM modes GROUP BY mode ORDER BY mode").to_pylist()
    assert found == [{"mode": "DEGRADED", "n": 4}, {"mode": "FULLY_LIVE", "n": 4}, {"mode": "WARMUP", "n": 4}]
