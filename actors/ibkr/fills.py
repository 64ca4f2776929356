"""Executions: each goes to the ledger, which tells its position; where the ledger does not speak, it is told here.

A ledger that has failed, or has not answered in time, never keeps a fill from its position. What is told here comes
again from the ledger once it is back; the position knows it by its id and revision.
"""

from __future__ import annotations

from actors.ibkr.read_back import start_read
from actors.ibkr.reports import record_ids, report_closed
from actors.ibkr.state import IBKRState, Timer, Wiring, alarm, halt
from domain.alarm import Severity
from domain.instants import MS
from domain.instruments import Side
from domain.orders.combo import COMBO_CON_ID
from domain.orders.references import is_ours
from domain.orders.table import Order, OrderStage, OrderStatus, find
from domain.starved import busy_text, excused_ms
from domain.units import Qty
from domain.wording import duration_text
from messages import broker, lifecycle, orders
from messages.broker import Execution
from supervision.turn import Turn


def on_execution(wiring: Wiring, turn: Turn[IBKRState], fact: broker.ExecutionReported) -> None:
    """Hand an execution to the ledger; one that is not ours is looked into by a read-back."""
    state = turn.state
    execution = fact.execution
    if not execution.order_ref:  # the table is gone through only for who needs it
        execution = broker.with_ref(execution, state.refs)
    if not is_ours(execution.order_ref):
        start_read(wiring, turn)
        return
    is_whole = execution.con_id == COMBO_CON_ID  # of a combination: it holds nothing, its legs' own executions do
    if not is_whole:
        turn.tell("desk_ledger", orders.RecordExecution(execution=execution))
        state.unrecorded = (*state.unrecorded, execution)
        turn.arm(Timer.RECORD, turn.now + wiring.record_wait_ms * MS, _subject(execution.exec_id, execution.revision))
    order = find(state.table, execution.order_ref)
    if order is not None:
        share = next((share for share in order.shares if not order.legs or share.con_id == execution.con_id), None)
        before_qty = order.filled_of(share) if share is not None else Qty(0)
        order = counted(order, execution)
        if order.is_exit:  # it came to something: it is no part of a storm
            state.exits_sent = tuple(sent for sent in state.exits_sent if sent.order_ref != order.order_ref)
        if share is not None and share.side is Side.SELL and order.filled_of(share) != before_qty:
            # The broker's own report replaces this estimate; until then no exit may sell the same contracts again. A
            # purchase is not estimated: what the broker does not report yet cannot be sold.
            held_qty = state.position(execution.con_id)
            estimate = Qty(held_qty - (order.filled_of(share) - before_qty))
            if order.is_exit:  # that position may be of after this sale: a short is the broker's word alone
                estimate = max(estimate, min(held_qty, Qty(0)))
            state.keep_position(execution.con_id, estimate)
        if order.filled_qty >= order.qty and order.stage is not OrderStage.ENDED:
            order = order.ended(state.next_read_n)
            record_ids(turn, order, OrderStatus.FILLED)
            report_closed(turn, order, OrderStatus.FILLED.value, order.filled_qty)
        state.keep(order)
        watch_legs(wiring, turn, order)
    if is_whole:
        return
    turn.arm(Timer.AGREE, turn.now + wiring.rules.query_wait_ms * MS, str(execution.con_id))
    state.follow_contract(execution.con_id)


def counted(order: Order, execution: Execution) -> Order:
    """Return the order with an execution counted once, at its highest revision."""
    return order.executed(
        execution.exec_id, execution.revision, execution.qty, execution.price_ticks, execution.con_id
    )  # fmt: skip


def watch_legs(wiring: Wiring, turn: Turn[IBKRState], order: Order) -> None:
    """Give the legs of a combination time to fill alike; their executions come one by one."""
    if order.is_lopsided and not order.is_disputed:
        turn.arm(Timer.LEGS, turn.now + wiring.rules.query_wait_ms * MS, order.order_ref)
    elif order.legs:
        turn.disarm(Timer.LEGS, order.order_ref)


def on_legs_due(wiring: Wiring, turn: Turn[IBKRState], order_ref: str) -> None:
    """Dispute a combination whose legs have not filled alike in time: halt entries, and read the broker back.

    What is held of each leg is its position's; what it lacks is closed leg by leg.
    """
    order = find(turn.state.table, order_ref)
    if order is None or not order.is_lopsided or order.is_disputed:
        return
    turn.state.keep(order.disputed())
    legs = ", ".join(f"{order.filled_of(leg)} of contract {leg.con_id} ({leg.ratio} each)" for leg in order.legs)
    text = (
        f"Order {order_ref} is one for a combination, and its legs have not filled alike: {legs}. The broker is read"
        " back, and what is held is closed leg by leg; compare the broker's executions."
    )
    halt(turn, f"legs:{order_ref}", text)
    start_read(wiring, turn)


def on_commission(turn: Turn[IBKRState], fact: broker.CommissionReported) -> None:
    """Hand a fee to the ledger; one that is not known in USD is never booked, and a person is told."""
    if fact.commission_cents is None:
        text = (
            f"The fee of execution {fact.exec_id} came in another currency than USD ({fact.raw}): it is not booked, and"
            f" profits and losses leave it out. Compare the broker's statement."
        )
        alarm(turn, "foreign_fee", Severity.WARNING, text)
        return
    fee = orders.RecordCommission(exec_id=fact.exec_id, revision=fact.revision, commission_cents=fact.commission_cents)
    turn.tell("desk_ledger", fee)


def on_execution_recorded(turn: Turn[IBKRState], fact: orders.ExecutionRecorded) -> None:
    """Wait no longer: the ledger has told whom the execution concerns."""
    subject = _subject(fact.exec_id, fact.revision)
    _take_out(turn, subject)
    turn.state.told_early -= {subject}
    turn.disarm(Timer.RECORD, subject)


def on_record_overdue(wiring: Wiring, turn: Turn[IBKRState], fired: lifecycle.TimerFired) -> None:
    """Tell the position its fill without the ledger, and halt entries; on a busy machine the ledger gets more time."""
    state, subject = turn.state, fired.subject
    execution = _take_out(turn, subject)
    if execution is not None:
        tell_fill(wiring, turn, execution)
    elif subject not in state.told_early:
        return
    state.told_early -= {subject}
    more_ms = say_ledger_silent(
        turn, fired, wiring.record_wait_ms, f"The ledger has not taken execution {subject.rpartition('/')[0]}",
        "its position was told without it",
    )  # fmt: skip
    if more_ms:
        state.told_early |= {subject}
        turn.arm(Timer.RECORD, turn.now + more_ms * MS, subject, fired.excused_ms + more_ms)


def say_ledger_silent(
    turn: Turn[IBKRState], fired: lifecycle.TimerFired, waited_ms: int, what: str, meanwhile: str
) -> int:
    """Halt entries for a ledger that does not answer; where the machine may be to blame, only say so.

    Returns for how much longer it is excused, ms; 0: entries are halted.

    Args:
        turn: in which the wait is over.
        fired: says how much of it the machine took, and for how long the ledger has been excused before.
        waited_ms: how long it was.
        what: the ledger did not do, as the beginning of a sentence.
        meanwhile: how things go on, as the end of one.
    """
    if more_ms := excused_ms(fired.starved_ms, waited_ms, fired.excused_ms):
        text = f"{what} in time, but {busy_text(fired.starved_ms, waited_ms)}; {meanwhile}."
        alarm(turn, "machine_busy", Severity.WARNING, text)
        return more_ms
    waited, machine = duration_text(waited_ms + fired.excused_ms), "the machine was not busy"
    if fired.excused_ms:
        machine = "a busy machine alone does not explain that"
    text = (
        f"{what} within {waited}, and {machine}; {meanwhile}. Entries are off: look at the disk, and at the ledger's"
        f" actor (main.py status)"
    )
    halt(turn, "ledger_silent", text)
    return 0


def tell_fill(wiring: Wiring, turn: Turn[IBKRState], execution: Execution) -> None:
    """Tell a position an execution that the ledger has not told, with the totals that are known here."""
    order = find(turn.state.table, execution.order_ref)
    order_ref, qty, cost_ticks = execution.order_ref, execution.qty, execution.qty * execution.price_ticks
    for share in () if order is None else order.shares:  # the order counts this execution already
        if order is not None and (not order.legs or share.con_id == execution.con_id):
            order_ref, qty, cost_ticks = share.order_ref, order.filled_of(share), order.filled_cost_ticks_of(share)
    fill = orders.FillRecorded(
        order_ref=order_ref, con_id=execution.con_id, side=execution.side, exec_id=execution.exec_id,
        revision=execution.revision, qty=execution.qty, price_ticks=execution.price_ticks, at_utc=execution.at_utc,
        filled_qty_total=qty, filled_cost_ticks_total=cost_ticks, is_durable=False,
        is_price_known=not execution.is_adopted,
    )  # fmt: skip
    turn.report(wiring.position(execution.con_id), fill)


def _take_out(turn: Turn[IBKRState], subject: str) -> Execution | None:
    waiting = turn.state.unrecorded
    found = next((e for e in waiting if _subject(e.exec_id, e.revision) == subject), None)
    turn.state.unrecorded = tuple(execution for execution in waiting if execution is not found)
    return found


def _subject(exec_id: str, revision: int) -> str:
    return f"{exec_id}/{revision}"
