"""The supervisor: starts the tree, brings crashed actors back with what the ledger knows, counts, and escalates.

hears: Started, StateRead, ActorCrashed, ActorStuck, ActorNeeded, MessageSetAside, TimerFired
says:  ReadState -> ledgers, RaiseKill -> kill, Alarm -> notifier, ReconcileWanted -> ibkr; starts and fences actors
state: restart instants per actor, who waits for its state, who was given up
on crash: the runtime restarts it at once and tells it (ActorNeeded) of everybody who is not up
"""

from __future__ import annotations

import msgspec

from config.settings import Supervision
from domain.instants import MS, session_of
from messages import lifecycle, operator, risk, session
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import (
    CancelTimer,
    Effect,
    Effects,
    EndProcess,
    FenceActor,
    LatchEntries,
    SetTimer,
    StartActor,
    Tell,
)
from supervision.spec import Tree

_STUCK_RESTART = 5  # a message in hand for this many times `stuck_after_ms` costs the incarnation


class SupervisorState(msgspec.Struct, frozen=True):
    """Instants of recent crashes per actor; who waits for an answer to which `ReadState`; who is given up."""

    crashes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    awaited: tuple[tuple[str, int], ...] = ()
    read_n: int = 0
    given_up: tuple[str, ...] = ()


Step = tuple[SupervisorState, Effects]


class SupervisorActor(Actor[SupervisorState]):
    """One for one: addresses are names and state comes back from the ledger, so no child needs its siblings."""

    def __init__(self, name: str, tree: Tree, rules: Supervision, rate: float) -> None:
        super().__init__(name)
        self._tree = tree
        self._rules = rules
        self._window_ns = round(rules.restarts_window_ms * rate) * MS
        self._read_again_ns = round(rules.stuck_after_ms * rate) * MS
        self._seeds = {state_name: ledger for ledger, state_name in tree.seeds}

    def initial(self) -> SupervisorState:
        """Nobody has crashed."""
        return SupervisorState()

    def decide(self, state: SupervisorState, message: Message, now: int) -> Step:
        """Start, restart, give up."""
        match message:
            case lifecycle.Started():
                return self._start_all(state, message, now)
            case lifecycle.StateRead():
                return self._state_read(state, message, now)
            case lifecycle.TimerFired():
                return self._read_again(state, message.key, now)
            case lifecycle.ActorNeeded():
                return self._begin(state, message.name, now)
            case lifecycle.ActorCrashed():
                return self._crashed(state, message.name, now)
            case lifecycle.ActorStuck():
                return state, self._stuck(message, now)
            case lifecycle.MessageSetAside():
                return state, self._set_aside(message, now)
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def _start_all(self, state: SupervisorState, message: lifecycle.Started, now: int) -> Step:
        if message.incarnation > 1:
            return state, ()
        effects: list[Effect] = []
        for name in (*(spec.name for spec in self._tree.children if spec.name != self.name), *self._seeds):
            state, more = self._begin(state, name, now)
            effects += more
        return state, tuple(effects)

    def _begin(self, state: SupervisorState, name: str, now: int) -> Step:
        """Start an actor: at once where nothing is to be restored, else when its ledger has answered."""
        if name in state.given_up:
            return state, ()
        ledger = self._seeds.get(name) or self._tree.child(name).restore_from
        if ledger is None:
            return state, (StartActor(name, None),)
        awaited = dict(state.awaited)
        if name in awaited:
            return state, ()  # it has not run since that question was put, so the answer will not be too old
        return self._read(state, name, ledger, now)

    def _read(self, state: SupervisorState, name: str, ledger: str, now: int) -> Step:
        n = state.read_n + 1
        awaited = tuple(sorted({**dict(state.awaited), name: n}.items()))
        read = lifecycle.ReadState(name=name, reply_to=self.name, session=session_of(now), read_n=n)
        state = msgspec.structs.replace(state, awaited=awaited, read_n=n)
        return state, (Tell(ledger, read), SetTimer(f"read:{name}", now + self._read_again_ns))

    def _read_again(self, state: SupervisorState, key: str, now: int) -> Step:
        name = key.removeprefix("read:")
        ledger = self._seeds.get(name) or self._tree.child(name).restore_from
        if ledger is None or name not in dict(state.awaited):
            return state, ()
        state, effects = self._read(state, name, ledger, now)
        return state, (*effects, self._alarm(f"read:{name}", f"{ledger} has not said what it knows of {name}", now))

    def _state_read(self, state: SupervisorState, message: lifecycle.StateRead, now: int) -> Step:
        awaited = dict(state.awaited)
        if awaited.get(message.name) != message.read_n:
            return state, ()  # the answer to an older question: the actor may have run since
        del awaited[message.name]
        state = msgspec.structs.replace(state, awaited=tuple(sorted(awaited.items())))
        effects: list[Effect] = [CancelTimer(f"read:{message.name}")]
        if not isinstance(message.restored, lifecycle.DaySoFar):
            return state, (*effects, StartActor(message.name, message.restored))
        desk = message.name.partition(":")[2]
        for con_id in message.restored.con_ids:
            state, more = self._begin(state, f"position:{desk}:{con_id}", now)
            effects += more
        return state, tuple(effects)

    def _crashed(self, state: SupervisorState, name: str, now: int) -> Step:
        recent = dict(state.crashes)
        instants = (*(at for at in recent.get(name, ()) if at > now - self._window_ns), now)
        recent[name] = instants
        state = msgspec.structs.replace(state, crashes=tuple(sorted(recent.items())))
        if len(instants) <= self._rules.restarts_max:
            return self._begin(state, name, now)
        why = f"{name} crashed {len(instants)} times in {self._rules.restarts_window_ms / 1000:.0f} s"
        effects: tuple[Effect, ...] = (
            Tell("kill", risk.RaiseKill(level=1, reason=why, by="supervisor")),
            self._alarm(f"budget:{name}", why, now),
        )
        if self._is_vital(name):
            effects += (LatchEntries(why), EndProcess(why))
        return msgspec.structs.replace(state, given_up=(*state.given_up, name)), effects

    def _is_vital(self, name: str) -> bool:
        spec = self._tree.child(name)
        return spec.is_vital or name.startswith(("ledger", "position:", "risk:"))

    def _stuck(self, message: lifecycle.ActorStuck, now: int) -> Effects:
        text = f"{message.name} has had {message.tag} in hand for {message.for_ms} ms"
        alarm = self._alarm(f"stuck:{message.name}", text, now)
        if message.for_ms < _STUCK_RESTART * self._rules.stuck_after_ms:
            return (alarm,)
        return (alarm, FenceActor(message.name, message.incarnation, message.message_id))

    def _set_aside(self, message: lifecycle.MessageSetAside, now: int) -> Effects:
        text = f"{message.name} cannot handle {message.tag} ({message.message_id}): {message.why}"
        alarm = self._alarm(f"aside:{message.name}", text, now)
        if not message.is_vital:
            return (alarm,)
        return (
            alarm,
            Tell("kill", risk.RaiseKill(level=1, reason=text, by="supervisor")),
            Tell("ibkr", session.ReconcileWanted(why=text)),
        )

    def _alarm(self, key: str, text: str, now: int) -> Tell:
        return Tell("notifier", operator.Alarm(key=key, severity="high", text=text, at_utc=now))
