"""What is looked at on a clock: the session's phases, spreads, underlyings that have fallen silent."""

from __future__ import annotations

from typing import Final

from actors.quotes.halts import tell_trading
from actors.quotes.keeping import read_chains
from actors.quotes.lines import list_chains, replan
from actors.quotes.state import QuotesState, Timer, Wiring, alarm
from domain.alarm import Severity
from domain.instants import MS, SECOND
from domain.instruments import Quote
from domain.options import contract_choice
from domain.session.phases import REGULAR, Phase
from domain.units import Utc
from messages import broker, market, session
from supervision.turn import Turn

LOOK_NS: Final = 15 * SECOND
HOURS_EVERY: Final = 20  # looks between two reports of the liquid hours, for whoever has started meanwhile
QUOTED_MIN: Final = 5  # fewer quoted contracts have no median
QUOTE_AGE_NS: Final = 60 * SECOND
SLOW: Final = 4  # how much longer than a traded one an underlying may be silent of which only the price is wanted


def on_phase(wiring: Wiring, turn: Turn[QuotesState], message: session.PhaseChanged) -> None:
    """Take over the phase; a new session has chains of its own, and is checked before its open."""
    state = turn.state
    state.phase, state.close_utc = message.phase, message.close_utc
    if message.phase in REGULAR:
        turn.arm(Timer.LOOK, turn.now + LOOK_NS)
    if message.session == state.session:
        return
    state.session = message.session
    state.chains, state.hours, state.demands = {}, {}, {}
    state.centres, state.calm, state.windows, state.middles = {}, {}, {}, {}
    state.is_said, state.halted = False, frozenset()
    state.said_errors, state.never_quoted = frozenset(), frozenset()
    report_utc = message.open_utc - wiring.day.preopen_report_ms * MS
    if message.phase is Phase.PRE and turn.now < report_utc:
        turn.arm(Timer.PREOPEN, report_utc)
    if state.link.is_up:
        replan(wiring, turn)
        list_chains(wiring, turn, wiring.classes)


def on_preopen_due(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Say what market data are missing for the session that is about to open."""
    state = turn.state
    chains = [ticker for ticker in wiring.classes if ticker not in state.chains]
    if not state.link.is_up:
        alarm(
            turn, "preopen_data", "Not ready for the open: no market-data session; look at the gateway.", Severity.HIGH
        )
    elif chains:
        text = f"Not ready for the open: no chain of {', '.join(chains)}; look at the market data of the account."
        alarm(turn, "preopen_data", text, Severity.HIGH)


def on_look_due(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Look at spreads and silent lines while the market is open."""
    state = turn.state
    if state.phase not in REGULAR:
        return
    turn.arm(Timer.LOOK, turn.now + LOOK_NS)
    _read_spreads(turn)
    read_chains(wiring, turn)
    if state.link.is_up:
        _revive(wiring, turn)
    if state.untold:
        tell_trading(turn, Utc(turn.now - LOOK_NS))
    if state.looks % HOURS_EVERY == 0:
        for hours in state.hours.values():
            turn.publish(hours)
        for ticker in sorted({ticker for ticker, _ in state.halted}):
            turn.publish(market.HaltChanged(ticker=ticker, is_halted=True, at_utc=turn.now))
    state.looks += 1


def _read_spreads(turn: Turn[QuotesState]) -> None:
    state = turn.state
    near: list[Quote] = []
    quote_of, oldest_utc = state.quotes.get, turn.now - QUOTE_AGE_NS
    for middle in state.middles.values():
        for contract in middle:
            quote = quote_of(contract.con_id)
            if quote is not None and quote.at_utc >= oldest_utc:
                near.append(quote)
    median, quoted = contract_choice.median_spread(near, QUOTED_MIN)
    turn.publish(market.SpreadsRead(median=median, quoted=quoted, at_utc=turn.now))


def _revive(wiring: Wiring, turn: Turn[QuotesState]) -> None:
    """Subscribe again to underlyings whose line says nothing any more, and tell people."""
    state = turn.state
    for ticker in wiring.underlyings:
        spot = state.spots.get(ticker)
        if spot is not None and turn.now - spot.at_utc <= wiring.silent_ms * MS:  # by far the most frequent
            continue
        since_utc = max(spot.at_utc if spot is not None else 0, state.asked_utc.get(ticker, turn.now))
        silent_ms = wiring.silent_ms if ticker in wiring.classes else SLOW * wiring.silent_ms
        if turn.now - since_utc <= silent_ms * MS:
            continue
        epoch = state.session_epoch
        turn.tell(wiring.port, market.Unsubscribe(session_epoch=epoch, tickers=(ticker,)))
        turn.tell(wiring.port, market.Subscribe(session_epoch=epoch, tickers=(ticker,)))
        state.asked_utc = {**state.asked_utc, ticker: turn.now}
        text = f"{ticker} has not been quoted for {(turn.now - since_utc) // SECOND} s; it is subscribed again."
        if spot is None and ticker not in wiring.classes:
            if ticker in state.never_quoted:
                continue  # people know, nothing has changed, and nobody trades it
            state.never_quoted = state.never_quoted | {ticker}
            text += (
                f" It never was: if {ticker} is none that the broker quotes to this account, take it out of"
                " the settings. This is said once a session."
            )
        alarm(turn, f"silent:{ticker}", text)


def on_error(turn: Turn[QuotesState], fact: broker.ErrorReported) -> None:
    """Tell people what the broker said of a line, once a session: each subscription anew would say it again."""
    if fact.text not in turn.state.said_errors:
        turn.state.said_errors = turn.state.said_errors | {fact.text}
        alarm(turn, "market_data", fact.text)


def on_port_fault(turn: Turn[QuotesState], fact: broker.PortFaulted) -> None:
    """Say that a task of the port died."""
    text = (
        f"The market data port failed to {fact.what}: {fact.why.rstrip('.')}. Restart the gateway if quotes stay away."
    )
    alarm(turn, f"port_fault:{fact.what}", text)


def note_asked(state: QuotesState, tickers: tuple[str, ...], now: Utc) -> None:
    """Keep when the underlyings' lines were asked for: silence counts from then."""
    state.asked_utc = {**state.asked_utc, **dict.fromkeys(tickers, now)}
