"""The gates of a contract: the contract itself, its quote, the size, the fresh quote at submit, the reservation.

Rules: the project's risk specification, section 2. Its "ticks" of the spread and the drift are minimum increments of
the contract's class. The standard deliverable follows from the trading class: adjusted contracts have one of their own.
Thresholds that vary by time of day are not part of the settings yet.
"""

from __future__ import annotations

from domain.instants import MS
from domain.instruments import DataType, Right, Side
from domain.options.tick_rules import rule_of
from domain.orders.intent import Intent
from domain.risk.desk_view import premium_cents
from domain.risk.gates.types import Finding, Snapshot, missing, passed, refused
from domain.risk.reject import RejectCode

MULTIPLIER = 100
_EPSILON = 1e-9  # what a share computed in floats may lose


def contract(intent: Intent, s: Snapshot) -> Finding:
    """Expires today, right class, right right, multiplier 100, known to the broker."""
    c, leg = s.contract, s.leg
    if c is None or leg is None:
        return missing("contract")
    if c.expiry != s.view.session:
        return refused(RejectCode.NOT_0DTE, looked_at=c.label)
    if c.trading_class != s.ticker.trading_class:
        return refused(RejectCode.WRONG_TRADING_CLASS, looked_at=c.label)
    fitting = Right.CALL if intent.direction > 0 else Right.PUT
    # A short leg stands on the other side of its direction; its plan says which right.
    if c.right is not leg.right or (leg.side is Side.BUY and c.right is not fitting):
        return refused(RejectCode.WRONG_RIGHT, looked_at=c.label)
    if c.multiplier != MULTIPLIER:
        return refused(RejectCode.WRONG_MULTIPLIER, c.multiplier, MULTIPLIER, "", c.label)
    if c.con_id <= 0 or c.ticker != intent.ticker:
        return refused(RejectCode.UNKNOWN_CONTRACT, looked_at=f"{c.label} of {c.ticker}")
    return passed(looked_at=c.label)


def _label(s: Snapshot) -> str:
    return s.contract.label if s.contract is not None else ""


def quote_fresh(_: Intent, s: Snapshot) -> Finding:
    """A live quote with an ask, not older than the limit, and a spot of the underlying beside it."""
    q, limit = s.quote, s.rules.limits.quote_age_max_ms
    if q is None or q.ask_ticks is None or q.ask_ticks <= 0:
        return missing(f"{'quote' if q is None else 'ask'} of {_label(s)}")
    if s.spot is None:
        return missing("spot of the underlying")
    spot_age_ms = (s.now - s.spot.at_utc) / MS
    if spot_age_ms > s.rules.limits.spot_age_max_ms:
        return missing("spot of the underlying is old", spot_age_ms, s.rules.limits.spot_age_max_ms, "ms")
    if q.data_type != DataType.LIVE:
        return refused(RejectCode.DELAYED_DATA, q.data_type, DataType.LIVE, "market data type", _label(s))
    age_ms = (s.now - q.at_utc) / MS
    if age_ms > limit:
        return refused(RejectCode.STALE_QUOTE, age_ms, limit, "ms", _label(s))
    return passed(age_ms, limit, "ms", _label(s))


def bid_present(_: Intent, s: Snapshot) -> Finding:
    """Somebody bids."""
    bid = s.quote.bid_ticks if s.quote is not None else None
    if bid is None or bid <= 0:
        return refused(RejectCode.EMPTY_MARKET, bid, 0, "ticks", _label(s))
    return passed(bid, 0, "ticks", _label(s))


def spread(_: Intent, s: Snapshot) -> Finding:
    """Not crossed; narrow enough in share of the mid and in money, or only a few increments wide."""
    q = s.quote
    if q is None or q.bid_ticks is None or q.ask_ticks is None:
        return missing("both sides of the quote")
    width, mid_x2 = q.ask_ticks - q.bid_ticks, q.ask_ticks + q.bid_ticks
    if width < 0:
        return refused(RejectCode.CROSSED_MARKET, width, 0, "ticks", _label(s))
    limits = s.rules.limits
    narrow = limits.narrow_market_increments * rule_of(s.ticker.trading_class).increment(q.bid_ticks)
    if width <= narrow and mid_x2 >= 2 * s.ticker.premium_min_ticks:
        return passed(width, narrow, "ticks", f"{_label(s)}, narrow market")
    if width > s.ticker.spread_cap_ticks:
        return refused(RejectCode.SPREAD_TOO_WIDE, width, s.ticker.spread_cap_ticks, "ticks", _label(s))
    share = 2 * width / mid_x2 if mid_x2 > 0 else float(width)
    if share > limits.spread_share_max + _EPSILON:
        return refused(RejectCode.SPREAD_TOO_WIDE, share, limits.spread_share_max, "of mid", _label(s))
    return passed(share, limits.spread_share_max, "of mid", _label(s))


def size_and_money(intent: Intent, s: Snapshot) -> Finding:
    """Size, premium bounds, concentration, buying power; costs at the ask. Nobody tells a short leg's margin yet."""
    q, leg, funds, limits = s.quote, s.leg, s.view.funds, s.rules.limits
    if leg is None or funds is None or q is None or q.mid_x2 is None or q.ask_ticks is None or s.qty is None:
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
    if leg.side is Side.SELL:
        return missing("margin of the short leg")
    cost = s.qty * q.ask_ticks * MULTIPLIER
    for ticker, share in ((intent.ticker, limits.premium_nav_per_underlying), (None, limits.premium_nav_total)):
        total, bound_cents = premium_cents(s.view, ticker) + cost, share * funds.nav_cents
        if total > bound_cents + _EPSILON:
            return refused(RejectCode.CONCENTRATION, total, bound_cents, "cents", ticker or "all underlyings")
    need = cost + s.fees_cents
    bound_cents = limits.cash_share_max * funds.available_cents
    if need > bound_cents + _EPSILON:
        return refused(RejectCode.BUYING_POWER, need, bound_cents, "cents", "premium and fees")
    return passed(s.qty, s.ticker.size_cap, "contracts", s.sizing)


def fresh_quote(intent: Intent, s: Snapshot) -> Finding:
    """A tick received since the wait began, the gates of a quote passed on it, and no adverse drift of the mid."""
    q, leg, began = s.quote, s.leg, s.fresh_from_utc
    if q is None or leg is None or began is None or s.decision is None:
        return missing("fresh quote")
    if q.at_utc < began:
        return refused(RejectCode.STALE_QUOTE, (began - q.at_utc) / MS, 0, "ms before the wait", _label(s))
    for check in (quote_fresh, bid_present, spread):
        found = check(intent, s)
        if found.code is not None:
            return found
    if q.mid_x2 is None or s.decision.mid_x2 is None:
        return missing("mid of the fresh or the decision quote")
    drift = (q.mid_x2 - s.decision.mid_x2) / 2 * (1 if leg.side is Side.BUY else -1)
    increment = rule_of(s.ticker.trading_class).increment(s.decision.mid_x2 / 2)
    limits = s.rules.limits
    limit = max(limits.drift_share_max * s.decision.mid_x2 / 2, limits.drift_min_increments * increment)
    if drift > limit + _EPSILON:
        return refused(RejectCode.QUOTE_DRIFT, drift, limit, "ticks", _label(s))
    return passed(drift, limit, "ticks", _label(s))


def reservation(_: Intent, s: Snapshot) -> Finding:
    """The ledger has reserved it, and neither kill level nor broker session have changed since the last look."""
    approved = s.approved
    if approved is None:
        return missing("epochs of the last look")
    if s.view.kill_epoch != approved.kill_epoch:
        return refused(RejectCode.PERMIT_KILLED, s.view.kill_epoch, approved.kill_epoch)
    if s.view.session_epoch != approved.session_epoch:
        return refused(RejectCode.PERMIT_SESSION, s.view.session_epoch, approved.session_epoch)
    return passed(looked_at="the ledger's answer")
