"""The switch of a strategy from one desk to another: held at both, flat at both by the broker's word, on record.

While it runs, neither desk takes a signal of the strategy. One that the ledger has not confirmed is refused only when
the old route is durable again: until then a restart may find either. Rules: the project's risk specification, section
7.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from domain.fsm import Machine
from domain.signals.spread import SOURCE as SPREAD


class SwitchState(StrEnum):
    """Where a switch stands."""

    HOLDING = "holding"  # both desks are asked whether the strategy is flat
    RECONCILING = "reconciling"  # both stand down, read the broker and are asked again
    RECORDING = "recording"  # the ledger has the new route
    WITHDRAWING = "withdrawing"  # it has not said so in time, and has the old route behind it
    DONE = "done"
    REFUSED = "refused"


class SwitchEvent(StrEnum):
    """What can happen to a switch."""

    ALL_FLAT = "all_flat"  # each desk has answered: flat, and fit to trade
    NOT_FLAT = "not_flat"  # one desk holds or awaits something, or may not trade
    RECORDED = "recorded"
    OVERDUE = "overdue"  # an answer has not come in time
    WITHDRAWN = "withdrawn"  # the old route is durable again


SWITCHES: Final = Machine(
    "Switch of a strategy",
    transitions={
        (SwitchState.HOLDING, SwitchEvent.ALL_FLAT): SwitchState.RECONCILING,
        (SwitchState.HOLDING, SwitchEvent.NOT_FLAT): SwitchState.REFUSED,
        (SwitchState.HOLDING, SwitchEvent.OVERDUE): SwitchState.REFUSED,
        (SwitchState.RECONCILING, SwitchEvent.ALL_FLAT): SwitchState.RECORDING,
        (SwitchState.RECONCILING, SwitchEvent.NOT_FLAT): SwitchState.REFUSED,
        (SwitchState.RECONCILING, SwitchEvent.OVERDUE): SwitchState.REFUSED,
        (SwitchState.RECORDING, SwitchEvent.RECORDED): SwitchState.DONE,
        (SwitchState.RECORDING, SwitchEvent.OVERDUE): SwitchState.WITHDRAWING,
        (SwitchState.WITHDRAWING, SwitchEvent.WITHDRAWN): SwitchState.REFUSED,
    },
    ignored={
        (SwitchState.RECORDING, SwitchEvent.ALL_FLAT): "an answer that came twice",
        (SwitchState.RECORDING, SwitchEvent.NOT_FLAT): "neither desk takes a signal, so nothing new can be held",
        (SwitchState.WITHDRAWING, SwitchEvent.ALL_FLAT): "an answer that came twice",
        (SwitchState.WITHDRAWING, SwitchEvent.NOT_FLAT): "the old route is wanted again anyhow",
        (SwitchState.WITHDRAWING, SwitchEvent.RECORDED): "too late: the old route is on its way behind it",
        (SwitchState.WITHDRAWING, SwitchEvent.OVERDUE): "the ledger is asked once more; nobody is told what is not so",
        **{(state, SwitchEvent.WITHDRAWN): "nothing was withdrawn" for state in (
            SwitchState.HOLDING, SwitchState.RECONCILING, SwitchState.RECORDING,
        )},
        **{(state, SwitchEvent.RECORDED): "nothing was handed to the ledger yet" for state in (
            SwitchState.HOLDING, SwitchState.RECONCILING,
        )},
        **{(state, event): "the switch is over" for state in (SwitchState.DONE, SwitchState.REFUSED)
           for event in SwitchEvent},
    },
)  # fmt: skip


class SwitchRefused(StrEnum):
    """Why a strategy was not switched."""

    BUSY = "busy"  # another switch is under way
    UNKNOWN_STRATEGY = "unknown_strategy"
    NOT_ALLOWED = "not_allowed"  # the settings do not let that desk trade it
    NOT_THERE = "not_there"  # the desk that it should leave does not trade it
    THERE_ALREADY = "there_already"
    NOT_FLAT = "not_flat"
    UNFIT = "unfit"  # the desk is not armed, or its port and account are not the right ones
    SILENT = "silent"  # a desk or the ledger has not answered in time


class Refusal(msgspec.Struct, frozen=True):
    """Why a switch is refused, with a sentence for people."""

    code: SwitchRefused
    detail: str


def refusal_of(
    strategy: str, from_desk: str, to_desk: str, trades: tuple[str, ...] | None, allowed: tuple[str, ...]
) -> Refusal | None:
    """Return why a switch must not begin; `trades` are the desks that trade it now, `None`: no such strategy."""
    if trades is None:
        return Refusal(SwitchRefused.UNKNOWN_STRATEGY, f"There is no strategy {strategy}; look at `strategies`.")
    if to_desk not in allowed:
        names = ", ".join(allowed)
        detail = f"The settings let {strategy} trade at {names}, not at {to_desk or 'no desk'}"
        remedy = "spread.desk" if strategy == SPREAD else f"strategies.{strategy}.switch_to"
        return Refusal(SwitchRefused.NOT_ALLOWED, f"{detail}; name that desk under {remedy} and start anew.")
    if to_desk in trades:
        return Refusal(SwitchRefused.THERE_ALREADY, f"Desk {to_desk} trades {strategy} already.")
    if trades and not from_desk:
        detail = f"{strategy} trades at {' and '.join(trades)}: name the one that {to_desk} takes the place of, as"
        return Refusal(SwitchRefused.NOT_THERE, f"{detail} `--from {trades[0]}`.")
    if from_desk and from_desk not in trades:
        return Refusal(
            SwitchRefused.NOT_THERE, f"{strategy} trades at {', '.join(trades) or 'no desk'}, not at {from_desk}."
        )
    return None


def switched(trades: tuple[str, ...], from_desk: str, to_desk: str) -> tuple[str, ...]:
    """Return the desks that trade a strategy after a switch, the new one in the place of the old one."""
    return tuple(to_desk if desk == from_desk else desk for desk in trades) if from_desk else (*trades, to_desk)
