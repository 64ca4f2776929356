"""What forces and alert kinds look at beside the 73 features: made of the same frames, by the same rules, and few.

They are no features of the contract, so they are kept apart, and stored beside them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from domain.features.formulas import PER_MINUTE
from domain.features.frames import BEFORE, COLUMNS, Frames, last_seen, window_extremes
from domain.features.measures import Floats
from domain.signals.snapshot import WINDOW

CONTEXT: Final = ("iv_change_15m", "range_shrink_30m", "above_pos_age", "below_neg_age")
AGES: Final = frozenset(("above_pos_age", "below_neg_age"))  # missing where spot was not seen there
FORMULAS: Final = {
    "iv_change_15m": "ln(iv at the money ÷ iv[15])",
    "range_shrink_30m": "range of spot over 30 min ÷ range over the 30 min before",
    "above_pos_age": "readings since spot was last at or under the positive major by volume, since that level stands",
    "below_neg_age": "readings since spot was last at or over the negative major by volume, since that level stands",
}
_HALF_HOUR: Final = 30 * PER_MINUTE
_LEVELS_AT: Final = np.array([COLUMNS.index(name) for name in ("major_pos_vol", "major_neg_vol")])


def context_of(frames: Frames) -> Floats:
    """Return the context in the order of `CONTEXT`, not rounded yet, as features are; NaN = missing.

    An age is missing where spot was on the near side not within the window, or not since the level stands: a level that
    jumps over spot is not broken by spot.

    Returns:
        (4, series, evaluated), live (4,); not finite where something was divided by nothing.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        spot = frames.column("spot")
        low, high = map(frames.told, window_extremes(spot, _HALF_HOUR))
        before = window_extremes(spot[..., :-_HALF_HOUR], _HALF_HOUR, BEFORE - _HALF_HOUR)
        low_before, high_before = map(frames.told, before)
        ages = frames.told(_ages(spot, frames.values[_LEVELS_AT]))
        out = np.empty((len(CONTEXT), *ages.shape[1:]))
        out[0] = np.log(frames.now("iv") / frames.ago("iv", 15 * PER_MINUTE))
        out[1] = (high - low) / (high_before - low_before)
        out[2:] = ages
        return out


def _ages(spot: Floats, levels: Floats) -> Floats:
    """Return the readings since the near side was last seen, while the level has been the one of now."""
    near_or_new = np.ones((2, *levels.shape), np.bool_)
    np.less_equal(spot, levels[0], out=near_or_new[0, 0])  # beyond is above the positive major,
    np.greater_equal(spot, levels[1], out=near_or_new[0, 1])  # and below the negative one
    np.not_equal(levels[..., 1:], levels[..., :-1], out=near_or_new[1, ..., 1:])  # a missing level begins anew, as NaN
    seen, since = last_seen(near_or_new)
    age = np.arange(BEFORE, spot.shape[-1]) - seen
    return np.where((seen >= since) & (age < WINDOW), age, np.nan)
