"""Minute bars in the files of one recorded day, in the layout of QuantConnect's LEAN (its docs, "data formats").

One zip of the index, one CSV in it: milliseconds since midnight, open, high, low, close in USD, and perhaps a count; an
index has no volume. One zip of option quotes, a CSV for each contract: milliseconds, bid OHLC, bid size, ask OHLC, ask
size; prices × 10,000, empty where there was none. Index bars count from midnight in Chicago, quotes from midnight in
New York. What cannot be used is left out and counted.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.instants import MS, NEW_YORK, from_datetime
from domain.instruments import Right
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.units import Ticks

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
ContractKey = tuple[date, Ticks, Right]

CHICAGO = ZoneInfo("America/Chicago")
MEMBER_BYTES_MAX = 4_000_000  # a day of minute bars is 40 kB; more is not one
MEMBERS_MAX = 10_000
DAY_MS = 86_400_000
INDEX_COLUMNS, QUOTE_COLUMNS = (5, 6), (11,)
WILD_SHARE = 0.05  # of the price, within a minute: at 7 % within a day all trading halts (Rule 80B of the NYSE)
WILD_MAX = 5  # bars; more of them are no slips

CROSSED = "quote bars that close crossed or without an ask"
WILD = "index bars more than 5 % from the price before"
SETTLED_EARLY = "contracts that settle at the open (class SPX)"

INDEX_FILE = re.compile(r"(?:spx_)?(\d{8})_trade\.zip")
QUOTE_FILE = re.compile(r"(?:spxw_(\d{8})_quote|(?:spxw_)?(\d{8})_quote_european)\.zip")
_INDEX_MEMBER = re.compile(r"(\d{8})_spx_minute_trade\.csv")
_QUOTE_MEMBER = re.compile(r"(\d{8})_(spxw?)_minute_quote_european_(call|put)_(\d+)_(\d{8})\.csv")


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


def session_hours(session: date) -> TradingDay:
    """Return a session's hours.

    Raises:
        RecordedError: the exchange was closed.
    """
    found = calendar.day(session)
    if found is None:
        raise RecordedError(f"{session} is no session of the exchange ({calendar.closure_of(session)}); name its day.")
    return found


def the_file(folder: Path, pattern: re.Pattern[str], what: str) -> list[tuple[Path, str]]:
    """Return the folder's zip of a kind with the day in its name; empty where there is none."""
    matches = [(path, pattern.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    found = [(path, next(day for day in m.groups() if day)) for path, m in matches if m is not None]
    if len(found) > 1:
        names = " and ".join(path.name for path, _ in found[:2])
        raise RecordedError(f"{folder} has {len(found)} files of {what} ({names}); a folder holds one day.")
    return found


def date_of(text: str, where: str) -> date:
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
        # A side without a quote is written as nothing; an index always has a price.
        table = np.array(rows if columns == INDEX_COLUMNS else [[f or "0" for f in row] for row in rows], np.float64)
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


def index_of(file: Path, day: str, session: date, left_out: Counter[str]) -> IndexBars:
    members = _members(file)
    names = [n for n in members if (m := _INDEX_MEMBER.fullmatch(n)) is not None and m[1] == day]
    if len(names) != 1 or len(members) != 1:
        raise RecordedError(f"{file.name} does not hold just {day}_spx_minute_trade.csv; it is not an index's day.")
    where = f"{names[0]} in {file.name}"
    table = _table(members[names[0]], INDEX_COLUMNS, where)
    opened, high, low, close = (table[:, n] for n in range(1, 5))
    if (low <= 0.0).any() or (high < np.maximum(opened, close)).any() or (low > np.minimum(opened, close)).any():
        raise RecordedError(f"{where} has a bar whose open or close lies outside its low and high.")
    kept = ~_wild(opened, close)
    left_out.update({WILD: int((~kept).sum())} if not kept.all() else {})
    if left_out[WILD] > WILD_MAX:
        raise RecordedError(f"{where} has {left_out[WILD]} {WILD}; it is not an index's day.")
    begin_utc = _begin_utc(table, session, CHICAGO)
    bars = IndexBars(begin_utc[kept], opened[kept], high[kept], low[kept], close[kept])
    open_utc = session_hours(session).open_utc
    if not bars.begin_utc[0] <= open_utc <= bars.begin_utc[-1]:
        raise RecordedError(f"{where} has no bar at 9:30 New York; a recorded day begins with the session.")
    return bars


def _wild(opened: Floats, close: Floats) -> NDArray[np.bool_]:
    """Return which bars open or close where the index cannot have been: far from the last bar that was kept."""
    found = np.zeros(len(opened), np.bool_)
    before = float(np.median(close))
    for n, (first, last) in enumerate(zip(opened.tolist(), close.tolist(), strict=True)):
        bound = WILD_SHARE * (4.0 if n == 0 else 1.0)  # of the day's median for the first: limit down is 20 %
        found[n] = max(abs(first / before - 1.0), abs(last / before - 1.0)) > bound
        before = before if found[n] else last
    return found


def quotes_of(file: Path, day: str, session: date, left_out: Counter[str]) -> dict[ContractKey, QuoteBars]:
    found: dict[ContractKey, QuoteBars] = {}
    for name, text in sorted(_members(file).items()):
        where = f"{name} in {file.name}"
        m = _QUOTE_MEMBER.fullmatch(name)
        if m is None or m[1] != day:
            raise RecordedError(f"{where} is not a minute file of SPXW quotes of {day}.")
        if m[2] == "spx":
            left_out[SETTLED_EARLY] += 1
            continue
        expiry, strike_ticks = date_of(m[5], where), Ticks(int(m[4]) // 100)
        table = _table(text, QUOTE_COLUMNS, where)
        prices = table[:, [1, 2, 3, 4, 6, 7, 8, 9]]
        if (prices % 100 != 0).any():
            raise RecordedError(f"{where} has prices that are not whole cents × 10,000.")
        ticks, sizes = (prices // 100).astype(np.int64), table[:, [5, 10]].astype(np.int64)
        kept = (ticks[:, 3] <= ticks[:, 7]) & (ticks[:, 7] > 0)
        left_out.update({CROSSED: int((~kept).sum())} if not kept.all() else {})
        if not kept.any():
            continue
        ticks, sizes = ticks[kept], sizes[kept]
        right = Right.CALL if m[3] == "call" else Right.PUT
        begin_utc = _begin_utc(table, session, NEW_YORK)[kept]
        found[expiry, strike_ticks, right] = QuoteBars(
            begin_utc=begin_utc, bid_open_ticks=ticks[:, 0], ask_open_ticks=ticks[:, 4],
            bid_ticks=ticks[:, 3], ask_ticks=ticks[:, 7], bid_size=sizes[:, 0], ask_size=sizes[:, 1],
        )  # fmt: skip
    return found
