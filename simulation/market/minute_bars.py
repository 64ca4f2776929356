"""One recorded real day, read from a folder: minute bars of the SPX and of bid and ask of some SPXW options.

The folder holds two zip files in the minute layout of QuantConnect's LEAN (its documentation, "data formats"):
`spx_<date>_trade.zip` (one CSV: milliseconds since midnight, open, high, low, close in USD, and perhaps a count; an
index has no volume) and `spxw_<date>_quote.zip` (a CSV for each contract: milliseconds, bid OHLC, bid size, ask OHLC,
ask size; prices × 10,000). Index bars count from midnight in Chicago and quotes from midnight in New York.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.instants import MINUTE, MS, NEW_YORK, SECOND, at_exchange, from_datetime
from domain.instruments import Right
from domain.units import Ticks, Utc

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
ContractKey = tuple[date, Ticks, Right]

CHICAGO = ZoneInfo("America/Chicago")
MEMBER_BYTES_MAX = 4_000_000  # a day of minute bars is 40 kB; more is not one
MEMBERS_MAX = 10_000
PARITY_SHARE_MAX = 0.001  # of the index; measured 0.00007 on 2021-01-04, and 0.004 with bars an hour off
DAY_MS = 86_400_000
INDEX_COLUMNS, QUOTE_COLUMNS = (5, 6), (11,)

_FILE = re.compile(r"(spxw?)_(\d{8})_(trade|quote)\.zip")
_INDEX_MEMBER = re.compile(r"(\d{8})_spx_minute_trade\.csv")
_QUOTE_MEMBER = re.compile(r"(\d{8})_spxw_minute_quote_european_(call|put)_(\d+)_(\d{8})\.csv")


class RecordedError(Exception):
    """A folder cannot be followed; the text is one sentence with what is wrong and where."""


@dataclass(frozen=True, eq=False)
class IndexBars:
    """Minute bars of the index in USD; `begin_utc` ascends, each bar ends a minute later."""

    begin_utc: Longs
    open: Floats
    high: Floats
    low: Floats
    close: Floats


@dataclass(frozen=True, eq=False)
class QuoteBars:
    """Minute bars of one contract: prices in `_ticks` at the bar's begin (`_open`) and at its end; sizes at its end."""

    begin_utc: Longs
    bid_open_ticks: Longs
    ask_open_ticks: Longs
    bid_ticks: Longs
    ask_ticks: Longs
    bid_size: Longs
    ask_size: Longs


@dataclass(frozen=True, eq=False)
class RecordedDay:
    """A recorded session: the index, and quotes by (expiry, strike in `_ticks`, right)."""

    session: date
    index: IndexBars
    quotes: dict[ContractKey, QuoteBars]

    def index_usd(self, start_utc: Utc, size: int) -> Floats:
        """Return the index for each second from an instant on.

        A bar's close is reached at its end exactly. Inside the bar the price goes in straight lines from the open (at
        second 1) through its extremes (seconds 20 and 40): low before high where it closed at or above its open, high
        before low where below. Before the first bar its open stands, in gaps and after the last bar the last close.
        """
        bars = self.index
        begin_s = ((bars.begin_utc - start_utc) // SECOND).astype(np.float64)
        before = np.concatenate([bars.open[:1], bars.close[:-1]])
        rises = bars.close >= bars.open
        first, second = np.where(rises, bars.low, bars.high), np.where(rises, bars.high, bars.low)
        at_s = (begin_s[:, None] + np.array([0.0, 1.0, 20.0, 40.0, 60.0])).ravel()
        prices = np.stack([before, bars.open, first, second, bars.close], axis=1).ravel()
        return np.asarray(np.interp(np.arange(size, dtype=np.float64), at_s, prices))


def parity_gaps_usd(index: IndexBars, quotes: dict[ContractKey, QuoteBars], expiry: date, shift_ms: int = 0) -> Floats:
    """Return how far put–call parity is missed at each minute's end, over all strikes of one expiry.

    Call less put less (index less strike), of mids: without rates, which are nothing within a day. `shift_ms` moves the
    index in time, so that a wrong time zone can be told from the right one.
    """
    closes = dict(zip((index.begin_utc + shift_ms * MS).tolist(), index.close.tolist(), strict=True))
    gaps: list[float] = []
    for (when, strike_ticks, right), calls in quotes.items():
        puts = quotes.get((when, strike_ticks, Right.PUT))
        if when != expiry or right is not Right.CALL or puts is None:
            continue
        mids = [
            dict(zip(bars.begin_utc.tolist(), ((bars.bid_ticks + bars.ask_ticks) / 200.0).tolist(), strict=True))
            for bars in (calls, puts)
        ]
        shared = sorted(closes.keys() & mids[0].keys() & mids[1].keys())
        gaps += [mids[0][at] - mids[1][at] - (closes[at] - strike_ticks / 100.0) for at in shared]
    return np.array(gaps)


def load_recorded_day(folder: Path) -> RecordedDay:
    """Return the recorded day of a folder.

    Raises:
        RecordedError: no such folder or file, not a readable zip, columns, numbers or times that cannot be, or an index
            and options that do not belong to each other.
    """
    if not folder.is_dir():
        raise RecordedError(f"There is no folder {folder}; give --market the folder of a recorded day.")
    index_file, index_day = _the_file(folder, "spx", "trade")
    quote_file, quote_day = _the_file(folder, "spxw", "quote")
    if index_day != quote_day:
        raise RecordedError(f"{index_file.name} and {quote_file.name} are of different days; a folder holds one day.")
    session = _date_of(index_day, index_file.name)
    index = _index_of(index_file, index_day, session)
    quotes = _quotes_of(quote_file, quote_day, session)
    gaps = parity_gaps_usd(index, quotes, session)
    if not len(gaps):
        raise RecordedError(
            f"{quote_file.name} has no strike with a call and a put that expire on {session}, "
            "so that nothing ties it to the index; record both."
        )
    gap = float(np.median(np.abs(gaps)))
    if gap > PARITY_SHARE_MAX * float(index.close[0]):
        raise RecordedError(
            f"{index_file.name} and {quote_file.name} do not belong together: put–call parity is missed by "
            f"{gap:.2f} USD; check instruments and time zones (index in Chicago's time, quotes in New York's)."
        )
    return RecordedDay(session, index, quotes)


def _the_file(folder: Path, instrument: str, kind: str) -> tuple[Path, str]:
    """Return the folder's one zip of an instrument, and the day in its name."""
    matches = [(path, _FILE.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    found = [(path, m[2]) for path, m in matches if m is not None and (m[1], m[3]) == (instrument, kind)]
    if len(found) != 1:
        count = "no" if not found else f"{len(found)} files"
        raise RecordedError(f"{folder} has {count} {instrument}_<yyyymmdd>_{kind}.zip; it needs exactly one.")
    return found[0]


def _date_of(text: str, where: str) -> date:
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=NEW_YORK).date()
    except ValueError:
        raise RecordedError(f"{text} in {where} is not a date; name it as yyyymmdd.") from None


def _members(file: Path) -> dict[str, str]:
    """Return all texts of a zip by name; sizes are bounded before anything is unpacked."""
    try:
        with zipfile.ZipFile(file) as packed:
            infos = packed.infolist()
            if len(infos) > MEMBERS_MAX or any(i.file_size > MEMBER_BYTES_MAX for i in infos):
                raise RecordedError(f"{file.name} unpacks to more than a day of minute bars; it is not read.")
            return {i.filename: packed.read(i).decode("ascii") for i in infos}
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        UnicodeDecodeError,
        NotImplementedError,
        RuntimeError,
    ) as e:
        raise RecordedError(f"{file} cannot be read as a zip of CSV files ({e}); fetch it again.") from None


def _table(text: str, columns: tuple[int, ...], where: str) -> Floats:
    """Return a CSV's numbers, a row for each line; times ascend on whole minutes of one day."""
    rows = [line.split(",") for line in text.splitlines() if line]
    if not rows:
        raise RecordedError(f"{where} is empty; a recorded day has bars.")
    for number, row in enumerate(rows, 1):
        if len(row) not in columns or len(row) != len(rows[0]):
            wanted = " or ".join(str(c) for c in columns)
            raise RecordedError(f"Line {number} of {where} has {len(row)} columns and not {wanted}.")
    try:
        table = np.array(rows, np.float64)
    except ValueError as e:
        raise RecordedError(f"{where} holds something that is no number ({e}).") from None
    if not np.isfinite(table).all() or (table < 0.0).any():
        raise RecordedError(f"{where} holds a number that is negative or not finite.")
    for number, (before, after) in enumerate(pairwise(table[:, 0].tolist()), 2):
        if after <= before:
            raise RecordedError(
                f"Line {number} of {where} is not later than the line before it; sort and merge the file."
            )
    if (table[:, 0] % 60_000 != 0).any() or table[-1, 0] >= DAY_MS:
        raise RecordedError(f"{where} has times that are not whole minutes of one day in milliseconds.")
    return table


def _begin_utc(table: Floats, session: date, zone: ZoneInfo) -> Longs:
    midnight_utc = from_datetime(datetime.combine(session, time(0), zone))
    return np.asarray(midnight_utc + table[:, 0].astype(np.int64) * MS)


def _index_of(file: Path, day: str, session: date) -> IndexBars:
    members = _members(file)
    names = [n for n in members if (m := _INDEX_MEMBER.fullmatch(n)) is not None and m[1] == day]
    if len(names) != 1 or len(members) != 1:
        raise RecordedError(f"{file.name} does not hold just {day}_spx_minute_trade.csv; it is not an index's day.")
    where = f"{names[0]} in {file.name}"
    table = _table(members[names[0]], INDEX_COLUMNS, where)
    opened, high, low, close = (table[:, n] for n in range(1, 5))
    if (low <= 0.0).any() or (high < np.maximum(opened, close)).any() or (low > np.minimum(opened, close)).any():
        raise RecordedError(f"{where} has a bar whose open or close lies outside its low and high.")
    bars = IndexBars(_begin_utc(table, session, CHICAGO), opened, high, low, close)
    open_utc = at_exchange(session, time(9, 30))
    if not bars.begin_utc[0] <= open_utc <= bars.begin_utc[-1]:
        raise RecordedError(f"{where} has no bar at 9:30 New York; a recorded day begins with the session.")
    return bars


def _quotes_of(file: Path, day: str, session: date) -> dict[ContractKey, QuoteBars]:
    found: dict[ContractKey, QuoteBars] = {}
    for name, text in sorted(_members(file).items()):
        where = f"{name} in {file.name}"
        m = _QUOTE_MEMBER.fullmatch(name)
        if m is None or m[1] != day:
            raise RecordedError(f"{where} is not a minute file of SPXW quotes of {day}.")
        expiry, strike_ticks = _date_of(m[4], where), Ticks(int(m[3]) // 100)
        table = _table(text, QUOTE_COLUMNS, where)
        prices = table[:, [1, 2, 3, 4, 6, 7, 8, 9]]
        if (prices % 100 != 0).any():
            raise RecordedError(f"{where} has prices that are not whole cents × 10,000.")
        ticks, sizes = (prices // 100).astype(np.int64), table[:, [5, 10]].astype(np.int64)
        if (ticks[:, 3] > ticks[:, 7]).any() or (ticks[:, 7] == 0).any():
            raise RecordedError(f"{where} has a bar that closes crossed or without an ask.")
        right = Right.CALL if m[2] == "call" else Right.PUT
        found[expiry, strike_ticks, right] = QuoteBars(
            begin_utc=_begin_utc(table, session, NEW_YORK), bid_open_ticks=ticks[:, 0], ask_open_ticks=ticks[:, 4],
            bid_ticks=ticks[:, 3], ask_ticks=ticks[:, 7], bid_size=sizes[:, 0], ask_size=sizes[:, 1],
        )  # fmt: skip
    return found


def minutes_of(begin_utc: Longs, start_utc: Utc) -> Longs:
    """Return the whole minutes from an instant to the begin of each bar."""
    return np.asarray((begin_utc - start_utc) // MINUTE)
