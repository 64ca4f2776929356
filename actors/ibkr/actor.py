"""The broker session of one desk: connection modes, reconciliation, and every order on its way to the broker and back.

It never blocks: the port dials, reads and writes. What is asked of the port has a timer that ends in a message.
"""

from __future__ import annotations

from actors.ibkr import orders as book
from actors.ibkr.settlement import settle
from actors.ibkr.state import IbkrState, Link, Step, Wiring, halt, replace, start_read, with_position
from config.settings import Settings
from domain.instants import MS
from domain.instruments import Side
from domain.orders.table import Order, Stage
from domain.session.modes import IGNORED, TRANSITIONS, Event, Mode, first_epoch, gateway_of, redial_utc
from messages import operator, orders, positions, risk, session
from messages.base import Message
from messages.lifecycle import IbkrRestored, Started, TimerFired
from supervision.actor import Actor
from supervision.effects import CancelTimer, Effect, Effects, SetTimer, Tell

MODE_READERS = ("risk", "positions", "quotes", "notifier", "web")


class IbkrActor(Actor[IbkrState]):
    """`ibkr:<desk>`: owns the mode, the session epoch and the live orders of one account."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        broker = settings.broker
        desk = name.partition(":")[2]
        self._wiring = Wiring(
            name=name,
            desk=desk,
            port=f"port:ibkr:{desk}",
            rules=settings.connection,
            trading_mode=settings.trading_mode,
            wanted_port=broker.paper_port if settings.trading_mode == "paper" else broker.live_port,
            gateways=len(broker.gateways),
        )

    def initial(self) -> IbkrState:
        """Start without a session."""
        return IbkrState()

    def decide(self, state: IbkrState, message: Message, now: int) -> tuple[IbkrState, Effects]:
        """Take one message; an unknown one is a bug."""
        w = self._wiring
        match message:
            case Started():
                return _started(w, state, message, now)
            case TimerFired(key=key):
                return _timer(w, state, key, now)
            case (
                session.LinkUp()
                | session.LinkFailed()
                | session.LinkLost()
                | session.LinkRestored()
                | session.FarmNotice()
            ):
                return _link(w, state, message, now)
            case session.BrokerRead() | session.BrokerReadFailed() | session.Reconciled():
                return _reading(w, state, message, now)
            case orders.SubmitOrder():
                return book.submit(w, state, message, now)
            case orders.ModifyOrder():
                return book.modify(w, state, message, now)
            case orders.CancelOrder():
                return book.cancel(w, state, message, now)
            case orders.QueryOrder(order_ref=ref, reply_to=reply_to):
                return book.query(w, state, ref, reply_to, now)
            case orders.RequestWhatIf(request_id=request_id, reply_to=reply_to):
                why = "this port has no what-if"
                return state, (Tell(reply_to, orders.WhatIfFailed(request_id=request_id, why=why)),)
            case orders.OrderSent():
                return book.sent(state, message)
            case orders.OrderDenied():
                return book.denied(state, message)
            case orders.StatusHeard():
                return book.status_heard(w, state, message, now)
            case orders.ExecutionHeard():
                return book.execution_heard(w, state, message, now)
            case orders.CommissionHeard(exec_id=exec_id, revision=revision, commission_cents=cents):
                fee = orders.RecordCommission(exec_id=exec_id, revision=revision, commission_cents=cents)
                return state, (Tell("desk_ledger", fee),)
            case orders.ErrorHeard():
                return book.error_heard(w, state, message, now)
            case positions.BrokerPositionHeard():
                return _position_heard(w, state, message, now)
            case positions.PositionDisputed():
                return start_read(w, state, now)
            case session.AccountRead():
                return replace(state, account=message), (Tell("risk", message), Tell("web", message))
            case session.ModeWanted(reply_to=reply_to):
                return state, _what_is_known(state, reply_to, now)
            case session.ReconcileWanted():
                return start_read(w, state, now)
            case risk.KillRaised() | risk.KillLowered():
                return _kill(w, state, message, now)
            case session.PhaseChanged():
                return state, ()
        raise TypeError(f"{self.name} does not know {type(message).__name__}")


# -- start, timers ------------------------------------------------------------------------------


def _started(w: Wiring, state: IbkrState, message: Started, now: int) -> Step:
    restored = message.restored.orders if isinstance(message.restored, IbkrRestored) else ()
    table = tuple(
        Order(
            order_ref=ref, con_id=con_id, owner=w.position(con_id), side=Side.SELL if is_exit else Side.BUY,
            is_exit=is_exit, qty=qty, stage=Stage.IN_DOUBT, handed_utc=now,
        )
        for ref, con_id, is_exit, qty in restored
    )  # fmt: skip
    state = replace(
        state,
        session_epoch=first_epoch(message.run_n, message.incarnation),
        lost_utc=now,
        table=table,
        seen=frozenset(order.order_ref for order in table),
        con_ids=tuple(sorted({order.con_id for order in table})),
    )
    told = _tell_mode(state, "started", now)
    state, effects = _dial(w, state, now)
    return state, (Tell("kill", risk.KillWanted(reply_to=w.name)), *told, *effects)


def _timer(w: Wiring, state: IbkrState, key: str, now: int) -> Step:
    kind, _, subject = key.partition(":")
    match kind:
        case "dial" if state.link is Link.DIALLING and subject == str(state.session_epoch):
            return _pause(w, state, now, is_id_in_use=False)
        case "redial" if state.link is Link.DOWN and subject == str(state.session_epoch):
            return _dial(w, state, now)
        case "cut" if state.link is Link.CUT and subject == str(state.session_epoch):
            return _dial(w, state, now)
        case "read" if state.reading is not None and subject == str(state.reading):
            return _lose(w, state, "the read-back was not answered", now)
        case "reconcile" if state.read is not None and subject == str(state.read.read_n):
            return start_read(w, replace(state, read=None), now)
        case "warm" if subject == str(state.warm_n):
            return _move(w, state, Event.STABLE, "stable for the whole warm-up", now)
        case "inactive":
            return book.inactive_due(w, state, subject, now)
        case "reread" | "agree":
            return start_read(w, state, now)
    return state, ()


# -- the link -----------------------------------------------------------------------------------


def _dial(w: Wiring, state: IbkrState, now: int) -> Step:
    epoch = state.session_epoch + 1
    gateway_n = gateway_of(w.rules, state.lost_utc, now, state.gateway_n, w.gateways)
    limit = SetTimer(f"dial:{epoch}", now + 2 * w.rules.connect_timeout_ms * MS)
    dial = Tell(w.port, session.Dial(session_epoch=epoch, gateway_n=gateway_n))
    return replace(state, session_epoch=epoch, link=Link.DIALLING), (dial, limit)


def _pause(w: Wiring, state: IbkrState, now: int, is_id_in_use: bool) -> Step:
    due = redial_utc(w.rules, state.lost_utc, now, is_id_in_use)
    return replace(state, link=Link.DOWN), (SetTimer(f"redial:{state.session_epoch}", due),)


def _link(w: Wiring, state: IbkrState, message: Message, now: int) -> Step:
    if getattr(message, "session_epoch", None) != state.session_epoch:
        return state, ()
    match message:
        case session.LinkUp():
            return _up(w, state, message, now)
        case session.LinkFailed(is_id_in_use=is_in_use, why=why) if state.link is Link.DIALLING:
            state, effects = _pause(w, state, now, is_id_in_use=is_in_use)
            text = f"The IB Gateway cannot be reached: {why.rstrip('.')}. It is dialled again by itself."
            alarm = operator.Alarm(key="gateway", severity="warning", text=text, at_utc=now)
            return state, (Tell("notifier", alarm), *effects)
        case session.LinkLost(cause=cause, is_socket_up=True) if state.link in (Link.UP, Link.CUT):
            return _cut(w, state, cause, now)
        case session.LinkLost(cause=cause) if state.link is not Link.DOWN:
            return _lose(w, state, cause, now)
        case session.LinkRestored() if state.link in (Link.UP, Link.CUT):
            # what happened while the server link was gone is never told again, so all is read and doubted afresh
            state = replace(state, link=Link.UP, is_reconciled=False, reading=None, read=None)
            state, effects = _move(w, book.doubt_all(state), Event.RESTORED, "server link restored", now)
            state, more = start_read(w, state, now)
            return state, (*effects, *more)
        case session.FarmNotice(text=text):
            return _move(w, state, Event.DISTURBED, text, now)
    return state, ()


def _up(w: Wiring, state: IbkrState, fact: session.LinkUp, now: int) -> Step:
    if state.link is not Link.DIALLING:
        return state, ()
    facts = session.AccountChecked(
        port=fact.port, account_class=fact.account_class, account_matches=fact.account_matches
    )
    checked = Tell("risk", facts)
    is_right = fact.port == w.wanted_port and fact.account_class == w.trading_mode and fact.account_matches
    state = replace(state, gateway_n=fact.gateway_n, checked=facts)
    if not is_right:
        text = (
            f"gateway {fact.gateway_n} is not the {w.trading_mode} account on port {w.wanted_port}"
            f" (port {fact.port}, account {fact.account_class}); nothing is traded on it"
        )
        return replace(state, link=Link.REFUSED), (checked, *halt(w, "wrong_account", text, now))
    latch = risk.LatchKill(level=state.kill_level, kill_epoch=state.kill_epoch)
    state, effects = start_read(w, replace(state, link=Link.UP), now)
    return state, (checked, Tell(w.port, latch), *effects)


def _cut(w: Wiring, state: IbkrState, cause: str, now: int) -> Step:
    """Wait on a socket that stayed up; after the failover time dial all the same."""
    if state.link is Link.CUT:
        return state, ()
    state, effects = _unlinked(w, state, cause, now)
    limit = SetTimer(f"cut:{state.session_epoch}", now + w.rules.gateway_failover_ms * MS)
    return replace(state, link=Link.CUT), (*effects, limit)


def _lose(w: Wiring, state: IbkrState, cause: str, now: int) -> Step:
    state, effects = _unlinked(w, state, cause, now)
    close = Tell(w.port, session.CloseLink(session_epoch=state.session_epoch))
    state, more = _pause(w, state, now, is_id_in_use=False)
    return state, (*effects, close, *more)


def _unlinked(w: Wiring, state: IbkrState, cause: str, now: int) -> Step:
    lost_utc = now if state.is_reconciled else state.lost_utc
    state = book.doubt_all(replace(state, lost_utc=lost_utc, is_reconciled=False, reading=None, read=None))
    return _move(w, state, Event.LOST, cause, now)


# -- modes --------------------------------------------------------------------------------------


def _move(w: Wiring, state: IbkrState, event: Event, cause: str, now: int) -> Step:
    mode = TRANSITIONS.get((state.mode, event))
    if mode is None:
        assert (state.mode, event) in IGNORED
        return state, ()
    is_changed = mode is not state.mode
    effects: list[Effect] = [CancelTimer(f"warm:{state.warm_n}")]
    state = replace(state, mode=mode, mode_n=state.mode_n + is_changed, warm_n=state.warm_n + 1)
    if mode is Mode.WARMUP:
        effects.append(SetTimer(f"warm:{state.warm_n}", now + w.rules.warm_up_ms * MS))
    if is_changed:
        effects += _tell_mode(state, cause, now)
    return state, tuple(effects)


def _tell_mode(state: IbkrState, cause: str, now: int) -> Effects:
    changed = session.ModeChanged(
        mode=state.mode, mode_n=state.mode_n, session_epoch=state.session_epoch, cause=cause, at_utc=now
    )
    return tuple(Tell(role, changed) for role in MODE_READERS)


def _what_is_known(state: IbkrState, reply_to: str, now: int) -> Effects:
    """Tell one who has just started what the others were told as it happened."""
    known: list[Message] = [
        session.ModeChanged(
            mode=state.mode, mode_n=state.mode_n, session_epoch=state.session_epoch, cause="asked", at_utc=now
        )
    ]
    known += [fact for fact in (state.checked, state.account) if fact is not None]
    if state.is_reconciled:
        known.append(
            session.ReconcileFinished(
                session_epoch=state.session_epoch, positions=state.positions, read_utc=state.read_utc
            )
        )
    return tuple(Tell(reply_to, fact) for fact in known)


# -- read-back and reconciliation ---------------------------------------------------------------


def _reading(w: Wiring, state: IbkrState, message: Message, now: int) -> Step:
    if getattr(message, "session_epoch", None) != state.session_epoch:
        return state, ()
    match message:
        case session.BrokerRead(read_n=n) if n == state.reading:
            held = tuple(sorted((p.contract.con_id, p.qty) for p in message.positions))
            state = replace(state, reading=None, read=message, positions=held)
            ask = Tell("desk_ledger", session.Reconcile(session_epoch=state.session_epoch, read=message))
            limit = SetTimer(f"reconcile:{n}", now + w.rules.read_back_ms * MS)
            return state, (ask, limit)
        case session.BrokerReadFailed(read_n=n, why=why) if n == state.reading:
            return _lose(w, state, f"read-back failed: {why}", now)
        case session.Reconciled() if state.read is not None:
            return _reconciled(w, state, state.read, message, now)
    return state, ()


def _reconciled(w: Wiring, state: IbkrState, read: session.BrokerRead, fact: session.Reconciled, now: int) -> Step:
    is_first = not state.is_reconciled
    state = replace(state, read=None, is_reconciled=True)
    state, effects = settle(w, state, read, now)
    unwanted = set(fact.cancel_refs) if is_first else set()
    entries = {o.order_ref for o in state.table if not o.is_exit} if state.kill_level else set()
    done = {e.message.order_ref for e in effects if isinstance(e, Tell) and isinstance(e.message, orders.WithdrawOrder)}
    gone = tuple(o for o in state.table if o.order_ref in (unwanted | entries) - done and o.is_under_way)
    state, cancelled = book.withdraw_all(w, state, gone)
    unknown = tuple(ref for ref in fact.cancel_refs if is_first and ref not in {o.order_ref for o in state.table})
    cancelled += tuple(
        Tell(w.port, orders.WithdrawOrder(order_ref=ref, session_epoch=state.session_epoch)) for ref in unknown
    )
    state, alarms = _foreign(w, state, fact, now)
    # con ids as heard since the read-back began may be newer than it: the latest word goes out
    agreed = tuple(Tell(w.position(c), _position_read(state, c, read.read_utc)) for c in state.con_ids)
    finished = session.ReconcileFinished(
        session_epoch=state.session_epoch, positions=state.positions, read_utc=read.read_utc
    )
    state = replace(state, read_utc=read.read_utc)
    state, moved = _move(w, state, Event.RECONCILED, "reconciled", now)
    state, again = _read_on(w, state, now)
    # Only a link's first: a position asks about what it does not know on each, and every question is a read-back.
    told = (Tell("positions", finished), Tell("risk", finished)) if is_first else ()
    return state, (*effects, *cancelled, *alarms, *agreed, *moved, *told, *again)


def _read_on(w: Wiring, state: IbkrState, now: int) -> Step:
    return start_read(w, state, now) if state.is_read_wanted or state.queries else (state, ())


def _foreign(w: Wiring, state: IbkrState, fact: session.Reconciled, now: int) -> Step:
    """Raise what is not ours, or does not agree, once for as long as it stays the same."""
    seen = (
        *(f"position {p.contract.label} {p.qty:+d}" for p in fact.foreign_positions),
        *(f"order {ref or 'without a ref'}" for ref in fact.foreign_orders),
        *(f"mismatch {text}" for text in fact.mismatches),
    )
    if not seen or seen == state.foreign:
        return replace(state, foreign=seen), ()
    text = f"the broker's book is not ours: {'; '.join(seen)}"
    return replace(state, foreign=seen), halt(w, "foreign", text, now)


def _position_heard(w: Wiring, state: IbkrState, fact: positions.BrokerPositionHeard, now: int) -> Step:
    con_id = fact.contract.con_id
    state = with_position(state, con_id, fact.qty)
    if con_id not in state.con_ids:
        return state, ()
    told = Tell(w.position(con_id), _position_read(state, con_id, now))
    return state, (told, CancelTimer(f"agree:{con_id}"))


def _position_read(state: IbkrState, con_id: int, read_utc: int) -> positions.BrokerPositionRead:
    return positions.BrokerPositionRead(con_id=con_id, qty=state.position(con_id), read_utc=read_utc)


# -- kill ---------------------------------------------------------------------------------------


def _kill(w: Wiring, state: IbkrState, message: risk.KillRaised | risk.KillLowered, now: int) -> Step:
    state = replace(state, kill_level=message.level, kill_epoch=message.kill_epoch)
    latch = Tell(w.port, risk.LatchKill(level=message.level, kill_epoch=message.kill_epoch))
    if message.level == 0:
        return state, (latch,)
    entries = tuple(o for o in state.table if not o.is_exit and o.is_under_way)
    state, effects = book.withdraw_all(w, state, entries)
    if message.level == 2 and state.link is Link.DOWN and w.gateways > 1:
        state, more = _dial(w, replace(state, gateway_n=(state.gateway_n + 1) % w.gateways), now)
        effects += more
    return state, (latch, *effects)
