"""The credit spread on a simulated day: whether a seed has one, in which minutes it is looked for, how it is left.

Its terms are wide, so that it is opened: what is sought is action, and says nothing about profit.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

import msgspec

from config.settings import Settings
from domain.instants import MINUTE, MS, SECOND
from domain.session.calendar import TradingDay
from domain.signals.spread import OF_COMBINATION
from domain.structure.rules import COVER, SHORT, Combination
from domain.units import Qty, Ticks, Utc

SHARE: Final = 0.4  # of the days
LAST_NS: Final = 100 * MINUTE  # before the close the last window has begun
POOR_SHARE: Final = 0.15  # of them: an account that the margin of the shorts is too much for
NAV_USD: Final = 1_000_000
WIDTH_USD: Final = 10.0  # of verticals, where a day draws no other
COMBINATION_SHARE: Final = 0.5  # of the days with verticals: they have combinations of more legs instead
LOOKED_AT: Final = frozenset((COVER, SHORT))
BEFORE_NS: Final = 12 * SECOND  # the window, within which quotes of both underlyings are told
AFTER_NS: Final = 45 * SECOND


class PlannedSpreads(msgspec.Struct, frozen=True, kw_only=True):
    """When spreads are looked for on a day, and what takes them out.

    `opens_utc` is the session's open; the window counts from there. Amounts in USD, as the settings have them. With a
    `width_usd` they are verticals of so many `contracts`, which go out as one order; with a `combination` that in place
    of them, which may be left early, too.
    """

    opens_utc: Utc
    first_ms: int
    until_ms: int
    leg_timeout_ms: int
    threshold_usd: float
    loss_usd: float
    is_poor: bool
    width_usd: float = 0.0
    vertical_loss_usd: float = 0.0
    contracts: int = 1
    combination: Combination | None = None
    distance_usd: float = 0.0
    profit_share: float = 0.0
    leave_before_close_ms: int = 0
    in_money_before_close_ms: int = 0

    @property
    def first_utc(self) -> Utc:
        """From when on they are looked for."""
        return Utc(self.opens_utc + self.first_ms * MS)

    @property
    def until_utc(self) -> Utc:
        """Until when."""
        return Utc(self.opens_utc + self.until_ms * MS)

    def is_near(self, now: Utc) -> bool:
        """Return whether quotes of both underlyings may be looked at now."""
        return self.first_utc - BEFORE_NS <= now <= self.until_utc + AFTER_NS


def as_verticals(planned: PlannedSpreads, seed: int) -> PlannedSpreads:
    """Return the spreads of a day as verticals, drawn by a generator of their own."""
    draw = random.Random(f"combos {seed}")
    return msgspec.structs.replace(
        planned, width_usd=draw.choice((5.0, 10.0, 10.0, 25.0)), contracts=draw.choice((1, 1, 2, 3)),
        vertical_loss_usd=draw.choice((30.0, 100.0, 250.0, 5_000.0)), loss_usd=10_000.0, is_poor=False,
    )  # fmt: skip


def as_combinations(planned: PlannedSpreads, seed: int) -> PlannedSpreads:
    """Return the verticals of a day, on a share of the days combinations of more legs: by a generator of their own."""
    draw = random.Random(f"condors {seed}")
    if draw.random() < 1 - COMBINATION_SHARE:
        return planned
    early_ms = draw.choice((0, 0, 2_400_000, 7_200_000))
    return msgspec.structs.replace(
        planned, combination=draw.choice(tuple(OF_COMBINATION)), width_usd=draw.choice((5.0, 10.0, 25.0)),
        distance_usd=draw.choice((5.0, 10.0, 10.0, 20.0)), profit_share=draw.choice((0.0, 0.0, 0.05, 0.3)),
        leave_before_close_ms=early_ms, in_money_before_close_ms=draw.choice((0, 0, 3_600_000, 10_800_000)),
    )  # fmt: skip


def draw_spreads(seed: int, day: TradingDay, starts_utc: Utc) -> PlannedSpreads | None:
    """Draw the spreads of a day, by a generator of their own: the rest of the day stays as it is without them.

    `None`: the day has none.
    """
    draw = random.Random(f"spreads {seed}")
    earliest_utc = max(day.open_utc, starts_utc) + 6 * MINUTE
    latest_utc = day.close_utc - LAST_NS
    if draw.random() >= SHARE or earliest_utc >= latest_utc:
        return None
    late_ns = latest_utc - earliest_utc if draw.random() < 0.5 else min(30 * MINUTE, latest_utc - earliest_utc)
    first_ms = (earliest_utc - day.open_utc + draw.randrange(max(1, late_ns))) // MS
    return PlannedSpreads(
        opens_utc=day.open_utc, first_ms=first_ms, until_ms=first_ms + draw.choice((240_000, 600_000, 1_200_000)),
        leg_timeout_ms=draw.choice((2_000, 10_000, 30_000, 30_000)), threshold_usd=draw.choice((0.3, 1.0, 10.0)),
        loss_usd=draw.choice((600.0, 1_500.0, 5_000.0)), is_poor=draw.random() < POOR_SHARE,
    )  # fmt: skip


def without_spreads(settings: Settings) -> Settings:
    """Return the settings of a day that has none: those of a desk that never heard of them."""
    return settings.model_copy(update={"spread": replace(settings.spread, is_on=False)})


def with_spreads(settings: Settings, planned: PlannedSpreads) -> Settings:
    """Return the settings of a day with these spreads."""
    spread = replace(
        settings.spread, is_on=True, max_spreads_per_day=4, min_entry_credit=-3_000.0, cooldown_ms=60_000,
        max_position_loss=planned.loss_usd, max_daily_loss=20_000.0, assignment_risk_threshold=planned.threshold_usd,
        entry_after_open_ms=planned.first_ms, entry_until_ms=planned.until_ms, leg_timeout_ms=planned.leg_timeout_ms,
        spx_spread_max_ticks=Ticks(500), vertical_width=planned.width_usd,
    )  # fmt: skip
    if planned.combination is not None:
        spread = replace(
            spread, combination=planned.combination, vertical_width=0.0, wing_width=planned.width_usd,
            short_distance=planned.distance_usd, profit_share=planned.profit_share,
            leave_before_close_ms=planned.leave_before_close_ms,
            in_money_before_close_ms=planned.in_money_before_close_ms,
        )  # fmt: skip
    if planned.width_usd:
        spread = replace(
            spread, spx_contracts_per_spread=Qty(planned.contracts), vertical_loss=planned.vertical_loss_usd
        )  # fmt: skip
    wide = {
        ticker: replace(settings.ticker_rules[ticker], spread_cap_ticks=Ticks(500), premium_max_ticks=Ticks(9_000))
        for ticker in LOOKED_AT
    }
    entry = settings.entry
    entry = replace(
        entry, liquidity=replace(entry.liquidity, display_share_max=50.0), loss_streak_max=100, losses_cut=1.0,
        positions_max=max(entry.positions_max, 6), positions_per_ticker_max=max(entry.positions_per_ticker_max, 3),
    )  # fmt: skip
    changes: dict[str, object] = {
        "spread": spread, "ticker_rules": {**settings.ticker_rules, **wide}, "entry": entry,
    }  # fmt: skip
    if not planned.is_poor:
        changes["demo"] = replace(settings.demo, nav_usd=max(settings.demo.nav_usd, NAV_USD))
    return settings.model_copy(update=changes)
