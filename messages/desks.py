"""Desks conversation: which desk trades which strategy, and the switch of one from a desk to another."""

from __future__ import annotations

from domain.units import Utc
from messages.base import Command, Event, Report


def _tag(name: str) -> str:
    return f"desks.{name}"


class SwitchStrategy(Command, frozen=True, kw_only=True, tag=_tag):
    """Let `to_desk` trade a strategy in place of `from_desk` (empty: of nobody); the operator gets the outcome."""

    command_id: str
    strategy: str
    from_desk: str
    to_desk: str
    by: str
    reason: str


class HoldStrategy(Command, frozen=True, kw_only=True, tag=_tag):
    """Take no signal of this strategy until a route is told again, and say whether it is flat.

    `reconciles`: first the desk stands down and compares itself with the broker.
    """

    switch_n: int
    strategy: str
    reconciles: bool


class StrategyHeld(Report, frozen=True, kw_only=True, tag=_tag):
    """A desk takes no signal of the strategy now.

    `held` is what it still holds or awaits of it, `unfit` why the desk may not trade at all; both are empty where there
    is nothing to say.
    """

    switch_n: int
    desk: str
    is_reconciled: bool
    held: str
    unfit: str


class RequestRoutes(Command, frozen=True, kw_only=True, tag=_tag):
    """Report which desks trade what (on `Started`); the answers are `RouteChanged`."""

    reply_to: str


class RouteChanged(Event, frozen=True, kw_only=True, tag=_tag):
    """These desks trade the strategy now; none while it is being switched, or where nobody may."""

    strategy: str
    desks: tuple[str, ...]


class RecordRoute(Command, frozen=True, kw_only=True, tag=_tag):
    """Keep which desks trade the strategy from now on, who said so and why."""

    command_id: str
    strategy: str
    desks: tuple[str, ...]
    by: str
    reason: str
    at_utc: Utc


class RouteRecorded(Report, frozen=True, kw_only=True, tag=_tag):
    """The route is durable."""

    command_id: str
