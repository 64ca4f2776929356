"""What a position does when the broker session is lost, and when the broker's truth is in."""

from __future__ import annotations

from actors.position.agreement import on_broker_quantity
from actors.position.entry_order import cancel_entry
from actors.position.recovery import request_order_state
from actors.position.state import PositionRules, PositionTurn, keep_order
from domain.orders.live_order import LegStage, doubted, dropped
from domain.orders.order_pair import OrderRole
from domain.units import Qty, Utc
from messages import session


def on_mode_changed(turn: PositionTurn, change: session.ModeChanged) -> None:
    """Take the mode; a loss puts every order in doubt, and the entry's intent is no longer wanted after it."""
    state = turn.state
    state.mode = change.mode
    was_up, state.is_link_up = state.is_link_up, change.allows_exits
    if state.is_link_up or was_up is False:
        return
    cancel_entry(turn)
    entry, exit_ = state.orders.entry, state.orders.exit
    if entry is not None:
        keep_order(turn, OrderRole.ENTRY, doubted(entry))
    if exit_ is not None:
        is_unsent = exit_.stage is LegStage.RECORDING
        keep_order(turn, OrderRole.EXIT, dropped(exit_) if is_unsent else doubted(exit_))


def on_reconcile_finished(rules: PositionRules, turn: PositionTurn, event: session.ReconcileFinished) -> None:
    """Ask for the orders in doubt, and compare what is held; held exits go with the steering that follows."""
    state = turn.state
    state.is_link_up = True
    state.retry_utc = Utc(0)
    for order in (state.orders.entry, state.orders.exit):
        if order is not None and order.stage is LegStage.UNKNOWN:
            request_order_state(rules, turn, order.ref)
    qty = next((qty for con_id, qty in event.positions if con_id == rules.con_id), Qty(0))
    has_executions = state.has_executions and event.is_complete  # of a link's first; the answer to a question says more
    on_broker_quantity(rules, turn, qty, event.read_utc, has_executions)
