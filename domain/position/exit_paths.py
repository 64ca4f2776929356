"""What a position's premium did after its entry, and what other levels of taking profit and holding would have made.

Gains are shares of the average fill. A level is reached at a look whose mid is there, and is sold at the bid of that
look: a path that was looked at rarely sells late, never early.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]


class Levels(msgspec.Struct, frozen=True, order=True):
    """The gain at which all is sold (share of the average fill), and the longest hold."""

    take: float
    hold_ms: int


class ExitPath(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One position's looks after its entry fill: ms since it, gains of mid and bid; one look at least.

    `cost_cents` is what was paid. The last look ends the path whatever the levels: another exit closed it there, or
    nothing more is on record.
    """

    session: date
    ticker: str
    cost_cents: int
    at_ms: Longs
    mid: Floats
    bid: Floats

    @property
    def mfe(self) -> float:
        """The farthest gain of the mid (0 at least)."""
        return max(float(self.mid.max()), 0.0)

    @property
    def mfe_ms(self) -> int:
        """When it was there first."""
        return int(self.at_ms[int(self.mid.argmax())])


def results_cents(path: ExitPath, levels: Sequence[Levels], stop: float) -> Longs:
    """Return by levels what a path comes to before fees, in cents.

    Args:
        path: of one position.
        levels: to be tried.
        stop: the premium stop, a loss of the mid as a share of the average fill; it goes before both levels.
    """
    last = len(path.at_ms) - 1
    stopped = path.mid <= -stop
    end = int(stopped.argmax()) if stopped.any() else last
    highest = np.maximum.accumulate(path.mid)
    taken = highest.searchsorted([one.take for one in levels], "left")
    held = path.at_ms.searchsorted([one.hold_ms for one in levels], "left")
    at = np.minimum(np.minimum(taken, held), end)
    found: Longs = np.rint(path.bid[at] * path.cost_cents).astype(np.int64)
    return found
