"""The market-data link: losing it is no order fault; quotes grow old, and whoever needs a fresh one is told so."""

from __future__ import annotations

from actors import gateway_link
from actors.quotes.lines import list_chains, replan
from actors.quotes.looks import note_asked
from actors.quotes.state import QuotesState, Wiring
from domain.session import dialling
from domain.session.dialling import LinkState
from messages import broker, market
from supervision.turn import Turn


def on_link_up(wiring: Wiring, turn: Turn[QuotesState], fact: broker.LinkUp) -> None:
    """Subscribe to everything."""
    link = dialling.connect(turn.state.link, fact.gateway_n)
    if link is not None:
        gateway_link.follow(turn, wiring.port, link)
        _resume(wiring, turn)


def on_link_failed(wiring: Wiring, turn: Turn[QuotesState], fact: broker.LinkFailed) -> None:
    """Dial again after a pause."""
    link = dialling.fail(turn.state.link, wiring.rules, turn.now, is_id_in_use=fact.is_id_in_use)
    if link is not None:
        gateway_link.follow(turn, wiring.port, link)


def on_link_lost(wiring: Wiring, turn: Turn[QuotesState], fact: broker.LinkLost) -> None:
    """Dial again after a pause, or wait on a socket that stayed up."""
    state = turn.state
    was_of_use = state.link.state in (LinkState.UP, LinkState.CUT)
    link = dialling.lose(
        state.link, wiring.rules, wiring.gateways, turn.now, is_socket_up=fact.is_socket_up, was_of_use=was_of_use
    )
    if link is not None:
        if link.state is LinkState.DOWN:
            state.lines = {}
        gateway_link.follow(turn, wiring.port, link)


def on_link_restored(wiring: Wiring, turn: Turn[QuotesState], fact: broker.LinkRestored) -> None:
    """Go on, or subscribe again where the gateway has forgotten its subscriptions."""
    link = dialling.restore(turn.state.link)
    if link is not None:
        gateway_link.follow(turn, wiring.port, link)
        if fact.data_lost:
            turn.state.lines = {}
            _resume(wiring, turn)


def on_wait_over(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Abandon an unanswered dial, or dial again; a new connection knows nothing of the old one's lines."""
    gateway_link.on_wait_over(turn, wiring.port, wiring.rules, wiring.gateways)
    if not turn.state.link.is_up:
        turn.state.lines = {}


def _resume(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Subscribe anew to underlyings, to what is held and to the windows; list the chains that are missing."""
    state = turn.state
    turn.tell(wiring.port, market.Subscribe(session_epoch=state.session_epoch, tickers=wiring.underlyings))
    note_asked(state, wiring.underlyings, turn.now)
    state.close_con_ids = ()
    replan(wiring, turn)
    list_chains(wiring, turn, [ticker for ticker in wiring.classes if ticker not in state.chains])
