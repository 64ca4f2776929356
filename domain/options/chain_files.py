"""Option chains as the exchange's site hands them out (Cboe delayed quotes, CSV and JSON), read from bytes.

What a file is, is seen in its content, never in its name. Known shapes:

- **JSON**: an object whose `data.options` names contracts by their OCC symbol; `timestamp` is UTC, `current_price` the
  spot.
- **CSV**: some lines of preamble (name, spot, date), then a line of titles with `Strike` in its middle, calls on its
  left and puts on its right. Titles differ by year (`Vol` or `Volume`, `Open Int` or `Open Interest`), and so does the
  date (`January 9, 2022, 3:11 AM EST`, `9 June 2023, 1:40 PM EDT`, `August 29, 2026 at 3:19 PM EDT`,
  `Jul 17 2026 @ 15:45 ET`). Byte order marks, CRLF, blank lines, trailing commas and thousands separators are borne.

A contract ends at the close of its expiry's session; the monthly contracts of SPX, NDX, RUT and DJX, and all of VIX,
are settled at its opening (Cboe, "Index options product specifications") and end at 9:30.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from domain.instants import NEW_YORK, at_exchange, from_datetime
from domain.options.chain_gamma import ChainQuotes
from domain.session import calendar
from domain.units import Utc

ROWS_MAX: Final = 500_000
MORNING_ROOTS: Final = frozenset({"SPX", "NDX", "RUT", "DJX"})  # their monthly contracts only
ALWAYS_MORNING_ROOTS: Final = frozenset({"VIX"})
_UNDERLYINGS: Final = {"SPXW": "SPX", "NDXP": "NDX", "RUTW": "RUT", "VIXW": "VIX"}  # others trade under their name
YEARS: Final = range(1990, 2100)  # of expiries and instants: others are no dates of a chain
PREAMBLE_LINES: Final = 40
PREAMBLE_LINE_MAX: Final = 1_000  # characters that are looked at
PERCENT_FROM: Final = 4.0  # a median volatility of 400 % is none: such a file counts in percent

_OCC: Final = re.compile(r"\^?([A-Z]{1,6}\d?) *(\d{6})([CP])(\d{8})")
_NUMBER: Final = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_LAST: Final = re.compile(rf"last:?\s*\$?({_NUMBER.pattern})", re.IGNORECASE)
_CLOCK: Final = r"(?:,|\s|at|@)*(\d{1,2}):(\d{2})(?::\d{2})?\s*([AaPp]\.?[Mm])?\.?\s*([A-Z]{2,3})?"
_MONTH_FIRST: Final = re.compile(rf"([A-Za-z]{{3,9}})\.? (\d{{1,2}}),? (\d{{4}}){_CLOCK}")
_DAY_FIRST: Final = re.compile(rf"(\d{{1,2}}) ([A-Za-z]{{3,9}})\.?,? (\d{{4}}){_CLOCK}")
_ISO: Final = re.compile(rf"(\d{{4}})-(\d{{2}})-(\d{{2}})[T ]?{_CLOCK}")
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_CENTRAL: Final = ZoneInfo("America/Chicago")
_ZONES: Final = {"UTC": UTC, "GMT": UTC, "CST": _CENTRAL, "CDT": _CENTRAL, "CT": _CENTRAL}  # all others: New York
_EXPIRY_FORMS: Final = ("%a %b %d %Y", "%Y-%m-%d", "%m/%d/%Y", "%b %d %Y", "%d %b %Y", "%d-%b-%Y", "%B %d, %Y")
_NOT_GIVEN: Final = frozenset({"", "-", "--", "n/a", "na", "none", "null"})
_NUMBERS: Final = ("open_interest", "volume", "iv", "bid", "ask")
_GREEKS: Final = ("delta", "gamma")
_TITLES: Final = {
    "bid": "bid", "ask": "ask", "iv": "iv", "implied volatility": "iv", "vol": "volume", "volume": "volume",
    "open interest": "open_interest", "open int": "open_interest", "openint": "open_interest",
    "delta": "delta", "gamma": "gamma",
    "calls": "symbol", "puts": "symbol",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NoChain:
    """Why bytes are no chain, in one sentence with the remedy."""

    why: str


@dataclass(slots=True)
class _Columns:
    """Rows as they are read."""

    strikes: list[float] = field(default_factory=list)
    is_call: list[bool] = field(default_factory=list)
    expiry_utc: list[int] = field(default_factory=list)
    open_interest: list[float] = field(default_factory=list)
    volume: list[float] = field(default_factory=list)
    iv: list[float] = field(default_factory=list)
    bid: list[float] = field(default_factory=list)
    ask: list[float] = field(default_factory=list)
    delta: list[float] = field(default_factory=list)
    gamma: list[float] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    unreadable_n: int = 0

    def add(self, root: str, strike: float, is_call: bool, expiry: date, numbers: dict[str, float]) -> None:
        """Take one contract."""
        self.roots.append(root)
        self.strikes.append(strike)
        self.is_call.append(is_call)
        self.expiry_utc.append(expiry_utc_of(root, expiry))
        for name in (*_NUMBERS, *_GREEKS):
            getattr(self, name).append(numbers.get(name, np.nan))

    def quotes(self, symbol: str, at_utc: Utc | None, spot: float | None) -> ChainQuotes:
        """Return the chain; volatilities in percent become fractions, `symbol` names it where no contract does."""
        first = next((root for root in self.roots if root), "")
        iv = np.array(self.iv, np.float64)
        real = iv[np.isfinite(iv) & (iv > 0.0)]
        if len(real) and float(np.median(real)) > PERCENT_FROM:
            iv = iv / 100.0
        return ChainQuotes(
            symbol=underlying_of(first) or symbol,
            at_utc=at_utc,
            spot=spot,
            strikes=np.array(self.strikes, np.float64),
            is_call=np.array(self.is_call, np.bool_),
            expiry_utc=np.array(self.expiry_utc, np.int64),
            open_interest=np.array(self.open_interest, np.float64),
            volume=np.array(self.volume, np.float64),
            iv=iv,
            bid=np.array(self.bid, np.float64),
            ask=np.array(self.ask, np.float64),
            unreadable_n=self.unreadable_n,
            roots=tuple(self.roots),
            delta=np.array(self.delta, np.float64),
            gamma=np.array(self.gamma, np.float64),
        )


@lru_cache(maxsize=4_096)
def expiry_utc_of(root: str, expiry: date) -> Utc:
    """Return the instant at which contracts of a root and expiry end."""
    trading_day = calendar.day(expiry)
    if root in ALWAYS_MORNING_ROOTS or (root in MORNING_ROOTS and _is_monthly(expiry)):
        return at_exchange(expiry, calendar.OPEN)
    return at_exchange(expiry, calendar.CLOSE) if trading_day is None else trading_day.close_utc


def _is_monthly(expiry: date) -> bool:
    """Return whether a date is the month's third Friday, or the session before one that is closed."""
    friday = expiry + timedelta(days=(4 - expiry.weekday()) % 7)
    if not 15 <= friday.day <= 21:
        return False
    return friday == expiry or (friday - expiry == timedelta(days=1) and calendar.day(friday) is None)


def chain_in(data: bytes) -> ChainQuotes | NoChain:
    """Return the chain in a file's bytes, or why there is none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    text = text.lstrip("\ufeff \t\r\n")
    if not text:
        return NoChain("The file is empty; download the chain again.")
    return _of_json(text) if text.startswith("{") else _of_csv(text)


# -- JSON ---------------------------------------------------------------------------------------


def _of_json(text: str) -> ChainQuotes | NoChain:
    try:
        told = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return NoChain(f"The file is no JSON ({error}); it was cut or changed, download it again.")
    data = told.get("data") if isinstance(told, dict) else None
    options = data.get("options") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(options, list):
        return NoChain("The file is JSON without data.options; a Cboe delayed-quotes file has them.")
    if len(options) > ROWS_MAX:
        return NoChain(f"The file names {len(options)} contracts, more than the {ROWS_MAX} of any chain.")
    columns = _Columns()
    for option in options:
        named = _OCC.fullmatch(str(option.get("option", ""))) if isinstance(option, dict) else None
        expiry = None if named is None else _day(f"20{named[2]}")
        numbers = {name: _json_number(option.get(name)) for name in (*_NUMBERS, *_GREEKS)} if named else {}
        if named is None or expiry is None or _is_unreadable(numbers):
            columns.unreadable_n += 1
            continue
        given = {name: value for name, value in numbers.items() if value is not None}
        columns.add(named[1], int(named[4]) / 1_000.0, named[3] == "C", expiry, given)
    spot = _json_number(data.get("current_price"))
    at = _instant_in(str(told.get("timestamp") or ""), zone=UTC)
    return _named(columns, str(data.get("symbol") or ""), at, spot if spot is not None and spot > 0.0 else None)


def _is_unreadable(numbers: dict[str, float | None]) -> bool:
    """Return whether a number that a contract needs is something else; greeks can be computed."""
    return any(value is None for name, value in numbers.items() if name not in _GREEKS)


def _json_number(value: Any) -> float | None:
    """Return a number, NaN where none was given, `None` for something else."""
    if value is None:
        return np.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _number(value) if isinstance(value, str) else None
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None


def _named(columns: _Columns, symbol: str, at_utc: Utc | None, spot: float | None) -> ChainQuotes | NoChain:
    """Return the chain of a file that says whose it is, where its contracts are of one underlying, and of that."""
    told = symbol.lstrip("^_").upper()[:12]
    underlyings = sorted({underlying_of(root) for root in columns.roots if root})
    if len(underlyings) > 1:
        return NoChain(f"The file names contracts of {' and '.join(underlyings[:4])}; a chain is of one underlying.")
    if told and underlyings and underlying_of(told) != underlyings[0]:
        return NoChain(f"The file says it is of {told}, but its contracts are of {underlyings[0]}; download it again.")
    return columns.quotes(told, at_utc, spot)


def underlying_of(name: str) -> str:
    """Return the underlying of an option class or a symbol in any of its forms: `^SPX`, `_SPX` and `SPXW` are `SPX`."""
    plain = name.upper().lstrip("^_").replace(".", "").replace("/", "")
    plain = plain.rstrip("0123456789") or plain  # classes adjusted by a split or a merger: AAPL1
    return _UNDERLYINGS.get(plain, plain)


def _day(compact: str) -> date | None:
    try:
        found = datetime.strptime(compact, "%Y%m%d").date()  # noqa: DTZ007 - a date, not an instant
    except ValueError:
        return None
    return found if found.year in YEARS else None


# -- CSV ----------------------------------------------------------------------------------------


def _of_csv(text: str) -> ChainQuotes | NoChain:
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines[:PREAMBLE_LINES]) if _is_header(line)), None)
    if at is None:
        return NoChain(
            "The file is no chain that is known: no line has the titles Calls, Strike and Puts, and it is no JSON; "
            "download the CSV or JSON of Cboe's delayed quotes."
        )
    if len(lines) - at > ROWS_MAX:
        return NoChain(f"The file has {len(lines) - at} lines, more than the {ROWS_MAX} of any chain.")
    titles = [cell.strip().lower() for cell in _cells(lines[at])]
    middle = titles.index("strike")
    expiry_at = next((n for n, title in enumerate(titles) if title.startswith("expir")), None)
    sides = {True: _side(titles, 0, middle), False: _side(titles, middle + 1, len(titles))}
    if expiry_at is None and not all("symbol" in side for side in sides.values()):
        return NoChain("The file names no expiries: it has neither a title Expiration Date nor option symbols.")
    columns = _Columns()
    try:
        rows = list(csv.reader(lines[at + 1 :]))
    except csv.Error as error:
        return NoChain(f"The file is no CSV ({error}); it was cut or changed, download it again.")
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        _read_line(columns, row, middle, expiry_at, sides)
    preamble = "\n".join(line[:PREAMBLE_LINE_MAX] for line in lines[:at])
    name = "" if any(columns.roots) else _name_in(preamble)  # a preamble may begin with any words
    return _named(columns, name, _instant_in(preamble), _spot_in(preamble))


def _read_line(
    columns: _Columns, row: list[str], middle: int, expiry_at: int | None, sides: dict[bool, dict[str, int]]
) -> None:
    """Take the call and the put of one line."""
    strike = _number(row[middle]) if middle < len(row) else None
    told = None if expiry_at is None or expiry_at >= len(row) else _expiry(row[expiry_at].strip())
    for is_call, side in sides.items():
        cells = {name: row[n].strip() for name, n in side.items() if n < len(row)}
        named = _OCC.fullmatch(cells.pop("symbol", ""))
        expiry = told or (_day(f"20{named[2]}") if named is not None else None)
        numbers = {name: _number(cell) for name, cell in cells.items()}
        if strike is None or np.isnan(strike) or expiry is None or _is_unreadable(numbers):
            columns.unreadable_n += 1
            continue
        given = {name: value for name, value in numbers.items() if value is not None}
        columns.add("" if named is None else named[1], strike, is_call, expiry, given)


def _is_header(line: str) -> bool:
    titles = {cell.strip().lower() for cell in _cells(line)}
    return {"calls", "strike", "puts"} <= titles


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:  # a cell that is too long, or a NUL
        return []


def _side(titles: list[str], begin: int, end: int) -> dict[str, int]:
    """Return where each known column of one side is."""
    return {_TITLES[titles[n]]: n for n in range(begin, end) if titles[n] in _TITLES}


def _number(cell: str) -> float | None:
    """Return a cell's number, NaN where none is given, `None` where it is something else."""
    plain = cell.strip().replace(",", "").removesuffix("%")
    if plain.lower() in _NOT_GIVEN:
        return np.nan
    try:
        return float(plain)
    except ValueError:
        return None


@lru_cache(maxsize=512)
def _expiry(cell: str) -> date | None:
    for form in _EXPIRY_FORMS:
        try:
            found = datetime.strptime(cell, form).date()  # noqa: DTZ007 - a date, not an instant
        except ValueError:
            continue
        return found if found.year in YEARS else None
    return None


# -- the preamble -------------------------------------------------------------------------------


def _spot_in(preamble: str) -> float | None:
    """Return the spot that a preamble names, `None` where it names none."""
    found = _LAST.search(preamble)
    if found is None:
        for line in preamble.splitlines():
            cells = _cells(line)
            plain = cells[1].strip() if len(cells) > 1 else ""
            found = re.fullmatch(rf"\$?({_NUMBER.pattern})", plain)
            if found is not None:
                break
    spot = None if found is None else float(found[1].replace(",", ""))
    return spot if spot is not None and spot > 0.0 else None


def _instant_in(text: str, zone: Any = NEW_YORK) -> Utc | None:
    """Return the first date with a time in a text, `None` where there is none; without a zone it is `zone`'s wall."""
    for pattern, order in ((_MONTH_FIRST, (3, 1, 2)), (_DAY_FIRST, (3, 2, 1)), (_ISO, (1, 2, 3))):
        found = pattern.search(text)
        if found is None:
            continue
        year, month_text, day = (found[n] for n in order)
        month = int(month_text) if month_text.isdigit() else _MONTHS.get(month_text[:3].lower(), 0)
        half = (found[6] or "").replace(".", "").lower()
        hour = int(found[4]) % 12 + (12 if half == "pm" else 0) if half else int(found[4])
        try:
            wall = datetime.combine(date(int(year), month, int(day)), time(hour, int(found[5])))
        except ValueError:
            continue
        if wall.year not in YEARS:
            continue
        return from_datetime(wall.replace(tzinfo=_ZONES.get(found[7] or "", zone)))
    return None


def _name_in(preamble: str) -> str:
    """Return the symbol that a preamble begins with, as `SPY (SPDR ...)` or `^SPX` does; empty where it has none."""
    found = re.search(r"\^?([A-Z]{1,5})\b(?= *\(|,|$)|\(\^?([A-Z]{1,5})\)", preamble, re.MULTILINE)
    return "" if found is None else found[1] or found[2]
