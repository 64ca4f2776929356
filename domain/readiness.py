"""Whether a paper desk has shown enough for live to be armed, and the cap on the first live sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final

import msgspec

from domain.limits import StrategyRules
from domain.ranges import Count, Range

Most = Annotated[int, Range(0, 1_000_000)]


@dataclass(frozen=True, slots=True)
class ReadinessRules:
    """What paper desks must have shown before live is armed, and how live begins."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    sessions_min: Most
    trades_min: Most
    interventions_max: Most
    level_1_max: Most
    level_2_max: Most
    errors_max: Most
    ramp_sessions: Most
    ramp_trades_max: Count


class PaperRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What paper desks have shown: sessions played to their end, trades closed, and what went wrong.

    `interventions` are kills and flattens by people, `level_1` and `level_2` raises of the kill level by anybody,
    `errors` lines of the log that could not wait.
    """

    sessions: int
    trades: int
    wins: int
    interventions: int
    level_1: int
    level_2: int
    errors: int


class Measure(msgspec.Struct, frozen=True):
    """One figure against its bound; `is_least`: the bound is the least that will do, else the most."""

    what: str
    value: int
    bound: int
    is_least: bool

    @property
    def is_met(self) -> bool:
        """Return whether the figure is within its bound."""
        return self.value >= self.bound if self.is_least else self.value <= self.bound


def measures(record: PaperRecord, rules: ReadinessRules) -> tuple[Measure, ...]:
    """Return every figure with its bound."""
    return (
        Measure("sessions on paper", record.sessions, rules.sessions_min, True),
        Measure("trades on paper", record.trades, rules.trades_min, True),
        Measure("interventions", record.interventions, rules.interventions_max, False),
        Measure("kill level 1", record.level_1, rules.level_1_max, False),
        Measure("kill level 2", record.level_2, rules.level_2_max, False),
        Measure("critical errors", record.errors, rules.errors_max, False),
    )


def is_ramping(sessions_done: int, rules: ReadinessRules) -> bool:
    """Return whether a live session that follows so many is among the first, whose trades are capped."""
    return sessions_done < rules.ramp_sessions


def ramped(strategies: Mapping[str, StrategyRules], rules: ReadinessRules) -> dict[str, StrategyRules]:
    """Return the strategies with their trades a day capped; a cap that is lower already stays."""
    cap: Final = rules.ramp_trades_max
    return {
        name: replace(strategy, trades_per_day_max=min(strategy.trades_per_day_max, cap))
        for name, strategy in strategies.items()
    }
