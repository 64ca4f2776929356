"""Quotes of a simulated chain at one second: what makers show, on the tick rules, as a function of the path alone.

Each row is quoted anew every few seconds (near the anchor every second), at seconds of its own; between
them its quote stands, so `at_utc` is the last change. No history is kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.instants import SECOND
from domain.instruments import DataType, Greeks, Quote
from domain.options import black_scholes
from domain.options.black_scholes import Floats
from domain.options.tick_rules import BOUNDARY_TICKS, TickRule, rule_of
from domain.units import Qty, Ticks, Utc
from simulation.market.chain import SECONDS_PER_YEAR, OptionChain
from simulation.market.flow import Flow
from simulation.market.tape import Tape

Longs = NDArray[np.int64]
Model = black_scholes.Values | black_scholes.Shown

# Spreads before they are rounded outwards to increments, by premium, of an index at 6,000. Measured by others on real
# 0DTE days: 0.40 at premiums of 10 to 20 USD, 0.70 to 1.20 at 20 to 40, wider in the first 25 min.
TABLE_SPOT_USD = 6_000.0
PREMIUMS_USD = (0.0, 3.0, 10.0, 15.0, 20.0, 30.0, 40.0, 100.0, 300.0)
WIDTHS_USD = (0.02, 0.07, 0.20, 0.30, 0.45, 0.85, 1.10, 2.0, 4.0)

_GOLDEN, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def noise(keys: Longs, salt: int) -> Floats:
    """Return numbers in [0, 1) that are a fixed function of the keys (Steele and others' splitmix64)."""
    z = keys.astype(np.uint64) + np.uint64((salt * _GOLDEN) & _MASK)
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return np.asarray((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


class QuoteBoard:
    """The quotes of one chain, computed together when one of them is asked for at a new second."""

    def __init__(self, seed: int, options: OptionChain, flow: Flow, tape: Tape | None = None) -> None:
        self._options, self._flow, self._tape = options, flow, tape
        self._salt = 16 * seed + options.number
        self._rule: TickRule = rule_of(options.contracts[0].trading_class)
        self._second = -1
        self._quotes: dict[int, Quote] = {}
        rows = len(options.contracts)
        self._marks: Longs = marks_of(np.arange(rows))
        self._period, self._phase = rhythm(options, np.arange(rows))
        self._open_interest: list[int] = options.open_interest.astype(np.int64).tolist()
        self._columns: tuple[list[int] | list[float], ...] = ()

    def quote(self, second: int, con_id: int) -> Quote:
        """Return the quote of one contract of the chain at a second of the grid."""
        if second != self._second:
            self._columns, self._second = self._compute(second), second
            self._quotes = {}
        found = self._quotes.get(con_id)
        if found is None:
            row = self._options.row_of[con_id]
            found = self._quotes[con_id] = self._quote(con_id, row)
        return found

    def is_recorded(self, second: int, con_id: int) -> bool:
        """Return whether bid and ask of a contract are recorded ones at a second of the grid."""
        row = self._options.row_of[con_id]
        at = self._quoted_at(second)[row]
        return self._tape is not None and self._tape.at(con_id, int(at)) is not None

    def _quoted_at(self, second: int) -> Longs:
        """Return the second at which each row was quoted last."""
        second = min(second, self._options.path.close_s)
        return np.asarray(np.maximum(second - (second + self._phase) % self._period, 0))

    def _quote(self, con_id: int, row: int) -> Quote:
        at, bid, ask, bid_size, ask_size, volume, spot, iv, delta, gamma, theta, vega = (
            column[row] for column in self._columns
        )
        at_utc = Utc(at)
        return Quote(
            con_id, Ticks(bid), Ticks(ask), Qty(bid_size), Qty(ask_size), at_utc, DataType.LIVE, int(volume),
            Greeks(iv, delta, gamma, theta, vega, Ticks(spot), at_utc), self._open_interest[row],
        )  # fmt: skip

    def _compute(self, second: int) -> tuple[list[int] | list[float], ...]:
        options = self._options
        at = self._quoted_at(second)
        spot = options.spots[at]
        left = np.maximum(options.expiry_s - at, 0).astype(np.float64)
        iv = options.surface(slice(None), at, spot, left)
        model = black_scholes.values(spot, options.strikes, left / SECONDS_PER_YEAR, iv, options.is_call)
        bid, ask = shown_prices(self._rule, options, model, at, self._marks, self._salt)
        sizes = [shown_sizes(options, at, self._marks, self._salt, side) for side in (1, 2)]
        made = at.copy()  # the second of each quote: of a recorded one, that of its record
        for con_id in self._tape.con_ids if self._tape is not None else ():
            self._overlay_recorded(con_id, made, bid, ask, sizes)
        columns = (
            options.path.start_utc + made * SECOND,
            bid,
            ask,
            np.where(bid > 0.0, sizes[0], 0.0),
            sizes[1],
            self._flow.at(second).volume,
            np.rint(spot * 100.0),
            iv,
            model.delta,
            model.gamma,
            model.theta / black_scholes.DAYS_PER_YEAR,
            model.vega / 100.0,
        )
        return tuple(c.tolist() for c in columns)

    def _overlay_recorded(self, con_id: int, made: Longs, bid: Floats, ask: Floats, sizes: list[Floats]) -> None:
        """Put a recorded quote and its instant in the place of the model's, where there is one."""
        row = self._options.row_of.get(con_id)
        found = None if row is None or self._tape is None else self._tape.at(con_id, int(made[row]))
        if found is not None:
            bid[row], ask[row], sizes[0][row], sizes[1][row], made[row] = found


def rhythm(options: OptionChain, rows: Longs) -> tuple[Longs, Longs]:
    """Return the seconds between two quotes of each row, and the second of them at which it is quoted."""
    rank = np.abs(rows % options.width - options.width // 2)
    return (1 + rank // 16).astype(np.int64), marks_of(rows % options.width if options.style.is_honest else rows)


def marks_of(rows: Longs) -> Longs:
    """Return what sets the draws of one row apart from those of another, below 4,096."""
    return np.asarray(rows.astype(np.int64) * 7)


def shown_sizes(options: OptionChain, at: Longs, marks: Longs, salt: int, side: int) -> Floats:
    """Return the size shown on a side (1: bid, 2: ask) of quotes made at seconds, a fixed function of these."""
    held = at if options.style.holds_s == 1 else (at + marks) // options.style.holds_s
    return np.asarray(np.floor(1.0 + 60.0 * noise(held * 4_096 + marks, salt + (side << 40)) ** 2))


def shown_prices(
    rule: TickRule, options: OptionChain, model: Model, at: Longs, marks: Longs, salt: int
) -> tuple[Floats, Floats]:
    """Return bid and ask in ticks of quotes made at seconds; a bid under a tick is none."""
    jitter = noise(at * 4_096 + marks, salt) - 0.5
    spot = options.spots[at]
    if not options.style.is_honest:
        return prices(rule, model, spot, options.path.stress[at], jitter)
    premium = model.price * (TABLE_SPOT_USD / spot)  # of an index at the table's level
    width = np.interp(premium, PREMIUMS_USD, WIDTHS_USD) * (spot / TABLE_SPOT_USD) * options.caution[at]
    return _rounded(rule, model.price * 100.0, 50.0 * width, jitter)


def prices(rule: TickRule, model: Model, spot: Floats, stress: Floats, jitter: Floats) -> tuple[Floats, Floats]:
    """Return the anchored market's bid and ask in ticks: wider with price, gamma, stress and in the wings."""
    fair = model.price * 100.0
    step = np.where(fair < BOUNDARY_TICKS, rule.low_ticks, rule.high_ticks)
    half = stress * (0.35 * step + 0.002 * fair + model.gamma * (spot * 1e-4) ** 2 * 100.0)
    return _rounded(rule, fair, half, jitter)


def _rounded(rule: TickRule, fair: Floats, half: Floats, jitter: Floats) -> tuple[Floats, Floats]:
    """Return bid and ask in ticks, on the tick rule, of a fair price and half a spread in ticks."""
    middle = fair + 0.5 * half * jitter
    low, high = np.maximum(middle - half, 0.0), middle + half
    bid_step = np.where(low < BOUNDARY_TICKS, rule.low_ticks, rule.high_ticks)
    ask_step = np.where(high < BOUNDARY_TICKS, rule.low_ticks, rule.high_ticks)
    bid = np.floor(low / bid_step) * bid_step
    ask = np.maximum(np.ceil(high / ask_step) * ask_step, rule.low_ticks)
    return bid, np.maximum(ask, bid + bid_step)
