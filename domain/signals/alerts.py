"""Evaluators: pure predicates over readings that say when something worth an alert has happened.

An evaluator takes its own small state and a reading, and gives the next state with a finding, or with why nothing
could be found. The lane that hosts it owns identifiers, records and everything after.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

import msgspec

from domain.instants import BUCKET_NS, MS, bucket_of
from domain.limits import BreakRules, FlipRules
from domain.signals.registry import INDEX

GAMMA_FLIP: Final = "GAMMA_FLIP"
STRUCTURE_BREAK: Final = "STRUCTURE_BREAK"
UP, DOWN = 1, -1


class Reading(msgspec.Struct, frozen=True):
    """What an evaluator sees of one bucket; `spot` and `zero_gamma` are ticks, `None` when missing."""

    bucket_utc: int
    features: tuple[float | None, ...]
    spot: int | None
    zero_gamma: int | None

    @property
    def end_utc(self) -> int:
        """The end of the bucket, from which cooldowns count."""
        return self.bucket_utc + BUCKET_NS

    def feature(self, name: str) -> float | None:
        """Give one feature by name."""
        return self.features[INDEX[name]]


class Finding(msgspec.Struct, frozen=True):
    """An alert in the making: prices in ticks, the thresholds in force by name."""

    direction: int
    entry_ticks: int
    target_ticks: int
    stop_ticks: int
    horizon_ms: int
    thresholds: tuple[tuple[str, float], ...]


class Evaluated(NamedTuple):
    """The next state, and a finding, or why there could be none (both `None`: evaluated, nothing happened)."""

    state: Any
    finding: Finding | None = None
    why: str | None = None


class Evaluator(Protocol):
    """What a lane hosts."""

    kind: str
    version: int

    def initial(self, last_alert_utc: int | None) -> Any:
        """Give the state of a start; `last_alert_utc` is when the lane's last alert was raised, if it was."""

    def evaluate(self, state: Any, reading: Reading) -> Evaluated:
        """Judge one reading; readings come in the order of their buckets, not necessarily all of them."""


def _finding(
    spot: int, direction: int, rules: FlipRules | BreakRules, thresholds: tuple[tuple[str, float], ...]
) -> Finding:
    return Finding(
        direction=direction,
        entry_ticks=spot,
        target_ticks=round(spot * (1.0 + direction * rules.target_bps / 1e4)),
        stop_ticks=round(spot * (1.0 - direction * rules.stop_bps / 1e4)),
        horizon_ms=rules.horizon_ms,
        thresholds=thresholds,
    )


def _is_cooling(last_alert_utc: int | None, reading: Reading, cooldown_ms: int) -> bool:
    return last_alert_utc is not None and reading.end_utc < last_alert_utc + cooldown_ms * MS


def _alert_end(last_alert_utc: int | None) -> int | None:
    """Give the end of the bucket whose alert was raised at an instant (it is raised within the bucket after)."""
    return None if last_alert_utc is None else bucket_of(last_alert_utc)


class FlipState(msgspec.Struct, frozen=True):
    """The confirmed side of zero gamma (+1 above, −1 below, 0 not known), and the readings in a row on another one."""

    side: int = 0
    streak_side: int = 0
    streak: int = 0
    last_alert_utc: int | None = None
    last_seen_utc: int = 0


class FlipEvaluator:
    """`GAMMA_FLIP`: spot has gone over to the other side of zero gamma. Up is a call (+1), down a put (−1).

    A side is held beyond the hysteresis band, and confirmed by so many readings in a row there; inside the band spot is
    on no side. So the next flip needs spot to have left the band on the far side: re-arming comes of itself. A flip in
    the cooldown changes the side and is let go. After a start, or a gap longer than the cooldown, the side is found
    again without an alert: when spot crossed is not known.
    """

    kind = GAMMA_FLIP

    def __init__(self, rules: FlipRules) -> None:
        self._rules = rules
        self.version = rules.version

    def initial(self, last_alert_utc: int | None) -> FlipState:
        """Know no side; keep the cooldown."""
        return FlipState(last_alert_utc=_alert_end(last_alert_utc))

    def evaluate(self, state: FlipState, reading: Reading) -> Evaluated:
        """Judge one reading; one without spot or zero gamma breaks the row."""
        if reading.spot is None or reading.zero_gamma is None:
            what = "spot" if reading.spot is None else "zero gamma"
            return Evaluated(msgspec.structs.replace(state, streak_side=0, streak=0), why=f"missing {what}")
        rules, side = self._rules, self._side(reading.spot, reading.zero_gamma)
        if reading.bucket_utc - state.last_seen_utc > rules.cooldown_ms * MS:
            state = msgspec.structs.replace(state, side=0, streak_side=0, streak=0)
        state = msgspec.structs.replace(state, last_seen_utc=reading.bucket_utc)
        if side in (0, state.side):
            state = msgspec.structs.replace(state, streak_side=0, streak=0)
            return Evaluated(state, why=None if state.side else "arming: no side of zero gamma confirmed yet")
        streak = state.streak + 1 if side == state.streak_side else 1
        if streak < rules.readings:
            state = msgspec.structs.replace(state, streak_side=side, streak=streak)
            return Evaluated(state, why=f"arming: {streak} of {rules.readings} readings on the far side")
        was_known = state.side != 0
        state = msgspec.structs.replace(state, side=side, streak_side=0, streak=0)
        if not was_known:
            return Evaluated(state, why="arming: side found after a start or a gap")
        if _is_cooling(state.last_alert_utc, reading, rules.cooldown_ms):
            return Evaluated(state, why="cooldown: this flip is let go")
        state = msgspec.structs.replace(state, last_alert_utc=reading.end_utc)
        thresholds = (
            ("readings", float(rules.readings)),
            ("hysteresis_bps", rules.hysteresis_bps),
            ("cooldown_ms", float(rules.cooldown_ms)),
        )
        return Evaluated(state, _finding(reading.spot, side, rules, thresholds))

    def _side(self, spot: int, zero_gamma: int) -> int:
        bps = (spot - zero_gamma) / zero_gamma * 1e4
        if abs(bps) < self._rules.hysteresis_bps:
            return 0
        return UP if bps > 0 else DOWN


class BreakState(msgspec.Struct, frozen=True):
    """The major level that spot was last seen under, and the one over (ticks); `None`: not since the level stands."""

    under_ticks: int | None = None
    over_ticks: int | None = None
    last_alert_utc: int | None = None
    last_seen_utc: int = 0


class BreakEvaluator:
    """`STRUCTURE_BREAK`: a close beyond a major level, up through the positive or down through the negative one.

    Spot must have been seen on the near side of this very level before, so a level that jumps over spot breaks nothing.
    Never against the 30 min trend: while spot has moved `trend_min_bps` the other way, the break is let go. Flow is not
    looked at: its features are not computed yet.
    """

    kind = STRUCTURE_BREAK
    LEVELS = ((UP, "loc_major_pos_vol_bps"), (DOWN, "loc_major_neg_vol_bps"))

    def __init__(self, rules: BreakRules) -> None:
        self._rules = rules
        self.version = rules.version

    def initial(self, last_alert_utc: int | None) -> BreakState:
        """Have seen spot nowhere; keep the cooldown."""
        return BreakState(last_alert_utc=_alert_end(last_alert_utc))

    def evaluate(self, state: BreakState, reading: Reading) -> Evaluated:
        """Judge one reading; without spot, both majors or the trend there is no judgement."""
        above_pos, above_neg = (reading.feature(name) for _, name in self.LEVELS)
        trend = reading.feature("price_return_30m_bps")
        if reading.spot is None or above_pos is None or above_neg is None:
            return Evaluated(msgspec.structs.replace(state, under_ticks=None, over_ticks=None), why="missing level")
        if reading.bucket_utc - state.last_seen_utc > self._rules.cooldown_ms * MS:
            state = msgspec.structs.replace(state, under_ticks=None, over_ticks=None)
        pos, neg = _level(reading.spot, above_pos), _level(reading.spot, above_neg)
        broke_up = state.under_ticks == pos and above_pos >= self._rules.beyond_bps
        broke_down = state.over_ticks == neg and above_neg <= -self._rules.beyond_bps
        state = msgspec.structs.replace(
            state,
            under_ticks=_near(state.under_ticks, pos, is_near=above_pos <= 0, is_beyond=broke_up),
            over_ticks=_near(state.over_ticks, neg, is_near=above_neg >= 0, is_beyond=broke_down),
            last_seen_utc=reading.bucket_utc,
        )
        if trend is None:
            return Evaluated(state, why="arming: no 30 min trend yet")
        if broke_up == broke_down:
            return Evaluated(state)
        return self._judge(state, reading, UP if broke_up else DOWN, trend)

    def _judge(self, state: BreakState, reading: Reading, direction: int, trend: float) -> Evaluated:
        rules = self._rules
        if direction * trend <= -rules.trend_min_bps:
            return Evaluated(state, why="against the 30 min trend")
        if _is_cooling(state.last_alert_utc, reading, rules.cooldown_ms):
            return Evaluated(state, why="cooldown: this break is let go")
        state = msgspec.structs.replace(state, last_alert_utc=reading.end_utc)
        thresholds = (
            ("beyond_bps", rules.beyond_bps),
            ("trend_min_bps", rules.trend_min_bps),
            ("cooldown_ms", float(rules.cooldown_ms)),
        )
        return Evaluated(state, _finding(reading.spot or 0, direction, rules, thresholds))


def _level(spot: int, above_bps: float) -> int:
    """Give the level from which spot is so many bps away (exact: features carry 12 digits)."""
    return round(spot / (1.0 + above_bps / 1e4))


def _near(seen: int | None, level: int, *, is_near: bool, is_beyond: bool) -> int | None:
    """Remember a level from spot on its near side until spot is beyond it; another level must be seen afresh."""
    if is_near:
        return level
    return seen if seen == level and not is_beyond else None
