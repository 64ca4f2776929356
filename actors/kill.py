"""`kill`: the level that stops entries (1) or flattens everything (2), and the epoch that voids older permits.

A raise is in force first and durable after; a lowering is durable first. Starts at the level that the ledger gives
back, and at 1 where it gives none. One desk: the global level is the account's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import msgspec

from config.settings import Settings
from domain.alarm import Severity
from domain.instants import MS
from domain.position.cycle import ExitReason
from domain.risk.kill import KillLevel, LoweringRefused, lowering_refused, raised
from messages import lifecycle, market, operator, positions, risk
from messages.restored import KillRestored
from supervision.actor import Actor
from supervision.turn import Turn

Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | risk.RaiseKill
    | risk.LowerKill
    | risk.RequestKillLevel
    | risk.KillRecorded
    | market.BucketNotStored
)


class Timer(StrEnum):
    """What kill waits for."""

    RECORD = "record"  # the epoch: the ledger's answer on it is overdue


class Lowering(msgspec.Struct, frozen=True):
    """A lowering that waits for its record, under the epoch that it will take."""

    command: risk.LowerKill
    epoch: int


class KillState(msgspec.Struct):
    """The level in force; `epoch` is the highest number given out, `in_force_epoch` that of the level in force.

    `unrecorded` are epochs whose record has not been confirmed.
    """

    level: KillLevel = KillLevel.NO_ENTRIES
    epoch: int = 0
    in_force_epoch: int = 0
    reason: str = "not started"
    by: str = "kill"
    lowering: Lowering | None = None
    unrecorded: tuple[int, ...] = ()


class KillActor(Actor[KillState, Inbox]):
    """Keeps the kill level; anybody may raise it, only a person lowers it."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._wait_ns = settings.exits.record_wait_ms * MS

    def initial(self) -> KillState:
        """Return a state that allows no entries before `Started`."""
        return KillState()

    def decide(self, turn: Turn[KillState], message: Inbox) -> None:
        """Raise, lower, or report the level in force."""
        match message:
            case risk.RaiseKill():
                raise_level(turn, message, self._wait_ns)
            case risk.LowerKill():
                request_lowering(turn, message, self._wait_ns)
            case risk.KillRecorded():
                on_recorded(turn, message.kill_epoch)
            case risk.RequestKillLevel():
                turn.report(message.reply_to, in_force(turn.state))
            case market.BucketNotStored():
                halt = risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=message.why, by="warehouse")
                raise_level(turn, halt, self._wait_ns)
            case lifecycle.Started():
                start(turn, message)
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.RECORD:
                        on_record_overdue(turn, int(message.subject), self._wait_ns)
                    case other:
                        assert_never(other)
            case _:
                assert_never(message)


def start(turn: Turn[KillState], message: lifecycle.Started) -> None:
    """Start at the level that the ledger knows, and publish it."""
    state, restored = turn.state, message.restored
    if isinstance(restored, KillRestored):
        state.level, state.reason, state.by = restored.level, restored.reason, restored.by
        state.epoch = state.in_force_epoch = restored.kill_epoch
    else:
        state.reason = "the ledger gave no kill level back"
    announce(turn)


def raise_level(turn: Turn[KillState], command: risk.RaiseKill, wait_ns: int) -> None:
    """Put the higher level in force at once, under a new epoch; a lowering under way is overtaken."""
    state, overtaken = turn.state, turn.state.lowering
    state.level = raised(state.level, command.level)
    state.epoch += 1
    state.in_force_epoch = state.epoch
    state.reason, state.by = command.reason, command.by
    state.lowering = None
    announce(turn)
    record(turn, state.level, command.reason, command.by, wait_ns)
    confirm(turn, command.command_id)
    if overtaken is not None:
        detail = f"The level was raised meanwhile: {command.reason}."
        deny(turn, overtaken.command, LoweringRefused.OVERTAKEN, detail)


def request_lowering(turn: Turn[KillState], command: risk.LowerKill, wait_ns: int) -> None:
    """Have the lower level recorded under a new epoch; it is in force when the record is."""
    state = turn.state
    if state.lowering is not None:
        deny(turn, command, LoweringRefused.BUSY, "Another lowering waits for its record; try again.")
        return
    why = lowering_refused(
        state.level, command.level, state.in_force_epoch, command.expected_epoch, command.by, command.reason
    )
    if why is not None:
        detail = f"Kill level is {state.level} (epoch {state.in_force_epoch}); asked for {command.level}."
        deny(turn, command, why, detail)
        return
    state.epoch += 1
    state.lowering = Lowering(command, state.epoch)
    record(turn, command.level, command.reason, command.by, wait_ns)


def on_recorded(turn: Turn[KillState], epoch: int) -> None:
    """Let a lowering come into force, if it is still wanted."""
    state = turn.state
    forget_record(state, epoch)
    turn.disarm(Timer.RECORD, str(epoch))
    if state.lowering is None or state.lowering.epoch != epoch:
        return
    command = state.lowering.command
    state.level, state.reason, state.by = command.level, command.reason, command.by
    state.in_force_epoch = epoch
    state.lowering = None
    turn.publish(risk.KillLowered(level=command.level, kill_epoch=epoch, reason=command.reason, by=command.by))
    confirm(turn, command.command_id)


def on_record_overdue(turn: Turn[KillState], epoch: int, wait_ns: int) -> None:
    """Answer a ledger that stays silent: a lowering is given up (and overwritten), a raise stands unrecorded."""
    state = turn.state
    if epoch not in state.unrecorded:
        return
    forget_record(state, epoch)
    text = f"The kill level {state.level} could not be recorded in time (epoch {epoch}); check the ledger."
    turn.publish(operator.Alarm(key="kill_unrecorded", severity=Severity.HIGH, text=text, at_utc=turn.now))
    if state.lowering is None or state.lowering.epoch != epoch:
        return
    command = state.lowering.command
    # The record may yet be written: the level in force is recorded behind it under a newer epoch.
    state.lowering = None
    state.epoch += 1
    state.in_force_epoch = state.epoch
    turn.publish(in_force(state))
    record(turn, state.level, state.reason, state.by, wait_ns)
    deny(turn, command, LoweringRefused.LEDGER_SILENT, "The ledger did not record it; nothing changed.")


# -- what is told -------------------------------------------------------------------------------


def in_force(state: KillState) -> risk.KillRaised | risk.KillLowered:
    """Return the event that tells the level in force."""
    kind = risk.KillLowered if state.level is KillLevel.RUNNING else risk.KillRaised
    return kind(level=state.level, kill_epoch=state.in_force_epoch, reason=state.reason, by=state.by)


def announce(turn: Turn[KillState]) -> None:
    """Publish the level in force, and have everything closed where it is level 2."""
    turn.publish(in_force(turn.state))
    if turn.state.level is KillLevel.FLATTEN:
        turn.tell("positions", positions.FlattenPosition(reason=ExitReason.KILL))


def record(turn: Turn[KillState], level: KillLevel, reason: str, by: str, wait_ns: int) -> None:
    """Have a level recorded under the newest epoch, and wait for the ledger's answer."""
    epoch = turn.state.epoch
    turn.state.unrecorded = (*turn.state.unrecorded, epoch)
    turn.tell("ledger", risk.RecordKill(level=level, kill_epoch=epoch, reason=reason, by=by, at_utc=turn.now))
    turn.arm(Timer.RECORD, turn.now + wait_ns, str(epoch))


def forget_record(state: KillState, epoch: int) -> None:
    """Wait for the record of an epoch no longer."""
    state.unrecorded = tuple(n for n in state.unrecorded if n != epoch)


def confirm(turn: Turn[KillState], command_id: str | None) -> None:
    """Answer a person's command with the level in force; nobody waits where it is none."""
    if command_id is not None:
        detail = f"Kill level is {turn.state.level} (epoch {turn.state.in_force_epoch})."
        turn.report("operator", operator.CommandDone(command_id=command_id, detail=detail))


def deny(turn: Turn[KillState], command: risk.LowerKill, code: LoweringRefused, detail: str) -> None:
    """Answer a person's lowering that is not carried out."""
    if command.command_id is not None:
        turn.report("operator", operator.CommandDenied(command_id=command.command_id, code=code, detail=detail))
