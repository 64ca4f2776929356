"""PositionActor: the life of one desk's position in one contract, `position:<desk>:<conId>`.

Hears: lifecycle Started, TimerFired; orders OpenPosition and everything the broker session and the ledger say of its
orders; positions BrokerPositionRead, ExitHeld, FlattenPosition; market QuoteChanged, QuoteRead, QuoteUnavailable;
session PhaseChanged, ModeChanged, ReconcileFinished; risk KillRaised, KillLowered; signals ReversalRaised.
Says: orders to ibkr, records to desk_ledger, what became of it to risk, web and notifier, disputes to ibkr and kill.
State: `PositionRun`; on a crash the ledger gives fills and intents back and the broker is asked for the rest.
Messages change facts; then one pass (`_steer`) brings the orders to what the facts want. Nothing is queued.
"""

from __future__ import annotations

from msgspec.structs import replace

from actors.position import entry
from actors.position import exit as exit_
from actors.position import reports as says
from actors.position.facts import (
    asked_again,
    booked,
    broker_held,
    charged,
    checked,
    denied,
    found,
    missing,
    phase_changed,
    query,
    quoted,
    rejected,
    settle_orders,
    steer_cancels,
    steer_flat,
)
from actors.position.recovery import restored
from actors.position.state import PositionRun, Turn, Wiring
from config.settings import Settings
from domain.orders.live_order import Stage, acknowledged, ended
from domain.position.cycle import ExitReason, PositionState
from domain.position.exits import Wakes, Wanted, wakes_of
from domain.session.modes import ALLOWS_EXITS, Mode
from domain.session.phases import Phase
from messages import lifecycle, market, orders, positions, risk, session, signals
from messages.base import Message
from supervision.actor import Actor
from supervision.effects import Effects, Retire


class PositionActor(Actor[PositionRun]):
    """The position of one desk in one contract."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        _, desk, con_id = name.split(":")
        self._wiring = Wiring(
            name=name, desk=desk, con_id=int(con_id), exits=settings.exits, connection=settings.connection,
            tickers=settings.ticker_rules,
        )  # fmt: skip

    def initial(self) -> PositionRun:
        """Give the state before `Started`: flat, and nothing known of the session."""
        return PositionRun()

    def wakes_on(self, state: PositionRun) -> Wakes | None:
        """Give what would wake a position that is held and has no order under way; `None`: anything may."""
        holding = state.holding
        if state.intent is None or holding is None or state.cycle is not PositionState.OPEN:
            return None
        if state.entry is not None or state.exit is not None:
            return None
        ticker = self._wiring.tickers[state.intent.contract.ticker]
        return wakes_of(state.watch, holding, self._wiring.exits, ticker)

    def decide(self, state: PositionRun, message: Message, now: int) -> tuple[PositionRun, Effects]:
        """Take note of one fact or command, then steer entry, exit and end to what is wanted."""
        turn = Turn(self._wiring, state, now)
        _hear(turn, message)
        _steer(turn)
        says.news(turn, state)
        # One that was woken only to be told something has no intent and stays: retired, the next word would wake it.
        if turn.s.phase is Phase.CLOSED and turn.s.cycle is PositionState.FLAT and turn.s.intent is not None:
            turn.effects.append(Retire())
        return turn.s, tuple(turn.effects)


def _steer(turn: Turn) -> None:
    settle_orders(turn)
    entry.steer(turn)
    exit_.steer(turn)
    steer_cancels(turn)
    steer_flat(turn)


def _hear(turn: Turn, message: Message) -> None:  # noqa: PLR0915 - one case per message
    match message:
        case lifecycle.Started():
            restored(turn, message.restored)
            turn.tell(session.PhaseWanted(reply_to=turn.w.name), "session")
            turn.tell(risk.KillWanted(reply_to=turn.w.name), "kill")
            turn.tell(session.ModeWanted(reply_to=turn.w.name), "ibkr")
        case lifecycle.TimerFired():
            _timer(turn, message.key)
        case orders.OpenPosition():
            entry.opened(turn, message)
        case orders.PermitRenewed():
            entry.permitted(turn, message)
        case orders.PermitRefused():
            pass  # the entry stays at the limit it has
        case orders.OrderSent() | orders.OrderAcknowledged() | orders.OrderClosed() | orders.ModifyRefused():
            _order_news(turn, message)
        case orders.OrderDenied():
            denied(turn, message)
        case orders.OrderRejected():
            rejected(turn, message)
        case orders.OrderFound():
            found(turn, message)
        case orders.OrderNotFound():
            missing(turn, message)
        case orders.FillRecorded():
            booked(turn, message)
        case orders.CommissionRecorded():
            charged(turn, message)
        case orders.ExitIntentRecorded():
            exit_.recorded(turn, message.order_ref, message.tier, in_time=True)
        case positions.BrokerPositionRead():
            broker_held(turn, message.qty, message.read_utc)
        case positions.ExitHeld():
            _held(turn, message)
        case positions.FlattenPosition():
            exit_.want(turn, Wanted(message.reason))
        case market.QuoteChanged() | market.QuoteRead():
            quoted(turn, message.quote, message.spot)
        case market.QuoteUnavailable():
            quoted(turn, message.last, None)
        case session.PhaseChanged():
            phase_changed(turn, message.phase)
        case session.ModeChanged():
            _mode(turn, message)
        case session.AccountChecked() | session.AccountRead():
            pass  # told to whoever asks for the mode; the account is the risk actor's concern
        case session.ReconcileFinished():
            _reconciled(turn, message)
        case risk.KillRaised() | risk.KillLowered():
            turn.put(kill_level=message.level)
            if isinstance(message, risk.KillRaised) and message.level >= 2:
                exit_.want(turn, Wanted(ExitReason.KILL))
        case signals.ReversalRaised():
            _reversal(turn, message)
        case _:
            raise TypeError(f"{type(message).__name__} is no message for a position")


def _order_news(
    turn: Turn, news: orders.OrderSent | orders.OrderAcknowledged | orders.OrderClosed | orders.ModifyRefused
) -> None:
    for side in ("entry", "exit"):
        order = turn.s.entry if side == "entry" else turn.s.exit
        if order is None or order.ref != news.order_ref or order.stage is Stage.RECORDING:
            continue
        match news:
            case orders.OrderSent():
                turn.put(**{side: replace(order, reached=True)})
            case orders.OrderAcknowledged():
                turn.disarm(f"ack:{order.ref}")
                turn.put(**{side: acknowledged(order)})
            case orders.OrderClosed() if order.cancel_wanted or news.filled_qty_total >= order.qty:
                turn.put(**{side: ended(order, news.filled_qty_total)})
                turn.arm(f"query:{order.ref}", turn.w.exits.record_wait_ms)
            case orders.OrderClosed():  # ended short and not by us: believe executions, so ask
                query(turn, order.ref)
            case orders.ModifyRefused() if side == "exit":
                exit_.change_refused(turn, order)
        return
    if isinstance(news, orders.OrderAcknowledged) and not turn.s.book.filled(news.order_ref):
        query(turn, news.order_ref)  # an order that was thought over shows a sign of life


def _timer(turn: Turn, key: str) -> None:
    kind, _, rest = key.partition(":")
    match kind:
        case "ack":
            asked_again(turn, rest, only=Stage.SENT)
        case "query":
            asked_again(turn, rest, only=Stage.UNKNOWN)
        case "cancel":
            asked_again(turn, rest, only=Stage.CANCELLING)
        case "record" | "tier":
            ref, _, tier = rest.rpartition(":")
            if kind == "record":
                exit_.recorded(turn, ref, int(tier), in_time=False)
            elif exit_.tier_due(turn, ref, int(tier)):
                asked_again(turn, ref, only=Stage.WORKING)
        case "entry_step":
            entry.step_due(turn)
        case "entry_cancel" | "entry_deadline":
            entry.give_up(turn)
        case "slow":
            exit_.slow_check(turn)
        case "agree":
            checked(turn)
        case "fees" | "retry":
            pass  # the wait is over: steering looks again
        case _:
            raise ValueError(f"no timer is called {key}")


def _held(turn: Turn, message: positions.ExitHeld) -> None:
    order = turn.s.exit
    if message.mode in (Mode.DATA_ONLY, Mode.DEGRADED):
        turn.put(is_link_up=False)
    if order is None or order.ref != message.order_ref:
        return
    if order.reached or order.stage is not Stage.SENT:
        turn.put(exit=replace(order, stage=Stage.UNKNOWN, change=None))
        turn.arm(f"query:{order.ref}", turn.w.connection.query_wait_ms)
    else:
        turn.disarm(f"ack:{order.ref}")
        turn.put(exit=None)
    exit_.try_later(turn, turn.w.exits.ack_wait_ms)


def _mode(turn: Turn, message: session.ModeChanged) -> None:
    was_up, is_up = turn.s.is_link_up, message.mode in ALLOWS_EXITS
    turn.put(is_link_up=is_up)
    if is_up or was_up is False:
        return
    entry.give_up(turn)  # after an outage the intent is no longer wanted
    if turn.s.entry is not None:
        turn.put(entry=replace(turn.s.entry, stage=Stage.UNKNOWN))
    if turn.s.exit is not None:
        was_sent = turn.s.exit.stage is not Stage.RECORDING
        turn.put(exit=replace(turn.s.exit, stage=Stage.UNKNOWN, change=None) if was_sent else None)


def _reconciled(turn: Turn, message: session.ReconcileFinished) -> None:
    turn.put(is_link_up=True, retry_utc=0)
    for order in (turn.s.entry, turn.s.exit):
        if order is not None and order.stage is Stage.UNKNOWN:
            query(turn, order.ref)
    qty = next((qty for con_id, qty in message.positions if con_id == turn.w.con_id), 0)
    broker_held(turn, qty, message.read_utc)


def _reversal(turn: Turn, message: signals.ReversalRaised) -> None:
    intent = turn.s.intent
    if intent is None or (message.source, message.ticker) != (intent.source, intent.contract.ticker):
        return
    if message.direction == -intent.direction and turn.s.book.held > 0:
        exit_.want(turn, Wanted(ExitReason.REVERSAL))
