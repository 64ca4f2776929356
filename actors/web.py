"""The dashboard's actor: hands what happens on to a screen, never in the trading path.

Of several desks each has one of its own (`web:<desk>`), which shows what is that desk's; `web:shared` shows the rest.

It keeps nothing: the screen holds the newest fact of each slot, and what must be exact is read from ledger and
warehouse by the process that serves. It has a thread of its own, so that no money actor's thread ever does its work,
and hears nothing vital: a dashboard that fails loses what is on the screen and halts nothing.
"""

from __future__ import annotations

from typing import assert_never

from actors.notifier import SHARED
from domain.ports import Screen
from messages import broker, lifecycle, market, operator, positions, session, signals
from messages.base import Message
from supervision.actor import IoActor
from supervision.turn import Turn

Inbox = (
    lifecycle.Started
    | session.PhaseChanged
    | session.ModeChanged
    | session.AccountChecked
    | session.ReconcileFinished
    | broker.AccountRead
    | broker.AccountUnreadable
    | market.HubUp
    | market.HubDown
    | market.SpotsChanged
    | market.QuoteChanged
    | signals.FeaturesComputed
    | positions.PositionChanged
    | positions.PositionClosed
    | operator.Alarm
)


class WebActor(IoActor[Inbox]):
    """Shows the newest of every kind."""

    max_deliveries = 1  # a fact that cannot be shown is gone; a newer one comes

    def __init__(self, name: str, screen: Screen) -> None:
        super().__init__(name)
        self._screen = screen
        kind = name.partition(":")[2]
        self._desk = "" if kind == SHARED else kind
        self._is_of_desk = kind != SHARED

    def handle(self, turn: Turn[None], message: Inbox) -> None:
        """Show a fact in its slot, or ask (once) for those that nobody reports unasked."""
        match message:
            case lifecycle.Started():
                if not self._desk:
                    turn.tell("session", session.RequestPhase(reply_to=turn.name))
                if self._is_of_desk:
                    turn.tell("ibkr", session.RequestMode(reply_to=turn.name, with_account=True))
            case session.PhaseChanged():
                self._show(turn, "phase", message)
            case session.ModeChanged():
                self._show(turn, "mode", message)
            case session.AccountChecked():
                self._show(turn, "port", message)
            case session.ReconcileFinished():
                self._show(turn, "reconciled", message)
            case broker.AccountRead() | broker.AccountUnreadable():
                self._show(turn, "account", message)
            case market.HubUp() | market.HubDown():
                self._show(turn, f"hub:{message.hub}", message)
            case market.SpotsChanged() | market.QuoteChanged():
                self._show(turn, message.slot(), message)
            case signals.FeaturesComputed():
                self._show(turn, f"reading:{message.ticker}", message)
            case positions.PositionChanged() | positions.PositionClosed():
                self._show(turn, f"position:{message.ref.position_id}", message)
            case operator.Alarm():
                self._show(turn, f"alarm:{message.key}", message)
            case _:
                assert_never(message)

    def _show(self, turn: Turn[None], slot: str, fact: Message) -> None:
        self._screen.show(slot, turn.now, fact, self._desk)
