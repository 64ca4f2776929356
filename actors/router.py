"""`router`: which desk trades which strategy where a process has several desks, and the switch from one to another.

A route in force is the newest on record, where the settings still allow it, else that of the settings. What is not
known trades nowhere: a ledger that cannot be read, a recorded desk that is no more allowed. One switch at a time; the
desks answer it (`actors/risk/routing.py`), nothing is in force that is not durable, and none is said not to have
happened that a restart could find on record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from config.desks import allowed_at, traded_at
from config.settings import Settings
from domain.alarm import Severity
from domain.instants import SECOND
from domain.session.desk_switch import (
    SWITCHES,
    Refusal,
    SwitchEvent,
    SwitchRefused,
    SwitchState,
    refusal_of,
    switched,
)
from messages import desks, lifecycle, operator
from messages.restored import RoutesRestored
from supervision.actor import Actor
from supervision.turn import Turn

ANSWER_NS: Final = 60 * SECOND  # market time for a whole stage: a read-back is allowed 20 s

Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | desks.SwitchStrategy
    | desks.StrategyHeld
    | desks.RequestRoutes
    | desks.RouteRecorded
)


class Timer(StrEnum):
    """What the router waits for."""

    ANSWER = "answer"  # the switch's number: a desk or the ledger has not answered in time


class Switching(msgspec.Struct, frozen=True):
    """A switch under way; `awaited` are the desks whose answer is due in this stage."""

    n: int
    command: desks.SwitchStrategy
    state: SwitchState
    awaited: tuple[str, ...]

    @property
    def ends(self) -> tuple[str, ...]:
        """The desks at both ends; one where nobody trades the strategy now."""
        return tuple(desk for desk in (self.command.from_desk, self.command.to_desk) if desk)


class RouterState(msgspec.Struct):
    """The desks that trade each strategy; the switch under way, and how many there were in this incarnation."""

    routes: Mapping[str, tuple[str, ...]] = {}
    switch: Switching | None = None
    switch_n: int = 0


@dataclass(frozen=True, slots=True)
class Wiring:
    """What does not change: where each strategy trades at first, and where it may."""

    first: Mapping[str, tuple[str, ...]]
    allowed: Mapping[str, tuple[str, ...]]


class RouterActor(Actor[RouterState, Inbox]):
    """Tells every desk what it trades, and carries a person's switch."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        first = traded_at(settings)
        self._wiring = Wiring(first, {strategy: allowed_at(settings, strategy) for strategy in first})

    def initial(self) -> RouterState:
        """Return a state in which nobody trades anything."""
        return RouterState(dict.fromkeys(self._wiring.first, ()))

    def decide(self, turn: Turn[RouterState], message: Inbox) -> None:
        """Tell routes, or take a switch one step on."""
        match message:
            case lifecycle.Started():
                start(self._wiring, turn, message)
            case desks.RequestRoutes():
                for strategy in turn.state.routes:
                    turn.report(message.reply_to, route_of(turn.state, strategy))
            case desks.SwitchStrategy():
                begin(self._wiring, turn, message)
            case desks.StrategyHeld():
                on_held(turn, message)
            case desks.RouteRecorded():
                on_recorded(turn, message)
            case lifecycle.TimerFired():
                match Timer(message.kind):
                    case Timer.ANSWER:
                        on_overdue(turn, int(message.subject))
                    case never:
                        assert_never(never)
            case _:
                assert_never(message)


def start(wiring: Wiring, turn: Turn[RouterState], started: lifecycle.Started) -> None:
    """Put in force what is on record as far as the settings allow it; what is not known trades nowhere."""
    known = started.restored
    if not isinstance(known, RoutesRestored):
        text = "Which desk trades what cannot be read from the shared ledger: nothing is traded. Mend it, start anew."
        alarm(turn, "routes", text)
        return
    recorded = dict(known.routes)
    for strategy, first in wiring.first.items():
        route = recorded.get(strategy, first)
        strange = [desk for desk in route if desk not in wiring.allowed[strategy]]
        if strange:
            text = (
                f"{strategy} was switched to {', '.join(strange)}, which the settings no longer allow: nobody trades"
                f" it. Name the desk under strategies.{strategy}.switch_to, or switch it to another."
            )
            alarm(turn, f"route:{strategy}", text)
        turn.state.routes = {**turn.state.routes, strategy: () if strange else route}
    for strategy in turn.state.routes:
        turn.publish(route_of(turn.state, strategy))


def begin(wiring: Wiring, turn: Turn[RouterState], asked: desks.SwitchStrategy) -> None:
    """Have both ends hold the strategy and say whether it is flat, or say why not."""
    state, strategy = turn.state, asked.strategy
    trades = state.routes.get(strategy)
    if not asked.from_desk and trades is not None and len(trades) == 1:
        asked = replace(asked, from_desk=trades[0])
    refusal = refusal_of(
        strategy, asked.from_desk, asked.to_desk, trades, wiring.allowed.get(strategy, ())
    )  # fmt: skip
    if state.switch is not None:
        refusal = Refusal(SwitchRefused.BUSY, f"{state.switch.command.strategy} is being switched; try again after it.")
    if refusal is not None:
        deny(turn, asked.command_id, refusal)
        return
    state.switch_n += 1
    state.switch = Switching(state.switch_n, asked, SwitchState.HOLDING, ())
    ask(turn, reconciles=False)


def ask(turn: Turn[RouterState], *, reconciles: bool) -> None:
    """Ask both ends of the switch, and wait for each."""
    switch = turn.state.switch
    assert switch is not None
    turn.state.switch = replace(switch, awaited=switch.ends)
    for desk in switch.ends:
        hold = desks.HoldStrategy(switch_n=switch.n, strategy=switch.command.strategy, reconciles=reconciles)
        turn.tell(f"risk:{desk}", hold)
    turn.arm(Timer.ANSWER, turn.now + ANSWER_NS, str(switch.n))


def on_held(turn: Turn[RouterState], answer: desks.StrategyHeld) -> None:
    """Take one desk's answer: the next stage where both are flat and fit, else the old route again."""
    switch = turn.state.switch
    is_reconciling = switch is not None and switch.state is SwitchState.RECONCILING
    if switch is None or answer.switch_n != switch.n or answer.is_reconciled is not is_reconciling:
        return  # of an earlier switch, or stage
    if answer.desk not in switch.awaited:
        return
    strategy, is_target = switch.command.strategy, answer.desk == switch.command.to_desk
    if answer.held:
        detail = f"{strategy} is not flat at desk {answer.desk} ({answer.held}); nothing was changed."
        end(turn, SwitchEvent.NOT_FLAT, Refusal(SwitchRefused.NOT_FLAT, detail))
        return
    if answer.unfit and is_target:
        detail = f"Desk {answer.desk} may not trade ({answer.unfit}); nothing was changed."
        end(turn, SwitchEvent.NOT_FLAT, Refusal(SwitchRefused.UNFIT, detail))
        return
    left = tuple(desk for desk in switch.awaited if desk != answer.desk)
    if left:
        turn.state.switch = replace(switch, awaited=left)
        return
    after = SWITCHES.next(switch.state, SwitchEvent.ALL_FLAT)
    turn.state.switch = replace(switch, state=after, awaited=())
    if after is SwitchState.RECONCILING:
        ask(turn, reconciles=True)
        return
    command = switch.command
    row = desks.RecordRoute(
        command_id=command.command_id, strategy=strategy, desks=new_route(turn.state, command), by=command.by,
        reason=command.reason, at_utc=turn.now,
    )  # fmt: skip
    turn.tell("ledger", row)
    turn.arm(Timer.ANSWER, turn.now + ANSWER_NS, str(switch.n))


def on_recorded(turn: Turn[RouterState], recorded: desks.RouteRecorded) -> None:
    """Put the new route in force: it is durable; or say that the old one is, which was recorded behind it."""
    switch = turn.state.switch
    if switch is None:
        return
    command = switch.command
    if recorded.command_id == withdrawal_id(command):
        detail = "The ledger did not record it in time, so nothing was changed; look at the disk, then try again."
        end(turn, SwitchEvent.WITHDRAWN, Refusal(SwitchRefused.SILENT, detail))
        return
    if recorded.command_id != command.command_id:
        return
    if SWITCHES.next(switch.state, SwitchEvent.RECORDED) is not SwitchState.DONE:
        return
    turn.state.routes = {**turn.state.routes, command.strategy: new_route(turn.state, command)}
    finish(turn, switch)
    detail = (
        f"{command.strategy} trades at desk {command.to_desk} now"
        f"{f', no longer at {command.from_desk}' if command.from_desk else ''}; entries follow after the warm-up."
    )
    turn.report("operator", operator.CommandDone(command_id=command.command_id, detail=detail))


def on_overdue(turn: Turn[RouterState], switch_n: int) -> None:
    """Give a switch up that a desk has not answered; one that the ledger has not is taken back on record first."""
    switch = turn.state.switch
    if switch is None or switch.n != switch_n:
        return
    after = SWITCHES.next(switch.state, SwitchEvent.OVERDUE)
    if after is not SwitchState.WITHDRAWING:
        detail = (
            f"No answer of desk {' and desk '.join(switch.awaited)} in time, so nothing was changed; look at its"
            " session, then try again."
        )
        end(turn, SwitchEvent.OVERDUE, Refusal(SwitchRefused.SILENT, detail))
        return
    command = switch.command
    if switch.state is not after:
        text = (
            f"The ledger has not recorded the switch of {command.strategy} to desk {command.to_desk} in time: it is"
            f" taken back, and nobody trades {command.strategy} until that is on record. Look at the disk; should it"
            " stay so, start the supervisor again and look where it trades."
        )
        alarm(turn, f"route:{command.strategy}", text)
    turn.state.switch = replace(switch, state=after)
    withdraw(turn, switch)


def withdraw(turn: Turn[RouterState], switch: Switching) -> None:
    """Have the old route recorded behind the new one, which may be durable or not, and wait for that."""
    command = switch.command
    undone = desks.RecordRoute(
        command_id=withdrawal_id(command), strategy=command.strategy, desks=turn.state.routes[command.strategy],
        by=turn.name, reason=f"switch {command.command_id} was not recorded in time", at_utc=turn.now,
    )  # fmt: skip
    turn.tell("ledger", undone)
    turn.arm(Timer.ANSWER, turn.now + ANSWER_NS, str(switch.n))


def withdrawal_id(command: desks.SwitchStrategy) -> str:
    """Return under which id the old route is recorded again."""
    return f"{command.command_id}-withdrawn"


def end(turn: Turn[RouterState], event: SwitchEvent, refusal: Refusal) -> None:
    """Let the strategy go on where it was, and say why it was not switched."""
    switch = turn.state.switch
    if switch is None or SWITCHES.next(switch.state, event) is not SwitchState.REFUSED:
        return
    finish(turn, switch)
    deny(turn, switch.command.command_id, refusal)


def finish(turn: Turn[RouterState], switch: Switching) -> None:
    """Tell every desk the route in force: no switch holds the strategy any more."""
    turn.disarm(Timer.ANSWER, str(switch.n))
    turn.state.switch = None
    turn.publish(route_of(turn.state, switch.command.strategy))


def new_route(state: RouterState, command: desks.SwitchStrategy) -> tuple[str, ...]:
    """Return the desks that trade the strategy when the switch is done."""
    return switched(state.routes[command.strategy], command.from_desk, command.to_desk)


def route_of(state: RouterState, strategy: str) -> desks.RouteChanged:
    """Return where a strategy trades now; nowhere while it is being switched."""
    is_held = state.switch is not None and state.switch.command.strategy == strategy
    return desks.RouteChanged(strategy=strategy, desks=() if is_held else state.routes[strategy])


def deny(turn: Turn[RouterState], command_id: str, refusal: Refusal) -> None:
    """Answer a person's switch that is not carried out."""
    denied = operator.CommandDenied(command_id=command_id, code=refusal.code, detail=refusal.detail)
    turn.report("operator", denied)


def alarm(turn: Turn[RouterState], key: str, text: str) -> None:
    """Tell people what is not traded."""
    turn.publish(operator.Alarm(key=key, severity=Severity.HIGH, text=text, at_utc=turn.now))
