"""What the HTTP API answers: field names, types and units. Money and prices are USD, instants ISO 8601 in New York.

`None` means not known, never zero. The first six are those of the systems that this one replaces, with more fields.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(frozen=True)


class Status(Model):
    """Where the desk stands; `is_trading`: entries are allowed now. `troubles`: what a person should know first.

    `ended` says why there is no supervisor any more: all that is told is what it left.
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
    trading_mode: str
    profile: str
    run_n: int
    tickers: list[str]
    hubs: dict[str, bool]
    allows_actions: bool
    troubles: list[str]
    ended: str | None


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
    """Greeks of a whole position: delta in shares, gamma in shares per USD, theta and vega in USD (a day, a point)."""

    delta: float
    gamma: float
    theta: float
    vega: float
    iv: float


class NearestExit(Model):
    """The exit that is nearest: `left` is the share of its way that is left, 1 as far as at the entry, 0 now.

    `level` is the price at which it happens, `at` the instant; the one or the other.
    """

    reason: str
    left: float
    level: float | None
    at: str | None


class Position(Model):
    """What is held, or may soon be; `entry_credit` is what was paid (below 0) or taken in for all of it, USD."""

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


class Trade(Model):
    """A closed position; `final_pnl` is net of `fees`. `entry_credit` as in `Position`."""

    id: str
    trade_date: str
    entry_credit: float | None
    final_pnl: float
    exit_reason: str | None
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
    """Prices of the underlyings; `ratio` is SPX over SPY."""

    spy_price: float | None
    spx_price: float | None
    ratio: float | None
    prices: dict[str, float]
    at: str | None


class Performance(Model):
    """The day's money. The stops are the P&L at which they bite; `max_daily_loss` is the hard one as an amount.

    `curve` is the P&L by time: pairs of seconds since the epoch and USD.
    """

    daily_realized_pnl: float
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


class Alert(Model):
    """An alert of a lane; `outcome` says in words how it came out, as far as that is known.

    `first` is what was reached first (target, stop, neither); `mfe_bps` and `mae_bps` are the farthest moves with and
    against it; `is_resolved` says that its horizon is over without a gap.
    """

    alert_id: str
    at: str
    source: str
    ticker: str
    kind: str
    direction: int
    price: float
    target: float
    stop: float
    is_shadow: bool
    alignment: float | None
    became: str | None
    outcome: str | None
    first: str | None
    mfe_bps: float | None
    mae_bps: float | None
    is_resolved: bool


class Rate(Model):
    """How alerts of a source, kind and version came out: `wins` of `n` resolved ones reached their target first.

    `lower` and `upper` are Wilson's bounds at 95 %; `unresolved` (a gap) and `followed` count in no rate.
    """

    source: str
    kind: str
    version: int
    is_shadow: bool
    n: int
    wins: int
    losses: int
    unresolved: int
    followed: int
    rate: float | None
    lower: float | None
    upper: float | None


class Refusal(Model):
    """An attempt that was refused, with what the deciding gate measured; `text` says it in a trader's units."""

    at: str
    alert_id: str
    source: str
    ticker: str
    kind: str
    code: str
    gate: str | None
    measured: float | None
    limit: float | None
    unit: str
    words: str | None
    text: str
    is_shadow: bool


class Gates(Model):
    """The attempts of a session: how many ended with which code, and the newest refusals."""

    counts: dict[str, int]
    refusals: list[Refusal]


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


class ActorRow(Model):
    """One actor; times in milliseconds."""

    name: str
    is_up: bool
    mail: int
    p99_ms: float | None
    restarts: int


class Actors(Model):
    """The tree of actors; `why_unknown` where the supervisor does not answer."""

    rows: list[ActorRow]
    rss_mb: int | None
    uptime_s: int | None
    latched: str | None
    ended: str | None
    why_unknown: str | None


class Force(Model):
    """One force of a reading: score from -1 to 1, confidence from 0 to 1."""

    name: str
    score: float
    confidence: float


class Reading(Model):
    """The newest reading of a ticker."""

    ticker: str
    at: str
    spot: float | None
    zero_gamma: float | None
    alignment: float | None
    missing: list[str]
    forces: list[Force]


class AlarmLine(Model):
    """An alarm, newest first."""

    at: str
    key: str
    severity: str
    text: str


class StoryStep(Model):
    """One step of a chain (reading, alert, gates, refused, order, fill, exit, won, lost), `gap_s` after the last."""

    at: str
    gap_s: float
    kind: str
    text: str


class Story(Model):
    """The causal chain of an alert: what was seen, decided, ordered, filled, and how it ended."""

    ref: str
    alert_id: str
    steps: list[StoryStep]


class Week(Model):
    """A week of the desk: `fill_rate` is the share of accepted attempts that bought something."""

    monday: str
    sessions: int
    trades: int
    wins: int
    net_pnl: float
    fees: float
    accepted: int
    refused: int
    fill_rate: float | None


class BrokerBreak(Model):
    """A loss of the order session: when, why, and for how long; `lasted_s` is `None` where it did not come back."""

    at: str
    cause: str
    lasted_s: float | None


class Lifetime(Model):
    """Sums of everything on record, since the first start.

    `kills` counts how often the kill level rose, `interventions` people's kills, flattens and resumes, `disconnects`
    the breaks of the feed's hubs that were survived, `broker_disconnects` those of the order session (the newest are
    `broker_breaks`), `rows` what is stored of the market.
    """

    since: str | None
    starts: int
    uptime_s: int | None
    sessions: int
    positions: int
    wins: int
    net_pnl: float
    interventions: int
    alerts: int
    kills: int
    disconnects: int
    rows: int
    broker_disconnects: int = 0
    broker_breaks: list[BrokerBreak] = []


class Reply(Model):
    """The answer to a question: what it stands on is a line a table; `by` is `grammar`, or the model that put it so."""

    text: str
    rests_on: list[str]
    is_known: bool
    by: str


class Correlation(Model):
    """A pair's correlation of minute returns in the session shown, and what was usual in the sessions before."""

    pair: str
    now: float | None
    usual: float | None
    deviation: float | None
    sessions: int
    is_broken: bool


class Derived(Model):
    """One derived series of a symbol: its newest value, `None` where an input is missing."""

    symbol: str
    name: str
    formula: str
    value: float | str | None


class Context(Model):
    """What lies around the session shown; `sessions_before` are stored before it, at most 30."""

    session: str
    sessions_before: int
    correlations: list[Correlation]
    derived: list[Derived]


class GapRow(Model):
    """A time in which a hub's groups were expected and silent; `cover` names what delivered in their stead."""

    from_time: str
    to_time: str
    hub: str
    why: str
    cover: str | None
    tickers: list[str]
    groups: int


class Answer(Model):
    """What became of an action, in one sentence."""

    done: str | None = None
    denied: str | None = None
    detail: str | None = None
    error: str | None = None
