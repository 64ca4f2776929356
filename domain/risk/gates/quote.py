"""The gates of a contract: the contract itself, its quote, the size, the fresh quote at submit, the reservation.

Rules: the project's risk specification, section 2. Its "ticks" of the spread and the drift are minimum increments of
the contract's class. The standard deliverable follows from the trading class: adjusted contracts have one of their own.
"""

from __future__ import annotations

from domain.instants import MS
from domain.instruments import DataType, Right, Side
from domain.options.tick_rules import rule_of
from domain.orders.intent import Intent
from domain.risk.desk_view import Funds, premium_cents, unspent_cents
from domain.risk.gates.standing import account_age, account_values
from domain.risk.gates.types import Finding, Snapshot, missing, passed, refused
from domain.risk.measured import EPSILON, is_over, is_under
from domain.risk.reject import RejectCode
from domain.units import Qty

MULTIPLIER = 100


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
    if not c.con_id > 0 or c.ticker != intent.ticker:
        return refused(RejectCode.UNKNOWN_CONTRACT, looked_at=f"{c.label} of {c.ticker}")
    return passed(looked_at=c.label)


def _label(s: Snapshot) -> str:
    return s.contract.label if s.contract is not None else ""


def quote_fresh(_: Intent, s: Snapshot) -> Finding:
    """A live quote with an ask, not older than the limit, and beside it a live price of the underlying, not old."""
    q, limits = s.quote, s.rules.limits
    if q is None or q.ask_ticks is None or not q.ask_ticks > 0:
        return missing(f"{'quote' if q is None else 'ask'} of {_label(s)}")
    if s.spot is None:
        return missing("spot of the underlying")
    spot_age_ms = (s.now - s.spot.at_utc) / MS
    if is_over(spot_age_ms, limits.spot_age_max_ms):
        return missing("spot of the underlying is old", spot_age_ms, limits.spot_age_max_ms, "ms")
    for data_type, of in ((s.spot.data_type, s.spot.ticker), (q.data_type, _label(s))):
        if data_type != DataType.LIVE:
            return refused(RejectCode.DELAYED_DATA, data_type, DataType.LIVE, "market data type", of)
    age_ms = (s.now - q.at_utc) / MS
    if is_over(age_ms, limits.quote_age_max_ms):
        return refused(RejectCode.STALE_QUOTE, age_ms, limits.quote_age_max_ms, "ms", _label(s))
    return passed(age_ms, limits.quote_age_max_ms, "ms", _label(s))


def bid_present(_: Intent, s: Snapshot) -> Finding:
    """Somebody bids."""
    bid = s.quote.bid_ticks if s.quote is not None else None
    if bid is None or not bid > 0:
        return refused(RejectCode.EMPTY_MARKET, bid, 0, "ticks", _label(s))
    return passed(bid, 0, "ticks", _label(s))


def spread(_: Intent, s: Snapshot) -> Finding:
    """Not crossed; narrow enough in share of the mid and in money, or only a few increments wide; and liquid."""
    q = s.quote
    if q is None or q.bid_ticks is None or q.ask_ticks is None:
        return missing("both sides of the quote")
    width, mid_x2 = q.ask_ticks - q.bid_ticks, q.ask_ticks + q.bid_ticks
    if is_under(width, 0):
        return refused(RejectCode.CROSSED_MARKET, width, 0, "ticks", _label(s))
    thin = _illiquid(s)
    if thin is not None:
        return thin
    limits = s.rules.limits
    narrow = limits.narrow_market_increments * rule_of(s.ticker.trading_class).increment(q.bid_ticks)
    if width <= narrow and mid_x2 >= 2 * s.ticker.premium_min_ticks:
        return passed(width, narrow, "ticks", f"{_label(s)}, narrow market")
    if is_over(width, s.ticker.spread_cap_ticks):
        return refused(RejectCode.SPREAD_TOO_WIDE, width, s.ticker.spread_cap_ticks, "ticks", _label(s))
    share_max = limits.spread_share_at((s.now - s.view.open_utc) // MS)
    share = 2 * width / mid_x2 if mid_x2 > 0 else float(width)
    if is_over(share, share_max + EPSILON):
        return refused(RejectCode.SPREAD_TOO_WIDE, share, share_max, "of mid", _label(s))
    return passed(share, share_max, "of mid", _label(s))


def _illiquid(s: Snapshot) -> Finding | None:
    """Return the refusal of a size above a share of what is quoted on our side, or of a contract hardly traded.

    What the broker does not tell (a size of 0, no volume, no open interest) is not looked at.
    """
    q, rules = s.quote, s.rules.limits.liquidity
    if q is None:
        return None
    shown = q.ask_size if s.leg is None or s.leg.side is Side.BUY else q.bid_size
    if s.qty is not None and shown != 0 and is_over(s.qty, rules.display_share_max * shown + EPSILON):
        return refused(
            RejectCode.ILLIQUID, s.qty, rules.display_share_max * shown, "contracts", f"{_label(s)}, quoted {shown}"
        )
    if q.volume is None or q.open_interest is None:
        return None
    if is_under(q.volume, rules.volume_floor) and is_under(q.open_interest, rules.open_interest_floor):
        looked_at = f"{_label(s)}, open interest {q.open_interest}"
        return refused(RejectCode.ILLIQUID, q.volume, rules.volume_floor, "contracts today", looked_at)
    return None


def size_and_money(intent: Intent, s: Snapshot) -> Finding:
    """Size, premium bounds, concentration, buying power; costs at the ask. Nobody tells a short leg's margin yet."""
    q, leg, funds, qty = s.quote, s.leg, s.view.funds, s.qty
    if leg is None or q is None or q.mid_x2 is None or q.ask_ticks is None:
        return missing("both sides of the quote")
    if funds is None or qty is None or s.sizing is None:
        return missing(account_values(s) if funds is None else "size")
    aged = account_age(s, funds)
    if aged is not None:
        return aged
    overlay, why = s.sizing.overlay, s.sizing.reason
    if not overlay.factor > 0:
        return refused(RejectCode.RISK_OVERLAY, overlay.factor, 0, "factor", overlay.why)
    if is_under(qty, 1):
        return refused(RejectCode.BAD_SIZE, qty, 1, "contracts", why)
    if is_over(qty, s.ticker.size_cap):
        return refused(RejectCode.BAD_SIZE, qty, s.ticker.size_cap, "contracts", why)
    for bound, outside in (
        (s.ticker.premium_min_ticks, is_under(q.mid_x2, 2 * s.ticker.premium_min_ticks)),
        (s.ticker.premium_max_ticks, is_over(q.mid_x2, 2 * s.ticker.premium_max_ticks)),
    ):
        if outside:
            return refused(RejectCode.PREMIUM_BOUNDS, q.mid_x2 / 2, bound, "ticks", _label(s))
    if leg.side is Side.SELL:
        return missing("margin of the short leg")
    return _money(intent, s, qty, qty * q.ask_ticks * MULTIPLIER, funds, why)


def _money(intent: Intent, s: Snapshot, qty: Qty, cost: int, funds: Funds, why: str) -> Finding:
    """Concentration and buying power; what is under way beside this entry counts as spent."""
    limits = s.rules.limits
    for ticker, share in ((intent.ticker, limits.premium_nav_per_underlying), (None, limits.premium_nav_total)):
        beside = sum(p.cost_cents for p in s.beside if ticker is None or p.ticker == ticker)
        total, bound_cents = premium_cents(s.view, ticker) + beside + cost, share * funds.nav_cents
        if is_over(total, bound_cents + EPSILON):
            return refused(RejectCode.CONCENTRATION, total, bound_cents, "cents", ticker or "all underlyings")
    need = cost + s.fees_cents + unspent_cents(s.view) + sum(p.cost_cents for p in s.beside)
    bound_cents = limits.cash_share_max * funds.available_cents
    if is_over(need, bound_cents + EPSILON):
        return refused(RejectCode.BUYING_POWER, need, bound_cents, "cents", "premium and fees, pending ones too")
    return passed(qty, s.ticker.size_cap, "contracts", why)


def fresh_quote(intent: Intent, s: Snapshot) -> Finding:
    """A tick received since the wait began, the gates of a quote passed on it, and no adverse drift of the mid."""
    q, leg, began = s.quote, s.leg, s.fresh_from_utc
    if q is None or leg is None or began is None or s.decision is None:
        return missing("fresh quote")
    if is_under(q.at_utc, began):
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
    if is_over(drift, limit + EPSILON):
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
