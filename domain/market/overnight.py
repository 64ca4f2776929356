"""What moved while the exchange was closed: futures between 18:00 of the evening before and 9:30, in New York.

A night belongs to the session that follows it: Sunday's evening to Monday. Futures trade on through the session; their
bars of it are none of the night's.
"""

from __future__ import annotations

from datetime import date, time, timedelta
from typing import Final

import msgspec
import numpy as np

from domain.instants import at_exchange, session_of
from domain.market.bars import Bars
from domain.session import calendar
from domain.units import Ticks, Utc

EVENING: Final = time(18, 0)
_DAYS_BACK_MAX: Final = 7  # no market was closed for longer within a century


class Night(msgspec.Struct, frozen=True):
    """One night of a future, prices in ticks.

    `session` is the one that it leads to; `before` the last price of the session before it, `None` where no bar of that
    one is there.
    """

    session: date
    open: Ticks
    high: Ticks
    low: Ticks
    last: Ticks
    before: Ticks | None

    @property
    def move(self) -> float | None:
        """From the close before to the night's last price, as a share."""
        return None if self.before is None else self.last / self.before - 1.0

    @property
    def span(self) -> float:
        """From the lowest to the highest price, as a share of the first."""
        return (self.high - self.low) / self.open

    @property
    def position(self) -> float | None:
        """Where the last price lies in the night's range: 0 at its low, 1 at its high; `None` where it stood still."""
        return None if self.high == self.low else (self.last - self.low) / (self.high - self.low)


def night(bars: Bars) -> Night | None:
    """Return the night before the session of the newest bar, or the one that runs; `None` without a bar of it.

    Args:
        bars: minutes of one ticker at all hours, of several days.
    """
    if len(bars) == 0:
        return None
    newest = Utc(int(bars.begin_utc[-1]))
    today = session_of(newest)
    if newest >= at_exchange(today, EVENING):
        today += timedelta(days=1)
    began = at_exchange(today - timedelta(days=1), EVENING)
    of = bars.taken((bars.begin_utc >= began) & (bars.begin_utc < at_exchange(today, calendar.OPEN)))
    if len(of) == 0:
        return None
    opened, high, low, last = (Ticks(int(n)) for n in (of.open[0], of.high.max(), of.low.min(), of.close[-1]))
    return Night(today, opened, high, low, last, _close_before(bars, today))


def _close_before(bars: Bars, today: date) -> Ticks | None:
    """Return the last price of the session before a date; half days end earlier."""
    for back in range(1, _DAYS_BACK_MAX + 1):
        day = calendar.day(today - timedelta(days=back))
        if day is not None:
            of = np.flatnonzero((bars.begin_utc >= day.open_utc) & (bars.begin_utc < day.close_utc))
            return Ticks(int(bars.close[of[-1]])) if len(of) else None
    return None
