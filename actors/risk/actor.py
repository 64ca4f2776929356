"""`risk:<desk>`: the read model, the entry pipeline, the day's stops. State: `actors/risk/state.py`.

Hears from lanes (signals), quotes, the desk's ledger, ibkr, session, kill and positions; says entries to positions,
rows to the ledger, refusals to lanes. Restarted: decisions, closed trades, lock and start NAV come from the ledger,
live reservations count as pending with an unknown mark, phase and kill level are asked for, the rest must be told
again by its owners; unknown refuses.
"""

from __future__ import annotations

from datetime import time

from msgspec.structs import replace

from actors.risk.entry import STAGE_TIMER, EntryDesk, Step
from actors.risk.permit import renew
from actors.risk.state import Risk
from config.settings import Settings
from domain.identifiers import parse_alert_id
from domain.instants import BUCKET_NS, MS, at_exchange
from domain.position.cycle import ExitReason, PositionState
from domain.risk import day, kill
from domain.risk.day import Closed, DayStops
from domain.risk.desk_view import (
    AccountFacts,
    Decision,
    DeskView,
    Funds,
    Holding,
    day_pnl_cents,
    holding_of,
    opened_session,
    with_closed,
    with_holding,
    without_holding,
)
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import lifecycle, market, operator, orders, positions, risk, session, signals
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import Effect, Effects, SetTimer, Tell

DAY_TIMER, SETTLE_TIMER, VERIFY_TIMER, ALERT_TIMER = "day_loss", "settle", "verify:", "alert:"
START_NAV_FROM = time(4)
DAILY_LOSS, END_OF_DAY = "daily_loss", "eod"
_AT_MARKET = (ExitReason.KILL, ExitReason.EOD, ExitReason.OPERATOR)


class RiskActor(Actor[Risk]):
    """Lets one intent at a time through the gates, and stops the day when it must."""

    def __init__(self, name: str, settings: Settings, is_live_armed: bool = False) -> None:
        super().__init__(name)
        self.settings = settings
        self.entry = EntryDesk(name, settings, is_live_armed)

    def initial(self) -> Risk:
        """Know nothing: every gate that needs an input refuses."""
        return Risk()

    def decide(self, state: Risk, message: Message, now: int) -> tuple[Risk, Effects]:
        """Give the next state and what is to be done."""
        state, effects = self._decide(state, message, now)
        return state, tuple(effects)

    def _decide(self, state: Risk, message: Message, now: int) -> Step:
        view = state.view
        match message:
            case signals.SignalRaised():
                return self.entry.signal(state, message, now)
            case market.ContractsOffered():
                return self.entry.offered(state, message, now)
            case market.QuoteRead():
                return self.entry.quote_read(state, message, now)
            case market.QuoteUnavailable():
                return self.entry.quote_unavailable(state, message, now)
            case orders.EntryReserved():
                return self.entry.reserved(state, message, now)
            case orders.EntryRefused():
                return self.entry.refused(state, message, now)
            case orders.RenewPermit():
                return state, renew(self.entry, state, message, now)
            case orders.WhatIfRead() | orders.WhatIfFailed():
                return state, []  # no strategy has a short leg yet, so nothing asked
            case market.SpotsChanged():
                return self._spots(state, message)
            case positions.PositionOpened():
                return self._opened(state, message, now)
            case positions.PositionChanged():
                return self._changed(state, message, now)
            case positions.PositionClosed():
                return self._closed(state, message, now)
            case positions.EntryAbandoned():
                return self._flat(replace(state, view=without_holding(view, message.intent_id)), now)
            case session.ModeChanged():
                return self._mode(state, message, now)
            case session.AccountChecked():
                facts = AccountFacts(message.port, message.account_class, message.account_matches)
                return replace(state, view=replace(view, account=facts)), []
            case session.AccountRead():
                return self._account(state, message, now)
            case session.ReconcileFinished():
                return self._start_nav(replace(state, view=replace(view, is_reconciled=True)), now)
            case session.PhaseChanged():
                return self._phase(state, message, now)
            case risk.KillRaised() | risk.KillLowered():
                view = replace(view, kill_level=message.level, kill_epoch=message.kill_epoch)
                return replace(state, view=view, asked_level=0), []
            case risk.DayLocked():
                return self._locked(state, message), []
            case risk.StartNavRecorded():
                if message.session != view.session:
                    return state, []
                return self._evaluate(replace(state, view=replace(view, start_nav_cents=message.nav_cents)), now)
            case positions.PositionDisputed():
                return state, []  # the position has asked for level 1 itself
            case lifecycle.Started():
                return self._started(state, message)
            case lifecycle.TimerFired():
                return self._timer(state, message.key, now)
            case _:
                raise TypeError(f"{self.name} does not know {type(message).__name__}")

    # -- start and timers -----------------------------------------------------------------------

    def _started(self, state: Risk, m: lifecycle.Started) -> Step:
        state = replace(state, incarnation=m.incarnation)
        ask: list[Effect] = [
            Tell("session", session.PhaseWanted(reply_to=self.name)),
            Tell("kill", risk.KillWanted(reply_to=self.name)),
            Tell("ibkr", session.ModeWanted(reply_to=self.name)),
        ]
        restored = m.restored
        if restored is None:
            return state, ask
        if not isinstance(restored, lifecycle.RiskRestored):
            raise TypeError(f"{self.name} cannot start from {type(restored).__name__}")
        view = DeskView(
            session=restored.session,
            start_nav_cents=restored.start_nav_cents,
            day_locked=restored.day_locked,
            decisions=tuple(
                Decision(
                    d.source, d.strategy, d.ticker, d.kind, d.version, d.bucket_utc, d.alert_id, d.code, d.decided_utc
                )
                for d in restored.decisions
            ),
            holdings=tuple(_unverified(r) for r in restored.reservations),
            closed=tuple(
                Closed(c.position_id, c.strategy, c.realised_cents, c.fees_cents, c.closed_utc) for c in restored.closed
            ),
            stops=DayStops(is_hard=restored.day_locked == DAILY_LOSS),
        )
        timers = [SetTimer(f"{ALERT_TIMER}{alert}", self._stale_at(alert)) for alert, _ in restored.pending_alerts]
        return replace(state, view=view), [*ask, *timers]

    def _stale_at(self, alert: str) -> int:
        """Give the instant from which gate 7 would refuse an alert; its strategy bears the name of its source."""
        name = parse_alert_id(alert)
        rules = self.settings.strategies.get(name.source)
        return name.bucket_utc + BUCKET_NS + (rules.signal_age_max_ms * MS if rules is not None else 0)

    def _timer(self, state: Risk, key: str, now: int) -> Step:
        if key.startswith(STAGE_TIMER):
            return self.entry.silence(state, key, now)
        if key.startswith(ALERT_TIMER):
            return self.entry.interrupted(state, key.removeprefix(ALERT_TIMER), now)
        if key.startswith(VERIFY_TIMER):
            return state, self._verify_flat(state, now)
        if key == DAY_TIMER:
            state, effects = self._evaluate(state, now)
            if state.view.stops.breach_utc is not None and not state.view.stops.is_hard:
                effects = [*effects, SetTimer(DAY_TIMER, now + self.settings.entry.daily_loss_confirm_ms * MS)]
            return state, effects
        if key == SETTLE_TIMER:
            return self._record_day(state, now)
        raise ValueError(f"{self.name} armed no timer {key!r}")

    # -- the desk's account and session ---------------------------------------------------------

    def _mode(self, state: Risk, m: session.ModeChanged, now: int) -> Step:
        state = replace(state, view=replace(state.view, mode=m.mode, session_epoch=m.session_epoch))
        if m.mode is not Mode.DEGRADED:
            return state, []
        watch, reason = kill.watch_loss(state.watch, now)
        return self._raise(replace(state, watch=watch), kill.NO_ENTRIES, reason)

    def _account(self, state: Risk, m: session.AccountRead, now: int) -> Step:
        funds = Funds(m.nav_cents, m.available_cents, m.day_trades_remaining, m.read_utc)
        return self._start_nav(replace(state, view=replace(state.view, funds=funds)), now)

    def _start_nav(self, state: Risk, now: int) -> Step:
        """Ask for the session's start NAV to be kept: the first reading after 04:00 of a reconciled account."""
        view = state.view
        if view.session is None or view.start_nav_cents is not None or view.funds is None or not view.is_reconciled:
            return state, []
        if min(now, view.funds.read_utc) < at_exchange(view.session, START_NAV_FROM):
            return state, []
        record = risk.RecordStartNav(session=view.session, nav_cents=view.funds.nav_cents, at_utc=view.funds.read_utc)
        return state, [Tell("desk_ledger", record)]

    def _spots(self, state: Risk, m: market.SpotsChanged) -> Step:
        spots = {s.ticker: s for s in (*state.view.spots, *m.spots)}
        watch, reason = kill.watch_spots(state.watch, m.spots)
        state = replace(state, watch=watch, view=replace(state.view, spots=tuple(spots.values())))
        return self._raise(state, kill.NO_ENTRIES, reason)

    def _raise(self, state: Risk, level: int, reason: str | None) -> Step:
        if reason is None or max(state.asked_level, state.view.kill_level or 0) >= level:
            return state, []
        raise_kill = risk.RaiseKill(level=level, reason=reason, by=self.name)
        return replace(state, asked_level=level), [Tell("kill", raise_kill)]

    # -- the day --------------------------------------------------------------------------------

    def _phase(self, state: Risk, m: session.PhaseChanged, now: int) -> Step:
        if state.view.session not in (None, m.session):
            state = replace(state, has_asked_lock=False, has_told_flat=False, has_recorded_day=False)
        view = opened_session(state.view, m.session, m.phase, m.open_utc, m.close_utc)
        state, effects = self._start_nav(replace(state, view=view), now)
        if m.phase not in (Phase.PANIC, Phase.FLATTEN, Phase.CLOSED):
            return state, effects
        if view.day_locked is None and not state.has_asked_lock:
            lock = risk.LockDay(session=m.session, reason=END_OF_DAY, at_utc=now)
            state, effects = replace(state, has_asked_lock=True), [*effects, Tell("desk_ledger", lock)]
        rules = self.settings.day
        if m.phase is Phase.FLATTEN:
            for n, before_ms in enumerate((rules.verify_flat_ms, rules.hard_stop_ms, 0)):
                effects = [*effects, SetTimer(f"{VERIFY_TIMER}{n}", m.close_utc - before_ms * MS)]
        if m.phase is Phase.CLOSED:
            effects = [*effects, SetTimer(SETTLE_TIMER, m.close_utc + rules.settlement_ms * MS)]
        state, more = self._flat(state, now)
        return state, [*effects, *more]

    def _locked(self, state: Risk, m: risk.DayLocked) -> Risk:
        if m.session != state.view.session:
            return state
        return replace(state, view=replace(state.view, day_locked=m.reason))

    def _evaluate(self, state: Risk, now: int) -> Step:
        """Evaluate the day's P&L: latch the stops and do what they say."""
        view, limits = state.view, self.settings.entry
        pnl = day_pnl_cents(view, now, limits.account_age_max_ms)
        if pnl is None or view.start_nav_cents is None or view.session is None:
            return state, []
        before, stops = view.stops, day.evaluate(view.stops, pnl, view.start_nav_cents, limits, now)
        state = replace(state, view=replace(view, stops=stops))
        effects: list[Effect] = []
        if stops.breach_utc is not None and before.breach_utc is None and not stops.is_hard:
            effects.append(SetTimer(DAY_TIMER, now + limits.daily_loss_confirm_ms * MS))
        if stops.is_hard and not before.is_hard:
            lock = risk.LockDay(session=view.session, reason=DAILY_LOSS, at_utc=now)
            text = f"Day P&L {pnl / 100:.2f} USD is at the daily loss limit; the day is locked."
            alarm = operator.Alarm(key=DAILY_LOSS, severity="high", text=text, at_utc=now)
            state = replace(state, has_asked_lock=True)
            effects += [Tell("desk_ledger", lock), Tell("notifier", alarm), Tell("web", alarm)]
            if limits.on_hard_stop == "flatten":
                effects.append(Tell("positions", positions.FlattenPosition(reason=ExitReason.KILL)))
        if stops.is_hard and day.is_at_or_below(pnl, -limits.auto_flatten_nav * view.start_nav_cents):
            reason = f"day P&L {pnl / 100:.2f} USD is below the flatten limit"
            state, more = self._raise(state, kill.FLATTEN, reason)
            effects += more
        return state, effects

    def _flat(self, state: Risk, now: int) -> Step:
        """Say that the day is flat, once; write its row when it is over."""
        view = state.view
        state, effects = self._evaluate(state, now)
        if view.holdings or view.phase not in (Phase.FLATTEN, Phase.CLOSED):
            return state, effects
        if not state.has_told_flat:
            flattened = positions.DayFlattened(at_utc=now)
            effects += [Tell(to, flattened) for to in ("notifier", "web", "journal")]
            state = replace(state, has_told_flat=True)
        if view.phase is Phase.CLOSED:
            state, more = self._record_day(state, now)
            effects += more
        return state, effects

    def _record_day(self, state: Risk, now: int) -> Step:
        view = state.view
        if state.has_recorded_day or view.session is None:
            return state, []
        sums = day.summarise(view.closed, view.stops)
        row = risk.RecordDay(
            session=view.session,
            trades=sums.trades,
            wins=sums.wins,
            losses=sums.losses,
            realised_cents=sums.realised_cents,
            fees_cents=sums.fees_cents,
            drawdown_cents=sums.drawdown_cents,
            at_utc=now,
        )
        return replace(state, has_recorded_day=True), [Tell("desk_ledger", row)]

    def _verify_flat(self, state: Risk, now: int) -> list[Effect]:
        held = ", ".join(f"{h.qty} {h.contract.label}" for h in state.view.holdings)
        if not held:
            return []
        alarm = operator.Alarm(key="not_flat", severity="high", text=f"Not flat near the close: {held}.", at_utc=now)
        return [Tell("notifier", alarm), Tell("web", alarm)]

    # -- positions ------------------------------------------------------------------------------

    def _opened(self, state: Risk, m: positions.PositionOpened, now: int) -> Step:
        # Marked at cost until the position says otherwise.
        holding = Holding(
            m.intent_id, m.contract, m.source, m.strategy, m.direction, m.qty, m.cost_cents, False, 0, m.opened_utc
        )
        state, effects = self._evaluate(replace(state, view=with_holding(state.view, holding)), now)
        return state, [*effects, *self._flatten_again(state, m.contract.con_id, None)]

    def _changed(self, state: Risk, m: positions.PositionChanged, now: int) -> Step:
        if m.state is PositionState.FLAT and holding_of(state.view, m.intent_id) is None:
            return state, []
        holding = Holding(
            intent_id=m.intent_id,
            contract=m.contract,
            source=m.source,
            strategy=m.strategy,
            direction=m.direction,
            qty=m.qty,
            cost_cents=m.cost_cents,
            is_pending=m.state is PositionState.PENDING_ENTRY and m.qty == 0,
            unrealised_cents=0 if m.qty == 0 else m.unrealised_cents,
            at_utc=m.at_utc,
            realised_cents=m.realised_cents,
            fees_cents=m.fees_cents,
        )
        old = holding_of(state.view, m.intent_id)
        if holding.is_pending and old is not None:
            # Nothing is filled yet: what the entry may still cost stays counted.
            holding = replace(holding, qty=old.qty, cost_cents=old.cost_cents)
        state, effects = self._evaluate(replace(state, view=with_holding(state.view, holding)), now)
        if m.qty > 0:
            effects = [*effects, *self._flatten_again(state, m.contract.con_id, m.exit_reason)]
        return state, effects

    def _closed(self, state: Risk, m: positions.PositionClosed, now: int) -> Step:
        closed = Closed(m.position_id, m.strategy, m.realised_cents, m.fees_cents, m.closed_utc)
        return self._flat(replace(state, view=with_closed(state.view, m.intent_id, closed)), now)

    def _flatten_again(self, state: Risk, con_id: int, exit_reason: ExitReason | None) -> list[Effect]:
        """Tell a position that is open against a standing order to flatten: it may have missed it while restarting."""
        stopped = state.view.stops.is_hard and self.settings.entry.on_hard_stop == "flatten"
        if exit_reason in _AT_MARKET or not (stopped or state.view.kill_level == kill.FLATTEN):
            return []
        to = f"position:{self.settings.desk}:{con_id}"
        return [Tell(to, positions.FlattenPosition(reason=ExitReason.KILL))]


def _unverified(r: lifecycle.Reservation) -> Holding:
    """Count a reservation as pending; what it is worth is not known until its position speaks."""
    return Holding(
        intent_id=r.intent_id,
        contract=r.contract,
        source=r.source,
        strategy=r.strategy,
        direction=r.direction,
        qty=r.qty,
        cost_cents=r.qty * r.limit_ticks * r.contract.multiplier,
        is_pending=True,
        unrealised_cents=None,
        at_utc=0,
    )
