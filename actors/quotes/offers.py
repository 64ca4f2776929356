"""Offers of contracts for a signal; where a ticker has no lines, its candidates are quoted on demand first."""

from __future__ import annotations

from typing import Final

from actors.quotes.lines import replan
from actors.quotes.state import Demand, QuotesState, Timer, Wiring
from domain.instants import MS, SECOND
from domain.instruments import Contract, Quote
from domain.options import contract_choice
from messages import market
from supervision.turn import Turn

NO_SESSION: Final = "no market-data session"
DEMAND_NS: Final = 60 * SECOND  # how long contracts keep the lines that a signal gave them
ANSWER_BEFORE_NS: Final = 50 * MS  # an offer has to arrive before its request expires


def offer_contracts(wiring: Wiring, turn: Turn[QuotesState], request: market.RequestContracts) -> None:
    """Report the candidates of a ticker and right, at once or as soon as they are quoted, or why there are none."""
    state = turn.state
    if not _is_on_demand(state, request.ticker):
        _offer(wiring, turn, request)
        return
    _stream(wiring, turn, request.ticker)
    if state.demands[request.ticker].is_quoted(state.quotes, request.right):
        _offer(wiring, turn, request)
        return
    state.offers = (*state.offers, request)
    turn.arm(Timer.OFFER, max(turn.now, request.expires_utc - ANSWER_BEFORE_NS), request.request_id)


def _is_on_demand(state: QuotesState, ticker: str) -> bool:
    return state.link.is_up and ticker in state.without and ticker in state.centres


def _stream(wiring: Wiring, turn: Turn[QuotesState], ticker: str) -> None:
    state = turn.state
    turn.arm(Timer.DEMAND_OVER, turn.now + DEMAND_NS, ticker)
    if ticker not in state.demands:
        chosen = contract_choice.window(state.chains[ticker], state.centres[ticker], wiring.strikes_around(ticker))
        state.demands = {**state.demands, ticker: Demand(chosen, turn.now)}
        replan(wiring, turn)


def answer_offers(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Answer those whose candidates are all quoted now."""
    state = turn.state
    for request in state.offers:
        demand = state.demands.get(request.ticker)
        if demand is None or demand.is_quoted(state.quotes, request.right):
            _answer(wiring, turn, request)


def on_offer_due(wiring: Wiring, turn: Turn[QuotesState], request_id: str) -> None:
    """Offer what is quoted by now: there is no more time."""
    request = next((request for request in turn.state.offers if request.request_id == request_id), None)
    if request is not None:
        _answer(wiring, turn, request)


def on_demand_over(wiring: Wiring, turn: Turn[QuotesState], ticker: str) -> None:
    """Give the lines back; a contract that is held by now keeps its own."""
    state = turn.state
    state.demands = {other: demand for other, demand in state.demands.items() if other != ticker}
    replan(wiring, turn)


def _answer(wiring: Wiring, turn: Turn[QuotesState], request: market.RequestContracts) -> None:
    turn.state.offers = tuple(other for other in turn.state.offers if other is not request)
    turn.disarm(Timer.OFFER, request.request_id)
    _offer(wiring, turn, request)


def _offer(wiring: Wiring, turn: Turn[QuotesState], request: market.RequestContracts) -> None:
    state, ticker, right = turn.state, request.ticker, request.right
    chain, spot = state.chains.get(ticker), state.spots.get(ticker)
    found: tuple[tuple[Contract, Quote], ...] = ()
    why: str | None = None
    if not state.link.is_up:
        why = NO_SESSION
    elif chain is None:
        why = f"the {ticker} chain is not listed"
    elif not chain.contracts:
        why = f"no {ticker} option expires today"
    elif spot is None:
        why = f"no price of {ticker}"
    else:
        found = contract_choice.candidates(chain, state.quotes, right, spot, state.close_utc, turn.now, wiring.limits)
        if not found:
            why = f"no {ticker} {right.value} quoted with a delta in the band"
    offered = market.ContractsOffered(
        request_id=request.request_id, quotes=found, spot=spot, why=why,
        is_none_today=chain is not None and not chain.contracts,
    )  # fmt: skip
    turn.report(request.reply_to, offered)
