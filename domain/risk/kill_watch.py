"""The kill switch's automatic rules that it watches itself: spreads, rejected orders, clock, shorts, silent inputs.

Each rule takes what is remembered and one fact, and returns what is remembered now and why the level should rise
(`None`: it should not). The rules on VIX, SPX, lost sessions and the day's P&L are risk's (`domain.risk.kill`, `day`).

Rules: the project's risk specification, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import time
from enum import StrEnum
from functools import lru_cache

import msgspec

from domain.instants import MINUTE, MS, NEW_YORK, to_datetime
from domain.limits import KillRules
from domain.risk.kill import KillLevel
from domain.units import Qty, Utc

REJECTED = 201  # the broker's code of an order that it rejects
SLOT_MIN = 5  # a norm of the spread is kept for each five minutes of the day
SLOT_SESSIONS = 20  # sessions that make a norm
SLOT_SESSIONS_MIN = 5  # with fewer, the norm is the settings'


class Input(StrEnum):
    """What the rules live on and what may fall silent."""

    CLOCK = "the broker's clock"
    SPREADS = "the spreads of watched contracts"


class Raise(msgspec.Struct, frozen=True):
    """A level that a rule asks for, and why in one sentence."""

    level: KillLevel
    reason: str


class Short(msgspec.Struct, frozen=True):
    """A negative quantity at the broker, and since when."""

    con_id: int
    qty: Qty
    since_utc: Utc


class Norm(msgspec.Struct, frozen=True):
    """The median relative spread of one session at one slot of the day (minutes since midnight in New York)."""

    session: str
    slot: int
    median: float


class Watch(msgspec.Struct, frozen=True):
    """What is remembered.

    `wide_since_utc` is the first of the running readings above the norm's multiple; `rejected_utc` are the last
    rejections, `shorts` the negative quantities; `heard` is when each input spoke last.
    """

    wide_since_utc: Utc | None = None
    rejected_utc: tuple[Utc, ...] = ()
    shorts: tuple[Short, ...] = ()
    heard: tuple[tuple[Input, Utc], ...] = ()


def slot_of(at_utc: Utc) -> int:
    """Return the slot of the day of an instant, in minutes since midnight in New York."""
    return _slot_of_minute(at_utc // MINUTE)


@lru_cache(maxsize=1_024)
def _slot_of_minute(minute: int) -> int:
    local = to_datetime(Utc(minute * MINUTE)).astimezone(NEW_YORK)
    return (local.hour * 60 + local.minute) // SLOT_MIN * SLOT_MIN


def norm_of(norms: tuple[Norm, ...], slot: int, table: Mapping[time, float]) -> float:
    """Return the usual median spread at a slot: the median of the last sessions, or the settings' `table`."""
    seen = sorted(norm.median for norm in norms if norm.slot == slot)
    if len(seen) >= SLOT_SESSIONS_MIN:
        middle = len(seen) // 2
        return seen[middle] if len(seen) % 2 else (seen[middle - 1] + seen[middle]) / 2
    begun = [clock for clock in table if clock.hour * 60 + clock.minute <= slot]
    return table[max(begun) if begun else min(table)]


def on_spreads(
    watch: Watch, median: float | None, norm: float, rules: KillRules, now: Utc
) -> tuple[Watch, Raise | None]:
    """Watch the median spread of the watched contracts; `None` is no reading."""
    if median is None or math.isnan(median):
        return watch, None
    watch = heard(watch, Input.SPREADS, now)
    limit = rules.spread_multiple * norm
    if median <= limit:
        return msgspec.structs.replace(watch, wide_since_utc=None), None
    since = watch.wide_since_utc if watch.wide_since_utc is not None else now
    watch = msgspec.structs.replace(watch, wide_since_utc=since)
    if now - since < rules.spread_for_ms * MS:
        return watch, None
    reason = f"the median spread is {median:.1%} of mid, above {limit:.1%}, for {rules.spread_for_ms / 1000:g} s"
    return watch, Raise(KillLevel.NO_ENTRIES, reason)


def on_refused(watch: Watch, vendor_code: int, rules: KillRules, now: Utc) -> tuple[Watch, Raise | None]:
    """Count orders that the broker rejects (201)."""
    if vendor_code != REJECTED:
        return watch, None
    kept = (*(at for at in watch.rejected_utc if at > now - rules.rejects_window_ms * MS), now)
    watch = msgspec.structs.replace(watch, rejected_utc=kept)
    if len(kept) < rules.rejects_max:
        return watch, None
    minutes = rules.rejects_window_ms * MS / MINUTE
    return watch, Raise(KillLevel.NO_ENTRIES, f"the broker rejected {len(kept)} orders (201) within {minutes:g} min")


def on_clock(watch: Watch, least_ms: int, most_ms: int, rules: KillRules, now: Utc) -> tuple[Watch, Raise | None]:
    """Compare the broker's clock with ours; only an offset that is surely too large counts."""
    watch = heard(watch, Input.CLOCK, now)
    limit = rules.clock_offset_max_ms
    if least_ms <= limit and most_ms >= -limit:
        return watch, None
    offset = least_ms if least_ms > limit else most_ms
    side = "behind" if offset > 0 else "ahead of"
    reason = f"our clock is at least {abs(offset)} ms {side} the broker's; set the clock (NTP)"
    return watch, Raise(KillLevel.NO_ENTRIES, reason)


def on_short(watch: Watch, con_id: int, qty: Qty, since_utc: Utc) -> Watch:
    """Remember a negative quantity until it is gone (the time of the first report counts)."""
    known = next((short.since_utc for short in watch.shorts if short.con_id == con_id), since_utc)
    others = tuple(short for short in watch.shorts if short.con_id != con_id)
    shorts = (*others, Short(con_id, qty, known)) if qty < 0 else others
    return msgspec.structs.replace(watch, shorts=shorts)


def short_overdue(watch: Watch, con_id: int, rules: KillRules, now: Utc) -> Raise | None:
    """Return level 2 for a negative quantity that has stood too long."""
    for short in watch.shorts:
        if short.con_id == con_id and now - short.since_utc >= rules.uncovered_short_ms * MS:
            reason = f"{-short.qty} of contract {con_id} are short at the broker and not covered"
            return Raise(KillLevel.FLATTEN, reason)
    return None


def heard(watch: Watch, source: Input, now: Utc) -> Watch:
    """Remember that an input has spoken."""
    others = tuple(row for row in watch.heard if row[0] is not source)
    return msgspec.structs.replace(watch, heard=(*others, (source, now)))


def silent(watch: Watch, held_since_utc: Utc, rules: KillRules, now: Utc) -> Raise | None:
    """Return level 1 where an input has said nothing for too long while something is held."""
    last = dict(watch.heard)
    for source in Input:
        since = max(last.get(source, held_since_utc), held_since_utc)
        if now - since >= rules.unknown_input_ms * MS:
            reason = f"{source.value} said nothing for {rules.unknown_input_ms / 1000:g} s while a position is held"
            return Raise(KillLevel.NO_ENTRIES, reason)
    return None
