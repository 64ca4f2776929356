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
from domain.orders.intent import PositionRef
from domain.risk.day import Closed, DayStops
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass, Mode
from domain.session.phases import Phase
from domain.signals.alert import AlertKey
from domain.units import Cents, Qty, Utc


class AccountFacts(msgspec.Struct, frozen=True):
    """What the broker session says of the account; `matches` compares it with the configured one."""

    port: int
    account_class: AccountClass
    matches: bool


class Funds(msgspec.Struct, frozen=True):
    """Account values; `day_trades` is `None` where the broker does not say, negative where unlimited."""

    nav_cents: Cents
    available_cents: Cents
    day_trades: int | None
    read_utc: Utc


class Decision(msgspec.Struct, frozen=True):
    """One attempt that was decided; `code` is `None` where an order was handed on."""

    key: AlertKey
    strategy: str
    code: RejectCode | None
    decided_utc: Utc


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A position that is pending or open.

    `cost_cents` without fees; `realised_cents` is what part exits have brought, net of `fees_cents`; `unrealised_cents`
    is the position's own mark, `None` where it is not known; `at_utc` the instant of the last report about it.
    """

    ref: PositionRef
    qty: Qty
    cost_cents: Cents
    is_pending: bool
    unrealised_cents: Cents | None
    at_utc: Utc
    realised_cents: Cents = Cents(0)
    fees_cents: Cents = Cents(0)

    @property
    def contract(self) -> Contract:
        """The contract that is held or pending."""
        return self.ref.contract


class DeskView(msgspec.Struct, frozen=True, kw_only=True):
    """The read model; see the module's docstring."""

    session: date | None = None
    phase: Phase | None = None
    open_utc: Utc = Utc(0)
    close_utc: Utc = Utc(0)
    kill_level: KillLevel | None = None
    kill_epoch: int = 0
    mode: Mode | None = None
    session_epoch: int = 0
    is_reconciled: bool = False
    account: AccountFacts | None = None
    funds: Funds | None = None
    start_nav_cents: Cents | None = None
    day_locked: str | None = None
    decisions: tuple[Decision, ...] = ()
    holdings: tuple[Holding, ...] = ()
    closed: tuple[Closed, ...] = ()
    stops: DayStops = DayStops()
    spots: tuple[Spot, ...] = ()


# -- what others tell ---------------------------------------------------------------------------


def with_kill(view: DeskView, level: KillLevel, epoch: int) -> DeskView:
    """Return the view after a report of the kill level."""
    return replace(view, kill_level=level, kill_epoch=epoch)


def with_mode(view: DeskView, mode: Mode, session_epoch: int) -> DeskView:
    """Return the view after a report of the broker session."""
    return replace(view, mode=mode, session_epoch=session_epoch)


def with_account(view: DeskView, account: AccountFacts) -> DeskView:
    """Return the view after port and account were checked."""
    return replace(view, account=account)


def with_funds(view: DeskView, funds: Funds) -> DeskView:
    """Return the view after a reading of the account."""
    return replace(view, funds=funds)


def as_reconciled(view: DeskView) -> DeskView:
    """Return the view once broker truth is in."""
    return replace(view, is_reconciled=True)


def with_start_nav(view: DeskView, nav_cents: Cents) -> DeskView:
    """Return the view once the session's start NAV is on record."""
    return replace(view, start_nav_cents=nav_cents)


def with_lock(view: DeskView, reason: str) -> DeskView:
    """Return the view once the day's lock is on record."""
    return replace(view, day_locked=reason)


def with_stops(view: DeskView, stops: DayStops) -> DeskView:
    """Return the view after an evaluation of the day's P&L."""
    return replace(view, stops=stops)


def with_spots(view: DeskView, spots: tuple[Spot, ...]) -> DeskView:
    """Return the view after new prices of underlyings; the newest of each ticker stays."""
    newest = {spot.ticker: spot for spot in (*view.spots, *spots)}
    return replace(view, spots=tuple(newest.values()))


def in_phase(view: DeskView, session: date, phase: Phase, open_utc: Utc, close_utc: Utc) -> DeskView:
    """Return the view in a phase; a session other than the known one starts a new day (positions still held stay)."""
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


def spot_of(view: DeskView, ticker: str) -> Spot | None:
    """Return the last price of an underlying that was told."""
    return next((s for s in view.spots if s.ticker == ticker), None)


# -- the session's decisions --------------------------------------------------------------------


def with_decision(view: DeskView, decision: Decision) -> DeskView:
    """Return the view after an attempt was decided."""
    return replace(view, decisions=(*view.decisions, decision))


def last_sent_utc(view: DeskView, source: str, ticker: str) -> Utc | None:
    """Return the instant at which this source last had an order handed on for this ticker."""
    sent = (
        d.decided_utc for d in view.decisions if d.code is None and d.key.source == source and d.key.ticker == ticker
    )
    return max(sent, default=None)


def deciding_row(view: DeskView, key: AlertKey) -> Decision | None:
    """Return the decision that makes an alert a duplicate: on itself, or on a strictly later bucket of its kind."""
    for decision in view.decisions:
        decided = decision.key
        if decided == key or (_kind(decided) == _kind(key) and decided.bucket_utc > key.bucket_utc):
            return decision
    return None


def _kind(key: AlertKey) -> tuple[str, str, str, int]:
    return key.source, key.ticker, key.kind, key.version


# -- holdings -----------------------------------------------------------------------------------


def holding_of(view: DeskView, position_id: str) -> Holding | None:
    """Return the holding of a position."""
    return next((h for h in view.holdings if h.ref.position_id == position_id), None)


def with_holding(view: DeskView, holding: Holding) -> DeskView:
    """Return the view with a holding in the place of the one of the same position, or at the end.

    Of an entry that has filled nothing yet, what it may still cost stays counted as it was.
    """
    old = holding_of(view, holding.ref.position_id)
    if old is None:
        return replace(view, holdings=(*view.holdings, holding))
    if holding.is_pending:
        holding = replace(holding, qty=old.qty, cost_cents=old.cost_cents)
    return replace(view, holdings=tuple(holding if h is old else h for h in view.holdings))


def without_holding(view: DeskView, position_id: str) -> DeskView:
    """Return the view without a holding; nothing changes where there is none."""
    return replace(view, holdings=tuple(h for h in view.holdings if h.ref.position_id != position_id))


def with_closed(view: DeskView, closed: Closed) -> DeskView:
    """Return the view after a position has ended: no holding any more, and its result counted once."""
    view = without_holding(view, closed.position_id)
    if any(c.position_id == closed.position_id for c in view.closed):
        return view
    return replace(view, closed=(*view.closed, closed))


# -- sums ---------------------------------------------------------------------------------------


def trades_today(view: DeskView, strategy: str) -> int:
    """Return how many positions the strategy has had: pending, open, closed (an entry without a fill is no trade)."""
    held = sum(h.ref.strategy == strategy for h in view.holdings)
    return held + sum(c.strategy == strategy for c in view.closed)


def exit_fees_cents(session: date, holding: Holding) -> Cents:
    """Return the estimated fees of closing a holding at its mark."""
    if holding.qty < 1:
        return Cents(0)
    worth = max(0, holding.cost_cents + (holding.unrealised_cents or 0))
    premium = worth / (holding.qty * holding.contract.multiplier)
    return order_fee_cents(session, holding.contract.trading_class, holding.qty, premium, is_sale=True)


def day_pnl_cents(view: DeskView, now: Utc, age_max_ms: int) -> Cents | None:
    """Return the day's P&L: realised net of fees, plus unrealised, less estimated exit fees.

    `None` where a holding's mark is not known or nobody spoke of the holding for `age_max_ms`.
    """
    total = Cents(sum(c.realised_cents for c in view.closed))
    for h in view.holdings:
        if h.unrealised_cents is None or view.session is None:
            return None
        if not h.is_pending and now - h.at_utc > age_max_ms * MS:
            return None
        total += h.realised_cents + h.unrealised_cents
        if not h.is_pending:
            total -= exit_fees_cents(view.session, h)
    return total


def premium_cents(view: DeskView, ticker: str | None = None) -> Cents:
    """Return the premium that is held or pending, of one underlying or of all."""
    return Cents(sum(h.cost_cents for h in view.holdings if ticker is None or h.contract.ticker == ticker))
