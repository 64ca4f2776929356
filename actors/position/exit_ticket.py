"""What the one exit order should ask for now: its tier, its type and its price.

The plain case is `domain/orders/tiers.py`. Here stand the cases in which a market order must not be sent: a halt, the
flatten time with nobody bidding, and one that the broker has just refused.
"""

from __future__ import annotations

from actors.position.state import PositionRules, PositionTurn
from domain.instants import MS
from domain.instruments import OrderType, Side
from domain.options.tick_rules import rule_of
from domain.orders.tiers import (
    AT_MARKET,
    Ticket,
    Tier,
    above_last_ask,
    below_last_bid,
    cover_ticket,
    disaster_trigger,
    exit_ticket,
    first_tier,
    floor_of,
)
from domain.position import exits
from domain.position.cycle import ExitReason
from domain.position.exits import WantedExit
from domain.session.phases import Phase
from domain.units import Ticks


def desired_tier(turn: PositionTurn, wanted: WantedExit) -> Tier:
    """Return the tier at which the wanted exit should stand; from the panic window on that is the market."""
    if turn.state.phase in (Phase.PANIC, Phase.FLATTEN):
        return Tier.MARKET
    return max(first_tier(wanted.reason), wanted.floor)


def is_market_barred(turn: PositionTurn) -> bool:
    """Return whether no market order may be sent: a halt, or a resume of which no quote was seen yet."""
    state = turn.state
    return state.is_halted or turn.now < state.no_market_until_utc or state.resumed_utc is not None


def ticket_of(rules: PositionRules, turn: PositionTurn, wanted: WantedExit) -> Ticket | None:
    """Return type and price of the wanted exit, `None` where it must wait for a quote.

    Without any bid known the average fill stands in for the last one.
    """
    state = turn.state
    if state.opened_ref().side is Side.SELL:
        return _cover_ticket(rules, turn, wanted)
    watch, rule = state.watch, rule_of(state.opened_ref().contract.trading_class)
    last_bid = watch.last_bid_ticks if watch.last_bid_ticks is not None else state.fills.average_ticks or 0
    is_last_call = state.phase is Phase.FLATTEN or wanted.reason is ExitReason.EOD
    if is_last_call and exits.nobody_bids(watch, turn.now, rules.exits):
        return Ticket(Tier.MARKET, OrderType.LIMIT, floor_of(rule, rules.exits))
    quote = exits.tradable_quote(watch, turn.now, rules.exits)
    ticket = exit_ticket(wanted.reason, desired_tier(turn, wanted), quote, last_bid, rule, rules.exits)
    if ticket is None or ticket.order_type is not OrderType.MARKET:
        return ticket
    if is_market_barred(turn):
        return Ticket(Tier.BID, OrderType.LIMIT, below_last_bid(last_bid, rule, rules.exits))
    if state.refused_type is OrderType.MARKET:
        return Ticket(Tier.MARKET, OrderType.LIMIT, below_last_bid(last_bid, rule, rules.exits))
    return ticket


def _cover_ticket(rules: PositionRules, turn: PositionTurn, wanted: WantedExit) -> Ticket | None:
    """Return type and price of the purchase that closes what was sold; `None` where it must wait for a quote.

    Where no market order may be sent, the last ask known stands in for it, or what it was sold for.
    """
    state = turn.state
    watch, rule = state.watch, rule_of(state.opened_ref().contract.trading_class)
    quote = exits.tradable_quote(watch, turn.now, rules.exits)
    ticket = cover_ticket(wanted.reason, desired_tier(turn, wanted), quote, rule)
    if ticket.order_type is not OrderType.MARKET:
        return ticket
    is_barred, is_refused = is_market_barred(turn), state.refused_type is OrderType.MARKET
    if not is_barred and not is_refused:
        return ticket
    last_ask = (None if watch.quote is None else watch.quote.ask_ticks) or state.fills.average_ticks
    if not last_ask:
        return None
    tier = Tier.BID if is_barred else Tier.MARKET
    return Ticket(tier, OrderType.LIMIT, above_last_ask(last_ask, rule, rules.exits))


def stop_ticket(rules: PositionRules, turn: PositionTurn, average_ticks: float) -> tuple[Ticket, Ticks]:
    """Return the ticket of the stop that rests at the broker, and its trigger."""
    rule = rule_of(turn.state.opened_ref().contract.trading_class)
    return Ticket(Tier.NONE, OrderType.STOP, None), disaster_trigger(average_ticks, rule, rules.exits)


def note_resume(rules: PositionRules, turn: PositionTurn) -> None:
    """Let market orders go again on the first quote after a resume that can be traded on.

    None is waited for longer than the blind rule would, and kill and end of day never need one.
    """
    state = turn.state
    if state.resumed_utc is None:
        return
    quote = exits.tradable_quote(state.watch, turn.now, rules.exits)
    is_seen = quote is not None and quote.at_utc >= state.resumed_utc
    is_urgent = state.wanted is not None and state.wanted.reason in AT_MARKET
    wait_ms = rules.exits.blind_exit_ms if is_urgent else rules.exits.blind_market_ms
    if is_seen or turn.now >= state.resumed_utc + wait_ms * MS:
        state.resumed_utc = None
