"""The readings of a recorded session from columns: what the readings' actors would tell, bucket by bucket.

A reading that was stored counts where the rows that the warehouse has of its bucket are those that it was made of;
everywhere else it is made of the rows again. Features, forces and alignment are those of whole sessions
(`domain/features/frames`), which are the live ones to the last bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.features.context import CONTEXT
from domain.features.evidence import Evidence, Force, said_of
from domain.features.forces import INPUTS, forces_of
from domain.features.frames import PRICES, columns, row_of
from domain.features.measures import Floats, with_measures
from domain.instants import BUCKET_NS
from domain.session.calendar import TradingDay
from domain.signals.registry import FEATURES
from domain.signals.snapshot import Snapshot, reduced
from domain.units import Utc
from messages import market, signals
from simulation.backtest.market import RecordedMarket
from simulation.backtest.ports import RecordedRows, as_market
from simulation.inprocess.port import InProcessPort
from storage.delivered import Delivered
from storage.manifest import WarehouseRefusedError
from storage.reading_columns import stored_readings
from storage.series_reader import SeriesReader
from storage.warehouse_reader import WarehouseReader
from supervision.spec import Tree
from supervision.stepped import SteppedRuntime

NAME: Final = "readings"
Mask = NDArray[np.bool_]
_GONE: Final = frozenset(("hub", "feed", "reading", "warehouse"))
_FEATURES_N: Final = len(FEATURES)
_CONTEXT_AT: Final = _FEATURES_N + len(CONTEXT)
_SCORES_AT: Final = _CONTEXT_AT + len(INPUTS)
_IV: Final = PRICES.index("iv")


class Measured(NamedTuple):
    """What a session's readings are of: measures (tickers, measures, buckets), NaN = missing, and which categories had
    a row (tickers, categories, buckets)."""

    tickers: Sequence[str]
    categories: Sequence[str]
    measures: Floats
    is_there: Mask


def measured(
    series: SeriesReader, warehouse: WarehouseReader, day: TradingDay, tickers: Sequence[str],
    hubs: Sequence[RecordedRows],
) -> Measured:  # fmt: skip
    """Return what is stored of a session's readings, made of rows where that is needed.

    Args:
        series: the stored readings.
        warehouse: says which rows there are.
        day: the session.
        tickers: in the order of the answer.
        hubs: the rows; they are counted, opened or not.
    """
    by_hub = {one.hub: one.categories for one in hubs}
    categories = [category for wanted in by_hub.values() for category in wanted]
    stored = stored_readings(series, day, tickers, categories)
    try:
        there = warehouse.delivered(day, tickers, by_hub)
    except WarehouseRefusedError:  # whoever reads the rows says so
        there = Delivered(~stored.is_missing, ~stored.is_read, np.zeros((len(hubs), day.buckets), np.bool_))
    is_same = stored.is_measured & ~there.is_more & (stored.is_missing != there.is_there).all(axis=1)
    is_nothing = ~stored.is_read & ~there.is_there.any(axis=1)
    is_known = there.is_told.all(axis=0) & (is_same | is_nothing)
    measures, is_there, begin = stored.values, there.is_there, 0
    for one in hubs:
        end = begin + len(one.categories)
        rows_n = np.where(is_known.all(axis=0), is_there[:, begin:end].sum(axis=(0, 1)), 0)
        for at in np.flatnonzero(rows_n).tolist():
            one.count(Utc(day.open_utc + at * BUCKET_NS), int(rows_n[at]))
        begin = end
    for at in np.flatnonzero(~is_known.all(axis=0)).tolist():
        bucket_utc = Utc(day.open_utc + at * BUCKET_NS)
        rows = [row for one in hubs for row in one.of(bucket_utc).rows]
        for n in np.flatnonzero(~is_known[:, at]).tolist():
            own = [row for row in rows if row.profile.ticker == tickers[n]]
            delivered = {row.profile.category for row in own}
            measures[n, :, at] = row_of(with_measures(reduced(bucket_utc, own), own, day))
            is_there[n, :, at] = [category in delivered for category in categories]
    return Measured(tickers, categories, measures, is_there)


class DayReadings:
    """A session's readings by bucket, as their actors would tell them."""

    def __init__(self, stored: Measured, day: TradingDay) -> None:
        self._stored = stored
        self._day = day
        self._is_whole: Mask = np.all(stored.is_there, axis=1)
        self._measures = np.ascontiguousarray(stored.measures.transpose(0, 2, 1))
        self._said = [_said(measures, day) for measures in stored.measures]

    def of(self, bucket_utc: Utc) -> Iterator[signals.FeaturesComputed]:
        """Yield the reading of each ticker; none of a bucket that is not the session's."""
        at = (bucket_utc - self._day.open_utc) // BUCKET_NS
        if not 0 <= at < self._day.buckets:
            return
        for n, ticker in enumerate(self._stored.tickers):
            snapshot = _snapshot(bucket_utc, self._measures[n, at])
            yield signals.FeaturesComputed(
                ticker=ticker, bucket_utc=bucket_utc, reading_n=at + 1, missing=self._missing(n, at),
                spot=snapshot.spot, zero_gamma=snapshot.zero_gamma, is_complete=True, snapshot=snapshot,
                evidence=_evidence(self._said[n][at]),
            )  # fmt: skip

    def _missing(self, n: int, at: int) -> tuple[str, ...]:
        if self._is_whole[n, at]:  # by far the most frequent
            return ()
        is_there = self._stored.is_there[n, :, at].tolist()
        return tuple([name for name, is_so in zip(self._stored.categories, is_there, strict=True) if not is_so])


def _said(measures: Floats, day: TradingDay) -> Floats:
    """Return what a ticker's readings say (readings, …): features, context, scores, confidences, alignment."""
    features, context = said_of(columns([measures], [day]))
    forces = forces_of(features, context)
    parts = (features, context, forces.scores, forces.confidences, forces.alignment[None])
    return np.ascontiguousarray(np.concatenate(parts)[:, 0].T)


def _evidence(said: Floats) -> Evidence:
    told: list[float] = said.tolist()
    values = _known(told)
    scores, confidences = told[_CONTEXT_AT:_SCORES_AT], told[_SCORES_AT:-1]
    return Evidence(
        features=tuple(values[:_FEATURES_N]), context=tuple(values[_FEATURES_N:_CONTEXT_AT]),
        forces=tuple([Force(*force) for force in zip(INPUTS, scores, confidences, strict=True)]), alignment=values[-1],
    )  # fmt: skip


def _snapshot(bucket_utc: Utc, measures: Floats) -> Snapshot:
    values = _known(measures.tolist())
    prices = [value if n == _IV or value is None else int(value) for n, value in enumerate(values[: len(PRICES)])]
    made: Any = Snapshot  # the prices in their order
    found: Snapshot = made(bucket_utc, *prices, tuple(values[len(PRICES) :]))
    return found


def _known(told: list[float]) -> Sequence[float | None]:
    whole = sum(told)
    if whole == whole:  # noqa: PLR0124 - NaN is missing
        return told
    return [None if value != value else value for value in told]  # noqa: PLR0124


def without_feed(tree: Tree) -> Tree:
    """Return a tree without hubs, feed, readings and warehouse; that a bucket is due is told to `RecordedReadings`."""
    children = tuple(child for child in tree.children if child.name.partition(":")[0] not in _GONE)
    told = {
        event: tuple(role for role in roles if role.partition(":")[0].rstrip("s") not in _GONE)
        for event, roles in tree.subscribers.items()
    }
    told[market.BucketDue] = (f"port:{NAME}", *told[market.BucketDue])
    return dataclasses.replace(tree, children=children, subscribers=told)


class RecordedReadings(InProcessPort[market.BucketDue]):
    """Tells each bucket's readings when it is due, in the place of hubs and readings' actors."""

    def __init__(self, runtime: SteppedRuntime, recorded: RecordedMarket, readings: DayReadings) -> None:
        super().__init__(NAME, runtime, as_market(recorded))
        self._readings = readings

    def _take(self, command: market.BucketDue) -> None:
        publish = self._runtime.publish
        for reading in self._readings.of(command.bucket_utc):
            publish(reading, self.name)
            spot = signals.SpotRead(ticker=reading.ticker, bucket_utc=reading.bucket_utc, spot=reading.spot)
            publish(spot, self.name)
