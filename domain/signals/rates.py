"""Win rates of alerts, always with their n, and the bound below that a promotion asks for.

A win is a resolved outcome that reached its target before its stop; one that reached neither is no win. Outcomes with a
gap, and those still followed, count in no rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from domain.signals.outcome import First, Outcome, OutcomeState

Z_95: Final = 1.959963984540054  # two-sided 95 %


class PromotionRefused(StrEnum):
    """Why nothing was recorded of a promotion."""

    UNPROVEN = "unproven"  # its outcomes do not reach what the settings ask for
    OUTDATED = "outdated"  # it was recorded once, and a later word undid it
    ID_REUSED = "id_reused"  # its id names another command


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A win rate with what it stands on: `n` resolved outcomes, of them `wins` and `losses` (the rest reached neither).

    `rate`, and Wilson's bounds at 95 % `lower` and `upper`, are `None` where n is 0. `mean_mfe_stops` and
    `mean_mae_stops` are the mean farthest moves in units of the stop.
    """

    n: int
    wins: int
    losses: int
    unresolved: int
    followed: int
    rate: float | None
    lower: float | None
    upper: float | None
    mean_mfe_stops: float | None
    mean_mae_stops: float | None


def wilson(wins: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson 1927).

    Raises:
        ValueError: n is 0, or wins are not between 0 and n.
    """
    if n <= 0 or not 0 <= wins <= n:
        raise ValueError(f"{wins} wins of {n} are no share; n must be positive, and wins between 0 and n")
    share, square = wins / n, z * z
    centre = (share + square / (2 * n)) / (1 + square / n)
    reach = z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    # At the ends the bound is exact; the root leaves a last bit.
    return 0.0 if wins == 0 else max(centre - reach, 0.0), 1.0 if wins == n else min(centre + reach, 1.0)


class ShareRate(msgspec.Struct, frozen=True):
    """A share of n with Wilson's bounds at 95 %; `None` where n is 0."""

    n: int
    wins: int
    rate: float | None
    lower: float | None
    upper: float | None


def share_of(wins: int, n: int) -> ShareRate:
    """Return the share of n that was won, with its bounds.

    Raises:
        ValueError: there are more wins than n.
    """
    lower, upper = wilson(wins, n) if n else (None, None)
    return ShareRate(n, wins, wins / n if n else None, lower, upper)


def rate_of(outcomes: Iterable[Outcome]) -> Rate:
    """Return the rate of outcomes, in any order."""
    found = list(outcomes)
    resolved = [outcome for outcome in found if outcome.state is OutcomeState.RESOLVED]
    n = len(resolved)
    wins = sum(outcome.first is First.TARGET for outcome in resolved)
    lower, upper = wilson(wins, n) if n else (None, None)
    return Rate(
        n=n,
        wins=wins,
        losses=sum(outcome.first is First.STOP for outcome in resolved),
        unresolved=sum(outcome.state is OutcomeState.UNRESOLVED for outcome in found),
        followed=sum(outcome.state is OutcomeState.FOLLOWED for outcome in found),
        rate=wins / n if n else None,
        lower=lower,
        upper=upper,
        mean_mfe_stops=math.fsum(outcome.mfe_stops for outcome in resolved) / n if n else None,
        mean_mae_stops=math.fsum(outcome.mae_stops for outcome in resolved) / n if n else None,
    )


def rates_by_version(outcomes: Iterable[Outcome]) -> dict[tuple[str, str, int, bool], Rate]:
    """Return the rates by (source, kind, version, is a shadow), ascending: a shadow stands beside the live one."""
    found: dict[tuple[str, str, int, bool], list[Outcome]] = {}
    for outcome in outcomes:
        key = outcome.alert.key
        found.setdefault((key.source, key.kind, key.version, outcome.alert.is_shadow), []).append(outcome)
    return {name: rate_of(found[name]) for name in sorted(found)}


class PromotionRefusal(msgspec.Struct, frozen=True):
    """Why a shadow may not be promoted, in one sentence."""

    why: str


def promotion_of(rate: Rate, n_min: int, floor: float) -> PromotionRefusal | None:
    """Return why a shadow may not trade yet; `None` where it may (the operator decides).

    Args:
        rate: the shadow's.
        n_min: resolved outcomes that are asked for.
        floor: that the lower bound of the win rate must be above.
    """
    if rate.n < n_min or rate.lower is None:
        return PromotionRefusal(f"{rate.n} resolved outcomes, {n_min} are asked for; let it go on as a shadow.")
    if rate.lower <= floor:
        return PromotionRefusal(
            f"The lower bound of the win rate is {rate.lower:.3f} (n = {rate.n}), not above {floor:.3f}; let it go on"
            " as a shadow, or change its thresholds and count its version up."
        )
    return None


def exits_promotion_of(rate: ShareRate, n_min: int, floor: float) -> PromotionRefusal | None:
    """Return why an exit profile may not rule yet; `None` where it may (the operator decides).

    Args:
        rate: the share of the positions that its shadow left by itself in which it would have made more.
        n_min: such positions that are asked for.
        floor: that the lower bound of the share must be above.
    """
    if rate.n < n_min or rate.lower is None:
        return PromotionRefusal(
            f"{rate.n} positions that its shadow left by itself, {n_min} are asked for; let it go on as a shadow."
        )
    if rate.lower <= floor:
        return PromotionRefusal(
            f"The lower bound of the share that it would have made more of is {rate.lower:.3f} (n = {rate.n}), not"
            f" above {floor:.3f}; let it go on as a shadow, or change its tables and count its version up."
        )
    return None
