"""What is told for keeping: the watched contracts' quotes every few seconds, the band around the money now and then."""

from __future__ import annotations

from actors.quotes.state import QuotesState, Wiring
from domain.instants import MS
from domain.options import contract_choice
from messages import market
from supervision.turn import Turn


def sample(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Publish what has changed of the watched contracts and of the underlyings, not more often than wanted."""
    state = turn.state
    if turn.now - state.sampled_utc < wiring.quotes_every_ms * MS:
        return
    watched = ((contract, state.quotes.get(contract.con_id)) for contract in state.watched)
    now = {contract.con_id: (contract, quote) for contract, quote in watched if quote is not None}
    quotes = tuple((c, quote) for c, quote in now.values() if state.sampled_quotes.get(c.con_id) != quote)
    spots = tuple(spot for ticker, spot in state.spots.items() if state.sampled_spots.get(ticker) != spot)
    state.sampled_utc = turn.now
    state.sampled_quotes, state.sampled_spots = {con_id: quote for con_id, (_, quote) in now.items()}, state.spots
    if quotes or spots:
        turn.publish(market.QuotesSampled(at_utc=turn.now, quotes=quotes, spots=spots))


def read_chains(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Publish the quoted band around the money of each ticker whose last one is old enough."""
    state = turn.state
    due_utc, quoted = turn.now - wiring.chain_every_ms * MS, state.quoted
    for ticker, centre in state.centres.items():
        last_utc = state.chain_read_utc.get(ticker)
        if (last_utc is not None and last_utc > due_utc) or ticker not in quoted:
            continue
        chain, spot = state.chains.get(ticker), state.spots.get(ticker)
        if chain is None or spot is None:
            continue
        band = contract_choice.near(chain, centre, wiring.strikes_around(ticker))
        quote_of = state.quotes.get
        quotes = tuple([(c, quote) for c in band if (quote := quote_of(c.con_id)) is not None])
        if quotes:
            state.chain_read_utc = {**state.chain_read_utc, ticker: turn.now}
            turn.publish(market.ChainRead(ticker=ticker, at_utc=turn.now, spot=spot, quotes=quotes))
