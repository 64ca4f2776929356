"""What a position hears of its fills, its orders and its broker, and when it is flat."""

from __future__ import annotations

from msgspec.structs import replace

from actors.position import entry
from actors.position import exit as exit_
from actors.position import reports as says
from actors.position.state import Turn
from domain.instants import MS
from domain.instruments import Quote, Right, Side, Spot
from domain.orders.live_order import LiveOrder, Stage, ended, found_working, gone_after_utc, is_gone, is_over
from domain.position import exits
from domain.position.book import new_life, with_fees, with_fill
from domain.position.cycle import EndReason, ExitReason, PositionEvent, PositionState
from domain.position.exits import Wanted, Watch
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from messages import market, orders

_ALIVE = frozenset({PositionState.OPEN, PositionState.PENDING_EXIT, PositionState.SETTLING})
_ENTRY, _EXIT = "entry", "exit"


# -- fills ---------------------------------------------------------------------------------------


def booked(turn: Turn, fill: orders.FillRecorded) -> None:
    """Book a recorded fill; whatever the state, a fill moves it."""
    was_cycle, start = turn.s.cycle, turn.s.book
    if was_cycle is PositionState.FLAT:
        start = new_life(start)
    book = with_fill(
        start, fill.order_ref, fill.side, fill.filled_qty_total, fill.filled_cost_ticks_total, fill.revision
    )
    if book == start:
        return
    is_first = turn.intent is not None and was_cycle in (PositionState.FLAT, PositionState.PENDING_ENTRY)
    turn.put(book=book, booked_utc=turn.now)
    if was_cycle is PositionState.FLAT:
        turn.put(watch=Watch(turn.now), took_part=False, end=None, wanted=None, agree_after_utc=turn.now)
        says.watched(turn)
    turn.move(PositionEvent.BOUGHT if fill.side is Side.BUY else PositionEvent.SOLD)
    if is_first and fill.side is Side.BUY:
        _opened(turn)


def _opened(turn: Turn) -> None:
    watch = turn.s.watch
    spot = watch.spot.price_ticks if watch.spot is not None else turn.intent.decision_spot_ticks
    greeks = watch.quote.greeks if watch.quote is not None else None
    turn.put(opened_utc=turn.now, entry_spot_ticks=spot, entry_iv=greeks.iv if greeks is not None else None)
    says.opened(turn)
    turn.arm("slow", turn.w.exits.slow_check_ms)


def charged(turn: Turn, fee: orders.CommissionRecorded) -> None:
    """Book the fees of an order."""
    if turn.s.intent is None:
        return  # a fee that came after the life's end and a restart: the ledger has it
    side = Side.BUY if fee.order_ref == turn.intent.order_ref else Side.SELL
    turn.put(book=with_fees(turn.s.book, fee.order_ref, side, fee.commission_cents_total, fee.charged_qty_total))


# -- orders --------------------------------------------------------------------------------------


def _live(turn: Turn, order_ref: str) -> tuple[str, LiveOrder] | None:
    """Find a live order that may be at the broker, and which of the two it is."""
    for side, order in ((_ENTRY, turn.s.entry), (_EXIT, turn.s.exit)):
        if order is not None and order.ref == order_ref and order.stage is not Stage.RECORDING:
            return side, order
    return None


def query(turn: Turn, order_ref: str) -> None:
    """Ask the broker what became of an order; until the answer it is unknown, and nothing is sent in its place."""
    live = _live(turn, order_ref)
    if live is not None:
        turn.put(**{live[0]: replace(live[1], stage=Stage.UNKNOWN, change=None)})
        turn.disarm(f"ack:{order_ref}")
        turn.arm(f"query:{order_ref}", turn.w.connection.query_wait_ms)
    turn.tell(orders.QueryOrder(order_ref=order_ref, reply_to=turn.w.name), "ibkr")


def asked_again(turn: Turn, order_ref: str, *, only: Stage) -> None:
    """Ask when a wait for an order's news is over and it still is where it was; a lost link asks by itself."""
    live = _live(turn, order_ref)
    if live is None or turn.s.is_link_up is False:
        return
    is_end_doubtful = only is Stage.UNKNOWN and live[1].ended_qty is not None
    if live[1].stage is only or is_end_doubtful:
        query(turn, order_ref)


def denied(turn: Turn, news: orders.OrderDenied) -> None:
    """An order that never reached the socket is over; one whose reference was seen before must be looked for."""
    live = _live(turn, news.order_ref)
    if live is None:
        return
    if news.code is RejectCode.DUPLICATE_REF:
        query(turn, news.order_ref)
        return
    turn.put(**{live[0]: ended(live[1], turn.s.book.filled(news.order_ref), is_sure=True)})


def rejected(turn: Turn, news: orders.OrderRejected) -> None:
    """A refused entry ended without a fill; after a refused exit the broker is asked before anything else is sent."""
    live = _live(turn, news.order_ref)
    if live is None:
        return
    side, order = live
    if side == _ENTRY:
        turn.put(entry=ended(order, 0))
        turn.arm(f"query:{order.ref}", turn.w.exits.record_wait_ms)
    else:
        turn.put(exit=replace(order, reached=False))
        query(turn, order.ref)


def found(turn: Turn, news: orders.OrderFound) -> None:
    """Believe a read-back: the order works as the broker says, or it ended with what its executions say."""
    live = _live(turn, news.order_ref)
    if live is None:
        if news.is_working and turn.s.intent is not None and news.order_ref.startswith(turn.s.intent.position_id):
            turn.tell(orders.CancelOrder(order_ref=news.order_ref, reply_to=turn.w.name), "ibkr")
        return
    side, order = live
    turn.disarm(f"query:{order.ref}")
    if news.is_working:
        turn.put(**{side: found_working(order, news.qty, news.order_type, news.limit_ticks)})
        if side == _EXIT:
            exit_.resumed(turn)
        return
    order = ended(order, news.filled_qty, is_sure=True)
    turn.put(**{side: order})
    if not is_over(order, turn.s.book.filled(order.ref)):
        turn.arm(f"query:{order.ref}", turn.w.connection.query_wait_ms)


def missing(turn: Turn, news: orders.OrderNotFound) -> None:
    """Believe that there is no such order, but only when none can be under way any more."""
    live = _live(turn, news.order_ref)
    if live is None:
        return
    side, order = live
    wait_ms = turn.w.connection.abandon_wait_ms
    if is_gone(order, news.read_back_utc, wait_ms):
        turn.put(**{side: ended(order, turn.s.book.filled(order.ref), is_sure=True)})
    else:
        turn.arm_at(f"query:{order.ref}", max(gone_after_utc(order, wait_ms), turn.now + MS))


def settle_orders(turn: Turn) -> None:
    """Let go of the orders whose recorded fills say that they are over."""
    order = turn.s.entry
    if order is not None and is_over(order, turn.s.book.filled(order.ref)):
        entry.over(turn)
    order = turn.s.exit
    if order is not None and is_over(order, turn.s.book.filled(order.ref)):
        exit_.over(turn)


def steer_cancels(turn: Turn) -> None:
    """Cancel what is no longer wanted; an order that is unknown is found first."""
    if turn.s.is_link_up is False:
        return
    for side, order in ((_ENTRY, turn.s.entry), (_EXIT, turn.s.exit)):
        if order is None or not order.cancel_wanted or order.stage not in (Stage.SENT, Stage.WORKING):
            continue
        cancel_utc = order.cancel_utc if order.cancel_utc is not None else turn.now
        turn.put(**{side: replace(order, stage=Stage.CANCELLING, cancel_utc=cancel_utc, change=None)})
        turn.tell(orders.CancelOrder(order_ref=order.ref, reply_to=turn.w.name), "ibkr")
        turn.disarm(f"ack:{order.ref}")
        turn.arm(f"cancel:{order.ref}", turn.w.exits.cancel_confirm_ms)


# -- market and day ------------------------------------------------------------------------------


def quoted(turn: Turn, quote: Quote | None, spot: Spot | None) -> None:
    """Take a quote, and let the hard exits look at it."""
    if quote is not None and quote.con_id != turn.w.con_id:
        return
    turn.put(watch=exits.with_market(turn.s.watch, quote, spot, turn.now, turn.w.exits))
    if turn.s.holding is not None and turn.s.entry_spot_ticks is None and spot is not None:
        turn.put(entry_spot_ticks=spot.price_ticks)  # a fill found after a restart: its own spot is not known
    exit_.look(turn, slow=False)


def phase_changed(turn: Turn, phase: Phase) -> None:
    """Take the day's phase: the flatten time wants everything out, the close leaves the rest to settlement."""
    turn.put(phase=phase)
    if phase is Phase.FLATTEN:
        exit_.want(turn, Wanted(ExitReason.EOD))
    elif phase is Phase.CLOSED and turn.s.book.held > 0:
        turn.move(PositionEvent.SESSION_CLOSED)


# -- flat ----------------------------------------------------------------------------------------


def broker_held(turn: Turn, qty: int, read_utc: int) -> None:
    """Take what the broker holds; a difference that lasts becomes a dispute."""
    if turn.s.intent is None or read_utc < turn.s.broker_read_utc:
        return
    turn.put(broker_qty=qty, broker_read_utc=read_utc)
    if qty == turn.s.book.held:
        turn.put(retry_utc=0, is_disputed=False)  # what refused the last exit may have been this difference
    if qty != turn.s.book.held and turn.s.cycle in _ALIVE:
        _await_agreement(turn)


def _await_agreement(turn: Turn) -> None:
    if turn.s.agree_due_utc is None:
        due_utc = turn.now + turn.w.exits.agreement_ms * MS
        turn.put(agree_due_utc=due_utc)
        turn.arm_at("agree", due_utc)


def checked(turn: Turn) -> None:
    """Dispute when broker and ledger had their time and still differ."""
    turn.put(agree_due_utc=None)
    state = turn.s
    if state.cycle not in _ALIVE or state.cycle is PositionState.SETTLING or state.is_link_up is False:
        return
    is_read_since = state.broker_qty is not None and state.broker_read_utc >= state.booked_utc
    if is_read_since and state.broker_qty != state.book.held:
        says.disputed(turn, f"the broker holds {state.broker_qty}, the ledger {state.book.held}")
    elif state.book.held == 0 and state.entry is None and state.exit is None and not _is_broker_flat(turn):
        if state.is_link_up is None:
            query(turn, turn.intent.order_ref)  # nothing heard of the session since the restart: ask for a read-back
        else:
            says.disputed(turn, "everything is sold and the broker does not confirm it")


def _is_broker_flat(turn: Turn) -> bool:
    return turn.s.broker_qty == 0 and turn.s.broker_read_utc >= turn.s.agree_after_utc


def steer_flat(turn: Turn) -> None:
    """End the life when nothing is held, no order lives and the broker agrees."""
    state = turn.s
    if state.book.held < 0:
        says.disputed(turn, f"more was sold than held: {state.book.held}", level=2)
    if state.cycle not in _ALIVE or state.entry is not None or state.exit is not None:
        return
    if state.cycle is PositionState.SETTLING and _is_broker_flat(turn):
        _close(turn)
    elif state.book.held == 0:
        if not _is_broker_flat(turn):
            _await_agreement(turn)
        elif not _is_fee_awaited(turn):
            _close(turn)


def _is_fee_awaited(turn: Turn) -> bool:
    """Wait once for commission reports, so that the result is net of what they say."""
    stem = turn.intent.position_id
    rows = (row for row in turn.s.book.rows if row.order_ref.startswith(stem) and row.qty)
    if all(row.charged_qty >= row.qty for row in rows):
        return False
    if turn.s.fees_due_utc is None:
        due_utc = turn.now + turn.w.exits.record_wait_ms * MS
        turn.put(fees_due_utc=due_utc)
        turn.arm_at("fees", due_utc)
    return turn.s.fees_due_utc is not None and turn.now < turn.s.fees_due_utc


def _close(turn: Turn) -> None:
    state = turn.s
    end, settled_ticks = EndReason.CLOSED, None
    if state.book.held > 0:
        price = _intrinsic_ticks(turn)
        end, settled_ticks = (EndReason.SETTLED if price else EndReason.EXPIRED), price * state.book.held
    says.closed(turn, end, settled_ticks)
    turn.move(PositionEvent.BROKER_AGREED)
    turn.put(wanted=None, end=end, agree_due_utc=None, fees_due_utc=None, retry_utc=0)
    turn.tell(market.UnwatchContract(con_id=turn.w.con_id, reply_to=turn.w.name), "quotes")
    turn.disarm("slow", "agree", "fees", "retry")


def _intrinsic_ticks(turn: Turn) -> int:
    """Value what expired at the last underlying price seen, which stands in for the settlement price."""
    spot, contract = turn.s.watch.spot, turn.intent.contract
    if spot is None:
        return 0
    sign = 1 if contract.right is Right.CALL else -1
    return max(sign * (spot.price_ticks - contract.strike_ticks), 0)
