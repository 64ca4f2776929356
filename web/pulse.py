"""Reads what has changed and pushes it to the pages, a few times a second."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import date

import pyarrow as pa

from storage.manifest import WarehouseRefusedError
from web import desk, holdings, lists
from web.app import Control
from web.desks import Desks
from web.stream import Stream, push_chart
from web.told import as_json, push_all, push_desks, push_flow, push_held, push_status
from web.view import View

PULSE_S = 0.25
IDLE_PULSE_S = 1.0  # while nobody looks
SLOW_EVERY_S = 0.5  # positions, prices, money
ACTORS_EVERY_S = 3.0
MARKET_EVERY_S = 1.0  # a look into the warehouse, while a bucket is expected
STATUS_EVERY_S = 1.0
OUTCOMES_EVERY_S = 5.0
SHADOWS_EVERY_S = 10.0
CONTEXT_EVERY_S = 60.0
CONTEXT_AFTER_S = 1.0  # a page that was just opened is served first: this takes a while the first time
FIRST_ANSWER_S = 1.0  # what the first page waits for the supervisor's word, at most
ALERTS_LISTED = 30
ALERT_SHOWN = {"alert_id", "at", "ticker", "kind", "direction", "price", "became", "outcome"}  # `/api/alerts` has all
LAST_LOOKS = 20
LAST_LOOK_S = 0.05


class Pulse:
    """Reads what has changed and pushes it, a few times a second; slower while nobody looks."""

    def __init__(self, desks: Desks, stream: Stream, control: Control) -> None:
        self._desks = desks
        self._view = desks.first
        self._stream = stream
        self._control = control
        self._moved = {"account", "alarm", "reading", "spots"}
        self._is_ledger_new = True
        self._due_s: dict[str, float] = {}
        self._asking: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._session: date | None = None

    def note(self, slot: str) -> None:
        """Note that a slot has a new fact."""
        self._moved.add(slot.partition(":")[0])

    async def begin(self) -> None:
        """Ask the supervisor for the first time, and wait a moment for it: a first page knows the kill level then."""
        if self._view.ended is None:
            self._asking = asyncio.create_task(self._ask())
            await asyncio.wait((self._asking,), timeout=FIRST_ANSWER_S)

    async def run(self) -> None:
        """Go on for ever; what fails once is tried again."""
        while True:
            try:
                await self._once()
                trouble = None
            except Exception as error:  # a bug, or a file that nobody foresaw: said on the page, and tried again
                trouble = f"The page is not up to date ({type(error).__name__}: {error})."
            for view in self._desks:
                view.page_trouble, view.market_trouble = trouble, self._view.market_trouble
            await self._pause()

    async def finish(self) -> None:
        """Push for the last time, and wait a moment for the pages to take it."""
        await self._desks.read_ledgers()
        self._is_ledger_new = True
        self._due_s.clear()
        self._push_alerts()
        await self._push(self._moved)
        for _ in range(LAST_LOOKS):
            if self._stream.is_flushed:
                return
            await asyncio.sleep(LAST_LOOK_S)

    async def _pause(self) -> None:
        """Wait for the next look; whoever opens a page while nobody looks is told at once."""
        if self._stream.clients:
            await asyncio.sleep(PULSE_S)
            return
        self._stream.joined.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stream.joined.wait(), IDLE_PULSE_S)

    async def _once(self) -> None:
        view = self._view
        self._push_status()
        if view.ended is None and self._is_due("ask", STATUS_EVERY_S) and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask())
        if self._stream.clients and self._is_due("context", CONTEXT_EVERY_S):
            self._looking = asyncio.create_task(self._look_around())
        moved, self._moved = self._moved, set()
        self._is_ledger_new |= await self._desks.read_ledgers()
        if self._is_ledger_new:
            for one in self._desks:
                push_all(one, self._stream)  # at once: what is read below may take a while
        for ticker in self._stream.tickers | set(view.settings.tickers[:1]):
            is_new = (
                view.is_market_behind(ticker)
                and self._is_due(f"market:{ticker}", MARKET_EVERY_S)
                and await view.read_market(ticker)
            )
            if is_new or view.session != self._session or "spots" in moved:
                self._stream.push_day(ticker)
        self._session = view.session
        if ("reading" in moved and self._is_due("outcomes", OUTCOMES_EVERY_S)) or self._is_ledger_new:
            await self._desks.read_outcomes()
            self._push_alerts()
        for one in self._desks:
            holdings.sample(one)
        await self._push(moved)
        self._is_ledger_new = False

    async def _look_around(self) -> None:
        """Read what lies around the day; what cannot be read is left out."""
        await asyncio.sleep(CONTEXT_AFTER_S)
        with suppress(OSError, WarehouseRefusedError, pa.ArrowException):
            found = await self._view.context()
            if found is not None:
                self._stream.push("context", as_json(found))

    async def _ask(self) -> None:
        """Ask the supervisor how it and its actors do; this may take as long as it is stuck."""
        try:
            self._desks.answered(await asyncio.to_thread(self._control, {"do": "status"}))
        except Exception as error:  # whatever the line says is what the page says
            self._desks.answered({"error": str(error)})

    def _is_due(self, what: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._due_s.get(what, 0.0):
            return False
        self._due_s[what] = now_s + every_s
        return True

    def _push_status(self) -> None:
        for view in self._desks:
            push_status(view, self._stream)

    async def _push(self, moved: set[str]) -> None:
        push = self._stream.push
        self._push_status()
        is_held_due, is_flow_due = self._is_due("held", SLOW_EVERY_S), self._is_due("slow", SLOW_EVERY_S)
        for view in self._desks:
            if view.ledgers.is_read:
                await self._push_records(view, is_held_due=is_held_due)
            if is_flow_due:
                push_flow(view, self._stream)
            if moved & {"account", "port"}:
                push("account", as_json(desk.account(view)), view.settings.desk)
            if self._is_ledger_new or "reading" in moved:
                for ticker in self._stream.tickers:
                    push_chart(view, self._stream, ticker)
        if is_held_due:
            push_desks(self._desks, self._stream)
        if moved & {"alarm", "mode"}:  # a session that stands again ends some
            push("alarms", as_json([line.model_dump() for line in desk.alarm_lines(*self._desks)]))
        if self._is_due("actors", ACTORS_EVERY_S):
            push("actors", as_json(desk.actors(self._view)))

    async def _push_records(self, view: View, *, is_held_due: bool) -> None:
        own = view.settings.desk
        if self._is_ledger_new and view.ledgers.trouble is None:
            self._stream.push("weeks", as_json([week.model_dump() for week in await view.weeks()]), own)
        if is_held_due:
            push_held(view, self._stream)

    def _push_alerts(self) -> None:
        known = [view for view in self._desks if view.ledgers.is_read]
        are_shadows_due = bool(known) and self._is_due("shadows", SHADOWS_EVERY_S)
        for view in known:
            for kind, shadows in (("alerts", False), ("shadows", True)):  # of the many shadows none pushes an alert out
                if shadows and not are_shadows_due:
                    continue  # they move on all the time, and nobody acts on one
                found = lists.alerts(view, ALERTS_LISTED, shadows=shadows)
                told = as_json([alert.model_dump(include=ALERT_SHOWN) for alert in found])
                self._stream.push(kind, told, view.settings.desk)
        if known:
            self._stream.push("rates", as_json([rate.model_dump() for rate in self._view.outcomes.rates()]))
