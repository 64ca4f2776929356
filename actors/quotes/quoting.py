"""Quotes: what is published as it arrives, and what is answered to whoever asks for a fresh one."""

from __future__ import annotations

from actors.quotes.keeping import read_chains, sample
from actors.quotes.lines import have_moved, release, replan, stream_closely, watch_closely
from actors.quotes.looks import LOOK_NS
from actors.quotes.offers import NO_SESSION, answer_offers
from actors.quotes.state import QuotesState, Timer, Wiring
from domain.instants import MS
from domain.instruments import Contract, Quote
from messages import market
from supervision.turn import Turn


def on_quotes_arrived(wiring: Wiring, turn: Turn[QuotesState], fact: market.QuotesArrived) -> None:
    """Keep what has changed, publish it, and answer who has waited for it."""
    state = turn.state
    if fact.session_epoch != state.session_epoch:
        return
    quotes = {quote.con_id: quote for quote in fact.quotes if quote.con_id in state.lines}
    spots = {spot.ticker: spot for spot in fact.spots}
    state.quotes, state.spots = {**state.quotes, **quotes}, {**state.spots, **spots}
    for contract in state.watched:
        if contract.con_id in quotes or contract.ticker in spots:
            _publish_quote(turn, contract)
    if spots:
        turn.publish(market.SpotsChanged(spots=tuple(spots.values())))
    sample(wiring, turn)
    if wiring.chain_every_ms * MS < LOOK_NS:  # the looks come too seldom
        read_chains(wiring, turn)
    answered = [r for r in state.requests if r.con_id in quotes and _is_fresh(quotes[r.con_id], r)]
    for request in answered:
        _report_quote(turn, request, quotes[request.con_id])
        turn.disarm(Timer.EXPIRE, request.request_id)
        turn.disarm(Timer.ASK_AGAIN, request.request_id)
    if answered:
        state.requests = tuple(request for request in state.requests if request not in answered)
    if state.offers:
        answer_offers(wiring, turn)
    if have_moved(state, fact.spots):
        replan(wiring, turn)
    elif answered:
        watch_closely(wiring, turn)


# -- watched contracts --------------------------------------------------------------------------


def watch(wiring: Wiring, turn: Turn[QuotesState], contract: Contract) -> None:
    """Publish every quote of this contract from now on, the newest one at once."""
    state = turn.state
    rest = tuple(other for other in state.watched if other.con_id != contract.con_id)
    state.watched = (*rest, contract)
    stream_closely(wiring, turn, contract.con_id)
    _publish_quote(turn, contract)


def unwatch(wiring: Wiring, turn: Turn[QuotesState], con_id: int) -> None:
    """Publish this contract no longer."""
    turn.state.watched = tuple(contract for contract in turn.state.watched if contract.con_id != con_id)
    release(wiring, turn, con_id)


def _publish_quote(turn: Turn[QuotesState], contract: Contract) -> None:
    quote, spot = turn.state.quotes.get(contract.con_id), turn.state.spots.get(contract.ticker)
    if quote is not None:
        turn.publish(market.QuoteChanged(con_id=contract.con_id, quote=quote, spot=spot))


# -- requests -----------------------------------------------------------------------------------


def request_quote(wiring: Wiring, turn: Turn[QuotesState], request: market.RequestQuote) -> None:
    """Report a quote that is fresh enough, or wait for the next tick while the contract is watched closely."""
    state = turn.state
    quote = state.quotes.get(request.con_id)
    if state.contract(request.con_id) is None:
        _report_unavailable(turn, request, "unknown contract", None)
    elif quote is not None and _is_fresh(quote, request):
        _report_quote(turn, request, quote)
    else:
        state.requests = (*state.requests, request)
        stream_closely(wiring, turn, request.con_id)
        turn.arm(Timer.EXPIRE, request.expires_utc, request.request_id)
        turn.arm(Timer.ASK_AGAIN, turn.now + (request.expires_utc - turn.now) // 2, request.request_id)


def request_strike(wiring: Wiring, turn: Turn[QuotesState], asked: market.RequestStrike) -> None:
    """Report a quote of the contract at a strike as any other's, or that today's chain has none."""
    chain = turn.state.chains.get(asked.ticker)
    at_strike = () if chain is None else chain.by_strike.get(asked.strike_ticks, ())
    found = next((contract for contract in at_strike if contract.right is asked.right), None)
    request = market.RequestQuote(
        request_id=asked.request_id, reply_to=asked.reply_to, con_id=0 if found is None else found.con_id,
        newer_than_utc=asked.newer_than_utc, expires_utc=asked.expires_utc,
    )  # fmt: skip
    if found is not None:
        request_quote(wiring, turn, request)
        return
    strike = f"{asked.ticker} {asked.strike_ticks / 100:g}{asked.right.value}"
    why = f"the {asked.ticker} chain is not listed" if chain is None else f"no {strike} expires today"
    _report_unavailable(turn, request, why, None)


def on_half_time(wiring: Wiring, turn: Turn[QuotesState], request_id: str) -> None:
    """Subscribe once more for a request that no tick has answered in half its time (a quiet market sends none)."""
    state = turn.state
    request = _request(state, request_id)
    contract = state.lines.get(request.con_id) if request is not None else None
    if contract is None or not state.link.is_up:
        return
    epoch = state.session_epoch
    turn.tell(wiring.port, market.Unsubscribe(session_epoch=epoch, con_ids=(contract.con_id,)))
    turn.tell(wiring.port, market.Subscribe(session_epoch=epoch, contracts=(contract,)))


def on_request_expired(wiring: Wiring, turn: Turn[QuotesState], request_id: str) -> None:
    """Report that no such quote came in time."""
    state = turn.state
    request = _request(state, request_id)
    if request is None:
        return
    state.requests = tuple(other for other in state.requests if other.request_id != request_id)
    watch_closely(wiring, turn)
    why = "no tick in time" if state.link.is_up else NO_SESSION
    _report_unavailable(turn, request, why, state.quotes.get(request.con_id))


def _request(state: QuotesState, request_id: str) -> market.RequestQuote | None:
    return next((request for request in state.requests if request.request_id == request_id), None)


def _is_fresh(quote: Quote, request: market.RequestQuote) -> bool:
    return quote.at_utc >= request.newer_than_utc


def _report_quote(turn: Turn[QuotesState], request: market.RequestQuote, quote: Quote) -> None:
    contract = turn.state.contract(request.con_id)
    assert contract is not None
    spot = turn.state.spots.get(contract.ticker)
    read = market.QuoteRead(request_id=request.request_id, contract=contract, quote=quote, spot=spot)
    turn.report(request.reply_to, read)


def _report_unavailable(turn: Turn[QuotesState], request: market.RequestQuote, why: str, last: Quote | None) -> None:
    unavailable = market.QuoteUnavailable(request_id=request.request_id, con_id=request.con_id, why=why, last=last)
    turn.report(request.reply_to, unavailable)
