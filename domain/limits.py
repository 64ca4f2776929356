"""The settings of the rules as types: what `config/` fills in and `domain/` functions take.

Durations come in two kinds. `TransportMs` is real time (anything that waits for another process); the loader
multiplies it by the market clock's rate once, so that rules compare it with market instants. `MarketMs` is market
time and stays as it is. Shares are fractions (0.35 is 35 %). The rules of an alert kind stand beside its evaluator, in
`domain/signals/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from domain.units import Cents, Qty, Ticks

TransportMs = Annotated[int, "transport"]
MarketMs = Annotated[int, "market"]

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class TickerRules:
    """Sizes and bounds per ticker; `_ticks` are 1/100 USD, `underlying_stop_bps` and kin replace ticks where set."""

    __pydantic_config__: ClassVar = _STRICT
    trading_class: str
    underlying_stop_ticks: Ticks | None
    underlying_stop_bps: float | None
    progress_ticks: Ticks | None
    progress_bps: float | None
    iv_size_ticks: Ticks | None
    iv_size_bps: float | None
    max_hold_ms: MarketMs
    size_cap: Qty
    spread_cap_ticks: Ticks
    premium_min_ticks: Ticks
    premium_max_ticks: Ticks


@dataclass(frozen=True, slots=True)
class StrategyRules:
    """What one strategy (a lane's orders) does and may do; `plan` names a row of `domain.signals.strategies.PLANS`."""

    __pydantic_config__: ClassVar = _STRICT
    plan: str
    signal_age_max_ms: TransportMs
    cooldown_ms: MarketMs
    trades_per_day_max: int
    one_position_only: bool
    long_only: bool


class HardStopAction(StrEnum):
    """What the day's loss limit does besides locking the day."""

    FLATTEN = "flatten"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class EntryLimits:
    """Limits of the entry gates and of sizing, account-wide."""

    __pydantic_config__: ClassVar = _STRICT
    intent_deadline_ms: TransportMs
    daily_loss_nav: float
    daily_loss_max_cents: Cents
    daily_loss_confirm_ms: TransportMs
    soft_stop_nav: float
    auto_flatten_nav: float
    on_hard_stop: HardStopAction
    loss_streak_max: int
    positions_max: int
    positions_per_ticker_max: int
    halt_resume_ms: MarketMs
    quote_age_max_ms: TransportMs
    spot_age_max_ms: TransportMs
    spread_share_max: float
    narrow_market_increments: int
    premium_nav_per_underlying: float
    premium_nav_total: float
    cash_share_max: float
    risk_nav: float
    risk_stop_multiple: float
    notional_nav: float
    quote_wait_ms: TransportMs
    fresh_quote_wait_ms: TransportMs
    reservation_wait_ms: TransportMs
    drift_share_max: float
    drift_min_increments: int
    permit_ms: TransportMs
    account_age_max_ms: TransportMs
    delta_min: float
    delta_max: float
    delta_wanted: float
    candidates_max: int
    greeks_age_max_ms: TransportMs


@dataclass(frozen=True, slots=True)
class ExitRules:
    """Rules of the exits and timing of exit and entry orders."""

    __pydantic_config__: ClassVar = _STRICT
    premium_stop: float
    premium_backstop: float
    confirm_gap_ms: TransportMs
    no_progress_ms: MarketMs
    iv_crush_premium: float
    iv_crush_share: float
    iv_crush_arm_ms: MarketMs
    blind_resubscribe_ms: TransportMs
    blind_exit_ms: TransportMs
    blind_market_ms: TransportMs
    blind_underlying_ms: TransportMs
    blind_discount: float
    take_single: float
    take_first: float
    take_rest: float
    slow_check_ms: MarketMs
    tier_mid_ms: TransportMs
    tier_quote_ms: TransportMs
    stop_tier_quote_ms: TransportMs
    cancel_confirm_ms: TransportMs
    agreement_ms: TransportMs
    record_wait_ms: TransportMs
    entry_mid_ms: TransportMs
    entry_step_ms: TransportMs
    entry_total_ms: TransportMs
    entry_step_share: float
    ack_wait_ms: TransportMs
    price_min_ticks: Ticks


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """Heartbeats, back-off and warm-up of the order and quote sessions."""

    __pydantic_config__: ClassVar = _STRICT
    warm_up_ms: MarketMs
    heartbeat_every_ms: TransportMs
    heartbeat_max_ms: TransportMs
    connect_timeout_ms: TransportMs
    read_back_ms: TransportMs
    retry_fast_ms: TransportMs
    retry_fast_for_ms: TransportMs
    retry_slow_ms: TransportMs
    client_id_retry_ms: TransportMs
    gateway_failover_ms: TransportMs
    query_wait_ms: TransportMs
    abandon_wait_ms: TransportMs
    lines_max: int
    strikes_around: int
    strikes_around_index: int
    quote_batch_ms: TransportMs
    held_batch_ms: TransportMs


@dataclass(frozen=True, slots=True)
class DayRules:
    """The shape of the day, in minutes before the close unless said."""

    __pydantic_config__: ClassVar = _STRICT
    entry_after_open_ms: MarketMs
    entry_stop_ms: MarketMs
    panic_ms: MarketMs
    flatten_ms: MarketMs
    verify_flat_ms: MarketMs
    verify_flat_again_ms: MarketMs
    settlement_ms: MarketMs
    bucket_grace_ms: MarketMs
    bucket_grace_min_ms: TransportMs
    closed_dates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeedRules:
    """Behaviour of the hub sessions."""

    __pydantic_config__: ClassVar = _STRICT
    recover_ms: TransportMs
    retry_min_ms: TransportMs
    retry_max_ms: TransportMs
    breaker_failures: int
    breaker_pause_ms: TransportMs
    memberships_max: int
    frame_bytes_max: int
    silence_ms: MarketMs
    stored_wait_ms: TransportMs
