"""The standing gates: may this desk enter at all, now, for this signal? Their order stands in `sequence.GATES`.

Rules: the project's risk specification, section 2.
"""

from __future__ import annotations

from domain.instants import BUCKET_NS, MS, SECOND, exchange_clock, session_of
from domain.orders.intent import Intent
from domain.risk.day import hard_limit_cents, is_at_or_below, loss_streak
from domain.risk.desk_view import day_pnl_cents, deciding_row, last_sent_utc, trades_today
from domain.risk.gates.types import Finding, Snapshot, missing, not_fed, passed, refused
from domain.risk.kill import KillLevel
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
    if level >= KillLevel.NO_ENTRIES:
        code = RejectCode.KILL_SWITCH_L1 if level == KillLevel.NO_ENTRIES else RejectCode.KILL_SWITCH_L2
        return refused(code, level, 0, "level", f"epoch {s.view.kill_epoch}")
    return passed(level, 0, "level", f"epoch {s.view.kill_epoch}")


def live_flag(_: Intent, s: Snapshot) -> Finding:
    """Live only when armed for this run."""
    if s.rules.trading_mode == "live" and not s.rules.is_live_armed:
        return refused(RejectCode.LIVE_NOT_ENABLED, looked_at="trading_mode live, not armed")
    return passed(looked_at=f"trading_mode {s.rules.trading_mode}")


def port_and_account(_: Intent, s: Snapshot) -> Finding:
    """The connected port and account are those of the trading mode."""
    account = s.view.account
    if account is None:
        return missing("account facts")
    is_paper = s.rules.trading_mode == "paper"
    wanted = s.rules.paper_port if is_paper else s.rules.live_port
    if account.port != wanted:
        code = RejectCode.NOT_PAPER_PORT if is_paper else RejectCode.NOT_LIVE_PORT
        return refused(code, account.port, wanted, "port", "connected port")
    looked_at = f"account class {account.account_class}"
    if is_paper and account.account_class is not AccountClass.PAPER:
        return refused(RejectCode.NOT_PAPER_ACCOUNT, looked_at=looked_at)
    if not account.matches or (not is_paper and account.account_class is not AccountClass.LIVE):
        return refused(RejectCode.ACCOUNT_MISMATCH, looked_at=looked_at)
    return passed(account.port, wanted, "port", looked_at)


def shadow_check(intent: Intent, _: Snapshot) -> Finding:
    """Only promoted signals trade."""
    looked_at = f"{intent.key.kind}-{intent.key.version}"
    if intent.is_shadow:
        return refused(RejectCode.SHADOW_SIGNAL, looked_at=looked_at)
    return passed(looked_at=looked_at)


def broker_mode(_: Intent, s: Snapshot) -> Finding:
    """Entries in FULLY_LIVE only."""
    mode = s.view.mode
    if mode is None:
        return missing("connection mode")
    if mode is not Mode.FULLY_LIVE:
        return refused(REFUSED_IN_MODE[mode], looked_at=mode.value)
    return passed(looked_at=mode.value)


def session(_: Intent, s: Snapshot) -> Finding:
    """Regular hours by calendar, clock and phase together, inside the entry window, no halt, day not locked."""
    view = s.view
    if view.phase is None or view.session is None:
        return missing("phase of the day")
    clock = f"{view.phase.value} at {exchange_clock(s.now)}"
    is_closed_date = view.session.isoformat() in s.rules.day.closed_dates
    liquid = s.liquid_hours_utc
    outside = not view.open_utc <= s.now < view.close_utc or session_of(s.now) != view.session
    illiquid = liquid is not None and not liquid[0] <= s.now < liquid[1]
    if view.phase in _CLOSED_PHASES or is_closed_date or outside or illiquid:
        return refused(RejectCode.SESSION_CLOSED, looked_at=clock)
    first = view.open_utc + s.rules.day.entry_after_open_ms * MS
    last = view.close_utc - s.rules.day.entry_stop_ms * MS
    if not first <= s.now < last or view.phase is not Phase.ENTRY:
        near = first if s.now < first else last
        return refused(RejectCode.ENTRY_WINDOW, (s.now - near) / SECOND, 0, "s", clock)
    halts = s.halts
    if halts is not None and halts.is_halted:
        return refused(RejectCode.HALTED, looked_at=clock)
    if halts is not None and halts.resumed_utc is not None:
        since = s.now - halts.resumed_utc
        if since < s.rules.limits.halt_resume_ms * MS:
            return refused(RejectCode.HALTED, since / MS, s.rules.limits.halt_resume_ms, "ms", "since the resume")
    if view.day_locked is not None:
        return refused(RejectCode.DAY_LOCKED, looked_at=view.day_locked)
    if halts is None or liquid is None:
        untold = [name for name, given in (("halts", halts), ("liquid hours", liquid)) if given is None]
        return not_fed(s, f"{clock}; not told: {', '.join(untold)}")
    return passed(looked_at=clock)


def signal_age(intent: Intent, s: Snapshot) -> Finding:
    """Not too old, counted from the bucket's end; a bucket that has not ended cannot have signalled."""
    age_ms = (s.now - intent.key.bucket_utc - BUCKET_NS) / MS
    limit = s.strategy.signal_age_max_ms
    if age_ms < 0:
        return missing("bucket not closed", age_ms, limit, "ms")
    if age_ms > limit or s.now > intent.expires_utc:
        return refused(RejectCode.STALE_SIGNAL, age_ms, limit, "ms", "since the bucket's end")
    return passed(age_ms, limit, "ms", "since the bucket's end")


def cooldown(intent: Intent, s: Snapshot) -> Finding:
    """This source handed no order on for this ticker a short while ago."""
    sent = last_sent_utc(s.view, intent.source, intent.ticker)
    limit = s.strategy.cooldown_ms
    looked_at = f"{intent.source} {intent.ticker}"
    if sent is None:
        return passed(None, limit, "ms", looked_at)
    since_ms = (s.now - sent) / MS
    if since_ms < limit:
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
    """The latched stop; and, before its second evaluation, already the breach itself (trading less wins)."""
    start = s.view.start_nav_cents
    if start is None:
        return missing("start NAV")
    limit = hard_limit_cents(start, s.rules.limits)
    pnl = day_pnl_cents(s.view, s.now, s.rules.limits.account_age_max_ms)
    if s.view.stops.is_hard:
        return refused(RejectCode.DAILY_LOSS, pnl, limit, "cents", "latched")
    if pnl is None:
        return missing("mark of a held position", None, limit, "cents")
    if is_at_or_below(pnl, limit):
        return refused(RejectCode.DAILY_LOSS, pnl, limit, "cents", "day P&L")
    return passed(pnl, limit, "cents", "day P&L")


def losses_in_a_row(_: Intent, s: Snapshot) -> Finding:
    """Losing structures in a row today, account-wide."""
    streak = loss_streak(s.view.closed)
    limit = s.rules.limits.loss_streak_max
    if streak >= limit:
        return refused(RejectCode.LOSS_STREAK, streak, limit, "structures", "closed today")
    return passed(streak, limit, "structures", "closed today")


def trades_per_day(intent: Intent, s: Snapshot) -> Finding:
    """The strategy's trades today, and the broker's day trades."""
    trades = trades_today(s.view, intent.strategy)
    limit = s.strategy.trades_per_day_max
    if trades >= limit:
        return refused(RejectCode.MAX_TRADES, trades, limit, "trades", intent.strategy)
    funds = s.view.funds
    if funds is None:
        return missing("account values", trades, limit, "trades")
    if funds.day_trades is None:
        return not_fed(s, "day trades: the broker does not say", trades, limit, "trades")
    if funds.day_trades == 0:
        return refused(RejectCode.DAY_TRADES, 0, 1, "day trades", "DayTradesRemaining")
    return passed(trades, limit, "trades", f"{intent.strategy}; day trades left {funds.day_trades}")


def no_adding_to_a_loser(intent: Intent, s: Snapshot) -> Finding:
    """Nothing more in a direction that is open at a loss."""
    worst: Cents | None = None
    for h in s.view.holdings:
        if h.is_pending or h.contract.ticker != intent.ticker or h.ref.direction != intent.direction:
            continue
        if h.unrealised_cents is None:
            return missing(f"mark of {h.contract.label}")
        worst = h.unrealised_cents if worst is None else min(worst, h.unrealised_cents)
    if worst is not None and worst < 0:
        return refused(RejectCode.ADD_TO_LOSER, worst, 0, "cents", intent.ticker)
    return passed(worst, 0, "cents", intent.ticker)


def no_reverse(intent: Intent, s: Snapshot) -> Finding:
    """Nothing against a direction that is open or pending."""
    opposite = [
        h for h in s.view.holdings if h.contract.ticker == intent.ticker and h.ref.direction == -intent.direction
    ]
    if opposite:
        looked_at = opposite[0].contract.label
        return refused(RejectCode.REVERSE_WITHOUT_FLAT, len(opposite), 0, "positions", looked_at)
    return passed(0, 0, "positions", intent.ticker)


def one_position(intent: Intent, s: Snapshot) -> Finding:
    """A strategy whose profile says so holds or awaits one position."""
    count = sum(h.ref.strategy == intent.strategy for h in s.view.holdings)
    if s.strategy.one_position_only and count >= 1:
        return refused(RejectCode.ONE_POSITION_ONLY, count, 1, "positions", intent.strategy)
    return passed(count, 1 if s.strategy.one_position_only else None, "positions", intent.strategy)


def long_only(intent: Intent, s: Snapshot) -> Finding:
    """Nothing sold to open by a long-only strategy, nothing sold uncovered by any."""
    if intent.plan.is_long_only:
        return passed(looked_at="buy to open")
    if s.strategy.long_only:
        return refused(RejectCode.LONG_ONLY, looked_at="sell to open")
    if not intent.plan.is_covered:
        return refused(RejectCode.NAKED_SHORT, looked_at="sell to open, not covered")
    return passed(looked_at="sell to open, covered")


def positions_global(_: Intent, s: Snapshot) -> Finding:
    """Open and pending, all tickers."""
    count, limit = len(s.view.holdings), s.rules.limits.positions_max
    if count >= limit:
        return refused(RejectCode.MAX_POSITIONS, count, limit, "positions", "open and pending")
    return passed(count, limit, "positions", "open and pending")


def positions_of_ticker(intent: Intent, s: Snapshot) -> Finding:
    """Open and pending in this ticker."""
    count = sum(h.contract.ticker == intent.ticker for h in s.view.holdings)
    limit = s.rules.limits.positions_per_ticker_max
    if count >= limit:
        return refused(RejectCode.TICKER_LIMIT, count, limit, "positions", intent.ticker)
    return passed(count, limit, "positions", intent.ticker)
