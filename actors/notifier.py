"""The notifier: turns what happens into lines for people, never in the trading path.

hears: everything that names the role `notifier` · says: Announcement -> port:console
state: when each alarm key was last announced (repeats within the pause are counted, not announced) · on crash: forgets
"""

from __future__ import annotations

import msgspec

from config.settings import Settings
from domain.instants import SECOND
from messages import lifecycle, market, operator, orders, positions, risk, session
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import Effects, Tell

REPEAT_PAUSE_S = 30  # real seconds between two announcements of one alarm


class NotifierState(msgspec.Struct, frozen=True):
    """Last announcement and repeats since, per alarm key."""

    alarms: tuple[tuple[str, int, int], ...] = ()


class NotifierActor(Actor[NotifierState]):
    """Says in one line what a person would want to know."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._pause_ns = round(REPEAT_PAUSE_S * settings.rate) * SECOND

    def initial(self) -> NotifierState:
        """Nothing announced."""
        return NotifierState()

    def decide(self, state: NotifierState, message: Message, now: int) -> tuple[NotifierState, Effects]:
        """Announce, or stay quiet."""
        if isinstance(message, operator.Alarm):
            return self._alarm(state, message, now)
        line = line_of(message)
        if line is None:
            return state, ()
        topic, severity, text = line
        said = operator.Announcement(topic=topic, severity=severity, text=text, at_utc=now)
        return state, (Tell("port:console", said),)

    def _alarm(self, state: NotifierState, alarm: operator.Alarm, now: int) -> tuple[NotifierState, Effects]:
        known = {key: (at, repeats) for key, at, repeats in state.alarms}
        last_utc, repeats = known.get(alarm.key, (None, 0))
        if last_utc is not None and now - last_utc < self._pause_ns:
            known[alarm.key] = (last_utc, repeats + 1)
            return NotifierState(tuple((k, *v) for k, v in sorted(known.items()))), ()
        known[alarm.key] = (now, 0)
        text = f"[{alarm.key}] {alarm.text}" + (f" (and {repeats} repeats before)" if repeats else "")
        said = operator.Announcement(topic="alarm", severity=alarm.severity, text=text, at_utc=now)
        return NotifierState(tuple((k, *v) for k, v in sorted(known.items()))), (Tell("port:console", said),)


def line_of(message: Message) -> tuple[str, str, str] | None:
    """Give (topic, severity, text) of what is worth a line; `None` for the rest."""
    match message:
        case session.PhaseChanged():
            return "phase", "info", f"The day's phase is {message.phase.value}."
        case session.ModeChanged():
            severity = "warning" if message.mode.value == "DEGRADED" else "info"
            return "mode", severity, f"Order session: {message.mode.value} ({message.cause})."
        case risk.KillRaised():
            return "kill", "high", f"Kill level {message.level} by {message.by}: {message.reason}."
        case risk.KillLowered() if message.reason:
            return "kill", "warning", f"Kill level lowered to {message.level} by {message.by}: {message.reason}."
        case orders.EntryHandedOver():
            return "entry", "info", f"{message.alert_id} passed every gate as {message.order_ref}."
        case orders.EntryDenied():
            return "reject", "info", f"{message.alert_id} refused: {message.code.value}{_measure(message)}."
        case positions.PositionOpened():
            cost = message.cost_cents / 100
            return "entry", "info", f"Opened {message.contract.label}: first fill {message.qty} for {cost:,.2f}."
        case positions.PositionClosed():
            why = message.reason.value if message.reason else message.end.value
            net = message.realised_cents / 100
            return "exit", "info", f"Closed {message.bought_qty} {message.contract.label} ({why}): {net:+,.2f} net."
        case positions.PositionDisputed():
            return "alarm", "high", f"Position {message.con_id} is disputed: {message.why}."
        case positions.EntryAbandoned():
            return "entry", "info", f"Entry of {message.contract.label} ended without a fill: {message.why}."
        case market.HubUp():
            return "feed", "info", f"Hub {message.hub} is up{' (recovered)' if message.recovered else ''}."
        case market.HubDown():
            return "feed", "warning", f"Hub {message.hub} is down: {message.cause}."
        case positions.DayFlattened():
            return "day", "info", "Everything is flat."
        case lifecycle.MessageSetAside():
            return "alarm", "high", f"{message.name} set a message aside: {message.why}."
        case _:
            return None


def _measure(denied: orders.EntryDenied) -> str:
    if denied.measured is None or denied.limit is None:
        return ""
    return f" ({denied.measured:g} against {denied.limit:g} {denied.unit})".replace(" )", ")")
