"""From an alert to an intent: a strategy's plan says which legs it wants for a direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from domain.instants import BUCKET_NS, MS
from domain.instruments import Right, Side
from domain.limits import StrategyRules
from domain.orders import references
from domain.orders.intent import EntryPlan, Intent, PlannedLeg
from domain.signals.alert import Alert


def long_option(direction: int) -> EntryPlan:
    """Return one bought option in the alert's direction: a call up, a put down."""
    return EntryPlan((PlannedLeg(Right.CALL if direction > 0 else Right.PUT, Side.BUY),))


PLANS: Final[Mapping[str, Callable[[int], EntryPlan]]] = {"long_option": long_option}


def intent_of(alert: Alert, strategy: str, rules: StrategyRules) -> Intent:
    """Return what a strategy wants to do about a recorded alert; its age counts from the end of the alert's bucket.

    Raises:
        KeyError: no plan of the name that the rules give.
    """
    key = alert.key
    return Intent(
        intent_id=references.intent_id(key.alert_id, strategy),
        key=key,
        strategy=strategy,
        direction=alert.direction,
        plan=PLANS[rules.plan](alert.direction),
        is_shadow=alert.is_shadow,
        raised_utc=alert.raised_utc,
        expires_utc=key.bucket_utc + BUCKET_NS + rules.signal_age_max_ms * MS,
    )
