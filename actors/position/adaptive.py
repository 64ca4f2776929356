"""The other exit profile of a position (adaptive, or learned levels), and its shadow while the fixed one rules.

There is none unless the settings say otherwise; then a position looks at its market as if nothing of this were here.
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from actors.position import reports
from actors.position.state import PositionRules, PositionTurn
from domain.instants import MS
from domain.position import adaptive, profiles
from domain.position.adaptive import Scales
from domain.position.cycle import EndReason
from domain.position.day import flatten_utc
from domain.position.exits import HeldPosition, MarketWatch
from domain.position.profiles import Other, Profile
from domain.position.shadow import Shadow, looked, result_ticks
from domain.risk import overlay
from domain.units import Cents
from messages import entries, positions
from messages.restored import Tightened


def begin(rules: PositionRules, turn: PositionTurn, command: entries.OpenPosition) -> None:
    """Take note, at an entry, of whether its exits go by the other profile: where there is one, and it is promoted."""
    other = profiles.other_of(rules.exits)
    turn.state.is_other_in_force = other is not None and other.name in command.exits
    forget(turn)


def forget(turn: PositionTurn) -> None:
    """Begin with scales of 1 and without a shadow."""
    turn.state.scales, turn.state.has_told_scales, turn.state.shadow = Scales(), False, None
    turn.state.is_scale_fixed = False


def on_first_fill(rules: PositionRules, turn: PositionTurn) -> None:
    """Begin to follow a position that is held from now on."""
    forget(turn)
    state = turn.state
    if profiles.other_of(rules.exits) is not None and not state.opened_ref().is_leg and not state.is_other_in_force:
        state.shadow = Shadow(MarketWatch(turn.now))


def take_back(rules: PositionRules, turn: PositionTurn, known: Tightened | UnsetType) -> None:
    """Take back what the ledger knows: what was tightened stays so. A shadow is not followed beyond a restart.

    So it does where that profile is off now or another version: the new one was not promoted for this life, and moves
    nothing of it. Learned levels that the settings have no longer are not known: the fixed ones rule.
    """
    if known is UNSET or not known.is_in_force:
        return
    is_same = profiles.other_of(rules.exits) == Other(known.kind, known.version)
    if known.kind == profiles.ADAPTIVE or is_same:
        turn.state.is_other_in_force, turn.state.is_scale_fixed = True, not is_same
        turn.state.scales = Scales(known.stop_scale, known.take_scale)


def look(rules: PositionRules, turn: PositionTurn, held: HeldPosition, *, is_slow_due: bool) -> Profile:
    """Tighten what is due, let the shadow look, and return the rules that the position itself leaves by."""
    state, learned = turn.state, rules.exits.learned
    fixed = Profile(rules.exits, rules.ticker(state.opened_ref()))
    if state.is_other_in_force and state.is_scale_fixed:
        return adaptive.profile_of(fixed.exits, fixed.ticker, state.scales)
    if state.shadow is None and not state.is_other_in_force:
        return fixed
    if rules.exits.adaptive.is_on:
        other = _adapted(rules, turn, fixed, is_slow_due=is_slow_due)
    elif learned is not None:
        other = profiles.learned_profile(fixed.exits, fixed.ticker, learned)
        if not state.has_told_scales:
            _tell(rules, turn, None)
    else:
        return fixed
    if state.shadow is not None:
        state.shadow = looked(
            state.shadow, state.watch, held, state.fills.opened_qty, other, turn.now, is_slow_due=is_slow_due
        )  # fmt: skip
    return other if state.is_other_in_force else fixed


def _adapted(rules: PositionRules, turn: PositionTurn, fixed: Profile, *, is_slow_due: bool) -> Profile:
    """Return the adaptive profile of this instant."""
    state = turn.state
    if state.watch.spot is not None:
        state.minutes = overlay.with_price(state.minutes, state.watch.spot, rules.overlay)
    if is_slow_due or not state.has_told_scales:
        _tighten(rules, turn)
    return adaptive.profile_of(fixed.exits, fixed.ticker, state.scales)


def _tighten(rules: PositionRules, turn: PositionTurn) -> None:
    """Bring the scales to this instant, and tell the first ones and each change."""
    state = turn.state
    realised = overlay.realised(state.minutes, turn.now)
    scales = adaptive.tighter(state.scales, adaptive.scales_at(realised, _left_ns(turn), rules.exits.adaptive))
    if state.has_told_scales and scales == state.scales:
        return
    state.scales = scales
    _tell(rules, turn, realised)


def _tell(rules: PositionRules, turn: PositionTurn, realised: float | None) -> None:
    """Tell the scales from now on, and by which profile."""
    state, other = turn.state, profiles.other_of(rules.exits)
    assert other is not None, "only a profile that is there has scales"
    state.has_told_scales = True
    turn.publish(
        positions.ExitsTightened(
            ref=state.opened_ref(), version=other.version, stop_scale=state.scales.stop, take_scale=state.scales.take,
            realised=realised, left_ms=_left_ns(turn) // MS, is_in_force=state.is_other_in_force, at_utc=turn.now,
            kind=other.kind,
        )
    )  # fmt: skip


def _left_ns(turn: PositionTurn) -> int:
    """Return the time to the flatten, negative past it."""
    assert turn.state.day is not None, "a life begins with its day"
    return flatten_utc(turn.state.day) - turn.now


def end(rules: PositionRules, turn: PositionTurn, reason: EndReason, settled_ticks: int | None) -> None:
    """Tell what the shadow came to beside a position whose result is known; nothing of one booked at an estimate."""
    state, shadow, fills, other = turn.state, turn.state.shadow, turn.state.fills, profiles.other_of(rules.exits)
    state.shadow = None
    is_guessed = reason is EndReason.EXPIRED_UNPRICED or (
        reason is EndReason.BROKER_LIQUIDATION and not fills.is_closed_by_others
    )
    if shadow is None or other is None or is_guessed or not fills.opened_qty:
        return
    worth_ticks = fills.closed_cost_ticks + (settled_ticks or 0)
    multiplier = state.opened_ref().contract.multiplier
    shadow_ticks = result_ticks(shadow, fills.opened_cost_ticks, worth_ticks / fills.opened_qty)
    turn.publish(
        positions.ShadowClosed(
            ref=state.opened_ref(), version=other.version, kind=other.kind,
            fixed_cents=reports.realised_cents(state, settled_ticks) + reports.fees_cents(state),
            shadow_cents=Cents(shadow_ticks * multiplier), fixed_reason=state.exit_reason, sales=shadow.sales,
            left=shadow.left, stop_scale=state.scales.stop, take_scale=state.scales.take, at_utc=turn.now,
        )
    )  # fmt: skip
