"""The adaptive exit profile of a position: its scales, and the shadow that leaves by it while the fixed one rules.

It is off unless the settings say otherwise; then a position looks at its market as if nothing of this were here.
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from actors.position import reports
from actors.position.state import PositionRules, PositionTurn
from domain.instants import MS
from domain.position import adaptive
from domain.position.adaptive import Profile, Scales
from domain.position.cycle import EndReason
from domain.position.day import flatten_utc
from domain.position.exits import HeldPosition, MarketWatch
from domain.position.shadow import Shadow, looked, result_ticks
from domain.risk import overlay
from domain.units import Cents
from messages import entries, positions
from messages.restored import Tightened


def begin(rules: PositionRules, turn: PositionTurn, command: entries.OpenPosition) -> None:
    """Take note, at an entry, of whether its exits go by the adaptive profile: where that is on and promoted."""
    found = rules.exits.adaptive
    turn.state.is_adaptive = found.is_on and adaptive.name_of(found) in command.exits
    forget(turn)


def forget(turn: PositionTurn) -> None:
    """Begin with scales of 1 and without a shadow."""
    turn.state.scales, turn.state.has_told_scales, turn.state.shadow = Scales(), False, None
    turn.state.is_scale_fixed = False


def on_first_fill(rules: PositionRules, turn: PositionTurn) -> None:
    """Begin to follow a position that is held from now on."""
    forget(turn)
    if rules.exits.adaptive.is_on and not turn.state.opened_ref().is_leg and not turn.state.is_adaptive:
        turn.state.shadow = Shadow(MarketWatch(turn.now))


def take_back(rules: PositionRules, turn: PositionTurn, known: Tightened | UnsetType) -> None:
    """Take back what the ledger knows: what was tightened stays so. A shadow is not followed beyond a restart.

    So it does where the profile is off now or another version: that one was not promoted for this life, and moves
    nothing of it.
    """
    found = rules.exits.adaptive
    if known is not UNSET and known.is_in_force:
        turn.state.is_adaptive = True
        turn.state.is_scale_fixed = not found.is_on or known.version != found.version
        turn.state.scales = Scales(known.stop_scale, known.take_scale)


def look(rules: PositionRules, turn: PositionTurn, held: HeldPosition, *, is_slow_due: bool) -> Profile:
    """Tighten what is due, let the shadow look, and return the rules that the position itself leaves by."""
    state, found = turn.state, rules.exits.adaptive
    fixed = Profile(rules.exits, rules.ticker(state.opened_ref()))
    if state.is_adaptive and state.is_scale_fixed:
        return adaptive.profile_of(fixed.exits, fixed.ticker, state.scales)
    if not found.is_on or (state.shadow is None and not state.is_adaptive):
        return fixed
    if state.watch.spot is not None:
        state.minutes = overlay.with_price(state.minutes, state.watch.spot, rules.overlay)
    if is_slow_due or not state.has_told_scales:
        _tighten(rules, turn)
    tight = adaptive.profile_of(fixed.exits, fixed.ticker, state.scales)
    if state.shadow is not None:
        state.shadow = looked(
            state.shadow, state.watch, held, state.fills.opened_qty, tight, turn.now, is_slow_due=is_slow_due
        )  # fmt: skip
    return tight if state.is_adaptive else fixed


def _tighten(rules: PositionRules, turn: PositionTurn) -> None:
    """Bring the scales to this instant, and tell the first ones and each change."""
    state, found = turn.state, rules.exits.adaptive
    realised = overlay.realised(state.minutes, turn.now)
    assert state.day is not None, "a life begins with its day"
    left_ns = flatten_utc(state.day) - turn.now
    scales = adaptive.tighter(state.scales, adaptive.scales_at(realised, left_ns, found))
    if state.has_told_scales and scales == state.scales:
        return
    state.scales, state.has_told_scales = scales, True
    turn.publish(
        positions.ExitsTightened(
            ref=state.opened_ref(), version=found.version, stop_scale=scales.stop, take_scale=scales.take,
            realised=realised, left_ms=left_ns // MS, is_in_force=state.is_adaptive, at_utc=turn.now,
        )
    )  # fmt: skip


def end(rules: PositionRules, turn: PositionTurn, reason: EndReason, settled_ticks: int | None) -> None:
    """Tell what the shadow came to beside a position whose result is known; nothing of one booked at an estimate."""
    state, shadow, fills = turn.state, turn.state.shadow, turn.state.fills
    state.shadow = None
    is_guessed = reason is EndReason.EXPIRED_UNPRICED or (
        reason is EndReason.BROKER_LIQUIDATION and not fills.is_closed_by_others
    )
    if shadow is None or is_guessed or not fills.opened_qty:
        return
    worth_ticks = fills.closed_cost_ticks + (settled_ticks or 0)
    multiplier = state.opened_ref().contract.multiplier
    shadow_ticks = result_ticks(shadow, fills.opened_cost_ticks, worth_ticks / fills.opened_qty)
    turn.publish(
        positions.ShadowClosed(
            ref=state.opened_ref(), version=rules.exits.adaptive.version,
            fixed_cents=reports.realised_cents(state, settled_ticks) + reports.fees_cents(state),
            shadow_cents=Cents(shadow_ticks * multiplier), fixed_reason=state.exit_reason, sales=shadow.sales,
            left=shadow.left, stop_scale=state.scales.stop, take_scale=state.scales.take, at_utc=turn.now,
        )
    )  # fmt: skip
