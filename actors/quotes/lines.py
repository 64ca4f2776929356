"""Chains and lines: which contracts exist today, and which of them are streamed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from actors.quotes.halts import forget_lines
from actors.quotes.state import QuotesState, Timer, Wiring, alarm
from domain.alarm import Severity
from domain.instants import MS
from domain.instruments import Contract, Spot
from domain.options import contract_choice
from messages import market
from supervision.turn import Turn

AROUND: Final = 2  # strikes each side of the money whose spreads are read

# -- chains -------------------------------------------------------------------------------------


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
        turn.arm(Timer.LIST_CHAIN, turn.now + 2 * wiring.rules.read_back_ms * MS, ticker)


def on_chain_listed(wiring: Wiring, turn: Turn[QuotesState], fact: market.ChainListed) -> None:
    """Keep a chain and its hours, and stream its window."""
    state = turn.state
    if fact.session_epoch != state.session_epoch or state.session is None:
        return
    turn.disarm(Timer.LIST_CHAIN, fact.ticker)
    today = contract_choice.chain_of(contract for contract in fact.contracts if contract.expiry == state.session)
    hours = market.HoursRead(ticker=fact.ticker, session=state.session, hours=fact.hours)
    state.chains = {**state.chains, fact.ticker: today}
    state.windows = {ticker: window for ticker, window in state.windows.items() if ticker != fact.ticker}
    state.hours = {**state.hours, fact.ticker: hours}
    turn.publish(hours)
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


# -- lines --------------------------------------------------------------------------------------


def on_lines_refused(wiring: Wiring, turn: Turn[QuotesState], fact: market.LinesRefused) -> None:
    """Forget lines that the broker refused; what is held and refused is worth a page, what a signal needs a line."""
    state = turn.state
    state.lines = {con_id: contract for con_id, contract in state.lines.items() if con_id not in fact.con_ids}
    held = [contract.label for contract in state.watched if contract.con_id in fact.con_ids]
    if held:
        remedy = f": {fact.remedy}" if fact.remedy else ""
        text = f"no market data for held {', '.join(held)} (code {fact.vendor_code}){remedy}"
        alarm(turn, "lines", text, Severity.CRITICAL)
    wanted = {**_requested(state), **_demanded(state)}
    without = {wanted[con_id].ticker for con_id in fact.con_ids if con_id in wanted}
    if without and not held:
        of_lines = (
            f"Lower connection.lines_max ({wiring.rules.lines_max}) to what the account grants, or watch fewer tickers."
        )
        text = (
            f"{', '.join(sorted(without))}: the broker refuses a line that a signal needs (code {fact.vendor_code}), so"
            f" its entry may find no quote. {fact.remedy or of_lines}"
        )
        alarm(turn, "lines_refused", text)


def replan(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Bring the lines into agreement with what is held, asked for, wanted by a signal, and around the money."""
    state = turn.state
    centres, calm = dict(state.centres), dict(state.calm)
    windows: dict[str, tuple[Contract, ...]] = {}
    middles: dict[str, tuple[Contract, ...]] = {}
    for ticker in wiring.classes:
        known, still, spot = state.windows.get(ticker), calm.get(ticker), state.spots.get(ticker)
        if known is not None and still is not None and spot is not None and still[0] < 2 * spot.price_ticks <= still[1]:
            windows[ticker], middles[ticker] = known, state.middles[ticker]
            continue
        chain = state.chains.get(ticker)
        if chain is None or not chain.contracts or spot is None:
            continue
        around = wiring.strikes_around(ticker)
        centre = contract_choice.centre(chain.strikes, spot.price_ticks, centres.get(ticker), around)
        if centre != centres.get(ticker) or ticker not in calm:
            centres[ticker], calm[ticker] = centre, contract_choice.calm_range(chain.strikes, centre, around)
        windows[ticker] = contract_choice.window(chain, centre, around)
        middles[ticker] = contract_choice.near(chain, centre, AROUND)
    state.centres, state.calm, state.windows, state.middles = centres, calm, windows, middles
    if not state.link.is_up:
        state.plan = {}
        return
    firm = {**_closely(state), **_demanded(state)}
    plan, state.without = contract_choice.line_plan(firm.values(), windows, wiring.option_lines)
    _say_who_is_without(wiring, turn)
    gone = tuple(sorted(state.lines.keys() - plan.keys()))
    new = tuple(plan[con_id] for con_id in plan if con_id not in state.lines)
    epoch = state.session_epoch
    watch_closely(wiring, turn)
    if gone:
        turn.tell(wiring.port, market.Unsubscribe(session_epoch=epoch, con_ids=gone))
        state.quotes = {con_id: quote for con_id, quote in state.quotes.items() if con_id in plan}
        forget_lines(turn, gone)
    if new:
        turn.tell(wiring.port, market.Subscribe(session_epoch=epoch, contracts=new))
    state.lines = state.plan = plan


def watch_closely(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Have the port report what is held or asked for at once, where that has changed."""
    state = turn.state
    close = tuple(sorted(_closely(state)))
    if close != state.close_con_ids and state.link.is_up:
        state.close_con_ids = close
        turn.tell(wiring.port, market.WatchClosely(session_epoch=state.session_epoch, con_ids=close))


def stream_closely(wiring: Wiring, turn: Turn[QuotesState], con_id: int) -> None:
    """Watch a contract closely; lines are planned anew only where it has none."""
    if con_id in turn.state.lines:
        watch_closely(wiring, turn)
    else:
        replan(wiring, turn)


def release(wiring: Wiring, turn: Turn[QuotesState], con_id: int) -> None:
    """Watch a contract closely no longer; lines are planned anew only where its window does not keep its own."""
    state = turn.state
    contract = state.lines.get(con_id)
    is_as_planned = state.link.is_up and state.lines is state.plan and not state.without
    if is_as_planned and contract is not None and contract in state.windows.get(contract.ticker, ()):
        watch_closely(wiring, turn)
    else:
        replan(wiring, turn)


def _closely(state: QuotesState) -> dict[int, Contract]:
    """Return what is held or asked for."""
    return {**{contract.con_id: contract for contract in state.watched}, **_requested(state)}


def _requested(state: QuotesState) -> dict[int, Contract]:
    """Return the contracts of which somebody waits for a quote."""
    wanted = {request.con_id: state.contract(request.con_id) for request in state.requests}
    return {con_id: contract for con_id, contract in wanted.items() if contract is not None}


def _demanded(state: QuotesState) -> dict[int, Contract]:
    """Return the contracts that are streamed for a signal on a ticker without a window."""
    return {contract.con_id: contract for demand in state.demands.values() for contract in demand.contracts}


def _say_who_is_without(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Name, once a session and when all windows are placed, the tickers whose contracts get no line of their own."""
    state = turn.state
    if state.without and not state.is_said and all(_is_placed(state, ticker) for ticker in wiring.classes):
        state.is_said = True
        text = (
            f"{', '.join(state.without)}: no room within {wiring.rules.lines_max} market data lines; their contracts"
            f" are quoted when a signal comes. Raise connection.lines_max where the account has more."
        )
        alarm(turn, "lines_budget", text, Severity.INFO)  # as it is meant to be: no entry lacks a quote for it


def _is_placed(state: QuotesState, ticker: str) -> bool:
    chain = state.chains.get(ticker)
    return chain is not None and (ticker in state.centres or not chain.contracts)


def have_moved(state: QuotesState, spots: Iterable[Spot]) -> bool:
    """Return whether the money of any has left the middle of its window, or its window has never been placed."""
    for spot in spots:
        calm = state.calm.get(spot.ticker)
        if calm is None:
            chain = state.chains.get(spot.ticker)
            if chain is not None and chain.contracts:
                return True
        elif not calm[0] < 2 * spot.price_ticks <= calm[1]:
            return True
    return False
