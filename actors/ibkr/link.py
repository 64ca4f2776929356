"""The link and the mode: dials, losses and recoveries, and what the desk may do meanwhile."""

from __future__ import annotations

from math import gcd
from typing import Final

from actors import gateway_link
from actors.ibkr.orders import withdraw_all
from actors.ibkr.preopen import WEEKLY_LOGIN
from actors.ibkr.read_back import forget_read, start_read
from actors.ibkr.state import IBKRState, Timer, Wiring, alarm, halt
from domain.alarm import Severity
from domain.instants import MS
from domain.keyed import Keyed
from domain.orders.combo import COMBO_CON_ID
from domain.orders.table import Order, OrderStage, Share, Table, doubt_sent, table_of
from domain.risk.kill import KillLevel
from domain.session import dialling, gateway_health
from domain.session.dialling import LinkState
from domain.session.gateway_health import is_weekly_login_due
from domain.session.modes import MODES, Mode, ModeEvent
from domain.units import Qty
from messages import broker, risk, session
from messages.lifecycle import Started
from messages.restored import IbkrRestored, OwnOrder
from supervision.turn import Turn

ID_TAKEN: Final = (
    "Another program, perhaps a second supervisor, is logged in with it: end that one, or give this one its own in"
    " broker.client_ids."
)


def start(wiring: Wiring, turn: Turn[IBKRState], message: Started) -> None:
    """Doubt every order that may still live at the broker, and dial."""
    state = turn.state
    if isinstance(message.restored, IbkrRestored):
        state.table = restored(wiring, turn, message.restored.orders)
        state.used_refs = Keyed((share.order_ref, share.order_ref) for order in state.table for share in order.shares)
        state.con_ids = tuple(sorted({con_id for order in state.table for con_id in order.con_ids}))
    turn.tell("kill", risk.RequestKillLevel(reply_to=turn.name))
    turn.tell("session", session.RequestPhase(reply_to=turn.name))
    state.link = dialling.begin(message.run_n, message.incarnation, turn.now)
    turn.publish(_mode_changed(turn, "started"))
    gateway_link.follow(turn, wiring.port, dialling.dial(state.link, wiring.rules, wiring.gateways, turn.now))


def restored(wiring: Wiring, turn: Turn[IBKRState], known: tuple[OwnOrder, ...]) -> Table:
    """Return the orders that may still live, in doubt; the legs of a combination are one order at the broker."""
    refs = dict.fromkeys(own.combo_ref or own.order_ref for own in known)
    groups = [[own for own in known if ref in (own.combo_ref, own.order_ref)] for ref in refs]
    return table_of(_restored_order(wiring, turn, ref, owns) for ref, owns in zip(refs, groups, strict=True))


def _restored_order(wiring: Wiring, turn: Turn[IBKRState], order_ref: str, owns: list[OwnOrder]) -> Order:
    first, qty = owns[0], Qty(gcd(*(own.qty for own in owns)))
    legs = tuple(
        Share(own.order_ref, own.con_id, wiring.position(own.con_id), own.side, own.qty // qty)
        for own in owns
        if own.combo_ref
    )
    return Order(
        order_ref=order_ref, con_id=COMBO_CON_ID if legs else first.con_id, owner=wiring.position(first.con_id),
        side=first.side, is_exit=first.is_exit, qty=qty, stage=OrderStage.IN_DOUBT, handed_utc=turn.now, legs=legs,
    )  # fmt: skip


# -- the link -----------------------------------------------------------------------------------


def on_link_up(wiring: Wiring, turn: Turn[IBKRState], fact: broker.LinkUp) -> None:
    """Check port and account; then tell the port the kill level and read the broker back."""
    state = turn.state
    is_right = fact.port == wiring.wanted_port and fact.account_class is wiring.account_class and fact.account_matches
    link = dialling.connect(state.link, fact.gateway_n, is_right=is_right)
    if link is None:
        return
    gateway_link.follow(turn, wiring.port, link)
    state.account_fault, state.account_key = "", fact.account_key
    state.checked = session.AccountChecked(
        port=fact.port, account_class=fact.account_class, account_matches=fact.account_matches
    )
    turn.publish(state.checked)
    if not is_right:
        text = (
            f"gateway {fact.gateway_n} is not the {wiring.account_class} account on port {wiring.wanted_port}"
            f" (port {fact.port}, account {fact.account_class}) that this desk trades; nothing is traded on it. Log it"
            " in to that one, or name another by broker.account_env"
        )
        halt(turn, "wrong_account", text)
        return
    turn.tell(wiring.port, broker.LatchKill(level=state.kill_level, kill_epoch=state.kill_epoch))
    start_read(wiring, turn)


def on_link_failed(wiring: Wiring, turn: Turn[IBKRState], fact: broker.LinkFailed) -> None:
    """Page a person, and dial again after a pause."""
    link = dialling.fail(turn.state.link, wiring.rules, turn.now, is_id_in_use=fact.is_id_in_use)
    if link is None:
        return
    state = turn.state
    state.health = gateway_health.after_error(state.health, state.link.dial_n, fact.why)
    login = f" {WEEKLY_LOGIN}" if is_weekly_login_due(turn.now) else ""
    taken = f" {ID_TAKEN}" if fact.is_id_in_use else ""
    text = f"No session with the IB Gateway: {fact.why.rstrip('.')}.{taken} Retrying.{login}"
    alarm(turn, "gateway", Severity.WARNING, text)
    gateway_link.follow(turn, wiring.port, link)


def lose(wiring: Wiring, turn: Turn[IBKRState], cause: str, *, is_socket_up: bool = False) -> None:
    """Close the link, or wait on a socket that stayed up; every order whose bytes left is in doubt."""
    state = turn.state
    was_of_use = state.is_reconciled or state.exits_go_on
    link = dialling.lose(
        state.link, wiring.rules, wiring.gateways, turn.now, is_socket_up=is_socket_up, was_of_use=was_of_use
    )
    if link is None:
        return
    state.health = gateway_health.after_error(state.health, state.link.dial_n, cause)
    _forget_truth(wiring, turn, ModeEvent.LOST, cause)
    if link.state is LinkState.DOWN:
        turn.tell(wiring.port, broker.CloseLink(session_epoch=link.session_epoch))
    gateway_link.follow(turn, wiring.port, link)


def on_link_restored(wiring: Wiring, turn: Turn[IBKRState]) -> None:
    """Read and doubt everything afresh: what happened while the server link was gone is never reported again."""
    state = turn.state
    link = dialling.restore(state.link)
    if link is None:
        return
    gateway_link.follow(turn, wiring.port, link)
    _forget_truth(wiring, turn, ModeEvent.RESTORED, "server link restored")
    start_read(wiring, turn)


def suspend(wiring: Wiring, turn: Turn[IBKRState], cause: str) -> None:
    """Stop entries and exits on a link that stands: what an exit needs to know cannot be read on it."""
    _forget_truth(wiring, turn, ModeEvent.LOST, cause)


def stand_down(wiring: Wiring, turn: Turn[IBKRState], cause: str) -> None:
    """Let no entry leave until the broker has been read and the warm-up is over, as after a dial; exits go on."""
    turn.state.is_reconciled = False
    forget_read(turn)
    change_mode(wiring, turn, ModeEvent.STOOD_DOWN, cause)
    start_read(wiring, turn)


def _forget_truth(wiring: Wiring, turn: Turn[IBKRState], event: ModeEvent, cause: str) -> None:
    state = turn.state
    state.is_known = state.is_reconciled = False
    forget_read(turn)
    state.table = doubt_sent(state.table, state.next_read_n)
    change_mode(wiring, turn, event, cause)
    if state.exits_go_on:  # the mode of a desk that stands down stays, but it means a lost link now
        state.exits_go_on = False
        state.mode_n += 1
        turn.publish(_mode_changed(turn, cause))


def on_farm_notice(wiring: Wiring, turn: Turn[IBKRState], fact: broker.FarmNotice) -> None:
    """Start the stability clock again for a farm that is lost; a farm that is back or idle says nothing."""
    if fact.is_broken:
        change_mode(wiring, turn, ModeEvent.DISTURBED, fact.text)


def on_port_fault(wiring: Wiring, turn: Turn[IBKRState], fact: broker.PortFaulted) -> None:
    """Say that a task of the port died; where orders or executions may be affected, doubt them and read back."""
    state = turn.state
    state.health = gateway_health.after_error(state.health, state.link.dial_n, f"{fact.what}: {fact.why}")
    text = f"The broker's port failed to {fact.what}: {fact.why.rstrip('.')}."
    if not fact.is_order_path:
        alarm(turn, f"port_fault:{fact.what}", Severity.WARNING, text)
        return
    text = f"{text} Orders and positions are read back; compare them with TWS if this comes again."
    alarm(turn, f"port_fault:{fact.what}", Severity.CRITICAL, text)
    state.table = doubt_sent(state.table, state.next_read_n)
    start_read(wiring, turn)


def on_clock_read(turn: Turn[IBKRState], fact: broker.ClockRead) -> None:
    """Pass on how the broker's clock stands against ours, and keep how long it took to ask."""
    state = turn.state
    state.health = gateway_health.after_round_trip(state.health, state.link.dial_n, fact.round_trip_ms)
    turn.publish(fact)


def on_account_unreadable(turn: Turn[IBKRState], fact: broker.AccountUnreadable) -> None:
    """Pass on why the account's values cannot be used: without them no entry passes."""
    turn.state.account_fault = fact.why
    turn.publish(fact)


# -- the mode -----------------------------------------------------------------------------------


def change_mode(wiring: Wiring, turn: Turn[IBKRState], event: ModeEvent, cause: str) -> None:
    """Take an event of the session into account; the stability clock runs in `WARMUP` alone, and from its start."""
    state = turn.state
    mode = MODES.next(state.mode, event)
    if not MODES.changes(state.mode, event):
        return
    if mode is Mode.WARMUP:
        turn.arm(Timer.STABLE, turn.now + wiring.rules.warm_up_ms * MS)
    else:
        turn.disarm(Timer.STABLE)
    if mode is not state.mode:
        state.mode = mode
        state.mode_n += 1
        state.exits_go_on = event is ModeEvent.STOOD_DOWN
        turn.publish(_mode_changed(turn, cause))


def _mode_changed(turn: Turn[IBKRState], cause: str) -> session.ModeChanged:
    state = turn.state
    return session.ModeChanged(
        mode=state.mode, mode_n=state.mode_n, session_epoch=state.session_epoch, cause=cause, at_utc=turn.now,
        exits_go_on=state.exits_go_on,
    )  # fmt: skip


def report_mode(turn: Turn[IBKRState], request: session.RequestMode) -> None:
    """Tell one who has just started what the others were told as it happened."""
    state = turn.state
    turn.report(request.reply_to, _mode_changed(turn, "asked"))
    if request.with_account:
        for fact in (state.checked, state.account):
            if fact is not None:
                turn.report(request.reply_to, fact)
    if state.is_known:
        turn.report(request.reply_to, finished(turn))


def finished(turn: Turn[IBKRState]) -> session.ReconcileFinished:
    """Return what is known of broker truth."""
    state = turn.state
    return session.ReconcileFinished(
        session_epoch=state.session_epoch, positions=state.positions, read_utc=state.read_utc,
        is_complete=state.is_reconciled,
    )  # fmt: skip


# -- the kill level -----------------------------------------------------------------------------


def on_kill_level(wiring: Wiring, turn: Turn[IBKRState], level: KillLevel, kill_epoch: int) -> None:
    """Latch the port first, then cancel entries; with positions to flatten and no link, dial the next gateway now."""
    state = turn.state
    state.kill_level, state.kill_epoch = level, kill_epoch
    turn.tell(wiring.port, broker.LatchKill(level=level, kill_epoch=kill_epoch))
    if level is KillLevel.RUNNING:
        return
    withdraw_all(wiring, turn, [order for order in state.table.under_way if not order.is_exit])
    if level is KillLevel.FLATTEN and state.link.state is LinkState.DOWN and wiring.gateways > 1:
        link = dialling.dial_next_gateway(state.link, wiring.rules, wiring.gateways, turn.now)
        gateway_link.follow(turn, wiring.port, link)
