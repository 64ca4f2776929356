"""Halts: an underlying is halted while one of its lines, or of its options' lines, says so."""

from __future__ import annotations

from collections.abc import Collection

from actors.quotes.state import QuotesState
from domain.units import Utc
from messages import market
from supervision.turn import Turn


def on_halt_heard(turn: Turn[QuotesState], fact: market.HaltHeard) -> None:
    """Publish that an underlying is halted, or trades again."""
    state = turn.state
    contract = state.contract(fact.con_id)
    ticker = fact.ticker or (contract.ticker if contract is not None else "")
    if fact.session_epoch == state.session_epoch and ticker:
        line = (ticker, fact.con_id)
        _take_over(turn, state.halted | {line} if fact.is_halted else state.halted - {line})


def forget_lines(turn: Turn[QuotesState], con_ids: Collection[int]) -> None:
    """Forget what lines said that are streamed no more: nobody would say that they trade again."""
    if turn.state.halted:
        _take_over(turn, frozenset(line for line in turn.state.halted if line[1] not in con_ids))


def tell_trading(turn: Turn[QuotesState], since_utc: Utc) -> None:
    """After a crash, tell again of each underlying that was priced since then and that nothing calls halted: it trades.

    A halt that ended meanwhile is told by no line, and would keep positions from the market for good.
    """
    state = turn.state
    state.untold -= {ticker for ticker, _ in state.halted}
    for ticker in sorted(state.untold):
        spot = state.spots.get(ticker)
        if spot is not None and spot.at_utc >= since_utc:
            state.untold -= {ticker}
            turn.publish(market.HaltChanged(ticker=ticker, is_halted=False, at_utc=turn.now, is_told_again=True))


def _take_over(turn: Turn[QuotesState], halted: frozenset[tuple[str, int]]) -> None:
    before, after = {ticker for ticker, _ in turn.state.halted}, {ticker for ticker, _ in halted}
    turn.state.halted = halted
    for ticker in sorted(before ^ after):
        turn.publish(market.HaltChanged(ticker=ticker, is_halted=ticker in after, at_utc=turn.now))
