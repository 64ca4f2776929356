"""Orders that work and are out of our reach: another client placed them, so that we can neither change nor cancel them.

They are never left unsaid. While everything must be closed (kill level 2, the day's flatten) and one of them stands in
the way, the broker's global cancel takes away all orders of the account, ours too; positions then send their own anew.
"""

from __future__ import annotations

from actors.ibkr.read_back import start_read
from actors.ibkr.state import IBKRState, Wiring, alarm
from domain.alarm import Severity
from domain.instants import MS
from domain.orders.table import Order
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from messages import broker
from supervision.turn import Turn


def on_order_out_of_reach(wiring: Wiring, turn: Turn[IBKRState], order: Order) -> None:
    """Say that an order of ours is to be changed or cancelled and cannot be; at the last resort cancel everything."""
    _say(wiring, turn, order.con_id, f"order {order.order_ref}, placed under another client id,")


def on_stray_in_the_way(wiring: Wiring, turn: Turn[IBKRState], con_id: int) -> None:
    """Say that somebody else's orders keep our exit back, where they do; at the last resort cancel everything."""
    strays = [stray.name for stray in turn.state.strays if stray.con_id == con_id]
    if strays:
        _say(wiring, turn, con_id, f"{' and '.join(strays)}, not placed by this session,")


def _say(wiring: Wiring, turn: Turn[IBKRState], con_id: int, what: str) -> None:
    state = turn.state
    is_last_resort = state.kill_level is KillLevel.FLATTEN or state.phase is Phase.FLATTEN
    remedy = "all orders of the account are cancelled now" if is_last_resort else "cancel it in TWS, or raise level 2"
    text = f"Contract {con_id}: {what} works and is out of our reach; {remedy}."
    alarm(turn, f"out_of_reach:{con_id}", Severity.CRITICAL, text)
    if not is_last_resort or not state.link.is_up:
        return
    pause_ns = wiring.rules.query_wait_ms * MS
    if state.last_resort_utc is None or turn.now >= state.last_resort_utc + pause_ns:
        state.last_resort_utc = turn.now
        turn.tell(wiring.port, broker.CancelEverything(session_epoch=state.session_epoch))
        start_read(wiring, turn)
