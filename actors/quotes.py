"""The market-data session of one desk: chains, the window around the money, the last quote of every contract.

Losing it is no order fault: quotes grow old, and whoever needs a fresh one is told that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec

from actors.ibkr.state import Link
from config.settings import Settings
from domain.instants import MS
from domain.instruments import Contract, Quote, Spot
from domain.options import contract_choice as choice
from domain.session.modes import first_epoch, gateway_of, redial_utc
from messages import market as m
from messages import positions, session
from messages.base import Message
from messages.lifecycle import Started, TimerFired
from messages.operator import Alarm
from messages.orders import ErrorHeard
from supervision.actor import Actor
from supervision.effects import CancelTimer, Effect, Effects, SetTimer, Tell

replace = msgspec.structs.replace


class QuotesState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the actor knows; mappings are replaced, never changed.

    `lines` are the contracts streamed now; `centres` (ticker -> strike) what the windows stand on; `watchers` are
    (contract, reply_to); `requests` wait for a fresh tick.
    """

    session_epoch: int = 0
    link: Link = Link.DOWN
    gateway_n: int = 0
    lost_utc: int = 0
    session: date | None = None
    close_utc: int | None = None
    chains: Mapping[str, tuple[Contract, ...]] = {}
    centres: Mapping[str, int] = {}
    lines: Mapping[int, Contract] = {}
    quotes: Mapping[int, Quote] = {}
    spots: Mapping[str, Spot] = {}
    watchers: tuple[tuple[Contract, str], ...] = ()
    requests: tuple[m.RequestQuote, ...] = ()
    watched: tuple[int, ...] = ()


Step = tuple[QuotesState, Effects]


class QuotesActor(Actor[QuotesState]):
    """`quotes:<desk>`: owns the market-data session and the line budget."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._port = f"port:{name}"
        self._rules = settings.connection
        self._limits = settings.entry
        self._gateways = len(settings.broker.gateways)
        lanes = {ticker for tickers in settings.lanes.values() for ticker in tickers}
        self._classes = {
            ticker: settings.ticker_rules[ticker].trading_class
            for ticker in settings.tickers
            if ticker in lanes and ticker in settings.ticker_rules
        }
        self._underlyings = (*settings.tickers, *settings.indices)

    def initial(self) -> QuotesState:
        """Start without a session."""
        return QuotesState()

    def decide(self, state: QuotesState, message: Message, now: int) -> tuple[QuotesState, Effects]:
        """Take one message; an unknown one is a bug."""
        match message:
            case Started(run_n=run_n, incarnation=incarnation):
                state = replace(state, session_epoch=first_epoch(run_n, incarnation), lost_utc=now)
                state, effects = self._dial(state, now)
                return state, (Tell("session", session.PhaseWanted(reply_to=self.name)), *effects)
            case TimerFired(key=key):
                return self._timer(state, key, now)
            case session.LinkUp() | session.LinkFailed() | session.LinkLost() | session.LinkRestored():
                return self._link(state, message, now)
            case session.PhaseChanged():
                return self._phase(state, message)
            case m.ChainListed():
                return self._chain(state, message)
            case m.ChainFailed():
                return self._chain_failed(state, message, now)
            case m.QuotesArrived():
                return self._arrived(state, message)
            case m.LinesRefused():
                return self._refused(state, message, now)
            case m.ContractsWanted():
                return state, (self._offer(state, message, now),)
            case m.RequestQuote():
                return self._request(state, message, now)
            case m.WatchContract(contract=contract, reply_to=reply_to):
                return self._watch(state, contract, reply_to)
            case m.UnwatchContract(con_id=con_id, reply_to=reply_to):
                kept = tuple(row for row in state.watchers if (row[0].con_id, row[1]) != (con_id, reply_to))
                return self._replan(replace(state, watchers=kept))
            case ErrorHeard(text=text):
                return state, (_alarm("market_data", text, now),)
            case session.FarmNotice() | session.ModeChanged() | positions.PositionOpened():
                return state, ()  # staleness is told by each quote's own instant
            case positions.PositionChanged() | positions.PositionClosed() | positions.PositionDisputed():
                return state, ()
        raise TypeError(f"{self.name} does not know {type(message).__name__}")

    # -- the link -------------------------------------------------------------------------------

    def _dial(self, state: QuotesState, now: int) -> Step:
        epoch = state.session_epoch + 1
        gateway_n = gateway_of(self._rules, state.lost_utc, now, state.gateway_n, self._gateways)
        dial = session.Dial(session_epoch=epoch, gateway_n=gateway_n)
        limit = SetTimer(f"dial:{epoch}", now + 2 * self._rules.connect_timeout_ms * MS)
        return replace(state, session_epoch=epoch, link=Link.DIALLING, lines={}), (Tell(self._port, dial), limit)

    def _pause(self, state: QuotesState, now: int, is_id_in_use: bool = False) -> Step:
        due = redial_utc(self._rules, state.lost_utc, now, is_id_in_use)
        return replace(state, link=Link.DOWN, lines={}), (SetTimer(f"redial:{state.session_epoch}", due),)

    def _timer(self, state: QuotesState, key: str, now: int) -> Step:
        kind, _, subject = key.partition(":")
        is_present = subject == str(state.session_epoch)
        match kind:
            case "dial" if is_present and state.link is Link.DIALLING:
                return self._pause(state, now)
            case "redial" if is_present and state.link is Link.DOWN:
                return self._dial(state, now)
            case "cut" if is_present and state.link is Link.CUT:
                return self._dial(state, now)
            case "chain" if state.link is Link.UP and subject in self._classes and subject not in state.chains:
                return state, self._list(state, (subject,))
            case "again":
                return self._ask_again(state, subject)
            case "quote":
                return self._expired(state, subject)
        return state, ()

    def _link(self, state: QuotesState, message: Message, now: int) -> Step:
        if getattr(message, "session_epoch", None) != state.session_epoch:
            return state, ()
        match message:
            case session.LinkUp(gateway_n=gateway_n) if state.link is Link.DIALLING:
                return self._resume(replace(state, link=Link.UP, gateway_n=gateway_n, lost_utc=now))
            case session.LinkFailed(is_id_in_use=is_in_use) if state.link is Link.DIALLING:
                return self._pause(state, now, is_in_use)
            case session.LinkLost(is_socket_up=True) if state.link is Link.UP:
                limit = SetTimer(f"cut:{state.session_epoch}", now + self._rules.gateway_failover_ms * MS)
                return replace(state, link=Link.CUT, lost_utc=now), (limit,)
            case session.LinkLost(is_socket_up=False) if state.link in (Link.UP, Link.CUT):
                return self._pause(replace(state, lost_utc=now), now)
            case session.LinkRestored(data_lost=is_lost) if state.link in (Link.UP, Link.CUT):
                state = replace(state, link=Link.UP)
                return self._resume(replace(state, lines={})) if is_lost else (state, ())
        return state, ()

    def _resume(self, state: QuotesState) -> Step:
        """Subscribe to everything anew: underlyings, what is held, the windows; chains where they are missing."""
        spots = m.Subscribe(session_epoch=state.session_epoch, tickers=self._underlyings)
        missing = tuple(ticker for ticker in self._classes if ticker not in state.chains)
        state, effects = self._replan(replace(state, watched=()))
        return state, (Tell(self._port, spots), *effects, *self._list(state, missing))

    # -- chains and lines -----------------------------------------------------------------------

    def _phase(self, state: QuotesState, message: session.PhaseChanged) -> Step:
        state = replace(state, close_utc=message.close_utc)
        if message.session == state.session:
            return state, ()
        state = replace(state, session=message.session, chains={}, centres={})
        if state.link is not Link.UP:
            return state, ()
        state, effects = self._replan(state)
        return state, (*effects, *self._list(state, tuple(self._classes)))

    def _list(self, state: QuotesState, tickers: tuple[str, ...]) -> Effects:
        if state.session is None:
            return ()
        return tuple(
            Tell(
                self._port,
                m.ListChain(
                    session_epoch=state.session_epoch,
                    ticker=ticker,
                    trading_class=self._classes[ticker],
                    expiry=state.session,
                ),
            )
            for ticker in tickers
        )

    def _chain(self, state: QuotesState, fact: m.ChainListed) -> Step:
        if fact.session_epoch != state.session_epoch:
            return state, ()
        today = tuple(c for c in fact.contracts if c.expiry == state.session)
        return self._replan(replace(state, chains={**state.chains, fact.ticker: today}))

    def _chain_failed(self, state: QuotesState, fact: m.ChainFailed, now: int) -> Step:
        if fact.session_epoch != state.session_epoch:
            return state, ()
        text = f"the {fact.ticker} chain cannot be listed: {fact.why}; it is asked for again"
        again = SetTimer(f"chain:{fact.ticker}", now + self._rules.retry_slow_ms * MS)
        return state, (_alarm(f"chain:{fact.ticker}", text, now), again)

    def _refused(self, state: QuotesState, fact: m.LinesRefused, now: int) -> Step:
        """Forget lines that the broker refused; what is held and refused is worth a page."""
        lines = {con_id: c for con_id, c in state.lines.items() if con_id not in fact.con_ids}
        held = [c.label for c, _ in state.watchers if c.con_id in fact.con_ids]
        if not held:
            return replace(state, lines=lines), ()
        text = f"no market data for held {', '.join(held)} (code {fact.vendor_code})"
        return replace(state, lines=lines), (_alarm("lines", text, now),)

    def _replan(self, state: QuotesState) -> Step:
        """Bring the lines into agreement with what is held, asked for and around the money."""
        centres, windows = dict(state.centres), []
        for ticker in self._classes:
            chain, spot = state.chains.get(ticker, ()), state.spots.get(ticker)
            if not chain or spot is None:
                continue
            around = self._rules.strikes_around_index if ticker in choice.WIDE else self._rules.strikes_around
            strikes = tuple(sorted({c.strike_ticks for c in chain}))
            centres[ticker] = choice.centre(strikes, spot.price_ticks, centres.get(ticker), around)
            windows.append(choice.window(chain, centres[ticker], around))
        state = replace(state, centres=centres)
        asked = {request.con_id for request in state.requests}
        held = {c.con_id: c for c, _ in state.watchers}
        held |= {c.con_id: c for c in (self._known(state, con_id) for con_id in sorted(asked)) if c is not None}
        watched = tuple(sorted(held))
        if state.link is not Link.UP:
            return state, ()
        plan = choice.line_plan(held.values(), windows, self._rules.lines_max - len(self._underlyings))
        gone = tuple(sorted(state.lines.keys() - plan.keys()))
        new = tuple(plan[con_id] for con_id in plan if con_id not in state.lines)
        epoch = state.session_epoch
        effects: list[Effect] = []
        if watched != state.watched:
            effects.append(Tell(self._port, m.WatchClosely(session_epoch=epoch, con_ids=watched)))
        if gone:
            effects.append(Tell(self._port, m.Unsubscribe(session_epoch=epoch, con_ids=gone)))
        if new:
            effects.append(Tell(self._port, m.Subscribe(session_epoch=epoch, contracts=new)))
        quotes = {con_id: q for con_id, q in state.quotes.items() if con_id in plan} if gone else state.quotes
        return replace(state, lines=plan, quotes=quotes, watched=watched), tuple(effects)

    def _known(self, state: QuotesState, con_id: int) -> Contract | None:
        if con_id in state.lines:
            return state.lines[con_id]
        held = (contract for contract, _ in state.watchers)
        listed = (contract for chain in state.chains.values() for contract in chain)
        return next((c for group in (held, listed) for c in group if c.con_id == con_id), None)

    # -- quotes ---------------------------------------------------------------------------------

    def _arrived(self, state: QuotesState, fact: m.QuotesArrived) -> Step:
        if fact.session_epoch != state.session_epoch:
            return state, ()
        quotes = {quote.con_id: quote for quote in fact.quotes if quote.con_id in state.lines}
        spots = {spot.ticker: spot for spot in fact.spots}
        state = replace(state, quotes={**state.quotes, **quotes}, spots={**state.spots, **spots})
        effects: list[Effect] = []
        for contract, reply_to in state.watchers:
            quote = state.quotes.get(contract.con_id)
            if quote is not None and (contract.con_id in quotes or contract.ticker in spots):
                spot = state.spots.get(contract.ticker)
                changed = m.QuoteChanged(con_id=contract.con_id, quote=quote, spot=spot)
                effects.append(Tell(reply_to, changed))
        if spots:
            effects.append(Tell("risk", m.SpotsChanged(spots=tuple(spots.values()))))
        answered = tuple(r for r in state.requests if r.con_id in quotes and _is_fresh(quotes[r.con_id], r))
        for request in answered:
            effects += (self._read(state, request), CancelTimer(f"quote:{request.request_id}"))
        if answered:
            state = replace(state, requests=tuple(r for r in state.requests if r not in answered))
        if answered or any(self._has_moved(state, ticker) for ticker in spots):
            state, more = self._replan(state)
            effects += more
        return state, tuple(effects)

    def _has_moved(self, state: QuotesState, ticker: str) -> bool:
        """Tell whether the money has left the middle of a ticker's window."""
        chain = state.chains.get(ticker)
        if not chain:
            return False
        around = self._rules.strikes_around_index if ticker in choice.WIDE else self._rules.strikes_around
        strikes = tuple(sorted({c.strike_ticks for c in chain}))
        old = state.centres.get(ticker)
        return choice.centre(strikes, state.spots[ticker].price_ticks, old, around) != old

    def _offer(self, state: QuotesState, wish: m.ContractsWanted, now: int) -> Effect:
        chain, spot = state.chains.get(wish.ticker), state.spots.get(wish.ticker)
        found = choice.candidates(chain or (), state.quotes, wish.right, spot, state.close_utc, now, self._limits)
        why = None
        if state.link is not Link.UP:
            why, found = "no market-data session", ()
        elif chain is None:
            why = f"the {wish.ticker} chain is not listed"
        elif not chain:
            why = f"no {wish.ticker} option expires today"
        elif not found:
            why = f"no {wish.ticker} {wish.right.value} quoted with a delta in the band"
        is_none_today = chain is not None and not chain
        offer = m.ContractsOffered(
            request_id=wish.request_id, quotes=found, spot=spot, why=why, is_none_today=is_none_today
        )
        return Tell(wish.reply_to, offer)

    def _request(self, state: QuotesState, wish: m.RequestQuote, now: int) -> Step:
        quote = state.quotes.get(wish.con_id)
        if self._known(state, wish.con_id) is None:
            return state, (_unavailable(wish, "unknown contract", None),)
        if quote is not None and _is_fresh(quote, wish):
            return state, (self._read(state, wish),)
        state, effects = self._replan(replace(state, requests=(*state.requests, wish)))
        again_utc = now + (wish.expires_utc - now) // 2
        timers = (
            SetTimer(f"quote:{wish.request_id}", wish.expires_utc),
            SetTimer(f"again:{wish.request_id}", again_utc),
        )
        return state, (*effects, *timers)

    def _ask_again(self, state: QuotesState, request_id: str) -> Step:
        """Subscribe once more for a request that no tick has answered in half its time (a quiet market sends none)."""
        wish = next((r for r in state.requests if r.request_id == request_id), None)
        contract = state.lines.get(wish.con_id) if wish is not None else None
        if contract is None or state.link is not Link.UP:
            return state, ()
        epoch = state.session_epoch
        return state, (
            Tell(self._port, m.Unsubscribe(session_epoch=epoch, con_ids=(contract.con_id,))),
            Tell(self._port, m.Subscribe(session_epoch=epoch, contracts=(contract,))),
        )

    def _expired(self, state: QuotesState, request_id: str) -> Step:
        wish = next((r for r in state.requests if r.request_id == request_id), None)
        if wish is None:
            return state, ()
        kept = tuple(r for r in state.requests if r.request_id != request_id)
        why = "no market-data session" if state.link is not Link.UP else "no tick in time"
        state, effects = self._replan(replace(state, requests=kept))
        return state, (_unavailable(wish, why, state.quotes.get(wish.con_id)), *effects)

    def _read(self, state: QuotesState, wish: m.RequestQuote) -> Effect:
        contract = self._known(state, wish.con_id)
        assert contract is not None
        spot = state.spots.get(contract.ticker)
        quote = state.quotes[wish.con_id]
        return Tell(wish.reply_to, m.QuoteRead(request_id=wish.request_id, contract=contract, quote=quote, spot=spot))

    def _watch(self, state: QuotesState, contract: Contract, reply_to: str) -> Step:
        rest = tuple(row for row in state.watchers if (row[0].con_id, row[1]) != (contract.con_id, reply_to))
        state, effects = self._replan(replace(state, watchers=(*rest, (contract, reply_to))))
        quote = state.quotes.get(contract.con_id)
        if quote is None:
            return state, effects
        first = m.QuoteChanged(con_id=contract.con_id, quote=quote, spot=state.spots.get(contract.ticker))
        return state, (*effects, Tell(reply_to, first))


def _is_fresh(quote: Quote, wish: m.RequestQuote) -> bool:
    return quote.at_utc >= wish.newer_than_utc


def _unavailable(wish: m.RequestQuote, why: str, last: Quote | None) -> Effect:
    answer = m.QuoteUnavailable(request_id=wish.request_id, con_id=wish.con_id, why=why, last=last)
    return Tell(wish.reply_to, answer)


def _alarm(key: str, text: str, now: int) -> Effect:
    return Tell("notifier", Alarm(key=key, severity="warning", text=text, at_utc=now))
