"""The credit spread as an alert and an intent: what its lane records, and what risk is asked to open."""

from __future__ import annotations

from typing import Final

from domain.instants import BUCKET_NS, MS
from domain.instruments import Right, Side
from domain.orders import references
from domain.orders.intent import EntryPlan, Intent, PlannedLeg
from domain.signals.alert import UP, Alert, AlertKey
from domain.structure.credit import Terms
from domain.structure.rules import COVER, SHORT, SpreadRules
from domain.units import Ticks, Utc

SOURCE: Final = "spread"  # also the name of its strategy
PAIR: Final = f"{COVER}-{SHORT}"
KIND: Final = "CREDIT_SPREAD"
VERSION: Final = 1
PROMOTION: Final = f"{KIND}-{VERSION}"
VERTICAL: Final = "CREDIT_VERTICAL"  # both legs of the index: a kind of its own, which is promoted by itself
KINDS: Final = (KIND, VERTICAL)
PROMOTIONS: Final = tuple(f"{kind}-{VERSION}" for kind in KINDS)
LANE: Final = f"lane:{SOURCE}:{PAIR}"


def kind_of(rules: SpreadRules) -> str:
    """Return the kind of the alerts that these rules make."""
    return VERTICAL if rules.is_vertical else KIND


def key_of(bucket_utc: Utc, kind: str = KIND) -> AlertKey:
    """Return the key of the spread's alert of a bucket (its start)."""
    return AlertKey(SOURCE, PAIR, kind, VERSION, bucket_utc)


def alert_of(
    bucket_utc: Utc, spot_ticks: Ticks, terms: Terms, rules: SpreadRules, now: Utc, close_utc: Utc, *, is_shadow: bool
) -> Alert:  # fmt: skip
    """Return the alert that a spread may be opened; prices are the index's, the horizon is the close.

    Up is the side that the cover gains on. Target and stop are where the worst case of the strikes begins and where the
    fund would stand at its assignment threshold: an outcome follows one price, a spread has none of its own.
    """
    return Alert(
        key=key_of(bucket_utc, kind_of(rules)),
        direction=UP,
        entry_ticks=spot_ticks,
        target_ticks=Ticks(max(terms.cover_strike_ticks, spot_ticks + 1)),
        stop_ticks=Ticks(spot_ticks - max(round(rules.threshold_ticks * terms.ratio), 1)),
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
        ("cover_strike" if rules.is_vertical else "spx_strike", terms.cover_strike_ticks / 100),
        ("short_strike" if rules.is_vertical else "spy_strike", terms.short_strike_ticks / 100),
        ("min_entry_credit", float(rules.min_entry_credit)),
        ("max_position_loss", float(rules.max_position_loss)),
    )


def plan_of(cover_strike_ticks: Ticks, short_strike_ticks: Ticks, rules: SpreadRules) -> EntryPlan:
    """Return the spread's legs, the cover first; a leg's `ratio` is its contracts."""
    return EntryPlan(
        (
            PlannedLeg(Right.CALL, Side.BUY, rules.spx_contracts_per_spread, COVER, cover_strike_ticks),
            PlannedLeg(Right.CALL, Side.SELL, rules.short_contracts, rules.short_ticker, short_strike_ticks),
        ),
        cover_ratio=rules.cover_ratio,
    )


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
