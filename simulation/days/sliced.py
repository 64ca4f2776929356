"""Entries in slices (TWAP) on a simulated day: whether a seed has them, in how many orders, over which time."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

import msgspec

from config.settings import Settings
from domain.units import Qty

SHARE: Final = 0.7  # of the days


class PlannedSlices(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of at least `slices` contracts go out in so many orders over so long."""

    slices: int
    duration_ms: int


def draw_slices(seed: int) -> PlannedSlices | None:
    """Draw how the entries of a day are sliced, by a generator of its own: the rest of the day stays as it is.

    `None`: the day's entries are whole.
    """
    draw = random.Random(f"slices {seed}")
    if draw.random() >= SHARE:
        return None
    slices = draw.choice((2, 2, 2, 3, 5))
    return PlannedSlices(slices=slices, duration_ms=slices * draw.choice((10_000, 12_000, 30_000, 90_000)))


def without_slices(settings: Settings) -> Settings:
    """Return the settings of a day whose entries are whole."""
    return settings.model_copy(update={"entry": replace(settings.entry, twap_min_qty=None)})


def with_slices(settings: Settings, planned: PlannedSlices) -> Settings:
    """Return the settings of a day with such entries."""
    entry = replace(
        settings.entry, twap_min_qty=Qty(planned.slices), twap_slices=planned.slices,
        twap_duration_ms=planned.duration_ms,
    )  # fmt: skip
    return settings.model_copy(update={"entry": entry})
