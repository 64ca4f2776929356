"""The state of `risk`: its read model, the queue of attempts and the one in hand."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.risk.attempt import Attempt
from domain.risk.desk_view import DeskView
from domain.risk.kill import KillLevel, KillWatch


class Timer(StrEnum):
    """What risk waits for; the subject stands behind each."""

    STAGE = "stage"  # the stage's number: the reply of an attempt is overdue
    ALERT = "alert"  # the alert's id: an alert without a gate row is stale now
    DAY_LOSS = "day_loss"  # the second evaluation of a breach
    VERIFY_FLAT = "verify_flat"  # the how-manieth look
    SETTLE = "settle"  # the day's row is due


class RiskState(msgspec.Struct):
    """Everything that `risk` knows.

    `stage_n` counts the stages of this incarnation (timers and requests carry it), `asked_level` is the kill level that
    was asked for and not yet reported.
    """

    view: DeskView = DeskView()
    queue: tuple[Attempt, ...] = ()
    attempt: Attempt | None = None
    incarnation: int = 0
    stage_n: int = 0
    watch: KillWatch = KillWatch()
    asked_level: KillLevel = KillLevel.RUNNING
    has_asked_lock: bool = False
    has_told_flat: bool = False
    has_recorded_day: bool = False
