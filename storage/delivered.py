"""Of which buckets the warehouse has rows, by ticker and category: what is told without opening a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.instants import BUCKET_NS
from domain.session.calendar import TradingDay
from storage import manifest
from storage.manifest import IMPORT_STORE_N, Manifest

Mask = NDArray[np.bool_]
_WANTED = ["bucket_utc", "store_n", "ticker", "category"]


class Delivered(NamedTuple):
    """Of which rows a session's sealed files tell, each bucket as it was stored first, and what was imported of it.

    `is_there` (tickers, categories, buckets); `is_more` (tickers, buckets): of a hub or category that was not asked
    for; `is_told` (hubs, buckets): nothing of the hub and bucket lies in a file that is not sealed, or cannot be read.
    """

    is_there: Mask
    is_more: Mask
    is_told: Mask


def delivered(
    root: Path, found: Manifest, day: TradingDay, tickers: Sequence[str], by_hub: Mapping[str, Sequence[str]]
) -> Delivered:
    """Return what there is of these tickers, and of the categories of each hub.

    Args:
        root: the folder of the warehouse.
        found: the manifest of the session.
        day: the session.
        tickers: in the order of the answer.
        by_hub: categories by hub; the answer has all of them, one hub's behind the other's.
    """
    hubs, categories = list(by_hub), [category for names in by_hub.values() for category in names]
    is_there = np.zeros((len(tickers), len(categories), day.buckets), np.bool_)
    is_more = np.zeros((len(tickers), day.buckets), np.bool_)
    is_told = np.ones((len(hubs), day.buckets), np.bool_)
    begins = dict(zip(hubs, np.cumsum([0, *map(len, by_hub.values())]).tolist(), strict=False))
    for part in found.parts:
        table = _read(manifest.folder_of(root, found.session) / part.name) if part.is_sealed else None
        if table is None:
            first, last = ((utc - day.open_utc) // BUCKET_NS for utc in (part.first_utc, part.last_utc))
            of_hub = hubs.index(part.hub) if part.hub in begins else slice(None)
            is_told[of_hub, max(first, 0) : max(last + 1, 0)] = False
            continue
        at = (table["bucket_utc"].to_numpy() - day.open_utc) // BUCKET_NS
        of = _codes(table["ticker"], tickers)
        is_asked = (at >= 0) & (at < day.buckets) & (of >= 0)
        at, of, store_n = at[is_asked], of[is_asked], table["store_n"].to_numpy()[is_asked]
        category = _codes(table["category"], by_hub.get(part.hub, ()))[is_asked]
        counts = (store_n == _first_stores(found, part.hub, day)[at]) | (store_n == IMPORT_STORE_N)
        is_wanted, is_else = counts & (category >= 0), counts & (category < 0)
        is_there[of[is_wanted], begins.get(part.hub, 0) + category[is_wanted], at[is_wanted]] = True
        is_more[of[is_else], at[is_else]] = True
    return Delivered(is_there, is_more, is_told)


def _first_stores(found: Manifest, hub: str, day: TradingDay) -> NDArray[np.int64]:
    """Return by bucket the number of the store that came first; of one that was never stored a number that is none."""
    numbers = np.full(day.buckets, IMPORT_STORE_N, np.int64)
    for bucket in reversed(found.buckets.get(hub, ())):
        at = (bucket.bucket_utc - day.open_utc) // BUCKET_NS
        if 0 <= at < day.buckets:
            numbers[at] = bucket.store_n
    return numbers


def _read(path: Path) -> pa.Table | None:
    try:
        return pq.ParquetFile(path, read_dictionary=_WANTED[2:]).read(_WANTED, use_threads=False)
    except (pa.ArrowException, OSError):
        return None


def _codes(column: pa.ChunkedArray, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the places of the words of a column among these names; −1 for others."""
    place = pa.array(names, pa.string())
    pieces = [np.empty(0, np.int64)]
    for chunk in column.chunks:
        known = pc.index_in(chunk.dictionary, place).fill_null(-1).to_numpy()
        pieces.append(known[chunk.indices.to_numpy()].astype(np.int64) if len(known) else np.empty(0, np.int64))
    return np.concatenate(pieces)
