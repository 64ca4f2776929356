"""Session conversation: the day's phases, the connection mode, and the reconciliation with the broker's truth."""

from __future__ import annotations

from datetime import date

import msgspec

from domain.instruments import Contract
from domain.session.modes import ALLOWS_EXITS, AccountClass, Mode
from domain.session.phases import Phase
from domain.units import Qty, Utc
from messages.base import Command, Event, Report
from messages.broker import BrokerPosition, BrokerRead
from messages.restored import OwnOrder


def _tag(name: str) -> str:
    return f"session.{name}"


class PhaseChanged(Event, frozen=True, kw_only=True, tag=_tag):
    """The day's phase, with the day's instants (both the midnight before, on a day without trading)."""

    phase: Phase
    session: date
    open_utc: Utc
    close_utc: Utc
    at_utc: Utc


class RequestPhase(Command, frozen=True, kw_only=True, tag=_tag):
    """Report the phase in force (on `Started`); the answer is `PhaseChanged`."""

    reply_to: str


class AccountChecked(Event, frozen=True, kw_only=True, tag=_tag):
    """The port and account that the order session is connected to."""

    port: int
    account_class: AccountClass
    account_matches: bool


class RequestReconcile(Command, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """Something vital was lost or disputed; read the broker back and reconcile.

    `stands_down`: as after a dial, with data alone until it has reconciled, and with the whole warm-up after that.
    """

    why: str
    stands_down: bool = False


class Reconcile(Command, frozen=True, kw_only=True, tag=_tag):
    """Compare the broker's truth with ours, adopt fills, name what is foreign.

    `account_key` tells whose truth it is, for the next start to look for (`broker.LinkUp`); empty: not known.
    """

    session_epoch: int
    read: BrokerRead
    account_key: str = ""


class Unverified(msgspec.Struct, frozen=True, kw_only=True):
    """A reserved entry that the broker knows nothing of (yet)."""

    intent_id: str
    order_ref: str
    contract: Contract
    deadline_utc: Utc


class Reconciled(Report, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """The comparison with read-back `read_n`. `cancel_refs`: own orders no longer wanted; `foreign_*`: not ours.

    `taken_back`: what is held and ours, but was nobody's any more by the ledger, and is a position's again; repeated
    until its position records itself. `named`: by perm id the references of rows that bore none. `combos`: the legs of
    combinations of ours that work at the broker and are not on record.
    """

    session_epoch: int
    read_n: int
    adopted_fills: int
    cancel_refs: tuple[str, ...]
    foreign_positions: tuple[BrokerPosition, ...]
    foreign_orders: tuple[str, ...]
    unverified: tuple[Unverified, ...]
    mismatches: tuple[str, ...]
    taken_back: tuple[BrokerPosition, ...] = ()
    named: tuple[tuple[int, str], ...] = ()
    combos: tuple[OwnOrder, ...] = ()


class ReconcileFinished(Event, frozen=True, kw_only=True, tag=_tag):
    """Broker truth is in; held exits go now. `positions` are (con_id, signed qty).

    `is_complete`: every group was read and the ledger has compared it. Exits need open orders and positions alone, so
    they go without it; nothing else may build on an incomplete one.
    """

    session_epoch: int
    positions: tuple[tuple[int, Qty], ...]
    read_utc: Utc
    is_complete: bool = True


class ModeChanged(Event, frozen=True, kw_only=True, tag=_tag, omit_defaults=True):
    """The mode in force.

    `exits_go_on`: the desk stands down for a switch on a link that stands, so that exits leave whatever the mode is.
    """

    mode: Mode
    mode_n: int
    session_epoch: int
    cause: str
    at_utc: Utc
    exits_go_on: bool = False

    @property
    def allows_exits(self) -> bool:
        """Whether an exit may leave."""
        return self.exits_go_on or self.mode in ALLOWS_EXITS


class RequestMode(Command, frozen=True, kw_only=True, tag=_tag):
    """Report the mode and what is known of broker truth (on `Started`); the answers are the events themselves.

    `with_account`: the account's facts too (`AccountChecked`, `broker.AccountRead`).
    """

    reply_to: str
    with_account: bool = False
