"""`operator`: people's commands, once each by `command_id`, audited.

Hears Kill, Resume, Flatten from edges and CommandDone, CommandDenied from the owner; says RaiseKill, LowerKill to
`kill` and the answer to the edge. Raise and flatten go to the owner first and are recorded after; a resume is recorded
first.
A repeated id gets the old answer, or waits for it; after a restart of this actor old answers are not known, and only
the expiry of a command stops it from being carried out again (a raise twice is harmless, a resume names its level).
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.risk.kill import FLATTEN, NO_ENTRIES
from messages import lifecycle, operator, risk
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import Effects, Tell

KEPT = 200  # commands remembered; a person does not give more in a day
Answer = operator.CommandDone | operator.CommandDenied


class Command(msgspec.Struct, frozen=True):
    """One command: who waits for its answer, and the answer once there is one."""

    command_id: str
    name: str
    by: str
    reason: str
    waiting: tuple[str, ...]
    answer: Answer | None = None


class Commands(msgspec.Struct, frozen=True):
    """The commands remembered, oldest first."""

    commands: tuple[Command, ...] = ()


class OperatorActor(Actor[Commands]):
    """Carries commands to their owner and answers back."""

    def __init__(self, name: str, _settings: Settings) -> None:
        super().__init__(name)

    def initial(self) -> Commands:
        """Remember nothing."""
        return Commands()

    def decide(self, state: Commands, message: Message, now: int) -> tuple[Commands, Effects]:
        """Carry a command or an answer."""
        match message:
            case lifecycle.Started():
                return state, ()
            case operator.Kill() | operator.Resume() | operator.Flatten():
                return self._command(state, message, now)
            case operator.CommandDone() | operator.CommandDenied():
                return self._answer(state, message, now)
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def _command(
        self, state: Commands, m: operator.Kill | operator.Resume | operator.Flatten, now: int
    ) -> tuple[Commands, Effects]:
        known = next((c for c in state.commands if c.command_id == m.command_id), None)
        if known is not None and known.answer is not None:
            return state, (Tell(m.reply_to, known.answer),)
        if known is not None:
            waiting = (*known.waiting, *(() if m.reply_to in known.waiting else (m.reply_to,)))
            return _put(state, replace(known, waiting=waiting)), ()
        command = Command(m.command_id, type(m).__name__.lower(), m.by, m.reason, (m.reply_to,))
        if isinstance(m, operator.Resume) and now > m.expires_utc:  # a raise is never too late
            detail = "The command came after its expiry; look at the status and give it again."
            denied = operator.CommandDenied(command_id=m.command_id, code="expired", detail=detail)
            return self._answer(_put(state, command), denied, now)
        if isinstance(m, operator.Kill) and m.level not in (NO_ENTRIES, FLATTEN):
            detail = f"A kill raises the level to {NO_ENTRIES} or {FLATTEN}, not to {m.level}; use resume to lower it."
            denied = operator.CommandDenied(command_id=m.command_id, code="bad_level", detail=detail)
            return self._answer(_put(state, command), denied, now)
        return _put(state, command), _to_owner(m, command, now)

    def _answer(self, state: Commands, m: Answer, now: int) -> tuple[Commands, Effects]:
        command = next((c for c in state.commands if c.command_id == m.command_id), None)
        if command is None or command.answer is not None:
            return state, ()
        outcome = "done" if isinstance(m, operator.CommandDone) else m.code
        effects = (_record(command, outcome, now), *(Tell(to, m) for to in command.waiting))
        return _put(state, replace(command, waiting=(), answer=m)), effects


def _to_owner(m: operator.Kill | operator.Resume | operator.Flatten, command: Command, now: int) -> Effects:
    match m:
        case operator.Resume():
            lower = risk.LowerKill(
                level=m.level, reason=m.reason, by=m.by, expected_epoch=m.expected_epoch, command_id=m.command_id
            )
            return _record(command, "asked", now), Tell("kill", lower)
        case operator.Kill(level=level):
            wanted = level
        case operator.Flatten():
            wanted = FLATTEN
    raise_kill = risk.RaiseKill(level=wanted, reason=m.reason, by=m.by, command_id=m.command_id)
    return Tell("kill", raise_kill), _record(command, "asked", now)


def _record(command: Command, outcome: str, now: int) -> Tell:
    record = operator.RecordCommand(
        command_id=command.command_id,
        name=command.name,
        by=command.by,
        reason=command.reason,
        outcome=outcome,
        at_utc=now,
    )
    return Tell("ledger", record)


def _put(state: Commands, command: Command) -> Commands:
    others = tuple(c for c in state.commands if c.command_id != command.command_id)
    return Commands((*others, command)[-KEPT:])
