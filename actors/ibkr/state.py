"""The state of the broker session's actor and the steps that both of its halves (link, orders) take."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from domain.instants import MS
from domain.limits import ConnectionRules
from domain.orders.table import Table
from domain.session.modes import Mode
from messages.operator import Alarm
from messages.orders import WithdrawOrder
from messages.risk import RaiseKill
from messages.session import AccountChecked, AccountRead, BrokerRead, ReadBack
from supervision.effects import Effect, Effects, SetTimer, Tell

OWN_REF = "ZH-"


class Link(StrEnum):
    """Where the link to the gateway is; modes say what the desk may do, this says what is under way."""

    DOWN = "down"  # a pause before the next dial
    DIALLING = "dialling"
    UP = "up"
    CUT = "cut"  # socket up, the gateway's own link to the broker lost
    REFUSED = "refused"  # up, but not the account or port that we trade on


class IbkrState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the actor knows.

    `lost_utc` is the start of the present outage; `reading` the read-back under way, `read` the one at the ledger;
    `queries` are (order_ref, reply_to, first read-back that may answer); `positions` are (con_id, signed qty).
    """

    mode: Mode = Mode.DATA_ONLY
    mode_n: int = 0
    session_epoch: int = 0
    link: Link = Link.DOWN
    gateway_n: int = 0
    lost_utc: int = 0
    is_reconciled: bool = False
    kill_level: int = 0
    kill_epoch: int = 0
    read_n: int = 0
    reading: int | None = None
    read: BrokerRead | None = None
    is_read_wanted: bool = False
    warm_n: int = 0
    table: Table = ()
    seen: frozenset[str] = frozenset()
    queries: tuple[tuple[str, str, int], ...] = ()
    positions: tuple[tuple[int, int], ...] = ()
    con_ids: tuple[int, ...] = ()
    foreign: tuple[str, ...] = ()
    checked: AccountChecked | None = None
    account: AccountRead | None = None
    read_utc: int = 0

    def position(self, con_id: int) -> int:
        """Give what the broker holds of a contract, signed, as far as heard."""
        return next((qty for held, qty in self.positions if held == con_id), 0)


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and rules of one desk."""

    name: str
    desk: str
    port: str
    rules: ConnectionRules
    trading_mode: str
    wanted_port: int
    gateways: int

    def position(self, con_id: int) -> str:
        """Give the address of a contract's position."""
        return f"position:{self.desk}:{con_id}"


Step = tuple[IbkrState, Effects]
replace = msgspec.structs.replace


def start_read(wiring: Wiring, state: IbkrState, now: int) -> Step:
    """Read the broker's truth, now or right after the read-back under way; without a link the next dial does it."""
    if state.link is not Link.UP:
        return state, ()
    if state.reading is not None or state.read is not None:
        return replace(state, is_read_wanted=True), ()
    n = state.read_n + 1
    message = ReadBack(session_epoch=state.session_epoch, read_n=n)
    limit = SetTimer(f"read:{n}", now + 2 * wiring.rules.read_back_ms * MS)
    return replace(state, read_n=n, reading=n, is_read_wanted=False), (Tell(wiring.port, message), limit)


def withdraw(wiring: Wiring, state: IbkrState, order_ref: str) -> Effect:
    """Cancel an order at the broker."""
    return Tell(wiring.port, WithdrawOrder(order_ref=order_ref, session_epoch=state.session_epoch))


def with_position(state: IbkrState, con_id: int, qty: int) -> IbkrState:
    """Give the state with the broker's quantity of a contract; flat ones are left out."""
    rest = tuple(row for row in state.positions if row[0] != con_id)
    return replace(state, positions=tuple(sorted((*rest, (con_id, qty)))) if qty else rest)


def halt(wiring: Wiring, key: str, text: str, now: int) -> Effects:
    """Raise the kill level to 1 and page."""
    return (
        Tell("kill", RaiseKill(level=1, reason=text, by=wiring.name)),
        Tell("notifier", Alarm(key=key, severity="critical", text=text, at_utc=now)),
    )
