"""The desk: where it stands, what it holds and has traded, its account and its money."""

from __future__ import annotations

from web.models.base import Model


class Status(Model):
    """Where the desk stands; `is_trading`: entries are allowed now. `troubles`: what a person should know first.

    `ended` says why there is no supervisor any more: all that is told is what it left. `is_finished`: it was played to
    its end, and nothing is held. The figures are of `desk`, which trades money of `kind` (`live`, `paper`, `sim`);
    `desks` are all of the process.
    """

    is_trading: bool
    is_connected: bool
    open_positions: int | None
    trades_today: int | None
    mode: str | None
    kill_level: int | None
    kill_epoch: int | None
    kill_reason: str | None
    phase: str | None
    session: str | None
    at: str | None
    desk: str
    kind: str
    desks: list[str]
    trading_mode: str
    profile: str
    run_n: int
    tickers: list[str]
    hubs: dict[str, bool]
    allows_actions: bool
    troubles: list[str]
    ended: str | None
    is_finished: bool


class DeskLine(Model):
    """A desk in a line: what nobody may miss while he looks at another one. `total_pnl` is the day's; USD.

    `kind` is `live`, `paper` or `sim`. `trouble` says what is wrong with what is told of it; `alarms` counts those of
    it that are high or critical and not over.
    """

    desk: str
    kind: str
    mode: str | None
    is_connected: bool
    is_trading: bool
    open_positions: int | None
    total_pnl: float | None
    kill_level: int | None
    kill_reason: str | None
    alarms: int
    trouble: str | None


class Stage(Model):
    """A stage of the pipeline: `operational`, `degraded` or `down`, and why.

    `last` is its last sign of life; one comes each `every_s` seconds.
    """

    name: str
    state: str
    why: str | None
    last: str | None
    every_s: int
    detail: str


class GreeksOf(Model):
    """Greeks of a whole position: delta in shares, gamma in shares per USD, theta and vega in USD (a day, a point).

    Shares of one underlying are none of another's: what may be added up over several is in USD. `delta_dollars` is
    delta times the underlying's price, `None` where that is not known.
    """

    delta: float
    delta_dollars: int | None
    gamma: float
    theta: float
    vega: float
    iv: float


class NearestExit(Model):
    """The exit that is nearest: `left` is the share of its way that is left, 1 as far as at the entry, 0 now.

    `level` is the price at which it happens, `pnl` the result of all legs of a structure in USD, `at` the instant; one
    of them. `ticker` is whose price it is where that is the underlying of a leg, which may be another one's.
    """

    reason: str
    left: float
    level: float | None
    at: str | None
    pnl: float | None
    ticker: str | None


class Position(Model):
    """What is held, or may soon be; `entry_credit` is what was paid (below 0) or taken in for all of it, USD.

    `qty` is negative where it was sold to open. A leg of a structure has the structure's `exits`, none while that opens
    or closes; `structure_pnl` is what all its legs have come to so far in USD, by their marks and net of fees, `None`
    where that is not known.
    """

    trade_id: str
    entry_time: str
    spy_strike: float | None
    spx_strike: float | None
    entry_credit: float | None
    current_pnl: float | None
    status: str
    ticker: str
    contract: str
    right: str
    strike: float
    expiry: str
    qty: int
    entry_price: float | None
    bid: float | None
    ask: float | None
    quote_age_s: float | None
    strategy: str
    direction: int
    order_ref: str
    wanted_exit: str | None
    nearest: NearestExit | None
    exits: list[NearestExit]
    greeks: GreeksOf | None
    structure_id: str | None
    structure_pnl: float | None


class Trade(Model):
    """A closed position; `final_pnl` is net of `fees`. `entry_credit` as in `Position`.

    `qty` is negative where it was sold to open. `exit_reason` is the code of the last part that was closed,
    `closed_by` says the reasons of all parts in words. The legs of a structure share its `structure_id`: they are one
    trade; `None`: it was none's.
    """

    id: str
    trade_date: str
    entry_credit: float | None
    final_pnl: float
    exit_reason: str | None
    closed_by: str
    structure_id: str | None
    status: str
    ticker: str
    contract: str
    qty: int
    fees: float
    entry_time: str | None
    exit_time: str
    entry_price: float | None
    exit_price: float | None
    strategy: str | None
    alert_id: str | None
    order_ref: str | None


class Fill(Model):
    """One execution in force; slippage in USD per unit against us from the mid that the gates saw."""

    at: str
    order_ref: str
    side: str
    qty: int
    price: float
    fee: float | None
    is_exit: bool | None
    ticker: str | None
    contract: str | None
    slippage: float | None


class Account(Model):
    """The account as the broker told it last; the number is masked."""

    account_id: str | None = None
    net_liquidation: float | None = None
    total_cash: float | None = None
    available_funds: float | None = None
    buying_power: float | None = None
    day_trades_remaining: int | None = None
    account_class: str | None = None
    why_unknown: str | None = None
    at: str | None = None


class Market(Model):
    """Prices of the underlyings; `ratio` is SPX over SPY.

    `old_s` names those that are older than a minute, with their age in s; `at` is the market's clock.
    """

    spy_price: float | None
    spx_price: float | None
    ratio: float | None
    prices: dict[str, float]
    old_s: dict[str, int]
    at: str | None


class Performance(Model):
    """The day's money. The stops are the P&L at which they bite; `max_daily_loss` is the hard one as an amount.

    `held_realized_pnl`, of `daily_realized_pnl`, is of positions still held: their fees, and parts closed already.
    `curve` is the P&L by time: pairs of seconds since the epoch and USD.
    """

    daily_realized_pnl: float
    held_realized_pnl: float
    unrealized_pnl: float | None
    total_pnl: float | None
    max_daily_loss: float | None
    risk_breached: bool
    trades_count: int
    active_positions: int
    soft_stop: float | None
    hard_stop: float | None
    start_nav: float | None
    locked: str | None
    fees: float
    wins: int
    losses: int
    curve: list[list[float]]
