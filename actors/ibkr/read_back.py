"""Asking for the broker's truth: one read-back at a time; what it says is `settlement.py`."""

from __future__ import annotations

from actors.ibkr.state import IBKRState, Timer, Wiring
from domain.instants import MS
from messages import broker
from supervision.turn import Turn


def start_read(wiring: Wiring, turn: Turn[IBKRState]) -> None:
    """Read the broker back, now or right after the read-back under way; without a link the next dial does it."""
    state = turn.state
    if not state.link.is_up:
        return
    if state.reading is not None or state.read is not None:
        state.is_read_wanted = True
        return
    state.read_n += 1
    state.reading = state.read_n
    state.touched = frozenset()
    state.is_read_wanted = False
    turn.disarm(Timer.READ_REST)
    turn.tell(wiring.port, broker.ReadBack(session_epoch=state.session_epoch, read_n=state.read_n))
    turn.arm(Timer.READ_BACK, turn.now + 2 * wiring.rules.read_back_ms * MS)


def forget_read(turn: Turn[IBKRState]) -> None:
    """Abandon the read-back under way, at the port or at the ledger (the link was lost)."""
    turn.state.reading = None
    turn.state.read = None
    for timer in (Timer.READ_BACK, Timer.RECONCILE, Timer.READ_REST):
        turn.disarm(timer)
