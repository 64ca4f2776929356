"""The exit profile that may stand beside the fixed one: the adaptive one, or levels learned from positions.

The learned levels replace the gain at which profit is taken and the longest hold, of whatever ticker and quantity: half
and rest of more than one contract go at the same gain. Every stop, and everything else, is the fixed profile's.
`main.py fit-exits` learns them; the settings name them with their version (`exits.learned`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from domain.limits import ExitRules, LearnedLevels, TickerRules

SOURCE: Final = "exits"
ADAPTIVE: Final = "ADAPTIVE"
LEARNED: Final = "EXITS"


class Profile(msgspec.Struct, frozen=True):
    """The rules by which a position's exits are picked."""

    exits: ExitRules
    ticker: TickerRules


class Other(msgspec.Struct, frozen=True, order=True):
    """The profile beside the fixed one, by its kind and the version of its tables."""

    kind: str
    version: int

    @property
    def name(self) -> str:
        """How a promotion names it, `KIND-version`."""
        return f"{self.kind}-{self.version}"


def other_of(exits: ExitRules) -> Other | None:
    """Return the profile that the settings have beside the fixed one; `None`: there is none."""
    if exits.adaptive.is_on:
        return Other(ADAPTIVE, exits.adaptive.version)
    return None if exits.learned is None else Other(LEARNED, exits.learned.version)


def names_of(promoted: Iterable[tuple[str, str, int]]) -> tuple[str, ...]:
    """Return the exit profiles among what is promoted as (source, kind, version), each as `KIND-version`, ascending."""
    return tuple(sorted(f"{kind}-{version}" for source, kind, version in promoted if source == SOURCE))


@lru_cache(maxsize=64)  # a position looks at every quote
def learned_profile(exits: ExitRules, ticker: TickerRules, levels: LearnedLevels) -> Profile:
    """Return the fixed profile with the learned levels in place of its own."""
    taken = dataclasses.replace(exits, take_single=levels.take, take_first=levels.take, take_rest=levels.take)
    return Profile(taken, dataclasses.replace(ticker, max_hold_ms=levels.hold_ms))
