"""What risk knows of its desk: told by others, folded by pure functions. `None` means that nobody has told it yet.

Cooldowns and watermarks are read from the decisions of the session, trades of the day from what is held and closed:
what the ledger gives back at a restart, so that a restarted view and a running one agree by construction.

A mark that is not known or old never switches a stop off: after a while the holding counts at its worst case, and with
a leg the whole structure, where what is sold is covered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date

import msgspec
from msgspec.structs import replace

from domain.instants import MINUTE, session_of
from domain.instruments import Contract, Right, Side, Spot
from domain.limits import OverlayRules
from domain.market.correlation import Breakdown
from domain.options.fees import order_fee_cents
from domain.orders.combo import worst_loss_cents
from domain.orders.intent import PositionRef
from domain.risk.closed import ClosedToday
from domain.risk.day import Closed, DayStops
from domain.risk.kill import KillLevel
from domain.risk.overlay import Minutes, with_price
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass, Mode
from domain.session.phases import REGULAR, Phase
from domain.signals.alert import AlertKey
from domain.units import Cents, Qty, Utc

BROKEN_AGE_NS = 60 * MINUTE  # told every quarter of an hour


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


class Hours(msgspec.Struct, frozen=True):
    """Liquid hours of an underlying's options in a session, by the broker: (open, close); `None`: it does not say."""

    session: date
    intervals: tuple[tuple[Utc, Utc], ...] | None


class Halt(msgspec.Struct, frozen=True):
    """What was last heard of trading in an underlying: halted, or resumed, at that instant."""

    is_halted: bool
    at_utc: Utc


Kind = tuple[str, str, str, int]  # source, ticker, kind and version of alerts
Promotion = tuple[str, str, int]  # source, kind and version that may trade

_NO_MINUTES = Minutes()
# An attempt that was handed on and amended: with one of these its order had been sent.
SENT: frozenset[RejectCode | None] = frozenset({None, RejectCode.BROKER_REJECTED, RejectCode.DUPLICATE_REF})


class Decision(msgspec.Struct, frozen=True):
    """One attempt that was decided; `code` is `None` where an order was handed on and nothing said since."""

    key: AlertKey
    strategy: str
    code: RejectCode | None
    decided_utc: Utc


class Decisions(msgspec.Struct, frozen=True):
    """The session's decisions in their order, and what is looked up in them.

    `newest` is the one of each kind by bucket, `sent_utc` when each source last had an order sent for each ticker.
    """

    rows: tuple[Decision, ...] = ()
    newest: Mapping[Kind, Decision] = {}
    sent_utc: Mapping[tuple[str, str], Utc] = {}


class Pending(msgspec.Struct, frozen=True):
    """An attempt under way, as the others count it.

    `cost_cents` is what it will cost at most, 0 before it is sized; `is_sending`: its reservation is asked for.
    """

    source: str
    ticker: str
    strategy: str
    direction: int
    cost_cents: Cents
    is_sending: bool


class Ordered(msgspec.Struct, frozen=True):
    """What a further order of an entry may still buy until then: contracts, each at that price at most."""

    qty: Qty
    each_cents: Cents
    until_utc: Utc


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A position that is pending or open.

    `cost_cents` without fees; `realised_cents` is what part exits have brought, net of `fees_cents`; `unrealised_cents`
    is the last mark known, of `marked_utc`, `None` where there never was one (`marked_utc` is when it was heard of).
    `ordered` is the slice of its entry that is under way, `None` where none is. `net_cents` is what it adds to the
    day's P&L at its mark, `None` where nobody has worked it out in this session yet.
    """

    ref: PositionRef
    qty: Qty
    cost_cents: Cents
    is_pending: bool
    unrealised_cents: Cents | None
    marked_utc: Utc
    realised_cents: Cents = Cents(0)
    fees_cents: Cents = Cents(0)
    ordered: Ordered | None = None
    net_cents: Cents | None = None

    @property
    def ordered_cents(self) -> Cents:
        """What the slice under way may still cost."""
        return Cents(0) if self.ordered is None else Cents(self.ordered.qty * self.ordered.each_cents)

    @property
    def contract(self) -> Contract:
        """The contract that is held or pending."""
        return self.ref.contract

    @property
    def needs_mark(self) -> bool:
        """Whether it may be worth something else than is known: it is open, or nobody has spoken of it yet."""
        return self.unrealised_cents is None or (not self.is_pending and self.qty > 0)


class DayPnl(msgspec.Struct, frozen=True):
    """The day's P&L, as the stops judge it and as it is known.

    `unmarked` are the holdings whose mark is not known, `worst` those of them that count at their worst case in
    `cents`. `known_cents` leaves the unmarked out, but for what their part exits have brought: it is what people are
    told, with how many are left out. Without any, both are the same.
    """

    cents: Cents
    known_cents: Cents
    unmarked: tuple[Holding, ...] = ()
    worst: tuple[Holding, ...] = ()


class DeskView(msgspec.Struct, frozen=True, kw_only=True):
    """The read model; see the module's docstring.

    `hours` and `halts` are by ticker; what happened to trading before `halts_from_utc` is not known. `promoted` may
    trade; what is not in it may not, or is not known where the ledger has not told (`is_promoted_known`). `minutes`
    are of the tickers that may be traded. `broken` are the pairs whose correlation had left its baseline at
    `broken_utc`, `None` where nobody told. `unreadable` says why account values that came could not be used.
    """

    session: date | None = None
    phase: Phase | None = None
    open_utc: Utc = Utc(0)
    close_utc: Utc = Utc(0)
    kill_level: KillLevel | None = None
    kill_epoch: int = 0
    mode: Mode | None = None
    session_epoch: int = 0
    reconciled_utc: Utc | None = None
    account: AccountFacts | None = None
    funds: Funds | None = None
    unreadable: str = ""
    start_nav_cents: Cents | None = None
    day_locked: str | None = None
    promoted: frozenset[Promotion] = frozenset()
    is_promoted_known: bool = False
    decisions: Decisions = Decisions()
    holdings: tuple[Holding, ...] = ()
    closed: ClosedToday = ClosedToday()
    stops: DayStops = DayStops()
    spots: Mapping[str, Spot] = {}
    minutes: Mapping[str, Minutes] = {}
    broken: tuple[Breakdown, ...] | None = None
    broken_utc: Utc = Utc(0)
    hours: Mapping[str, Hours] = {}
    halts: Mapping[str, Halt] = {}
    halts_from_utc: Utc = Utc(0)


# -- what others tell ---------------------------------------------------------------------------


def with_kill(view: DeskView, level: KillLevel, epoch: int) -> DeskView:
    """Return the view after a report of the kill level."""
    return replace(view, kill_level=level, kill_epoch=epoch)


def with_broken(view: DeskView, broken: tuple[Breakdown, ...] | None, at_utc: Utc) -> DeskView:
    """Return the view after a report of the correlations."""
    return replace(view, broken=broken, broken_utc=at_utc)


def broken_now(view: DeskView, now: Utc) -> tuple[Breakdown, ...] | None:
    """Return the pairs whose correlation has left its baseline; `None` where nobody has told for an hour."""
    return view.broken if now - view.broken_utc <= BROKEN_AGE_NS else None


def with_mode(view: DeskView, mode: Mode, session_epoch: int) -> DeskView:
    """Return the view after a report of the broker session."""
    return replace(view, mode=mode, session_epoch=session_epoch)


def with_account(view: DeskView, account: AccountFacts) -> DeskView:
    """Return the view after port and account were checked."""
    return replace(view, account=account)


def with_funds(view: DeskView, funds: Funds) -> DeskView:
    """Return the view after a reading of the account."""
    return replace(view, funds=funds, unreadable="")


def without_funds(view: DeskView, why: str) -> DeskView:
    """Return the view after account values came that cannot be used."""
    return replace(view, funds=None, unreadable=why)


def as_reconciled(view: DeskView, read_utc: Utc) -> DeskView:
    """Return the view once broker truth, read at that instant, is in."""
    return replace(view, reconciled_utc=read_utc)


def with_hours(view: DeskView, ticker: str, hours: Hours) -> DeskView:
    """Return the view after a report of the liquid hours, which are told again and again."""
    if view.hours.get(ticker) == hours:
        return view
    return replace(view, hours={**view.hours, ticker: hours})


def with_halt(view: DeskView, ticker: str, halt: Halt) -> DeskView:
    """Return the view after trading was halted or resumed; that it is still halted changes nothing."""
    known = view.halts.get(ticker)
    if known is not None and known.is_halted == halt.is_halted:
        return view
    return replace(view, halts={**view.halts, ticker: halt})


def with_promotion(view: DeskView, promotion: Promotion, is_promoted: bool) -> DeskView:
    """Return the view after a promotion or its withdrawal."""
    others = view.promoted - {promotion}
    return replace(view, promoted=others | {promotion} if is_promoted else others)


def with_start_nav(view: DeskView, nav_cents: Cents) -> DeskView:
    """Return the view once the session's start NAV is on record."""
    return replace(view, start_nav_cents=nav_cents)


def with_lock(view: DeskView, reason: str) -> DeskView:
    """Return the view once the day's lock is on record."""
    return replace(view, day_locked=reason)


def with_stops(view: DeskView, stops: DayStops) -> DeskView:
    """Return the view after an evaluation of the day's P&L; most change nothing."""
    return view if stops == view.stops else replace(view, stops=stops)


def with_spots(view: DeskView, spots: tuple[Spot, ...]) -> DeskView:
    """Return the view after new prices of underlyings; the newest of each ticker stays."""
    return replace(view, spots={**view.spots, **{spot.ticker: spot for spot in spots}})


def with_minutes(view: DeskView, spots: tuple[Spot, ...], traded: Collection[str], rules: OverlayRules) -> DeskView:
    """Return the view with a price a minute of each ticker that may be traded."""
    minutes = view.minutes
    for spot in spots:
        known = minutes.get(spot.ticker)
        if known is None:
            if spot.ticker not in traded:
                continue
            known = _NO_MINUTES
        kept = with_price(known, spot, rules)
        if kept is not known:
            minutes = {**minutes, spot.ticker: kept}
    return view if minutes is view.minutes else replace(view, minutes=minutes)


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
        holdings=tuple(replace(h, net_cents=None) for h in view.holdings),
        start_nav_cents=None,
        day_locked=None,
        decisions=Decisions(),
        closed=ClosedToday(),
        stops=DayStops(),
        hours={},
        halts={},
    )


def spot_of(view: DeskView, ticker: str) -> Spot | None:
    """Return the last price of an underlying that was told."""
    return view.spots.get(ticker)


# -- the session's decisions --------------------------------------------------------------------


def decisions_of(rows: Iterable[Decision]) -> Decisions:
    """Return decisions in their order, as they are looked up."""
    decisions = Decisions()
    for row in rows:
        decisions = _with_row(decisions, row)
    return decisions


def _with_row(decisions: Decisions, row: Decision) -> Decisions:
    kind = _kind(row.key)
    newest = decisions.newest.get(kind)
    if newest is None or row.key.bucket_utc >= newest.key.bucket_utc:
        newest = row
    sent_utc = decisions.sent_utc
    if row.code in SENT:
        place = row.key.source, row.key.ticker
        sent_utc = {**sent_utc, place: max(row.decided_utc, sent_utc.get(place, row.decided_utc))}
    return Decisions(rows=(*decisions.rows, row), newest={**decisions.newest, kind: newest}, sent_utc=sent_utc)


def with_decision(view: DeskView, decision: Decision) -> DeskView:
    """Return the view after an attempt was decided."""
    return replace(view, decisions=_with_row(view.decisions, decision))


def amended(view: DeskView, key: AlertKey, code: RejectCode) -> DeskView:
    """Return the view once the attempt on an alert came to nothing after all; one of another session changes nothing.

    Its place in the watermark stays; its cooldown ends where its order was never sent.
    """
    rows = view.decisions.rows
    if not any(row.key == key and row.code is None for row in rows):
        return view
    changed = (replace(row, code=code) if row.key == key and row.code is None else row for row in rows)
    return replace(view, decisions=decisions_of(changed))


def last_sent_utc(view: DeskView, source: str, ticker: str) -> Utc | None:
    """Return the instant at which this source last had an order sent for this ticker."""
    return view.decisions.sent_utc.get((source, ticker))


def deciding_row(view: DeskView, key: AlertKey) -> Decision | None:
    """Return the decision that makes an alert a duplicate: on itself, or on a strictly later bucket of its kind."""
    newest = view.decisions.newest.get(_kind(key))
    # Two alerts of one kind and bucket are one alert.
    return newest if newest is not None and newest.key.bucket_utc >= key.bucket_utc else None


def _kind(key: AlertKey) -> Kind:
    return key.source, key.ticker, key.kind, key.version


# -- holdings -----------------------------------------------------------------------------------


def holding_of(view: DeskView, position_id: str) -> Holding | None:
    """Return the holding of a position."""
    for holding in view.holdings:
        if holding.ref.position_id == position_id:
            return holding
    return None


def with_holding(view: DeskView, holding: Holding) -> DeskView:
    """Return the view with a holding in the place of the one of the same position, or at the end.

    Of an entry that has filled nothing yet, what it may still cost stays counted as it was. A position that was booked
    as closed and is held again counts as held alone: its end will be booked anew.
    """
    closed = view.closed.without(holding.ref.position_id)
    if closed is not view.closed:
        view = replace(view, closed=closed)
    old = holding_of(view, holding.ref.position_id)
    if old is not None and holding.is_pending:
        holding = replace(holding, qty=old.qty, cost_cents=old.cost_cents)
    if view.session is not None:
        holding = replace(holding, net_cents=net_cents(view.session, holding))
    if old is None:
        return replace(view, holdings=(*view.holdings, holding))
    if holding == old:
        return view
    return replace(view, holdings=tuple([holding if h is old else h for h in view.holdings]))


def with_ordered(view: DeskView, position_id: str, ordered: Ordered | None) -> DeskView:
    """Return the view with what a slice of a position may still cost; nothing changes where it is not held."""
    return replace(
        view,
        holdings=tuple(replace(h, ordered=ordered) if h.ref.position_id == position_id else h for h in view.holdings),
    )


def still_ordered(old: Holding | None, qty: Qty, now: Utc) -> Ordered | None:
    """Return what is left of a slice under way once `qty` is held; `None` once its order cannot live any more."""
    if old is None or old.ordered is None or now >= old.ordered.until_utc:
        return None
    left = old.ordered.qty - max(qty - old.qty, 0)
    return replace(old.ordered, qty=Qty(left)) if left > 0 else None


def without_holding(view: DeskView, position_id: str) -> DeskView:
    """Return the view without a holding; nothing changes where there is none."""
    return replace(view, holdings=tuple([h for h in view.holdings if h.ref.position_id != position_id]))


def with_closed(view: DeskView, closed: Closed, *, is_correction: bool) -> DeskView:
    """Return the view after a position has ended: no holding any more, and its result counted once.

    A correction replaces the result; what ended in another session (an expired contract) is not the day's.
    """
    view = without_holding(view, closed.position_id)
    if view.session is not None and session_of(closed.closed_utc) != view.session:
        return view
    others = view.closed.without(closed.position_id)
    if others is not view.closed and not is_correction:
        return view
    return replace(view, closed=others.plus(closed))


# -- sums ---------------------------------------------------------------------------------------


def trades_today(view: DeskView, strategy: str) -> int:
    """Return how many positions the strategy has had: pending, open, closed (an entry without a fill is no trade)."""
    held = {h.ref.unit for h in view.holdings if h.ref.strategy == strategy}
    return view.closed.trades_with(held, strategy)


def exit_fees_cents(session: date, holding: Holding) -> Cents:
    """Return the estimated fees of closing a holding at its mark."""
    qty, ref = holding.qty, holding.ref
    if qty < 1:
        return Cents(0)
    sign = 1 if ref.side is Side.BUY else -1
    worth = holding.cost_cents + sign * (holding.unrealised_cents or 0)
    premium = 0 if worth < 0 else worth / (qty * ref.contract.multiplier)
    return order_fee_cents(session, ref.contract.trading_class, qty, premium, is_sale=True)


def net_cents(session: date | None, holding: Holding) -> Cents:
    """Return what a holding adds to the day's P&L at its last mark, or at cost where there never was one.

    That is what its part exits have brought, and once it is open what it has gained, less the fees of closing it
    (`session` is `None`: not known).
    """
    net = holding.realised_cents + (holding.unrealised_cents or 0)
    return net if holding.is_pending or session is None else net - exit_fees_cents(session, holding)


def is_marked(view: DeskView, holding: Holding, now: Utc, age_max_ns: int) -> bool:
    """Return whether a mark is known and young enough; a market that is closed lets none grow old."""
    return _is_marked(holding, now - age_max_ns if does_age(view, now) else None)


def _is_marked(holding: Holding, oldest_utc: Utc | None) -> bool:
    """Return whether a mark is known and not older than `oldest_utc` (`None`: none grows old)."""
    if holding.unrealised_cents is None:
        return False
    return oldest_utc is None or holding.marked_utc >= oldest_utc or not holding.needs_mark


def does_age(view: DeskView, now: Utc) -> bool:
    """Return whether marks and prices grow old: in regular hours, and while nobody has told the phase."""
    return view.phase is None or (view.phase in REGULAR and now < view.close_utc)


def _worst_cents(view: DeskView, holding: Holding) -> Cents:
    """Return the result of a holding in the worst case: a long one is worth nothing; nothing bounds a short one."""
    if holding.ref.side is Side.BUY:
        return Cents(-holding.cost_cents)
    return Cents(-(view.start_nav_cents or holding.cost_cents))


def _worse_cents(view: DeskView, unit: str, blind: Collection[Holding]) -> int:
    """Return what the worst case of a position or structure adds to the day's P&L in place of its last marks.

    A covered structure is counted as a whole, whichever legs have no mark: what it brought in less its gap.
    """
    legs = [h for h in view.holdings if h.ref.unit == unit]
    gap_cents = _gap_cents(legs)
    if gap_cents is None:
        legs = [h for h in legs if h in blind]
        worst = sum(_worst_cents(view, h) for h in legs)
    else:
        worst = -gap_cents - sum(h.ref.side.sign * h.cost_cents for h in legs)
    return worst + sum(h.realised_cents - net_cents(view.session, h) for h in legs)


def _gap_cents(legs: Collection[Holding]) -> Cents | None:
    """Return what closing legs can cost at most, however the market moves; `None` where nothing bounds that.

    Nothing does while one is pending, across underlyings or expiries, and where more of a right is sold than held.
    """
    held = [(h.contract, Qty(h.ref.side.sign * h.qty)) for h in legs]
    kinds = {(contract.ticker, contract.expiry, contract.multiplier) for contract, _ in held}
    if len(kinds) > 1 or any(h.is_pending for h in legs):
        return None
    is_bare = any(sum(qty for contract, qty in held if contract.right is right) < 0 for right in Right)
    return None if is_bare else worst_loss_cents(held)


def day_pnl(view: DeskView, now: Utc, age_max_ns: int) -> DayPnl:
    """Return the day's P&L: realised net of fees, plus unrealised, less estimated exit fees.

    A holding without a mark for `age_max_ns` counts at its worst case; before that at its last mark, or at cost where
    there never was one. A leg of a covered structure counts so with the other legs, marked or not.
    """
    session, oldest_utc = view.session, now - age_max_ns if does_age(view, now) else None
    nets = [net_cents(session, h) if h.net_cents is None else h.net_cents for h in view.holdings]
    total = known = view.closed.realised_cents + sum(nets)
    since_utc = oldest_utc or Utc(0)
    suspects = [h for h in view.holdings if h.unrealised_cents is None or not h.marked_utc >= since_utc]
    unmarked = [h for h in suspects if not _is_marked(h, oldest_utc)]
    worst = [h for h in unmarked if h.marked_utc < since_utc]
    for h in unmarked:
        known += h.realised_cents - net_cents(session, h)
    total += sum([_worse_cents(view, unit, worst) for unit in {h.ref.unit: None for h in worst}])
    return DayPnl(Cents(total), Cents(known), tuple(unmarked), tuple(worst))


def premium_cents(view: DeskView, ticker: str | None = None) -> Cents:
    """Return the premium that is held, ordered or pending, of one underlying or of all; of a structure what it cost.

    A structure counts with the underlying of what it bought; one that brought in more than it cost counts nothing.
    """
    plain, nets, of_ticker = 0, dict[str, int](), set[str]()
    for h in view.holdings:
        is_of_ticker = ticker is None or h.ref.contract.ticker == ticker
        if h.ref.structure_id is None:
            if is_of_ticker:
                plain += h.cost_cents + h.ordered_cents
            continue
        is_bought = h.ref.side is Side.BUY
        nets[h.ref.unit] = nets.get(h.ref.unit, 0) + (h.cost_cents if is_bought else -h.cost_cents)
        if is_bought and is_of_ticker:
            of_ticker.add(h.ref.unit)
    return Cents(plain + sum(max(net, 0) for unit, net in nets.items() if unit in of_ticker))


def unspent_cents(view: DeskView) -> Cents:
    """Return what pending entries and slices may still cost: the account's funds do not know of it yet."""
    pending = sum([h.cost_cents for h in view.holdings if h.is_pending and h.ref.side is Side.BUY])
    return Cents(pending + sum([h.ordered_cents for h in view.holdings if h.ordered is not None]))
