"""The settings of the credit spread as a type; amounts in USD bear the names that its users know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from domain.limits import StrategyRules
from domain.ranges import BriefMs, Count, DayMs, DeskName, Form, LongMs, PauseMs, Range
from domain.units import Cents, Qty, Ticks

COVER: Final = "SPX"  # the underlying of the bought leg, which covers
SHORT: Final = "SPY"  # the underlying of the sold leg
COVER_RATIO: Final = 10  # contracts of SPY that one of SPX covers: the index is ten times the fund, multiplier 100 each

Usd = Annotated[float, Range(0, 1_000_000)]
Ratio = Annotated[float, Range(1, 100)]


class Combination(StrEnum):
    """What is opened in place of the spread: options of the index as one order, or nothing."""

    IRON_CONDOR = "iron condor"  # a put and a call sold out of the money, each covered by one further out
    IRON_BUTTERFLY = "iron butterfly"  # the same, both sold at the money
    CALENDAR = "calendar"  # named to be refused: a leg of it expires later, and no desk takes one


@dataclass(frozen=True, slots=True)
class SpreadRules:
    """The spread's sizes, conditions and exits; `is_on` False leaves its lane and its actor out of the tree.

    `is_live_allowed`: it may be on where the trading mode is live, although another underlying covers its short leg.
    `entry_after_open_ms` and `entry_until_ms` count from the open, and `leg_timeout_ms` is how long a leg's entry may
    work. `ex_dividend_dates` are further dates of the fund beside its quarterly ones.

    With a `vertical_width` the sold leg is of the index, too, that far below the bought one: a vertical, which a broker
    that can takes as one order. It is left at a `vertical_loss` by its marks: its worst case is bounded when it is
    opened, and no loss passes that.

    A `combination` is such an order, too, of more legs: sold `short_distance` from the index (at the money where it is
    an iron butterfly), bought `wing_width` further out, `spx_contracts_per_spread` of each. It is opened as one order
    or not at all. `profit_share` is of the most that it can make, at which it is taken; `leave_before_close_ms` is when
    it is left whatever it is worth, `in_money_before_close_ms` from when on it is left with a sold leg in the money.
    These three also hold for a vertical; 0 switches each off.

    `desk` is which of several trades it; `None`: that of `desk`.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    is_on: bool
    is_live_allowed: bool
    covered_by: Annotated[str, Form("SPX", "SPX, whose bought call covers the sold calls of SPY: nothing else does")]
    max_spreads_per_day: Count
    min_entry_credit: Usd
    assignment_risk_threshold: Usd
    max_position_loss: Annotated[float, Range(0, 1_000_000, is_open=True)]
    max_daily_loss: Annotated[float, Range(0, 1_000_000, is_open=True)]
    spy_contracts_per_spread: Annotated[Qty, Range(1, 1_000)]
    spx_contracts_per_spread: Annotated[Qty, Range(1, 100)]
    entry_after_open_ms: PauseMs
    entry_until_ms: DayMs
    ratio_min: Ratio
    ratio_max: Ratio
    spx_spread_max_ticks: Annotated[Ticks, Range(1, 10_000)]
    leg_timeout_ms: LongMs
    what_if_wait_ms: BriefMs
    signal_age_max_ms: LongMs
    cooldown_ms: PauseMs
    ex_dividend_dates: tuple[date, ...]
    # The others are absent from what was recorded before there were verticals and combinations.
    vertical_width: Annotated[float, Range(0, 1_000)] = 0.0
    vertical_loss: Annotated[float, Range(0, 1_000_000, is_open=True)] = 250.0
    combination: Combination | None = None
    wing_width: Annotated[float, Range(0, 1_000)] = 10.0
    short_distance: Annotated[float, Range(0, 1_000)] = 10.0
    profit_share: Annotated[float, Range(0, 1)] = 0.0
    leave_before_close_ms: PauseMs = 0
    in_money_before_close_ms: PauseMs = 0
    desk: DeskName | None = None

    @property
    def strategy(self) -> StrategyRules:
        """The spread as a strategy among others: one at a time, its short leg covered by another underlying."""
        return StrategyRules(
            plan="credit_spread",
            signal_age_max_ms=self.signal_age_max_ms,
            cooldown_ms=self.cooldown_ms,
            trades_per_day_max=self.max_spreads_per_day,
            one_position_only=True,
            long_only=False,
        )

    @property
    def is_vertical(self) -> bool:
        """Whether two calls of the index make it, and nothing else."""
        return self.vertical_width > 0 and self.combination is None

    @property
    def is_of_index(self) -> bool:
        """Whether all legs are of the index."""
        return self.is_vertical or self.combination is not None

    @property
    def width_ticks(self) -> Ticks:
        """How far what is bought lies from what is sold, of a vertical and of a combination."""
        return Ticks(round((self.vertical_width if self.combination is None else self.wing_width) * 100))

    @property
    def distance_ticks(self) -> Ticks:
        """How far what a combination sells lies from the index."""
        is_away = self.combination is Combination.IRON_CONDOR
        return Ticks(round(self.short_distance * 100) if is_away else 0)

    @property
    def early_ms(self) -> int:
        """How long before the close it may be left though nothing is wrong with it; 0: only at the flatten time."""
        return max(self.leave_before_close_ms, self.in_money_before_close_ms) if self.is_of_index else 0

    @property
    def short_ticker(self) -> str:
        """The underlying of the sold leg."""
        return COVER if self.is_of_index else SHORT

    @property
    def short_contracts(self) -> Qty:
        """How many contracts of a sold leg a spread has."""
        return self.spx_contracts_per_spread if self.is_of_index else self.spy_contracts_per_spread

    @property
    def cover_ratio(self) -> int:
        """How many sold contracts a bought one covers."""
        return 1 if self.is_of_index else COVER_RATIO

    @property
    def min_entry_credit_cents(self) -> Cents:
        """The least net credit after round-trip fees."""
        return cents_of(self.min_entry_credit)

    @property
    def max_position_loss_cents(self) -> Cents:
        """The loss that one spread may make, at worst when it is opened and by its marks while it is held."""
        return cents_of(self.max_position_loss)

    @property
    def exit_loss_cents(self) -> Cents:
        """The loss by the marks of both legs at which a held spread is closed."""
        return cents_of(self.vertical_loss) if self.is_of_index else self.max_position_loss_cents

    @property
    def max_daily_loss_cents(self) -> Cents:
        """The loss of the strategy's closed spreads after which the day sees no further one."""
        return cents_of(self.max_daily_loss)

    @property
    def threshold_ticks(self) -> Ticks:
        """How far above the short strike the fund may stand."""
        return Ticks(round(self.assignment_risk_threshold * 100))


def cents_of(usd: float) -> Cents:
    """Return an amount of USD in cents."""
    return Cents(round(usd * 100))
