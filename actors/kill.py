"""`kill`: the level that stops entries (1) or flattens everything (2), and the epoch that voids older permits.

A raise is in force first and durable after; a lowering is durable first. Starts at the level that the ledger gives
back, and at 1 where it gives none or where a real desk is new: its first start is a person's. It is the process's
level, or as `kill:<desk>` that of one of several desks. The automatic rules that need no position's or account's state
are watched here (`domain.risk.kill_watch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

import msgspec

from config.settings import Settings
from domain.alarm import Severity
from domain.instants import MS, session_of
from domain.limits import KillRules
from domain.position.cycle import ExitReason
from domain.risk import kill_watch
from domain.risk.kill import NEW_DESK, KillLevel, LoweringRefused, lowering_refused, raised
from domain.risk.kill_watch import Norm, Raise, Watch
from domain.session.phases import REGULAR, Phase
from domain.starved import busy_text, excused_ms, is_machines
from domain.units import Qty, Utc
from messages import broker, lifecycle, market, operator, orders, positions, risk, session
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
    | market.SpreadsRead
    | broker.ClockRead
    | orders.BrokerRefused
    | positions.PositionChanged
    | positions.PositionClosed
    | positions.ShortFound
    | session.PhaseChanged
)


SILENT_LOOKS: Final = 4  # at the inputs, in the time that one may be silent


class Timer(StrEnum):
    """What kill waits for."""

    RECORD = "record"  # the epoch: the ledger's answer on it is overdue
    SHORT = "short"  # the contract: a negative quantity has stood too long
    SILENT = "silent"  # an input of the automatic rules may have been silent for too long


class Lowering(msgspec.Struct, frozen=True):
    """A lowering that waits for its record, under the epoch that it will take.

    `withdrawn_epoch` is that of the level in force, recorded behind a lowering that was not recorded in time: until
    that is durable, too, a restart may find either, and nobody is told that nothing changed.
    """

    command: risk.LowerKill
    epoch: int
    withdrawn_epoch: int | None = None


class KillState(msgspec.Struct):
    """The level in force; `epoch` is the highest number given out, `in_force_epoch` that of the level in force.

    `unrecorded` are epochs whose record has not been confirmed. `held` are the positions that are open, (id, since);
    `norm_slot` is the slot whose spread was recorded last.
    """

    level: KillLevel = KillLevel.NO_ENTRIES
    epoch: int = 0
    in_force_epoch: int = 0
    reason: str = "not started"
    by: str = "kill"
    lowering: Lowering | None = None
    unrecorded: tuple[int, ...] = ()
    watch: Watch = Watch()
    norms: tuple[Norm, ...] = ()
    norm_slot: int | None = None
    held: tuple[tuple[str, Utc], ...] = ()
    phase: Phase | None = None


@dataclass(frozen=True, slots=True)
class Wiring:
    """What does not change: the wait for the ledger, the rules, and whether a new desk may start by itself."""

    wait_ns: int
    rules: KillRules
    starts_itself: bool


class KillActor(Actor[KillState, Inbox]):
    """Keeps the kill level; anybody may raise it, and some facts do, only a person lowers it."""

    weighs = frozenset((Timer.RECORD, Timer.SILENT))

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._wiring = Wiring(settings.exits.record_wait_ms * MS, settings.kill, settings.profile == "demo")

    def initial(self) -> KillState:
        """Return a state that allows no entries before `Started`."""
        return KillState()

    def decide(self, turn: Turn[KillState], message: Inbox) -> None:
        """Raise, lower, or report the level in force; and watch what raises it by itself."""
        wiring = self._wiring
        match message:
            case positions.PositionChanged():
                on_position(wiring, turn, message.ref.position_id, message.qty)
            case positions.PositionClosed():
                on_position(wiring, turn, message.ref.position_id, Qty(0))
            case risk.RaiseKill():
                raise_level(turn, message, wiring.wait_ns)
            case risk.LowerKill():
                request_lowering(turn, message, wiring.wait_ns)
            case risk.KillRecorded():
                on_recorded(turn, message.kill_epoch)
            case risk.RequestKillLevel():
                turn.report(message.reply_to, in_force(turn))
            case market.BucketNotStored():
                halt = risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=message.why, by="warehouse")
                raise_level(turn, halt, wiring.wait_ns)
            case market.SpreadsRead():
                on_spreads(wiring, turn, message)
            case broker.ClockRead():
                turn.state.watch, found = kill_watch.on_clock(
                    turn.state.watch, message.least_ms, message.most_ms, wiring.rules, turn.now
                )
                raise_by_itself(wiring, turn, found)
            case orders.BrokerRefused():
                turn.state.watch, found = kill_watch.on_refused(
                    turn.state.watch, message.vendor_code, wiring.rules, turn.now
                )
                raise_by_itself(wiring, turn, found)
            case positions.ShortFound():
                on_short(wiring, turn, message)
            case session.PhaseChanged():
                turn.state.phase = message.phase
            case lifecycle.Started():
                start(wiring, turn, message)
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.RECORD:
                        on_record_overdue(turn, int(message.subject), wiring.wait_ns, message)
                    case Timer.SHORT:
                        found = kill_watch.short_overdue(turn.state.watch, int(message.subject), wiring.rules, turn.now)
                        raise_by_itself(wiring, turn, found)
                    case Timer.SILENT:
                        on_silence(wiring, turn, message.starved_ms)
                    case other:
                        assert_never(other)
            case _:
                assert_never(message)


def start(wiring: Wiring, turn: Turn[KillState], message: lifecycle.Started) -> None:
    """Start at the level that the ledger knows, and publish it; a new real desk waits for a person."""
    state, restored = turn.state, message.restored
    turn.tell("session", session.RequestPhase(reply_to=turn.name))
    if not isinstance(restored, KillRestored):
        state.reason = "the ledger gave no kill level back"
        announce(turn)
        return
    state.norms = restored.spread_norms
    if restored.is_new and not wiring.starts_itself:
        first = risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=NEW_DESK, by=turn.name)
        state.epoch = restored.kill_epoch
        raise_level(turn, first, wiring.wait_ns)
        return
    state.level, state.reason, state.by = restored.level, restored.reason, restored.by
    state.epoch = state.in_force_epoch = restored.kill_epoch
    announce(turn, is_restored=True)


# -- the automatic rules ------------------------------------------------------------------------


def raise_by_itself(wiring: Wiring, turn: Turn[KillState], found: Raise | None) -> None:
    """Raise the level for a rule and page a person; a level that is in force already is not raised again."""
    if found is None or turn.state.level >= found.level:
        return
    text = f"{found.reason[0].upper()}{found.reason[1:]}."
    turn.publish(operator.Alarm(key="kill_rule", severity=Severity.CRITICAL, text=text, at_utc=turn.now))
    raise_level(turn, risk.RaiseKill(level=found.level, reason=found.reason, by=turn.name), wiring.wait_ns)


def on_spreads(wiring: Wiring, turn: Turn[KillState], read: market.SpreadsRead) -> None:
    """Compare the spreads with their norm in regular hours, and keep one reading a slot for the norm of later days."""
    state = turn.state
    if state.phase not in REGULAR:
        return
    slot = kill_watch.slot_of(turn.now)
    norm = kill_watch.norm_of(state.norms, slot, wiring.rules.spread_norm)
    state.watch, found = kill_watch.on_spreads(state.watch, read.median, norm, wiring.rules, turn.now)
    raise_by_itself(wiring, turn, found)
    if read.median is not None and slot != state.norm_slot:
        state.norm_slot = slot
        row = risk.RecordSpread(session=session_of(turn.now), slot_min=slot, median=read.median, at_utc=turn.now)
        turn.tell("ledger", row)


def on_short(wiring: Wiring, turn: Turn[KillState], message: positions.ShortFound) -> None:
    """Wait for a negative quantity to be covered, until it has stood too long."""
    state, con_id = turn.state, str(message.con_id)
    state.watch = kill_watch.on_short(state.watch, message.con_id, message.qty, message.since_utc)
    if message.qty >= 0:
        turn.disarm(Timer.SHORT, con_id)
        return
    since = next(short.since_utc for short in state.watch.shorts if short.con_id == message.con_id)
    turn.arm(Timer.SHORT, max(turn.now, since + wiring.rules.uncovered_short_ms * MS), con_id)


def on_position(wiring: Wiring, turn: Turn[KillState], position_id: str, qty: Qty) -> None:
    """Watch the inputs of the rules while something is held."""
    state = turn.state
    if not qty:
        state.held = tuple([row for row in state.held if row[0] != position_id])
    elif position_id not in dict(state.held):
        state.held = (*state.held, (position_id, turn.now))
        turn.arm(Timer.SILENT, turn.now + wiring.rules.unknown_input_ms * MS)


def on_silence(wiring: Wiring, turn: Turn[KillState], starved_ms: int) -> None:
    """Raise level 1 where an input is silent while something is held; look again later.

    Who trades without it is in danger whoever is to blame; on a busy machine the reason says so.
    """
    state, pause_ms = turn.state, wiring.rules.unknown_input_ms // SILENT_LOOKS
    if not state.held:
        return
    if state.phase in REGULAR:
        held_since = min(since for _, since in state.held)
        found = kill_watch.silent(state.watch, held_since, wiring.rules, turn.now)
        if found is not None and is_machines(starved_ms, pause_ms):
            found = msgspec.structs.replace(found, reason=f"{found.reason}; {busy_text(starved_ms, pause_ms)}")
        raise_by_itself(wiring, turn, found)
    turn.arm(Timer.SILENT, turn.now + wiring.rules.unknown_input_ms * MS // SILENT_LOOKS)


def raise_level(turn: Turn[KillState], command: risk.RaiseKill, wait_ns: int) -> None:
    """Put the higher level in force at once, under a new epoch; a lowering under way is overtaken.

    The reason of the level in force stays where less is asked for: whoever lowers it must find its cause.
    """
    state, overtaken = turn.state, turn.state.lowering
    if command.level >= state.level:
        state.reason, state.by = command.reason, command.by
    state.level = raised(state.level, command.level)
    state.epoch += 1
    state.in_force_epoch = state.epoch
    state.lowering = None
    announce(turn)
    record(turn, state.level, state.reason, state.by, wait_ns)
    confirm(turn, command.command_id)
    if overtaken is not None:
        detail = f"The level was raised meanwhile: {command.reason}."
        deny(turn, overtaken.command, LoweringRefused.OVERTAKEN, detail)


def request_lowering(turn: Turn[KillState], command: risk.LowerKill, wait_ns: int) -> None:
    """Have the lower level recorded under a new epoch; it is in force when the record is."""
    state = turn.state
    if state.lowering is not None:
        if state.lowering.withdrawn_epoch is not None:  # its row may have been lost with the ledger: asked once more
            record(turn, state.level, state.reason, state.by, wait_ns)
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
    """Let a lowering come into force, if it is still wanted; or say that it will not, when that is durable."""
    state = turn.state
    forget_record(state, epoch)
    turn.disarm(Timer.RECORD, str(epoch))
    lowering = state.lowering
    if lowering is not None and lowering.withdrawn_epoch == epoch:
        state.lowering = None
        deny(turn, lowering.command, LoweringRefused.LEDGER_SILENT, "The ledger did not record it; nothing changed.")
        return
    if lowering is None or lowering.epoch != epoch or lowering.withdrawn_epoch is not None:
        return
    command = lowering.command
    state.level, state.reason, state.by = command.level, command.reason, command.by
    state.in_force_epoch = epoch
    state.lowering = None
    lowered = risk.KillLowered(
        level=command.level, kill_epoch=epoch, reason=command.reason, by=command.by, desk=desk_of(turn.name)
    )  # fmt: skip
    turn.publish(lowered)
    confirm(turn, command.command_id)


def on_record_overdue(turn: Turn[KillState], epoch: int, wait_ns: int, fired: lifecycle.TimerFired) -> None:
    """Answer a ledger that stays silent: a lowering is given up (and overwritten), a raise stands unrecorded.

    On a busy machine it has more time, which is told.
    """
    state, waited_ms = turn.state, wait_ns // MS
    if epoch not in state.unrecorded:
        return
    if more_ms := excused_ms(fired.starved_ms, waited_ms, fired.excused_ms):
        turn.arm(Timer.RECORD, turn.now + more_ms * MS, str(epoch), fired.excused_ms + more_ms)
        busy = busy_text(fired.starved_ms, waited_ms)
        text = f"The ledger did not record kill level {state.level} (epoch {epoch}) in time, but {busy}."
        turn.publish(operator.Alarm(key="machine_busy", severity=Severity.WARNING, text=text, at_utc=turn.now))
        return
    forget_record(state, epoch)
    text = f"The kill level {state.level} could not be recorded in time (epoch {epoch}); check the ledger."
    turn.publish(operator.Alarm(key="kill_unrecorded", severity=Severity.HIGH, text=text, at_utc=turn.now))
    if state.lowering is None or state.lowering.epoch != epoch:
        return
    # The record may yet be written: the level in force is recorded behind it under a newer epoch.
    state.epoch += 1
    state.in_force_epoch = state.epoch
    state.lowering = msgspec.structs.replace(state.lowering, withdrawn_epoch=state.epoch)
    turn.publish(in_force(turn))
    record(turn, state.level, state.reason, state.by, wait_ns)


# -- what is told -------------------------------------------------------------------------------


def desk_of(name: str) -> str:
    """Return whose level it is: the desk of `kill:<desk>`; empty: the process's."""
    return name.partition(":")[2]


def in_force(turn: Turn[KillState]) -> risk.KillRaised | risk.KillLowered:
    """Return the event that tells the level in force."""
    state = turn.state
    kind = risk.KillLowered if state.level is KillLevel.RUNNING else risk.KillRaised
    return kind(
        level=state.level, kill_epoch=state.in_force_epoch, reason=state.reason, by=state.by, desk=desk_of(turn.name)
    )


def announce(turn: Turn[KillState], *, is_restored: bool = False) -> None:
    """Publish the level in force, and have everything closed where it is level 2."""
    event = in_force(turn)
    if is_restored and isinstance(event, risk.KillRaised):
        event = msgspec.structs.replace(event, is_restored=True)
    turn.publish(event)
    if turn.state.level is KillLevel.FLATTEN:
        turn.tell("positions", positions.FlattenPosition(reason=ExitReason.KILL))


def record(turn: Turn[KillState], level: KillLevel, reason: str, by: str, wait_ns: int) -> None:
    """Have a level recorded under the newest epoch, and wait for the ledger's answer."""
    epoch = turn.state.epoch
    turn.state.unrecorded = (*turn.state.unrecorded, epoch)
    row = risk.RecordKill(
        level=level, kill_epoch=epoch, reason=reason, by=by, at_utc=turn.now, desk=desk_of(turn.name)
    )  # fmt: skip
    turn.tell("ledger", row)
    turn.arm(Timer.RECORD, turn.now + wait_ns, str(epoch))


def forget_record(state: KillState, epoch: int) -> None:
    """Wait for the record of an epoch no longer."""
    state.unrecorded = tuple(n for n in state.unrecorded if n != epoch)


def confirm(turn: Turn[KillState], command_id: str | None) -> None:
    """Answer a person's command with the level in force; nobody waits where it is none."""
    if command_id is not None:
        desk = desk_of(turn.name)
        whose = f"Kill level of desk {desk}" if desk else "Kill level"
        detail = f"{whose} is {turn.state.level} (epoch {turn.state.in_force_epoch})."
        turn.report("operator", operator.CommandDone(command_id=command_id, detail=detail))


def deny(turn: Turn[KillState], command: risk.LowerKill, code: LoweringRefused, detail: str) -> None:
    """Answer a person's lowering that is not carried out."""
    if command.command_id is not None:
        turn.report("operator", operator.CommandDenied(command_id=command.command_id, code=code, detail=detail))
