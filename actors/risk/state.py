"""The state of `risk`: its read model, the attempts under way, what it has asked for and said."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.risk.attempt import Attempt
from domain.risk.day import DayStops
from domain.risk.desk_view import DeskView, Promotion
from domain.risk.kill import KillLevel, KillWatch
from domain.risk.structure_attempt import StructureAttempt
from domain.units import Utc
from messages.entries import RequestSlice


class Timer(StrEnum):
    """What risk waits for; the subject stands behind each."""

    STAGE = "stage"  # the stage's number: the reply of an attempt is overdue
    ALERT = "alert"  # the alert's id: an alert without a gate row is stale now
    DAY_LOSS = "day_loss"  # the second evaluation of a breach
    INPUTS = "inputs"  # an input of the rules may have been unknown for too long
    VERIFY_FLAT = "verify_flat"  # the how-manieth look
    SETTLE = "settle"  # the day's row is due
    PROMOTIONS = "promotions"  # what may trade is asked for again


class SliceCheck(msgspec.Struct, frozen=True):
    """A further slice of an entry whose fresh quote was asked for at `asked_utc`."""

    question: RequestSlice
    request_id: str
    asked_utc: Utc


class Held(msgspec.Struct, frozen=True):
    """A strategy held for a switch since `asked_utc`; `is_reconciling`: the answer waits for the broker's word."""

    switch_n: int
    strategy: str
    is_reconciling: bool
    asked_utc: Utc


class RiskState(msgspec.Struct):
    """Everything that `risk` knows.

    `attempts` are under way, in the order of their signals, and so are `structures`, those of several legs; `slices`
    are looked at for entries under way; `stage_n`
    counts the stages of this incarnation (timers and requests carry it). `asked_level` is the kill level that was asked
    for and not yet reported; `causes` are those of levels asked for that still stand, so that a person who lowers the
    level is not overruled by the same facts.
    `recorded` are the day's stops on record, `held_since_utc` is since when something is held, `inputs_due_utc` when
    the inputs are looked at next; `evaluated` is the view on which the day's P&L was evaluated last, at
    `evaluated_utc`. While it is not known what may trade, `promotions_asked_n` counts how often it was
    asked for, and `withdrawn` is what may not, whatever the answer. Of several desks, `traded` are the strategies
    of this one (`None`: it is the only one), `held_for` is the switch that holds one of them.
    """

    view: DeskView = DeskView()
    attempts: tuple[Attempt, ...] = ()
    structures: tuple[StructureAttempt, ...] = ()
    slices: tuple[SliceCheck, ...] = ()
    incarnation: int = 0
    stage_n: int = 0
    watch: KillWatch = KillWatch()
    asked_level: KillLevel = KillLevel.RUNNING
    causes: frozenset[str] = frozenset()
    recorded: DayStops = DayStops()
    held_since_utc: Utc | None = None
    inputs_due_utc: Utc | None = None
    evaluated: DeskView | None = None
    evaluated_utc: Utc = Utc(0)
    has_asked_lock: bool = False
    has_told_flat: bool = False
    has_recorded_day: bool = False
    promotions_asked_n: int = 0
    withdrawn: frozenset[Promotion] = frozenset()
    traded: frozenset[str] | None = None
    held_for: Held | None = None
