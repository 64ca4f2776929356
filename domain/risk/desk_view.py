"""What risk knows of its desk: told by others, folded by pure functions. `None` means that nobody has told it yet.

Cooldowns and watermarks are read from the decisions of the session, trades of the day from what is held and closed:
what the ledger gives back at a restart, so that a restarted view and a running one agree by construction.
"""

from __future__ import annotations

from datetime import date

import msgspec
from msgspec.structs import replace

from domain.instants import MS
from domain.instruments import Contract, Spot
from domain.options.fees import order_fee_cents
from domain.risk.day import Closed, DayStops
from domain.session.modes import Mode
from domain.session.phases import Phase


class AccountFacts(msgspec.Struct, frozen=True):
    """What the broker session says of the account; `account_class` is `paper`, `live` or `unknown`."""

    port: int
    account_class: str
    matches: bool


class Funds(msgspec.Struct, frozen=True):
    """Account values in cents; `day_trades` is `None` where the broker does not say, negative where unlimited."""

    nav_cents: int
    available_cents: int
    day_trades: int | None
    read_utc: int


class Decision(msgspec.Struct, frozen=True):
    """One attempt that was decided; `code` is `None` where an order was handed on."""

    source: str
    strategy: str
    ticker: str
    kind: str
    version: int
    bucket_utc: int
    alert_id: str
    code: str | None
    decided_utc: int


class Holding(msgspec.Struct, frozen=True):
    """A position that is pending or open.

    `cost_cents` without fees; `realised_cents` is what part exits have brought, net of `fees_cents`; `unrealised_cents`
    is the position's own mark, `None` where it is not known; `at_utc` the instant of the last word about it.
    """

    intent_id: str
    contract: Contract
    source: str
    strategy: str
    direction: int
    qty: int
    cost_cents: int
    is_pending: bool
    unrealised_cents: int | None
    at_utc: int
    realised_cents: int = 0
    fees_cents: int = 0


class DeskView(msgspec.Struct, frozen=True):
    """The read model; see the module's docstring."""

    session: date | None = None
    phase: Phase | None = None
    open_utc: int = 0
    close_utc: int = 0
    kill_level: int | None = None
    kill_epoch: int = 0
    mode: Mode | None = None
    session_epoch: int = 0
    is_reconciled: bool = False
    account: AccountFacts | None = None
    funds: Funds | None = None
    start_nav_cents: int | None = None
    day_locked: str | None = None
    decisions: tuple[Decision, ...] = ()
    holdings: tuple[Holding, ...] = ()
    closed: tuple[Closed, ...] = ()
    stops: DayStops = DayStops()
    spots: tuple[Spot, ...] = ()


# -- folds of the session's decisions -----------------------------------------------------------


def last_sent_utc(view: DeskView, source: str, ticker: str) -> int | None:
    """Give the instant at which this source last had an order handed on for this ticker."""
    sent = (d.decided_utc for d in view.decisions if d.code is None and d.source == source and d.ticker == ticker)
    return max(sent, default=None)


def trades_today(view: DeskView, strategy: str) -> int:
    """Count the strategy's positions of the session: pending, open and closed (an entry without a fill is no trade)."""
    return sum(h.strategy == strategy for h in view.holdings) + sum(c.strategy == strategy for c in view.closed)


def deciding_row(view: DeskView, alert_id: str, key: tuple[str, str, str, int], bucket_utc: int) -> Decision | None:
    """Give the decision that makes an alert a duplicate: itself, or a strictly later bucket of the same key.

    `key` is (source, ticker, kind, version).
    """
    for d in view.decisions:
        later = (d.source, d.ticker, d.kind, d.version) == key and d.bucket_utc > bucket_utc
        if d.alert_id == alert_id or later:
            return d
    return None


def with_decision(view: DeskView, decision: Decision) -> DeskView:
    """Add a decision."""
    return replace(view, decisions=(*view.decisions, decision))


# -- holdings -----------------------------------------------------------------------------------


def holding_of(view: DeskView, intent_id: str) -> Holding | None:
    """Find a holding by its intent."""
    return next((h for h in view.holdings if h.intent_id == intent_id), None)


def with_holding(view: DeskView, holding: Holding) -> DeskView:
    """Put a holding in the place of the one of the same intent, or at the end."""
    if holding_of(view, holding.intent_id) is None:
        return replace(view, holdings=(*view.holdings, holding))
    return replace(view, holdings=tuple(holding if h.intent_id == holding.intent_id else h for h in view.holdings))


def without_holding(view: DeskView, intent_id: str) -> DeskView:
    """Take a holding out; nothing happens where there is none."""
    return replace(view, holdings=tuple(h for h in view.holdings if h.intent_id != intent_id))


def with_closed(view: DeskView, intent_id: str, closed: Closed) -> DeskView:
    """Take a holding out and book its result, once a position."""
    view = without_holding(view, intent_id)
    if any(c.position_id == closed.position_id for c in view.closed):
        return view
    return replace(view, closed=(*view.closed, closed))


# -- sums ---------------------------------------------------------------------------------------


def exit_fees_cents(session: date, holding: Holding) -> int:
    """Estimate the fees of closing a holding at its mark, in cents."""
    if holding.qty < 1:
        return 0
    worth = max(0, holding.cost_cents + (holding.unrealised_cents or 0))
    premium = worth / (holding.qty * holding.contract.multiplier)
    return order_fee_cents(session, holding.contract.trading_class, holding.qty, premium, is_sale=True)


def day_pnl_cents(view: DeskView, now: int, age_max_ms: int) -> int | None:
    """Give the day's P&L: realised net of fees, plus unrealised, less estimated exit fees.

    `None` where a holding's mark is not known or nobody spoke of the holding for `age_max_ms`.
    """
    total = sum(c.realised_cents for c in view.closed)
    for h in view.holdings:
        if h.unrealised_cents is None or view.session is None:
            return None
        if not h.is_pending and now - h.at_utc > age_max_ms * MS:
            return None
        total += h.realised_cents + h.unrealised_cents
        if not h.is_pending:
            total -= exit_fees_cents(view.session, h)
    return total


def premium_cents(view: DeskView, ticker: str | None = None) -> int:
    """Sum the premium that is held or pending, of one underlying or of all."""
    return sum(h.cost_cents for h in view.holdings if ticker is None or h.contract.ticker == ticker)


def spot_of(view: DeskView, ticker: str) -> Spot | None:
    """Give the last price of an underlying that was told."""
    return next((s for s in view.spots if s.ticker == ticker), None)


def opened_session(view: DeskView, session: date, phase: Phase, open_utc: int, close_utc: int) -> DeskView:
    """Take a phase; a session other than the known one starts a new day (positions still held stay)."""
    view = replace(view, phase=phase, open_utc=open_utc, close_utc=close_utc)
    if view.session == session:
        return view
    if view.session is None:
        return replace(view, session=session)
    return replace(
        view,
        session=session,
        start_nav_cents=None,
        day_locked=None,
        decisions=(),
        closed=(),
        stops=DayStops(),
        is_reconciled=False,
    )
