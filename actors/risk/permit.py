"""The risk actor's answer to a working entry that wants to pay more: a new permit, if what stood still stands."""

from __future__ import annotations

from actors.risk.entry import EntryDesk
from actors.risk.state import Risk
from domain.instants import MS
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import Snapshot
from messages import orders
from supervision.effects import Effect, Tell


def renew(entry: EntryDesk, state: Risk, wish: orders.RenewPermit, now: int) -> list[Effect]:
    """Check the gates of the hand-over again; the intent must still be one that this desk awaits."""
    view = state.view
    holding = next((h for h in view.holdings if h.intent_id == wish.intent_id and h.is_pending), None)
    if holding is None:
        return [Tell(wish.reply_to, orders.PermitRefused(order_ref=wish.order_ref, why="no such entry is pending"))]
    ticker = holding.contract.ticker
    snapshot = Snapshot(
        now=now, rules=entry.rules, strategy=entry.settings.strategies[holding.strategy],
        ticker=entry.settings.ticker_rules[ticker], view=view, spot=None,
    )  # fmt: skip
    code = gates.no_longer_stands(snapshot)
    if code is not None:
        return [Tell(wish.reply_to, orders.PermitRefused(order_ref=wish.order_ref, why=code.value))]
    permit = orders.Permit(
        kill_epoch=view.kill_epoch, session_epoch=view.session_epoch, expires_utc=now + entry.limits.permit_ms * MS
    )
    return [Tell(wish.reply_to, orders.PermitRenewed(order_ref=wish.order_ref, permit=permit))]
