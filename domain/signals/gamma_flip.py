"""`GAMMA_FLIP`: the sign of net gamma at spot has changed because spot crossed a zero-gamma level.

Spot that went up is a call (+1), down a put (−1). A level that jumps over spot is no flip: spot must have been on the
other side of where the level is now. Of several levels the nearest is told; passing from the reach of one into that of
another changes no sign, and is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from domain.ranges import Bps, Count
from domain.signals.alert import DOWN, UP
from domain.signals.evaluator import AlertRules, Evaluated, Evaluator, EvaluatorState, Reading, alert_end
from domain.units import Ticks, Utc

GAMMA_FLIP: Final = "GAMMA_FLIP"


@dataclass(frozen=True, slots=True)
class FlipRules(AlertRules):
    """What confirms a flip."""

    readings: Count
    hysteresis_bps: Bps


class FlipState(EvaluatorState, frozen=True, kw_only=True):
    """The confirmed sign of net gamma at spot (0: not known), called the side, and the readings in a row on the other.

    `side_spot` is spot when it was last seen there; `None` where no side is known.
    """

    side: int = 0
    side_spot: Ticks | None = None
    streak_side: int = 0
    streak: int = 0

    def seen(
        self, bucket_utc: Utc, side: int, side_spot: Ticks | None, streak_side: int = 0, streak: int = 0
    ) -> FlipState:
        """Return the state after a bucket: the side (0: none known), and the readings in a row on another one."""
        return replace(
            self, last_seen_utc=bucket_utc, side=side, side_spot=side_spot, streak_side=streak_side, streak=streak
        )


class FlipEvaluator(Evaluator[FlipRules, FlipState]):
    """Judges whether spot crossed zero gamma.

    A side is the sign of net gamma at spot. It is held beyond the hysteresis band around the level, and confirmed by so
    many readings in a row there; inside the band spot is on no side. So the next flip needs spot to have left the band
    on the far side: re-arming comes of itself. A flip in the cooldown changes the side and is let go. After a start, or
    a gap longer than the cooldown, the side is found again without an alert: when spot crossed is not known.
    """

    kind = GAMMA_FLIP
    rules_type = FlipRules

    def initial(self, last_alert_utc: Utc | None) -> FlipState:
        """Know no side; keep the cooldown."""
        return FlipState(last_alert_utc=alert_end(last_alert_utc))

    def evaluate(self, state: FlipState, reading: Reading) -> Evaluated[FlipState]:
        """Judge one reading; one without spot, zero gamma or net gamma breaks the row."""
        if reading.spot is None or reading.zero_gamma is None or reading.net_gamma is None:
            what = "spot" if reading.spot is None else "zero gamma" if reading.zero_gamma is None else "net gamma"
            return Evaluated(state.seen(state.last_seen_utc, state.side, state.side_spot), why=f"missing {what}")
        rules, bucket_utc = self.rules, reading.bucket_utc
        side = self._side(reading.spot, reading.zero_gamma, reading.net_gamma)
        is_void = self.is_after_gap(state, reading)
        known_side, side_spot = (0, None) if is_void else (state.side, state.side_spot)
        if side in (0, known_side):
            why = None if known_side else "arming: no side of zero gamma confirmed yet"
            return Evaluated(state.seen(bucket_utc, known_side, reading.spot if side else side_spot), why=why)
        streak = state.streak + 1 if side == state.streak_side and not is_void else 1
        if streak < rules.readings:
            why = f"arming: {streak} of {rules.readings} readings on the far side"
            return Evaluated(state.seen(bucket_utc, known_side, side_spot, side, streak), why=why)
        state = state.seen(bucket_utc, side, reading.spot)
        if side_spot is None:
            return Evaluated(state, why="arming: side found after a start or a gap")
        way = UP if reading.spot > reading.zero_gamma else DOWN
        if (side_spot - reading.zero_gamma) * way >= 0:
            return Evaluated(state, why="zero gamma has moved over spot: no flip")
        if self.is_cooling(state, reading):
            return Evaluated(state, why="cooldown: this flip is let go")
        thresholds = (("readings", float(rules.readings)), ("hysteresis_bps", rules.hysteresis_bps))
        terms = self.terms(reading.spot, way, thresholds)
        return Evaluated(replace(state, last_alert_utc=reading.end_utc), terms)

    def distance_bps(self, state: FlipState, reading: Reading) -> float | None:
        """Return how far spot is from the far edge of the hysteresis band of the level that is told."""
        if reading.spot is None or reading.zero_gamma is None or state.side_spot is None:
            return None
        if self.is_after_gap(state, reading):
            return None
        bps = (reading.spot - reading.zero_gamma) / reading.zero_gamma * 1e4
        near = UP if state.side_spot > reading.zero_gamma else DOWN
        return max(0.0, self.rules.hysteresis_bps + near * bps)

    def _side(self, spot: Ticks, zero_gamma: Ticks, net_gamma: float) -> int:
        bps = (spot - zero_gamma) / zero_gamma * 1e4
        if abs(bps) < self.rules.hysteresis_bps or net_gamma == 0.0:
            return 0
        return 1 if net_gamma > 0.0 else -1
