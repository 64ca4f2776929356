"""What a gate looks at and what it answers; nothing here decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from domain.instruments import Contract, Quote, Spot
from domain.limits import DayRules, EntryLimits, ExitRules, KillRules, StrategyRules, TickerRules
from domain.orders.intent import Intent, PlannedLeg
from domain.risk.desk_view import DeskView, Pending
from domain.risk.overlay import Overlay
from domain.risk.reject import RejectCode
from domain.structure.rules import SpreadRules
from domain.units import Cents, Qty, Utc


class Outcome(StrEnum):
    """A gate's answer."""

    PASS = "pass"
    REJECT = "reject"


class GatePhase(StrEnum):
    """When in an attempt a gate is asked; between two phases a reply is waited for."""

    STANDING = "standing"  # before anything is asked: may this desk enter at all, now, for this signal?
    CANDIDATE = "candidate"  # for each contract that is offered, on its quote
    SIZE = "size"  # on the contract chosen
    SUBMIT = "submit"  # on the fresh quote
    RESERVATION = "reservation"  # on the ledger's answer


class DeskRules(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change while the desk runs."""

    desk: str
    trading_mode: str
    is_live_armed: bool
    paper_port: int
    live_port: int
    limits: EntryLimits
    kill: KillRules
    exits: ExitRules
    day: DayRules
    strategies: Mapping[str, StrategyRules]
    tickers: Mapping[str, TickerRules]
    spread: SpreadRules | None = None  # None: this desk trades no spread
    takes_combos: bool = False  # whether its broker takes several legs as one order


class Epochs(msgspec.Struct, frozen=True):
    """The epochs under which an entry was approved; any newer one voids the approval."""

    kill_epoch: int
    session_epoch: int


class Sizing(msgspec.Struct, frozen=True):
    """The size and what bounded it; `by_*` are contracts before cuts, `cuts` the factor on the smallest of them."""

    qty: Qty
    by_risk: float
    by_premium: float
    cap: Qty
    cuts: float
    overlay: Overlay

    @property
    def reason(self) -> str:
        """What went in, in one line."""
        bounds = f"contracts by risk {self.by_risk:.2f}, by premium {self.by_premium:.2f}, by the cap {self.cap}"
        return (
            f"{bounds}; times {self.cuts:g} for losses and {self.overlay.factor:g} for the market ({self.overlay.why})"
        )


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a gate may look at, at the instant `now`; `None` means not known (or not yet, in the pipeline).

    `leg` is the leg whose contract is being chosen, `quote` the quote in hand, `decision` the one on which the entry
    was decided, `fresh_from_utc` the instant at which the wait for the fresh quote began, `qty` the size and `sizing`
    how it came about, `fees_cents` the round trip of the whole size, `approved` the epochs of the last look. `beside`
    are the other attempts under way: they count as pending.
    """

    now: Utc
    rules: DeskRules
    strategy: StrategyRules
    ticker: TickerRules
    view: DeskView
    beside: tuple[Pending, ...] = ()
    leg: PlannedLeg | None = None
    contract: Contract | None = None
    quote: Quote | None = None
    spot: Spot | None = None
    decision: Quote | None = None
    fresh_from_utc: Utc | None = None
    qty: Qty | None = None
    sizing: Sizing | None = None
    fees_cents: Cents = Cents(0)
    approved: Epochs | None = None


class Finding(msgspec.Struct, frozen=True):
    """What one check found; `measured` against `limit` in `unit`; `looked_at` names the inputs."""

    outcome: Outcome
    code: RejectCode | None = None
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    looked_at: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """A gate's finding under the gate's name; `note` says when it was asked where that is not plain ("last look")."""

    gate: str
    finding: Finding
    note: str = ""

    @property
    def is_reject(self) -> bool:
        """Whether this verdict refuses."""
        return self.finding.outcome is Outcome.REJECT


_PASS, _REJECT = Outcome.PASS, Outcome.REJECT  # asked for with every gate
Check = Callable[[Intent, Snapshot], Finding]


class Gate(msgspec.Struct, frozen=True):
    """One row of the gates.

    `codes` are those that the check refuses with, `other_codes` those that the ledger, the quotes or a silence give
    under the gate's name. `is_last_look`: it is asked again on the fresh quote, before the reservation. `is_hand_over`:
    it is asked again before a reserved entry is handed over and before a working one may pay more; such a check looks
    at the desk alone, as the intent is long decided.
    """

    name: str
    check: Check
    phase: GatePhase
    codes: tuple[RejectCode, ...]
    other_codes: tuple[RejectCode, ...] = ()
    is_last_look: bool = False
    is_hand_over: bool = False


def passed(measured: float | None = None, limit: float | None = None, unit: str = "", looked_at: str = "") -> Finding:
    """Return a finding with nothing against the entry."""
    return Finding(_PASS, None, measured, limit, unit, looked_at)


def refused(
    code: RejectCode, measured: float | None = None, limit: float | None = None, unit: str = "", looked_at: str = ""
) -> Finding:
    """Return a finding that refuses the entry."""
    return Finding(_REJECT, code, measured, limit, unit, looked_at)


def missing(what: str, measured: float | None = None, limit: float | None = None, unit: str = "") -> Finding:
    """Return a finding that refuses the entry because an input is not known or too old."""
    return refused(RejectCode.MISSING_INPUT, measured, limit, unit, what)
