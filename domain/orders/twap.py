"""A large entry in slices of equal time (TWAP): what is sent when, and what ends it; never an exit.

Slice `n` of `slices` brings what is ordered in all up to the share n / slices of the total; what a slice did not fill
is asked for again by the next. One slice works at a time, each with the life of any entry order; an entry whose first
slice fills nothing is over, as any entry is. Whatever stops it, what filled is the position; nothing of the rest is
sent by itself, not after a restart either. Source: risk-and-execution.md, section 7.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from domain.fsm import Machine
from domain.instants import MS
from domain.limits import EntryLimits
from domain.units import Qty, Ticks, Utc


class TwapStage(StrEnum):
    """Where a sliced entry stands."""

    WORKING = "working"  # a slice is at the broker
    WAITING = "waiting"  # for the next slice's instant
    ASKED = "asked"  # the gates look at the next slice
    RECORDING = "recording"  # the ledger writes its order
    ENDED = "ended"


class TwapEvent(StrEnum):
    """What moves it."""

    SLICE_ENDED = "slice_ended"  # filled, cancelled or refused by the broker; more is to come
    DUE = "due"
    ALLOWED = "allowed"
    PASSED_OVER = "passed_over"  # its market is not one to trade on now
    RECORDED = "recorded"
    STOPPED = "stopped"  # all is sent; or a kill, an exit, a gate, a silence


_S, _E = TwapStage, TwapEvent
_OVER = "no slice follows"

TWAP: Final = Machine(
    "sliced entry",
    transitions={
        (_S.WORKING, _E.SLICE_ENDED): _S.WAITING,
        (_S.WORKING, _E.STOPPED): _S.ENDED,
        (_S.WAITING, _E.DUE): _S.ASKED,
        (_S.WAITING, _E.STOPPED): _S.ENDED,
        (_S.ASKED, _E.ALLOWED): _S.RECORDING,
        (_S.ASKED, _E.PASSED_OVER): _S.WAITING,
        (_S.ASKED, _E.STOPPED): _S.ENDED,
        (_S.RECORDING, _E.RECORDED): _S.WORKING,
        (_S.RECORDING, _E.STOPPED): _S.ENDED,
    },
    ignored={
        (_S.ENDED, _E.SLICE_ENDED): _OVER,
        (_S.ENDED, _E.DUE): _OVER,
        (_S.ENDED, _E.ALLOWED): _OVER,
        (_S.ENDED, _E.PASSED_OVER): _OVER,
        (_S.ENDED, _E.RECORDED): _OVER,
        (_S.ENDED, _E.STOPPED): _OVER,
    },
)


class TwapPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How an entry is sliced: contracts in all, in how many slices, and how far apart they begin."""

    total_qty: Qty
    slices: int
    gap_ms: int

    def qty_until(self, n: int) -> Qty:
        """Return how many contracts are to be ordered with slice `n` (from 1) and those before it."""
        return Qty(self.total_qty * n // self.slices)


class Twap(msgspec.Struct, frozen=True, kw_only=True):
    """A sliced entry under way: slice `n` (from 1) was sent last, or is being asked for.

    `qty` and `limit_ticks` are those of the slice that is being recorded or works.
    """

    plan: TwapPlan
    started_utc: Utc
    n: int = 1
    stage: TwapStage = TwapStage.WORKING
    qty: Qty
    limit_ticks: Ticks

    @property
    def is_on(self) -> bool:
        """Whether slices may follow, or the last one works."""
        return self.stage is not TwapStage.ENDED

    @property
    def is_last(self) -> bool:
        """Whether no slice comes after this one."""
        return self.n >= self.plan.slices

    @property
    def due_utc(self) -> Utc:
        """When the slice after this one is due."""
        return Utc(self.started_utc + self.n * self.plan.gap_ms * MS)

    def after(self, event: TwapEvent) -> Twap:
        """Return it after an event.

        Raises:
            IllegalTransition: the event cannot happen in this stage.
        """
        return replace(self, stage=TWAP.next(self.stage, event))

    def asking(self, filled_qty: Qty) -> Twap:
        """Return it with its next slice asked for: what is missing of what is to be ordered by then."""
        n = self.n + 1
        return replace(self.after(TwapEvent.DUE), n=n, qty=Qty(self.plan.qty_until(n) - filled_qty))

    def allowed(self, limit_ticks: Ticks) -> Twap:
        """Return it with its next slice at the limit that the gates allow."""
        return replace(self.after(TwapEvent.ALLOWED), limit_ticks=limit_ticks)


def plan_of(limits: EntryLimits, qty: Qty) -> TwapPlan | None:
    """Return how an entry of this size is sliced; `None`: it is sent as one order."""
    if limits.twap_min_qty is None or qty < max(limits.twap_min_qty, limits.twap_slices):
        return None
    gap_ms = limits.twap_duration_ms // limits.twap_slices
    return TwapPlan(total_qty=qty, slices=limits.twap_slices, gap_ms=gap_ms)


def begun(plan: TwapPlan, limit_ticks: Ticks, now: Utc) -> Twap:
    """Return a sliced entry whose first slice is sent now."""
    return Twap(plan=plan, started_utc=now, qty=plan.qty_until(1), limit_ticks=limit_ticks)
