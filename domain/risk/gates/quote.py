"""Gates 19 to 24: this contract, its quote, the size, and the fresh quote at submit.

Rules: the project's risk specification, section 2. "Ticks" of gates 22 and 24 are minimum increments of the contract's
class. The standard deliverable of gate 19 follows from the trading class: adjusted contracts have one of their own.
Thresholds that vary by time of day are not part of the settings yet.
"""

from __future__ import annotations

from domain.instants import MS
from domain.instruments import Right, Side
from domain.options.tick_rules import rule_of
from domain.risk.desk_view import premium_cents
from domain.risk.gates.types import Finding, Intent, Snapshot, missing, passed, refused
from domain.risk.reject import RejectCode

MULTIPLIER = 100
LIVE_DATA = 1
_EPSILON = 1e-9  # what a share computed in floats may lose


def contract(intent: Intent, s: Snapshot) -> Finding:
    """Gate 19: expires today, right class, right right, multiplier 100, known to the broker."""
    c = s.contract
    if c is None:
        return missing("contract")
    if c.expiry != s.view.session:
        return refused(RejectCode.NOT_0DTE, looked_at=c.label)
    if c.trading_class != s.ticker.trading_class:
        return refused(RejectCode.WRONG_TRADING_CLASS, looked_at=c.label)
    fitting = Right.CALL if intent.direction > 0 else Right.PUT
    # A short leg stands on the other side of its direction; its structure says which right.
    if c.right is not intent.right or (intent.side is Side.BUY and c.right is not fitting):
        return refused(RejectCode.WRONG_RIGHT, looked_at=c.label)
    if c.multiplier != MULTIPLIER:
        return refused(RejectCode.WRONG_MULTIPLIER, c.multiplier, MULTIPLIER, "", c.label)
    if c.con_id <= 0 or c.ticker != intent.ticker:
        return refused(RejectCode.UNKNOWN_CONTRACT, looked_at=f"{c.label} of {c.ticker}")
    return passed(looked_at=c.label)


def _label(s: Snapshot) -> str:
    return s.contract.label if s.contract is not None else ""


def quote_fresh(_: Intent, s: Snapshot) -> Finding:
    """Gate 20: a live quote with an ask, not older than the limit, and a spot of the underlying beside it."""
    q, limit = s.quote, s.rules.limits.quote_age_max_ms
    if q is None or q.ask_ticks is None or q.ask_ticks <= 0:
        return missing(f"{'quote' if q is None else 'ask'} of {_label(s)}")
    if s.spot is None:
        return missing("spot of the underlying")
    spot_age_ms = (s.now - s.spot.at_utc) / MS
    if spot_age_ms > s.rules.limits.spot_age_max_ms:
        return missing("spot of the underlying is old", spot_age_ms, s.rules.limits.spot_age_max_ms, "ms")
    if q.data_type != LIVE_DATA:
        return refused(RejectCode.DELAYED_DATA, q.data_type, LIVE_DATA, "market data type", _label(s))
    age_ms = (s.now - q.at_utc) / MS
    if age_ms > limit:
        return refused(RejectCode.STALE_QUOTE, age_ms, limit, "ms", _label(s))
    return passed(age_ms, limit, "ms", _label(s))


def bid_present(_: Intent, s: Snapshot) -> Finding:
    """Gate 21: somebody bids."""
    bid = s.quote.bid_ticks if s.quote is not None else None
    if bid is None or bid <= 0:
        return refused(RejectCode.EMPTY_MARKET, bid, 0, "ticks", _label(s))
    return passed(bid, 0, "ticks", _label(s))


def spread(_: Intent, s: Snapshot) -> Finding:
    """Gate 22: not crossed; narrow enough in share of the mid and in money, or only a few increments wide."""
    q = s.quote
    if q is None or q.bid_ticks is None or q.ask_ticks is None:
        return missing("both sides of the quote")
    width, mid_x2 = q.ask_ticks - q.bid_ticks, q.ask_ticks + q.bid_ticks
    if width < 0:
        return refused(RejectCode.CROSSED_MARKET, width, 0, "ticks", _label(s))
    limits = s.rules.limits
    narrow = limits.narrow_market_ticks * rule_of(s.ticker.trading_class).increment(q.bid_ticks)
    if width <= narrow and mid_x2 >= 2 * s.ticker.premium_min_ticks:
        return passed(width, narrow, "ticks", f"{_label(s)}, narrow market")
    if width > s.ticker.spread_cap_ticks:
        return refused(RejectCode.SPREAD_TOO_WIDE, width, s.ticker.spread_cap_ticks, "ticks", _label(s))
    share = 2 * width / mid_x2 if mid_x2 > 0 else float(width)
    if share > limits.spread_share_max + _EPSILON:
        return refused(RejectCode.SPREAD_TOO_WIDE, share, limits.spread_share_max, "of mid", _label(s))
    return passed(share, limits.spread_share_max, "of mid", _label(s))


def size_and_money(intent: Intent, s: Snapshot) -> Finding:
    """Gate 23: size, premium bounds, concentration, buying power; costs at the ask."""
    q, funds, limits = s.quote, s.view.funds, s.rules.limits
    if funds is None or q is None or q.mid_x2 is None or q.ask_ticks is None or s.qty is None:
        return missing("account values, quote or size")
    age_ms = (s.now - funds.read_utc) / MS
    if age_ms > limits.account_age_max_ms:
        return missing("account values", age_ms, limits.account_age_max_ms, "ms")
    if s.qty < 1:
        return refused(RejectCode.BAD_SIZE, s.qty, 1, "contracts", s.sizing)
    if s.qty > s.ticker.size_cap:
        return refused(RejectCode.BAD_SIZE, s.qty, s.ticker.size_cap, "contracts", s.sizing)
    for bound, outside in (
        (s.ticker.premium_min_ticks, q.mid_x2 < 2 * s.ticker.premium_min_ticks),
        (s.ticker.premium_max_ticks, q.mid_x2 > 2 * s.ticker.premium_max_ticks),
    ):
        if outside:
            return refused(RejectCode.PREMIUM_BOUNDS, q.mid_x2 / 2, bound, "ticks", _label(s))
    cost = s.qty * q.ask_ticks * MULTIPLIER if intent.side is Side.BUY else 0
    for ticker, share in ((intent.ticker, limits.premium_nav_per_underlying), (None, limits.premium_nav_total)):
        total, bound_cents = premium_cents(s.view, ticker) + cost, share * funds.nav_cents
        if total > bound_cents + _EPSILON:
            return refused(RejectCode.CONCENTRATION, total, bound_cents, "cents", ticker or "all underlyings")
    need = cost + s.fees_cents
    if intent.side is Side.SELL:
        if s.margin_cents is None:
            return missing("what-if of the short leg")
        need += s.margin_cents
    bound_cents = limits.cash_share_max * funds.available_cents
    if need > bound_cents + _EPSILON:
        return refused(RejectCode.BUYING_POWER, need, bound_cents, "cents", "premium, fees and margin")
    return passed(s.qty, s.ticker.size_cap, "contracts", s.sizing)


def fresh_quote(intent: Intent, s: Snapshot) -> Finding:
    """Gate 24: a tick received since the wait began, gates 20 to 22 on it, and no adverse drift of the mid."""
    q, began = s.quote, s.fresh_from_utc
    if q is None or began is None or s.decision is None:
        return missing("fresh quote")
    if q.at_utc < began:
        return refused(RejectCode.STALE_QUOTE, (began - q.at_utc) / MS, 0, "ms before the wait", _label(s))
    for check in (quote_fresh, bid_present, spread):
        found = check(intent, s)
        if found.code is not None:
            return found
    if q.mid_x2 is None or s.decision.mid_x2 is None:
        return missing("mid of the fresh or the decision quote")
    drift = (q.mid_x2 - s.decision.mid_x2) / 2 * (1 if intent.side is Side.BUY else -1)
    increment = rule_of(s.ticker.trading_class).increment(s.decision.mid_x2 / 2)
    limits = s.rules.limits
    limit = max(limits.drift_share_max * s.decision.mid_x2 / 2, limits.drift_min_ticks * increment)
    if drift > limit + _EPSILON:
        return refused(RejectCode.QUOTE_DRIFT, drift, limit, "ticks", _label(s))
    return passed(drift, limit, "ticks", _label(s))
