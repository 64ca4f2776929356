"""The kill level as risk knows it, and the levels that it asks for by itself."""

from __future__ import annotations

from actors.risk.state import RiskState
from domain.alarm import Severity
from domain.risk import desk_view, kill
from domain.risk.gates.types import DeskRules
from domain.risk.kill import KillLevel
from domain.session.modes import Mode
from messages import market, operator, risk, session
from supervision.turn import Turn


def on_spots(rules: DeskRules, turn: Turn[RiskState], message: market.SpotsChanged) -> None:
    """Keep the prices; a move of VIX or SPX that is too fast stops entries."""
    state = turn.state
    view = desk_view.with_spots(state.view, message.spots)
    state.view = desk_view.with_minutes(view, message.spots, rules.tickers, rules.limits.overlay)
    state.watch, reason = kill.watch_spots(state.watch, message.spots, rules.kill)
    if reason is not None:
        ask_for_level(turn, KillLevel.NO_ENTRIES, reason)


def on_mode(rules: DeskRules, turn: Turn[RiskState], message: session.ModeChanged) -> None:
    """Keep the mode; too many lost sessions stop entries (a mode that is told again is no loss)."""
    state = turn.state
    is_loss = message.mode is Mode.DEGRADED and state.view.mode is not Mode.DEGRADED
    state.view = desk_view.with_mode(state.view, message.mode, message.session_epoch)
    if not is_loss:
        return
    state.watch, reason = kill.watch_loss(state.watch, rules.kill, turn.now)
    if reason is not None:
        ask_for_level(turn, KillLevel.NO_ENTRIES, reason)


def on_level(turn: Turn[RiskState], message: risk.KillRaised | risk.KillLowered) -> None:
    """Take the level in force over; whatever was asked for has been answered by it."""
    turn.state.view = desk_view.with_kill(turn.state.view, message.level, message.kill_epoch)
    turn.state.asked_level = KillLevel.RUNNING


def ask_for_level(turn: Turn[RiskState], level: KillLevel, reason: str) -> None:
    """Ask for a level, once until the kill level is reported again."""
    state = turn.state
    in_force = state.view.kill_level or KillLevel.RUNNING
    if max(state.asked_level, in_force) < level:
        state.asked_level = level
        turn.tell("kill", risk.RaiseKill(level=level, reason=reason, by=turn.name))


def ask_once(turn: Turn[RiskState], cause: str, level: KillLevel, reason: str) -> None:
    """Ask for a level and page a person, once while the cause stands."""
    state = turn.state
    if cause in state.causes:
        return
    state.causes |= {cause}
    text = f"{reason[0].upper()}{reason[1:]}."
    turn.publish(operator.Alarm(key=f"risk:{cause}", severity=Severity.CRITICAL, text=text, at_utc=turn.now))
    ask_for_level(turn, level, reason)


def cause_gone(state: RiskState, cause: str) -> None:
    """Let a cause count anew when it comes back."""
    if cause in state.causes:
        state.causes -= {cause}
