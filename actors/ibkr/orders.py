"""What positions ask for: orders to send, to change and to cancel, and what the broker knows of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from actors.ibkr.last_resort import on_order_out_of_reach, on_stray_in_the_way
from actors.ibkr.read_back import start_read
from actors.ibkr.reports import report_change_refused, report_closed, report_denied, report_held, tell_ending
from actors.ibkr.state import ExitSent, IBKRState, Query, Timer, Wiring, alarm
from domain.alarm import Severity
from domain.instants import MINUTE, MS
from domain.instruments import OrderType, Side
from domain.orders.intent import Permit
from domain.orders.request import OrderChange
from domain.orders.table import (
    Order,
    OrderStage,
    Share,
    Terms,
    Trouble,
    find,
    find_share,
    selling_qty,
    working_exit,
)
from domain.risk.kill import KillLevel
from domain.risk.reject import REFUSED_IN_MODE, RejectCode
from domain.session.modes import ALLOWS_ENTRIES
from domain.units import Qty, Utc
from messages import broker, orders
from messages.broker import QTY_UNKNOWN
from supervision.turn import Turn

EXITS_A_MINUTE: Final = 6  # new exit orders of one contract of which nothing filled; tiers are changes of one order


def submit_order(wiring: Wiring, turn: Turn[IBKRState], command: orders.SubmitOrder) -> None:
    """Send a new order, refuse it with a code, or hold an exit until the mode allows it."""
    state, order = turn.state, command.order
    refs = {order.order_ref, *(part.order_ref for part in command.parts)}
    if any(ref in state.used_refs for ref in refs):
        _deny(turn, command, RejectCode.DUPLICATE_REF, "this ref was used before")
    elif turn.now > order.deadline_utc:
        _deny(turn, command, RejectCode.DEADLINE_PASSED, "came after its deadline")
    elif order.is_exit:
        _submit_exit(wiring, turn, command)
    else:
        fault = _entry_fault(turn, command)
        if fault is not None:
            _deny(turn, command, *fault)
        else:
            assert command.permit is not None
            _place(wiring, turn, command, command.permit.kill_epoch)


def _receivers(command: orders.SubmitOrder) -> tuple[tuple[str, str], ...]:
    """Return (owner, reference) of all whom news of an order concern: of a combination the owner of each leg."""
    parts = tuple((part.owner, part.order_ref) for part in command.parts)
    return parts or ((command.reply_to, command.order.order_ref),)


def _deny(turn: Turn[IBKRState], command: orders.SubmitOrder, code: RejectCode, why: str) -> None:
    for owner, order_ref in _receivers(command):
        report_denied(turn, owner, order_ref, code, why)


def _hold(turn: Turn[IBKRState], command: orders.SubmitOrder) -> None:
    for owner, order_ref in _receivers(command):
        report_held(turn, owner, order_ref)


def _entry_fault(turn: Turn[IBKRState], command: orders.SubmitOrder) -> tuple[RejectCode, str] | None:
    code, good_till_utc = _permit_fault(turn, command.permit), command.order.good_till_utc
    if code is not None:
        return code, f"mode {turn.state.mode.value}"
    if good_till_utc is None:
        return RejectCode.MISSING_INPUT, "an entry without a good-till could fill after this process is gone"
    if good_till_utc <= turn.now:
        return RejectCode.DEADLINE_PASSED, "came after its good-till"
    return None


def _submit_exit(wiring: Wiring, turn: Turn[IBKRState], command: orders.SubmitOrder) -> None:
    state, order, con_id = turn.state, command.order, command.order.contract.con_id
    if command.parts:
        _submit_combo_exit(wiring, turn, command)
        return
    under_way = working_exit(state.table, con_id)
    if under_way is not None and under_way.legs:  # a leg that leaves by itself: the combination goes first
        withdraw_all(wiring, turn, (under_way,))
        _hold(turn, command)
        return
    is_in_doubt = under_way is not None and under_way.stage is OrderStage.IN_DOUBT
    if not state.allows_exits or is_in_doubt or _is_storm(turn, con_id):
        _hold(turn, command)
        return
    if under_way is not None:
        why: str | None = f"exit order {under_way.order_ref} works"
    else:
        why = _oversell(state, con_id, order.side, order.qty, command.held_qty)
    if why is not None:
        held_qty = state.position(con_id)
        report_denied(turn, command.reply_to, order.order_ref, RejectCode.EXIT_OVERSELL, why, held_qty)
        if under_way is not None and under_way.is_elsewhere:
            on_order_out_of_reach(wiring, turn, under_way)
        on_stray_in_the_way(wiring, turn, con_id)
        start_read(wiring, turn)
        return
    state.exits_sent = (*state.exits_sent, ExitSent(order.order_ref, con_id, turn.now))
    _place(wiring, turn, command, state.kill_epoch)


def _submit_combo_exit(wiring: Wiring, turn: Turn[IBKRState], command: orders.SubmitOrder) -> None:
    """Send the exit of a combination where every leg of it could leave by itself, too; else none of them does."""
    state, order = turn.state, command.order
    con_ids = [part.leg.contract.con_id for part in command.parts]
    under_way = [working.order_ref for con_id in con_ids if (working := working_exit(state.table, con_id)) is not None]
    if not state.allows_exits or any(_is_storm(turn, con_id) for con_id in con_ids):
        _hold(turn, command)
        return
    oversold = (
        _oversell(state, con_id, part.side_in(order.side), Qty(order.qty * part.leg.ratio), part.held_qty)
        for con_id, part in zip(con_ids, command.parts, strict=True)
    )
    why = f"exit order {under_way[0]} works" if under_way else next((text for text in oversold if text), None)
    if why is not None:
        _deny(turn, command, RejectCode.EXIT_OVERSELL, why)
        start_read(wiring, turn)
        return
    state.exits_sent = (*state.exits_sent, *(ExitSent(order.order_ref, con_id, turn.now) for con_id in con_ids))
    _place(wiring, turn, command, state.kill_epoch)


def _is_storm(turn: Turn[IBKRState], con_id: int) -> bool:
    """Return whether the contract had its share of exit orders in this minute; people are told."""
    state, since_utc = turn.state, Utc(turn.now - MINUTE)
    state.exits_sent = tuple(sent for sent in state.exits_sent if sent.at_utc > since_utc)
    if sum(sent.con_id == con_id for sent in state.exits_sent) < EXITS_A_MINUTE:
        return False
    text = (
        f"Exit of contract {con_id}: {EXITS_A_MINUTE} orders within a minute came to nothing; the next one waits."
        f" Look at what the broker says of them, and close the position by hand if need be."
    )
    alarm(turn, f"exit_storm:{con_id}", Severity.CRITICAL, text)
    return True


def _place(wiring: Wiring, turn: Turn[IBKRState], command: orders.SubmitOrder, kill_epoch: int) -> None:
    state, order = turn.state, command.order
    kept = Order(
        order_ref=order.order_ref, con_id=order.contract.con_id, owner=command.reply_to, side=order.side,
        is_exit=order.is_exit, qty=order.qty, order_type=order.order_type, limit_ticks=order.limit_ticks,
        handed_utc=turn.now, settle_n=state.next_read_n, legs=_shares_of(command),
    )  # fmt: skip
    state.keep(kept)
    for share in kept.shares:
        state.use_ref(share.order_ref)
        state.follow_contract(share.con_id)
    legs = tuple(part.leg for part in command.parts)
    turn.tell(
        wiring.port,
        broker.PlaceOrder(order=order, session_epoch=state.session_epoch, kill_epoch=kill_epoch, legs=legs),
    )


def _shares_of(command: orders.SubmitOrder) -> tuple[Share, ...]:
    return tuple(
        Share(
            part.order_ref, part.leg.contract.con_id, part.owner, part.side_in(command.order.side), part.leg.ratio
        )
        for part in command.parts
    )  # fmt: skip


def on_margin(wiring: Wiring, turn: Turn[IBKRState], message: orders.RequestWhatIf | broker.MarginTold) -> None:
    """Have the broker asked what an order would need, while a link stands; hand its answer to whoever asked."""
    if isinstance(message, broker.MarginTold):
        read = orders.WhatIfRead(
            request_id=message.request_id, init_margin_change_cents=message.init_margin_change_cents, why=message.why
        )
        turn.report(message.reply_to, read)
        return
    state, asked = turn.state, message
    if not state.link.is_up:
        why = "no broker session"
        unknown = orders.WhatIfRead(request_id=asked.request_id, init_margin_change_cents=None, why=why)
        turn.report(asked.reply_to, unknown)
        return
    turn.tell(
        wiring.port,
        broker.AskMargin(
            session_epoch=state.session_epoch, request_id=asked.request_id, reply_to=asked.reply_to, order=asked.order,
            legs=asked.legs,
        ),
    )  # fmt: skip


def modify_order(wiring: Wiring, turn: Turn[IBKRState], command: orders.ModifyOrder) -> None:
    """Change a working order; what cannot be changed now is refused (entries) or held (exits), the order stands."""
    state, change = turn.state, command.change
    order = _known(turn, change.order_ref)
    if order is None or order.stage is OrderStage.MISSING:
        ask_broker(wiring, turn, change.order_ref, command.reply_to)
        return
    if order.legs:
        report_change_refused(turn, order, Trouble(0, "an order for a combination is cancelled, never changed"))
        return
    if order.stage is OrderStage.ENDED:
        report_closed(turn, order, "ended before the change", order.filled_qty)
        return
    if change.is_exit and (order.stage is OrderStage.IN_DOUBT or not state.allows_exits):
        report_held(turn, order.owner, order.order_ref)
        return
    if order.is_elsewhere:
        on_order_out_of_reach(wiring, turn, order)
        report_held(turn, order.owner, order.order_ref)
        return
    code = _change_fault(turn, order, change, command.permit)
    if code is not None:
        report_change_refused(turn, order, Trouble(0, code.value))
        return
    kill_epoch = command.permit.kill_epoch if command.permit is not None else state.kill_epoch
    state.keep(order.with_change(Terms(change.order_type, change.limit_ticks, change.qty), state.next_read_n))
    turn.tell(wiring.port, broker.AmendOrder(change=change, session_epoch=state.session_epoch, kill_epoch=kill_epoch))


def cancel_order(wiring: Wiring, turn: Turn[IBKRState], command: orders.CancelOrder) -> None:
    """Cancel an order; while it is in doubt or the link is down, the read-back to come does it."""
    order = _known(turn, command.order_ref)
    if order is None or order.stage is OrderStage.MISSING:
        ask_broker(wiring, turn, command.order_ref, command.reply_to)
    elif order.stage is OrderStage.ENDED:
        report_closed(turn, order, "ended before the cancel", order.filled_qty)
    else:
        withdraw_all(wiring, turn, (order,))


def _known(turn: Turn[IBKRState], order_ref: str) -> Order | None:
    """Return the order that a position knows by this reference; `None` if there is none."""
    found = find_share(turn.state.table, order_ref)
    return None if found is None else found[0]


def ask_broker(wiring: Wiring, turn: Turn[IBKRState], order_ref: str, reply_to: str, con_id: int | None = None) -> None:
    """Answer what the broker knows of an order from the next read-back that begins after now.

    What it holds of `con_id` is told from then on: an order of an earlier run may not be in the table.
    """
    if con_id is not None:
        turn.state.follow_contract(con_id)
    turn.state.queries = (*turn.state.queries, Query(order_ref, reply_to, turn.state.next_read_n, con_id))
    start_read(wiring, turn)


def withdraw_all(wiring: Wiring, turn: Turn[IBKRState], wanted: Iterable[Order]) -> None:
    """Cancel these orders, each once: now, or as soon as a read-back has found it working."""
    state = turn.state
    for order in wanted:
        if order.is_elsewhere:
            state.keep(order.marked_for_cancel())
            on_order_out_of_reach(wiring, turn, order)
        elif not state.link.is_up or order.stage is OrderStage.IN_DOUBT:
            state.keep(order.marked_for_cancel())
        elif order.cancel_n <= state.read_n:  # else a cancel is under way that no read-back has looked for yet
            state.keep(order.cancelling(state.next_read_n))
            turn.tell(wiring.port, broker.WithdrawOrder(order_ref=order.order_ref, session_epoch=state.session_epoch))
            turn.arm(Timer.CANCEL, turn.now + wiring.rules.query_wait_ms * MS, order.order_ref)


def on_cancel_overdue(wiring: Wiring, turn: Turn[IBKRState], order_ref: str) -> None:
    """Read the broker back for a cancel without an end, unless that was done since: it is sent again where it works.

    An order that was given up has no position any more that would ask for it. An end that no read-back has confirmed in
    time is believed.
    """
    order = find(turn.state.table, order_ref)
    if order is not None and order.ending is not None and turn.state.link.is_up:
        turn.state.keep(tell_ending(turn, order, order.ending))
        return
    if order is None or not order.is_under_way or turn.state.read_n >= order.cancel_n:
        return
    text = (
        f"The cancel of order {order_ref} was not answered; it is sent again if the order still works. Cancel it in TWS"
        f" if this comes again."
    )
    alarm(turn, f"cancel:{order_ref}", Severity.HIGH, text)
    start_read(wiring, turn)


# -- what forbids it ----------------------------------------------------------------------------


def _permit_fault(turn: Turn[IBKRState], permit: Permit | None) -> RejectCode | None:
    state = turn.state
    if state.mode not in ALLOWS_ENTRIES:
        return REFUSED_IN_MODE[state.mode]
    if permit is None or turn.now > permit.expires_utc:
        return RejectCode.PERMIT_EXPIRED
    if state.is_ending or state.kill_level > KillLevel.RUNNING or permit.kill_epoch < state.kill_epoch:
        return RejectCode.PERMIT_KILLED
    if permit.session_epoch != state.session_epoch:
        return RejectCode.PERMIT_SESSION
    return None


def _change_fault(turn: Turn[IBKRState], order: Order, change: OrderChange, permit: Permit | None) -> RejectCode | None:
    if turn.now > change.deadline_utc:
        return RejectCode.DEADLINE_PASSED
    if change.is_exit:
        more_qty, held_qty = change.qty - order.most_qty, abs(turn.state.position(order.con_id))
        if more_qty > 0 and _oversell(turn.state, order.con_id, order.side, more_qty, held_qty) is not None:
            return RejectCode.EXIT_OVERSELL
        return None
    if order.stage is OrderStage.IN_DOUBT:
        return RejectCode.EXIT_UNRECONCILED
    return _permit_fault(turn, permit) if _is_raised(order, change) else None


def _is_raised(order: Order, change: OrderChange) -> bool:
    if change.qty > order.qty or change.order_type is OrderType.MARKET or change.limit_ticks is None:
        return True
    if order.limit_ticks is None:
        return True
    is_buy = order.side is Side.BUY
    return change.limit_ticks > order.limit_ticks if is_buy else change.limit_ticks < order.limit_ticks


def _oversell(state: IBKRState, con_id: int, side: Side, qty: Qty, held_qty: Qty) -> str | None:
    """Return why this much more may not be sold (or bought back); `None` if it may."""
    is_sell = side is Side.SELL
    broker_qty = state.position(con_id) if is_sell else -state.position(con_id)
    strays = [stray for stray in state.strays if is_sell and stray.con_id == con_id]
    on_sale_qty = sum((stray.qty for stray in strays), selling_qty(state.table, con_id) if is_sell else Qty(0))
    if on_sale_qty + qty <= min(held_qty, broker_qty):
        return None
    names = f" ({', '.join(stray.name for stray in strays)} among it)" if strays else ""
    on_sale = "nobody knows how many" if on_sale_qty >= QTY_UNKNOWN else on_sale_qty
    return f"{on_sale} on sale{names} and {qty} more, held {held_qty} by the ledger and {broker_qty} by the broker"
