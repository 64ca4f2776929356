"""Chains and lines: which contracts exist today, and which of them are streamed."""

from __future__ import annotations

from collections.abc import Iterable

from actors.quotes.state import QuotesState, Timer, Wiring, alarm
from domain.instants import MS
from domain.options import contract_choice
from messages import market, session
from supervision.turn import Turn


def on_phase(wiring: Wiring, turn: Turn[QuotesState], message: session.PhaseChanged) -> None:
    """Take over the day's close; a new session has chains of its own."""
    state = turn.state
    state.close_utc = message.close_utc
    if message.session == state.session:
        return
    state.session = message.session
    state.chains, state.centres = {}, {}
    if state.link.is_up:
        replan(wiring, turn)
        list_chains(wiring, turn, wiring.classes)


def list_chains(wiring: Wiring, turn: Turn[QuotesState], tickers: Iterable[str]) -> None:
    """Ask for the chains of the session's expiry; nothing while the session is not known."""
    state = turn.state
    if state.session is None:
        return
    for ticker in tickers:
        turn.tell(
            wiring.port,
            market.ListChain(
                session_epoch=state.session_epoch, ticker=ticker, trading_class=wiring.classes[ticker],
                expiry=state.session,
            ),
        )  # fmt: skip


def on_chain_listed(wiring: Wiring, turn: Turn[QuotesState], fact: market.ChainListed) -> None:
    """Keep a chain and stream its window."""
    state = turn.state
    if fact.session_epoch == state.session_epoch:
        today = tuple(contract for contract in fact.contracts if contract.expiry == state.session)
        state.chains = {**state.chains, fact.ticker: today}
        replan(wiring, turn)


def on_chain_failed(wiring: Wiring, turn: Turn[QuotesState], fact: market.ChainFailed) -> None:
    """Tell people, and ask again after a pause."""
    if fact.session_epoch == turn.state.session_epoch:
        text = f"the {fact.ticker} chain cannot be listed: {fact.why}; it is asked for again"
        alarm(turn, f"chain:{fact.ticker}", text)
        turn.arm(Timer.LIST_CHAIN, turn.now + wiring.rules.retry_slow_ms * MS, fact.ticker)


def on_chain_due(wiring: Wiring, turn: Turn[QuotesState], ticker: str) -> None:
    """Ask again for a chain that is still missing."""
    state = turn.state
    if state.link.is_up and ticker in wiring.classes and ticker not in state.chains:
        list_chains(wiring, turn, (ticker,))


def on_lines_refused(turn: Turn[QuotesState], fact: market.LinesRefused) -> None:
    """Forget lines that the broker refused; what is held and refused is worth a page."""
    state = turn.state
    state.lines = {con_id: contract for con_id, contract in state.lines.items() if con_id not in fact.con_ids}
    held = [contract.label for contract in state.watched if contract.con_id in fact.con_ids]
    if held:
        alarm(turn, "lines", f"no market data for held {', '.join(held)} (code {fact.vendor_code})")


def replan(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Bring the lines into agreement with what is held, asked for and around the money."""
    state = turn.state
    centres, windows = dict(state.centres), []
    for ticker in wiring.classes:
        chain, spot = state.chains.get(ticker, ()), state.spots.get(ticker)
        if not chain or spot is None:
            continue
        around, strikes = wiring.strikes_around(ticker), contract_choice.strikes_of(chain)
        centres[ticker] = contract_choice.centre(strikes, spot.price_ticks, centres.get(ticker), around)
        windows.append(contract_choice.window(chain, centres[ticker], around))
    state.centres = centres
    if not state.link.is_up:
        return
    held = {contract.con_id: contract for contract in state.watched}
    for con_id in sorted({request.con_id for request in state.requests}):
        contract = state.contract(con_id)
        if contract is not None:
            held[con_id] = contract
    plan = contract_choice.line_plan(held.values(), windows, wiring.rules.lines_max - len(wiring.underlyings))
    close = tuple(sorted(held))
    gone = tuple(sorted(state.lines.keys() - plan.keys()))
    new = tuple(plan[con_id] for con_id in plan if con_id not in state.lines)
    epoch = state.session_epoch
    if close != state.close_con_ids:
        turn.tell(wiring.port, market.WatchClosely(session_epoch=epoch, con_ids=close))
    if gone:
        turn.tell(wiring.port, market.Unsubscribe(session_epoch=epoch, con_ids=gone))
        state.quotes = {con_id: quote for con_id, quote in state.quotes.items() if con_id in plan}
    if new:
        turn.tell(wiring.port, market.Subscribe(session_epoch=epoch, contracts=new))
    state.lines, state.close_con_ids = plan, close


def has_moved(wiring: Wiring, state: QuotesState, ticker: str) -> bool:
    """Return whether the money has left the middle of a ticker's window."""
    chain = state.chains.get(ticker)
    if not chain:
        return False
    strikes, old_ticks = contract_choice.strikes_of(chain), state.centres.get(ticker)
    price_ticks = state.spots[ticker].price_ticks
    return contract_choice.centre(strikes, price_ticks, old_ticks, wiring.strikes_around(ticker)) != old_ticks
