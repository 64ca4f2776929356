"""The vendor's JSON objects (REST answers and history files, `gexbot.md` §6) as profiles in the wire's integers.

Prices, strikes and exposures come in units and are kept in 1/100, sums and volatilities in 1/1000. An object does not
name its category: who asked for it, or the file's name, does.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.instants import SECOND
from domain.options.profile import (
    GREEK_SCALARS,
    ORDERFLOW_SCALARS,
    PRIORS,
    VALUE_COLUMNS,
    Ints,
    Profile,
    Shape,
    shape_of,
)
from domain.units import Ticks, Utc
from gateways.gexbot.codec import STRIKES_MAX, Refusal, Refused

INT32_MAX: Final = 2_147_483_647
_GEX_PRICES: Final = ("zero_gamma", "major_pos_vol", "major_pos_oi", "major_neg_vol", "major_neg_oi")
_GEX_SUMS: Final = ("sum_gex_vol", "sum_gex_oi", "delta_risk_reversal")
# Names of the greek majors in JSON, in the order of the wire's.
_GREEK_NAMES: Final = dict(
    zip(GREEK_SCALARS, ("major_positive", "major_negative", "major_long_gamma", "major_short_gamma"), strict=True)
)
_LISTS: Final = {Shape.GEX: "strikes", Shape.GREEK: "mini_contracts"}
_SCALES: Final = {Shape.GEX: (100, 100, 100), Shape.GREEK: (100, 1_000, 1_000, 100)}  # strike, then the values


def profile_of(ticker: str, category: str, item: object) -> Profile | Refused:
    """Return the profile in a decoded object of a ticker and category, or why there is none."""
    if not isinstance(item, dict):
        return Refused(Refusal.CORRUPT, f"What came for {ticker} {category} is no JSON object.")
    named = str(item.get("ticker") or ticker)
    shape = shape_of(category)
    if named != ticker or shape is not shape_in(item):
        return Refused(Refusal.WRONG_TYPE, f"An object of {named} came that is none of {ticker} {category}.")
    try:
        return _read(ticker, category, shape, item)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        return Refused(Refusal.CORRUPT, f"A field of {ticker} {category} is missing or no number ({error!r}).")


def shape_in(told: dict[str, Any]) -> Shape | None:
    """Return which kind of object this is, by its fields; `None` for none that is known."""
    if "mini_contracts" in told:
        return Shape.GREEK
    if "strikes" in told:
        return Shape.GEX
    return Shape.ORDERFLOW if "dexoflow" in told else None


def _read(ticker: str, category: str, shape: Shape, told: dict[str, Any]) -> Profile:
    source_utc = Utc(int(told["timestamp"]) * SECOND)
    spot = Ticks(_wire(told.get("spot"), 100))
    if shape is Shape.ORDERFLOW:
        scalars = tuple(_wire(told[name], 100) for name in ORDERFLOW_SCALARS)
        none = np.empty((0, 0), np.int32)
        return Profile(ticker, category, source_utc, spot, scalars, np.empty(0, np.int32), none, none)
    if shape is Shape.GREEK:
        scalars = tuple(_wire(told.get(name), 100) for name in _GREEK_NAMES.values())
    else:
        scalars = (
            *(_wire(told.get(name), 100) for name in _GEX_PRICES),
            *(_wire(told.get(name), 1_000) for name in _GEX_SUMS),
            *_changes(told.get("max_priors")),
        )
    strikes, values, priors = _table(shape, told[_LISTS[shape]] or [])
    return Profile(ticker, category, source_utc, spot, scalars, strikes, values, priors)


def _table(shape: Shape, rows: list[list[Any]]) -> tuple[Ints, Ints, Ints]:
    """Return strikes (ascending), values and priors of an object's rows; a prior that was not given is 0."""
    if len(rows) > STRIKES_MAX:
        raise ValueError(f"{len(rows)} strikes")
    values_n, priors_n = len(VALUE_COLUMNS[shape]), PRIORS[shape]
    none = [0] * priors_n
    told = _numbers([row[: 1 + values_n] for row in rows], 1 + values_n)
    before = _numbers([(row[1 + values_n] if len(row) > 1 + values_n else None) or none for row in rows], priors_n)
    table, priors = _narrow(told * np.array(_SCALES[shape])), _narrow(before * 100.0)
    order = np.argsort(table[:, 0], kind="stable")
    return np.ascontiguousarray(table[order, 0]), np.ascontiguousarray(table[order, 1:]), priors[order]


def _numbers(rows: list[list[Any]], width: int) -> NDArray[np.float64]:
    """Return rows as numbers; what was not given is 0.

    Raises:
        ValueError, TypeError: a row is of another width, or a cell is no number.
    """
    return np.nan_to_num(np.array(rows, np.float64).reshape(len(rows), width))


def _narrow(values: NDArray[np.float64]) -> Ints:
    """Return numbers in the wire's integers, saturated as there."""
    return np.rint(np.clip(values, -INT32_MAX, INT32_MAX)).astype(np.int32)


def _changes(told: Any) -> tuple[int, ...]:
    """Return the largest changes, six pairs of strike and change; those that were not given are 0."""
    pairs = [(_wire(strike, 100), _wire(change, 1_000)) for strike, change in (told or [])[:6]]
    return tuple(value for pair in (*pairs, *[(0, 0)] * (6 - len(pairs))) for value in pair)


def _wire(value: Any, scale: int) -> int:
    """Return a number in the wire's integers, saturated as there; what was not given is 0.

    Raises:
        ValueError: no number, or not a finite one.
    """
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return int(min(max(round(value * scale), -INT32_MAX), INT32_MAX))
