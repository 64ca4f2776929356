"""Minute bars in files: CSV and Parquet with named columns, and the minute layout of LEAN.

LEAN (its documentation, "data formats"): a zip of CSV files without titles; milliseconds since midnight of the
exchange, prices × 10,000 for stocks, as they are for an index; an index of Cboe counts from midnight in Chicago, stocks
and options from midnight in New York.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from domain.indices import INDICES
from domain.instants import MS, NEW_YORK, SECOND, from_datetime
from domain.market.bars import Bars

Longs = NDArray[np.int64]

ROWS_MAX: Final = 20_000_000
LONG_MAX: Final = (1 << 63) - 1
LEAN_BARS: Final = re.compile(r"(\d{8})_([a-z0-9.]+)_minute_trade\.csv", re.IGNORECASE)
LEAN_QUOTES: Final = re.compile(
    r"(\d{8})_([a-z0-9.]+)_minute_quote_(?:european|american)_(call|put)_(\d{1,12})_(\d{8})\.csv", re.IGNORECASE
)
_CHICAGO: Final = ZoneInfo("America/Chicago")
_TIMES: Final = ("timestamp", "datetime", "time", "date", "t", "ts", "begin", "window_start", "caldt")
_TICKERS: Final = ("ticker", "symbol", "sym")
_PRICES: Final = {"open": ("open", "o"), "high": ("high", "h"), "low": ("low", "l"), "close": ("close", "c", "last")}
_VOLUMES: Final = ("volume", "vol", "v")


class NoBarsError(Exception):
    """A file that holds no bars; one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Read:
    """Bars of each ticker as they stand in the file, and how many lines could not be read."""

    bars: tuple[Bars, ...]
    unreadable_n: int = 0


def is_bars_header(titles: list[str]) -> bool:
    """Return whether a line of titles is that of bars."""
    names = {title.strip().lower() for title in titles}
    return all(names & set(known) for known in _PRICES.values()) and bool(names & set(_TIMES))


def of_csv(text: str, ticker: str | None) -> Read:
    """Return the bars of a CSV with titles; `ticker` names them where no column does.

    Raises:
        NoBarsError: a column is missing, or nobody says which ticker it is.
    """
    lines = _csv_lines(text.lstrip("\ufeff"))
    titles = [title.strip().lower() for title in next(lines, [])]
    at = _columns(titles)
    if at.get("ticker") is None and ticker is None:
        raise NoBarsError("No column says which ticker the bars are of; name it with --ticker.")
    if "date" in titles and "time" in titles:
        day_at, clock_at = titles.index("date"), titles.index("time")
    else:
        day_at, clock_at = at["time"], -1
    rows: dict[str, list[tuple[int, ...]]] = {}
    unreadable_n = 0
    for row in lines:
        if not any(cell.strip() for cell in row):
            continue
        try:
            told = f"{row[day_at]} {row[clock_at]}" if clock_at >= 0 else row[day_at]
            name = (row[at["ticker"]].strip().upper() if "ticker" in at else "") or str(ticker)
            prices = [_ticks(row[at[name]]) for name in ("open", "high", "low", "close")]
            volume = round(float(row[at["volume"]].replace(",", "") or 0)) if "volume" in at else 0
            rows.setdefault(name, []).append(_kept(instant_of(told), *prices, volume))
        except (ValueError, IndexError, OverflowError):
            unreadable_n += 1
    has_volume = "volume" in at
    return Read(tuple(_bars(name, found, has_volume) for name, found in sorted(rows.items())), unreadable_n)


def of_parquet(data: bytes, ticker: str | None) -> Read:
    """Return the bars of a Parquet file with named columns.

    Raises:
        NoBarsError: it cannot be read, a column is missing, or nobody says which ticker it is.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_rows > ROWS_MAX:
            raise NoBarsError(f"The file has {file.metadata.num_rows} rows, more than is read at once; split it.")
        names = file.schema_arrow.names
        at = _columns([name.lower() for name in names])
        table = file.read([names[n] for n in dict.fromkeys(at.values())])
    except (pa.ArrowException, OSError) as error:
        raise NoBarsError(f"The Parquet file cannot be read ({str(error).splitlines()[0]}).") from None
    if "ticker" not in at and ticker is None:
        raise NoBarsError("No column says which ticker the bars are of; name it with --ticker.")
    rows: dict[str, list[tuple[int, ...]]] = {}
    unreadable_n = 0
    columns = {what: table[names[n]].to_pylist() for what, n in at.items()}
    for n in range(table.num_rows):
        try:
            name = str(columns["ticker"][n]).upper() if "ticker" in columns else str(ticker)
            prices = [_ticks(columns[what][n]) for what in ("open", "high", "low", "close")]
            volume = round(columns["volume"][n] or 0) if "volume" in columns else 0
            rows.setdefault(name, []).append(_kept(instant_of(columns["time"][n]), *prices, volume))
        except (ValueError, TypeError, OverflowError):
            unreadable_n += 1
    return Read(tuple(_bars(name, found, "volume" in at) for name, found in sorted(rows.items())), unreadable_n)


def of_lean(name: str, text: str) -> Read:
    """Return the bars of one file of a LEAN zip.

    Raises:
        NoBarsError: its name is none of LEAN's.
    """
    found = LEAN_BARS.fullmatch(name)
    day = None if found is None else day_of(found[1])
    if found is None or day is None:
        raise NoBarsError(f"{name} is no <yyyymmdd>_<symbol>_minute_trade.csv of LEAN's.")
    ticker = found[2].upper()
    zone, scale = (_CHICAGO, 100.0) if ticker in INDICES else (NEW_YORK, 0.01)
    midnight_utc = from_datetime(datetime.combine(day, time(0), zone))
    rows, unreadable_n = [], 0
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            cells = [float(cell) for cell in line.split(",")]
            prices = [round(cell * scale) for cell in cells[1:5]]
            volume = round(cells[5]) if len(cells) > 5 else 0
            rows.append(_kept(midnight_utc + int(cells[0]) * MS, *_four(prices), volume))
        except (ValueError, OverflowError):
            unreadable_n += 1
    return Read((_bars(ticker, rows, has_volume=True),) if rows else (), unreadable_n)


def _csv_lines(text: str) -> Iterator[list[str]]:
    """Yield the cells of each line, whatever ends it.

    Raises:
        NoBarsError: it is no CSV.
    """
    try:
        yield from csv.reader(io.StringIO(text, newline=""))
    except csv.Error as error:
        raise NoBarsError(f"The file cannot be read as CSV ({error}).") from None


def _kept(*values: int) -> tuple[int, ...]:
    """Return what a column can hold.

    Raises:
        OverflowError: one is of more than 64 bits, as no instant, price or quantity is.
    """
    if any(abs(value) > LONG_MAX for value in values):
        raise OverflowError(f"{values} do not fit a column")
    return values


def _four(prices: list[int]) -> list[int]:
    if len(prices) != 4:
        raise ValueError("a bar has four prices")
    return prices


def lean_quotes(name: str, text: str) -> Iterator[tuple[int, int, int, int, int] | None]:
    """Yield a LEAN file's quotes at each minute's end: (instant, bid, ask, bid size, ask size), `None` for no line.

    Prices in ticks, 0 where the side is empty; instants in ns.
    """
    found = LEAN_QUOTES.fullmatch(name)
    day = None if found is None else day_of(found[1])
    if day is None:
        return
    midnight_utc = from_datetime(datetime.combine(day, time(0), NEW_YORK))
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            cells = [float(cell or 0) for cell in line.split(",")]
            at_utc, bid, ask, bid_size, ask_size = _kept(
                midnight_utc + int(cells[0]) * MS + 60 * SECOND, round(cells[4] / 100), round(cells[9] / 100),
                round(cells[5]), round(cells[10]),
            )  # fmt: skip
        except (ValueError, IndexError, OverflowError):
            yield None
        else:
            yield at_utc, bid, ask, bid_size, ask_size


def day_of(compact: str) -> date | None:
    """Return the date of `yyyymmdd`, `None` where it is none."""
    try:
        return datetime.strptime(compact, "%Y%m%d").date()  # noqa: DTZ007 - a date, not an instant
    except ValueError:
        return None


def _columns(titles: list[str]) -> dict[str, int]:
    """Return where each column is.

    Raises:
        NoBarsError: a time or a price is missing.
    """
    wanted = {"time": _TIMES, "ticker": _TICKERS, **_PRICES, "volume": _VOLUMES}
    at = {what: titles.index(name) for what, names in wanted.items() for name in names[::-1] if name in titles}
    missing = [what for what in ("time", *_PRICES) if what not in at]
    if missing:
        raise NoBarsError(f"The file has no column for {', '.join(missing)}; bars need time, open, high, low, close.")
    return at


def _bars(ticker: str, rows: list[tuple[int, ...]], has_volume: bool) -> Bars:
    table = np.array(rows, np.int64).reshape(len(rows), 6)
    volume = table[:, 5] if has_volume and ticker not in INDICES else None
    begin_utc, opened, high, low, close = (np.ascontiguousarray(table[:, n]) for n in range(5))
    return Bars(ticker, 1, begin_utc, opened, high, low, close, volume)


def _ticks(value: Any) -> int:
    number = float(value.replace(",", "") if isinstance(value, str) else value)
    return round(number * 100.0)


def instant_of(value: Any) -> int:
    """Return an instant: a datetime or ISO text (New York's wall clock where it has no zone), or a number since 1970
    in seconds, milliseconds, microseconds or nanoseconds, told apart by its size.

    Raises:
        ValueError: none of them.
        OverflowError: none that 64 bits hold, in nanoseconds.
    """
    if isinstance(value, str):
        text = value.strip()
        try:
            value = float(text)
        except ValueError:
            value = datetime.fromisoformat(text)
    if isinstance(value, datetime):
        return _kept(from_datetime(value if value.tzinfo is not None else value.replace(tzinfo=NEW_YORK)))[0]
    number = float(value)
    for below, scale in ((1e11, SECOND), (1e14, MS), (1e17, 1_000), (1e20, 1)):
        if 1e8 < number < below:
            return _kept(int(number * scale) // SECOND * SECOND)[0]
    raise ValueError(f"{value!r} is no instant")
