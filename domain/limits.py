"""The settings of the rules as types: what `config/` fills in and `domain/` functions take.

Every duration (`_ms`) is market time and has its real-life value in every profile; only what the ports do for
themselves (`RealMs`) is real time. Shares are fractions (0.35 is 35 %). Beside each type stands what it may hold; what
two leaves may hold together is said in `config/checks.py`. The rules of an alert kind stand beside its evaluator, in
`domain/signals/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from domain.ranges import Bps, BriefMs, Checked, Count, DayMs, DeskName, LongMs, Name, PauseMs, Range, RealMs, Share
from domain.units import Cents, Qty, Ticks

PriceTicks = Annotated[Ticks, Range(1, 10_000_000)]
ContractQty = Annotated[Qty, Range(1, 1_000)]
NavShare = Annotated[float, Range(0, 1, is_open=True)]
Gain = Annotated[float, Range(0, 100, is_open=True)]

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class TickerRules:
    """Sizes and bounds per ticker; `_ticks` are 1/100 USD, `underlying_stop_bps` and kin replace ticks where set."""

    __pydantic_config__: ClassVar = _STRICT
    trading_class: Name
    underlying_stop_ticks: PriceTicks | None
    underlying_stop_bps: Bps | None
    progress_ticks: PriceTicks | None
    progress_bps: Bps | None
    iv_size_ticks: PriceTicks | None
    iv_size_bps: Bps | None
    max_hold_ms: DayMs
    size_cap: ContractQty
    spread_cap_ticks: PriceTicks
    premium_min_ticks: PriceTicks
    premium_max_ticks: PriceTicks


@dataclass(frozen=True, slots=True)
class StrategyRules:
    """What one strategy (a lane's orders) does and may do; `plan` names a row of `domain.signals.strategies.PLANS`.

    `desks` trade it side by side from the first start on (empty: the desk of `desk` alone), and it may be switched to
    those of `switch_to` besides. Its profile of invariants are `one_position_only`, `no_naked_short`,
    `forbid_add_to_loser`, `forbid_reverse_without_flat` and `force_cancel_all_before_eod_flatten`; the second and the
    last hold for every strategy and may only be true.
    """

    __pydantic_config__: ClassVar = _STRICT
    plan: Annotated[str, Checked("a row of PLANS")]
    signal_age_max_ms: LongMs
    cooldown_ms: PauseMs
    trades_per_day_max: Count
    one_position_only: bool
    long_only: bool
    no_naked_short: bool = True
    forbid_add_to_loser: bool = True
    forbid_reverse_without_flat: bool = True
    force_cancel_all_before_eod_flatten: bool = True
    desks: tuple[DeskName, ...] = ()
    switch_to: tuple[DeskName, ...] = ()


@dataclass(frozen=True, slots=True)
class SpreadShare:
    """The widest spread (share of mid) from `after_open_ms` after the open on; `None`: `spread_share_max`."""

    __pydantic_config__: ClassVar = _STRICT
    after_open_ms: PauseMs
    share: Share | None


@dataclass(frozen=True, slots=True)
class Liquidity:
    """What is too thin to trade, where the broker tells it: the quoted size; volume and open interest together."""

    __pydantic_config__: ClassVar = _STRICT
    display_share_max: Annotated[float, Range(0, 100, is_open=True)]
    volume_floor: Annotated[int, Range(0, 1_000_000)]
    open_interest_floor: Annotated[int, Range(0, 1_000_000)]


@dataclass(frozen=True, slots=True)
class OverlayRow:
    """The factor on the size from a level on, up to the next row's."""

    __pydantic_config__: ClassVar = _STRICT
    at_least: Annotated[float, Range(0, 10_000)]
    factor: Annotated[float, Range(0, 1)]


@dataclass(frozen=True, slots=True)
class OverlayRules:
    """The risk overlay (`domain.risk.overlay`): factors by the level of VIX, by realised volatility a year (a share)
    and by the alert's confidence; each table begins at 0. `breakdown` is the factor of a correlation breakdown.
    """

    __pydantic_config__: ClassVar = _STRICT
    vix: tuple[OverlayRow, ...]
    vix_age_max_ms: LongMs
    realised: tuple[OverlayRow, ...]
    realised_window_ms: LongMs
    realised_returns_min: Count
    confidence: tuple[OverlayRow, ...]
    breakdown: Annotated[float, Range(0, 1)]


class HardStopAction(StrEnum):
    """What the day's loss limit does besides locking the day."""

    FLATTEN = "flatten"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class EntryLimits:
    """Limits of the entry gates and of sizing, account-wide."""

    __pydantic_config__: ClassVar = _STRICT
    intent_deadline_ms: BriefMs
    daily_loss_nav: NavShare
    daily_loss_max_cents: Annotated[Cents, Range(1, 10**12)] | None
    daily_loss_confirm_ms: BriefMs
    soft_stop_nav: NavShare
    auto_flatten_nav: NavShare
    on_hard_stop: HardStopAction
    loss_streak_max: Count
    positions_max: Count
    positions_per_ticker_max: Count
    day_trade_nav_min_cents: Annotated[Cents, Range(1, 10**12)] | None
    halt_resume_ms: LongMs
    quote_age_max_ms: BriefMs
    spot_age_max_ms: BriefMs
    spread_share_max: Share
    spread_share_by_time: tuple[SpreadShare, ...]
    narrow_market_increments: Annotated[int, Range(0, 100)]
    premium_nav_per_underlying: NavShare
    premium_nav_total: NavShare
    cash_share_max: Share
    risk_nav: NavShare
    risk_stop_multiple: Annotated[float, Range(1, 100)]
    notional_nav: NavShare
    quote_wait_ms: BriefMs
    fresh_quote_wait_ms: BriefMs
    reservation_wait_ms: BriefMs
    drift_share_max: Share
    drift_min_increments: Annotated[int, Range(0, 100)]
    permit_ms: BriefMs
    account_age_max_ms: LongMs
    delta_min: Share
    delta_max: Share
    delta_wanted: Share
    candidates_max: Annotated[int, Range(1, 20)]
    greeks_age_max_ms: BriefMs
    liquidity: Liquidity
    overlay: OverlayRules
    losses_cut: Share = 0.5
    twap_min_qty: Annotated[Qty, Range(2, 1_000)] | None = None
    twap_slices: Annotated[int, Range(2, 50)] = 4
    twap_duration_ms: LongMs = 120_000

    def spread_share_at(self, after_open_ms: int) -> float:
        """Return the widest spread (share of mid) at this time after the open."""
        share = None
        for row in self.spread_share_by_time:
            if row.after_open_ms <= after_open_ms:
                share = row.share
        return self.spread_share_max if share is None else share


@dataclass(frozen=True, slots=True)
class ScaleRow:
    """The scale of a stop from a level on, up to the next row's."""

    __pydantic_config__: ClassVar = _STRICT
    at_least: Annotated[float, Range(0, 10_000)]
    scale: Annotated[float, Range(0.05, 1)]


@dataclass(frozen=True, slots=True)
class AdaptiveRules:
    """The adaptive exit profile (`domain.position.adaptive`): scales of premium and underlying stop.

    `realised` goes by the underlying's realised volatility a year (a share), `left` by the minutes to the flatten time;
    both tables begin at 0. For the last `take_decay_ms` before that time the gain at which profit is taken falls in a
    straight line, to `take_floor` of itself.
    """

    __pydantic_config__: ClassVar = _STRICT
    is_on: bool
    version: Count
    realised: tuple[ScaleRow, ...]
    left: tuple[ScaleRow, ...]
    take_decay_ms: DayMs
    take_floor: Annotated[float, Range(0.05, 1)]


@dataclass(frozen=True, slots=True)
class LearnedLevels:
    """Exit levels learned from positions (`main.py fit-exits`), with the version that they were learned as.

    `take` is the gain on the average fill at which all is sold, `hold_ms` the longest hold.
    """

    __pydantic_config__: ClassVar = _STRICT
    version: Count
    take: Gain
    hold_ms: DayMs


NOT_ADAPTIVE: Final = AdaptiveRules(
    is_on=False, version=1, realised=(ScaleRow(0, 1),), left=(ScaleRow(0, 1),), take_decay_ms=1, take_floor=1
)  # what a day was traded with before there was an adaptive profile


@dataclass(frozen=True, slots=True)
class ExitRules:
    """Rules of the exits and timing of exit and entry orders."""

    __pydantic_config__: ClassVar = _STRICT
    premium_stop: Share
    premium_backstop: Share
    confirm_gap_ms: BriefMs
    no_progress_ms: DayMs
    iv_crush_premium: Share
    iv_crush_share: Share
    iv_crush_arm_ms: DayMs
    blind_resubscribe_ms: BriefMs
    blind_exit_ms: LongMs
    blind_market_ms: LongMs
    blind_underlying_ms: LongMs
    blind_discount: Share
    take_single: Gain
    take_first: Gain
    take_rest: Gain
    slow_check_ms: BriefMs
    tier_mid_ms: BriefMs
    tier_quote_ms: BriefMs
    stop_tier_quote_ms: BriefMs
    cancel_confirm_ms: BriefMs
    agreement_ms: BriefMs
    record_wait_ms: BriefMs
    entry_mid_ms: BriefMs
    entry_step_ms: BriefMs
    entry_total_ms: BriefMs
    entry_step_share: Share
    ack_wait_ms: BriefMs
    price_min_ticks: Annotated[Ticks, Range(1, 100)]
    stuck_page_ms: LongMs
    disaster_stop: bool
    disaster_stop_premium: Share
    adaptive: AdaptiveRules = NOT_ADAPTIVE
    learned: LearnedLevels | None = None


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """Heartbeats, back-off and warm-up of the order and quote sessions."""

    __pydantic_config__: ClassVar = _STRICT
    warm_up_ms: LongMs
    heartbeat_every_ms: RealMs
    heartbeat_max_ms: RealMs
    connect_timeout_ms: RealMs
    read_back_ms: RealMs
    read_rest_ms: LongMs
    retry_fast_ms: LongMs
    retry_fast_for_ms: LongMs
    retry_slow_ms: LongMs
    client_id_retry_ms: LongMs
    gateway_failover_ms: LongMs
    query_wait_ms: BriefMs
    abandon_wait_ms: LongMs
    lines_max: Annotated[int, Range(1, 10_000)]
    strikes_around: Annotated[int, Range(1, 200)]
    strikes_around_index: Annotated[int, Range(1, 200)]
    quote_batch_ms: RealMs
    held_batch_ms: RealMs


@dataclass(frozen=True, slots=True)
class KillRules:
    """What raises the kill level by itself; `spread_norm` maps a time of day (New York) to the norm from then on."""

    __pydantic_config__: ClassVar = _STRICT
    vix_rise: Annotated[float, Range(0, 10, is_open=True)]
    vix_window_ms: LongMs
    spx_move: Share
    spx_window_ms: LongMs
    disconnects_max: Count
    disconnects_window_ms: DayMs
    rejects_max: Count
    rejects_window_ms: DayMs
    spread_multiple: Annotated[float, Range(1, 100)]
    spread_for_ms: LongMs
    spread_norm: dict[time, Share]
    clock_offset_max_ms: BriefMs
    uncovered_short_ms: LongMs
    unknown_input_ms: LongMs


@dataclass(frozen=True, slots=True)
class DayRules:
    """The shape of the day, counted back from the close unless said; `preopen_` is counted back from the open."""

    __pydantic_config__: ClassVar = _STRICT
    preopen_check_ms: DayMs
    preopen_report_ms: DayMs
    entry_after_open_ms: PauseMs
    entry_stop_ms: DayMs
    panic_ms: DayMs
    flatten_ms: DayMs
    verify_flat_ms: DayMs
    verify_flat_again_ms: DayMs
    settlement_ms: LongMs
    bucket_grace_ms: Annotated[int, Range(1, 29_000)]
    closed_dates: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class RestRules:
    """When and how the vendor is polled."""

    __pydantic_config__: ClassVar = _STRICT
    failover_after_ms: RealMs
    concurrency: Count


@dataclass(frozen=True, slots=True)
class FeedRules:
    """Behaviour of the hub sessions."""

    __pydantic_config__: ClassVar = _STRICT
    recover_ms: RealMs
    retry_min_ms: LongMs
    retry_max_ms: LongMs
    breaker_failures: Count
    lasting_ms: LongMs
    breaker_pause_ms: LongMs
    memberships_max: Annotated[int, Range(1, 100_000)]
    frame_bytes_max: Annotated[int, Range(1_024, 2**30)]
    silence_ms: LongMs
    stored_wait_ms: BriefMs
