"""A day of one ticker as the charts need it: prices by bucket, levels, and gamma by strike as one byte a cell.

It is read from the warehouse, bucket by bucket as they are stored; between two buckets the broker's prices move the
last bar. All arrays begin with the session's first bucket.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domain.instants import BUCKET_NS, SECOND
from domain.session.calendar import TradingDay
from domain.units import Ticks, Utc
from storage.warehouse_reader import WarehouseReader

CATEGORY: Final = "classic_gex_zero"  # net gamma by volume of what expires today
COLUMN: Final = "gex_vol"
HALF_STRIKES: Final = 60  # on each side of the middle of the grid
EDGE_SHARE: Final = 0.8  # of the half grid: beyond it the grid is laid anew around the price
GRIDS_A_DAY: Final = 1_000
CELL_MAX: Final = 127
COLUMNS_MAX: Final = 60  # buckets in one push; who missed more fetches them

Bar = list[float]


@dataclass
class GammaDay:
    """One ticker's day so far; `last` is the newest stored bucket.

    `grid_n` is another for every session and whenever the strikes were laid anew: who knows another must fetch all.
    """

    ticker: str
    day: TradingDay
    grid_n: int = field(init=False)
    last: int = -1
    strikes: tuple[float, ...] = ()
    bars: dict[int, Bar] = field(default_factory=dict)
    levels: dict[int, tuple[float | None, float | None, float | None]] = field(default_factory=dict)
    scales: dict[int, float] = field(default_factory=dict)
    live: tuple[int, Bar] | None = None
    _cells: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 0), np.int8))
    _step: int = 0
    _low: int = 0
    _is_off_the_grid: bool = False

    def __post_init__(self) -> None:
        """Number the grid of a session that has none yet."""
        self.grid_n = self.day.session.toordinal() * GRIDS_A_DAY

    @property
    def session(self) -> date:
        """The session."""
        return self.day.session

    def bucket_n(self, at_utc: Utc) -> int:
        """Return the number of the bucket that an instant falls into; below 0 before the open."""
        return (at_utc - self.day.open_utc) // BUCKET_NS

    # -- taking in -------------------------------------------------------------------------------

    def tick(self, price_ticks: Ticks, at_utc: Utc) -> None:
        """Let a price of the underlying move the bar of its bucket."""
        n, price = self.bucket_n(at_utc), price_ticks / 100
        if not 0 <= n < self.day.buckets or n <= self.last:
            return
        if self.live is None or self.live[0] < n:
            before = self._close_before(n)
            self.live = n, _bar(price if before is None else before, price)
        elif self.live[0] == n:
            bar = self.live[1]
            self.live = n, [bar[0], max(bar[1], price), min(bar[2], price), price]

    def read(self, reader: WarehouseReader) -> pa.Table:
        """Return what was stored since the last look (of the whole day, where the strikes are laid anew)."""
        since = 0 if self._is_off_the_grid else self.last + 1
        since_utc = Utc(self.day.open_utc + since * BUCKET_NS)
        return reader.profiles(self.session, self.ticker, CATEGORY, COLUMN, since_utc)

    def take(self, table: pa.Table) -> bool:
        """Take what `read` has returned; return whether there was something new."""
        rows = [row for row in _rows(table) if 0 <= self.bucket_n(row["bucket_utc"]) < self.day.buckets]
        if self._is_off_the_grid and rows:
            self._lay_anew(rows)
        new = [row for row in rows if self.bucket_n(row["bucket_utc"]) > self.last]
        for row in new:
            self._take(row)
        return bool(new)

    def _take(self, row: dict[str, Any]) -> None:
        n, spot = self.bucket_n(row["bucket_utc"]), row["spot"]
        if not self._step:
            self._lay(row["strikes"], spot)
        self.last = n
        self._take_price(n, spot / 100 if spot else None)
        self.levels[n] = (_price(row["zero_gamma"]), _price(row["major_pos_vol"]), _price(row["major_neg_vol"]))
        cells, self.scales[n] = self._column(row["strikes"], row[COLUMN])
        if len(cells):
            self._cells[n] = cells
        middle = self._low + HALF_STRIKES * self._step
        self._is_off_the_grid = bool(spot) and abs(spot - middle) > EDGE_SHARE * HALF_STRIKES * self._step

    def _take_price(self, n: int, spot: float | None) -> None:
        live = self.live
        if live is not None and live[0] <= n:
            self.live = None
        if live is not None and live[0] == n:
            bar = live[1]
            self.bars[n] = bar if spot is None else [bar[0], max(bar[1], spot), min(bar[2], spot), spot]
        elif spot is not None:
            before = self._close_before(n)
            self.bars[n] = _bar(spot if before is None else before, spot)

    def _close_before(self, n: int) -> float | None:
        bar = self.bars.get(n - 1)
        return None if bar is None else bar[3]

    # -- the grid of strikes ---------------------------------------------------------------------

    def _lay(self, strikes: NDArray[np.int32], spot: int) -> None:
        """Lay an even grid of strikes around the price, with the step that the strikes near it have."""
        if len(strikes) < 2 or not spot:
            return
        at = int(np.argmin(np.abs(strikes - spot)))
        near = strikes[max(0, at - 10) : at + 11]
        self._step = int(np.median(np.diff(near))) or 1
        middle = round(spot / self._step) * self._step
        self._low = middle - HALF_STRIKES * self._step
        count = 2 * HALF_STRIKES + 1
        self.strikes = tuple((self._low + k * self._step) / 100 for k in range(count))
        self._cells = np.zeros((self.day.buckets, count), np.int8)
        self.grid_n += 1

    def _lay_anew(self, rows: list[dict[str, Any]]) -> None:
        self._lay(rows[-1]["strikes"], rows[-1]["spot"])
        self._is_off_the_grid = False
        for row in rows:
            n = self.bucket_n(row["bucket_utc"])
            if 0 <= n <= self.last:
                self._cells[n], self.scales[n] = self._column(row["strikes"], row[COLUMN])

    def _column(self, strikes: NDArray[np.int32], values: NDArray[np.int32]) -> tuple[NDArray[np.int8], float]:
        """Return a bucket's cells, and what 127 stands for (so that a cell can be read back in the vendor's unit)."""
        count = len(self.strikes)
        if not count:
            return np.zeros(0, np.int8), 0.0
        at = (strikes - self._low) // self._step
        is_on = ((strikes - self._low) % self._step == 0) & (at >= 0) & (at < count)
        found = np.zeros(count)
        found[at[is_on]] = values[is_on]
        greatest = float(np.abs(found).max())
        if greatest == 0:
            return np.zeros(count, np.int8), 0.0
        return np.rint(found / greatest * CELL_MAX).astype(np.int8), greatest / 100

    # -- giving out ------------------------------------------------------------------------------

    def whole(self, since: int = -1) -> dict[str, Any]:
        """Return the buckets after `since` as plain values, without the cells; `t0` in seconds since the epoch."""
        wanted = range(since + 1, self.last + 1)
        levels = [self.levels.get(n, (None, None, None)) for n in wanted]
        return {
            "ticker": self.ticker, "session": self.session.isoformat(), "t0": self.day.open_utc // SECOND,
            "step_s": BUCKET_NS // SECOND, "buckets": self.day.buckets, "grid": self.grid_n, "since": since,
            "last": self.last, "strikes": self.strikes, "bars": [self.bars.get(n) for n in wanted],
            "zero": [found[0] for found in levels], "call": [found[1] for found in levels],
            "put": [found[2] for found in levels], "scale": [_short(self.scales.get(n, 0.0)) for n in wanted],
            "live": self.live,
        }  # fmt: skip

    def cells(self, since: int = -1) -> bytes:
        """Return the cells of the buckets after `since`, a signed byte a strike, bucket by bucket."""
        return self._cells[since + 1 : self.last + 1].tobytes()

    def news(self, since: int, grid_n: int) -> dict[str, Any]:
        """Return what a page needs that has the buckets up to `since` of that grid; `is_gap`: it must fetch them."""
        if grid_n != self.grid_n or self.last - since > COLUMNS_MAX:
            return {"ticker": self.ticker, "is_gap": True, "last": self.last, "grid": self.grid_n, "live": self.live}
        found = self.whole(since)
        for name in ("session", "t0", "step_s", "buckets", "strikes"):
            del found[name]
        return found | {"cells": b64encode(self.cells(since)).decode()}


def _bar(opened: float, closed: float) -> Bar:
    return [opened, max(opened, closed), min(opened, closed), closed]


def _price(wire: int) -> float | None:
    """Return a level in USD; on the wire 0 says that there is none."""
    return wire / 100 if wire else None


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return a table's rows with the per-strike columns as arrays."""
    names = ("bucket_utc", "spot", "zero_gamma", "major_pos_vol", "major_neg_vol")
    columns = {name: table[name].to_pylist() for name in names}
    strikes, values = table["strikes"], table[COLUMN]
    return [
        {name: column[k] for name, column in columns.items()}
        | {"strikes": strikes[k].values.to_numpy(), COLUMN: values[k].values.to_numpy()}
        for k in range(table.num_rows)
    ]
