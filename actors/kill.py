"""`kill`: the level that stops entries (1) or flattens everything (2), and the epoch that voids older permits.

Hears RaiseKill, LowerKill, KillWanted, KillRecorded; says KillRaised, KillLowered, FlattenPosition, RecordKill and, for
an operator's command, CommandDone or CommandDenied. A raise is in force first and durable after; a lowering is durable
first. Starts at the level that the ledger gives back, and at 1 where it gives none. One desk: the global level is the
account's.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.instants import MS
from domain.position.cycle import ExitReason
from domain.risk.kill import FLATTEN, NO_ENTRIES, RUNNING, lowering_refusal, raised
from messages import lifecycle, market, operator, positions, risk
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import CancelTimer, Effect, Effects, SetTimer, Tell

TOLD = ("risk", "ibkr", "positions", "notifier", "web")
RECORD_TIMER = "record:"


class Kill(msgspec.Struct, frozen=True):
    """The level in force; `epoch` is the highest number given out, `in_force_epoch` that of the level in force.

    `lowering` waits for its record; `unrecorded` are epochs whose record has not been confirmed.
    """

    level: int = NO_ENTRIES
    epoch: int = 0
    in_force_epoch: int = 0
    reason: str = "not started"
    by: str = "kill"
    lowering: risk.LowerKill | None = None
    lowering_epoch: int = 0
    unrecorded: tuple[int, ...] = ()


class KillActor(Actor[Kill]):
    """Keeps the kill level; anybody may raise it, only a person lowers it."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._wait_ns = settings.exits.record_wait_ms * MS

    def initial(self) -> Kill:
        """Allow no entries before `Started`."""
        return Kill()

    def decide(self, state: Kill, message: Message, now: int) -> tuple[Kill, Effects]:
        """Give the next level and who must hear of it."""
        match message:
            case lifecycle.Started():
                return self._started(state, message)
            case risk.RaiseKill():
                return self._raise(state, message, now)
            case risk.LowerKill():
                return self._lower(state, message, now)
            case risk.KillRecorded():
                return self._recorded(state, message.kill_epoch)
            case risk.KillWanted():
                return state, (Tell(message.reply_to, _in_force(state)),)
            case lifecycle.TimerFired():
                return self._unrecorded(state, int(message.key.removeprefix(RECORD_TIMER)), now)
            case market.BucketNotStored():
                reason = f"market data cannot be kept: {message.why}"
                return self._raise(state, risk.RaiseKill(level=NO_ENTRIES, reason=reason, by=message.hub), now)
            case positions.PositionDisputed():
                reason = f"position disputed: {message.why}"
                return self._raise(state, risk.RaiseKill(level=NO_ENTRIES, reason=reason, by=message.position_id), now)
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def _started(self, state: Kill, m: lifecycle.Started) -> tuple[Kill, Effects]:
        restored = m.restored
        if isinstance(restored, lifecycle.KillRestored):
            epoch = restored.kill_epoch
            state = Kill(restored.level, epoch, epoch, restored.reason, restored.by)
        else:
            state = replace(state, reason="the ledger gave no kill level back")
        effects: Effects = tuple(Tell(to, _in_force(state)) for to in TOLD)
        if state.level == FLATTEN:
            effects += (Tell("positions", positions.FlattenPosition(reason=ExitReason.KILL)),)
        return state, effects

    def _raise(self, state: Kill, m: risk.RaiseKill, now: int) -> tuple[Kill, Effects]:
        """Put the higher level in force at once, under a new epoch; a lowering under way is overtaken."""
        overtaken, epoch = state.lowering, state.epoch + 1
        state = replace(
            state,
            level=raised(state.level, m.level),
            epoch=epoch,
            in_force_epoch=epoch,
            reason=m.reason,
            by=m.by,
            lowering=None,
        )
        effects: list[Effect] = [Tell(to, _in_force(state)) for to in TOLD]
        if state.level == FLATTEN:
            effects.append(Tell("positions", positions.FlattenPosition(reason=ExitReason.KILL)))
        state, record = self._record(state, state.level, m.reason, m.by, now)
        effects += record
        if m.command_id is not None:
            detail = f"Kill level is {state.level} (epoch {epoch})."
            effects.append(Tell("operator", operator.CommandDone(command_id=m.command_id, detail=detail)))
        return state, (*effects, *_denied(overtaken, "overtaken", f"The level was raised meanwhile: {m.reason}."))

    def _lower(self, state: Kill, m: risk.LowerKill, now: int) -> tuple[Kill, Effects]:
        if state.lowering is not None:
            return state, _denied(m, "busy", "Another lowering waits for its record; try again.")
        why = lowering_refusal(state.level, m.level, state.in_force_epoch, m.expected_epoch, m.by, m.reason)
        if why:
            detail = f"Kill level is {state.level} (epoch {state.in_force_epoch}); asked for {m.level}."
            return state, _denied(m, why, detail)
        epoch = state.epoch + 1
        state = replace(state, epoch=epoch, lowering=m, lowering_epoch=epoch)
        return self._record(state, m.level, m.reason, m.by, now)

    def _record(self, state: Kill, level: int, reason: str, by: str, now: int) -> tuple[Kill, Effects]:
        record = risk.RecordKill(level=level, kill_epoch=state.epoch, reason=reason, by=by, at_utc=now)
        state = replace(state, unrecorded=(*state.unrecorded, state.epoch))
        return state, (Tell("ledger", record), SetTimer(f"{RECORD_TIMER}{state.epoch}", now + self._wait_ns))

    def _recorded(self, state: Kill, epoch: int) -> tuple[Kill, Effects]:
        """Let a lowering come into force, if it is still wanted."""
        state = replace(state, unrecorded=tuple(n for n in state.unrecorded if n != epoch))
        effects: list[Effect] = [CancelTimer(f"{RECORD_TIMER}{epoch}")]
        m = state.lowering
        if m is None or state.lowering_epoch != epoch:
            return state, tuple(effects)
        state = replace(
            state, level=m.level, in_force_epoch=epoch, reason=m.reason, by=m.by, lowering=None, lowering_epoch=0
        )
        lowered = risk.KillLowered(level=m.level, kill_epoch=epoch, reason=m.reason, by=m.by)
        effects += [Tell(to, lowered) for to in TOLD]
        if m.command_id is not None:
            detail = f"Kill level is {m.level} (epoch {epoch})."
            effects.append(Tell("operator", operator.CommandDone(command_id=m.command_id, detail=detail)))
        return state, tuple(effects)

    def _unrecorded(self, state: Kill, epoch: int, now: int) -> tuple[Kill, Effects]:
        """Answer a ledger that stays silent: a lowering is given up (and overwritten), a raise stands unrecorded."""
        if epoch not in state.unrecorded:
            return state, ()
        state = replace(state, unrecorded=tuple(n for n in state.unrecorded if n != epoch))
        text = f"The kill level {state.level} could not be recorded in time (epoch {epoch}); check the ledger."
        alarm = operator.Alarm(key="kill_unrecorded", severity="high", text=text, at_utc=now)
        effects: Effects = (Tell("notifier", alarm), Tell("web", alarm))
        m = state.lowering
        if m is None or state.lowering_epoch != epoch:
            return state, effects
        # The record may yet be written: the level in force is recorded behind it under a newer epoch.
        again = state.epoch + 1
        state = replace(state, lowering=None, lowering_epoch=0, epoch=again, in_force_epoch=again)
        effects += tuple(Tell(to, _in_force(state)) for to in TOLD)
        state, record = self._record(state, state.level, state.reason, state.by, now)
        return state, (
            *effects,
            *record,
            *_denied(m, "ledger_silent", "The ledger did not record it; nothing changed."),
        )


def _in_force(state: Kill) -> risk.KillRaised | risk.KillLowered:
    said = risk.KillLowered if state.level == RUNNING else risk.KillRaised
    return said(level=state.level, kill_epoch=state.in_force_epoch, reason=state.reason, by=state.by)


def _denied(m: risk.LowerKill | None, code: str, detail: str) -> Effects:
    if m is None or m.command_id is None:
        return ()
    return (Tell("operator", operator.CommandDenied(command_id=m.command_id, code=code, detail=detail)),)
