"""The readings of a backtest are those of the readings' actors, and few of them open a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from actors.reading import ReadingActor, ReadingState
from domain.instants import BUCKET_NS
from domain.options.profile import Profile, Row, Rows
from domain.units import Ticks, Utc
from messages import market, signals
from simulation.backtest.ports import RecordedRows
from simulation.backtest.readings import DayReadings, measured
from simulation.recording import seal_rows
from storage.imports.market_days import MarketDays
from storage.series import Series, seal
from storage.series_reader import SeriesReader
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader
from tests.testkit.probe import Probe
from tests.testkit.recorded_days import OPEN, SESSION, hours
from tests.testkit.signal_histories import SETTINGS, profile

TICKERS: Final = ("SPX", "QQQ")
HUBS: Final = SETTINGS.feed.by_hub
RECORDED: Final = 40  # buckets, the last two of which are not sealed
NOT_SEALED: Final = range(38, 40)
LACKING, SILENT, LATE, UNREAD, MORE = 3, 5, 7, 11, 17
LACKED, LACKING_HUB, NOT_WANTED = "state_charm_zero", "state_greeks_zero", "state_gex_full"


class Counting(WarehouseReader):
    """Notes which buckets are opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, is_past=True)
        self.opened: set[int] = set()

    def read_bucket(self, *given: Any) -> Any:
        self.opened.add((given[2] - OPEN) // BUCKET_NS)
        return super().read_bucket(*given)


def bucket(n: int) -> Utc:
    return Utc(OPEN + n * BUCKET_NS)


def rows(hub: str, n: int) -> list[Row]:
    """Return what a hub has of a bucket; each bucket says something else."""
    told = [
        made(ticker, category, n)
        for ticker in TICKERS
        for category in HUBS[hub]
        if not (n == LACKING and category == LACKED) and not (n == SILENT and ticker == "QQQ")
    ]
    if n == MORE and hub == "state_gex":
        told.append(made("SPX", NOT_WANTED, n))
    return [Row(one, hub, 1, bucket(n), bucket(n)) for one in told]


def made(ticker: str, category: str, n: int) -> Profile:
    spot = Ticks(600_000 + 40 * n + 700 * (n % 7))
    levels = {"zero_gamma": spot - 300, "major_pos_vol": spot + 500} if category == "classic_gex_zero" else {}
    return profile(ticker, category, spot, **levels)


def store(warehouse: Warehouse, hub: str, n: int, told: list[Row]) -> None:
    warehouse.take(market.StoreBucket(
        hub=hub, bucket_utc=bucket(n), rows=Rows(f"{hub}/{bucket(n)}", tuple(told)), absent=(), why_absent="",
        counts=market.FrameCounts(accepted=len(told)),
    ))  # fmt: skip
    warehouse.flush()


class Desk:
    """The readings' actors of a desk."""

    def __init__(self) -> None:
        self._probes: dict[str, Probe[ReadingState]] = {
            ticker: Probe(ReadingActor(f"reading:{ticker}", SETTINGS), OPEN) for ticker in TICKERS
        }
        for probe in self._probes.values():
            probe.start()

    def hear(self, n: int, by_hub: dict[str, Rows]) -> list[signals.FeaturesComputed]:
        """Return what they make of a bucket."""
        out: list[signals.FeaturesComputed] = []
        for hub, told in by_hub.items():
            for ticker, probe in self._probes.items():
                arrived = market.RowsArrived(hub=hub, ticker=ticker, bucket_utc=bucket(n), rows=told.of(ticker))
                probe.feed(arrived, bucket(n + 1))
                closed = probe.feed(market.HubClosed(hub=hub, bucket_utc=bucket(n), absent=()), bucket(n + 1))
                out += closed.published(signals.FeaturesComputed)
        return out


def hubs_of(reader: WarehouseReader, without: str = "") -> list[RecordedRows]:
    return [
        RecordedRows(reader, SESSION, hub, TICKERS, [category for category in wanted if category != without])
        for hub, wanted in HUBS.items()
    ]


def by_actors(folder: Path) -> tuple[list[signals.FeaturesComputed], list[RecordedRows]]:
    """Return what the actors make of all that is stored, and the rows that were opened."""
    desk, hubs = Desk(), hubs_of(WarehouseReader(folder / "warehouse"))
    told = [desk.hear(n, {one.hub: one.of(bucket(n)) for one in hubs}) for n in range(hours().buckets)]
    return [reading for of_bucket in told for reading in of_bucket], hubs


def by_columns(folder: Path) -> tuple[list[signals.FeaturesComputed], list[RecordedRows], Counting]:
    """Return what the columns say, the rows that were counted, and which were opened."""
    reader = Counting(folder / "warehouse")
    hubs = hubs_of(reader)
    readings = DayReadings(measured(SeriesReader(folder / "series"), reader, hours(), TICKERS, hubs), hours())
    return [one for n in range(hours().buckets) for one in readings.of(bucket(n))], hubs, reader


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a day as its desk has recorded it, with what can go wrong on the way."""
    root = tmp_path_factory.mktemp("day")
    desk, series = Desk(), Series(root / "series", 1, is_durable=False)
    for stretch in (range(NOT_SEALED.start), NOT_SEALED):
        warehouse = Warehouse(root / "warehouse", is_durable=False, seals=False)
        warehouse.open()
        for n in stretch:
            heard = {hub: [] if n == LATE and hub == "classic" else rows(hub, n) for hub in HUBS}
            for hub, own in heard.items():
                store(warehouse, hub, n, own)
            if n == LATE:
                store(warehouse, "classic", n, rows("classic", n))
            for reading in desk.hear(n, {hub: Rows(hub, tuple(own)) for hub, own in heard.items()}):
                if n != UNREAD:
                    series.take(reading)
        warehouse.close()
        if stretch != NOT_SEALED:
            seal_rows(root / "warehouse", SESSION)
    assert series.flush() is None
    series.close()
    seal(root / "series", SESSION)
    with MarketDays(root / "warehouse") as days:
        imported = Row(made("SPX", LACKED, LACKING), LACKING_HUB, 1, bucket(LACKING), bucket(LACKING), mode="import")
        days.add(SESSION, [(bucket(LACKING), imported)])
    return root


def test_columns_say_what_the_actors_make_of_the_rows(folder: Path) -> None:
    told, hubs, _ = by_columns(folder)
    wanted, opened = by_actors(folder)
    assert told == wanted
    assert [(one.rows_n, sorted(one.buckets)) for one in hubs] == [(one.rows_n, one.buckets) for one in opened]


def test_rows_are_opened_only_where_no_stored_reading_is_made_of_them(folder: Path) -> None:
    _, _, reader = by_columns(folder)
    assert reader.opened == {LACKING, UNREAD, MORE, *NOT_SEALED}


def test_what_is_wanted_since_the_day_was_recorded_is_made_of_the_rows(folder: Path) -> None:
    reader = Counting(folder / "warehouse")
    measured(SeriesReader(folder / "series"), reader, hours(), TICKERS, hubs_of(reader, without=LACKED))
    assert reader.opened >= set(range(RECORDED)) - {LACKING, SILENT}
