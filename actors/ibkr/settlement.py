"""What a read-back settles: orders are found working, ended, or nowhere; queries are answered; the foreign is named.

Groups succeed or fail one by one, and each conclusion needs its own: a row that was read is believed, that there is
none only where its group was read whole. Exits need open orders and positions, entries need everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from actors.ibkr.fills import counted, say_ledger_silent, tell_fill, watch_legs
from actors.ibkr.link import change_mode, finished, lose, restored, suspend
from actors.ibkr.orders import withdraw_all
from actors.ibkr.read_back import start_read
from actors.ibkr.reports import (
    record_ids,
    reject,
    report_acknowledged,
    report_change_refused,
    report_closed,
    report_missing,
    report_position,
    tell_ending,
)
from actors.ibkr.state import IBKRState, Query, Stray, Timer, Wiring, alarm, halt
from domain.alarm import Severity
from domain.instants import MS
from domain.instruments import Side
from domain.orders.combo import COMBO_CON_ID
from domain.orders.references import is_exit_ref
from domain.orders.table import Order, OrderEvent, OrderStage, OrderStatus, Trouble, find, find_share
from domain.position.cycle import ExitReason
from domain.risk.kill import KillLevel
from domain.session.modes import ModeEvent
from domain.starved import busy_text, excused_ms
from domain.units import Qty, Utc
from messages import broker, lifecycle, orders, positions, session
from messages.broker import BrokerOrder, BrokerPosition, BrokerRead, ReadGroup, Referenced
from supervision.turn import Turn

READ_ONLY = "Read-Only"  # the broker's own words, in its error 321
READ_ONLY_REMEDY = "Untick 'Read-Only API' in the gateway's settings (Configuration, API, Settings)."


def on_broker_read(wiring: Wiring, turn: Turn[IBKRState], read: BrokerRead) -> None:
    """Have the ledger compare the broker's truth with ours."""
    state = turn.state
    if read.read_n != state.reading:
        return  # given up since, or of a link before
    read = read.with_refs(state.refs)
    state.reading, state.read = None, read
    if ReadGroup.POSITIONS not in _failed(read):
        newer = {row for row in state.positions if row[0] in state.touched}
        rows = {(p.contract.con_id, p.qty) for p in read.positions if p.contract.con_id not in state.touched}
        state.positions = tuple(sorted(rows | newer))
    compare = session.Reconcile(session_epoch=state.session_epoch, read=read, account_key=state.account_key)
    turn.tell("desk_ledger", compare)
    turn.disarm(Timer.READ_BACK)
    turn.arm(Timer.RECONCILE, turn.now + wiring.rules.read_back_ms * MS)


def on_broker_read_failed(wiring: Wiring, turn: Turn[IBKRState], fact: broker.BrokerReadFailed) -> None:
    """Close the link: without a read-back nothing is known of what the broker holds."""
    if fact.read_n == turn.state.reading:
        lose(wiring, turn, f"read-back failed: {fact.why}")


def on_read_back_overdue(wiring: Wiring, turn: Turn[IBKRState], fired: lifecycle.TimerFired) -> None:
    """Close the link: it looks alive and does not answer; wait on where the machine took a good part of the time."""
    if turn.state.reading is None:
        return
    waited_ms = 2 * wiring.rules.read_back_ms
    if more_ms := excused_ms(fired.starved_ms, waited_ms, fired.excused_ms):
        turn.arm(Timer.READ_BACK, turn.now + more_ms * MS, excused_ms=fired.excused_ms + more_ms)
        text = f"The read-back was not answered in time, but {busy_text(fired.starved_ms, waited_ms)}."
        alarm(turn, "machine_busy", Severity.WARNING, text)
        return
    lose(wiring, turn, "the read-back was not answered")


def on_reconcile_overdue(wiring: Wiring, turn: Turn[IBKRState], fired: lifecycle.TimerFired) -> None:
    """Go on without the ledger, so that exits may leave; entries wait until it has compared a read-back.

    On a busy machine nobody is to blame: that is told, and the next read-back is compared.
    """
    read = turn.state.read
    if read is None:
        return
    for execution in read.executions:
        order = find(turn.state.table, execution.order_ref)
        if order is not None and counted(order, execution) is not order:
            turn.state.keep(counted(order, execution))
            if execution.con_id != COMBO_CON_ID:
                tell_fill(wiring, turn, execution)
    turn.state.reconcile_excused_ms += say_ledger_silent(
        turn, replace(fired, excused_ms=turn.state.reconcile_excused_ms), wiring.rules.read_back_ms,
        "The ledger did not compare the broker's account with its own",
        "exits go by the broker's account, entries wait for the ledger",
    )  # fmt: skip
    _settle_all(wiring, turn, read, None)


def on_reconciled(wiring: Wiring, turn: Turn[IBKRState], fact: session.Reconciled) -> None:
    """Settle every order, cancel what nobody wants, halt on what is foreign; then exits and the warm-up may go on."""
    read = turn.state.read
    turn.state.reconcile_excused_ms = 0
    if read is not None and fact.read_n == read.read_n:  # else an answer to a read-back that was given up
        _settle_all(wiring, turn, read.with_refs(dict(fact.named)), fact)


def _settle_all(wiring: Wiring, turn: Turn[IBKRState], read: BrokerRead, fact: session.Reconciled | None) -> None:
    """Take over what was read; `fact` is the ledger's comparison, `None` where it gave none."""
    state = turn.state
    was_known, was_whole = state.is_known, state.is_reconciled
    is_whole = read.is_complete and fact is not None
    state.read, state.failed = None, read.failed
    turn.disarm(Timer.RECONCILE)
    for order in restored(wiring, turn, () if fact is None else fact.combos):
        _take_over(turn, order)
    _settle(wiring, turn, read)
    _cancel_unwanted(wiring, turn, read, () if fact is None else fact.cancel_refs, is_first=not was_whole)
    taken_back = () if fact is None else fact.taken_back
    if fact is not None:
        _halt_on_foreign(turn, fact)
        for position in taken_back:
            state.follow_contract(position.contract.con_id)
    if ReadGroup.POSITIONS not in _failed(read):
        for con_id in state.con_ids:
            # positions reported since the read-back began may be newer than it: the latest word goes out
            is_back = any(position.contract.con_id == con_id for position in taken_back)
            report_position(wiring, turn, con_id, read.read_utc, is_taken_back=is_back)
        state.read_utc = read.read_utc
    _buy_back(wiring, turn, taken_back)
    _say_what_failed(turn, read)
    if is_whole:
        state.is_known = state.is_reconciled = True
        change_mode(wiring, turn, ModeEvent.RECONCILED, "reconciled")
    elif read.allows_exits:
        state.is_known = True
    else:
        suspend(wiring, turn, "open orders or positions cannot be read")
    if (is_whole and (not was_whole or state.is_morning)) or (state.is_known and not was_known):
        # Only a link's first: a position asks about what it does not know on each, and every question is a read-back.
        turn.publish(finished(turn))
        state.is_morning = state.is_morning and not is_whole
    if state.is_read_wanted or (is_whole and state.queries):
        start_read(wiring, turn)
    elif not is_whole:
        turn.arm(Timer.READ_REST, turn.now + wiring.rules.read_rest_ms * MS)


def _take_over(turn: Turn[IBKRState], order: Order) -> None:
    """Take a combination that works and is not on record into the table, so that no leg leaves beside it.

    One that is there was sent in this life, and the record of its legs is late.
    """
    state = turn.state
    if find(state.table, order.order_ref) is None:
        state.keep(order)
        for share in order.shares:
            state.use_ref(share.order_ref)
            state.follow_contract(share.con_id)


def _buy_back(wiring: Wiring, turn: Turn[IBKRState], taken_back: tuple[BrokerPosition, ...]) -> None:
    """Have what is short and had no watcher closed like at kill level 2: no short stays uncovered."""
    for position in taken_back:
        if position.qty < 0:
            flatten = positions.FlattenPosition(reason=ExitReason.KILL)
            turn.tell(wiring.position(position.contract.con_id), flatten)


def _say_what_failed(turn: Turn[IBKRState], read: BrokerRead) -> None:
    """Tell people which groups cannot be read, in the broker's words, and whether an exit could leave."""
    if not read.failed:
        return
    what = "; ".join(f"{failure.group.value}: {failure.why.rstrip('.')}" for failure in read.failed)
    is_read_only = any(READ_ONLY.lower() in failure.why.lower() for failure in read.failed)
    remedy = READ_ONLY_REMEDY if is_read_only else "Look at the gateway; restart it if this lasts."
    if read.allows_exits:
        text = f"The broker cannot be read whole ({what}): exits go on, entries wait. {remedy}"
        alarm(turn, "read_back", Severity.WARNING, text)
        return
    may_hold = bool(turn.state.positions) or ReadGroup.POSITIONS in _failed(read)
    text = f"No exit can leave: the broker cannot be read ({what}). {remedy}"
    alarm(turn, "read_back", Severity.CRITICAL if may_hold else Severity.HIGH, text)


def _failed(read: BrokerRead) -> frozenset[ReadGroup]:
    return frozenset(failure.group for failure in read.failed)


def _cancel_unwanted(
    wiring: Wiring, turn: Turn[IBKRState], read: BrokerRead, cancel_refs: tuple[str, ...], *, is_first: bool
) -> None:
    """Cancel what the ledger no longer wants, and every entry while the kill level is raised.

    Of this link's first read-back all that is named goes; of a later one only what is not in the table: an order of a
    life that is over. It is put there, so that its cancel is looked after.
    """
    state = turn.state
    known = state.table.orders
    strange = [o for o in read.orders if o.is_working and o.order_ref in cancel_refs and o.order_ref not in known]
    for found in strange:
        state.keep(_adopted(wiring, found))
    refs = cancel_refs if is_first else tuple(found.order_ref for found in strange)
    is_killed = state.kill_level > KillLevel.RUNNING
    unwanted = [
        order for order in state.table.under_way if order.order_ref in refs or (is_killed and not order.is_exit)
    ]
    withdraw_all(wiring, turn, unwanted)


def _adopted(wiring: Wiring, found: BrokerOrder) -> Order:
    """Return an own order that works although nobody knows it any more; it was sent long ago."""
    return Order(
        order_ref=found.order_ref, con_id=found.con_id, owner=wiring.position(found.con_id), side=found.side,
        is_exit=is_exit_ref(found.order_ref), qty=found.qty, order_type=found.order_type,
        limit_ticks=found.limit_ticks, perm_id=found.perm_id, stage=OrderStage.WORKING, handed_utc=Utc(0),
        is_elsewhere=found.is_of_other_client,
    )  # fmt: skip


def _halt_on_foreign(turn: Turn[IBKRState], fact: session.Reconciled) -> None:
    """Raise what is not ours, or does not agree, once for as long as it stays the same."""
    seen = (
        *(f"position {p.contract.label} {_qty_text(p.qty)}" for p in fact.foreign_positions),
        *(f"order {ref or 'without a ref'}" for ref in fact.foreign_orders),
        *(f"mismatch {text}" for text in fact.mismatches),
    )
    is_news = bool(seen) and seen != turn.state.foreign
    turn.state.foreign = seen
    if is_news:
        halt(turn, "foreign", f"the broker's book is not ours: {'; '.join(seen)}")


def _qty_text(qty: Qty) -> str:
    return "of a size that cannot be read" if qty == broker.QTY_UNKNOWN else f"{qty:+d}"


# -- orders and queries -------------------------------------------------------------------------


def _settle(wiring: Wiring, turn: Turn[IBKRState], read: BrokerRead) -> None:
    """Believe the read-back about every order, then answer the queries that it can answer."""
    state = turn.state
    executions, found = _by_ref(read.executions), _by_ref(read.orders)
    for was in state.table:
        order = was
        for execution in executions.get(was.order_ref, ()):
            order = counted(order, execution)
        watch_legs(wiring, turn, order)
        rows = found.get(was.order_ref, ())
        if len({row.perm_id for row in rows if row.is_working and row.perm_id}) > 1:
            order = _marked_as_doubled(turn, order)
        order = _settle_order(wiring, turn, order, read, _one_of(rows))
        if order is not was:  # most are long over
            state.keep(order)
    for one in read.orders:
        if one.order_ref:
            state.use_ref(one.order_ref)
    state.queries = tuple(query for query in state.queries if not _is_answered(wiring, turn, query, read))
    if ReadGroup.ORDERS not in _failed(read):
        state.strays = _strays(state, read)


def _marked_as_doubled(turn: Turn[IBKRState], order: Order) -> Order:
    """Return an order that works twice at the broker marked to be cancelled until none of the two is left."""
    text = (
        f"Order {order.order_ref} works twice at the broker: both are cancelled. Look at the orders of contract"
        f" {order.con_id} in TWS; together they could trade more than is held."
    )
    alarm(turn, f"doubled:{order.order_ref}", Severity.CRITICAL, text)
    return order.marked_for_cancel()


def _settle_order(
    wiring: Wiring, turn: Turn[IBKRState], order: Order, read: BrokerRead, found: BrokerOrder | None
) -> Order:
    """Return an order, its executions counted, as a read-back that found it (`None`: nowhere) leaves it."""
    if read.read_n < order.settle_n:
        return order  # it began before the order, or what was sent or heard of it since
    failed = _failed(read)
    if found is not None and found.is_working:
        return _settle_working(wiring, turn, order.with_ending(None), found, failed)
    if order.ending is not None and read.allows_exits:
        return tell_ending(turn, order, order.ending, None if found is None else found.filled_qty)
    if order.stage is OrderStage.ENDED or ReadGroup.ORDERS in failed:
        return order
    if found is not None or (order.filled_qty and ReadGroup.EXECUTIONS not in failed):
        return _settle_ended(turn, order, found)
    if order.stage is OrderStage.MISSING or not _can_be_missed(order, read):
        return order
    if order.trouble is not None and order.trouble.is_refusal and order.perm_id == 0:
        return reject(turn, order, order.trouble)
    given_up_utc = order.handed_utc + wiring.rules.abandon_wait_ms * MS
    if turn.now < given_up_utc:
        # bytes of a broken link may still arrive, so that "nowhere" is believed late only
        if order.stage is OrderStage.IN_DOUBT:
            turn.arm(Timer.READ_AGAIN, given_up_utc)
        return order
    report_missing(turn, order, read.read_utc)
    missing = order.after(OrderEvent.NOT_FOUND)
    record_ids(turn, missing, OrderStatus.UNKNOWN, "read-back")
    return missing


def _can_be_missed(order: Order, read: BrokerRead) -> bool:
    """Return whether an order that was not found is nowhere: an entry needs every group for that, an exit few.

    A new exit is bounded by the broker's position, so that one whose fills cannot be read is not sold twice.
    """
    return read.allows_exits if order.is_exit else read.is_complete


def _settle_working(
    wiring: Wiring, turn: Turn[IBKRState], was: Order, found: BrokerOrder, failed: frozenset[ReadGroup]
) -> Order:
    """Take over a working order; one that was given up, or that would open a position the other way, is cancelled."""
    if not was.perm_id:
        record_ids(turn, was.with_perm_id(found.perm_id), OrderStatus.WORKING, "read-back")
    order = was.after(OrderEvent.FOUND_WORKING).with_perm_id(found.perm_id or was.perm_id).without_trouble()
    order = order.with_terms(found.order_type, found.limit_ticks, found.qty)
    order = order.placed_by(is_elsewhere=found.is_of_other_client)
    if order.change is not None:
        order = order.without_change()
        report_change_refused(turn, order, was.trouble or Trouble(0, "the change did not reach the broker"))
    if was.stage is not OrderStage.WORKING:
        report_acknowledged(turn, order)
    if was.stage is OrderStage.MISSING or _is_for_nothing(turn.state, order, failed):
        order = order.marked_for_cancel()
    if order.is_elsewhere and not was.is_elsewhere:
        text = (
            f"Order {order.order_ref} works under another client id: it can be neither changed nor cancelled here."
            f" Cancel it in TWS; at level 2 and at the end of the day all orders of the account are cancelled."
        )
        alarm(turn, f"out_of_reach:{order.con_id}", Severity.CRITICAL, text)
    if order.is_cancel_wanted:
        turn.state.keep(order)
        withdraw_all(wiring, turn, (order,))
        return find(turn.state.table, order.order_ref) or order
    return order


def _is_for_nothing(state: IBKRState, order: Order, failed: frozenset[ReadGroup]) -> bool:
    """Return whether an exit works although the broker holds nothing that it could close."""
    if not order.is_exit or ReadGroup.POSITIONS in failed:
        return False
    return any(state.position(share.con_id) * share.side.sign >= 0 for share in order.shares)


def _settle_ended(turn: Turn[IBKRState], order: Order, found: BrokerOrder | None) -> Order:
    status = found.status if found is not None else OrderStatus.UNKNOWN
    if status is OrderStatus.INACTIVE and not order.filled_qty:
        return reject(turn, order.marked_inactive(), order.trouble or Trouble(0, "inactive"))
    ended = order.ended(order.settle_n)
    cause = OrderStatus.FILLED if order.filled_qty >= order.qty else status
    record_ids(turn, ended, cause, "read-back")
    report_closed(turn, ended, cause.value, found.filled_qty if found is not None else ended.filled_qty)
    return ended


def _strays(state: IBKRState, read: BrokerRead) -> tuple[Stray, ...]:
    """Return the orders that our table does not have and that work to sell a contract of ours: they are on sale too."""
    own = state.table.orders
    return tuple(
        Stray(f"order {order.order_ref or f'perm:{order.perm_id}'}", order.con_id, Qty(order.qty - order.filled_qty))
        for order in read.orders
        if order.is_working and order.side is Side.SELL and order.con_id in state.con_ids and order.order_ref not in own
    )


def _by_ref(rows: Iterable[Referenced]) -> dict[str, list[Referenced]]:
    """Return what a read-back tells of each order of ours."""
    of_ref: dict[str, list[Referenced]] = {}
    for row in rows:
        of_ref.setdefault(row.order_ref, []).append(row)
    return of_ref


def _one_of(of_ref: Sequence[BrokerOrder]) -> BrokerOrder | None:
    """Return the order among those of one reference: the one that works, else the newest."""
    return next((order for order in of_ref if order.is_working), of_ref[-1] if of_ref else None)


def _is_answered(wiring: Wiring, turn: Turn[IBKRState], query: Query, read: BrokerRead) -> bool:
    """Answer a query where this read-back began after it and holds what the answer needs.

    An exit that works and that its position alone knows (it went out without its record, in an earlier life) comes into
    the table: else it could be neither changed nor cancelled.
    """
    order_ref, failed = query.order_ref, _failed(read)
    if query.read_n > read.read_n:
        return False
    joint, share = find_share(turn.state.table, order_ref) or (None, None)
    is_leg = joint is not None and share is not None and bool(joint.legs)
    broker_ref = joint.order_ref if joint is not None else order_ref
    ratio = share.ratio if share is not None else 1
    found = _one_of([order for order in read.orders if order.order_ref == broker_ref])
    fills = {
        e.exec_id: e
        for e in sorted(read.executions, key=lambda e: e.revision)
        if e.order_ref == broker_ref and (not is_leg or share is None or e.con_id == share.con_id)
    }
    told_con_ids = {e.con_id for e in fills.values()} | ({found.con_id} if found is not None else set())
    if joint is None and query.con_id is not None and COMBO_CON_ID in told_con_ids:
        # a combination that is over is in no table, and bears its first leg's reference
        fills = {exec_id: e for exec_id, e in fills.items() if e.con_id == query.con_id}
    if not (found is not None and found.is_working):
        needed = {ReadGroup.ORDERS, ReadGroup.EXECUTIONS}
        if found is None and not fills:
            needed = {ReadGroup.ORDERS, ReadGroup.POSITIONS} if is_exit_ref(order_ref) else set(ReadGroup)
        if needed & failed:
            return False
    if found is None and not fills:
        turn.report(query.reply_to, orders.OrderNotFound(order_ref=order_ref, read_back_utc=read.read_utc))
        return True
    if found is not None and found.is_working and is_exit_ref(order_ref) and joint is None:
        order = _adopted(wiring, found)
        for execution in fills.values():
            order = counted(order, execution)
        turn.state.keep(order)
        turn.state.follow_contract(order.con_id)
    filled_qty = Qty(sum(execution.qty for execution in fills.values()))
    if found is not None and is_exit_ref(order_ref):  # what the broker calls sold is not sold again for want of a fill
        filled_qty = max(filled_qty, Qty(found.filled_qty * ratio))
    answer = orders.OrderFound(
        order_ref=order_ref,
        perm_id=found.perm_id if found is not None else next(iter(fills.values())).perm_id,
        is_working=found is not None and found.is_working,
        filled_qty=filled_qty,
        qty=Qty(found.qty * ratio) if found is not None else filled_qty,
        order_type=found.order_type if found is not None else None,
        limit_ticks=found.limit_ticks if found is not None and not is_leg else None,
        status=(found.status if found is not None else OrderStatus.UNKNOWN).value,
        read_back_utc=read.read_utc,
    )
    turn.report(query.reply_to, answer)
    return True
