"""What a position says of itself: one message each, made from its state."""

from __future__ import annotations

from actors.position.state import Intent, PositionRun, Turn
from domain.instants import MS, SECOND
from domain.position.cycle import EndReason
from messages import market, orders, positions, risk

MARK_AGE_MAX = 60 * SECOND  # a mid older than this is no mark any more (risk-and-execution.md §2, day P&L)


def realised_cents(state: PositionRun, settled_ticks: int | None = None) -> int:
    """Give what this life has realised so far, net of its fees."""
    multiplier = state.intent.contract.multiplier if state.intent is not None else 0
    return state.book.realised_cents(multiplier, settled_ticks) - state.book.fees_cents


def mark_of(state: PositionRun, now: int) -> tuple[int | None, int | None]:
    """Give the unrealised result in cents and the instant of its mark: mid, last good at most 60 s old, else bid."""
    if state.intent is None or state.book.held <= 0:
        return 0, now
    multiplier, held, watch = state.intent.contract.multiplier, state.book.held, state.watch
    cost = state.book.cost_cents(multiplier)
    if watch.good_mid_x2 is not None and watch.good_utc is not None and now - watch.good_utc <= MARK_AGE_MAX:
        return watch.good_mid_x2 * held * multiplier // 2 - cost, watch.good_utc
    if watch.quote is not None and watch.quote.bid_ticks is not None:
        return watch.quote.bid_ticks * held * multiplier - cost, watch.quote.at_utc
    return None, None


def opened(turn: Turn) -> None:
    """Say that the first fill of a life is booked."""
    state, intent = turn.s, turn.intent
    message = positions.PositionOpened(
        position_id=intent.position_id, intent_id=intent.intent_id, contract=intent.contract, source=intent.source,
        strategy=intent.strategy, direction=intent.direction, qty=state.book.held,
        cost_cents=state.book.cost_cents(intent.contract.multiplier), opened_utc=state.opened_utc or turn.now,
    )  # fmt: skip
    turn.tell(message, "risk", "notifier", "web")


def changed(turn: Turn) -> None:
    """Say where the position stands now."""
    state, intent = turn.s, turn.intent
    unrealised, mark_utc = mark_of(state, turn.now)
    message = positions.PositionChanged(
        position_id=intent.position_id, intent_id=intent.intent_id, contract=intent.contract, source=intent.source,
        strategy=intent.strategy, direction=intent.direction, state=state.cycle, qty=state.book.held,
        cost_cents=state.book.cost_cents(intent.contract.multiplier), realised_cents=realised_cents(state),
        fees_cents=state.book.fees_cents, unrealised_cents=unrealised, mark_utc=mark_utc,
        exit_reason=state.wanted.reason if state.wanted is not None else state.reason, at_utc=turn.now,
    )  # fmt: skip
    turn.tell(message, "risk", "web")


def closed(turn: Turn, end: EndReason, settled_ticks: int | None) -> None:
    """Say that the position is flat and the broker agrees."""
    state, intent = turn.s, turn.intent
    message = positions.PositionClosed(
        position_id=intent.position_id, intent_id=intent.intent_id, contract=intent.contract, source=intent.source,
        strategy=intent.strategy, direction=intent.direction,
        reason=state.wanted.reason if state.wanted is not None else state.reason, end=end,
        bought_qty=state.book.bought_qty, realised_cents=realised_cents(state, settled_ticks),
        fees_cents=state.book.fees_cents, opened_utc=state.opened_utc or turn.now, closed_utc=turn.now,
    )  # fmt: skip
    turn.tell(message, "desk_ledger", "risk", "notifier", "web")


def abandoned(turn: Turn, intent: Intent, why: str) -> None:
    """Say that an entry ended without a fill, and give its reservation up."""
    message = positions.EntryAbandoned(
        intent_id=intent.intent_id, order_ref=intent.order_ref, contract=intent.contract, strategy=intent.strategy,
        ticker=intent.contract.ticker, why=why,
    )  # fmt: skip
    turn.tell(message, "desk_ledger", "risk", "notifier", "web")
    turn.tell(orders.ReleaseReservation(intent_id=intent.intent_id, reason=why), "desk_ledger")


def disputed(turn: Turn, why: str, level: int = 1) -> None:
    """Say, once, that ledger and broker do not agree, and halt entries (or more)."""
    if turn.s.is_disputed:
        return
    turn.put(is_disputed=True)
    message = positions.PositionDisputed(
        position_id=turn.intent.position_id, con_id=turn.w.con_id, ledger_qty=turn.s.book.held,
        broker_qty=turn.s.broker_qty, why=why,
    )  # fmt: skip
    turn.tell(message, "ibkr", "risk", "notifier", "web")
    halted(turn, why, level)


def halted(turn: Turn, reason: str, level: int = 1) -> None:
    """Raise the kill level."""
    turn.tell(risk.RaiseKill(level=level, reason=reason, by=turn.w.name), "kill")


def watched(turn: Turn) -> None:
    """Ask for the contract's quotes until flat."""
    turn.tell(market.WatchContract(contract=turn.intent.contract, reply_to=turn.w.name), "quotes")


def quote_wanted(turn: Turn) -> None:
    """Ask for a new tick (the quote is stale)."""
    message = market.RequestQuote(
        request_id=f"{turn.w.name}:{turn.now}", reply_to=turn.w.name, con_id=turn.w.con_id, newer_than_utc=turn.now,
        expires_utc=turn.now + turn.w.exits.blind_resubscribe_ms * MS,
    )  # fmt: skip
    turn.tell(message, "quotes")


def news(turn: Turn, before: PositionRun) -> None:
    """Say and record what this decision changed."""
    state = turn.s
    if state.intent is None:
        return
    if _shown(state) != _shown(before):
        changed(turn)
    if _kept(state) != _kept(before):
        turn.tell(_record(state, state.intent, turn.now), "desk_ledger")


def _shown(state: PositionRun) -> tuple[object, ...]:
    return state.cycle, state.book, state.wanted and state.wanted.reason


def _kept(state: PositionRun) -> tuple[object, ...]:
    return (
        state.cycle, state.wanted, state.reason, state.exit_n, _tier(state), state.entry_spot_ticks, state.entry_iv,
        state.opened_utc, state.took_part, state.end, state.book,
    )  # fmt: skip


def _tier(state: PositionRun) -> int:
    return int(state.exit.tier) if state.exit is not None else 0


def _record(state: PositionRun, intent: Intent, now: int) -> positions.RecordPosition:
    return positions.RecordPosition(
        position_id=intent.position_id, intent_id=intent.intent_id, con_id=intent.contract.con_id, state=state.cycle,
        exit_reason=state.wanted.reason if state.wanted is not None else state.reason,
        exit_kind=state.wanted.kind if state.wanted is not None else None, exit_n=state.exit_n, tier=_tier(state),
        entry_spot_ticks=state.entry_spot_ticks, entry_iv=state.entry_iv, opened_utc=state.opened_utc,
        took_part=state.took_part, end=state.end, realised_cents=realised_cents(state), at_utc=now,
    )  # fmt: skip
