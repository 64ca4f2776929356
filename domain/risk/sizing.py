"""How many contracts an entry takes, and at which limit.

The size is the smallest of the risk, premium and cap bounds, then the cuts and the risk overlay.
"""

from __future__ import annotations

import math

from domain.instruments import Contract, Quote, Side
from domain.limits import EntryLimits
from domain.options.fees import round_trip_cents
from domain.options.tick_rules import TickRule, passive, round_down, round_up
from domain.orders.intent import DecisionPrices
from domain.risk.desk_view import DeskView, broken_now, spot_of
from domain.risk.gates.types import DeskRules, Sizing
from domain.risk.kill import VIX
from domain.risk.measured import EPSILON
from domain.risk.overlay import Minutes, Overlay, overlay_of
from domain.units import Cents, Qty, Ticks, Utc

SOFT_STOP_CUT = 0.5
LOSSES_FOR_CUT = 2


def cuts_of(is_soft_stopped: bool, streak: int, losses_cut: float) -> float:
    """Return the factor on the size: half for the latched soft stop, `losses_cut` for two losses in a row."""
    return (SOFT_STOP_CUT if is_soft_stopped else 1.0) * (losses_cut if streak >= LOSSES_FOR_CUT else 1.0)


def size_entry(
    nav_cents: Cents,
    ask_ticks: Ticks,
    multiplier: int,
    stop_share: float,
    fees_cents: Cents,
    cap: Qty,
    cuts: float,
    overlay: Overlay,
    limits: EntryLimits,
) -> Sizing:
    """Return the size of a long option entry; 0 contracts where no whole contract fits, or a bound is no number.

    `stop_share` is the share of premium that the stop gives up, `fees_cents` the round trip of one contract.
    """
    premium = ask_ticks * multiplier
    by_risk = limits.risk_nav * nav_cents / (limits.risk_stop_multiple * stop_share * premium + fees_cents)
    by_premium = limits.notional_nav * nav_cents / premium
    # A bound that is a whole number but for the last bits of a float keeps that whole number.
    exact = [bound * cuts * overlay.factor + EPSILON for bound in (by_risk, by_premium, cap)]
    qty = Qty(max(0, math.floor(min(exact)))) if all(map(math.isfinite, exact)) else Qty(0)
    return Sizing(qty, by_risk, by_premium, cap, cuts, overlay)


def size_of(
    rules: DeskRules, view: DeskView, contract: Contract, quote: Quote, confidence: float | None, now: Utc
) -> Sizing | None:
    """Return the size of an entry on the quote in hand; `None` where account, session or ask are not known."""
    if view.funds is None or view.session is None or quote.ask_ticks is None or not quote.ask_ticks > 0:
        return None
    minutes = view.minutes.get(contract.ticker, Minutes())
    return size_entry(
        nav_cents=view.funds.nav_cents,
        ask_ticks=quote.ask_ticks,
        multiplier=contract.multiplier,
        stop_share=rules.exits.premium_stop,
        fees_cents=round_trip_cents(view.session, contract.trading_class, Qty(1), quote.ask_ticks),
        cap=rules.tickers[contract.ticker].size_cap,
        cuts=cuts_of(view.stops.is_soft, view.closed.streak, rules.limits.losses_cut),
        overlay=overlay_of(rules.limits.overlay, spot_of(view, VIX), minutes, confidence, now, broken_now(view, now)),
        limits=rules.limits,
    )


def entry_limit_ticks(side: Side, fresh: Quote, decision: DecisionPrices, rule: TickRule) -> Ticks:
    """Return the limit of an entry: the fresh mid rounded away from the fill.

    Never worse than the ask (of a sale: the bid) on which the entry was decided, wherever the market has gone since.
    """
    mid = passive(rule, side, (fresh.mid_x2 or 0) / 2)
    if side is Side.BUY:
        return min(mid, round_down(rule, decision.ask_ticks))
    return max(mid, round_up(rule, decision.bid_ticks))
