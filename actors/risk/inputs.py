"""The inputs of risk's own rules: one that is unknown for too long while something is held is an alarm and level 1."""

from __future__ import annotations

from actors.risk.automatic_kill import ask_once, cause_gone
from actors.risk.state import RiskState, Timer
from domain.instants import MS
from domain.risk.gates.types import DeskRules
from domain.risk.inputs import first_unknown_utc, inputs_of
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
    first_utc = first_unknown_utc(state.view, state.held_since_utc, age_ms * MS, turn.now)
    if first_utc is None or first_utc >= turn.now:  # by far the most frequent: all of it is known
        forget(state, frozenset())
        _look_again(turn, first_utc)
        return
    inputs = inputs_of(state.view, state.held_since_utc, age_ms * MS, turn.now)
    unknown = [known.name for known in inputs if known.unknown_from_utc < turn.now]
    forget(state, frozenset(unknown))
    for name in unknown:
        reason = (
            f"{name} is not known for {age_ms / 1000:g} s while a position is held; look at the feed and the gateway"
        )
        ask_once(turn, f"{_CAUSE}{name}", KillLevel.NO_ENTRIES, reason)
    known_until = [known.unknown_from_utc for known in inputs if known.unknown_from_utc >= turn.now]
    _look_again(turn, min(known_until, default=None))


def _look_again(turn: Turn[RiskState], known_until_utc: Utc | None) -> None:
    """Look again once the next input may not be known any more, unless that is to come already."""
    state = turn.state
    is_to_come = state.inputs_due_utc is not None and state.inputs_due_utc > turn.now
    if known_until_utc is not None and not is_to_come:
        state.inputs_due_utc = Utc(known_until_utc + 1)
        turn.arm(Timer.INPUTS, state.inputs_due_utc)


def forget(state: RiskState, unknown: frozenset[str]) -> None:
    """Forget the inputs that are known again, so that their next silence is said."""
    for cause in state.causes:
        if cause.startswith(_CAUSE) and cause.removeprefix(_CAUSE) not in unknown:
            cause_gone(state, cause)
