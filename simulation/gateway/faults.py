"""Faults that the simulated gateway injects: one typed record each, from a script file, from Python or
from the control port.

Link faults begin at an instant and last `duration_s`; the others hit the next matching order, modification or
cancellation. Seconds are real ones (they belong to the connection, not to an accelerated market).
"""

from __future__ import annotations

from datetime import time
from enum import StrEnum
from pathlib import Path

import msgspec

from domain.instruments import Side
from domain.units import Qty
from simulation.gateway.fields import FIELDS


class FaultKind(StrEnum):
    """What goes wrong."""

    DROP_REFUSE = "drop_refuse"  # connections cut, new ones refused
    DROP_RESET = "drop_reset"  # connections cut, new ones accepted and reset
    DROP_HALF_OPEN = "drop_half_open"  # nothing passes either way, then what was held does
    LINK_LOST = "link_lost"  # 1100 (args code, repeat_lost), then 1102 (repeat) or, with data: lost, 1101
    FARM_LOST = "farm_lost"  # 2103, 2104 (args history: 2105, 2106; stays_dead)
    CLIENT_ID_IN_USE = "client_id_in_use"  # 326 for whoever connects
    PACING = "pacing"  # 100 and a cut at more than 50 messages a second
    COMPETING_SESSION = "competing_session"  # 10197 for every subscription, no ticks
    DELAYED_DATA = "delayed_data"  # subscriptions get delayed tick types (args type: 2 frozen, 3, 4)
    LINE_LIMIT = "line_limit"  # 101 for whoever subscribes beyond args lines (default 0) of the whole account
    NOT_SUBSCRIBED = "not_subscribed"  # 354 (args code) for subscriptions of args of (a ticker or a class; all without)
    NOT_PERMITTED = "not_permitted"  # no contract of the option class in args of is listed
    READ_ONLY = "read_only"  # 321, id -1, instead of open and completed orders; every order is refused
    GROUP_ERROR = "group_error"  # args group (orders, completed, positions, executions), code, text; silent: no answer
    FIELD = "field"  # args field, value (or cut: the message ends there), where: only messages with this field in them
    EXECUTION_TIME = "execution_time"  # args form (strftime; empty: no time), zone (a place), shift_s
    EXECUTIONS_MISSING = "executions_missing"  # they happen and are never told, live or read back
    FOREIGN_ORDERS = "foreign_orders"  # args count, order_id, client_id, perm_id, ref, side: among the open orders
    OTHER_ACCOUNT = "other_account"  # args account: its orders, executions, positions and values come beside ours
    FIRST_PRINT = "first_print"  # args ticks: what an underlying's first last is, before the market's own
    HALTED = "halted"  # args ticker: its lines and those of its options are halted (49), then not
    ERROR_SENT = "error_sent"  # args id, code, text: to every client, at once
    MANUAL_ORDER = "manual_order"  # args con_id, side, qty, limit_ticks (else MKT), account: a person's own, at once

    ORDER_REJECTED = "order_rejected"  # Inactive, 201, Inactive
    ORDER_ERROR = "order_error"  # args code, text, id (-1: it names no order); the order never lived
    ORDER_NOTICE = "order_notice"  # args code, text (399, 10349); the order lives
    ORDER_SILENCE = "order_silence"  # args reaches: true if the order lives all the same
    ORDER_DELAYED = "order_delayed"  # its callbacks come duration_s late (args of: fills, those of its fills alone)
    PARTIAL_FILLS = "partial_fills"  # args pieces: sizes, one a step
    CALLBACKS_DUPLICATED = "callbacks_duplicated"  # every callback of the order twice
    CALLBACKS_REORDERED = "callbacks_reordered"  # args first: status or commission
    EXECUTION_CORRECTED = "execution_corrected"  # its first one comes again duration_s later as .02 (args shift_ticks)

    MODIFY_104_THEN_FILL = "modify_104_then_fill"
    MODIFY_104_EXECUTION_ONLY = "modify_104_execution_only"
    MODIFY_FILL_THEN_104 = "modify_fill_then_104"
    MODIFY_ERROR = "modify_error"  # args code, text; the order works on as it was

    CANCEL_ERROR = "cancel_error"  # args code, text; the order works on
    CANCEL_FILL_FIRST = "cancel_fill_first"  # it fills, then 10148


_K = FaultKind
LINK_FAULTS = frozenset(
    {
        _K.DROP_REFUSE,
        _K.DROP_RESET,
        _K.DROP_HALF_OPEN,
        _K.LINK_LOST,
        _K.FARM_LOST,
        _K.CLIENT_ID_IN_USE,
        _K.PACING,
        _K.COMPETING_SESSION,
        _K.DELAYED_DATA,
        _K.LINE_LIMIT,
        _K.NOT_SUBSCRIBED,
        _K.NOT_PERMITTED,
        _K.READ_ONLY,
        _K.GROUP_ERROR,
        _K.FIELD,
        _K.EXECUTION_TIME,
        _K.EXECUTIONS_MISSING,
        _K.FOREIGN_ORDERS,
        _K.OTHER_ACCOUNT,
        _K.FIRST_PRINT,
        _K.HALTED,
        _K.ERROR_SENT,
        _K.MANUAL_ORDER,
    }
)
MODIFY_FAULTS = frozenset(
    {
        _K.MODIFY_104_THEN_FILL,
        _K.MODIFY_104_EXECUTION_ONLY,
        _K.MODIFY_FILL_THEN_104,
        _K.MODIFY_ERROR,
    }
)
CANCEL_FAULTS = frozenset({_K.CANCEL_ERROR, _K.CANCEL_FILL_FIRST})
WHAT_IF_FAULTS = frozenset({_K.ORDER_REJECTED})  # those that hit an order which is only asked about, too
ORDER_FAULTS = frozenset(FaultKind) - LINK_FAULTS - MODIFY_FAULTS - CANCEL_FAULTS


FILLS = "fills"
GROUPS = ("orders", "completed", "positions", "executions")
LIVE, FROZEN, DELAYED = 1, 2, 3  # IB's kinds of market data; 4 is delayed and frozen
FaultArg = str | int | float | bool | list[int]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault.

    It is armed `at_s` seconds after the server's start, or when New York's clock of the market
    reads `at_clock` (`HH:MM:SS`), or at once; the first `after_n` matching requests are spared.
    """

    kind: FaultKind
    at_s: float | None = None
    at_clock: str | None = None
    after_n: int = 0
    duration_s: float = 0.0
    args: dict[str, FaultArg] = {}

    def __post_init__(self) -> None:
        """Refuse arguments that the fault could not use.

        Raises:
            ValueError: a clock that is none; sizes, an order of callbacks, a field, a group or a side that cannot be.
        """
        time.fromisoformat(self.at_clock or "00:00:00")
        pieces = self.args.get("pieces", [1] if self.kind is not FaultKind.PARTIAL_FILLS else [])
        if not isinstance(pieces, list) or not pieces or not all(isinstance(n, int) and n > 0 for n in pieces):
            raise ValueError(f"{self.kind} needs pieces, a list of sizes above 0")
        if self.kind is FaultKind.FIELD and self.args.get("field") not in FIELDS:
            raise ValueError(f"{self.kind} needs field, one of {', '.join(FIELDS)}")
        if self.kind is FaultKind.GROUP_ERROR and self.args.get("group") not in GROUPS:
            raise ValueError(f"{self.kind} needs group, one of {', '.join(GROUPS)}")
        if self.args.get("first", "status") not in ("status", "commission"):
            raise ValueError(f"{self.kind} needs first: status or commission")
        if self.kind is FaultKind.ORDER_DELAYED and self.args.get("of", FILLS) != FILLS:
            raise ValueError(f"{self.kind} needs of: {FILLS}, or nothing for all of its callbacks")
        if self.args.get("side", Side.BUY) not in (Side.BUY, Side.SELL):
            raise ValueError(f"{self.kind} needs side: BUY or SELL")

    def code(self, default: int) -> int:
        """Return the vendor code of the fault."""
        return self.number("code", default)

    def text(self, default: str) -> str:
        """Return the message text of the fault."""
        return str(self.args.get("text", default))

    def number(self, name: str, default: int) -> int:
        """Return an argument that is a whole number."""
        value = self.args.get(name, default)
        return default if isinstance(value, list) else int(value)

    def flag(self, name: str) -> bool:
        """Return whether an argument is set and true."""
        return bool(self.args.get(name))

    @property
    def pieces(self) -> tuple[Qty, ...]:
        """The sizes of the fills that are wanted; none where nothing is scripted."""
        pieces = self.args.get("pieces")
        return tuple(Qty(size) for size in pieces) if isinstance(pieces, list) else ()


class FaultScriptError(ValueError):
    """A fault script that cannot be read; the text names the file and the remedy."""


def load_faults(path: Path) -> list[Fault]:
    """Read a list of faults from a YAML or JSON file.

    Raises:
        FaultScriptError: the file is missing, is no YAML, or holds an unknown kind or field.
    """
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=list[Fault])
    except OSError as trouble:
        raise FaultScriptError(f"fault script {path}: {trouble.strerror}") from trouble
    except msgspec.MsgspecError as trouble:
        raise FaultScriptError(f"fault script {path}: {trouble}; correct the record") from trouble


class ArmedFaults:
    """The order, modify and cancel faults that still wait for their request."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        """Arm a fault; several on the same request kind are used up one after the other."""
        self._waiting.append((fault, fault.after_n))

    def waiting(self) -> list[Fault]:
        """Return those that wait, oldest first."""
        return [fault for fault, _ in self._waiting]

    def clear(self) -> None:
        """Forget those that wait."""
        self._waiting.clear()

    def take(self, kinds: frozenset[FaultKind], elapsed_s: float) -> Fault | None:
        """Return the first armed fault of these kinds and use it up; one that spares requests counts this one."""
        for at, (fault, spare) in enumerate(self._waiting):
            if fault.kind not in kinds or (fault.at_s or 0.0) > elapsed_s:
                continue
            if spare:
                self._waiting[at] = (fault, spare - 1)
                return None
            del self._waiting[at]
            return fault
        return None


class ActiveFaults:
    """The link faults that last at the moment, and what they mean for those who serve clients."""

    def __init__(self) -> None:
        self._active: list[Fault] = []

    def begin(self, fault: Fault) -> None:
        """Add a fault that has begun."""
        self._active.append(fault)

    def end(self, fault: Fault) -> None:
        """Remove a fault whose time is over."""
        self._active = [active for active in self._active if active is not fault]

    def all(self) -> list[Fault]:
        """Return the faults that last, oldest first."""
        return list(self._active)

    def has(self, kind: FaultKind) -> bool:
        """Return whether a fault of this kind lasts."""
        return any(fault.kind is kind for fault in self._active)

    def of(self, kind: FaultKind) -> list[Fault]:
        """Return the faults of a kind that last."""
        return [fault for fault in self._active if fault.kind is kind]

    def group_fault(self, group: str) -> Fault | None:
        """Return what answers a request for a group of a read-back in its place; `None` where nothing does."""
        return next((fault for fault in self.of(FaultKind.GROUP_ERROR) if fault.args.get("group") == group), None)

    @property
    def is_link_up(self) -> bool:
        """Whether order events reach clients; what happens while the link to IB is lost is never reported."""
        return not self.has(FaultKind.LINK_LOST)

    @property
    def is_competing(self) -> bool:
        """Whether another session of the user has the market data."""
        return self.has(FaultKind.COMPETING_SESSION)

    @property
    def is_data_delayed(self) -> bool:
        """Whether new subscriptions get delayed ticks."""
        return self.data_type > FROZEN

    @property
    def data_type(self) -> int:
        """IB's number of the kind of data that new subscriptions get."""
        return next((fault.number("type", DELAYED) for fault in self.of(FaultKind.DELAYED_DATA)), LIVE)

    @property
    def is_data_flowing(self) -> bool:
        """Whether ticks reach clients."""
        is_farm_lost = any(f.kind is FaultKind.FARM_LOST and not f.flag("history") for f in self._active)
        return self.is_link_up and not self.is_competing and not is_farm_lost
