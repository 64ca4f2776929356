"""The standing gates: may this desk enter at all, now, for this signal? Their order stands in `sequence.GATES`.

Rules: the project's risk specification, section 2.
"""

from __future__ import annotations

from domain.instants import BUCKET_NS, MS, SECOND, exchange_clock, session_of
from domain.orders.intent import Intent
from domain.risk.day import hard_limit_cents, is_at_or_below
from domain.risk.desk_view import AccountFacts, Funds, day_pnl, deciding_row, is_marked, last_sent_utc, trades_today
from domain.risk.gates.types import DeskRules, Finding, Snapshot, missing, passed, refused
from domain.risk.kill import KillLevel
from domain.risk.measured import is_over, is_under
from domain.risk.reject import REFUSED_IN_MODE, RejectCode
from domain.session.modes import AccountClass, Mode
from domain.session.phases import Phase
from domain.units import Cents

_CLOSED_PHASES = (Phase.CLOSED_DAY, Phase.PRE, Phase.CLOSED)


def kill_level(_: Intent, s: Snapshot) -> Finding:
    """No entries at level 1 or 2."""
    level = s.view.kill_level
    if level is None:
        return missing("kill level")
    if is_over(level, KillLevel.RUNNING):
        code = RejectCode.KILL_SWITCH_L1 if level == KillLevel.NO_ENTRIES else RejectCode.KILL_SWITCH_L2
        return refused(code, level, 0, "level", f"epoch {s.view.kill_epoch}")
    return passed(level, 0, "level", f"epoch {s.view.kill_epoch}")


def live_flag(_: Intent, s: Snapshot) -> Finding:
    """Live only when armed for this run."""
    return armed(s.rules)


def armed(rules: DeskRules) -> Finding:
    """Return whether the desk is armed, where it trades live money."""
    if rules.trading_mode == "live" and not rules.is_live_armed:
        return refused(RejectCode.LIVE_NOT_ENABLED, looked_at="trading_mode live, not armed")
    return passed(looked_at=f"trading_mode {rules.trading_mode}")


def port_and_account(_: Intent, s: Snapshot) -> Finding:
    """The connected port and account are those of the trading mode."""
    return right_account(s.rules, s.view.account)


def right_account(rules: DeskRules, account: AccountFacts | None) -> Finding:
    """Return whether the desk is connected to the port and the class of account of its mode."""
    if account is None:
        return missing("account facts")
    is_paper = rules.trading_mode == "paper"
    wanted = rules.paper_port if is_paper else rules.live_port
    if account.port != wanted:
        code = RejectCode.NOT_PAPER_PORT if is_paper else RejectCode.NOT_LIVE_PORT
        return refused(code, account.port, wanted, "port", "connected port")
    looked_at = f"account class {account.account_class}"
    if is_paper and account.account_class is not AccountClass.PAPER:
        return refused(RejectCode.NOT_PAPER_ACCOUNT, looked_at=looked_at)
    if not account.matches or (not is_paper and account.account_class is not AccountClass.LIVE):
        return refused(RejectCode.ACCOUNT_MISMATCH, looked_at=looked_at)
    return passed(account.port, wanted, "port", looked_at)


def shadow_check(intent: Intent, s: Snapshot) -> Finding:
    """Only signals trade that were promoted when they were raised, and still are."""
    key = intent.key
    looked_at = f"{key.source} {key.kind}-{key.version}"
    if intent.is_shadow:
        return refused(RejectCode.SHADOW_SIGNAL, looked_at=looked_at)
    if (key.source, key.kind, key.version) in s.view.promoted:
        return passed(looked_at=looked_at)
    if not s.view.is_promoted_known:
        return missing("promotions: the shared ledger could not be read at the start")
    return refused(RejectCode.SHADOW_SIGNAL, looked_at=f"{looked_at}: no longer promoted")


def broker_mode(_: Intent, s: Snapshot) -> Finding:
    """Entries in FULLY_LIVE only."""
    mode = s.view.mode
    if mode is None:
        return missing("connection mode")
    if mode is not Mode.FULLY_LIVE:
        return refused(REFUSED_IN_MODE[mode], looked_at=mode.value)
    return passed(looked_at=mode.value)


def session(intent: Intent, s: Snapshot) -> Finding:
    """Regular hours by calendar, clock, phase and the broker together, in the entry window, no halt, day not locked."""
    view = s.view
    if view.phase is None or view.session is None:
        return missing("phase of the day")
    clock = f"{view.phase.value} at {exchange_clock(s.now)}"
    is_closed_date = view.session in s.rules.day.closed_dates
    outside = not view.open_utc <= s.now < view.close_utc or session_of(s.now) != view.session
    if view.phase in _CLOSED_PHASES or is_closed_date or outside:
        return refused(RejectCode.SESSION_CLOSED, looked_at=clock)
    first = view.open_utc + s.rules.day.entry_after_open_ms * MS
    last = view.close_utc - s.rules.day.entry_stop_ms * MS
    if not first <= s.now < last or view.phase is not Phase.ENTRY:
        near = first if s.now < first else last
        return refused(RejectCode.ENTRY_WINDOW, (s.now - near) / SECOND, 0, "s", clock)
    refusal = _liquid_hours(intent.ticker, s) or _halted(intent.ticker, s, clock)
    if refusal is not None:
        return refusal
    if view.day_locked is not None:
        return refused(RejectCode.DAY_LOCKED, looked_at=view.day_locked)
    return passed(looked_at=clock)


def _liquid_hours(ticker: str, s: Snapshot) -> Finding | None:
    """Return the refusal where the broker's hours are not known, or do not hold the calendar's (a surprise closure)."""
    view, told = s.view, s.view.hours.get(ticker)
    if told is None or told.session != view.session or told.intervals is None:
        return missing(f"liquid hours of {ticker} by the broker")
    if any(opens <= view.open_utc and view.close_utc <= closes for opens, closes in told.intervals):
        return None
    said = ", ".join(f"{exchange_clock(opens)}-{exchange_clock(closes)}" for opens, closes in told.intervals)
    calendars = f"{exchange_clock(view.open_utc)}-{exchange_clock(view.close_utc)}"
    looked_at = f"the broker's hours of {ticker} are {said or 'none'}, the calendar's {calendars}"
    return refused(RejectCode.SESSION_CLOSED, looked_at=looked_at)


def _halted(ticker: str, s: Snapshot, clock: str) -> Finding | None:
    """Return the refusal of a halt or of the time after it.

    Halts are told when they begin and end: of a ticker whose hours the broker has told today and of which nothing was
    heard, nothing was halted (except before `halts_from_utc`, which nobody tells again).
    """
    limit, halt = s.rules.limits.halt_resume_ms, s.view.halts.get(ticker)
    if halt is not None and halt.is_halted:
        return refused(RejectCode.HALTED, looked_at=clock)
    if halt is not None and is_under((s.now - halt.at_utc) / MS, limit):
        return refused(RejectCode.HALTED, (s.now - halt.at_utc) / MS, limit, "ms", "since the resume")
    if s.now < s.view.halts_from_utc:
        return missing("halts of the time before the restart", (s.view.halts_from_utc - s.now) / MS, limit, "ms")
    return None


def signal_age(intent: Intent, s: Snapshot) -> Finding:
    """Not too old, counted from the bucket's end; a bucket that has not ended cannot have signalled."""
    age_ms = (s.now - intent.key.bucket_utc - BUCKET_NS) / MS
    limit = s.strategy.signal_age_max_ms
    if is_under(age_ms, 0):
        return missing("bucket not closed", age_ms, limit, "ms")
    if is_over(age_ms, limit) or is_over(s.now, intent.expires_utc):
        return refused(RejectCode.STALE_SIGNAL, age_ms, limit, "ms", "since the bucket's end")
    return passed(age_ms, limit, "ms", "since the bucket's end")


def cooldown(intent: Intent, s: Snapshot) -> Finding:
    """This source had no order sent for this ticker a short while ago, and is not just having one sent."""
    limit = s.strategy.cooldown_ms
    looked_at = f"{intent.source} {intent.ticker}"
    if any(p.is_sending and (p.source, p.ticker) == (intent.source, intent.ticker) for p in s.beside):
        return refused(RejectCode.COOLDOWN, 0, limit, "ms", f"{looked_at}: another of its orders is being sent")
    sent = last_sent_utc(s.view, intent.source, intent.ticker)
    if sent is None:
        return passed(None, limit, "ms", looked_at)
    since_ms = (s.now - sent) / MS
    if is_under(since_ms, limit):
        return refused(RejectCode.COOLDOWN, since_ms, limit, "ms", looked_at)
    return passed(since_ms, limit, "ms", looked_at)


def watermark(intent: Intent, s: Snapshot) -> Finding:
    """Neither this alert nor a strictly later bucket of its kind was decided on."""
    row = deciding_row(s.view, intent.key)
    if row is not None:
        behind_s = (row.key.bucket_utc - intent.key.bucket_utc) / SECOND
        return refused(RejectCode.DUPLICATE_ALERT, behind_s, 0, "s", row.key.alert_id)
    return passed(looked_at=intent.alert_id)


def daily_loss(_: Intent, s: Snapshot) -> Finding:
    """The latched stop; before its second evaluation already the breach itself, and any mark that is not known."""
    start = s.view.start_nav_cents
    if start is None:
        return missing("start NAV")
    limit = hard_limit_cents(start, s.rules.limits)
    pnl = day_pnl(s.view, s.now, s.rules.kill.unknown_input_ms * MS)
    told = None if pnl.worst else pnl.cents  # a worst case is judged, but it is no measurement
    if s.view.stops.is_hard:
        return refused(RejectCode.DAILY_LOSS, told, limit, "cents", "latched")
    if is_at_or_below(pnl.cents, limit):
        worst = ", ".join(h.contract.label for h in pnl.worst)
        looked_at = f"day P&L at its worst case ({pnl.known_cents / 100:.2f} USD are known), without a mark: {worst}"
        return refused(RejectCode.DAILY_LOSS, told, limit, "cents", looked_at if worst else "day P&L")
    if pnl.unmarked:
        labels = ", ".join(h.contract.label for h in pnl.unmarked)
        return missing(f"mark of {labels}", pnl.cents, limit, "cents")
    return passed(pnl.cents, limit, "cents", "day P&L")


def losses_in_a_row(_: Intent, s: Snapshot) -> Finding:
    """Losing structures in a row today, account-wide."""
    streak = s.view.closed.streak
    limit = s.rules.limits.loss_streak_max
    if not streak < limit:
        return refused(RejectCode.LOSS_STREAK, streak, limit, "structures", "closed today")
    return passed(streak, limit, "structures", "closed today")


def trades_per_day(intent: Intent, s: Snapshot) -> Finding:
    """The strategy's trades today, under way included, and the broker's day trades."""
    trades = trades_today(s.view, intent.strategy) + sum(p.strategy == intent.strategy for p in s.beside)
    limit = s.strategy.trades_per_day_max
    if not trades < limit:
        return refused(RejectCode.MAX_TRADES, trades, limit, "trades", intent.strategy)
    funds = s.view.funds
    if funds is None:
        return missing(account_values(s), trades, limit, "trades")
    aged = account_age(s, funds)
    if aged is not None:
        return aged
    return _day_trades(s, funds, f"{intent.strategy}: {trades} of {limit} trades")


def _day_trades(s: Snapshot, funds: Funds, looked_at: str) -> Finding:
    """Left by the broker; below 0 it has no limit, and what it does not tell is allowed from a NAV on."""
    left, floor = funds.day_trades, s.rules.limits.day_trade_nav_min_cents
    if left is not None:
        if left == 0 or not (left > 0 or left < 0):
            return refused(RejectCode.DAY_TRADES, left, 1, "day trades", "DayTradesRemaining")
        return passed(left, 1, "day trades", looked_at)
    if floor is not None and is_under(funds.nav_cents, floor):
        return missing("day trades: the broker does not tell them", funds.nav_cents, floor, "cents of NAV")
    return passed(funds.nav_cents, floor, "cents of NAV", f"{looked_at}; day trades not told")


def account_values(s: Snapshot) -> str:
    """Return what is missing of the account, with what came instead where something did."""
    return f"account values: {s.view.unreadable}" if s.view.unreadable else "account values"


def account_age(s: Snapshot, funds: Funds) -> Finding | None:
    """Return the refusal of account values that are too old."""
    age_ms, limit = (s.now - funds.read_utc) / MS, s.rules.limits.account_age_max_ms
    return missing("account values are old", age_ms, limit, "ms") if is_over(age_ms, limit) else None


def no_adding_to_a_loser(intent: Intent, s: Snapshot) -> Finding:
    """Nothing more in a direction that is open at a loss, unless the strategy's profile allows it."""
    if not s.strategy.forbid_add_to_loser:
        return passed(looked_at=f"the profile of {intent.strategy} allows it")
    worst: Cents | None = None
    ticker = intent.ticker
    for h in s.view.holdings:
        if h.ref.contract.ticker != ticker or h.is_pending or h.ref.direction != intent.direction:
            continue
        marked = h.unrealised_cents
        if marked is None or not is_marked(s.view, h, s.now, s.rules.kill.unknown_input_ms * MS):
            return missing(f"mark of {h.contract.label}")
        worst = marked if worst is None or not marked >= worst else worst
    if worst is not None and is_under(worst, 0):
        return refused(RejectCode.ADD_TO_LOSER, worst, 0, "cents", intent.ticker)
    return passed(worst, 0, "cents", intent.ticker)


def no_reverse(intent: Intent, s: Snapshot) -> Finding:
    """Nothing against a direction that is open, pending or under way, unless the strategy's profile allows it."""
    if not s.strategy.forbid_reverse_without_flat:
        return passed(looked_at=f"the profile of {intent.strategy} allows it")
    ticker, against = intent.ticker, -intent.direction
    open_ = [
        h.contract.label for h in s.view.holdings if h.ref.contract.ticker == ticker and h.ref.direction == against
    ]
    under_way = [f"{p.source} {p.ticker}, under way" for p in s.beside if (p.ticker, p.direction) == (ticker, against)]
    opposite = [*open_, *under_way]
    if opposite:
        return refused(RejectCode.REVERSE_WITHOUT_FLAT, len(opposite), 0, "positions", opposite[0])
    return passed(0, 0, "positions", intent.ticker)


def one_position(intent: Intent, s: Snapshot) -> Finding:
    """A strategy whose profile says so holds or awaits one position."""
    count = sum([h.ref.strategy == intent.strategy for h in s.view.holdings])
    count += sum([p.strategy == intent.strategy for p in s.beside])
    if s.strategy.one_position_only and count >= 1:
        return refused(RejectCode.ONE_POSITION_ONLY, count, 1, "positions", intent.strategy)
    return passed(count, 1 if s.strategy.one_position_only else None, "positions", intent.strategy)


def long_only(intent: Intent, s: Snapshot) -> Finding:
    """Nothing sold to open by a long-only strategy, nothing sold uncovered by any."""
    if intent.plan.is_long_only:
        return passed(looked_at="buy to open")
    if s.strategy.long_only:
        return refused(RejectCode.LONG_ONLY, looked_at="sell to open")
    is_foreign_cover = intent.plan.cover_ratio > 1
    if not intent.plan.is_covered or (is_foreign_cover and s.rules.spread is None):
        return refused(RejectCode.NAKED_SHORT, looked_at="sell to open, not covered")
    return passed(looked_at="sell to open, covered")


def positions_global(_: Intent, s: Snapshot) -> Finding:
    """Open, pending and under way, all tickers."""
    count, limit = len({h.ref.unit for h in s.view.holdings}) + len(s.beside), s.rules.limits.positions_max
    if not count < limit:
        return refused(RejectCode.MAX_POSITIONS, count, limit, "positions", "open and pending")
    return passed(count, limit, "positions", "open and pending")


def positions_of_ticker(intent: Intent, s: Snapshot) -> Finding:
    """Open, pending and under way in this ticker."""
    ticker = intent.ticker
    count = sum([h.ref.contract.ticker == ticker for h in s.view.holdings])
    count += sum([p.ticker == ticker for p in s.beside])
    limit = s.rules.limits.positions_per_ticker_max
    if not count < limit:
        return refused(RejectCode.TICKER_LIMIT, count, limit, "positions", intent.ticker)
    return passed(count, limit, "positions", intent.ticker)
