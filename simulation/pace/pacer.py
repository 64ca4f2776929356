"""The pacer of a demo's clock: how fast market time may run now, and how far.

Pure: it is told what was said, the two times, and whether the actors that a bucket passes are idle; it answers with a
`Pace`. No rule of trading is relaxed for speed: whatever is at stake runs in real time or twice that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from domain.instants import SECOND
from domain.units import Utc
from messages.base import Message
from simulation.pace.buckets import HEARD as OF_BUCKETS
from simulation.pace.buckets import Buckets, Stop
from simulation.pace.stakes import HEARD as OF_STAKES
from simulation.pace.stakes import Stake, Stakes
from supervision.clock import FOREVER

OBSERVED: Final = frozenset(OF_STAKES) | frozenset(OF_BUCKETS)
# Market time past the newest quote: younger than any rule asks of a held position's; than a line that is missed.
QUOTES_AHEAD_NS: Final[dict[Stake, int]] = {Stake.HELD: 2 * SECOND, Stake.NOTHING: 12 * SECOND}
QUOTES_PATIENCE_NS: Final = SECOND  # real: quotes that have not come by then are an outage
RATE_MAX: Final[dict[Stake, float]] = {Stake.DECISION: 1.0, Stake.ORDER: 2.0, Stake.OUTAGE: 2.0, Stake.HELD: 60.0}


class Pace(msgspec.Struct, frozen=True):
    """How fast, how far, why so fast, and what the horizon waits for."""

    rate: float
    horizon_utc: Utc
    stake: Stake
    waits_for: str


class Outage(msgspec.Struct, frozen=True):
    """A stretch of market time in which the script of the demo takes a link away: the broker's, or that of a hub."""

    from_utc: Utc
    until_utc: Utc
    hub: str | None = None


class Pacer:
    """Follows a demo day and paces it.

    Args:
        rate: market seconds a real second while nothing is at stake.
        hubs: that must be up and store their rows.
        buckets: the stops of the day's buckets.
        hours: open and close, between which quotes come.
        outages: that the script holds.
    """

    def __init__(
        self, rate: float, hubs: Iterable[str], buckets: Buckets, hours: tuple[Utc, Utc], outages: Iterable[Outage]
    ) -> None:
        self.stakes = Stakes(hubs)
        self.buckets = buckets
        self._rate = rate
        self._hours = hours
        self._outages = tuple(outages)
        self._quoted_utc = Utc(0)
        self._quoted_ns = 0  # when the newest quote came, real

    def hear(self, message: Message, to: str, now: Utc) -> None:
        """Take note of what was told or published."""
        self.stakes.hear(message, to, now)
        self.buckets.hear(message)

    def pace(self, now: Utc, real_ns: int, *, is_chain_idle: bool, are_all_up: bool) -> Pace:
        """Return the pace from now on.

        Args:
            now: the market's instant.
            real_ns: the monotonic one.
            is_chain_idle: no actor that a bucket passes has anything in hand or waiting.
            are_all_up: no actor is being started again.
        """
        scripted = [o for o in self._outages if o.from_utc <= now < o.until_utc]
        awaited = self.stakes.hubs_up() - {o.hub for o in scripted}
        self.buckets.advance(now, real_ns, awaited, is_chain_idle=is_chain_idle)
        stake = self.stakes.at(now)
        is_disturbed = bool(scripted or self.buckets.silent) or self.buckets.stop is Stop.LATE or not are_all_up
        if stake in (Stake.HELD, Stake.NOTHING) and is_disturbed:
            stake = Stake.OUTAGE
        stops: list[tuple[Utc, str]] = []
        if stake in QUOTES_AHEAD_NS and self._hours[0] <= now < self._hours[1]:
            quotes_utc = Utc(self.stakes.quoted_utc + QUOTES_AHEAD_NS[stake])
            if self._are_quotes_overdue(now, real_ns, quotes_utc):
                stake = Stake.OUTAGE
            else:
                stops.append((quotes_utc, "quotes"))
        stop_utc = self.buckets.horizon_utc
        if stop_utc is not None:
            stops.append((stop_utc, self.buckets.stop.value))
        if stake in (Stake.HELD, Stake.NOTHING):
            stops += [(o.from_utc, "an outage") for o in self._outages if o.from_utc > now]
        horizon_utc, waits_for = min(stops, default=(FOREVER, ""))
        return Pace(min(self._rate, RATE_MAX.get(stake, self._rate)), horizon_utc, stake, waits_for)

    def _are_quotes_overdue(self, now: Utc, real_ns: int, quotes_utc: Utc) -> bool:
        """Return whether market time stands for quotes that do not come."""
        if self.stakes.quoted_utc != self._quoted_utc or now < quotes_utc:
            self._quoted_utc, self._quoted_ns = self.stakes.quoted_utc, real_ns
        return real_ns - self._quoted_ns > QUOTES_PATIENCE_NS
