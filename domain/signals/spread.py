"""The credit spread, or what is opened in its place, as an alert that its lane records and an intent for risk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from domain.instants import BUCKET_NS, MS
from domain.instruments import Right, Side
from domain.orders import references
from domain.orders.intent import EntryPlan, Intent, PlannedLeg
from domain.signals.alert import UP, Alert, AlertKey
from domain.structure.credit import Terms
from domain.structure.rules import COVER, SHORT, Combination, SpreadRules
from domain.units import Ticks, Utc

SOURCE: Final = "spread"  # also the name of its strategy
PAIR: Final = f"{COVER}-{SHORT}"
KIND: Final = "CREDIT_SPREAD"
VERSION: Final = 1
PROMOTION: Final = f"{KIND}-{VERSION}"
VERTICAL: Final = "CREDIT_VERTICAL"  # both legs of the index: a kind of its own, which is promoted by itself
OF_COMBINATION: Final = {Combination.IRON_CONDOR: "IRON_CONDOR", Combination.IRON_BUTTERFLY: "IRON_BUTTERFLY"}
OF_ONE_ORDER: Final = (VERTICAL, *OF_COMBINATION.values())
KINDS: Final = (KIND, *OF_ONE_ORDER)
PROMOTIONS: Final = tuple(f"{kind}-{VERSION}" for kind in KINDS)
LANE: Final = f"lane:{SOURCE}:{PAIR}"


def kind_of(rules: SpreadRules) -> str:
    """Return the kind of the alerts that these rules make."""
    if rules.combination is not None:
        return OF_COMBINATION[rules.combination]
    return VERTICAL if rules.is_vertical else KIND


def key_of(bucket_utc: Utc, kind: str = KIND) -> AlertKey:
    """Return the key of the spread's alert of a bucket (its start)."""
    return AlertKey(SOURCE, PAIR, kind, VERSION, bucket_utc)


def alert_of(
    bucket_utc: Utc, spot_ticks: Ticks, terms: Terms, rules: SpreadRules, now: Utc, close_utc: Utc, *, is_shadow: bool
) -> Alert:  # fmt: skip
    """Return the alert that a spread may be opened; prices are the index's, the horizon is the close.

    Up is the side that the cover gains on. Target and stop are where the worst case of the strikes begins and where the
    fund would stand at its assignment threshold: an outcome follows one price, a spread has none of its own. The stop
    of a combination is where the worst case of its puts begins.
    """
    below = round(rules.threshold_ticks * terms.ratio)
    if terms.further:
        below = spot_ticks - terms.further[0].cover_strike_ticks
    return Alert(
        key=key_of(bucket_utc, kind_of(rules)),
        direction=UP,
        entry_ticks=spot_ticks,
        target_ticks=Ticks(max(terms.cover_strike_ticks, spot_ticks + 1)),
        stop_ticks=Ticks(spot_ticks - max(below, 1)),
        horizon_ms=max((close_utc - now) // MS, 1),
        is_shadow=is_shadow,
        raised_utc=now,
    )


def thresholds_of(terms: Terms, rules: SpreadRules) -> tuple[tuple[str, float], ...]:
    """Return what is recorded with the alert: the terms it was found on and the limits in force, in USD and strikes."""
    return (
        ("credit", terms.credit_cents / 100),
        ("edge", terms.edge_cents / 100),
        ("gap", terms.gap_cents / 100),
        ("fees", terms.fees_cents / 100),
        ("ratio", round(terms.ratio, 6)),
        ("cover_strike" if rules.is_of_index else "spx_strike", terms.cover_strike_ticks / 100),
        ("short_strike" if rules.is_of_index else "spy_strike", terms.short_strike_ticks / 100),
        *((f"{side}_put_strike", strike / 100) for side, strike in zip(("cover", "short"), _puts(terms), strict=False)),
        ("min_entry_credit", float(rules.min_entry_credit)),
        ("max_position_loss", float(rules.max_position_loss)),
    )


def _puts(terms: Terms) -> tuple[Ticks, ...]:
    return terms.strikes_ticks[2:]


def plan_of(strikes_ticks: Sequence[Ticks], rules: SpreadRules) -> EntryPlan:
    """Return the legs at the strikes of `strikes_of`, each cover before its short; a leg's `ratio` is its contracts."""
    legs = []
    for n, strike in enumerate(strikes_ticks):
        right = Right.CALL if n < 2 else Right.PUT
        if n % 2 == 0:
            legs.append(PlannedLeg(right, Side.BUY, rules.spx_contracts_per_spread, COVER, strike))
        else:
            legs.append(PlannedLeg(right, Side.SELL, rules.short_contracts, rules.short_ticker, strike))
    return EntryPlan(tuple(legs), cover_ratio=rules.cover_ratio)


def intent_of(alert: Alert, plan: EntryPlan, rules: SpreadRules) -> Intent:
    """Return what is asked of risk about a recorded alert."""
    key = alert.key
    return Intent(
        intent_id=references.intent_id(key.alert_id, SOURCE),
        key=key,
        strategy=SOURCE,
        direction=alert.direction,
        plan=plan,
        is_shadow=alert.is_shadow,
        raised_utc=alert.raised_utc,
        expires_utc=key.bucket_utc + BUCKET_NS + rules.signal_age_max_ms * MS,
    )
