"""How a position comes back: fills from the ledger, orders from the broker, the rest from its own row."""

from __future__ import annotations

from actors.position import reports as says
from actors.position.facts import query
from actors.position.state import Intent, Turn
from domain.orders.live_order import LiveOrder, Stage
from domain.orders.tiers import Tier
from domain.position.book import Book, with_fees, with_fill
from domain.position.cycle import ExitKind, PositionState
from domain.position.exits import Wanted, Watch
from messages import lifecycle

_REVISION = 1  # totals of the ledger are those of the highest revisions already


def restored(turn: Turn, known: lifecycle.Restored | None) -> None:
    """Rebuild the state and ask the broker for every order that may live.

    An entry is never sent again: it is looked for, and cancelled where it still works.
    """
    if not isinstance(known, lifecycle.PositionRestored) or known.reservation is None:
        return
    held = known.reservation
    intent = Intent(
        intent_id=held.intent_id, source=held.source, strategy=held.strategy, direction=held.direction,
        contract=held.contract, order_ref=held.order_ref, qty=held.qty, deadline_utc=held.deadline_utc,
    )  # fmt: skip
    book = _book(known.fills)
    turn.put(
        intent=intent, book=book, exit_n=known.exit_n, reason=known.exit_reason, opened_utc=known.opened_utc,
        entry_spot_ticks=known.entry_spot_ticks, entry_iv=known.entry_iv, took_part=known.took_part,
        watch=Watch(turn.now), booked_utc=turn.now, agree_after_utc=turn.now, cycle=_cycle(known, book),
    )  # fmt: skip
    if turn.s.cycle is PositionState.PENDING_EXIT and known.exit_reason is not None:
        kind = known.exit_kind or ExitKind.FULL
        turn.put(wanted=Wanted(known.exit_reason, kind, Tier(known.tier)))
    if book.filled(held.order_ref) < held.qty:
        turn.put(entry=_looked_for(turn, held.order_ref, held.qty, Tier.MID, held.deadline_utc, is_entry=True))
    if known.exit_order_ref is not None:
        qty = book.filled(known.exit_order_ref) + max(book.held, 0)
        if book.held > 0:
            turn.put(exit=_looked_for(turn, known.exit_order_ref, qty, Tier(known.tier), turn.now, is_entry=False))
    says.watched(turn)
    if book.bought_qty and known.opened_utc is None:
        turn.put(opened_utc=turn.now)
        says.opened(turn)
    if turn.s.exit is not None:
        query(turn, turn.s.exit.ref)
    if turn.s.entry is not None:  # not at once: the mail that made this actor may be the entry's own
        turn.arm(f"query:{held.order_ref}", turn.w.exits.ack_wait_ms)
    turn.arm("slow", turn.w.exits.slow_check_ms)


def _book(fills: tuple[lifecycle.OrderFill, ...]) -> Book:
    book = Book()
    for fill in fills:
        book = with_fill(book, fill.order_ref, fill.side, fill.qty, fill.cost_ticks, _REVISION)
        book = with_fees(book, fill.order_ref, fill.side, fill.fees_cents, fill.charged_qty)
    return book


def _cycle(known: lifecycle.PositionRestored, book: Book) -> PositionState:
    if not book.bought_qty:
        return PositionState.PENDING_ENTRY
    if known.state is PositionState.SETTLING:
        return PositionState.SETTLING
    is_exiting = known.state is PositionState.PENDING_EXIT or book.held <= 0
    return PositionState.PENDING_EXIT if is_exiting else PositionState.OPEN


def _looked_for(turn: Turn, order_ref: str, qty: int, tier: Tier, deadline_utc: int, *, is_entry: bool) -> LiveOrder:
    return LiveOrder(
        ref=order_ref, qty=qty, tier=tier, order_type=None, limit_ticks=None, stage=Stage.UNKNOWN,
        sent_utc=0 if is_entry else turn.now, deadline_utc=deadline_utc, reached=True, cancel_wanted=is_entry,
        cancel_utc=turn.now if is_entry else None,
    )  # fmt: skip
