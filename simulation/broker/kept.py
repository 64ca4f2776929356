"""An exchange whose book outlives its process, as a real broker's outlives a gateway that is killed.

Every change is appended to a journal of lines before anybody is told of it: what a client heard is in the book. A line
that was cut by a kill was told to nobody and is dropped.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from domain.instants import SECOND, session_of
from domain.units import Cents, Qty, Ticks, Utc
from simulation.broker.events import Commission, ExchangeEvent, Execution, OrderError, PositionChange
from simulation.broker.exchange import CASH_CENTS, LATENCY_MS, Exchange
from simulation.broker.orders import TERMINAL, Order
from simulation.broker.portfolio import Position
from simulation.broker.quoted import QuotedMarket
from simulation.broker.working import Working


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one call changed: orders and positions as they are since, executions that came, the cash.

    `held_at_close` is what the settlement found; `None` in every entry but the settlement's.
    """

    at_utc: Utc
    cash_cents: Cents
    orders: tuple[Working, ...] = ()
    executions: tuple[tuple[Execution, Commission], ...] = ()
    positions: tuple[Position, ...] = ()
    held_at_close: tuple[Position, ...] | None = None


class BookRefusedError(Exception):
    """A book that cannot be used; the text is one sentence."""


class BookInUseError(BookRefusedError):
    """Another process keeps this book."""


def entries_of(path: Path) -> list[Entry]:
    """Return what a journal holds, oldest first; empty where there is none.

    Raises:
        msgspec.DecodeError: a whole line is none of ours.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = raw[: raw.rfind(b"\n") + 1]
    return [msgspec.json.decode(line, type=Entry) for line in whole.splitlines()]


class KeptExchange(Exchange):
    """An exchange that goes on with the book in `path`, and keeps it there.

    Raises:
        BookInUseError: another process keeps it.
        BookRefusedError: it is damaged, or cannot be opened.
    """

    def __init__(
        self, market: QuotedMarket, path: Path, *, cash_cents: Cents = CASH_CENTS, latency_ms: int = LATENCY_MS
    ) -> None:
        super().__init__(market, cash_cents=cash_cents, latency_ms=latency_ms)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise BookRefusedError(f"{path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise BookInUseError(f"{path} is kept by another process") from None
        self._size = path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._fd, self._size)
        self._kept_utc: Utc | None = None
        try:
            for entry in entries_of(path):
                self._take(entry)
        except (msgspec.MsgspecError, LookupError, ValueError):
            os.close(self._fd)
            raise BookRefusedError(
                f"{path}, the book of a simulated account, is damaged: move it away, and the account begins anew"
            ) from None
        self._kept_n = len(self._executions)

    def begin_newer(self) -> None:
        """Begin the market's session where the book is of one before it: positions and cash stay."""
        if self._kept_utc is not None and session_of(self._kept_utc) < session_of(self.market.open_utc):
            self._begin()

    def _begin(self, series: int | None = None) -> None:
        super()._begin(series)
        self._kept_n = 0

    def close(self) -> None:
        """Give the book back."""
        os.close(self._fd)

    def catch_up(self, to_utc: Utc, step_market: Callable[[Utc], None]) -> None:
        """Match, expire and settle what came due since the book's last entry, a second at a time.

        The broker stands behind a gateway that is gone, and goes on meanwhile.
        """
        at_utc = to_utc if self._kept_utc is None else self._kept_utc
        while at_utc < to_utc:
            at_utc = Utc(min(at_utc + SECOND, to_utc))
            step_market(at_utc)
            self.step(at_utc)

    def place(
        self, order: Order, now_utc: Utc, *, pieces: tuple[Qty, ...] = (), reject: str = ""
    ) -> list[ExchangeEvent]:
        """Take a new order, and keep what came of it."""
        return self._keep(super().place(order, now_utc, pieces=pieces, reject=reject), now_utc)

    def modify(self, order: Order, now_utc: Utc) -> list[ExchangeEvent]:
        """Change a live order, and keep what came of it."""
        return self._keep(super().modify(order, now_utc), now_utc)

    def cancel(self, client_id: int, order_id: int, now_utc: Utc) -> list[ExchangeEvent]:
        """Cancel an order, and keep what came of it."""
        return self._keep(super().cancel(client_id, order_id, now_utc), now_utc)

    def cancel_all(self, now_utc: Utc) -> list[ExchangeEvent]:
        """Cancel every live order, and keep what came of it."""
        return self._keep(super().cancel_all(now_utc), now_utc)

    def fill_now(self, client_id: int, order_id: int, now_utc: Utc) -> list[ExchangeEvent]:
        """Fill the rest of a live order, and keep what came of it."""
        return self._keep(super().fill_now(client_id, order_id, now_utc), now_utc)

    def correct(self, exec_id: str, shift_ticks: Ticks, now_utc: Utc) -> list[ExchangeEvent]:
        """Correct an execution, and keep what came of it."""
        return self._keep(super().correct(exec_id, shift_ticks, now_utc), now_utc)

    def step(self, now_utc: Utc) -> list[ExchangeEvent]:
        """Match, expire and settle, and keep what came of it."""
        was_settled = self.held_at_close is not None
        events = super().step(now_utc)
        is_settlement = self.held_at_close is not None and not was_settled
        return self._keep(events, now_utc, held_at_close=self.held_at_close if is_settlement else None)

    def _keep(
        self, events: list[ExchangeEvent], now_utc: Utc, held_at_close: tuple[Position, ...] | None = None
    ) -> list[ExchangeEvent]:
        if not events and held_at_close is None:
            return events
        entry = Entry(
            at_utc=now_utc, cash_cents=self._portfolio.cash_cents, held_at_close=held_at_close,
            orders=tuple(self._orders[key] for key in _keys(events) if key in self._orders),
            executions=tuple(self._executions[self._kept_n :]),
            positions=tuple(event.position for event in events if isinstance(event, PositionChange)),
        )  # fmt: skip
        line = msgspec.json.encode(entry) + b"\n"
        try:
            is_whole = os.write(self._fd, line) == len(line)
        except OSError:
            is_whole = False
        if is_whole:
            self._size += len(line)
            self._kept_n, self._kept_utc = len(self._executions), now_utc
        else:  # a full disk costs a line of the book, never the broker
            os.ftruncate(self._fd, self._size)
        return events

    def _take(self, entry: Entry) -> None:
        for working in entry.orders:
            key = working.order.client_id, working.order.order_id
            self._orders[key] = working
            self._perm_id = max(self._perm_id, working.order.perm_id)
            self._open.pop(key, None)
            if working.status not in TERMINAL:
                self._open[key] = working
        self._executions += entry.executions
        self._portfolio.restore(entry.cash_cents, entry.positions)
        if entry.held_at_close is not None:
            self.held_at_close = entry.held_at_close
        self._kept_utc = entry.at_utc


def _keys(events: Iterable[ExchangeEvent]) -> list[tuple[int, int]]:
    """Return the orders that events speak of, each once, in their order."""
    found: dict[tuple[int, int], None] = {}
    for event in events:
        if isinstance(event, OrderError):
            found[event.client_id, event.order_id] = None
        elif not isinstance(event, PositionChange):
            found[event.order.client_id, event.order.order_id] = None
    return list(found)
