"""What a gate looks at and what it answers; nothing here decides."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from domain.instruments import Contract, Quote, Right, Side, Spot
from domain.limits import DayRules, EntryLimits, StrategyRules, TickerRules
from domain.risk.desk_view import DeskView
from domain.risk.reject import RejectCode


class Outcome(StrEnum):
    """A gate's answer; `NOT_FED` is a pass in profile demo of a gate that has an input nobody tells yet."""

    PASS = "pass"
    NOT_FED = "not_fed"
    REJECT = "reject"


class Intent(msgspec.Struct, frozen=True):
    """An entry that a strategy wants; `direction` is +1 up or -1 down, `bucket_utc` the bucket's start.

    `side` other than buy is a short leg, and `is_covered` says that its structure covers it.
    """

    intent_id: str
    signal_id: str
    alert_id: str
    source: str
    strategy: str
    ticker: str
    kind: str
    version: int
    direction: int
    right: Right
    bucket_utc: int
    is_shadow: bool
    raised_utc: int
    expires_utc: int
    side: Side = Side.BUY
    is_covered: bool = False


class Halts(msgspec.Struct, frozen=True):
    """Trading halts of one underlying; `resumed_utc` is `None` where it has not been halted today."""

    is_halted: bool
    resumed_utc: int | None


class DeskRules(msgspec.Struct, frozen=True):
    """What does not change while the desk runs; `stop_share` is the premium stop's share."""

    profile: str
    trading_mode: str
    is_live_armed: bool
    paper_port: int
    live_port: int
    stop_share: float
    limits: EntryLimits
    day: DayRules


class Snapshot(msgspec.Struct, frozen=True):
    """Everything a gate may look at, at the instant `now`; `None` means not known (or not yet, in the pipeline).

    `quote` is the quote in hand, `decision` the one on which the entry was decided, `fresh_from_utc` the instant at
    which the wait for the fresh quote began, `fees_cents` the round trip of the whole size, `margin_cents` the what-if
    of a short leg, `halts` and `liquid_hours_utc` (open, close) inputs that nobody tells yet.
    """

    now: int
    rules: DeskRules
    strategy: StrategyRules
    ticker: TickerRules
    view: DeskView
    contract: Contract | None = None
    quote: Quote | None = None
    spot: Spot | None = None
    decision: Quote | None = None
    fresh_from_utc: int | None = None
    qty: int | None = None
    sizing: str = ""
    fees_cents: int = 0
    margin_cents: int | None = None
    halts: Halts | None = None
    liquid_hours_utc: tuple[int, int] | None = None


class Finding(msgspec.Struct, frozen=True):
    """What one check found; `measured` against `limit` in `unit`; `looked_at` names the inputs."""

    outcome: Outcome
    code: RejectCode | None = None
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    looked_at: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """A gate's finding under its number and name."""

    gate: int
    name: str
    found: Finding

    @property
    def is_reject(self) -> bool:
        """Tell whether this verdict refuses."""
        return self.found.outcome is Outcome.REJECT


Check = Callable[[Intent, Snapshot], Finding]


class Gate(msgspec.Struct, frozen=True):
    """One gate of the sequence."""

    number: int
    name: str
    check: Check


def passed(measured: float | None = None, limit: float | None = None, unit: str = "", looked_at: str = "") -> Finding:
    """Find nothing against the entry."""
    return Finding(Outcome.PASS, None, measured, limit, unit, looked_at)


def refused(
    code: RejectCode, measured: float | None = None, limit: float | None = None, unit: str = "", looked_at: str = ""
) -> Finding:
    """Refuse the entry."""
    return Finding(Outcome.REJECT, code, measured, limit, unit, looked_at)


def missing(what: str, measured: float | None = None, limit: float | None = None, unit: str = "") -> Finding:
    """Refuse the entry because an input is not known or too old."""
    return refused(RejectCode.MISSING_INPUT, measured, limit, unit, what)


def not_fed(
    s: Snapshot, what: str, measured: float | None = None, limit: float | None = None, unit: str = ""
) -> Finding:
    """Answer for a gate that found nothing but has an input nobody tells yet: a pass in profile demo alone."""
    if s.rules.profile != "demo":
        return missing(what, measured, limit, unit)
    return Finding(Outcome.NOT_FED, None, measured, limit, unit, what)
