"""The market-data session of one desk: chains, the window around the money, the last quote of every contract."""

from __future__ import annotations

from typing import assert_never

from actors import gateway_link
from actors.quotes import halts, lines, link, looks, offers, quoting
from actors.quotes.state import QuotesState, Timer, Wiring
from config.settings import Settings
from domain.structure.rules import COVER, SHORT
from messages import broker, market, session
from messages.lifecycle import Started, TimerFired
from supervision.actor import Actor
from supervision.turn import Turn

Inbox = (
    Started
    | TimerFired
    | broker.LinkFact
    | broker.ErrorReported
    | broker.PortFaulted
    | session.PhaseChanged
    | market.ChainListed
    | market.ChainFailed
    | market.QuotesArrived
    | market.LinesRefused
    | market.HaltHeard
    | market.RequestContracts
    | market.RequestQuote
    | market.RequestStrike
    | market.WatchContract
    | market.UnwatchContract
)


class QuotesActor(Actor[QuotesState, Inbox]):
    """`quotes:<desk>`: owns the market-data session and the line budget."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        traded = {ticker for tickers in settings.lanes.values() for ticker in tickers}
        traded |= {COVER, SHORT} if settings.spread.is_on else set()
        self._wiring = Wiring(
            port=f"port:{name}",
            rules=settings.connection,
            limits=settings.entry,
            day=settings.day,
            silent_ms=settings.exits.blind_underlying_ms,
            quotes_every_ms=settings.warehouse.quotes_every_ms,
            chain_every_ms=settings.warehouse.chain_every_ms,
            gateways=len(settings.broker.gateways),
            classes={
                ticker: settings.ticker_rules[ticker].trading_class
                for ticker in settings.tickers
                if ticker in traded and ticker in settings.ticker_rules
            },
            underlyings=(*settings.tickers, *settings.spot_only),
        )

    def initial(self) -> QuotesState:
        """Return the state before the first dial."""
        return QuotesState()

    def decide(self, turn: Turn[QuotesState], message: Inbox) -> None:
        """Handle one message; what is told of an older epoch is void."""
        w = self._wiring
        match message:
            case market.QuotesArrived():  # by far the most frequent
                quoting.on_quotes_arrived(w, turn, message)
            case Started():
                turn.tell("session", session.RequestPhase(reply_to=turn.name))
                gateway_link.start(turn, w.port, w.rules, w.gateways, message.run_n, message.incarnation)
                if message.incarnation > 1:
                    turn.state.untold = frozenset(w.underlyings)
            case TimerFired():
                self._on_timer(turn, message)
            case (
                broker.LinkUp() | broker.LinkFailed() | broker.LinkLost() | broker.LinkRestored() | broker.FarmNotice()
            ):
                if message.session_epoch == turn.state.session_epoch:
                    self._on_link(turn, message)
            case broker.ErrorReported():
                looks.on_error(turn, message)
            case broker.PortFaulted():
                looks.on_port_fault(turn, message)
            case session.PhaseChanged():
                looks.on_phase(w, turn, message)
            case market.HaltHeard():
                halts.on_halt_heard(turn, message)
            case market.ChainListed():
                lines.on_chain_listed(w, turn, message)
            case market.ChainFailed():
                lines.on_chain_failed(w, turn, message)
            case market.LinesRefused():
                lines.on_lines_refused(w, turn, message)
            case market.RequestContracts():
                offers.offer_contracts(w, turn, message)
            case market.RequestQuote():
                quoting.request_quote(w, turn, message)
            case market.RequestStrike():
                quoting.request_strike(w, turn, message)
            case market.WatchContract():
                quoting.watch(w, turn, message.contract)
            case market.UnwatchContract():
                quoting.unwatch(w, turn, message.con_id)
            case _:
                assert_never(message)

    def _on_link(self, turn: Turn[QuotesState], message: broker.LinkFact) -> None:
        w = self._wiring
        match message:
            case broker.LinkUp():
                link.on_link_up(w, turn, message)
            case broker.LinkFailed():
                link.on_link_failed(w, turn, message)
            case broker.LinkLost():
                link.on_link_lost(w, turn, message)
            case broker.LinkRestored():
                link.on_link_restored(w, turn, message)
            case broker.FarmNotice():
                pass  # each quote's own instant tells how old it is
            case _:
                assert_never(message)

    def _on_timer(self, turn: Turn[QuotesState], message: TimerFired) -> None:
        w, kind = self._wiring, Timer(message.kind)
        match kind:
            case Timer.LINK:
                link.on_wait_over(w, turn)
            case Timer.LOOK:
                looks.on_look_due(w, turn)
            case Timer.PREOPEN:
                looks.on_preopen_due(w, turn)
            case Timer.OFFER:
                offers.on_offer_due(w, turn, message.subject)
            case Timer.DEMAND_OVER:
                offers.on_demand_over(w, turn, message.subject)
            case Timer.LIST_CHAIN:
                lines.on_chain_due(w, turn, message.subject)
            case Timer.ASK_AGAIN:
                quoting.on_half_time(w, turn, message.subject)
            case Timer.EXPIRE:
                quoting.on_request_expired(w, turn, message.subject)
            case _:
                assert_never(kind)
