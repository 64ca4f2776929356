"""`risk:<desk>`: the read model, the entry pipeline, the day's stops.

Decisions are taken one at a time (`entry`), so that counts cannot race. The day's P&L is evaluated with every report of
a position (`day`), level 1 is asked for where an automatic rule says so (`automatic_kill`) or knows nothing (`inputs`).

Restarted: decisions, closed trades, lock, stops, start NAV and promotions come from the ledger, live reservations count
as pending with an unknown mark, phase, kill level and mode are asked for, promotions that the ledger could not read are
asked for again (`promotions`), the rest must be told again by its owners
(liquid hours and halts within minutes); unknown refuses.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from actors.risk import (
    automatic_kill,
    day,
    entry,
    holdings,
    inputs,
    market_state,
    permit,
    promotions,
    routing,
    slices,
    structure_entry,
)
from actors.risk.state import RiskState, Timer
from config.settings import Settings
from domain.instants import BUCKET_NS, MS
from domain.orders.capabilities import BrokerCapability, can
from domain.risk.closed import closed_today
from domain.risk.day import LockReason
from domain.risk.desk_view import DeskView, decisions_of
from domain.risk.gates.types import DeskRules
from domain.signals.alert import AlertKey
from domain.signals.spread import SOURCE
from domain.units import Utc
from messages import broker, desks, entries, lifecycle, market, orders, positions, restored, risk, session, signals
from supervision.actor import Actor
from supervision.turn import Turn

EntryMessage = (
    market.ContractsOffered | market.QuoteRead | market.QuoteUnavailable | entries.EntryReserved | entries.EntryRefused
    | entries.EntryAmended | entries.RequestPermit | entries.RequestSlice | orders.WhatIfRead
)  # fmt: skip
Inbox = (
    lifecycle.Started
    | lifecycle.TimerFired
    | lifecycle.StateRead
    | signals.SignalRaised
    | signals.PromotionChanged
    | EntryMessage
    | market.SpotsChanged
    | market.HoursRead
    | market.HaltChanged
    | market.ContextRead
    | positions.PositionOpened
    | positions.PositionChanged
    | positions.PositionClosed
    | positions.EntryAbandoned
    | session.ModeChanged
    | session.AccountChecked
    | session.ReconcileFinished
    | session.PhaseChanged
    | broker.AccountRead
    | broker.AccountUnreadable
    | risk.KillRaised
    | risk.KillLowered
    | risk.DayLocked
    | risk.StartNavRecorded
    | desks.HoldStrategy
    | desks.RouteChanged
)


class RiskActor(Actor[RiskState, Inbox]):
    """Lets intents through the gates, and stops the day when it must."""

    def __init__(
        self, name: str, settings: Settings, is_live_armed: bool = False, *, is_one_of_several: bool = False
    ) -> None:
        super().__init__(name)
        self._is_one_of_several = is_one_of_several
        self.rules = DeskRules(
            desk=settings.desk,
            trading_mode=settings.trading_mode,
            is_live_armed=is_live_armed,
            paper_port=settings.broker.paper_port,
            live_port=settings.broker.live_port,
            limits=settings.entry,
            kill=settings.kill,
            exits=settings.exits,
            day=settings.day,
            strategies=settings.strategies | ({SOURCE: settings.spread.strategy} if settings.spread.is_on else {}),
            tickers=settings.ticker_rules,
            spread=settings.spread if settings.spread.is_on else None,
            takes_combos=can(settings.broker.orders, BrokerCapability.COMBOS),
        )

    def initial(self) -> RiskState:
        """Return a state that knows nothing: every gate that needs an input refuses."""
        return RiskState()

    def decide(self, turn: Turn[RiskState], message: Inbox) -> None:
        """Take one message into account."""
        rules = self.rules
        match message:
            case market.SpotsChanged():
                automatic_kill.on_spots(rules, turn, message)
            case positions.PositionChanged():
                holdings.on_changed(rules, turn, message)
            case signals.SignalRaised():
                self._on_signal(turn, message)
            case signals.PromotionChanged() | lifecycle.StateRead():
                promotions.hear(turn, message)
            case (
                market.ContractsOffered() | market.QuoteRead() | market.QuoteUnavailable() | entries.EntryReserved()
                | entries.EntryRefused() | entries.EntryAmended() | entries.RequestPermit() | entries.RequestSlice()
                | orders.WhatIfRead()
            ):  # fmt: skip
                self._on_entry(turn, message)
            case market.HoursRead() | market.HaltChanged() | market.ContextRead():
                market_state.hear(turn, message)
            case positions.PositionOpened():
                holdings.on_opened(rules, turn, message)
            case positions.PositionClosed():
                holdings.on_closed(rules, turn, message)
            case positions.EntryAbandoned():
                holdings.on_abandoned(rules, turn, message)
            case session.ModeChanged():
                automatic_kill.on_mode(rules, turn, message)
            case session.AccountChecked():
                day.on_account_checked(turn, message)
            case broker.AccountRead():
                day.on_account_read(turn, message)
            case broker.AccountUnreadable():
                day.on_account_unreadable(turn, message)
            case session.ReconcileFinished():
                day.on_reconciled(turn, message)
                routing.on_reconciled(rules, turn, message)
            case session.PhaseChanged():
                day.on_phase(rules, turn, message)
            case risk.KillRaised() | risk.KillLowered():
                automatic_kill.on_level(turn, message)
            case risk.DayLocked():
                day.on_locked(turn, message)
            case risk.StartNavRecorded():
                day.on_start_nav(rules, turn, message)
            case desks.RouteChanged() | desks.HoldStrategy():
                routing.hear(rules, turn, message)
            case lifecycle.Started():
                start(rules, turn, message)
                routing.start(turn, is_one_of_several=self._is_one_of_several)
            case lifecycle.TimerFired():
                on_timer(rules, turn, message)
            case _:
                assert_never(message)

    def _on_signal(self, turn: Turn[RiskState], message: signals.SignalRaised) -> None:
        rules = self.rules
        if not routing.trades(turn.state, message.intent.strategy):
            return
        if structure_entry.is_structure(rules, message.intent):
            structure_entry.on_signal(rules, turn, message)
        else:
            entry.on_signal(rules, turn, message)

    def _on_entry(self, turn: Turn[RiskState], message: EntryMessage) -> None:
        rules = self.rules
        match message:
            case market.ContractsOffered():
                entry.on_contracts_offered(rules, turn, message)
            case market.QuoteRead():
                entry.on_quote(rules, turn, message)
                structure_entry.on_quote(rules, turn, message)
                slices.on_quote(rules, turn, message)
            case market.QuoteUnavailable():
                entry.on_quote_unavailable(rules, turn, message)
                structure_entry.on_quote_unavailable(rules, turn, message)
                slices.on_quote_unavailable(turn, message)
            case entries.EntryReserved():
                entry.on_reserved(rules, turn, message)
                structure_entry.on_reserved(rules, turn, message.intent_id)
            case entries.EntryRefused():
                entry.on_refused(rules, turn, message)
                structure_entry.on_refused(turn, message)
            case orders.WhatIfRead():
                structure_entry.on_margin(rules, turn, message)
            case entries.EntryAmended():
                entry.on_amended(turn, message)
            case entries.RequestPermit():
                permit.on_permit_requested(rules, turn, message)
            case entries.RequestSlice():
                slices.on_slice_requested(rules, turn, message)
            case _:
                assert_never(message)


def start(rules: DeskRules, turn: Turn[RiskState], message: lifecycle.Started) -> None:
    """Take over what the ledger knows, and ask for what nobody reports unasked."""
    state = turn.state
    state.incarnation = message.incarnation
    turn.tell("session", session.RequestPhase(reply_to=turn.name))
    turn.tell("kill", risk.RequestKillLevel(reply_to=turn.name))
    turn.tell("ibkr", session.RequestMode(reply_to=turn.name, with_account=True))
    # A resume just before a crash is told to nobody again (a new process warms up for longer than that).
    halts_from_utc = turn.now + rules.limits.halt_resume_ms * MS if message.incarnation > 1 else Utc(0)
    state.view = replace(state.view, halts_from_utc=halts_from_utc)
    known = message.restored
    if known is None:
        return
    if not isinstance(known, restored.RiskRestored):
        raise TypeError(f"{turn.name} cannot start from {type(known).__name__}")
    is_hard = known.stops.is_hard or known.day_locked == LockReason.DAILY_LOSS
    state.recorded = known.stops
    held = {reservation.ref.position_id for reservation in known.reservations}
    state.view = DeskView(
        session=known.session,
        start_nav_cents=known.start_nav_cents,
        day_locked=known.day_locked,
        decisions=decisions_of(known.decisions),
        holdings=tuple(holdings.of_reservation(reservation, turn.now) for reservation in known.reservations),
        closed=closed_today(one for one in known.closed if one.position_id not in held),  # held again: counts once
        stops=replace(known.stops, is_hard=is_hard),
        promoted=frozenset(known.promoted or ()),
        is_promoted_known=known.promoted is not None,
        halts_from_utc=halts_from_utc,
    )
    if is_hard and known.day_locked is None:
        day.ask_for_lock(turn, LockReason.DAILY_LOSS)
    elif state.view.stops.breach_utc is not None and not is_hard:
        turn.arm(Timer.DAY_LOSS, turn.now + rules.limits.daily_loss_confirm_ms * MS)
    inputs.look(rules, turn)
    if known.promoted is None:
        promotions.note_unknown(turn)
    for alert_id, _ in known.pending_alerts:
        turn.arm(Timer.ALERT, stale_from_utc(rules, AlertKey.parse(alert_id)), alert_id)


def stale_from_utc(rules: DeskRules, key: AlertKey) -> Utc:
    """Return the instant from which an alert is too old to be traded; its strategy bears the name of its source."""
    strategy = rules.strategies.get(key.source)
    return key.bucket_utc + BUCKET_NS + (strategy.signal_age_max_ms * MS if strategy is not None else 0)


def on_timer(rules: DeskRules, turn: Turn[RiskState], message: lifecycle.TimerFired) -> None:
    """Go on where a reply or an instant was waited for."""
    match Timer(message.kind):
        case Timer.STAGE:
            entry.on_silence(rules, turn, message.subject)
            structure_entry.on_silence(rules, turn, message.subject)
        case Timer.ALERT:
            if routing.trades(turn.state, AlertKey.parse(message.subject).source):
                entry.on_alert_stale(turn, message.subject)
        case Timer.DAY_LOSS:
            day.on_confirmation_due(rules, turn)
        case Timer.INPUTS:
            day.evaluate(rules, turn)
        case Timer.VERIFY_FLAT:
            day.verify_flat(turn)
        case Timer.SETTLE:
            day.record_day(turn)
        case Timer.PROMOTIONS:
            promotions.ask(turn)
        case other:
            assert_never(other)
