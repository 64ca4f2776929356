"""Positions conversation: what a position says of itself, and what ends it.

position -> risk, quotes, notifier, web   PositionOpened, PositionChanged, PositionClosed, PositionDisputed
position -> risk, ledger                  EntryAbandoned
position -> ledger                        RecordPosition
ibkr     -> position                      BrokerPositionRead, ExitHeld
session, kill, operator -> position       FlattenPosition
risk     -> notifier                      DayFlattened
"""

from __future__ import annotations

from domain.instruments import Contract
from domain.position_cycle import EndReason, ExitKind, ExitReason, PositionState
from messages.base import Message


class _Positions(Message, frozen=True, kw_only=True, tag=lambda name: f"positions.{name}"):
    """Base of this conversation."""


class PositionOpened(_Positions, frozen=True, kw_only=True):
    """position -> risk, notifier, web: the first fill is booked; cost without fees."""

    position_id: str
    intent_id: str
    contract: Contract
    source: str
    strategy: str
    direction: int
    qty: int
    cost_cents: int
    opened_utc: int


class PositionChanged(_Positions, frozen=True, kw_only=True):
    """position -> risk, web: its state now. `unrealised_cents` at mid (last good <= 60 s, else bid), or not known."""

    position_id: str
    intent_id: str
    contract: Contract
    source: str
    strategy: str
    direction: int
    state: PositionState
    qty: int
    cost_cents: int
    realised_cents: int
    fees_cents: int
    unrealised_cents: int | None
    mark_utc: int | None
    exit_reason: ExitReason | None
    at_utc: int


class PositionClosed(_Positions, frozen=True, kw_only=True):
    """position -> risk, ledger, quotes, notifier, web: flat, broker agrees; `realised_cents` is net of `fees_cents`."""

    position_id: str
    intent_id: str
    contract: Contract
    source: str
    strategy: str
    direction: int
    reason: ExitReason | None
    end: EndReason
    bought_qty: int
    realised_cents: int
    fees_cents: int
    opened_utc: int
    closed_utc: int


class EntryAbandoned(_Positions, frozen=True, kw_only=True):
    """position -> risk, ledger: the entry ended without a fill; the reservation can go."""

    intent_id: str
    order_ref: str
    contract: Contract
    strategy: str
    ticker: str
    why: str


class PositionDisputed(_Positions, frozen=True, kw_only=True):
    """position -> kill, ibkr, notifier: ledger and broker do not agree (level 1, reconcile)."""

    position_id: str
    con_id: int
    ledger_qty: int
    broker_qty: int | None
    why: str


class RecordPosition(_Positions, frozen=True, kw_only=True):
    """position -> ledger: keep the position's own facts (state, wanted end, exit kind and tier, checkpoints)."""

    position_id: str
    intent_id: str
    con_id: int
    state: PositionState
    exit_reason: ExitReason | None
    exit_kind: ExitKind | None
    exit_n: int
    tier: int
    entry_spot_ticks: int | None
    entry_iv: float | None
    opened_utc: int | None
    took_part: bool
    end: EndReason | None
    realised_cents: int
    at_utc: int


class BrokerPositionRead(_Positions, frozen=True, kw_only=True):
    """ibkr -> position: the quantity that the broker holds in this contract (signed), heard at `read_utc`."""

    con_id: int
    qty: int
    read_utc: int


class BrokerPositionHeard(_Positions, frozen=True, kw_only=True):
    """port => ibkr: a live position message."""

    session_epoch: int
    contract: Contract
    qty: int
    avg_cost_cents: int


class ExitHeld(_Positions, frozen=True, kw_only=True):
    """ibkr -> position: not sent now (`mode` does not allow it or the book is unreconciled); what is wanted stands."""

    order_ref: str
    mode: str


class FlattenPosition(_Positions, frozen=True, kw_only=True):
    """session, kill, operator -> positions: cancel entries, close what is held by MKT."""

    reason: ExitReason


class DayFlattened(_Positions, frozen=True, kw_only=True):
    """risk -> notifier, web, journal: nothing is held or pending any more."""

    at_utc: int
