"""The ends: what the broker holds when the day should be flat, and the entries that a process which ends takes back."""

from __future__ import annotations

from typing import Final

from actors.ibkr.orders import withdraw_all
from actors.ibkr.read_back import start_read
from actors.ibkr.state import IBKRState, Timer, Wiring
from domain.instants import MS, SECOND
from domain.position.day import DayMark
from messages import orders, positions, session
from supervision.turn import Turn

READ_AHEAD_NS: Final = 5 * SECOND  # the read-back is asked for so long before what it says is told
BEFORE_CLOSE_NS: Final = 5 * SECOND  # the settlement of what expires empties the broker's book from the close on


def on_phase(wiring: Wiring, turn: Turn[IBKRState], message: session.PhaseChanged) -> None:
    """Look at the broker's book twice before the close of a session that is news."""
    if message.session == turn.state.session or message.close_utc <= message.open_utc:
        return
    for mark, before_ns in (
        (DayMark.VERIFY, wiring.day.verify_flat_ms * MS), (DayMark.CLOSE, BEFORE_CLOSE_NS),
    ):  # fmt: skip
        at_utc = message.close_utc - before_ns
        if turn.now < at_utc:
            turn.arm(Timer.HOLDINGS_READ, max(turn.now, at_utc - READ_AHEAD_NS), mark.value)
            turn.arm(Timer.HOLDINGS, at_utc, mark.value)


def on_read_due(wiring: Wiring, turn: Turn[IBKRState]) -> None:
    """Have the book read, so that what is told of it is young."""
    start_read(wiring, turn)


def on_check_due(turn: Turn[IBKRState], mark: DayMark) -> None:
    """Tell what the broker holds, as it said last."""
    state = turn.state
    assert state.session is not None, "the timer was armed for a session"
    turn.publish(
        positions.HoldingsChecked(
            session=state.session, mark=mark, positions=state.positions,
            is_known=state.is_known and state.link.is_up, read_utc=state.read_utc, at_utc=turn.now,
        )
    )  # fmt: skip


def withdraw_entries(wiring: Wiring, turn: Turn[IBKRState], reply_to: str) -> None:
    """Cancel every entry for a process that is about to end; no new one leaves from now on."""
    turn.state.is_ending, turn.state.withdrawn_for = True, reply_to
    withdraw_all(wiring, turn, [order for order in turn.state.table.under_way if not order.is_exit])


def answer_when_withdrawn(turn: Turn[IBKRState]) -> None:
    """Say once that no entry is under way any more."""
    state = turn.state
    if not state.withdrawn_for or any(not order.is_exit for order in state.table.under_way):
        return
    turn.report(state.withdrawn_for, orders.EntriesWithdrawn())
    state.withdrawn_for = ""
