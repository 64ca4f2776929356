"""The adaptive exit profile: stops that tighten after the entry, and a profit that is taken sooner towards the close.

| what | its scale |
|---|---|
| premium stop, underlying stop | the row of `realised` that the underlying's realised volatility a year has reached \
(as the risk overlay has it; 1 while it is not known), times the row of `left` for the minutes to the flatten time |
| gain at which profit is taken | 1 until `take_decay_ms` before the flatten time, from there in a straight line to \
`take_floor` at that time, in steps of 0.05 |
| everything else | as the fixed profile has it |

A scale only ever falls while a position is held, so that no stop is looser than the fixed profile's, nor than it was a
moment ago. The rows stand in the settings (`exits.adaptive`).
"""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache
from typing import Final

import msgspec

from domain.instants import MINUTE, MS
from domain.limits import AdaptiveRules, ExitRules, ScaleRow, TickerRules
from domain.position.profiles import Profile
from domain.units import Ticks

_STEPS: Final = 20  # of a scale of the profit: a change is a row, and not every second is worth one
_EPSILON: Final = 1e-9


class Scales(msgspec.Struct, frozen=True):
    """Factors of at most 1 on the stops' sizes and on the gains at which profit is taken."""

    stop: float = 1.0
    take: float = 1.0


def scales_at(realised: float | None, left_ns: int, rules: AdaptiveRules) -> Scales:
    """Return the scales of an instant.

    Args:
        realised: volatility of the underlying a year, as a share; `None`: not known, which tightens nothing.
        left_ns: to the flatten time; past it nothing is left.
        rules: the tables.
    """
    left_ns = max(left_ns, 0)
    stop = _scale(rules.left, left_ns / MINUTE)
    if realised is not None:
        stop *= _scale(rules.realised, realised)
    way = min(left_ns / (rules.take_decay_ms * MS), 1.0)
    take = rules.take_floor + (1 - rules.take_floor) * way
    return Scales(stop, math.ceil(take * _STEPS - _EPSILON) / _STEPS)


def tighter(old: Scales, new: Scales) -> Scales:
    """Return the tighter one of each scale: what was tightened is never given back."""
    return Scales(min(old.stop, new.stop), min(old.take, new.take))


@lru_cache(maxsize=256)  # a position looks at every quote, and its scales change a few times a day
def profile_of(exits: ExitRules, ticker: TickerRules, scales: Scales) -> Profile:
    """Return the fixed profile with its stops and profits scaled; a size in ticks is rounded down, to one at least."""
    stop_ticks, stop_bps = ticker.underlying_stop_ticks, ticker.underlying_stop_bps
    return Profile(
        dataclasses.replace(
            exits, premium_stop=exits.premium_stop * scales.stop, take_single=exits.take_single * scales.take,
            take_first=exits.take_first * scales.take, take_rest=exits.take_rest * scales.take,
        ),
        dataclasses.replace(
            ticker,
            underlying_stop_ticks=None if stop_ticks is None else max(Ticks(int(stop_ticks * scales.stop)), Ticks(1)),
            underlying_stop_bps=None if stop_bps is None else stop_bps * scales.stop,
        ),
    )  # fmt: skip


def _scale(rows: tuple[ScaleRow, ...], level: float) -> float:
    """Return the scale of the row that a level has reached; the tightest one for a level that cannot be compared."""
    if math.isnan(level):
        return min(row.scale for row in rows)
    return next(row.scale for row in reversed(rows) if level >= row.at_least)
