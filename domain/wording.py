"""What was measured, in a trader's units, for people: 45 s rather than 45000 ms, 1.85 USD rather than 185 ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

from domain.instruments import DataType

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_REASONS: Final = {
    "eod": "end of day",
    "iv_crush": "IV crush",
    "max_hold": "longest hold",
    "blind": "no quotes",
    "broker_liquidation": "closed at the broker",
    "expired_unpriced": "expired, price not known",
    "position_loss": "loss of both legs",
    "unwind": "unwound, a leg was missing",
}


def printable(text: str) -> str:
    """Return a text in one line without what a terminal would act on: control signs, and marks of direction."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def csv_text(text: str) -> str:
    """Return a text as a cell of a CSV file: one that a spreadsheet would run as a formula begins with an apostrophe.

    Such texts are words of people and of brokers; a number that is written as text stays as it is.
    """
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def duration_text(ms: float) -> str:
    """Return a duration in ms as `850 ms`, `4.2 s`, `45 s`, `8 min 20 s` or `2 h 05 min`; the sign is kept."""
    sign, ms = ("-", -ms) if ms < 0 else ("", ms)
    if ms < 1_000:
        return f"{sign}{ms:.0f} ms"
    seconds = ms / 1_000
    if seconds < 10:
        return f"{sign}{round(seconds, 1):g} s"
    whole = round(seconds)
    if whole < 120:
        return f"{sign}{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{sign}{minutes} min" + (f" {rest} s" if rest else "")
    return f"{sign}{minutes // 60} h" + (f" {minutes % 60:02} min" if minutes % 60 else "")


def usd_text(hundredths: float) -> str:
    """Return cents or ticks (both 1/100 USD) as `196.00 USD` or `1,960.50 USD`; whole thousands without a fraction."""
    value = hundredths / 100
    is_round = abs(value) >= 1_000 and round(value, 2) == round(value)
    return f"{value:,.0f} USD" if is_round else f"{value:,.2f} USD"


def number_text(value: float) -> str:
    """Return a number as people write it: thousands apart, at most two places, four where it is below 1."""
    places = 4 if abs(value) < 1 else 2
    whole, _, rest = f"{value:,.{places}f}".partition(".")
    rest = rest.rstrip("0")
    return f"{whole}.{rest}" if rest else whole


def _data_type(value: float) -> str:
    try:
        return DataType(int(value)).name.lower().replace("_", " ")
    except ValueError:
        return number_text(value)


# Unit of a finding: how a value is written, and what follows the whole. Other units follow as they are.
_WRITTEN: Final[dict[str, tuple[Callable[[float], str], str]]] = {
    "ms": (duration_text, ""),
    "s": (lambda value: duration_text(value * 1_000), ""),
    "ms before the wait": (duration_text, "before the wait"),
    "ticks": (usd_text, ""),
    "cents": (usd_text, ""),
    "cents of NAV": (usd_text, "of NAV"),
    "of mid": (lambda value: f"{number_text(value * 100)} %", "of mid"),
    "level": (lambda value: f"level {value:.0f}", ""),
    "port": (lambda value: f"port {value:.0f}", ""),
    "market data type": (_data_type, "data"),
}


# Unit of a count: one, several, and what the limit is to it.
_COUNTED: Final = {
    "positions": ("position", "positions", "at most"),
    "contracts": ("contract", "contracts", "at most"),
    "contracts today": ("contract traded today", "contracts traded today", "at least"),
    "trades": ("trade today", "trades today", "at most"),
    "day trades": ("day trade left", "day trades left", "at least"),
    "structures": ("loss in a row", "losses in a row", "entries end at"),
    "legs": ("leg", "legs", "at most"),
}


def measure_text(measured: float | None, limit: float | None, unit: str, looked_at: str = "") -> str:
    """Return what a gate measured against its limit, as `45 s against 60 s`; empty where it measured nothing.

    A count is said with what its limit is: `3 positions, at most 2`. Where no contract passed, `looked_at` (the gate's
    words) says why, and it alone.
    """
    if measured is None:
        return ""
    if unit == "contracts tried":
        return _tried_text(measured, looked_at)
    if unit == "day trades" and measured < 0:
        return "day trades not limited"  # how the broker says it
    if unit in _COUNTED:
        return _count_text(measured, limit, unit)
    write, after = _WRITTEN.get(unit, (number_text, unit))
    against = "" if limit is None else f" against {_finite(write, limit)}"
    return f"{_finite(write, measured)}{against} {after}".rstrip()


def _count_text(measured: float, limit: float | None, unit: str) -> str:
    one, several, bound = _COUNTED[unit]
    if unit == "contracts" and measured < 1:  # a size: below one contract it is the least that is missed
        bound = "at least"
    counted = f"{number_text(measured)} {one if measured == 1 else several}"
    if not math.isfinite(measured):
        counted = f"no number of {several}"
    if limit is None:
        return counted
    return f"{counted}, none allowed" if limit == 0 else f"{counted}, {bound} {_finite(number_text, limit)}"


def _tried_text(n: float, why: str) -> str:
    if not n:
        return why or "no contract to try"
    tried = "1 contract tried, it did not pass" if n == 1 else f"{number_text(n)} contracts tried, none passed"
    return f"{why.removeprefix('last: ')}; {tried}" if why else tried


def _finite(write: Callable[[float], str], value: float) -> str:
    """Write a value; a measure that could not be computed refuses an entry, and must not stop the line about it."""
    return write(value) if math.isfinite(value) else "no number"


def reason_text(reason: str) -> str:
    """Return why a position was closed, or how it ended, in words."""
    return _REASONS.get(reason, reason.replace("_", " "))


def reasons_text(reasons: Iterable[str]) -> str:
    """Return why the parts of a position were closed, in their order, each once: `take profit, then no progress`."""
    return ", then ".join(dict.fromkeys(map(reason_text, reasons)))
