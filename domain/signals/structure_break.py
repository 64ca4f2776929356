"""`STRUCTURE_BREAK`: a close beyond a major level, up through the positive or down through the negative one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from domain.ranges import Bps
from domain.signals.alert import DOWN, UP
from domain.signals.evaluator import AlertRules, Evaluated, Evaluator, EvaluatorState, Reading, alert_end
from domain.units import Ticks, Utc

STRUCTURE_BREAK: Final = "STRUCTURE_BREAK"


@dataclass(frozen=True, slots=True)
class BreakRules(AlertRules):
    """What counts as a break."""

    beyond_bps: Bps
    trend_min_bps: Bps


class BreakState(EvaluatorState, frozen=True, kw_only=True):
    """The major level that spot was last seen under, and the one over; `None`: not since the level stands."""

    under_ticks: Ticks | None = None
    over_ticks: Ticks | None = None

    def seen(self, bucket_utc: Utc, under_ticks: Ticks | None, over_ticks: Ticks | None) -> BreakState:
        """Return the state after a bucket."""
        return replace(self, last_seen_utc=bucket_utc, under_ticks=under_ticks, over_ticks=over_ticks)


class BreakEvaluator(Evaluator[BreakRules, BreakState]):
    """Judges whether spot broke a major level.

    Spot must have been seen on the near side of this very level before, so a level that jumps over spot breaks nothing.
    Never against the 30 min trend: while spot has moved `trend_min_bps` the other way, the break is let go. Flow is not
    looked at: its features are not computed yet.
    """

    kind = STRUCTURE_BREAK
    rules_type = BreakRules

    def initial(self, last_alert_utc: Utc | None) -> BreakState:
        """Have seen spot nowhere; keep the cooldown."""
        return BreakState(last_alert_utc=alert_end(last_alert_utc))

    def evaluate(self, state: BreakState, reading: Reading) -> Evaluated[BreakState]:
        """Judge one reading; without spot, both majors or the trend there is no judgement."""
        above_pos, above_neg = reading.feature("loc_major_pos_vol_bps"), reading.feature("loc_major_neg_vol_bps")
        trend = reading.feature("price_return_30m_bps")
        if reading.spot is None or above_pos is None or above_neg is None:
            return Evaluated(state.seen(state.last_seen_utc, None, None), why="missing level")
        is_void = self.is_after_gap(state, reading)
        under, over = (None, None) if is_void else (state.under_ticks, state.over_ticks)
        pos, neg = _level(reading.spot, above_pos), _level(reading.spot, above_neg)
        broke_up = under == pos and above_pos >= self.rules.beyond_bps
        broke_down = over == neg and above_neg <= -self.rules.beyond_bps
        state = state.seen(
            reading.bucket_utc,
            _near(under, pos, is_near=above_pos <= 0, is_beyond=broke_up),
            _near(over, neg, is_near=above_neg >= 0, is_beyond=broke_down),
        )
        if trend is None:
            return Evaluated(state, why="arming: no 30 min trend yet")
        if broke_up == broke_down:
            return Evaluated(state)
        return self._judge(state, reading, reading.spot, UP if broke_up else DOWN, trend)

    def distance_bps(self, state: BreakState, reading: Reading) -> float | None:
        """Return how far spot is from the nearer level, up or down, of which it was seen on the near side."""
        above_pos, above_neg = reading.feature("loc_major_pos_vol_bps"), reading.feature("loc_major_neg_vol_bps")
        if reading.spot is None or above_pos is None or above_neg is None or self.is_after_gap(state, reading):
            return None
        left = []
        if state.under_ticks == _level(reading.spot, above_pos):
            left.append(self.rules.beyond_bps - above_pos)
        if state.over_ticks == _level(reading.spot, above_neg):
            left.append(self.rules.beyond_bps + above_neg)
        return max(0.0, min(left)) if left else None

    def _judge(
        self, state: BreakState, reading: Reading, spot: Ticks, direction: int, trend: float
    ) -> Evaluated[BreakState]:
        rules = self.rules
        if direction * trend <= -rules.trend_min_bps:
            return Evaluated(state, why="against the 30 min trend")
        if self.is_cooling(state, reading):
            return Evaluated(state, why="cooldown: this break is let go")
        terms = self.terms(spot, direction, (("beyond_bps", rules.beyond_bps), ("trend_min_bps", rules.trend_min_bps)))
        return Evaluated(replace(state, last_alert_utc=reading.end_utc), terms)


def _level(spot: Ticks, above_bps: float) -> Ticks:
    """Return the level from which spot is so many bps away (exact: features carry 12 digits)."""
    return Ticks(round(spot / (1.0 + above_bps / 1e4)))


def _near(seen: Ticks | None, level: Ticks, *, is_near: bool, is_beyond: bool) -> Ticks | None:
    """Remember a level from spot on its near side until spot is beyond it; another level must be seen afresh."""
    if is_near:
        return level
    return seen if seen == level and not is_beyond else None
