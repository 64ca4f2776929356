"""What forces and alert kinds look at beside the 73 features: made of the same frames, by the same rules, and few.

They are no features of the contract, so they are kept apart, and stored beside them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.features.formulas import PER_MINUTE, rounded
from domain.features.frames import BEFORE, Frames, evaluated, window_extremes
from domain.features.measures import Floats
from domain.signals.features import WINDOW

CONTEXT: Final = ("iv_change_15m", "range_shrink_30m", "above_pos_age", "below_neg_age")
FORMULAS: Final = {
    "iv_change_15m": "ln(iv at the money ÷ iv[15])",
    "range_shrink_30m": "range of spot over 30 min ÷ range over the 30 min before",
    "above_pos_age": "readings since spot was last at or under the positive major by volume, since that level stands",
    "below_neg_age": "readings since spot was last at or over the negative major by volume, since that level stands",
}
_HALF_HOUR: Final = 30 * PER_MINUTE
_SIDES: Final = np.array([1.0, -1.0]).reshape(2, 1, 1)  # beyond is above the positive major, below the negative one


def context_of(frames: Frames) -> Floats:
    """Return (4, series, evaluated) in the order of `CONTEXT`, rounded as features are; NaN = missing.

    An age is missing where spot was on the near side not within the window, or not since the level stands: a level that
    jumps over spot is not broken by spot.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        spot = frames.column("spot")
        low, high = window_extremes(spot, _HALF_HOUR, _HALF_HOUR - 1)
        ranges = (high - low)[..., BEFORE - _HALF_HOUR + 1 - _HALF_HOUR :]
        now, before = ranges[..., _HALF_HOUR:], ranges[..., :-_HALF_HOUR]
        iv_change = np.log(frames.now("iv") / frames.ago("iv", 15 * PER_MINUTE))
        shrink = now / np.where(before > 0.0, before, np.nan)
        levels = frames.rows(("major_pos_vol", "major_neg_vol"))
        ages = _ages(_SIDES * (spot - levels) <= 0.0, levels)
        return rounded(np.concatenate([iv_change[None], shrink[None], ages]))


def _ages(is_near: NDArray[np.bool_], levels: Floats) -> Floats:
    """Return the readings since the near side was last seen, while the level has been the one of now."""
    places = np.arange(levels.shape[-1])
    is_new = np.ones(levels.shape, np.bool_)
    is_new[..., 1:] = levels[..., 1:] != levels[..., :-1]  # NaN differs from everything, so a missing level begins anew
    since = np.maximum.accumulate(np.where(is_new, places, 0), axis=-1)
    seen = np.maximum.accumulate(np.where(is_near, places, -WINDOW), axis=-1)
    age = places[BEFORE:] - evaluated(seen)
    return np.where((evaluated(seen) >= evaluated(since)) & (age < WINDOW), age, np.nan)
