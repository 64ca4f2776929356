"""The supervisor: starts the tree, brings crashed actors back with what the ledger knows, counts, and escalates.

State: recent crashes, who waits for its state, who is paused, who was made on demand. After a crash the runtime
restarts it at once and tells it (`StartActor`) of everybody who is not up.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import msgspec

from config.tree import Supervision
from domain.alarm import Severity
from domain.instants import MS, SECOND, session_of
from domain.starved import busy_text, excused_ms
from domain.units import Utc
from messages.lifecycle import (
    ActorCrashed,
    ActorFreed,
    ActorRetired,
    ActorStuck,
    MessageDeadLettered,
    RequestState,
    StartActor,
    Started,
    StateRead,
    TimerFired,
)
from messages.operator import Alarm
from messages.restored import ActorsRestored
from supervision.actor import Actor
from supervision.effects import EndProcess, FenceActor, SetLatch, StartIncarnation
from supervision.spec import Halt, Tree
from supervision.stuck import restart_after_ms
from supervision.turn import Turn

Inbox = (
    Started
    | StateRead
    | TimerFired
    | StartActor
    | ActorCrashed
    | ActorFreed
    | ActorRetired
    | ActorStuck
    | MessageDeadLettered
)

_PAUSE_MIN_NS, _PAUSE_MAX_NS = 2 * SECOND, 30 * SECOND  # before an actor whose budget is spent is started again
_LAST_WORDS_NS = SECOND  # what others have to record before the process ends
_ALARM_TAG = str(Alarm.__struct_config__.tag)


class Timer(StrEnum):
    """What the supervisor waits for; the subject is an actor's name, of `END` the reason."""

    READ_AGAIN = "read_again"  # the ledger has not said in time what it knows of the actor
    PAUSE = "pause"  # an actor whose budget is spent may be started again
    END = "end"  # the process ends


class Crash(msgspec.Struct, frozen=True):
    """When an actor crashed."""

    name: str
    at_utc: Utc


class Awaited(msgspec.Struct, frozen=True):
    """Who waits for the answer to which `RequestState`."""

    name: str
    read_n: int


class Paused(msgspec.Struct, frozen=True):
    """An actor whose budget is spent: how often it was paused, and whether it waits for its pause to end."""

    name: str
    count: int
    is_waiting: bool


class SupervisorState(msgspec.Struct):
    """Crashes within the budget's window, oldest first; who waits for its state; who is paused; who lives on demand."""

    crashes: tuple[Crash, ...] = ()
    awaited: tuple[Awaited, ...] = ()
    read_n: int = 0
    paused: tuple[Paused, ...] = ()
    on_demand: tuple[str, ...] = ()


class SupervisorActor(Actor[SupervisorState, Inbox]):
    """One for one: addresses are names and state comes back from the ledger, so no child needs its siblings."""

    weighs = frozenset((Timer.READ_AGAIN,))

    def __init__(self, name: str, tree: Tree, rules: Supervision) -> None:
        super().__init__(name)
        self._tree = tree
        self._rules = rules
        self._window_ns = rules.restarts_window_ms * MS
        self._read_again_ns = rules.stuck_after_ms * MS
        self._rosters = {roster: ledger for ledger, roster in tree.rosters}

    def initial(self) -> SupervisorState:
        """Return the state in which nobody has crashed."""
        return SupervisorState()

    def decide(self, turn: Turn[SupervisorState], message: Inbox) -> None:
        """Start, restart, give up."""
        match message:
            case Started():
                if message.incarnation == 1:  # later ones hear from the runtime who is not up
                    self._start_all(turn)
            case StateRead():
                self._on_state_read(turn, message)
            case TimerFired():
                match Timer(message.kind):
                    case Timer.READ_AGAIN:
                        self._read_again(turn, message.subject, message)
                    case Timer.PAUSE:
                        self._after_pause(turn, message.subject)
                    case Timer.END:
                        turn.effects.append(EndProcess(message.subject))
                    case unknown:
                        assert_never(unknown)
            case StartActor():
                self._begin(turn, message.name)
            case ActorCrashed():
                self._on_crash(turn, message.name)
            case ActorRetired():
                turn.state.on_demand = tuple(name for name in turn.state.on_demand if name != message.name)
            case ActorStuck():
                self._on_stuck(turn, message)
            case ActorFreed():
                text = f"{message.name} goes on: the message that kept it busy is done with."
                _alarm(turn, f"stuck:{message.name}", text, Severity.INFO)
            case MessageDeadLettered():
                self._on_dead_letter(turn, message)
            case _:
                assert_never(message)

    # -- starting -------------------------------------------------------------------------------

    def _start_all(self, turn: Turn[SupervisorState]) -> None:
        for spec in self._tree.children:
            if spec.name != self.name:
                self._begin(turn, spec.name)
        for roster in self._rosters:
            self._begin(turn, roster)

    def _begin(self, turn: Turn[SupervisorState], name: str) -> None:
        """Start an actor: at once where nothing is to be restored, else when its ledger has answered."""
        state = turn.state
        if any(paused.name == name and paused.is_waiting for paused in state.paused):
            return
        if self._tree.is_on_demand(name) and name not in state.on_demand:
            state.on_demand = (*state.on_demand, name)
        ledger = self._ledger_of(name)
        if ledger is None:
            turn.effects.append(StartIncarnation(name, None))
        elif all(name != awaited.name for awaited in state.awaited):
            # Otherwise it has not run since that question was put, so the answer will not be too old.
            self._read(turn, name, ledger)

    def _ledger_of(self, name: str) -> str | None:
        return self._rosters.get(name) or self._tree.child(name).restore_from

    def _read(self, turn: Turn[SupervisorState], name: str, ledger: str) -> None:
        state = turn.state
        state.read_n += 1
        state.awaited = (*_without(state.awaited, name), Awaited(name, state.read_n))
        session = session_of(turn.now)
        turn.tell(ledger, RequestState(name=name, reply_to=self.name, session=session, read_n=state.read_n))
        turn.arm(Timer.READ_AGAIN, turn.now + self._read_again_ns, name)

    def _read_again(self, turn: Turn[SupervisorState], name: str, fired: TimerFired) -> None:
        """Ask a ledger once more that stays silent; on a busy machine it has more time for the answer under way."""
        ledger, waited_ms = self._ledger_of(name), self._rules.stuck_after_ms
        if ledger is None or all(name != awaited.name for awaited in turn.state.awaited):
            return
        if more_ms := excused_ms(fired.starved_ms, waited_ms, fired.excused_ms):
            turn.arm(Timer.READ_AGAIN, turn.now + more_ms * MS, name, fired.excused_ms + more_ms)
            text = f"{ledger} has not said what it knows of {name}, but {busy_text(fired.starved_ms, waited_ms)}."
            _alarm(turn, "machine_busy", text, Severity.WARNING)
            return
        self._read(turn, name, ledger)
        _alarm(turn, f"read:{name}", f"{ledger} has not said what it knows of {name}")

    def _on_state_read(self, turn: Turn[SupervisorState], message: StateRead) -> None:
        if Awaited(message.name, message.read_n) not in turn.state.awaited:
            return  # the answer to an older question: the actor may have run since
        turn.state.awaited = _without(turn.state.awaited, message.name)
        turn.disarm(Timer.READ_AGAIN, message.name)
        if not isinstance(message.restored, ActorsRestored):
            turn.effects.append(StartIncarnation(message.name, message.restored))
            return
        for name in message.restored.names:
            self._begin(turn, name)

    # -- what goes wrong ------------------------------------------------------------------------

    def _on_crash(self, turn: Turn[SupervisorState], name: str) -> None:
        state, now = turn.state, turn.now
        recent = (crash for crash in state.crashes if crash.at_utc > now - self._window_ns)
        state.crashes = (*recent, Crash(name, now))
        count = sum(crash.name == name for crash in state.crashes)
        policy = self._tree.child(name).policy
        if policy.latch_on_crash:  # the latch stops entries at the port; the level says so at the first gate
            self._halt(turn, f"{name} crashed", subject=name)
        if count <= self._rules.restarts_max:
            self._begin(turn, name)
            return
        why = f"{name} crashed {count} times in {self._rules.restarts_window_ms / 1000:.0f} s"
        self._halt(turn, why, subject=name)
        _alarm(turn, f"budget:{name}", why)
        if policy.end_on_spent_budget and not state.on_demand:
            turn.effects.append(SetLatch(why))
            turn.arm(Timer.END, now + _LAST_WORDS_NS, why)
        else:
            self._pause(turn, name)

    def _pause(self, turn: Turn[SupervisorState], name: str) -> None:
        state = turn.state
        count = next((paused.count for paused in state.paused if paused.name == name), 0) + 1
        state.paused = (*(paused for paused in state.paused if paused.name != name), Paused(name, count, True))
        state.crashes = tuple(crash for crash in state.crashes if crash.name != name)
        turn.arm(Timer.PAUSE, turn.now + min(_PAUSE_MIN_NS << (count - 1), _PAUSE_MAX_NS), name)

    def _after_pause(self, turn: Turn[SupervisorState], name: str) -> None:
        turn.state.paused = tuple(
            Paused(name, paused.count, False) if paused.name == name else paused for paused in turn.state.paused
        )
        self._begin(turn, name)

    def _on_stuck(self, turn: Turn[SupervisorState], message: ActorStuck) -> None:
        restart_ms = restart_after_ms(message.tag, self._rules.stuck_after_ms)
        what = f"{message.name} has been busy with one message ({message.tag}) for {message.for_ms / 1000:.0f} s"
        remedy = "the machine is overloaded, or its disk is slow: relieve it"
        again = f"after {restart_ms / 1000:.0f} s it is started again"
        _alarm(turn, f"stuck:{message.name}", f"{what}: {remedy}; {again}.")
        if message.for_ms >= restart_ms:
            turn.effects.append(FenceActor(message.name, message.incarnation, message.message_id))

    def _on_dead_letter(self, turn: Turn[SupervisorState], message: MessageDeadLettered) -> None:
        text = f"{message.name} cannot handle {message.tag} ({message.message_id}): {message.why}"
        if message.tag != _ALARM_TAG:  # whoever cannot handle one alarm must not be sent another about it
            _alarm(turn, f"dead_letter:{message.name}", text)
        if message.is_vital:
            self._halt(turn, text, is_vital_loss=True, is_stop_lost=message.is_stop_lost, subject=message.name)

    def _halt(
        self, turn: Turn[SupervisorState], reason: str, is_vital_loss: bool = False, is_stop_lost: bool = False,
        subject: str = "",
    ) -> None:  # fmt: skip
        turn.effects += self._tree.on_halt(Halt(self.name, reason, is_vital_loss, is_stop_lost, subject))


def _without(awaited: tuple[Awaited, ...], name: str) -> tuple[Awaited, ...]:
    return tuple(one for one in awaited if one.name != name)


def _alarm(turn: Turn[SupervisorState], key: str, text: str, severity: Severity = Severity.HIGH) -> None:
    turn.publish(Alarm(key=key, severity=severity, text=text, at_utc=turn.now))
