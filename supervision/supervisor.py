"""The supervisor: starts the tree, brings crashed actors back with what the ledger knows, counts, and escalates.

hears: Started, StateRead, ActorCrashed, ActorStuck, ActorNeeded, MessageSetAside
says:  ReadState -> ledgers, RaiseKill -> kill, Alarm -> notifier, ReconcileWanted -> ibkr; starts actors
state: restart instants per actor, who waits for its state
on crash: the runtime restarts it at once; it then starts only those who are not up (the runtime ignores the others)
"""

from __future__ import annotations

import msgspec

from config.settings import Supervision
from domain.instants import MS, session_of
from messages import lifecycle, operator, risk, session
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import Effect, Effects, EndProcess, FenceActor, LatchEntries, StartActor, Tell
from supervision.spec import Tree

_STUCK_RESTART = 5  # a message in hand for this many times `stuck_after_ms` costs the incarnation


class SupervisorState(msgspec.Struct, frozen=True):
    """Instants of recent crashes per actor, and the actors that are given up."""

    crashes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    given_up: tuple[str, ...] = ()
    is_started: bool = False


class SupervisorActor(Actor[SupervisorState]):
    """One for one: addresses are names and state comes back from the ledger, so no child needs its siblings."""

    def __init__(self, name: str, tree: Tree, rules: Supervision, rate: float) -> None:
        super().__init__(name)
        self._tree = tree
        self._rules = rules
        self._window_ns = round(rules.restarts_window_ms * rate) * MS

    def initial(self) -> SupervisorState:
        """Nobody has crashed."""
        return SupervisorState()

    def decide(self, state: SupervisorState, message: Message, now: int) -> tuple[SupervisorState, Effects]:
        """Start, restart, give up."""
        match message:
            case lifecycle.Started():
                return self._start_all(state, message, now)
            case lifecycle.StateRead():
                return state, self._state_read(message, now)
            case lifecycle.ActorNeeded():
                return state, self._begin(message.name, now)
            case lifecycle.ActorCrashed():
                return self._crashed(state, message.name, message.error, now)
            case lifecycle.ActorStuck():
                return self._stuck(state, message, now)
            case lifecycle.MessageSetAside():
                return state, self._set_aside(message, now)
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    def _start_all(
        self, state: SupervisorState, message: lifecycle.Started, now: int
    ) -> tuple[SupervisorState, Effects]:
        if message.incarnation > 1:
            return msgspec.structs.replace(state, is_started=True), ()
        effects: list[Effect] = []
        for spec in self._tree.children:
            if spec.name != self.name:
                effects += self._begin(spec.name, now)
        for ledger, name in self._tree.seeds:
            read = lifecycle.ReadState(name=name, reply_to=self.name, session=session_of(now))
            effects.append(Tell(ledger, read))
        return msgspec.structs.replace(state, is_started=True), tuple(effects)

    def _begin(self, name: str, now: int) -> Effects:
        spec = self._tree.child(name)
        if spec.restore_from is None:
            return (StartActor(name, None),)
        read = lifecycle.ReadState(name=name, reply_to=self.name, session=session_of(now))
        return (Tell(spec.restore_from, read),)

    def _state_read(self, message: lifecycle.StateRead, now: int) -> Effects:
        if isinstance(message.restored, lifecycle.DaySoFar):
            desk = message.name.partition(":")[2]
            effects: list[Effect] = []
            for con_id in message.restored.con_ids:
                effects += self._begin(f"position:{desk}:{con_id}", now)
            return tuple(effects)
        return (StartActor(message.name, message.restored),)

    def _crashed(self, state: SupervisorState, name: str, error: str, now: int) -> tuple[SupervisorState, Effects]:
        recent = dict(state.crashes)
        instants = (*(at for at in recent.get(name, ()) if at > now - self._window_ns), now)
        recent[name] = instants
        state = msgspec.structs.replace(state, crashes=tuple(sorted(recent.items())))
        if len(instants) <= self._rules.restarts_max:
            return state, self._begin(name, now)
        why = f"{name} crashed {len(instants)} times in {self._rules.restarts_window_ms / 1000:.0f} s"
        effects: tuple[Effect, ...] = (
            Tell("kill", risk.RaiseKill(level=1, reason=why, by="supervisor")),
            self._alarm(f"budget:{name}", why, now),
        )
        if self._is_vital(name):
            effects += (LatchEntries(why), EndProcess(why))
        given_up = (*state.given_up, name) if name not in state.given_up else state.given_up
        return msgspec.structs.replace(state, given_up=given_up), effects

    def _is_vital(self, name: str) -> bool:
        spec = self._tree.child(name)
        return spec.is_vital or name.startswith(("ledger", "position:", "risk:"))

    def _stuck(
        self, state: SupervisorState, message: lifecycle.ActorStuck, now: int
    ) -> tuple[SupervisorState, Effects]:
        text = f"{message.name} has had {message.tag} in hand for {message.for_ms} ms"
        alarm = self._alarm(f"stuck:{message.name}", text, now)
        if message.for_ms < _STUCK_RESTART * self._rules.stuck_after_ms:
            return state, (alarm,)
        state, effects = self._crashed(state, message.name, text, now)
        return state, (alarm, FenceActor(message.name), *effects)

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
