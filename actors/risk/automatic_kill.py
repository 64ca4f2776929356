"""The kill level as risk knows it, and the levels that it asks for by itself."""

from __future__ import annotations

from actors.risk.state import RiskState
from domain.risk import desk_view, kill
from domain.risk.kill import KillLevel
from domain.session.modes import Mode
from messages import market, risk, session
from supervision.turn import Turn


def on_spots(turn: Turn[RiskState], message: market.SpotsChanged) -> None:
    """Keep the prices; a move of VIX or SPX that is too fast stops entries."""
    state = turn.state
    state.view = desk_view.with_spots(state.view, message.spots)
    state.watch, reason = kill.watch_spots(state.watch, message.spots)
    if reason is not None:
        ask_for_level(turn, KillLevel.NO_ENTRIES, reason)


def on_mode(turn: Turn[RiskState], message: session.ModeChanged) -> None:
    """Keep the mode; too many lost sessions stop entries."""
    state = turn.state
    state.view = desk_view.with_mode(state.view, message.mode, message.session_epoch)
    if message.mode is not Mode.DEGRADED:
        return
    state.watch, reason = kill.watch_loss(state.watch, turn.now)
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
