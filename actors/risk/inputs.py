"""The inputs of risk's own rules: one that is unknown for too long while something is held is an alarm and level 1."""

from __future__ import annotations

from actors.risk.automatic_kill import ask_once, cause_gone
from actors.risk.state import RiskState, Timer
from domain.instants import MS
from domain.risk.gates.types import DeskRules
from domain.risk.inputs import inputs_of
from domain.risk.kill import KillLevel
from domain.units import Utc
from supervision.turn import Turn

_CAUSE = "unknown:"


def look(rules: DeskRules, turn: Turn[RiskState]) -> None:
    """Ask for level 1 where an input has not been known for too long, and look again when the next one could be."""
    state, age_ms = turn.state, rules.kill.unknown_input_ms
    is_held = any(holding.needs_mark for holding in state.view.holdings)
    if not is_held:
        state.held_since_utc = None
        forget(state, frozenset())
        return
    if state.held_since_utc is None:
        state.held_since_utc = turn.now
    inputs = inputs_of(state.view, state.held_since_utc, age_ms * MS, turn.now)
    unknown = [known.name for known in inputs if known.unknown_from_utc < turn.now]
    forget(state, frozenset(unknown))
    for name in unknown:
        reason = (
            f"{name} is not known for {age_ms / 1000:g} s while a position is held; look at the feed and the gateway"
        )
        ask_once(turn, f"{_CAUSE}{name}", KillLevel.NO_ENTRIES, reason)
    if state.inputs_due_utc is not None and state.inputs_due_utc > turn.now:
        return
    due = [known.unknown_from_utc for known in inputs if known.unknown_from_utc >= turn.now]
    if due:
        state.inputs_due_utc = Utc(min(due) + 1)
        turn.arm(Timer.INPUTS, state.inputs_due_utc)


def forget(state: RiskState, unknown: frozenset[str]) -> None:
    """Forget the inputs that are known again, so that their next silence is said."""
    for cause in state.causes:
        if cause.startswith(_CAUSE) and cause.removeprefix(_CAUSE) not in unknown:
            cause_gone(state, cause)
