"""The pacer of a demo's clock: how fast market time may run now, and how far.

Pure: it is told what was said, the two times, and whether the actors that a bucket passes are idle; it answers with a
`Pace`. No rule of trading is relaxed for speed: whatever is at stake runs in real time or twice that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, time
from typing import Final

import msgspec

from domain.instants import MINUTE, SECOND, at_exchange, session_of
from domain.session.calendar import next_midnight
from domain.units import Utc
from messages.base import Message
from simulation.pace.buckets import HEARD as OF_BUCKETS
from simulation.pace.buckets import Buckets, Hours, Stop
from simulation.pace.stakes import HEARD as OF_STAKES
from simulation.pace.stakes import Stake, Stakes
from supervision.clock import FOREVER

OBSERVED: Final = frozenset(OF_STAKES) | frozenset(OF_BUCKETS)
# Market time past the newest quote of the desk that lags most: younger than any rule asks of a held position's; than a
# line that is missed. A contract that does not tick is no lag: nobody waits for each one's.
QUOTES_AHEAD_NS: Final[dict[Stake, int]] = {Stake.HELD: 2 * SECOND, Stake.NOTHING: 12 * SECOND}
QUOTES_PATIENCE_NS: Final = SECOND  # real: quotes that have not come by then are an outage
DESK_PATIENCE_NS: Final = 10 * SECOND  # real: a desk that is busy for longer is not waited for
# A position without a quote is left after some market seconds: at half speed a busy machine has time for its first.
RATE_MAX: Final[dict[Stake, float]] = {
    Stake.DECISION: 1.0, Stake.ORDER: 2.0, Stake.UNQUOTED: 0.5, Stake.OUTAGE: 2.0, Stake.HELD: 60.0,
}  # fmt: skip
# At night, so long after a close, after midnight and before an open, nothing is due: 17 hours pass in ten real seconds.
NIGHT_RATE: Final = 6_000.0
EVENING_NS: Final = 30 * MINUTE
MIDNIGHT_NS: Final = 5 * MINUTE
MORNING_NS: Final = 40 * MINUTE

Sessions = Callable[[date], Hours | None]  # the hours of a date; `None`: it is no session


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
    """Follows simulated sessions and paces them.

    Args:
        rate: market seconds a real second while nothing is at stake.
        hubs: that must be up and store their rows.
        buckets: the stops of a session's buckets.
        sessions: open and close of a date, between which quotes come.
        outages: that the script holds.
        desk_ahead_ns: how far market time may run, with anything at stake, past the newest instant at which the desk
            had nothing in hand: shorter than any wait of its actors for each other, so that a slow machine ends none.
    """

    def __init__(
        self, rate: float, hubs: Iterable[str], buckets: Buckets, sessions: Sessions, outages: Iterable[Outage],
        desk_ahead_ns: int,
    ) -> None:  # fmt: skip
        self.stakes = Stakes(hubs)
        self.buckets = buckets
        self._rate = rate
        self._sessions = sessions
        self._hours: Hours | None = None  # of the present date
        self._quiet_from_utc = self._date_over_utc = Utc(0)
        self._outages = tuple(outages)
        self._quoted_utc = Utc(0)
        self._quoted_ns = 0  # when the newest quote came, real
        self._desk_ahead_ns = desk_ahead_ns
        self._desk_idle_utc = Utc(0)  # when the desk last had nothing in hand
        self._desk_idle_ns = 0  # that instant, real

    def hear(self, message: Message, to: str, now: Utc) -> None:
        """Take note of what was told (`to` a name) or published (`to` is who did)."""
        self.stakes.hear(message, to, now)
        self.buckets.hear(message)

    def note_desk_idle(self, at_utc: Utc, real_ns: int) -> None:
        """Take note of an instant at which the desk had nothing in hand."""
        self._desk_idle_utc, self._desk_idle_ns = at_utc, real_ns

    def pace(self, now: Utc, real_ns: int, *, is_chain_idle: bool, are_all_up: bool) -> Pace:
        """Return the pace from now on.

        Args:
            now: the market's instant.
            real_ns: the monotonic one.
            is_chain_idle: no actor that a bucket passes has anything in hand or waiting.
            are_all_up: no actor is being started again.
        """
        if now >= self._date_over_utc:
            self.begin_date(now)
        scripted = [o for o in self._outages if o.from_utc <= now < o.until_utc]
        awaited = self.stakes.hubs - {o.hub for o in scripted}
        self.buckets.advance(now, real_ns, awaited, self.stakes.hubs_up, is_chain_idle=is_chain_idle)
        stake = self.stakes.at(now)
        is_open = self._hours is not None and self._hours[0] <= now < self._hours[1]
        is_quiet = self.stakes.is_a_hub_quiet
        is_disturbed = bool(scripted or self.buckets.silent) or self.buckets.stop is Stop.LATE or not are_all_up
        if stake in (Stake.HELD, Stake.NOTHING) and (is_disturbed or (is_quiet and is_open)):
            stake = Stake.OUTAGE
        stops: list[tuple[Utc, str]] = []
        if is_quiet and self._hours is not None and now < self._hours[0]:
            stops.append((self._hours[0], "the open"))  # from there on its first frames are awaited in real time
        if stake in (Stake.OUTAGE, Stake.HELD) and is_open and self.stakes.awaits_first_quote(now):
            stake = Stake.UNQUOTED
        if stake in QUOTES_AHEAD_NS and is_open:
            quotes_utc = Utc(self.stakes.quoted_utc + QUOTES_AHEAD_NS[stake])
            if self._are_quotes_overdue(now, real_ns, quotes_utc):
                stake = Stake.OUTAGE
            else:
                stops.append((quotes_utc, "quotes"))
        if stake is not Stake.NOTHING and real_ns - self._desk_idle_ns <= DESK_PATIENCE_NS:
            stops.append((Utc(self._desk_idle_utc + self._desk_ahead_ns), "the desk"))
        stop_utc = self.buckets.horizon_utc
        if stop_utc is not None:
            stops.append((stop_utc, self.buckets.stop.value))
        if stake in (Stake.HELD, Stake.NOTHING):
            stops += [(o.from_utc, "an outage") for o in self._outages if o.from_utc > now]
        rate = min(self._rate, RATE_MAX.get(stake, self._rate))
        night_over_utc = self._night_over_utc(now)
        if stake is Stake.NOTHING and night_over_utc is not None:
            rate = max(rate, NIGHT_RATE)
            stops.append((night_over_utc, "the night"))
        horizon_utc, waits_for = min(stops, default=(FOREVER, ""))
        return Pace(rate, horizon_utc, stake, waits_for)

    def begin_date(self, now: Utc) -> None:
        """Take over the hours of the date that has begun."""
        today = session_of(now)
        self._quiet_from_utc = Utc(at_exchange(today, time()) + MIDNIGHT_NS)
        self._date_over_utc = next_midnight(today)
        self._hours = self._sessions(today)
        if self._hours is not None:
            self.buckets.begin(self._hours, now)

    def _night_over_utc(self, now: Utc) -> Utc | None:
        """Return until when nothing is due at night: at most the date's end; `None` by day, and after midnight."""
        if now < self._quiet_from_utc:
            return None
        if self._hours is not None and now < self._hours[1] + EVENING_NS:
            morning_utc = Utc(self._hours[0] - MORNING_NS)
            return morning_utc if now < morning_utc else None
        return self._date_over_utc

    def _are_quotes_overdue(self, now: Utc, real_ns: int, quotes_utc: Utc) -> bool:
        """Return whether market time stands for quotes that do not come."""
        if self.stakes.quoted_utc != self._quoted_utc or now < quotes_utc:
            self._quoted_utc, self._quoted_ns = self.stakes.quoted_utc, real_ns
        return real_ns - self._quoted_ns > QUOTES_PATIENCE_NS
