"""What the days of a backtest add up to. Money in cents; `None` where there is nothing to count."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from domain.reports.model import Rate
from domain.units import Cents
from simulation.backtest.run import Day

RESAMPLED: Final = 2_000  # sequences of days
YEAR_DAYS: Final = 252
RUIN_SHARE: Final = 0.5  # of the starting NAV lost
RUIN_DAYS_MIN: Final = 20  # fewer days say nothing about a year
_SEED: Final = 20_260_101  # the same days give the same answer


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a run; `fall_cents` is the largest fall of NAV from one day's end (or the start) to a later one.

    `ruin` counts the resampled years in which NAV fell by `RUIN_SHARE`; `None` under `RUIN_DAYS_MIN` days.
    """

    won: Rate
    pnl_cents: int
    fees_cents: int
    mean_win_cents: float | None
    mean_loss_cents: float | None
    largest_loss_cents: int | None
    fall_cents: int
    ruin: Rate | None


def figures_of(days: Sequence[Day], nav_cents: Cents) -> Figures:
    """Return the figures of days in their order, from a starting NAV."""
    results = [trade.pnl_cents for day in days for trade in day.trades]
    wins, losses = [cents for cents in results if cents > 0], [cents for cents in results if cents < 0]
    return Figures(
        won=Rate(len(wins), len(results)), pnl_cents=sum(results),
        fees_cents=sum(trade.fees_cents for day in days for trade in day.trades),
        mean_win_cents=sum(wins) / len(wins) if wins else None,
        mean_loss_cents=sum(losses) / len(losses) if losses else None, largest_loss_cents=min(losses, default=None),
        fall_cents=max(falls(days, nav_cents), default=0), ruin=ruin_of(_changes(days, nav_cents), nav_cents),
    )  # fmt: skip


def falls(days: Sequence[Day], nav_cents: Cents) -> list[int]:
    """Return by day how far NAV lies under its highest so far."""
    top, found = int(nav_cents), []
    for day in days:
        top = max(top, day.nav_cents)
        found.append(top - day.nav_cents)
    return found


def ruin_of(changes: Sequence[int], nav_cents: Cents) -> Rate | None:
    """Return in how many of `RESAMPLED` years, drawn from these days with replacement, NAV falls by `RUIN_SHARE`."""
    if len(changes) < RUIN_DAYS_MIN:
        return None
    drawn = np.random.default_rng(_SEED).choice(np.asarray(changes, np.int64), (RESAMPLED, YEAR_DAYS))
    lowest = np.cumsum(drawn, axis=1).min(axis=1)
    return Rate(int((lowest <= -RUIN_SHARE * nav_cents).sum()), RESAMPLED)


def _changes(days: Sequence[Day], nav_cents: Cents) -> list[int]:
    before = [nav_cents, *(day.nav_cents for day in days)]
    return [after - earlier for earlier, after in itertools.pairwise(before)]
