"""Which exit of a held position is nearest, and how far away it is: for people, never for a decision.

Every exit is measured on a scale of its own: 1 where it is as far as at the entry (or farther), 0 where it happens. So
a stop, a target and a time can be compared.
"""

from __future__ import annotations

import msgspec

from domain.instants import MS
from domain.instruments import Quote, Spot
from domain.limits import ExitRules, TickerRules
from domain.position.cycle import ExitReason
from domain.position.exits import HeldPosition, size_ticks, stop_share
from domain.units import Cents, Ticks, Utc


class Distance(msgspec.Struct, frozen=True):
    """An exit and the share of its way that is left, from 1 (not nearer than at the entry) to 0 (it happens).

    `level_ticks` is the price at which it happens, of the option or of the underlying, `pnl_cents` the result of a
    whole structure, `at_utc` the instant; `None` where it is of another kind.
    """

    reason: ExitReason
    left: float
    level_ticks: float | None = None
    at_utc: Utc | None = None
    pnl_cents: Cents | None = None


def distances(
    held: HeldPosition, quote: Quote | None, spot: Spot | None, now: Utc, flatten_utc: Utc | None, rules: ExitRules,
    ticker: TickerRules,
) -> tuple[Distance, ...]:  # fmt: skip
    """Return the exits whose distance is known, nearest first; what needs a price that is missing is left out.

    Args:
        held: what is held.
        quote: the newest quote of the option.
        spot: the newest price of its underlying.
        now: the instant.
        flatten_utc: when everything is closed today.
        rules: the exits' rules.
        ticker: the rules of the underlying.
    """
    found = [*_by_premium(held, quote, rules), *_by_underlying(held, spot, ticker)]
    found.append(at_time(ExitReason.MAX_HOLD, held.opened_utc, Utc(held.opened_utc + ticker.max_hold_ms * MS), now))
    if flatten_utc is not None:
        found.append(at_time(ExitReason.EOD, held.opened_utc, flatten_utc, now))
    return tuple(sorted(found, key=lambda distance: distance.left))


def _by_premium(held: HeldPosition, quote: Quote | None, rules: ExitRules) -> list[Distance]:
    if quote is None or quote.mid_x2 is None or held.average_ticks <= 0:
        return []
    average, mid = held.average_ticks, quote.mid_x2 / 2
    stop = average * (1 - stop_share(held, rules))
    gain = rules.take_rest if held.took_part else rules.take_single if held.qty == 1 else rules.take_first
    target = average * (1 + gain)
    found = [Distance(ExitReason.TAKE_PROFIT, share_left(target - mid, target - average), target)]
    if stop < average:
        found.append(Distance(ExitReason.PREMIUM_STOP, share_left(mid - stop, average - stop), stop))
    else:  # after a part was taken, the rest's stop is the entry: what it has gained is what can be lost
        found.append(Distance(ExitReason.PREMIUM_STOP, share_left(mid - stop, target - stop), stop))
    return found


def _by_underlying(held: HeldPosition, spot: Spot | None, ticker: TickerRules) -> list[Distance]:
    if spot is None or held.entry_spot_ticks is None:
        return []
    size = size_ticks(ticker.underlying_stop_ticks, ticker.underlying_stop_bps, held.entry_spot_ticks)
    if size is None:
        return []
    moved = Ticks((spot.price_ticks - held.entry_spot_ticks) * held.direction)
    level = held.entry_spot_ticks - size * held.direction
    return [Distance(ExitReason.UNDERLYING_STOP, share_left(size + moved, size), level)]


def at_time(reason: ExitReason, from_utc: Utc, at_utc: Utc, now: Utc) -> Distance:
    """Return an exit that happens at an instant, on its way since another."""
    return Distance(reason, share_left(at_utc - now, at_utc - from_utc), at_utc=at_utc)


def share_left(left: float, whole: float) -> float:
    """Return what is left of a way, from 0 to 1; 0 of one that has no length."""
    return max(0.0, min(1.0, left / whole)) if whole > 0 else 0.0
